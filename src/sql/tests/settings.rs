//! What `changes` makes of texts, and that replaying what it says comes to the same.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use crate::sql::{Change, Dialect, Name, changes};

/// One change in short: its kind, and name and value where it has them.
fn short(change: &Change) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = |name: &Name| text(name.as_bytes());
    match change {
        Change::Set { name: of, value } => format!("{}={}", name(of), text(value)),
        Change::Reset { name: of } => format!("-{}", name(of)),
        Change::SetTimeZone { value } => format!("zone={}", text(value)),
        Change::Savepoint { name: of } => format!("savepoint {}", name(of)),
        Change::Release { name: of } => format!("release {}", name(of)),
        Change::RollbackTo { name: of } => format!("back to {}", name(of)),
        Change::Listen { name: of } => format!("listen {}", name(of)),
        Change::Unlisten { name: of } => format!("unlisten {}", name(of)),
        other => format!("{other:?}"),
    }
}

fn all(text: &str, dialect: Dialect) -> String {
    changes(text.as_bytes(), dialect).map(|change| short(&change)).collect::<Vec<_>>().join(" | ")
}

#[test]
fn table() {
    for (text, expected) in CASES {
        assert_eq!(all(text, Dialect::default()), *expected, "{text}");
    }
}

#[test]
fn a_backslash_that_is_an_escape_cannot_be_carried() {
    let old = Dialect { standard_conforming_strings: false, ascii_safe: true };
    assert_eq!(all(r"SET a.b = 'c\'d'; SET a.e = 'f'", old), "Opaque | a.e='f'");
    assert_eq!(all(r"SET a.b = E'c\'d'", old), r"a.b=E'c\'d'");
    assert_eq!(all(r"SET TIME ZONE 'c\\d'", old), "Opaque");
}

#[test]
fn bytes_that_may_be_halves_cannot_be_carried() {
    let sjis = Dialect { standard_conforming_strings: true, ascii_safe: false };
    let text = b"SET a.b = E'\x83\\'";
    assert_eq!(changes(text, sjis).next(), Some(Change::Opaque));
    assert_eq!(changes(b"SET a.\x83\\ = 1", sjis).next(), Some(Change::Opaque));
    assert_eq!(all("SET a.b = '表'", sjis), "a.b='表'");
}

#[test]
fn a_name_is_written_so_that_reserved_words_may_be_in_it() {
    let mut sql = Vec::new();
    Name::setting(b"User.ID").write_sql(&mut sql);
    assert_eq!(sql, b"\"user\".\"id\"");
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replaying_comes_to_the_same(settings in prop::collection::vec((setting_name(), style(), value()), 1..6)) {
        let mut text = String::new();
        let mut expected = Vec::new();
        for (name, style, value) in &settings {
            text += &style.replace("NAME", name).replace("VALUE", value);
            text.push(';');
            let name = name.replace('"', "").to_lowercase();
            expected.push((name.into_bytes(), value.as_bytes().to_vec()));
        }
        let mut replay = Vec::new();
        let mut found = Vec::new();
        for change in changes(text.as_bytes(), Dialect::default()) {
            let Change::Set { name, value } = change else { panic!("{change:?} in {text}") };
            replay.extend_from_slice(b"SET ");
            name.write_sql(&mut replay);
            replay.extend_from_slice(b" TO ");
            replay.extend_from_slice(value);
            replay.extend_from_slice(b";");
            found.push((name.as_bytes().to_vec(), value.to_vec()));
        }
        prop_assert_eq!(&found, &expected);
        let again: Vec<_> = changes(&replay, Dialect::default())
            .map(|change| match change {
                Change::Set { name, value } => (name.as_bytes().to_vec(), value.to_vec()),
                other => panic!("{other:?}"),
            })
            .collect();
        prop_assert_eq!(again, expected);
    }
}

fn setting_name() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "work_mem",
            "DateStyle",
            "\"DateStyle\"",
            "app.user_id",
            "\"user\".\"Id\"",
            "session.a",
            "local.b",
            "names.c",
            "role",
        ][..],
    )
}

fn style() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "SET NAME TO VALUE",
            "set NAME=VALUE",
            "SET SESSION NAME = VALUE",
            "/* a */ SET/* b */NAME/* c */TO/* d */VALUE/* e */",
            "SET NAME TO VALUE -- done\n",
        ][..],
    )
}

fn value() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "1",
            "'a'",
            "-1.5",
            "on",
            "'a', \"B\", c",
            "E'\\'\\n'",
            "U&'\\0041'",
            "'ISO, MDY'",
            "'it''s'",
            "'a' /* x */ , b",
        ][..],
    )
}

