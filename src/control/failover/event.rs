//! What happens to the decider: words of nodes and shards, results of what it asked for, orders.

use crate::control::Lsn;
use crate::door::ShardId;
use crate::topology::{Epoch, Moment, NodeId};

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A node answered a probe.
    Answered { node: NodeId, sighting: Sighting },
    /// A probe of a node failed, for a `reason` that reads well behind "node 1 is lost: ".
    Failed { node: NodeId, reason: String },
    /// A shard's connection to a node broke or was refused.
    Suspected { node: NodeId, by: ShardId, reason: String },
    /// What the last [`Action::Publish`](super::Action::Publish) asked for was published under this number.
    Published { epoch: Epoch },
    /// A shard works by the picture of this epoch or a newer one: nothing that an older one allowed is begun any more,
    /// and whatever still ran on a node that is not the primary any more has been cut off and answered.
    /// `wrote` is the last moment at which it passed on to a client that something was written, 0 when it never did;
    /// `None` when it does not know.
    Acknowledged { shard: ShardId, epoch: Epoch, wrote: Option<Moment> },
    /// With the gate of this epoch closed, no transaction of this shard runs on the primary any more.
    Drained { shard: ShardId, epoch: Epoch },
    /// A shard has ended: it asks nothing of any node any more.
    Ended { shard: ShardId },
    /// What came of [`Action::Promote`](super::Action::Promote).
    Promoted { attempt: Attempt, result: Result<(), PromoteError> },
    /// How the command of [`Action::Run`](super::Action::Run) ended: 0 is success, `None` that a signal ended it or that
    /// it could not be started.
    Exited { attempt: Attempt, code: Option<i32> },
    /// What came of [`Action::Follow`](super::Action::Follow), with the server's words where it refused.
    Followed { attempt: Attempt, result: Result<(), String> },
    /// What came of [`Action::Demote`](super::Action::Demote).
    Demoted { attempt: Attempt, result: Result<(), String> },
    /// The operator wants something; [`Action::Answer`](super::Action::Answer) with the same ticket tells what came of
    /// it, exactly once.
    Ordered { ticket: u64, order: Order },
}

/// Names one thing the decider asked for, so that a late result is not taken for that of a later attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(pub u64);

/// What one answered probe says about a node: the part of the probe's report that failover looks at.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sighting {
    /// When the question was sent: everything said is at least as new.
    pub sent: Moment,
    pub in_recovery: bool,
    pub timeline: Option<u32>,
    /// Where its last WAL record ends. Only of a node that writes.
    pub written: Option<Lsn>,
    /// How far it has received (and flushed) and replayed WAL. Only of a replica.
    pub received: Option<Lsn>,
    pub replayed: Option<Lsn>,
    /// Whether WAL streams in. `None`: it is no replica, or the login may not know.
    pub streaming: Option<bool>,
    /// The configured node it streams from.
    pub follows: Option<NodeId>,
    /// The number that all nodes of one cluster share.
    pub system: Option<u64>,
    /// Another value means that it was restarted in between.
    pub started: Option<Box<str>>,
    /// What it says about its replicas. Only of a node that writes; those that no configured node is known by are left
    /// out.
    pub followers: Vec<(NodeId, Sync)>,
}

/// Whether commits wait for a replica: `pg_stat_replication.sync_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    Async,
    /// Named in `synchronous_standby_names`, and others come first.
    Potential,
    Sync,
    /// One of several of which some must have each commit.
    Quorum,
}

/// Why a promotion did not take place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromoteError {
    /// The server said no: it goes on as a replica.
    #[error("{0}")]
    Refused(String),
    /// The connection was lost or time was up: it may still become a primary.
    #[error("{0}")]
    Unknown(String),
}

/// What the operator can ask for in the admin console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `SWITCHOVER [TO node]`: another node becomes the primary, and no client sees an error.
    Switchover {
        to: Option<NodeId>,
    },
    /// `DETACH node`: nothing new goes there.
    Detach(NodeId),
    /// `ATTACH node`: it is used again.
    Attach(NodeId),
    /// `PROMOTE node`: this one becomes the primary although nobody can say what is lost.
    Promote(NodeId),
    /// `PAUSE`: new transactions wait, and nothing is decided, until `RESUME`.
    Pause,
    Resume,
}

impl Order {
    /// As it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Order::Switchover { .. } => "SWITCHOVER",
            Order::Detach(_) => "DETACH",
            Order::Attach(_) => "ATTACH",
            Order::Promote(_) => "PROMOTE",
            Order::Pause => "PAUSE",
            Order::Resume => "RESUME",
        }
    }
}
