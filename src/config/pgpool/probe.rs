//! Health check and streaming replication check: one probe does the work of both.

use std::time::Duration;

use super::lexer::Setting;
use super::{Outcome, Reader, value};
use crate::config::secrets::is_aes;

/// 0 switches pgpool-II's check off; pgweir always probes, because that is how it knows who the
/// primary is, so its own interval stays.
pub(super) fn health_check_period(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    let period = value::duration(&setting.value, "s", TEN_MS..=HOUR)?;
    let Some(node) = number else { return Ok(interval(period)) };
    if period.is_zero() {
        return Ok(Outcome::says("pgweir always probes"));
    }
    let delay = own_or_common(reader, "health_check_retry_delay", node).and_then(seconds);
    let retries = own_or_common(reader, "health_check_max_retries", node).and_then(|text| text.parse().ok());
    let delay = delay.filter(|_| retries.is_some_and(|retries: u32| retries > 0));
    reader.slots.node_mut(node).probe_interval = Some(delay.map_or(period, |delay| delay.min(period)));
    Ok(Outcome::sets_node(node, "probe_interval"))
}

/// How long pgpool-II waits before it tries a failed check again. Pgweir has one pace, so the
/// faster of the two is taken: a lost node is noticed no later than by pgpool-II.
pub(super) fn health_check_retry_delay(
    _: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    let delay = value::duration(&setting.value, "s", TEN_MS..=HOUR)?;
    Ok(match number {
        None => interval(delay),
        Some(node) => Outcome::says(format!("the pace of health_check_period{node}, where that is slower")),
    })
}

pub(super) fn sr_check_period(_: &mut Reader, setting: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    value::duration(&setting.value, "s", TEN_MS..=HOUR).map(interval)
}

/// 0 means no limit, which a probe must have.
pub(super) fn health_check_timeout(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    let timeout = value::duration(&setting.value, "s", TEN_MS..=HOUR)?;
    if let Some(node) = number {
        let default = reader.draft.config.monitor.timeout;
        reader.slots.node_mut(node).probe_timeout = Some(if timeout.is_zero() { default } else { timeout });
        return Ok(Outcome::sets_node(node, "probe_timeout"));
    }
    if !timeout.is_zero() {
        reader.draft.config.monitor.timeout = timeout;
    }
    Ok(Outcome::sets("[monitor] timeout"))
}

pub(super) fn health_check_max_retries(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    let retries = value::integer(&setting.value, 0..=1000)? as u32;
    if let Some(node) = number {
        reader.slots.node_mut(node).probe_retries = Some(retries);
        return Ok(Outcome::sets_node(node, "probe_retries"));
    }
    reader.draft.config.monitor.retries = retries;
    Ok(Outcome::sets("[monitor] retries"))
}

pub(super) fn health_check_user(
    reader: &mut Reader,
    _: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    Ok(reader
        .other_common("health_check_user", number)
        .unwrap_or_else(|| login(reader, Check::Health, "user", "[monitor] user")))
}

pub(super) fn sr_check_user(reader: &mut Reader, _: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    Ok(login(reader, Check::Replication, "user", "[monitor] user"))
}

pub(super) fn health_check_database(
    reader: &mut Reader,
    _: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    Ok(reader
        .other_common("health_check_database", number)
        .unwrap_or_else(|| login(reader, Check::Health, "database", "[monitor] database")))
}

pub(super) fn sr_check_database(reader: &mut Reader, _: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    Ok(login(reader, Check::Replication, "database", "[monitor] database"))
}

pub(super) fn health_check_password(
    reader: &mut Reader,
    _: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    Ok(reader
        .other_common("health_check_password", number)
        .unwrap_or_else(|| login(reader, Check::Health, "password", "[monitor] password")))
}

pub(super) fn sr_check_password(reader: &mut Reader, _: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    Ok(login(reader, Check::Replication, "password", "[monitor] password"))
}

