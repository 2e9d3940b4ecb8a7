//! Nodes that die, lag, come back or change their role while clients work.

mod names;

use std::time::{Duration, Instant};

use crate::harness::*;
use crate::operations::await_roles;
use crate::routing::{READ, here, node_name, pause, read_from};

#[test]
fn a_replica_that_dies_is_left_and_used_again_when_it_is_back() {
    let cluster = cluster().replicas(2).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut clients: Vec<Client> = (0..6).map(|_| proxy.client(database.name())).collect();
    for client in &mut clients {
        read_from(client, 5);
    }
    cluster.kill(1);
    // Its connections are broken by now, and with them goes all that would have been sent there.
    let died = Instant::now();
    for _ in 0..20 {
        for client in &mut clients {
            let reader = client.try_query(READ).unwrap_or_else(|error| panic!("a read fails: {error}"));
            assert_ne!(reader.value(), node_name(1));
        }
    }
    eventually(|| states(&proxy)[1] == "down", "it is known to be down");
    // An interval of 250 ms, one more probe after the first that failed, and a busy machine.
    assert!(died.elapsed() < Duration::from_secs(5), "that took {:?}", died.elapsed());
    assert!(!proxy.admin("SHOW NODES").column("reason")[1].is_empty(), "no reason is shown");
    cluster.revive(1);
    eventually(|| read_from(&mut clients[0], 10).contains_key(&node_name(1)), "it is used again");
    assert_eq!(states(&proxy), ["up", "up", "up"]);
    // With all of them gone, the primary reads.
    cluster.kill(1);
    cluster.kill(2);
    for client in &mut clients {
        assert_eq!(client.value(READ), node_name(0));
    }
}

#[test]
fn a_read_under_way_on_a_dying_replica_costs_nobody_the_session() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    cluster
        .node(0)
        .sql_in(database.name(), "CREATE TABLE big AS SELECT generate_series(1, 3000) AS i")
        .expect("a table");
    cluster.settle();
    let proxy = proxy(&cluster).start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut at_work = proxy.client(database.name());
    let mut streaming = proxy.client(database.name());
    let mut in_transaction = proxy.client(database.name());
    in_transaction.query("BEGIN READ ONLY");
    in_transaction.query(READ);
    // Without a function, so that it is plainly a read; it would take hours.
    at_work.send_query("SELECT count(*) FROM big a, big b, big c");
    streaming.send_query("SELECT * FROM big a, big b, big c");
    while streaming.recv_message().tag != b'D' {}
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%big a%big b%' \
                  AND pid <> pg_backend_pid()";
    eventually(|| cluster.value(1, active) == "2", "both run on the replica");
    cluster.kill(1);
    // Of this one rows have been seen, so it cannot be run again elsewhere. A server sends in pieces of 8 kB: the last
    // row is most likely torn, and then there is no way to say anything more.
    loop {
        match streaming.try_recv_message() {
            Ok(Some(message)) if message.tag == b'E' => {
                let error = message.error();
                assert!(["08", "40", "57"].contains(&&error.sqlstate()[..2]), "{error}");
                streaming.until_ready();
                assert_eq!(streaming.value(READ), node_name(0));
                break;
            }
            Ok(Some(message)) => assert_eq!(message.tag, b'D'),
            Ok(None) => break,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
                break;
            }
        }
    }
    // This one may fail, or be running on the primary by now.
    let again = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%count(*) FROM big a%' \
                 AND pid <> pg_backend_pid()";
    let mut failed = false;
    eventually(
        || {
            failed = !at_work.is_silent(Duration::from_millis(1));
            failed || cluster.value(0, again) == "1"
        },
        "it has failed, or is run on the primary",
    );
    if !failed {
        at_work.cancel();
    }
    at_work.expect_sqlstate_of(&["08", "40", "57"]);
    at_work.until_ready();
    assert_eq!(at_work.value(READ), node_name(0));
    if let Err(error) = in_transaction.try_query(READ) {
        assert!(error.sqlstate().starts_with("40"), "{error}");
    }
    in_transaction.query("ROLLBACK");
    assert_eq!(in_transaction.value(READ), node_name(0));
}

#[test]
fn a_replica_that_no_longer_answers_is_left_too() {
    let cluster = cluster().replicas(2).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).set("monitor.timeout", "1s").set("monitor.retries", 0).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut client = proxy.client(database.name());
    read_from(&mut client, 10);
    cluster.node(1).freeze();
    eventually(|| states(&proxy)[1] == "down", "it is known to be down");
    assert_eq!(read_from(&mut client, 20).into_keys().collect::<Vec<_>>(), [node_name(2)]);
    cluster.node(1).thaw();
    eventually(|| read_from(&mut client, 10).contains_key(&node_name(1)), "it is used again");
}

