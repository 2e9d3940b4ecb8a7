//! What the operator says by signals: SIGHUP reloads, SIGTERM drains and for the second time stops, SIGINT stops.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::Handle;

/// Obeys signals from now on, on a small thread that lasts as long as the process.
///
/// # Errors
///
/// When the process has no descriptors or threads left.
pub fn obey_signals(handle: Handle) -> io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
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
