//! Sessions that keep a backend: for as long as there is a cause, and shown to the operator.

use crate::harness::{Client, Proxy, eventually, shared};

use super::on_primary;

#[test]
fn a_session_gives_its_backend_back_as_soon_as_the_cause_is_gone() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let mut client = proxy.client(database.name());
    for (takes, gives_back) in [
        ("SELECT pg_advisory_lock(7)", "SELECT pg_advisory_unlock(7)"),
        ("SELECT pg_advisory_lock(7), pg_advisory_lock(8)", "SELECT pg_advisory_unlock_all()"),
        ("CREATE TEMP TABLE mine (v int)", "DROP TABLE mine"),
        ("SELECT 1 AS v INTO TEMP mine", "DROP TABLE mine"),
        ("CREATE TEMP VIEW mine AS SELECT 1 AS v", "DROP VIEW mine"),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "CLOSE c"),
        ("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT", "CLOSE ALL"),
        ("PREPARE p AS SELECT 1", "DEALLOCATE p"),
        ("PREPARE p AS SELECT 1; PREPARE q AS SELECT 2", "DEALLOCATE ALL"),
        ("SELECT pg_advisory_lock(7); CREATE TEMP TABLE mine (v int)", "DISCARD ALL"),
    ] {
        client.query(takes);
        // There is one backend, and it is kept.
        assert_eq!(pinned(&proxy), 1, "{takes}");
        client.query("SELECT 1");
        assert_eq!(pinned(&proxy), 1, "{takes}");
        client.query(gives_back);
        served(&proxy.client(database.name()).value("SELECT 'served'"));
        eventually(|| pinned(&proxy) == 0, &format!("nothing keeps the backend after {gives_back}"));
    }
}

#[test]
fn what_ends_with_the_transaction_keeps_no_backend() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let (mut client, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    for text in [
        "BEGIN; CREATE TEMP TABLE mine (v int) ON COMMIT DROP; COMMIT",
        "BEGIN; CREATE TEMP TABLE mine (v int); ROLLBACK",
        "BEGIN; SELECT pg_advisory_xact_lock(7); COMMIT",
        "BEGIN; LISTEN here; ROLLBACK",
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; CLOSE c; COMMIT",
    ] {
        client.query(text);
        served(&other.value("SELECT 'served'"));
    }
    other.query("SELECT pg_advisory_lock(9)");
    let taken = client_of(&proxy, database.name(), 2, "SELECT pg_try_advisory_lock(9)");
    assert_eq!(taken, None, "the one backend is the other session's");
    other.query("SELECT pg_advisory_unlock(9)");
    served(&client.value("SELECT 'served'"));
}

#[test]
fn pins_are_shown_by_session_and_by_reason() {
    let database = shared().database();
    let proxy = on_primary(4).set("shards.count", 2).start();
    let mut clients: Vec<Client> = (0..3).map(|_| proxy.client(database.name())).collect();
    clients[0].query("SELECT pg_advisory_lock(17); CREATE TEMP TABLE mine (v int)");
    clients[1].query("PREPARE p AS SELECT 1");
    clients[2].query("SELECT 1");
    let pins = proxy.admin("SHOW PINS");
    assert_eq!(pins.columns, ["session", "database", "user", "reason", "since", "seconds"]);
    let mut rows: Vec<_> = pins
        .rows
        .iter()
        .map(|row| [0, 1, 2, 3].map(|column| row[column].clone().unwrap_or_default()))
        .collect();
    rows.sort();
    let name = database.name().to_owned();
    let mut expected: Vec<_> = [(&clients[0], "temporary,advisory_lock"), (&clients[1], "prepare")]
        .map(|(client, reason)| {
            let process_id = client.key.as_ref().expect("a key").process_id.to_string();
            [process_id, name.clone(), "postgres".to_owned(), reason.to_owned()]
        })
        .to_vec();
    expected.sort();
    assert_eq!(rows, expected);
    let stats = || {
        let stats = proxy.admin("SHOW PIN_STATS");
        let row = stats.rows.into_iter().find(|row| row[0].as_deref() == Some("prepare")).expect("a row");
        [row[1].clone().unwrap_or_default(), row[2].clone().unwrap_or_default()]
    };
    assert_eq!(stats(), ["1", "1"]);
    clients[1].query("DEALLOCATE p");
    eventually(|| stats() == ["0", "1"], "the session is free again");
    drop(clients);
    eventually(|| proxy.admin("SHOW PINS").rows.is_empty(), "who has gone keeps nothing");
}

#[test]
fn what_would_keep_a_backend_can_be_refused() {
    let database = shared().database();
    let proxy = on_primary(1).set("pool.pin", "refuse").start();
    let mut client = proxy.client(database.name());
    for text in [
        "CREATE TEMP TABLE t (v int)",
        "SELECT pg_advisory_lock(1)",
        "PREPARE p AS SELECT 1",
        "DO 'BEGIN END'",
    ] {
        let refused = client.expect_refused(text, "0A000");
        assert!(refused.message().contains("pool.pin"), "{refused}");
        client.prepared(text, &[]).unwrap_err();
    }
    client.query("SET work_mem = '3MB'; CREATE TABLE t (v int)");
    assert_eq!(client.value("SHOW work_mem"), "3MB");
}

fn served(answer: &str) {
    assert_eq!(answer, "served");
}

fn pinned(proxy: &Proxy<'_>) -> usize {
    proxy.admin("SHOW PINS").rows.len()
}

/// What a new session is told within so many tenths of a second.
fn client_of(proxy: &Proxy<'_>, database: &str, tenths: u64, sql: &str) -> Option<String> {
    let mut client = proxy.client(database);
    client.send_query(sql);
    match client.is_silent(std::time::Duration::from_millis(tenths * 100)) {
        true => None,
        false => client.until_ready().iter().find(|message| message.tag == b'D')?.row()[0].clone(),
    }
}
