//! Which node a statement goes to, and what a session sees of its own writes.

use std::collections::BTreeMap;

use crate::harness::*;
use crate::operations::await_roles;

// Where reads and writes go.

#[test]
fn reads_go_to_the_replicas_and_writes_to_the_primary() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    let before = Counts::of(&proxy);
    let readers = read_from(&mut client, 60);
    assert_eq!(readers.keys().collect::<Vec<_>>(), ["node2", "node3"], "{readers:?}");
    client.query("CREATE TABLE t (i int)");
    for value in 0..20 {
        client.query(&format!("INSERT INTO t VALUES ({value})"));
    }
    let after = Counts::of(&proxy);
    assert_eq!(after.reads[1..].iter().sum::<u64>() - before.reads[1..].iter().sum::<u64>(), 60);
    assert_eq!(after.reads[0], before.reads[0]);
    assert_eq!(after.writes[0] - before.writes[0], 21);
    assert_eq!(after.writes[1..], before.writes[1..]);
}

#[test]
fn reads_are_shared_by_weight_over_all_protocols() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster).configure(|config| {
        config.set_node(cluster.node(1).port(), "weight", 1).set_node(cluster.node(2).port(), "weight", 3);
    }));
    let mut client = proxy.client(database.name());
    let readers = read_from(&mut client, 400);
    // The standard deviation of 400 free choices is 9.
    assert!((50..=150).contains(&readers["node2"]), "weights 1 and 3 gave {readers:?}");
    let mut readers = BTreeMap::new();
    client.parse("here", READ, &[]).sync();
    client.until_ready();
    for _ in 0..400 {
        client.bind("", "here", &[]).execute("", 0).sync();
        let row = client.until_ready().into_iter().find(|message| message.tag == b'D').expect("a row");
        *readers.entry(row.row()[0].clone().unwrap_or_default()).or_insert(0) += 1;
    }
    assert!((50..=150).contains(&readers["node2"]), "weights 1 and 3 gave {readers:?}");
}

#[test]
fn reads_of_many_clients_at_once_are_shared_too() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster).set("shards.count", 3));
    let mut readers = BTreeMap::new();
    let mut clients: Vec<Client> = (0..30).map(|_| proxy.client(database.name())).collect();
    for _ in 0..10 {
        for client in &mut clients {
            client.send_query(READ);
        }
        for client in &mut clients {
            let row = client.until_ready().into_iter().find(|message| message.tag == b'D').expect("a row");
            *readers.entry(row.row()[0].clone().unwrap_or_default()).or_insert(0) += 1;
        }
    }
    assert_eq!(readers.values().sum::<i32>(), 300);
    assert!((90..=210).contains(&readers["node2"]), "equal weights gave {readers:?}");
}

#[test]
fn route_reads_chooses_who_takes_reads() {
    let cluster = shared();
    let database = here(cluster);
    for (reads, readers) in [
        ("primary", vec!["node1"]),
        ("any", vec!["node1", "node2", "node3"]),
        ("replicas", vec!["node2", "node3"]),
    ] {
        let proxy = with_replicas(proxy(cluster).set("route.reads", reads));
        let found = read_from(&mut proxy.client(database.name()), 90);
        assert_eq!(found.keys().collect::<Vec<_>>(), readers, "reads = {reads}");
        assert!(found.values().all(|&count| count >= 10), "reads = {reads}: {found:?}");
    }
}

#[test]
fn a_node_without_weight_takes_no_reads() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster).set("route.reads", "any").configure(|config| {
        config.set_node(cluster.node(1).port(), "weight", 0);
    }));
    let found = read_from(&mut proxy.client(database.name()), 60);
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["node1", "node3"]);
}

#[test]
fn balance_by_session_stays_with_one_node() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster).set("route.balance", "session"));
    let mut chosen = BTreeMap::new();
    for _ in 0..40 {
        let found = read_from(&mut proxy.client(database.name()), 5);
        assert_eq!(found.len(), 1, "one session read from {found:?}");
        *chosen.entry(found.into_keys().next()).or_insert(0) += 1;
    }
    assert_eq!(chosen.len(), 2, "all sessions chose the same node: {chosen:?}");
}

// Transactions.

