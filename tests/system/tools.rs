//! What people really use: psql, pgbench, and a driver.

mod driver;

use std::time::{Duration, Instant};

use crate::harness::{Proxy, ProxyBuilder, eventually, proxy, shared};

#[test]
fn psql_describes_and_copies() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let login = proxy.login().database(database.name());
    login.psql(&["-c", "CREATE TABLE pets (name text PRIMARY KEY, legs int)"], "").ok();
    let said = login.psql(&["-P", "tuples_only=off", "-c", "\\d pets"], "").ok().stdout;
    assert!(said.contains("legs|integer") && said.contains("\"pets_pkey\" PRIMARY KEY"), "{said}");
    for command in ["\\d", "\\d+", "\\dt+", "\\l", "\\du", "\\df", "\\dn", "\\dx", "\\conninfo", "\\encoding"]
    {
        login.psql(&["-c", command], "").ok();
    }
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let lines: String = (0..5000).map(|number| format!("pet {number}\t{}\n", number % 5)).collect();
    std::fs::write(&one, &lines).unwrap();
    login.psql(&["-c", &format!("\\copy pets FROM '{}'", one.display())], "").ok();
    login
        .psql(
            &[
                "-c",
                &format!("\\copy (SELECT * FROM pets ORDER BY substr(name, 5)::int) TO '{}'", two.display()),
            ],
            "",
        )
        .ok();
    assert!(std::fs::read_to_string(&two).unwrap() == lines, "what came out is not what went in");
    let script = "\\copy pets FROM STDIN\nfrom a script\t4\n\\.\nSELECT count(*) FROM pets;\n";
    assert_eq!(login.psql(&[], script).ok().stdout, "5001\n");
}

#[test]
fn psql_recovers_from_an_error_in_a_transaction() {
    let database = shared().database();
    let proxy = pooled(1).start();
    let login = proxy.login().database(database.name());
    let script = "CREATE TABLE t (v int);
        BEGIN; INSERT INTO t VALUES (1); SELECT 1/0; INSERT INTO t VALUES (2);
        ROLLBACK;
        BEGIN; INSERT INTO t VALUES (3); SAVEPOINT s; SELECT wrong; ROLLBACK TO s; INSERT INTO t VALUES (4);
        COMMIT;
        SELECT string_agg(v::text, ' ' ORDER BY v) FROM t;
        \\set ON_ERROR_ROLLBACK on
        BEGIN; INSERT INTO t VALUES (5); SELECT 1/0; INSERT INTO t VALUES (6); COMMIT;
        SELECT string_agg(v::text, ' ' ORDER BY v) FROM t;
        \\set FETCH_COUNT 10
        SELECT count(*), sum(g) FROM (SELECT generate_series(1, 100) g) s;
        \\set FETCH_COUNT 0
        SELECT 1 AS a, 2 AS b \\gset
        SELECT :a + :b \\; SELECT 'two';
        SELECT 'SELECT 7' \\gexec\n";
    let run = login.psql(&["-v", "ON_ERROR_STOP=0"], script).ok();
    assert_eq!(run.stdout, "3 4\n3 4 5 6\n100|5050\n3\ntwo\n7\n");
    for message in ["division by zero", "current transaction is aborted", "column \"wrong\" does not exist"] {
        assert!(run.stderr.contains(message), "{message} in {}", run.stderr);
    }
}

#[test]
fn ctrl_c_in_psql_ends_its_query_at_once() {
    let database = shared().database();
    let proxy = pooled(2).set("shards.count", 4).start();
    let login = proxy.login().database(database.name());
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        database.name()
    );
    let sleepers = || (0..3).map(|node| shared().value(node, &asleep).parse::<u32>().unwrap()).sum::<u32>();
    for _ in 0..4 {
        let psql = login.start_tool(
            "psql",
            &["-X", "-c", "\\set VERBOSITY verbose", "-c", "SELECT pg_sleep(60)"],
            "",
        );
        eventually(|| sleepers() == 1, "it sleeps");
        let asked = Instant::now();
        psql.interrupt();
        let run = psql.wait();
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        assert!(run.stderr.contains("57014"), "{}", run.stderr);
        eventually(|| sleepers() == 0, "nothing sleeps");
    }
}

