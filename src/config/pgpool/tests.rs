//! pgpool.conf: what each name becomes, the whole history of names, and two files as guides print
//! them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;

use super::names::{self, Meaning, Numbered};
use crate::config::read::load_with;
use crate::config::*;

/// Loads `text` as `p.conf`, beside the other files.
fn load_text(text: &str, files: &[(&str, &str)]) -> Result<Loaded, ConfigErrors> {
    let files: BTreeMap<PathBuf, &str> =
        files.iter().map(|(name, text)| (PathBuf::from(name), *text)).collect();
    let open = |path: &Path| match files.get(path) {
        _ if path == Path::new("p.conf") => Ok(text.as_bytes().to_vec()),
        Some(text) => Ok(text.as_bytes().to_vec()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    };
    load_with(Path::new("p.conf"), &open)
}

/// A file with one node and TEXT secrets, so that nothing but `text` is worth a warning.
fn loaded(text: &str) -> Loaded {
    let text = format!("{text}\n{NODE}");
    load_text(&text, &[PASSWD]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn config(text: &str) -> Config {
    loaded(text).config
}

fn errors(text: &str) -> Vec<String> {
    match load_text(&format!("{text}\n{NODE}"), &[PASSWD]) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ConfigError::to_string).collect(),
    }
}

fn warnings(text: &str) -> Vec<String> {
    let loaded = loaded(text);
    loaded.report.warnings.iter().map(Warning::to_string).collect()
}

/// What a single line became, as `check` prints it behind the arrow.
fn became(text: &str) -> String {
    let line = loaded(text).report.lines[0].to_string();
    line.split_once("->  ").map(|(_, became)| became.to_string()).unwrap()
}

const NODE: &str = "backend_hostname0 = 'a'\nbackend_port0 = 5432\n";
const PASSWD: (&str, &str) = ("pool_passwd", "postgres:TEXTsecret\n");

#[test]
fn an_empty_file_has_the_defaults_of_pgpool() {
    let loaded = loaded("");
    let config = &loaded.config;
    assert_eq!(config.listen.addresses, ["localhost"]);
    assert_eq!(config.listen.port, 9999);
    assert_eq!(config.listen.unix_socket_dirs, [PathBuf::from("/tmp")]);
    assert_eq!(config.pool.mode, PoolMode::Transaction);
    assert_eq!(config.pool.size, 32);
    assert_eq!(config.pool.client_max, 10_000);
    assert_eq!(config.pool.connect_timeout, Duration::from_secs(10));
    assert_eq!(config.route.reads, Reads::Any);
    assert_eq!(config.route.balance, Balance::Session);
    assert_eq!(config.route.causal, Causal::Session);
    assert_eq!(config.monitor.interval, Duration::from_millis(250));
    assert_eq!(config.monitor.password.as_deref(), Some("secret"));
    assert_eq!(config.admin.users, ["postgres"]);
    assert_eq!(config.auth.method, AuthMethod::ScramSha256);
    let keys: Vec<&str> =
        loaded.report.defaults.iter().filter_map(|line| line.split_once("  (").map(|(key, _)| key)).collect();
    assert_eq!(
        keys,
        [
            "[listen] address = \"localhost\"",
            "[listen] port = 9999",
            "[listen] unix_socket_dir = \"/tmp\"",
            "[pool] mode = \"transaction\"",
            "[pool] size = 32",
            "[pool] connect_timeout = \"10s\"",
            "[auth] method = \"scram-sha-256\"",
            "[route] reads = \"any\"",
            "[route] balance = \"session\"",
            "[route] causal = \"session\"",
            "[failover] on_backend_shutdown = false",
            "[admin] users = \"postgres\"",
        ]
    );
}

#[test]
fn each_used_name_sets_its_key() {
    for (line, key) in [
        ("listen_addresses = '*'", "[listen] address = \"*\""),
        ("listen_addresses = 'a, b'", "[listen] address = [\"a\", \"b\"]"),
        ("listen_addresses = ''", "[listen] address = []"),
        ("port = 5432", "[listen] port = 5432"),
        ("unix_socket_directories = '/a,/b'", "[listen] unix_socket_dir = [\"/a\", \"/b\"]"),
        ("unix_socket_permissions = 0700", "[listen] unix_socket_mode = \"0700\""),
        ("listen_backlog_multiplier = 100", "[listen] backlog = 3200"),
        ("listen_backlog_multiplier = 2", "[listen] backlog = 1024"),
        ("backend_weight0 = 2.5", "[[node]] weight = 2.5"),
        ("backend_data_directory0 = '/d'", "[[node]] data_directory = \"/d\""),
        ("backend_data_directory0 = ''", "no data directory"),
        ("backend_application_name0 = 'x'", "[[node]] application_name = \"x\""),
        ("backend_application_name0 = ''", "no application name"),
        ("backend_flag0 = 'DISALLOW_TO_FAILOVER'", "[[node]] disallow_failover = true"),
        (
            "backend_flag0 = 'ALLOW_TO_FAILOVER|ALWAYS_PRIMARY'",
            "[[node]] disallow_failover = false; [[node]] always_primary = true",
        ),
        (
            "backend_flag0 = 'ALWAYS_MASTER'",
            "[[node]] disallow_failover = false; [[node]] always_primary = true  (warning: \
             ALWAYS_MASTER is called ALWAYS_PRIMARY since pgpool-II 4.2)",
        ),
        ("backend_hostname3 = 'x'", "node 3 is not in use"),
        ("num_init_children = 100", "[pool] size = 100; more clients wait for a backend"),
        ("reserved_connections = 2", "[pool] client_max = 30"),
        ("reserved_connections = 0", "no client is refused before [pool] client_max"),
        ("connection_cache = on", "backends are always pooled"),
        ("connection_cache = off", "[pool] idle_timeout = \"1ms\""),
        ("connection_life_time = 600", "[pool] idle_timeout = \"10min\""),
        ("connection_life_time = 0", "[pool] idle_timeout = \"0\""),
        ("client_idle_limit = 30", "[pool] client_idle_timeout = \"30s\""),
        (
            "failover_command = '/etc/f.sh %d %H'",
            "[failover] failover_command = \"/etc/f.sh %d %H\"; [failover] mode = \"command\"",
        ),
        ("failover_command = ''", "pgweir observes the nodes and follows a new primary"),
        ("failback_command = 'b %d'", "[failover] failback_command = \"b %d\""),
        ("failback_command = ''", "no command"),
        ("search_primary_node_timeout = 10", "[failover] search_timeout = \"10s\""),
        ("search_primary_node_timeout = 0", "[failover] search_timeout = \"1d\""),
        (
            "detach_false_primary = on",
            "[failover] detach_false_primary = true; it is never written to in any case",
        ),
        (
            "auto_failback = on",
            "[failover] auto_failback = true; a replica that was only lost is used again by itself in any case",
        ),
        ("auto_failback_interval = 30", "[failover] auto_failback_interval = \"30s\""),
        ("failover_on_backend_error = off", "[failover] on_backend_error = false; a probe has to confirm it"),
        (
            "failover_on_backend_shutdown = on",
            "[failover] on_backend_shutdown = true; a probe has to confirm it",
        ),
        ("connect_timeout = 2500", "[pool] connect_timeout = \"2500ms\""),
        ("connect_timeout = 0", "[pool] connect_timeout = \"1h\""),
        ("reset_query_list = 'ABORT; DISCARD ALL'", "[pool] reset = \"DISCARD ALL\""),
        (
            "reset_query_list = 'ABORT; RESET ALL; SET SESSION AUTHORIZATION DEFAULT'",
            "[pool] reset = [\"RESET ALL\", \"SET SESSION AUTHORIZATION DEFAULT\"]",
        ),
        ("load_balance_mode = off", "[route] reads = \"primary\""),
        ("load_balance_mode = on", "[route] reads = \"any\""),
        ("statement_level_load_balance = on", "[route] balance = \"statement\""),
        ("delay_threshold = 1024", "[route] lag_max = \"1kB\""),
        ("delay_threshold = 10MB", "[route] lag_max = \"10MB\""),
        ("delay_threshold_by_time = 500", "[route] lag_max_time = \"500ms\""),
        ("delay_threshold_by_time = '2 s'", "[route] lag_max_time = \"2s\""),
        ("disable_load_balance_on_write = 'transaction'", "as pgweir always does"),
        ("allow_sql_comments = on", "as pgweir always does"),
        ("ignore_leading_white_space = on", "as pgweir always does"),
        ("parallel_mode = off", "as pgweir always does  (warning: pgpool-II itself dropped it in 3.5)"),
        ("enable_pool_hba = off", "[auth] method = \"scram-sha-256\""),
        ("pool_passwd = 'pool_passwd'", "[auth] users = \"pool_passwd\""),
        ("allow_clear_text_frontend_auth = off", "as pgweir always does"),
        ("authentication_timeout = 90", "[auth] login_timeout = \"90s\""),
        ("authentication_timeout = 0", "[auth] login_timeout = \"1h\""),
        ("log_connections = on", "[log] connections = true"),
        ("log_disconnections = on", "[log] connections = true"),
        ("log_min_messages = debug1", "[log] level = \"debug\""),
        ("log_min_messages = WARNING", "[log] level = \"info\""),
        ("health_check_timeout = 0", "[monitor] timeout = \"1s\""),
        ("health_check_max_retries = 3", "[monitor] retries = 3"),
        ("health_check_database = 'app'", "[monitor] database = \"app\""),
        ("health_check_database = ''", "[monitor] database = \"postgres\""),
        ("health_check_password = ''", "the one pool_passwd has for the user"),
        (
            "backend_clustering_mode = 'streaming_replication'",
            "streaming replication, as pgweir always works",
        ),
        ("backend_clustering_mode = 'raw'", "[route] reads = \"primary\""),
    ] {
        assert_eq!(became(line), key, "{line}");
    }
}

#[test]
fn a_wrong_value_is_an_error_with_its_line_and_name() {
    for (line, wrong) in [
        ("port = 0", "port: 0 is out of range: write 1 to 65535"),
        ("port = '5432s'", "port: '5432s' has a unit, but this is a plain number"),
        ("unix_socket_permissions = 01777", "unix_socket_permissions: '01777' is no file mode"),
        ("listen_backlog_multiplier = 0", "write 1 to"),
        ("backend_port1 = 65536", "backend_port1: 65536 is out of range"),
        ("backend_weight0 = -1", "backend_weight0: '-1' is out of range: write 0 to 1000000"),
        ("backend_flag0 = 'X'", "'X' is none of ALLOW_TO_FAILOVER"),
        ("backend_flag0 = 'ALLOW_TO_FAILOVER|DISALLOW_TO_FAILOVER'", "both allow and disallow"),
        ("num_init_children = 0", "write 1 to 1000000"),
        ("reserved_connections = 32", "32 leaves no connection of num_init_children = 32"),
        ("connection_cache = maybe", "connection_cache: 'maybe' is neither on nor off"),
        ("connection_life_time = 90d", "write 1ms to 30d, or 0"),
        ("client_idle_limit = -1", "'-1' is negative"),
        ("connect_timeout = 2h", "write 1ms to 1h, or 0"),
        ("load_balance_mode = o", "'o' is neither on nor off"),
        ("delay_threshold = '10mb'", "none of B, kB, MB, GB, TB"),
        ("delay_threshold_by_time = 2d", "write 1ms to 1d, or 0"),
        ("disable_load_balance_on_write = 'never'", "'never' is none of off, transaction"),
        ("authentication_timeout = 2h", "write 100ms to 1h, or 0"),
        ("log_min_messages = loud", "'loud' is none of debug5"),
        ("search_primary_node_timeout = 2d", "write 100ms to 1d, or 0"),
        ("auto_failback_interval = 2d", "'2d' is"),
        ("auto_failback = maybe", "is neither on nor off"),
        ("health_check_period = 2h", "write 10ms to 1h, or 0"),
        ("health_check_timeout = 2h", "write 10ms to 1h, or 0"),
        ("health_check_retry_delay = x", "'x' is no duration"),
        ("health_check_max_retries = 1001", "write 0 to 1000"),
        ("sr_check_period = x", "'x' is no duration"),
        ("parallel_mode = on", "data spread over the nodes is not supported"),
        ("backend_clustering_mode = 'native_replication'", "does not write to every node itself"),
        ("backend_clustering_mode = 'snapshot_isolation'", "does not write to every node itself"),
        ("backend_clustering_mode = 'logical_replication'", "would take every node for a primary"),
        ("backend_clustering_mode = 'slony'", "would take every node for a primary"),
        ("backend_clustering_mode = 'stream'", "'stream' is none of streaming_replication"),
        ("replication_mode = on", "does not write to every node itself"),
        ("master_slave_mode = on\nmaster_slave_sub_mode = 'slony'", "every node for a primary"),
        ("master_slave_sub_mode = 'x'", "'x' is none of stream, slony, logical"),
    ] {
        let found = errors(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with("p.conf:") && found[0].contains(wrong), "{found:?}");
    }
}

#[test]
fn an_unknown_name_is_an_error_with_the_nearest() {
    for (line, error) in [
        (
            "num_init_childs = 5",
            "p.conf:1: num_init_childs: no version of pgpool-II has this setting: did you mean \
             num_init_children?",
        ),
        (
            "backend_hostnam1 = 'x'",
            "p.conf:1: backend_hostnam1: no version of pgpool-II has this setting: did you mean \
             backend_hostname1?",
        ),
        (
            "backend_prot = 1",
            "p.conf:1: backend_prot: no version of pgpool-II has this setting: did you mean \
             backend_port0?",
        ),
        ("PORT = 1", "p.conf:1: PORT: no version of pgpool-II has this setting: did you mean"),
        (
            "backend_connection_string = 'x'",
            "p.conf:1: backend_connection_string: no version of pgpool-II has this setting: write \
             backend_hostname0",
        ),
        (
            "backend_port = 1",
            "p.conf:1: backend_port: the number of the node is missing: write backend_port0",
        ),
        (
            "backend_port128 = 1",
            "p.conf:1: backend_port128: the number of the node is too large: nodes are 0 to 127",
        ),
        ("port0 = 1", "p.conf:1: port0: no version of pgpool-II has this setting"),
    ] {
        let found = errors(line);
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].starts_with(error), "{found:?}");
    }
}

