//! The limit on open files, which every child inherits.

use anyhow::{Context, Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Sees to it that this process, and what it starts, may hold `wanted` descriptors.
///
/// # Errors
/// When the system allows fewer: the sentence says how to allow more.
pub fn raise(wanted: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    // `None` is no limit.
    let hard = limit.maximum.map(|maximum| maximum.max(wanted));
    if setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: hard }).is_ok() {
        return Ok(());
    }
    let allowed = limit.maximum.unwrap_or(wanted);
    if allowed < wanted {
        bail!("this needs {wanted} open files, and the limit is {allowed}: raise it (ulimit -Hn {wanted})");
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).context("setrlimit")
}