#[test]
fn a_transaction_that_may_write_stays_on_the_primary() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int)");
    for begin in [
        "BEGIN",
        "START TRANSACTION",
        "BEGIN READ WRITE",
        "BEGIN ISOLATION LEVEL SERIALIZABLE",
        "/* */ begin;",
    ] {
        client.query(begin);
        assert_eq!(client.status, 'T');
        assert_eq!(read_from(&mut client, 3).into_keys().collect::<Vec<_>>(), ["node1"], "{begin}");
        client.query("INSERT INTO t VALUES (1)");
        assert_eq!(client.prepared(READ, &[]).expect("a read").value(), "node1", "{begin}");
        client.query("COMMIT AND CHAIN");
        assert_eq!(client.value(READ), "node1", "{begin}");
        client.query("ROLLBACK");
    }
    assert_eq!(client.value("SELECT count(*) FROM t"), "5");
}

#[test]
fn read_only_transactions_do_what_they_would_do_on_the_primary() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int); CREATE SEQUENCE s");
    cluster.settle();
    // What stands in each of these works with a primary alone.
    for (begin, statement) in [
        ("BEGIN READ ONLY", "SELECT count(*) FROM t"),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SELECT count(*) FROM t"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY", "SELECT count(*) FROM t"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE", "SELECT count(*) FROM t"),
        ("BEGIN READ ONLY", "DECLARE c CURSOR FOR SELECT 1; FETCH c; CLOSE c"),
        ("BEGIN READ ONLY", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        ("BEGIN READ ONLY", "SET TRANSACTION READ WRITE"),
        ("BEGIN READ ONLY", "SELECT txid_current()"),
        ("BEGIN READ ONLY", "LISTEN something"),
        ("BEGIN READ ONLY", "SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a"),
        ("BEGIN READ ONLY", "LOCK TABLE t IN ACCESS SHARE MODE"),
        ("BEGIN READ ONLY", "COPY t TO STDOUT"),
        ("BEGIN READ ONLY", "EXPLAIN ANALYZE SELECT * FROM t"),
    ] {
        client.query(begin);
        client.try_query(statement).unwrap_or_else(|error| panic!("{begin}; {statement}: {error}"));
        assert_eq!(client.status, 'T', "{begin}; {statement}");
        client.query("COMMIT");
    }
    // And what does not, does not, in the same way.
    for statement in ["INSERT INTO t VALUES (1)", "SELECT nextval('s')", "SELECT * FROM t FOR UPDATE"] {
        client.query("BEGIN READ ONLY");
        assert_eq!(client.try_query(statement).expect_err(statement).sqlstate(), "25006");
        assert_eq!(client.status, 'E');
        assert_eq!(client.query("COMMIT").tags, ["ROLLBACK"]);
    }
    // One that changes its mind before its first query.
    client.query("BEGIN READ ONLY; SET TRANSACTION READ WRITE; INSERT INTO t VALUES (1); COMMIT");
    client.query("BEGIN READ ONLY");
    client.query("SET TRANSACTION READ WRITE");
    client.query("INSERT INTO t VALUES (2)");
    client.query("COMMIT");
    assert_eq!(client.value("SELECT count(*) FROM t"), "2");
}

#[test]
fn a_session_that_is_read_only_by_default_can_still_be_made_to_write() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int)");
    for on in [
        "SET default_transaction_read_only = on",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET default_transaction_isolation = 'serializable'",
    ] {
        client.query(on);
        client.query("SELECT count(*) FROM t");
        client.query("BEGIN READ WRITE; INSERT INTO t VALUES (1); COMMIT");
        client.query("RESET ALL");
        client.query("INSERT INTO t VALUES (1)");
    }
    assert_eq!(client.value("SELECT count(*) FROM t"), "6");
    client.query("SET default_transaction_read_only = on");
    assert_eq!(client.try_query("INSERT INTO t VALUES (1)").expect_err("read-only").sqlstate(), "25006");
}

// Statements that are not what they seem.

