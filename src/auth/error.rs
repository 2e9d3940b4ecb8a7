//! What a client can do wrong while it proves who it is.

use super::scram::Malformed;

/// Why a client was not let in. Every kind ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The password was empty, which no stored secret can match. Known from the message alone, so it says nothing
    /// about the user.
    #[error("empty password returned by client")]
    EmptyPassword,
    /// The message breaks the grammar of the protocol (manual, "SASL Authentication") or of SCRAM (RFC 5802 section 7).
    #[error("malformed authentication message: {0}")]
    Malformed(&'static str),
    /// The client chose a SASL mechanism that was not offered.
    #[error("client selected a SASL mechanism that was not offered; only SCRAM-SHA-256 is")]
    Mechanism,
    /// The message is valid and asks for something pgweir does not do.
    #[error("{0}")]
    Unsupported(&'static str),
    /// The proof or password does not match. Also what an unknown user gets, and a user whose stored secret cannot
    /// serve the exchange: the three must not be told apart.
    #[error("password authentication failed")]
    WrongPassword,
}

impl ClientError {
    /// The SQLSTATE the client gets with it (manual, appendix A).
    pub fn sqlstate(self) -> &'static str {
        match self {
            ClientError::EmptyPassword | ClientError::WrongPassword => "28P01",
            ClientError::Malformed(_) | ClientError::Mechanism => "08P01",
            ClientError::Unsupported(_) => "0A000",
        }
    }

    /// The sentence the client gets: as [`Display`](std::fmt::Display), with the user's name where PostgreSQL has it.
    pub fn message(self, user: &str) -> String {
        match self {
            ClientError::WrongPassword => {
                format!("password authentication failed for user \"{user}\"")
            }
            other => other.to_string(),
        }
    }
}

impl From<Malformed> for ClientError {
    fn from(malformed: Malformed) -> ClientError {
        ClientError::Malformed(malformed.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_and_sentences() {
        assert_eq!(ClientError::WrongPassword.sqlstate(), "28P01");
        assert_eq!(
            ClientError::WrongPassword.message("bob"),
            "password authentication failed for user \"bob\""
        );
        assert_eq!(ClientError::Malformed("x").sqlstate(), "08P01");
        assert_eq!(ClientError::Malformed("x").message("bob"), "malformed authentication message: x");
        assert_eq!(ClientError::Unsupported("y").sqlstate(), "0A000");
        assert_eq!(ClientError::Mechanism.sqlstate(), "08P01");
        assert_eq!(ClientError::EmptyPassword.sqlstate(), "28P01");
    }
}
