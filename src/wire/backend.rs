//! Messages that servers send (PostgreSQL manual 55.7): read from a node, and built for a client.

use super::{Reader, Sqlstate, Violation, build, put_string};

/// A server's transaction status, in ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    Idle,
    InTransaction,
    Failed,
}

impl TransactionStatus {
    /// Reads a ReadyForQuery's body.
    pub fn read(body: &[u8]) -> Result<TransactionStatus, Violation> {
        match body {
            b"I" => Ok(TransactionStatus::Idle),
            b"T" => Ok(TransactionStatus::InTransaction),
            b"E" => Ok(TransactionStatus::Failed),
            _ => Err(Violation::Format),
        }
    }

    pub fn letter(self) -> u8 {
        match self {
            TransactionStatus::Idle => b'I',
            TransactionStatus::InTransaction => b'T',
            TransactionStatus::Failed => b'E',
        }
    }
}

/// An ErrorResponse or NoticeResponse.
#[derive(Clone, Copy, Debug)]
pub struct ErrorFields<'a> {
    body: &'a [u8],
}

impl<'a> ErrorFields<'a> {
    pub fn new(body: &'a [u8]) -> ErrorFields<'a> {
        ErrorFields { body }
    }

    /// The value of the field with this letter.
    pub fn field(&self, letter: u8) -> Option<&'a [u8]> {
        self.iter().find(|(field, _)| *field == letter).map(|(_, value)| value)
    }

    /// All fields in order.
    pub fn iter(&self) -> impl Iterator<Item = (u8, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.body);
        std::iter::from_fn(move || match reader.u8() {
            Ok(0) | Err(_) => None,
            Ok(letter) => Some((letter, reader.string().ok()?)),
        })
    }

    /// The code. Servers older than 7.4 and broken ones send none.
    pub fn sqlstate(&self) -> Option<Sqlstate> {
        self.field(b'C').and_then(Sqlstate::parse)
    }

    pub fn message(&self) -> String {
        String::from_utf8_lossy(self.field(b'M').unwrap_or_default()).into_owned()
    }

    /// Whether the server closes the connection behind this message.
    pub fn fatal(&self) -> bool {
        matches!(self.field(b'V').or(self.field(b'S')), Some(b"FATAL" | b"PANIC"))
    }
}

/// Reads a ParameterStatus: name and value.
pub fn read_parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Violation> {
    let mut reader = Reader::new(body);
    let pair = (reader.string()?, reader.string()?);
    reader.end()?;
    Ok(pair)
}

/// Reads a NotificationResponse: the process id of who sent it, the channel, the payload.
pub fn read_notification(body: &[u8]) -> Result<(u32, &[u8], &[u8]), Violation> {
    let mut reader = Reader::new(body);
    let notification = (reader.u32()?, reader.string()?, reader.string()?);
    reader.end()?;
    Ok(notification)
}

/// Appends a NotificationResponse.
pub fn put_notification(out: &mut Vec<u8>, process_id: u32, channel: &[u8], payload: &[u8]) {
    build(out, b'A', |out| {
        out.extend_from_slice(&process_id.to_be_bytes());
        put_string(out, channel);
        put_string(out, payload);
    });
}

/// Reads a BackendKeyData: process id and secret.
pub fn read_key_data(body: &[u8]) -> Result<(u32, &[u8]), Violation> {
    let mut reader = Reader::new(body);
    let process_id = reader.u32()?;
    match reader.rest() {
        [] => Err(Violation::Format),
        secret => Ok((process_id, secret)),
    }
}

/// Reads a CommandComplete's tag.
pub fn read_command_complete(body: &[u8]) -> Result<&[u8], Violation> {
    Reader::new(body).string()
}

/// Reads a DataRow of text values.
pub fn read_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Violation> {
    let mut reader = Reader::new(body);
    let count = reader.u16()?;
    (0..count)
        .map(|_| match reader.u32()? {
            u32::MAX => Ok(None),
            length => reader.bytes(length as usize).map(Some),
        })
        .collect()
}

/// An error or notice that pgweir says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub severity: Severity,
    pub sqlstate: Sqlstate,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The connection is closed behind it.
    Fatal,
    Notice,
    Warning,
}

impl Report {
    pub fn error(sqlstate: Sqlstate, message: impl Into<String>) -> Report {
        Report { severity: Severity::Error, sqlstate, message: message.into(), detail: None, hint: None }
    }

    pub fn fatal(sqlstate: Sqlstate, message: impl Into<String>) -> Report {
        Report { severity: Severity::Fatal, ..Report::error(sqlstate, message) }
    }

    /// What a server said, to be said again by us.
    pub fn of(error: ErrorFields<'_>) -> Report {
        let text = |letter| error.field(letter).map(|text| String::from_utf8_lossy(text).into_owned());
        Report {
            detail: text(b'D'),
            hint: text(b'H'),
            ..Report::error(error.sqlstate().unwrap_or(Sqlstate::CONNECTION_FAILURE), error.message())
        }
    }

