//! Cancel requests: they reach whom they name, on whatever shard, and nobody else.

use std::time::{Duration, Instant};

use crate::harness::{CancelKey, Client, Cluster, Database, eventually, proxy, shared};

#[test]
fn a_running_query_is_cancelled_wherever_the_request_arrives() {
    let (cluster, database) = (shared(), shared().database());
    let proxy = proxy(cluster).set("shards.count", 4).set("pool.size", 4).start();
    // The kernel deals connections out to the shards, so eight requests meet about all combinations.
    for version in [(3, 0), (3, 2)] {
        let mut clients: Vec<Client> = (0..4)
            .map(|_| proxy.login().database(database.name()).protocol(version.0, version.1).connect())
            .collect();
        for client in &mut clients {
            client.query("BEGIN");
            client.send_query("SELECT pg_sleep(60)");
        }
        await_asleep(cluster, &database, 4);
        for (number, client) in clients.iter_mut().enumerate() {
            client.cancel();
            client.expect_sqlstate("57014");
            client.expect_tags("Z");
            assert_eq!(client.status, 'E');
            await_asleep(cluster, &database, 3 - number);
            client.query("ROLLBACK");
            assert_eq!(client.value("SELECT 1"), "1");
        }
    }
}

#[test]
fn a_query_outside_a_transaction_and_one_in_a_pipeline_are_cancelled() {
    let (cluster, database) = (shared(), shared().database());
    let proxy = proxy(cluster).set("pool.size", 2).start();
    let mut client = proxy.client(database.name());
    client.send_query("SELECT pg_sleep(60)");
    await_asleep(cluster, &database, 1);
    client.cancel();
    client.expect_sqlstate("57014");
    client.expect_tags("Z");
    assert_eq!(client.status, 'I');

    client.parse("", "SELECT pg_sleep(60)", &[]).bind("", "", &[]).execute("", 0).write_sync();
    client.parse("", "SELECT 2", &[]).bind("", "", &[]).execute("", 0).sync();
    await_asleep(cluster, &database, 1);
    client.cancel();
    client.expect_sqlstate("57014");
    client.expect_tags("Z");
    client.expect_tags("12DCZ");
}

#[test]
fn a_waiting_query_is_cancelled_and_leaves_the_queue() {
    for shards in [1, 4] {
        let (cluster, database) = (shared(), shared().database());
        let proxy = proxy(cluster).set("shards.count", shards).set("pool.size", 1).start();
        let mut holder = proxy.client(database.name());
        holder.query("CREATE TABLE t (v int); BEGIN; INSERT INTO t VALUES (0)");
        let mut waiting: Vec<Client> = (1..=3).map(|_| proxy.client(database.name())).collect();
        for (number, client) in waiting.iter_mut().enumerate() {
            match number {
                // By the extended protocol, with more behind it that is not cancelled.
                1 => {
                    client
                        .parse("", "INSERT INTO t VALUES (1)", &[])
                        .bind("", "", &[])
                        .execute("", 0)
                        .write_sync();
                    client
                        .parse("", "INSERT INTO t VALUES (11)", &[])
                        .bind("", "", &[])
                        .execute("", 0)
                        .sync();
                }
                _ => client.send_query(&format!("INSERT INTO t VALUES ({number})")),
            }
            assert!(client.is_silent(Duration::from_millis(20)), "it has to wait");
        }
        for client in &mut waiting[1..] {
            let asked = Instant::now();
            client.cancel();
            client.expect_sqlstate("57014");
            client.expect_tags("Z");
            assert_eq!(client.status, 'I');
            assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        }
        holder.query("COMMIT");
        waiting[0].expect_tags("CZ");
        waiting[1].expect_tags("12CZ");
        assert_eq!(holder.value("SELECT string_agg(v::text, ' ' ORDER BY v) FROM t"), "0 0 11");
    }
}

#[test]
fn a_late_or_a_wrong_request_does_nothing() {
    let (cluster, database) = (shared(), shared().database());
    for shards in [1, 4] {
        let proxy = proxy(cluster).set("shards.count", shards).set("pool.size", 1).start();
        let (mut idle, mut busy) = (proxy.client(database.name()), proxy.client(database.name()));
        // Both have had the only backend, and both keys are known.
        let pid = idle.value("BEGIN; SELECT pg_backend_pid()");
        idle.query("COMMIT");
        let next = busy.value("BEGIN; SELECT pg_backend_pid()");
        assert!(shards > 1 || next == pid, "one shard keeps its backend");
        let CancelKey { process_id, secret } = busy.key.clone().expect("a cancel key");
        let server_pid = next.parse().unwrap();
        let mut gate = cluster.login(0).database(database.name()).connect();
        gate.query("SELECT pg_advisory_lock(1)");
        busy.send_query("SELECT 'undisturbed' FROM pg_advisory_xact_lock(1)");
        let stuck = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually(|| gate.value(stuck) == "1", "it waits for the lock");
        idle.cancel();
        let other = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut secret = secret.clone();
            change(&mut secret);
            secret
        };
        let wrong = [
            (process_id, other(&|secret| secret[0] ^= 1)),
            (process_id, other(&|secret| secret[3] ^= 0x80)),
            (process_id, other(&|secret| secret.push(0))),
            (process_id, vec![0; 4]),
            (process_id, vec![0; 256]),
            (process_id.wrapping_add(1), secret.clone()),
            (server_pid, vec![0; 4]),
            (server_pid, idle.key.clone().expect("a cancel key").secret),
            (0, vec![0; 4]),
        ];
        for (process_id, secret) in wrong {
            crate::harness::cancel(&proxy.address(), &CancelKey { process_id, secret });
        }
        // Too short to be one.
        for length in [8, 12, 15] {
            let mut request = Client::open(&proxy.address());
            let bytes =
                [&[0, 0, 0, length, 4, 0xd2, 0x16, 0x2e][..], &process_id.to_be_bytes(), &secret].concat();
            request.send_raw(&bytes[..usize::from(length)]);
            request.expect_closed();
        }
        gate.query("SELECT pg_advisory_unlock(1)");
        let answer = busy.expect_tags("TDCZ");
        assert_eq!(answer[1].row()[0].as_deref(), Some("undisturbed"));
        busy.query("COMMIT");
        // One for which nothing runs is not kept for later.
        busy.cancel();
        assert_eq!(busy.value("SELECT 1"), "1");
        assert_eq!(idle.value("SELECT 1"), "1");
    }
}

#[test]
fn a_burst_of_requests_costs_no_backends() {
    let (cluster, database) = (shared(), shared().database());
    let proxy = proxy(cluster).set("shards.count", 2).set("pool.size", 2).start();
    let mut client = proxy.client(database.name());
    for _ in 0..5 {
        client.send_query("SELECT pg_sleep(60)");
        await_asleep(cluster, &database, 1);
        for _ in 0..50 {
            client.cancel();
        }
        client.expect_sqlstate("57014");
        client.expect_tags("Z");
        // Not one of the fifty hits this.
        assert_eq!(client.value("SELECT pg_sleep(0.02), 1"), "");
    }
}

/// Waits until so many servers, of whatever node, sleep in this database.
#[track_caller]
fn await_asleep(cluster: &Cluster, database: &Database<'_>, count: usize) {
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        database.name()
    );
    let mut nodes: Vec<Client> = (0..3).map(|node| cluster.login(node).connect()).collect();
    let mut all =
        || nodes.iter_mut().map(|node| node.value(&asleep).parse::<usize>().unwrap()).sum::<usize>();
    eventually(|| all() == count, "they sleep");
}
