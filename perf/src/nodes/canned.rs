//! A primary and two replicas that are `perf backend`: they answer without doing the work.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::lab::Lab;
use crate::process::Child;

/// What every SELECT is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub rows: u64,
    /// Bytes of a row's one column.
    pub width: usize,
    /// How long an answer takes.
    pub delay: Duration,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { rows: 1, width: 8, delay: Duration::ZERO }
    }
}

/// The running servers, stopped when dropped.
pub struct Canned {
    /// The primary's first.
    pub ports: Vec<u16>,
    _servers: Vec<Child>,
}

impl Canned {
    /// Starts a primary and two replicas on the cores of the load.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn start(lab: &Lab, shape: Shape) -> Result<Canned> {
        let (mut ports, mut servers) = (Vec::new(), Vec::new());
        for role in ["primary", "replica", "replica"] {
            let mut server = lab
                .part("backend", &lab.load_cores)
                .arguments(["--listen", "127.0.0.1:0", "--role", role])
                .arguments(["--rows", &shape.rows.to_string(), "--width", &shape.width.to_string()])
                .arguments(["--delay", &format!("{}us", shape.delay.as_micros())])
                .start()?;
            ports.push(listening(&mut server)?);
            servers.push(server);
        }
        Ok(Canned { ports, _servers: servers })
    }
}

/// The port in the line `listening on 127.0.0.1:PORT` that parts of perf begin with.
///
/// # Errors
/// When the part says anything else, or ends.
pub fn listening(child: &mut Child) -> Result<u16> {
    let line = child.line()?.with_context(|| format!("it ended at once: {}", child.said()))?;
    parse(&line).with_context(|| format!("{line:?} where a port was expected"))
}

fn parse(line: &str) -> Option<u16> {
    line.strip_prefix("listening on ")?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_at_the_end_of_the_line() {
        assert_eq!(parse("listening on 127.0.0.1:40123"), Some(40123));
        assert_eq!(parse("listening on nothing"), None);
        assert_eq!(parse("ready"), None);
    }
}
