//! The proxies that are compared: how each is found, configured and started for a piece of work.

mod found;
mod other;
mod pgbouncer;
mod pgpool;
mod pgweir;
mod running;

use anyhow::Result;

use crate::lab::Lab;
use crate::nodes::{DATABASE, USER};
use crate::process::Folder;

pub use found::find;
pub use pgweir::{CONSOLE, Shards};
pub use running::Running;

use other::Template;

/// One of the proxies.
#[derive(Clone, Debug)]
pub struct Proxy {
    pub name: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// None: straight to the primary.
    Direct,
    Relay,
    /// With `[shards] spin`, in microseconds.
    Pgweir {
        spin: u32,
    },
    Pgbouncer,
    Pgpool,
    Other(Template),
}

/// What a proxy is to be configured for.
#[derive(Clone, Debug)]
pub struct Task {
    /// The ports of the servers at 127.0.0.1, the primary's first.
    pub nodes: Vec<u16>,
    /// Backends per node, database and user.
    pub pool: u32,
    /// Clients at once, at most.
    pub clients: u32,
    /// Whether clients use protocol-level prepared statements.
    pub prepared: bool,
    pub login: Login,
    /// How pgweir spreads over its cores.
    pub shards: Shards,
    /// Whether the proxy promotes a replica when the primary is lost.
    pub fails_over: bool,
}

/// How clients prove who they are. Servers let everybody in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    Trust,
    /// By SCRAM-SHA-256; the proxy knows the secret that is kept, not the password.
    Scram {
        password: String,
    },
}

impl Task {
    /// One where pooling makes no difference: a backend for each client.
    pub fn new(nodes: &[u16], clients: u32) -> Task {
        Task {
            nodes: nodes.to_vec(),
            pool: clients,
            clients,
            prepared: false,
            login: Login::Trust,
            shards: Shards::One,
            fails_over: false,
        }
    }

    fn primary(&self) -> u16 {
        self.nodes[0]
    }

    /// The content of a file in PgBouncer's format of users and secrets, which pgweir reads as well.
    fn userlist(&self) -> String {
        let secret = match &self.login {
            Login::Trust => String::new(),
            Login::Scram { password } => postgres_protocol::password::scram_sha_256(password.as_bytes()),
        };
        format!("\"{USER}\" \"{secret}\"\n")
    }
}

impl Proxy {
    /// One of those that perf knows by name.
    pub fn known(name: &str) -> Option<Proxy> {
        let kind = match name {
            "direct" => Kind::Direct,
            "relay" => Kind::Relay,
            "pgweir" => Kind::Pgweir { spin: 0 },
            "pgweir-spin" => Kind::Pgweir { spin: SPIN },
            "pgbouncer" => Kind::Pgbouncer,
            "pgpool" => Kind::Pgpool,
            _ => return None,
        };
        Some(Proxy { name: name.to_owned(), kind })
    }

    /// Starts it on its cores and waits until it serves clients.
    ///
    /// # Errors
    /// When it does not come up: with what it said.
    pub fn start(&self, lab: &Lab, task: &Task) -> Result<Running> {
        match &self.kind {
            Kind::Direct => Ok(Running::direct(&self.name, task.primary())),
            Kind::Relay => running::relay(&self.name, lab, task),
            Kind::Pgweir { spin } => pgweir::start(&self.name, lab, task, *spin),
            Kind::Pgbouncer => pgbouncer::start(&self.name, lab, task),
            Kind::Pgpool => pgpool::start(&self.name, lab, task),
            Kind::Other(template) => other::start(&self.name, lab, task, template),
        }
    }

    /// Whether it can make clients prove who they are, by files that perf writes.
    pub fn logs_in(&self) -> bool {
        matches!(self.kind, Kind::Pgweir { .. } | Kind::Pgbouncer)
    }

    /// Whether it lends fewer backends to more clients.
    pub fn pools(&self) -> bool {
        !matches!(self.kind, Kind::Direct | Kind::Relay | Kind::Pgpool)
    }

    /// Whether canned servers are enough for it.
    pub fn takes_canned(&self) -> bool {
        !matches!(self.kind, Kind::Pgpool)
    }

    /// Whether it can promote a replica.
    pub fn fails_over(&self) -> bool {
        matches!(self.kind, Kind::Pgweir { .. } | Kind::Pgpool)
    }

    /// Whether it is a pgweir.
    pub fn is_pgweir(&self) -> bool {
        matches!(self.kind, Kind::Pgweir { .. })
    }

    /// Whether there is a process whose cost can be measured.
    pub fn is_process(&self) -> bool {
        !matches!(self.kind, Kind::Direct)
    }
}

/// A folder for a proxy's files, the account's own if the program runs under it.
fn folder(lab: &Lab, files: &[(&str, &str)], own: bool) -> Result<Folder> {
    let account = lab.account.filter(|_| own);
    let folder = Folder::new(account)?;
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, content)?;
        if let Some(account) = account {
            account.give(&path)?;
        }
    }
    Ok(folder)
}

/// Who asks a proxy whether it is up.
const WHO: (&str, &str) = (USER, DATABASE);
/// How long `pgweir-spin` polls before it sleeps, in microseconds: longer than one client takes to ask again.
const SPIN: u32 = 200;
