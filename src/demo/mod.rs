//! `pgweir demo`: a real primary and real replicas, made on the spot, with pgweir in front of them.
//!
//! The first minute of every user, and the ground of every system test, which start their servers with the same
//! [`servers`]. Nothing here is on the way of a query: steps wait for each other, on the main thread. Everything that
//! was started is taken down however this ends: by a Ctrl-C in any phase, by an error half-way, and, through the
//! [`keeper`], also by SIGKILL.

pub mod account;
pub mod binaries;
pub mod files;
pub mod folder;
pub mod keeper;
pub mod node;
pub mod port;
pub mod process;
pub mod servers;
pub mod settings;
mod signals;
pub mod sql;
mod table;
pub mod template;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::boot::{self, Running};
use crate::config;

use files::Setup;
use folder::{Folder, FolderError};
use port::free_port;
use process::{Interrupt, await_until, random_hex};
use servers::{Cluster, ClusterOptions, ServersError};
use settings::Purpose;
use signals::Signals;
use table::Table;

/// What the user asks of `pgweir demo`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct DemoOptions {
    /// Folder for the servers and the generated pgweir.toml; new or empty [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Port at 127.0.0.1 that clients connect to [default: 6432 when it is free, else another]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub port: Option<u16>,

    /// How many streaming replicas follow the primary, at most 8
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=8))]
    pub replicas: u8,

    /// Leave the folder where it is at the end, with the servers' data
    #[arg(long)]
    pub keep: bool,

    /// Run this command against the proxy (PGHOST, PGPORT, PGUSER, PGPASSWORD and PGDATABASE are set), then end with
    /// its status
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// Why there is no demo.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Servers(#[from] ServersError),
    #[error("port {0} at 127.0.0.1 is not free ({1}): choose another with --port, or leave it out")]
    Port(u16, io::Error),
    #[error("the generated configuration does not load: {0}")]
    Config(String),
    #[error("pgweir itself did not start: {0}")]
    Start(String),
    #[error("{what}: {source}")]
    System { what: &'static str, source: io::Error },
}

/// Makes the servers, starts pgweir in front of them, and shows how they do until told to end, or runs the command.
///
/// Returns the exit code: 0 after a Ctrl-C, 130 when that came before all was up, and the command's own status when
/// there was one (128 and the number of the signal that ended it; 127 when it was not found).
///
/// # Errors
/// See [`DemoError`]. Nothing is left running then, and no folder, unless it is to be kept.
pub fn run(options: DemoOptions) -> Result<i32, DemoError> {
    let interrupt = Interrupt::new();
    let signals = Signals::catch(&interrupt).map_err(system("signals cannot be caught"))?;
    // In the order in which these stand they are needed, and in the reverse they are dropped: pgweir, servers, folder.
    let folder = Folder::prepare(options.dir.as_deref(), options.keep)?;
    let started = start(&options, &folder, &interrupt);
    let (cluster, running, setup) = match started {
        Ok(started) => started,
        Err(DemoError::Servers(ServersError::Interrupted)) => {
            say("stopped before it was up; everything is taken down");
            return Ok(INTERRUPTED);
        }
        Err(other) => return Err(other),
    };
    let code = if options.command.is_empty() {
        say(&setup.welcome(&psql(&cluster), folder.path()));
        show(&running, &interrupt);
        0
    } else {
        run_command(&options.command, &setup, &cluster, &signals)
    };
    say("taking everything down");
    end(running, &interrupt);
    cluster.end();
    if options.keep {
        say(&format!("the servers' folder stays: {}", folder.path().display()));
    }
    Ok(code)
}

fn start(
    options: &DemoOptions,
    folder: &Folder,
    interrupt: &Interrupt,
) -> Result<(Cluster, Running, Setup), DemoError> {
    let held = hold_port(options.port)?;
    let port = held.local_addr().map_err(system(NO_PORT))?.port();
    let password = random_hex(PASSWORD_BYTES).map_err(system("no random numbers"))?;
    let cluster = Cluster::start_telling(
        ClusterOptions {
            folder: folder.path().to_owned(),
            fate: folder.fate(),
            purpose: Purpose::Demo,
            replicas: usize::from(options.replicas),
            password: password.clone(),
            settings: Vec::new(),
            hba: Vec::new(),
            interrupt: interrupt.clone(),
        },
        &|step| say(step),
    )?;
    if let Some(user) = cluster.other_user() {
        say(&format!("the servers run as user {user}, since PostgreSQL does not run as root"));
    }
    let setup = Setup { port, password, nodes: cluster.nodes().iter().map(node::Node::port).collect() };
    let config_file = setup.write(folder.path()).map_err(system("the configuration cannot be written"))?;
    say(&format!("starting pgweir at 127.0.0.1 port {port}"));
    let loaded = config::load(&config_file).map_err(|errors| DemoError::Config(errors.to_string()))?;
    drop(held);
    let running = boot::start(loaded, None).map_err(|error| DemoError::Start(error.to_string()))?;
    Ok((cluster, running, setup))
}

