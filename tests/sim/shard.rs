//! Shards as failover sees them: they route by the picture they have observed, hold what has no primary, and answer.

use std::collections::{BTreeMap, VecDeque};

use pgweir::control::failover::Gate;
use pgweir::door::ShardId;

use crate::check::Outcome;
use crate::plan::{HOLD_MAX, MS, Time};
use crate::servers::RETRANSMIT;
use crate::world::{Happening, World};

/// A picture, as published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    pub epoch: u64,
    pub primary: Option<usize>,
    pub gate: Gate,
}

#[derive(Clone, Copy, Debug)]
pub struct Statement {
    pub client: usize,
    pub read: bool,
    pub place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Held { since: Time },
    Sent { node: usize },
}

pub struct Shard {
    pub picture: Picture,
    pub statements: BTreeMap<u32, Statement>,
    pub stalled: bool,
    /// What came while it was stalled.
    pub inbox: VecDeque<Happening>,
    /// When it last told a client that something was written.
    pub wrote: Time,
    /// The epoch whose drained gate was reported last.
    drained: u64,
}

impl Shard {
    pub fn new() -> Shard {
        Shard {
            picture: Picture { epoch: 0, primary: None, gate: Gate::Open },
            statements: BTreeMap::new(),
            stalled: false,
            inbox: VecDeque::new(),
            wrote: 0,
            drained: 0,
        }
    }
}

/// What a node says to a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// It is a replica: it did nothing.
    ReadOnly,
    /// The connection was refused: it did nothing.
    Refused,
    /// The connection broke.
    Broken,
}

impl World {
    pub fn client_asks(&mut self, client: usize) {
        let shard = client % self.shards.len();
        if self.shards[shard].stalled {
            self.shards[shard].inbox.push_back(Happening::Asks { client });
            return;
        }
        self.row += 1;
        let row = self.row;
        let read = self.random.percent(25);
        let place = Place::Held { since: self.now };
        self.check.asked(row, read, self.now);
        self.shards[shard].statements.insert(row, Statement { client, read, place });
        self.after(HOLD_MAX, Happening::HoldEnds { shard, row });
        self.route(shard);
    }

    /// Sends what may be sent.
    fn route(&mut self, shard: usize) {
        let Picture { epoch, primary, gate } = self.shards[shard].picture;
        if let Some(node) = primary.filter(|_| gate == Gate::Open) {
            let held: Vec<u32> = self.shards[shard]
                .statements
                .iter()
                .filter(|(_, statement)| matches!(statement.place, Place::Held { .. }))
                .map(|(row, _)| *row)
                .collect();
            for row in held {
                if let Some(statement) = self.shards[shard].statements.get_mut(&row) {
                    statement.place = Place::Sent { node };
                    let read = statement.read;
                    self.check.sent(row, read, node, epoch, self.published.primary, self.now);
                    let boot = self.nodes[node].boot;
                    let delay = self.delay(Some(node));
                    self.after(delay, Happening::Arrives { node, boot, shard, row, read });
                }
            }
        }
        self.report_drained(shard);
    }

    fn report_drained(&mut self, shard: usize) {
        let it = &mut self.shards[shard];
        let running = it.statements.values().any(|statement| matches!(statement.place, Place::Sent { .. }));
        if it.picture.gate == Gate::Closed && !running && it.drained < it.picture.epoch {
            it.drained = it.picture.epoch;
            let epoch = it.picture.epoch;
            let delay = self.door_delay();
            self.after(delay, Happening::Drained { shard, epoch });
        }
    }

    pub fn observe(&mut self, shard: usize, picture: Picture) {
        if self.shards[shard].stalled {
            self.shards[shard].inbox.push_back(Happening::Topology { shard, picture });
            return;
        }
        if picture.epoch <= self.shards[shard].picture.epoch {
            return;
        }
        self.shards[shard].picture = picture;
        let cut: Vec<(u32, bool)> = self.shards[shard]
            .statements
            .iter()
            .filter(|(_, statement)| matches!(statement.place, Place::Sent { node } if Some(node) != picture.primary))
            .map(|(row, statement)| (*row, statement.read))
            .collect();
        for (row, read) in cut {
            self.broken(shard, row, read);
        }
        let wrote = self.shards[shard].wrote;
        let delay = self.door_delay();
        self.after(delay, Happening::Acknowledged { shard, epoch: picture.epoch, wrote });
        self.route(shard);
    }

    /// The connection that a statement runs on is gone: a read may run again, a write may have happened.
    fn broken(&mut self, shard: usize, row: u32, read: bool) {
        match read || self.bugs.reruns_writes {
            true => self.hold(shard, row),
            false => self.answer(shard, row, Outcome::Unknown),
        }
    }

    fn hold(&mut self, shard: usize, row: u32) {
        let since = self.now;
        if let Some(statement) = self.shards[shard].statements.get_mut(&row) {
            statement.place = Place::Held { since };
            self.after(HOLD_MAX, Happening::HoldEnds { shard, row });
        }
    }

    pub fn hold_ends(&mut self, shard: usize, row: u32) {
        if self.shards[shard].stalled {
            self.shards[shard].inbox.push_back(Happening::HoldEnds { shard, row });
            return;
        }
        let place = self.shards[shard].statements.get(&row).map(|statement| statement.place);
        // An earlier stay has its own end.
        if let Some(Place::Held { since }) = place
            && self.now >= since + HOLD_MAX
        {
            self.answer(shard, row, Outcome::Failed);
        }
    }

    pub fn replied(&mut self, shard: usize, row: u32, node: usize, reply: Reply) {
        if !self.shards_reach(node) {
            self.after(RETRANSMIT, Happening::Replied { shard, row, node, reply });
            return;
        }
        if self.shards[shard].stalled {
            self.shards[shard].inbox.push_back(Happening::Replied { shard, row, node, reply });
            return;
        }
        let Some(statement) = self.shards[shard].statements.get(&row).copied() else { return };
        // It was cut off meanwhile, and perhaps sent elsewhere.
        if statement.place != (Place::Sent { node }) {
            return;
        }
        match reply {
            Reply::Done => {
                if !statement.read {
                    self.shards[shard].wrote = self.now;
                }
                self.answer(shard, row, Outcome::Done);
            }
            Reply::ReadOnly => {
                self.hold(shard, row);
                // Not at once: the picture has to change first.
                self.after(10 * MS, Happening::Retry { shard });
            }
            Reply::Refused | Reply::Broken => {
                match reply {
                    Reply::Refused => self.hold(shard, row),
                    _ => self.broken(shard, row, statement.read),
                }
                let delay = self.door_delay();
                self.after(delay, Happening::Suspects { shard: ShardId(shard as u16), node });
                self.after(10 * MS, Happening::Retry { shard });
            }
        }
        self.report_drained(shard);
    }

    pub fn retry(&mut self, shard: usize) {
        if !self.shards[shard].stalled {
            self.route(shard);
        }
    }

    fn answer(&mut self, shard: usize, row: u32, outcome: Outcome) {
        if let Some(statement) = self.shards[shard].statements.remove(&row) {
            self.check.answered(row, outcome);
            let think = self.random.between(10, 60) * MS;
            if self.now < self.asking_until {
                self.after(think, Happening::Asks { client: statement.client });
            }
        }
    }

    pub fn wake(&mut self, shard: usize) {
        self.shards[shard].stalled = false;
        for happening in std::mem::take(&mut self.shards[shard].inbox) {
            self.after(0, happening);
        }
        self.route(shard);
    }
}
