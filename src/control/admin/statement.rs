//! What an operator typed, or a driver said when it connected. Text in, request out.
//!
//! Names and keywords in any case, names in double quotes too, one statement with or without its semicolon. It is not
//! SQL: only what a console has to offer, and what drivers will not do without.

use super::canned;
use crate::control::failover::Order;
use crate::topology::NodeId;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Nothing, as drivers send to see whether somebody is there.
    Empty,
    Show(Table),
    /// A setting or a value, which is always the same here.
    Canned {
        column: String,
        value: String,
        tag: String,
    },
    /// Something that has no meaning here and must not fail, with its tag.
    Ignored(&'static str),
    Order(Order),
    Reload,
    /// Whether transactions may finish.
    Shutdown {
        drain: bool,
    },
    Refused {
        sqlstate: [u8; 5],
        message: String,
    },
}

/// What can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    Corrections,
    Failovers,
    Help,
    Listeners,
    NodePools,
    Nodes,
    PinStats,
    Pins,
    PoolNodes,
    PoolVersion,
    Pools,
    Shards,
    Stats,
    Version,
}

impl Table {
    /// By the names that SHOW takes, with what each shows.
    pub const ALL: [(&str, Table, &str); 14] = [
        ("HELP", Table::Help, "this list"),
        (
            "FAILOVERS",
            Table::Failovers,
            "each change of the primary: who saw what, why, how long each phase took",
        ),
        ("NODES", Table::Nodes, "each node: role, state, lag, positions, leases, queries so far"),
        (
            "POOLS",
            Table::Pools,
            "each database and user: clients and backends by what they do, as PgBouncer shows it",
        ),
        ("NODE_POOLS", Table::NodePools, "the same for each node"),
        ("PINS", Table::Pins, "each session that keeps a backend beyond its transaction: why, since when"),
        (
            "PIN_STATS",
            Table::PinStats,
            "by reason: sessions that keep a backend now, and how often one did so far",
        ),
        (
            "LISTENERS",
            Table::Listeners,
            "each session that listens without keeping a backend: to what, since when",
        ),
        (
            "CORRECTIONS",
            Table::Corrections,
            "by reason: reads that a standby refused and the primary did, and those sent there at once since then",
        ),
        ("SHARDS", Table::Shards, "each shard: clients, queries, backends, and which picture it routes by"),
        ("STATS", Table::Stats, "totals, and rates and percentiles (µs) of the last minute"),
        ("VERSION", Table::Version, "the version of pgweir"),
        ("POOL_NODES", Table::PoolNodes, "each node, as pgpool-II 4.3 shows it"),
        ("POOL_VERSION", Table::PoolVersion, "the version of pgpool-II that pool_nodes follows"),
    ];
}

