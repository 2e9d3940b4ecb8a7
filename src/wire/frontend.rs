//! Messages that clients send (PostgreSQL manual 55.7), as views over a frame's body.

use std::num::NonZeroU64;
use std::ops::Range;

use memchr::memmem;

use super::{Reader, Violation, build, put_string};

/// Parse: a statement to prepare.
#[derive(Clone, Copy, Debug)]
pub struct Parse<'a> {
    /// Empty for the unnamed statement.
    pub name: &'a [u8],
    pub query: &'a [u8],
    /// Everything behind the name: the query, its zero, the parameter types. What two Parses must share to be the same.
    pub text: &'a [u8],
}

impl<'a> Parse<'a> {
    pub fn read(body: &'a [u8]) -> Result<Parse<'a>, Violation> {
        let mut reader = Reader::new(body);
        let name = reader.string()?;
        let text = reader.rest();
        let query = reader.string()?;
        let types = reader.u16()?;
        reader.bytes(types as usize * 4)?;
        reader.end()?;
        Ok(Parse { name, query, text })
    }
}

/// Bind: a portal made of a prepared statement and parameters.
#[derive(Clone, Copy, Debug)]
pub struct Bind<'a> {
    /// Empty for the unnamed portal.
    pub portal: &'a [u8],
    /// Empty for the unnamed statement.
    pub statement: &'a [u8],
    /// Everything behind the names, unread.
    pub rest: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Reads the names; the parameters are the server's business. The body may be cut off behind the names.
    pub fn read(body: &'a [u8]) -> Result<Bind<'a>, Violation> {
        let mut reader = Reader::new(body);
        let portal = reader.string()?;
        let statement = reader.string()?;
        Ok(Bind { portal, statement, rest: reader.rest() })
    }
}

/// What a Describe or a Close is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

impl<'a> Target<'a> {
    pub fn read(body: &'a [u8]) -> Result<Target<'a>, Violation> {
        let mut reader = Reader::new(body);
        let kind = reader.u8()?;
        let name = reader.string()?;
        reader.end()?;
        match kind {
            b'S' => Ok(Target::Statement(name)),
            b'P' => Ok(Target::Portal(name)),
            _ => Err(Violation::Format),
        }
    }
}

/// Execute: the portal's name and the most rows to return (0: all).
pub fn read_execute(body: &[u8]) -> Result<(&[u8], u32), Violation> {
    let mut reader = Reader::new(body);
    let portal = reader.string()?;
    let rows = reader.u32()?;
    reader.end()?;
    Ok((portal, rows))
}

/// Query: its text. A zero inside ends it, as in the server; bytes behind that are a violation.
pub fn read_query(body: &[u8]) -> Result<&[u8], Violation> {
    let mut reader = Reader::new(body);
    let text = reader.string()?;
    reader.end()?;
    Ok(text)
}

pub fn put_query(out: &mut Vec<u8>, text: &[u8]) {
    build(out, b'Q', |out| put_string(out, text));
}

/// Appends a Parse. `text` is what [`Parse::text`] read.
pub fn put_parse(out: &mut Vec<u8>, name: &[u8], text: &[u8]) {
    build(out, b'P', |out| {
        put_string(out, name);
        out.extend_from_slice(text);
    });
}

/// Appends the head and the names of a Bind whose `rest` bytes follow elsewhere.
pub fn put_bind_head(out: &mut Vec<u8>, portal: &[u8], statement: &[u8], rest: usize) {
    out.push(b'B');
    let length = 4 + portal.len() + 1 + statement.len() + 1 + rest;
    out.extend_from_slice(&(length as u32).to_be_bytes());
    put_string(out, portal);
    put_string(out, statement);
}

pub fn put_describe_statement(out: &mut Vec<u8>, name: &[u8]) {
    build(out, b'D', |out| {
        out.push(b'S');
        put_string(out, name);
    });
}

pub fn put_close_statement(out: &mut Vec<u8>, name: &[u8]) {
    build(out, b'C', |out| {
        out.push(b'S');
        put_string(out, name);
    });
}

pub fn put_sync(out: &mut Vec<u8>) {
    build(out, b'S', |_| {});
}

pub fn put_terminate(out: &mut Vec<u8>) {
    build(out, b'X', |_| {});
}

/// Appends a password, or a message of SASL, which share the tag.
pub fn put_password(out: &mut Vec<u8>, body: &[u8]) {
    build(out, b'p', |out| out.extend_from_slice(body));
}

/// The name of a statement that pgweir prepares on a backend. No client's name can be taken for one, since names known to
/// a session are always translated and unknown ones exist nowhere.
pub fn own_statement_name(number: NonZeroU64) -> Vec<u8> {
    let mut name = OWN_STATEMENT.to_vec();
    name.extend_from_slice(number.to_string().as_bytes());
    name
}

/// Where a text first has the name of a statement of ours, and that statement's number.
pub fn find_own_statement(text: &[u8]) -> Option<(Range<usize>, NonZeroU64)> {
    let start = memmem::find(text, OWN_STATEMENT)?;
    let digits = &text[start + OWN_STATEMENT.len()..];
    let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = std::str::from_utf8(&digits[..len]).ok()?.parse().ok()?;
    Some((start..start + OWN_STATEMENT.len() + len, number))
}

const OWN_STATEMENT: &[u8] = b"pgweir_";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_parse_with_wrong_counts_is_refused() {
        assert!(Parse::read(b"n\0select 1\0\0\0").is_ok());
        assert!(Parse::read(b"n\0select 1\0\0\x01\0\0\0\x17").is_ok());
        for wrong in [
            &b"n\0select 1\0\0\x01"[..],
            b"n\0select 1\0\0\0x",
            b"n\0select 1",
            b"",
            b"n\0select 1\0\xff\xff",
        ] {
            assert!(Parse::read(wrong).is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_them_panic(body: Vec<u8>) {
            let _ = Parse::read(&body);
            let _ = Bind::read(&body);
            let _ = Target::read(&body);
            let _ = read_execute(&body);
            let _ = read_query(&body);
        }

        #[test]
        fn a_bind_put_together_again_is_the_same(portal in "[a-z]{0,5}", name in "[a-z]{0,5}", rest: Vec<u8>) {
            let mut out = Vec::new();
            put_bind_head(&mut out, portal.as_bytes(), name.as_bytes(), rest.len());
            out.extend_from_slice(&rest);
            let (frame, size) = super::super::Frame::read(&out).unwrap().unwrap();
            prop_assert_eq!(size, out.len());
            let bind = Bind::read(frame.body).unwrap();
            prop_assert_eq!(bind.portal, portal.as_bytes());
            prop_assert_eq!(bind.statement, name.as_bytes());
            prop_assert_eq!(bind.rest, rest.as_slice());
        }
    }

    #[test]
    fn names_of_our_own_statements_are_found_in_what_servers_say() {
        let name = own_statement_name(NonZeroU64::new(12).unwrap());
        let text = [b"prepared statement \"", &name[..], b"\" already exists"].concat();
        let (place, number) = find_own_statement(&text).unwrap();
        assert_eq!((&text[place], number.get()), (&name[..], 12));
        for text in [&b"pgweir"[..], b"pgweir_", b"pgweir_x", b"pgweir_0", b""] {
            assert!(find_own_statement(text).is_none());
        }
    }
}
