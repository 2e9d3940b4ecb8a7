//! `perf backend`: a canned PostgreSQL server, fast enough never to be what is measured.
//!
//! It lets everybody in and knows no data: every result is the same, made once. What it says about it is what PostgreSQL
//! 15 would say: statements and portals, transactions and their failure, pipelines skipped behind an error.
//!
//! * [`serve`]: sockets, and answers held back for `--delay`;
//! * [`connection`]: bytes in, bytes out: login, messages, COPY; [`extended`]: statements and portals; [`rows`]: results
//!   too long for one send;
//! * [`statement`]: what a text asks for; [`canned`]: the answers, made once; [`parameters`], [`probe`]: what the server
//!   says about itself.

mod canned;
mod connection;
mod extended;
mod parameters;
mod probe;
mod rows;
mod serve;
mod simple;
mod statement;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;

use self::canned::Canned;
use crate::ring::{Listeners, Ring, pin, raise_descriptors};

/// What `perf backend` is asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen; port 0 finds a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A unix socket to listen on as well
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Rows of every result
    #[arg(long, default_value_t = 1)]
    rows: u64,
    /// Bytes of every row: one column of type text
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(..=1_048_576))]
    width: u32,
    /// How long an answer waits before it is sent, as if the statement took so long
    #[arg(long, default_value = "0us")]
    delay: humantime::Duration,
    /// What it says it is
    #[arg(long, value_enum, default_value_t = Role::Primary)]
    role: Role,
    /// The core to run on
    #[arg(long)]
    core: Option<usize>,
}

/// What a node is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    Primary,
    /// Streams from the primary and has replayed everything
    Replica,
}

/// Serves until it is killed.
///
/// # Errors
///
/// Where it cannot listen, cannot accept any more, or io_uring is not to be had.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    pin(arguments.core).context("--core")?;
    raise_descriptors()?;
    let listeners = Listeners::bind(arguments.listen, arguments.unix.as_deref()).context("--listen")?;
    let mut ring = Ring::new().context("io_uring")?;
    listeners.open(&mut ring)?;
    let canned = Canned::new(arguments.rows, arguments.width as usize, arguments.role);
    serve::serve(&mut ring, &canned, arguments.delay.into())
}
