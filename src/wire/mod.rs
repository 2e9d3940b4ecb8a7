//! The PostgreSQL protocol as borrowed views over bytes (PostgreSQL manual, chapter "Frontend/Backend Protocol").
//!
//! No sockets, no SQL, no state: a view either reads what is there or says that it can never be right. Bytes that are
//! not there yet are `None`, not an error. A *frame* is tag, length and unread body; a *message* is one that was looked
//! into.
//!
//! * [`frame`]: the five bytes of head, and walking over frames;
//! * [`startup`]: the packets of a connection's first moments, which have no tag;
//! * [`frontend`]: messages that clients send; [`backend`]: messages that servers send, read and built;
//! * [`sqlstate`]: the error codes pgweir says by itself.

pub mod backend;
pub mod frame;
pub mod frontend;
pub mod sqlstate;
pub mod startup;

pub use self::frame::{Frame, Head};
pub use self::sqlstate::Sqlstate;

/// Bytes that break the protocol; the connection they came on is closed with SQLSTATE 08P01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("invalid message length")]
    Length,
    #[error("invalid message type")]
    Tag,
    #[error("invalid message format")]
    Format,
    #[error("invalid string in message")]
    UnterminatedString,
    #[error("invalid startup packet")]
    Startup,
}

/// Reads the fields of one message's body in order. Every method answers [`Violation`] instead of reading past the end.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body }
    }

    pub fn u8(&mut self) -> Result<u8, Violation> {
        let (first, rest) = self.rest.split_first().ok_or(Violation::Format)?;
        self.rest = rest;
        Ok(*first)
    }

    pub fn u16(&mut self) -> Result<u16, Violation> {
        self.bytes(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub fn u32(&mut self) -> Result<u32, Violation> {
        self.bytes(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Violation> {
        if count > self.rest.len() {
            return Err(Violation::Format);
        }
        let (bytes, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(bytes)
    }

    /// A string without its terminating zero.
    pub fn string(&mut self) -> Result<&'a [u8], Violation> {
        let end = memchr::memchr(0, self.rest).ok_or(Violation::UnterminatedString)?;
        let string = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Ok(string)
    }

    /// What was not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// That nothing is left.
    pub fn end(&self) -> Result<(), Violation> {
        if self.rest.is_empty() { Ok(()) } else { Err(Violation::Format) }
    }
}

/// Appends one message: `tag`, the length, and the body that `write` appends.
pub fn build(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - start).expect("a message we build is smaller than 4 GB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a string and its terminating zero. A zero inside would end it early, so it is cut there.
pub fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    let end = memchr::memchr(0, string).unwrap_or(string.len());
    out.extend_from_slice(&string[..end]);
    out.push(0);
}
