//! The virtual world: one clock, one queue of what is going to happen, and links that are slow or cut.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use pgweir::control::failover::{Attempt, Event, Failover, Order};
use pgweir::door::ShardId;
use pgweir::topology::{Moment, NodeId};

use crate::check::Check;
use crate::control::Probe;
use crate::node::{Node, State};
use crate::plan::{END, FAULTS_END, Fault, MS, Plan, Time};
use crate::random::Random;
use crate::shard::{Picture, Reply, Shard};

/// Mistakes that can be planted, to see that they are found.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bugs {
    /// Control takes a fence for acknowledged as soon as it is published.
    pub skips_fence_acks: bool,
    /// A shard runs a write again when its connection broke.
    pub reruns_writes: bool,
    /// Control hears wrong positions of replicas.
    pub reports_wrong_positions: bool,
}

#[derive(Clone, Debug)]
pub enum Happening {
    Tick,
    /// Control asks a node, and what comes of it.
    Ask {
        node: usize,
    },
    Question {
        node: usize,
        boot: u64,
        serial: u64,
        sent: Time,
    },
    Heard {
        node: usize,
        serial: u64,
        event: Event,
    },
    Late {
        node: usize,
        serial: u64,
    },
    /// Control is told something by whoever did something for it.
    Told(Event),
    Topology {
        shard: usize,
        picture: Picture,
    },
    Acknowledged {
        shard: usize,
        epoch: u64,
        wrote: Time,
    },
    Drained {
        shard: usize,
        epoch: u64,
    },
    Suspects {
        shard: ShardId,
        node: usize,
    },
    Asks {
        client: usize,
    },
    HoldEnds {
        shard: usize,
        row: u32,
    },
    Retry {
        shard: usize,
    },
    Arrives {
        node: usize,
        boot: u64,
        shard: usize,
        row: u32,
        read: bool,
    },
    Replied {
        shard: usize,
        row: u32,
        node: usize,
        reply: Reply,
    },
    /// Servers stream to each other.
    Stream,
    Shipped {
        from: usize,
        to: usize,
        boot: u64,
        end: usize,
    },
    Flushed {
        from: usize,
        to: usize,
        boot: u64,
        end: usize,
    },
    Promote {
        node: usize,
        boot: u64,
        attempt: Attempt,
        command: bool,
    },
    Promotes {
        node: usize,
        boot: u64,
        attempt: Attempt,
        command: bool,
    },
    PromoteLate {
        attempt: Attempt,
        command: bool,
    },
    Follow {
        node: usize,
        attempt: Attempt,
        primary: usize,
    },
    Begins(Fault),
    Ends(Fault),
    Ordered(Order),
    /// Whoever looks after the servers has a look.
    Operator,
}

/// What happens when; of two at the same time the one said first.
struct Due {
    at: Time,
    serial: u64,
    happening: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

pub struct World {
    pub now: Time,
    pub plan: Plan,
    pub random: Random,
    pub bugs: Bugs,
    queue: BinaryHeap<Reverse<Due>>,
    serial: u64,
    pub nodes: Vec<Node>,
    pub shards: Vec<Shard>,
    pub failover: Failover,
    pub published: Picture,
    pub probes: Vec<Probe>,
    /// Faults that last, one entry each.
    pub faults: Vec<Fault>,
    pub check: Check,
    pub row: u32,
    pub entry: u64,
    pub ticket: u64,
    /// Orders that have no answer yet.
    pub unanswered: Vec<u64>,
    pub asking_until: Time,
    /// Since when the operator sees a server that needs him, by node.
    pub noticed: Vec<Option<Time>>,
    /// Who was made the primary last, and how many times.
    pub incumbent: Option<usize>,
    pub failovers: u64,
    /// By shard: the epoch it acknowledged last.
    pub acknowledged: Vec<u64>,
    /// The epoch of the last fence.
    pub fence: u64,
    /// Since when all shards know that there is no primary, and who was told to become it since then.
    pub fenced_since: Option<Time>,
    pub told: Vec<usize>,
    pub log: Option<Vec<String>>,
}

impl World {
    pub fn new(seed: u64, bugs: Bugs, verbose: bool) -> World {
        let plan = Plan::new(seed);
        let failover = Failover::new(plan.rules.clone(), &plan.node_rules(), plan.shards, Moment(0));
        let mut world = World {
            now: 0,
            random: Random::new(seed ^ 0x5eed),
            bugs,
            queue: BinaryHeap::new(),
            serial: 0,
            nodes: (0..plan.nodes).map(|id| Node::new(id, plan.nodes)).collect(),
            shards: (0..plan.shards).map(|_| Shard::new()).collect(),
            failover,
            published: Shard::new().picture,
            probes: (0..plan.nodes).map(|_| Probe::default()).collect(),
            faults: Vec::new(),
            check: Check::default(),
            row: 0,
            entry: 0,
            ticket: 0,
            unanswered: Vec::new(),
            asking_until: END - 700 * MS,
            noticed: vec![None; plan.nodes],
            incumbent: None,
            failovers: 0,
            acknowledged: vec![0; plan.shards],
            fence: 0,
            fenced_since: Some(0),
            told: Vec::new(),
            log: verbose.then(Vec::new),
            plan,
        };
        for node in 0..world.nodes.len() {
            world.after(node as u64 * MS, Happening::Ask { node });
        }
        for client in 0..world.plan.clients {
            world.after((10 + client as u64) * MS, Happening::Asks { client });
        }
        for (begin, length, fault) in world.plan.faults.clone() {
            world.after(begin, Happening::Begins(fault));
            world.after(begin + length, Happening::Ends(fault));
        }
        for (at, order) in world.plan.orders.clone() {
            world.after(at, Happening::Ordered(order));
        }
        for happening in [Happening::Tick, Happening::Stream, Happening::Operator] {
            world.after(0, happening);
        }
        world
    }

