//! Every key of pgweir.toml: its doc line, how it is read and checked, how it is printed.
//!
//! One table serves reading, `check`, the documented example and the difference between two
//! configurations, so none of them can forget a key. Defaults are those of `Config::default()`.

use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::failover;
use super::print::{quote, quote_all};
use super::value::{Zero, boolean, bytes, duration, float, small, text, texts, word};
use crate::config::unit::{print_bytes, print_duration};
use crate::config::{
    AuthMethod, Balance, Causal, Config, HbaSource, LogLevel, Node, PinPolicy, PoolMode, PoolOverride, Reads,
};

/// One key of a section whose values live in a `T`.
pub(super) struct Key<T: 'static> {
    pub name: &'static str,
    /// Meaning, unit and bounds, in one line.
    pub doc: &'static str,
    /// Whether a reload applies it; otherwise it needs a restart.
    pub live: bool,
    /// Whether its value is never shown.
    pub secret: bool,
    pub read: fn(&mut T, &DeValue<'_>) -> Result<(), String>,
    /// As TOML; `None` when it has no value.
    pub write: fn(&T) -> Option<String>,
}

/// A section that appears once.
pub(super) struct Section {
    /// Empty for the keys above the first section.
    pub name: &'static str,
    pub keys: &'static [Key<Config>],
}

/// The sections that appear once, in the order they are printed.
pub(super) const SECTIONS: &[Section] = &[
    Section { name: "", keys: TOP },
    Section { name: "listen", keys: LISTEN },
    Section { name: "shards", keys: SHARDS },
    Section { name: "pool", keys: POOL },
    Section { name: "auth", keys: AUTH },
    Section { name: "route", keys: ROUTE },
    Section { name: "monitor", keys: MONITOR },
    Section { name: "failover", keys: failover::KEYS },
    Section { name: "admin", keys: ADMIN },
    Section { name: "log", keys: LOG },
];

/// `[database.NAME]` and `[user.NAME]`.
pub(super) const OVERRIDE: &[Key<PoolOverride>] = &[
    key(
        "mode",
        "Its own [pool] mode",
        |o, v| set(&mut o.mode, word(v, POOL_MODES).map(Some)),
        |o| o.mode.map(|mode| name_of(mode, POOL_MODES)),
    ),
    key(
        "size",
        "Its own [pool] size",
        |o, v| set(&mut o.size, small(v, SIZES).map(Some)),
        |o| o.size.map(|size| size.to_string()),
    ),
];

/// `[[node]]`.
pub(super) const NODE: &[Key<Node>] = &[
    key(
        "host",
        "Name, IP address, or the folder of its unix socket (starts with /); required",
        |n, v| set(&mut n.host, text(v)),
        |n| Some(quote(&n.host)),
    ),
    key("port", "1 to 65535", |n, v| set(&mut n.port, small(v, PORTS)), |n| Some(n.port.to_string())),
    key(
        "weight",
        "Its share of the reads, only the ratio counts; 0 (no reads) to 1000000",
        |n, v| set(&mut n.weight, float(v, 0.0..=1_000_000.0)),
        |n| Some(n.weight.to_string()),
    ),
    key(
        "always_primary",
        "Whether it counts as the primary without being asked; at most one node",
        |n, v| set(&mut n.always_primary, boolean(v)),
        |n| Some(n.always_primary.to_string()),
    ),
    key(
        "disallow_failover",
        "Whether it is never taken out for failed probes",
        |n, v| set(&mut n.disallow_failover, boolean(v)),
        |n| Some(n.disallow_failover.to_string()),
    ),
    key(
        "candidate",
        "Which of two replicas that are equally far is promoted: the one with more; 0 (never) to 1000",
        |n, v| set(&mut n.candidate, small(v, 0..=1000)),
        |n| Some(n.candidate.to_string()),
    ),
    key(
        "probe_interval",
        "Its own [monitor] interval",
        |n, v| set(&mut n.probe_interval, duration(v, TEN_MS..=HOUR, Zero::Refused).map(Some)),
        |n| n.probe_interval.map(|time| quote(&print_duration(time))),
    ),
    key(
        "probe_timeout",
        "Its own [monitor] timeout",
        |n, v| set(&mut n.probe_timeout, duration(v, TEN_MS..=HOUR, Zero::Refused).map(Some)),
        |n| n.probe_timeout.map(|time| quote(&print_duration(time))),
    ),
    key(
        "probe_retries",
        "Its own [monitor] retries",
        |n, v| set(&mut n.probe_retries, small(v, 0..=1000).map(Some)),
        |n| n.probe_retries.map(|retries| retries.to_string()),
    ),
    key(
        "data_directory",
        "Its data folder on its own machine",
        |n, v| set(&mut n.data_directory, text(v).map(Some)),
        |n| n.data_directory.as_deref().map(quote),
    ),
    key(
        "application_name",
        "Its name in the primary's pg_stat_replication",
        |n, v| set(&mut n.application_name, text(v).map(Some)),
        |n| n.application_name.as_deref().map(quote),
    ),
];

