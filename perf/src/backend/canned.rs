//! The answers, made once.

use super::probe::{self, Depth};
use super::{Role, parameters};
use crate::wire::backend::{command_complete, data_row, row_description};
use crate::wire::put;

pub(super) struct Canned {
    pub role: Role,
    /// Rows of every result.
    pub rows: u64,
    /// The RowDescription of every SELECT.
    pub description: Vec<u8>,
    /// RowDescription, all rows and CommandComplete, where they are short; otherwise empty.
    pub select: Vec<u8>,
    /// Rows as DataRow and as CopyData.
    pub data: Block,
    pub copy: Block,
    probes: [[Vec<u8>; 2]; 3],
}

/// Some rows, one behind the other, to make long results of.
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Bytes of one row's message.
    row: usize,
}

impl Canned {
    /// Results of `rows` rows of `width` bytes.
    pub fn new(rows: u64, width: usize, role: Role) -> Canned {
        let mut description = Vec::new();
        row_description(&mut description, &["canned"], 0);
        let data = Block::new(rows, |out, index| {
            data_row(out, [Some(text(index, width).as_slice())].into_iter());
        });
        let copy = Block::new(rows, |out, index| {
            put(out, b'd', |out| {
                out.extend(text(index, width));
                out.push(b'\n');
            });
        });
        let mut select = Vec::new();
        if rows <= data.rows() {
            select.extend_from_slice(&description);
            data.append(&mut select, rows);
            command_complete(&mut select, format_args!("SELECT {rows}"));
        }
        let probes = [Depth::Role, Depth::Positions, Depth::Cluster].map(|depth| probe::answer(depth, role));
        Canned { role, rows, description, select, data, copy, probes }
    }

    /// RowDescription and DataRow.
    pub fn probe(&self, depth: Depth) -> &[Vec<u8>; 2] {
        match depth {
            Depth::Role => &self.probes[0],
            Depth::Positions => &self.probes[1],
            Depth::Cluster => &self.probes[2],
        }
    }

    /// What `SHOW name` shows.
    pub fn shown(&self, name: &str) -> Option<&'static str> {
        parameters::shown(name.as_bytes(), self.role)
    }
}

impl Block {
    fn new(rows: u64, write: impl Fn(&mut Vec<u8>, u64)) -> Block {
        let mut bytes = Vec::new();
        write(&mut bytes, 0);
        let row = bytes.len();
        let fitting = (BLOCK_SIZE / row).max(1) as u64;
        for index in 1..rows.min(fitting) {
            write(&mut bytes, index);
        }
        Block { bytes, row }
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        (self.bytes.len() / self.row) as u64
    }

    /// Appends the first rows, up to `count` and to as many as there are; says how many.
    pub fn append(&self, out: &mut Vec<u8>, count: u64) -> u64 {
        let count = count.min(self.rows());
        out.extend_from_slice(&self.bytes[..count as usize * self.row]);
        count
    }
}

/// A row's text: its number, again and again.
fn text(index: u64, width: usize) -> Vec<u8> {
    format!("{index:07} ").bytes().cycle().take(width).collect()
}

/// Bytes of a block, unless a single row is longer.
const BLOCK_SIZE: usize = 64 * 1024;
