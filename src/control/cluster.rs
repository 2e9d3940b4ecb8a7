//! The cluster as control knows it: what probes, shards and operators said goes in, the picture to publish and what else
//! is to be done come out.
//!
//! ```text
//!   reports ──▶ health of each member ──┐
//!          └──▶ failover ── publish ────┼──▶ picture
//!                       └── the rest ───┴──▶ actions
//! ```
//!
//! A decider: no sockets, no threads, and times come with the events. Whoever drives it calls one of the methods named
//! for what happened, then publishes [`Cluster::picture`] if that method returned true, logs [`Cluster::notes`] and does
//! [`Cluster::actions`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use super::caught_up::CaughtUp;
use super::failover::{Action, Event, Failover, NodeRules};
use super::health;
use super::member::{Member, routes_alike};
use super::probe::Report;
use super::{rules, sighting};
use crate::config::{self, Config};
use crate::door::ShardId;
use crate::topology::{Epoch, Moment, Node, NodeAddress, NodeId, Role, Topology};

/// All nodes that are or were configured since the start, and what follows from what they say.
pub(super) struct Cluster {
    /// The index is the id.
    members: Vec<Member>,
    failover: Failover,
    caught_up: CaughtUp,
    picture: Arc<Topology>,
    notes: Vec<Note>,
    actions: VecDeque<Action>,
}

/// When something happened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// By the clock on the wall, to be shown.
    pub at: SystemTime,
    /// To be counted with.
    pub moment: Moment,
}

/// Something to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Note {
    Info(String),
    Warning(String),
}

/// What another configuration changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reconfigured {
    pub added: Vec<NodeId>,
    pub removed: Vec<NodeId>,
}

impl Cluster {
    /// A cluster nobody has asked yet, for so many shards: all nodes are down.
    pub fn new(config: &Config, shards: usize, now: Now) -> Cluster {
        let mut cluster = Cluster {
            members: Vec::new(),
            failover: Failover::new(rules::of(config), &[], shards, now.moment),
            caught_up: CaughtUp::default(),
            picture: Arc::default(),
            notes: Vec::new(),
            actions: VecDeque::new(),
        };
        // A configuration has no more nodes than there are ids.
        let _ = cluster.configured(config, now);
        cluster.notes.clear();
        cluster
    }

    /// What shards are to observe.
    pub fn picture(&self) -> Arc<Topology> {
        self.picture.clone()
    }

