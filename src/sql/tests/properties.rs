//! What holds of all texts, tried on thousands of random ones.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use super::naive;
use super::table::CASES;
use crate::sql::lexer::{Kind, Lexer};
use crate::sql::{Analysis, Dialect, Effects, Intent, changes, classify};

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn same_as_naive(text in nasty_text(), standard in any::<bool>()) {
        let dialect = Dialect { standard_conforming_strings: standard, ascii_safe: true };
        let mut lexer = Lexer::new(&text, dialect);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next();
            if token.kind == Kind::End {
                break;
            }
            tokens.push((token.kind, lexer.bytes(token).to_vec()));
        }
        let naive = naive::tokens(&text, standard);
        prop_assert_eq!(tokens, naive.tokens);
        prop_assert_eq!(lexer.unfinished, naive.unfinished);
    }

    #[test]
    fn any_bytes_have_an_answer(text in prop::collection::vec(any::<u8>(), 0..200), standard in any::<bool>(), safe in any::<bool>()) {
        let dialect = Dialect { standard_conforming_strings: standard, ascii_safe: safe };
        let analysis = classify(&text, dialect);
        prop_assert_eq!(analysis.intent == Intent::Empty, analysis.statements == 0 && !analysis.effects.contains(Effects::UNFINISHED));
        changes(&text, dialect).for_each(drop);
    }

    #[test]
    fn nasty_texts_have_an_answer(text in nasty_text(), standard in any::<bool>(), safe in any::<bool>()) {
        let dialect = Dialect { standard_conforming_strings: standard, ascii_safe: safe };
        let count = changes(&text, dialect).count();
        prop_assert!(count <= 2 * text.len());
        classify(&text, dialect);
    }

    #[test]
    fn what_surrounds_a_text_does_not_matter(
        (text, standard) in (prop_oneof![nasty_text(), case_text()], any::<bool>()),
        before in filler(),
        after in filler(),
    ) {
        let dialect = Dialect { standard_conforming_strings: standard, ascii_safe: true };
        let alone = classify(&text, dialect);
        let prefixed = [before.as_bytes(), &text].concat();
        prop_assert_eq!(classify(&prefixed, dialect), alone);
        if !alone.effects.contains(Effects::UNFINISHED) {
            let surrounded = [before.as_bytes(), &text, b"\n", after.as_bytes(), b";"].concat();
            prop_assert_eq!(classify(&surrounded, dialect), alone);
        }
    }

    /// Each text of the table keeps its answer when comments and white space change and the keywords' case
    /// does.
    #[test]
    fn dress_does_not_matter(case in select(CASES), fillers in prop::collection::vec(filler(), 64), upper in any::<u64>()) {
        let (text, intent, effects) = case;
        prop_assume!(!effects.contains(Effects::UNFINISHED));
        let dressed = dress(text.as_bytes(), &fillers, upper);
        let analysis = classify(&dressed, Dialect::default());
        prop_assert_eq!((analysis.intent, analysis.effects.without(Effects::UNKNOWN_CALL)), (intent, effects), "{}", String::from_utf8_lossy(&dressed));
    }

    /// The promise of the room: whatever a write is wrapped in, it is no read.
    #[test]
    fn no_write_is_called_a_read(write in write(), fillers in prop::collection::vec(filler(), 64), upper in any::<u64>()) {
        let dressed = dress(write.as_bytes(), &fillers, upper);
        for text in [write.as_bytes(), &dressed] {
            let Analysis { intent, .. } = classify(text, Dialect::default());
            prop_assert!(intent != Intent::Read, "{}", String::from_utf8_lossy(text));
        }
    }

    /// Two texts behind each other are a read only if both are.
    #[test]
    fn a_text_is_no_better_than_its_parts(a in select(CASES), b in select(CASES)) {
        prop_assume!(!a.0.contains('\0') && !a.2.contains(Effects::UNFINISHED));
        let both = format!("{}\n;{}", a.0, b.0);
        let analysis = classify(both.as_bytes(), Dialect::default());
        if analysis.intent == Intent::Read {
            for (text, intent, _) in [a, b] {
                prop_assert!(matches!(intent, Intent::Read | Intent::Session | Intent::Empty), "{}", text);
            }
        }
    }

    /// Of a text in an encoding like Shift JIS, only what has no such characters can be a read.
    #[test]
    fn what_an_encoding_hides_is_no_read(text in nasty_text()) {
        let safe = classify(&text, Dialect::default());
        let other = classify(&text, Dialect { ascii_safe: false, ..Dialect::default() });
        prop_assert!(other == safe || other.intent == Intent::Write);
        if text.is_ascii() {
            prop_assert_eq!(other, safe);
        }
    }
}

/// Pieces that mean something to a lexer, in any order.
fn nasty_text() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(select(NASTY), 0..30).prop_map(|pieces| pieces.concat())
}

