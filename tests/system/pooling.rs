//! Pools: who gets a backend, when, for how long, and what the one before has left in it.

mod administration;
mod functions;
mod limits;
mod parking;
mod pins;
mod settings;
mod vanishing;

use std::time::Duration;

use crate::harness::{Client, Cluster, Database, ProxyBuilder, eventually, proxy, shared};

#[test]
fn many_clients_share_few_backends_in_transaction_mode() {
    let database = shared().database();
    let proxy = on_primary(2).start();
    proxy.client(database.name()).query("CREATE TABLE t (v int)");
    std::thread::scope(|scope| {
        for number in 0..20 {
            let mut client = proxy.client(database.name());
            scope.spawn(move || {
                for _ in 0..10 {
                    client.query("BEGIN");
                    client.query(&format!("INSERT INTO t VALUES ({number})"));
                    assert_eq!(client.value(&format!("SELECT {number}")), number.to_string());
                    client.query("COMMIT");
                }
            });
        }
    });
    assert_eq!(proxy.client(database.name()).value("SELECT count(*) FROM t"), "200");
    assert!(backends(shared(), &database) <= 2);
}

#[test]
fn a_session_keeps_its_backend_in_session_mode() {
    let database = shared().database();
    let proxy = on_primary(2).set("pool.mode", "session").start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    let pids = [one.value(PID), two.value(PID)];
    assert_ne!(pids[0], pids[1]);
    one.query("CREATE TEMP TABLE own AS SELECT 1 AS v; SET work_mem = '3MB'; PREPARE p AS SELECT 2");
    one.query("SELECT pg_advisory_lock(7); LISTEN news; DECLARE c CURSOR WITH HOLD FOR SELECT 3");
    for _ in 0..3 {
        assert_eq!([one.value(PID), two.value(PID)], pids);
    }
    assert_eq!(one.value("SELECT v FROM own"), "1");
    assert_eq!(one.value("EXECUTE p"), "2");
    assert_eq!(one.value("FETCH c"), "3");
    assert_eq!(one.value("SHOW work_mem"), "3MB");
    two.expect_refused("SELECT v FROM own", "42P01");

    // Both are taken: the next one waits until somebody leaves, and finds nothing of what was there.
    one.terminate();
    let mut three = proxy.client(database.name());
    three.expect_refused("SELECT v FROM own", "42P01");
    three.expect_refused("EXECUTE p", "26000");
    three.expect_refused("FETCH c", "34000");
    assert_eq!(three.value("SHOW work_mem"), shared().value(0, "SHOW work_mem"));
    assert_eq!(three.value("SELECT pg_try_advisory_lock(7)"), "t");
    assert_eq!(three.query("SELECT pg_listening_channels()").rows.len(), 0);
    assert!(backends(shared(), &database) <= 2);
}