#[test]
fn all_errors_come_at_once() {
    let text = "port = 0\nnonsense_name = 1\nlisten_addresses = *\nbackend_weight0 = x\n";
    let lines: Vec<String> =
        errors(text).iter().filter_map(|error| error.split(": ").next().map(str::to_string)).collect();
    assert_eq!(lines, ["p.conf:1", "p.conf:2", "p.conf:3", "p.conf:4"]);
}

#[test]
fn a_renamed_name_keeps_its_meaning_and_says_its_new_name() {
    let loaded = loaded("socket_dir = '/run'\nblack_function_list = 'f'\ndebug_level = 1\n");
    assert_eq!(loaded.config.listen.unix_socket_dirs, [PathBuf::from("/run")]);
    assert_eq!(loaded.config.log.level, LogLevel::Debug);
    let found: Vec<String> = loaded.report.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        found,
        [
            "p.conf:1: socket_dir: is called unix_socket_directories since pgpool-II 4.4",
            "p.conf:2: black_function_list: is called write_function_list since pgpool-II 4.2, and \
             is not used yet: pgweir decides by the statement alone what may go to a replica",
            "p.conf:3: debug_level: is called log_min_messages since pgpool-II 3.4",
        ]
    );
    assert_eq!(
        warnings("other_wd_port0 = 9000"),
        ["p.conf:1: other_wd_port0: is called wd_port0 since pgpool-II 4.2, and is not used yet: \
          pgweir has no watchdog"]
    );
}