#[test]
fn what_writes_in_disguise_goes_to_the_primary() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query(
        "CREATE TABLE t (i int); INSERT INTO t VALUES (1); CREATE TABLE child (i int) INHERITS (t);
         CREATE SEQUENCE s;
         CREATE FUNCTION put(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES ($1) RETURNING i';
         CREATE FUNCTION put_later(int) RETURNS int LANGUAGE plpgsql AS
             'BEGIN PERFORM put($1); RETURN $1; END';
         CREATE FUNCTION \"Put It\"(int) RETURNS int LANGUAGE sql AS 'SELECT put($1)';
         CREATE PROCEDURE go() LANGUAGE sql AS 'INSERT INTO t VALUES (0)';
         CREATE SCHEMA elsewhere;
         CREATE FUNCTION elsewhere.lower(text) RETURNS int LANGUAGE sql AS 'SELECT put(1)'",
    );
    cluster.settle();
    for statement in [
        "SELECT * FROM t FOR UPDATE",
        "SELECT * FROM t FOR NO KEY UPDATE OF t SKIP LOCKED",
        "SELECT * FROM t FOR SHARE",
        "SELECT * FROM t FOR KEY SHARE NOWAIT",
        "select*from t for\n-- a comment\nupdate",
        "SELECT * FROM t FOR/* and /* nested */ */UPDATE",
        "SELECT * FROM (SELECT * FROM t FOR UPDATE) AS inner_one",
        "SELECT (SELECT i FROM t LIMIT 1 FOR UPDATE)",
        "WITH w AS (SELECT * FROM t FOR UPDATE) SELECT * FROM w",
        "(SELECT * FROM t FOR UPDATE)",
        "((SELECT 1))",
        "(WITH w AS (INSERT INTO t VALUES (2) RETURNING i) SELECT * FROM w)",
        "WITH w AS (INSERT INTO t VALUES (2) RETURNING i) SELECT * FROM w",
        "WITH w AS MATERIALIZED (DELETE FROM t WHERE false RETURNING i) TABLE w",
        "WITH RECURSIVE w(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM w WHERE n < 3), \
         v AS (UPDATE t SET i = 3 RETURNING i) SELECT * FROM w",
        "WITH w AS (SELECT 1) INSERT INTO t SELECT * FROM w",
        "WITH w AS (SELECT 1) DELETE FROM t WHERE i IN (SELECT * FROM w)",
        "SELECT 1 AS i INTO made_1",
        "SELECT 1 AS i INTO TEMP made_2",
        "SELECT DISTINCT i /* INTO */ INTO UNLOGGED made_3 FROM t",
        "WITH w AS (SELECT 1 AS i) SELECT i INTO made_4 FROM w",
        "CREATE TABLE made_5 AS SELECT 1",
        "SELECT nextval('s')",
        "SELECT pg_catalog.nextval('s')",
        "SELECT \"nextval\"('s')",
        "SELECT setval('s', 5)",
        "SELECT U&\"\\006eextval\"('s')",
        "SELECT NEXTVAL /* far away */ ('s')",
        "SELECT put(4)",
        "SELECT put_later(4)",
        "SELECT \"Put It\"(4)",
        "SELECT 'it''s', put(4)",
        "SELECT E'it\\'s', put(4)",
        "SELECT $$ -- $$, put(4)",
        "SELECT $a$ $$ /* $a$, put(4)",
        "SELECT '--', put(4)",
        "SELECT 1 /* ' */, put(4)",
        "SELECT * FROM put(4)",
        "SELECT elsewhere.lower('a')",
        "VALUES (put(5))",
        "SELECT count(*) FILTER (WHERE put(5) > 0) FROM t",
        "EXPLAIN ANALYZE INSERT INTO t VALUES (6)",
        "EXPLAIN (COSTS OFF, ANALYZE) UPDATE t SET i = 7",
        "EXPLAIN (ANALYZE TRUE) SELECT put(8)",
        "EXPLAIN ANALYZE CREATE TABLE made_6 AS SELECT 1",
        "EXPLAIN UPDATE t SET i = 7",
        "SELECT 1; INSERT INTO t VALUES (9)",
        "SELECT 1; SELECT put(9)",
        ";;SELECT 1;;UPDATE t SET i = 9",
        "SELECT ';' ; DELETE FROM t WHERE i = 10",
        "SHOW search_path; INSERT INTO t VALUES (11)",
        "CALL go()",
        "DO 'BEGIN PERFORM put(12); END'",
        "LOCK TABLE t IN SHARE MODE; SELECT 1",
        "SELECT pg_notify('a', 'b')",
        "NOTIFY a, 'b'",
        "SELECT txid_current()",
        "SELECT pg_current_xact_id()",
        "SELECT pg_current_wal_lsn()",
        "SELECT lo_create(0)",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_export_snapshot()",
        "SELECT pg_create_restore_point('here')",
        "SELECT query_to_xml('SELECT put(13)', true, true, '')",
        "COPY (INSERT INTO t VALUES (14) RETURNING i) TO STDOUT",
        "COPY (SELECT put(14)) TO STDOUT",
        "PREPARE p AS INSERT INTO t VALUES (15)",
        "EXECUTE p",
        "EXPLAIN ANALYZE EXECUTE p",
        "DEALLOCATE p",
        "TRUNCATE child",
        "ANALYZE t",
        "VACUUM t",
        "CHECKPOINT",
        "COMMENT ON TABLE t IS 'x'",
        "REFRESH MATERIALIZED VIEW made_7",
        "CREATE TEMP TABLE made_8 (i int)",
        "SELECT * FROM made_8",
        "INSERT INTO made_8 VALUES (1)",
        "DROP TABLE made_8",
        "DISCARD ALL",
        "SELECT * FROM t TABLESAMPLE SYSTEM (100) FOR UPDATE",
        "TABLE t",
    ] {
        if statement.starts_with("REFRESH") {
            client.query("CREATE MATERIALIZED VIEW made_7 AS SELECT 1");
        }
        client.try_query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert_eq!(client.status, 'I', "{statement}");
    }
    // A fresh session for each, by the extended protocol, where a statement is known by its Parse.
    for statement in [
        "SELECT * FROM t FOR UPDATE",
        "SELECT nextval('s')",
        "SELECT put($1::int)",
        "WITH w AS (INSERT INTO t VALUES ($1::int) RETURNING i) SELECT * FROM w",
        "EXPLAIN ANALYZE INSERT INTO t VALUES ($1::int)",
        "INSERT INTO t VALUES ($1::int) RETURNING i",
    ] {
        let values: &[Option<&str>] = if statement.contains("$1") { &[Some("16")] } else { &[] };
        let mut client = proxy.client(database.name());
        client.prepared(statement, values).unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    // The second was a temporary one, which DISCARD ALL has dropped.
    for table in [1, 3, 4, 5, 6] {
        assert_eq!(client.value(&format!("SELECT count(*) FROM made_{table}")), "1");
    }
    let copied = client.copy_in("COPY t FROM STDIN", b"17\n18\n").expect("COPY FROM");
    assert_eq!(copied.tags, ["COPY 2"]);
    client.copy_in("copy /* to */ t (i) from stdin (format csv)", b"19\n").expect("COPY FROM");
}

#[test]
fn a_string_means_what_the_session_says() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query("CREATE SEQUENCE s; CREATE TABLE t (i int)");
    // With it off, a backslash escapes the quote that follows (manual, section 4.1.2.2).
    client.query("SET standard_conforming_strings = off; SET escape_string_warning = off");
    client.query("SELECT 'a\\', nextval(''s''), ''b', nextval('s')");
    client.query("SELECT 'a\\'' , nextval('s')");
    client.query("SET standard_conforming_strings = on");
    client.query("SELECT 'a\\', nextval('s')");
    // The parser's own words come in any case, and in any script's spaces.
    client.query("SELECT\u{a0}1 FROM t FOR UPDATE".replace('\u{a0}', "\t\u{c}\r\n").as_str());
}

