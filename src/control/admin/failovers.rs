//! SHOW FAILOVERS: each change of the primary, and each attempt at one, the last first.

use std::time::SystemTime;

use super::tables;
use super::time::utc;
use crate::control::failover::{Record, Records};
use crate::door::Answer;
use crate::topology::{Epoch, Moment, NodeId};

/// `wall`: when by the clock on the wall a moment was.
pub(super) fn failovers(records: &Records, wall: impl Fn(Moment) -> SystemTime) -> Answer {
    tables::show(COLUMNS, records.iter().rev().map(|record| row(record, &wall)).collect())
}

fn row(record: &Record, wall: impl Fn(Moment) -> SystemTime) -> Vec<Option<String>> {
    let node = |node: Option<NodeId>| node.map(|node| node.to_string());
    let epoch = |epoch: Option<Epoch>| epoch.map(|epoch| epoch.0.to_string());
    let seen: Vec<String> = record.seen.iter().map(|seen| format!("{}: {}", seen.by, seen.what)).collect();
    let phases: Vec<String> =
        record.phases.iter().map(|(phase, time)| format!("{phase} {time:.1?}")).collect();
    let clients = record.clients;
    vec![
        Some(record.number.to_string()),
        Some(record.kind.name().to_owned()),
        Some(utc(wall(record.began))),
        node(record.from),
        node(record.to),
        epoch(record.fenced),
        epoch(record.published),
        Some(seen.join("; ")),
        Some(record.why.clone()),
        Some(phases.join(", ")),
        Some(clients.held.to_string()),
        Some(clients.rerun.to_string()),
        Some(clients.failed.to_string()),
        Some(clients.unknown.to_string()),
        Some(record.outcome.clone().unwrap_or_else(|| "going on".to_owned())),
    ]
}

/// `held` and what follows count clients' statements: those that had to wait, were run again unseen, were lost and may be
/// run again, and were lost without anybody knowing whether they took effect.
const COLUMNS: &[&str] = &[
    "number",
    "kind",
    "began",
    "from",
    "to",
    "fenced",
    "published",
    "seen",
    "why",
    "phases",
    "held",
    "rerun",
    "failed",
    "unknown",
    "outcome",
];