fn case_text() -> impl Strategy<Value = Vec<u8>> {
    select(CASES).prop_map(|(text, ..)| text.as_bytes().to_vec())
}

/// What may stand between two tokens.
fn filler() -> impl Strategy<Value = String> {
    let filler = select(
        &[" ", "\n", "\t\r\n", "/* x */", "/* ' \" $$ ; */", "/* /* */ select */", "-- ; '\n", "/***/"][..],
    );
    prop::collection::vec(filler, 1..3).prop_map(|parts| parts.concat())
}

/// The same tokens with other things between them, and with the words in another case.
fn dress(text: &[u8], fillers: &[String], upper: u64) -> Vec<u8> {
    let mut dressed = Vec::new();
    for (index, (kind, bytes)) in naive::tokens(text, true).tokens.into_iter().enumerate() {
        // Two strings must not come to stand side by side over a line break: they would be one.
        dressed.extend_from_slice(fillers[index % fillers.len()].as_bytes());
        match kind {
            Kind::Word if upper >> (index % 64) & 1 == 1 => dressed.extend(bytes.to_ascii_uppercase()),
            _ => dressed.extend(bytes),
        }
    }
    dressed
}

/// Statements that write, lock or tell nodes apart, in wrappings that do not change that.
fn write() -> impl Strategy<Value = String> {
    let modifying = select(&MODIFYING[..]).prop_map(str::to_owned);
    let expression = select(&EXPRESSIONS[..]).prop_map(str::to_owned);
    let query = prop_oneof![
        modifying.clone().prop_map(|write| format!("WITH w AS ({write}) SELECT * FROM w")),
        modifying
            .clone()
            .prop_map(|write| format!("WITH a AS (SELECT 1), w (x, y) AS MATERIALIZED ({write}) TABLE w")),
        modifying.clone().prop_map(|write| format!("WITH RECURSIVE w AS ({write}) VALUES (1)")),
        modifying.clone().prop_map(|write| format!("WITH w AS (WITH v AS (SELECT 1) {write}) SELECT 1")),
        expression.clone().prop_map(|call| format!("SELECT {call}")),
        expression.clone().prop_map(|call| format!("VALUES (1, {call})")),
        expression
            .clone()
            .prop_map(|call| format!("SELECT a FROM t x (a) WHERE b IN (1, {call}) ORDER BY 1")),
        expression.clone().prop_map(|call| format!("SELECT DISTINCT ON (a) {call} FROM t")),
        expression.clone().prop_map(|call| format!(
            "SELECT DISTINCT ON (a, (b)) (c) FROM t, LATERAL (SELECT {call}) x (y)"
        )),
        expression
            .clone()
            .prop_map(|call| format!("SELECT CASE WHEN a THEN {call} ELSE sum(b) OVER (PARTITION BY c) END")),
        expression.clone().prop_map(|call| format!(
            "SELECT a[{call}]::numeric(3, 2), (b).c FROM t ORDER BY 1 LIMIT {call}"
        )),
        expression
            .clone()
            .prop_map(|call| format!("WITH a (b) AS (SELECT 1), c (d) AS (SELECT {call}) SELECT 1")),
        expression.clone().prop_map(|call| format!("SELECT count(*) FILTER (WHERE {call} IS NULL) FROM t")),
        expression
            .clone()
            .prop_map(|call| format!("SELECT 'a' LIKE 'b' ESCAPE {call}, x AT TIME ZONE {call}")),
        expression
            .clone()
            .prop_map(|call| format!("SELECT json_object(KEY 'a' VALUE {call}), date '2020-01-01' - {call}")),
        expression.prop_map(|call| format!(
            "SELECT * FROM a JOIN b USING (c) WHERE NOT {call} = -{call} GROUP BY (1)"
        )),
        select(&LOCKING[..]).prop_map(str::to_owned),
    ];
    let wrapped = query.prop_recursive(3, 8, 1, |inner| {
        prop_oneof![
            inner.clone().prop_map(|query| format!("({query})")),
            inner.clone().prop_map(|query| format!("SELECT * FROM ({query}) AS q (a, b)")),
            inner.clone().prop_map(|query| format!("SELECT 1 UNION ALL ({query})")),
            inner.clone().prop_map(|query| format!("SELECT EXISTS ({query}), abs(1)")),
            inner.prop_map(|query| format!(
                "WITH outer_one AS NOT MATERIALIZED ({query}) SELECT ARRAY (SELECT 1)"
            )),
        ]
    });
    let statement = prop_oneof![wrapped, modifying, select(&STATEMENTS[..]).prop_map(str::to_owned)];
    prop_oneof![
        4 => statement.clone(),
        1 => statement.clone().prop_map(|write| format!("EXPLAIN ANALYZE VERBOSE {write}")),
        1 => statement.clone().prop_map(|write| format!("EXPLAIN (ANALYZE, FORMAT json) {write}")),
        1 => statement.clone().prop_map(|write| format!("COPY ({write}) TO STDOUT")),
        1 => statement.clone().prop_map(|write| format!("SELECT 1; {write}")),
        1 => statement.clone().prop_map(|write| format!("{write}; SELECT $x$ ' $x$, 'a''b', \"c;\"")),
        1 => statement.prop_map(|write| format!("SELECT 'it''s', E'\\'', $$'$$, U&'\\0041', B'1' FROM \"a\"\"b\"; {write}")),
    ]
}

