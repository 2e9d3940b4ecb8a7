//! Real servers for tests.

use std::fs;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, LazyLock, Mutex, PoisonError};

use pgweir::demo::account::Account;
use pgweir::demo::folder::{make, new_path, quick_place};
use pgweir::demo::keeper::Fate;
use pgweir::demo::node::Node;
use pgweir::demo::process::Interrupt;
use pgweir::demo::servers::{Cluster as Servers, ClusterOptions};
use pgweir::demo::settings::{Purpose, conninfo};

use super::PATIENCE;
use super::login::{Address, Login};

/// A primary, node 0, without replicas until told otherwise.
pub fn cluster() -> ClusterBuilder {
    ClusterBuilder { replicas: 0, settings: Vec::new(), hba: Vec::new() }
}

/// The cluster that tests of this binary share: a primary and two replicas. It is started by the first who asks, and
/// ends with the process. Use it for what leaves it as it was, in a [`Database`] of one's own.
pub fn shared() -> &'static Cluster {
    static SHARED: LazyLock<Cluster> =
        LazyLock::new(|| cluster().replicas(2).setting("max_connections", "300").start_unbounded());
    &SHARED
}

/// What cluster a test wants.
pub struct ClusterBuilder {
    replicas: usize,
    settings: Vec<(String, String)>,
    hba: Vec<String>,
}

impl ClusterBuilder {
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// A setting of every node, as in `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A line of `pg_hba.conf` for TCP, instead of SCRAM for everybody.
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// Starts it, once fewer than a handful of others run in this process.
    #[track_caller]
    pub fn start(self) -> Cluster {
        let permit = Permit::take();
        Cluster { permit: Some(permit), ..self.start_unbounded() }
    }

    #[track_caller]
    fn start_unbounded(self) -> Cluster {
        let folder =
            new_path(&quick_place(), "pgweir-test-").and_then(|folder| make(&folder).map(|()| folder));
        let folder = folder.unwrap_or_else(|error| panic!("no folder for a cluster: {error}"));
        let options = ClusterOptions {
            folder,
            fate: Fate::Remove,
            purpose: Purpose::Test,
            replicas: self.replicas,
            password: PASSWORD.to_owned(),
            settings: self.settings,
            hba: self.hba,
            interrupt: Interrupt::new(),
        };
        let servers = Servers::start(options).unwrap_or_else(|error| panic!("no cluster: {error}"));
        Cluster { servers, permit: None }
    }
}

/// Servers with the verbs of [`Servers`], and those that only tests need.
pub struct Cluster {
    servers: Servers,
    /// Dropped after the servers have ended.
    permit: Option<Permit>,
}

impl Cluster {
    /// A login to node `index` itself, past any proxy: as the superuser, over TCP.
    pub fn login(&self, index: usize) -> Login {
        self.login_to(Address::Port(self.node(index).port()))
    }

    pub(super) fn login_to(&self, address: Address) -> Login {
        Login::new(address, "postgres", PASSWORD, "postgres", &self.servers.binaries().folder)
    }

    /// Runs SQL on node `index` as the superuser and returns the rows.
    #[track_caller]
    pub fn run(&self, index: usize, sql: &str) -> Vec<Vec<Option<String>>> {
        self.sql(index, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs SQL on node `index` as the superuser and returns the first value as text.
    #[track_caller]
    pub fn value(&self, index: usize, sql: &str) -> String {
        self.node(index).sql_value(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Ends a node as a power cut does.
    pub fn kill(&self, node: usize) {
        self.node(node).kill();
    }

    /// Brings a node back after it was stopped or killed.
    #[track_caller]
    pub fn revive(&self, node: usize) {
        self.node(node).start().unwrap_or_else(|error| panic!("node {node} does not come back: {error}"));
    }

    /// Makes a node anew as a replica of `primary`, as an operator does whose old primary cannot follow as it is.
    #[track_caller]
    pub fn rejoin(&self, node: usize, primary: usize) {
        self.node(node).stop();
        let (data, primary) = (self.node(node).data_folder(), self.node(primary).port());
        let parent = data.parent().expect("a node has a folder of its own");
        let kept = ["postgresql.conf", "pg_hba.conf"]
            .map(|name| (name, fs::read(data.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))));
        fs::remove_dir_all(&data).unwrap_or_else(|error| panic!("{}: {error}", data.display()));
        let account = Account::find().unwrap_or_else(|error| panic!("no account for servers: {error}"));
        let copied = account
            .command(self.binaries().program("pg_basebackup"), parent)
            .args(["--pgdata=data", "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"])
            .arg(format!("--dbname={}", conninfo(self.node(node).name(), primary)))
            .env("PGPASSWORD", self.password())
            .output();
        let copied = copied.unwrap_or_else(|error| panic!("pg_basebackup: {error}"));
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        for (name, text) in kept {
            fs::write(data.join(name), text).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        self.revive(node);
    }

    /// Waits until the replicas have replayed all that node 0 wrote until now.
    #[track_caller]
    pub fn settle(&self) {
        self.await_replay(0).unwrap_or_else(|error| panic!("the replicas do not follow: {error}"));
    }

    /// A new database on node 0, known to the replicas, that is dropped with the returned value.
    #[track_caller]
    pub fn database(&self) -> Database<'_> {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::SeqCst));
        self.run(0, &format!("CREATE DATABASE {name}"));
        self.settle();
        Database { node: self.node(0), name }
    }
}

impl Deref for Cluster {
    type Target = Servers;

    fn deref(&self) -> &Servers {
        &self.servers
    }
}

/// A database that lasts as long as its test.
pub struct Database<'a> {
    node: &'a Node,
    name: String,
}

impl Database<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        // Whoever is still connected to it is thrown out. A cluster that the test has wrecked is no reason to fail.
        let _ = self.node.sql(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// The right to run a cluster: a machine with many cores runs many tests side by side, and each cluster is a dozen
/// processes.
struct Permit;

impl Permit {
    /// Waits for a permit. A test may hold one and wait for its second cluster's while all others do the same, so the
    /// wait ends after a while in any case.
    fn take() -> Self {
        let taken = TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |taken: &mut usize| *taken >= CLUSTERS_MAX;
        let waited = TAKEN.1.wait_timeout_while(taken, PATIENCE, full);
        *waited.unwrap_or_else(PoisonError::into_inner).0 += 1;
        Self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *TAKEN.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        TAKEN.1.notify_one();
    }
}

static TAKEN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());
const CLUSTERS_MAX: usize = 6;
/// Of the superuser, at the nodes and at the proxy.
pub const PASSWORD: &str = "it's secret";
