//! What the operator orders: moving the primary, taking nodes out and back, pausing.

use super::choice;
use super::event::Order;
use super::nodes::Standing;
use super::phase::{Goal, Phase, Step};
use super::record::{Kind, Seen, Witness};
use super::time::Later;
use super::{Action, Failover, Gate, Mode, Purpose};
use crate::topology::{Epoch, Moment, NodeId};

/// An order that is carried out by a picture, and answered when shards work by it.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    ticket: u64,
    /// Of the picture, once it is published.
    epoch: Option<Epoch>,
    /// Whether transactions that run are waited for too.
    drained: bool,
    /// Then it is answered that some shards are late.
    until: Moment,
    done: String,
}

impl Failover {
    pub(super) fn ordered(&mut self, ticket: u64, order: Order, now: Moment) {
        let result = match order {
            Order::Switchover { to } => self.begin_switchover(ticket, to, now),
            Order::Promote(node) => self.begin_promotion(ticket, node, now),
            Order::Detach(node) => self.detach(ticket, node, now),
            Order::Attach(node) => self.attach(ticket, node),
            Order::Pause => self.pause(ticket, now),
            Order::Resume => self.resume(ticket),
        };
        if let Err(reason) = result {
            self.actions.push_back(Action::Answer { ticket, result: Err(reason) });
        }
    }

    fn known(&self, id: NodeId) -> Result<(), String> {
        self.nodes.get(id).map(drop).ok_or_else(|| format!("there is no node {id}"))
    }

    /// The primary, if nothing is under way.
    fn settled_primary(&self) -> Result<NodeId, String> {
        if self.paused {
            return Err("it is paused: RESUME first".to_owned());
        }
        match (&self.phase, self.primary) {
            (Phase::Steady | Phase::Following { .. }, Some(primary)) => Ok(primary),
            (phase, _) => Err(format!("something is under way: {}", phase.name())),
        }
    }

    fn may_promote(&self) -> Result<(), String> {
        match self.rules.mode {
            Mode::Observe => Err("mode = observe: promote with the tool that manages the servers".to_owned()),
            Mode::Promote | Mode::Command => Ok(()),
        }
    }

    fn detach(&mut self, ticket: u64, id: NodeId, now: Moment) -> Result<(), String> {
        self.known(id)?;
        if self.primary == Some(id) {
            return Err(format!("node {id} is the primary: SWITCHOVER first"));
        }
        if self.in_use(id) {
            return Err(format!("node {id} is being promoted"));
        }
        if let Some(node) = self.nodes.get_mut(id) {
            node.standing = Standing::Drained;
        }
        let main = self.nodes.iter().find(|node| node.up && node.id != id).map(|node| node.id);
        if self.rules.mode == Mode::Command {
            self.run(self.rules.failover_command.clone(), Purpose::Detach, id, main);
        }
        self.wait_for_shards(ticket, false, format!("{} is detached", self.nodes.name(id)), now);
        Ok(())
    }

    /// Whether a promotion or switchover under way is about it.
    fn in_use(&self, id: NodeId) -> bool {
        match &self.phase {
            Phase::Promoting(promotion) => promotion.node == id,
            Phase::Switching { target, .. } => *target == id,
            Phase::Fencing { goal: Goal::Promote(node) | Goal::Adopt(node), .. } => *node == id,
            _ => false,
        }
    }

    fn attach(&mut self, ticket: u64, id: NodeId) -> Result<(), String> {
        self.known(id)?;
        let name = self.nodes.name(id);
        let (primary, last, timeline) = (self.primary, self.line.primary, self.line.timeline);
        let Some(node) = self.nodes.get_mut(id) else { return Ok(()) };
        let returns = primary.is_none() && last == Some(id);
        if node.claims() && primary != Some(id) && !returns {
            return Err(format!("{name} says that it is a primary: make it a replica first, or PROMOTE it"));
        }
        // One that was promoted while it was out must not be believed when it comes back.
        let healthy = match primary {
            Some(primary) => primary == id || node.healthy(primary, timeline),
            None => last == Some(id) || node.recovering(),
        };
        let text = match healthy {
            true => {
                node.standing = Standing::Attached;
                format!("{name} is attached")
            }
            false => {
                let why = "it has not been seen to follow the primary since ATTACH".into();
                node.standing = Standing::Fenced { why, late: true, healthy_since: None };
                format!("{name} will be used as soon as it follows the primary")
            }
        };
        if healthy {
            self.attached(id);
        }
        self.actions.push_back(Action::Answer { ticket, result: Ok(text) });
        Ok(())
    }