const MODIFYING: [&str; 7] = [
    "INSERT INTO t VALUES (1) RETURNING *",
    "INSERT INTO t (a, b) SELECT a, b FROM u ON CONFLICT (a) DO UPDATE SET b = 1 RETURNING a",
    "UPDATE t SET a = 1 RETURNING a",
    "UPDATE ONLY t AS x SET (a, b) = (SELECT 1, 2) WHERE x.c = 3",
    "DELETE FROM t WHERE a = 1 RETURNING a",
    "DELETE FROM t USING u",
    "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE",
];

const EXPRESSIONS: [&str; 16] = [
    "nextval('s')",
    "pg_catalog.setval('s', 1)",
    "\"nextval\" ('s')",
    "my_function(1)",
    "app.abs(1)",
    "\"Abs\"(1)",
    "U&\"\\0061bs\"(1)",
    "pg_advisory_lock(1)",
    "txid_current()",
    "set_config('a.b', 'c', false)",
    "pg_notify('a', 'b')",
    "lo_unlink(1)",
    "pg_is_in_recovery()",
    "current_setting('in_hot_standby')",
    "query_to_xml('delete from t', true, true, '')",
    "(SELECT last_value FROM s)",
];

const LOCKING: [&str; 8] = [
    "SELECT * FROM t FOR UPDATE",
    "SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED",
    "SELECT * FROM t FOR SHARE NOWAIT",
    "SELECT * FROM t FOR KEY SHARE OF t",
    "SELECT * INTO u FROM t",
    "SELECT 1 INTO TEMP u",
    "SELECT * FROM pg_stat_activity",
    "SELECT * FROM pg_catalog.\"pg_locks\"",
];

const STATEMENTS: [&str; 12] = [
    "CREATE TABLE t AS SELECT 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
    "CREATE MATERIALIZED VIEW v AS SELECT 1",
    "REFRESH MATERIALIZED VIEW v",
    "TRUNCATE t",
    "LOCK TABLE t",
    "CALL p(1)",
    "DO $$ BEGIN PERFORM 1; END $$",
    "VACUUM t",
    "EXECUTE p",
    "COPY t FROM STDIN",
];

const NASTY: &[&[u8]] = &[
    b"'",
    b"'",
    b"''",
    b"\\",
    b"\\'",
    b"\\\\",
    b"E'",
    b"e'",
    b"N'",
    b"n'",
    b"b'",
    b"X'",
    b"U&'",
    b"u&'",
    b"U&\"",
    b"u&",
    b"\"",
    b"\"\"",
    b"$$",
    b"$$",
    b"$a$",
    b"$a$",
    b"$a",
    b"$",
    b"$1",
    b"$1$",
    b"a$b$",
    b"--",
    b"--\n",
    b"/*",
    b"/*",
    b"*/",
    b"/*/",
    b"/",
    b"*",
    b"**",
    b"-",
    b"\n",
    b"\r",
    b" ",
    b" ",
    b"\t",
    b"\x0b",
    b";",
    b"(",
    b")",
    b"[",
    b"]",
    b"{",
    b",",
    b":",
    b"::",
    b":=",
    b".",
    b"..",
    b"=",
    b"<",
    b"@",
    b"~-",
    b"+",
    b"+-+",
    b"=-",
    b"0",
    b"1",
    b"12",
    b"0x",
    b"0x1F",
    b"0b",
    b"0o7",
    b"_",
    b"_1",
    b"1e",
    b"1e5",
    b"e+1",
    b".5",
    b"a",
    b"E",
    b"U",
    b"abs(",
    b"select ",
    b"SELECT",
    b"into",
    b" set ",
    b"begin",
    b"end",
    b"atomic ",
    b"create function ",
    b"case ",
    b"to ",
    b"as ",
    b"with ",
    b"copy ",
    b"explain ",
    b" local ",
    b" session ",
    b" time zone ",
    b"reset ",
    b"prepare transaction ",
    b"rollback to ",
    b"commit and chain",
    b"\xc3\xa9",
    b"\xff",
    b"\x83\\",
    b"\x01",
    b"\0",
];
