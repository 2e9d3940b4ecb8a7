//! A second address of a server.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Hands on every connection that is made to it, until it is dropped: then they break, and nobody listens there.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    closed: AtomicBool,
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
        let shared = Arc::new(Shared { closed: AtomicBool::new(false), streams: Mutex::default() });
        let here = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if here.closed.load(Ordering::SeqCst) {
                    return;
                }
                // A server that is not there any more: the client sees its connection close.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                if here.couple(client, server).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, shared })
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Shared {
    fn couple(&self, client: TcpStream, server: TcpStream) -> io::Result<()> {
        for stream in [&client, &server] {
            stream.set_nodelay(true)?;
            self.streams.lock().unwrap_or_else(PoisonError::into_inner).push(stream.try_clone()?);
        }
        for (mut from, mut to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
            std::thread::spawn(move || {
                // However it ends, the other side learns that nothing more comes.
                let _ = io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        Ok(())
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // Fails where it has broken already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the thread that listens, which then lets go of the address.
        drop(TcpStream::connect(self.address));
    }
}
