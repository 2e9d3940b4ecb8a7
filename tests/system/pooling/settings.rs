//! What a session sets follows it from backend to backend, and is seen by nobody else.

use std::time::Duration;

use super::{PID, on_primary};
use crate::harness::{self, Client, Database, Proxy, eventually, proxy, shared};

#[test]
fn settings_follow_their_session_and_nobody_else_sees_them() {
    let database = shared().database();
    let default = shared().value(0, "SHOW work_mem");
    let proxy = on_primary(2).start();
    let mut one = proxy.client(database.name());
    let mut two = proxy.client(database.name());
    one.query("SET work_mem = '1MB'");
    two.prepared("SET work_mem = '2MB'", &[]).unwrap();
    on_every_backend(&proxy, database.name(), 2, |round| {
        assert_eq!(one.value("SHOW work_mem"), "1MB", "in round {round}");
        assert_eq!(two.value("SHOW work_mem"), "2MB", "in round {round}");
        assert_eq!(proxy.client(database.name()).value("SHOW work_mem"), default);
    });
    // The same from inside statements, and by either protocol.
    one.query("BEGIN");
    assert_eq!(one.value("SELECT current_setting('work_mem')"), "1MB");
    one.query("COMMIT");
    assert_eq!(two.prepared("SELECT current_setting('work_mem')", &[]).unwrap().value(), "2MB");
    // Changed, taken back, all taken back.
    one.query("SET work_mem TO '3MB'; SET geqo = off; SET SESSION enable_seqscan = off");
    two.query("SET work_mem TO DEFAULT");
    on_every_backend(&proxy, database.name(), 2, |_| {
        assert_eq!(one.value("SHOW work_mem"), "3MB");
        assert_eq!(one.value("SHOW enable_seqscan"), "off");
        assert_eq!(two.value("SHOW work_mem"), default);
        assert_eq!(two.value("SHOW geqo"), "on");
    });
    one.query("RESET work_mem");
    on_every_backend(&proxy, database.name(), 2, |_| {
        assert_eq!(one.value("SHOW work_mem"), default);
        assert_eq!(one.value("SHOW geqo"), "off");
    });
    one.query("RESET ALL");
    on_every_backend(&proxy, database.name(), 2, |_| {
        assert_eq!(one.value("SHOW geqo"), "on");
        assert_eq!(one.value("SHOW enable_seqscan"), "on");
    });
}

