//! The wire protocol, well spoken: startup, simple queries, the extended protocol, function calls. Spoken badly, in
//! great volume, and interrupted: the files beside.

mod cancelling;
mod malformed;
mod volume;

use std::time::Duration;

use crate::harness::{Client, Message, proxy, shared};

#[test]
fn every_minor_version_is_spoken() {
    let proxy = proxy(shared()).start();
    for minor in 0..=2 {
        let mut client = proxy.login().protocol(3, minor).connect();
        assert_eq!(client.negotiated, None, "nothing to negotiate about in 3.{minor}");
        assert_eq!(client.value("SELECT 1"), "1");
        let secret = client.key.expect("a cancel key").secret.len();
        match minor {
            2 => assert!((4..=256).contains(&secret), "a secret of {secret} bytes"),
            _ => assert_eq!(secret, 4),
        }
    }
}

#[test]
fn newer_versions_and_unknown_options_are_negotiated() {
    let proxy = proxy(shared()).start();
    let login = proxy.login().parameter("_pq_.test_protocol_negotiation", "on").parameter("_pq_.more", "");

    let mut client = login.clone().protocol(3, 9999).connect();
    let options = ["_pq_.test_protocol_negotiation", "_pq_.more"].map(str::to_owned).to_vec();
    assert_eq!(client.negotiated.take(), Some((VERSION_3_2, options.clone())));
    assert_eq!(client.value("SELECT 1"), "1");

    // The same options from a client of 3.0: no newer version than it knows of.
    let mut client = login.protocol(3, 0).connect();
    let (version, unknown) = client.negotiated.take().expect("options are negotiated in every version");
    assert!(version <= VERSION_3_2, "{version:#x}");
    assert_eq!(unknown, options);
    assert_eq!(client.value("SELECT 1"), "1");

    let mut client = proxy.login().protocol(3, 9999).connect();
    assert_eq!(client.negotiated.take(), Some((VERSION_3_2, vec![])));
    assert_eq!(client.value("SELECT 1"), "1");
}

