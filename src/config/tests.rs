//! The room from outside: files in, configuration or all errors out.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::read::load_with;
use super::*;

/// Loads `main` from files that exist in memory only.
fn load_from(main: &str, files: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let files: BTreeMap<PathBuf, &str> =
        files.iter().map(|(name, text)| (PathBuf::from(name), *text)).collect();
    let open = |path: &Path| match files.get(path) {
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    load_with(Path::new(main), &open)
}

fn errors(main: &str, files: &[(&str, &str)]) -> Vec<String> {
    match load_from(main, files) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ConfigError::to_string).collect(),
    }
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.report.warnings.iter().map(Warning::to_string).collect()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

const USERS: &str = "\"postgres\" \"secret\"\n";

#[test]
fn the_contract_loads_as_printed() {
    let text = r#"
    [listen]
    address = "127.0.0.1"        # list allowed; unix_socket_dir = "/run/pgweir"
    port = 6432
    [shards]
    count = 2                    # default: one per allowed core, pinned; cores = [2, 3] chooses; pin = false for tests
    [pool]
    mode = "transaction"         # session | transaction | statement
    size = 20                    # backends per (node, database, user), whole process
    client_max = 10000
    [auth]
    method = "scram-sha-256"     # trust | password | md5 | scram-sha-256 | cert | hba
    users = "userlist.txt"       # PgBouncer's format: "user" "password, md5… or SCRAM-SHA-256$…"
    [route]
    reads = "replicas"           # primary | any | replicas
    causal = "session"           # off | session | global
    [monitor]
    user = "postgres"
    password = "secret"
    database = "postgres"
    [failover]
    mode = "observe"             # observe (default: someone else decides) | promote | command
    [admin]
    users = ["postgres"]
    [[node]]
    host = "127.0.0.1"
    port = 5433
    weight = 1
"#;
    let loaded = load_from("/etc/p.toml", &[("/etc/p.toml", text), ("/etc/userlist.txt", USERS)]);
    let loaded = loaded.unwrap();
    let mut expected = Config::default();
    expected.shards.count = Some(2);
    expected.auth.users.insert("postgres".into(), "secret".into());
    expected.auth.users_file = Some("/etc/userlist.txt".into());
    expected.monitor.password = Some("secret".into());
    expected.nodes.push(Node { port: 5433, ..Node::default() });
    assert_eq!(loaded.config, expected);
    assert_eq!(warnings(&loaded), [""; 0]);
    assert!(loaded.report.effective.contains("password = \"*****\""));
}

#[test]
fn every_example_loads() {
    for name in ["minimal.toml", "full.toml", "session-pooling.toml", "pgpool.conf"] {
        let loaded = load(&repository("configs").join(name));
        let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(warnings(&loaded), [""; 0], "{name}");
        assert!(!loaded.config.nodes.is_empty());
        assert_eq!(loaded.config.monitor.password.as_deref(), Some("secret"), "{name}");
    }
}

#[test]
fn the_pgpool_example_becomes_what_it_says() {
    let config = load(&repository("configs/pgpool.conf")).unwrap().config;
    assert_eq!(config.listen.addresses, ["localhost"]);
    assert_eq!(config.listen.port, 9999);
    assert_eq!(config.auth.method, AuthMethod::ScramSha256);
    assert_eq!(config.auth.users["app"], "app-secret");
    assert_eq!(config.pool.size, 32);
    assert_eq!(config.pool.idle_timeout, Duration::from_secs(600));
    assert_eq!(config.pool.reset, ["DISCARD ALL"]);
    assert_eq!(config.route.reads, Reads::Any);
    assert_eq!(config.route.balance, Balance::Session);
    assert_eq!(config.route.lag_max, Some(10 << 20));
    assert_eq!(config.monitor.interval, Duration::from_secs(1));
    assert_eq!(config.monitor.timeout, Duration::from_secs(5));
    assert_eq!(config.monitor.retries, 3);
    let weights: Vec<f64> = config.nodes.iter().map(|node| node.weight).collect();
    assert_eq!(weights, [1.0, 2.0]);
}