#[test]
fn every_name_of_every_version_is_accepted() {
    for name in names::all() {
        let written = match name.numbered {
            Numbered::Always => format!("{}0", name.name),
            Numbered::Never | Numbered::Maybe => name.name.to_string(),
        };
        assert!(super::knows(&written), "{written}");
        let newest = names::newest(name);
        assert!(!matches!(newest.meaning, Meaning::Renamed), "{written} leads nowhere");
        let says = match newest.meaning {
            Meaning::Used(_) | Meaning::Renamed => continue,
            Meaning::NotYet(_) => "is not used yet: ",
            Meaning::Never(_) => "has no meaning in pgweir: ",
        };
        let warnings = warnings(&format!("{written} = 'x'"));
        assert_eq!(warnings.len(), 1, "{written}: {warnings:?}");
        assert!(warnings[0].starts_with(&format!("p.conf:1: {written}: ")), "{warnings:?}");
        assert!(warnings[0].contains(says), "{warnings:?}");
        if let Some((to, since)) = name.renamed {
            assert!(warnings[0].contains(&format!("is called {to}")), "{warnings:?}");
            assert!(warnings[0].contains(&format!("since pgpool-II {since}")), "{warnings:?}");
        }
    }
}

#[test]
fn no_name_is_in_the_table_twice() {
    let mut names: Vec<&str> = names::all().map(|name| name.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_later_line_wins_and_the_earlier_says_so() {
    let loaded = loaded("port = 1\nsocket_dir = '/a'\nport = 2\nunix_socket_directories = '/b'\n");
    assert_eq!(loaded.config.listen.port, 2);
    assert_eq!(loaded.config.listen.unix_socket_dirs, [PathBuf::from("/b")]);
    let lines: Vec<String> = loaded.report.lines.iter().map(Line::to_string).collect();
    assert_eq!(lines[0], "p.conf:1  port = 1  ->  overridden by p.conf:3");
    assert!(lines[1].contains("overridden by p.conf:4"), "{}", lines[1]);
}

#[test]
fn nodes_are_the_slots_with_a_port() {
    let text = "backend_port2 = 5434\nbackend_hostname1 = 'b'\nbackend_port1 = 0\n\
                backend_hostname4 = ''\nbackend_port4 = 5436\nbackend_hostname5 = 'c'\n";
    let loaded = loaded(text);
    let nodes: Vec<(&str, u16)> =
        loaded.config.nodes.iter().map(|node| (node.host.as_str(), node.port)).collect();
    assert_eq!(nodes, [("a", 5432), ("/tmp", 5434), ("/tmp", 5436)]);
    let warnings: Vec<String> = loaded.report.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "p.conf:1: backend_port2: this is node 1 in pgweir, which leaves out unused numbers",
            "p.conf:2: backend_hostname1: node 1 is left out: backend_port1 is missing or 0",
            "p.conf:4: backend_hostname4: this is node 2 in pgweir, which leaves out unused numbers",
            "p.conf:6: backend_hostname5: node 5 is left out: backend_port5 is missing or 0",
        ]
    );
    let config = config("backend_socket_dir = '/run/pg'\nbackend_port1 = 1\n");
    assert_eq!(config.nodes[1].host, "/run/pg");
    let twins = errors("backend_hostname1 = 'a'\nbackend_port1 = 5432");
    assert!(twins[0].contains("is already a node"), "{twins:?}");
    assert_eq!(load_text("port = 1\n", &[]).unwrap_err().iter().count(), 1);
}

