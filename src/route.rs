//! Intent and topology to a node: the only place that knows what may go to a replica.
//!
//! Everything that is not a read goes to the primary. A read goes to one of the nodes that `reads` allows, that is up,
//! not over its lag limit, has a weight, and has what the session must see (its floor). When no replica will do, the
//! primary serves it; while there is no primary, any replica does, although it may lack what was written last.
//!
//! Between several: two are drawn by weight, and the one with fewer leases for its weight gets it. With little to do
//! that is a fair draw by weight; under load it evens out what a draw cannot know, such as a slow node.

use crate::config::Reads;
use crate::topology::{Moment, Node, NodeId, NodeState, Role, Topology};

/// What somebody wants a node for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Any node will do that serves queries at all.
    Any,
    /// A read that must see everything committed before the floor.
    Read { floor: Option<Moment> },
    /// Everything else.
    Write,
}

/// How a node may be chosen.
#[derive(Clone, Copy)]
pub struct Choice<'a> {
    pub reads: Reads,
    /// Whom to keep to as long as it will do: the session's node, for those that choose once.
    pub prefer: Option<NodeId>,
    /// Nodes that just failed here, a bit each; used only when nothing else is left.
    pub avoid: u128,
    /// Leases now, by node.
    pub leases: &'a dyn Fn(NodeId) -> u64,
    /// Two random numbers.
    pub random: [u64; 2],
}

/// The node for this access, or `None` when there is none at the moment.
pub fn route(topology: &Topology, access: Access, choice: Choice<'_>) -> Option<NodeId> {
    let primary = topology.open_primary().map(|node| node.id);
    match access {
        Access::Write => primary,
        Access::Read { floor } if choice.reads != Reads::Primary => {
            let may_read = |node: &Node| {
                let role = match choice.reads {
                    Reads::Any => true,
                    Reads::Replicas | Reads::Primary => node.role != Role::Primary,
                };
                role && topology.takes_new(node) && node.state == NodeState::Up && node.weight > 0.0
            };
            let has = |node: &Node| floor.is_none_or(|floor| node.gauges.has(floor));
            balance(topology, choice, |node| may_read(node) && (node.role == Role::Primary || has(node)))
                .or(primary)
                // While there is no primary, nobody can tell how far it had come: reads go on where they can.
                .or_else(|| match topology.primary() {
                    Some(_) => None,
                    None => balance(topology, choice, may_read),
                })
        }
        Access::Read { .. } => primary,
        Access::Any => primary
            .or_else(|| topology.nodes.iter().find(|node| topology.takes_new(node)).map(|node| node.id)),
    }
}

