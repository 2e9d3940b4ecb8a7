//! Free ports for servers that must keep theirs across a restart.
//!
//! A port from binding number 0 comes from the range that the kernel also draws the near end of outgoing connections
//! from. A server that is down for a moment (a killed node under test) could then find its port in use by some client's
//! connection, or a client that retries could meet itself. So ports are drawn from below that range, and tried.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A port that nothing listens on at 127.0.0.1 now and that was not given out before in this process.
///
/// Between this answer and its use another process may take the port: be ready to ask again.
///
/// # Errors
/// When no port can be bound at all, or the system has no random numbers.
pub fn free_port() -> io::Result<u16> {
    let range =
        quiet_range(&fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default());
    for _ in 0..ATTEMPTS {
        let port = range.start + draw()? % (range.end - range.start);
        if is_free(port) && given().insert(port) {
            return Ok(port);
        }
    }
    // Nearly everything below is taken: the kernel's own choice is better than none.
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr().map(|address| address.port())
}

/// Whether 127.0.0.1 has nobody listening on `port` now.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn given() -> std::sync::MutexGuard<'static, HashSet<u16>> {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    GIVEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn draw() -> io::Result<u16> {
    let mut drawn = [0u8; 2];
    getrandom::fill(&mut drawn).map_err(io::Error::other)?;
    Ok(u16::from_ne_bytes(drawn))
}

/// The ports below the kernel's range, from the text of its setting, as long as enough of them remain.
fn quiet_range(setting: &str) -> std::ops::Range<u16> {
    let first = setting.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(KERNEL_FIRST);
    if first >= QUIET_FIRST + QUIET_COUNT_MIN { QUIET_FIRST..first } else { QUIET_FIRST..KERNEL_FIRST }
}

/// Above the well-known ports of services that a developer's machine may start later.
const QUIET_FIRST: u16 = 15_000;
/// How many ports must be left to draw from before the kernel's setting is worth respecting.
const QUIET_COUNT_MIN: u16 = 1_000;
/// Where the kernel's range begins unless changed (ip(7)).
const KERNEL_FIRST: u16 = 32_768;
const ATTEMPTS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_ends_where_the_kernels_begins() {
        assert_eq!(quiet_range("32768\t60999\n"), 15_000..32_768);
        assert_eq!(quiet_range("20000 65535"), 15_000..20_000);
        assert_eq!(quiet_range("1024 65535"), 15_000..32_768);
        assert_eq!(quiet_range(""), 15_000..32_768);
    }

    #[test]
    fn no_port_is_given_twice_and_a_bound_one_is_not_free() {
        let (one, other) = (free_port().expect("a port"), free_port().expect("a port"));
        assert_ne!(one, other);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has one");
        assert!(!is_free(listener.local_addr().expect("it is bound").port()));
    }
}
