//! The cluster as control knows it: what probes said goes in, the picture to publish comes out.
//!
//! A decider: no sockets, no threads, and times come with the events. Whoever drives it calls one of the methods named
//! for what happened, then publishes [`Cluster::picture`] if that method returned true, and logs [`Cluster::notes`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::caught_up::CaughtUp;
use super::health::{Health, Lag, NOT_PROBED, Rules};
use super::picture::{Claim, Memory};
use super::probe::Report;
use crate::config::{self, Config};
use crate::topology::{Epoch, Gauges, Moment, Node, NodeAddress, NodeId, NodeState, Role, Topology};

/// All nodes that are or were configured since the start, and what follows from what they say.
pub(super) struct Cluster {
    /// The index is the id.
    members: Vec<Member>,
    memory: Memory,
    caught_up: CaughtUp,
    picture: Arc<Topology>,
    notes: Vec<Note>,
}

/// One node, configured or formerly so.
pub(super) struct Member {
    pub host: String,
    pub port: u16,
    /// `None`: it was taken out of the configuration. Its id is not given to another node.
    pub configured: Option<config::Node>,
    pub health: Health,
    rules: Rules,
    gauges: Arc<Gauges>,
    /// True exactly when its last answer came after everything that made us doubt it.
    fresh: bool,
    /// Why it is not used although it answers.
    refused: Option<Arc<str>>,
    /// Reasons of its present trouble that were logged already. At most [`SAID_MAX`].
    said: Vec<Arc<str>>,
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
    /// A cluster nobody has asked yet: all nodes are down.
    pub fn new(config: &Config, at: SystemTime) -> Cluster {
        let mut cluster = Cluster {
            members: Vec::new(),
            memory: Memory::default(),
            caught_up: CaughtUp::default(),
            picture: Arc::default(),
            notes: Vec::new(),
        };
        // A configuration has no more nodes than there are ids.
        let _ = cluster.configured(config, at);
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

    /// The nodes of the present configuration.
    pub fn members(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        let ids = (0..=u8::MAX).map(NodeId);
        ids.zip(&self.members).filter(|(_, member)| member.configured.is_some())
    }

    pub fn member(&self, id: NodeId) -> Option<&Member> {
        self.members.get(id.index()).filter(|member| member.configured.is_some())
    }

    /// What the operator is told that a node is: a claim to be the primary that is not believed is no role.
    pub fn role(&self, id: NodeId) -> Role {
        match self.member(id).map_or(Role::Unknown, |member| member.health.role) {
            Role::Primary if self.picture.primary != Some(id) => Role::Unknown,
            role => role,
        }
    }

    /// The configuration was read, for the first time or again. Nodes are matched by host and port and keep their ids.
    ///
    /// # Errors
    ///
    /// When there are more new nodes than ids left; nothing is changed then.
    pub fn configured(&mut self, config: &Config, at: SystemTime) -> Result<Reconfigured, TooManyNodes> {
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
                member.forget(at);
            }
            member.configured = node;
        }
        for node in &config.nodes {
            if !self.members.iter().any(|member| member.is(node)) {
                let id = u8::try_from(self.members.len()).map_err(|_| TooManyNodes)?;
                changed.added.push(NodeId(id));
                self.members.push(Member::new(node.clone(), at));
            }
        }
        for member in &mut self.members {
            if let Some(node) = &member.configured {
                member.rules = Rules {
                    retries: config.monitor.retries,
                    lag_max: config.route.lag_max,
                    lag_max_time: config.route.lag_max_time,
                    always_primary: node.always_primary,
                    disallow_failover: node.disallow_failover,
                };
            }
        }
        self.settle(None, at);
        Ok(changed)
    }

    /// A node answered a probe. True when there is a new picture; so for the others.
    pub fn answered(&mut self, id: NodeId, report: Report, at: SystemTime) -> bool {
        let Some(member) = self.members.get_mut(id.index()).filter(|member| member.configured.is_some())
        else {
            return false;
        };
        member.fresh = true;
        let renewed = member.health.answered(report, &member.rules, at);
        if renewed && self.picture.primary == Some(id) {
            // After a crash it may write other records at positions it had used before.
            self.caught_up.reset();
        }
        self.settle(Some(id), at)
    }

    /// A probe failed, for a `reason` that reads well behind "is down: ".
    pub fn failed(&mut self, id: NodeId, reason: &str, at: SystemTime) -> bool {
        let Some(member) = self.members.get_mut(id.index()).filter(|member| member.configured.is_some())
        else {
            return false;
        };
        member.fresh = false;
        member.health.failed(reason, &member.rules, at);
        self.settle(None, at)
    }

    /// A shard lost a connection to it. It may have been restarted from an older state, so until it has answered again
    /// nothing is said about what can be read there.
    pub fn suspected(&mut self, id: NodeId) {
        if let Some(member) = self.members.get_mut(id.index()) {
            member.fresh = false;
            member.health.suspected();
            if self.picture.primary != Some(id) {
                member.gauges.caught_up(Moment(0));
            }
        }
    }

    /// Its name was resolved, or another of its addresses proved to be the better one.
    pub fn resolved(&mut self, id: NodeId, address: NodeAddress, at: SystemTime) -> bool {
        match self.members.get_mut(id.index()) {
            Some(member) => member.health.resolved(address),
            None => return false,
        }
        self.settle(None, at)
    }

    /// Draws the picture that follows from everything known, of which `answered` has just told a part. True when it is
    /// another one.
    fn settle(&mut self, answered: Option<NodeId>, at: SystemTime) -> bool {
        let primary = self.choose_primary();
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
                member.refuse_stranger(system);
            }
            member.health.judge_lag(position, answered == Some(id), &member.rules, at);
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
        self.draw(primary)
    }

    /// Who is the primary; also one that is down, as long as no other node is it.
    fn choose_primary(&mut self) -> Option<NodeId> {
        let claims: Vec<Claim> = self
            .members()
            .filter(|(_, member)| member.health.up && member.health.role == Role::Primary)
            .map(|(id, member)| {
                let report = member.health.report.as_ref();
                Claim {
                    node: id,
                    configured: member.rules.always_primary,
                    timeline: report.and_then(|report| report.timeline),
                    system: report.and_then(|report| report.system),
                    followers: self.members().filter(|(_, other)| other.follows(member)).count(),
                }
            })
            .collect();
        let members = &self.members;
        let choice =
            self.memory.choose(&claims, |system| members.iter().any(|member| member.belongs_to(system)));
        for (id, member) in (0..=u8::MAX).map(NodeId).zip(&mut self.members) {
            let refused = choice.refused.iter().find(|(node, _)| *node == id);
            member.refused = refused.map(|(_, reason)| Arc::from(reason.as_str()));
        }
        let lost = |id: &NodeId| {
            let member = self.member(*id);
            member.is_some_and(|member| !member.health.up && member.health.role == Role::Primary)
        };
        choice.primary.or_else(|| self.memory.primary.filter(lost))
    }

    fn draw(&mut self, primary: Option<NodeId>) -> bool {
        let ids = (0..=u8::MAX).map(NodeId);
        let nodes: Vec<Node> = ids.zip(&self.members).map(|(id, member)| member.draw(id)).collect();
        let same = self.picture.primary == primary
            && self.picture.nodes.len() == nodes.len()
            && self.picture.nodes.iter().zip(&nodes).all(|(old, new)| routes_alike(old, new));
        if same {
            return false;
        }
        for (index, node) in nodes.iter().enumerate() {
            let old = self.picture.nodes.get(index);
            if let Some(member) = self.members.get_mut(index) {
                self.notes.extend(member.note(node, old));
            }
        }
        if let Some(id) = primary.filter(|_| primary != self.picture.primary) {
            let place = nodes.get(id.index()).map(place).unwrap_or_default();
            self.notes.push(Note::Info(format!("node {id} at {place} is the primary")));
        }
        self.picture = Arc::new(Topology { epoch: Epoch(self.picture.epoch.0 + 1), nodes, primary });
        true
    }
}

