//! What changes of the primary meant for clients: the difference between what shards had counted just before one and at its
//! end.

use std::cell::Cell;
use std::rc::Rc;

use super::Control;
use super::failover::Clients;
use crate::counters::ShardCounters;

/// What shards had counted while nothing spoke against the primary, at the last look and at the one before.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    last: Cell<Clients>,
    before: Cell<Clients>,
}

impl Tallies {
    /// Nothing speaks against the primary. To be called regularly.
    pub fn steady(&self, counters: &[ShardCounters]) {
        self.before.set(self.last.replace(sum(counters)));
    }

    /// What came since then. Clients may notice a loss before control does, so what was counted at the last look may be
    /// part of it already.
    fn since(&self, counters: &[ShardCounters]) -> Clients {
        let (now, before) = (sum(counters), self.before.get());
        Clients {
            held: now.held - before.held,
            rerun: now.rerun - before.rerun,
            failed: now.failed - before.failed,
            unknown: now.unknown - before.unknown,
        }
    }
}

impl Control {
    /// A record is complete: it gets what it meant for clients, and is logged.
    pub(super) fn recorded(self: &Rc<Self>, number: u64) {
        let clients = self.tallies.since(&self.shared.counters);
        let mut cluster = self.cluster.borrow_mut();
        let records = cluster.failover_mut().records_mut();
        records.count(number, clients);
        if let Some(record) = records.iter().find(|record| record.number == number) {
            tracing::info!("{record}");
        }
    }
}

fn sum(counters: &[ShardCounters]) -> Clients {
    let total = |count: fn(&ShardCounters) -> u64| counters.iter().map(count).sum();
    Clients {
        held: total(|shard| shard.held.read()),
        rerun: total(|shard| shard.rerun.read()),
        failed: total(|shard| shard.cut.read()),
        unknown: total(|shard| shard.unknown.read()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_since_the_look_before_the_last_counts() {
        let counters = [ShardCounters::new(1), ShardCounters::new(1)];
        let tallies = Tallies::default();
        counters[0].rerun.add(5);
        tallies.steady(&counters);
        tallies.steady(&counters);
        counters[1].rerun.add(2);
        counters[0].held.add(3);
        tallies.steady(&counters);
        counters[0].unknown.add(1);
        assert_eq!(tallies.since(&counters), Clients { held: 3, rerun: 2, failed: 0, unknown: 1 });
        tallies.steady(&counters);
        assert_eq!(tallies.since(&counters), Clients { unknown: 1, ..Clients::default() });
    }
}