    /// What is to be logged since the last call.
    pub fn notes(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.notes)
    }

    /// What is to be done since the last call. Pictures are not among it: they are drawn here.
    pub fn actions(&mut self) -> VecDeque<Action> {
        std::mem::take(&mut self.actions)
    }

    pub fn failover(&self) -> &Failover {
        &self.failover
    }

    pub fn failover_mut(&mut self) -> &mut Failover {
        &mut self.failover
    }

    /// The nodes of the present configuration.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        let ids = (0..=u8::MAX).map(NodeId);
        ids.zip(&self.members).filter(|(_, member)| member.configured.is_some())
    }

    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.get(id.index()).filter(|member| member.configured.is_some())
    }

    /// The primary, or the last one while there is none.
    pub fn last_primary(&self) -> Option<NodeId> {
        self.picture.primary.or(self.failover.last_primary())
    }

    /// What the operator is told that a node is: a claim to be the primary that is not believed is no role.
    pub fn role(&self, id: NodeId) -> Role {
        match self.member(id).map_or(Role::Unknown, |member| member.health.role) {
            Role::Primary if self.last_primary() != Some(id) => Role::Unknown,
            role => role,
        }
    }

    /// The configuration was read, for the first time or again. Nodes are matched by host and port and keep their ids.
    ///
    /// # Errors
    ///
    /// When there are more new nodes than ids left; nothing is changed then.
    pub fn configured(&mut self, config: &Config, now: Now) -> Result<Reconfigured, TooManyNodes> {
        let known = |node: &config::Node| self.members.iter().position(|member| member.is(node));
        let new = config.nodes.iter().filter(|node| known(node).is_none()).count();
        if self.members.len() + new > NODES_MAX {
            return Err(TooManyNodes);
        }
        let mut changed = Reconfigured::default();
        for (id, member) in (0..=u8::MAX).map(NodeId).zip(&mut self.members) {
            let node = config.nodes.iter().find(|node| member.is(node)).cloned();
            match (&member.configured, &node) {
                (None, Some(_)) => changed.added.push(id),
                (Some(_), None) => changed.removed.push(id),
                _ => {}
            }
            if node.is_none() || member.configured.is_none() {
                member.forget(now.at);
            }
            member.configured = node;
        }
        for node in &config.nodes {
            if !self.members.iter().any(|member| member.is(node)) {
                let id = u8::try_from(self.members.len()).map_err(|_| TooManyNodes)?;
                changed.added.push(NodeId(id));
                self.members.push(Member::new(node.clone(), now.at));
            }
        }
        for member in &mut self.members {
            if let Some(node) = &member.configured {
                member.rules = health::Rules {
                    retries: config.monitor.of(node).retries,
                    lag_max: config.route.lag_max,
                    lag_max_time: config.route.lag_max_time,
                    always_primary: node.always_primary,
                    disallow_failover: node.disallow_failover,
                };
            }
        }
        let nodes: Vec<(NodeId, NodeRules)> = self
            .members()
            .filter_map(|(id, member)| Some((id, rules::of_node(member.configured.as_ref()?))))
            .collect();
        self.failover.configured(rules::of(config), &nodes, now.moment);
        self.settle(None, now);
        Ok(changed)
    }

    /// A node answered a probe. True when there is a new picture; so for the others.
    pub fn answered(&mut self, id: NodeId, report: Report, now: Now) -> bool {
        let Some(member) = self.members.get_mut(id.index()).filter(|member| member.configured.is_some())
        else {
            return false;
        };
        member.fresh = true;
        let name = member.receiver_name().map(str::to_owned);
        let renewed = member.health.answered(report.clone(), &member.rules, now.at);
        if renewed && self.picture.primary == Some(id) {
            // After a crash it may write other records at positions it had used before.
            self.caught_up.reset();
        }
        let named = self.member(id).and_then(Member::receiver_name) != name.as_deref();
        let sighting = sighting::of(&report, &self.members);
        self.failover.handle(Event::Answered { node: id, sighting }, now.moment);
        if named {
            self.names_followers(now);
        }
        self.settle(Some(id), now)
    }

    /// The name is known now under which a node streams: what was said about its followers by name means more.
    fn names_followers(&mut self, now: Now) {
        let told = |member: &&Member| member.configured.is_some() && member.fresh;
        let ids = (0..=u8::MAX).map(NodeId).zip(&self.members).filter(|(_, member)| told(member));
        let again: Vec<_> = ids
            .filter_map(|(id, member)| Some((id, member.health.report.as_ref()?)))
            .filter(|(_, report)| !report.followers.is_empty())
            .map(|(id, report)| (id, sighting::of(report, &self.members)))
            .collect();
        for (node, sighting) in again {
            self.failover.handle(Event::Answered { node, sighting }, now.moment);
        }
    }

    /// A probe failed, for a `reason` that reads well behind "is down: ".
    pub fn failed(&mut self, id: NodeId, reason: &str, now: Now) -> bool {
        let Some(member) = self.members.get_mut(id.index()).filter(|member| member.configured.is_some())
        else {
            return false;
        };
        member.fresh = false;
        member.health.failed(reason, &member.rules, now.at);
        self.happened(Event::Failed { node: id, reason: reason.to_owned() }, now)
    }

    /// A shard lost a connection to it, which counts against it.
    pub fn suspected(&mut self, id: NodeId, by: ShardId, reason: String, now: Now) -> bool {
        self.doubted(id);
        if let Some(member) = self.members.get_mut(id.index()) {
            member.health.suspected();
        }
        self.happened(Event::Suspected { node: id, by, reason }, now)
    }

    /// A shard lost a connection to it. It may have been restarted from an older state, so until it has answered again
    /// nothing is said about what can be read there.
    pub fn doubted(&mut self, id: NodeId) {
        let is_primary = self.picture.primary == Some(id);
        if let Some(member) = self.members.get_mut(id.index()) {
            member.fresh = false;
            if !is_primary {
                member.gauges.caught_up(Moment(0));
            }
        }
    }

    /// Anything else that failover is told.
    pub fn happened(&mut self, event: Event, now: Now) -> bool {
        self.failover.handle(event, now.moment);
        self.settle(None, now)
    }

    /// Time passes.
    pub fn tick(&mut self, now: Now) -> bool {
        self.failover.tick(now.moment);
        self.settle(None, now)
    }

    /// Its name was resolved, or another of its addresses proved to be the better one.
    pub fn resolved(&mut self, id: NodeId, address: NodeAddress, now: Now) -> bool {
        match self.members.get_mut(id.index()) {
            Some(member) => member.health.resolved(address),
            None => return false,
        }
        self.settle(None, now)
    }

    /// Has the picture follow from everything known, of which `answered` has just told a part. True when it is another one.
    fn settle(&mut self, answered: Option<NodeId>, now: Now) -> bool {
        let before = self.picture.epoch;
        loop {
            let publish = self.take_actions();
            self.judge(answered, now);
            self.draw(publish);
            if !publish {
                return self.picture.epoch != before;
            }
            self.failover.handle(Event::Published { epoch: self.picture.epoch }, now.moment);
        }
    }

    /// Takes what failover wants up to the next picture. True when it wants one.
    fn take_actions(&mut self) -> bool {
        while let Some(action) = self.failover.next_action() {
            match action {
                Action::Publish { .. } => return true,
                action => self.actions.push_back(action),
            }
        }
        false
    }

    /// What follows for each member from what the others say.
    fn judge(&mut self, answered: Option<NodeId>, now: Now) {
        let (primary, _) = self.failover.primary();
        for (id, member) in (0..=u8::MAX).map(NodeId).zip(&mut self.members) {
            member.verdict = self.failover.verdict(id);
        }
        if primary != self.picture.primary {
            self.caught_up.reset();
        }
        let writing = primary.and_then(|id| self.members.get(id.index())).filter(|member| member.usable());
        let (mut position, mut system) = (None, None);
        if let Some(report) = writing.and_then(|member| member.health.report.as_ref()) {
            system = report.system;
            if let Some(written) = report.written {
                self.caught_up.wrote(report.timeline, report.sent, written);
            }
            position = self.caught_up.newest().map(|newest| (newest, report.timeline));
        }
        for (id, member) in (0..=u8::MAX).map(NodeId).zip(&mut self.members) {
            if Some(id) != primary {
                member.compare_system(system);
            }
            member.health.judge_lag(position, answered == Some(id), &member.rules, now.at);
            // Before the picture is published: whoever sees the new primary sees what it is good for.
            let moment = match &member.health.report {
                _ if !member.usable() => Moment(0),
                _ if Some(id) == primary => Moment(u64::MAX),
                Some(report) if member.fresh && report.in_recovery => report
                    .replayed
                    .and_then(|replayed| self.caught_up.reached(report.timeline, replayed))
                    .unwrap_or_default(),
                _ => Moment(0),
            };
            member.gauges.caught_up(moment);
        }
    }

    /// Draws the next picture if anything in it is another than in the last, or if one is wanted all the same.
    fn draw(&mut self, wanted: bool) {
        let (primary, gate) = self.failover.primary();
        let ids = (0..=u8::MAX).map(NodeId);
        let nodes: Vec<Node> = ids.zip(&self.members).map(|(id, member)| member.draw(id)).collect();
        let same = self.picture.primary == primary
            && self.picture.gate == gate
            && self.picture.nodes.len() == nodes.len()
            && self.picture.nodes.iter().zip(&nodes).all(|(old, new)| routes_alike(old, new));
        if same && !wanted {
            return;
        }
        for (index, node) in nodes.iter().enumerate() {
            let old = self.picture.nodes.get(index);
            if let Some(member) = self.members.get_mut(index) {
                self.notes.extend(member.note(node, old));
            }
        }
        self.picture = Arc::new(Topology { epoch: Epoch(self.picture.epoch.0 + 1), nodes, primary, gate });
    }
}

/// More nodes came and went than a process has ids for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {NODES_MAX} different nodes since the start: restart pgweir to add others")]
pub(super) struct TooManyNodes;

/// Different nodes in the life of a process: as many as a configuration may have at once.
pub(crate) const NODES_MAX: usize = 128;

#[cfg(test)]
mod tests;