/// The text of `pool.mode` and its like, as TOML.
pub(super) fn name_of<T: PartialEq>(value: T, words: &[(&str, T)]) -> String {
    words.iter().find(|(_, word)| *word == value).map_or_else(String::new, |(name, _)| quote(name))
}

const TOP: &[Key<Config>] = &[key(
    "shutdown_timeout",
    "How long a shutdown lets running transactions finish; 0 to 1d",
    |c, v| set(&mut c.shutdown_timeout, duration(v, US..=DAY, Zero::Allowed)),
    |c| Some(quote(&print_duration(c.shutdown_timeout))),
)];

const LISTEN: &[Key<Config>] = &[
    restart(key(
        "address",
        "Name or IP address to listen on, or a list; \"*\" is all, [] is no TCP",
        |c, v| set(&mut c.listen.addresses, texts(v)),
        |c| Some(quote_all(&c.listen.addresses)),
    )),
    restart(key(
        "port",
        "1 to 65535",
        |c, v| set(&mut c.listen.port, small(v, PORTS)),
        |c| Some(c.listen.port.to_string()),
    )),
    restart(key(
        "unix_socket_dir",
        "Folder for a unix socket, or a list; [] is none",
        |c, v| {
            let dirs = texts(v).map(|dirs| dirs.into_iter().map(PathBuf::from).collect());
            set(&mut c.listen.unix_socket_dirs, dirs)
        },
        |c| {
            let dirs: Vec<String> =
                c.listen.unix_socket_dirs.iter().map(|dir| dir.to_string_lossy().into_owned()).collect();
            Some(quote_all(&dirs))
        },
    )),
    restart(key(
        "unix_socket_mode",
        "Permissions of the socket file in octal; \"0000\" to \"0777\"",
        |c, v| set(&mut c.listen.unix_socket_mode, octal(v)),
        |c| Some(format!("\"{:04o}\"", c.listen.unix_socket_mode)),
    )),
    restart(key(
        "backlog",
        "Connections the kernel holds until they are accepted; 1 to 65535",
        |c, v| set(&mut c.listen.backlog, small(v, 1..=65535)),
        |c| Some(c.listen.backlog.to_string()),
    )),
];

const SHARDS: &[Key<Config>] = &[
    restart(key(
        "count",
        "How many shards; default one per allowed core; 1 to 1024",
        |c, v| set(&mut c.shards.count, small(v, 1..=1024).map(Some)),
        |c| c.shards.count.map(|count| count.to_string()),
    )),
    restart(key(
        "cores",
        "The cores to use, one shard each; default any allowed one; 0 to 1023",
        |c, v| set(&mut c.shards.cores, cores(v).map(Some)),
        |c| c.shards.cores.as_ref().map(|cores| format!("{cores:?}")),
    )),
    restart(key(
        "pin",
        "Whether a shard stays on its core; false for tests",
        |c, v| set(&mut c.shards.pin, boolean(v)),
        |c| Some(c.shards.pin.to_string()),
    )),
    restart(key(
        "spin",
        "How long a shard polls before it sleeps; 0 to 1s",
        |c, v| set(&mut c.shards.spin, duration(v, US..=SECOND, Zero::Allowed)),
        |c| Some(quote(&print_duration(c.shards.spin))),
    )),
];

