//! One connection: what it makes of what the server sends. No sockets.
//!
//! ```text
//! login ──▶ (preparing) ──▶ idle ◀──▶ busy ◀──▶ copying in
//! ```

use std::time::Instant;

use super::login::{Credentials, Login};
use super::tally::{Begun, Tally};
use super::work::Work;
use crate::wire::{Frame, HEAD, Violation, body_length};

pub(super) struct Client {
    stage: Stage,
    /// Received and not complete.
    input: Vec<u8>,
    /// Bytes of a row still to come.
    skip: usize,
    /// What the answer now coming is to, or the one that a new connection is for.
    begun: Option<Begun>,
    /// Whether the cycle has failed.
    failed: bool,
}

enum Stage {
    Login(Login),
    Preparing,
    Idle,
    Busy,
    /// So many rows are still to be sent.
    CopyIn(u64),
}

/// What has become of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Waits,
    /// It is logged in and prepared.
    Ready,
    /// The cycle is over.
    Done,
    /// It is of no use any more; the error was counted.
    Broken,
}

/// What a client needs to go on.
pub(super) struct Context<'a> {
    pub work: &'a Work,
    pub credentials: &'a mut Credentials,
    pub tally: &'a mut Tally,
    pub now: Instant,
}

impl Client {
    /// A new connection; `begun` where it is for one query.
    pub fn new(begun: Option<Begun>) -> Client {
        Client { stage: Stage::Login(Login::Start), input: Vec::new(), skip: 0, begun, failed: false }
    }

    /// Starts a cycle.
    pub fn begin(&mut self, begun: Begun, work: &Work, tally: &mut Tally, out: &mut Vec<u8>) {
        self.stage = Stage::Busy;
        self.begun = Some(begun);
        self.failed = false;
        out.extend_from_slice(&work.cycle);
        tally.sent(work.cycle.len());
    }

    /// When the query began that is not yet answered.
    pub fn begun(&self) -> Option<Begun> {
        self.begun
    }

    /// Goes on with a COPY, when what was sent before is through.
    pub fn sent(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) {
        if let Stage::CopyIn(left) = self.stage {
            let before = out.len();
            self.stage = match context.work.copy.append(out, left) {
                Some(left) => Stage::CopyIn(left),
                None => Stage::Busy,
            };
            context.tally.sent(out.len() - before);
        }
    }

    /// Takes what was received and appends what it asks for.
    pub fn receive(&mut self, bytes: &[u8], context: &mut Context<'_>, out: &mut Vec<u8>) -> Step {
        context.tally.received(bytes.len());
        let handled = if self.input.is_empty() {
            let handled = self.handle(bytes, context, out);
            if let Ok((used, _)) = handled {
                self.input.extend_from_slice(&bytes[used..]);
            }
            handled
        } else {
            let mut input = std::mem::take(&mut self.input);
            input.extend_from_slice(bytes);
            let handled = self.handle(&input, context, out);
            if let Ok((used, _)) = handled {
                input.drain(..used);
            }
            self.input = input;
            handled
        };
        match handled {
            Ok((_, step)) => step,
            Err(violation) => {
                context.tally.failed(violation.to_string());
                Step::Broken
            }
        }
    }

    /// Handles complete messages, up to the end of a cycle; says how many bytes they took.
    fn handle(
        &mut self,
        bytes: &[u8],
        context: &mut Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(usize, Step), Violation> {
        let mut used = 0;
        loop {
            let skipped = self.skip.min(bytes.len() - used);
            self.skip -= skipped;
            used += skipped;
            let rest = &bytes[used..];
            let Some((head, _)) = rest.split_first_chunk::<HEAD>() else { return Ok((used, Step::Waits)) };
            // Rows are only counted: they need not be complete.
            if matches!(head[0], b'D' | b'd') {
                self.skip = HEAD + body_length(head[1..].try_into().expect("four bytes"))?;
                context.tally.rows(1);
                continue;
            }
            let Some((frame, length)) = Frame::read(rest)? else { return Ok((used, Step::Waits)) };
            used += length;
            let step = self.message(frame, context, out);
            if step != Step::Waits {
                return Ok((used, step));
            }
        }
    }

    fn message(&mut self, frame: Frame<'_>, context: &mut Context<'_>, out: &mut Vec<u8>) -> Step {
        match frame.tag {
            b'Z' => return self.ready(context, out),
            b'E' => {
                context.tally.failed(error_text(frame.body));
                self.failed = true;
                if let Stage::Login(_) | Stage::Preparing = self.stage {
                    return Step::Broken;
                }
                // Whatever is left of a COPY, the server throws it away.
                self.stage = Stage::Busy;
            }
            b'C' if context.work.queries > 1 => self.answered(context),
            b'G' => {
                context.tally.rows(context.work.copy.rows);
                self.stage = Stage::CopyIn(context.work.copy.rows);
                self.sent(context, out);
            }
            b'R' => {
                let Stage::Login(login) = &mut self.stage else { return Step::Waits };
                match std::mem::take(login).handle(frame.body, context.credentials, out) {
                    Ok(next) => self.stage = Stage::Login(next),
                    Err(error) => {
                        context.tally.failed(error);
                        return Step::Broken;
                    }
                }
            }
            _ => {}
        }
        Step::Waits
    }

    fn ready(&mut self, context: &mut Context<'_>, out: &mut Vec<u8>) -> Step {
        match self.stage {
            Stage::Login(_) if !context.work.prepare.is_empty() => {
                out.extend_from_slice(&context.work.prepare);
                self.stage = Stage::Preparing;
                Step::Waits
            }
            Stage::Login(_) if context.work.connects => {
                if let Some(begun) = self.begun {
                    self.begin(begun, context.work, context.tally, out);
                }
                Step::Waits
            }
            Stage::Login(_) | Stage::Preparing => {
                self.stage = Stage::Idle;
                Step::Ready
            }
            Stage::Busy | Stage::CopyIn(_) => {
                if !self.failed && context.work.queries == 1 {
                    self.answered(context);
                }
                self.begun = None;
                self.stage = Stage::Idle;
                Step::Done
            }
            Stage::Idle => Step::Waits,
        }
    }

    fn answered(&self, context: &mut Context<'_>) {
        if let Some(begun) = self.begun {
            context.tally.answered(begun, context.now);
        }
    }
}

/// An ErrorResponse's severity, SQLSTATE and message.
fn error_text(body: &[u8]) -> String {
    let field = |code: u8| {
        let text = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(&[code]));
        String::from_utf8_lossy(text.unwrap_or_default())
    };
    format!("{} {}: {}", field(b'S'), field(b'C'), field(b'M'))
}

#[cfg(test)]
mod tests;