#[test]
fn the_old_modes_become_one() {
    let raw = config("master_slave_mode = off\nload_balance_mode = on\n");
    assert_eq!(raw.route.reads, Reads::Primary);
    let stream = config("master_slave_mode = on\nmaster_slave_sub_mode = 'stream'\n");
    assert_eq!(stream.route.reads, Reads::Any);
    let newer = config("master_slave_mode = off\nbackend_clustering_mode = streaming_replication\n");
    assert_eq!(newer.route.reads, Reads::Any);
    let newer = config("replication_mode = on\nbackend_clustering_mode = streaming_replication\n");
    assert_eq!(newer.route.reads, Reads::Any);
    let idle = config("master_slave_mode = off\nmaster_slave_sub_mode = 'slony'\n");
    assert_eq!(idle.route.reads, Reads::Primary);
    let two = "backend_clustering_mode = raw\nbackend_hostname1 = 'b'\nbackend_port1 = 5432\n";
    assert_eq!(
        warnings(two),
        ["p.conf:1: backend_clustering_mode: raw mode uses the lowest live node; pgweir uses the \
          primary that it finds, so the other nodes must be its streaming replicas"]
    );
}

#[test]
fn one_probe_does_the_work_of_both_checks() {
    let interval = |text: &str| config(text).monitor.interval;
    assert_eq!(interval("health_check_period = 10"), Duration::from_secs(10));
    assert_eq!(interval("health_check_period = 10\nsr_check_period = 5"), Duration::from_secs(5));
    let retried = "health_check_period = 10\nhealth_check_max_retries = 3\nhealth_check_retry_delay = 1";
    assert_eq!(interval(retried), Duration::from_secs(1));
    let once = "health_check_period = 10\nhealth_check_max_retries = 0\nhealth_check_retry_delay = 1";
    assert_eq!(interval(once), Duration::from_secs(10));
    assert_eq!(interval("health_check_period = 0\nsr_check_period = 10"), Duration::from_millis(250));
    assert_eq!(became("health_check_period = 0"), "[monitor] interval = \"250ms\"; pgweir always probes");
}

