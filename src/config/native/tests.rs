//! Each key of pgweir.toml: what it takes, what it refuses, how it prints.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::print::reference;
use super::*;
use crate::config::{Admin, AuthMethod, Causal, HbaSource, PoolMode, Reads};

fn read(text: &str) -> Draft {
    draft(text, Path::new("f.toml"))
}

/// A document with one key of one section.
fn document(section: &str, name: &str, value: &str) -> String {
    match section {
        "" => format!("{name} = {value}\n"),
        "[node]" if name != "host" => format!("[[node]]\nhost = \"h\"\n{name} = {value}\n"),
        section => format!("[{section}]\n{name} = {value}\n"),
    }
}

/// Section, key, a value other than the default, how it prints (empty: the same).
const GOOD: &[(&str, &str, &str, &str)] = &[
    ("", "shutdown_timeout", "\"90s\"", ""),
    ("", "shutdown_timeout", "0", "\"0\""),
    ("listen", "address", "\"*\"", ""),
    ("listen", "address", "[\"10.0.0.1\", \"::1\"]", ""),
    ("listen", "address", "[]", ""),
    ("listen", "port", "1", ""),
    ("listen", "port", "0xffff", "65535"),
    ("listen", "unix_socket_dir", "\"/run/pgweir\"", ""),
    ("listen", "unix_socket_dir", "[\"/a\", \"/b\"]", ""),
    ("listen", "unix_socket_mode", "\"0700\"", ""),
    ("listen", "backlog", "65535", ""),
    ("shards", "count", "1024", ""),
    ("shards", "cores", "[2, 3]", ""),
    ("shards", "pin", "false", ""),
    ("shards", "spin", "\"50us\"", ""),
    ("pool", "mode", "\"session\"", ""),
    ("pool", "mode", "\"statement\"", ""),
    ("pool", "size", "10000", ""),
    ("pool", "client_max", "1000000", ""),
    ("pool", "replication_max", "0", ""),
    ("pool", "checkout_timeout", "\"1ms\"", ""),
    ("pool", "idle_timeout", "0", "\"0\""),
    ("pool", "idle_timeout", "\"1ms\"", ""),
    ("pool", "lifetime_max", "\"30d\"", ""),
    ("pool", "client_idle_timeout", "\"3600s\"", "\"1h\""),
    ("pool", "connect_timeout", "\"1h\"", ""),
    ("pool", "statements_max", "1", ""),
    ("pool", "pin", "\"refuse\"", ""),
    ("pool", "reset", "[\"RESET ALL\", \"DISCARD TEMP\"]", ""),
    ("pool", "reset", "\"RESET ALL\"", ""),
    ("auth", "method", "\"trust\"", ""),
    ("auth", "method", "\"password\"", ""),
    ("auth", "method", "\"md5\"", ""),
    ("auth", "method", "\"hba\"", ""),
    ("auth", "users", "\"users.txt\"", ""),
    ("auth", "hba", "\"hba.conf\"", ""),
    ("auth", "login_timeout", "\"100ms\"", ""),
    ("route", "reads", "\"primary\"", ""),
    ("route", "reads", "\"any\"", ""),
    ("route", "causal", "\"off\"", ""),
    ("route", "causal", "\"global\"", ""),
    ("route", "balance", "\"session\"", ""),
    ("route", "lag_max", "\"10MB\"", ""),
    ("route", "lag_max_time", "\"5s\"", ""),
    ("monitor", "user", "\"pgweir\"", ""),
    ("monitor", "password", "\"it's \\\"secret\\\"\"", ""),
    ("monitor", "database", "\"app\"", ""),
    ("monitor", "interval", "\"10ms\"", ""),
    ("monitor", "timeout", "\"1h\"", ""),
    ("monitor", "retries", "0", ""),
    ("failover", "mode", "\"observe\"", ""),
    ("failover", "mode", "\"promote\"", ""),
    ("failover", "mode", "\"command\"", ""),
    ("failover", "max_data_loss", "\"0B\"", "\"0\""),
    ("failover", "max_data_loss", "\"1MB\"", ""),
    ("failover", "hold_time", "0", "\"0\""),
    ("failover", "hold_max", "1", ""),
    ("failover", "hold_bytes", "\"1TB\"", ""),
    ("failover", "on_backend_error", "false", ""),
    ("failover", "on_backend_shutdown", "false", ""),
    ("failover", "suspect_timeout", "0", "\"0\""),
    ("failover", "fence_timeout", "\"10ms\"", ""),
    ("failover", "choose_timeout", "\"1h\"", ""),
    ("failover", "promote_timeout", "\"100ms\"", ""),
    ("failover", "search_timeout", "\"1d\"", ""),
    ("failover", "follow_timeout", "\"2s\"", ""),
    ("failover", "drain_timeout", "\"1ms\"", ""),
    ("failover", "catch_up_timeout", "\"1min\"", ""),
    ("failover", "alarm_interval", "\"1s\"", ""),
    ("failover", "failover_command", "\"promote %h\"", ""),
    ("failover", "follow_primary_command", "\"follow %H\"", ""),
    ("failover", "failback_command", "\"tell %d\"", ""),
    ("failover", "detach_false_primary", "true", ""),
    ("failover", "auto_failback", "true", ""),
    ("failover", "auto_failback_interval", "0", "\"0\""),
    ("admin", "users", "[\"ann\", \"bob\"]", ""),
    ("log", "connections", "true", ""),
    ("log", "level", "\"trace\"", ""),
    ("database.app", "mode", "\"session\"", ""),
    ("database.app", "size", "5", ""),
    ("user.app", "mode", "\"statement\"", ""),
    ("user.app", "size", "5", ""),
    ("[node]", "host", "\"/run/postgresql\"", ""),
    ("[node]", "port", "65535", ""),
    ("[node]", "weight", "0.5", ""),
    ("[node]", "weight", "0", ""),
    ("[node]", "always_primary", "true", ""),
    ("[node]", "disallow_failover", "true", ""),
    ("[node]", "candidate", "0", ""),
    ("[node]", "probe_interval", "\"10ms\"", ""),
    ("[node]", "probe_timeout", "\"1h\"", ""),
    ("[node]", "probe_retries", "0", ""),
    ("[node]", "data_directory", "\"/data\"", ""),
    ("[node]", "application_name", "\"one\"", ""),
];

