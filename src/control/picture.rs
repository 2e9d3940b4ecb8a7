//! Which node is the primary, when the nodes' own words do not agree. Verdicts in, a choice out.
//!
//! At most one node is ever chosen, so two that both claim to be the primary are never both written to. In this order:
//!
//! 1. a node configured as the primary is it;
//! 2. of several clusters, that of the primary so far;
//! 3. never a timeline that was left: a primary that was replaced and returns is not written to;
//! 4. the highest timeline, since each promotion starts a higher one;
//! 5. the one that more replicas stream from;
//! 6. the primary so far. Without one: nobody, because a wrong guess loses writes.

use std::cmp::Reverse;

use crate::topology::NodeId;

/// A node that is up and says that it is a primary, or is configured so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub node: NodeId,
    pub configured: bool,
    pub timeline: Option<u32>,
    pub system: Option<u64>,
    /// How many replicas stream from it.
    pub followers: usize,
}

/// What earlier choices left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub primary: Option<NodeId>,
    pub system: Option<u64>,
    /// The highest timeline a primary was on.
    pub timeline: u32,
}

/// Who is the primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    pub primary: Option<NodeId>,
    /// Claims that were not believed, and why: these nodes are not used at all.
    pub refused: Vec<(NodeId, String)>,
}

impl Memory {
    /// Chooses among `claims`, and remembers the choice. `others_of_system` tells whether any node that is up, claiming
    /// or not, belongs to a cluster.
    pub fn choose(&mut self, claims: &[Claim], others_of_system: impl Fn(u64) -> bool) -> Choice {
        let mut refused = Vec::new();
        let mut left: Vec<&Claim> = claims.iter().collect();
        if let Some(configured) = claims.iter().find(|claim| claim.configured) {
            keep(
                &mut left,
                &mut refused,
                |claim| claim.configured,
                |_| format!("node {} is configured as the primary", configured.node),
            );
        }
        // When nothing of the former cluster is there any more, another one may take its place.
        if self.system.is_none_or(others_of_system) {
            let (system, newest) = (self.system, self.timeline);
            let same = |claim: &Claim| claim.system.is_none() || system.is_none() || claim.system == system;
            keep(&mut left, &mut refused, same, |claim| {
                format!(
                    "it belongs to another cluster: its system identifier is {}, that of the others {}",
                    claim.system.unwrap_or_default(),
                    system.unwrap_or_default()
                )
            });
            keep(
                &mut left,
                &mut refused,
                |claim| claim.timeline.is_none_or(|timeline| timeline >= newest),
                |claim| {
                    format!(
                        "it claims to be the primary on timeline {}, but the cluster has moved to timeline {newest}: rewind \
                     it to follow the new primary, or restart pgweir if its state is the one to go on with",
                        claim.timeline.unwrap_or_default()
                    )
                },
            );
        }
        if let Some(highest) = left.iter().map(|claim| claim.timeline).max() {
            keep(
                &mut left,
                &mut refused,
                |claim| claim.timeline == highest,
                |_| {
                    format!(
                        "another node is the primary on the higher timeline {}",
                        highest.unwrap_or_default()
                    )
                },
            );
        }
        if left.len() > 1 {
            left.sort_by_key(|claim| Reverse(claim.followers));
            let (most, next) = (left[0].followers, left[1].followers);
            let chosen = match most > next {
                true => Some(left[0].node),
                false => self.primary.filter(|node| left.iter().any(|claim| claim.node == *node)),
            };
            let reason = match chosen {
                Some(node) => format!("node {node} claims to be the primary on the same timeline, and counts"),
                None => "several nodes claim to be the primary on the same timeline, and nothing tells which one is: stop \
                         all but the right one"
                    .to_owned(),
            };
            keep(&mut left, &mut refused, |claim| Some(claim.node) == chosen, |_| reason.clone());
        }
        let primary = left.first().map(|claim| claim.node);
        if let Some(claim) = left.first() {
            if self.system.zip(claim.system).is_some_and(|(former, now)| former != now) {
                self.timeline = 0;
            }
            self.primary = primary;
            self.system = claim.system.or(self.system);
            self.timeline = self.timeline.max(claim.timeline.unwrap_or(0));
        }
        Choice { primary, refused }
    }
}