#[test]
fn psql_takes_a_great_result_with_memory_flat() {
    let proxy = pooled(2).start();
    proxy.login().connect().query("SELECT 1");
    let before = proxy.memory();
    let run = proxy.login().psql(
        &["-c", "\\copy (SELECT repeat('x', 99) FROM generate_series(1, 500000)) TO PROGRAM 'wc -c'"],
        "",
    );
    assert_eq!(run.ok().stdout.trim(), "50000000");
    let grown = proxy.memory_peak().saturating_sub(before);
    assert!(grown <= 16 << 20, "{} kB more", grown >> 10);
}

#[test]
fn pgbench_reads_from_the_replicas() {
    let database = shared().database();
    // The bench is set up through the proxy, too.
    pgbench_tables(&pooled(4).start(), database.name());
    for mode in ["simple", "extended", "prepared"] {
        let proxy = pooled(4).set("shards.count", 2).start();
        await_nodes(&proxy);
        let run = proxy
            .login()
            .database(database.name())
            .pgbench(&["-n", "-S", "-M", mode, "-c", "10", "-t", "100"])
            .ok();
        assert_eq!(run.number("number of failed transactions"), 0.0, "{mode}");
        assert_eq!(run.number("number of transactions actually processed"), 1000.0, "{mode}");
        let nodes = proxy.admin("SHOW pool_nodes");
        let counts: Vec<u64> =
            nodes.column("select_cnt").iter().map(|count| count.parse().unwrap()).collect();
        assert!(counts[1] + counts[2] >= 1000, "{mode}: {counts:?}");
        assert!(counts[1] > 100 && counts[2] > 100, "{mode}: {counts:?}");
        assert!(counts[0] < 50, "{mode}: {counts:?}");
    }
}

#[test]
fn pgbench_writes_without_a_failure() {
    let database = shared().database();
    let proxy = pooled(4).set("shards.count", 2).start();
    pgbench_tables(&proxy, database.name());
    let login = proxy.login().database(database.name());
    // A thread of pgbench waits for each of its Parses, and meanwhile lets nobody else of its own finish a transaction:
    // with more clients in one thread than backends it can wait for itself, whatever stands behind the backends.
    for mode in ["simple", "extended", "prepared"] {
        let run = login.pgbench(&["-n", "-M", mode, "-c", "10", "-j", "10", "-t", "30"]).ok();
        assert_eq!(run.number("number of failed transactions"), 0.0, "{mode}");
        assert_eq!(run.number("number of transactions actually processed"), 300.0, "{mode}");
    }
    // A connection for each transaction.
    let run = login.pgbench(&["-n", "-N", "-C", "-c", "4", "-t", "5"]).ok();
    assert_eq!(run.number("number of failed transactions"), 0.0);
    // Nothing is lost, and nothing done twice.
    shared().settle();
    let mut client = login.connect();
    assert_eq!(client.value("SELECT count(*) FROM pgbench_history"), "920");
    let sums =
        "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history)";
    assert_eq!(client.value(sums), "t");
}

fn pooled(size: i64) -> ProxyBuilder<'static> {
    proxy(shared()).set("pool.size", size)
}

#[track_caller]
fn pgbench_tables(proxy: &Proxy<'_>, database: &str) {
    proxy.login().database(database).pgbench(&["-i", "-q", "-s", "1"]).ok();
    shared().settle();
}

/// Waits until all nodes are known to be up: until then the primary serves for them.
#[track_caller]
fn await_nodes(proxy: &Proxy<'_>) {
    eventually(
        || proxy.admin("SHOW pool_nodes").column("pg_status").iter().all(|status| *status == "up"),
        "all nodes are up",
    );
}
