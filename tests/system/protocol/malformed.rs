//! The wire protocol, spoken badly: only the connection of whoever does so ends, and it is told why.

use crate::harness::{Client, Proxy, eventually, proxy, shared};

#[test]
fn what_is_no_startup_packet_ends_the_connection() {
    let proxy = trusting();
    let mut bystander = proxy.login().connect();
    let wrong: [(&str, Vec<u8>); 12] = [
        ("a length of 0", vec![0; 8]),
        ("a length of 7", packet(7, &[0, 3, 0])),
        ("a length of 10001", packet(10_001, &[0, 3, 0, 0])),
        ("a length of 2 GB", packet(0x7fff_ffff, &[0, 3, 0, 0])),
        ("a negative length", packet(0xffff_ffff, &[0, 3, 0, 0])),
        ("no list of parameters", startup(b"")),
        ("no end of the list", startup(b"user\0postgres\0")),
        ("a name without an end", startup(b"user\0postgres\0database")),
        ("a name without a value", startup(b"user\0postgres\0database\0\0")),
        ("something behind the list", startup(b"user\0postgres\0\0database\0postgres\0\0")),
        ("a request of HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("the first bytes of TLS", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
    ];
    for (what, bytes) in wrong {
        let mut client = Client::open(&proxy.address());
        client.send_raw(&bytes);
        expect_violation(&mut client, what);
        assert_eq!(bystander.value("SELECT 1"), "1", "after {what}");
    }
}

#[test]
fn versions_that_are_not_3_are_refused() {
    let proxy = trusting();
    for version in [(2, 0), (4, 0), (0, 0), (1234, 5555)] {
        let mut client = Client::open(&proxy.address());
        client.startup(version, &proxy.login().startup_parameters());
        let error = client.expect_sqlstate("0A000");
        assert_eq!(error.severity(), "FATAL");
        client.expect_closed();
    }
    // Encryption can be asked for once; after that, the same bytes are but a strange version.
    let mut client = Client::open(&proxy.address());
    assert_eq!(client.ssl_request(), 'N');
    client.send_raw(&[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]);
    assert_eq!(client.expect_closed().len(), 1, "one error");
    // No user.
    let mut client = Client::open(&proxy.address());
    client.startup((3, 0), &[("database", "postgres")]);
    client.expect_sqlstate("28000");
    client.expect_closed();
}

#[test]
fn wrong_lengths_and_types_end_the_connection() {
    let cluster = shared();
    let database = cluster.database();
    let proxy = trusting();
    let mut bystander = proxy.login().connect();
    let wrong: [(&str, Vec<u8>); 13] = [
        ("an unknown type", message(b'y', 4)),
        ("type 0", message(0, 4)),
        ("type 255", message(255, 4)),
        ("a message of the server's", message(b'Z', 5)),
        ("a ParseComplete", message(b'1', 4)),
        ("a length of 0", message(b'Q', 0)),
        ("a length of 3", message(b'Q', 3)),
        ("a length of 2 GB", message(b'Q', 0x7fff_ffff)),
        ("a negative length", message(b'P', 0xffff_ffff)),
        ("a Sync of 1 MB", message(b'S', 1 << 20)),
        ("a Flush of 1 GB", message(b'H', 1 << 30)),
        ("a Terminate of 2 GB", message(b'X', 0x7fff_ffff)),
        ("an Execute of 2 GB", message(b'E', 0x7fff_ffff)),
    ];
    for (what, bytes) in wrong {
        // On its own, and while a transaction and a pipeline are under way.
        let mut client = proxy.client(database.name());
        client.send_raw(&bytes);
        expect_violation(&mut client, what);

        let mut client = proxy.client(database.name());
        client.query("BEGIN");
        client.parse("", "SELECT 1", &[]).bind("", "", &[]).flush();
        client.recv_message();
        client.recv_message();
        client.send_raw(&bytes);
        expect_violation(&mut client, what);

        assert_eq!(bystander.value("SELECT 1"), "1", "after {what}");
    }
    // Nothing is left of the transactions.
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND xact_start IS NOT NULL",
        database.name()
    );
    eventually(|| cluster.value(0, &open) == "0", "the transactions are over");
}

