//! Prepared statements, by the protocol and by SQL, of many clients on few backends.

use crate::harness::{Client, Message, ProxyBuilder, proxy, shared};

#[test]
fn a_session_sees_its_own_prepared_statements_and_no_others() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let login = |login: crate::harness::Login| login.database(database.name()).connect();
    let mut other = login(proxy.login());
    other.parse("theirs", "SELECT 'of another session'", &[]).sync();
    other.until_ready();
    let asked = "SELECT name, statement, parameter_types::text, from_sql FROM pg_prepared_statements \
                 WHERE name <> 'asking' ORDER BY name";
    for mut client in [login(shared().login(0)), login(proxy.login())] {
        assert_eq!(client.query(asked).rows.len(), 0);
        client.parse("it's \"mine\"", "SELECT $1::int", &[]).parse("b", "SELECT 2", &[]).sync();
        client.until_ready();
        client.query("PREPARE by_sql AS SELECT 3");
        client.parse("asking", asked, &[]).sync();
        client.until_ready();
        client.bind("", "asking", &[]).execute("", 0).sync();
        let messages = client.expect_tags("2DDDCZ");
        let rows: Vec<Vec<String>> =
            messages[1..4].iter().map(|row| row.row().into_iter().flatten().collect()).collect();
        assert_eq!(
            rows,
            [
                ["b", "SELECT 2", "{}", "f"],
                ["by_sql", "PREPARE by_sql AS SELECT 3", "{}", "t"],
                ["it's \"mine\"", "SELECT $1::int", "{integer}", "f"],
            ]
        );
        assert_eq!(client.query(asked).rows.len(), 3);
        let counted = "SELECT count(*) FROM pg_catalog.pg_prepared_statements p JOIN pg_prepared_statements USING (name)";
        assert_eq!(client.value(counted), "4");
        client.query("DEALLOCATE ALL");
        assert_eq!(client.query(asked).rows.len(), 0);
    }
}

#[test]
fn names_belong_to_their_clients_and_statements_follow_them() {
    let proxy = on_primary(2).start();
    let mut clients: Vec<Client> = (0..8).map(|_| proxy.login().connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        // The same name for another text each, the same text under another name each, and one that all share.
        let text = format!("SELECT {number} + $1::int");
        client.parse("own", &text, &[]).parse(&format!("name{number}"), "SELECT $1::text", &[]).sync();
        client.expect_tags("11Z");
        client.parse("both", "SELECT 'both'", &[]).sync();
        client.expect_tags("1Z");
    }
    for round in 0..10 {
        for (number, client) in clients.iter_mut().enumerate() {
            let value = round.to_string();
            client.bind("", "own", &[Some(&value)]).execute("", 0);
            client.bind("", &format!("name{number}"), &[Some(&value)]).execute("", 0);
            client.bind("", "both", &[]).execute("", 0).sync();
        }
        for (number, client) in clients.iter_mut().enumerate() {
            let answer = client.expect_tags("2DC2DC2DCZ");
            assert_eq!(value(&answer, 0), (number + round).to_string());
            assert_eq!(value(&answer, 1), round.to_string());
            assert_eq!(value(&answer, 2), "both");
        }
    }
    // Described as they were parsed, wherever.
    for client in &mut clients {
        client.describe_statement("own").sync();
        let answer = client.expect_tags("tTZ");
        assert_eq!(answer[0].body, [0, 1, 0, 0, 0, 23], "one int4");
    }
}

