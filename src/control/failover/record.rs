//! What happened, for `SHOW FAILOVERS` and the log.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use super::time::Later;
use crate::door::ShardId;
use crate::topology::{Epoch, Moment, NodeId};

/// The last changes of the primary and attempts at it, oldest first. At most [`RECORDS_MAX`].
#[derive(Clone, Debug, Default)]
pub struct Records {
    list: VecDeque<Record>,
    last: u64,
    /// True exactly when the newest is not complete.
    open: bool,
}

/// One of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// From 1, without gaps.
    pub number: u64,
    pub kind: Kind,
    pub began: Moment,
    /// What made it begin, in the order noticed. At most [`SEEN_MAX`].
    pub seen: Vec<Seen>,
    /// The primary before.
    pub from: Option<NodeId>,
    /// The primary after; `None` while there is none.
    pub to: Option<NodeId>,
    /// The picture without a primary, and the one with the next.
    pub fenced: Option<Epoch>,
    pub published: Option<Epoch>,
    /// Why that node.
    pub why: String,
    /// How long each phase took, in order; one may come again. At most [`PHASES_MAX`].
    pub phases: Vec<(&'static str, Duration)>,
    /// `None` while it is going on.
    pub outcome: Option<String>,
    /// What it meant for clients; filled in by whoever counts that.
    pub clients: Clients,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The primary was lost.
    Failover,
    /// The operator moved it.
    Switchover,
    /// The operator promoted a node without the primary's consent.
    Promotion,
    /// Someone else promoted a node.
    Observed,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Failover => "failover",
            Kind::Switchover => "switchover",
            Kind::Promotion => "promotion",
            Kind::Observed => "observed",
        }
    }
}

/// Who noticed what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub at: Moment,
    pub by: Witness,
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Witness {
    Probe,
    Shard(ShardId),
    Operator,
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Witness::Probe => f.write_str("probe"),
            Witness::Shard(shard) => write!(f, "shard {}", shard.0),
            Witness::Operator => f.write_str("operator"),
        }
    }
}

/// Sessions that waited; statements that were run again, failed, or whose outcome is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    pub held: u64,
    pub rerun: u64,
    pub failed: u64,
    pub unknown: u64,
}

impl Records {
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Record> {
        self.list.iter()
    }

    /// What record `number` meant for clients.
    pub fn count(&mut self, number: u64, clients: Clients) {
        if let Some(record) = self.list.iter_mut().find(|record| record.number == number) {
            record.clients = clients;
        }
    }

    pub(super) fn begin(&mut self, kind: Kind, from: Option<NodeId>, seen: Vec<Seen>, now: Moment) {
        if self.list.len() == RECORDS_MAX {
            self.list.pop_front();
        }
        self.last += 1;
        self.open = true;
        self.list.push_back(Record {
            number: self.last,
            kind,
            began: now,
            seen,
            from,
            to: None,
            fenced: None,
            published: None,
            why: String::new(),
            phases: Vec::new(),
            outcome: None,
            clients: Clients::default(),
        });
    }

    /// The one that is going on.
    pub(super) fn current(&mut self) -> Option<&mut Record> {
        self.list.back_mut().filter(|_| self.open)
    }

    /// It is over. The number of the record, if there was one.
    pub(super) fn end(&mut self, outcome: String) -> Option<u64> {
        let record = self.current()?;
        record.outcome = Some(outcome);
        let number = record.number;
        self.open = false;
        Some(number)
    }

    pub(super) fn published(&mut self, primary: Option<NodeId>, epoch: Epoch) {
        if let Some(record) = self.list.back_mut() {
            match primary {
                None if record.outcome.is_none() => record.fenced = record.fenced.or(Some(epoch)),
                Some(_) if primary == record.to => record.published = record.published.or(Some(epoch)),
                _ => {}
            }
        }
    }
}

impl Record {
    pub(super) fn passed(&mut self, phase: &'static str, entered: Moment, now: Moment) {
        let full = self.phases.len() == PHASES_MAX;
        match self.phases.last_mut() {
            Some((last, time)) if *last == phase || full => *time = time.saturating_add(now.after(entered)),
            _ => self.phases.push((phase, now.after(entered))),
        }
    }
}

impl fmt::Display for Record {
    /// One line for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = |node: Option<NodeId>| node.map_or_else(|| "none".to_owned(), |node| node.to_string());
        write!(f, "{} {}: from={} to={}", self.kind.name(), self.number, node(self.from), node(self.to))?;
        if let Some(epoch) = self.fenced {
            write!(f, " fenced={}", epoch.0)?;
        }
        if let Some(epoch) = self.published {
            write!(f, " published={}", epoch.0)?;
        }
        for (phase, time) in &self.phases {
            write!(f, " {phase}={time:.1?}")?;
        }
        if let Some(seen) = self.seen.first() {
            write!(f, " seen=\"{}: {}\"", seen.by, seen.what)?;
        }
        if !self.why.is_empty() {
            write!(f, " why=\"{}\"", self.why)?;
        }
        write!(f, " outcome=\"{}\"", self.outcome.as_deref().unwrap_or("going on"))
    }
}

/// Records kept.
const RECORDS_MAX: usize = 64;

/// Phases of one record; what comes later is added to the last.
const PHASES_MAX: usize = 32;

/// What one record says was seen.
pub(super) const SEEN_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_its_phases_and_its_end() {
        let mut records = Records::default();
        let seen = vec![Seen { at: Moment(0), by: Witness::Shard(ShardId(1)), what: "closed".into() }];
        records.begin(Kind::Failover, Some(NodeId(0)), seen, Moment(0));
        let record = records.current().expect("it is going on");
        record.passed("fencing", Moment(0), Moment(1_000_000));
        record.passed("fencing", Moment(0), Moment(1_000_000));
        record.to = Some(NodeId(1));
        records.published(None, Epoch(4));
        records.published(None, Epoch(5));
        records.published(Some(NodeId(1)), Epoch(6));
        assert_eq!(records.end("done".into()), Some(1));
        assert_eq!(records.end("done".into()), None);
        records.count(1, Clients { held: 3, ..Clients::default() });
        let record = records.iter().next().expect("it is kept");
        assert_eq!(record.clients.held, 3);
        assert_eq!(
            record.to_string(),
            "failover 1: from=0 to=1 fenced=4 published=6 fencing=2.0ms seen=\"shard 1: closed\" outcome=\"done\""
        );
    }

    #[test]
    fn the_last_are_kept() {
        let mut records = Records::default();
        for _ in 0..RECORDS_MAX + 3 {
            records.begin(Kind::Observed, None, Vec::new(), Moment(0));
            records.end(String::new());
        }
        assert_eq!(records.iter().count(), RECORDS_MAX);
        assert_eq!(records.iter().next().map(|record| record.number), Some(4));
        let mut record = records.iter().next().expect("there are some").clone();
        for index in 0..PHASES_MAX + 5 {
            record.passed(["a", "b"][index % 2], Moment(0), Moment(1));
        }
        assert_eq!(record.phases.len(), PHASES_MAX);
    }
}
