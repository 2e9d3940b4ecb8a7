//! What the operator says by signals: SIGHUP reloads, SIGTERM drains and for the second time stops, SIGINT stops.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Handle;

/// Signals that wait to be obeyed. Caught before anybody is let in, so that none of them ends the process by itself.
pub struct Caught(Signals);

/// Catches SIGHUP, SIGINT and SIGTERM from here on.
///
/// # Errors
///
/// When the system does not allow it.
pub fn catch_signals() -> io::Result<Caught> {
    Signals::new([SIGHUP, SIGINT, SIGTERM]).map(Caught)
}

/// Obeys the signals that were caught, and those that come: SIGHUP reads the configuration again, SIGTERM lets
/// transactions finish, SIGINT (and a second SIGTERM) ends at once.
///
/// # Errors
///
/// When no thread can be started.
pub fn obey_signals(Caught(mut signals): Caught, handle: Handle) -> io::Result<()> {
    let name = "pgweir-signals".to_owned();
    std::thread::Builder::new().name(name).spawn(move || {
        for signal in signals.forever() {
            match signal {
                SIGHUP => handle.reload(),
                SIGINT => handle.stop(),
                _ => handle.drain(),
            }
        }
    })?;
    Ok(())
}