#[test]
fn statement_mode_refuses_what_spans_statements() {
    let database = shared().database();
    let proxy = on_primary(1).set("pool.mode", "statement").start();
    let (mut client, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    client.query("CREATE TABLE t (v int)");
    for sql in [
        "BEGIN",
        "START TRANSACTION",
        "begin isolation level serializable",
        "BEGIN; SELECT 1; COMMIT",
        "SELECT 1; BEGIN",
    ] {
        let error = client.try_query(sql).expect_err(sql);
        assert_eq!(error.severity(), "ERROR", "{error}");
        assert_eq!(client.status, 'I', "after {sql}");
        assert_eq!(other.value("SELECT 1"), "1");
    }
    client.prepared("BEGIN", &[]).expect_err("in either protocol");
    assert_eq!(client.status, 'I');
    // Statements, alone and as many, prepared or not, are as they are elsewhere.
    client.query("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)");
    client.prepared("INSERT INTO t VALUES ($1)", &[Some("3")]).unwrap();
    client.copy_in("COPY t FROM STDIN", b"4\n").unwrap();
    assert_eq!(client.value("SELECT count(*) FROM t"), "4");
    assert_eq!(other.value("SELECT count(*) FROM t"), "4");
}

#[test]
fn databases_and_users_have_modes_and_sizes_of_their_own() {
    let (database, other) = (shared().database(), shared().database());
    let user = format!("user_of_{}", database.name());
    shared().run(0, &format!("CREATE ROLE {user} LOGIN PASSWORD 'p' IN ROLE pg_read_all_stats"));
    let proxy = on_primary(1)
        .set(&format!("database.{}.mode", database.name()), "session")
        .set(&format!("database.{}.size", database.name()), 2)
        .set(&format!("user.{user}.mode"), "statement")
        .user(&user, "p")
        .start();
    // The database's: two sessions, each with its backend.
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    let pids = [one.value(PID), two.value(PID)];
    assert_ne!(pids[0], pids[1]);
    assert_eq!([one.value(PID), two.value(PID)], pids);
    // The common ones: transactions on the only backend.
    let (mut three, mut four) = (proxy.client(other.name()), proxy.client(other.name()));
    three.query("BEGIN");
    assert_eq!(three.value("SELECT 3"), "3");
    three.query("COMMIT");
    assert_eq!(four.value("SELECT 4"), "4");
    assert_eq!(backends(shared(), &other), 1);
    // The user's: statements.
    let mut five = proxy.login().user(&user).password("p").database(other.name()).connect();
    five.try_query("BEGIN").expect_err("statements only");
    assert_eq!(five.value("SELECT 5"), "5");
    drop((five, proxy, database, other));
    shared().run(0, &format!("DROP ROLE {user}"));
}

#[test]
fn who_came_first_is_served_first() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let mut holder = proxy.client(database.name());
    let mut witness = proxy.client("postgres");
    holder.query("CREATE TABLE t (place serial, v int); BEGIN; INSERT INTO t (v) VALUES (0)");
    let mut waiting: Vec<Client> = (1..=10).map(|_| proxy.client(database.name())).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        let insert = format!("INSERT INTO t (v) VALUES ({})", number + 1);
        if number % 2 == 0 {
            client.send_query(&insert);
        } else {
            client.parse("", &insert, &[]).bind("", "", &[]).execute("", 0).sync();
        }
        // The only shard has seen that once it has answered this, from another pool.
        witness.query("SELECT 1");
    }
    holder.query("COMMIT");
    for client in &mut waiting {
        client.until_ready();
    }
    assert_eq!(
        holder.value("SELECT string_agg(v::text, ' ' ORDER BY place) FROM t"),
        "0 1 2 3 4 5 6 7 8 9 10"
    );
}

#[test]
fn who_waits_too_long_is_told_and_stays() {
    let database = shared().database();
    let proxy = on_primary(1).set("pool.checkout_timeout", "300ms").start();
    let (mut holder, mut waiting) = (proxy.client(database.name()), proxy.client(database.name()));
    holder.query("CREATE TABLE t (v int); BEGIN; INSERT INTO t VALUES (0)");
    let error = waiting.expect_refused("INSERT INTO t VALUES (1)", "53300");
    assert_eq!(error.severity(), "ERROR", "{error}");
    waiting.parse("", "INSERT INTO t VALUES (2)", &[]).bind("", "", &[]).execute("", 0).sync();
    waiting.expect_sqlstate("53300");
    waiting.expect_tags("Z");
    assert_eq!(waiting.status, 'I');
    waiting.expect_refused("BEGIN; INSERT INTO t VALUES (3)", "53300");
    assert_eq!(waiting.status, 'I');
    holder.query("COMMIT");
    waiting.query("INSERT INTO t VALUES (4)");
    assert_eq!(holder.value("SELECT string_agg(v::text, ' ' ORDER BY v) FROM t"), "0 4");
}