/// Takes the port before servers are made, and holds it until pgweir needs it: who chose a taken one learns so in a
/// moment, not in ten seconds, and nobody takes it meanwhile.
fn hold_port(asked: Option<u16>) -> Result<TcpListener, DemoError> {
    let hold = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    match asked {
        Some(port) => hold(port).map_err(|source| DemoError::Port(port, source)),
        None => hold(PORT_USUAL).or_else(|_| free_port().and_then(hold)).map_err(system(NO_PORT)),
    }
}

/// The live view, once a second until an end is asked for or nobody reads it any more.
fn show(running: &Running, interrupt: &Interrupt) {
    let mut table = Table::new(io::stdout().is_terminal());
    let mut before = Instant::now();
    loop {
        if interrupt.wait(VIEW_INTERVAL) {
            break;
        }
        let now = Instant::now();
        let text = table.draw(&running.view(), now - before);
        before = now;
        let mut out = io::stdout().lock();
        if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    say("");
}

/// Runs the user's command with the proxy in its environment, and returns the exit code that stands for its status.
fn run_command(command: &[OsString], setup: &Setup, cluster: &Cluster, signals: &Signals) -> i32 {
    let [program, arguments @ ..] = command else {
        return 0;
    };
    let mut command = Command::new(program);
    command.args(arguments).envs(setup.environment());
    // psql and pgbench are found even where their folder is not on PATH; what the user has there comes first.
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([cluster.binaries().folder.clone()]);
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    match signals.run_in_front(&mut command) {
        Ok(status) => exit_code(status),
        Err(error) => {
            // What a shell says of such a command: 127 not found, 126 found but not to be run.
            let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            let _ = writeln!(io::stderr(), "pgweir demo: {}: {error}", Path::new(program).display());
            code
        }
    }
}

/// Lets transactions finish and waits for it, but not longer than the user does: a further Ctrl-C means now.
fn end(running: Running, interrupt: &Interrupt) {
    running.drain();
    let (over, ended) = mpsc::channel();
    let wishes = interrupt.count();
    std::thread::spawn(move || {
        running.join();
        let _ = over.send(());
    });
    await_until(END_MAX, || ended.try_recv().is_ok() || interrupt.count() > wishes);
}

fn exit_code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// How the user can call psql: by its name when that is on PATH.
fn psql(cluster: &Cluster) -> String {
    let on_path = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("psql").is_file()));
    if on_path { "psql".to_owned() } else { cluster.binaries().client_program("psql").display().to_string() }
}

/// A line for the user. It goes to standard error, so that the output of a command in front stays the command's own.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> DemoError {
    move |source| DemoError::System { what, source }
}

const NO_PORT: &str = "no free port was found";
/// The port that poolers for PostgreSQL usually have.
const PORT_USUAL: u16 = 6432;
/// Twice as many hexadecimal digits make the password: more than anybody guesses, short enough to paste.
const PASSWORD_BYTES: usize = 8;
const VIEW_INTERVAL: Duration = Duration::from_secs(1);
/// Longer than `shutdown_timeout` of the generated configuration, which normally ends the wait.
const END_MAX: Duration = Duration::from_secs(6);
/// What a shell reports for a command that SIGINT ended.
const INTERRUPTED: i32 = 130;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: DemoOptions,
    }

    #[test]
    fn a_command_may_have_options_of_its_own() {
        let line = Line::parse_from(["demo", "--replicas", "1", "--", "pgbench", "-c", "5", "--keep"]);
        assert_eq!(line.options.command, ["pgbench", "-c", "5", "--keep"]);
        assert_eq!((line.options.replicas, line.options.keep), (1, false));
        assert!(Line::try_parse_from(["demo", "--port", "0"]).is_err());
        assert!(Line::try_parse_from(["demo", "--replicas", "9"]).is_err());
    }

    #[test]
    fn a_status_becomes_the_code_a_shell_would_report() {
        assert_eq!(exit_code(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(exit_code(ExitStatus::from_raw(2)), INTERRUPTED);
    }

    #[test]
    fn a_taken_port_is_refused_with_advice_and_a_held_one_is_avoided() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has one");
        let taken = listener.local_addr().expect("it is bound").port();
        let refused = hold_port(Some(taken)).expect_err("it is taken").to_string();
        assert!(refused.contains("choose another with --port"), "{refused}");
        // Whether or not the usual port is free, two holds are of two ports.
        let holds = [hold_port(None), hold_port(None)].map(|hold| hold.expect("there are others"));
        let [one, other] = holds.map(|hold| hold.local_addr().expect("it is bound").port());
        assert_ne!(one, other);
    }
}
