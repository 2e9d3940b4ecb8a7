//! From what nodes say to who is believed and who is used.

use std::sync::Arc;

use super::Failover;
use super::claims::{self, Belief, Claim, Known};
use super::nodes::{Standing, Verdict};
use crate::topology::NodeId;

impl Failover {
    /// Who of those that claim to be the primary is believed.
    pub(super) fn belief(&self) -> Belief {
        let claims: Vec<Claim> = self
            .nodes
            .iter()
            .filter(|node| node.claims())
            .map(|node| Claim {
                node: node.id,
                always_primary: node.always_primary(),
                barred: match &node.standing {
                    Standing::Attached => None,
                    Standing::Drained => Some("it was detached".to_owned()),
                    // Its timeline tells whether it is a claim of former times or somebody promoted it anew.
                    Standing::Fenced { late: false, .. } | Standing::Detached { late: false, .. }
                        if node.timeline.is_some() =>
                    {
                        None
                    }
                    Standing::Fenced { why, .. } | Standing::Detached { why, .. } => Some(why.to_string()),
                },
                timeline: node.timeline,
                system: node.sighting.as_ref().and_then(|sighting| sighting.system),
                followers: self
                    .nodes
                    .iter()
                    .filter(|other| other.recovering())
                    .filter_map(|other| other.sighting.as_ref())
                    .filter(|sighting| sighting.streaming == Some(true) && sighting.follows == Some(node.id))
                    .count(),
            })
            .collect();
        let system_there = self.nodes.iter().filter(|node| node.up).any(|node| {
            let system = node.sighting.as_ref().and_then(|sighting| sighting.system);
            system.is_some() && system == self.line.system
        });
        let known = Known {
            primary: self.line.primary,
            timeline: self.line.timeline,
            system: self.line.system,
            system_there,
            timeline_seen: self.nodes.timeline_max(),
        };
        claims::believe(&claims, &known)
    }

    pub(super) fn verdicts(&self, belief: &Belief) -> Vec<Verdict> {
        let last = self.nodes.iter().map(|node| node.id.0).max();
        let ids = (0..=last.unwrap_or(0)).map(NodeId);
        let claims = |id: NodeId| {
            let refused = belief.refused.iter().find(|(node, _)| *node == id);
            refused.map(|(_, reason)| Arc::from(reason.as_str()))
        };
        ids.map(|id| match self.nodes.get(id).map(|node| &node.standing) {
            None | Some(Standing::Drained) => Verdict::Drained,
            // What it claims now says more than what was decided about it then.
            Some(Standing::Fenced { why, .. } | Standing::Detached { why, .. }) => {
                Verdict::Refused(claims(id).unwrap_or_else(|| why.clone()))
            }
            Some(Standing::Attached) => claims(id).map_or(Verdict::Usable, Verdict::Refused),
        })
        .collect()
    }
}