#[test]
fn settings_are_undone_with_their_transaction_or_savepoint() {
    let database = shared().database();
    let proxy = on_primary(2).start();
    let mut client = proxy.client(database.name());
    let cases = [
        ("BEGIN; SET work_mem = '2MB'; COMMIT", "2MB"),
        ("BEGIN; SET work_mem = '3MB'; ROLLBACK", "2MB"),
        ("BEGIN; SET work_mem = '3MB'; SELECT 1/0; COMMIT", "2MB"),
        ("SET work_mem = '3MB'; SELECT 1/0", "2MB"),
        ("BEGIN; SET LOCAL work_mem = '3MB'; COMMIT", "2MB"),
        ("BEGIN; SET work_mem = '4MB'; SET LOCAL work_mem = '3MB'; COMMIT", "4MB"),
        ("BEGIN; SAVEPOINT s; SET work_mem = '5MB'; ROLLBACK TO s; COMMIT", "4MB"),
        ("BEGIN; SAVEPOINT s; SET work_mem = '5MB'; RELEASE s; COMMIT", "5MB"),
        (
            "BEGIN; SET work_mem = '6MB'; SAVEPOINT s; SET work_mem = '7MB'; ROLLBACK TO SAVEPOINT s; COMMIT",
            "6MB",
        ),
        (
            "BEGIN; SAVEPOINT a; SET work_mem = '7MB'; SAVEPOINT b; SET work_mem = '8MB'; ROLLBACK TO b; RELEASE a; COMMIT",
            "7MB",
        ),
        (
            "BEGIN; SAVEPOINT a; SET work_mem = '8MB'; SAVEPOINT a; SET work_mem = '9MB'; RELEASE a; ROLLBACK TO a; END",
            "7MB",
        ),
        ("BEGIN; SET work_mem = '8MB'; COMMIT AND CHAIN; SET work_mem = '9MB'; ROLLBACK", "8MB"),
        ("BEGIN; RESET work_mem; ROLLBACK", "8MB"),
        ("BEGIN; RESET ALL; ABORT", "8MB"),
        ("BEGIN; SET work_mem = nonsense; ROLLBACK", "8MB"),
        ("SET work_mem = '9MB'; BEGIN; ROLLBACK", "8MB"),
        ("SET work_mem = '9MB'; COMMIT; SELECT 1/0", "9MB"),
        ("BEGIN; SET work_mem = '10MB'; PREPARE TRANSACTION 'not allowed'", "9MB"),
        ("/* SET work_mem = '3MB' */ SELECT 'SET work_mem = 1'; -- SET work_mem = '3MB'", "9MB"),
    ];
    let mut direct = shared().login(0).database(database.name()).connect();
    for (sql, expected) in cases {
        for client in [&mut client, &mut direct] {
            let _ = client.try_query(sql);
            if client.status != 'I' {
                client.query("ROLLBACK");
            }
        }
        assert_eq!(direct.value("SHOW work_mem"), expected, "the server itself, after {sql}");
        on_every_backend(&proxy, database.name(), 2, |_| {
            assert_eq!(client.value("SHOW work_mem"), expected, "after {sql}");
        });
    }
    // Statement by statement, with others on the same backends between them.
    client.query("BEGIN");
    client.query("SAVEPOINT s");
    client.query("SET work_mem = '11MB'");
    client.try_query("SELECT 1/0").unwrap_err();
    client.query("ROLLBACK TO s");
    assert_eq!(client.value("SHOW work_mem"), "9MB");
    client.query("SET work_mem = '12MB'");
    client.query("COMMIT");
    on_every_backend(&proxy, database.name(), 2, |_| assert_eq!(client.value("SHOW work_mem"), "12MB"));
    // A batch is a transaction, too.
    client.parse("", "SET work_mem = '13MB'", &[]).bind("", "", &[]).execute("", 0);
    client.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0).sync();
    client.until_ready();
    on_every_backend(&proxy, database.name(), 2, |_| assert_eq!(client.value("SHOW work_mem"), "12MB"));
}

#[test]
fn settings_of_the_startup_message_are_what_reset_returns_to() {
    let database = shared().database();
    let proxy = on_primary(2).start();
    let login = proxy.login().database(database.name());
    let mut client = login
        .clone()
        .parameter("application_name", "mine")
        .parameter("work_mem", "1MB")
        .parameter("options", "-c geqo=off")
        .connect();
    let mut other = login.connect();
    client.query("SET work_mem = '2MB'; SET geqo = on; SET application_name = 'changed'");
    on_every_backend(&proxy, database.name(), 2, |_| {
        assert_eq!(client.value("SELECT current_setting('work_mem') || current_setting('geqo')"), "2MBon");
        assert_eq!(client.value("SHOW application_name"), "changed");
        assert_eq!(other.value("SHOW geqo"), "on");
        assert_eq!(other.value("SHOW application_name"), "");
    });
    for reset in ["RESET ALL", "DISCARD ALL", "RESET work_mem; RESET geqo; RESET application_name"] {
        client.query("SET work_mem = '2MB'; SET geqo = on; SET application_name = 'changed'");
        for statement in reset.split("; ") {
            client.query(statement);
        }
        on_every_backend(&proxy, database.name(), 2, |_| {
            assert_eq!(
                client.value("SELECT current_setting('work_mem') || current_setting('geqo')"),
                "1MBoff"
            );
            assert_eq!(client.value("SHOW application_name"), "mine", "after {reset}");
        });
        assert_eq!(client.parameters["application_name"], "mine", "after {reset}");
    }
}

