//! Before the first turn: listening sockets, the core to run on, room for descriptors.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use socket2::{Domain, SockAddr, Socket, Type};

use super::Ring;

/// Bound sockets that listen.
pub struct Listeners {
    sockets: Vec<OwnedFd>,
    address: SocketAddr,
}

impl Listeners {
    /// Listens at `address`, whose port may be 0, and on a unix socket, which replaces a former one at `path`.
    ///
    /// # Errors
    ///
    /// What bind(2) and listen(2) say.
    pub fn bind(address: SocketAddr, path: Option<&Path>) -> io::Result<Listeners> {
        let tcp = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        tcp.set_reuse_address(true)?;
        tcp.bind(&address.into())?;
        tcp.listen(BACKLOG)?;
        let address = tcp.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut sockets = vec![tcp.into()];
        if let Some(path) = path {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let unix = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            unix.bind(&SockAddr::unix(path)?)?;
            unix.listen(BACKLOG)?;
            sockets.push(unix.into());
        }
        Ok(Listeners { sockets, address })
    }

    /// Lets `ring` accept, and says on standard output that it does.
    ///
    /// # Errors
    ///
    /// Where standard output is closed.
    pub fn open(self, ring: &mut Ring) -> io::Result<()> {
        for socket in self.sockets {
            ring.listen(socket);
        }
        let mut out = io::stdout().lock();
        writeln!(out, "listening on {}", self.address)?;
        out.flush()
    }
}

/// Keeps the calling thread on one core.
///
/// # Errors
///
/// `EINVAL` where there is no such core.
pub fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Allows as many descriptors as this process may have.
///
/// # Errors
///
/// What setrlimit(2) says.
pub fn raise_descriptors() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 4_096;
