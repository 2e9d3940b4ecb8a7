//! Scenarios, one after the other; what random order does to them is for the simulation in `tests/sim`.

mod operator;
mod unplanned;

use std::time::Duration;

use super::time::Later;
use super::*;
use crate::door::ShardId;

/// A decider with shards that acknowledge when the test says so.
struct Driven {
    failover: Failover,
    now: Moment,
    epoch: u64,
    done: Vec<Action>,
}

const SHARDS: u16 = 2;

fn rules(mode: Mode) -> Rules {
    Rules { mode, ..Rules::default() }
}

fn node_rules(index: u8) -> NodeRules {
    let data_directory = Some(format!("/data/{index}"));
    NodeRules { host: format!("n{index}"), data_directory, ..NodeRules::default() }
}

fn primary(timeline: u32, written: u64) -> Sighting {
    Sighting { timeline: Some(timeline), written: Some(Lsn(written)), system: Some(7), ..Sighting::default() }
}

fn replica(timeline: u32, received: u64, follows: Option<u8>) -> Sighting {
    Sighting {
        in_recovery: true,
        timeline: Some(timeline),
        received: Some(Lsn(received)),
        replayed: Some(Lsn(received)),
        streaming: Some(follows.is_some()),
        follows: follows.map(NodeId),
        system: Some(7),
        ..Sighting::default()
    }
}

impl Driven {
    /// Node 0 is the primary, nodes 1 and 2 follow it, and every shard knows.
    fn steady(rules: Rules) -> Driven {
        Driven::steady_with(rules, (0..3).map(node_rules).collect())
    }

    fn steady_with(rules: Rules, nodes: Vec<NodeRules>) -> Driven {
        let nodes: Vec<(NodeId, NodeRules)> = (0..=u8::MAX).map(NodeId).zip(nodes).collect();
        let now = Moment(1_000_000_000);
        let failover = Failover::new(rules, &nodes, usize::from(SHARDS), now);
        let mut driven = Driven { failover, now, epoch: 0, done: Vec::new() };
        driven.hears(1, replica(1, 100, Some(0)));
        driven.hears(2, replica(1, 100, Some(0)));
        assert_eq!(driven.failover.primary().0, None);
        driven.hears(0, primary(1, 100));
        driven.acknowledge();
        assert_eq!((driven.failover.primary().0, driven.failover.phase()), (Some(NodeId(0)), "steady"));
        driven.done.clear();
        driven
    }

    fn tell(&mut self, event: Event) {
        self.failover.handle(event, self.now);
        self.act();
    }

    fn act(&mut self) {
        while let Some(action) = self.failover.next_action() {
            let publish = matches!(action, Action::Publish { .. });
            self.done.push(action);
            if publish {
                self.epoch += 1;
                let epoch = Epoch(self.epoch);
                self.failover.handle(Event::Published { epoch }, self.now);
            }
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now.later(duration);
        self.failover.tick(self.now);
        self.act();
    }

    /// A node answers a question asked now.
    fn hears(&mut self, node: u8, sighting: Sighting) {
        self.now = self.now.later(Duration::from_millis(1));
        self.tell(Event::Answered { node: NodeId(node), sighting: Sighting { sent: self.now, ..sighting } });
    }

    fn fails(&mut self, node: u8) {
        self.tell(Event::Failed { node: NodeId(node), reason: "connection refused".to_owned() });
    }

    fn suspected(&mut self, node: u8) {
        let reason = "closed".to_owned();
        self.tell(Event::Suspected { node: NodeId(node), by: ShardId(1), reason });
    }

    /// A shard lost its connection, and a probe confirms it.
    fn killed(&mut self, node: u8) {
        self.suspected(node);
        self.fails(node);
    }

    fn acknowledge(&mut self) {
        for shard in 0..SHARDS {
            self.acknowledge_one(shard);
        }
    }

    fn acknowledge_one(&mut self, shard: u16) {
        let (shard, epoch, wrote) = (ShardId(shard), Epoch(self.epoch), Some(self.now));
        self.tell(Event::Acknowledged { shard, epoch, wrote });
    }

    fn drained(&mut self) {
        for shard in 0..SHARDS {
            self.tell(Event::Drained { shard: ShardId(shard), epoch: Epoch(self.epoch) });
        }
    }

    fn order(&mut self, order: Order) {
        self.tell(Event::Ordered { ticket: 1, order });
    }

    /// The primary that was published last.
    fn published(&self) -> Option<NodeId> {
        assert_eq!(self.failover.primary().0, self.failover.picture.primary);
        self.failover.primary().0
    }

    fn phase(&self) -> &'static str {
        self.failover.phase()
    }

    /// What was promised to be done last, of one kind.
    fn last<T>(&self, wanted: impl Fn(&Action) -> Option<T>) -> Option<T> {
        self.done.iter().rev().find_map(wanted)
    }

    fn promoting(&self) -> Option<(Attempt, u8)> {
        self.last(|action| match action {
            Action::Promote { attempt, node } => Some((*attempt, node.0)),
            _ => None,
        })
    }

    fn alarm(&self) -> String {
        let alarm = self.last(|action| match action {
            Action::Alarm(text) => Some(text.clone()),
            _ => None,
        });
        alarm.unwrap_or_default()
    }

    fn answer(&self) -> Option<Result<String, String>> {
        self.last(|action| match action {
            Action::Answer { result, .. } => Some(result.clone()),
            _ => None,
        })
    }

    fn record(&self) -> Record {
        self.failover.records().iter().next_back().expect("there is one").clone()
    }
}
