//! COPY in both directions, by both protocols, with all that can go wrong on either side.

use crate::harness::{Client, Message, eventually, proxy, shared};

#[test]
fn data_goes_in_and_out_by_both_protocols() {
    let database = shared().database();
    let proxy = proxy(shared()).set("pool.size", 2).start();
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (v int, w text)");
    let data: String = (0..20_000).map(|number| format!("{number}\t{number} in words\n")).collect();

    assert_eq!(client.copy_in("COPY t FROM STDIN", data.as_bytes()).unwrap().tags, ["COPY 20000"]);
    let out = client.copy_out("COPY (SELECT * FROM t ORDER BY v) TO STDOUT").unwrap();
    assert!(out == data.as_bytes(), "{} bytes out of {}", out.len(), data.len());

    // The Sync that libpq sends right behind the Execute is ignored while data is awaited.
    client.parse("", "COPY t FROM STDIN", &[]).bind("", "", &[]).describe_portal("").execute("", 0).sync();
    expect(&mut client, "12nG");
    client
        .write(b'd', b"1\tone\n2\ttwo\n")
        .write(b'd', b"3\tthr")
        .write(b'd', b"ee\n")
        .write(b'c', b"")
        .sync();
    client.expect_tags("CZ");
    client.parse("out", "COPY (SELECT 1, 2) TO STDOUT", &[]).bind("", "out", &[]).execute("", 0);
    client.bind("", "out", &[]).execute("", 0).sync();
    client.expect_tags("12HdcC2HdcCZ");
    assert_eq!(client.value("SELECT count(*) FROM t"), "20003");

    // Without any data, and with all of it in the segment of its query.
    assert_eq!(client.copy_in("COPY t FROM STDIN", b"").unwrap().tags, ["COPY 0"]);
    assert_eq!(client.copy_out("COPY (SELECT 1 WHERE false) TO STDOUT").unwrap(), b"");
    client
        .write_query("COPY t FROM STDIN")
        .write(b'd', b"4\tfour\n")
        .write(b'c', b"")
        .write_query("SELECT 5")
        .send_out();
    client.expect_tags("GCZ");
    client.expect_tags("TDCZ");
    assert_eq!(client.value("SELECT count(*) FROM t"), "20004");
}

#[test]
fn copies_stand_among_other_statements() {
    let database = shared().database();
    let proxy = proxy(shared()).set("pool.size", 2).start();
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (v int)");
    client.send_query("COPY t FROM STDIN; SELECT 1; COPY t TO STDOUT; COPY t FROM STDIN");
    expect(&mut client, "G");
    client.write(b'd', b"1\n").send(b'c', b"");
    expect(&mut client, "CTDCHdcCG");
    client.write(b'd', b"2\n").send(b'c', b"");
    client.expect_tags("CZ");

    client.query("BEGIN; INSERT INTO t VALUES (3)");
    client.copy_in("COPY t FROM STDIN", b"4\n").unwrap();
    assert_eq!(client.status, 'T');
    assert_eq!(client.copy_out("COPY t TO STDOUT").unwrap(), b"1\n2\n3\n4\n");
    client.query("ROLLBACK");
    assert_eq!(client.copy_out("COPY t TO STDOUT").unwrap(), b"1\n2\n");
}

#[test]
fn data_that_the_server_refuses_goes_nowhere_else() {
    let database = shared().database();
    let proxy = proxy(shared()).set("pool.size", 1).start();
    let mut client = proxy.client(database.name());
    let mut other = proxy.client(database.name());
    client.query("CREATE TABLE t (v int)");
    // Far more than is read before the first line is refused.
    let mut data = b"wrong\n".to_vec();
    data.resize(10 << 20, b'\n');
    for _ in 0..2 {
        let error = client.copy_in("COPY t FROM STDIN", &data).unwrap_err();
        assert_eq!(error.sqlstate(), "22P02");
        assert_eq!(client.value("SELECT 1"), "1");
        assert_eq!(other.value("SELECT 2"), "2");
    }
    // The server's refusal is awaited before more is sent, when the backend may have gone to another.
    client.send_query("COPY t FROM STDIN");
    expect(&mut client, "G");
    client.send(b'd', b"wrong\nwrong\n");
    client.write(b'd', &b"1\n".repeat(100_000)).send_out();
    client.send(b'c', b"");
    client.expect_sqlstate("22P02");
    client.expect_tags("Z");
    other.query("BEGIN");
    client.write(b'd', b"late\n").write(b'c', b"").write(b'f', b"later\0").send_out();
    assert_eq!(other.value("SELECT 3"), "3");
    other.query("COMMIT");
    assert_eq!(client.value("SELECT 4"), "4");

    // By the extended protocol everything is skipped up to the Sync behind it.
    client.parse("", "COPY t FROM STDIN", &[]).bind("", "", &[]).execute("", 0).flush();
    expect(&mut client, "12G");
    client
        .write(b'd', &data)
        .write(b'c', b"")
        .parse("", "SELECT 5", &[])
        .bind("", "", &[])
        .execute("", 0)
        .sync();
    client.expect_sqlstate("22P02");
    client.expect_tags("Z");
    assert_eq!(client.status, 'I');
    // In a transaction, of which nothing remains.
    client.query("BEGIN; INSERT INTO t VALUES (6)");
    assert_eq!(client.copy_in("COPY t FROM STDIN", &data).unwrap_err().sqlstate(), "22P02");
    assert_eq!(client.status, 'E');
    client.query("COMMIT");
    assert_eq!(other.value("SELECT count(*) FROM t"), "0");
    // Statements that do not get as far as to copy.
    assert_eq!(client.copy_in("COPY nowhere FROM STDIN", b"").unwrap_err().sqlstate(), "42P01");
    assert_eq!(client.copy_out("COPY nowhere TO STDOUT").unwrap_err().sqlstate(), "42P01");
}

