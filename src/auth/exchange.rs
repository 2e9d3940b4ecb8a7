//! Which exchange to have with a client: what the method asks for, and what the stored secret can serve.

use super::{Mock, Secret};

/// How a client must prove who it is (manual, "Authentication Methods").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// A challenge answered with MD5, or SCRAM for those whose stored secret is one.
    Md5,
    /// The password in clear text.
    Password,
    /// Nobody gets in.
    Reject,
    /// SCRAM-SHA-256.
    ScramSha256,
    /// Everybody gets in.
    Trust,
}

impl Method {
    /// The method of that name in `pool_hba.conf` and in `[auth] method`; `None` for every other word.
    pub fn from_name(name: &str) -> Option<Method> {
        Some(match name {
            "md5" => Method::Md5,
            "password" => Method::Password,
            "reject" => Method::Reject,
            "scram-sha-256" => Method::ScramSha256,
            "trust" => Method::Trust,
            _ => return None,
        })
    }

    /// Its name, as configuration files write it.
    pub fn name(self) -> &'static str {
        match self {
            Method::Md5 => "md5",
            Method::Password => "password",
            Method::Reject => "reject",
            Method::ScramSha256 => "scram-sha-256",
            Method::Trust => "trust",
        }
    }
}

/// What to do with a client now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Let it in (AuthenticationOk).
    Accept,
    /// Ask for the password (AuthenticationCleartextPassword), then [`password::matches`](super::password::matches).
    Cleartext(Check),
    /// Send AuthenticationMD5Password with a fresh salt, then [`md5::verify`](super::md5::verify).
    Md5(Check),
    /// Refuse it (28000).
    Reject,
    /// Offer SCRAM-SHA-256 (AuthenticationSASL), then [`scram::ExpectClientFirst`](super::scram::ExpectClientFirst).
    Scram(Check),
}

/// What the answer is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Nothing: the login will fail. Go through all the motions with `None` as secret or verifier.
    Mock,
    /// The stored secret. For SCRAM that is its verifier, or [`Mock::plain_verifier`] of a plain password; in both
    /// cases handed through [`Mock::verifier_or`].
    Stored,
}

/// Which exchange `user`, of whom `secret` is stored, gets under `method`; `secret` is `None` for an unknown user.
///
/// As PostgreSQL's `CheckPWChallengeAuth` decides, plus the plain passwords that PostgreSQL no longer stores:
///
/// | | plain | md5 | SCRAM | none, or empty |
/// |---|---|---|---|---|
/// | `password` | cleartext | cleartext | cleartext | cleartext, mock |
/// | `md5` | md5 | md5 | SCRAM | md5 or SCRAM, mock |
/// | `scram-sha-256` | SCRAM | SCRAM, mock | SCRAM | SCRAM, mock |
///
/// Under `md5` the exchange itself shows what kind of secret is stored, so an unknown user must get one that a user of
/// this list could get. PostgreSQL goes by `password_encryption`, which tells unknown users apart in a mixed list.
/// Here [`Mock`] draws a kind for each name, always the same for a name, as often as the list has it.
pub fn exchange(method: Method, secret: Option<&Secret>, user: &str, mock: &Mock) -> Exchange {
    let secret = secret.filter(|secret| secret.usable());
    let check = if secret.is_some() { Check::Stored } else { Check::Mock };
    match (method, secret) {
        (Method::Trust, _) => Exchange::Accept,
        (Method::Reject, _) => Exchange::Reject,
        (Method::Password, _) => Exchange::Cleartext(check),
        (Method::Md5, Some(Secret::Scram(_))) => Exchange::Scram(Check::Stored),
        (Method::Md5, Some(Secret::Md5(_) | Secret::Plain(_))) => Exchange::Md5(Check::Stored),
        (Method::Md5, None) if mock.scram_under_md5(user) => Exchange::Scram(Check::Mock),
        (Method::Md5, None) => Exchange::Md5(Check::Mock),
        (Method::ScramSha256, Some(Secret::Md5(_))) => Exchange::Scram(Check::Mock),
        (Method::ScramSha256, _) => Exchange::Scram(check),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for method in [Method::Md5, Method::Password, Method::Reject, Method::ScramSha256, Method::Trust] {
            assert_eq!(Method::from_name(method.name()), Some(method));
        }
        assert_eq!(Method::from_name("MD5"), None);
    }

    #[test]
    fn the_table() {
        let plain = Secret::Plain("x".into());
        let empty = Secret::Plain(String::new());
        let md5 = Secret::Md5([b'0'; 32]);
        let scram = Secret::Scram(Mock::new([0; 32]).verifier("u"));
        let md5_list = Mock::of([1; 32], [&md5]);
        let scram_list = Mock::of([1; 32], [&scram]);
        for (method, secret, mock, expected) in [
            (Method::Trust, None, &md5_list, Exchange::Accept),
            (Method::Trust, Some(&md5), &md5_list, Exchange::Accept),
            (Method::Reject, Some(&plain), &md5_list, Exchange::Reject),
            (Method::Password, Some(&plain), &md5_list, Exchange::Cleartext(Check::Stored)),
            (Method::Password, Some(&md5), &md5_list, Exchange::Cleartext(Check::Stored)),
            (Method::Password, Some(&scram), &md5_list, Exchange::Cleartext(Check::Stored)),
            (Method::Password, Some(&empty), &md5_list, Exchange::Cleartext(Check::Mock)),
            (Method::Password, None, &md5_list, Exchange::Cleartext(Check::Mock)),
            (Method::Md5, Some(&plain), &md5_list, Exchange::Md5(Check::Stored)),
            (Method::Md5, Some(&md5), &md5_list, Exchange::Md5(Check::Stored)),
            (Method::Md5, Some(&scram), &md5_list, Exchange::Scram(Check::Stored)),
            (Method::Md5, None, &md5_list, Exchange::Md5(Check::Mock)),
            (Method::Md5, None, &scram_list, Exchange::Scram(Check::Mock)),
            (Method::Md5, Some(&empty), &scram_list, Exchange::Scram(Check::Mock)),
            (Method::ScramSha256, Some(&plain), &md5_list, Exchange::Scram(Check::Stored)),
            (Method::ScramSha256, Some(&md5), &md5_list, Exchange::Scram(Check::Mock)),
            (Method::ScramSha256, Some(&scram), &md5_list, Exchange::Scram(Check::Stored)),
            (Method::ScramSha256, Some(&empty), &md5_list, Exchange::Scram(Check::Mock)),
            (Method::ScramSha256, None, &md5_list, Exchange::Scram(Check::Mock)),
        ] {
            assert_eq!(exchange(method, secret, "u", mock), expected, "{method:?} {secret:?}");
        }
    }
}