#[test]
fn all_errors_come_at_once_with_file_line_key_and_the_nearest_name() {
    let text = "\
[listen]
prot = 6432
port = 70000
[pool]
sizee = 20
checkout_timeout = 30
[atuh]
method = \"trust\"
[failover]
mode = \"demote\"
[[node]]
port = 5432
";
    assert_eq!(
        errors("f.toml", &[("f.toml", text)]),
        [
            "f.toml:2: [listen] prot: there is no such key here: did you mean \"port\"?",
            "f.toml:3: [listen] port: 70000 is out of range: write 1 to 65535",
            "f.toml:5: [pool] sizee: there is no such key here: did you mean \"size\"?",
            "f.toml:6: [pool] checkout_timeout: 30 lacks its unit: write it in quotes, such as \
             \"30s\"",
            "f.toml:7: [atuh]: there is no such section: did you mean [auth]?",
            "f.toml:10: [failover] mode: \"demote\" is none of observe, promote, command",
            "f.toml:11: [[node]] host: is missing: write the node's name or address, such as \
             \"127.0.0.1\"",
            "f.toml: [auth] users: is missing: the method needs the file of the users' secrets, \
             such as \"userlist.txt\"",
        ]
    );
}

#[test]
fn a_command_is_missing_where_commands_promote_and_idle_where_they_do_not() {
    let text = "[auth]\nmethod = \"trust\"\n[[node]]\nhost = \"h\"\n[failover]\n";
    let command = format!("{text}mode = \"command\"\n");
    assert_eq!(
        errors("f.toml", &[("f.toml", &command)]),
        [
            "f.toml:6: [failover] mode: \"command\" needs failover_command, which says how a replica is promoted"
        ]
    );
    let idle = format!("{text}failover_command = \"true\"\n");
    let loaded = load_from("f.toml", &[("f.toml", &idle)]).unwrap();
    assert_eq!(
        warnings(&loaded),
        ["f.toml:6: [failover] failover_command: is never run: write mode = \"command\" for it to promote"]
    );
    let both = format!("{command}failover_command = \"true\"\n");
    assert_eq!(warnings(&load_from("f.toml", &[("f.toml", &both)]).unwrap()), [""; 0]);
}

#[test]
fn a_file_that_is_missing_is_named() {
    let missing = errors("d/none.toml", &[]);
    assert!(missing[0].starts_with("d/none.toml: the file cannot be read: "), "{missing:?}");
    let text = "[auth]\nusers = \"u.txt\"\n[[node]]\nhost = \"a\"\n";
    let users = errors("d/f.toml", &[("d/f.toml", text)]);
    assert!(users[0].starts_with("d/f.toml:2: [auth] users: d/u.txt cannot be read: "), "{users:?}");
    let text = "[auth]\nmethod = \"hba\"\nhba = \"h\"\n[[node]]\nhost = \"a\"\n";
    let hba = errors("f.toml", &[("f.toml", text)]);
    assert!(hba[0].starts_with("f.toml:3: [auth] hba: h cannot be read: "), "{hba:?}");
    assert_eq!((missing.len(), users.len(), hba.len()), (1, 1, 1));
}

#[test]
fn a_bad_user_list_line_has_its_own_place() {
    let text = "[auth]\nusers = \"u.txt\"\n[[node]]\nhost = \"a\"\n";
    assert_eq!(
        errors("f.toml", &[("f.toml", text), ("u.txt", "\"a\" \"b\"\nbad\n")]),
        ["u.txt:2: this line is not two strings in double quotes: write \"user\" \"secret\""]
    );
}

#[test]
fn checks_across_keys() {
    let trust = "[auth]\nmethod = \"trust\"\n";
    let node = "[[node]]\nhost = \"a\"\n";
    for (text, wrong) in [
        (trust.to_string(), "f.toml: there is no node: add a [[node]]"),
        (format!("{trust}{node}{node}"), "f.toml:6: [[node]] host: a port 5432 is already a node, on line 4"),
        (
            format!("{trust}{node}always_primary = true\n[[node]]\nhost = \"b\"\nalways_primary = true\n"),
            "f.toml:7: [[node]] host: a port 5432 is always the primary already",
        ),
        (
            format!("{trust}[shards]\ncount = 3\ncores = [1, 2]\n{node}"),
            "f.toml:4: [shards] count: 3 is not the number of cores listed, which is 2",
        ),
        (
            format!("{trust}[listen]\naddress = []\n{node}"),
            "f.toml:4: [listen] address: there is neither an address nor a unix_socket_dir",
        ),
        (
            format!("{trust}[listen]\nunix_socket_dir = \"run\"\n{node}"),
            "f.toml:4: [listen] unix_socket_dir: run must start with /",
        ),
        (format!("[auth]\nmethod = \"hba\"\n{node}"), "f.toml: [auth] hba: is missing"),
        (
            format!("{trust}[monitor]\npassword = \"SCRAM-SHA-256$4096:a$b:c\"\n{node}"),
            "f.toml:4: [monitor] password: nobody can log in with a SCRAM secret",
        ),
        (
            format!("[auth]\nmethod = \"cert\"\nusers = \"u\"\n{node}"),
            "f.toml:2: [auth] method: \"cert\" needs TLS, which this version does not offer",
        ),
    ] {
        let found = errors("f.toml", &[("f.toml", &text), ("u", USERS)]);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(wrong), "{found:?}");
    }
    let nodes: String = (0..129).map(|n| format!("[[node]]\nhost = \"n{n}\"\n")).collect();
    let found = errors("f.toml", &[("f.toml", &format!("{trust}{nodes}"))]);
    assert_eq!(found, ["f.toml:260: [[node]] host: there are 129 nodes: 128 are the most"]);
}

