//! `perf relay`: a bare byte relay, the floor that every proxy is measured against. It knows no protocol: one connection
//! to the backend for each client, and what comes from one side goes to the other from the buffer it came in.

mod pairs;

use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::Context;

use self::pairs::Pairs;
use crate::ring::{Event, Listeners, Ring, pin, raise_descriptors};

/// What `perf relay` is asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Where to listen; port 0 finds a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where to relay to
    #[arg(long, value_name = "HOST:PORT")]
    to: String,
    /// The core to run on
    #[arg(long)]
    core: Option<usize>,
}

/// Relays until it is killed.
///
/// # Errors
///
/// Where it cannot listen, cannot accept any more, or io_uring is not to be had.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    let to = arguments.to.to_socket_addrs().with_context(|| arguments.to.clone())?.next();
    let to = to.with_context(|| format!("{} has no address", arguments.to))?;
    pin(arguments.core).context("--core")?;
    raise_descriptors()?;
    let listeners = Listeners::bind(arguments.listen, None).context("--listen")?;
    let mut ring = Ring::new().context("io_uring")?;
    listeners.open(&mut ring)?;
    let mut pairs = Pairs::new(to.into());
    loop {
        ring.turn(None)?;
        while let Some(event) = ring.next() {
            match event {
                Event::AcceptFailed(error) => return Err(error).context("accepting"),
                event => pairs.handle(&mut ring, event),
            }
        }
    }
}
