//! The checked configuration: what the rest of pgweir reads.
//!
//! Every value here is inside its bounds and every file it names has been read. Nothing in it is a
//! raw string that somebody still has to parse, except the two texts whose meaning belongs to
//! `auth`: the secrets and the hba file.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::failover::Failover;

/// The whole configuration of one pgweir process.
///
/// `Default` gives every key its default and no node, so it is complete but not yet runnable:
/// [`load`](super::load) refuses a file without a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub listen: Listen,
    pub shards: Shards,
    pub pool: Pool,
    /// What differs from `pool` for a database, by its name. TOML: `[database.NAME]`.
    pub databases: BTreeMap<String, PoolOverride>,
    /// What differs from `pool` for a user, by its name; wins over `databases`. TOML: `[user.NAME]`.
    pub users: BTreeMap<String, PoolOverride>,
    pub auth: Auth,
    pub route: Route,
    pub monitor: Monitor,
    pub failover: Failover,
    pub admin: Admin,
    pub log: Log,
    /// The nodes in the order written; the index of a node is its id. 1 to 128.
    pub nodes: Vec<Node>,
    /// How long a shutdown lets running transactions finish. Default 30 s; 0 = does not wait;
    /// at most a day. TOML: `shutdown_timeout`, above the first section.
    pub shutdown_timeout: Duration,
}

/// Where clients connect: `[listen]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Names or IP addresses to listen on; `"*"` is every IPv4 and IPv6 address. Empty means no
    /// TCP at all. Default `["127.0.0.1"]`.
    pub addresses: Vec<String>,
    /// TCP port, also the number in a unix socket's file name. Default 6432; 1 to 65535.
    pub port: u16,
    /// Folders that get a `.s.PGSQL.PORT` socket. Default none.
    pub unix_socket_dirs: Vec<PathBuf>,
    /// Permissions of the socket file. Default 0o777; 0 to 0o777.
    pub unix_socket_mode: u32,
    /// How many connections the kernel may hold before they are accepted, per listener.
    /// Default 1024; 1 to 65535. The kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
}

/// How many cores work and how: `[shards]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Shards {
    /// How many shards. `None`: one per entry of `cores`, else one per core the process may use.
    /// 1 to 1024; more than there are cores works.
    pub count: Option<usize>,
    /// The cores to pin to, one shard each. `None`: any that the process may use. When both are
    /// given, `count` is the number of `cores`. Core numbers 0 to 1023.
    pub cores: Option<Vec<usize>>,
    /// Whether a shard's thread stays on its core. Default true.
    pub pin: bool,
    /// How long a shard polls its ring before it sleeps. Default 0 (sleeps at once); at most 1 s.
    pub spin: Duration,
}

/// When a backend returns to the pool: `[pool] mode`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PoolMode {
    /// When the client leaves.
    Session,
    /// When the transaction ends (default).
    #[default]
    Transaction,
    /// When the statement ends; transactions of several statements are refused.
    Statement,
}

/// The backends held and the patience with everyone: `[pool]`. All limits are for the whole
/// process, whatever the number of shards.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub mode: PoolMode,
    /// How many backends per (node, database, user). Default 20; 1 to 10000. Each costs a server
    /// process on its node.
    pub size: u32,
    /// How many clients may be connected at once; one more gets 53300. Default 10000;
    /// 1 to 1000000.
    pub client_max: u32,
    /// How many replication connections may be open at once; one more gets 53300. Default 10;
    /// 0 = none; up to 10000. Each has a connection of its own to the primary, beside `size`.
    pub replication_max: u32,
    /// How long a client waits for a backend. Default 30 s; 1 ms to a day.
    pub checkout_timeout: Duration,
    /// How long a backend stays open unused. Default 10 min; 0 = for ever; 1 ms to 30 days.
    pub idle_timeout: Duration,
    /// How old a backend may grow before it is replaced, once it is unused. Default 1 h;
    /// 0 = for ever; 1 s to 30 days.
    pub lifetime_max: Duration,
    /// How long a client may send nothing before it is disconnected, also inside a transaction.
    /// Default 0 = for ever; 1 ms to 30 days.
    pub client_idle_timeout: Duration,
    /// How long opening a backend may take, login included. Default 5 s; 1 ms to 1 h.
    pub connect_timeout: Duration,
    /// How many prepared statements a backend keeps before the one unused for longest is closed.
    /// Default 200; 1 to 100000. Each costs memory in the server process.
    pub statements_max: u32,
    /// Whether a statement may keep its session on one backend. Default `allow`.
    pub pin: PinPolicy,
    /// The statements that make a backend fit for another session when that is owed, in order.
    /// Default `["DISCARD ALL"]`; at least one. They run outside a transaction.
    pub reset: Vec<String>,
}

