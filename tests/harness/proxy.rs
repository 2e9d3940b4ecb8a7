//! A real pgweir in front of a cluster: the program itself, with a configuration file, as an operator runs it.

use std::fs::{self, OpenOptions};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use pgweir::demo::folder::{make, new_path, quick_place};
use pgweir::demo::keeper::{Fate, Keeper};
use pgweir::demo::port::free_port;
use pgweir::demo::process::{Signal, alive, await_until, signal, tail};
use toml::Value;

use super::PATIENCE;
use super::client::Client;
use super::cluster::{Cluster, PASSWORD};
use super::config::Config;
use super::login::{Address, Login};
use super::message::Outcome;
use super::namespace::Namespace;
use super::tools::Background;

/// pgweir in front of all nodes of `cluster`, with one unpinned shard, SCRAM, and user `postgres`, until told
/// otherwise.
#[track_caller]
pub fn proxy(cluster: &Cluster) -> ProxyBuilder<'_> {
    let port = free_port().unwrap_or_else(|error| panic!("no free port: {error}"));
    let mut config = Config::default();
    config
        .set("shutdown_timeout", "5s")
        .set("listen.address", "127.0.0.1")
        .set("listen.port", i64::from(port))
        .set("shards.count", 1)
        .set("shards.pin", false)
        .set("auth.method", "scram-sha-256")
        .set("auth.users", "userlist.txt")
        .set("monitor.user", "postgres")
        .set("monitor.password", PASSWORD)
        .set("monitor.database", "postgres")
        .set("admin.users", vec!["postgres"])
        .user("postgres", PASSWORD);
    for node in cluster.nodes() {
        config.node(node.port());
    }
    ProxyBuilder {
        cluster,
        port,
        config,
        socket: false,
        files: Vec::new(),
        pgpool_conf: None,
        namespace: None,
    }
}

/// Runs the program with any arguments, such as `["check", "--config", …]`.
#[track_caller]
pub fn pgweir(arguments: &[&str]) -> Background {
    Background::start(Path::new(PROGRAM), arguments, &[], "")
}

/// What pgweir a test wants.
pub struct ProxyBuilder<'a> {
    cluster: &'a Cluster,
    port: u16,
    config: Config,
    socket: bool,
    /// Names and texts of further files.
    files: Vec<(String, String)>,
    pgpool_conf: Option<String>,
    namespace: Option<Namespace>,
}

impl<'a> ProxyBuilder<'a> {
    /// Sets one key: `"pool.size"`, `"shards.count"`, `"pool.mode"`, `"auth.method"`.
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.config.set(key, value);
        self
    }

    /// Adds TOML text.
    pub fn toml(mut self, text: &str) -> Self {
        self.config.toml(text);
        self
    }

    /// Adds a user to the user list, with its secret: plain, `md5…` or `SCRAM-SHA-256$…`.
    pub fn user(mut self, name: &str, secret: &str) -> Self {
        self.config.user(name, secret);
        self
    }

    /// Changes the configuration in any way.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Puts one more file beside the configuration that names it, such as a `pg_hba.conf`.
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Runs with a `pgpool.conf` instead: this text, after a line with the port.
    pub fn pgpool_conf(mut self, text: &str) -> Self {
        self.pgpool_conf = Some(format!("port = {}\n{text}", self.port));
        self
    }

    /// Runs where another file lies in place of one of the machine's.
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// Listens at a unix socket, too; see [`Proxy::socket`].
    pub fn unix_socket(mut self) -> Self {
        self.socket = true;
        self
    }

    /// Starts it and waits until it takes connections.
    #[track_caller]
    pub fn start(self) -> Proxy<'a> {
        self.try_start()
            .unwrap_or_else(|refusal| panic!("pgweir does not start ({})\n{}", refusal.code, refusal.log))
    }

    /// Starts it, or returns with what it refuses to start.
    ///
    /// # Errors
    /// The exit code and the log.
    #[track_caller]
    pub fn try_start(mut self) -> Result<Proxy<'a>, Refusal> {
        let folder =
            new_path(&quick_place(), "pgweir-test-").unwrap_or_else(|error| panic!("no folder: {error}"));
        // The keeper looks after what works in a folder below its own.
        let own = folder.join("proxy");
        for folder in [&folder, &own] {
            make(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        }
        if self.socket {
            self.config.set("listen.unix_socket_dir", own.display().to_string());
        }
        let mut file = self.config.write(&own);
        if let Some(text) = self.pgpool_conf {
            self.files.push(("pgpool.conf".to_owned(), text));
            file = own.join("pgpool.conf");
        }
        for (name, text) in &self.files {
            fs::write(own.join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        let keeper = Keeper::start(&folder, Fate::Remove).expect("a shell for the keeper");
        let log = own.join("log");
        let before = self.namespace.as_ref().map_or(&[][..], Namespace::words);
        let child = spawn(before, &file, &own, &log);
        keeper.watch(child.id(), Signal::Kill).expect("the keeper has just started");
        let mut proxy = Proxy {
            cluster: self.cluster,
            port: self.port,
            config: self.config,
            folder: own,
            child,
            status: None,
            keeper: Some(keeper),
        };
        let in_time = await_until(PATIENCE, || proxy.has_ended() || proxy.takes_connections());
        if let Some(status) = proxy.status {
            let refusal = Refusal { code: code(status), log: proxy.log() };
            return Err(refusal);
        }
        assert!(in_time, "pgweir takes no connections\n{}", proxy.log());
        Ok(proxy)
    }
}

/// How pgweir refused to start.
#[derive(Debug)]
pub struct Refusal {
    pub code: i32,
    pub log: String,
}

/// A running pgweir. It is killed when dropped, and tells its log when the test has failed.
pub struct Proxy<'a> {
    cluster: &'a Cluster,
    port: u16,
    config: Config,
    folder: PathBuf,
    child: Child,
    /// Set once it was seen to have ended.
    status: Option<ExitStatus>,
    /// `None` only while dropping.
    keeper: Option<Keeper>,
}

