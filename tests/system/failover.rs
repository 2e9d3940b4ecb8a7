//! Losing the primary, and moving it: pgweir promotes by itself.

mod commands;
mod held;
mod ledger;
mod planned;
mod writer;

use std::time::{Duration, Instant};

use crate::harness::{Cluster, ClusterBuilder, Proxy, ProxyBuilder, cluster, eventually, proxy};
use crate::operations::await_roles;
use crate::routing::here;

use writer::Writers;

/// pgweir in front of a cluster, promoting.
#[track_caller]
fn promoting(cluster: &Cluster) -> ProxyBuilder<'_> {
    proxy(cluster).set("failover.mode", "promote").set("shards.count", 2)
}

fn three() -> ClusterBuilder {
    cluster().replicas(2)
}

/// The number of the node that is the primary.
#[track_caller]
fn primary(proxy: &Proxy) -> usize {
    let nodes = proxy.admin("SHOW NODES");
    let found =
        nodes.column("role").iter().zip(nodes.column("state")).position(|pair| pair == (&"primary", "up"));
    found.unwrap_or_else(|| panic!("there is no primary: {nodes:?}"))
}

/// Waits until the failover with this number is over, and returns the number of the new primary.
#[track_caller]
fn await_failover(proxy: &Proxy, number: usize) -> usize {
    let over = || {
        let failovers = proxy.admin("SHOW FAILOVERS");
        let last = failovers
            .column("number")
            .iter()
            .zip(failovers.column("outcome"))
            .next()
            .map(|(n, o)| (n.parse(), o.to_owned()));
        last.is_some_and(|(last, outcome)| last == Ok(number) && outcome.starts_with("done"))
    };
    eventually(over, "the failover is over");
    primary(proxy)
}

#[test]
fn a_killed_primary_is_replaced_while_everybody_stays_connected() {
    // Otherwise what was acknowledged may be on no replica yet.
    let cluster = three().setting("synchronous_standby_names", "ANY 1 (*)").start();
    let database = here(&cluster);
    let proxy = promoting(&cluster).set("failover.max_data_loss", "0B").start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut idle = proxy.client(database.name());
    idle.query("CREATE TABLE t (i int PRIMARY KEY); SET application_name = 'survivor'");
    idle.query("PREPARE one AS SELECT 1");
    idle.query("DEALLOCATE one");
    cluster.settle();
    let writers = Writers::start(&proxy, database.name(), 8);
    writers.await_some();
    cluster.kill(0);
    let died = Instant::now();
    let new = await_failover(&proxy, 1);
    assert_ne!(new, 0);
    writers.await_some();
    let ledger = writers.stop();
    eprintln!("failover and follow took {:?}; {}", died.elapsed(), ledger);
    assert!(ledger.stall < Duration::from_secs(5), "writes stood still for {:?}", ledger.stall);
    ledger.expect_kept(&cluster, new, database.name());
    assert_eq!(idle.value("BEGIN; SHOW application_name; COMMIT"), "survivor");
    // The other one follows the new primary, without having been restarted.
    let other = 3 - new;
    eventually(
        || cluster.value(new, "SELECT count(*) FROM pg_stat_replication") == "1",
        "the other replica follows",
    );
    let conninfo = cluster.value(other, "SHOW primary_conninfo");
    assert!(conninfo.contains("user=replicator") && conninfo.contains("application_name=node"), "{conninfo}");
    let record = proxy.admin("SHOW FAILOVERS");
    assert_eq!(record.column("kind"), ["failover"]);
    let why = record.column("why")[0];
    assert!(why.contains("the furthest") && why.contains("everything that was acknowledged"), "{why}");
    // The old one comes back as if nothing had happened.
    cluster.revive(0);
    let command = "pg_rewind --target-pgdata=";
    proxy.await_log(command);
    assert_eq!(proxy.admin("SHOW NODES").column("state")[0], "down");
    assert_eq!(
        idle.query("INSERT INTO t VALUES (-1) RETURNING current_setting('cluster_name')").value(),
        format!("node{}", new + 1)
    );
    // It is used again by itself, once it is a replica.
    cluster.rejoin(0, new);
    eventually(|| proxy.admin("SHOW NODES").column("state")[0] == "up", "it is used again");
    assert_eq!(proxy.admin("SHOW NODES").column("role")[0], "replica");
}