#[test]
fn reset_returns_to_the_startup_message_at_once() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let login = |to: harness::Login| {
        let login = to.database(database.name()).parameter("work_mem", "1MB");
        login.parameter("TimeZone", "Asia/Tokyo").parameter("application_name", "mine").connect()
    };
    for mut client in [login(shared().login(0)), login(proxy.login())] {
        for reset in
            ["RESET ALL", "SET work_mem TO DEFAULT; SET TIME ZONE LOCAL", "RESET work_mem; RESET TimeZone"]
        {
            // Within a transaction, and with the transaction.
            client.query("SET work_mem = '2MB'; SET TimeZone = 'GMT'");
            client.query("BEGIN");
            client.query("SAVEPOINT s");
            client.query(reset);
            assert_eq!(client.value("SHOW work_mem"), "1MB", "after {reset}");
            assert_eq!(client.parameters["TimeZone"], "Asia/Tokyo", "after {reset}");
            client.query("ROLLBACK TO s");
            assert_eq!(client.value("SHOW work_mem"), "2MB", "after {reset}");
            assert_eq!(client.parameters["TimeZone"], "GMT", "after {reset}");
            client.prepared(reset.split(';').next().unwrap(), &[]).unwrap();
            assert_eq!(client.value("SHOW work_mem"), "1MB", "after {reset}");
            client.query("COMMIT");
            assert_eq!(client.value("SHOW work_mem"), "1MB", "after {reset}");
        }
        // Nothing that was never true is reported.
        client.query("SET TimeZone = 'GMT'");
        ["DISCARD ALL", "SHOW TimeZone"].iter().for_each(|sql| client.send_query(sql));
        let reported = client.until_ready();
        let reported: Vec<_> = reported.iter().filter(|message| message.tag == b'S').collect();
        assert_eq!(
            reported.iter().map(|message| message.strings()).collect::<Vec<_>>(),
            [["TimeZone", "Asia/Tokyo"]]
        );
        assert_eq!(client.expect_tags("TDCZ")[1].row()[0].as_deref(), Some("Asia/Tokyo"));
        ["RESET ALL", "SHOW work_mem", "SHOW application_name"].iter().for_each(|sql| client.send_query(sql));
        client.expect_tags("CZ");
        assert_eq!(client.expect_tags("TDCZ")[1].row()[0].as_deref(), Some("1MB"));
        assert_eq!(client.expect_tags("TDCZ")[1].row()[0].as_deref(), Some("mine"));
        // What fails resets nothing.
        client.query("SET work_mem = '3MB'");
        client.try_query("RESET ALL; SELECT 1/0").unwrap_err();
        assert_eq!(client.value("SHOW work_mem"), "3MB");
        client.try_query("BEGIN; RESET ALL; SELECT 1/0").unwrap_err();
        client.query("ROLLBACK");
        assert_eq!(client.value("SHOW work_mem"), "3MB");
    }
}

#[test]
fn reported_settings_are_reported_when_they_change_and_only_then() {
    let database = shared().database();
    let proxy = on_primary(1).start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    let reported = |client: &mut Client, sql: &str| -> Vec<Vec<String>> {
        client.send_query(sql);
        let messages = client.until_ready();
        messages.iter().filter(|message| message.tag == b'S').map(|message| message.strings()).collect()
    };
    assert_eq!(reported(&mut one, "SET application_name = 'one'"), [["application_name", "one"]]);
    assert_eq!(reported(&mut one, "SET TimeZone = 'Asia/Tokyo'"), [["TimeZone", "Asia/Tokyo"]]);
    assert_eq!(reported(&mut two, "SET application_name = 'two'"), [["application_name", "two"]]);
    for _ in 0..3 {
        // The backend's settings change with each of these, the clients' do not.
        assert_eq!(reported(&mut one, "SELECT 1"), Vec::<Vec<String>>::new());
        assert_eq!(reported(&mut two, "SELECT 2"), Vec::<Vec<String>>::new());
        assert_eq!(one.value("SHOW application_name"), "one");
        assert_eq!(two.value("SHOW TimeZone"), shared().value(0, "SHOW TimeZone"));
    }
    assert_eq!(reported(&mut one, "BEGIN; SET application_name = 'three'"), [["application_name", "three"]]);
    assert_eq!(reported(&mut one, "ROLLBACK"), [["application_name", "one"]]);
    assert_eq!(reported(&mut one, "SET client_encoding = 'LATIN1'"), [["client_encoding", "LATIN1"]]);
    assert_eq!(two.value("SELECT length('ä')"), "1");
    one.write(b'Q', b"SELECT '\xe4' = U&'\\00e4'\0").send_out();
    assert_eq!(one.expect_tags("TDCZ")[1].row()[0].as_deref(), Some("t"));
}

