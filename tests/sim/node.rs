//! Servers: their WAL, who writes it, who receives it, whose word a commit waits for.

use pgweir::control::Lsn;
use pgweir::control::failover::{Sighting, Sync};
use pgweir::topology::{Moment, NodeId};

use crate::plan::{Replication, Time};
use crate::world::Happening;

/// One record of WAL. Two are the same exactly when their numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u64,
    pub timeline: u32,
    /// What a client wrote; `None` for the record that begins a timeline.
    pub row: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Crashed,
    Frozen,
}

/// A commit whose client waits.
#[derive(Clone, Copy, Debug)]
pub struct Commit {
    pub shard: usize,
    pub statement: u32,
    /// Where its record ends.
    pub end: usize,
}

pub struct Node {
    pub id: usize,
    pub state: State,
    /// Counts its starts.
    pub boot: u64,
    pub recovering: bool,
    /// Flushed; a crash loses nothing of it. Positions are its length.
    pub wal: Vec<Entry>,
    /// How much of it a replica shows.
    pub replayed: usize,
    pub follows: Option<usize>,
    pub unpromotable: bool,
    /// By replica: how far it has said to have flushed; `None` while it does not stream.
    pub flushed: Vec<Option<usize>>,
    pub commits: Vec<Commit>,
    /// What came while it was frozen.
    pub inbox: Vec<Happening>,
}

impl Node {
    pub fn new(id: usize, nodes: usize) -> Node {
        Node {
            id,
            state: State::Running,
            boot: 1,
            recovering: id > 0,
            wal: vec![Entry { number: 0, timeline: 1, row: None }],
            replayed: 1,
            follows: (id > 0).then_some(0),
            unpromotable: false,
            flushed: vec![None; nodes],
            commits: Vec::new(),
            inbox: Vec::new(),
        }
    }

    pub fn timeline(&self) -> u32 {
        self.wal.last().map_or(1, |entry| entry.timeline)
    }

    pub fn has(&self, row: u32) -> bool {
        self.wal.iter().any(|entry| entry.row == Some(row))
    }

    /// Whether all it has is also in `other`.
    pub fn is_part_of(&self, other: &Node) -> bool {
        other.wal.get(self.wal.len() - 1) == self.wal.last()
    }

    pub fn writes(&self) -> bool {
        self.state == State::Running && !self.recovering
    }

    /// Whether a commit up to `end` need not wait any longer.
    pub fn safe(&self, end: usize, replication: Replication) -> bool {
        let reached = |flushed: &Option<usize>| flushed.is_some_and(|flushed| flushed >= end);
        match replication {
            Replication::Async => true,
            Replication::First => self.flushed.iter().find(|flushed| flushed.is_some()).is_some_and(reached),
            Replication::Any => self.flushed.iter().any(reached),
        }
    }

    /// What a probe is told. `alive` says whether a node can be reached from here.
    pub fn sighting(&self, sent: Time, replication: Replication, streams: bool) -> Sighting {
        let position = |length: usize| Some(Lsn(length as u64));
        let mut first = true;
        let followers =
            self.flushed.iter().enumerate().filter(|(_, flushed)| flushed.is_some()).map(|(id, _)| {
                let sync = match replication {
                    Replication::Async => Sync::Async,
                    Replication::First if std::mem::take(&mut first) => Sync::Sync,
                    Replication::First => Sync::Potential,
                    Replication::Any => Sync::Quorum,
                };
                (NodeId(id as u8), sync)
            });
        Sighting {
            sent: Moment(sent),
            in_recovery: self.recovering,
            timeline: Some(self.timeline()),
            written: position(self.wal.len()).filter(|_| !self.recovering),
            received: position(self.wal.len()).filter(|_| self.recovering),
            replayed: position(self.replayed).filter(|_| self.recovering),
            streaming: self.recovering.then_some(streams),
            follows: self.follows.filter(|_| self.recovering && streams).map(|id| NodeId(id as u8)),
            system: Some(77),
            started: Some(self.boot.to_string().into()),
            followers: if self.recovering { Vec::new() } else { followers.collect() },
        }
    }
}
