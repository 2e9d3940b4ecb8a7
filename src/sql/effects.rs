//! Facts about a text of SQL, as a set of bits.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What a text does besides answering: a set of the facts below, each true of at least one of its statements.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects(u32);

impl Effects {
    pub const NONE: Effects = Effects(0);
    /// Sets, resets or discards settings; [`changes`](super::changes) says which.
    pub const SET: Effects = Effects(1 << 0);
    /// Sets what ends with the transaction: SET LOCAL, SET TRANSACTION, SET CONSTRAINTS.
    pub const SET_LOCAL: Effects = Effects(1 << 1);
    pub const TRANSACTION_BEGIN: Effects = Effects(1 << 2);
    /// COMMIT, END, ROLLBACK, ABORT or PREPARE TRANSACTION.
    pub const TRANSACTION_END: Effects = Effects(1 << 3);
    /// SAVEPOINT or RELEASE.
    pub const SAVEPOINT: Effects = Effects(1 << 4);
    /// ROLLBACK TO a savepoint.
    pub const ROLLBACK_TO: Effects = Effects(1 << 5);
    /// PREPARE of a statement in SQL (not PREPARE TRANSACTION).
    pub const PREPARE: Effects = Effects(1 << 6);
    /// EXECUTE of a statement prepared in SQL, also inside EXPLAIN and CREATE TABLE AS.
    pub const EXECUTE: Effects = Effects(1 << 7);
    /// DEALLOCATE of one statement.
    pub const DEALLOCATE: Effects = Effects(1 << 8);
    pub const DEALLOCATE_ALL: Effects = Effects(1 << 9);
    pub const LISTEN: Effects = Effects(1 << 10);
    pub const UNLISTEN: Effects = Effects(1 << 11);
    /// NOTIFY or `pg_notify()`.
    pub const NOTIFY: Effects = Effects(1 << 12);
    /// Makes, or names, something temporary: CREATE TEMP, SELECT INTO TEMP, anything in `pg_temp`.
    pub const TEMPORARY: Effects = Effects(1 << 13);
    /// Declares a cursor that outlives the transaction.
    pub const HOLD: Effects = Effects(1 << 14);
    /// Takes or releases a session-level advisory lock.
    pub const ADVISORY: Effects = Effects(1 << 15);
    /// Asks what this session's sequences returned last: `currval()`, `lastval()`.
    pub const SEQUENCE_STATE: Effects = Effects(1 << 16);
    /// Calls `set_config()`.
    pub const SET_CONFIG: Effects = Effects(1 << 17);
    /// DISCARD ALL, which also forgets prepared statements, temporary tables, LISTENs and session locks.
    pub const DISCARD_ALL: Effects = Effects(1 << 18);
    /// May leave something in the session that we cannot see: DO, CALL, LOAD, `setseed()`,
    /// `dblink_connect()`, …
    pub const OPAQUE: Effects = Effects(1 << 19);
    /// The text is one `SHOW pool_…`, which pgweir answers itself.
    pub const SHOW_POOL: Effects = Effects(1 << 20);
    /// What `log_statement = ddl` would log: CREATE, ALTER, DROP, GRANT, COMMENT, SELECT INTO, …
    pub const DDL: Effects = Effects(1 << 21);
    /// COPY … FROM STDIN.
    pub const COPY_IN: Effects = Effects(1 << 22);
    /// COPY … TO STDOUT.
    pub const COPY_OUT: Effects = Effects(1 << 23);
    /// Declares a cursor.
    pub const DECLARE: Effects = Effects(1 << 24);
    /// COMMIT or ROLLBACK … AND CHAIN: the end of one transaction begins the next.
    pub const CHAIN: Effects = Effects(1 << 25);
    /// The text ends inside a string, a quoted name or a comment; the server will refuse it.
    pub const UNFINISHED: Effects = Effects(1 << 26);
    /// Advances a sequence by name, which `currval()` and `lastval()` may ask about later: `nextval()`,
    /// `setval()`.
    pub const SEQUENCE_ADVANCE: Effects = Effects(1 << 27);
    /// Calls a function that we do not know, or has what looks like a call: [`calls`](super::calls()) says which.
    pub const UNKNOWN_CALL: Effects = Effects(1 << 28);