#[test]
fn the_probes_log_in_as_the_user_that_may_read_positions() {
    let both = "health_check_user = 'h'\nhealth_check_password = 'hp'\nhealth_check_database = 'hd'\n\
                sr_check_user = 's'\nsr_check_password = 'sp'\nsr_check_database = ''\n";
    let loaded = loaded(both);
    let monitor = &loaded.config.monitor;
    assert_eq!((monitor.user.as_str(), monitor.database.as_str()), ("s", "hd"));
    assert_eq!(monitor.password.as_deref(), Some("sp"));
    assert_eq!(loaded.config.admin.users, ["s", "postgres"]);
    let warnings: Vec<String> = loaded.report.warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "p.conf:1: health_check_user: is not used yet: one probe does both checks, with \
             sr_check_user",
            "p.conf:2: health_check_password: is not used yet: one probe does both checks, with \
             sr_check_password",
        ]
    );
    let shared = config("health_check_user = 'x'\nhealth_check_password = 'p'\nsr_check_user = 'x'\n");
    assert_eq!(shared.monitor.password.as_deref(), Some("p"));
    let other = config("health_check_user = 'h'\nhealth_check_password = 'p'\nsr_check_user = 's'\n");
    assert_eq!(other.monitor.password, None);
    let text = config("health_check_user = 'x'\nhealth_check_password = 'TEXTplain'\n");
    assert_eq!(text.monitor.password.as_deref(), Some("plain"));
}

#[test]
fn a_setting_for_one_node_counts_for_it_where_nodes_can_differ() {
    assert_eq!(config("health_check_user0 = 'x'\n").monitor.user, "x");
    let text = "health_check_timeout = 5\nhealth_check_timeout0 = 7\nhealth_check_max_retries0 = 2\n\
                health_check_period0 = 9\nhealth_check_retry_delay0 = 3\nhealth_check_period1 = 0\n";
    let own = config(text);
    assert_eq!(own.monitor.timeout, Duration::from_secs(5));
    let node = own.monitor.of(&own.nodes[0]);
    let seconds = Duration::from_secs;
    assert_eq!((node.timeout, node.interval, node.retries), (seconds(7), seconds(3), 2));
    assert_eq!(became("health_check_timeout0 = 7"), "[[node]] probe_timeout = \"7s\"");
    assert_eq!(became("health_check_timeout7 = 7"), "node 7 is not in use");
    assert_eq!(config("connect_timeout1 = 100\n").pool.connect_timeout, Duration::from_millis(100));
}