    /// Lets it run to its end and tells what was broken.
    pub fn run(mut self) -> World {
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > END || !self.check.broken.is_empty() {
                break;
            }
            self.now = due.at;
            self.happens(due.happening);
        }
        if self.check.broken.is_empty() {
            self.finish();
        }
        self
    }

    pub fn after(&mut self, delay: Time, happening: Happening) {
        self.serial += 1;
        self.queue.push(Reverse(Due { at: self.now + delay, serial: self.serial, happening }));
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>9.3} {}", Duration::from_nanos(self.now).as_secs_f64() * 1e3, text()));
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Tick => {
                self.failover.tick(Moment(self.now));
                self.act();
                self.look_at_held();
                self.after(20 * MS, Happening::Tick);
            }
            Happening::Ask { node } => self.ask(node),
            Happening::Question { node, boot, serial, sent } => self.question(node, boot, serial, sent),
            Happening::Heard { node, serial, event } => self.heard(node, serial, event),
            Happening::Late { node, serial } => {
                let reason = "it does not answer".to_owned();
                self.heard(node, serial, Event::Failed { node: NodeId(node as u8), reason });
            }
            Happening::Told(event) => self.tell(event),
            Happening::Topology { shard, picture } => self.observe(shard, picture),
            Happening::Acknowledged { shard, epoch, wrote } => self.acknowledged(shard, epoch, wrote),
            Happening::Drained { shard, epoch } => self.drained(shard, epoch),
            Happening::Suspects { shard, node } => self.suspects(shard, node),
            Happening::Asks { client } => self.client_asks(client),
            Happening::HoldEnds { shard, row } => self.hold_ends(shard, row),
            Happening::Retry { shard } => self.retry(shard),
            Happening::Arrives { node, boot, shard, row, read } => self.arrives(node, boot, shard, row, read),
            Happening::Replied { shard, row, node, reply } => self.replied(shard, row, node, reply),
            Happening::Stream => {
                self.stream();
                self.after(10 * MS, Happening::Stream);
            }
            Happening::Shipped { from, to, boot, end } => self.shipped(from, to, boot, end),
            Happening::Flushed { from, to, boot, end } => self.flushed(from, to, boot, end),
            Happening::Promote { node, boot, attempt, command } => self.promote(node, boot, attempt, command),
            Happening::Promotes { node, boot, attempt, command } => {
                self.promotes(node, boot, attempt, command);
            }
            Happening::PromoteLate { attempt, command } => self.promote_late(attempt, command),
            Happening::Follow { node, attempt, primary } => self.follow(node, attempt, primary),
            Happening::Begins(fault) => self.begins(fault),
            Happening::Ends(fault) => self.ends(fault),
            Happening::Ordered(order) => self.order(order),
            Happening::Operator => {
                self.operate();
                self.after(25 * MS, Happening::Operator);
            }
        }
    }

    fn begins(&mut self, fault: Fault) {
        self.note(|| format!("begins {fault:?}"));
        self.faults.push(fault);
        match fault {
            Fault::Crash(node) => self.crash(node),
            Fault::Freeze(node) if self.nodes[node].state == State::Running => {
                self.nodes[node].state = State::Frozen;
            }
            Fault::Stall(shard) => self.shards[shard].stalled = true,
            Fault::Unpromotable(node) => self.nodes[node].unpromotable = true,
            _ => {}
        }
    }

    fn ends(&mut self, fault: Fault) {
        self.note(|| format!("ends {fault:?}"));
        if let Some(index) = self.faults.iter().position(|other| *other == fault) {
            self.faults.remove(index);
        }
        let lasts = |fault| self.faults.contains(&fault);
        match fault {
            fault if lasts(fault) => {}
            Fault::Crash(node) | Fault::Freeze(node)
                if lasts(Fault::Crash(node)) || lasts(Fault::Freeze(node)) => {}
            Fault::Crash(node) | Fault::Freeze(node) => self.go_on(node),
            Fault::Stall(shard) => self.wake(shard),
            Fault::Unpromotable(node) => self.nodes[node].unpromotable = false,
            _ => {}
        }
    }

    fn look_at_held(&mut self) {
        let now = self.now;
        for shard in self.shards.iter().filter(|shard| !shard.stalled) {
            for (row, statement) in &shard.statements {
                if let crate::shard::Place::Held { since } = statement.place
                    && now > FAULTS_END + 20 * MS
                {
                    self.check.held(*row, since, now);
                }
            }
        }
    }

    fn finish(&mut self) {
        let now = self.now;
        let (primary, _) = self.failover.primary();
        if !self.unanswered.is_empty() {
            let text = format!("the orders {:?} have no answer", self.unanswered);
            self.check.fail(now, text);
        }
        let Some(primary) = primary.map(NodeId::index) else {
            let text = format!("there is no primary: {}", self.failover.phase());
            return self.check.fail(now, text);
        };
        if self.failover.phase() != "steady" {
            let text = format!("it has not settled: {}", self.failover.phase());
            self.check.fail(now, text);
        }
        self.settled(primary);
        assert!(self.faults.is_empty() && now >= FAULTS_END, "every fault ends");
        self.check.finish(&self.nodes[primary], now);
    }
}