    /// Asks which channels this session listens to: `pg_listening_channels()`.
    pub const CHANNELS: Effects = Effects(1 << 29);
    /// Reads `pg_prepared_statements`; [`mentions`](super::mentions()) says where.
    pub const PREPARED_VIEW: Effects = Effects(1 << 30);

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Effects) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in this set.
    pub const fn intersects(self, other: Effects) -> bool {
        self.0 & other.0 != 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn union(self, other: Effects) -> Effects {
        Effects(self.0 | other.0)
    }

    pub const fn without(self, other: Effects) -> Effects {
        Effects(self.0 & !other.0)
    }
}

impl BitOr for Effects {
    type Output = Effects;

    fn bitor(self, other: Effects) -> Effects {
        self.union(other)
    }
}

impl BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Effects) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("NONE");
        }
        let mut first = true;
        for (effect, name) in NAMES {
            if self.contains(*effect) {
                if !first {
                    f.write_str(" | ")?;
                }
                f.write_str(name)?;
                first = false;
            }
        }
        Ok(())
    }
}

const NAMES: &[(Effects, &str)] = &[
    (Effects::SET, "SET"),
    (Effects::SET_LOCAL, "SET_LOCAL"),
    (Effects::TRANSACTION_BEGIN, "TRANSACTION_BEGIN"),
    (Effects::TRANSACTION_END, "TRANSACTION_END"),
    (Effects::SAVEPOINT, "SAVEPOINT"),
    (Effects::ROLLBACK_TO, "ROLLBACK_TO"),
    (Effects::PREPARE, "PREPARE"),
    (Effects::EXECUTE, "EXECUTE"),
    (Effects::DEALLOCATE, "DEALLOCATE"),
    (Effects::DEALLOCATE_ALL, "DEALLOCATE_ALL"),
    (Effects::LISTEN, "LISTEN"),
    (Effects::UNLISTEN, "UNLISTEN"),
    (Effects::NOTIFY, "NOTIFY"),
    (Effects::TEMPORARY, "TEMPORARY"),
    (Effects::HOLD, "HOLD"),
    (Effects::ADVISORY, "ADVISORY"),
    (Effects::SEQUENCE_STATE, "SEQUENCE_STATE"),
    (Effects::SET_CONFIG, "SET_CONFIG"),
    (Effects::DISCARD_ALL, "DISCARD_ALL"),
    (Effects::OPAQUE, "OPAQUE"),
    (Effects::SHOW_POOL, "SHOW_POOL"),
    (Effects::DDL, "DDL"),
    (Effects::COPY_IN, "COPY_IN"),
    (Effects::COPY_OUT, "COPY_OUT"),
    (Effects::DECLARE, "DECLARE"),
    (Effects::CHAIN, "CHAIN"),
    (Effects::UNFINISHED, "UNFINISHED"),
    (Effects::SEQUENCE_ADVANCE, "SEQUENCE_ADVANCE"),
    (Effects::UNKNOWN_CALL, "UNKNOWN_CALL"),
    (Effects::CHANNELS, "CHANNELS"),
    (Effects::PREPARED_VIEW, "PREPARED_VIEW"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_effect_has_one_bit_and_a_name() {
        let mut all = 0;
        for (effect, _) in NAMES {
            assert_eq!(effect.0.count_ones(), 1);
            assert_eq!(all & effect.0, 0);
            all |= effect.0;
        }
        assert_eq!(all, (1 << NAMES.len()) - 1);
    }

    #[test]
    fn debug_reads_like_source() {
        assert_eq!(format!("{:?}", Effects::SET | Effects::DDL), "SET | DDL");
        assert_eq!(format!("{:?}", Effects::NONE), "NONE");
    }
}
