//! Who holds a backend, as far as it can be told from outside: a play in which everybody waits for somebody who is not
//! to move would tell nothing but that pools are finite.

use super::player::Answer;
use super::script::Frame;

/// The sessions of a play, and how many backends they share.
pub struct Holders {
    backends: usize,
    sessions: Vec<Session>,
}

#[derive(Clone, Default)]
struct Session {
    /// True exactly while it is inside a transaction or owed something.
    busy: bool,
    /// True from the first statement that may keep the session on its backend, until DISCARD ALL.
    kept: bool,
    /// True from when one surely did.
    surely: bool,
}

impl Holders {
    pub fn new(backends: usize, sessions: usize) -> Self {
        Self { backends, sessions: vec![Session::default(); sessions] }
    }

    /// Whether a session will not have to wait for another, as far as can be told.
    pub fn may_move(&self, session: usize) -> bool {
        self.sessions[session].holds() || !self.is_full()
    }

    /// Whether a session surely will not.
    pub fn surely_may_move(&self, session: usize) -> bool {
        self.sessions[session].surely_holds() || !self.is_full()
    }

    /// Whether nobody can move but those who hold a backend already.
    pub fn is_full(&self) -> bool {
        self.count() >= self.backends
    }

    pub fn keeps(&self, session: usize) -> bool {
        self.sessions[session].kept
    }

    /// Takes note of a step and of what the server itself answered.
    pub fn note(&mut self, session: usize, frames: &[Frame], answer: &Answer) {
        let session = &mut self.sessions[session];
        session.busy = answer.status != Some('I');
        if frames.iter().any(Frame::keeps) {
            session.kept = true;
            session.surely |= !answer.failed && frames.iter().any(|frame| matches!(frame, Frame::Query(_)));
        } else if answer.discarded && !session.busy {
            session.kept = false;
            session.surely = false;
        }
    }

    fn count(&self) -> usize {
        self.sessions.iter().filter(|session| session.holds()).count()
    }
}

impl Session {
    fn holds(&self) -> bool {
        self.busy || self.kept
    }

    fn surely_holds(&self) -> bool {
        self.busy || self.surely
    }
}
