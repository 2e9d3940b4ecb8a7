//! Which node may be written to, and how another one comes to be it: the decider of failover and switchover.
//!
//! A decider: no sockets, threads or clock. Whoever drives it tells what happened by [`Failover::handle`], lets time
//! pass by [`Failover::tick`], and after each of them does what [`Failover::next_action`] says until it says nothing.
//!
//! ```text
//!  probes ──── answered, failed ──▶┌──────────┐──▶ publish(primary, gate) ──▶ shards
//!  shards ──── suspected ─────────▶│          │◀── published(epoch)
//!         ──── acknowledged ──────▶│ Failover │◀── acknowledged(epoch) ────── shards
//!  console ─── ordered ───────────▶│          │──▶ promote, run, follow, demote ──▶ nodes
//!                                  └──────────┘◀── promoted, exited, followed, demoted
//! ```
//!
//! What holds at every moment:
//!
//! 1. a picture names one primary or none, and a picture with another primary than the last one is published only after
//!    every shard has acknowledged one without any. So no two nodes are ever written to at the same time;
//! 2. a node is promoted only after that, and positions are compared that were asked for after that: what the lost
//!    primary acknowledged to any client is then either there or was never received;
//! 3. once a node was told to become the primary and another one is published instead, its claims are not believed,
//!    however late they come;
//! 4. who cannot be judged is not promoted: then clients wait, and the operator is told.
//!
//! Which node may be *read* is not decided here, except that what [`Failover::verdict`] refuses is not used at all.

mod action;
mod choice;
mod claims;
mod event;
mod fence;
mod flaps;
mod following;
mod nodes;
mod phase;
mod placeholders;
mod planned;
mod record;
mod rejoin;
mod rules;
mod time;
mod trust;
mod unplanned;
mod watching;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use self::action::{Action, Purpose};
pub use self::event::{Attempt, Event, Order, PromoteError, Sighting, Sync};
pub use self::nodes::Verdict;
pub use self::placeholders::{Place, Placeholders};
pub use self::record::{Clients, Kind, Record, Records, Seen, Witness};
pub use self::rules::{Mode, NodeRules, Rules};