const POOL: &[Key<Config>] = &[
    key(
        "mode",
        "When a backend returns to the pool: session | transaction | statement",
        |c, v| set(&mut c.pool.mode, word(v, POOL_MODES)),
        |c| Some(name_of(c.pool.mode, POOL_MODES)),
    ),
    key(
        "size",
        "Backends per (node, database, user), whole process; 1 to 10000",
        |c, v| set(&mut c.pool.size, small(v, SIZES)),
        |c| Some(c.pool.size.to_string()),
    ),
    key(
        "client_max",
        "Clients connected at once, whole process; 1 to 1000000",
        |c, v| set(&mut c.pool.client_max, small(v, 1..=1_000_000)),
        |c| Some(c.pool.client_max.to_string()),
    ),
    key(
        "replication_max",
        "Replication connections at once, each with one of its own to the primary; 0 to 10000",
        |c, v| set(&mut c.pool.replication_max, small(v, 0..=10_000)),
        |c| Some(c.pool.replication_max.to_string()),
    ),
    key(
        "checkout_timeout",
        "How long a client waits for a backend; 1ms to 1d",
        |c, v| set(&mut c.pool.checkout_timeout, duration(v, MS..=DAY, Zero::Refused)),
        |c| Some(quote(&print_duration(c.pool.checkout_timeout))),
    ),
    key(
        "idle_timeout",
        "How long a backend stays open unused; 1ms to 30d, 0 = for ever",
        |c, v| set(&mut c.pool.idle_timeout, duration(v, MS..=MONTH, Zero::Allowed)),
        |c| Some(quote(&print_duration(c.pool.idle_timeout))),
    ),
    key(
        "lifetime_max",
        "How old a backend may grow; 1s to 30d, 0 = for ever",
        |c, v| set(&mut c.pool.lifetime_max, duration(v, SECOND..=MONTH, Zero::Allowed)),
        |c| Some(quote(&print_duration(c.pool.lifetime_max))),
    ),
    key(
        "client_idle_timeout",
        "How long a client may send nothing, also in a transaction; 1ms to 30d, 0 = for ever",
        |c, v| {
            let timeout = duration(v, MS..=MONTH, Zero::Allowed);
            set(&mut c.pool.client_idle_timeout, timeout)
        },
        |c| Some(quote(&print_duration(c.pool.client_idle_timeout))),
    ),
    key(
        "connect_timeout",
        "How long opening a backend may take, login included; 1ms to 1h",
        |c, v| set(&mut c.pool.connect_timeout, duration(v, MS..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.pool.connect_timeout))),
    ),
    key(
        "statements_max",
        "Prepared statements kept per backend; 1 to 100000",
        |c, v| set(&mut c.pool.statements_max, small(v, 1..=100_000)),
        |c| Some(c.pool.statements_max.to_string()),
    ),
    key(
        "pin",
        "What leaves something in its session that cannot follow it: allow (it keeps its backend) or refuse",
        |c, v| set(&mut c.pool.pin, word(v, PINS)),
        |c| Some(name_of(c.pool.pin, PINS)),
    ),
    key(
        "reset",
        "Statement that makes a backend fit for another session, or a list",
        |c, v| {
            let reset = texts(v).and_then(|list| match list.is_empty() {
                true => Err("it is an empty list: write [\"DISCARD ALL\"]".to_string()),
                false => Ok(list),
            });
            set(&mut c.pool.reset, reset)
        },
        |c| Some(quote_all(&c.pool.reset)),
    ),
];