#[test]
fn statements_are_told_apart_by_text_types_and_surroundings() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    one.query("CREATE TABLE t AS SELECT 'public' AS v; CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 's' AS v");
    // The same text with other types.
    one.parse("p", "SELECT pg_typeof($1), $1", &[23]).describe_statement("p").sync();
    two.parse("p", "SELECT pg_typeof($1), $1", &[25]).describe_statement("p").sync();
    assert_eq!(one.expect_tags("1tTZ")[1].body, [0, 1, 0, 0, 0, 23]);
    assert_eq!(two.expect_tags("1tTZ")[1].body, [0, 1, 0, 0, 0, 25]);
    for _ in 0..2 {
        for (client, expected) in [(&mut one, "integer"), (&mut two, "text")] {
            client.bind("", "p", &[Some("1")]).execute("", 0).sync();
            assert_eq!(value(&client.expect_tags("2DCZ"), 0), expected);
        }
    }
    // The same text with another search_path.
    two.query("SET search_path = s");
    for client in [&mut one, &mut two] {
        client.parse("q", "SELECT v FROM t", &[]).sync();
        client.expect_tags("1Z");
    }
    for _ in 0..2 {
        for (client, expected) in [(&mut one, "public"), (&mut two, "s")] {
            client.bind("", "q", &[]).execute("", 0).sync();
            assert_eq!(value(&client.expect_tags("2DCZ"), 0), expected);
        }
    }
    // Texts that differ in nothing but their last letter, of 100 kB.
    let long = format!("SELECT '{}'", "x".repeat(100_000));
    one.parse("long", &format!("{long}, 1"), &[]).sync();
    two.parse("long", &format!("{long}, 2"), &[]).sync();
    for (client, last) in [(&mut one, "1"), (&mut two, "2")] {
        client.expect_tags("1Z");
        client.bind("", "long", &[]).execute("", 0).sync();
        assert_eq!(client.expect_tags("2DCZ")[1].row()[1].as_deref(), Some(last));
    }
}

#[test]
fn the_unnamed_statement_outlives_its_batch() {
    let proxy = on_primary(1).start();
    let (mut one, mut two) = (proxy.login().connect(), proxy.login().connect());
    one.parse("", "SELECT 'one', $1::int", &[]).describe_statement("").sync();
    one.expect_tags("1tTZ");
    two.parse("", "SELECT 'two', $1::int", &[]).sync();
    two.expect_tags("1Z");
    for _ in 0..3 {
        for (client, expected) in [(&mut one, "one"), (&mut two, "two")] {
            client.bind("", "", &[Some("1")]).execute("", 0).sync();
            assert_eq!(value(&client.expect_tags("2DCZ"), 0), expected);
        }
    }
    // It is replaced without a word, also by a statement that cannot be parsed, and a simple query ends it.
    one.parse("", "SELECT 'three'", &[])
        .parse("", "SELECT 'four'", &[])
        .bind("", "", &[])
        .execute("", 0)
        .sync();
    assert_eq!(value(&one.expect_tags("112DCZ"), 0), "four");
    one.query("SELECT 1");
    one.bind("", "", &[]).sync();
    one.expect_sqlstate("26000");
    one.expect_tags("Z");
    one.parse("", "SELECT 'five'", &[]).sync();
    one.expect_tags("1Z");
    one.parse("", "SELEKT", &[]).sync();
    one.expect_sqlstate("42601");
    one.expect_tags("Z");
    one.bind("", "", &[]).sync();
    one.expect_sqlstate("26000");
    one.expect_tags("Z");
    one.parse("", "SELECT 'six'", &[]).close_statement("").bind("", "", &[]).sync();
    one.expect_sqlstate("26000");
    one.expect_tags("Z");
    // Nobody else's was touched.
    two.bind("", "", &[Some("1")]).execute("", 0).sync();
    assert_eq!(value(&two.expect_tags("2DCZ"), 0), "two");
}