#[test]
fn what_hides_behind_a_view_an_operator_or_a_cast_still_works() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query(
        "CREATE TABLE t (i int); CREATE SEQUENCE s;
         CREATE FUNCTION put(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES ($1) RETURNING i';
         CREATE FUNCTION put(int, int) RETURNS int LANGUAGE sql AS 'SELECT put($1)';
         CREATE OPERATOR <~~> (leftarg = int, rightarg = int, function = put);
         CREATE VIEW counting AS SELECT nextval('s') AS n;
         CREATE VIEW putting AS SELECT put(1) AS n; CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS i",
    );
    cluster.settle();
    for statement in [
        "SELECT n FROM counting",
        "SELECT n FROM putting",
        "TABLE counting",
        "SELECT 1 <~~> 2",
        "SELECT count(*) FROM unlogged",
    ] {
        // A session that has written nothing, so that no floor of its own keeps it from the replicas.
        for _ in 0..3 {
            let mut fresh = proxy.client(database.name());
            fresh.try_query(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
            fresh.prepared(statement, &[]).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }
    // Where another session wrote, only the primary is sure to know by now.
    let rows = cluster.node(0).sql_in(database.name(), "SELECT i FROM t").expect("the rows");
    assert_eq!(rows.len(), 12);
}

#[test]
fn what_a_standby_refused_once_goes_to_the_primary_at_once_until_something_is_defined() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query("CREATE SEQUENCE s; CREATE VIEW counting AS SELECT nextval('s') AS n");
    cluster.settle();
    let counts = || {
        let shown = proxy.admin("SHOW CORRECTIONS");
        ["refused", "foreseen", "known"]
            .map(|column| shown.lookup("reason", "write", column).parse::<u64>().expect("a number"))
    };
    // Sessions that have written nothing, so that no floor of their own keeps them from the replicas.
    let fresh = || proxy.client(database.name());
    fresh().query("SELECT n FROM counting WHERE n > 0");
    assert_eq!(counts(), [1, 0, 1]);
    fresh().query("select N from counting /* again */ where n > 1000 - 999");
    assert_eq!(counts(), [2, 0, 2]);
    for (count, text) in
        ["SELECT n FROM counting WHERE n > -1", "select n\nfrom COUNTING where n > 7"].iter().enumerate()
    {
        // A sign is no part of a constant.
        let expected = if count == 0 { [3, 0, 3] } else { [3, 1, 3] };
        fresh().query(text);
        assert_eq!(counts(), expected, "{text}");
    }
    fresh().prepared("SELECT n FROM counting WHERE n > $1", &[Some("0")]).expect("the primary counts");
    let [refused, foreseen, known] = counts();
    assert!(refused == 3 && foreseen > 1 && known == 3, "{:?}", counts());
    // What does not write stays with the replicas, also beside what is known.
    assert_ne!(fresh().value(READ), "node1");
    client.query("CREATE OR REPLACE VIEW counting AS SELECT 5::bigint AS n");
    eventually(|| counts() == [3, foreseen, 0], "nothing is known any more");
    cluster.settle();
    let before = Counts::of(&proxy);
    fresh().query("SELECT n FROM counting WHERE n > 0");
    let after = Counts::of(&proxy);
    assert_eq!(after.reads[1..].iter().sum::<u64>(), before.reads[1..].iter().sum::<u64>() + 1);
    assert_eq!(counts(), [3, foreseen, 0]);
}

#[test]
fn what_one_shard_learns_of_standbys_the_others_know() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster).set("shards.count", 3));
    proxy.client(database.name()).query("CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS i");
    cluster.settle();
    let counts = || {
        let shown = proxy.admin("SHOW CORRECTIONS");
        ["refused", "foreseen", "known"]
            .map(|column| shown.lookup("reason", "unsupported", column).parse::<u64>().expect("a number"))
    };
    proxy.client(database.name()).query("SELECT count(*) FROM unlogged");
    eventually(|| counts() == [1, 0, 3], "all shards know");
    for _ in 0..20 {
        proxy.client(database.name()).query("SELECT count(*) FROM unlogged");
    }
    assert_eq!(counts(), [1, 20, 3]);
}

