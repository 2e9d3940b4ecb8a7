//! While there is no primary: fence, choice, promotion, or waiting.

use std::sync::Arc;

use super::choice::{self, Candidate, Lost};
use super::claims::Belief;
use super::event::{Attempt, PromoteError, Sync};
use super::nodes::Standing;
use super::phase::{Goal, Phase, Promotion};
use super::placeholders::{Place, Placeholders};
use super::time::Later;
use super::{Action, Failover, Gate, Line, Mode, Purpose};
use crate::topology::{Moment, NodeId};

impl Failover {
    pub(super) fn wait_for_fence(&mut self, goal: Goal, until: Moment, belief: &Belief, now: Moment) -> bool {
        if goal == Goal::Replace && self.adopt_if_believed(belief, now) {
            return true;
        }
        if self.fence.up().is_none() {
            if now >= until {
                let missing = self.fence.epoch().map(|epoch| self.fence.missing(epoch)).unwrap_or_default();
                let missing: Vec<String> = missing.iter().map(|shard| shard.0.to_string()).collect();
                let text = format!(
                    "no node is promoted, because these shards have not acknowledged that there is no primary: {}",
                    missing.join(", ")
                );
                self.alarm("fence", text, now);
            }
            return false;
        }
        match goal {
            Goal::Replace => self.replace(now),
            Goal::Adopt(_) if self.adopt_if_believed(belief, now) => {}
            Goal::Adopt(_) => self.replace(now),
            Goal::Promote(node) => {
                self.promote(node, "the operator said so".to_owned(), false, now);
            }
        }
        true
    }

    /// Looks for a new primary in the way that the mode says.
    fn replace(&mut self, now: Moment) {
        let configured = self.nodes.iter().find(|node| node.always_primary()).map(|node| node.id);
        let why = match (configured, self.rules.mode) {
            (Some(node), _) => {
                format!("node {node} is configured as the primary, so its return is waited for")
            }
            (None, Mode::Observe) => "mode = observe: somebody else has to promote a replica".to_owned(),
            (None, Mode::Promote | Mode::Command) => {
                self.enter(self.choosing(now), now);
                self.probe_all();
                return;
            }
        };
        let look = now.later(self.rules.alarm_interval);
        self.enter(Phase::Holding { why, promote: false, look }, now);
    }

    fn choosing(&self, now: Moment) -> Phase {
        // Words from before the fence are of a time when somebody could still write.
        let since = self.fence.up().unwrap_or(now);
        Phase::Choosing { since, until: now.later(self.rules.choose_timeout) }
    }

    /// Makes the believed one the primary, if that is safe by now.
    fn adopt_if_believed(&mut self, belief: &Belief, now: Moment) -> bool {
        let Some(id) = belief.primary.filter(|id| self.certain(*id)) else { return false };
        let Some(node) = self.nodes.get(id) else { return false };
        let safe = match self.line.primary {
            // It was the only one written to, so shards need not have acknowledged.
            Some(former) if former == id => node.fresh(self.fenced_at) && node.settled(&self.rules, now),
            Some(_) => self.fence.up().is_some(),
            // At the start: another one may have better reasons.
            None => self.fence.up().is_some() && self.nodes.iter().all(|node| node.probed),
        };
        if safe {
            self.adopt(id, now);
        }
        safe
    }

    pub(super) fn adopt(&mut self, id: NodeId, now: Moment) {
        let name = self.nodes.name(id);
        let former = self.line.primary;
        let replaced = former.filter(|former| *former != id);
        let why: Arc<str> = format!("node {id} was made the primary in its place").into();
        let told: Vec<NodeId> = self.told.drain(..).filter(|node| *node != id).collect();
        for other in told.iter().copied().chain(replaced) {
            if let Some(node) = self.nodes.get_mut(other).filter(|node| !node.excluded()) {
                let late = told.contains(&other);
                node.standing = Standing::Fenced { why: why.clone(), late, healthy_since: None };
                node.told = false;
            }
        }
        if former != Some(id) {
            for node in self.nodes.iter_mut() {
                node.maybe_sync = true;
            }
            self.line = Line { primary: Some(id), timeline: self.line.timeline, ..Line::default() };
        }
        if let Some(node) = self.nodes.get_mut(id) {
            node.standing = Standing::Attached;
            let known = if former == Some(id) { self.line.timeline } else { 0 };
            let timeline = node.timeline.unwrap_or(self.line.timeline).max(known);
            let sighting = node.sighting.clone().unwrap_or_default();
            self.line.timeline = timeline;
            self.line.system = sighting.system.or(self.line.system);
            self.line.written = sighting.written.map(|lsn| (lsn, sighting.sent));
            self.nodes.heard_followers(&sighting.followers);
            self.line.followers = sighting.followers;
        }
        self.fence.remove();
        self.primary = Some(id);
        self.gate = Gate::Open;
        self.failed.clear();
        self.seen.clear();
        self.alarms.clear();
        if let Some(record) = self.records.current() {
            record.to = Some(id);
        }
        self.log(format!("{name} is the primary, on timeline {}", self.line.timeline));
        match replaced {
            Some(former) => self.begin_following(id, former, now),
            None if former.is_none() => self.enter(Phase::Steady, now),
            None => {
                let next = self.follow_phase();
                self.end_record("the primary came back", now);
                self.enter(next, now);
                self.answer(Err(format!("{name} stays the primary")));
            }
        }
    }