const CASES: &[(&str, &str)] = &[
    ("", ""),
    ("SELECT 1; INSERT INTO t VALUES ('SET a.b = 1')", ""),
    ("SET work_mem = '1MB'", "work_mem='1MB'"),
    ("set Work_Mem to 64", "work_mem=64"),
    ("SET SESSION datestyle = ISO, MDY ;", "datestyle=ISO, MDY"),
    ("SET search_path TO a, \"B c\", 'd' -- why\n", "search_path=a, \"B c\", 'd'"),
    ("SET \"myapp\".user_id = 7", "myapp.user_id=7"),
    ("SET \"a\"\"b\".\"C\" = 7", "a\"b.c=7"),
    ("SET session.user_id = 7", "session.user_id=7"),
    ("SET a . b . c = 7", "a.b.c=7"),
    ("SET LOCAL work_mem = 1", "Local"),
    ("SET LOCAL TIME ZONE 'UTC'", "Local"),
    ("SET work_mem TO DEFAULT", "-work_mem"),
    ("SET SESSION work_mem = DEFAULT", "-work_mem"),
    ("SET work_mem FROM CURRENT", "Opaque"),
    ("RESET work_mem", "-work_mem"),
    ("RESET \"App\".X", "-app.x"),
    ("RESET ALL", "ResetAll"),
    ("RESET TIME ZONE", "-timezone"),
    ("RESET ROLE", "-role"),
    ("RESET SESSION AUTHORIZATION", "Opaque"),
    ("RESET TRANSACTION ISOLATION LEVEL", "Local"),
    ("DISCARD ALL", "DiscardAll"),
    ("DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES", ""),
    ("SET TIME ZONE 'Europe/Berlin'", "zone='Europe/Berlin'"),
    ("SET SESSION TIME ZONE INTERVAL '-08:00' HOUR TO MINUTE", "zone=INTERVAL '-08:00' HOUR TO MINUTE"),
    ("SET TIME ZONE -7", "zone=-7"),
    ("SET TIME ZONE LOCAL", "-timezone"),
    ("SET TIME ZONE DEFAULT", "-timezone"),
    ("SET timezone TO 'UTC'", "timezone='UTC'"),
    ("SET NAMES 'LATIN1'", "client_encoding='LATIN1'"),
    ("SET NAMES", "-client_encoding"),
    ("SET NAMES DEFAULT", "-client_encoding"),
    ("SET SCHEMA 'app'", "search_path='app'"),
    ("SET ROLE joe", "role=joe"),
    ("SET ROLE NONE", "role=NONE"),
    ("SET SESSION ROLE 'joe'", "role='joe'"),
    ("SET role TO joe", "role=joe"),
    ("SET SESSION AUTHORIZATION joe", "Opaque"),
    ("SET SESSION SESSION AUTHORIZATION DEFAULT", "Opaque"),
    ("SET LOCAL SESSION AUTHORIZATION joe", "Local"),
    ("SET session_authorization = 'joe'", "Opaque"),
    ("SET SEED TO 0.5", "Opaque"),
    ("SET XML OPTION DOCUMENT", "xmloption=DOCUMENT"),
    ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "Local"),
    ("SET SESSION TRANSACTION READ ONLY", "Local"),
    ("SET TRANSACTION SNAPSHOT '1'", "Local"),
    ("SET CONSTRAINTS ALL DEFERRED", "Local"),
    ("SET transaction_isolation = 'serializable'", "Local"),
    ("SET default_transaction_read_only = on", "default_transaction_read_only=on"),
    ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "default_transaction_read_only=on"),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE NOT DEFERRABLE; SET a.b = 1",
        "default_transaction_isolation='repeatable read' | default_transaction_read_only=off \
         | default_transaction_deferrable=off | a.b=1",
    ),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY, DEFERRABLE",
        "default_transaction_isolation='read committed' | default_transaction_read_only=on | default_transaction_deferrable=on",
    ),
    (
        "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "default_transaction_isolation='serializable'",
    ),
    ("SET U&\"\\0061\".b = 1", "Opaque"),
    ("SET CATALOG 'x'", ""),
    ("SET", ""),
    ("SET;;SET a.b", ""),
    ("RESET; SET a.b = 1", "a.b=1"),
    ("BEGIN; SET a.b = 1; COMMIT", "Begin | a.b=1 | Commit"),
    ("START TRANSACTION READ ONLY; SET LOCAL a.b = 1; ROLLBACK WORK", "Begin | Local | Rollback"),
    ("END; ABORT", "Commit | Rollback"),
    ("COMMIT AND CHAIN; SET a.b = 1; ROLLBACK AND NO CHAIN", "Commit | Begin | a.b=1 | Rollback"),
    ("PREPARE TRANSACTION 'x'", "Commit"),
    ("PREPARE transaction AS SELECT 1", ""),
    ("COMMIT PREPARED 'x'; ROLLBACK PREPARED 'x'", ""),
    ("SAVEPOINT a; SAVEPOINT \"B\"", "savepoint a | savepoint B"),
    ("RELEASE SAVEPOINT A; RELEASE b", "release a | release b"),
    ("ROLLBACK TO a; ROLLBACK WORK TO SAVEPOINT b", "back to a | back to b"),
    (
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; SELECT 2; END; SET a.b = 1",
        "a.b=1",
    ),
    ("CREATE RULE r AS ON INSERT TO t DO (DELETE FROM u; SELECT 1); RESET a", "-a"),
    ("ALTER ROLE joe SET work_mem = 1; DO $$ SET a.b = 1; $$", ""),
];

#[test]
fn channels_are_named_as_the_server_names_them() {
    let long = "L".repeat(70);
    for (text, expected) in [
        ("LISTEN Here; UNLISTEN \"Here\"", "listen here | unlisten Here"),
        ("UNLISTEN *", "UnlistenAll"),
        ("listen \"a \"\"b\"\"\"", "listen a \"b\""),
        ("UNLISTEN * ; LISTEN a", "UnlistenAll | listen a"),
        ("LISTEN", ""),
        ("LISTEN a b; LISTEN c", "listen c"),
        ("LISTEN 'a'", ""),
        ("LISTEN a.b", ""),
        ("UNLISTEN", ""),
        ("UNLISTEN * a", ""),
        ("LISTEN U&\"d\\0061\"", "Opaque"),
        ("CREATE RULE r AS ON UPDATE TO t DO ALSO (NOTIFY a; NOTIFY b); LISTEN a", "listen a"),
    ] {
        assert_eq!(all(text, Dialect::default()), expected, "{text}");
    }
    assert_eq!(all(&format!("LISTEN {long}"), Dialect::default()), format!("listen {}", "l".repeat(63)));
    assert_eq!(all(&format!("LISTEN \"{}\"", "ä".repeat(40)), Dialect::default()), "Opaque");
}