/// Puts together what the two checks say.
pub(super) fn finish(reader: &mut Reader) {
    let common = |name| reader.value(name, None).and_then(seconds);
    if let Some(period) = common("health_check_period") {
        let retried = reader.draft.config.monitor.retries > 0
            && reader.value("health_check_max_retries", None).is_some();
        let delay = common("health_check_retry_delay").filter(|_| retried);
        let fastest = [Some(period), delay, common("sr_check_period")].into_iter().flatten().min();
        reader.draft.config.monitor.interval = fastest.unwrap_or(period);
    }
    let say = |what| speaker(reader, what).map(|(_, text)| text.to_string());
    let (user, database, password) = (say("user"), say("database"), say("password"));
    let monitor = &mut reader.draft.config.monitor;
    monitor.user = user.unwrap_or_else(|| monitor.user.clone());
    monitor.database = database.unwrap_or_else(|| monitor.database.clone());
    monitor.password = password.filter(|password| !is_aes(password)).map(|password| {
        let plain = password.strip_prefix("TEXT").map(str::to_string);
        plain.unwrap_or(password)
    });
    let admins = &mut reader.draft.config.admin.users;
    if !admins.contains(&monitor.user) {
        admins.insert(0, monitor.user.clone());
    }
}

/// A time that says something.
fn seconds(text: &str) -> Option<Duration> {
    value::duration(text, "s", TEN_MS..=HOUR).ok().filter(|time| !time.is_zero())
}

/// What is written for this node, or else for all.
fn own_or_common<'a>(reader: &'a Reader, name: &'static str, node: u32) -> Option<&'a str> {
    reader.value(name, Some(node)).or_else(|| reader.value(name, None))
}

/// The two checks of pgpool-II, each with a login of its own.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Check {
    Health,
    Replication,
}

impl Check {
    fn name(self, what: &str) -> &'static str {
        match (self, what) {
            (Check::Health, "user") => "health_check_user",
            (Check::Health, "database") => "health_check_database",
            (Check::Health, _) => "health_check_password",
            (Check::Replication, "user") => "sr_check_user",
            (Check::Replication, "database") => "sr_check_database",
            (Check::Replication, _) => "sr_check_password",
        }
    }
}

fn interval(period: Duration) -> Outcome {
    let outcome = Outcome::sets("[monitor] interval");
    match period.is_zero() {
        true => outcome.with("pgweir always probes"),
        false => outcome.with("one probe does both checks, at the shortest of their times"),
    }
}

/// What a line of a login becomes: the probes' login, or a warning that the other check's is used.
fn login(reader: &Reader, check: Check, what: &'static str, key: &'static str) -> Outcome {
    let own = common(reader, check.name(what)).unwrap_or_default();
    if own.is_empty() {
        return match what {
            "password" => Outcome::says("the one pool_passwd has for the user"),
            _ => Outcome::sets(key),
        };
    }
    if what == "password" && is_aes(own) {
        return Outcome::warns(
            "is left out, because reading an AES password takes pgpool's key file: write the \
             password as it is, and keep the file private",
        );
    }
    match speaker(reader, what) {
        Some((_, text)) if text == own => Outcome::sets(key),
        Some((other, _)) => {
            Outcome::warns(format!("is not used yet: one probe does both checks, with {}", other.name(what)))
        }
        None => Outcome::warns(format!(
            "is not used yet: one probe does both checks, with {}",
            Check::Replication.name("user")
        )),
    }
}

/// Which check gives the probes their user, database or password: the replication check, whose
/// user may read positions, if it names a user; its password only comes from a check with the same
/// user.
fn speaker<'a>(reader: &'a Reader, what: &str) -> Option<(Check, &'a str)> {
    let said = |check: Check, what: &str| common(reader, check.name(what)).filter(|text| !text.is_empty());
    let checks = match said(Check::Replication, "user").is_some() {
        true => [Check::Replication, Check::Health],
        false => [Check::Health, Check::Replication],
    };
    let user = checks.iter().find_map(|check| said(*check, "user"));
    checks
        .into_iter()
        .filter(|check| {
            let own = said(*check, "user");
            what != "password" || own == user || (own.is_none() && user.is_none())
        })
        .find_map(|check| Some((check, said(check, what)?)))
}

/// The value that counts for all nodes: without a number, or else with the smallest.
fn common<'a>(reader: &'a Reader, name: &'static str) -> Option<&'a str> {
    let mut range = reader.values.range((name, None)..=(name, Some(u32::MAX)));
    range.next().map(|(_, setting)| setting.value.as_str())
}

const TEN_MS: Duration = Duration::from_millis(10);
const HOUR: Duration = Duration::from_secs(3600);
