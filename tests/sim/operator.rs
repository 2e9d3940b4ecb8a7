//! Whoever looks after the servers: brings old primaries back as replicas, and where pgweir only observes, promotes.

use pgweir::control::failover::{Mode, Verdict};
use pgweir::topology::NodeId;

use crate::node::State;
use crate::plan::{MS, Time};
use crate::world::World;

/// How long a server must have been wrong before somebody does something about it.
const PATIENCE: Time = 150 * MS;

impl World {
    /// Whether another tool promotes, so that what is lost is not pgweir's choice.
    pub fn decided_by_others(&self) -> bool {
        self.plan.rules.mode == Mode::Observe
    }

    pub fn operate(&mut self) {
        if self.decided_by_others() {
            self.replace_primary();
        }
        let primary = match self.decided_by_others() {
            true => self.highest().filter(|node| self.nodes[*node].writes()),
            false => self.published.primary.filter(|node| self.nodes[*node].writes()),
        };
        let Some(primary) = primary else { return };
        for node in 0..self.nodes.len() {
            let wrong =
                node != primary && self.nodes[node].state == State::Running && self.stray(node, primary);
            self.noticed[node] = match (wrong, self.noticed[node]) {
                (false, _) => None,
                (true, None) => Some(self.now),
                (true, Some(since)) if self.now >= since + PATIENCE => {
                    self.rebuild(node, primary);
                    None
                }
                (true, noticed) => noticed,
            };
        }
    }

    /// Whether a server is no part of the primary's line and will not become one by itself.
    fn stray(&self, node: usize, primary: usize) -> bool {
        let server = &self.nodes[node];
        let astray = !server.recovering || !server.is_part_of(&self.nodes[primary]);
        let unfollowing = server.follows != Some(primary);
        astray || (unfollowing && self.decided_by_others())
    }

    /// `pg_basebackup`, in no time.
    fn rebuild(&mut self, node: usize, primary: usize) {
        self.note(|| format!("node {node} is rebuilt from node {primary}"));
        self.crash(node);
        let wal = self.nodes[primary].wal.clone();
        let server = &mut self.nodes[node];
        server.replayed = wal.len();
        server.wal = wal;
        server.recovering = true;
        server.follows = Some(primary);
        self.go_on(node);
    }

    /// The server on the highest timeline, running or not.
    fn highest(&self) -> Option<usize> {
        let primaries = self.nodes.iter().filter(|node| !node.recovering);
        primaries.max_by_key(|node| (node.timeline(), node.wal.len())).map(|node| node.id)
    }

    /// As Patroni would: the former primary is stopped for good before another one is promoted.
    fn replace_primary(&mut self) {
        let Some(primary) = self.highest() else { return };
        let gone = self.nodes[primary].state != State::Running;
        let slot = primary;
        self.noticed[slot] = match (gone, self.noticed[slot]) {
            (false, noticed) => noticed.filter(|_| false),
            (true, None) => Some(self.now),
            (true, Some(since)) if self.now >= since + PATIENCE => {
                let fit = self.nodes.iter().filter(|node| node.state == State::Running && node.recovering);
                let best = fit.max_by_key(|node| (node.timeline(), node.wal.len())).map(|node| node.id);
                if let Some(best) = best {
                    self.crash(primary);
                    self.become_primary(best);
                }
                None
            }
            (true, noticed) => noticed,
        };
    }

    /// At the end: each server is used, and shows what the primary has.
    pub fn settled(&mut self, primary: usize) {
        let now = self.now;
        for node in 0..self.nodes.len() {
            let verdict = self.failover.verdict(NodeId(node as u8));
            if verdict != Verdict::Usable {
                self.check.fail(now, format!("node {node} is not used: {verdict:?}"));
            }
            let behind = node != primary && self.nodes[node].wal.len() + 1 < self.nodes[primary].wal.len();
            if behind || (node != primary && !self.nodes[node].is_part_of(&self.nodes[primary])) {
                self.check.fail(now, format!("node {node} does not have what the primary has"));
            }
        }
        if !self.nodes[primary].writes() {
            self.check.fail(now, format!("node {primary} is the primary and cannot be written to"));
        }
        for (id, shard) in self.shards.iter().enumerate() {
            if shard.picture.primary != Some(primary) {
                let text = format!("shard {id} does not know that node {primary} is the primary");
                self.check.fail(now, text);
            }
        }
    }
}
