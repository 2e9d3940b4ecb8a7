//! One node as control knows it: what probes said of it, and how it is drawn. No clock: times come with the events.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use super::cluster::Note;
use super::failover::Verdict;
use super::health::{Health, Lag, NOT_PROBED, Rules};
use super::probe::Report;
use crate::config;
use crate::topology::{Gauges, Node, NodeAddress, NodeId, NodeState};

/// One node, configured or formerly so.
pub(super) struct Member {
    pub host: String,
    pub port: u16,
    /// `None`: it was taken out of the configuration. Its id is not given to another node.
    pub configured: Option<config::Node>,
    pub health: Health,
    pub rules: Rules,
    pub gauges: Arc<Gauges>,
    /// True exactly when its last answer came after everything that made us doubt it.
    pub fresh: bool,
    /// Why it is not used although it answers: it belongs to another cluster than the primary.
    stranger: Option<Arc<str>>,
    /// Whether it may be used at all, as failover sees it.
    pub verdict: Verdict,
    /// Reasons of its present trouble that were logged already. At most [`SAID_MAX`].
    said: Vec<Arc<str>>,
}

impl Member {
    pub fn new(node: config::Node, at: SystemTime) -> Member {
        Member {
            host: node.host.clone(),
            port: node.port,
            health: Health::new(address_of(&node), at),
            configured: Some(node),
            rules: Rules::default(),
            gauges: Arc::default(),
            fresh: false,
            stranger: None,
            verdict: Verdict::Drained,
            said: Vec::new(),
        }
    }

    /// How far it is behind, if it is a replica and the primary is known.
    pub fn lag(&self) -> Lag {
        self.health.lag
    }

    pub fn is(&self, node: &config::Node) -> bool {
        self.host == node.host && self.port == node.port
    }

    /// It left the configuration, or comes back: nothing that was known holds.
    pub fn forget(&mut self, at: SystemTime) {
        let incarnation = self.health.incarnation + 1;
        self.health = Health::new(self.health.address.clone(), at);
        self.health.incarnation = incarnation;
        self.fresh = false;
        self.stranger = None;
        self.said.clear();
    }

    pub fn usable(&self) -> bool {
        self.configured.is_some()
            && self.health.up
            && self.stranger.is_none()
            && self.verdict == Verdict::Usable
    }

    /// A replica of another cluster than the primary's shows other data. `system`: the primary's, where it is known.
    pub fn compare_system(&mut self, system: Option<u64>) {
        let own = self.health.report.as_ref().and_then(|report| report.system);
        let Some((own, system)) = own.zip(system) else { return };
        let reason = || {
            format!(
                "it belongs to another cluster: its system identifier is {own}, that of the primary {system}"
            )
        };
        self.stranger = (own != system).then(|| reason().into());
    }

    /// Whether this is the node that a replica says it streams from.
    pub fn is_at(&self, host: &str, port: u16) -> bool {
        let address = || match &self.health.address {
            NodeAddress::Tcp(addresses) => {
                host.parse::<IpAddr>().is_ok_and(|ip| addresses.iter().any(|address| address.ip() == ip))
            }
            NodeAddress::Unix(_) => false,
        };
        self.configured.is_some() && port == self.port && (host == self.host || address())
    }

    /// The name under which it streams, configured or said by itself.
    pub fn receiver_name(&self) -> Option<&str> {
        let configured = self.configured.as_ref().and_then(|node| node.application_name.as_deref());
        let said = || self.health.report.as_ref().and_then(|report: &Report| report.receiver_name.as_deref());
        configured.or_else(said)
    }

    pub fn draw(&self, id: NodeId) -> Node {
        let health = &self.health;
        let (state, reason) = match (&self.verdict, &self.stranger) {
            _ if self.configured.is_none() => {
                (NodeState::Drained, Some(Arc::from("it was taken out of the configuration")))
            }
            (Verdict::Drained, _) => (NodeState::Drained, Some(Arc::from("it was detached"))),
            _ if !health.up => (NodeState::Down, health.reason.clone()),
            (Verdict::Refused(why), _) | (Verdict::Usable, Some(why)) => (NodeState::Down, Some(why.clone())),
            (Verdict::Usable, None) if health.lagging => (NodeState::Lagging, health.reason.clone()),
            (Verdict::Usable, None) => (NodeState::Up, None),
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
    pub fn note(&mut self, new: &Node, old: Option<&Node>) -> Option<Note> {
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
fn place(node: &Node) -> String {
    format!("{}:{}", node.host, node.port)
}

/// Whether a shard would do the same with both, and tell a client the same.
pub(super) fn routes_alike(old: &Node, new: &Node) -> bool {
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

/// Reasons of one trouble that are logged.
const SAID_MAX: usize = 8;
