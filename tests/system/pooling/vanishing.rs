//! Clients that vanish leave nothing behind: no lock, no row, no setting, no query that still runs.

use super::{A_WHILE, on_primary};
use crate::harness::{eventually, shared};

#[test]
fn a_transaction_is_rolled_back() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let mut other = proxy.client(database.name());
    other.query("CREATE TABLE t (v int PRIMARY KEY); INSERT INTO t VALUES (0)");
    for round in 0..6 {
        let mut client = proxy.client(database.name());
        client.query("BEGIN; SELECT * FROM t FOR UPDATE; INSERT INTO t VALUES (1); SET work_mem = '7MB'");
        client.query("SELECT pg_advisory_lock(1); CREATE TEMP TABLE x (v int); PREPARE p AS SELECT 1");
        match round {
            0 => drop(client),
            1 => client.terminate(),
            // Only one direction is closed.
            2 => client.shut(),
            // In a batch, in a message, in a failed transaction.
            3 => client.parse("", "INSERT INTO t VALUES (2)", &[]).bind("", "", &[]).execute("", 0).flush(),
            4 => client.send_raw(b"Q\0\0\0\xffCOMMIT"),
            _ => drop(client.try_query("SELECT 1/0")),
        }
        if round > 2 {
            // It was moved by none of these.
            other.send_query("SELECT count(*) FROM t");
            assert!(other.is_silent(A_WHILE), "the only backend is in a transaction");
            other.cancel();
            other.expect_sqlstate("57014");
            other.until_ready();
        }
    }
    other.query("SET lock_timeout = '1s'; BEGIN; SELECT * FROM t FOR UPDATE; LOCK t; COMMIT");
    assert_eq!(other.value("SELECT count(*) FROM t"), "1");
    assert_eq!(other.value("SHOW work_mem"), shared().value(0, "SHOW work_mem"));
    assert_eq!(other.value("SELECT pg_try_advisory_lock(1)"), "t");
    other.expect_refused("SELECT * FROM x", "42P01");
    other.expect_refused("EXECUTE p", "26000");
}

#[test]
fn a_running_query_is_cancelled() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let mut other = proxy.client(database.name());
    other.query("CREATE TABLE t (v int)");
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        database.name()
    );
    for round in 0..4 {
        let mut client = proxy.client(database.name());
        match round {
            0 => client.send_query("SELECT pg_sleep(60)"),
            1 => {
                client.query("BEGIN; INSERT INTO t VALUES (1)");
                client.send_query("SELECT pg_sleep(60)");
            }
            2 => client.parse("", "SELECT pg_sleep(60)", &[]).bind("", "", &[]).execute("", 0).sync(),
            _ => client.send_query("SELECT pg_sleep(60); INSERT INTO t VALUES (2)"),
        }
        eventually(|| shared().value(0, &asleep) == "1", "it sleeps");
        drop(client);
        assert_eq!(other.value("SELECT count(*) FROM t"), "0", "in round {round}");
        assert_eq!(shared().value(0, &asleep), "0");
    }
}

#[test]
fn a_place_in_the_queue_is_given_up() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let mut holder = proxy.client(database.name());
    holder.query("CREATE TABLE t (v int); BEGIN; INSERT INTO t VALUES (0)");
    let mut last = proxy.client(database.name());
    for number in 1..=5 {
        let mut client = proxy.client(database.name());
        client.send_query(&format!("BEGIN; INSERT INTO t VALUES ({number}); COMMIT; SELECT pg_sleep(60)"));
        assert!(client.is_silent(A_WHILE / 10), "it has to wait");
    }
    last.send_query("SELECT 'last'");
    holder.query("COMMIT");
    assert_eq!(last.expect_tags("TDCZ")[1].row()[0].as_deref(), Some("last"));
}
