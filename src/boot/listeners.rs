//! Where clients connect: one TCP socket per shard and address, sharing the port, and unix sockets shared by all shards.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::unix_socket::UnixSocket;
use crate::config::Listen;

/// Everything that listens, apart from the sockets themselves.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    tcp: Vec<SocketAddr>,
    unix: Vec<UnixSocket>,
}

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {reason}")]
pub struct ListenError {
    place: String,
    reason: String,
}

impl ListenError {
    pub(super) fn new(place: impl fmt::Display, reason: impl Into<String>) -> ListenError {
        ListenError { place: place.to_string(), reason: reason.into() }
    }
}

impl Listeners {
    /// What to tell the operator: `127.0.0.1:6432`, `/run/pgweir/.s.PGSQL.6432`.
    pub fn places(&self) -> impl Iterator<Item = String> {
        let tcp = self.tcp.iter().map(ToString::to_string);
        tcp.chain(self.unix.iter().map(|socket| socket.path().display().to_string()))
    }

    /// Removes the files of the unix sockets.
    pub fn remove(self) {}
}

/// Binds everything for this many shards, and listens. Also returns the sockets of each shard.
///
/// # Errors
///
/// For the first place that cannot be had.
pub(super) fn bind(listen: &Listen, shards: usize) -> Result<(Listeners, Vec<Vec<OwnedFd>>), ListenError> {
    let mut listeners = Listeners::default();
    let mut sockets: Vec<Vec<OwnedFd>> = (0..shards).map(|_| Vec::new()).collect();
    for name in &listen.addresses {
        let place = format!("{name}:{}", listen.port);
        let mut absent = None;
        let before = listeners.tcp.len();
        for address in addresses(name, listen.port).map_err(|reason| ListenError::new(&place, reason))? {
            if listeners.tcp.contains(&address) {
                continue;
            }
            match bind_tcp(address, listen.backlog, shards) {
                Ok(bound) => {
                    listeners.tcp.push(address);
                    sockets.iter_mut().zip(bound).for_each(|(all, socket)| all.push(socket.into()));
                }
                // One of several addresses that this machine does not have, usually those of IPv6.
                Err(error) if is_absent(&error) => absent = Some((address, error)),
                Err(error) => return Err(ListenError::new(address, tcp_reason(&error, listen.port))),
            }
        }
        match absent {
            Some((address, error)) if listeners.tcp.len() == before => {
                return Err(ListenError::new(address, tcp_reason(&error, listen.port)));
            }
            Some((address, error)) => tracing::warn!("not listening on {address}: {error}"),
            None => {}
        }
    }
    for folder in &listen.unix_socket_dirs {
        let (file, socket) = UnixSocket::bind(folder, listen.port, listen.unix_socket_mode, listen.backlog)?;
        for all in &mut sockets {
            let clone = socket.try_clone();
            let clone = clone.map_err(|error| ListenError::new(file.path().display(), plain(&error)))?;
            all.push(clone.into());
        }
        listeners.unix.push(file);
    }
    if listeners.tcp.is_empty() && listeners.unix.is_empty() {
        return Err(ListenError::new("nothing", "[listen] names neither an address nor a unix_socket_dir"));
    }
    Ok((listeners, sockets))
}

fn addresses(name: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if name == "*" {
        let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        return Ok(any.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    let found = (name, port).to_socket_addrs();
    let found: Vec<SocketAddr> =
        found.map_err(|error| format!("its name does not resolve: {error}"))?.collect();
    match found.is_empty() {
        true => Err("its name has no address".into()),
        false => Ok(found),
    }
}

/// How long what another process has is looked at again before it is taken for that: the kernel lets go of a ring, and
/// of the listeners it refers to, a moment after a process was killed.
pub(super) const LET_GO: Duration = Duration::from_secs(1);
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(20);

fn bind_tcp(address: SocketAddr, backlog: u32, shards: usize) -> io::Result<Vec<Socket>> {
    // With SO_REUSEPORT a second pgweir of the same user would silently get half of the clients: so first one without.
    let deadline = Instant::now() + LET_GO;
    loop {
        match tcp_socket(address, false) {
            Ok(probe) => break drop(probe),
            Err(error) if error.raw_os_error() == Some(libc::EADDRINUSE) && Instant::now() < deadline => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(error) => return Err(error),
        }
    }
    (0..shards)
        .map(|_| {
            let socket = tcp_socket(address, true)?;
            socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
            Ok(socket)
        })
        .collect()
}

fn tcp_socket(address: SocketAddr, share: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Otherwise connections of the last pgweir, which linger for a minute, would keep the next from starting.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT))
}

fn tcp_reason(error: &io::Error, port: u16) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRINUSE) => {
            "address already in use: another program has it; change [listen] port".into()
        }
        Some(libc::EACCES) if port < 1024 => {
            "ports below 1024 are for root: change [listen] port, or allow it with CAP_NET_BIND_SERVICE"
                .into()
        }
        Some(libc::EADDRNOTAVAIL) => {
            "this machine does not have that address; change [listen] address".into()
        }
        _ => plain(error),
    }
}

/// The error's text without its number.
pub(super) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn listen(addresses: &[&str], port: u16) -> Listen {
        Listen {
            addresses: addresses.iter().map(|name| (*name).to_owned()).collect(),
            port,
            ..Listen::default()
        }
    }

    /// A port that nobody has at the moment.
    fn free_port() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the kernel has one");
        listener.local_addr().expect("it is bound").port()
    }

    #[test]
    fn every_shard_gets_a_socket_of_its_own_per_address() {
        let port = free_port();
        let (listeners, sockets) = bind(&listen(&["127.0.0.1", "127.0.0.1"], port), 3).expect("it is free");
        assert_eq!(listeners.places().collect::<Vec<_>>(), [format!("127.0.0.1:{port}")]);
        assert_eq!(sockets.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn a_taken_port_is_told_even_when_it_could_be_shared() {
        let port = free_port();
        let first = bind(&listen(&["127.0.0.1"], port), 1).expect("it is free");
        let error = bind(&listen(&["127.0.0.1"], port), 1).expect_err("it is taken").to_string();
        assert_eq!(
            error,
            format!(
                "cannot listen on 127.0.0.1:{port}: address already in use: another program has it; change [listen] port"
            )
        );
        drop(first);
    }

    #[test]
    fn a_star_is_both_families() {
        let port = free_port();
        let (listeners, _) = bind(&listen(&["*"], port), 1).expect("it is free");
        let places: Vec<String> = listeners.places().collect();
        assert_eq!(places[0], format!("0.0.0.0:{port}"));
        assert!(places[1..].iter().all(|place| *place == format!("[::]:{port}")));
    }

    #[test]
    fn an_address_of_another_machine_and_a_name_of_none_are_told() {
        let error = bind(&listen(&["192.0.2.1"], 7), 1).expect_err("it is for documentation").to_string();
        assert!(error.ends_with("change [listen] address"), "{error}");
        let error = bind(&listen(&[], 7), 1).expect_err("there is nothing").to_string();
        assert!(error.contains("neither"), "{error}");
    }
}
