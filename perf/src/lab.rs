//! What all whole-run commands share: which cores are whose, which programs there are, where results go.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::process::{self, Account, Folder, Unstarted};

/// The options that every whole-run command has.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// The pgweir to measure; default: the one in the folder of this program
    #[arg(long, value_name = "PATH")]
    pub pgweir: Option<PathBuf>,
    /// Which proxies, in this order: direct, relay, pgweir, pgweir-spin, pgbouncer, pgpool, or a name from PERF_PROXIES;
    /// default: those this command is about, as far as they are installed
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub proxies: Vec<String>,
    /// How often each measurement is repeated, the proxies taking turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long each measurement lasts
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration)]
    pub duration: Duration,
    /// How long the load runs before each
    #[arg(long, default_value = "500ms", value_parser = humantime::parse_duration)]
    pub warmup: Duration,
    /// The cores of the proxy, such as 3 or 2-3; default: the last
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub proxy_cores: Option<Cores>,
    /// The cores of the load and of the servers; default: all but the proxy's
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub load_cores: Option<Cores>,
    /// Install pgpool2 by apt-get if it is missing; for root
    #[arg(long)]
    pub install: bool,
    /// Also write all figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Numbers of cores, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

/// Everything that stays the same during one command.
pub struct Lab {
    pub options: Options,
    pub proxy_cores: Vec<usize>,
    pub load_cores: Vec<usize>,
    /// Whose processes the programs are that refuse to run as root.
    pub account: Option<Account>,
    perf: PathBuf,
    /// Where what programs say on standard error is kept.
    logs: Folder,
}

impl Lab {
    /// Divides the cores and moves this process to those of the load.
    ///
    /// # Errors
    /// When a core may not be used or there is no account for servers.
    pub fn new(options: Options) -> Result<Lab> {
        let allowed = process::cores_allowed()?;
        let (proxy_cores, load_cores) = divide(&allowed, &options)?;
        process::own_cores(&load_cores)?;
        process::stop_everything_on_signals()?;
        let perf = env::current_exe().context("where this program lies")?;
        let (account, logs) = (Account::find()?, Folder::new(None)?);
        Ok(Lab { options, proxy_cores, load_cores, account, perf, logs })
    }

    /// A part of this program, such as `backend`, as a process of its own.
    pub fn part(&self, name: &str, cores: &[usize]) -> Unstarted {
        Unstarted::new(&self.perf, cores, self.log(name)).argument(name)
    }

    /// Where program `name` writes what it has to complain of.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.path().join(format!("{name}.log"))
    }

    /// The pgweir to measure, if there is one.
    pub fn pgweir(&self) -> Option<PathBuf> {
        let beside = || self.perf.with_file_name("pgweir");
        let path = self.options.pgweir.clone().unwrap_or_else(beside);
        path.is_file().then(|| path.canonicalize().unwrap_or(path))
    }
}

/// A program by name: on `PATH`, or where Debian puts what administrators run.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| Path::is_file(program))
}

fn cores(text: &str) -> Result<Cores, String> {
    process::parse_cores(text).map(Cores)
}

/// The proxy's cores and the load's.
fn divide(allowed: &[usize], options: &Options) -> Result<(Vec<usize>, Vec<usize>)> {
    let chosen = |cores: &Option<Cores>| cores.as_ref().map(|cores| cores.0.clone());
    let last = || allowed.last().copied().into_iter().collect::<Vec<_>>();
    let proxy = chosen(&options.proxy_cores).unwrap_or_else(last);
    let others = || allowed.iter().copied().filter(|core| !proxy.contains(core)).collect::<Vec<_>>();
    let load = chosen(&options.load_cores).unwrap_or_else(others);
    // On a machine of one core they have to share it.
    let load = if load.is_empty() { proxy.clone() } else { load };
    for core in proxy.iter().chain(&load) {
        ensure!(allowed.contains(core), "core {core} is none of those we may use, {allowed:?}");
    }
    Ok((proxy, load))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Line::parse_from(std::iter::once("perf").chain(line.split_ascii_whitespace())).options
    }

    #[test]
    fn the_proxy_has_the_last_core_to_itself() {
        assert_eq!(divide(&[0, 1], &options("")).expect("two are enough"), (vec![1], vec![0]));
        assert_eq!(divide(&[4], &options("")).expect("one must do"), (vec![4], vec![4]));
        let four = divide(&[0, 1, 2, 3], &options("--proxy-cores 2-3")).expect("all are ours");
        assert_eq!(four, (vec![2, 3], vec![0, 1]));
        assert!(divide(&[0, 1], &options("--load-cores 7")).is_err());
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-anywhere").is_none());
    }
}
