//! What a server sends.

use std::fmt::Display;
use std::io::Write;

use super::{put, put_text};

/// The columns of a result, all of type text.
pub fn row_description(out: &mut Vec<u8>, columns: &[&str], format: u16) {
    put(out, b'T', |out| {
        out.extend_from_slice(&(columns.len() as u16).to_be_bytes());
        for column in columns {
            put_text(out, column.as_bytes());
            // No column of a table.
            out.extend_from_slice(&[0; 6]);
            out.extend_from_slice(&TEXT.to_be_bytes());
            // A length that varies, no modifier.
            out.extend_from_slice(&(-1i16).to_be_bytes());
            out.extend_from_slice(&(-1i32).to_be_bytes());
            out.extend_from_slice(&format.to_be_bytes());
        }
    });
}

/// One row; `None` is a null.
pub fn data_row<'a>(out: &mut Vec<u8>, columns: impl ExactSizeIterator<Item = Option<&'a [u8]>>) {
    put(out, b'D', |out| {
        out.extend_from_slice(&(columns.len() as u16).to_be_bytes());
        for column in columns {
            let length = column.map_or(-1, |column| column.len() as i32);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(column.unwrap_or_default());
        }
    });
}

pub fn command_complete(out: &mut Vec<u8>, tag: impl Display) {
    // Writing to a vector cannot fail.
    put(out, b'C', |out| drop(write!(out, "{tag}\0")));
}

/// The end of a cycle; `status` is `I`, `T` or `E`.
pub fn ready(out: &mut Vec<u8>, status: u8) {
    put(out, b'Z', |out| out.push(status));
}

pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(out, b'S', |out| {
        put_text(out, name);
        put_text(out, value);
    });
}

/// The types of a statement's parameters, all text.
pub fn parameter_description(out: &mut Vec<u8>, count: u16) {
    put(out, b't', |out| {
        out.extend_from_slice(&count.to_be_bytes());
        for _ in 0..count {
            out.extend_from_slice(&TEXT.to_be_bytes());
        }
    });
}

/// The start of a COPY in text format with one column: `G` towards the server, `H` towards the client.
pub fn copy_response(out: &mut Vec<u8>, tag: u8) {
    put(out, tag, |out| out.extend_from_slice(&[0, 0, 1, 0, 0]));
}

/// Messages without a body: `1` ParseComplete, `2` BindComplete, `3` CloseComplete, `n` NoData, `s` PortalSuspended, `c`
/// CopyDone, `I` EmptyQueryResponse.
pub fn bare(out: &mut Vec<u8>, tag: u8) {
    put(out, tag, |_| {});
}

/// `severity` is `ERROR` or `FATAL`.
pub fn error(out: &mut Vec<u8>, severity: &str, sqlstate: &str, message: &str) {
    put(out, b'E', |out| {
        for (field, text) in [(b'S', severity), (b'V', severity), (b'C', sqlstate), (b'M', message)] {
            out.push(field);
            put_text(out, text.as_bytes());
        }
        out.push(0);
    });
}

/// The object identifier of the type text.
const TEXT: u32 = 25;
