//! Asking one node, over a connection of its own, again and again.

mod connection;
mod name;
mod report;

pub(super) use self::connection::{Connection, ProbeError};
pub(super) use self::report::{Follower, Report};

use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt;
use glommio::timer::Timer;

use self::connection::Who;
use self::name::Name;
use self::report::Depth;
use super::Control;
use super::signal::Signal;
use crate::auth::Secret;
use crate::auth::node::{Credentials, Login, SaltedKeys};
use crate::auth::scram::{self, Keys, Nonce};
use crate::config::Monitor;
use crate::topology::{NodeAddress, NodeId};

/// Probes the node until it leaves the configuration. `now` asks for a probe at once.
pub(super) async fn watch(control: Rc<Control>, id: NodeId, now: Rc<Signal>) {
    let Some((host, port)) = control.place(id) else { return };
    let mut probe = Probe {
        control: control.clone(),
        id,
        name: Name::new(&host),
        port,
        connection: None,
        in_recovery: None,
        depth: Depth::default(),
        logged_in_as: None,
        told_hidden: false,
    };
    while control.place(id).is_some() {
        let begun = Instant::now();
        let monitor = control.monitor_of(id);
        let late = async {
            Timer::new(monitor.timeout).await;
            Err(Failure::unreachable(format!("it does not answer within {:?}", monitor.timeout)))
        };
        let mut interval = monitor.interval;
        let before = probe.in_recovery;
        // When time is up, the probe is dropped with whatever it waits for.
        match probe.once(&monitor).or(late).await {
            Ok(report) => {
                probe.in_recovery = Some(report.in_recovery);
                // Where names follow the primary, another role means that this one may lead elsewhere by now.
                if before.is_some() && before != probe.in_recovery {
                    probe.name.doubt();
                }
                control.answered(id, report);
            }
            Err(failure) => {
                probe.connection = None;
                if failure.unreachable {
                    probe.name.doubt();
                }
                if failure.refused {
                    interval = interval.max(REFUSED_INTERVAL_MIN);
                }
                let reason = probe.name.pending(&control, id).unwrap_or(failure.reason);
                control.failed(id, &reason);
            }
        }
        // However many connections break at once, the node is not asked without a pause.
        Timer::new(PAUSE_MIN).await;
        let rest = async {
            Timer::new(interval.saturating_sub(begun.elapsed())).await;
        };
        rest.or(now.wait()).await;
    }
}

struct Probe {
    control: Rc<Control>,
    id: NodeId,
    name: Name,
    port: u16,
    /// Open between two probes; none after a failure.
    connection: Option<Connection>,
    /// What the last answer said.
    in_recovery: Option<bool>,
    depth: Depth,
    /// Whose login the connection is: another user or password needs another connection.
    logged_in_as: Option<Monitor>,
    /// Whether the log says already that the receiver is hidden from the login.
    told_hidden: bool,
}

/// Why a probe failed.
struct Failure {
    reason: String,
    /// Whether nobody answered at the address: it may be another one by now.
    unreachable: bool,
    /// Whether the login was refused: it will be the next time too, until somebody changes a password.
    refused: bool,
}