/// Reads one statement.
pub(super) fn parse(text: &str) -> Request {
    let mut tokens = match tokens(text) {
        Ok(tokens) => tokens,
        Err(message) => return syntax(message),
    };
    while tokens.last() == Some(&Token::Symbol(';')) {
        tokens.pop();
    }
    if tokens.contains(&Token::Symbol(';')) {
        return syntax("the console takes one statement at a time");
    }
    let words: Vec<String> = tokens.iter().map(Token::word).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => Request::Empty,
        ["help"] => Request::Show(Table::Help),
        ["show", ref name @ ..] => show(name, "SHOW"),
        ["select", ref name @ ..] => select(name, &tokens[1..]),
        ["set", _, ..] => Request::Ignored("SET"),
        ["reset", _] => Request::Ignored("RESET"),
        ["begin", ..] => Request::Ignored("BEGIN"),
        ["start", "transaction", ..] => Request::Ignored("START TRANSACTION"),
        ["commit" | "end", ..] => Request::Ignored("COMMIT"),
        ["rollback" | "abort", ..] => Request::Ignored("ROLLBACK"),
        ["discard", "all"] => Request::Ignored("DISCARD ALL"),
        ["deallocate", ..] => Request::Ignored("DEALLOCATE"),
        ["close", ..] => Request::Ignored("CLOSE CURSOR"),
        ["unlisten", ..] => Request::Ignored("UNLISTEN"),
        ["attach", node] => about(node, Order::Attach),
        ["detach", node] => about(node, Order::Detach),
        ["promote", node] => about(node, Order::Promote),
        ["switchover"] => Request::Order(Order::Switchover { to: None }),
        ["switchover", "to", node] => about(node, |node| Order::Switchover { to: Some(node) }),
        ["pause"] => Request::Order(Order::Pause),
        ["resume"] => Request::Order(Order::Resume),
        ["attach" | "detach" | "promote", ..] => {
            syntax("it takes the number of a node, as SHOW NODES shows it")
        }
        ["switchover", ..] => syntax("SWITCHOVER takes TO and the number of a node, or nothing"),
        ["pause" | "resume", ..] => unsupported("PAUSE and RESUME are for all databases together".into()),
        ["reload"] => Request::Reload,
        ["shutdown"] => Request::Shutdown { drain: false },
        ["shutdown", "wait_for_servers"] => Request::Shutdown { drain: true },
        ["shutdown", ..] => unsupported("SHUTDOWN takes no word but WAIT_FOR_SERVERS".into()),
        ["pgpool", ..] => {
            unsupported("PGPOOL SET, RESET and SHOW are pgpool-II's own; here SET works as anywhere".into())
        }
        [verb, ..] if OF_PGBOUNCER.contains(&verb) => {
            unsupported(format!("{} is not offered by this version", upper(verb)))
        }
        [_, ..] => syntax("the console does not know this statement"),
    }
}

/// An order about the node with this number.
fn about(node: &str, order: impl Fn(NodeId) -> Order) -> Request {
    match node.parse() {
        Ok(node) => Request::Order(order(NodeId(node))),
        Err(_) => syntax("a node is meant by its number, as SHOW NODES shows it"),
    }
}

fn show(name: &[&str], tag: &str) -> Request {
    let shown = match *name {
        [] => return syntax("SHOW needs a name"),
        ["transaction", "isolation", "level"] => "transaction_isolation",
        ["time", "zone"] => "timezone",
        [name] => name,
        _ => return syntax("SHOW takes one name"),
    };
    if let Some((_, table, _)) = Table::ALL.iter().find(|(name, ..)| name.eq_ignore_ascii_case(shown)) {
        return Request::Show(*table);
    }
    if let Some((column, value)) = canned::setting(shown) {
        return Request::Canned { column: column.into(), value, tag: tag.into() };
    }
    match shown.starts_with("pool_") {
        true => unsupported(format!("SHOW {shown} of pgpool-II is not offered by this version")),
        false => unsupported(format!("there is nothing called \"{shown}\" to show")),
    }
}

/// `SELECT name` is another way to say SHOW; the rest is what drivers and monitors ask to see that somebody answers.
fn select(words: &[&str], tokens: &[Token]) -> Request {
    let one = || "SELECT 1".to_owned();
    match (words, tokens) {
        ([], _) => syntax("SELECT needs a name"),
        ([_], [Token::Number(number)]) => {
            Request::Canned { column: "?column?".into(), value: number.clone(), tag: one() }
        }
        ([_], [Token::Text(text)]) => {
            Request::Canned { column: "?column?".into(), value: text.clone(), tag: one() }
        }
        ([function, "(", ")"], _) => match canned::function(function) {
            Some(value) => Request::Canned { column: (*function).into(), value, tag: one() },
            None => unsupported(format!("the console has no function {function}()")),
        },
        (["current_setting", "(", _, ")"], [_, _, Token::Text(name), _]) => {
            match canned::setting(&name.to_ascii_lowercase()) {
                Some((_, value)) => Request::Canned { column: "current_setting".into(), value, tag: one() },
                None => unsupported(format!("the console has no setting \"{name}\"")),
            }
        }
        (name @ [_], _) => show(name, "SELECT 1"),
        _ => unsupported("the console is no database: it has only what SHOW HELP lists".into()),
    }
}

