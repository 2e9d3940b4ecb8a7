//! What the functions that a session called have left on its backend: known, or asked on that backend behind the
//! transaction. The session keeps the backend until the answer is there.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use crate::session::Pins;
use crate::session::functions::{Functions, Judgement, ask_for};
use crate::sql::Calls;
use crate::wire::backend::read_row;

use super::pins;
use super::relay::Relay;

/// The functions of one database, known to all its sessions on the shard.
pub(super) type SharedFunctions = Rc<RefCell<Functions>>;

/// A question that was sent, and its answer so far.
pub(super) enum Look {
    Functions {
        names: Vec<Box<[u8]>>,
        /// Names, and bodies as far as they can be judged.
        found: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    },
    /// Which pins have a cause.
    Pins { gone: Pins },
    /// Not a question: UNLISTEN, which is to have been done.
    Unlisten,
}

impl Relay {
    /// Whether the functions called since the backend was taken have left nothing there. If that is not known the server
    /// is asked; if they may have left something, the session is pinned.
    pub(super) fn calls_left_nothing(&mut self) -> bool {
        if self.session.called().is_empty() {
            return true;
        }
        let all = Calls {
            names: self.session.called().iter().flat_map(|calls| calls.names.iter().cloned()).collect(),
            unreadable: self.session.called().iter().any(|calls| calls.unreadable),
        };
        let judgement = self.tenant.functions.borrow().judge(&all, Instant::now());
        let Some(link) = self.link.as_deref_mut() else { return true };
        match judgement {
            Judgement::Unknown(names) if self.looks < LOOKS_MAX => {
                self.looks += 1;
                link.socket.send_with(|out| link.backend.look(&ask_for(&names), out));
                self.look = Some(Box::new(Look::Functions { names, found: Vec::new() }));
                return false;
            }
            Judgement::Nothing => {}
            // A standby's backend is of no use to a session that also writes: what was left there is taken back.
            _ if self.on_replica => link.reset_owed = true,
            _ => self.session.pin(Pins::FUNCTION),
        }
        self.looks = 0;
        self.session.take_called();
        true
    }

    /// A row of the answer.
    pub(super) fn found(&mut self, body: &[u8]) {
        let Ok(row) = read_row(body) else { return };
        match self.look.as_deref_mut() {
            Some(Look::Functions { found, .. }) => {
                if let [Some(name), source] = row[..] {
                    found.push((name.to_vec(), source.map(<[u8]>::to_vec)));
                }
            }
            Some(Look::Pins { gone }) => *gone = pins::gone(&row),
            Some(Look::Unlisten) | None => {}
        }
    }

    /// The answer is complete.
    pub(super) fn looked(&mut self) {
        match self.look.take().map(|look| *look) {
            Some(Look::Functions { names, found }) => {
                let mut functions = self.tenant.functions.borrow_mut();
                functions.asked(names, Instant::now());
                for (name, source) in found {
                    functions.found(&name, source.as_deref());
                }
            }
            Some(Look::Pins { gone }) => self.session.unpin(gone),
            Some(Look::Unlisten) | None => {}
        }
    }

    /// The server would not say, perhaps because it was cancelled: what was found does not count.
    pub(super) fn look_failed(&mut self) {
        let look = self.look.take();
        if matches!(look.as_deref(), Some(Look::Unlisten))
            && let Some(link) = &mut self.link
        {
            link.reset_owed = true;
        }
    }
}

/// How often a session asks before it takes what it called for something that stays: functions that call functions are
/// asked for one level at a time, and an answer may be cancelled.
const LOOKS_MAX: u32 = 16;