    pub fn detail(mut self, detail: impl Into<String>) -> Report {
        self.detail = Some(detail.into());
        self
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Report {
        self.hint = Some(hint.into());
        self
    }

    /// Appends the ErrorResponse or NoticeResponse.
    pub fn put(&self, out: &mut Vec<u8>) {
        let (tag, severity) = match self.severity {
            Severity::Error => (b'E', b"ERROR".as_slice()),
            Severity::Fatal => (b'E', b"FATAL".as_slice()),
            Severity::Notice => (b'N', b"NOTICE".as_slice()),
            Severity::Warning => (b'N', b"WARNING".as_slice()),
        };
        build(out, tag, |out| {
            let mut field = |letter: u8, value: &[u8]| {
                out.push(letter);
                put_string(out, value);
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', &self.sqlstate.0);
            field(b'M', self.message.as_bytes());
            if let Some(detail) = &self.detail {
                field(b'D', detail.as_bytes());
            }
            if let Some(hint) = &self.hint {
                field(b'H', hint.as_bytes());
            }
            out.push(0);
        });
    }
}

/// Appends an ErrorResponse with the fields of `error`, with its severity and message as given.
pub fn put_error_as(out: &mut Vec<u8>, error: ErrorFields<'_>, severity: &[u8], message: &[u8]) {
    build(out, b'E', |out| {
        for (letter, value) in error.iter() {
            out.push(letter);
            match letter {
                b'S' | b'V' => put_string(out, severity),
                b'M' => put_string(out, message),
                _ => put_string(out, value),
            }
        }
        out.push(0);
    });
}

/// Appends an authentication request with this code and body.
pub fn put_authentication(out: &mut Vec<u8>, code: u32, body: &[u8]) {
    build(out, b'R', |out| {
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(body);
    });
}

/// Appends a NegotiateProtocolVersion: the newest minor version we speak and the options we do not know.
pub fn put_negotiate_version(out: &mut Vec<u8>, minor: u16, unknown: &[&[u8]]) {
    build(out, b'v', |out| {
        out.extend_from_slice(&(0x0003_0000 | u32::from(minor)).to_be_bytes());
        out.extend_from_slice(&(unknown.len() as u32).to_be_bytes());
        for name in unknown {
            put_string(out, name);
        }
    });
}

pub fn put_key_data(out: &mut Vec<u8>, process_id: u32, secret: &[u8]) {
    build(out, b'K', |out| {
        out.extend_from_slice(&process_id.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

pub fn put_parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    build(out, b'S', |out| {
        put_string(out, name);
        put_string(out, value);
    });
}

pub fn put_ready(out: &mut Vec<u8>, status: TransactionStatus) {
    build(out, b'Z', |out| out.push(status.letter()));
}

pub fn put_command_complete(out: &mut Vec<u8>, tag: &[u8]) {
    build(out, b'C', |out| put_string(out, tag));
}

/// Appends a RowDescription of text columns (type `text`, OID 25).
pub fn put_row_description<'n>(out: &mut Vec<u8>, names: impl ExactSizeIterator<Item = &'n str>) {
    build(out, b'T', |out| {
        out.extend_from_slice(&(names.len() as u16).to_be_bytes());
        for name in names {
            put_string(out, name.as_bytes());
            out.extend_from_slice(&0u32.to_be_bytes()); // no table
            out.extend_from_slice(&0u16.to_be_bytes()); // no column
            out.extend_from_slice(&25u32.to_be_bytes()); // text
            out.extend_from_slice(&(-1i16).to_be_bytes()); // of any size
            out.extend_from_slice(&(-1i32).to_be_bytes()); // no modifier
            out.extend_from_slice(&0u16.to_be_bytes()); // in text format
        }
    });
}

/// Appends a DataRow of text values.
pub fn put_row<'v>(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = Option<&'v [u8]>>) {
    build(out, b'D', |out| {
        out.extend_from_slice(&(values.len() as u16).to_be_bytes());
        for value in values {
            match value {
                None => out.extend_from_slice(&(-1i32).to_be_bytes()),
                Some(value) => {
                    out.extend_from_slice(&(value.len() as u32).to_be_bytes());
                    out.extend_from_slice(value);
                }
            }
        }
    });
}

/// Messages without a body.
pub const PARSE_COMPLETE: &[u8] = b"1\0\0\0\x04";
pub const BIND_COMPLETE: &[u8] = b"2\0\0\0\x04";
pub const CLOSE_COMPLETE: &[u8] = b"3\0\0\0\x04";
pub const NO_DATA: &[u8] = b"n\0\0\0\x04";
pub const EMPTY_QUERY: &[u8] = b"I\0\0\0\x04";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Frame;
    use proptest::prelude::*;

    #[test]
    fn a_report_is_read_back_with_its_fields() {
        let mut out = Vec::new();
        Report::fatal(Sqlstate::INVALID_PASSWORD, "no").hint("try again").put(&mut out);
        let (frame, _) = Frame::read(&out).unwrap().unwrap();
        let error = ErrorFields::new(frame.body);
        assert!(error.fatal());
        assert_eq!(error.sqlstate(), Some(Sqlstate::INVALID_PASSWORD));
        assert_eq!(error.field(b'H'), Some(&b"try again"[..]));
        assert_eq!(error.message(), "no");
    }

    #[test]
    fn an_error_without_a_code_is_survived() {
        assert_eq!(ErrorFields::new(b"SERROR\0Mx\0\0").sqlstate(), None);
        assert_eq!(ErrorFields::new(b"").sqlstate(), None);
        assert_eq!(ErrorFields::new(b"C12\0").sqlstate(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_them_panic(body: Vec<u8>) {
            let error = ErrorFields::new(&body);
            let _ = (error.sqlstate(), error.fatal(), error.message(), error.iter().count());
            let _ = (read_parameter_status(&body), read_key_data(&body), read_row(&body));
            let _ = (read_command_complete(&body), TransactionStatus::read(&body));
        }
    }
}
