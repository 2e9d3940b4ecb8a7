//! Plays steps against one side, and reads what comes back.

use std::io::ErrorKind;
use std::time::Duration;

use crate::harness::{Client, Message};

use super::owed::Owed;
use super::script::{Frame, Start};
use super::transcript::{Lines, Scribe};
use super::world::Side;

/// One side of a play: all its sessions.
pub struct Player {
    sessions: Vec<Session>,
    scribe: Scribe,
    /// True from the first LISTEN on.
    listening: bool,
}

/// What came of a step.
#[derive(Debug)]
pub struct Answer {
    pub lines: Lines,
    /// The transaction status, unless the session is owed a ReadyForQuery or has ended.
    pub status: Option<char>,
    /// True exactly when a DISCARD ALL was completed, and nothing failed in the same step.
    pub discarded: bool,
    /// Whether anything failed.
    pub failed: bool,
    /// False when what comes of the step is a matter of chance, or nothing came although something had to.
    pub sound: bool,
}

struct Session {
    client: Client,
    owed: Owed,
    status: Option<char>,
    closed: bool,
}

impl Player {
    pub fn new() -> Self {
        Self { sessions: Vec::new(), scribe: Scribe::default(), listening: false }
    }

    /// Logs one more session in.
    pub fn log_in(&mut self, side: &Side, start: &Start) -> Answer {
        let login = side.login();
        let mut parameters = login.startup_parameters();
        parameters.extend(start.parameters.iter().map(|(name, value)| (*name, value.as_str())));
        let mut client = Client::open(side.address());
        client.startup((3, start.minor), &parameters);
        let mut owed = Owed::default();
        // A login ends as a query does.
        owed.sent(&Frame::Sync);
        self.sessions.push(Session { client, owed, status: None, closed: false });
        self.read(self.sessions.len() - 1)
    }

    /// Sends the frames of a step, and reads what they are answered with.
    pub fn play(&mut self, number: usize, frames: &[Frame]) -> Answer {
        let session = &mut self.sessions[number];
        let mut bytes = Vec::new();
        for frame in frames {
            frame.write(&mut bytes);
            session.owed.sent(frame);
        }
        session.status = None;
        // A side that has closed is found out by reading.
        let _ = session.client.try_send_raw(&bytes);
        let mut answer = self.read(number);
        self.listening |= frames.iter().any(|frame| frame.says("LISTEN"));
        if self.listening {
            for other in (0..self.sessions.len()).filter(|other| *other != number) {
                self.overhear(other, &mut answer);
            }
        }
        answer
    }

    /// Adds what a session at rest was notified of: with the answer to a Sync comes all that was committed before.
    fn overhear(&mut self, number: usize, answer: &mut Answer) {
        let session = &mut self.sessions[number];
        if session.status != Some('I') || session.closed {
            return;
        }
        let mut bytes = Vec::new();
        Frame::Sync.write(&mut bytes);
        session.owed.sent(&Frame::Sync);
        let _ = session.client.try_send_raw(&bytes);
        let heard = self.read(number);
        answer.sound &= heard.sound;
        let lines = heard.lines.into_iter().filter(|line| line != "ReadyForQuery I");
        answer.lines.extend(lines.map(|line| format!("{line} (to session {number})")));
    }

    fn read(&mut self, number: usize) -> Answer {
        let session = &mut self.sessions[number];
        let mut messages: Vec<Message> = Vec::new();
        let mut end = None;
        while !session.closed && session.owed.is_due() {
            if session.client.is_silent(SILENCE_MAX) {
                session.closed = true;
                end = Some(SILENCE);
                break;
            }
            match session.client.try_recv_message() {
                Ok(Some(message)) => {
                    session.owed.came(message.tag);
                    let settled = message.tag == b'Z' && session.owed.is_settled();
                    session.status = settled.then(|| message.status());
                    messages.push(message);
                }
                Ok(None) => {
                    session.closed = true;
                    end = Some("(closed)");
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    session.closed = true;
                    end = Some("(closed)");
                }
                Err(error) => panic!("session {number}: {error}"),
            }
        }
        let sound = end != Some(SILENCE) && !session.owed.confused;
        let failed = messages.iter().any(|message| message.tag == b'E');
        let discarded =
            !failed && messages.iter().any(|message| message.tag == b'C' && message.body == b"DISCARD ALL\0");
        let mut lines = self.scribe.write(&messages);
        lines.extend(end.map(str::to_owned));
        Answer { lines, status: session.status, discarded, failed, sound }
    }
}

/// Longer than any wait that pgweir's own configuration here allows.
const SILENCE_MAX: Duration = Duration::from_secs(3);
const SILENCE: &str = "(silence)";