#[test]
fn either_side_may_give_up() {
    let database = shared().database();
    let proxy = proxy(shared()).set("pool.size", 1).start();
    let mut client = proxy.client(database.name());
    let mut other = proxy.client(database.name());
    client.query("CREATE TABLE t (v int)");
    // The client, with CopyFail.
    client.send_query("COPY t FROM STDIN");
    expect(&mut client, "G");
    client.write(b'd', b"1\n").send(b'f', b"changed my mind\0");
    let error = client.expect_sqlstate("57014");
    assert!(error.message().contains("changed my mind"), "{error}");
    client.expect_tags("Z");
    client.parse("", "COPY t FROM STDIN", &[]).bind("", "", &[]).execute("", 0).flush();
    expect(&mut client, "12G");
    client.write(b'd', b"1\n").write(b'f', b"again\0").sync();
    client.expect_sqlstate("57014");
    client.expect_tags("Z");
    // The client, with a cancel request.
    client.send_query("COPY t FROM STDIN");
    expect(&mut client, "G");
    client.send(b'd', b"1\n");
    client.cancel();
    // The server heeds it between two lines, not while it waits for one.
    client.send(b'd', b"2\n");
    client.expect_sqlstate("57014");
    client.expect_tags("Z");
    client.send(b'c', b"");
    // The server, in the midst of its rows.
    client.send_query("COPY (SELECT 10 / (3 - g) FROM generate_series(1, 9) g) TO STDOUT");
    expect(&mut client, "Hdd");
    client.expect_sqlstate("22012");
    client.expect_tags("Z");
    assert_eq!(other.value("SELECT count(*) FROM t"), "0");
    // The client, while the server has much more to say.
    client.send_query("COPY (SELECT repeat('x', 10000) FROM generate_series(1, 100000)) TO STDOUT");
    expect(&mut client, "H");
    client.cancel();
    client.expect_sqlstate("57014");
    client.expect_tags("Z");
    assert_eq!(other.value("SELECT 1"), "1");
}

#[test]
fn a_client_that_vanishes_in_a_copy_leaves_nothing() {
    let database = shared().database();
    let proxy = proxy(shared()).set("pool.size", 1).start();
    let mut other = proxy.client(database.name());
    other.query("CREATE TABLE t (v int PRIMARY KEY)");
    for way in ["at a boundary", "inside a message", "before any data", "in a transaction"] {
        let mut client = proxy.client(database.name());
        if way == "in a transaction" {
            client.query("BEGIN; INSERT INTO t VALUES (2)");
        }
        client.send_query("COPY t FROM STDIN");
        expect(&mut client, "G");
        match way {
            "before any data" => {}
            "inside a message" => client.send_raw(b"d\0\0\x10\x001\n"),
            _ => client.send(b'd', b"1\n"),
        }
        drop(client);
        assert_eq!(other.value("SELECT count(*) FROM t"), "0", "{way}");
    }
    for _ in 0..2 {
        let mut client = proxy.client(database.name());
        client.send_query("COPY (SELECT repeat('x', 10000) FROM generate_series(1, 20000)) TO STDOUT");
        expect(&mut client, "Hd");
        drop(client);
        assert_eq!(other.value("SELECT 'served'"), "served");
    }
    // None of them is still at it.
    let busy = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND query LIKE 'COPY%' AND state <> 'idle'",
        database.name()
    );
    eventually(|| (0..3).all(|node| shared().value(node, &busy) == "0"), "no COPY is under way");
}

#[test]
fn copies_of_50_mb_pass_with_memory_flat() {
    let database = shared().database();
    let proxy = proxy(shared()).start();
    let mut client = proxy.client(database.name());
    client.query("CREATE UNLOGGED TABLE t (v text)");
    let before = proxy.memory();
    let line = format!("{}\n", "x".repeat(9999));
    let tags = client.copy_in("COPY t FROM STDIN", line.repeat(5000).as_bytes()).unwrap().tags;
    assert_eq!(tags, ["COPY 5000"]);
    let out =
        client.copy_out("COPY (SELECT repeat('y', 9999) FROM generate_series(1, 5000)) TO STDOUT").unwrap();
    assert_eq!(out.len(), 50_000_000);
    let grown = proxy.memory_peak().saturating_sub(before);
    assert!(grown <= 16 << 20, "{} kB more", grown >> 10);
}

/// Reads so many messages as there are tags, and compares.
#[track_caller]
fn expect(client: &mut Client, tags: &str) {
    let mut messages: Vec<Message> = Vec::new();
    while messages.len() < tags.len() {
        messages.push(client.recv_message());
        messages.retain(|message| !matches!(message.tag, b'N' | b'S'));
    }
    assert_eq!(
        messages.iter().map(|message| char::from(message.tag)).collect::<String>(),
        tags,
        "{messages:?}"
    );
}