#[test]
fn encryption_is_declined_and_the_login_goes_on() {
    let proxy = proxy(shared()).start();
    for requests in ["", "s", "g", "sg", "gs"] {
        let mut client = Client::open(&proxy.address());
        for request in requests.chars() {
            let answer = if request == 's' { client.ssl_request() } else { client.gss_request() };
            assert_eq!(answer, 'N', "in {requests:?}");
        }
        client.startup((3, 0), &proxy.login().startup_parameters());
        client.log_in("postgres", crate::harness::PASSWORD).unwrap();
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn a_login_reports_what_the_server_reports() {
    let (cluster, proxy) = (shared(), proxy(shared()).start());
    let with = |login: crate::harness::Login| {
        login
            .parameter("application_name", "the app")
            .parameter("TimeZone", "Asia/Tokyo")
            .parameter("DateStyle", "SQL, DMY")
            .parameter("client_encoding", "LATIN1")
            .parameter("options", r"-c geqo=off --work_mem=5MB -c search_path=public,\ pg_catalog")
    };
    let direct = with(cluster.login(0)).connect();
    // The first one opens the pool, the second finds it open.
    for _ in 0..2 {
        let mut client = with(proxy.login()).connect();
        assert_eq!(client.parameters, direct.parameters);
        assert_eq!(client.value("SELECT current_setting('geqo')"), "off");
        assert_eq!(client.value("SHOW work_mem"), "5MB");
        assert_eq!(client.value("SHOW search_path"), "public, pg_catalog");
        assert_eq!(client.value("SHOW TimeZone"), "Asia/Tokyo");
        assert_eq!(client.value("SHOW application_name"), "the app");
        // A plain one between, on the same backends.
        let mut plain = proxy.login().connect();
        assert_eq!(plain.parameters, cluster.login(0).connect().parameters);
        assert_eq!(plain.value("SHOW geqo"), "on");
        assert_eq!(plain.value("SHOW work_mem"), cluster.value(0, "SHOW work_mem"));
    }
}

#[test]
fn a_login_that_the_server_refuses_is_refused_with_its_words() {
    let proxy = proxy(shared()).start();
    let mut bystander = proxy.login().connect();
    for _ in 0..2 {
        let error = proxy.login().database("nowhere").try_connect().err().expect("no such database");
        assert_eq!(error.sqlstate(), "3D000", "{error}");
        assert!(error.message().contains("nowhere"), "{error}");

        let error =
            proxy.login().parameter("no_such_setting", "1").try_connect().err().expect("no such setting");
        assert!(error.message().contains("no_such_setting"), "{error}");
    }
    let error = proxy.login().parameter("replication", "true").try_connect().err().expect("not supported");
    assert_eq!(error.severity(), "FATAL", "{error}");
    assert_eq!(bystander.value("SELECT 1"), "1");
}

#[test]
fn simple_queries_are_answered_as_the_server_does() {
    let cluster = shared();
    let proxy = proxy(cluster).set("pool.size", 2).start();
    let database = cluster.database();
    let mut direct = cluster.login(0).database(database.name()).connect();
    let mut client = proxy.client(database.name());
    let setup = "CREATE TABLE direct (v int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE client (v int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)";
    client.query(setup);
    let conversation = [
        ("", 'I'),
        (";", 'I'),
        (" ; ;; ", 'I'),
        ("-- nothing", 'I'),
        ("/* nothing /* at all */ */", 'I'),
        ("SELECT 1", 'I'),
        ("SELECT 1;; SELECT 'a', NULL;", 'I'),
        ("SELECT 1; BEGIN", 'T'),
        ("INSERT INTO table_ VALUES (1), (2) RETURNING v", 'T'),
        ("", 'T'),
        ("COMMIT; SELECT 1", 'I'),
        ("COMMIT", 'I'),
        ("BEGIN; BEGIN", 'T'),
        ("SELECT 1/0", 'E'),
        ("SELECT 1", 'E'),
        ("", 'E'),
        ("COMMIT", 'I'),
        ("SELECT count(*) FROM table_", 'I'),
        ("BEGIN; INSERT INTO table_ VALUES (3); COMMIT AND CHAIN", 'T'),
        ("SELECT count(*) FROM table_", 'T'),
        ("SAVEPOINT s; INSERT INTO table_ VALUES (4); SELECT 1/0", 'E'),
        ("ROLLBACK TO s", 'T'),
        ("ROLLBACK AND CHAIN", 'T'),
        ("END", 'I'),
        // Earlier statements complete, one fails, the rest is left out; all of it is one transaction.
        ("INSERT INTO table_ VALUES (5); SELECT 1/0; SELECT 2", 'I'),
        ("SELECT v FROM table_ ORDER BY v", 'I'),
        // Fails only when it commits, after its statement was completed.
        ("INSERT INTO table_ VALUES (1)", 'I'),
        ("BEGIN; INSERT INTO table_ VALUES (1)", 'T'),
        ("COMMIT", 'I'),
        ("SELECT * FROM no_such_table", 'I'),
        ("syntax error", 'I'),
        ("SELECT repeat('x', 100000)", 'I'),
        ("DO $$ BEGIN RAISE NOTICE 'noticed'; END $$", 'I'),
        ("DROP TABLE IF EXISTS nothing", 'I'),
        ("DECLARE c CURSOR FOR SELECT 1", 'I'),
        ("BEGIN; DECLARE c CURSOR FOR SELECT generate_series(1, 3); FETCH 2 FROM c; MOVE 1 IN c", 'T'),
        ("FETCH c; CLOSE c; ROLLBACK", 'I'),
        ("SET client_min_messages = error; SHOW client_min_messages; RESET client_min_messages", 'I'),
    ];
    for (sql, status) in conversation {
        direct.send_query(&sql.replace("table_", "direct"));
        client.send_query(&sql.replace("table_", "client"));
        let (expected, found) = (direct.until_ready(), client.until_ready());
        assert_eq!(client.status, status, "after {sql:?}: {found:?}");
        // The names of the tables differ, in length, too; and so do the numbers of the tables in RowDescription.
        assert_eq!(gist(&found), gist(&expected), "{sql:?}");
    }
}

#[test]
fn the_extended_protocol_is_answered_as_the_server_does() {
    let cluster = shared();
    let proxy = proxy(cluster).set("pool.size", 2).start();
    let mut direct = cluster.login(0).connect();
    let mut client = proxy.login().connect();
    /// What to send, up to a Sync.
    type Batch = fn(&mut Client) -> &mut Client;
    let batches: [Batch; 24] = [
        |c| c,
        |c| {
            c.parse("", "SELECT $1::int + 1", &[])
                .describe_statement("")
                .bind("", "", &[Some("41")])
                .execute("", 0)
        },
        |c| c.parse("", "", &[]).bind("", "", &[]).describe_portal("").execute("", 0),
        |c| c.parse("", "-- nothing", &[]).bind("", "", &[]).execute("", 0),
        |c| c.parse("two", "SELECT 1; SELECT 2", &[]),
        |c| c.parse("n", "SELECT g FROM generate_series(1, $1) g", &[23]).describe_statement("n"),
        |c| {
            c.bind("", "n", &[Some("3")])
                .describe_portal("")
                .execute("", 0)
                .bind("", "n", &[Some("1")])
                .execute("", 0)
        },
        |c| c.bind("p", "n", &[Some("5")]).execute("p", 2).execute("p", 2).execute("p", 2).execute("p", 1),
        |c| c.bind("p", "n", &[Some("5")]).execute("p", 5).close_portal("p").execute("p", 1),
        // Portals end with their transaction, which here is the batch.
        |c| c.execute("p", 1),
        |c| c.describe_portal("p"),
        |c| c.bind("p", "n", &[Some("5")]).bind("p", "n", &[Some("5")]),
        |c| c.bind("", "n", &[]),
        |c| c.bind("", "n", &[Some("not a number")]).execute("", 0),
        |c| {
            c.bind("", "n", &[Some("1")])
                .execute("", 0)
                .parse("", "SELECT 1/0", &[])
                .bind("", "", &[])
                .execute("", 0)
                .bind("", "n", &[Some("1")])
                .execute("", 0)
        },
        |c| c.parse("bad", "SELEKT", &[]).parse("good", "SELECT 1", &[]),
        |c| c.describe_statement("good"),
        |c| c.close_statement("unknown").close_portal("unknown"),
        |c| c.close_statement("n").bind("", "n", &[Some("1")]),
        |c| {
            c.parse("", "BEGIN", &[]).bind("", "", &[]).execute("", 0).parse("", "SELECT 1", &[]).bind(
                "held",
                "",
                &[],
            )
        },
        |c| c.execute("held", 0),
        |c| c.describe_statement("unknown").execute("held", 0),
        |c| c.parse("", "SELECT 1", &[]),
        |c| c.parse("", "ROLLBACK", &[]).bind("", "", &[]).describe_portal("").execute("", 0),
    ];
    for (number, batch) in batches.into_iter().enumerate() {
        batch(&mut direct).sync();
        batch(&mut client).sync();
        let (expected, found) = (direct.until_ready(), client.until_ready());
        assert_eq!(gist(&found), gist(&expected), "batch {number}");
        assert_eq!(client.status, direct.status, "batch {number}");
    }
}

#[test]
fn portals_give_their_rows_in_portions_across_batches() {
    let proxy = proxy(shared()).set("pool.size", 2).start();
    let (mut client, mut other) = (proxy.login().connect(), proxy.login().connect());
    client.query("BEGIN");
    client.parse("", "SELECT generate_series(1, 5)", &[]).bind("rows", "", &[]).execute("rows", 2).sync();
    client.expect_tags("12DDsZ");
    assert_eq!(other.value("SELECT 1"), "1");
    client.execute("rows", 2).sync();
    client.expect_tags("DDsZ");
    client.execute("rows", 2).sync();
    client.expect_tags("DCZ");
    client.query("COMMIT");
    client.execute("rows", 2).sync();
    client.expect_sqlstate("34000");
    client.expect_tags("Z");
}

#[test]
fn flush_delivers_and_keeps_the_backend() {
    let proxy = proxy(shared()).set("pool.size", 1).set("route.reads", "primary").start();
    let (mut client, mut other) = (proxy.login().connect(), proxy.login().connect());
    client.parse("", "SELECT 'flushed'", &[]).bind("", "", &[]).flush();
    assert_eq!(client.recv_message().tag, b'1');
    assert_eq!(client.recv_message().tag, b'2');
    other.send_query("SELECT 'other'");
    assert!(other.is_silent(Duration::from_millis(50)), "the only backend is in the middle of a batch");
    client.execute("", 0).flush();
    assert_eq!(client.recv_message().row(), [Some("flushed".to_owned())]);
    assert_eq!(client.recv_message().tag, b'C');
    assert!(other.is_silent(Duration::from_millis(50)), "the only backend is in the middle of a batch");
    client.sync();
    client.expect_tags("Z");
    other.expect_tags("TDCZ");
    // A Flush without anything to flush, and one after an error.
    client.flush();
    assert_eq!(other.value("SELECT 1"), "1");
    client.parse("", "SELEKT", &[]).flush();
    client.expect_sqlstate("42601");
    client.parse("", "SELECT 1", &[]).flush();
    client.sync();
    client.expect_tags("Z");
    assert_eq!(other.value("SELECT 1"), "1");
}

#[test]
fn a_simple_query_ends_a_batch_and_gives_its_backend_back() {
    let proxy = proxy(shared()).set("route.reads", "primary").set("pool.size", 1).start();
    let mut direct = shared().login(0).connect();
    let mut clients = [proxy.login().connect(), proxy.login().connect()];
    let batch = |client: &mut Client, first: &str| {
        client.parse("", first, &[]).bind("", "", &[]).execute("", 0);
        client.send_query("SELECT 'behind it'");
        gist(&client.until_ready())
    };
    for first in ["SELECT 1", "SET work_mem = '1MB'"] {
        let expected = batch(&mut direct, first);
        for client in &mut clients {
            assert_eq!(batch(client, first), expected);
        }
    }
    // Behind an error it is skipped, too.
    for client in [&mut direct].into_iter().chain(&mut clients) {
        client.parse("", "SELECT nothing", &[]).bind("", "", &[]);
        client.send_query("SELECT 'not run'");
        client.sync();
        let tags: String = client.until_ready().iter().map(|message| message.tag as char).collect();
        assert_eq!(tags, "EZ");
        assert_eq!(client.value("SELECT 'again'"), "again");
    }
}

#[test]
fn an_error_in_a_pipeline_skips_up_to_the_next_sync_and_no_further() {
    let cluster = shared();
    let database = cluster.database();
    let proxy = proxy(cluster).set("pool.size", 1).start();
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (v int)");
    client.parse("insert", "INSERT INTO t VALUES ($1)", &[23]).sync();
    client.expect_tags("1Z");
    // What is between two Syncs is one transaction.
    client.bind("", "insert", &[Some("1")]).execute("", 0);
    client.bind("", "insert", &[Some("2")]).execute("", 0).write_sync();
    client.bind("", "insert", &[Some("3")]).execute("", 0);
    client.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0);
    // That fails as it is planned, by Bind. These are skipped, and so would be what pgweir answers itself.
    client
        .parse("skipped", "INSERT INTO t VALUES ($1)", &[23])
        .close_statement("insert")
        .write_query("SELECT 1");
    client.bind("", "insert", &[Some("4")]).execute("", 0).write_sync();
    client.bind("", "insert", &[Some("5")]).execute("", 0).write_sync();
    // A simple query among the others keeps its place.
    client
        .parse("", "SELECT 6", &[])
        .write_query("SELECT 7")
        .bind("", "insert", &[Some("8")])
        .execute("", 0)
        .sync();
    client.expect_tags("2C2CZ");
    client.expect_tags("2C1EZ");
    client.expect_tags("2CZ");
    client.expect_tags("1TDCZ");
    client.expect_tags("2CZ");
    client.bind("", "skipped", &[Some("9")]).sync();
    client.expect_sqlstate("26000");
    client.expect_tags("Z");
    assert_eq!(client.value("SELECT string_agg(v::text, ' ' ORDER BY v) FROM t"), "1 2 5 8");
}

#[test]
fn function_calls_are_answered() {
    let proxy = proxy(shared()).set("pool.size", 1).start();
    let mut client = proxy.login().connect();
    let add: u32 = client.value("SELECT 'int4pl'::regproc::oid").parse().unwrap();
    client.send(b'F', &call(add, &["40", "2"]));
    let answer = client.expect_tags("VZ");
    assert_eq!(answer[0].body, [&2u32.to_be_bytes()[..], b"42"].concat());
    client.send(b'F', &call(0, &[]));
    client.expect_sqlstate("42883");
    client.expect_tags("Z");
    client.query("BEGIN");
    client.send(b'F', &call(add, &["1", "x"]));
    client.expect_sqlstate("22P02");
    client.expect_tags("Z");
    assert_eq!(client.status, 'E');
    client.query("ROLLBACK");
    assert_eq!(proxy.login().connect().value("SELECT 1"), "1");
}

/// What the server says about a conversation, without what two runs of it may differ in: the place of an error in the
/// server's source, and in RowDescription the numbers of tables.
fn gist(messages: &[Message]) -> Vec<(char, Vec<String>)> {
    let of = |message: &Message| match message.tag {
        b'E' | b'N' => "VCH".chars().map(|code| message.error().field(code).to_owned()).collect(),
        b'T' => message.columns(),
        b'D' => message.row().into_iter().map(|value| value.unwrap_or("NULL".to_owned())).collect(),
        b'S' | b'C' => message.strings(),
        _ => vec![format!("{:?}", message.body)],
    };
    messages.iter().map(|message| (char::from(message.tag), of(message))).collect()
}

/// A FunctionCall with arguments and result as text.
fn call(function: u32, arguments: &[&str]) -> Vec<u8> {
    let mut body = function.to_be_bytes().to_vec();
    body.extend(0u16.to_be_bytes());
    body.extend(u16::try_from(arguments.len()).unwrap().to_be_bytes());
    for argument in arguments {
        body.extend(u32::try_from(argument.len()).unwrap().to_be_bytes());
        body.extend(argument.bytes());
    }
    body.extend(0u16.to_be_bytes());
    body
}

/// 3.2, as it is written in a startup message.
const VERSION_3_2: i32 = 3 << 16 | 2;
