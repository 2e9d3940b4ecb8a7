//! The MD5 challenge (manual, "Password Authentication" and AuthenticationMD5Password).
//!
//! Old, and weak in a way worth knowing: whoever has the stored hash can log in with it. Offered because lists and
//! nodes of many years hold nothing else.

use ::md5::{Digest, Md5};
use subtle::ConstantTimeEq;

use super::{Mock, Secret};

/// What is stored: the hex digits of `md5(password || user)`, without the `md5` in front.
pub fn hash(password: &[u8], user: &str) -> [u8; 32] {
    hex_md5(&[password, user.as_bytes()])
}

/// What is sent in answer to a challenge with `salt`: `md5` and the hex digits of `md5(inner_hex || salt)`, where
/// `inner_hex` is what [`hash`] gives.
pub fn response(inner_hex: &[u8; 32], salt: [u8; 4]) -> [u8; 35] {
    let mut response = *b"md500000000000000000000000000000000";
    response[3..].copy_from_slice(&hex_md5(&[inner_hex, &salt]));
    response
}

/// Whether `response`, the text of a client's PasswordMessage without its NUL, answers the challenge with `salt`.
/// `secret` is `None` where the exchange is a mock. A SCRAM secret or an empty password never match. The work and the
/// comparison are the same whatever is stored.
pub fn verify(secret: Option<&Secret>, user: &str, salt: [u8; 4], response: &[u8], mock: &Mock) -> bool {
    let password = match secret {
        Some(Secret::Plain(password)) => password.as_bytes(),
        Some(Secret::Md5(_) | Secret::Scram(_)) | None => b"",
    };
    let of_password = hash(password, user);
    let of_nobody = mock.md5_hash(user);
    let (inner, possible) = match secret {
        Some(Secret::Md5(digits)) => (digits, true),
        Some(secret @ Secret::Plain(_)) => (&of_password, secret.usable()),
        Some(Secret::Scram(_)) | None => (&of_nobody, false),
    };
    let expected = self::response(inner, salt);
    bool::from(expected.as_slice().ct_eq(response)) & possible
}

/// 16 or more bytes as 32 lower-case hex digits; what is beyond 16 bytes is left out.
pub(super) fn hex(bytes: &[u8]) -> [u8; 32] {
    let mut digits = [b'0'; 32];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    digits
}

fn hex_md5(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(part);
    }
    hex(&digest.finalize())
}

const DIGITS: [u8; 16] = *b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1321 appendix A.5, split over password and user.
    #[test]
    fn rfc_1321_vectors() {
        assert_eq!(&hash(b"", ""), b"d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(&hash(b"abc", ""), b"900150983cd24fb0d6963f7d28e17f72");
        assert_eq!(&hash(b"message ", "digest"), b"f96b697d7cb7938d525a2f31aaf161d0");
        assert_eq!(&hash(b"abcdefghijklm", "nopqrstuvwxyz"), b"c3fcd3d76192e4007dfb496cca67e13b");
    }

    #[test]
    fn every_kind_of_secret() {
        let mock = Mock::new([1; 32]);
        let salt = [1, 2, 3, 4];
        let inner = hash(b"secret", "bob");
        let good = response(&inner, salt);
        assert!(good.starts_with(b"md5"));
        let plain = Secret::Plain("secret".into());
        let md5 = Secret::Md5(inner);
        for secret in [&plain, &md5] {
            assert!(verify(Some(secret), "bob", salt, &good, &mock));
            assert!(!verify(Some(secret), "bob", [1, 2, 3, 5], &good, &mock));
            assert!(!verify(Some(secret), "bob", salt, &good[..34], &mock));
            assert!(!verify(Some(secret), "bob", salt, b"", &mock));
        }
        assert!(!verify(Some(&plain), "eve", salt, &good, &mock));
        assert!(!verify(None, "bob", salt, &good, &mock));
        assert!(!verify(None, "bob", salt, &response(&mock.md5_hash("bob"), salt), &mock));
        let scram = Secret::Scram(mock.verifier("bob"));
        assert!(!verify(Some(&scram), "bob", salt, &response(&mock.md5_hash("bob"), salt), &mock));
        let empty = Secret::Plain(String::new());
        assert!(!verify(Some(&empty), "bob", salt, &response(&hash(b"", "bob"), salt), &mock));
    }

    proptest! {
        #[test]
        fn arbitrary_answers_never_match(answer in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mock = Mock::new([1; 32]);
            let md5 = Secret::Md5(hash(b"secret", "bob"));
            prop_assert!(!verify(Some(&md5), "bob", [1, 2, 3, 4], &answer, &mock));
            prop_assert!(!verify(None, "bob", [1, 2, 3, 4], &answer, &mock));
        }
    }
}
