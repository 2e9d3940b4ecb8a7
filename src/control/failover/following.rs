//! After a change of the primary: pointing the other nodes at it, and taking back those that were replaced.

use std::sync::Arc;
use std::time::Duration;

use super::claims::Belief;
use super::event::Attempt;
use super::nodes::{Node, Standing};
use super::phase::Phase;
use super::rejoin;
use super::time::Later;
use super::{Action, Failover, Mode, Purpose};
use crate::topology::{Moment, NodeId};

/// The nodes that are to be pointed at the primary.
#[derive(Clone, Debug, Default)]
pub(super) struct Follows {
    list: Vec<Follow>,
    /// Nodes that were not there to be pointed at it: they may look for a former primary when they come back.
    missed: Vec<NodeId>,
    /// When the change began that they follow, and until when they may take.
    until: Moment,
}

#[derive(Clone, Debug)]
struct Follow {
    node: NodeId,
    /// The attempt under way.
    attempt: Option<Attempt>,
    /// Not before then again.
    next: Moment,
    tries: u32,
}

impl Failover {
    /// `primary` was just made the primary in the place of `former`.
    pub(super) fn begin_following(&mut self, primary: NodeId, former: NodeId, now: Moment) {
        let planned = matches!(&self.phase, Phase::Promoting(promotion) if promotion.planned);
        let until = now.later(self.rules.follow_timeout);
        let others = || self.nodes.iter().filter(|node| node.id != primary);
        let here = others().filter(|node| node.id != former && node.up);
        let list = here.map(|node| Follow { node: node.id, attempt: None, next: now, tries: 0 }).collect();
        let missed = others().filter(|node| node.id == former || !node.up).map(|node| node.id).collect();
        self.follows = match self.rules.mode {
            // Who promotes also sees to the others.
            Mode::Observe => Follows::default(),
            Mode::Promote | Mode::Command => Follows { list, missed, until },
        };
        if planned {
            let attempt = self.next_attempt();
            match self.rules.follow_primary_command.clone() {
                None => self.actions.push_back(Action::Demote { attempt, node: former, primary }),
                Some(command) => {
                    self.run(Some(command), Purpose::Follow, former, Some(primary));
                }
            }
        }
        let name = self.nodes.name(primary);
        self.answer(Ok(format!("{name} is the primary")));
        self.enter(Phase::Following { until }, now);
    }

    /// Where to go on after a doubt that was unfounded.
    pub(super) fn follow_phase(&self) -> Phase {
        match self.follows.list.is_empty() {
            true => Phase::Steady,
            false => Phase::Following { until: self.follows.until },
        }
    }

    /// Sees to it that the others follow. True when that is over.
    pub(super) fn follow(&mut self, primary: NodeId, until: Moment, now: Moment) -> bool {
        let timeline = self.line.timeline;
        let nodes = &self.nodes;
        let healthy = |id: NodeId| nodes.get(id).is_none_or(|node| node.healthy(primary, timeline));
        self.follows.list.retain(|follow| !healthy(follow.node));
        if self.follows.list.is_empty() {
            self.end_record("done", now);
            self.enter(Phase::Steady, now);
            return true;
        }
        if now >= until {
            let late: Vec<NodeId> = self.follows.list.drain(..).map(|follow| follow.node).collect();
            self.follows.missed.extend(&late);
            let alarms: Vec<String> =
                late.iter().filter_map(|id| self.does_not_follow(*id, primary)).collect();
            self.actions.extend(alarms.into_iter().map(Action::Alarm));
            self.end_record("done, but not every replica follows", now);
            self.enter(Phase::Steady, now);
            return true;
        }
        self.ask_to_follow(primary, now);
        false
    }

    /// A replica that comes back and still streams from a node that was replaced is pointed at the primary too.
    pub(super) fn follow_stray(&mut self, primary: NodeId, now: Moment) {
        if self.rules.mode == Mode::Observe {
            return;
        }
        let (nodes, timeline) = (&self.nodes, self.line.timeline);
        self.follows.missed.retain(|id| nodes.get(*id).is_some_and(|node| !node.healthy(primary, timeline)));
        let astray: Vec<NodeId> =
            self.nodes.iter().filter(|node| self.astray(node, primary)).map(|node| node.id).collect();
        self.follows.list.retain(|follow| astray.contains(&follow.node));
        for node in astray {
            if !self.follows.list.iter().any(|follow| follow.node == node) {
                self.follows.list.push(Follow { node, attempt: None, next: now, tries: 0 });
            }
        }
        self.ask_to_follow(primary, now);
    }

    /// Whether a replica follows a node that is no part of the line that counts. One that follows another replica does
    /// as its operator wants.
    fn astray(&self, node: &Node, primary: NodeId) -> bool {
        let Some(sighting) = node.sighting.as_ref().filter(|_| node.recovering() && node.id != primary)
        else {
            return false;
        };
        match sighting.follows {
            Some(followed) if followed == primary => false,
            Some(followed) => self.nodes.get(followed).is_some_and(|node| {
                matches!(node.standing, Standing::Fenced { .. } | Standing::Detached { .. }) || node.claims()
            }),
            None => {
                let old = node.timeline.is_some_and(|timeline| timeline < self.line.timeline);
                sighting.streaming == Some(false) && (old || self.follows.missed.contains(&node.id))
            }
        }
    }