#[test]
fn names_are_taken_freed_and_unknown_as_in_the_server() {
    let proxy = on_primary(1).start();
    let mut other = proxy.login().connect();
    let mut client = proxy.login().connect();
    for sql in ["SELECT 1", "SELECT 2"] {
        client.parse("p", "SELECT 1", &[]).sync();
        client.expect_tags("1Z");
        // Taken, whether for the same text or for another.
        client.parse("p", sql, &[]).sync();
        client.expect_sqlstate("42P05");
        client.expect_tags("Z");
        client.bind("", "p", &[]).execute("", 0).sync();
        assert_eq!(value(&client.expect_tags("2DCZ"), 0), "1");
        client.close_statement("p").close_statement("p").close_statement("never").sync();
        client.expect_tags("333Z");
        client.describe_statement("p").sync();
        client.expect_sqlstate("26000");
        client.expect_tags("Z");
        other.query("SELECT 1");
    }
    // A Parse that failed leaves nothing, and the name can be used at once.
    client.parse("p", "SELECT * FROM no_such_table", &[]).bind("", "p", &[]).execute("", 0).sync();
    client.expect_sqlstate("42P01");
    client.expect_tags("Z");
    client.bind("", "p", &[]).sync();
    client.expect_sqlstate("26000");
    client.expect_tags("Z");
    client.parse("p", "SELECT 3", &[]).bind("", "p", &[]).execute("", 0).sync();
    assert_eq!(value(&client.expect_tags("12DCZ"), 0), "3");
    // Several in one batch, of which the second fails: the first is there, the third is not.
    client.parse("a", "SELECT 'a'", &[]).parse("b", "SELEKT", &[]).parse("c", "SELECT 'c'", &[]).sync();
    client.expect_sqlstate("42601");
    client.expect_tags("Z");
    other.query("SELECT 1");
    client.bind("", "a", &[]).execute("", 0).sync();
    assert_eq!(value(&client.expect_tags("2DCZ"), 0), "a");
    client.parse("c", "SELECT 'another c'", &[]).bind("", "c", &[]).execute("", 0).sync();
    assert_eq!(value(&client.expect_tags("12DCZ"), 0), "another c");
    // Not parsed in a failed transaction, and not forgotten with one.
    client.query("BEGIN");
    client.parse("d", "SELECT 'd'", &[]).sync();
    client.expect_tags("1Z");
    client.try_query("SELECT 1/0").unwrap_err();
    client.parse("e", "SELECT 'e'", &[]).sync();
    client.expect_sqlstate("25P02");
    client.expect_tags("Z");
    client.query("ROLLBACK");
    other.query("SELECT 1");
    client.bind("", "d", &[]).execute("", 0).sync();
    assert_eq!(value(&client.expect_tags("2DCZ"), 0), "d");
    client.bind("", "e", &[]).sync();
    client.expect_sqlstate("26000");
    client.expect_tags("Z");
    // Someone else's name is unknown here.
    other.parse("theirs", "SELECT 1", &[]).sync();
    other.expect_tags("1Z");
    client.bind("", "theirs", &[]).sync();
    client.expect_sqlstate("26000");
    client.expect_tags("Z");
}

#[test]
fn deallocating_reaches_what_the_protocol_has_prepared() {
    let proxy = on_primary(1).start();
    let (mut client, mut other) = (proxy.login().connect(), proxy.login().connect());
    other.parse("p", "SELECT 'untouched'", &[]).sync();
    other.expect_tags("1Z");
    for free in [
        "DEALLOCATE p",
        "DEALLOCATE PREPARE \"p\"",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "deallocate prepare all",
    ] {
        for extended in [false, true] {
            client.parse("p", "SELECT 'p'", &[]).bind("", "p", &[]).execute("", 0).sync();
            assert_eq!(value(&client.expect_tags("12DCZ"), 0), "p");
            match extended {
                true => drop(client.prepared(free, &[]).unwrap()),
                false => drop(client.query(free)),
            }
            client.bind("", "p", &[]).sync();
            client.expect_sqlstate("26000");
            client.expect_tags("Z");
            other.bind("", "p", &[]).execute("", 0).sync();
            assert_eq!(value(&other.expect_tags("2DCZ"), 0), "untouched");
        }
    }
    // All of it in one segment, as drivers do.
    client.parse("p", "SELECT 1", &[]).sync();
    client.expect_tags("1Z");
    for number in 0..3 {
        client.write_query("DEALLOCATE ALL");
        client.parse("p", &format!("SELECT {number}"), &[]).bind("", "p", &[]).execute("", 0).write_sync();
    }
    client.send_out();
    for number in 0..3 {
        client.expect_tags("CZ");
        assert_eq!(value(&client.expect_tags("12DCZ"), 0), number.to_string());
    }
    client.parse("", "DEALLOCATE ALL", &[]).bind("", "", &[]).execute("", 0);
    client.parse("p", "SELECT 'again'", &[]).bind("", "p", &[]).execute("", 0).sync();
    assert_eq!(value(&client.expect_tags("12C12DCZ"), 0), "again");
    client.expect_refused("DEALLOCATE never", "26000");
    other.bind("", "p", &[]).execute("", 0).sync();
    assert_eq!(value(&other.expect_tags("2DCZ"), 0), "untouched");
}

