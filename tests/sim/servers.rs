//! What happens on and between servers: statements arrive, WAL streams, servers stop and start.

use pgweir::door::ShardId;

use crate::node::{Commit, Entry, State};
use crate::plan::{MS, Time};
use crate::shard::Reply;
use crate::world::{Happening, World};

impl World {
    pub fn crash(&mut self, node: usize) {
        self.nodes[node].state = State::Crashed;
        for happening in std::mem::take(&mut self.nodes[node].inbox) {
            if let Happening::Arrives { shard, row, .. } = happening {
                self.reply(node, shard, row, Reply::Broken);
            }
        }
        self.nodes[node].flushed.fill(None);
        let waiting = std::mem::take(&mut self.nodes[node].commits);
        for Commit { shard, statement, .. } in waiting {
            self.reply(node, shard, statement, Reply::Broken);
        }
        // Whoever has a connection to it notices at once, unless the way is cut.
        for shard in 0..self.shards.len() {
            if self.shards_reach(node) && self.shards[shard].picture.primary == Some(node) {
                let delay = self.delay(Some(node));
                self.after(delay, Happening::Suspects { shard: ShardId(shard as u16), node });
            }
        }
    }

    /// A crashed node starts, a frozen one finds what came meanwhile.
    pub fn go_on(&mut self, node: usize) {
        let former = std::mem::replace(&mut self.nodes[node].state, State::Running);
        if former == State::Crashed {
            self.nodes[node].boot += 1;
        }
        for happening in std::mem::take(&mut self.nodes[node].inbox) {
            self.after(0, happening);
        }
    }

    pub fn arrives(&mut self, node: usize, boot: u64, shard: usize, row: u32, read: bool) {
        if !self.shards_reach(node) {
            self.after(RETRANSMIT, Happening::Arrives { node, boot, shard, row, read });
            return;
        }
        match self.nodes[node].state {
            State::Crashed if self.nodes[node].boot == boot => {
                return self.reply(node, shard, row, Reply::Refused);
            }
            State::Frozen => {
                self.nodes[node].inbox.push(Happening::Arrives { node, boot, shard, row, read });
                return;
            }
            State::Running if self.nodes[node].boot == boot => {}
            _ => return self.reply(node, shard, row, Reply::Broken),
        }
        if read {
            return self.reply(node, shard, row, Reply::Done);
        }
        if self.nodes[node].recovering {
            return self.reply(node, shard, row, Reply::ReadOnly);
        }
        self.check.runs(row, self.now);
        let timeline = self.nodes[node].timeline();
        self.append(node, timeline, Some(row));
        let end = self.nodes[node].wal.len();
        self.nodes[node].commits.push(Commit { shard, statement: row, end });
        self.ship(node);
        self.release(node);
    }

    pub fn append(&mut self, node: usize, timeline: u32, row: Option<u32>) {
        self.entry += 1;
        self.nodes[node].wal.push(Entry { number: self.entry, timeline, row });
        self.nodes[node].replayed = self.nodes[node].wal.len();
    }

    fn reply(&mut self, node: usize, shard: usize, row: u32, reply: Reply) {
        let delay = self.delay(Some(node));
        self.after(delay, Happening::Replied { shard, row, node, reply });
    }

    /// Commits that have waited for long enough.
    fn release(&mut self, node: usize) {
        let replication = self.plan.replication;
        let waiting = std::mem::take(&mut self.nodes[node].commits);
        let (done, waiting) =
            waiting.into_iter().partition(|commit| self.nodes[node].safe(commit.end, replication));
        self.nodes[node].commits = waiting;
        let done: Vec<Commit> = done;
        for commit in done {
            self.reply(node, commit.shard, commit.statement, Reply::Done);
        }
    }

    /// A primary sends what it has to whoever streams from it.
    fn ship(&mut self, from: usize) {
        let end = self.nodes[from].wal.len();
        for to in 0..self.nodes.len() {
            let told = self.nodes[from].flushed[to] == Some(end);
            if self.nodes[to].follows == Some(from) && self.nodes[to].recovering && !told {
                let delay = self.delay(Some(to)) + self.plan.lag[to];
                let boot = self.nodes[to].boot;
                self.after(delay, Happening::Shipped { from, to, boot, end });
            }
        }
    }

    pub fn stream(&mut self) {
        for node in 0..self.nodes.len() {
            if self.nodes[node].writes() {
                for to in 0..self.nodes.len() {
                    let follows = self.nodes[to].follows == Some(node) && self.nodes[to].recovering;
                    if !(follows && self.nodes[to].state != State::Crashed && self.streams(to)) {
                        self.nodes[node].flushed[to] = None;
                    }
                }
                self.ship(node);
            }
            if self.nodes[node].recovering && self.nodes[node].state == State::Running {
                // What arrived while nobody looked is shown a little later.
                let length = self.nodes[node].wal.len();
                self.nodes[node].replayed = length - usize::from(length > self.nodes[node].replayed + 1);
            }
        }
    }

    pub fn shipped(&mut self, from: usize, to: usize, boot: u64, end: usize) {
        if self.nodes[to].state == State::Frozen {
            self.nodes[to].inbox.push(Happening::Shipped { from, to, boot, end });
            return;
        }
        let replica = &self.nodes[to];
        let fits = replica.state == State::Running
            && replica.boot == boot
            && replica.recovering
            && replica.follows == Some(from)
            && self.nodes_reach(from, to)
            && replica.is_part_of(&self.nodes[from]);
        let (own, end) = (self.nodes[to].wal.len(), end.min(self.nodes[from].wal.len()));
        if !fits {
            return;
        }
        if own < end {
            let more = self.nodes[from].wal[own..end].to_vec();
            self.nodes[to].wal.extend(more);
        }
        let end = self.nodes[to].wal.len();
        let delay = self.delay(Some(to));
        let boot = self.nodes[from].boot;
        self.after(delay, Happening::Flushed { from, to, boot, end });
    }

    pub fn flushed(&mut self, from: usize, to: usize, boot: u64, end: usize) {
        let primary = &self.nodes[from];
        match primary.state {
            State::Frozen => self.nodes[from].inbox.push(Happening::Flushed { from, to, boot, end }),
            State::Running if primary.boot == boot && primary.writes() && self.nodes_reach(from, to) => {
                self.nodes[from].flushed[to] = Some(end);
                self.release(from);
            }
            _ => {}
        }
    }
}

/// When a way is cut, what is under way between a shard and a node is sent again so much later, as TCP does.
pub const RETRANSMIT: Time = 15 * MS;
