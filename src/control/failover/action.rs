//! What the decider asks for.

use super::event::Attempt;
use crate::topology::{Gate, NodeId};

/// Something to do. Asked for once; what has a result comes back as an [`Event`](super::Event).
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Publish a picture with this primary, this gate and each node's [`Verdict`](super::Verdict), and tell its epoch by
    /// [`Event::Published`](super::Event::Published) before anything else is told. Without a primary it is a fence.
    Publish {
        primary: Option<NodeId>,
        gate: Gate,
    },
    /// Probe this node now rather than at its next turn.
    Probe {
        node: NodeId,
    },
    /// `SELECT pg_promote()` there. Reported by [`Event::Promoted`](super::Event::Promoted).
    Promote {
        attempt: Attempt,
        node: NodeId,
    },
    /// Run this in a shell, its output in the log. Reported by [`Event::Exited`](super::Event::Exited).
    Run {
        attempt: Attempt,
        purpose: Purpose,
        node: NodeId,
        command: String,
    },
    /// Set `primary_conninfo` of `node` to stream from `primary`, and reload. Reported by
    /// [`Event::Followed`](super::Event::Followed).
    Follow {
        attempt: Attempt,
        node: NodeId,
        primary: NodeId,
    },
    /// Prepare the former primary for following: the same settings, effective when it starts as a replica. Reported by
    /// [`Event::Demoted`](super::Event::Demoted).
    Demote {
        attempt: Attempt,
        node: NodeId,
        primary: NodeId,
    },
    /// Tell the operator that something needs him.
    Alarm(String),
    Log(String),
    /// What came of an order: a sentence.
    Answer {
        ticket: u64,
        result: Result<String, String>,
    },
    /// The record of this number is complete: see [`Records`](super::Records).
    Recorded {
        number: u64,
    },
}

/// What a command is run for, by pgpool's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `failover_command` that is to promote a replica.
    Promote,
    /// `failover_command` that is told of the loss of another node.
    Detach,
    /// `follow_primary_command`.
    Follow,
    /// `failback_command`.
    Attach,
}

impl Purpose {
    /// The setting it comes from.
    pub fn setting(self) -> &'static str {
        match self {
            Purpose::Promote | Purpose::Detach => "failover_command",
            Purpose::Follow => "follow_primary_command",
            Purpose::Attach => "failback_command",
        }
    }
}
