//! The connection that listens may be lost: what is listened to is not.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::harness::{Cluster, ProxyBuilder, Relay, cluster, eventually, proxy, shared};

use super::{awaited, next, pooled};

#[test]
fn a_lost_connection_is_opened_again_with_its_channels() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let mut one = proxy.client(database.name());
    one.query("LISTEN here; LISTEN \"There\"");
    let listening = format!(
        "FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'pgweir listens'",
        database.name()
    );
    let process_id = || shared().value(0, &format!("SELECT coalesce(max(pid), 0) {listening}"));
    for _ in 0..3 {
        let before = process_id();
        shared().value(0, &format!("SELECT pg_terminate_backend({before}, 5000)"));
        eventually(|| !["0", &before].contains(&process_id().as_str()), "another one listens");
        // Its session goes on all the while, and what is notified once the channels are there is heard.
        assert_eq!(one.value("SELECT 1"), "1");
        let mut sender = shared().login(0).database(database.name()).connect();
        eventually(
            || {
                sender.query("NOTIFY here; NOTIFY \"There\"");
                !one.is_silent(Duration::from_millis(20))
            },
            "it is heard again",
        );
        assert_eq!(next(&mut one).1, "here");
        assert_eq!(awaited(&mut one).1, "There");
        one.query("SELECT 1");
    }
}

#[test]
fn listeners_stay_through_a_failover() {
    let cluster = cluster().replicas(1).start();
    let proxy = proxy(&cluster).set("monitor.interval", "50ms").set("route.reads", "primary").start();
    let (mut one, mut other) = (proxy.client("postgres"), proxy.client("postgres"));
    one.query("LISTEN here");
    other.query("NOTIFY here, 'before'");
    assert_eq!(next(&mut one).2, "before");
    cluster.settle();
    cluster.kill(0);
    cluster.node(1).promote().expect("it can be promoted");
    eventually(
        || other.try_query("NOTIFY here, 'after'").is_ok() && !one.is_silent(Duration::from_millis(20)),
        "it hears the new primary",
    );
    assert_eq!(next(&mut one).2, "after");
    one.query("LISTEN there");
    one.send_query("NOTIFY there, 'own'");
    let messages = one.until_ready();
    assert!(messages.iter().any(|message| message.tag == b'A' && message.body.ends_with(b"\0own\0")));
}

#[test]
fn a_transaction_that_is_lost_while_it_is_about_to_listen_is_not_committed() {
    let cluster = cluster().start();
    let relay = Relay::start((Ipv4Addr::LOCALHOST, 0), cluster.node(0).port()).expect("a free port");
    let proxy = behind(&cluster, &relay).set("pool.connect_timeout", "500ms").start();
    let mut client = proxy.client("postgres");
    client.query("CREATE TABLE t (v int)");
    client.query("BEGIN");
    client.query("INSERT INTO t VALUES (1); LISTEN here");
    relay.hold();
    client.send_query("COMMIT");
    eventually(|| relay.held() > 0, "what is to listen waits to be let in");
    drop(relay);
    client.expect_sqlstate("40001");
    assert_eq!(cluster.value(0, "SELECT count(*) FROM t"), "0");
}

#[test]
fn a_session_keeps_its_backend_when_nothing_else_can_listen() {
    let cluster = cluster().start();
    let relay = Relay::start((Ipv4Addr::LOCALHOST, 0), cluster.node(0).port()).expect("a free port");
    let proxy = behind(&cluster, &relay).set("pool.connect_timeout", "500ms").start();
    let (mut one, mut other) = (proxy.client("postgres"), proxy.client("postgres"));
    one.query("BEGIN");
    other.query("SELECT 1");
    one.query("COMMIT");
    relay.hold();
    one.query("LISTEN here");
    assert_eq!(proxy.admin("SHOW PINS").column("reason"), ["listen"]);
    other.query("NOTIFY here, 'heard'");
    assert_eq!(next(&mut one).2, "heard");
    one.send_query("NOTIFY here, 'own'");
    assert!(one.until_ready().iter().any(|message| message.tag == b'A'));
    one.query("UNLISTEN here");
    eventually(|| proxy.admin("SHOW PINS").rows.is_empty(), "it is free again");
    relay.let_go();
    one.query("LISTEN here");
    assert!(proxy.admin("SHOW PINS").rows.is_empty());
    other.query("NOTIFY here, 'again'");
    assert_eq!(next(&mut one).2, "again");
}

/// pgweir in front of a node that it reaches through `relay`, and that it does not give up on.
fn behind<'a>(cluster: &'a Cluster, relay: &Relay) -> ProxyBuilder<'a> {
    let (port, relayed) = (cluster.node(0).port(), relay.port());
    let proxy = proxy(cluster).set("pool.size", 3).set("monitor.retries", 1000);
    proxy.configure(|config| {
        config.remove_node(port).node(relayed);
    })
}