fn syntax(message: &str) -> Request {
    Request::Refused { sqlstate: *b"42601", message: message.into() }
}

fn unsupported(message: String) -> Request {
    Request::Refused { sqlstate: *b"0A000", message }
}

fn upper(word: &str) -> String {
    word.to_ascii_uppercase()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// In lower case.
    Name(String),
    Number(String),
    /// A string in single quotes, without them.
    Text(String),
    Symbol(char),
}

impl Token {
    /// As the grammar looks at it. A string is never a keyword.
    fn word(&self) -> String {
        match self {
            Token::Name(name) => name.clone(),
            Token::Number(number) => number.clone(),
            Token::Text(text) => format!("'{text}'"),
            Token::Symbol(symbol) => symbol.to_string(),
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = skip_blanks(rest)?;
        let Some(first) = rest.chars().next() else { return Ok(tokens) };
        let token = match first {
            '"' => {
                let (name, after) = quoted(rest, '"')?;
                rest = after;
                Token::Name(name.to_lowercase())
            }
            '\'' => {
                let (string, after) = quoted(rest, '\'')?;
                rest = after;
                Token::Text(string)
            }
            '0'..='9' => Token::Number(take(&mut rest, |c| c.is_ascii_digit() || c == '.')),
            c if is_name(c) => Token::Name(take(&mut rest, is_name).to_lowercase()),
            symbol => {
                rest = &rest[symbol.len_utf8()..];
                Token::Symbol(symbol)
            }
        };
        tokens.push(token);
        if tokens.len() > TOKENS_MAX {
            return Err("the statement is too long for the console");
        }
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The longest start of `rest` of such characters, which is taken off.
fn take(rest: &mut &str, wanted: impl Fn(char) -> bool) -> String {
    let end = rest.find(|c| !wanted(c)).unwrap_or(rest.len());
    let (taken, after) = rest.split_at(end);
    *rest = after;
    taken.to_owned()
}

/// A string between quotes, of which two in a row stand for one, and what follows.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    let mut rest = text.strip_prefix(quote).unwrap_or(text);
    let mut string = String::new();
    loop {
        let end = rest.find(quote).ok_or("a quote is not closed")?;
        string.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix(quote) {
            Some(after) => {
                string.push(quote);
                rest = after;
            }
            None => return Ok((string, rest)),
        }
    }
}

/// What follows white space and comments. Unlike PostgreSQL's, comments do not nest.
fn skip_blanks(mut text: &str) -> Result<&str, &'static str> {
    loop {
        text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '\0');
        if let Some(comment) = text.strip_prefix("--") {
            text = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = text.strip_prefix("/*") {
            text = comment.find("*/").map(|end| &comment[end + 2..]).ok_or("a comment is not closed")?;
        } else {
            return Ok(text);
        }
    }
}

/// Statements of PgBouncer's console that have no counterpart yet.
const OF_PGBOUNCER: &[&str] =
    &["disable", "enable", "kill", "kill_client", "reconnect", "suspend", "wait_close"];

/// No statement of the console has more; a longer one is meant for a database.
const TOKENS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canned(column: &str, value: &str, tag: &str) -> Request {
        Request::Canned { column: column.into(), value: value.into(), tag: tag.into() }
    }

    fn sqlstate(text: &str) -> Option<[u8; 5]> {
        match parse(text) {
            Request::Refused { sqlstate, .. } => Some(sqlstate),
            _ => None,
        }
    }