#[test]
fn roles_encodings_and_the_rest_of_a_session_do_not_leak() {
    let database = shared().database();
    let role = format!("role_of_{}", database.name());
    shared().run(0, &format!("CREATE ROLE {role}"));
    shared().login(0).database(database.name()).connect().query("CREATE SCHEMA s");
    shared().settle();
    let (set_role, set_user) = (format!("SET ROLE {role}"), format!("SET SESSION AUTHORIZATION {role}"));
    let serializable = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE";
    let changes = [
        (set_role.as_str(), "SELECT current_user", role.as_str()),
        (&set_user, "SELECT session_user", &role),
        (serializable, "SHOW transaction_isolation", "serializable"),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW transaction_read_only", "on"),
        ("SET default_transaction_read_only = on", "SHOW transaction_read_only", "on"),
        ("SELECT set_config('search_path', '', false)", "SELECT current_setting('search_path') = ''", "t"),
        ("SELECT set_config('my.own', 'mine', false)", "SELECT current_setting('my.own', true)", "mine"),
        ("SET TIME ZONE 'Asia/Tokyo'", "SHOW TimeZone", "Asia/Tokyo"),
        ("SET NAMES 'LATIN1'", "SHOW client_encoding", "LATIN1"),
        ("SET SCHEMA 's'", "SHOW search_path", "s"),
        ("SET standard_conforming_strings = off", "SHOW standard_conforming_strings", "off"),
        ("SET statement_timeout = '7s'", "SHOW statement_timeout", "7s"),
        ("WITH c AS (SELECT set_config('work_mem', '5MB', false)) TABLE c", "SHOW work_mem", "5MB"),
        ("EXPLAIN ANALYZE SELECT set_config('work_mem', '6MB', false)", "SHOW work_mem", "6MB"),
    ];
    for reads in ["primary", "replicas"] {
        expect_no_leak(&database, reads, &changes);
    }
    drop(database);
    shared().run(0, &format!("DROP ROLE {role}"));
}

#[test]
fn what_functions_do_to_a_session_does_not_leak() {
    let database = shared().database();
    sneaky_functions(&database);
    for reads in ["primary", "replicas"] {
        expect_no_leak(&database, reads, &SNEAKY.map(|(change, _, _)| (change, "SELECT 1", "1")));
    }
}

#[test]
fn what_functions_do_to_a_session_stays_with_it() {
    let database = shared().database();
    sneaky_functions(&database);
    expect_no_leak(&database, "primary", &SNEAKY);
}

