//! Sessions of idle clients are parked: nobody can tell, and everything still reaches them.

use super::on_primary;
use crate::harness::{Client, Proxy, eventually, proxy, shared};

#[test]
fn a_session_that_was_parked_is_what_it_was() {
    let database = shared().database();
    let proxy = on_primary(2).set("shards.count", 2).start();
    let mut client = proxy.client(database.name());
    let mut fresh = proxy.client(database.name());
    let mut prepares = proxy.client(database.name());
    client.query("CREATE TABLE t (v int); SET work_mem = '3MB'; SET application_name = 'parked'");
    prepares.parse("named", "SELECT $1::text || '!'", &[]).parse("", "SELECT 'unnamed'", &[]).sync();
    prepares.until_ready();
    for _ in 0..2 {
        await_parked(&proxy, 3);
        assert_eq!(client.value("SHOW work_mem"), "3MB");
        assert_eq!(client.value("SHOW application_name"), "parked");
        assert_eq!(fresh.value("SHOW work_mem"), shared().value(0, "SHOW work_mem"));
        prepares.bind("", "named", &[Some("yes")]).execute("", 0).sync();
        assert_eq!(row(&mut prepares), "yes!");
        prepares.bind("", "", &[]).execute("", 0).sync();
        assert_eq!(row(&mut prepares), "unnamed");
    }
    // Its writes are still behind it, and a transaction is open for as long as it likes.
    client.query("INSERT INTO t VALUES (1)");
    await_parked(&proxy, 3);
    assert_eq!(client.value("SELECT count(*) FROM t"), "1");
    client.query("RESET work_mem; BEGIN");
    await_parked(&proxy, 2);
    assert_eq!(client.value("SHOW work_mem"), shared().value(0, "SHOW work_mem"));
    client.query("COMMIT");
    await_parked(&proxy, 3);
}

#[test]
fn a_parked_session_is_cancelled_as_any_and_ends_as_any() {
    let database = shared().database();
    let proxy = on_primary(2).set("shards.count", 2).start();
    let (mut client, polite, rude) =
        (proxy.client(database.name()), proxy.client(database.name()), proxy.client(database.name()));
    await_parked(&proxy, 3);
    // Nothing runs: nothing happens, now or later.
    client.cancel();
    assert_eq!(client.value("SELECT 1"), "1");
    client.send_query("SELECT pg_sleep(60)");
    eventually(
        || {
            let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(60)'";
            shared().value(0, &format!("{running} AND datname = '{}'", database.name())) == "1"
        },
        "the query runs",
    );
    client.cancel();
    client.expect_sqlstate("57014");
    client.until_ready();
    polite.terminate();
    drop(rude);
    await_parked(&proxy, 1);
    eventually(|| clients(&proxy) == 2, "those who left are not counted any more");
}

#[test]
fn parked_sessions_are_told_to_leave() {
    let mut proxy = proxy(shared()).set("shutdown_timeout", "1h").set("shards.count", 2).start();
    let mut parked: Vec<_> = (0..10).map(|_| proxy.client("postgres")).collect();
    await_parked(&proxy, 10);
    proxy.sigterm();
    for client in &mut parked {
        assert_eq!(client.expect_sqlstate("57P01").severity(), "FATAL");
        client.expect_closed();
    }
    assert_eq!(proxy.wait_exit(), 0, "{}", proxy.log());
}

#[test]
fn parked_sessions_are_idle_and_leave_when_they_were_for_too_long() {
    let proxy = proxy(shared()).set("pool.client_idle_timeout", "4s").start();
    let mut client = proxy.client("postgres");
    client.query("SELECT 1");
    await_parked(&proxy, 1);
    assert_eq!(client.expect_sqlstate("57P05").severity(), "FATAL");
    client.expect_closed();
    eventually(|| clients(&proxy) == 1, "it is not counted any more");
}

/// The first column of the only row of what was asked by the extended protocol.
fn row(client: &mut Client) -> String {
    let messages = client.until_ready();
    let row = messages.iter().find(|message| message.tag == b'D').expect("a row");
    row.row()[0].clone().expect("a value")
}

#[track_caller]
fn await_parked(proxy: &Proxy<'_>, count: u64) {
    eventually(|| proxy.admin("SHOW SHARDS").sum("parked") == count, &format!("{count} sessions are parked"));
}

/// With the one that asks.
fn clients(proxy: &Proxy<'_>) -> u64 {
    proxy.admin("SHOW SHARDS").sum("clients")
}
