//! The ways between threads and machines: late, slow or cut.

use crate::plan::{Fault, MS, Time};
use crate::world::World;

impl World {
    /// How long a message to or from a node is under way.
    pub fn delay(&mut self, node: Option<usize>) -> Time {
        let slow = self.faults.iter().find_map(|fault| match fault {
            Fault::Slow(slow, by) if Some(*slow) == node => Some(*by),
            _ => None,
        });
        self.random.between(MS / 10, 2 * MS) + slow.unwrap_or(0)
    }

    /// How long a message between two threads is under way.
    pub fn door_delay(&mut self) -> Time {
        self.random.between(MS / 100, MS / 2)
    }

    pub fn control_reaches(&self, node: usize) -> bool {
        !self.faults.contains(&Fault::CutControl(node))
    }

    pub fn shards_reach(&self, node: usize) -> bool {
        !self.faults.contains(&Fault::CutShards(node))
    }

    pub fn nodes_reach(&self, one: usize, other: usize) -> bool {
        let cut = |fault: &Fault| matches!(fault, Fault::CutNodes(a, b) if (*a, *b) == (one, other) || (*a, *b) == (other, one));
        !self.faults.iter().any(cut)
    }

    pub fn streams(&self, replica: usize) -> bool {
        let Some(primary) = self.nodes[replica].follows else { return false };
        let (own, other) = (&self.nodes[replica], &self.nodes[primary]);
        other.writes() && self.nodes_reach(replica, primary) && own.is_part_of(other)
    }
}