#[test]
fn a_replica_that_lags_takes_no_new_reads() {
    let cluster = cluster().replicas(2).start();
    let database = here(&cluster);
    let name = database.name();
    cluster.node(0).sql_in(name, "CREATE TABLE t (i int)").expect("a table");
    cluster.settle();
    let proxy = proxy(&cluster).set("route.lag_max", "256kB").start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut reader = proxy.client(name);
    let write = "INSERT INTO t SELECT generate_series(1, 20000)";
    for (index, left) in [(1, node_name(2)), (2, node_name(0))] {
        pause(&cluster, index);
        cluster.node(0).sql_in(name, write).expect("a write");
        eventually(|| states(&proxy)[index] == "lagging", "its lag is known");
        assert_eq!(read_from(&mut reader, 20).into_keys().collect::<Vec<_>>(), [left]);
    }
    let lag = proxy.admin("SHOW NODES").column("lag_bytes")[1].parse::<u64>().expect("a number");
    assert!(lag > 256 * 1024, "a lag of {lag} bytes is shown");
    let delay = proxy.client(name).query("SHOW pool_nodes").column("replication_delay")[1].parse::<u64>();
    assert!(delay.expect("a number of bytes") > 256 * 1024);
    for index in [1, 2] {
        cluster.run(index, "SELECT pg_wal_replay_resume()");
    }
    eventually(
        || {
            let readers = read_from(&mut reader, 20);
            readers.contains_key(&node_name(1)) && readers.contains_key(&node_name(2))
        },
        "they have caught up and are used again",
    );
}

#[test]
fn writes_follow_a_promotion_by_another_hand() {
    let cluster = cluster().replicas(2).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut clients: Vec<Client> = (0..4).map(|_| proxy.client(database.name())).collect();
    clients[0].query("CREATE TABLE t (i int, node text DEFAULT current_setting('cluster_name'))");
    for client in &mut clients {
        client.query("INSERT INTO t VALUES (1)");
        read_from(client, 2);
    }
    cluster.settle();
    cluster.kill(0);
    cluster.node(1).promote().expect("a replica can be promoted");
    eventually(|| proxy.admin("SHOW NODES").column("role")[1] == "primary", "the new primary is known");
    // The same clients, which have noticed nothing.
    for client in &mut clients {
        let written = client.query("INSERT INTO t VALUES (2) RETURNING node");
        assert_eq!(written.value(), node_name(1));
        // The other replica still follows the dead one: it will never have this.
        assert_ne!(client.value("SELECT count(*) FROM t WHERE i = 2"), "0");
    }
    assert_eq!(clients[0].value("SELECT count(*) FROM t"), "8");
    // The old one comes back as if nothing had happened. Nobody may write there.
    cluster.revive(0);
    eventually(
        || proxy.admin("SHOW NODES").column("reason")[0].contains("timeline"),
        "it is known for what it is",
    );
    eventually(
        || cluster.value(2, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1",
        "the other replica has found its old primary again",
    );
    // What that one says and whoever follows it is no longer what this cluster holds.
    let began = Instant::now();
    while began.elapsed() < PROBES {
        assert_eq!(proxy.client(database.name()).value("SELECT count(*) FROM t"), "8");
    }
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(client.query("INSERT INTO t VALUES (3) RETURNING node").value(), node_name(1));
        }
    }
    let lost =
        cluster.node(0).sql_in(database.name(), "SELECT 1 FROM t WHERE i = 3").expect("it takes reads");
    assert!(lost.is_empty(), "{} writes went to the old primary", lost.len());
    assert_eq!(states(&proxy)[0], "down");
    assert_eq!(states(&proxy)[1], "up");
}

#[test]
fn clients_outlive_the_death_of_the_primary() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica"]);
    let name = database.name();
    let mut idle = proxy.client(name);
    idle.query("CREATE TABLE t (i int); SET application_name = 'survivor'");
    cluster.settle();
    let mut in_transaction = proxy.client(name);
    in_transaction.query("BEGIN; INSERT INTO t VALUES (1)");
    let mut locked = proxy.client(name);
    let mut locked_within = proxy.client(name);
    in_transaction.query("LOCK TABLE t IN EXCLUSIVE MODE");
    locked.send_query("INSERT INTO t VALUES (2)");
    locked_within.query("BEGIN");
    locked_within.send_query("INSERT INTO t VALUES (2)");
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    eventually(|| cluster.value(0, waiting) == "2", "two writes are under way");
    cluster.kill(0);
    // Whether it was done is unknown (class 40: transaction rollback; 40003 says just that).
    let error = locked.expect_sqlstate("40003");
    assert_eq!(error.severity(), "ERROR");
    locked.until_ready();
    assert_eq!(locked.status, 'I');
    // This one was not committed, whatever became of it.
    let error = locked_within.expect_sqlstate("40001");
    assert!(!error.field('H').is_empty(), "{error}");
    locked_within.until_ready();
    assert_eq!(locked_within.status, 'I');
    let error = in_transaction.try_query("INSERT INTO t VALUES (3)").expect_err("it was cut off");
    assert!(error.sqlstate().starts_with("40"), "{error}");
    in_transaction.query("ROLLBACK");
    assert_eq!(in_transaction.status, 'I');
    eventually(|| states(&proxy)[0] == "down", "the primary is known to be down");
    // Reads go on, for old clients and new ones.
    for (who, client) in [
        ("new", &mut proxy.client(name)),
        ("idle", &mut idle),
        ("cut off in a transaction", &mut in_transaction),
        ("cut off in a write", &mut locked),
    ] {
        client.send_query(READ);
        let messages = client.until_ready_or(&format!("the client {who} reads nothing"));
        assert_eq!(messages[1].row(), [Some(node_name(1))], "{who}");
    }
    // Writes wait, and are done once it is back.
    idle.send_query("INSERT INTO t VALUES (4)");
    in_transaction.send_query("BEGIN");
    assert!(idle.is_silent(Duration::from_millis(50)), "a write is answered without a primary");
    cluster.revive(0);
    for client in [&mut idle, &mut in_transaction] {
        let messages = client.until_ready();
        let error = messages.iter().find(|message| message.tag == b'E').map(Message::error);
        assert_eq!(error, None);
    }
    in_transaction.query("INSERT INTO t VALUES (5); COMMIT");
    locked.query("INSERT INTO t VALUES (6)");
    let rows = locked.query("SELECT i FROM t ORDER BY i").rows;
    assert_eq!(rows, [4, 5, 6].map(|i: i32| vec![Some(i.to_string())]));
    assert_eq!(idle.value("BEGIN; SHOW application_name; COMMIT"), "survivor");
}