#[test]
fn what_cannot_be_carried_stays_with_its_session() {
    let database = shared().database();
    // Whoever only tries may be kept on its backend, too.
    let proxy = on_primary(5).start();
    proxy.client(database.name()).query("CREATE SEQUENCE seq");
    // What a session begins, what it can do from then on, and what comes of that for others.
    let cases = [
        ("CREATE TEMP TABLE x AS SELECT 'own' AS v", "SELECT v FROM x", "own", "42P01"),
        ("SELECT 'own' AS v INTO TEMP x", "SELECT v FROM x", "own", "42P01"),
        ("CREATE LOCAL TEMPORARY VIEW x AS SELECT 'own' AS v", "SELECT v FROM x", "own", "42P01"),
        ("CREATE TABLE pg_temp.x AS SELECT 'own' AS v", "SELECT v FROM x", "own", "42P01"),
        ("PREPARE x AS SELECT 'own'", "EXECUTE x", "own", "26000"),
        (
            "BEGIN; DECLARE x CURSOR WITH HOLD FOR SELECT 'own' FROM generate_series(1, 100); COMMIT",
            "FETCH x",
            "own",
            "34000",
        ),
        ("SELECT nextval('seq')", "SELECT 'own' WHERE currval('seq') > 0", "own", "55000 0A000"),
        (
            "SELECT pg_advisory_lock(3)",
            "SELECT 'own' WHERE pg_advisory_unlock(3) AND pg_try_advisory_lock(3)",
            "own",
            "",
        ),
    ];
    for (begin, with, value, refusal) in cases {
        let mut client = proxy.client(database.name());
        for statement in begin.split("; ") {
            client.query(statement);
        }
        let mut others: Vec<Client> = (0..4).map(|_| proxy.client(database.name())).collect();
        for _ in 0..2 {
            for other in &mut others {
                match refusal {
                    "" => assert_eq!(other.value("SELECT pg_try_advisory_lock(3)"), "f", "beside {begin}"),
                    refusal => {
                        let error = other.try_query(with).expect_err(with);
                        assert!(refusal.contains(error.sqlstate()), "beside {begin}: {error}");
                    }
                }
            }
            assert_eq!(client.value(with), value, "after {begin}");
        }
        // Once it has gone, its backend is as good as new for the others.
        client.terminate();
        for _ in 0..2 {
            for other in &mut others {
                match refusal {
                    "" => eventually(
                        || other.value("SELECT pg_try_advisory_xact_lock(3)") == "t",
                        "it is unlocked",
                    ),
                    refusal => {
                        let error = other.try_query(with).expect_err(with);
                        assert!(refusal.contains(error.sqlstate()), "after {begin}: {error}");
                    }
                }
            }
        }
    }
}

#[test]
fn discard_all_is_for_the_one_who_says_it() {
    let database = shared().database();
    let proxy = on_primary(2).start();
    let (mut one, mut two) = (proxy.client(database.name()), proxy.client(database.name()));
    for client in [&mut one, &mut two] {
        client.query("SET work_mem = '1MB'");
        client.parse("p", "SELECT 1", &[]).sync();
        client.until_ready();
    }
    two.query("CREATE TEMP TABLE own AS SELECT 2 AS v");
    one.query("DISCARD ALL");
    on_every_backend(&proxy, database.name(), 1, |_| {
        assert_eq!(one.value("SHOW work_mem"), shared().value(0, "SHOW work_mem"));
        assert_eq!(two.value("SHOW work_mem"), "1MB");
        assert_eq!(two.value("SELECT v FROM own"), "2");
    });
    one.bind("", "p", &[]).execute("", 0).sync();
    one.expect_sqlstate("26000");
    one.until_ready();
    two.bind("", "p", &[]).execute("", 0).sync();
    two.expect_tags("2DCZ");
    two.query("DISCARD ALL");
    two.expect_refused("SELECT v FROM own", "42P01");
    one.query("BEGIN");
    one.expect_refused("DISCARD ALL", "25001");
    one.query("ROLLBACK");
}

