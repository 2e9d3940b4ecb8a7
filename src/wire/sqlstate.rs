//! The error codes pgweir says by itself (PostgreSQL manual, appendix "PostgreSQL Error Codes").

use std::fmt;

/// Five characters that name a class of errors.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sqlstate(pub [u8; 5]);

impl Sqlstate {
    pub const ADMIN_SHUTDOWN: Sqlstate = Sqlstate(*b"57P01");
    pub const CANNOT_CONNECT_NOW: Sqlstate = Sqlstate(*b"57P03");
    pub const CONNECTION_FAILURE: Sqlstate = Sqlstate(*b"08006");
    pub const CRASH_SHUTDOWN: Sqlstate = Sqlstate(*b"57P02");
    pub const DEADLOCK_DETECTED: Sqlstate = Sqlstate(*b"40P01");
    pub const DUPLICATE_PREPARED_STATEMENT: Sqlstate = Sqlstate(*b"42P05");
    pub const FEATURE_NOT_SUPPORTED: Sqlstate = Sqlstate(*b"0A000");
    pub const IDLE_SESSION_TIMEOUT: Sqlstate = Sqlstate(*b"57P05");
    pub const INSUFFICIENT_PRIVILEGE: Sqlstate = Sqlstate(*b"42501");
    pub const INTERNAL_ERROR: Sqlstate = Sqlstate(*b"XX000");
    pub const INVALID_AUTHORIZATION: Sqlstate = Sqlstate(*b"28000");
    pub const INVALID_PARAMETER_VALUE: Sqlstate = Sqlstate(*b"22023");
    pub const INVALID_PASSWORD: Sqlstate = Sqlstate(*b"28P01");
    pub const INVALID_STATEMENT_NAME: Sqlstate = Sqlstate(*b"26000");
    pub const OUT_OF_MEMORY: Sqlstate = Sqlstate(*b"53200");
    pub const PROGRAM_LIMIT_EXCEEDED: Sqlstate = Sqlstate(*b"54000");
    pub const PROTOCOL_VIOLATION: Sqlstate = Sqlstate(*b"08P01");
    pub const QUERY_CANCELED: Sqlstate = Sqlstate(*b"57014");
    pub const READ_ONLY_TRANSACTION: Sqlstate = Sqlstate(*b"25006");
    pub const SERIALIZATION_FAILURE: Sqlstate = Sqlstate(*b"40001");
    pub const STATEMENT_COMPLETION_UNKNOWN: Sqlstate = Sqlstate(*b"40003");
    pub const SYNTAX_ERROR: Sqlstate = Sqlstate(*b"42601");
    pub const TOO_MANY_CONNECTIONS: Sqlstate = Sqlstate(*b"53300");
    pub const UNDEFINED_OBJECT: Sqlstate = Sqlstate(*b"42704");

    /// The code in an error's field, if it has the right form.
    pub fn parse(field: &[u8]) -> Option<Sqlstate> {
        field.try_into().ok().map(Sqlstate)
    }
}

impl fmt::Display for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Sqlstate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