impl Proxy<'_> {
    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> Address {
        Address::Port(self.port)
    }

    /// The unix socket, when it was asked for.
    pub fn socket(&self) -> Address {
        Address::Socket(self.folder.clone(), self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A login as the superuser, to database `postgres`.
    pub fn login(&self) -> Login {
        self.cluster.login_to(self.address())
    }

    /// A logged-in client, as the superuser in `database`.
    #[track_caller]
    pub fn client(&self, database: &str) -> Client {
        self.login().database(database).connect()
    }

    /// Runs one command of the admin database.
    #[track_caller]
    pub fn admin(&self, command: &str) -> Outcome {
        self.login().database("pgweir").connect().query(command)
    }

    /// All that it logged.
    pub fn log(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    pub fn log_contains(&self, text: &str) -> bool {
        self.log().contains(text)
    }

    /// Waits until the log holds `text`.
    #[track_caller]
    pub fn await_log(&self, text: &str) {
        let came = await_until(PATIENCE, || self.log_contains(text));
        assert!(came, "{text:?} does not come in the log\n{}", self.log());
    }

    /// How much of its memory is in use, in bytes (proc(5), VmRSS).
    #[track_caller]
    pub fn memory(&self) -> u64 {
        self.kilobytes("VmRSS:") * 1024
    }

    /// Lets [`memory_peak`](Self::memory_peak) begin anew (proc(5), clear_refs).
    #[track_caller]
    pub fn forget_memory_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("it runs, and is ours");
    }

    /// The most memory that it ever had in use, in bytes (proc(5), VmHWM).
    #[track_caller]
    pub fn memory_peak(&self) -> u64 {
        self.kilobytes("VmHWM:") * 1024
    }

    /// Changes the configuration file and has it read again. What comes of it is in the log.
    pub fn reload(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        self.config.write(&self.folder);
        self.sighup();
    }

    /// Replaces the configuration file by any text, however wrong, and has it read again.
    #[track_caller]
    pub fn reload_text(&self, text: &str) {
        fs::write(self.folder.join("pgweir.toml"), text).expect("the file was written before");
        self.sighup();
    }

    pub fn sighup(&self) {
        self.tell(Signal::Hup);
    }

    pub fn sigint(&self) {
        self.tell(Signal::Int);
    }

    pub fn sigterm(&self) {
        self.tell(Signal::Term);
    }

    pub fn kill(&self) {
        self.tell(Signal::Kill);
    }

    /// Waits for its end and returns its exit code; 128 and the number of the signal when one ended it.
    #[track_caller]
    pub fn wait_exit(&mut self) -> i32 {
        assert!(await_until(PATIENCE, || self.has_ended()), "pgweir does not end\n{}", self.log());
        self.status.map_or(-1, code)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status.is_some()
    }

    #[track_caller]
    fn kilobytes(&self, label: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(label));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        kilobytes.expect("every process has one")
    }

    fn takes_connections(&self) -> bool {
        // The log comes first: another process could have taken the port, and answer in its place.
        self.log_contains("listening on") && Client::try_open(&self.address()).is_ok()
    }

    fn tell(&self, order: Signal) {
        // Once reaped, its number may mean another process.
        if self.status.is_none() && alive(self.pid()) {
            signal(order, &[self.pid()]).expect("a shell to send signals with");
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("log")
    }
}

impl Drop for Proxy<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("---- the last lines of pgweir's log\n{}\n----", tail(&self.log_file(), LOG_LINES));
        }
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        // It has the folder removed.
        drop(self.keeper.take());
    }
}

/// Starts it by the words of `before`, which become it, or by itself where there are none.
fn spawn(before: &[String], config: &Path, folder: &Path, log: &Path) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(log).expect("the folder is ours");
    let too = log.try_clone().expect("one more descriptor");
    let mut words = before.iter().map(String::as_str).chain([PROGRAM]);
    Command::new(words.next().unwrap_or(PROGRAM))
        .args(words)
        .args(["run", "--config"])
        .arg(config)
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(too)
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("pgweir: {error}"))
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}

/// pgweir itself, as this build made it.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_pgweir");
const LOG_LINES: usize = 60;
