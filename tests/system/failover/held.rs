//! What clients notice while there is no primary.

use std::time::{Duration, Instant};

use crate::harness::{Client, cluster, eventually, proxy};
use crate::operations::await_roles;
use crate::routing::{READ, here, node_name};

#[test]
fn those_who_wait_longest_make_room_and_the_others_are_served() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).set("failover.hold_max", 2).start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client(database.name())).collect();
    clients[0].query("CREATE TABLE t (i int)");
    cluster.settle();
    cluster.kill(0);
    eventually(|| proxy.admin("SHOW NODES").column("state")[0] == "down", "the primary is known to be down");
    for (index, client) in clients.iter_mut().enumerate() {
        client.send_query(&format!("INSERT INTO t VALUES ({index})"));
        let held = |held: usize| proxy.admin("SHOW SHARDS").sum("holding") == held as u64;
        eventually(|| held((index + 1).min(2)), "it is held");
    }
    for client in &mut clients[..2] {
        let error = client.expect_sqlstate("57P03");
        assert!(error.field('H').contains("failover.hold_max"), "{error}");
        client.until_ready();
        assert_eq!(client.value(READ), node_name(1));
    }
    cluster.revive(0);
    for client in &mut clients[2..] {
        assert!(client.until_ready().iter().all(|message| message.tag != b'E'));
    }
    assert_eq!(clients[0].value("SELECT string_agg(i::text, ',' ORDER BY i) FROM t"), "2,3");
    assert_eq!(proxy.admin("SHOW SHARDS").sum("holding"), 0);
}

#[test]
fn nobody_is_held_for_longer_than_is_configured() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).set("failover.hold_time", "300ms").start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut client = proxy.client(database.name());
    cluster.kill(0);
    eventually(|| proxy.admin("SHOW NODES").column("state")[0] == "down", "the primary is known to be down");
    let began = Instant::now();
    let error = client.try_query("CREATE TABLE t (i int)").expect_err("there is no primary");
    assert!(error.sqlstate() == "57P03" && error.field('H').contains("failover.hold_time"), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(300), "after {:?}", began.elapsed());
    assert_eq!(client.status, 'I');
}

#[test]
fn a_session_with_state_on_the_lost_primary_is_told_which() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut pinned = proxy.client(database.name());
    pinned.query("CREATE TEMPORARY TABLE mine (i int)");
    let mut frozen = proxy.client(database.name());
    frozen.query("CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    let mut reading = proxy.client(database.name());
    cluster.settle();
    // So that its read goes to the primary, until a replica is known to have that.
    reading.query("INSERT INTO t VALUES (0)");
    // Also where nothing ever breaks: what runs on a primary that does not answer is answered when it is given up.
    cluster.node(0).freeze();
    frozen.send_query("UPDATE t SET i = 2");
    reading.send_query("SELECT i FROM t");
    let error = pinned.expect_sqlstate("57P01");
    assert!(error.message().contains("temporary"), "{error}");
    pinned.expect_closed();
    frozen.expect_sqlstate("40003");
    frozen.until_ready();
    assert!(reading.until_ready().iter().all(|message| message.tag != b'E'));
    assert_eq!(frozen.value(READ), node_name(1));
    cluster.node(0).thaw();
    eventually(|| frozen.try_query("INSERT INTO t VALUES (3)").is_ok(), "it is the primary again");
}