/// Section, key, a value that is refused, part of the reason.
const BAD: &[(&str, &str, &str, &str)] = &[
    ("", "shutdown_timeout", "\"2d\"", "2d is out of range: write 1us to 1d, or 0"),
    ("listen", "address", "5", "it is an integer: write a text in quotes, or a list"),
    ("listen", "address", "[1]", "it is an integer: write a text in quotes"),
    ("listen", "address", "\"\"", "it is empty"),
    ("listen", "address", "[\"a\", \"a\"]", "\"a\" is in the list twice"),
    ("listen", "port", "0", "0 is out of range: write 1 to 65535"),
    ("listen", "port", "-1", "-1 is out of range"),
    ("listen", "port", "65536", "out of range"),
    ("listen", "port", "99999999999999999999999999999999999999999", "out of range"),
    ("listen", "port", "\"6432\"", "it is a string: write a whole number without quotes"),
    ("listen", "unix_socket_dir", "true", "it is a boolean"),
    ("listen", "unix_socket_mode", "777", "write it in quotes and octal"),
    ("listen", "unix_socket_mode", "\"1777\"", "is no file mode"),
    ("listen", "unix_socket_mode", "\"+7\"", "is no file mode"),
    ("listen", "backlog", "0", "write 1 to 65535"),
    ("shards", "count", "0", "write 1 to 1024"),
    ("shards", "count", "1025", "write 1 to 1024"),
    ("shards", "cores", "2", "it is no list"),
    ("shards", "cores", "[]", "leave it out"),
    ("shards", "cores", "[1, 1]", "core 1 is in the list twice"),
    ("shards", "cores", "[1024]", "write 0 to 1023"),
    ("shards", "pin", "\"no\"", "write true or false, without quotes"),
    ("shards", "spin", "\"2s\"", "write 1us to 1s, or 0"),
    ("pool", "mode", "\"transactions\"", "is none of session, transaction, statement"),
    ("pool", "mode", "1", "a word in quotes, one of session, transaction, statement"),
    ("pool", "size", "0", "write 1 to 10000"),
    ("pool", "size", "10001", "write 1 to 10000"),
    ("pool", "client_max", "1000001", "write 1 to 1000000"),
    ("pool", "replication_max", "10001", "write 0 to 10000"),
    ("pool", "checkout_timeout", "0", "0 is out of range: write 1ms to 1d"),
    ("pool", "checkout_timeout", "30", "30 lacks its unit"),
    ("pool", "checkout_timeout", "30.5", "it is a float: write a duration in quotes"),
    ("pool", "idle_timeout", "\"31d\"", "write 1ms to 30d, or 0"),
    ("pool", "lifetime_max", "\"1ms\"", "write 1s to 30d, or 0"),
    ("pool", "client_idle_timeout", "\"1us\"", "write 1ms to 30d, or 0"),
    ("pool", "connect_timeout", "\"0\"", "write 1ms to 1h"),
    ("pool", "statements_max", "0", "write 1 to 100000"),
    ("pool", "pin", "\"never\"", "is none of allow, refuse"),
    ("pool", "reset", "[]", "write [\"DISCARD ALL\"]"),
    ("auth", "method", "\"cert\"", "needs TLS"),
    ("auth", "method", "\"scram\"", "is none of trust, password, md5, scram-sha-256, hba"),
    ("auth", "users", "[\"a\"]", "it is an array: write a text in quotes"),
    ("auth", "hba", "\"\"", "it is empty"),
    ("auth", "login_timeout", "\"1ms\"", "write 100ms to 1h"),
    ("route", "reads", "\"replica\"", "is none of primary, any, replicas"),
    ("route", "causal", "true", "one of off, session, global"),
    ("route", "balance", "\"random\"", "is none of statement, session"),
    ("route", "lag_max", "10", "10 lacks its unit"),
    ("route", "lag_max", "\"10mb\"", "which is none of B, kB, MB, GB, TB"),
    ("route", "lag_max", "\"1025TB\"", "write 0 to 1024TB"),
    ("route", "lag_max_time", "\"2d\"", "write 1ms to 1d, or 0"),
    ("monitor", "user", "\"\"", "it is empty"),
    ("monitor", "password", "\"a\\u0000\"", "it holds a zero byte"),
    ("monitor", "database", "1", "it is an integer"),
    ("monitor", "interval", "\"1ms\"", "write 10ms to 1h"),
    ("monitor", "timeout", "\"2h\"", "write 10ms to 1h"),
    ("monitor", "retries", "1001", "write 0 to 1000"),
    ("failover", "mode", "\"none\"", "is none of observe, promote, command"),
    ("failover", "max_data_loss", "1", "1 lacks its unit"),
    ("failover", "hold_time", "\"2h\"", "write 1us to 1h, or 0"),
    ("failover", "hold_max", "0", "write 1 to 1000000"),
    ("failover", "hold_bytes", "\"2TB\"", "write 0 to 1TB"),
    ("failover", "on_backend_error", "1", "write true or false"),
    ("failover", "on_backend_shutdown", "0", "write true or false"),
    ("failover", "suspect_timeout", "\"2h\"", "write 1us to 1h, or 0"),
    ("failover", "fence_timeout", "0", "write 10ms to 1h"),
    ("failover", "choose_timeout", "\"1ms\"", "write 10ms to 1h"),
    ("failover", "promote_timeout", "\"1ms\"", "write 100ms to 1h"),
    ("failover", "search_timeout", "\"2d\"", "write 100ms to 1d"),
    ("failover", "follow_timeout", "0", "write 100ms to 1d"),
    ("failover", "drain_timeout", "0", "write 1ms to 1h"),
    ("failover", "catch_up_timeout", "\"1ms\"", "write 10ms to 1h"),
    ("failover", "alarm_interval", "\"1ms\"", "write 1s to 1d"),
    ("failover", "failover_command", "[\"a\"]", "it is an array"),
    ("failover", "follow_primary_command", "\"\"", "it is empty"),
    ("failover", "failback_command", "1", "it is an integer"),
    ("failover", "detach_false_primary", "1", "write true or false"),
    ("failover", "auto_failback", "\"on\"", "write true or false"),
    ("failover", "auto_failback_interval", "\"2d\"", "write 1us to 1d, or 0"),
    ("admin", "users", "false", "it is a boolean"),
    ("log", "connections", "1", "write true or false"),
    ("log", "level", "\"warning\"", "is none of error, warn, info, debug, trace"),
    ("database.app", "mode", "\"x\"", "is none of"),
    ("database.app", "size", "0", "write 1 to 10000"),
    ("user.app", "mode", "\"x\"", "is none of"),
    ("user.app", "size", "0", "write 1 to 10000"),
    ("[node]", "host", "\"\"", "it is empty"),
    ("[node]", "port", "0", "write 1 to 65535"),
    ("[node]", "weight", "-0.1", "write 0 to 1000000"),
    ("[node]", "weight", "nan", "write 0 to 1000000"),
    ("[node]", "weight", "\"1\"", "write a number without quotes"),
    ("[node]", "always_primary", "1", "write true or false"),
    ("[node]", "disallow_failover", "1", "write true or false"),
    ("[node]", "candidate", "1001", "write 0 to 1000"),
    ("[node]", "probe_interval", "\"1ms\"", "write 10ms to 1h"),
    ("[node]", "probe_timeout", "0", "write 10ms to 1h"),
    ("[node]", "probe_retries", "1001", "write 0 to 1000"),
    ("[node]", "data_directory", "1", "it is an integer"),
    ("[node]", "application_name", "[]", "it is an array"),
];

