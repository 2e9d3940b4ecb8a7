//! The protocol's bytes, as far as the canned backend and the load need them: heads, fields, whole messages. No sockets
//! (manual, "Message Formats").

pub mod backend;
pub mod frontend;
mod reader;

pub use self::reader::Reader;

/// Bytes that no PostgreSQL client or server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer breaks the protocol: {0}")]
pub struct Violation(pub &'static str);

/// A message that lies complete in what was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The message at the start of `bytes`, and how many bytes it takes; `None` while it is not complete.
    ///
    /// # Errors
    ///
    /// A length below its own 4 bytes or above [`BODY_MAX`].
    pub fn read(bytes: &'a [u8]) -> Result<Option<(Frame<'a>, usize)>, Violation> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else { return Ok(None) };
        let body = body_length(head[1..].try_into().expect("four bytes"))?;
        Ok(rest.get(..body).map(|body| (Frame { tag: head[0], body }, HEAD + body.len())))
    }
}

/// The length of the body behind the four bytes of a message's length, which count themselves.
///
/// # Errors
///
/// Below 4 or above [`BODY_MAX`].
pub fn body_length(length: [u8; 4]) -> Result<usize, Violation> {
    match u32::from_be_bytes(length).checked_sub(4) {
        Some(body) if body <= BODY_MAX => Ok(body as usize),
        _ => Err(Violation("a message has an impossible length")),
    }
}

/// Appends a message with the body that `write` appends.
pub fn put(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    put_untagged(out, write);
}

/// Appends a message without a tag, as the first one of a connection is.
pub fn put_untagged(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - start).expect("a message is smaller than 4 GB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a string and the zero that ends it.
pub fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

/// Bytes of a tag and a length.
pub const HEAD: usize = 5;
/// Longest body (bytes): PostgreSQL's `PQ_LARGE_MESSAGE_LIMIT`.
pub const BODY_MAX: u32 = 0x3fff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_once_it_is_complete() {
        let mut bytes = Vec::new();
        put(&mut bytes, b'Q', |out| put_text(out, b"SELECT 1"));
        bytes.extend_from_slice(b"S");
        for length in 0..14 {
            assert_eq!(Frame::read(&bytes[..length]), Ok(None));
        }
        assert_eq!(Frame::read(&bytes), Ok(Some((Frame { tag: b'Q', body: b"SELECT 1\0" }, 14))));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for length in [0, 3, 0x4000_0004, u32::MAX] {
            let bytes = [&[b'Q'][..], &length.to_be_bytes()].concat();
            assert!(Frame::read(&bytes).is_err(), "{length}");
        }
    }
}
