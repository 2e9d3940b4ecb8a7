//! SCRAM-SHA-256 as a client (RFC 5802, RFC 7677), without channel binding. Deriving the keys takes milliseconds of
//! computing, so they are kept for each salt: the load must not be what is measured.

use std::collections::HashMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// The password, and the keys derived from it so far.
pub(super) struct Password {
    /// Prepared as SASLprep says (RFC 4013); one that cannot be is used as it is, as libpq does.
    text: String,
    keys: HashMap<(Vec<u8>, u32), Keys>,
}

#[derive(Clone, Copy)]
struct Keys {
    client: [u8; 32],
    server: [u8; 32],
}

/// The first message was sent.
pub(super) struct ExpectChallenge {
    nonce: String,
}

/// The proof was sent.
pub(super) struct ExpectFinal {
    signature: [u8; 32],
}

impl Password {
    pub fn new(text: &str) -> Password {
        let text = stringprep::saslprep(text).map_or_else(|_| text.to_owned(), |text| text.into_owned());
        Password { text, keys: HashMap::new() }
    }

    fn keys(&mut self, salt: &[u8], iterations: u32) -> Keys {
        *self.keys.entry((salt.to_vec(), iterations)).or_insert_with(|| {
            let salted = pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(self.text.as_bytes(), salt, iterations);
            Keys { client: hmac(&salted, b"Client Key"), server: hmac(&salted, b"Server Key") }
        })
    }
}

/// Starts: the data of SASLInitialResponse. `nonce` is printable and without a comma.
pub(super) fn start(nonce: String) -> (Vec<u8>, ExpectChallenge) {
    // The user stands in the startup packet; the server ignores the one here.
    (format!("n,,n=,r={nonce}").into_bytes(), ExpectChallenge { nonce })
}

impl ExpectChallenge {
    /// Answers the server's challenge. `None` where it is not one to this client.
    pub fn answer(self, challenge: &str, password: &mut Password) -> Option<(Vec<u8>, ExpectFinal)> {
        self.answer_as("", challenge, password)
    }

    fn answer_as(
        self,
        user: &str,
        challenge: &str,
        password: &mut Password,
    ) -> Option<(Vec<u8>, ExpectFinal)> {
        let mut fields = challenge.split(',');
        let nonce = fields.next()?.strip_prefix("r=")?;
        let salt = BASE64_STANDARD.decode(fields.next()?.strip_prefix("s=")?).ok()?;
        let iterations = fields.next()?.strip_prefix("i=")?.parse().ok()?;
        if !nonce.starts_with(&self.nonce) || iterations == 0 {
            return None;
        }
        let keys = password.keys(&salt, iterations);
        let message = format!("c=biws,r={nonce}");
        let exchange = format!("n={user},r={},{challenge},{message}", self.nonce);
        let stored: [u8; 32] = Sha256::digest(keys.client).into();
        let signature = hmac(&stored, exchange.as_bytes());
        let proof: Vec<u8> = keys.client.iter().zip(signature).map(|(key, sign)| key ^ sign).collect();
        let answer = format!("{message},p={}", BASE64_STANDARD.encode(proof));
        Some((answer.into_bytes(), ExpectFinal { signature: hmac(&keys.server, exchange.as_bytes()) }))
    }
}

impl ExpectFinal {
    /// Whether the server knows the password too.
    pub fn proves(self, message: &str) -> bool {
        let signature = message.strip_prefix("v=").and_then(|text| BASE64_STANDARD.decode(text).ok());
        signature.is_some_and(|signature| signature == self.signature)
    }
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("a key may have any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_standard_is_answered_as_there() {
        let mut password = Password::new("pencil");
        let (first, state) = start("rOprNGfwEbeRWgbNEkqO".into());
        assert_eq!(first, b"n,,n=,r=rOprNGfwEbeRWgbNEkqO");
        let challenge =
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (answer, state) = state.answer_as("user", challenge, &mut password).expect("it is a challenge");
        assert_eq!(
            String::from_utf8_lossy(&answer),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(state.proves("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert_eq!(password.keys.len(), 1);
    }

    #[test]
    fn what_is_no_challenge_to_us_is_refused() {
        for challenge in ["", "r=other,s=AAAA,i=1", "r=mine,s=*,i=1", "r=mine,s=AAAA,i=0", "r=mine,s=AAAA"] {
            let (_, state) = start("mine".into());
            assert!(state.answer(challenge, &mut Password::new("")).is_none(), "{challenge}");
        }
        let (_, state) = start("mine".into());
        let (_, state) = state.answer("r=mine1,s=AAAA,i=1", &mut Password::new("x")).expect("it is one");
        assert!(!state.proves("v=AAAA"));
    }
}
