//! Arguments in, exit code out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pgweir::config::{self, Loaded, LogLevel};
use pgweir::{boot, demo};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A PostgreSQL proxy: pools connections, sends reads to replicas, and needs no change of the application.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve clients as a configuration says, until told to end
    ///
    /// SIGTERM lets transactions finish, a second one or SIGINT ends at once, SIGHUP reads the configuration again.
    #[command(after_help = RUN_EXAMPLES)]
    Run(ConfigFile),

    /// Tell what a configuration means, and everything that is wrong with it
    #[command(after_help = CHECK_EXAMPLES)]
    Check(ConfigFile),

    /// Try it: make a primary and replicas on the spot, with pgweir in front of them
    #[command(after_help = DEMO_EXAMPLES)]
    Demo(demo::DemoOptions),
}

#[derive(clap::Args)]
struct ConfigFile {
    /// A pgweir.toml, or a pgpool.conf as it is
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(file) => run(&file.config),
        Command::Check(file) => check(&file.config),
        Command::Demo(options) => run_demo(options),
    }
}

fn run(file: &Path) -> ExitCode {
    let loaded = match load(file) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    boot::log_to_stderr(loaded.config.log.level);
    let caught = match boot::catch_signals() {
        Ok(caught) => caught,
        Err(error) => return refuse(error),
    };
    let running = match boot::start(loaded, Some(file.to_owned())) {
        Ok(running) => running,
        Err(error) => return refuse(error),
    };
    if let Err(error) = running.obey_signals(caught) {
        running.stop();
        running.join();
        return refuse(error);
    }
    match running.join() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn check(file: &Path) -> ExitCode {
    match load(file) {
        Ok(loaded) => {
            // Whoever reads it may close the pipe early, as `head` does.
            let _ = write!(std::io::stdout(), "{}", loaded.report);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

fn run_demo(options: demo::DemoOptions) -> ExitCode {
    // Its own lines tell what happens; the log only what is wrong.
    boot::log_to_stderr(LogLevel::Error);
    match demo::run(options) {
        Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)),
        Err(error) => refuse(error),
    }
}

fn load(file: &Path) -> Result<Loaded, ExitCode> {
    config::load(file).map_err(refuse)
}

/// Says why there is nothing to run.
fn refuse(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(REFUSED)
}

/// The exit code of every refusal to start; clap's own for arguments it does not understand.
const REFUSED: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  pgweir demo                               see it work, with servers made on the spot
  pgweir check --config /etc/pgpool.conf    what each line of it means to pgweir
  pgweir run --config pgweir.toml           serve clients";

const RUN_EXAMPLES: &str = "\
Examples:
  pgweir run --config pgweir.toml
  pgweir run --config /etc/pgpool-II/pgpool.conf
  RUST_LOG=debug pgweir run --config pgweir.toml    log more than [log] level says

Exit status: 0 after an orderly end, 2 when it does not start.";

const CHECK_EXAMPLES: &str = "\
Examples:
  pgweir check --config pgweir.toml
  pgweir check --config /etc/pgpool-II/pgpool.conf    what each line became

Exit status: 0 when it can be run, 2 with everything that is wrong.";

const DEMO_EXAMPLES: &str = "\
Examples:
  pgweir demo
  pgweir demo --replicas 3 --dir /tmp/demo --keep
  pgweir demo -- pgbench -i
  pgweir demo -- psql -c 'SHOW pool_nodes'";