impl Probe {
    /// One probe: over the open connection, or over a new one if there is none or it has just broken.
    async fn once(&mut self, monitor: &Monitor) -> Result<Report, Failure> {
        if self.logged_in_as.as_ref().is_some_and(|former| !same_login(former, monitor)) {
            self.connection = None;
            self.depth = Depth::default();
        }
        self.name.resolve(&self.control, self.id, self.port).await.map_err(Failure::unreachable)?;
        let address = self.control.address(self.id);
        if let Some(mut connection) =
            self.connection.take().filter(|connection| connection.leads_to(&address))
        {
            match self.ask(&mut connection).await {
                Ok(report) => {
                    self.connection = Some(connection);
                    return Ok(report);
                }
                // Closed or about to be: the node may have been restarted, which is for a new connection to tell.
                Err(ProbeError::Io(_) | ProbeError::Refused { fatal: true, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut connection = self.open(monitor).await?;
        let report = self.ask(&mut connection).await?;
        self.connection = Some(connection);
        Ok(report)
    }

    /// Asks as much as the login may know.
    async fn ask(&mut self, connection: &mut Connection) -> Result<Report, ProbeError> {
        loop {
            let sent = self.control.moment();
            let error = match connection.ask(&self.depth.query()).await {
                Ok(row) => {
                    self.tell_hidden(&row);
                    return Report::parse(self.depth, &row, sent).map_err(ProbeError::Misbehaved);
                }
                Err(error) => error,
            };
            match self.depth.less().filter(|_| error.asks_too_much()) {
                Some(less) => {
                    self.depth = less;
                    let user = self.control.monitor().user;
                    tracing::warn!(
                        "node {} does not tell user \"{user}\" everything ({error}), so pgweir does not know {}: \
                         GRANT EXECUTE ON it TO \"{user}\"",
                        self.id,
                        less.lost()
                    );
                }
                None => return Err(error),
            }
        }
    }

    async fn open(&mut self, monitor: &Monitor) -> Result<Connection, Failure> {
        let opened = open(&self.control, self.id, self.port, monitor, monitor.timeout).await;
        let (connection, index) = opened.map_err(|error| {
            let reason = match &error {
                ProbeError::Refused { .. } => format!("it refuses user \"{}\": {error}", monitor.user),
                ProbeError::Login(_) => format!("user \"{}\" cannot log in: {error}", monitor.user),
                ProbeError::Io(_) | ProbeError::Misbehaved(_) => error.to_string(),
            };
            Failure { reason, ..Failure::from(error) }
        })?;
        self.logged_in_as = Some(monitor.clone());
        if let NodeAddress::Tcp(mut addresses) = self.control.address(self.id)
            && index > 0
        {
            // Shards try them in this order too.
            addresses.rotate_left(index);
            self.control.resolved(self.id, NodeAddress::Tcp(addresses));
        }
        Ok(connection)
    }

    fn tell_hidden(&mut self, row: &[Option<String>]) {
        let hidden = Report::receiver_hidden(row);
        if hidden && !self.told_hidden {
            let user = self.control.monitor().user;
            tracing::warn!(
                "node {} does not show user \"{user}\" the state of its WAL receiver: GRANT pg_monitor TO \"{user}\"",
                self.id
            );
        }
        self.told_hidden = hidden;
    }
}

/// Opens a connection to a node with the monitor's login. `timeout`: for the opening, and for each question asked on it.
/// Also returns which of the node's addresses it was.
async fn open(
    control: &Rc<Control>,
    id: NodeId,
    port: u16,
    monitor: &Monitor,
    timeout: Duration,
) -> Result<(Connection, usize), ProbeError> {
    let login = login(control, monitor).map_err(ProbeError::Misbehaved)?;
    let who = Who { user: &monitor.user, database: &monitor.database, timeout };
    let derive = async |password: String, salt: Vec<u8>, iterations: u32| {
        control.clone().derive(password, salt, iterations).await
    };
    Connection::open(&control.address(id), port, who, login, derive, timeout).await
}

fn login(control: &Control, monitor: &Monitor) -> Result<Login, String> {
    let secret = monitor.password.as_deref().map(Secret::parse).transpose();
    let secret = secret.map_err(|error| format!("[monitor] password: {error}"))?;
    let mut random = [0; 18];
    getrandom::fill(&mut random).map_err(|error| format!("no random numbers: {error}"))?;
    Ok(Login::new(&monitor.user, Credentials { secret, keys: control.keys() }, Nonce::from_random(random)))
}

impl Control {
    /// A connection of its own to a node, for something that is to be done there. `timeout`: for the opening, and for
    /// each statement.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub(super) async fn connect(
        self: &Rc<Self>,
        id: NodeId,
        timeout: Duration,
    ) -> Result<Connection, ProbeError> {
        let (_, port) = self
            .place(id)
            .ok_or_else(|| ProbeError::Misbehaved("it was taken out of the configuration".into()))?;
        let monitor = self.monitor();
        let late = async {
            Timer::new(timeout).await;
            Err(ProbeError::Misbehaved(format!("it does not answer within {timeout:?}")))
        };
        let (connection, _) = open(self, id, port, &monitor, timeout).or(late).await?;
        Ok(connection)
    }
}

impl Failure {
    fn unreachable(reason: String) -> Failure {
        Failure { reason, unreachable: true, refused: false }
    }
}

impl From<ProbeError> for Failure {
    fn from(error: ProbeError) -> Failure {
        Failure {
            reason: error.to_string(),
            unreachable: matches!(error, ProbeError::Io(_)),
            refused: match &error {
                ProbeError::Login(_) => true,
                // Invalid authorization, an unknown database, no right to connect to it.
                ProbeError::Refused { sqlstate, .. } => {
                    sqlstate.starts_with("28") || matches!(sqlstate.as_str(), "3D000" | "42501")
                }
                ProbeError::Io(_) | ProbeError::Misbehaved(_) => false,
            },
        }
    }
}

impl Control {
    /// SCRAM keys of the monitor's password, made on a helper thread and kept: the other nodes will ask for the same.
    async fn derive(self: Rc<Self>, password: String, salt: Vec<u8>, iterations: u32) -> Keys {
        let deriving = async move {
            let for_salt = salt.clone();
            let keys =
                self.helpers.compute(move || scram::derive(password.as_bytes(), &for_salt, iterations)).await;
            self.keep_keys(SaltedKeys { salt, iterations, keys: keys.clone() });
            keys
        };
        // Finished even if this probe is given up: the next one needs them too.
        let derived = glommio::spawn_local(deriving).detach().await;
        // There are none when the executor is ending; then nobody looks at what comes of them.
        derived.unwrap_or(Keys { client_key: [0; 32], server_key: [0; 32] })
    }
}

fn same_login(a: &Monitor, b: &Monitor) -> bool {
    a.user == b.user && a.password == b.password && a.database == b.database
}

/// The least time between two probes of a node.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The least time between two attempts at resolving a name after a failure.
const RESOLVE_AGAIN_MIN: Duration = Duration::from_secs(1);

/// How long a name's addresses are believed while the node answers.
const RESOLVED_FOR: Duration = Duration::from_secs(60);

/// The least time between two logins that are refused: each is a line in the node's log.
const REFUSED_INTERVAL_MIN: Duration = Duration::from_secs(5);