/// More nodes came and went than a process has ids for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {NODES_MAX} different nodes since the start: restart pgweir to add others")]
pub(super) struct TooManyNodes;

impl Member {
    fn new(node: config::Node, at: SystemTime) -> Member {
        Member {
            host: node.host.clone(),
            port: node.port,
            health: Health::new(address_of(&node), at),
            configured: Some(node),
            rules: Rules::default(),
            gauges: Arc::default(),
            fresh: false,
            refused: None,
            said: Vec::new(),
        }
    }

    /// How far it is behind, if it is a replica and the primary is known.
    pub fn lag(&self) -> Lag {
        self.health.lag
    }

    fn is(&self, node: &config::Node) -> bool {
        self.host == node.host && self.port == node.port
    }

    /// It left the configuration, or comes back: nothing that was known holds.
    fn forget(&mut self, at: SystemTime) {
        let incarnation = self.health.incarnation + 1;
        self.health = Health::new(self.health.address.clone(), at);
        self.health.incarnation = incarnation;
        self.fresh = false;
        self.refused = None;
        self.said.clear();
    }

    fn usable(&self) -> bool {
        self.configured.is_some() && self.health.up && self.refused.is_none()
    }

    fn belongs_to(&self, system: u64) -> bool {
        let report = self.health.report.as_ref().filter(|_| self.configured.is_some() && self.health.up);
        report.is_some_and(|report| report.system == Some(system))
    }