/// What one database or user has differently: `[database.NAME]`, `[user.NAME]`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PoolOverride {
    /// `None`: as in `[pool]`.
    pub mode: Option<PoolMode>,
    /// `None`: as in `[pool]`; bounds as there.
    pub size: Option<u32>,
}

/// How a client proves who it is: `[auth] method`. `cert` is refused: it needs TLS, which this
/// version does not offer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AuthMethod {
    /// It does not.
    Trust,
    /// By the password in clear text.
    Password,
    /// By an MD5 exchange, or SCRAM where the stored secret is a SCRAM one (as PostgreSQL's own
    /// `md5` does).
    Md5,
    /// By SCRAM-SHA-256 (RFC 7677) alone (default).
    #[default]
    ScramSha256,
    /// As the first matching line of the hba file says.
    Hba,
}

/// Who may come in: `[auth]`.
#[derive(Clone, PartialEq)]
pub struct Auth {
    pub method: AuthMethod,
    /// The secret of each user, exactly as stored: plain text, `md5` and 32 hex digits, or
    /// `SCRAM-SHA-256$…`. The forms of `pg_authid.rolpassword`, and plain.
    pub users: BTreeMap<String, String>,
    /// The file `users` came from, as an absolute or config-relative path that was opened.
    pub users_file: Option<PathBuf>,
    /// The hba file, present whenever `method` is `Hba`.
    pub hba: Option<HbaSource>,
    /// How long a client may take from connecting to being logged in. Default 60 s; 100 ms to 1 h.
    pub login_timeout: Duration,
}

/// An hba file as read; `auth` interprets it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HbaSource {
    pub path: PathBuf,
    pub text: String,
}

/// Which nodes take reads: `[route] reads`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Reads {
    /// The primary takes everything.
    Primary,
    /// Every node, the primary with its own weight.
    Any,
    /// The replicas; the primary only when no replica will do (default).
    #[default]
    Replicas,
}

/// Whose writes a read must see: `[route] causal`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Causal {
    /// Nobody's: a replica's answer may be older than the session's own writes.
    Off,
    /// The session's own (default).
    #[default]
    Session,
    /// Those of every session of this pgweir.
    Global,
}

/// What becomes of a statement that leaves something in its session that cannot follow it to another backend:
/// `[pool] pin`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PinPolicy {
    /// The session keeps its backend while it is there (default).
    #[default]
    Allow,
    /// The statement is refused.
    Refuse,
}

/// How often the node for reads is chosen: `[route] balance`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Balance {
    /// Once, when the session starts; pgpool's way.
    Session,
    /// For each read (default).
    #[default]
    Statement,
}

/// Where queries go: `[route]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Route {
    pub reads: Reads,
    pub causal: Causal,
    pub balance: Balance,
    /// How many bytes of WAL a replica may be behind and still take new reads. Default no limit;
    /// 1 byte to 1 PB (TOML: `"10MB"`, 0 = no limit).
    pub lag_max: Option<u64>,
    /// How long a replica may be behind and still take new reads. Default no limit; 1 ms to a day
    /// (TOML: 0 = no limit).
    pub lag_max_time: Option<Duration>,
}

/// How the nodes are watched: `[monitor]`.
#[derive(Clone, PartialEq)]
pub struct Monitor {
    /// The login of the probes. Default `postgres`; `pg_monitor` is all it needs.
    pub user: String,
    /// Its secret, in the forms of [`Auth::users`] with which one can log in (plain, or `md5…`).
    /// When none is configured, that of the same user in [`Auth::users`], if there is one.
    pub password: Option<String>,
    /// The database the probes connect to. Default `postgres`.
    pub database: String,
    /// The time between two probes of a node. Default 250 ms; 10 ms to 1 h.
    pub interval: Duration,
    /// How long one probe may take. Default 1 s; 10 ms to 1 h.
    pub timeout: Duration,
    /// How many failed probes in a row, beyond the first, before a node counts as down.
    /// Default 1; 0 to 1000.
    pub retries: u32,
}

/// Who may use the admin database `pgweir`: `[admin]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Admin {
    /// Login names. Default `["postgres"]`; they log in like every client.
    pub users: Vec<String>,
}

/// How much is logged: `[log] level`, from least to most.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum LogLevel {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
    Trace,
}

/// `[log]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Log {
    /// Whether a line is logged for each client that comes and goes. Default false.
    pub connections: bool,
    /// Default `info`.
    pub level: LogLevel,
}