#[test]
fn statements_by_sql_and_by_protocol_share_their_names() {
    let proxy = on_primary(3).start();
    let (mut client, mut other) = (proxy.login().connect(), proxy.login().connect());
    client.query("PREPARE p (int) AS SELECT $1 * 2");
    other.query("PREPARE p (int) AS SELECT $1 * 3");
    for _ in 0..3 {
        assert_eq!(client.value("EXECUTE p(2)"), "4");
        assert_eq!(other.value("EXECUTE p(2)"), "6");
        assert_eq!(proxy.login().connect().expect_refused("EXECUTE p(2)", "26000").severity(), "ERROR");
    }
    client.expect_refused("PREPARE p AS SELECT 1", "42P05");
    client.bind("", "p", &[Some("5")]).execute("", 0).sync();
    assert_eq!(value(&client.expect_tags("2DCZ"), 0), "10");
    client.parse("p", "SELECT 1", &[]).sync();
    client.expect_sqlstate("42P05");
    client.expect_tags("Z");
    client.query("DEALLOCATE p");
    client.expect_refused("EXECUTE p(2)", "26000");
    client.parse("q", "SELECT $1::int * 7", &[]).sync();
    client.expect_tags("1Z");
    assert_eq!(client.value("EXECUTE q(2)"), "14");
    assert_eq!(other.value("EXECUTE p(2)"), "6");
}

#[test]
fn few_statements_are_kept_and_all_work() {
    let database = shared().database();
    let proxy = on_primary(1).set("pool.statements_max", 3).start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    let count = "SELECT count(*) FROM pg_prepared_statements";
    for number in 0..8 {
        one.parse(&format!("s{number}"), &format!("SELECT 'one', {number}"), &[]).sync();
        one.expect_tags("1Z");
        two.parse(&format!("s{number}"), &format!("SELECT 'two', {number}"), &[]).sync();
        two.expect_tags("1Z");
    }
    for round in 0..24 {
        // In an order that meets those in the cache and those that are not.
        let number = round * 5 % 8;
        for (client, who) in [(&mut one, "one"), (&mut two, "two")] {
            client.bind("", &format!("s{number}"), &[]).describe_portal("").execute("", 0).sync();
            let answer = client.expect_tags("2TDCZ");
            assert_eq!(answer[2].row(), [Some(who.to_owned()), Some(number.to_string())]);
        }
        assert!(one.value(count).parse::<u32>().unwrap() <= 3);
    }
    // Many more in one batch than are kept, also with an error among them.
    for number in 0..8 {
        one.bind("", &format!("s{number}"), &[]).execute("", 0);
    }
    one.write_sync();
    for number in 0..8 {
        one.bind("", &format!("s{number}"), &[]).execute("", 0);
        if number == 4 {
            one.bind("", "never", &[]);
        }
    }
    one.write_sync();
    for number in (0..8).rev() {
        one.close_statement(&format!("s{number}"));
        one.parse(&format!("s{number}"), &format!("SELECT 'new', {number}"), &[]);
        one.bind("", &format!("s{number}"), &[]).execute("", 0).write_sync();
    }
    one.send_out();
    let answer = one.expect_tags("2DC2DC2DC2DC2DC2DC2DC2DCZ");
    assert_eq!(value(&answer, 7), "one");
    one.expect_tags("2DC2DC2DC2DC2DCEZ");
    for _ in 0..8 {
        assert_eq!(value(&one.expect_tags("312DCZ"), 0), "new");
    }
    two.bind("", "s7", &[]).execute("", 0).sync();
    assert_eq!(value(&two.expect_tags("2DCZ"), 0), "two");
    assert!(two.value(count).parse::<u32>().unwrap() <= 3);
}

