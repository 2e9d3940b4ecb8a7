//! What an operator orders.

use std::time::Duration;

use super::writer::Writers;
use super::{primary, promoting, three};
use crate::harness::{Client, cluster, eventually, proxy, shared};
use crate::operations::await_roles;
use crate::routing::{READ, here, node_name, read_from};

#[test]
fn a_switchover_costs_no_client_an_error() {
    let cluster = three().start();
    let database = here(&cluster);
    let proxy = promoting(&cluster).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    proxy.client(database.name()).query("CREATE TABLE t (i int PRIMARY KEY)");
    cluster.settle();
    let writers = Writers::start(&proxy, database.name(), 8);
    writers.await_some();
    let answer = proxy.admin("SWITCHOVER TO 2");
    assert!(answer.value().contains("is the primary"), "{answer:?}");
    assert_eq!(primary(&proxy), 2);
    writers.await_some();
    let ledger = writers.stop();
    eprintln!("{ledger}");
    assert!(ledger.errors.is_empty(), "{ledger}");
    ledger.expect_kept(&cluster, 2, database.name());
    eventually(
        || cluster.value(2, "SELECT count(*) FROM pg_stat_replication") == "1",
        "the other replica follows",
    );
    // What was the primary waits to be made a replica, and is prepared for it.
    assert!(cluster.value(0, "SHOW primary_conninfo").contains(&format!("port={}", cluster.node(2).port())));
    assert_eq!(proxy.admin("SHOW NODES").column("state")[0], "down");
    cluster.rejoin(0, 2);
    eventually(|| proxy.admin("SHOW NODES").column("state")[0] == "up", "it is used again");
    let record = proxy.admin("SHOW FAILOVERS");
    assert_eq!((record.column("kind"), record.column("to")), (vec!["switchover"], vec!["2"]));
}

#[test]
fn a_transaction_that_does_not_end_keeps_the_primary_where_it_is() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    let proxy = promoting(&cluster).set("failover.drain_timeout", "200ms").start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int)");
    client.query("BEGIN");
    client.query("INSERT INTO t VALUES (1)");
    let mut console = proxy.client("pgweir");
    let error = console.expect_refused("SWITCHOVER", "55000");
    assert!(error.message().contains("did not finish in time"), "{error}");
    client.query("COMMIT");
    assert_eq!(client.value("SELECT count(*) FROM t"), "1");
    assert_eq!(primary(&proxy), 0);
    for (order, words) in [
        ("SWITCHOVER TO 7", "there is no node 7"),
        ("SWITCHOVER TO 0", "is not a replica"),
        ("PROMOTE 1", "use SWITCHOVER TO 1"),
        ("DETACH 0", "is the primary"),
        ("RESUME", "is not paused"),
    ] {
        let error = console.expect_refused(order, "55000");
        assert!(error.message().contains(words), "{order}: {error}");
    }
}

#[test]
fn a_paused_pgweir_holds_new_transactions_until_it_is_resumed() {
    let proxy = proxy(shared()).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut running = proxy.client("postgres");
    running.query("BEGIN; LOCK TABLE pg_am IN ACCESS SHARE MODE");
    let mut pinned = proxy.client("postgres");
    pinned.query("CREATE TEMPORARY TABLE mine (i int)");
    let mut console = proxy.client("pgweir");
    console.send_query("PAUSE");
    let mut waiting = proxy.client("postgres");
    // One that runs goes on to its end; only then is PAUSE answered.
    assert!(console.is_silent(Duration::from_millis(50)), "a transaction still runs");
    running.query("SELECT 1");
    running.query("COMMIT");
    console.until_ready();
    waiting.send_query("CREATE TEMPORARY TABLE t (i int)");
    running.send_query("BEGIN READ WRITE");
    pinned.send_query("INSERT INTO mine VALUES (1)");
    for client in [&mut waiting, &mut running, &mut pinned] {
        assert!(client.is_silent(Duration::from_millis(50)), "a new transaction begins");
    }
    assert_eq!(proxy.admin("RESUME").value(), "resumed");
    for client in [&mut waiting, &mut running, &mut pinned] {
        client.until_ready();
    }
    running.query("COMMIT");
}

#[test]
fn a_detached_replica_is_left_alone_and_used_again_when_it_is_attached() {
    let cluster = three().start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut client = proxy.client(database.name());
    let mut open = proxy.client(database.name());
    let readers = |client: &mut Client| read_from(client, 20).into_keys().collect::<Vec<String>>();
    eventually(|| readers(&mut client) == [node_name(1), node_name(2)], "both are read");
    // A transaction that runs there is not cut off.
    let node = loop {
        open.query("BEGIN READ ONLY");
        if open.value(READ) == node_name(1) {
            break 1;
        }
        open.query("COMMIT");
    };
    assert!(proxy.admin("DETACH 1").value().contains("is detached"));
    assert_eq!(proxy.admin("SHOW NODES").column("state")[node], "drained");
    assert_eq!(readers(&mut client), [node_name(2)]);
    assert_eq!(open.value(READ), node_name(1));
    open.query("COMMIT");
    eventually(
        || cluster.value(node, "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'test%'") == "0",
        "nobody is connected to it",
    );
    cluster.node(node).restart().expect("it starts again");
    assert_eq!(readers(&mut client), [node_name(2)]);
    assert!(proxy.admin("ATTACH 1").value().contains("node 1"));
    eventually(|| readers(&mut client) == [node_name(1), node_name(2)], "it is used again");
}
