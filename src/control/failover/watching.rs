//! While there is a primary: doubt, and what ends it.

use super::claims::Belief;
use super::phase::{Goal, Phase, Receiver};
use super::record::{Kind, Seen, Witness};
use super::time::Later;
use super::{Action, Failover, Gate, Mode, Purpose};
use crate::topology::{Moment, NodeId};

impl Failover {
    pub(super) fn watch(&mut self, belief: &Belief, now: Moment) -> bool {
        let Some(primary) = self.primary else { return false };
        if let Some(other) = belief.primary.filter(|other| *other != primary && self.certain(*other)) {
            let timeline = self.nodes.get(other).and_then(|node| node.timeline).unwrap_or(0);
            let what = format!("{} is the primary on timeline {timeline}", self.nodes.name(other));
            self.begin_record(Kind::Observed, vec![Seen { at: now, by: Witness::Probe, what }], now);
            self.raise_fence(Goal::Adopt(other), now);
            return true;
        }
        let Some(node) = self.nodes.get(primary) else {
            return self.lost(primary, "it was taken out of the configuration".to_owned(), now);
        };
        if node.recovering() {
            return self.lost(primary, "it says that it is a replica".to_owned(), now);
        }
        let (up, doubted, reason) = (node.up, node.doubted(), node.reason.clone());
        match self.phase.clone() {
            Phase::Suspecting { until, receivers } => {
                if up && !doubted {
                    self.seen.clear();
                    let next = self.follow_phase();
                    self.enter(next, now);
                    return true;
                }
                let receivers = self.look_at_receivers(receivers);
                let fed = receivers.iter().find(|receiver| receiver.grew).map(|receiver| receiver.node);
                self.phase = Phase::Suspecting { until, receivers };
                match fed {
                    Some(_) if !up && now < until => false,
                    _ if !up => self.lost(primary, reason, now),
                    _ if now >= until => {
                        let text = format!(
                            "{} does not answer, and may not fail over: {reason}",
                            self.nodes.name(primary)
                        );
                        self.alarm("disallow_failover", text, now);
                        false
                    }
                    _ => false,
                }
            }
            _ if doubted || !up => {
                let until = now.later(self.rules.suspect_timeout);
                self.enter(Phase::Suspecting { until, receivers: Vec::new() }, now);
                self.probe_all();
                true
            }
            Phase::Following { until } => self.follow(primary, until, now),
            _ => {
                self.follow_stray(primary, now);
                false
            }
        }
    }

    /// Whether nothing speaks against it.
    pub(super) fn certain(&self, id: NodeId) -> bool {
        self.nodes.get(id).is_some_and(|node| node.up && !node.doubted())
    }

    /// Compares how far each replica has received with what it said before: one that goes on receiving shows that the
    /// primary lives.
    fn look_at_receivers(&self, former: Vec<Receiver>) -> Vec<Receiver> {
        let replicas = self.nodes.iter().filter(|node| node.recovering() && node.fresh(self.entered));
        let seen = replicas.filter_map(|node| {
            let sighting = node.sighting.as_ref()?;
            let (node, sent, received) = (node.id, sighting.sent, sighting.received?);
            let before = former.iter().find(|receiver| receiver.node == node);
            Some(match before {
                Some(before) if before.sent == sent => *before,
                Some(before) => Receiver { node, sent, received, grew: received > before.received },
                None => Receiver { node, sent, received, grew: false },
            })
        });
        seen.collect()
    }

    pub(super) fn probe_all(&mut self) {
        let up: Vec<NodeId> = self.nodes.iter().filter(|node| node.up).map(|node| node.id).collect();
        self.actions.extend(up.into_iter().map(|node| Action::Probe { node }));
    }

    fn lost(&mut self, primary: NodeId, reason: String, now: Moment) -> bool {
        let mut seen = std::mem::take(&mut self.seen);
        if seen.is_empty() {
            seen.push(Seen { at: now, by: Witness::Probe, what: reason.clone() });
        }
        self.begin_record(Kind::Failover, seen, now);
        self.log(format!("{}, the primary, is lost: {reason}", self.nodes.name(primary)));
        self.raise_fence(Goal::Replace, now);
        true
    }

    pub(super) fn raise_fence(&mut self, goal: Goal, now: Moment) {
        self.primary = None;
        self.gate = Gate::Open;
        self.fence.begin();
        self.fenced_at = now;
        self.told.clear();
        self.failed.clear();
        self.enter(Phase::Fencing { goal, until: now.later(self.rules.fence_timeout) }, now);
    }

    /// The operator's script is told of a lost replica too, as pgpool does.
    pub(super) fn replica_lost(&mut self, id: NodeId) {
        if self.rules.mode == Mode::Command && self.nodes.get(id).is_some_and(|node| !node.excluded()) {
            let main = self.nodes.main(None).map(|node| node.id);
            self.run(self.rules.failover_command.clone(), Purpose::Detach, id, main);
        }
    }
}
