//! Functions of one's own: those that leave nothing in the session that calls them cost it no backend; the others keep it.

use crate::harness::{Database, eventually, shared};

use super::on_primary;

#[test]
fn a_function_that_leaves_nothing_keeps_no_backend() {
    let database = shared().database();
    let mut setup = shared().login(0).database(database.name()).connect();
    setup.query(
        "CREATE TABLE t (v int);
        CREATE FUNCTION inner_one(v int) RETURNS int LANGUAGE sql AS 'SELECT v + 1';
        CREATE FUNCTION \"Outer One\"(v int) RETURNS int LANGUAGE plpgsql AS $$
            BEGIN PERFORM set_config('my.own', 'for this transaction', true); PERFORM pg_notify('nobody', 'x');
            UPDATE t SET v = 2; RETURN inner_one(v); END $$;
        CREATE FUNCTION atomic(v int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT inner_one(v); END;
        CREATE AGGREGATE total (int) (SFUNC = int4_sum, STYPE = bigint)",
    );
    let proxy = on_primary(1).start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    for (call, answer) in [
        ("SELECT inner_one(1)", "2"),
        ("SELECT \"Outer One\"(1)", "2"),
        ("SELECT atomic(1)", "2"),
        ("SELECT total(v) FROM (VALUES (1), (2)) AS x (v)", "3"),
        ("SELECT pg_advisory_xact_lock(1) IS NULL", "f"),
        ("WITH c AS (INSERT INTO t VALUES (inner_one(1)) RETURNING v) SELECT v FROM c", "2"),
    ] {
        // There is one backend: whoever kept it would let the other one wait.
        for _ in 0..2 {
            assert_eq!(one.value(call), answer, "{call}");
            assert_eq!(two.prepared(call, &[]).unwrap().rows[0][0].as_deref(), Some(answer), "{call}");
        }
        one.query("BEGIN");
        assert_eq!(one.value(call), answer, "{call}");
        assert_eq!(one.value("SELECT 1"), "1");
        one.query("COMMIT");
    }
}

#[test]
fn a_session_keeps_what_a_function_has_set_for_it() {
    let database = shared().database();
    own_setting(&database, "CREATE FUNCTION tell(v text) RETURNS text LANGUAGE sql AS 'SELECT v'");
    let proxy = on_primary(2).start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    for client in [&mut one, &mut two] {
        client.query("SELECT tell('x')");
    }
    // The function that was harmless a moment ago is not any more.
    two.query(
        "CREATE OR REPLACE FUNCTION tell(v text) RETURNS text LANGUAGE sql AS 'SELECT set_config(''my.own'', v, false)'",
    );
    for change in ["SELECT tell('mine')", "SELECT deep('mine')", "INSERT INTO t VALUES (deep('mine'))"] {
        let mut client = proxy.client(database.name());
        client.query(change);
        for _ in 0..2 {
            assert_eq!(two.value(OWN), "", "beside {change}");
            assert_eq!(client.value(OWN), "mine", "{change}");
        }
        drop(client);
        eventually(
            || {
                let mut others = [proxy.client(database.name()), proxy.client(database.name())];
                others.iter_mut().all(|other| other.value(OWN).is_empty())
            },
            "the backend is free again",
        );
    }
}

#[test]
fn what_a_transaction_that_rolled_back_has_called_does_not_matter_to_others() {
    let database = shared().database();
    own_setting(&database, "");
    let proxy = on_primary(1).start();
    let mut client = proxy.client(database.name());
    client.query("BEGIN");
    client.query("SELECT deep('mine')");
    drop(client);
    assert_eq!(proxy.client(database.name()).value(OWN), "");
}

/// A function that sets `my.own` two levels deep.
fn own_setting(database: &Database<'_>, more: &str) {
    shared().login(0).database(database.name()).connect().query(&format!(
        "CREATE TABLE t (v text);
        CREATE FUNCTION shallow(v text) RETURNS text LANGUAGE sql AS 'SELECT set_config(''my.own'', v, false)';
        CREATE FUNCTION deep(v text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN shallow(v); END'; {more}"
    ));
}

const OWN: &str = "SELECT coalesce(current_setting('my.own', true), '')";