    fn pause(&mut self, ticket: u64, now: Moment) -> Result<(), String> {
        self.settled_primary()?;
        self.paused = true;
        self.gate = Gate::Closed;
        self.wait_for_shards(ticket, true, "paused: new transactions wait until RESUME".to_owned(), now);
        Ok(())
    }

    fn resume(&mut self, ticket: u64) -> Result<(), String> {
        if !self.paused {
            return Err("it is not paused".to_owned());
        }
        self.paused = false;
        self.gate = Gate::Open;
        let late = std::mem::take(&mut self.waiting);
        let resumed = late.into_iter().map(|waiting| (waiting.ticket, Err("RESUME came first".to_owned())));
        self.actions.extend(resumed.map(|(ticket, result)| Action::Answer { ticket, result }));
        self.actions.push_back(Action::Answer { ticket, result: Ok("resumed".to_owned()) });
        Ok(())
    }

    fn begin_promotion(&mut self, ticket: u64, id: NodeId, now: Moment) -> Result<(), String> {
        self.known(id)?;
        self.may_promote()?;
        if self.paused {
            return Err("it is paused: RESUME first".to_owned());
        }
        if let Some(primary) = self.primary
            && self.nodes.get(primary).is_some_and(|node| node.up)
        {
            return Err(match primary == id {
                true => format!("node {id} is the primary"),
                false => format!("node {primary} is the primary, and it answers: use SWITCHOVER TO {id}"),
            });
        }
        if matches!(self.phase, Phase::Promoting(_) | Phase::Switching { .. }) || self.ticket.is_some() {
            return Err(format!("something is under way: {}", self.phase.name()));
        }
        let line = self.line.timeline;
        let Some(node) = self.nodes.get_mut(id) else { return Ok(()) };
        if !node.up {
            return Err(format!("node {id} does not answer: {}", node.reason));
        }
        if let Some(old) = node.timeline.filter(|timeline| *timeline < line) {
            return Err(format!(
                "node {id} is on timeline {old}, but the cluster has moved to timeline {line}"
            ));
        }
        // He vouches for it, whatever was thought of it.
        node.standing = Standing::Attached;
        self.ticket = Some(ticket);
        let seen = Seen { at: now, by: Witness::Operator, what: format!("PROMOTE {id}") };
        self.begin_record(Kind::Promotion, vec![seen], now);
        match self.fence.up() {
            Some(_) => self.enter(Phase::Fencing { goal: Goal::Promote(id), until: now }, now),
            None => self.raise_fence(Goal::Promote(id), now),
        }
        Ok(())
    }

    fn begin_switchover(&mut self, ticket: u64, to: Option<NodeId>, now: Moment) -> Result<(), String> {
        self.may_promote()?;
        let primary = self.settled_primary()?;
        if let Some(node) = self.nodes.iter().find(|node| node.always_primary()) {
            return Err(format!("node {} is configured as the primary", node.id));
        }
        let fit = |id: NodeId| {
            let node = self.nodes.get(id)?;
            let fit = node.healthy(primary, self.line.timeline) && node.standing == Standing::Attached;
            (fit && id != primary && !node.doubted()).then_some(id)
        };
        let target = match to {
            Some(id) => {
                self.known(id)?;
                fit(id).ok_or_else(|| {
                    format!("node {id} is not a replica that streams from the primary and is used")
                })?
            }
            None => {
                let mut candidates = self.candidates(Moment(0));
                candidates.retain(|candidate| fit(candidate.node).is_some());
                let lost = self.lost_primary(Moment(0));
                choice::choose(&candidates, &lost, None).map_err(|why| format!("no node is fit: {why}"))?.node
            }
        };
        self.ticket = Some(ticket);
        let seen = Seen { at: now, by: Witness::Operator, what: format!("SWITCHOVER TO {target}") };
        self.begin_record(Kind::Switchover, vec![seen], now);
        self.gate = Gate::Closed;
        self.told.clear();
        self.failed.clear();
        let until = now.later(self.rules.drain_timeout);
        self.enter(Phase::Switching { target, step: Step::Draining, until }, now);
        Ok(())
    }

