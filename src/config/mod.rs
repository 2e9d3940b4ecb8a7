//! The configuration: the file as written, the checked values, the errors between.
//!
//! No sockets, no threads, no clock. [`load`] reads the file an operator named and the files it
//! names in turn (`include`, user list, hba file); everything else here is text in, values out.
//! What comes out is checked: no other room parses a setting or asks whether it is in bounds.
//!
//! ```text
//!   pgweir.toml ──▶ native ──┐
//!                            ├──▶ Config ──▶ check ──▶ Loaded { config, report }
//!   pgpool.conf ──▶ pgpool ──┘
//! ```

mod check;
mod draft;
mod error;
mod failover;
mod native;
mod nearest;
mod pgpool;
mod read;
mod report;
mod secrets;
#[cfg(test)]
mod tests;
mod unit;
mod values;

pub use error::{ConfigError, ConfigErrors};
pub use failover::{Failover, FailoverMode};
pub use native::{Change, Passwords, changes, reference};
pub use read::{Open, load, load_with};
pub use report::{Line, Report, Warning};
pub use values::{
    Admin, Auth, AuthMethod, Balance, Causal, Config, HbaSource, Listen, Log, LogLevel, Monitor, Node,
    PinPolicy, Pool, PoolMode, PoolOverride, Reads, Route, Shards,
};

/// A configuration that may be run, and what its file became.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    pub report: Report,
}
