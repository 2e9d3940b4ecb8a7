//! Which of the nodes that say they are the primary is believed. Claims in, a belief out.
//!
//! At most one is ever believed, in this order:
//!
//! 1. a node configured as the primary is it;
//! 2. never one that was replaced, or whose promotion was given up;
//! 3. of several clusters, that of the primary so far;
//! 4. the primary so far on its timeline; any other only on a higher timeline, since each promotion starts one. So a
//!    primary that was replaced without us and returns is not believed either;
//! 5. the highest timeline; then the one that more replicas stream from; then the primary so far. Otherwise nobody,
//!    because a wrong guess loses writes.

use crate::topology::NodeId;

/// A node that is there and says that it is a primary, or is configured so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub node: NodeId,
    pub always_primary: bool,
    /// Why it is not believed whatever it says.
    pub barred: Option<String>,
    pub timeline: Option<u32>,
    pub system: Option<u64>,
    /// How many replicas stream from it.
    pub followers: usize,
}

/// What claims are judged by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The primary so far, there or not.
    pub primary: Option<NodeId>,
    /// The timeline it wrote to, 0 when there was none.
    pub timeline: u32,
    pub system: Option<u64>,
    /// Whether any node that is there belongs to `system`.
    pub system_there: bool,
    /// The highest timeline that any node that is there is on.
    pub timeline_seen: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Belief {
    pub primary: Option<NodeId>,
    /// Who is not believed, and why.
    pub refused: Vec<(NodeId, String)>,
}

pub(super) fn believe(claims: &[Claim], known: &Known) -> Belief {
    let mut left = Left { claims: claims.iter().collect(), refused: Vec::new() };
    if let Some(configured) = claims.iter().find(|claim| claim.always_primary) {
        let reason = format!("node {} is configured as the primary", configured.node);
        left.keep(|claim| claim.always_primary, |_| reason.clone());
        return left.belief();
    }
    left.keep(|claim| claim.barred.is_none(), |claim| claim.barred.clone().unwrap_or_default());
    // When nothing of the former cluster is there any more, another one may take its place.
    let newborn = Known::default();
    let known = match known.system_there || known.system.is_none() {
        true => known,
        false => &newborn,
    };
    left.keep(
        |claim| known.system.is_none() || claim.system.is_none_or(|system| known.system == Some(system)),
        |claim| {
            let (own, others) = (claim.system.unwrap_or_default(), known.system.unwrap_or_default());
            format!(
                "it belongs to another cluster: its system identifier is {own}, that of the others {others}"
            )
        },
    );
    let alone = left.claims.len() == 1;
    left.keep(|claim| in_time(claim, known, alone), |claim| too_old(claim, known));
    if let Some(highest) = left.claims.iter().map(|claim| claim.timeline).max() {
        left.keep(
            |claim| claim.timeline == highest,
            |_| format!("another node is the primary on the higher timeline {}", highest.unwrap_or_default()),
        );
    }
    let most = left.claims.iter().map(|claim| claim.followers).max().unwrap_or(0);
    let followed = |claim: &&&Claim| claim.followers == most;
    let chosen = match left.claims.iter().filter(followed).count() {
        0 | 1 => left.claims.iter().find(followed).map(|claim| claim.node),
        _ => known.primary.filter(|node| left.claims.iter().any(|claim| claim.node == *node)),
    };
    let reason = match chosen {
        Some(node) => format!("node {node} claims to be the primary on the same timeline, and counts"),
        None => "several nodes claim to be the primary on the same timeline, and nothing tells which one is: stop all \
                 but the right one"
            .to_owned(),
    };
    left.keep(|claim| Some(claim.node) == chosen, |_| reason.clone());
    left.belief()
}

/// Whether the claim is not about a time that has passed. `alone`: nobody else makes one.
fn in_time(claim: &Claim, known: &Known, alone: bool) -> bool {
    match claim.timeline {
        Some(timeline) if known.primary == Some(claim.node) => timeline >= known.timeline,
        Some(timeline) if known.timeline > 0 => timeline > known.timeline,
        Some(timeline) => timeline >= known.timeline_seen,
        // The login may not know it.
        None => known.primary.is_none_or(|primary| primary == claim.node) || alone,
    }
}

fn too_old(claim: &Claim, known: &Known) -> String {
    let newest = known.timeline.max(known.timeline_seen);
    match claim.timeline {
        Some(timeline) if timeline < newest => format!(
            "it claims to be the primary on timeline {timeline}, but the cluster has moved to timeline {newest}"
        ),
        Some(timeline) => {
            format!("it claims to be the primary on timeline {timeline}, which belongs to another node")
        }
        None => "it claims to be the primary, as another node does".to_owned(),
    }
}

/// The claims that are still in question.
struct Left<'a> {
    claims: Vec<&'a Claim>,
    refused: Vec<(NodeId, String)>,
}