#[test]
fn notifications_reach_who_listens_and_nobody_else() {
    let database = shared().database();
    let proxy = proxy(shared()).set("pool.size", 3).start();
    let (mut listener, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    let mut sender = proxy.client(database.name());
    listener.query("LISTEN news");
    for number in 0..3 {
        other.query("SELECT 1");
        sender.query(&format!("SELECT pg_notify('news', '{number}')"));
        // It comes by itself, to a client that asks for nothing.
        let message = listener.recv_message();
        assert_eq!(message.tag, b'A');
        let text = String::from_utf8_lossy(&message.body[4..]).into_owned();
        assert_eq!(text, format!("news\0{number}\0"));
    }
    other.send_query("SELECT 2");
    assert!(other.until_ready().iter().all(|message| message.tag != b'A'));
    assert!(other.is_silent(Duration::from_millis(20)));
    listener.query("UNLISTEN *");
    sender.query("NOTIFY news, 'unheard'");
    listener.send_query("SELECT 3");
    assert!(listener.until_ready().iter().all(|message| message.tag != b'A'));
    // One who vanishes leaves no ear behind.
    listener.query("LISTEN news");
    drop(listener);
    sender.query("NOTIFY news, 'unheard, too'");
    for _ in 0..4 {
        other.send_query(PID);
        assert!(other.until_ready().iter().all(|message| message.tag != b'A'));
    }
}

/// Does something once on each backend of a pool of this size: all others are in transactions of somebody else then, and
/// that one has just been in somebody else's, with other settings.
#[track_caller]
fn on_every_backend(proxy: &Proxy<'_>, database: &str, size: usize, mut check: impl FnMut(usize)) {
    let mut holders: Vec<Client> = (0..size).map(|_| proxy.client(database)).collect();
    for (number, holder) in holders.iter_mut().enumerate() {
        holder.query(&format!("SET work_mem = '{}MB'; SET geqo_seed = 0.{number}", 100 + number));
    }
    for holder in &mut holders {
        holder.query("BEGIN; SELECT 1");
    }
    for (number, holder) in holders.iter_mut().enumerate() {
        holder.query("COMMIT");
        check(number);
        holder.query("BEGIN; SELECT 1");
    }
    for holder in &mut holders {
        holder.query("COMMIT");
    }
}

/// Functions that do to a session what no lexer can see.
#[track_caller]
fn sneaky_functions(database: &Database<'_>) {
    shared().login(0).database(database.name()).connect().query(
        "CREATE SCHEMA s;
        CREATE FUNCTION sneaky(v text) RETURNS text LANGUAGE plpgsql AS
            'BEGIN RETURN set_config(''work_mem'', v, false); END';
        CREATE FUNCTION sneakier() RETURNS void LANGUAGE plpgsql AS
            'BEGIN EXECUTE ''SET search_path = s''; END';
        CREATE PROCEDURE sneakiest() LANGUAGE plpgsql AS
            'BEGIN CREATE TEMP TABLE hidden (v int); PERFORM pg_advisory_lock(5); END'",
    );
    shared().settle();
}

/// What a session says, how it sees that it was heard, and what it sees. Whatever it is, no other session sees it, on the
/// same backends, beside it and after it has gone.
#[track_caller]
fn expect_no_leak(database: &Database<'_>, reads: &str, changes: &[(&str, &str, &str)]) {
    let proxy = on_primary(2).set("route.reads", reads).start();
    let expected = proxy.client(database.name()).value(OBSERVE);
    for (change, see, seen) in changes {
        let mut client = proxy.client(database.name());
        client.query(change);
        let mut others: Vec<Client> = (0..3).map(|_| proxy.client(database.name())).collect();
        for _ in 0..2 {
            for other in &mut others {
                assert_eq!(other.value(OBSERVE), expected, "reads = {reads}, beside {change}");
            }
            assert_eq!(client.value(see), *seen, "reads = {reads}, {change}");
        }
        drop(client);
        for other in &mut others {
            assert_eq!(other.value(OBSERVE), expected, "reads = {reads}, after {change}");
        }
    }
}

const SNEAKY: [(&str, &str, &str); 4] = [
    ("SELECT sneaky('3MB')", "SHOW work_mem", "3MB"),
    ("SELECT sneakier()", "SHOW search_path", "s"),
    ("CALL sneakiest()", "SELECT count(*) FROM hidden", "0"),
    ("DO $$ BEGIN PERFORM set_config('work_mem', '4MB', false); END $$", "SHOW work_mem", "4MB"),
];
/// All of a session that these tests change. A setting of one's own making stays known to a server for good, as an empty
/// text: that is PostgreSQL's way.
const OBSERVE: &str = "SELECT concat_ws('|', current_user, session_user,
    current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only'),
    current_setting('search_path'), nullif(current_setting('my.own', true), ''), current_setting('TimeZone'),
    current_setting('client_encoding'), current_setting('standard_conforming_strings'),
    current_setting('statement_timeout'), current_setting('work_mem'), to_regclass('hidden'),
    (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'))";