    /// A replica of another cluster than the primary's shows other data.
    fn refuse_stranger(&mut self, system: Option<u64>) {
        let own = self.health.report.as_ref().and_then(|report| report.system);
        if let Some((own, system)) =
            own.zip(system).filter(|(own, system)| own != system && self.refused.is_none())
        {
            let reason = format!(
                "it belongs to another cluster: its system identifier is {own}, that of the primary {system}"
            );
            self.refused = Some(reason.into());
        }
    }

    /// Whether it streams from `primary`.
    fn follows(&self, primary: &Member) -> bool {
        let report =
            self.health.report.as_ref().filter(|_| self.health.up && self.health.role == Role::Replica);
        let Some((host, port)) =
            report.filter(|report| report.streaming == Some(true)).and_then(|r| r.follows.as_ref())
        else {
            return false;
        };
        let address = match &primary.health.address {
            NodeAddress::Tcp(addresses) => {
                host.parse::<IpAddr>().is_ok_and(|ip| addresses.iter().any(|address| address.ip() == ip))
            }
            NodeAddress::Unix(_) => false,
        };
        *port == primary.port && (*host == primary.host || address)
    }

    fn draw(&self, id: NodeId) -> Node {
        let health = &self.health;
        let (state, reason) = match (&self.configured, &self.refused) {
            (None, _) => (NodeState::Drained, Some(Arc::from("it was taken out of the configuration"))),
            _ if !health.up => (NodeState::Down, health.reason.clone()),
            (Some(_), Some(refused)) => (NodeState::Down, Some(refused.clone())),
            (Some(_), None) if health.lagging => (NodeState::Lagging, health.reason.clone()),
            (Some(_), None) => (NodeState::Up, None),
        };
        Node {
            id,
            host: self.host.clone(),
            port: self.port,
            weight: self.configured.as_ref().map_or(0.0, |node| node.weight),
            role: health.role,
            state,
            address: health.address.clone(),
            incarnation: health.incarnation,
            reason,
            gauges: self.gauges.clone(),
        }
    }

    /// What to log when it is drawn as `new` instead of `old`.
    fn note(&mut self, new: &Node, old: Option<&Node>) -> Option<Note> {
        let (id, place, role) = (new.id, place(new), new.role.name());
        let unchanged = old.is_some_and(|old| old.state == new.state && old.role == new.role);
        match new.state {
            NodeState::Up if unchanged => None,
            NodeState::Up => {
                self.said.clear();
                let timeline = self.health.report.as_ref().and_then(|report| report.timeline);
                let timeline =
                    timeline.map(|timeline| format!(" on timeline {timeline}")).unwrap_or_default();
                Some(Note::Info(format!("node {id} at {place} is up: {role}{timeline}")))
            }
            NodeState::Drained if unchanged => None,
            NodeState::Drained => Some(Note::Info(format!("node {id} at {place} is drained"))),
            NodeState::Down | NodeState::Lagging => {
                let reason = new.reason.clone().unwrap_or_default();
                if self.said.contains(&reason) || self.said.len() >= SAID_MAX || &*reason == NOT_PROBED {
                    return None;
                }
                self.said.push(reason.clone());
                Some(Note::Warning(format!(
                    "node {id} at {place} ({role}) is {}: {reason}",
                    new.state.name()
                )))
            }
        }
    }
}

/// `host:port`, as configured.
pub(super) fn place(node: &Node) -> String {
    format!("{}:{}", node.host, node.port)
}

/// Whether a shard would do the same with both, and tell a client the same.
fn routes_alike(old: &Node, new: &Node) -> bool {
    old.weight == new.weight
        && old.role == new.role
        && old.state == new.state
        && old.address == new.address
        && old.incarnation == new.incarnation
        && old.reason == new.reason
}

/// What is known without asking a name server.
fn address_of(node: &config::Node) -> NodeAddress {
    if node.host.starts_with('/') {
        return NodeAddress::Unix(node.host.clone().into());
    }
    NodeAddress::Tcp(node.host.parse::<IpAddr>().map(|ip| vec![(ip, node.port).into()]).unwrap_or_default())
}

/// Different nodes in the life of a process: as many as a configuration may have at once.
pub(crate) const NODES_MAX: usize = 128;

/// Reasons of one trouble that are logged.
const SAID_MAX: usize = 8;

#[cfg(test)]
mod tests;
