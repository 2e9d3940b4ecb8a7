//! The operator's language for system tests: a cluster of real servers, a real pgweir in front, clients of both.
//!
//! ```text
//! let cluster = cluster().replicas(2).start();
//! let proxy = proxy(&cluster).set("pool.size", 5).start();
//! let mut client = proxy.login().connect();
//! cluster.node(0).kill();
//! client.send_query("SELECT 1");
//! client.expect_sqlstate("57P01");
//! ```
//!
//! Verbs panic with a sentence when they fail; a verb whose failure may be what a test is after has a `try_` form.
//! Nothing sleeps: what takes its time is awaited with [`eventually`]. Ports are found, never fixed. Tests run side by
//! side, each with a cluster of its own, or with a database of its own on the [`shared`] one, which they leave as they
//! found it. Everything ends with the test, or with the process, be it killed.

// Each test binary says only some of these words.
#![allow(dead_code, unused_imports)]

mod client;
mod cluster;
mod config;
mod fake;
mod login;
mod message;
mod namespace;
mod proxy;
mod relay;
mod tools;

use std::time::Duration;

pub use client::{CancelKey, Client, cancel};
pub use cluster::{Cluster, ClusterBuilder, Database, PASSWORD, cluster, shared};
pub use config::Config;
pub use fake::FakeNode;
pub use login::{Address, Login};
pub use message::{Message, Outcome, ServerError};
pub use namespace::Namespace;
pub use proxy::{PROGRAM, Proxy, ProxyBuilder, Refusal, pgweir, proxy};
pub use relay::Relay;
pub use tools::{Background, Run};

/// Waits until `holds` does.
///
/// # Panics
/// With `what` when that takes longer than 20 s.
#[track_caller]
pub fn eventually(holds: impl FnMut() -> bool, what: &str) {
    assert!(pgweir::demo::process::await_until(PATIENCE, holds), "waited {PATIENCE:?} in vain until {what}");
}

/// How long any verb waits for what should be there in a moment. Generous: it is only ever used up by a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);
