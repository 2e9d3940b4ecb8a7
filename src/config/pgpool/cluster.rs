//! What kind of cluster it is, and which nodes take reads.

use std::time::Duration;

use super::lexer::Setting;
use super::{Outcome, Reader, place, value};
use crate::config::{Balance, Reads};

/// The name that decides since 4.2.
pub(super) fn backend_clustering_mode(
    _: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    mode(&setting.value)
}

/// Up to 4.1.
pub(super) fn replication_mode(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let on = value::boolean(&setting.value)?;
    if let Some(newer) = newer(reader) {
        return Ok(newer);
    }
    match on {
        true => mode("native_replication"),
        false => Ok(Outcome::says("pgweir never writes to several nodes")),
    }
}

/// Up to 4.1.
pub(super) fn master_slave_mode(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let on = value::boolean(&setting.value)?;
    if let Some(newer) = newer(reader) {
        return Ok(newer);
    }
    match on {
        true => Ok(Outcome::says(STREAMING)),
        false => mode("raw"),
    }
}

/// Up to 4.1; counts only with master_slave_mode.
pub(super) fn master_slave_sub_mode(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    if let Some(newer) = newer(reader) {
        return Ok(newer);
    }
    let on = reader.value("master_slave_mode", None).map(value::boolean) == Some(Ok(true));
    match setting.value.to_ascii_lowercase().as_str() {
        "stream" => Ok(Outcome::says(STREAMING)),
        "slony" | "logical" if !on => Ok(Outcome::says("master_slave_mode is off")),
        "slony" => mode("slony"),
        "logical" => mode("logical_replication"),
        other => Err(format!("'{other}' is none of stream, slony, logical")),
    }
}

pub(super) fn load_balance_mode(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.route.reads = match value::boolean(&setting.value)? {
        true => Reads::Any,
        false => Reads::Primary,
    };
    Ok(Outcome::sets("[route] reads"))
}

pub(super) fn statement_level_load_balance(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.route.balance = match value::boolean(&setting.value)? {
        true => Balance::Statement,
        false => Balance::Session,
    };
    Ok(Outcome::sets("[route] balance"))
}

/// In bytes; 0 is no limit. The limit in time counts where both are given, as in pgpool-II.
pub(super) fn delay_threshold(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let bytes = value::bytes(&setting.value, LAG_MAX)?;
    let by_time = reader.value("delay_threshold_by_time", None).map(lag);
    if bytes > 0 && by_time.is_some_and(|time| time.is_ok_and(|time| !time.is_zero())) {
        return Ok(Outcome::says("delay_threshold_by_time counts instead"));
    }
    reader.draft.config.route.lag_max = Some(bytes).filter(|bytes| *bytes > 0);
    Ok(Outcome::sets("[route] lag_max"))
}

/// A bare number counts milliseconds, as since 4.5; in 4.4 it counted seconds.
pub(super) fn delay_threshold_by_time(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let time = lag(&setting.value)?;
    reader.draft.config.route.lag_max_time = Some(time).filter(|time| !time.is_zero());
    Ok(Outcome::sets("[route] lag_max_time"))
}

/// What pgweir does is "transaction"; what goes further is what causal reads are for.
pub(super) fn disable_load_balance_on_write(
    _: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    match setting.value.to_ascii_lowercase().as_str() {
        "transaction" => Ok(Outcome::says("as pgweir always does")),
        "off" | "trans_transaction" | "always" | "dml_adaptive" | "dml_adaptive_global" => {
            Ok(Outcome::warns(
                "is not used yet: pgweir keeps a read-write transaction on the primary, and \
                 [route] causal keeps later reads from being older than the writes before them",
            ))
        }
        other => Err(format!(
            "'{other}' is none of off, transaction, trans_transaction, always, dml_adaptive, \
             dml_adaptive_global"
        )),
    }
}

/// Off makes a comment in front of a SELECT a hint to stay on the primary.
pub(super) fn allow_sql_comments(
    _: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    match value::boolean(&setting.value)? {
        true => Ok(Outcome::says("as pgweir always does")),
        false => Ok(Outcome::warns(
            "is not used yet: a comment in front of a read does not keep it on the primary",
        )),
    }
}

pub(super) fn ignore_leading_white_space(
    _: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    match value::boolean(&setting.value)? {
        true => Ok(Outcome::says("as pgweir always does")),
        false => Ok(Outcome::warns(
            "has no meaning in pgweir: blanks in front of a statement never change where it goes",
        )),
    }
}

/// Up to 3.4: on means that each node holds another part of the data.
pub(super) fn parallel_mode(_: &mut Reader, setting: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    match value::boolean(&setting.value)? {
        true => Err("data spread over the nodes is not supported, and pgpool-II dropped it in 3.5: \
             bring the data together on one primary"
            .to_string()),
        false => Ok(Outcome::says("as pgweir always does")),
    }
}

/// Raw mode has no reads elsewhere, whatever load_balance_mode says.
pub(super) fn finish(reader: &mut Reader) {
    let setting = ["backend_clustering_mode", "master_slave_mode"]
        .into_iter()
        .find_map(|name| reader.values.get(&(name, None)).cloned());
    let Some(setting) = setting.filter(is_raw) else {
        return;
    };
    reader.draft.config.route.reads = Reads::Primary;
    let nodes = reader.values.keys().filter(|(name, _)| *name == "backend_port").count();
    if nodes > 1 {
        reader.draft.warning(
            place(&setting),
            "raw mode uses the lowest live node; pgweir uses the primary that it finds, so the \
             other nodes must be its streaming replicas",
        );
    }
}

fn is_raw(setting: &Setting) -> bool {
    match setting.name.as_str() {
        "backend_clustering_mode" => setting.value.eq_ignore_ascii_case("raw"),
        _ => value::boolean(&setting.value) == Ok(false),
    }
}

fn mode(name: &str) -> Result<Outcome, String> {
    match name.to_ascii_lowercase().as_str() {
        "streaming_replication" => Ok(Outcome::says(STREAMING)),
        "raw" => Ok(Outcome::sets("[route] reads")),
        "native_replication" | "snapshot_isolation" => {
            Err("pgweir does not write to every node itself, so the nodes would drift apart: let \
             PostgreSQL replicate, and write backend_clustering_mode = 'streaming_replication'"
                .to_string())
        }
        "logical_replication" | "slony" => {
            Err("pgweir tells the primary from its replicas by streaming replication alone, and would \
             take every node for a primary: write backend_clustering_mode = \
             'streaming_replication' for nodes that replicate so"
                .to_string())
        }
        other => Err(format!(
            "'{other}' is none of streaming_replication, native_replication, \
             logical_replication, snapshot_isolation, raw"
        )),
    }
}

/// What an older name becomes beside backend_clustering_mode.
fn newer(reader: &Reader) -> Option<Outcome> {
    reader.value("backend_clustering_mode", None)?;
    Some(Outcome::says("backend_clustering_mode counts instead"))
}

fn lag(text: &str) -> Result<Duration, String> {
    let range = Duration::from_millis(1)..=Duration::from_secs(86_400);
    value::duration(text, "ms", range)
}

const STREAMING: &str = "streaming replication, as pgweir always works";

/// The bound of [route] lag_max.
const LAG_MAX: u64 = 1 << 50;
