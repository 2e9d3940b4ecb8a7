//! The picture of the cluster at one epoch, as control publishes it and shards observe it.
//!
//! ```text
//!  control ──publish──▶ door of shard 0 ──▶ observed: shard 0 routes by epoch e, and says so in its counters
//!                  └──▶ door of shard 1 ──▶ …
//! ```
//!
//! A picture never changes: another one with a higher epoch replaces it. What changes all the time without changing who
//! may be used (how far a replica has replayed) is in each node's [`Gauges`], plain atomics that control writes and
//! shards read. No sockets, no threads, no clock: times are numbers that the caller took.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A node's place in the configuration, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u8);

impl NodeId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The number of a picture; a higher one is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// What a node is to its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Primary,
    Replica,
    /// No probe has told yet.
    Unknown,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Primary => "primary",
            Role::Replica => "replica",
            Role::Unknown => "unknown",
        }
    }
}

/// Whether a node may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Probes fail, or none has succeeded yet.
    Down,
    /// Taken out by the operator: nothing new goes there.
    Drained,
    /// A replica over its lag limit: no new reads.
    Lagging,
    Up,
}

impl NodeState {
    pub fn name(self) -> &'static str {
        match self {
            NodeState::Down => "down",
            NodeState::Drained => "drained",
            NodeState::Lagging => "lagging",
            NodeState::Up => "up",
        }
    }
}

/// Where a node listens: what its name was resolved to, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeAddress {
    Tcp(Vec<SocketAddr>),
    /// The folder of its socket, `.s.PGSQL.PORT`.
    Unix(PathBuf),
}

/// One node in a picture.
#[derive(Clone, Debug)]
pub struct Node {
    pub id: NodeId,
    /// As configured.
    pub host: String,
    pub port: u16,
    /// Share of the reads; 0 takes none.
    pub weight: f64,
    pub role: Role,
    pub state: NodeState,
    /// Empty while the name does not resolve.
    pub address: NodeAddress,
    /// Counts how often this node came back, changed its role or its address: backends opened before the last time are
    /// not used again.
    pub incarnation: u64,
    /// Why it is down, for whoever is told that it is.
    pub reason: Option<Arc<str>>,
    pub gauges: Arc<Gauges>,
}

impl Node {
    /// Whether new work may go there at all.
    pub fn usable(&self) -> bool {
        matches!(self.state, NodeState::Up | NodeState::Lagging)
    }
}

/// What of a node changes with every probe.
#[derive(Debug, Default)]
pub struct Gauges {
    /// Everything that had been committed on the primary at this moment is visible here: nanoseconds since the process
    /// started, as [`Moment`]. 0: nothing is known.
    caught_up: AtomicU64,
}

/// Nanoseconds since the process started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Gauges {
    /// Says that all that was committed before `moment` can be read on this node.
    pub fn caught_up(&self, moment: Moment) {
        self.caught_up.store(moment.0, Ordering::Release);
    }

    /// Whether a read that must see what was committed at `floor` may run here.
    pub fn has(&self, floor: Moment) -> bool {
        self.caught_up.load(Ordering::Acquire) > floor.0
    }
}

/// Whether new transactions may begin on the primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gate {
    #[default]
    Open,
    /// New ones wait; those that run go on to their end.
    Closed,
}

/// The cluster at one epoch.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    pub epoch: Epoch,
    /// By id: the index of a node is its id.
    pub nodes: Vec<Node>,
    pub primary: Option<NodeId>,
    pub gate: Gate,
}

impl Topology {
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index())
    }

    /// The primary, if there is one that may be used.
    pub fn primary(&self) -> Option<&Node> {
        self.node(self.primary?).filter(|node| node.usable())
    }

    /// The primary, if new transactions may begin there.
    pub fn open_primary(&self) -> Option<&Node> {
        self.primary().filter(|_| self.gate == Gate::Open)
    }

    /// Whether new work may go to a node: it may be used, and is not a primary that takes none now.
    pub fn takes_new(&self, node: &Node) -> bool {
        node.usable() && (self.gate == Gate::Open || self.primary != Some(node.id))
    }

    /// Whether any node may be used.
    pub fn reachable(&self) -> bool {
        self.nodes.iter().any(Node::usable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_waits_for_what_was_committed_before_its_floor() {
        let gauges = Gauges::default();
        assert!(!gauges.has(Moment(0)), "nothing is known yet");
        gauges.caught_up(Moment(10));
        assert!(gauges.has(Moment(9)));
        assert!(!gauges.has(Moment(10)), "the probe may have looked just before the commit");
    }
}
