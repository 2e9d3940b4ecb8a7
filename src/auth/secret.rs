//! What is stored about a user: the password itself, its MD5 hash or a SCRAM verifier.

use std::fmt;

use super::scram::{self, Verifier};

/// A stored secret, in one of the forms PostgreSQL and the poolers keep (manual, `pg_authid.rolpassword`;
/// PgBouncer's `userlist.txt`).
///
/// Equality is for noticing that a reloaded list changed. It is not constant in time, so never decide a login with it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The 32 lower-case hex digits of `md5(password || user)`, without the `md5` in front.
    Md5([u8; 32]),
    /// The password itself. May be empty: such a user can only enter by trust.
    Plain(String),
    /// What SCRAM-SHA-256 keeps instead of the password.
    Scram(Verifier),
}

impl Secret {
    /// Reads a secret as PostgreSQL would: `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, `md5` followed
    /// by 32 hex digits, and anything else is the password itself.
    ///
    /// Two departures, both to turn a login that fails in silence into something that works or says why: hex digits in
    /// upper case are accepted, and text that starts as a SCRAM secret but is damaged is an error rather than a password.
    pub fn parse(text: &str) -> Result<Secret, SecretError> {
        if text.contains('\0') {
            return Err(SecretError::Nul);
        }
        if text.starts_with(scram::PREFIX) {
            return Verifier::parse(text).map(Secret::Scram);
        }
        match md5_digits(text) {
            Some(digits) => Ok(Secret::Md5(digits)),
            None => Ok(Secret::Plain(text.to_owned())),
        }
    }

    /// Reads the second field of a line of pgpool's `pool_passwd`: `md5…`, `TEXT<password>` or the password as it is.
    /// `AES…` is refused: it would need the key file, and everyone who can read the one can read the other.
    pub fn parse_pool_passwd(text: &str) -> Result<Secret, SecretError> {
        if let Some(plain) = text.strip_prefix("TEXT") {
            if plain.contains('\0') {
                return Err(SecretError::Nul);
            }
            return Ok(Secret::Plain(plain.to_owned()));
        }
        if text.starts_with("AES") {
            return Err(SecretError::Aes);
        }
        Secret::parse(text)
    }

    /// Whether any password can match it: all but the empty one.
    pub fn usable(&self) -> bool {
        !matches!(self, Secret::Plain(password) if password.is_empty())
    }

    /// The kind in words, for messages: never the secret.
    pub fn kind(&self) -> &'static str {
        match self {
            Secret::Md5(_) => "an md5 secret",
            Secret::Plain(_) => "a plain password",
            Secret::Scram(_) => "a SCRAM secret",
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Md5(_) => "Md5(..)",
            Secret::Plain(_) => "Plain(..)",
            Secret::Scram(_) => "Scram(..)",
        })
    }
}

/// Why a text is not a secret. Never holds any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// pgpool's encrypted form.
    #[error(
        "AES passwords of pool_passwd cannot be read: write the user's md5 hash, or TEXT and the password"
    )]
    Aes,
    /// A NUL byte, which the protocol cannot carry.
    #[error("a secret cannot contain a NUL byte")]
    Nul,
    /// Starts with `SCRAM-SHA-256$` and does not go on as a SCRAM secret does; says where.
    #[error("damaged SCRAM secret: {0}; copy rolpassword from pg_authid again, whole")]
    Scram(&'static str),
}

fn md5_digits(text: &str) -> Option<[u8; 32]> {
    let mut digits: [u8; 32] = text.strip_prefix("md5")?.as_bytes().try_into().ok()?;
    digits.make_ascii_lowercase();
    digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SCRAM: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                         wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn forms() {
        let md5 = "md5a3556571e93b0d20722ba62be61e8c2d";
        assert_eq!(Secret::parse(md5), Ok(Secret::Md5(*b"a3556571e93b0d20722ba62be61e8c2d")));
        let upper = "md5A3556571E93B0D20722BA62BE61E8C2D";
        assert_eq!(Secret::parse(upper), Secret::parse(md5));
        for plain in
            ["", "secret", "md5", "md5short", "md5zz56571e93b0d20722ba62be61e8c2d0", "scram-sha-256$x", "é"]
        {
            assert_eq!(Secret::parse(plain), Ok(Secret::Plain(plain.to_owned())), "{plain}");
        }
        let Ok(Secret::Scram(verifier)) = Secret::parse(SCRAM) else { panic!() };
        assert_eq!(verifier.iterations, 4096);
        assert_eq!(verifier.salt.len(), 16);
        assert_eq!(verifier.to_string(), SCRAM);
        assert_eq!(Secret::parse("a\0b"), Err(SecretError::Nul));
    }

    #[test]
    fn damaged_scram_secrets_say_where() {
        for (text, what) in [
            ("SCRAM-SHA-256$", "':' expected after the iterations"),
            ("SCRAM-SHA-256$4096", "':' expected after the iterations"),
            ("SCRAM-SHA-256$x:AAAA$A:B", "iterations are not a number from 1 to 10000000"),
            ("SCRAM-SHA-256$0:AAAA$A:B", "iterations are not a number from 1 to 10000000"),
            ("SCRAM-SHA-256$+5:AAAA$A:B", "iterations are not a number from 1 to 10000000"),
            ("SCRAM-SHA-256$99999999999:AAAA$A:B", "iterations are not a number from 1 to 10000000"),
            ("SCRAM-SHA-256$4096:AAAA", "'$' expected after the salt"),
            ("SCRAM-SHA-256$4096:A$A:B", "the salt is not base64"),
            ("SCRAM-SHA-256$4096:AAAA$A", "':' expected after StoredKey"),
            ("SCRAM-SHA-256$4096:AAAA$AAAA:AAAA", "StoredKey is not base64 of 32 bytes"),
            (
                "SCRAM-SHA-256$4096:AAAA$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:AAAA",
                "ServerKey is not base64 of 32 bytes",
            ),
        ] {
            assert_eq!(Secret::parse(text), Err(SecretError::Scram(what)), "{text}");
        }
    }

    #[test]
    fn pool_passwd_forms() {
        assert_eq!(Secret::parse_pool_passwd("TEXTmd5"), Ok(Secret::Plain("md5".into())));
        assert_eq!(Secret::parse_pool_passwd("plain"), Ok(Secret::Plain("plain".into())));
        assert_eq!(Secret::parse_pool_passwd("AESxyz"), Err(SecretError::Aes));
        assert_eq!(Secret::parse_pool_passwd("TEXTa\0"), Err(SecretError::Nul));
        let md5 = "md5a3556571e93b0d20722ba62be61e8c2d";
        assert_eq!(Secret::parse_pool_passwd(md5), Secret::parse(md5));
    }

    #[test]
    fn debug_never_shows_a_secret() {
        let shown = format!("{:?} {:?}", Secret::parse("hunter2"), Secret::parse(SCRAM));
        assert!(!shown.contains("hunter2") && !shown.contains("WG5d") && !shown.contains("W22Z"), "{shown}");
    }

    proptest! {
        #[test]
        fn any_text_parses_or_says_why(text in "(SCRAM-SHA-256\\$)?[ -~]{0,80}") {
            if let Ok(Secret::Scram(verifier)) = Secret::parse(&text) {
                prop_assert_eq!(Verifier::parse(&verifier.to_string()), Ok(verifier));
            }
        }
    }
}
