//! Where the decider stands.

use super::event::Attempt;
use crate::control::Lsn;
use crate::topology::{Moment, NodeId};

/// ```text
///                  lost ┌────────────────────────── came back ◀───────────────┐
///    ┌────────┐ doubted ▼        ┌────────────┐ not confirmed   ┌─────────┐ acknowledged by all ┌──────────┐
///    │ Steady ├────────────────▶│ Suspecting ├────────────────▶│ Fencing ├────────────────────▶│ Choosing │
///    └──▲─────┘                  └────────────┘                 └─────────┘                     └┬───▲───┬─┘
///       │ all follow                                  somebody promoted another ─▶ adopt         │   │   │ nobody fit,
///    ┌──┴────────┐  seen as the primary  ┌───────────┐  one is fit                               │   │   │ or observing
///    │ Following │◀──────────────────────┤ Promoting │◀──────────────────────────────────────────┘   │   ▼
///    └───────────┘                       └──┬────▲───┘                                   look again┌─┴───────┐
///                        refused, or time up│    │ the target has everything                       │ Holding │
///                                           ▼    │                                                 └─────────┘
///                                     Choosing  Switching: draining ▶ fencing ▶ catching up
/// ```
///
/// Each has a bound in time, and something that happens then; only waiting for shards to acknowledge and for somebody
/// fit has none, since going on without would lose writes. Both raise alarms while they wait.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// There is a primary and nothing speaks against it.
    Steady,
    /// A connection to the primary broke or a probe failed. At `until` it is given up although replicas still receive
    /// from it.
    Suspecting { until: Moment, receivers: Vec<Receiver> },
    /// Published that there is no primary; some shard may still send to the former one. At `until`: an alarm.
    Fencing { goal: Goal, until: Moment },
    /// Nobody sends to the former primary; candidates are asked how far they are. At `until` those count that have
    /// answered to a question asked after `since`.
    Choosing { since: Moment, until: Moment },
    /// A node was told to become the primary. At `until` another candidate is looked for.
    Promoting(Promotion),
    /// There is a new primary, and other nodes are to follow it. At `until`: an alarm for those that do not.
    Following { until: Moment },
    /// There is no primary, and no way to one yet. At `look` it is tried again, with an alarm.
    Holding { why: String, promote: bool, look: Moment },
    /// The operator wants another primary. At `until` the present one stays.
    Switching { target: NodeId, step: Step, until: Moment },
}

/// What to do behind the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Find a replica for a lost primary.
    Replace,
    /// Somebody else has promoted this one.
    Adopt(NodeId),
    /// The operator wants this one.
    Promote(NodeId),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Promotion {
    pub attempt: Attempt,
    pub node: NodeId,
    /// Whether it is a step of a switchover: then the former primary may go on if it fails.
    pub planned: bool,
    pub until: Moment,
    /// Whether the action has ended without our knowing what came of it.
    pub unknown: bool,
}

/// How far a replica had received at its last two answers since the primary is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receiver {
    pub node: NodeId,
    pub sent: Moment,
    pub received: Lsn,
    pub grew: bool,
}

/// The steps of a switchover before the promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// New transactions wait, running ones finish.
    Draining,
    /// Nobody is the primary; not all shards know.
    Fencing,
    /// Nobody writes; the target has to replay the rest.
    CatchingUp { since: Moment },
}

impl Phase {
    /// As in records and alarms.
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Steady => "steady",
            Phase::Suspecting { .. } => "suspecting",
            Phase::Fencing { .. } => "fencing",
            Phase::Choosing { .. } => "choosing",
            Phase::Promoting(_) => "promoting",
            Phase::Following { .. } => "following",
            Phase::Holding { .. } => "holding",
            Phase::Switching { step: Step::Draining, .. } => "draining",
            Phase::Switching { step: Step::Fencing, .. } => "fencing",
            Phase::Switching { step: Step::CatchingUp { .. }, .. } => "catching up",
        }
    }
}