#[test]
fn the_limit_in_time_counts_before_the_one_in_bytes() {
    let both = config("delay_threshold = 10\ndelay_threshold_by_time = 100\n");
    assert_eq!(both.route.lag_max, None);
    assert_eq!(both.route.lag_max_time, Some(Duration::from_millis(100)));
    assert_eq!(config("delay_threshold = 10\ndelay_threshold_by_time = 0\n").route.lag_max, Some(10));
}

#[test]
fn children_are_backends_and_reserved_ones_refuse_clients() {
    assert_eq!(config("reserved_connections = 10\nnum_init_children = 100\n").pool.client_max, 90);
    assert_eq!(config("num_init_children = 100\nreserved_connections = 10\n").pool.client_max, 90);
    let many = config("num_init_children = 20000\n").pool;
    assert_eq!((many.size, many.client_max), (10_000, 20_000));
    assert!(warnings("num_init_children = 20000\n")[0].contains("is larger than a pool may be"));
    let cache = config("connection_life_time = 600\nconnection_cache = off\n");
    assert_eq!(cache.pool.idle_timeout, Duration::from_millis(1));
    let cache = config("connection_cache = off\nconnection_life_time = 600\n");
    assert_eq!(cache.pool.idle_timeout, Duration::from_millis(1));
}

#[test]
fn a_reset_that_resets_nothing_is_replaced() {
    for list in ["", "ABORT", " abort ; "] {
        let text = format!("reset_query_list = '{list}'");
        assert_eq!(config(&text).pool.reset, ["DISCARD ALL"]);
        assert!(warnings(&text)[0].contains("DISCARD ALL it is"));
    }
}

#[test]
fn without_an_hba_file_the_secrets_choose_the_method() {
    let md5 = format!("a:md5{}\nb:TEXTx\n", "0".repeat(32));
    for (secrets, method) in [
        ("a:TEXTx\nb:y\n", AuthMethod::ScramSha256),
        (md5.as_str(), AuthMethod::Md5),
        ("", AuthMethod::Trust),
    ] {
        let loaded = load_text(NODE, &[("pool_passwd", secrets)]).unwrap();
        assert_eq!(loaded.config.auth.method, method);
        let trusted =
            loaded.report.warnings.iter().any(|warning| {
                warning.to_string().starts_with("p.conf: [auth] method: clients are not asked")
            });
        assert_eq!(trusted, method == AuthMethod::Trust);
    }
    let none = load_text(&format!("pool_passwd = ''\n{NODE}"), &[("pool_passwd", "a:b")]).unwrap();
    assert_eq!(none.config.auth.method, AuthMethod::Trust);
}

#[test]
fn a_pool_passwd_that_was_named_and_is_missing_is_a_warning() {
    let text = format!("pool_passwd = 'x/passwd'\n{NODE}");
    let loaded = load_text(&text, &[]).unwrap();
    assert_eq!(
        loaded.report.warnings[0].to_string(),
        "p.conf:1: pool_passwd: x/passwd does not exist: no user has a secret"
    );
    let bad = load_text(NODE, &[("pool_passwd", "nonsense\n")]).unwrap_err();
    assert!(bad.to_string().starts_with("pool_passwd:1: this line is not user:secret"), "{bad}");
}

#[test]
fn the_hba_file_is_read_beside_the_configuration() {
    let text = format!("enable_pool_hba = on\n{NODE}");
    let loaded = load_text(&text, &[("pool_hba.conf", "host all all all md5\n"), PASSWD]).unwrap();
    assert_eq!(loaded.config.auth.method, AuthMethod::Hba);
    assert_eq!(loaded.config.auth.hba.unwrap().text, "host all all all md5\n");
    let missing = load_text(&text, &[PASSWD]).unwrap_err().to_string();
    assert!(missing.starts_with("p.conf:1: enable_pool_hba: pool_hba.conf cannot be read: "), "{missing}");
}

#[test]
fn an_include_stands_for_its_file() {
    let text = format!("port = 1\ninclude 'd/a.conf'\n{NODE}");
    let files =
        [("d/a.conf", "port = 2\ninclude = 'b.conf'\nnonsense_name = 1\n"), ("d/b.conf", "port = 3\n")];
    let errors = load_text(&text, &files).unwrap_err().to_string();
    assert!(errors.starts_with("d/a.conf:3: nonsense_name: "), "{errors}");
    let files = [("d/a.conf", "port = 2\ninclude = 'b.conf'\n"), files[1], PASSWD];
    let loaded = load_text(&text, &files).unwrap();
    assert_eq!(loaded.config.listen.port, 3);
    assert_eq!(loaded.report.lines[1].to_string(), "d/a.conf:1  port = 2  ->  overridden by d/b.conf:1");
    let lost = load_text(&text, &[]).unwrap_err().to_string();
    assert!(lost.starts_with("p.conf:2: include: d/a.conf cannot be read: "), "{lost}");
    let round = load_text("include 'p.conf'\n", &[]).unwrap_err().to_string();
    assert!(round.contains("p.conf:1: include: 10 files include one another already"), "{round}");
}