#[test]
fn what_a_standby_refuses_a_serializable_session_is_no_write_for_others() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let name = database.name();
    let isolation = |level: &str| {
        let text = format!("ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{level}'");
        proxy.client(name).query(&text);
        cluster.settle();
    };
    isolation("serializable");
    for _ in 0..2 {
        assert_eq!(proxy.client(name).value(READ), "node1");
    }
    let shown = proxy.admin("SHOW CORRECTIONS");
    assert_eq!(shown.lookup("reason", "serializable", "refused"), "2");
    assert_eq!((shown.sum("refused"), shown.sum("foreseen"), shown.sum("known")), (2, 0, 0));
    isolation("read committed");
    assert_ne!(proxy.client(name).value(READ), "node1");
}

#[test]
fn a_session_pinned_on_a_replica_can_still_write() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int)");
    cluster.settle();
    for extended in [false, true] {
        let mut fresh = proxy.client(database.name());
        fresh.query("BEGIN READ ONLY");
        fresh.query("SELECT pg_advisory_lock(5), set_config('my.own', 'x', false)");
        fresh.query("COMMIT");
        match extended {
            true => drop(fresh.prepared("INSERT INTO t VALUES (1)", &[]).unwrap()),
            false => drop(fresh.query("INSERT INTO t VALUES (1)")),
        }
        fresh.query("BEGIN; INSERT INTO t VALUES (2); COMMIT");
    }
    cluster.settle();
    assert_eq!(client.value("SELECT count(*) FROM t"), "4");
}

