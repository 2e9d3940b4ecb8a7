//! Builds both planes from a checked configuration, starts them, waits for them, and shuts them down in order.
//!
//! ```text
//!   Config ─▶ Policy ─▶ listeners ─▶ control ─▶ shard 0..N ─▶ "listening on …"
//!                                                   │
//!                 socket files ◀─ control ◀─ shards ┘ join: in the opposite order
//! ```

mod cores;
mod descriptors;
mod listeners;
mod unix_socket;

pub use crate::control::{Caught, NodeView, View, log_to_stderr};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use self::listeners::{ListenError, Listeners};
use crate::config::Loaded;
use crate::control::{self, Bell, NODES_MAX};
use crate::counters::{Process, ShardCounters};
use crate::door::{Door, ShardId, Shared};
use crate::ring::{Doorbell, support};
use crate::shard;

/// Why pgweir does not start: one sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Secrets or hba lines; one per line.
    #[error("{0}")]
    Config(String),
    #[error("core {core} in [shards] cores is none that pgweir may use: write some of {allowed:?}")]
    Core { core: usize, allowed: Vec<usize> },
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("{0}")]
    Ring(String),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
}

/// A pgweir that serves clients. Ends when told to by [`drain`](Self::drain), [`stop`](Self::stop), a signal or the
/// admin console; [`join`](Self::join) waits for it.
pub struct Running {
    // In this order they end.
    shards: Vec<JoinHandle<()>>,
    control: control::Running,
    listeners: Listeners,
}

/// Starts everything; returns when clients can connect. `file` is where a reload reads the configuration again.
///
/// # Errors
///
/// Why not. Nothing is left running then.
pub fn start(loaded: Loaded, file: Option<PathBuf>) -> Result<Running, StartError> {
    for warning in &loaded.report.warnings {
        tracing::warn!("{warning}");
    }
    let config = loaded.config;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| StartError::System { what: "no random numbers", source: error.into() })?;
    let cores = cores::assign(&config.shards, &cores::allowed())?;
    let policy =
        Arc::new(control::policy(config, seed).map_err(|errors| StartError::Config(errors.join("\n")))?);
    descriptors::raise(&policy.config, cores.len());
    let (listeners, sockets) = listeners::bind(&policy.config.listen, cores.len())?;

    let doorbells: Vec<Doorbell> = cores
        .iter()
        .map(|_| Doorbell::new())
        .collect::<io::Result<_>>()
        .map_err(|source| StartError::System { what: "no descriptor for the bell of a shard", source })?;
    let doors = doorbells.iter().map(|doorbell| {
        let doorbell = doorbell.clone();
        Door::new(move || doorbell.ring())
    });
    support::check().map_err(StartError::Ring)?;
    let bell = Bell::default();
    let shared = Shared {
        process: Arc::new(Process::default()),
        counters: Arc::new(cores.iter().map(|_| ShardCounters::new(NODES_MAX)).collect()),
        shards: Arc::new(doors.collect()),
        control: Door::new({
            let bell = bell.clone();
            move || bell.ring()
        }),
        started: Instant::now(),
    };
    let setup = control::Setup { shared: shared.clone(), bell, policy: policy.clone(), seed, file };
    let control = control::start(setup).map_err(|error| StartError::Ring(support::explain(&error)))?;
    let mut running = Running { shards: Vec::new(), control, listeners };
    let each = (0u16..).map(ShardId).zip(cores).zip(doorbells).zip(sockets);
    for (((id, core), doorbell), listeners) in each {
        let setup = shard::Setup {
            id,
            core,
            listeners,
            doorbell,
            shared: shared.clone(),
            policy: policy.clone(),
            topology: running.control.topology(),
        };
        match shard::start(setup) {
            Ok(thread) => running.shards.push(thread),
            Err(reason) => {
                running.stop();
                running.join();
                return Err(StartError::Ring(reason));
            }
        }
    }
    for place in running.listeners.places() {
        tracing::info!("listening on {place}");
    }
    Ok(running)
}

/// Catches the operator's signals, to be obeyed by [`Running::obey_signals`]. To be called before [`start`].
///
/// # Errors
///
/// When the process has no descriptors left.
pub fn catch_signals() -> Result<Caught, StartError> {
    control::catch_signals().map_err(|source| StartError::System { what: "signals cannot be caught", source })
}

impl Running {
    /// What is going on now. Waits for the shards to tell, a moment.
    pub fn view(&self) -> View {
        self.control.handle().view()
    }

    /// Stops accepting and lets transactions finish, for as long as `shutdown_timeout` says. A second time: ends now.
    pub fn drain(&self) {
        self.control.handle().drain();
    }

    /// Ends now.
    pub fn stop(&self) {
        self.control.handle().stop();
    }

    /// Lets SIGTERM drain, SIGINT stop and SIGHUP reload, also those caught since [`catch_signals`].
    ///
    /// # Errors
    ///
    /// When the process has no descriptors or threads left.
    pub fn obey_signals(&self, caught: Caught) -> Result<(), StartError> {
        control::obey_signals(caught, self.control.handle().clone())
            .map_err(|source| StartError::System { what: "signals cannot be caught", source })
    }

    /// Waits until everything has ended. True when all of it ended in order.
    pub fn join(self) -> bool {
        let mut orderly = true;
        for thread in self.shards {
            orderly &= thread.join().is_ok();
        }
        self.control.end();
        self.listeners.remove();
        orderly
    }
}
