//! A result on its way out, as far as there is room for it.

use super::canned::{Block, Canned};
use crate::wire::backend::{bare, command_complete};

/// Rows that are still owed, and what comes behind them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    left: u64,
    end: End,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// CommandComplete with as many rows.
    Select(u64),
    /// PortalSuspended.
    Suspended,
    /// CopyDone and CommandComplete.
    Copy(u64),
}

impl Rows {
    /// `count` rows and the end of a SELECT.
    pub fn select(count: u64) -> Rows {
        Rows { left: count, end: End::Select(count) }
    }

    /// `count` rows of more.
    pub fn suspended(count: u64) -> Rows {
        Rows { left: count, end: End::Suspended }
    }

    /// `count` rows of a COPY and its end.
    pub fn copy(count: u64) -> Rows {
        Rows { left: count, end: End::Copy(count) }
    }

    /// Appends until `out` holds [`OUT_HIGH`] bytes. True once all was appended.
    pub fn append(&mut self, canned: &Canned, out: &mut Vec<u8>) -> bool {
        let block: &Block = match self.end {
            End::Copy(_) => &canned.copy,
            _ => &canned.data,
        };
        while self.left > 0 {
            if out.len() >= OUT_HIGH {
                return false;
            }
            self.left -= block.append(out, self.left);
        }
        match self.end {
            End::Select(count) => command_complete(out, format_args!("SELECT {count}")),
            End::Suspended => bare(out, b's'),
            End::Copy(count) => {
                bare(out, b'c');
                command_complete(out, format_args!("COPY {count}"));
            }
        }
        true
    }
}

/// Bytes of answers that wait to be sent to one client before it has to wait itself.
pub(super) const OUT_HIGH: usize = 256 * 1024;