    fn ask_to_follow(&mut self, primary: NodeId, now: Moment) {
        let wait = self.rules.look_interval;
        let mut due = Vec::new();
        for follow in &mut self.follows.list {
            let there = self.nodes.get(follow.node).is_some_and(Node::recovering);
            if there && follow.attempt.is_none() && now >= follow.next && follow.tries < FOLLOW_TRIES_MAX {
                follow.tries += 1;
                due.push(follow.node);
            }
        }
        for node in due {
            let attempt = match self.rules.follow_primary_command.clone() {
                Some(command) => self.run(Some(command), Purpose::Follow, node, Some(primary)),
                None => {
                    let attempt = self.next_attempt();
                    self.actions.push_back(Action::Follow { attempt, node, primary });
                    attempt
                }
            };
            if let Some(follow) = self.follows.list.iter_mut().find(|follow| follow.node == node) {
                follow.attempt = Some(attempt);
                // Setting it takes effect when the receiver starts anew; then the node needs time to stream.
                follow.next = now.later(wait.saturating_mul(follow.tries));
            }
        }
    }

    /// True when it was an attempt of ours.
    pub(super) fn followed(&mut self, attempt: Attempt, result: Result<(), String>, now: Moment) -> bool {
        let Some(follow) = self.follows.list.iter_mut().find(|follow| follow.attempt == Some(attempt)) else {
            return false;
        };
        follow.attempt = None;
        let (node, tries) = (follow.node, follow.tries);
        match result {
            Ok(()) => self.actions.push_back(Action::Probe { node }),
            Err(reason) => {
                let text = format!("{} does not follow yet: {reason}", self.nodes.name(node));
                match tries < FOLLOW_TRIES_MAX {
                    true => self.log(text),
                    false => self.alarm("follow", text, now),
                }
            }
        }
        true
    }

    fn does_not_follow(&self, id: NodeId, primary: NodeId) -> Option<String> {
        let node = self.nodes.get(id).filter(|node| node.recovering())?;
        let commands = rejoin::commands(node.place()?, self.nodes.get(primary)?.place()?, &self.rules.user);
        let name = self.nodes.name(id);
        Some(format!(
            "{name} does not follow the primary; if it has WAL that the primary never had, rewind it: {commands}"
        ))
    }
}

/// Nodes that were replaced, and nodes that say what is not so.
impl Failover {
    /// Reports false primaries, and takes back what has become a healthy replica.
    pub(super) fn look_at_fenced(&mut self, belief: &Belief, now: Moment) {
        let Some(primary) = self.primary else { return };
        for (id, reason) in &belief.refused {
            self.false_primary(*id, reason, primary);
        }
        let (rules, timeline) = (&self.rules, self.line.timeline);
        let mut back = Vec::new();
        for node in self.nodes.iter_mut() {
            let healthy = node.healthy(primary, timeline);
            let settled = node.settled(rules, now);
            let (healthy_since, wait) = match &mut node.standing {
                // What it was told may have waited for as long as the node could not answer.
                Standing::Fenced { late: true, healthy_since, .. } => {
                    (healthy_since, Some(rules.promote_timeout))
                }
                Standing::Fenced { healthy_since, .. } => (healthy_since, Some(Duration::ZERO)),
                Standing::Detached { healthy_since, .. } => {
                    (healthy_since, Some(rules.auto_failback_interval).filter(|_| rules.auto_failback))
                }
                Standing::Attached | Standing::Drained => continue,
            };
            *healthy_since = healthy_since.or(Some(now)).filter(|_| healthy);
            let since = healthy_since.zip(wait).map(|(since, wait)| since.later(wait));
            if since.is_some_and(|since| now >= since) && settled {
                node.standing = Standing::Attached;
                back.push(node.id);
            }
        }
        for id in back {
            self.log(format!("{} is a healthy replica again, and is used again", self.nodes.name(id)));
            self.attached(id);
        }
    }

    fn false_primary(&mut self, id: NodeId, reason: &str, primary: NodeId) {
        let interval = self.rules.auto_failback_interval;
        let detach = self.rules.detach_false_primary;
        let Some(node) = self.nodes.get_mut(id).filter(|node| node.standing != Standing::Drained) else {
            return;
        };
        if detach && !matches!(node.standing, Standing::Detached { .. }) {
            let late = matches!(node.standing, Standing::Fenced { late: true, .. });
            node.standing = Standing::Detached { why: Arc::from(reason), late, healthy_since: None };
        }
        if std::mem::replace(&mut node.told, true) {
            return;
        }
        let places =
            self.nodes.get(id).and_then(Node::place).zip(self.nodes.get(primary).and_then(Node::place));
        let commands = places.map(|(node, primary)| rejoin::commands(node, primary, &self.rules.user));
        let back = match (detach, self.rules.auto_failback) {
            (true, false) => "after ATTACH".to_owned(),
            (true, true) => format!("{interval:?} after it has become a healthy replica"),
            (false, _) => "as soon as it is a healthy replica".to_owned(),
        };
        let text = format!(
            "{} is not written to or read from: {reason}. It is used again {back}: {}",
            self.nodes.name(id),
            commands.unwrap_or_default()
        );
        self.actions.push_back(Action::Alarm(text));
    }

    /// The operator's script is told of a node that is used again.
    pub(super) fn attached(&mut self, id: NodeId) {
        let main = self.nodes.main(None).map(|node| node.id);
        self.run(self.rules.failback_command.clone(), Purpose::Attach, id, main);
    }
}

/// How often a node is asked to follow before the operator has to see to it.
const FOLLOW_TRIES_MAX: u32 = 3;
