//! Backends, clients and their patience.

use std::time::Duration;

use super::lexer::Setting;
use super::{Outcome, Reader, value};
use crate::config::Pool;

/// Pgpool-II serves this many clients at a time, each with a backend per node, and lets the next
/// ones wait. So it is the number of backends here: operators have sized it by max_connections,
/// and a client beyond it waits for a backend instead of in the kernel's queue. It becomes a limit
/// of clients only where reserved_connections makes pgpool-II refuse them too.
pub(super) fn num_init_children(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let children = value::integer(&setting.value, 1..=CHILDREN_MAX)?;
    let outcome = Outcome::sets("[pool] size");
    reader.draft.config.pool.size = children.min(SIZE_MAX) as u32;
    if reserved(reader) == 0 {
        let clients = &mut reader.draft.config.pool.client_max;
        *clients = (*clients).max(children as u32);
    }
    Ok(match children > SIZE_MAX {
        true => outcome.warning(format!(
            "is larger than a pool may be, which is {SIZE_MAX} backends: more clients wait"
        )),
        false => outcome.with("more clients wait for a backend"),
    })
}

/// With k of them pgpool-II answers 53300 to a client beyond num_init_children - k.
pub(super) fn reserved_connections(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let children = children(reader);
    let reserved = value::integer(&setting.value, 0..=CHILDREN_MAX)?;
    match children - reserved {
        _ if reserved == 0 => Ok(Outcome::says("no client is refused before [pool] client_max")),
        clients if clients > 0 => {
            reader.draft.config.pool.client_max = clients as u32;
            Ok(Outcome::sets("[pool] client_max"))
        }
        _ => Err(format!("{reserved} leaves no connection of num_init_children = {children}: write less")),
    }
}

/// Off means that no backend outlives its use. One that goes to a waiting client at once is still
/// reused: it has been reset, and opening another would only make that client wait longer.
pub(super) fn connection_cache(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    if value::boolean(&setting.value)? {
        return Ok(Outcome::says("backends are always pooled"));
    }
    reader.draft.config.pool.idle_timeout = Duration::from_millis(1);
    Ok(Outcome::sets("[pool] idle_timeout"))
}

/// In pgpool-II too the clock runs only while no client uses the backend.
pub(super) fn connection_life_time(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let idle = value::duration(&setting.value, "s", MILLISECOND..=MONTH)?;
    if cache_is_off(reader) {
        return Ok(Outcome::says("connection_cache = off closes backends at once"));
    }
    reader.draft.config.pool.idle_timeout = idle;
    Ok(Outcome::sets("[pool] idle_timeout"))
}

pub(super) fn client_idle_limit(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let limit = value::duration(&setting.value, "s", MILLISECOND..=MONTH)?;
    reader.draft.config.pool.client_idle_timeout = limit;
    Ok(Outcome::sets("[pool] client_idle_timeout"))
}

/// Accepts a number for one node, as pgpool-II does; pgweir has one patience for all nodes.
pub(super) fn connect_timeout(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    let timeout = value::duration(&setting.value, "ms", MILLISECOND..=HOUR)?;
    if let Some(common) = reader.other_common("connect_timeout", number) {
        return Ok(common);
    }
    reader.draft.config.pool.connect_timeout = match timeout.is_zero() {
        true => HOUR,
        false => timeout,
    };
    Ok(Outcome::sets("[pool] connect_timeout"))
}

/// ABORT is left out: a backend is never handed back inside a transaction.
pub(super) fn reset_query_list(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let statements: Vec<String> = setting
        .value
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty() && !is_abort(statement))
        .map(str::to_string)
        .collect();
    if statements.is_empty() {
        reader.draft.config.pool.reset = Pool::default().reset;
        return Ok(Outcome::sets("[pool] reset").warning(
            "resets nothing, but a backend must be made fit for the next client: DISCARD ALL it is",
        ));
    }
    reader.draft.config.pool.reset = statements;
    Ok(Outcome::sets("[pool] reset"))
}

/// The num_init_children in effect. A bad value is reported where it is written.
pub(super) fn children(reader: &Reader) -> i64 {
    reader
        .value("num_init_children", None)
        .and_then(|text| value::integer(text, 1..=CHILDREN_MAX).ok())
        .unwrap_or(i64::from(CHILDREN_DEFAULT))
}

/// The reserved_connections in effect.
fn reserved(reader: &Reader) -> i64 {
    reader
        .value("reserved_connections", None)
        .and_then(|text| value::integer(text, 0..=CHILDREN_MAX).ok())
        .unwrap_or(0)
}

fn cache_is_off(reader: &Reader) -> bool {
    reader.value("connection_cache", None).map(value::boolean) == Some(Ok(false))
}

fn is_abort(statement: &str) -> bool {
    ["abort", "rollback"].iter().any(|word| statement.eq_ignore_ascii_case(word))
}

/// As many as a [pool] client_max may be.
const CHILDREN_MAX: i64 = 1_000_000;
/// The bound of [pool] size.
const SIZE_MAX: i64 = 10_000;
/// Pgpool-II's own.
pub(super) const CHILDREN_DEFAULT: u32 = 32;

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
