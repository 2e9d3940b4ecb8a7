//! What is known of each node: its last words, whether it is there, and whether it may be used.

use std::sync::Arc;

use super::event::{Sighting, Sync};
use super::flaps::Flaps;
use super::placeholders::Place;
use super::rules::{NodeRules, Rules};
use super::time::Later;
use crate::topology::{Moment, NodeId};

/// All configured nodes; the index is the id.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    list: Vec<Node>,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub id: NodeId,
    /// `None`: it was taken out of the configuration.
    pub rules: Option<NodeRules>,
    /// What it last said; kept while it is lost.
    pub sighting: Option<Sighting>,
    /// Whether it counts as there: more than the allowed probes in a row have to fail before it does not.
    pub up: bool,
    /// Whether a probe has told anything yet.
    pub probed: bool,
    /// Since when it has been answering without a break that made it lost.
    pub back_since: Moment,
    /// Why it is lost, or is suspected to be.
    pub reason: String,
    /// The highest timeline it was seen on in its present run: one without a receiver knows only an older one.
    pub timeline: Option<u32>,
    /// Whether commits may have waited for it: true until the primary has said that they do not.
    pub maybe_sync: bool,
    pub standing: Standing,
    /// Whether somebody was told already that its claim to be the primary is not believed.
    pub told: bool,
    pub flaps: Flaps,
    failures: u32,
    suspected: bool,
}

/// Whether a node may be used when it is there.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Standing {
    Attached,
    /// Taken out by the operator.
    Drained,
    /// Not trusted: another node was made the primary in its place. It is used again once it has been a healthy replica
    /// of the present primary for a while. `late`: it was told to become the primary and did not in time, so should it
    /// do so now, that is not believed.
    Fenced {
        why: Arc<str>,
        late: bool,
        healthy_since: Option<Moment>,
    },
    /// Taken out by `detach_false_primary`.
    Detached {
        why: Arc<str>,
        late: bool,
        healthy_since: Option<Moment>,
    },
}

/// What the picture says about a node beyond its health.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Usable,
    /// Taken out by the operator.
    Drained,
    /// Why it is not used although it may answer.
    Refused(Arc<str>),
}

impl Nodes {
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.list.get(id.index()).filter(|node| node.rules.is_some())
    }

    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.list.get_mut(id.index()).filter(|node| node.rules.is_some())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.list.iter().filter(|node| node.rules.is_some())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.list.iter_mut().filter(|node| node.rules.is_some())
    }

    /// The configuration was read. One that left and comes back is a new one.
    pub fn configured(&mut self, rules: &[(NodeId, NodeRules)], now: Moment) {
        let length = rules.iter().map(|(id, _)| id.index() + 1).max().unwrap_or(0).max(self.list.len());
        for (index, id) in (0..=u8::MAX).map(NodeId).enumerate().take(length) {
            let new = rules.iter().find(|(other, _)| *other == id).map(|(_, rules)| rules.clone());
            match self.list.get_mut(index) {
                None => self.list.push(Node::new(id, new, now)),
                Some(node) if node.rules.is_some() && new.is_some() => node.rules = new,
                Some(node) => *node = Node::new(id, new, now),
            }
        }
    }

    /// The highest timeline that any node that is there is on.
    pub fn timeline_max(&self) -> u32 {
        let up = self.iter().filter(|node| node.up);
        up.filter_map(|node| node.timeline).max().unwrap_or(0)
    }

    /// The live node with the smallest number, pgpool's "main node".
    pub fn main(&self, alive_too: Option<NodeId>) -> Option<&Node> {
        self.iter().find(|node| node.up || Some(node.id) == alive_too)
    }

    /// `node 1 at ann:5432`.
    pub fn name(&self, id: NodeId) -> String {
        match self.get(id).and_then(|node| node.rules.as_ref()) {
            Some(rules) => format!("node {id} at {}:{}", rules.host, rules.port),
            None => format!("node {id}"),
        }
    }

    /// What the primary says about its replicas.
    pub fn heard_followers(&mut self, followers: &[(NodeId, Sync)]) {
        for (id, sync) in followers {
            if let Some(node) = self.get_mut(*id) {
                node.maybe_sync = *sync != Sync::Async;
            }
        }
    }
}