#[test]
fn a_pipeline_that_writes_later_is_not_begun_on_a_replica() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut setup = proxy.client(database.name());
    setup.query("CREATE TABLE t (i int)");
    cluster.settle();
    for flush in [false, true] {
        let mut client = proxy.client(database.name());
        client.parse("", "SELECT count(*) FROM t", &[]).bind("", "", &[]).execute("", 0);
        if flush {
            client.flush();
            while client.recv_message().tag != b'C' {}
        }
        client.parse("", "INSERT INTO t VALUES (1)", &[]).bind("", "", &[]).execute("", 0).sync();
        client.expect_tags(if flush { "12CZ" } else { "12DC12CZ" });
    }
    cluster.settle();
    assert_eq!(setup.value("SELECT count(*) FROM t"), "2");
    // Two pipelines in one go may be served by two nodes, but in order.
    let mut client = proxy.client(database.name());
    client.parse("", READ, &[]).bind("", "", &[]).execute("", 0).write_sync();
    client.parse("", "INSERT INTO t VALUES (1)", &[]).bind("", "", &[]).execute("", 0).write_sync();
    client.parse("", "SELECT count(*) FROM t", &[]).bind("", "", &[]).execute("", 0).sync();
    client.expect_tags("12DCZ");
    client.expect_tags("12CZ");
    let last = client.expect_tags("12DCZ");
    assert_eq!(last[2].row(), [Some("3".to_owned())]);
}

#[test]
fn reads_of_every_form_reach_the_replicas() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster));
    let mut client = proxy.client(database.name());
    for statement in [
        "SELECT node FROM here",
        "select node from here;",
        "  \n\t/* for update */ SELECT node FROM here -- for update",
        "TABLE here",
        "(SELECT node FROM here)",
        "WITH w AS (SELECT node FROM here) SELECT node FROM w",
        "SELECT node FROM here WHERE node <> 'FOR UPDATE; INSERT INTO t'",
        "SELECT node AS \"update\" FROM here",
        "SELECT node FROM here WHERE $$insert$$ <> 'a' ORDER BY 1 LIMIT 1 OFFSET 0",
        "SELECT max(node) FROM here GROUP BY lower(node) HAVING count(*) > 0",
        "SELECT node FROM here UNION SELECT node FROM here",
        "SELECT coalesce(node, upper('x')) FROM here",
    ] {
        let node = client.value(statement);
        assert!(["node2", "node3"].contains(&node.as_str()), "{statement} was answered by {node}");
        let node = client.prepared(statement, &[]).expect(statement).value().to_owned();
        assert!(["node2", "node3"].contains(&node.as_str()), "{statement} was answered by {node}");
    }
    let copied = client.copy_out("COPY (SELECT node FROM here) TO STDOUT").expect("COPY TO");
    assert!(matches!(copied.as_slice(), b"node1\n" | b"node2\n" | b"node3\n"));
}

// What a session sees of its own writes.

#[test]
fn a_session_always_sees_what_it_wrote() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = with_replicas(proxy(cluster).set("shards.count", 2));
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int PRIMARY KEY)");
    client.query(
        "CREATE FUNCTION put(int) RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES ($1) RETURNING i'",
    );
    for key in 0..600 {
        match key % 6 {
            0 => drop(client.query(&format!("INSERT INTO t VALUES ({key})"))),
            1 => {
                let key = key.to_string();
                client.prepared("INSERT INTO t VALUES ($1::int)", &[Some(&key)]).expect("an insert");
            }
            2 => {
                client.query("BEGIN");
                client.query(&format!("INSERT INTO t VALUES ({key})"));
                client.query("COMMIT");
            }
            3 => drop(client.query(&format!("SELECT put({key})"))),
            4 => {
                client.copy_in("COPY t FROM STDIN", format!("{key}\n").as_bytes()).expect("a copy");
            }
            _ => drop(client.query(&format!("WITH w AS (INSERT INTO t VALUES ({key})) SELECT 1"))),
        }
        let seen = client.value(&format!("SELECT count(*) FROM t WHERE i = {key}"));
        assert_eq!(seen, "1", "key {key} is not there for who wrote it");
    }
}

