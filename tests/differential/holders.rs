//! Who holds a backend, as far as it can be told from outside: a play in which everybody waits for somebody who is not
//! to move would tell nothing but that pools are finite.

use super::player::Answer;
use super::script::Frame;
use super::world::SHARDS;

/// The sessions of a play, and how many backends they share.
pub struct Holders {
    backends: usize,
    sessions: Vec<Session>,
    /// True from the first LISTEN on: then pgweir listens on connections of its own, one for each shard, which are taken
    /// from the size of the pool but for its last backend.
    listening: bool,
}

#[derive(Clone, Default)]
struct Session {
    /// True exactly while it is inside a transaction or owed something.
    busy: bool,
    /// True from the first statement that may keep the session on its backend, until DISCARD ALL.
    kept: bool,
}

impl Holders {
    pub fn new(backends: usize, sessions: usize) -> Self {
        Self { backends, sessions: vec![Session::default(); sessions], listening: false }
    }

    /// Whether a session will not have to wait for another.
    pub fn may_move(&self, session: usize) -> bool {
        self.sessions[session].holds() || !self.is_full()
    }

    /// Whether nobody can move but those who hold a backend already.
    pub fn is_full(&self) -> bool {
        let backends = match self.listening {
            true => self.backends.saturating_sub(SHARDS).max(1),
            false => self.backends,
        };
        self.count() >= backends
    }

    pub fn keeps(&self, session: usize) -> bool {
        self.sessions[session].kept
    }

    /// Takes note of a step and of what the server itself answered.
    pub fn note(&mut self, session: usize, frames: &[Frame], answer: &Answer) {
        self.listening |= frames.iter().any(|frame| frame.says("LISTEN"));
        let session = &mut self.sessions[session];
        session.busy = answer.status != Some('I');
        if frames.iter().any(Frame::keeps) {
            session.kept = true;
        } else if answer.discarded && !session.busy {
            session.kept = false;
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
}