#[test]
fn errors_leave_the_cache_and_the_server_in_step() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    one.query("CREATE TABLE t (v int)");
    for round in 0..3 {
        // One knows statements that the server does not prepare: they stand behind an error.
        let sql = format!("SELECT 'text {round}'");
        one.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0);
        one.parse("late", &sql, &[]).bind("", "late", &[]).execute("", 0).close_statement("late").sync();
        one.expect_tags("1EZ");
        // Two says the same, first parsed by one; neither is confused about what is there.
        two.parse("late", &sql, &[]).bind("", "late", &[]).execute("", 0).sync();
        assert_eq!(value(&two.expect_tags("12DCZ"), 0), format!("text {round}"));
        one.parse("late", &sql, &[]).bind("", "late", &[]).execute("", 0).sync();
        assert_eq!(value(&one.expect_tags("12DCZ"), 0), format!("text {round}"));
        for client in [&mut one, &mut two] {
            client.close_statement("late").sync();
            client.expect_tags("3Z");
        }
        // A statement that must be prepared anew behind an error.
        one.parse("insert", "INSERT INTO t VALUES ($1)", &[]).sync();
        one.expect_tags("1Z");
        two.query("DEALLOCATE ALL");
        one.bind("", "insert", &[Some("x")]).execute("", 0);
        one.bind("", "insert", &[Some("1")]).execute("", 0).write_sync();
        one.bind("", "insert", &[Some("2")]).execute("", 0).sync();
        one.expect_sqlstate("22P02");
        one.expect_tags("Z");
        one.expect_tags("2CZ");
        one.close_statement("insert").sync();
        one.expect_tags("3Z");
    }
    assert_eq!(two.value("SELECT sum(v) FROM t"), "6");
}

#[test]
fn a_changed_table_is_planned_anew() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let (mut client, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    other.query("CREATE TABLE t AS SELECT 1 AS v");
    client.parse("p", "SELECT * FROM t", &[]).bind("", "p", &[]).execute("", 0).sync();
    client.expect_tags("12DCZ");
    other.query("ALTER TABLE t ADD COLUMN w text DEFAULT 'new'");
    // Outside of a transaction the statement is prepared once more, which the server alone would not do (0A000).
    client.bind("", "p", &[]).describe_portal("").execute("", 0).sync();
    let answer = client.expect_tags("2TDCZ");
    assert_eq!(answer[2].row(), [Some("1".to_owned()), Some("new".to_owned())]);
    // Inside of one it is an error, as the transaction is lost.
    client.query("BEGIN; ALTER TABLE t ADD COLUMN x int");
    client.bind("", "p", &[]).execute("", 0).sync();
    client.expect_sqlstate("0A000");
    client.expect_tags("Z");
    assert_eq!(client.status, 'E');
    client.query("ROLLBACK");
    client.bind("", "p", &[]).execute("", 0).sync();
    client.expect_tags("2DCZ");
}