#[test]
fn a_replica_that_does_not_replay_is_not_asked_by_who_wrote() {
    let cluster = cluster().replicas(2).setting("max_prepared_transactions", "5").start();
    let database = here(&cluster);
    let name = database.name();
    cluster.node(0).sql_in(name, "CREATE TABLE t (i int)").expect("a table");
    cluster.settle();
    let session = with_replicas(proxy(&cluster));
    let off = with_replicas(proxy(&cluster).set("route.causal", "off"));
    let global = with_replicas(proxy(&cluster).set("route.causal", "global").set("shards.count", 2));
    let mut bystander = session.client(name);
    let mut written = 0;
    for index in [1, 2] {
        pause(&cluster, index);
        let mut client = session.client(name);
        for write in [
            "INSERT INTO t VALUES (1)",
            "BEGIN; INSERT INTO t VALUES (1); COMMIT",
            "DO 'BEGIN INSERT INTO t VALUES (1); END'",
            "BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'one'",
        ] {
            client.query(write);
            if write.contains("PREPARE") {
                client.query("COMMIT PREPARED 'one'");
            }
            written += 1;
            for _ in 0..8 {
                let seen: usize = client.value("SELECT count(*) FROM t").parse().expect("a number");
                assert_eq!(seen, written, "{write}: with {index} replicas paused");
            }
        }
    }
    // Both replicas stand still: who has not written reads there what was, as asked for.
    let mut writer = off.client(name);
    writer.query("INSERT INTO t VALUES (2)");
    for _ in 0..8 {
        assert_eq!(writer.value("SELECT count(*) FROM t WHERE i = 2"), "0", "causal = off waits for nobody");
    }
    assert!(read_from(&mut bystander, 10).keys().all(|node| node != "node1"));
    let mut one = global.client(name);
    for key in 10..20 {
        one.query(&format!("INSERT INTO t VALUES ({key})"));
        let mut other = global.client(name);
        let seen = other.value(&format!("SELECT count(*) FROM t WHERE i = {key}"));
        assert_eq!(seen, "1", "causal = global: another session does not see key {key}");
    }
    for index in [1, 2] {
        cluster.run(index, "SELECT pg_wal_replay_resume()");
    }
    let mut client = session.client(name);
    client.query("INSERT INTO t VALUES (30)");
    eventually(
        || read_from(&mut client, 5).keys().all(|node| node != "node1"),
        "the replicas have replayed it and take the reads again",
    );
}

// Words of this file, and of others.

/// A database with a view `here` that tells the name of the node it is read from.
///
/// To a lexer a read of it is as plain as can be, which no call of a function would be.
#[track_caller]
pub fn here(cluster: &Cluster) -> Database<'_> {
    let database = cluster.database();
    let view =
        "CREATE VIEW here AS SELECT current_setting('cluster_name') AS node; GRANT SELECT ON here TO public";
    cluster.node(0).sql_in(database.name(), view).unwrap_or_else(|error| panic!("{view}: {error}"));
    cluster.settle();
    database
}

/// What `here` holds on node `index`.
pub fn node_name(index: usize) -> String {
    format!("node{}", index + 1)
}

/// How many of `count` reads each node answered.
#[track_caller]
pub fn read_from(client: &mut Client, count: usize) -> BTreeMap<String, usize> {
    let mut readers = BTreeMap::new();
    for _ in 0..count {
        *readers.entry(client.value(READ)).or_insert(0) += 1;
    }
    readers
}

/// Stops a replica from replaying, and waits until it has.
#[track_caller]
pub fn pause(cluster: &Cluster, index: usize) {
    cluster.run(index, "SELECT pg_wal_replay_pause()");
    // It looks for such wishes when there is something to replay.
    cluster.run(0, "SELECT pg_switch_wal()");
    eventually(
        || cluster.value(index, "SELECT pg_get_wal_replay_pause_state()") == "paused",
        "the replay is paused",
    );
}

/// Starts it and waits until it knows a primary and two replicas.
#[track_caller]
fn with_replicas(builder: ProxyBuilder<'_>) -> Proxy<'_> {
    let proxy = builder.start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    proxy
}

/// The reads and writes of each node so far.
#[derive(Debug)]
struct Counts {
    reads: Vec<u64>,
    writes: Vec<u64>,
}

impl Counts {
    fn of(proxy: &Proxy) -> Self {
        let nodes = proxy.admin("SHOW NODES");
        let numbers = |column: &str| {
            nodes.column(column).iter().map(|value| value.parse().expect("a number")).collect()
        };
        Self { reads: numbers("reads"), writes: numbers("writes") }
    }
}

pub const READ: &str = "SELECT node FROM here";
