//! What a client sends.

use super::{put, put_text, put_untagged};

/// The startup packet of protocol 3.0.
pub fn startup(out: &mut Vec<u8>, parameters: &[(&str, &str)]) {
    put_untagged(out, |out| {
        out.extend_from_slice(&PROTOCOL.to_be_bytes());
        for (name, value) in parameters {
            put_text(out, name.as_bytes());
            put_text(out, value.as_bytes());
        }
        out.push(0);
    });
}

/// The answer to a request for a password, of whatever kind.
pub fn password(out: &mut Vec<u8>, data: &[u8]) {
    put(out, b'p', |out| out.extend_from_slice(data));
}

pub fn query(out: &mut Vec<u8>, text: &str) {
    put(out, b'Q', |out| put_text(out, text.as_bytes()));
}

/// Prepares `text` as `name`; the server finds the types of the parameters.
pub fn parse(out: &mut Vec<u8>, name: &str, text: &str) {
    put(out, b'P', |out| {
        put_text(out, name.as_bytes());
        put_text(out, text.as_bytes());
        out.extend_from_slice(&0u16.to_be_bytes());
    });
}

/// Binds the statement `name` to the unnamed portal: parameters and results as text.
pub fn bind(out: &mut Vec<u8>, name: &str, parameters: &[String]) {
    put(out, b'B', |out| {
        put_text(out, b"");
        put_text(out, name.as_bytes());
        out.extend_from_slice(&0u16.to_be_bytes());
        out.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
        for parameter in parameters {
            out.extend_from_slice(&(parameter.len() as u32).to_be_bytes());
            out.extend_from_slice(parameter.as_bytes());
        }
        out.extend_from_slice(&0u16.to_be_bytes());
    });
}

/// Describes the unnamed portal.
pub fn describe(out: &mut Vec<u8>) {
    put(out, b'D', |out| put_text(out, b"P"));
}

/// Executes the unnamed portal to its end.
pub fn execute(out: &mut Vec<u8>) {
    put(out, b'E', |out| {
        put_text(out, b"");
        out.extend_from_slice(&0u32.to_be_bytes());
    });
}

pub fn sync(out: &mut Vec<u8>) {
    put(out, b'S', |_| {});
}

#[cfg(test)]
pub fn copy_data(out: &mut Vec<u8>, data: &[u8]) {
    put(out, b'd', |out| out.extend_from_slice(data));
}

pub fn copy_done(out: &mut Vec<u8>) {
    put(out, b'c', |_| {});
}

pub fn terminate(out: &mut Vec<u8>) {
    put(out, b'X', |_| {});
}

/// The code of protocol 3.0 at the start of a startup packet, and those of the requests that may stand in its place.
pub const PROTOCOL: u32 = 3 << 16;
pub const CANCEL: u32 = 1234 << 16 | 5678;
pub const SSL: u32 = 1234 << 16 | 5679;
pub const GSS_ENCRYPTION: u32 = 1234 << 16 | 5680;