use self::claims::Belief;
use self::fence::Fence;
use self::following::Follows;
use self::nodes::Nodes;
use self::phase::Phase;
use self::planned::Waiting;
use self::record::SEEN_MAX;
use self::time::Later;
use crate::control::Lsn;
pub use crate::topology::Gate;
use crate::topology::{Epoch, Moment, NodeId};

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Failover {
    rules: Rules,
    nodes: Nodes,
    fence: Fence,
    /// When the last fence was asked for.
    fenced_at: Moment,
    phase: Phase,
    entered: Moment,
    /// What shards are told, or are about to be.
    primary: Option<NodeId>,
    gate: Gate,
    paused: bool,
    line: Line,
    /// What was asked to be published last.
    picture: Picture,
    /// Its epoch, once it is published.
    epoch: Option<Epoch>,
    attempts: u64,
    /// Nodes told to become the primary since there is none: each may have done so.
    told: Vec<NodeId>,
    /// Candidates that failed since there is no primary.
    failed: Vec<NodeId>,
    follows: Follows,
    /// The order that the present phase carries out.
    ticket: Option<u64>,
    waiting: Vec<Waiting>,
    /// What was noticed since the primary was last beyond doubt.
    seen: Vec<Seen>,
    records: Records,
    /// Alarms by subject, and when each was raised last.
    alarms: Vec<(&'static str, Moment)>,
    actions: VecDeque<Action>,
}

/// The line of WAL that counts: that of the last primary that was published.
#[derive(Clone, Debug, Default)]
struct Line {
    /// There or not.
    primary: Option<NodeId>,
    /// 0: not known.
    timeline: u32,
    system: Option<u64>,
    /// Where its WAL ended at its last answer, and when that was asked for.
    written: Option<(Lsn, Moment)>,
    /// What it last said about its replicas.
    followers: Vec<(NodeId, Sync)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Picture {
    primary: Option<NodeId>,
    gate: Gate,
    verdicts: Vec<Verdict>,
}

impl Failover {
    /// A decider that knows nothing yet, while no shard has a primary.
    pub fn new(rules: Rules, nodes: &[(NodeId, NodeRules)], shards: usize, now: Moment) -> Failover {
        let why = "no primary has been seen yet".to_owned();
        let mut failover = Failover {
            phase: Phase::Holding { why, promote: false, look: now.later(rules.alarm_interval) },
            rules,
            nodes: Nodes::default(),
            fence: Fence::new(shards, now),
            fenced_at: now,
            entered: now,
            primary: None,
            gate: Gate::Open,
            paused: false,
            line: Line::default(),
            picture: Picture::default(),
            epoch: None,
            attempts: 0,
            told: Vec::new(),
            failed: Vec::new(),
            follows: Follows::default(),
            ticket: None,
            waiting: Vec::new(),
            seen: Vec::new(),
            records: Records::default(),
            alarms: Vec::new(),
            actions: VecDeque::new(),
        };
        failover.nodes.configured(nodes, now);
        failover.picture.verdicts = failover.verdicts(&Belief::default());
        failover
    }

    /// The configuration was read again. A primary that left it is lost.
    pub fn configured(&mut self, rules: Rules, nodes: &[(NodeId, NodeRules)], now: Moment) {
        self.rules = rules;
        self.nodes.configured(nodes, now);
        self.settle(now);
    }

    /// Something happened.
    pub fn handle(&mut self, event: Event, now: Moment) {
        match event {
            Event::Answered { node, sighting } => self.answered(node, sighting, now),
            Event::Failed { node, reason } => self.probe_failed(node, reason, now),
            Event::Suspected { node, by, reason } => {
                if let Some(suspect) = self.nodes.get_mut(node) {
                    suspect.suspected(reason.clone());
                }
                self.saw(node, Witness::Shard(by), reason, now);
                self.actions.push_back(Action::Probe { node });
            }
            Event::Published { epoch } => {
                self.epoch = self.epoch.or(Some(epoch));
                if self.primary.is_none() {
                    self.fence.published(epoch);
                }
                self.records.published(self.primary, epoch);
            }
            Event::Acknowledged { shard, epoch, wrote } => {
                self.fence.acknowledged(shard, epoch, wrote, now);
            }
            Event::Drained { shard, epoch } => self.fence.drained(shard, epoch),
            Event::Ended { shard } => self.fence.ended(shard, now),
            Event::Promoted { attempt, result } => self.promoted(attempt, result, now),
            Event::Exited { attempt, code } => self.exited(attempt, code, now),
            Event::Followed { attempt, result } => {
                self.followed(attempt, result, now);
            }
            Event::Demoted { attempt: _, result } => {
                if let Err(reason) = result {
                    self.alarm(
                        "demote",
                        format!("the former primary could not be prepared to follow: {reason}"),
                        now,
                    );
                }
            }
            Event::Ordered { ticket, order } => self.ordered(ticket, order, now),
        }
        self.settle(now);
    }

    /// Time passes: to be called every few tens of milliseconds.
    pub fn tick(&mut self, now: Moment) {
        self.settle(now);
    }

    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Who is the primary, and whether new transactions may begin: what a picture is to say.
    pub fn primary(&self) -> (Option<NodeId>, Gate) {
        (self.primary, self.gate)
    }

    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether there is a primary, new transactions may begin there, and nothing speaks against it.
    pub fn steady(&self) -> bool {
        matches!(self.phase, Phase::Steady) && !self.paused
    }

    /// The primary, or the last one while there is none.
    pub fn last_primary(&self) -> Option<NodeId> {
        self.line.primary
    }

    /// Whether the picture may show this node as one to use at all.
    pub fn verdict(&self, node: NodeId) -> Verdict {
        self.picture.verdicts.get(node.index()).cloned().unwrap_or(Verdict::Drained)
    }

    /// The phase, for the operator.
    pub fn phase(&self) -> &'static str {
        match self.paused {
            true => "paused",
            false => self.phase.name(),
        }
    }

    pub fn records(&self) -> &Records {
        &self.records
    }

    pub fn records_mut(&mut self) -> &mut Records {
        &mut self.records
    }
}

/// What happened, into what is known.
impl Failover {
    fn answered(&mut self, id: NodeId, sighting: Sighting, now: Moment) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        node.answered(sighting, now);
        let (claims, timeline) = (node.claims(), node.timeline);
        let Some(sighting) = node.sighting.clone().filter(|_| claims && self.line.primary == Some(id)) else {
            self.look_at_target(id);
            return;
        };
        if timeline.is_some_and(|timeline| timeline < self.line.timeline) {
            return;
        }
        self.line.timeline = self.line.timeline.max(timeline.unwrap_or(0));
        self.line.system = sighting.system.or(self.line.system);
        self.line.written = sighting.written.map(|lsn| (lsn, sighting.sent));
        self.nodes.heard_followers(&sighting.followers);
        self.line.followers = sighting.followers;
    }

    fn probe_failed(&mut self, id: NodeId, reason: String, now: Moment) {
        let rules = &self.rules;
        let lost = self.nodes.get_mut(id).is_some_and(|node| node.failed(reason.clone(), rules, now));
        self.saw(id, Witness::Probe, reason, now);
        if lost && self.primary.is_some() && self.primary != Some(id) {
            self.replica_lost(id);
        }
    }

    /// Remembers what speaks against the primary.
    fn saw(&mut self, node: NodeId, by: Witness, what: String, now: Moment) {
        let known = self.seen.iter().any(|seen| seen.by == by && seen.what == what);
        if self.primary == Some(node) && !known && self.seen.len() < SEEN_MAX {
            self.seen.push(Seen { at: now, by, what });
        }
    }
}