/// Refuses what is not `wanted`.
fn keep<'a>(
    left: &mut Vec<&'a Claim>,
    refused: &mut Vec<(NodeId, String)>,
    wanted: impl Fn(&Claim) -> bool,
    reason: impl Fn(&Claim) -> String,
) {
    left.retain(|claim: &&'a Claim| {
        let keep = wanted(claim);
        if !keep {
            refused.push((claim.node, reason(claim)));
        }
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(node: u8, timeline: u32, followers: usize) -> Claim {
        Claim { node: NodeId(node), configured: false, timeline: Some(timeline), system: Some(7), followers }
    }

    fn memory(primary: Option<u8>, timeline: u32) -> Memory {
        Memory { primary: primary.map(NodeId), system: primary.map(|_| 7), timeline }
    }

    /// The primary chosen, and the nodes refused.
    fn choose(memory: &Memory, claims: &[Claim]) -> (Option<u8>, Vec<u8>) {
        let choice = memory.clone().choose(claims, |system| system == 7);
        let mut refused: Vec<u8> = choice.refused.iter().map(|(node, _)| node.0).collect();
        refused.sort_unstable();
        (choice.primary.map(|node| node.0), refused)
    }

    #[test]
    fn of_several_claims_one_counts_or_none() {
        let fresh = memory(None, 0);
        let unknown = Claim { timeline: None, ..claim(2, 0, 0) };
        for (memory, claims, primary, refused) in [
            (&fresh, vec![], None, vec![]),
            (&fresh, vec![claim(1, 1, 0)], Some(1), vec![]),
            (&fresh, vec![claim(0, 1, 2), claim(1, 2, 0)], Some(1), vec![0]),
            (&fresh, vec![claim(0, 1, 0), claim(1, 1, 1), claim(2, 1, 0)], Some(1), vec![0, 2]),
            (&fresh, vec![claim(0, 1, 0), claim(1, 1, 0)], None, vec![0, 1]),
            (&fresh, vec![claim(0, 1, 0), unknown.clone()], Some(0), vec![2]),
            (&memory(Some(1), 1), vec![claim(0, 1, 0), claim(1, 1, 0)], Some(1), vec![0]),
            (&memory(Some(1), 1), vec![claim(0, 1, 1), claim(1, 1, 0)], Some(0), vec![1]),
            (&memory(Some(2), 1), vec![claim(0, 1, 0), claim(1, 1, 0)], None, vec![0, 1]),
            (&memory(Some(1), 2), vec![claim(0, 1, 5)], None, vec![0]),
            (&memory(Some(1), 2), vec![claim(0, 3, 0)], Some(0), vec![]),
            (&memory(Some(1), 2), vec![unknown], Some(2), vec![]),
        ] {
            assert_eq!(choose(memory, &claims), (primary, refused), "{memory:?} {claims:?}");
        }
    }

    #[test]
    fn a_configured_primary_is_it() {
        let configured = Claim { configured: true, timeline: None, system: None, ..claim(0, 0, 0) };
        assert_eq!(choose(&memory(Some(1), 9), &[configured, claim(1, 9, 3)]), (Some(0), vec![1]));
    }

    #[test]
    fn another_cluster_takes_over_only_when_nothing_of_the_former_is_left() {
        let stranger = Claim { system: Some(8), ..claim(1, 9, 0) };
        let mut remembered = memory(Some(0), 3);
        let choice = remembered.choose(std::slice::from_ref(&stranger), |system| system == 7);
        assert_eq!(choice.primary, None);
        assert!(choice.refused[0].1.contains("another cluster"));
        let newborn = Claim { timeline: Some(1), ..stranger };
        let choice = remembered.choose(&[newborn], |_| false);
        assert_eq!(choice.primary, Some(NodeId(1)));
        assert_eq!(remembered, Memory { primary: Some(NodeId(1)), system: Some(8), timeline: 1 });
    }

    proptest! {
        #[test]
        fn never_two_and_each_claim_is_answered(
            claims in proptest::collection::vec((0u32..4, 0usize..3, 0u64..3), 0..5),
            former in proptest::option::of(0u8..5),
            newest in 0u32..4,
        ) {
            let claims: Vec<Claim> = (0u8..)
                .zip(claims)
                .map(|(node, (timeline, followers, system))| Claim {
                    timeline: Some(timeline).filter(|timeline| *timeline > 0),
                    system: Some(system).filter(|system| *system > 0),
                    ..claim(node, 1, followers)
                })
                .collect();
            let mut memory = memory(former, newest);
            let choice = memory.choose(&claims, |system| claims.iter().any(|claim| claim.system == Some(system)));
            let mut answered: Vec<NodeId> = choice.refused.iter().map(|(node, _)| *node).chain(choice.primary).collect();
            answered.sort_unstable();
            prop_assert_eq!(answered, claims.iter().map(|claim| claim.node).collect::<Vec<_>>());
        }
    }
}