#[test]
fn each_key_takes_its_values_and_prints_them() {
    for (section, name, value, printed) in GOOD {
        let draft = read(&document(section, name, value));
        assert!(draft.errors.is_empty(), "{section} {name}: {:?}", draft.errors);
        let printed = if printed.is_empty() { value } else { printed };
        let out = draft.config.to_toml(Passwords::Written);
        let line = format!("\n{name} = {printed}\n");
        assert!(format!("\n{out}").contains(&line), "{line} not in {out}");
    }
}

#[test]
fn each_key_refuses_what_is_out_of_its_bounds() {
    for (section, name, value, reason) in BAD {
        let draft = read(&document(section, name, value));
        assert_eq!(draft.errors.len(), 1, "{section} {name} = {value}: {:?}", draft.errors);
        let error = draft.errors[0].to_string();
        assert!(error.contains(reason), "{error}");
        let title = match *section {
            "" => (*name).to_string(),
            section => format!("[{section}] {name}"),
        };
        assert!(error.contains(&title), "{error}");
    }
}

#[test]
fn no_key_is_left_out_of_these_tables() {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    for section in SECTIONS {
        keys.extend(section.keys.iter().map(|key| (section.name, key.name)));
    }
    for kind in ["database.app", "user.app"] {
        keys.extend(OVERRIDE.iter().map(|key| (kind, key.name)));
    }
    keys.extend(NODE.iter().map(|key| ("[node]", key.name)));
    for key in keys {
        for table in [GOOD, BAD] {
            assert!(table.iter().any(|row| (row.0, row.1) == key), "{key:?}");
        }
    }
}