#[test]
fn a_file_that_includes_itself_many_times_is_not_read_without_end() {
    let reads = std::cell::Cell::new(0);
    let open = |_: &Path| {
        reads.set(reads.get() + 1);
        assert!(reads.get() < 100, "read again and again");
        Ok("include 'p.conf'\n".repeat(9).into_bytes())
    };
    let errors = load_with(Path::new("p.conf"), &open).unwrap_err().to_string();
    assert_eq!(errors.matches("does one include itself?").count(), 1, "{errors}");
}

#[test]
fn ten_files_may_include_one_another() {
    let names: Vec<String> = (1..=11).map(|n| format!("{n}.conf")).collect();
    let texts: Vec<String> = (2..=11).map(|n| format!("include '{n}.conf'\n")).collect();
    let mut files: Vec<(&str, &str)> =
        names.iter().zip(&texts).map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let deep = format!("include '1.conf'\n{NODE}");
    files[9].1 = "port = 7\n";
    files.push(PASSWD);
    assert_eq!(load_text(&deep, &files).unwrap().config.listen.port, 7);
    files[9].1 = "include '11.conf'\n";
    files.push(("11.conf", "port = 8\n"));
    let errors = load_text(&deep, &files).unwrap_err().to_string();
    assert!(errors.starts_with("10.conf:1: include: 10 files"), "{errors}");
}

/// The warnings of a fixture, without the path of its folder.
fn fixture(name: &str) -> (Loaded, Vec<String>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pgpool").join(name);
    let loaded = load(&folder.join("pgpool.conf")).unwrap_or_else(|errors| panic!("{errors}"));
    let folder = format!("{}/", folder.display());
    let warnings =
        loaded.report.warnings.iter().map(|warning| warning.to_string().replace(&folder, "")).collect();
    (loaded, warnings)
}

#[test]
fn a_guide_for_4_3_loads_with_these_warnings() {
    let (loaded, warnings) = fixture("guide-4.3");
    let processes = "has no meaning in pgweir: pgweir serves all clients from a few threads, not \
                     from child processes";
    assert_eq!(
        warnings,
        [
            "pgpool.conf:17: max_pool: has no meaning in pgweir: every session shares the backends \
             of [pool] size"
                .to_string(),
            format!("pgpool.conf:18: child_life_time: {processes}"),
        ]
    );
    let config = loaded.config;
    assert_eq!(config.listen.addresses, ["*"]);
    assert_eq!(config.listen.port, 9999);
    assert_eq!(config.pool.size, 32);
    assert_eq!(config.pool.idle_timeout, Duration::from_secs(600));
    assert_eq!(config.auth.method, AuthMethod::Md5);
    assert_eq!(config.auth.users.len(), 2);
    assert_eq!(config.monitor.user, "pgpool");
    assert_eq!(config.monitor.password.as_deref(), Some("pgpool123"));
    assert_eq!(config.monitor.interval, Duration::from_secs(1));
    assert_eq!(config.monitor.timeout, Duration::from_secs(20));
    assert_eq!(config.monitor.retries, 3);
    assert_eq!(config.route.reads, Reads::Any);
    let nodes: Vec<(&str, u16, f64)> =
        config.nodes.iter().map(|node| (node.host.as_str(), node.port, node.weight)).collect();
    assert_eq!(nodes, [("172.16.93.132", 5432, 1.0), ("172.16.93.133", 5432, 2.0)]);
}

#[test]
fn a_command_that_follows_needs_one_that_promotes() {
    let follow = "follow_primary_command = 'f %d'\n";
    assert_eq!(
        warnings(follow),
        ["p.conf:1: follow_primary_command: is never run: mode = \"observe\" leaves it to whoever promotes"]
    );
    let config = config(&format!("{follow}failover_command = 'p %H'\n"));
    assert_eq!(config.failover.mode, FailoverMode::Command);
    assert_eq!(config.failover.follow_primary_command.as_deref(), Some("f %d"));
    assert!(config.failover.on_backend_error && !config.failover.on_backend_shutdown);
}