/// From what is known to what is done.
impl Failover {
    /// Goes on until nothing changes any more, then has the result published.
    fn settle(&mut self, now: Moment) {
        let mut belief = self.belief();
        for _ in 0..STEPS_MAX {
            if !self.step(&belief, now) {
                break;
            }
            belief = self.belief();
        }
        self.look_at_fenced(&belief, now);
        let picture = Picture { primary: self.primary, gate: self.gate, verdicts: self.verdicts(&belief) };
        if picture != self.picture {
            self.actions.push_back(Action::Publish { primary: picture.primary, gate: picture.gate });
            self.picture = picture;
            self.epoch = None;
        }
        self.answer_waiting(now);
    }

    fn step(&mut self, belief: &Belief, now: Moment) -> bool {
        match self.phase.clone() {
            _ if self.paused => false,
            Phase::Steady | Phase::Suspecting { .. } | Phase::Following { .. } => self.watch(belief, now),
            Phase::Fencing { goal, until } => self.wait_for_fence(goal, until, belief, now),
            Phase::Choosing { since, until } => self.choose(since, until, belief, now),
            Phase::Promoting(promotion) => self.wait_for_promotion(&promotion, belief, now),
            Phase::Holding { why, promote, look } => self.hold(&why, promote, look, belief, now),
            Phase::Switching { target, step, until } => self.switch(target, step, until, now),
        }
    }

    fn enter(&mut self, phase: Phase, now: Moment) {
        let (name, entered) = (self.phase.name(), self.entered);
        if let Some(record) = self.records.current() {
            record.passed(name, entered.max(record.began), now);
        }
        self.phase = phase;
        self.entered = now;
    }

    /// The record that is going on is complete.
    fn end_record(&mut self, outcome: impl Into<String>, now: Moment) {
        let (name, entered) = (self.phase.name(), self.entered);
        if let Some(record) = self.records.current() {
            record.passed(name, entered.max(record.began), now);
            self.entered = now;
        }
        if let Some(number) = self.records.end(outcome.into()) {
            self.actions.push_back(Action::Recorded { number });
        }
    }

    fn begin_record(&mut self, kind: Kind, seen: Vec<Seen>, now: Moment) {
        self.end_record("something else came first", now);
        self.records.begin(kind, self.line.primary, seen, now);
    }

    fn next_attempt(&mut self) -> Attempt {
        self.attempts += 1;
        Attempt(self.attempts)
    }

    /// Raises an alarm, unless one on the same subject was raised within the interval.
    fn alarm(&mut self, subject: &'static str, text: String, now: Moment) {
        let interval = self.rules.alarm_interval;
        match self.alarms.iter_mut().find(|(other, _)| *other == subject) {
            Some((_, last)) if now < last.later(interval) => return,
            Some((_, last)) => *last = now,
            None => self.alarms.push((subject, now)),
        }
        self.actions.push_back(Action::Alarm(text));
    }

    fn log(&mut self, text: String) {
        self.actions.push_back(Action::Log(text));
    }

    /// What came of the order that the present phase carries out.
    fn answer(&mut self, result: Result<String, String>) {
        if let Some(ticket) = self.ticket.take() {
            self.actions.push_back(Action::Answer { ticket, result });
        }
    }
}

/// Changes of phase that one event can cause: fewer than there are phases. A bound, should two ever send each other
/// back and forth; the next tick goes on.
const STEPS_MAX: usize = 16;