#[test]
fn the_documented_example_is_the_reference_and_holds_every_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/full.toml");
    let text = std::fs::read_to_string(path).unwrap();
    assert_eq!(text, reference());
    let draft = read(&text);
    assert!(draft.errors.is_empty(), "{:?}", draft.errors);
    let mut expected = Config { nodes: vec![Node::default()], ..Config::default() };
    expected.auth.users_file = Some("userlist.txt".into());
    expected.databases.insert("reports".into(), PoolOverride::default());
    expected.users.insert("batch".into(), PoolOverride::default());
    assert_eq!(draft.config, expected);
}

#[test]
fn a_misplaced_key_is_sent_home() {
    for (text, error) in [
        ("port = 1\n", "f.toml:1: port: there is no such key here: it belongs in [listen]"),
        ("[listen]\nsize = 1\n", "f.toml:2: [listen] size: there is no such key here: it belongs in [pool]"),
        (
            "[pool]\nshutdown_timeout = 1\n",
            "f.toml:2: [pool] shutdown_timeout: there is no such key in [pool]: it stands above \
             the first section",
        ),
        (
            "shutdown_timeot = 1\n",
            "f.toml:1: shutdown_timeot: there is no such key here: did you mean \
             \"shutdown_timeout\"?",
        ),
        ("[pol]\n", "f.toml:1: [pol]: there is no such section: did you mean [pool]?"),
        ("[nodes]\n", "f.toml:1: [nodes]: there is no such section: did you mean [node]?"),
        ("[node]\nhost = \"a\"\n", "f.toml:1: [node]: write it with two brackets: [[node]]"),
        ("pool = 5\n", "f.toml:1: pool: it is a section: write [pool] on a line of its own"),
        (
            "[database]\nsize = 5\n",
            "f.toml:2: [database] size: write the database's name first: [database.NAME]",
        ),
        ("user = 5\n", "f.toml:1: user: it is a section: write [user.NAME]"),
        ("[[pool]]\nsize = 5\n", "f.toml:1: pool: it is a section: write [pool] on a line of its own"),
        ("node = [5]\n", "f.toml:1: [[node]]: write it as a section: [[node]] and its keys below"),
        (
            "[database.app]\nsice = 5\n",
            "f.toml:2: [database.app] sice: there is no such key here: did you mean \"size\"?",
        ),
    ] {
        let draft = read(text);
        let errors: Vec<String> = draft.errors.iter().map(|error| error.to_string()).collect();
        assert_eq!(errors, [error]);
    }
}

