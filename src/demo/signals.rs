//! Ctrl-C and its relatives: to us an order to end, to a command in front its own business.
//!
//! A signal becomes a raised [`Interrupt`], which every long step looks at. While a command runs in front, signals are
//! the command's: its end is ours, and psql's Ctrl-C cancels a query, not the demo.

use std::io::{self, IsTerminal};
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Incoming};

use super::process::{Interrupt, Signal, signal};

/// The signals caught while this lives.
pub(super) struct Signals {
    front: Arc<Mutex<Option<Front>>>,
    handle: Handle,
}

/// The command in front.
struct Front {
    pid: u32,
    /// Whether it was told to end already, so that the next time it is made to.
    told: bool,
}

impl Signals {
    /// From now on SIGINT, SIGTERM and SIGHUP raise `interrupt` instead of ending the process.
    ///
    /// # Errors
    /// When the system refuses a handler or a thread.
    pub(super) fn catch(interrupt: &Interrupt) -> io::Result<Self> {
        let mut incoming = Incoming::new([SIGINT, SIGTERM, SIGHUP])?;
        let handle = incoming.handle();
        let front = Arc::new(Mutex::new(None));
        let (interrupt, in_front) = (interrupt.clone(), Arc::clone(&front));
        std::thread::Builder::new().name("pgweir-signals".to_owned()).spawn(move || {
            for number in incoming.forever() {
                let mut front = lock(&in_front);
                match front.as_mut() {
                    Some(front) => pass_on(number, front),
                    None => interrupt.raise(),
                }
            }
        })?;
        Ok(Self { front, handle })
    }

    /// Runs a command with our own standard streams, to its end, passing signals on to it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn run_in_front(&self, command: &mut Command) -> io::Result<ExitStatus> {
        // Held while starting, so that no signal slips between the start and the note of it.
        let mut front = lock(&self.front);
        let mut child = command.spawn()?;
        *front = Some(Front { pid: child.id(), told: false });
        drop(front);
        let ended = child.wait();
        *lock(&self.front) = None;
        ended
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.handle.close();
    }
}

fn pass_on(number: i32, front: &mut Front) {
    let order = match number {
        // The terminal has sent a Ctrl-C to the command as well: it belongs to the same group as we do.
        SIGINT if io::stdin().is_terminal() => return,
        SIGINT => Signal::Int,
        _ if front.told => Signal::Kill,
        SIGHUP => Signal::Hup,
        _ => Signal::Term,
    };
    front.told |= number != SIGINT;
    let _ = signal(order, &[front.pid]);
}

fn lock(front: &Mutex<Option<Front>>) -> MutexGuard<'_, Option<Front>> {
    front.lock().unwrap_or_else(PoisonError::into_inner)
}
