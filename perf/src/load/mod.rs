//! `perf load`: queries from many connections, and how long each took.
//!
//! In the closed loop every connection sends its next query when it has the answer to the last. In the open loop
//! (`--rate`) queries arrive when the schedule says; one that finds all connections busy waits, and its latency counts
//! from when it should have been sent (the correction for coordinated omission).
//!
//! * [`work`]: what a connection sends; [`client`]: what it makes of the answers; [`login`], [`scram`]: letting it in;
//! * [`arrivals`]: the schedule; [`run`](mod@run): sockets and phases; [`tally`], [`report`]: counts, and how they are told.

mod arrivals;
mod client;
mod login;
mod report;
mod run;
mod scram;
mod tally;
mod work;

use std::net::ToSocketAddrs;
use std::path::PathBuf;

use anyhow::{Context, bail};
use socket2::SockAddr;

use self::report::Report;
use self::run::Run;
use crate::ring::{pin, raise_descriptors};

/// What `perf load` is asked for.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Whom to ask
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5432")]
    target: String,
    /// A unix socket to connect to instead, or its folder: then the port is that of the target
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// Who logs in
    #[arg(long, default_value = "postgres")]
    user: String,
    /// The password, where the server asks for one
    #[arg(long, default_value = "")]
    password: String,
    /// The database
    #[arg(long, default_value = "postgres")]
    database: String,
    /// How queries are sent
    #[arg(long, value_enum, default_value_t = Mode::Simple)]
    mode: Mode,
    /// Connections at a time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    connections: u32,
    /// The statement [default: SELECT 1, or a COPY of the table perf]
    #[arg(long)]
    statement: Option<String>,
    /// A parameter of the statement, as text; once for each
    #[arg(long = "param", value_name = "TEXT")]
    parameters: Vec<String>,
    /// How long the load runs before it is measured
    #[arg(long, default_value = "1s")]
    warmup: humantime::Duration,
    /// How long it is measured
    #[arg(long, default_value = "5s")]
    duration: humantime::Duration,
    /// Queries per second of all connections together: the open loop
    #[arg(long, value_parser = positive)]
    rate: Option<f64>,
    /// How the queries of an open loop are spread
    #[arg(long, value_enum, default_value_t = Spread::Even, requires = "rate")]
    arrivals: Spread,
    /// Queries per Sync in mode pipelined
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pipeline: u32,
    /// In mode bulk: send rows with COPY FROM STDIN
    #[arg(long, conflicts_with = "copy_out")]
    copy_in: bool,
    /// In mode bulk: receive rows with COPY TO STDOUT
    #[arg(long)]
    copy_out: bool,
    /// Rows that one COPY FROM STDIN sends
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    copy_rows: u64,
    /// Bytes of each of them
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    copy_width: u32,
    /// The core to run on
    #[arg(long)]
    core: Option<usize>,
    /// Tell what happens as lines of JSON
    #[arg(long)]
    json: bool,
}

/// How queries are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Query
    Simple,
    /// Parse, Bind, Describe, Execute and Sync in one send
    Extended,
    /// Bind, Execute and Sync of a statement prepared once per connection
    Prepared,
    /// As prepared, several with one Sync
    Pipelined,
    /// Query with a long result, or COPY
    Bulk,
    /// A connection for each query: login, Query, Terminate
    Connect,
}

/// How the queries of an open loop are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Spread {
    /// At equal intervals
    Even,
    /// At exponential intervals, as independent users come
    Poisson,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::Simple => "simple",
            Mode::Extended => "extended",
            Mode::Prepared => "prepared",
            Mode::Pipelined => "pipelined",
            Mode::Bulk => "bulk",
            Mode::Connect => "connect",
        }
    }
}

/// Runs the load and tells how it went.
///
/// # Errors
///
/// Where the options contradict each other, a login fails, or io_uring is not to be had; and, after the result, where a
/// connection was lost.
pub fn run(arguments: Arguments) -> anyhow::Result<()> {
    if (arguments.copy_in || arguments.copy_out) && arguments.mode != Mode::Bulk {
        bail!("--copy-in and --copy-out belong to --mode bulk");
    }
    if !arguments.parameters.is_empty()
        && !matches!(arguments.mode, Mode::Extended | Mode::Prepared | Mode::Pipelined)
    {
        bail!("--param belongs to the modes extended, prepared and pipelined");
    }
    let address = address(&arguments)?;
    pin(arguments.core).context("--core")?;
    raise_descriptors()?;
    let report = Report::new(&arguments);
    let outcome = Run::new(&arguments, address, &report)?.finish()?;
    report.result(&outcome)?;
    match outcome.lost {
        0 => Ok(()),
        lost => bail!("connections lost: {lost}"),
    }
}

fn address(arguments: &Arguments) -> anyhow::Result<SockAddr> {
    let target = &arguments.target;
    let Some(path) = &arguments.unix else {
        let address = target.to_socket_addrs().with_context(|| target.clone())?.next();
        return Ok(address.with_context(|| format!("{target} has no address"))?.into());
    };
    let port = target.rsplit(':').next().unwrap_or_default();
    let path = if path.is_dir() { path.join(format!(".s.PGSQL.{port}")) } else { path.clone() };
    SockAddr::unix(&path).with_context(|| path.display().to_string())
}

fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or("it is not above zero".into())
}