fn balance(topology: &Topology, choice: Choice<'_>, eligible: impl Fn(&Node) -> bool) -> Option<NodeId> {
    let avoided = |node: &Node| choice.avoid & (1 << node.id.0) != 0;
    // What failed a moment ago counts only when there is nothing else, and then the primary comes first. A bit for each
    // place in the list: they are looked at once, and gone through several times.
    let places = topology.nodes.iter().zip(0..u128::BITS);
    let mask = places
        .filter(|(node, _)| eligible(node) && !avoided(node))
        .fold(0u128, |mask, (_, place)| mask | 1 << place);
    let fine = || {
        let mut left = mask;
        std::iter::from_fn(move || {
            let place = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            topology.nodes.get(place)
        })
    };
    if let Some(preferred) = choice.prefer
        && fine().any(|node| node.id == preferred)
    {
        return Some(preferred);
    }
    let total: f64 = fine().map(|node| node.weight).sum();
    let draw = |random: u64| {
        let mut point = (random >> 11) as f64 / (1u64 << 53) as f64 * total;
        let mut last = None;
        for node in fine() {
            last = Some(node);
            if point < node.weight {
                break;
            }
            point -= node.weight;
        }
        last
    };
    let first = draw(choice.random[0])?;
    let second = draw(choice.random[1])?;
    // Leases by weight, compared without dividing.
    let load = |node: &Node, other: &Node| (choice.leases)(node.id) as f64 * other.weight;
    Some(if load(second, first) < load(first, second) { second.id } else { first.id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{Epoch, Gate, Gauges, NodeAddress};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn node(id: u8, role: Role, state: NodeState, weight: f64) -> Node {
        Node {
            id: NodeId(id),
            host: "h".into(),
            port: 1,
            weight,
            role,
            state,
            address: NodeAddress::Tcp(vec![]),
            incarnation: 0,
            reason: None,
            gauges: Arc::new(Gauges::default()),
        }
    }

    fn cluster(states: [NodeState; 3]) -> Topology {
        let roles = [Role::Primary, Role::Replica, Role::Replica];
        let nodes = (0..3).map(|id| node(id, roles[id as usize], states[id as usize], 1.0)).collect();
        Topology { epoch: Epoch(1), nodes, primary: Some(NodeId(0)), gate: Gate::Open }
    }

    fn choice(reads: Reads, random: [u64; 2]) -> Choice<'static> {
        Choice { reads, prefer: None, avoid: 0, leases: &|_| 0, random }
    }

    const UP: [NodeState; 3] = [NodeState::Up; 3];
    const READ: Access = Access::Read { floor: None };

    #[test]
    fn writes_go_to_the_primary_or_nowhere() {
        let mut topology = cluster(UP);
        assert_eq!(route(&topology, Access::Write, choice(Reads::Replicas, [0, 0])), Some(NodeId(0)));
        topology.nodes[0].state = NodeState::Down;
        assert_eq!(route(&topology, Access::Write, choice(Reads::Any, [0, 0])), None);
    }

    #[test]
    fn a_closed_gate_keeps_new_work_from_the_primary_and_nowhere_else() {
        let mut topology = Topology { gate: Gate::Closed, ..cluster(UP) };
        assert_eq!(route(&topology, Access::Write, choice(Reads::Any, [0, 0])), None);
        for reads in [Reads::Any, Reads::Replicas] {
            assert_eq!(route(&topology, READ, choice(reads, [0, 0])), Some(NodeId(1)), "{reads:?}");
        }
        assert_eq!(route(&topology, READ, choice(Reads::Primary, [0, 0])), None);
        assert_eq!(route(&topology, Access::Any, choice(Reads::Any, [0, 0])), Some(NodeId(1)));
        let read = Access::Read { floor: Some(Moment(5)) };
        assert_eq!(route(&topology, read, choice(Reads::Any, [0, 0])), None, "the primary will open again");
        topology.primary = None;
        assert_eq!(route(&topology, read, choice(Reads::Replicas, [0, 0])), Some(NodeId(1)));
    }

    #[test]
    fn a_read_goes_to_the_primary_when_no_replica_will_do() {
        use NodeState::{Down, Drained, Lagging, Up};
        let topology = cluster([Up, Down, Lagging]);
        assert_eq!(route(&topology, READ, choice(Reads::Replicas, [0, 0])), Some(NodeId(0)));
        let topology = cluster([Down, Drained, Lagging]);
        assert_eq!(route(&topology, READ, choice(Reads::Replicas, [0, 0])), None);
    }

    #[test]
    fn a_read_waits_for_no_replica_that_lacks_what_it_must_see() {
        let topology = cluster(UP);
        let read = Access::Read { floor: Some(Moment(5)) };
        assert_eq!(route(&topology, read, choice(Reads::Replicas, [0, 0])), Some(NodeId(0)));
        topology.nodes[2].gauges.caught_up(Moment(6));
        assert_eq!(route(&topology, read, choice(Reads::Replicas, [0, 0])), Some(NodeId(2)));
    }

    #[test]
    fn a_node_that_just_failed_is_left_alone() {
        let topology = cluster(UP);
        for random in 0..50u64 {
            let random = random.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let choice = Choice { avoid: 0b010, ..choice(Reads::Replicas, [random, !random]) };
            assert_eq!(route(&topology, READ, choice), Some(NodeId(2)));
        }
    }

    proptest! {
        #[test]
        fn only_the_primary_is_written_to(states in proptest::array::uniform3(0u8..4), random: [u64; 2], reads in 0u8..3) {
            let states = states.map(|s| [NodeState::Up, NodeState::Down, NodeState::Drained, NodeState::Lagging][s as usize]);
            let topology = cluster(states);
            let reads = [Reads::Primary, Reads::Any, Reads::Replicas][reads as usize];
            let write = route(&topology, Access::Write, choice(reads, random));
            prop_assert!(write.is_none() || write == Some(NodeId(0)));
            if let Some(read) = route(&topology, READ, choice(reads, random)) {
                prop_assert!(topology.nodes[read.index()].usable());
            }
        }

        #[test]
        fn an_idle_cluster_is_drawn_by_weight(seed: u64) {
            let mut topology = cluster(UP);
            topology.nodes[2].weight = 3.0;
            let mut random = seed | 1;
            let mut next = || { random ^= random << 13; random ^= random >> 7; random ^= random << 17; random };
            let hits = (0..4000).filter(|_| {
                route(&topology, READ, choice(Reads::Replicas, [next(), next()])) == Some(NodeId(2))
            }).count();
            prop_assert!((2700..3300).contains(&hits), "{hits} of 4000 for three quarters of the weight");
        }
    }
}