    pub(super) fn choose(&mut self, since: Moment, until: Moment, belief: &Belief, now: Moment) -> bool {
        if self.adopt_if_believed(belief, now) {
            return true;
        }
        let all_told = self.nodes.iter().all(|node| !node.up || node.excluded() || node.fresh(since));
        if now < until && !all_told {
            return false;
        }
        let lost = self.lost_primary(since);
        match choice::choose(&self.candidates(since), &lost, self.rules.max_data_loss) {
            Ok(chosen) => {
                let why = format!("{}: {}", self.nodes.name(chosen.node), chosen.why);
                self.promote(chosen.node, why, false, now);
            }
            Err(why) => {
                self.alarm("nobody", format!("there is no primary, and nobody is promoted: {why}"), now);
                let look = now.later(self.rules.look_interval);
                self.enter(Phase::Holding { why, promote: true, look }, now);
            }
        }
        true
    }

    pub(super) fn candidates(&self, since: Moment) -> Vec<Candidate> {
        let answering = self.nodes.iter().filter(|node| node.recovering() && node.fresh(since));
        let candidate = answering.filter_map(|node| {
            let sighting = node.sighting.as_ref()?;
            let excluded = match &node.standing {
                Standing::Drained => Some("is detached".to_owned()),
                Standing::Detached { why, .. } => Some(format!("is not trusted: {why}")),
                _ if self.failed.contains(&node.id) => Some("could not be promoted".to_owned()),
                _ if self.line.system.zip(sighting.system).is_some_and(|(line, own)| line != own) => {
                    Some("belongs to another cluster".to_owned())
                }
                // What it has received counts all the same.
                _ if node.doubted() => Some("does not answer any more".to_owned()),
                Standing::Attached | Standing::Fenced { .. } => None,
            };
            Some(Candidate {
                node: node.id,
                excluded,
                priority: node.rules.as_ref().map_or(0, |rules| rules.priority),
                timeline: node.timeline,
                received: sighting.received.max(sighting.replayed),
                replayed: sighting.replayed,
                sync: self.line.followers.iter().find(|(id, _)| *id == node.id).map(|(_, sync)| *sync),
            })
        });
        candidate.collect()
    }

    pub(super) fn lost_primary(&self, since: Moment) -> Lost {
        let silent = self.nodes.iter().filter(|node| {
            node.maybe_sync
                && Some(node.id) != self.line.primary
                && node.standing != Standing::Drained
                && !node.fresh(since)
        });
        Lost {
            timeline: self.line.timeline,
            written: self.line.written,
            told: self.fence.wrote(),
            synchronous: self
                .line
                .followers
                .iter()
                .any(|(_, sync)| matches!(sync, Sync::Sync | Sync::Quorum)),
            silent: silent.map(|node| node.id).collect(),
        }
    }

    pub(super) fn promote(&mut self, node: NodeId, why: String, planned: bool, now: Moment) {
        self.log(format!("promoting {why}"));
        if let Some(record) = self.records.current() {
            record.why = why;
        }
        self.told.push(node);
        if let Some(node) = self.nodes.get_mut(node) {
            node.standing = Standing::Attached;
        }
        let bound = match self.rules.mode {
            Mode::Command => self.rules.search_timeout,
            Mode::Observe | Mode::Promote => self.rules.promote_timeout,
        };
        let attempt = match self.rules.mode {
            Mode::Command => {
                let about = self.line.primary.unwrap_or(node);
                self.run(self.rules.failover_command.clone(), Purpose::Promote, about, Some(node))
            }
            Mode::Observe | Mode::Promote => {
                let attempt = self.next_attempt();
                self.actions.push_back(Action::Promote { attempt, node });
                attempt
            }
        };
        let promotion = Promotion { attempt, node, planned, until: now.later(bound), unknown: false };
        self.enter(Phase::Promoting(promotion), now);
    }