const AUTH: &[Key<Config>] = &[
    key(
        "method",
        "How clients prove who they are: trust | password | md5 | scram-sha-256 | hba",
        |c, v| match v.as_str() {
            Some("cert") => Err(CERT_REFUSED.to_string()),
            _ => set(&mut c.auth.method, word(v, AUTH_METHODS)),
        },
        |c| Some(name_of(c.auth.method, AUTH_METHODS)),
    ),
    key(
        "users",
        "File of lines \"user\" \"secret\"; relative to this file's folder",
        |c, v| set(&mut c.auth.users_file, text(v).map(|name| Some(name.into()))),
        |c| c.auth.users_file.as_ref().map(|path| quote(&path.to_string_lossy())),
    ),
    key(
        "hba",
        "File in pg_hba.conf's format, for method = \"hba\"; relative to this file's folder",
        |c, v| {
            let source = text(v).map(|name| HbaSource { path: name.into(), text: String::new() });
            set(&mut c.auth.hba, source.map(Some))
        },
        |c| c.auth.hba.as_ref().map(|hba| quote(&hba.path.to_string_lossy())),
    ),
    key(
        "login_timeout",
        "How long a client's login may take; 100ms to 1h",
        |c, v| {
            let range = Duration::from_millis(100)..=HOUR;
            set(&mut c.auth.login_timeout, duration(v, range, Zero::Refused))
        },
        |c| Some(quote(&print_duration(c.auth.login_timeout))),
    ),
];

const ROUTE: &[Key<Config>] = &[
    key(
        "reads",
        "Which nodes take reads: primary | any | replicas",
        |c, v| set(&mut c.route.reads, word(v, READS)),
        |c| Some(name_of(c.route.reads, READS)),
    ),
    key(
        "causal",
        "Whose writes a read must see: off | session | global",
        |c, v| set(&mut c.route.causal, word(v, CAUSALS)),
        |c| Some(name_of(c.route.causal, CAUSALS)),
    ),
    key(
        "balance",
        "How often the node for reads is chosen: statement | session",
        |c, v| set(&mut c.route.balance, word(v, BALANCES)),
        |c| Some(name_of(c.route.balance, BALANCES)),
    ),
    key(
        "lag_max",
        "How far behind a replica may be and take new reads; 0 = no limit, to 1024TB",
        |c, v| {
            let lag = bytes(v, 1 << 50).map(|bytes| Some(bytes).filter(|bytes| *bytes > 0));
            set(&mut c.route.lag_max, lag)
        },
        |c| Some(quote(&print_bytes(c.route.lag_max.unwrap_or(0)))),
    ),
    key(
        "lag_max_time",
        "How long behind a replica may be and take new reads; 1ms to 1d, 0 = no limit",
        |c, v| {
            let lag = duration(v, MS..=DAY, Zero::Allowed);
            let lag = lag.map(|time| Some(time).filter(|time| !time.is_zero()));
            set(&mut c.route.lag_max_time, lag)
        },
        |c| Some(quote(&print_duration(c.route.lag_max_time.unwrap_or_default()))),
    ),
];

const MONITOR: &[Key<Config>] = &[
    key(
        "user",
        "Login of the probes; pg_monitor is all it needs",
        |c, v| set(&mut c.monitor.user, text(v)),
        |c| Some(quote(&c.monitor.user)),
    ),
    Key {
        secret: true,
        ..key(
            "password",
            "Its password; default that of the same user in [auth] users",
            |c, v| set(&mut c.monitor.password, text(v).map(Some)),
            |c| c.monitor.password.as_deref().map(quote),
        )
    },
    key(
        "database",
        "Database the probes connect to",
        |c, v| set(&mut c.monitor.database, text(v)),
        |c| Some(quote(&c.monitor.database)),
    ),
    key(
        "interval",
        "Time between two probes of a node; 10ms to 1h",
        |c, v| set(&mut c.monitor.interval, duration(v, TEN_MS..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.monitor.interval))),
    ),
    key(
        "timeout",
        "How long one probe may take; 10ms to 1h",
        |c, v| set(&mut c.monitor.timeout, duration(v, TEN_MS..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.monitor.timeout))),
    ),
    key(
        "retries",
        "Failed probes in a row, beyond the first, before a node is down; 0 to 1000",
        |c, v| set(&mut c.monitor.retries, small(v, 0..=1000)),
        |c| Some(c.monitor.retries.to_string()),
    ),
];

