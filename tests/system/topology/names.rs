//! Nodes by name, whose addresses change while clients work.

use std::fs;
use std::net::Ipv4Addr;

use crate::harness::*;
use crate::operations::await_roles;
use crate::routing::{READ, here, node_name};

#[test]
fn a_name_is_resolved_again_when_its_node_has_died() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let hosts = folder.path().join("hosts");
    let point_at = |address: Ipv4Addr| fs::write(&hosts, format!("{address} {NAME}\n")).expect("it is ours");
    point_at(FIRST);
    let Some(namespace) = Namespace::with(&hosts, "/etc/hosts") else { return };
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    // Two addresses, and as for any name one port.
    let first = Relay::start((FIRST, 0), cluster.node(0).port()).expect("a free port");
    let port = first.port();
    let _second = Relay::start((SECOND, port), cluster.node(1).port()).expect("nobody is at this address");
    let proxy = proxy(&cluster)
        .configure(|config| {
            for node in cluster.nodes() {
                config.remove_node(node.port());
            }
            config.node(port).set_node(port, "host", NAME);
        })
        .set("shards.count", 2)
        .namespace(namespace)
        .start();
    await_roles(&proxy, &["primary"]);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client(database.name())).collect();
    clients[0].query("CREATE TABLE t (i int)");
    for client in &mut clients {
        client.query("INSERT INTO t VALUES (1)");
        assert_eq!(client.value(READ), node_name(0));
    }
    cluster.settle();

    cluster.kill(0);
    drop(first);
    cluster.node(1).promote().expect("a replica can be promoted");
    eventually(|| proxy.admin("SHOW NODES").column("state") == ["down"], "it is known to be down");
    point_at(SECOND);
    // The same clients, and nobody told pgweir.
    for client in &mut clients {
        eventually(|| client.try_query("INSERT INTO t VALUES (2)").is_ok(), "writes flow again");
        assert_eq!(client.value(READ), node_name(1));
    }
    assert_eq!(clients[0].value("SELECT sum(i) FROM t"), "12");
    assert_eq!(proxy.client(database.name()).value(READ), node_name(1));
    assert_eq!(proxy.admin("SHOW NODES").column("role"), ["primary"]);
}

#[test]
fn a_name_that_nobody_knew_at_the_start_is_used_when_somebody_does() {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let hosts = folder.path().join("hosts");
    fs::write(&hosts, "127.0.0.1 localhost\n").expect("it is ours");
    let Some(namespace) = Namespace::with(&hosts, "/etc/hosts") else { return };
    let cluster = shared();
    let database = here(cluster);
    let node = cluster.node(1).port();
    let proxy = proxy(cluster)
        .configure(|config| {
            config.set_node(node, "host", NAME).remove_node(cluster.node(2).port());
        })
        .namespace(namespace)
        .start();
    let reason = || proxy.admin("SHOW NODES").column("reason")[1].to_owned();
    eventually(|| reason().contains("does not resolve"), "the reason is shown");
    assert!(reason().contains(NAME), "{}", reason());
    fs::write(&hosts, format!("127.0.0.1 {NAME}\n")).expect("it is ours");
    await_roles(&proxy, &["primary", "replica"]);
    assert_eq!(proxy.client(database.name()).value(READ), node_name(1));
}

/// Reserved for such uses (RFC 6761): no name server knows it.
const NAME: &str = "node.pgweir.test";
/// All of 127.0.0.0/8 is this machine (RFC 1122, 3.2.1.3).
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