impl Node {
    fn new(id: NodeId, rules: Option<NodeRules>, now: Moment) -> Node {
        Node {
            id,
            rules,
            sighting: None,
            up: false,
            probed: false,
            back_since: now,
            reason: String::new(),
            timeline: None,
            maybe_sync: true,
            standing: Standing::Attached,
            told: false,
            flaps: Flaps::default(),
            failures: 0,
            suspected: false,
        }
    }

    pub fn place(&self) -> Option<Place<'_>> {
        self.rules.as_ref().map(|rules| Place {
            id: self.id.0,
            host: &rules.host,
            port: rules.port,
            directory: rules.data_directory.as_deref().unwrap_or_default(),
        })
    }

    pub fn answered(&mut self, sighting: Sighting, now: Moment) {
        let former = self.sighting.as_ref();
        let stranger =
            former.is_some_and(|former| former.system.is_some() && former.system != sighting.system);
        if stranger {
            // Another server at the same address: nothing that was known of the former holds.
            *self = Node::new(self.id, self.rules.take(), now);
        }
        let former = self.sighting.as_ref();
        let same_run = former.is_some_and(|former| former.started == sighting.started && former.in_recovery);
        self.timeline = match sighting.in_recovery && same_run {
            true => self.timeline.max(sighting.timeline),
            false => sighting.timeline,
        };
        if !self.up {
            self.up = true;
            self.back_since = now;
        }
        if sighting.in_recovery {
            self.told = false;
        }
        self.probed = true;
        (self.failures, self.suspected) = (0, false);
        self.sighting = Some(sighting);
    }

    /// A probe failed. True when the node is lost from now on.
    pub fn failed(&mut self, reason: String, rules: &Rules, now: Moment) -> bool {
        self.probed = true;
        self.failures = self.failures.saturating_add(1 + u32::from(std::mem::take(&mut self.suspected)));
        self.reason = reason;
        let stays = self.rules.as_ref().is_some_and(|rules| rules.disallow_failover);
        let retries = self.rules.as_ref().and_then(|own| own.retries).unwrap_or(rules.retries);
        if !self.up || self.failures <= retries || stays {
            return false;
        }
        self.up = false;
        self.flaps.lost(now);
        true
    }

    pub fn suspected(&mut self, reason: String) {
        self.suspected = true;
        self.reason = reason;
    }

    /// Whether something speaks against it that no probe has answered yet.
    pub fn doubted(&self) -> bool {
        self.suspected || self.failures > 0
    }

    pub fn always_primary(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.always_primary)
    }

    /// Whether it is there and says that it is a primary, or is configured so.
    pub fn claims(&self) -> bool {
        let says = self.sighting.as_ref().is_some_and(|sighting| !sighting.in_recovery);
        self.up && (says || self.always_primary())
    }

    /// Whether it is there and says that it is a replica.
    pub fn recovering(&self) -> bool {
        let says = self.sighting.as_ref().is_some_and(|sighting| sighting.in_recovery);
        self.up && says && !self.always_primary()
    }

    /// Whether it was asked at or after `since`, and answered.
    pub fn fresh(&self, since: Moment) -> bool {
        self.up && self.sighting.as_ref().is_some_and(|sighting| sighting.sent >= since)
    }

    /// Whether it streams from `primary`, on `timeline` as far as it knows.
    pub fn healthy(&self, primary: NodeId, timeline: u32) -> bool {
        let Some(sighting) = self.sighting.as_ref().filter(|_| self.recovering()) else { return false };
        let follows = sighting.follows.is_none_or(|followed| followed == primary);
        follows && sighting.streaming != Some(false) && self.timeline.is_none_or(|own| own == timeline)
    }

    /// Whether it has been back for long enough, considering how often it was lost.
    pub fn settled(&self, rules: &Rules, now: Moment) -> bool {
        self.up && now >= self.back_since.later(self.flaps.wait(rules, now))
    }

    /// Whether the operator or a rule keeps it out of any choice.
    pub fn excluded(&self) -> bool {
        matches!(self.standing, Standing::Drained | Standing::Detached { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(5);

    fn node(disallow_failover: bool) -> Node {
        Node::new(NodeId(1), Some(NodeRules { disallow_failover, ..NodeRules::default() }), NOW)
    }

    fn replica(timeline: Option<u32>, started: &str) -> Sighting {
        Sighting { in_recovery: true, timeline, started: Some(started.into()), ..Sighting::default() }
    }

    #[test]
    fn one_lost_probe_is_no_lost_node_and_a_suspicion_counts_as_one() {
        let rules = Rules { retries: 1, ..Rules::default() };
        let mut node = node(false);
        node.answered(replica(None, "a"), NOW);
        assert!(!node.failed("late".into(), &rules, NOW) && node.up);
        node.answered(replica(None, "a"), NOW);
        assert!(!node.failed("late".into(), &rules, NOW) && node.failed("late".into(), &rules, NOW));
        assert!(!node.failed("late".into(), &rules, NOW), "it is lost once");
        node.answered(replica(None, "a"), NOW);
        node.suspected("closed".into());
        assert!(node.doubted() && node.failed("refused".into(), &rules, NOW) && !node.up);
    }

    #[test]
    fn one_may_have_retries_of_its_own() {
        let rules = Rules { retries: 0, ..Rules::default() };
        let mut node =
            Node::new(NodeId(1), Some(NodeRules { retries: Some(2), ..NodeRules::default() }), NOW);
        node.answered(replica(None, "a"), NOW);
        let lost: Vec<bool> = (0..3).map(|_| node.failed("late".into(), &rules, NOW)).collect();
        assert_eq!(lost, [false, false, true]);
    }

    #[test]
    fn one_that_must_not_fail_over_is_doubted_and_never_lost() {
        let mut node = node(true);
        node.answered(replica(None, "a"), NOW);
        for _ in 0..50 {
            assert!(!node.failed("late".into(), &Rules::default(), NOW));
        }
        assert!(node.up && node.doubted());
    }

    #[test]
    fn a_replica_does_not_fall_behind_its_timeline_when_its_receiver_goes() {
        let mut node = node(false);
        node.answered(replica(Some(3), "a"), NOW);
        node.answered(replica(Some(2), "a"), NOW);
        assert_eq!(node.timeline, Some(3));
        node.answered(replica(Some(2), "b"), NOW);
        assert_eq!(node.timeline, Some(2), "it was restarted, perhaps as another copy");
    }

    #[test]
    fn another_cluster_at_the_same_address_is_another_node() {
        let mut node = node(false);
        node.answered(Sighting { system: Some(1), ..replica(Some(9), "a") }, NOW);
        node.standing = Standing::Drained;
        node.answered(Sighting { system: Some(2), ..replica(Some(1), "a") }, NOW);
        assert_eq!((node.timeline, &node.standing), (Some(1), &Standing::Attached));
    }

    #[test]
    fn nodes_keep_what_is_known_of_them_unless_they_leave() {
        let mut nodes = Nodes::default();
        let both = [(NodeId(0), NodeRules::default()), (NodeId(1), NodeRules::default())];
        nodes.configured(&both, NOW);
        nodes.get_mut(NodeId(1)).expect("it is there").answered(replica(Some(4), "a"), NOW);
        nodes.configured(&both, NOW);
        assert_eq!(nodes.timeline_max(), 4);
        assert_eq!(nodes.main(None).map(|node| node.id), Some(NodeId(1)));
        assert_eq!(nodes.main(Some(NodeId(0))).map(|node| node.id), Some(NodeId(0)));
        nodes.configured(&both[..1], NOW);
        assert!(nodes.get(NodeId(1)).is_none());
        nodes.configured(&both, NOW);
        assert_eq!(nodes.timeline_max(), 0);
    }
}