#[test]
fn statements_serve_on_the_primary_and_on_replicas() {
    let database = shared().database();
    let proxy = proxy(shared()).set("pool.size", 2).start();
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t AS SELECT 5 AS v");
    client
        .parse("read", "SELECT v, $1::int FROM t", &[])
        .parse("write", "UPDATE t SET v = v + $1", &[])
        .sync();
    client.expect_tags("11Z");
    for round in 0..10 {
        client.bind("", "write", &[Some("1")]).execute("", 0).sync();
        client.expect_tags("2CZ");
        client.bind("", "read", &[Some("1")]).execute("", 0).sync();
        assert_eq!(value(&client.expect_tags("2DCZ"), 0), (6 + 2 * round).to_string());
        client.query("BEGIN");
        client
            .bind("", "write", &[Some("1")])
            .execute("", 0)
            .bind("", "read", &[Some("1")])
            .execute("", 0)
            .sync();
        assert_eq!(value(&client.expect_tags("2C2DCZ"), 0), (7 + 2 * round).to_string());
        client.query("COMMIT");
    }
}

#[test]
fn a_statement_may_have_65535_parameters() {
    // One this long may be kept where it is, at the price of a backend.
    let proxy = on_primary(2).start();
    let mut client = proxy.login().connect();
    let places: Vec<String> = (1..=65_535).map(|number| format!("(${number}::int)")).collect();
    let sql = format!("SELECT sum(v) FROM (VALUES {}) AS t (v)", places.join(","));
    let values: Vec<Option<&str>> =
        (0..65_535).map(|number| if number % 2 == 0 { Some("2") } else { None }).collect();
    for name in ["", "named"] {
        client.parse(name, &sql, &[]).sync();
        client.expect_tags("1Z");
        proxy.login().connect().query("SELECT 1");
        client.bind("", name, &values).execute("", 0).sync();
        assert_eq!(value(&client.expect_tags("2DCZ"), 0), "65536");
    }
}

/// A pgweir that takes everything to the primary, with so many backends.
fn on_primary(size: i64) -> ProxyBuilder<'static> {
    proxy(shared()).set("route.reads", "primary").set("pool.size", size)
}

/// The first value of the row at `index`.
#[track_caller]
fn value(messages: &[Message], index: usize) -> String {
    let row = messages.iter().filter(|message| message.tag == b'D').nth(index).expect("so many rows");
    row.row().swap_remove(0).expect("no NULL")
}

#[test]
fn an_unnamed_statement_of_another_session_is_not_there() {
    let proxy = proxy(shared()).set("pool.size", 1).set("route.reads", "primary").start();
    let (mut one, mut two) = (proxy.client("postgres"), proxy.client("postgres"));
    one.parse("", "SELECT 'of one'", &[]).bind("", "", &[]).execute("", 0).sync();
    one.expect_tags("12DCZ");
    // Without a Parse of its own: it must hear what the server itself would say.
    two.bind("", "", &[]).execute("", 0).sync();
    two.expect_sqlstate("26000");
    two.until_ready();
    two.describe_statement("").sync();
    two.expect_sqlstate("26000");
    two.until_ready();
    // A Parse that the server goes over leaves the one before.
    one.parse("", "SELECT 'of one'", &[]).sync();
    one.expect_tags("1Z");
    two.bind("", "nobody's", &[]).parse("", "SELECT 'of two'", &[]).sync();
    two.expect_sqlstate("26000");
    two.until_ready();
    two.bind("", "", &[]).execute("", 0).sync();
    two.expect_sqlstate("26000");
    two.until_ready();
}

#[test]
fn an_unnamed_statement_outlives_what_others_do_to_theirs() {
    let proxy = proxy(shared()).set("pool.size", 1).set("route.reads", "primary").start();
    let (mut one, mut two) = (proxy.client("postgres"), proxy.client("postgres"));
    one.parse("", "SELECT 'of one'", &[]).sync();
    one.expect_tags("1Z");
    for mine in [false, true] {
        if mine {
            two.parse("", "SELECT 'of two'", &[]).sync();
            two.expect_tags("1Z");
        }
        two.close_statement("").sync();
        two.expect_tags("3Z");
        one.bind("", "", &[]).execute("", 0).sync();
        assert_eq!(one.expect_tags("2DCZ")[1].row(), [Some("of one".to_owned())]);
    }
    two.bind("", "", &[]).execute("", 0).sync();
    two.expect_sqlstate("26000");
    two.until_ready();
}