#[test]
fn a_guide_for_3_x_loads_with_these_warnings() {
    let (loaded, warnings) = fixture("guide-3.x");
    let processes =
        "has no meaning in pgweir: pgweir serves all clients from a few threads, not from child processes";
    let pcp = "is not used yet: pgweir has no PCP port; its admin commands are SQL";
    let nodes = "has no meaning in pgweir: pgweir never writes to several nodes; PostgreSQL replicates";
    let statement = "is not used yet: pgweir decides by the statement alone what may go to a replica";
    let weight = "is not used yet: pgweir chooses nodes by weight and load";
    assert_eq!(
        warnings,
        [
            "pgpool.conf:4: socket_dir: is called unix_socket_directories since pgpool-II 4.4".to_string(),
            format!("pgpool.conf:6: serialize_accept: {processes}"),
            format!("pgpool.conf:8: pcp_listen_addresses: {pcp}"),
            format!("pgpool.conf:9: pcp_port: {pcp}"),
            format!("pgpool.conf:10: pcp_socket_dir: {pcp}"),
            "pgpool.conf:26: allow_clear_text_frontend_auth: has no meaning in pgweir: in pgpool-II too it counts only while enable_pool_hba is off".to_string(),
            "pgpool.conf:28: max_pool: has no meaning in pgweir: every session shares the backends of [pool] size".to_string(),
            format!("pgpool.conf:29: child_life_time: {processes}"),
            format!("pgpool.conf:30: child_max_connections: {processes}"),
            "pgpool.conf:35: replication_mode: is called backend_clustering_mode since pgpool-II 4.2".to_string(),
            format!("pgpool.conf:36: replicate_select: {nodes}"),
            format!("pgpool.conf:37: insert_lock: {nodes}"),
            format!("pgpool.conf:38: lobj_lock_table: {nodes}"),
            format!("pgpool.conf:39: replication_stop_on_mismatch: {nodes}"),
            format!("pgpool.conf:40: failover_if_affected_tuples_mismatch: {nodes}"),
            format!("pgpool.conf:43: white_function_list: is called read_only_function_list since pgpool-II 4.2, and {statement}"),
            format!("pgpool.conf:44: black_function_list: is called write_function_list since pgpool-II 4.2, and {statement}"),
            format!("pgpool.conf:45: black_query_pattern_list: is called primary_routing_query_pattern_list since pgpool-II 4.2, and {statement}"),
            format!("pgpool.conf:46: database_redirect_preference_list: {weight}"),
            format!("pgpool.conf:47: app_name_redirect_preference_list: {weight}"),
            "pgpool.conf:48: allow_sql_comments: is not used yet: a comment in front of a read does not keep it on the primary".to_string(),
            "pgpool.conf:51: master_slave_mode: is called backend_clustering_mode since pgpool-II 4.2".to_string(),
            "pgpool.conf:52: master_slave_sub_mode: is called backend_clustering_mode since pgpool-II 4.2".to_string(),
            "pgpool.conf:61: health_check_password: is not used yet: one probe does both checks, with sr_check_password".to_string(),
            "pool_passwd:1: the AES secret of user \"your-user\" is left out, because reading it takes pgpool's key file: write your-user:TEXT and the password, or the md5 secret, and keep the file private".to_string(),
        ]
    );
    let config = loaded.config;
    assert_eq!(config.listen.addresses, ["192.168.10.10"]);
    assert_eq!(config.listen.port, 5432);
    assert_eq!(config.listen.unix_socket_dirs, [PathBuf::from("/var/run/postgresql")]);
    assert_eq!(config.auth.method, AuthMethod::Hba);
    assert!(config.auth.users.is_empty());
    assert_eq!(config.pool.size, 100);
    assert_eq!(config.pool.idle_timeout, Duration::ZERO);
    assert_eq!(config.route.balance, Balance::Session);
    assert_eq!(config.monitor.user, "your-user");
    assert_eq!(config.monitor.password.as_deref(), Some("your-password"));
    assert_eq!(config.monitor.interval, Duration::from_millis(250));
    assert_eq!(config.monitor.retries, 0);
    let names: Vec<Option<&str>> = config.nodes.iter().map(|node| node.application_name.as_deref()).collect();
    assert_eq!(names, [Some("postgresql-master.internal"), Some("postgresql-slave01.internal")]);
}

proptest! {
    #[test]
    fn nothing_panics_whatever_a_known_name_is_set_to(
        settings in proptest::collection::vec((0..names::all().count(), 0..3u32, VALUE), 0..20),
    ) {
        let text: String = settings
            .iter()
            .filter_map(|(index, number, value)| {
                let name = names::all().nth(*index)?;
                let digits = match name.numbered {
                    Numbered::Never => String::new(),
                    _ => number.to_string(),
                };
                Some(format!("{}{digits} = '{value}'\n", name.name))
            })
            .collect();
        if let Ok(loaded) = load_text(&text, &[PASSWD]) {
            // One line each: nothing is dropped in silence.
            prop_assert_eq!(loaded.report.lines.len(), settings.len());
            for line in &loaded.report.lines {
                prop_assert!(!line.became.is_empty() || line.warning.is_some(), "{line}");
            }
        }
    }

    #[test]
    fn nothing_panics(text in "(?s).{0,200}") {
        let _ = load_text(&text, &[]);
    }
}

const VALUE: &str = "|on|off|0|1|5|10s|100ms|64kB|raw|stream|-1|a|a,b|x.conf|AES.{24}|TEXTa|1.5";