#[test]
fn a_write_does_not_wait_for_a_primary_for_ever() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    let proxy = proxy(&cluster).set("pool.checkout_timeout", "1s").start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int)");
    cluster.settle();
    cluster.kill(0);
    eventually(|| states(&proxy)[0] == "down", "the primary is known to be down");
    for _ in 0..2 {
        let began = Instant::now();
        let error = client.try_query("INSERT INTO t VALUES (1)").expect_err("there is no primary");
        assert!(error.sqlstate().starts_with("57P0") && error.severity() == "ERROR", "{error}");
        assert!(began.elapsed() < Duration::from_secs(5), "that took {:?}", began.elapsed());
        assert_eq!(client.status, 'I');
        assert_eq!(client.value(READ), node_name(1));
    }
    cluster.revive(0);
    eventually(|| client.try_query("INSERT INTO t VALUES (1)").is_ok(), "writes are taken again");
}

#[test]
fn nodes_may_come_up_after_pgweir() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    for node in cluster.nodes() {
        node.shut_down();
    }
    let proxy = proxy(&cluster).start();
    eventually(|| states(&proxy) == ["down", "down"], "both are known to be down");
    cluster.revive(1);
    eventually(|| states(&proxy)[1] == "up", "the replica is known to be up");
    // Reads need no primary.
    let mut client = proxy.client(database.name());
    assert_eq!(client.value(READ), node_name(1));
    cluster.revive(0);
    client.query("CREATE TABLE t (i int)");
    await_roles(&proxy, &["primary", "replica"]);
}

#[test]
fn the_probes_do_not_need_a_superuser() {
    let cluster = cluster().replicas(1).start();
    cluster.run(0, "CREATE ROLE watcher LOGIN PASSWORD 'watches'; GRANT pg_monitor TO watcher");
    cluster.settle();
    let proxy = proxy(&cluster).set("monitor.user", "watcher").set("monitor.password", "watches");
    let proxy = proxy.configure(|config| {
        config.set_node(cluster.node(1).port(), "application_name", cluster.node(1).name());
    });
    let proxy = proxy.start();
    await_roles(&proxy, &["primary", "replica"]);
    let nodes = proxy.client("postgres").query("SHOW pool_nodes");
    assert_eq!(nodes.column("replication_state"), ["", "streaming"]);
    assert_eq!(nodes.column("replication_sync_state"), ["", "async"]);
}

/// Time for every node to be probed more than once.
const PROBES: Duration = Duration::from_millis(800);

/// The state of each node.
#[track_caller]
fn states(proxy: &Proxy) -> Vec<String> {
    proxy.admin("SHOW NODES").column("state").into_iter().map(str::to_owned).collect()
}

impl Client {
    /// All messages up to the next ReadyForQuery, which must come in time.
    #[track_caller]
    fn until_ready_or(&mut self, what: &str) -> Vec<Message> {
        assert!(!self.is_silent(Duration::from_secs(10)), "{what}");
        self.until_ready()
    }

    /// Reads up to the next ErrorResponse, whose SQLSTATE must begin with one of these.
    #[track_caller]
    fn expect_sqlstate_of(&mut self, classes: &[&str]) -> ServerError {
        loop {
            let message = self.recv_message();
            assert_ne!(message.tag, b'Z', "no error came, but the query ended");
            if message.tag == b'E' {
                let error = message.error();
                assert!(classes.iter().any(|class| error.sqlstate().starts_with(class)), "{error}");
                return error;
            }
        }
    }
}