#[test]
fn secrets_that_cannot_work_are_warned_about() {
    let text = "[auth]\nusers = \"u\"\n[admin]\nusers = [\"a\", \"ghost\"]\n[[node]]\nhost = \"h\"\n";
    let users = format!("\"a\" \"md5{}\"\n", "0".repeat(32));
    let loaded = load_from("f.toml", &[("f.toml", text), ("u", &users)]).unwrap();
    assert_eq!(
        warnings(&loaded),
        [
            "f.toml:4: [admin] users: user \"ghost\" has no secret in [auth] users and cannot log \
             in",
            "u:1: user \"a\" cannot log in: scram-sha-256 cannot be done with an md5 secret; \
             store the password or a SCRAM secret, or write method = \"md5\"",
        ]
    );
}

#[test]
fn the_format_shows_in_the_content() {
    let toml = "[auth]\nmethod = \"trust\"\n[[node]]\nhost = \"a\"\n";
    let pgpool = "# comment\nbackend_hostname0 = 'a'\nbackend_port0 = 5432\n";
    for (name, text, port) in [
        ("a.toml", toml, 6432),
        ("a.conf", toml, 6432),
        ("a", toml, 6432),
        ("a.conf", pgpool, 9999),
        ("a.bak", pgpool, 9999),
        ("a", pgpool, 9999),
    ] {
        let loaded = load_from(name, &[(name, text)]).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(loaded.config.listen.port, port, "{name}");
    }
    assert!(errors("a.toml", &[("a.toml", pgpool)])[0].contains("there is no such key"));
    assert_eq!(errors("a.conf", &[("a.conf", "")]).len(), 1);
}

#[test]
fn text_that_is_not_utf8_is_refused_only_where_it_counts() {
    let open = |bytes: &'static [u8]| {
        move |path: &Path| match path.extension() {
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
            Some(_) => Ok(bytes.to_vec()),
        }
    };
    let comment = open(b"# \xfc\nbackend_hostname0 = 'a'\nbackend_port0 = 1\n");
    assert!(load_with(Path::new("p.conf"), &comment).is_ok());
    let value = open(b"backend_hostname0 = 'a\xfc'\nbackend_port0 = 1\n");
    let errors = load_with(Path::new("p.conf"), &value).unwrap_err();
    assert!(errors.to_string().contains("p.conf:1: backend_hostname0: the value is not UTF-8"));
    let toml = open(b"[listen]\n# \xfc\n");
    let errors = load_with(Path::new("p.toml"), &toml).unwrap_err();
    assert_eq!(errors.to_string(), "p.toml:2: this line is not UTF-8: save the file as UTF-8");
}

#[test]
fn the_last_word_on_a_pool_is_the_users() {
    let text = "[auth]\nmethod = \"trust\"\n[pool]\nsize = 1\n[database.app]\nsize = 2\n\
                mode = \"session\"\n[user.ann]\nsize = 3\n[[node]]\nhost = \"a\"\n";
    let config = load_from("f.toml", &[("f.toml", text)]).unwrap().config;
    assert_eq!(config.size_for("other", "bob"), 1);
    assert_eq!(config.size_for("app", "bob"), 2);
    assert_eq!(config.size_for("app", "ann"), 3);
    assert_eq!(config.mode_for("app", "ann"), PoolMode::Session);
    assert_eq!(config.mode_for("other", "ann"), PoolMode::Transaction);
}

#[test]
fn passwords_never_show() {
    let text = "[auth]\nusers = \"u\"\n[monitor]\npassword = \"hidden1\"\n[[node]]\nhost = \"h\"\n";
    let files = [("f.toml", text), ("u", "\"postgres\" \"hidden2\"\n")];
    let loaded = load_from("f.toml", &files).unwrap();
    let shown = format!("{}{loaded:?}", loaded.report);
    assert!(!shown.contains("hidden"), "{shown}");
    assert!(shown.contains("password = \"*****\""));
    let written = loaded.config.to_toml(Passwords::Written);
    assert!(written.contains("password = \"hidden1\""));
}
