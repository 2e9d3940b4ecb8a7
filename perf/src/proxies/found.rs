//! Which proxies there are on this machine, and which of them are wanted.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Result, bail, ensure};

use super::other::{self, Template};
use super::{Kind, Proxy, pgbouncer, pgpool};
use crate::lab::Lab;

/// What [`find`] found.
pub struct Found {
    pub proxies: Vec<Proxy>,
    /// A line for each that is wanted and missing.
    pub missing: Vec<String>,
}

/// The proxies named by `--proxies`, or else `usual` and those of the environment; as far as they are there and
/// `suits` them.
///
/// # Errors
/// When a name means nothing, or nothing is left.
pub fn find(lab: &Lab, usual: &[&str], suits: impl Fn(&Proxy) -> bool) -> Result<Found> {
    let others = other::from_environment(|name| env::var(name).ok())?;
    let names: Vec<String> = match &lab.options.proxies[..] {
        [] => {
            let usual = usual.iter().map(|&name| name.to_owned());
            usual.chain(others.iter().map(|(name, _)| name.clone())).collect()
        }
        chosen => chosen.to_vec(),
    };
    let mut found = Found { proxies: Vec::new(), missing: Vec::new() };
    for name in names {
        let proxy = named(name, &others)?;
        match absent(lab, &proxy)? {
            Some(reason) => found.missing.push(format!("{} is left out: {reason}.", proxy.name)),
            None if !suits(&proxy) => {
                found.missing.push(format!("{} is left out: it cannot do this work.", proxy.name));
            }
            None => found.proxies.push(proxy),
        }
    }
    ensure!(!found.proxies.is_empty(), "there is no proxy to measure: {}", found.missing.join(" "));
    Ok(found)
}

/// The proxy of this name: one that perf knows, or one of the environment.
fn named(name: String, others: &[(String, Template)]) -> Result<Proxy> {
    let other = others.iter().find(|(other, _)| *other == name);
    match (Proxy::known(&name), other) {
        (Some(proxy), _) => Ok(proxy),
        (None, Some((_, template))) => Ok(Proxy { name, kind: Kind::Other(template.clone()) }),
        (None, None) => bail!("\"{name}\" is neither a proxy that perf knows nor one of PERF_PROXIES"),
    }
}

/// Why a proxy cannot be started here; `None` when it can.
fn absent(lab: &Lab, proxy: &Proxy) -> Result<Option<String>> {
    let reason = match &proxy.kind {
        Kind::Direct | Kind::Relay | Kind::Other(_) => None,
        Kind::Pgweir { .. } if lab.pgweir().is_some() => None,
        Kind::Pgweir { .. } => Some("no pgweir lies beside this program (--pgweir names one)"),
        Kind::Pgbouncer if pgbouncer::program().is_some() => None,
        Kind::Pgbouncer => Some("it is not installed (Debian: apt-get install pgbouncer)"),
        Kind::Pgpool if pgpool::program().is_some() => None,
        Kind::Pgpool if lab.options.install => {
            install("pgpool2")?;
            pgpool::program().is_none().then_some("it is still not there after installing pgpool2")
        }
        Kind::Pgpool => Some("it is not installed (Debian: apt-get install pgpool2; --install does it)"),
    };
    Ok(reason.map(str::to_owned))
}

/// **SLOW** (downloads).
fn install(package: &str) -> Result<()> {
    let status = Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "apt-get install {package} failed: {status}");
    Ok(())
}
