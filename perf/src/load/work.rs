//! What a connection sends, made once.

use super::{Arguments, Mode};
use crate::wire::{HEAD, frontend, put};

pub(super) struct Work {
    pub startup: Vec<u8>,
    /// What prepares a connection after its login; empty in most modes.
    pub prepare: Vec<u8>,
    /// One cycle: all that is sent before the next ReadyForQuery.
    pub cycle: Vec<u8>,
    /// Queries in it.
    pub queries: u32,
    /// Whether each cycle has a connection of its own.
    pub connects: bool,
    /// What COPY FROM STDIN sends.
    pub copy: Copy,
}

/// The rows of one COPY FROM STDIN.
pub(super) struct Copy {
    /// Rows one behind the other, a block to be sent again and again.
    block: Vec<u8>,
    /// Bytes of one row.
    row: usize,
    /// Rows to send.
    pub rows: u64,
}

impl Work {
    pub fn new(arguments: &Arguments) -> Work {
        let mode = arguments.mode;
        let text = match (&arguments.statement, arguments.copy_in, arguments.copy_out) {
            (Some(statement), ..) => statement,
            (None, true, _) => "COPY perf FROM STDIN",
            (None, _, true) => "COPY perf TO STDOUT",
            _ => "SELECT 1",
        };
        let (mut startup, mut prepare, mut cycle) = (Vec::new(), Vec::new(), Vec::new());
        let parameters =
            [("user", &*arguments.user), ("database", &arguments.database), ("client_encoding", "UTF8")];
        frontend::startup(&mut startup, &parameters);
        let queries = if mode == Mode::Pipelined { arguments.pipeline } else { 1 };
        match mode {
            Mode::Simple | Mode::Bulk | Mode::Connect => frontend::query(&mut cycle, text),
            Mode::Extended => {
                frontend::parse(&mut cycle, "", text);
                frontend::bind(&mut cycle, "", &arguments.parameters);
                frontend::describe(&mut cycle);
                frontend::execute(&mut cycle);
                frontend::sync(&mut cycle);
            }
            Mode::Prepared | Mode::Pipelined => {
                frontend::parse(&mut prepare, STATEMENT, text);
                frontend::sync(&mut prepare);
                for _ in 0..queries {
                    frontend::bind(&mut cycle, STATEMENT, &arguments.parameters);
                    frontend::execute(&mut cycle);
                }
                frontend::sync(&mut cycle);
            }
        }
        let copy = Copy::new(arguments.copy_rows, arguments.copy_width as usize);
        Work { startup, prepare, cycle, queries, connects: mode == Mode::Connect, copy }
    }
}

impl Copy {
    /// `rows` rows of `width` bytes, the end of the line among them.
    fn new(rows: u64, width: usize) -> Copy {
        let fitting = (BLOCK_SIZE / width).max(1).min(usize::try_from(rows).unwrap_or(usize::MAX));
        let mut row = vec![b'x'; width];
        row[width - 1] = b'\n';
        Copy { block: row.repeat(fitting), row: width, rows }
    }

    /// Appends CopyData until `out` is long enough or no row is `left`, then CopyDone. Says how many rows are left, or
    /// `None` behind the end.
    pub fn append(&self, out: &mut Vec<u8>, mut left: u64) -> Option<u64> {
        let fitting = (self.block.len() / self.row) as u64;
        while left > 0 {
            if out.len() >= OUT_HIGH {
                return Some(left);
            }
            let count = fitting.min(left);
            out.reserve(HEAD + self.block.len());
            put(out, b'd', |out| out.extend_from_slice(&self.block[..count as usize * self.row]));
            left -= count;
        }
        frontend::copy_done(out);
        None
    }
}

/// The name of the prepared statement.
const STATEMENT: &str = "perf";
/// Bytes of one CopyData, unless a single row is longer.
const BLOCK_SIZE: usize = 64 * 1024;
/// Bytes that wait to be sent on one connection before a COPY waits too.
const OUT_HIGH: usize = 256 * 1024;