    /// The steps of a switchover up to the promotion.
    pub(super) fn switch(&mut self, target: NodeId, step: Step, until: Moment, now: Moment) -> bool {
        let Some(former) = self.line.primary else { return false };
        let lost = self.nodes.get(former).is_none_or(|node| !node.up || node.recovering());
        let target_lost = self.nodes.get(target).is_none_or(|node| !node.up);
        if lost {
            return self.switch_to_failover(step, now);
        }
        if target_lost {
            return self.stay(former, format!("node {target} is lost"), now);
        }
        match step {
            Step::Draining => {
                let late = self.epoch.map(|epoch| self.fence.undrained(epoch));
                match late {
                    Some(late) if late.is_empty() && self.picture.gate == Gate::Closed => {
                        self.primary = None;
                        self.gate = Gate::Open;
                        self.fence.begin();
                        self.fenced_at = now;
                        let until = now.later(self.rules.fence_timeout);
                        self.enter(Phase::Switching { target, step: Step::Fencing, until }, now);
                        true
                    }
                    _ if now >= until => {
                        self.stay(former, "running transactions did not finish in time".to_owned(), now)
                    }
                    _ => false,
                }
            }
            Step::Fencing => match self.fence.up() {
                Some(since) => {
                    let until = now.later(self.rules.catch_up_timeout);
                    self.enter(Phase::Switching { target, step: Step::CatchingUp { since }, until }, now);
                    self.actions.extend([former, target].map(|node| Action::Probe { node }));
                    true
                }
                None if now >= until => {
                    self.stay(former, "not every shard acknowledged in time".to_owned(), now)
                }
                None => false,
            },
            Step::CatchingUp { since } => {
                if self.caught_up(former, target, since) {
                    let why =
                        format!("{}: the operator said so, and it has everything", self.nodes.name(target));
                    self.promote(target, why, true, now);
                    return true;
                }
                match now >= until {
                    true => self.stay(former, format!("node {target} did not catch up in time"), now),
                    false => false,
                }
            }
        }
    }

    /// Whether `target` has replayed all that `former` wrote before nobody wrote any more.
    fn caught_up(&self, former: NodeId, target: NodeId, since: Moment) -> bool {
        let sighting = |id: NodeId| {
            let node = self.nodes.get(id).filter(|node| node.fresh(since))?;
            Some((node.sighting.as_ref()?, node.timeline))
        };
        let Some(((former, timeline), (target, own))) = sighting(former).zip(sighting(target)) else {
            return false;
        };
        former.written.is_some() && timeline == own && target.replayed >= former.written
    }

    /// The switchover is given up.
    fn stay(&mut self, former: NodeId, why: String, now: Moment) -> bool {
        let text = format!("node {former} stays the primary: {why}");
        self.answer(Err(text.clone()));
        // It was the only one written to, so this needs no shard's word.
        self.primary = Some(former);
        self.gate = Gate::Open;
        self.fence.remove();
        self.seen.clear();
        let next = self.follow_phase();
        self.end_record(text, now);
        self.enter(next, now);
        true
    }

    /// The primary is lost in the middle of it.
    fn switch_to_failover(&mut self, step: Step, now: Moment) -> bool {
        let text = "the primary was lost meanwhile: this is a failover now";
        self.answer(Err(text.to_owned()));
        self.end_record(text, now);
        let mut seen = std::mem::take(&mut self.seen);
        seen.push(Seen {
            at: now,
            by: Witness::Probe,
            what: "lost in the middle of a switchover".to_owned(),
        });
        self.begin_record(Kind::Failover, seen, now);
        match step {
            Step::Draining => self.raise_fence(Goal::Replace, now),
            Step::Fencing | Step::CatchingUp { .. } => {
                let until = now.later(self.rules.fence_timeout);
                self.enter(Phase::Fencing { goal: Goal::Replace, until }, now);
            }
        }
        true
    }

    /// While the target of a switchover has to catch up, its next words are wanted at once.
    pub(super) fn look_at_target(&mut self, answered: NodeId) {
        if let Phase::Switching { target, step: Step::CatchingUp { .. }, .. } = self.phase
            && target == answered
        {
            self.actions.push_back(Action::Probe { node: target });
        }
    }

    fn wait_for_shards(&mut self, ticket: u64, drained: bool, done: String, now: Moment) {
        let bound = match drained {
            true => self.rules.drain_timeout,
            false => self.rules.fence_timeout,
        };
        self.waiting.push(Waiting { ticket, epoch: None, drained, until: now.later(bound), done });
    }

    /// Answers orders that shards work by.
    pub(super) fn answer_waiting(&mut self, now: Moment) {
        let (epoch, fence) = (self.epoch, &self.fence);
        let mut answers = Vec::new();
        self.waiting.retain_mut(|waiting| {
            waiting.epoch = waiting.epoch.or(epoch);
            let late = waiting.epoch.map(|epoch| match waiting.drained {
                true => fence.undrained(epoch).len(),
                false => fence.missing(epoch).len(),
            });
            let text = match late {
                Some(0) => waiting.done.clone(),
                _ if now >= waiting.until => {
                    format!("{}; some shards are not done with it yet", waiting.done)
                }
                _ => return true,
            };
            answers.push(Action::Answer { ticket: waiting.ticket, result: Ok(text) });
            false
        });
        self.actions.extend(answers);
    }
}
