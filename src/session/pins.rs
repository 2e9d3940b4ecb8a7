//! Why a session keeps its backend beyond the transaction: it left something there that cannot follow it elsewhere.

use std::fmt;
use std::ops::BitOrAssign;

use crate::sql::Effects;

/// A set of reasons. Empty: not pinned.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Pins(u16);

impl Pins {
    pub const NONE: Pins = Pins(0);
    /// Temporary tables, views or sequences.
    pub const TEMPORARY: Pins = Pins(1 << 0);
    /// A cursor that outlives its transaction.
    pub const CURSOR: Pins = Pins(1 << 1);
    /// Session-level advisory locks.
    pub const ADVISORY_LOCK: Pins = Pins(1 << 2);
    /// currval() or lastval() was asked.
    pub const SEQUENCE: Pins = Pins(1 << 3);
    /// set_config() was called: which setting, and for how long, is known to the server alone.
    pub const SET_CONFIG: Pins = Pins(1 << 4);
    /// PREPARE in SQL.
    pub const PREPARE: Pins = Pins(1 << 5);
    /// LISTEN.
    pub const LISTEN: Pins = Pins(1 << 6);
    /// DO, CALL, LOAD and functions that may leave anything.
    pub const OPAQUE: Pins = Pins(1 << 7);
    /// A setting that cannot be said again.
    pub const SETTING: Pins = Pins(1 << 8);
    /// A statement too long to be looked into.
    pub const LONG_STATEMENT: Pins = Pins(1 << 9);
    /// A function was called that is not built in, and may leave anything.
    pub const FUNCTION: Pins = Pins(1 << 10);

    /// Those of which a server can tell whether their cause is still there.
    pub const TELLABLE: Pins =
        Pins(Pins::TEMPORARY.0 | Pins::CURSOR.0 | Pins::ADVISORY_LOCK.0 | Pins::PREPARE.0 | Pins::LISTEN.0);

    /// Each by itself, with its name.
    pub const ALL: [(Pins, &'static str); 11] = [
        (Pins::TEMPORARY, "temporary"),
        (Pins::CURSOR, "cursor"),
        (Pins::ADVISORY_LOCK, "advisory_lock"),
        (Pins::SEQUENCE, "sequence"),
        (Pins::SET_CONFIG, "set_config"),
        (Pins::PREPARE, "prepare"),
        (Pins::LISTEN, "listen"),
        (Pins::OPAQUE, "opaque"),
        (Pins::SETTING, "setting"),
        (Pins::LONG_STATEMENT, "long_statement"),
        (Pins::FUNCTION, "function"),
    ];

    /// What a statement with these effects leaves behind.
    pub fn of(effects: Effects) -> Pins {
        let mut pins = Pins::NONE;
        for (effect, pin) in [
            (Effects::TEMPORARY, Pins::TEMPORARY),
            (Effects::HOLD, Pins::CURSOR),
            (Effects::ADVISORY, Pins::ADVISORY_LOCK),
            (Effects::SEQUENCE_STATE, Pins::SEQUENCE),
            (Effects::SET_CONFIG, Pins::SET_CONFIG),
            (Effects::PREPARE, Pins::PREPARE),
            (Effects::LISTEN, Pins::LISTEN),
            (Effects::OPAQUE, Pins::OPAQUE),
        ] {
            if effects.contains(effect) {
                pins |= pin;
            }
        }
        pins
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// These without `other`.
    pub fn without(self, other: Pins) -> Pins {
        Pins(self.0 & !other.0)
    }

    pub fn contains(self, other: Pins) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOrAssign for Pins {
    fn bitor_assign(&mut self, other: Pins) {
        self.0 |= other.0;
    }
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (pin, name) in Pins::ALL {
            if self.contains(pin) {
                write!(f, "{separator}{name}")?;
                separator = ",";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pins({self})")
    }
}