#[test]
fn every_line_that_is_not_toml_is_reported() {
    let draft = read("[listen]\nport = \n[pool]\nsize = 5 5\nmodus = 1\n");
    let lines: Vec<Option<usize>> = draft.errors.iter().map(|error| error.line).collect();
    for line in [2, 4, 5] {
        assert!(lines.contains(&Some(line)), "{:?}", draft.errors);
    }
    assert!(draft.torn);
    let twice = read("[pool]\nsize = 1\nsize = 2\n");
    assert!(twice.errors[0].to_string().contains("f.toml:3: this is not TOML: duplicate key"));
}

fn configs() -> impl Strategy<Value = Config> {
    let word = "[a-zA-Z0-9 \"'\\\\\u{e9}\t-]{1,12}";
    let node = ("[a-z0-9./:-]{1,20}", 1..=u16::MAX, 0.0..1e6f64, any::<bool>(), proptest::option::of(word));
    let nodes = proptest::collection::vec(node, 0..4);
    let pools = proptest::collection::btree_map(word, proptest::option::of(1..=10_000u32), 0..3);
    (nodes, pools, word, 1..100_000u64, proptest::option::of(1..1u64 << 50), any::<bool>()).prop_map(
        |(nodes, pools, text, number, lag, flag)| {
            let mut config = Config::default();
            config.listen.addresses = vec![text.clone(), format!("{text}2")];
            config.shards.count = flag.then_some(7);
            config.shards.cores = flag.then(|| vec![5, 1]);
            config.pool.mode = if flag { PoolMode::Session } else { PoolMode::Statement };
            config.pool.checkout_timeout = Duration::from_millis(number);
            config.auth.method = if flag { AuthMethod::Hba } else { AuthMethod::Md5 };
            config.auth.users_file = Some(text.clone().into());
            config.auth.hba = flag.then(|| HbaSource { path: text.clone().into(), text: String::new() });
            config.route.reads = if flag { Reads::Any } else { Reads::Primary };
            config.route.causal = if flag { Causal::Off } else { Causal::Global };
            config.route.lag_max = lag;
            config.monitor.password = flag.then(|| text.clone());
            config.admin = Admin { users: vec![text] };
            config.databases =
                pools.into_iter().map(|(name, size)| (name, PoolOverride { mode: None, size })).collect();
            config.users = config.databases.clone();
            config.nodes = nodes
                .into_iter()
                .map(|(host, port, weight, flag, name)| Node {
                    host,
                    port,
                    weight,
                    always_primary: flag,
                    disallow_failover: !flag,
                    candidate: u32::from(flag),
                    probe_interval: flag.then_some(Duration::from_secs(2)),
                    probe_timeout: flag.then_some(Duration::from_secs(3)),
                    probe_retries: flag.then_some(4),
                    data_directory: name.clone(),
                    application_name: name,
                })
                .collect();
            config
        },
    )
}

proptest! {
    #[test]
    fn what_is_printed_loads_back_equal(config in configs()) {
        let text = config.to_toml(Passwords::Written);
        let draft = read(&text);
        prop_assert!(draft.errors.is_empty(), "{:?}\n{text}", draft.errors);
        prop_assert_eq!(&draft.config, &config);
        prop_assert_eq!(changes(&draft.config, &config), []);
    }

    #[test]
    fn nothing_panics(text in "(?s).{0,100}") {
        read(&text);
    }

    #[test]
    fn nothing_panics_near_the_grammar(text in "(\\[\\[?[a-z.]{0,8}\\]?\\]?\n|[a-z]{1,6} ?= ?[0-9\"\\[\\]{}a-z,.-]{0,8}\n|#\u{e9}\n){0,12}") {
        read(&text);
    }
}
