//! What one run is about, drawn from its seed: the cluster, its replication, the rules, and what goes wrong when.

use std::time::Duration;

use pgweir::control::failover::{Mode, NodeRules, Order, Rules};
use pgweir::topology::NodeId;

use crate::random::Random;

/// Nanoseconds.
pub type Time = u64;

pub const MS: Time = 1_000_000;

/// Whose word a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    Async,
    /// `FIRST 1`, in the order of the numbers.
    First,
    /// `ANY 1`.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Crash(usize),
    Freeze(usize),
    /// Control and a node cannot reach each other.
    CutControl(usize),
    /// Shards and a node cannot reach each other.
    CutShards(usize),
    /// Two nodes cannot reach each other.
    CutNodes(usize, usize),
    /// Everything to and from a node is late by so much.
    Slow(usize, Time),
    /// A shard does nothing.
    Stall(usize),
    /// Promotions on this node are refused by its server.
    Unpromotable(usize),
}

#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: usize,
    pub shards: usize,
    pub clients: usize,
    pub replication: Replication,
    pub rules: Rules,
    pub priorities: Vec<u32>,
    /// How late each replica is with what it receives.
    pub lag: Vec<Time>,
    /// When it begins, and how long it lasts.
    pub faults: Vec<(Time, Time, Fault)>,
    pub orders: Vec<(Time, Order)>,
}

/// When the last fault is over.
pub const FAULTS_END: Time = 1_200 * MS;

/// When everything must be in order again.
pub const END: Time = 2_700 * MS;

/// How long a client's statement may wait for a primary.
pub const HOLD_MAX: Time = 500 * MS;

impl Plan {
    pub fn new(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let nodes = random.between(2, 5) as usize;
        let shards = random.between(1, 4) as usize;
        let mode = *random.pick(&[Mode::Promote, Mode::Promote, Mode::Promote, Mode::Command, Mode::Observe]);
        let max_data_loss = *random.pick(&[None, None, Some(0), Some(0), Some(2)]);
        let ms = Duration::from_millis;
        let rules = Rules {
            mode,
            retries: random.between(0, 3) as u32,
            suspect_timeout: ms(500),
            fence_timeout: ms(50),
            choose_timeout: ms(120),
            promote_timeout: ms(200),
            search_timeout: ms(300),
            follow_timeout: ms(400),
            drain_timeout: ms(150),
            catch_up_timeout: ms(200),
            alarm_interval: ms(500),
            look_interval: ms(60),
            flap_window: ms(1000),
            flap_wait: ms(20),
            flap_wait_max: ms(100),
            max_data_loss,
            failover_command: (mode == Mode::Command).then(|| "failover %d to %m was %P".to_owned()),
            detach_false_primary: random.percent(20),
            auto_failback: true,
            auto_failback_interval: ms(50),
            ..Rules::default()
        };
        let mut plan = Plan {
            nodes,
            shards,
            clients: random.between(1, 5) as usize,
            replication: *random.pick(&[Replication::Async, Replication::First, Replication::Any]),
            rules,
            priorities: (0..nodes).map(|_| *random.pick(&[1, 1, 1, 2, 0])).collect(),
            lag: (0..nodes).map(|_| *random.pick(&[0, 0, 3, 15, 40]) * MS).collect(),
            faults: Vec::new(),
            orders: Vec::new(),
        };
        for _ in 0..random.between(0, 6) {
            plan.faults.push(plan.fault(&mut random));
        }
        if mode != Mode::Observe && random.percent(40) {
            for _ in 0..random.between(1, 4) {
                plan.order(&mut random);
            }
        }
        plan
    }

    fn fault(&self, random: &mut Random) -> (Time, Time, Fault) {
        // The first is the primary at the start.
        let node = match random.percent(45) {
            true => 0,
            false => random.between(0, self.nodes as u64) as usize,
        };
        let other = (node + random.between(1, self.nodes as u64) as usize) % self.nodes;
        let fault = match random.between(0, 100) {
            0..30 => Fault::Crash(node),
            30..45 => Fault::Freeze(node),
            45..60 => Fault::CutControl(node),
            60..68 => Fault::CutShards(node),
            68..76 => Fault::CutNodes(node, other),
            76..84 => Fault::Slow(node, random.between(5, 60) * MS),
            84..94 => Fault::Stall(random.between(0, self.shards as u64) as usize),
            _ => Fault::Unpromotable(node),
        };
        let begin = random.between(150, 900) * MS;
        let length = *random.pick(&[5, 40, 150, 300, 600]) * MS;
        (begin, length.min(FAULTS_END - begin), fault)
    }

    fn order(&mut self, random: &mut Random) {
        let node = NodeId(random.between(0, self.nodes as u64) as u8);
        let at = random.between(150, 1_100) * MS;
        match random.between(0, 5) {
            0 | 1 => {
                let to = random.percent(50).then_some(node);
                self.orders.push((at, Order::Switchover { to }));
            }
            2 => {
                self.orders.push((at, Order::Pause));
                self.orders.push((at + random.between(20, 200) * MS, Order::Resume));
            }
            3 => self.orders.push((at, Order::Attach(node))),
            // Who detaches a node under `max_data_loss = 0` vouches for it, which this operator cannot.
            _ if self.rules.max_data_loss != Some(0) => {
                self.orders.push((at, Order::Detach(node)));
                // Servers that need it are rebuilt between the two.
                self.orders.push((FAULTS_END + 600 * MS, Order::Attach(node)));
                self.orders.push((FAULTS_END + 1_000 * MS, Order::Attach(node)));
            }
            _ => self.orders.push((at, Order::Switchover { to: None })),
        }
    }

    pub fn node_rules(&self) -> Vec<(NodeId, NodeRules)> {
        let rules = |index: usize| NodeRules {
            host: format!("node{index}"),
            priority: self.priorities[index],
            ..NodeRules::default()
        };
        (0..self.nodes).map(|index| (NodeId(index as u8), rules(index))).collect()
    }
}
