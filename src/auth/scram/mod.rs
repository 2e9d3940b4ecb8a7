//! SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it (manual, "SASL Authentication").
//!
//! ```text
//!   towards a client: we verify                   towards a node: we prove
//!
//!   ExpectClientFirst                             ClientFirst ---- client-first --->
//!     <--- client-first                             <--- server-first
//!     ---- server-first --->                      Challenge    (needs Keys: derived, cached or learned)
//!   ExpectClientFinal                               ---- client-final --->
//!     <--- client-final                           ExpectServerFinal
//!     ---- server-final --->                        <--- server-final
//!   the client's ClientKey                        the node has proven itself too
//! ```
//!
//! Every state consumes itself into the next, so a message out of order has nowhere to go. No channel binding: it binds
//! to TLS, which pgweir does not end yet, so SCRAM-SHA-256-PLUS is neither offered nor chosen.

mod attributes;
mod prepare;
mod towards_client;
mod towards_node;

pub use attributes::Malformed;
pub use towards_client::{ExpectClientFinal, ExpectClientFirst};
pub use towards_node::{Challenge, ClientFirst, ExpectServerFinal};

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::SecretError;

/// What a server stores about a user instead of the password (RFC 5802 section 3). Enough to check a proof, and by
/// itself not enough to make one.
///
/// `Display` gives PostgreSQL's text form, which is a secret; `Debug` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// How many rounds of PBKDF2 lie between the password and the keys: 1 to [`ITERATIONS_MAX`].
    pub iterations: u32,
    /// The user's salt, at most [`SALT_MAX`] bytes; PostgreSQL makes 16.
    pub salt: Vec<u8>,
    /// SHA-256 of the ClientKey.
    pub stored_key: [u8; 32],
    /// What the server proves itself with.
    pub server_key: [u8; 32],
}

impl Verifier {
    /// Reads PostgreSQL's text form, `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, the last three in
    /// base64.
    ///
    /// # Errors
    /// [`SecretError::Scram`] says which part is damaged.
    pub fn parse(text: &str) -> Result<Verifier, SecretError> {
        let rest =
            text.strip_prefix(PREFIX).ok_or(SecretError::Scram("SCRAM-SHA-256$ expected at the start"))?;
        let (iterations, rest) =
            rest.split_once(':').ok_or(SecretError::Scram("':' expected after the iterations"))?;
        let iterations = iterations_from(iterations.as_bytes())
            .ok_or(SecretError::Scram("iterations are not a number from 1 to 10000000"))?;
        let (salt, rest) = rest.split_once('$').ok_or(SecretError::Scram("'$' expected after the salt"))?;
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| SecretError::Scram("the salt is not base64"))?;
        if salt.len() > SALT_MAX {
            return Err(SecretError::Scram("the salt is longer than 256 bytes"));
        }
        let (stored_key, server_key) =
            rest.split_once(':').ok_or(SecretError::Scram("':' expected after StoredKey"))?;
        Ok(Verifier {
            iterations,
            salt,
            stored_key: key_from(stored_key.as_bytes())
                .ok_or(SecretError::Scram("StoredKey is not base64 of 32 bytes"))?,
            server_key: key_from(server_key.as_bytes())
                .ok_or(SecretError::Scram("ServerKey is not base64 of 32 bytes"))?,
        })
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{PREFIX}{}:{}${}:{}",
            self.iterations,
            BASE64_STANDARD.encode(&self.salt),
            BASE64_STANDARD.encode(self.stored_key),
            BASE64_STANDARD.encode(self.server_key)
        )
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// What it takes to log in, without the password: good for one salt and one number of iterations.
///
/// Wiped when dropped, as far as safe code can; a copy that the compiler made on the stack may outlive it.
#[derive(Clone)]
pub struct Keys {
    /// What the client proves itself with.
    pub client_key: [u8; 32],
    /// What the server will have to prove itself with.
    pub server_key: [u8; 32],
}