impl Left<'_> {
    /// Refuses what is not `wanted`.
    fn keep(&mut self, wanted: impl Fn(&Claim) -> bool, reason: impl Fn(&Claim) -> String) {
        let refused = &mut self.refused;
        self.claims.retain(|claim| {
            let keep = wanted(claim);
            if !keep {
                refused.push((claim.node, reason(claim)));
            }
            keep
        });
    }

    fn belief(self) -> Belief {
        Belief { primary: self.claims.first().map(|claim| claim.node), refused: self.refused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim(node: u8, timeline: u32, followers: usize) -> Claim {
        Claim {
            node: NodeId(node),
            always_primary: false,
            barred: None,
            timeline: Some(timeline).filter(|timeline| *timeline > 0),
            system: Some(7),
            followers,
        }
    }

    fn known(primary: Option<u8>, timeline: u32) -> Known {
        Known {
            primary: primary.map(NodeId),
            timeline,
            system: primary.map(|_| 7),
            system_there: true,
            timeline_seen: timeline,
        }
    }

    #[test]
    fn of_several_claims_one_is_believed_or_none() {
        let barred = Claim { barred: Some("it was replaced".into()), ..claim(2, 9, 9) };
        let configured = Claim { always_primary: true, ..claim(0, 0, 0) };
        for (known, claims, primary) in [
            (known(None, 0), vec![], None),
            (known(None, 0), vec![claim(1, 1, 0)], Some(1)),
            (known(None, 0), vec![claim(0, 1, 2), claim(1, 2, 0)], Some(1)),
            (known(None, 0), vec![claim(0, 1, 0), claim(1, 1, 1), claim(2, 1, 0)], Some(1)),
            (known(None, 0), vec![claim(0, 1, 0), claim(1, 1, 0)], None),
            (known(None, 0), vec![claim(0, 1, 0), claim(2, 0, 0)], Some(0)),
            (Known { timeline_seen: 2, ..known(None, 0) }, vec![claim(0, 1, 1)], None),
            (known(Some(1), 1), vec![claim(0, 1, 1), claim(1, 1, 0)], Some(1)),
            (known(Some(1), 1), vec![claim(0, 1, 1)], None),
            (known(Some(1), 2), vec![claim(0, 1, 5)], None),
            (known(Some(1), 2), vec![claim(1, 1, 0)], None),
            (known(Some(1), 2), vec![claim(0, 3, 0), claim(1, 2, 2)], Some(0)),
            (known(Some(1), 2), vec![claim(1, 0, 0)], Some(1)),
            (known(Some(1), 2), vec![claim(1, 2, 0), claim(2, 0, 0)], Some(1)),
            (known(Some(1), 2), vec![claim(2, 0, 0)], Some(2)),
            (known(Some(1), 2), vec![barred.clone(), claim(1, 2, 0)], Some(1)),
            (known(Some(1), 2), vec![barred], None),
            (known(Some(1), 9), vec![configured, claim(1, 9, 3)], Some(0)),
        ] {
            let belief = believe(&claims, &known);
            assert_eq!(belief.primary.map(|node| node.0), primary, "{known:?} {claims:?}");
        }
    }

    #[test]
    fn another_cluster_is_believed_only_when_nothing_of_the_former_is_left() {
        let stranger = Claim { system: Some(8), ..claim(1, 1, 0) };
        let there = known(Some(0), 3);
        let belief = believe(std::slice::from_ref(&stranger), &there);
        assert!(belief.primary.is_none() && belief.refused[0].1.contains("another cluster"));
        let gone = Known { system_there: false, ..there };
        assert_eq!(believe(&[stranger], &gone).primary, Some(NodeId(1)));
    }

    proptest! {
        #[test]
        fn never_two_never_an_older_one_and_each_is_answered(
            claims in proptest::collection::vec((0u32..4, 0usize..3, any::<bool>()), 0..5),
            former in proptest::option::of(0u8..5),
            timeline in 1u32..4,
        ) {
            let claims: Vec<Claim> = (0u8..)
                .zip(claims)
                .map(|(node, (timeline, followers, barred))| {
                    Claim { barred: barred.then(String::new), ..claim(node, timeline, followers) }
                })
                .collect();
            let known = known(former, former.map_or(0, |_| timeline));
            let belief = believe(&claims, &known);
            let mut answered: Vec<NodeId> =
                belief.refused.iter().map(|(node, _)| *node).chain(belief.primary).collect();
            answered.sort_unstable();
            prop_assert_eq!(answered, claims.iter().map(|claim| claim.node).collect::<Vec<_>>());
            let believed = claims.iter().find(|claim| Some(claim.node) == belief.primary);
            prop_assert!(believed.is_none_or(|claim| claim.barred.is_none()
                && claim.timeline.is_none_or(|own| own >= known.timeline)));
        }
    }
}