    /// Expands a command and has it run; without one nothing is run.
    pub(super) fn run(
        &mut self,
        template: Option<String>,
        purpose: Purpose,
        node: NodeId,
        main: Option<NodeId>,
    ) -> Attempt {
        let attempt = self.next_attempt();
        let place = |id: Option<NodeId>| -> Option<Place<'_>> { self.nodes.get(id?)?.place() };
        let gone = Place { id: node.0, host: "", port: 0, directory: "" };
        let placeholders = Placeholders {
            node: place(Some(node)).unwrap_or(gone),
            new_main: place(main),
            old_main: self.nodes.main(Some(node)).map(|node| node.id.0),
            old_primary: place(self.line.primary),
        };
        if let Some(command) = template.map(|template| placeholders.expand(&template)) {
            self.actions.push_back(Action::Run { attempt, purpose, node, command });
        }
        attempt
    }

    pub(super) fn wait_for_promotion(&mut self, promotion: &Promotion, belief: &Belief, now: Moment) -> bool {
        let node = promotion.node;
        let believed = belief.primary.filter(|id| self.certain(*id));
        // The former primary may be back, but the other one may be it already.
        if let Some(id) = believed.filter(|id| *id == node || Some(*id) != self.line.primary) {
            self.adopt(id, now);
            return true;
        }
        let gone = self.nodes.get(node).is_none_or(|node| !node.up);
        if promotion.unknown && gone {
            return self.promotion_failed(promotion, "it is lost".to_owned(), now);
        }
        if now >= promotion.until {
            return self.promotion_failed(promotion, "it did not become the primary in time".to_owned(), now);
        }
        false
    }

    /// Another one, or the former primary if the promotion was the operator's wish.
    fn promotion_failed(&mut self, promotion: &Promotion, reason: String, now: Moment) -> bool {
        let text = format!("{} was not promoted: {reason}", self.nodes.name(promotion.node));
        self.alarm("promote", text.clone(), now);
        self.failed.push(promotion.node);
        self.answer(Err(text));
        let former = self.line.primary.filter(|former| promotion.planned && self.certain(*former));
        match former.filter(|former| self.belief().primary == Some(*former)) {
            Some(former) => self.adopt(former, now),
            None => self.replace(now),
        }
        true
    }

    pub(super) fn promoted(&mut self, attempt: Attempt, result: Result<(), PromoteError>, now: Moment) {
        let Phase::Promoting(promotion) = &mut self.phase else { return };
        if promotion.attempt != attempt {
            return;
        }
        let node = promotion.node;
        match result {
            // It counts when it says so itself.
            Ok(()) => self.actions.push_back(Action::Probe { node }),
            Err(PromoteError::Refused(reason)) => {
                let promotion = promotion.clone();
                self.told.retain(|told| *told != node);
                self.promotion_failed(&promotion, reason, now);
            }
            Err(PromoteError::Unknown(_)) => {
                promotion.unknown = true;
                self.actions.push_back(Action::Probe { node });
            }
        }
    }

    pub(super) fn exited(&mut self, attempt: Attempt, code: Option<i32>, now: Moment) {
        if let Phase::Promoting(promotion) = self.phase.clone()
            && promotion.attempt == attempt
        {
            match code {
                Some(0) => self.probe_all(),
                _ => {
                    let reason = format!("failover_command {}", ended(code));
                    self.promotion_failed(&promotion, reason, now);
                }
            }
            return;
        }
        let result = match code {
            Some(0) => Ok(()),
            _ => Err(format!("the command {}", ended(code))),
        };
        if !self.followed(attempt, result.clone(), now)
            && let Err(reason) = result
        {
            self.alarm("command", format!("a command for another node failed: {reason}"), now);
        }
    }

    pub(super) fn hold(
        &mut self,
        why: &str,
        promote: bool,
        look: Moment,
        belief: &Belief,
        now: Moment,
    ) -> bool {
        if self.adopt_if_believed(belief, now) {
            return true;
        }
        if now < look {
            return false;
        }
        if promote {
            self.failed.clear();
            self.enter(self.choosing(now), now);
            self.probe_all();
            return true;
        }
        self.alarm("hold", format!("there is no primary: {why}"), now);
        let look = now.later(self.rules.alarm_interval);
        self.phase = Phase::Holding { why: why.to_owned(), promote, look };
        false
    }
}

fn ended(code: Option<i32>) -> String {
    match code {
        Some(code) => format!("ended with exit code {code}"),
        None => "did not end by itself".to_owned(),
    }
}