    #[test]
    fn statements() {
        for (text, request) in [
            ("", Request::Empty),
            (" ; ;", Request::Empty),
            ("-- nothing", Request::Empty),
            ("SHOW POOLS", Request::Show(Table::Pools)),
            ("show node_pools", Request::Show(Table::NodePools)),
            ("show pools;", Request::Show(Table::Pools)),
            ("/* a */ Show -- b\n \"Pools\" ;", Request::Show(Table::Pools)),
            ("SELECT pools", Request::Show(Table::Pools)),
            ("show pool_nodes", Request::Show(Table::PoolNodes)),
            ("SHOW POOL_VERSION", Request::Show(Table::PoolVersion)),
            ("HELP", Request::Show(Table::Help)),
            ("show failovers", Request::Show(Table::Failovers)),
            ("SWITCHOVER", Request::Order(Order::Switchover { to: None })),
            ("switchover to 2;", Request::Order(Order::Switchover { to: Some(NodeId(2)) })),
            ("DETACH 1", Request::Order(Order::Detach(NodeId(1)))),
            ("ATTACH 1", Request::Order(Order::Attach(NodeId(1)))),
            ("Promote 0", Request::Order(Order::Promote(NodeId(0)))),
            ("PAUSE", Request::Order(Order::Pause)),
            ("RESUME", Request::Order(Order::Resume)),
            ("RELOAD", Request::Reload),
            ("SHUTDOWN", Request::Shutdown { drain: false }),
            ("shutdown wait_for_servers;", Request::Shutdown { drain: true }),
            ("SET client_encoding TO 'UTF8'", Request::Ignored("SET")),
            ("set a = 1", Request::Ignored("SET")),
            ("begin", Request::Ignored("BEGIN")),
            ("BEGIN ISOLATION LEVEL READ COMMITTED", Request::Ignored("BEGIN")),
            ("commit", Request::Ignored("COMMIT")),
            ("DISCARD ALL", Request::Ignored("DISCARD ALL")),
            ("SHOW client_encoding", canned("client_encoding", "UTF8", "SHOW")),
            ("SHOW DateStyle", canned("DateStyle", "ISO, MDY", "SHOW")),
            ("SHOW TRANSACTION ISOLATION LEVEL", canned("transaction_isolation", "read committed", "SHOW")),
            ("SELECT standard_conforming_strings", canned("standard_conforming_strings", "on", "SELECT 1")),
            ("SELECT current_setting('timezone')", canned("current_setting", "UTC", "SELECT 1")),
            ("select 1", canned("?column?", "1", "SELECT 1")),
            ("SELECT 'it''s'", canned("?column?", "it's", "SELECT 1")),
            ("SELECT current_database()", canned("current_database", "pgweir", "SELECT 1")),
        ] {
            assert_eq!(parse(text), request, "{text}");
        }
    }

    #[test]
    fn refusals_have_the_sqlstate_of_their_kind() {
        for text in [
            "SHOW",
            "SELECT",
            "SHOW a b",
            "SHOW POOLS; SHOW NODES",
            "nonsense",
            "SHOW \"pools",
            "/* x",
            "'show' pools",
            "DETACH",
            "DETACH ann",
            "ATTACH 256",
            "PROMOTE 1 2",
            "SWITCHOVER 1",
            "SWITCHOVER TO ann",
        ] {
            assert_eq!(sqlstate(text), Some(*b"42601"), "{text}");
        }
        for text in [
            "SHOW nonsense",
            "SHOW pool_status",
            "SHOW POOL_PROCESSES",
            "PAUSE app",
            "kill app",
            "PGPOOL SHOW ALL",
            "SHUTDOWN WAIT_FOR_CLIENTS",
            "SELECT * FROM t",
            "SELECT f()",
        ] {
            assert_eq!(sqlstate(text), Some(*b"0A000"), "{text}");
        }
        let long = "x ".repeat(TOKENS_MAX + 1);
        assert_eq!(sqlstate(&long), Some(*b"42601"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_request_or_refused(text in "(?s).{0,80}") {
            parse(&text);
        }

        #[test]
        fn what_looks_like_a_statement_is_read_in_any_dress(
            index in 0..Table::ALL.len(),
            upper: bool,
            quoted: bool,
            blank in "[ \t\n]{1,3}",
            end in "[; \n]{0,3}",
        ) {
            let (name, table, _) = Table::ALL[index];
            let name = if upper { name.to_uppercase() } else { name.to_lowercase() };
            let name = if quoted { format!("\"{name}\"") } else { name };
            prop_assert_eq!(parse(&format!("{blank}ShOw{blank}{name}{end}")), Request::Show(table));
        }
    }
}
