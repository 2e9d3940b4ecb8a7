//! Numbered rows through everything that can happen to a primary: what was acknowledged is there once, what failed is not.

use std::net::Ipv4Addr;

use super::writer::{Ledger, Writers};
use super::{await_failover, primary, promoting, three};
use crate::harness::{Cluster, ClusterBuilder, Proxy, Relay, eventually};
use crate::operations::await_roles;
use crate::routing::here;

#[test]
fn with_synchronous_replication_nothing_acknowledged_is_lost() {
    let cluster = three().setting("synchronous_standby_names", "ANY 1 (*)");
    let (lost, ledger) = disasters(cluster, Some("0B"));
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}; {ledger}");
}

#[test]
fn without_it_nothing_is_there_twice_and_nothing_that_failed() {
    let (lost, ledger) = disasters(three(), None);
    eprintln!("{} rows were acknowledged and never reached the promoted replica; {ledger}", lost.len());
}

/// A killed, a frozen and a cut off primary, and replicas that are restarted, all while clients write. What was acknowledged
/// and is not there in the end.
#[track_caller]
fn disasters(cluster: ClusterBuilder, max_data_loss: Option<&str>) -> (Vec<u64>, Ledger) {
    let cluster = cluster.start();
    let database = here(&cluster);
    let name = database.name();
    // The way to node 0, which may be cut without either side noticing.
    let relay = Relay::start((Ipv4Addr::LOCALHOST, 0), cluster.node(0).port()).expect("a free port");
    let mut proxy = promoting(&cluster)
        .configure(|config| {
            for node in 0..3 {
                config.remove_node(cluster.node(node).port());
            }
            for port in [relay.port(), cluster.node(1).port(), cluster.node(2).port()] {
                config.node(port);
            }
        })
        .set("monitor.timeout", "400ms");
    if let Some(max) = max_data_loss {
        proxy = proxy.set("failover.max_data_loss", max);
    }
    let proxy = proxy.start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    proxy.client(name).query("CREATE TABLE t (i int)");
    cluster.settle();
    let writers = Writers::start(&proxy, name, 6);
    writers.await_some();

    // Cut off: nothing breaks, nothing answers, and what is under way arrives there much later.
    relay.mute();
    let second = await_failover(&proxy, 1);
    assert_ne!(second, 0);
    writers.await_some();
    relay.unmute();
    rejoin(&cluster, &proxy, 0, second);
    writers.await_some();

    // Killed.
    cluster.kill(second);
    let third = await_failover(&proxy, 2);
    assert_ne!(third, second);
    writers.await_some();
    rejoin(&cluster, &proxy, second, third);

    // A replica is restarted.
    let replica = (0..3).find(|node| *node != third).expect("there are two");
    cluster.node(replica).restart().expect("it starts again");
    await_up(&proxy, replica);
    writers.await_some();

    // Frozen, and going on as if nothing had happened.
    cluster.node(third).freeze();
    let fourth = await_failover(&proxy, 3);
    assert_ne!(fourth, third);
    writers.await_some();
    cluster.node(third).thaw();
    writers.await_some();
    assert_eq!(primary(&proxy), fourth);

    let ledger = writers.stop();
    eprintln!("{ledger}");
    (ledger.lost(&cluster, fourth, name), ledger)
}

/// Makes a former primary a replica, and waits until it is used.
#[track_caller]
fn rejoin(cluster: &Cluster, proxy: &Proxy, node: usize, primary: usize) {
    cluster.rejoin(node, primary);
    await_up(proxy, node);
}

#[track_caller]
fn await_up(proxy: &Proxy, node: usize) {
    eventually(|| proxy.admin("SHOW NODES").column("state")[node] == "up", "it is used again");
}