/// One PostgreSQL instance: `[[node]]`. Its role is discovered, not configured.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// A name, an IP address, or a folder starting with `/` that holds its unix socket. Required.
    pub host: String,
    /// Default 5432; 1 to 65535.
    pub port: u16,
    /// Its share of the reads among the nodes that take them; only the ratio counts.
    /// Default 1; 0 (no reads) to 1000000.
    pub weight: f64,
    /// Whether the node counts as the primary without asking it. Default false; at most one node.
    pub always_primary: bool,
    /// Whether the node is never taken out for failed probes. Default false.
    pub disallow_failover: bool,
    /// Which of two replicas that are equally far is promoted: the one with more. Default 1; 0 (never) to 1000.
    pub candidate: u32,
    /// Its own `[monitor]` interval, timeout and retries; bounds as there. Default as there.
    pub probe_interval: Option<Duration>,
    pub probe_timeout: Option<Duration>,
    pub probe_retries: Option<u32>,
    /// Its data folder on its own machine; shown, and handed to commands. Default none.
    pub data_directory: Option<String>,
    /// The name under which it appears in the primary's `pg_stat_replication`. Default none.
    pub application_name: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            listen: Listen::default(),
            shards: Shards::default(),
            pool: Pool::default(),
            databases: BTreeMap::new(),
            users: BTreeMap::new(),
            auth: Auth::default(),
            route: Route::default(),
            monitor: Monitor::default(),
            failover: Failover::default(),
            admin: Admin::default(),
            log: Log::default(),
            nodes: Vec::new(),
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// The pool mode of a lease: the user's, else the database's, else the pool's.
    pub fn mode_for(&self, database: &str, user: &str) -> PoolMode {
        self.user(user).mode.or(self.database(database).mode).unwrap_or(self.pool.mode)
    }

    /// How many backends per node a (database, user) may have: the user's, else the database's,
    /// else the pool's.
    pub fn size_for(&self, database: &str, user: &str) -> u32 {
        self.user(user).size.or(self.database(database).size).unwrap_or(self.pool.size)
    }

    fn database(&self, name: &str) -> PoolOverride {
        self.databases.get(name).copied().unwrap_or_default()
    }

    fn user(&self, name: &str) -> PoolOverride {
        self.users.get(name).copied().unwrap_or_default()
    }
}

impl Monitor {
    /// How this node is watched.
    pub fn of(&self, node: &Node) -> Monitor {
        Monitor {
            interval: node.probe_interval.unwrap_or(self.interval),
            timeout: node.probe_timeout.unwrap_or(self.timeout),
            retries: node.probe_retries.unwrap_or(self.retries),
            ..self.clone()
        }
    }
}

impl Default for Listen {
    fn default() -> Listen {
        Listen {
            addresses: vec!["127.0.0.1".to_string()],
            port: 6432,
            unix_socket_dirs: Vec::new(),
            unix_socket_mode: 0o777,
            backlog: 1024,
        }
    }
}

impl Default for Shards {
    fn default() -> Shards {
        Shards { count: None, cores: None, pin: true, spin: Duration::ZERO }
    }
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            mode: PoolMode::default(),
            size: 20,
            client_max: 10_000,
            replication_max: 10,
            checkout_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(600),
            lifetime_max: Duration::from_secs(3600),
            client_idle_timeout: Duration::ZERO,
            connect_timeout: Duration::from_secs(5),
            statements_max: 200,
            pin: PinPolicy::default(),
            reset: vec!["DISCARD ALL".to_string()],
        }
    }
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            method: AuthMethod::default(),
            users: BTreeMap::new(),
            users_file: None,
            hba: None,
            login_timeout: Duration::from_secs(60),
        }
    }
}

/// Prints the names of the users, never their secrets: configurations end up in logs.
impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth")
            .field("method", &self.method)
            .field("users", &self.users.keys().collect::<Vec<_>>())
            .field("users_file", &self.users_file)
            .field("hba", &self.hba)
            .field("login_timeout", &self.login_timeout)
            .finish()
    }
}

impl Default for Monitor {
    fn default() -> Monitor {
        Monitor {
            user: "postgres".to_string(),
            password: None,
            database: "postgres".to_string(),
            interval: Duration::from_millis(250),
            timeout: Duration::from_secs(1),
            retries: 1,
        }
    }
}

/// Prints whether there is a password, never the password.
impl std::fmt::Debug for Monitor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitor")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "*****"))
            .field("database", &self.database)
            .field("interval", &self.interval)
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .finish()
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin { users: vec!["postgres".to_string()] }
    }
}

impl Default for Node {
    fn default() -> Node {
        Node {
            host: "127.0.0.1".to_string(),
            port: 5432,
            weight: 1.0,
            always_primary: false,
            disallow_failover: false,
            candidate: 1,
            probe_interval: None,
            probe_timeout: None,
            probe_retries: None,
            data_directory: None,
            application_name: None,
        }
    }
}
