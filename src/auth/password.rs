//! Passwords in clear text (manual, AuthenticationCleartextPassword).

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{ClientError, Mock, Secret, md5, scram};

/// The text inside the body of a PasswordMessage: everything before its one NUL, which must end it.
///
/// # Errors
/// `Malformed` without that NUL or with an earlier one or with more than 64 kB, `EmptyPassword` when nothing precedes it.
pub fn text(body: &[u8]) -> Result<&[u8], ClientError> {
    if body.len() > MESSAGE_MAX {
        return Err(ClientError::Malformed("password message too long"));
    }
    match body.iter().position(|&byte| byte == 0) {
        Some(0) if body.len() == 1 => Err(ClientError::EmptyPassword),
        Some(end) if end + 1 == body.len() => Ok(&body[..end]),
        _ => Err(ClientError::Malformed("password message does not end at its NUL")),
    }
}

/// **SLOW** (PBKDF2, always). Whether `cleartext` is the password of `user`; `secret` is `None` where the exchange is a
/// mock. An empty password never matches.
///
/// Every call runs PBKDF2 once, also where the secret needs none, so that the time it takes does not tell users with
/// SCRAM secrets from the others and from nobody. It runs on a helper thread anyway, and this method is rare.
pub fn matches(secret: Option<&Secret>, user: &str, cleartext: &[u8], mock: &Mock) -> bool {
    let of_nobody = mock.verifier(user);
    let verifier = match secret {
        Some(Secret::Scram(verifier)) => verifier,
        Some(Secret::Md5(_) | Secret::Plain(_)) | None => &of_nobody,
    };
    let keys = scram::derive(cleartext, &verifier.salt, verifier.iterations);
    let as_scram = keys.server_key.ct_eq(&verifier.server_key);
    let matched = match secret {
        Some(Secret::Md5(digits)) => md5::hash(cleartext, user).ct_eq(digits),
        // Digests rather than the texts: comparing those would tell their lengths.
        Some(Secret::Plain(password)) => Sha256::digest(password).ct_eq(&Sha256::digest(cleartext)),
        Some(Secret::Scram(_)) => as_scram,
        None => as_scram & subtle::Choice::from(0),
    };
    bool::from(matched) & !cleartext.is_empty()
}

/// How long a PasswordMessage's body may be. Longer than SASL's bound because tokens of other systems travel as
/// passwords; PostgreSQL has 65535 for it too.
const MESSAGE_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn message_bodies() {
        assert_eq!(text(b"abc\0"), Ok(&b"abc"[..]));
        assert_eq!(text(b"\0"), Err(ClientError::EmptyPassword));
        for body in [&b""[..], b"abc", b"a\0b\0", b"\0\0"] {
            assert!(matches!(text(body), Err(ClientError::Malformed(_))), "{body:?}");
        }
        let mut long = vec![b'x'; MESSAGE_MAX];
        long.push(0);
        assert_eq!(text(&long), Err(ClientError::Malformed("password message too long")));
        assert_eq!(text(&long[1..]).map(<[u8]>::len), Ok(MESSAGE_MAX - 1));
    }

    #[test]
    fn every_kind_of_secret() {
        let mock = Mock::new([1; 32]);
        let keys = scram::derive(b"secret", b"salt", 2);
        let secrets = [
            Secret::Plain("secret".into()),
            Secret::Md5(md5::hash(b"secret", "bob")),
            Secret::Scram(keys.verifier(b"salt", 2)),
        ];
        for secret in &secrets {
            assert!(super::matches(Some(secret), "bob", b"secret", &mock), "{secret:?}");
            assert!(!super::matches(Some(secret), "bob", b"secreT", &mock), "{secret:?}");
            assert!(!super::matches(Some(secret), "bob", b"", &mock), "{secret:?}");
        }
        assert!(!super::matches(Some(&secrets[1]), "eve", b"secret", &mock));
        assert!(!super::matches(None, "bob", b"secret", &mock));
        for empty in [
            Secret::Plain(String::new()),
            Secret::Md5(md5::hash(b"", "bob")),
            Secret::Scram(scram::derive(b"", b"salt", 2).verifier(b"salt", 2)),
        ] {
            assert!(!super::matches(Some(&empty), "bob", b"", &mock), "{empty:?}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(text) = text(&body) {
                prop_assert!(!text.contains(&0) && !text.is_empty());
            }
        }
    }
}
