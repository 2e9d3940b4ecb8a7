//! Who promotes, and which commands are run.

use std::time::Duration;

use super::lexer::Setting;
use super::{Outcome, Reader, value};
use crate::config::FailoverMode;

/// With a command pgpool-II has it promote; without one it lets go of the lost node and waits for somebody else to.
pub(super) fn failover_command(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let failover = &mut reader.draft.config.failover;
    failover.failover_command = command(setting);
    if failover.failover_command.is_none() {
        return Ok(Outcome::says("pgweir observes the nodes and follows a new primary"));
    }
    failover.mode = FailoverMode::Command;
    Ok(Outcome::sets("[failover] failover_command").and("[failover] mode"))
}

pub(super) fn follow_primary_command(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.failover.follow_primary_command = command(setting);
    Ok(match setting.value.trim().is_empty() {
        true => Outcome::says("pgweir points replicas at a new primary by ALTER SYSTEM where it promotes"),
        false => Outcome::sets("[failover] follow_primary_command"),
    })
}

pub(super) fn failback_command(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.failover.failback_command = command(setting);
    Ok(match setting.value.trim().is_empty() {
        true => Outcome::says("no command"),
        false => Outcome::sets("[failover] failback_command"),
    })
}

/// 0 is without an end.
pub(super) fn search_primary_node_timeout(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let timeout = value::duration(&setting.value, "s", TENTH..=DAY)?;
    reader.draft.config.failover.search_timeout = match timeout.is_zero() {
        true => DAY,
        false => timeout,
    };
    Ok(Outcome::sets("[failover] search_timeout"))
}

pub(super) fn detach_false_primary(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.failover.detach_false_primary = value::boolean(&setting.value)?;
    Ok(Outcome::sets("[failover] detach_false_primary").with("it is never written to in any case"))
}

pub(super) fn auto_failback(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.failover.auto_failback = value::boolean(&setting.value)?;
    let others = "a replica that was only lost is used again by itself in any case";
    Ok(Outcome::sets("[failover] auto_failback").with(others))
}

pub(super) fn auto_failback_interval(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let interval = value::duration(&setting.value, "s", MICROSECOND..=DAY)?;
    reader.draft.config.failover.auto_failback_interval = interval;
    Ok(Outcome::sets("[failover] auto_failback_interval"))
}

/// Where pgpool-II fails over at once, pgweir asks the node once more; off means that only its own probes count.
pub(super) fn failover_on_backend_error(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.failover.on_backend_error = value::boolean(&setting.value)?;
    Ok(Outcome::sets("[failover] on_backend_error").with("a probe has to confirm it"))
}

pub(super) fn failover_on_backend_shutdown(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.failover.on_backend_shutdown = value::boolean(&setting.value)?;
    Ok(Outcome::sets("[failover] on_backend_shutdown").with("a probe has to confirm it"))
}

fn command(setting: &Setting) -> Option<String> {
    Some(setting.value.clone()).filter(|command| !command.trim().is_empty())
}

const MICROSECOND: Duration = Duration::from_micros(1);
const TENTH: Duration = Duration::from_millis(100);
const DAY: Duration = Duration::from_secs(86_400);
