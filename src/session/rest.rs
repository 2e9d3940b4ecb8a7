//! A session whose client has asked nothing for a while: what of it has to be kept. All that belongs to a request under way
//! is left out, so that an idle session is small.

use std::rc::Rc;

use crate::sql::Dialect;
use crate::wire::backend::TransactionStatus;

use super::channels::Listening;
use super::names::Names;
use super::{Session, SharedSettings, Statement};

/// A session at rest.
pub struct Rested {
    settings: SharedSettings,
    startup_settings: SharedSettings,
    unnamed: Option<Rc<Statement>>,
    /// Absent while there is no name.
    names: Option<Box<Names>>,
    console_portal: Option<Rc<Statement>>,
    dialect: Dialect,
    statement_mode: bool,
    console: bool,
    serializable: bool,
    refuse_pins: bool,
    own_backend: bool,
}

impl Session {
    /// Whether nothing is under way: all that was sent was answered, no transaction is open, nothing keeps a backend.
    pub fn is_quiet(&self) -> bool {
        self.sent == self.answered
            && self.status == TransactionStatus::Idle
            && self.pins.is_empty()
            && self.changes.is_empty()
            && self.discard_all.is_none()
            && !self.discarded
            && self.resetting.is_none()
            && self.wishes.is_none()
            && self.listening.is_quiet()
            && self.called.is_empty()
            && !self.own_writes
            && !self.defines
            && !self.failed
            && self.names.is_quiet()
    }

    /// What is kept of a [quiet](Self::is_quiet) session.
    pub fn rest(self) -> Rested {
        debug_assert!(self.is_quiet());
        // All by name: whoever gives sessions something new decides here whether it is kept.
        let Session {
            dialect,
            statement_mode,
            console,
            console_portal,
            names,
            settings,
            serializable,
            startup_settings,
            refuse_pins,
            changes: _,
            pins: _,
            discard_all: _,
            discarded: _,
            resetting: _,
            sent: _,
            answered: _,
            own_writes: _,
            status: _,
            failed: _,
            rolled_back: _,
            ends: _,
            may_unpin: _,
            pins_since: _,
            called: _,
            defines: _,
            wishes: _,
            ending: _,
            listening,
        } = self;
        let (unnamed, names) = names.rest();
        Rested {
            settings,
            startup_settings,
            unnamed,
            names,
            console_portal,
            dialect,
            statement_mode,
            console,
            serializable,
            refuse_pins,
            own_backend: listening.own_backend,
        }
    }
}

impl Rested {
    /// The session again, with nothing under way.
    pub fn resume(self) -> Session {
        let mut names = self.names.map_or_else(Names::default, |names| *names);
        names.set_unnamed(self.unnamed);
        Session {
            dialect: self.dialect,
            statement_mode: self.statement_mode,
            console: self.console,
            console_portal: self.console_portal,
            names,
            settings: self.settings,
            serializable: self.serializable,
            refuse_pins: self.refuse_pins,
            listening: Listening { own_backend: self.own_backend, ..Listening::default() },
            ..Session::new(self.startup_settings)
        }
    }

    /// What a backend must have set to serve it. May be replaced by what is equal.
    pub fn settings_mut(&mut self) -> &mut SharedSettings {
        &mut self.settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_small() {
        assert!(size_of::<Rested>() <= 48, "{} bytes for every idle client", size_of::<Rested>());
    }
}
