//! A second address of a server.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Hands on every connection that is made to it, until it is dropped: then they break, and nobody listens there.
pub struct Relay {
    address: SocketAddr,
    target: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    closed: AtomicBool,
    /// Whether new connections are taken and left alone, and those that were.
    holding: AtomicBool,
    held: Mutex<Vec<TcpStream>>,
    muted: Mutex<bool>,
    unmuted: Condvar,
    /// Both ends of every connection that was ever made.
    streams: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Listens at `address` (any port for 0) and connects to `port` at 127.0.0.1.
    ///
    /// # Errors
    /// When the address is taken.
    pub fn start(address: (Ipv4Addr, u16), port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::<Shared>::default();
        let here = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if here.closed.load(Ordering::SeqCst) {
                    return;
                }
                if here.holding.load(Ordering::SeqCst) {
                    here.held.lock().unwrap_or_else(PoisonError::into_inner).push(client);
                } else if here.hand_on(client, port).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, shared, target: port })
    }

    /// Takes connections from now on, and does not hand them on: whoever is at the other end waits.
    pub fn hold(&self) {
        self.shared.holding.store(true, Ordering::SeqCst);
    }

    /// How many wait.
    pub fn held(&self) -> usize {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Hands on all that wait, and all that come.
    pub fn let_go(&self) {
        self.shared.holding.store(false, Ordering::SeqCst);
        let held = std::mem::take(&mut *self.shared.held.lock().unwrap_or_else(PoisonError::into_inner));
        for client in held {
            self.shared.hand_on(client, self.target).expect("both ends are sockets");
        }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on nothing comes through any more, and nothing breaks either: connections are taken and left silent.
    pub fn mute(&self) {
        *self.shared.muted.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// What was held up comes through.
    pub fn unmute(&self) {
        self.shared.unmute();
    }
}

impl Shared {
    /// To the server; when that is not there any more, the client sees its connection close.
    fn hand_on(self: &Arc<Self>, client: TcpStream, port: u16) -> io::Result<()> {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(server) => self.couple(client, server),
            Err(_) => Ok(()),
        }
    }

    fn couple(self: &Arc<Self>, client: TcpStream, server: TcpStream) -> io::Result<()> {
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            let here = self.clone();
            std::thread::spawn(move || {
                // However it ends, the other side learns that nothing more comes.
                let _ = here.copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        Ok(())
    }
}

impl Shared {
    fn copy(&self, from: &mut TcpStream, to: &mut TcpStream) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            let count = from.read(&mut bytes)?;
            let muted = self.muted.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.unmuted.wait_while(muted, |muted| *muted).unwrap_or_else(PoisonError::into_inner));
            if count == 0 {
                return Ok(());
            }
            to.write_all(&bytes[..count])?;
        }
    }

    fn unmute(&self) {
        *self.muted.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.unmuted.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Fails where it has broken already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(std::mem::take(&mut *self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)));
        self.shared.unmute();
        // Wakes the thread that listens, which then lets go of the address.
        drop(TcpStream::connect(self.address));
    }
}
