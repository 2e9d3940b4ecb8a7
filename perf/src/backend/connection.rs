//! One client's connection: bytes in, bytes out. No sockets.
//!
//! ```text
//! startup ──▶ ready ◀──▶ copying in
//! ```
//!
//! A result that does not fit is continued by [`Connection::resume`]; until then nothing further is looked at.

use memchr::memchr_iter;

use super::canned::Canned;
use super::extended::Extended;
use super::parameters;
use super::rows::{OUT_HIGH, Rows};
use crate::wire::backend::{bare, command_complete, error, parameter_status, ready};
use crate::wire::{Frame, Reader, Violation, body_length, frontend, put};

pub(super) struct Connection {
    phase: Phase,
    /// Received and not yet looked at.
    input: Vec<u8>,
    /// `I`, `T` or `E`, as ReadyForQuery says it.
    pub(super) status: u8,
    pub(super) extended: Extended,
    /// A result that is not yet all appended.
    pub(super) rows: Option<Rows>,
    /// True exactly between a Query and its ReadyForQuery.
    pub(super) querying: bool,
    /// Statements of the Query that are still to be run.
    pub(super) script: Vec<u8>,
    /// Whether parameters were reported that RESET takes back.
    pub(super) changed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Startup,
    Ready,
    /// Takes CopyData; so many rows have come.
    CopyIn(u64),
}

/// How to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// Receive more.
    Continue,
    /// Enough is appended: call [`Connection::resume`] when it was sent.
    Full,
    /// Close the connection, when what was appended is sent.
    Close,
}

impl Connection {
    pub fn new() -> Connection {
        Connection {
            phase: Phase::Startup,
            input: Vec::new(),
            status: b'I',
            extended: Extended::default(),
            rows: None,
            querying: false,
            script: Vec::new(),
            changed: false,
        }
    }

    /// Whether the login is behind it.
    pub fn is_ready(&self) -> bool {
        self.phase != Phase::Startup
    }

    /// Takes what was received and appends the answers.
    pub fn receive(&mut self, canned: &Canned, bytes: &[u8], out: &mut Vec<u8>) -> Flow {
        if self.input.is_empty() && self.rows.is_none() {
            let (used, flow) = self.handle(canned, bytes, out);
            self.input.extend_from_slice(&bytes[used..]);
            return flow;
        }
        self.input.extend_from_slice(bytes);
        self.resume(canned, out)
    }

    /// Goes on with what did not fit before.
    pub fn resume(&mut self, canned: &Canned, out: &mut Vec<u8>) -> Flow {
        if !self.finish_rows(canned, out) {
            return Flow::Full;
        }
        if self.querying && !self.copying() {
            self.run_script(canned, out);
        }
        let mut input = std::mem::take(&mut self.input);
        let (used, flow) = self.handle(canned, &input, out);
        input.drain(..used);
        self.input = input;
        flow
    }

    /// Handles complete messages; says how many bytes they took.
    fn handle(&mut self, canned: &Canned, bytes: &[u8], out: &mut Vec<u8>) -> (usize, Flow) {
        let mut used = 0;
        loop {
            if self.rows.is_some() || out.len() >= OUT_HIGH {
                return (used, Flow::Full);
            }
            let handled = match self.phase {
                Phase::Startup => self.startup(canned, &bytes[used..], out),
                _ => self.message(canned, &bytes[used..], out),
            };
            match handled {
                Ok(Some(count)) => used += count,
                Ok(None) => return (used, Flow::Continue),
                Err(Goodbye::Silent) => return (bytes.len(), Flow::Close),
                Err(Goodbye::Fatal(sqlstate, message)) => {
                    error(out, "FATAL", sqlstate, message);
                    return (bytes.len(), Flow::Close);
                }
            }
        }
    }

    /// One message of a client that is logged in; `None` while it is not complete.
    fn message(&mut self, canned: &Canned, bytes: &[u8], out: &mut Vec<u8>) -> Handled {
        let Some((frame, length)) = Frame::read(bytes)? else { return Ok(None) };
        match (frame.tag, self.phase) {
            (b'X', _) => return Err(Goodbye::Silent),
            (_, Phase::CopyIn(rows)) => self.copy_message(canned, frame, rows, out)?,
            // What is behind an error in a pipeline, or left over of a COPY that has failed.
            (b'd' | b'c' | b'f', _) => {}
            (b'S', _) => self.sync(out),
            (b'Q', _) => {
                let text = Reader::new(frame.body).text()?;
                self.query(canned, text, out);
            }
            (b'P' | b'B' | b'D' | b'E' | b'C' | b'H', _) => self.extended_message(canned, frame, out)?,
            (b'F', _) => {
                self.fail(out, "0A000", "functions are not called by this server");
                ready(out, self.status);
            }
            _ => return Err(Goodbye::Fatal("08P01", "invalid frontend message type")),
        }
        Ok(Some(length))
    }