impl Keys {
    /// What a server with these `salt` and `iterations` would store.
    pub fn verifier(&self, salt: &[u8], iterations: u32) -> Verifier {
        Verifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: sha256(&self.client_key),
            server_key: self.server_key,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        self.client_key.fill(0);
        self.server_key.fill(0);
        // Whoever looks at the bytes keeps the compiler from leaving the two stores out.
        std::hint::black_box((&self.client_key, &self.server_key));
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// **SLOW** (PBKDF2; half a millisecond for 4096 `iterations` where the processor has instructions for SHA-256, several
/// without, and in proportion). Never called on a shard.
///
/// The password is prepared with SASLprep where that succeeds and taken as it is where not, as PostgreSQL does on both
/// sides of the wire. `iterations` of 0 count as 1.
pub fn derive(password: &[u8], salt: &[u8], iterations: u32) -> Keys {
    let prepared = prepare::prepare(password);
    let mut salted_password = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(&prepared, salt, iterations.max(1), &mut salted_password);
    let keys = Keys {
        client_key: hmac(&salted_password, &[b"Client Key"]),
        server_key: hmac(&salted_password, &[b"Server Key"]),
    };
    salted_password.fill(0);
    std::hint::black_box(&salted_password);
    keys
}

/// A verifier for a `user` nobody knows, with PostgreSQL's defaults: always the same for the same name and seed, and
/// matched by no password. Where the user list is at hand, [`Mock::verifier`](super::Mock::verifier) looks more like it.
pub fn mock_verifier(seed: &[u8; 32], user: &str) -> Verifier {
    super::Mock::new(*seed).verifier(user)
}

/// The body of AuthenticationSASL behind its code (10): the mechanisms on offer.
pub const MECHANISMS: &[u8] = b"SCRAM-SHA-256\0\0";

/// One side's random part of the exchange: printable ASCII without comma (RFC 5802 section 5.1), not empty, at most
/// [`NONCE_MAX`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    /// From 18 random bytes, as many as PostgreSQL takes; base64 makes 24 characters of them.
    pub fn from_random(bytes: [u8; 18]) -> Nonce {
        Nonce(BASE64_STANDARD.encode(bytes))
    }

    /// From a text that is one already: what test vectors have. `None` if it breaks the rules above.
    pub fn from_text(text: &str) -> Option<Nonce> {
        attributes::is_nonce(text.as_bytes()).then(|| Nonce(text.to_owned()))
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce(..)")
    }
}

/// HMAC-SHA-256 over the concatenation of `parts`.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// `a` XOR `b`: how a proof hides the ClientKey behind the signature, and how it comes out again.
fn xor(a: &[u8; 32], b: &[u8; 32]) -> [u8; 32] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

fn key_from(base64: &[u8]) -> Option<[u8; 32]> {
    BASE64_STANDARD.decode(base64).ok()?.try_into().ok()
}

/// Digits only: no sign, no space. `None` outside 1 to [`ITERATIONS_MAX`].
fn iterations_from(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let iterations = str::from_utf8(digits).ok()?.parse().ok()?;
    (1..=ITERATIONS_MAX).contains(&iterations).then_some(iterations)
}

/// How a SCRAM secret starts in PostgreSQL's text form.
pub const PREFIX: &str = "SCRAM-SHA-256$";

/// The mechanism's name on the wire.
pub(super) const MECHANISM: &[u8] = b"SCRAM-SHA-256";

/// Iterations of a secret made here, as PostgreSQL's `scram_iterations` has it by default; the least RFC 7677 allows.
pub const ITERATIONS_DEFAULT: u32 = 4096;

/// The most iterations a secret or a node may ask for: a second or a few of one helper thread. Advice for passwords on
/// the web is below a million, so this is no limit for honest use; without one, a hostile node could keep a helper
/// thread busy for many minutes with one message.
pub const ITERATIONS_MAX: u32 = 10_000_000;

/// Length of a salt made here, bytes; PostgreSQL's.
pub const SALT_LEN_DEFAULT: usize = 16;

/// The longest salt of a secret in a user list, bytes: 16 times what PostgreSQL makes.
pub const SALT_MAX: usize = 256;

/// The longest nonce either side may send, bytes. PostgreSQL's have 24.
pub const NONCE_MAX: usize = 1024;

/// The longest SASL message taken from a client, bytes; PostgreSQL's own bound.
pub const CLIENT_MESSAGE_MAX: usize = 1024;

/// The longest SASL message taken from a node, bytes: room for both nonces at their longest, and a salt.
pub const NODE_MESSAGE_MAX: usize = 4096;

#[cfg(test)]
mod tests;