#[test]
fn backends_that_broke_are_never_handed_out() {
    let database = shared().database();
    let proxy = on_primary(2).start();
    let mut client = proxy.client(database.name());
    let mut witness = proxy.client("postgres");
    for _ in 0..5 {
        client.query("SELECT 1");
        end_backends(shared(), &database);
        // The only shard has seen them close once it has answered this.
        witness.query("SELECT 1");
        assert_eq!(client.value("SELECT 'alive'"), "alive");
        assert_eq!(client.prepared("SELECT $1::text", &[Some("prepared")]).unwrap().value(), "prepared");
    }
    // In the midst of a transaction its client is told, and nobody else.
    let mut victim = proxy.client(database.name());
    victim.query("CREATE TABLE t (v int)");
    victim.query("BEGIN; INSERT INTO t VALUES (1)");
    end_backends(shared(), &database);
    victim.send_query("INSERT INTO t VALUES (2)");
    expect_loss(&mut victim);
    assert_eq!(client.value("SELECT count(*) FROM t"), "0");
    // While a query runs.
    let mut victim = proxy.client(database.name());
    victim.send_query("SELECT pg_sleep(60)");
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        database.name()
    );
    eventually(|| shared().value(0, &asleep) == "1", "it sleeps");
    end_backends(shared(), &database);
    expect_loss(&mut victim);
    assert_eq!(client.value("SELECT 'alive'"), "alive");
}

#[test]
fn backends_are_closed_when_idle_or_old() {
    let database = shared().database();
    let proxy = on_primary(3).set("pool.idle_timeout", "200ms").start();
    let mut client = proxy.client(database.name());
    assert_eq!(client.value("SELECT 1"), "1");
    eventually(|| backends(shared(), &database) == 0, "the pool is closed");
    assert_eq!(client.value("SELECT 'opened again'"), "opened again");
    drop(proxy);

    let proxy = on_primary(1).set("pool.lifetime_max", "1s").start();
    let mut client = proxy.client(database.name());
    client.query("BEGIN");
    let first = client.value(PID);
    // One that is in use ends its transaction first, however old it has become.
    client.query("SELECT pg_sleep(1.1)");
    assert_eq!(client.value(PID), first);
    client.query("COMMIT");
    assert_ne!(client.value(PID), first);
}

#[test]
fn a_pipeline_of_batches_keeps_its_order_over_several_backends() {
    let database = shared().database();
    let proxy = on_primary(3).start();
    let mut clients: Vec<Client> = (0..6).map(|_| proxy.client(database.name())).collect();
    for round in 0..20 {
        for client in &mut clients {
            for number in 0..5 {
                let value = (round * 10 + number).to_string();
                client
                    .parse("", "SELECT $1::text", &[])
                    .bind("", "", &[Some(&value)])
                    .execute("", 0)
                    .write_sync();
            }
            client.send_out();
        }
        for client in &mut clients {
            for number in 0..5 {
                let answer = client.expect_tags("12DCZ");
                assert_eq!(answer[2].row(), [Some((round * 10 + number).to_string())]);
            }
        }
    }
    assert!(backends(shared(), &database) <= 3);
}

/// A pgweir that takes everything to the primary, so that the backends there are all there are.
fn on_primary(size: i64) -> ProxyBuilder<'static> {
    proxy(shared()).set("route.reads", "primary").set("pool.size", size)
}

/// Reads the error that tells of a lost backend, before which nothing may claim success.
#[track_caller]
fn expect_loss(client: &mut Client) {
    let error = loop {
        let message = client.recv_message();
        assert!(!matches!(message.tag, b'C' | b'Z'), "no success: {message:?}");
        if message.tag == b'E' {
            break message.error();
        }
    };
    assert!(["57P01", "08006", "40"].iter().any(|class| error.sqlstate().starts_with(class)), "{error}");
}

/// How many backends the primary has for this database.
#[track_caller]
fn backends(cluster: &Cluster, database: &Database<'_>) -> usize {
    let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database.name());
    cluster.value(0, &count).parse().unwrap()
}

/// Has the server end all backends of this database and waits until they are gone.
#[track_caller]
fn end_backends(cluster: &Cluster, database: &Database<'_>) {
    let end = "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity WHERE datname =";
    cluster.run(0, &format!("{end} '{}'", database.name()));
}

/// Nobody needs to wait that long to see that somebody waits.
const A_WHILE: Duration = Duration::from_millis(50);
const PID: &str = "SELECT pg_backend_pid()";