    fn startup(&mut self, canned: &Canned, bytes: &[u8], out: &mut Vec<u8>) -> Handled {
        let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = body_length(*length)?;
        if length > STARTUP_MAX {
            return Err(Goodbye::Fatal("08P01", "invalid length of startup packet"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let mut reader = Reader::new(body);
        match reader.u32()? {
            frontend::SSL | frontend::GSS_ENCRYPTION => out.push(b'N'),
            frontend::CANCEL => return Err(Goodbye::Silent),
            frontend::PROTOCOL => {
                self.log_in(canned, reader, out)?;
                self.phase = Phase::Ready;
            }
            _ => return Err(Goodbye::Fatal("0A000", "unsupported frontend protocol")),
        }
        Ok(Some(4 + length))
    }

    fn log_in(
        &mut self,
        canned: &Canned,
        mut reader: Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let mut values = parameters::reported(canned.role).map(|(name, value)| (name, value.as_bytes()));
        loop {
            let name = reader.text()?;
            if name.is_empty() {
                break;
            }
            let value = reader.text()?;
            let reported = match name {
                b"user" => Some("session_authorization"),
                _ => parameters::reported_name(name),
            };
            for (_, known) in values.iter_mut().filter(|(name, _)| Some(*name) == reported) {
                *known = value;
            }
        }
        put(out, b'R', |out| out.extend_from_slice(&0u32.to_be_bytes()));
        for (name, value) in values {
            parameter_status(out, name.as_bytes(), value);
        }
        let key = fastrand::u64(..);
        put(out, b'K', |out| {
            // A process id is positive.
            out.extend_from_slice(&((key >> 33) as u32).to_be_bytes());
            out.extend_from_slice(&(key as u32).to_be_bytes());
        });
        ready(out, self.status);
        Ok(())
    }

    /// Takes CopyData from now on.
    pub(super) fn copy_in(&mut self, out: &mut Vec<u8>) {
        crate::wire::backend::copy_response(out, b'G');
        self.phase = Phase::CopyIn(0);
    }

    pub(super) fn copying(&self) -> bool {
        matches!(self.phase, Phase::CopyIn(_))
    }

    fn copy_message(
        &mut self,
        canned: &Canned,
        frame: Frame<'_>,
        rows: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Goodbye> {
        match frame.tag {
            b'd' => {
                self.phase = Phase::CopyIn(rows + memchr_iter(b'\n', frame.body).count() as u64);
                return Ok(());
            }
            // The server ignores them while it copies, so that a client may send them blindly.
            b'S' | b'H' => return Ok(()),
            b'c' => command_complete(out, format_args!("COPY {rows}")),
            b'f' => self.fail(out, "57014", "COPY from stdin failed"),
            _ => return Err(Goodbye::Fatal("08P01", "unexpected message type during COPY from stdin")),
        }
        self.phase = Phase::Ready;
        if self.querying {
            self.run_script(canned, out);
        }
        Ok(())
    }

    /// Ends the extended query cycle.
    fn sync(&mut self, out: &mut Vec<u8>) {
        self.extended.synchronize(self.status);
        ready(out, self.status);
    }

    /// Appends as much of the result as there is room for. True when none is left.
    pub(super) fn finish_rows(&mut self, canned: &Canned, out: &mut Vec<u8>) -> bool {
        if let Some(rows) = &mut self.rows {
            if !rows.append(canned, out) {
                return false;
            }
            self.rows = None;
        }
        true
    }

    /// Refuses the statement: its transaction fails, and so does the rest of its Query or pipeline.
    pub(super) fn fail(&mut self, out: &mut Vec<u8>, sqlstate: &str, message: &str) {
        error(out, "ERROR", sqlstate, message);
        if self.status == b'T' {
            self.status = b'E';
        }
        self.script.clear();
        self.extended.skip(!self.querying);
    }

    /// Reports the parameters again as they were after the login.
    pub(super) fn reset_parameters(&mut self, canned: &Canned, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.changed) {
            for (name, value) in parameters::reported(canned.role) {
                if parameters::reported_name(name.as_bytes()).is_some() && name != "session_authorization" {
                    parameter_status(out, name.as_bytes(), value.as_bytes());
                }
            }
        }
    }

    /// Appends EmptyQueryResponse.
    pub(super) fn empty(out: &mut Vec<u8>) {
        bare(out, b'I');
    }
}

/// Bytes that were handled; `None` while a message is not complete.
type Handled = Result<Option<usize>, Goodbye>;

/// Why the connection ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goodbye {
    /// The client has asked for it.
    Silent,
    /// With this SQLSTATE and message.
    Fatal(&'static str, &'static str),
}

impl From<Violation> for Goodbye {
    fn from(violation: Violation) -> Goodbye {
        Goodbye::Fatal("08P01", violation.0)
    }
}

/// Longest startup packet (bytes): PostgreSQL's `MAX_STARTUP_PACKET_LENGTH`.
const STARTUP_MAX: usize = 10_000;