#[test]
fn wrong_bodies_are_refused_and_leave_the_others_alone() {
    let proxy = trusting();
    let mut bystander = proxy.login().connect();
    let wrong: [(&str, u8, &[u8]); 14] = [
        ("a Query without an end", b'Q', b"SELECT 1"),
        ("an empty Query message", b'Q', b""),
        ("a Query with more behind it", b'Q', b"SELECT 1\0SELECT 2\0"),
        ("a Parse without an end", b'P', b"name"),
        ("a Parse without a query", b'P', b"name\0"),
        ("a Parse without types", b'P', b"name\0SELECT 1\0"),
        ("a Parse with fewer types than it says", b'P', b"name\0SELECT 1\0\0\x02\0\0\0\x17"),
        ("an empty Bind", b'B', b""),
        ("a Bind with fewer formats than it says", b'B', b"\0\0\xff\xff\0\0"),
        ("a Bind with a value longer than itself", b'B', b"\0\0\0\0\0\x01\0\0\xff\xffx"),
        ("an empty Describe", b'D', b""),
        ("a Describe of something else", b'D', b"X\0"),
        ("a Close without an end", b'C', b"Sname"),
        ("an Execute without a limit", b'E', b"\0\0"),
    ];
    for (what, tag, body) in wrong {
        let mut client = proxy.login().connect();
        client.parse("", "SELECT 1", &[]).sync();
        client.expect_tags("1Z");
        client.write(tag, body).sync();
        let mut last =
            client.try_recv_message().expect("an answer").unwrap_or_else(|| panic!("{what}: no word"));
        while last.tag == b'1' {
            last = client.recv_message();
        }
        assert_eq!(last.error().sqlstate(), "08P01", "{what}");
        assert_eq!(bystander.value("SELECT 1"), "1", "after {what}");
    }
}

#[test]
fn a_password_is_awaited_and_nothing_else() {
    let proxy = proxy(shared()).start();
    let mut bystander = proxy.login().connect();
    for (what, bytes) in [
        ("a query", [message(b'Q', 13), b"SELECT 1\0".to_vec()].concat()),
        ("a password of 1 GB", message(b'p', 1 << 30)),
        ("a password of less than nothing", message(b'p', 2)),
        (
            "a SASL message whose length is more than itself",
            [message(b'p', 22), b"SCRAM-SHA-256\0\x7f\xff\xff\xff".to_vec()].concat(),
        ),
    ] {
        let mut client = Client::open(&proxy.address());
        client.startup((3, 0), &proxy.login().startup_parameters());
        assert_eq!(client.recv_message().tag, b'R');
        client.send_raw(&bytes);
        expect_violation(&mut client, what);
        assert_eq!(bystander.value("SELECT 1"), "1", "after {what}");
    }
}

#[test]
fn half_a_message_is_never_forwarded() {
    let cluster = shared();
    let database = cluster.database();
    let proxy = proxy(cluster).set("pool.size", 1).start();
    let mut bystander = proxy.client(database.name());
    bystander.query("CREATE TABLE t (v int)");
    let query = b"INSERT INTO t VALUES (1)\0";
    let whole = [message(b'Q', u32::try_from(query.len()).unwrap() + 4), query.to_vec()].concat();
    for end in [1, 4, 5, 6, whole.len() - 1] {
        let mut client = proxy.client(database.name());
        client.send_raw(&whole[..end]);
        client.shut();
        client.expect_closed();
    }
    // One who says goodbye right behind a query has it run all the same.
    let mut client = proxy.client(database.name());
    client.write_query("INSERT INTO t VALUES (2)").send(b'X', b"");
    client.expect_closed();
    eventually(|| bystander.value("SELECT count(*) FROM t WHERE v = 2") == "1", "the query is run");
    assert_eq!(bystander.value("SELECT count(*) FROM t WHERE v = 1"), "0");
}

#[test]
fn copy_messages_outside_of_a_copy_are_ignored() {
    let proxy = trusting();
    let mut client = proxy.login().connect();
    // As the manual says: they may be on their way when the server has failed already.
    client.write(b'd', b"data").write(b'c', b"").write(b'f', b"reason\0").write_query("SELECT 1").send_out();
    client.expect_tags("TDCZ");
}

fn trusting() -> Proxy<'static> {
    proxy(shared()).set("auth.method", "trust").start()
}

#[track_caller]
fn expect_violation(client: &mut Client, what: &str) {
    let said = client.expect_closed();
    let error = said.iter().find(|message| message.tag == b'E');
    let error = error.unwrap_or_else(|| panic!("{what}: closed without an error after {said:?}")).error();
    assert_eq!((error.severity(), error.sqlstate()), ("FATAL", "08P01"), "{what}: {error}");
}

fn startup(parameters: &[u8]) -> Vec<u8> {
    let body = [&[0, 3, 0, 0], parameters].concat();
    packet(u32::try_from(body.len()).unwrap() + 4, &body)
}

fn packet(length: u32, body: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes(), body].concat()
}

fn message(tag: u8, length: u32) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes()].concat()
}