const ADMIN: &[Key<Config>] = &[key(
    "users",
    "Who may use the database pgweir; a login name or a list",
    |c, v| set(&mut c.admin.users, texts(v)),
    |c| Some(quote_all(&c.admin.users)),
)];

const LOG: &[Key<Config>] = &[
    key(
        "connections",
        "Whether each client that comes and goes is logged",
        |c, v| set(&mut c.log.connections, boolean(v)),
        |c| Some(c.log.connections.to_string()),
    ),
    key(
        "level",
        "How much is logged: error | warn | info | debug | trace",
        |c, v| set(&mut c.log.level, word(v, LOG_LEVELS)),
        |c| Some(name_of(c.log.level, LOG_LEVELS)),
    ),
];

/// A key that a reload applies and that may be shown: the usual one.
pub(super) const fn key<T>(
    name: &'static str,
    doc: &'static str,
    read: fn(&mut T, &DeValue<'_>) -> Result<(), String>,
    write: fn(&T) -> Option<String>,
) -> Key<T> {
    Key { name, doc, live: true, secret: false, read, write }
}

/// The same key, for what is decided once at the start.
const fn restart<T>(key: Key<T>) -> Key<T> {
    Key { name: key.name, doc: key.doc, live: false, secret: key.secret, read: key.read, write: key.write }
}

pub(super) fn set<V>(place: &mut V, value: Result<V, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

fn octal(value: &DeValue<'_>) -> Result<u32, String> {
    let wanted = "write it in quotes and octal, \"0000\" to \"0777\"";
    let text = text(value).map_err(|_| format!("it is no text: {wanted}"))?;
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 && text.bytes().all(|b| b.is_ascii_digit()) => Ok(mode),
        _ => Err(format!("{text:?} is no file mode: {wanted}")),
    }
}

fn cores(value: &DeValue<'_>) -> Result<Vec<usize>, String> {
    let Some(array) = value.as_array() else {
        return Err("it is no list: write the cores' numbers, such as [2, 3]".to_string());
    };
    let mut cores = Vec::with_capacity(array.len());
    for entry in array.iter() {
        let core: usize = small(entry.get_ref(), 0..=1023)?;
        if cores.contains(&core) {
            return Err(format!("core {core} is in the list twice"));
        }
        cores.push(core);
    }
    match cores.is_empty() {
        true => Err("it is an empty list: leave it out to use every allowed core".to_string()),
        false => Ok(cores),
    }
}

pub(super) const POOL_MODES: &[(&str, PoolMode)] = &[
    ("session", PoolMode::Session),
    ("transaction", PoolMode::Transaction),
    ("statement", PoolMode::Statement),
];
const AUTH_METHODS: &[(&str, AuthMethod)] = &[
    ("trust", AuthMethod::Trust),
    ("password", AuthMethod::Password),
    ("md5", AuthMethod::Md5),
    ("scram-sha-256", AuthMethod::ScramSha256),
    ("hba", AuthMethod::Hba),
];
const READS: &[(&str, Reads)] =
    &[("primary", Reads::Primary), ("any", Reads::Any), ("replicas", Reads::Replicas)];
const CAUSALS: &[(&str, Causal)] =
    &[("off", Causal::Off), ("session", Causal::Session), ("global", Causal::Global)];
const PINS: &[(&str, PinPolicy)] = &[("allow", PinPolicy::Allow), ("refuse", PinPolicy::Refuse)];
const BALANCES: &[(&str, Balance)] = &[("statement", Balance::Statement), ("session", Balance::Session)];
const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const CERT_REFUSED: &str = "\"cert\" needs TLS, which this version does not offer: write \
                            \"scram-sha-256\"";

const PORTS: std::ops::RangeInclusive<u64> = 1..=65535;
const SIZES: std::ops::RangeInclusive<u64> = 1..=10_000;
pub(super) const US: Duration = Duration::from_micros(1);
pub(super) const MS: Duration = Duration::from_millis(1);
pub(super) const TEN_MS: Duration = Duration::from_millis(10);
pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
