//! SCRAM where we are the client: a node wants proof, and must prove itself in turn.
//!
//! ```text
//!   ClientFirst --AuthenticationSASLContinue--> Challenge --keys--> ExpectServerFinal --AuthenticationSASLFinal--> proven
//! ```

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use subtle::ConstantTimeEq;

use super::attributes::{Attributes, is_nonce};
use super::{Keys, NODE_MESSAGE_MAX, Nonce, hmac, iterations_from, key_from, sha256, xor};
use crate::auth::NodeError;

/// Our first message, and the wait for the node's challenge.
#[must_use]
pub struct ClientFirst {
    nonce: Nonce,
    /// The message without its GS2 header.
    bare: Vec<u8>,
}

impl ClientFirst {
    /// `nonce` must be fresh. The user's name stays out of the message, as libpq does it: it was in the startup packet.
    pub fn new(nonce: Nonce) -> ClientFirst {
        ClientFirst::with_user("", nonce)
    }

    /// With a name that needs no escaping: the RFCs' examples have one.
    pub(super) fn with_user(user: &str, nonce: Nonce) -> ClientFirst {
        let bare = [b"n=", user.as_bytes(), b",r=", nonce.as_bytes()].concat();
        ClientFirst { nonce, bare }
    }

    /// The client-first-message: the data of a SASLInitialResponse.
    pub fn message(&self) -> Vec<u8> {
        [GS2_HEADER, &self.bare].concat()
    }

    /// Takes the server-first-message: the body of AuthenticationSASLContinue behind its code.
    ///
    /// # Errors
    /// `Misbehaved` when it is longer than 4 kB, breaks the grammar, asks for an extension, does not continue our nonce
    /// or exceeds the bounds of nonce and iterations.
    pub fn handle_server_first(self, body: &[u8]) -> Result<Challenge, NodeError> {
        if body.len() > NODE_MESSAGE_MAX {
            return Err(NodeError::Misbehaved("its SCRAM message is longer than 4 kB"));
        }
        if body.starts_with(b"m") {
            return Err(NodeError::Misbehaved("it requires a SCRAM extension that PostgreSQL does not have"));
        }
        let mut attributes = Attributes::new(body)?;
        let nonce = attributes.expect(b'r', "the nonce is missing from its SCRAM challenge")?;
        let salt = attributes.expect(b's', "the salt is missing from its SCRAM challenge")?;
        let iterations = attributes.expect(b'i', "the iterations are missing from its SCRAM challenge")?;
        if attributes.remaining() > 0 {
            return Err(NodeError::Misbehaved("something follows the iterations in its SCRAM challenge"));
        }
        match nonce.strip_prefix(self.nonce.as_bytes()) {
            Some(added) if is_nonce(added) => {}
            _ => {
                return Err(NodeError::Misbehaved("its SCRAM nonce does not continue ours, or is not one"));
            }
        }
        let salt = BASE64_STANDARD
            .decode(salt)
            .map_err(|_| NodeError::Misbehaved("the salt of its SCRAM challenge is not base64"))?;
        let iterations = iterations_from(iterations)
            .ok_or(NodeError::Misbehaved("the iterations of its SCRAM challenge are not 1 to 10000000"))?;

        let without_proof = [b"c=biws,r=", nonce].concat();
        Ok(Challenge {
            salt,
            iterations,
            auth_message: [&self.bare, body, &without_proof].join(&b','),
            without_proof,
        })
    }
}

impl std::fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientFirst(..)")
    }
}

/// What the node wants to see answered: needs the [`Keys`] of this salt and these iterations.
#[must_use]
pub struct Challenge {
    /// The user's salt, as this node has it.
    pub salt: Vec<u8>,
    /// 1 to [`ITERATIONS_MAX`](super::ITERATIONS_MAX).
    pub iterations: u32,
    auth_message: Vec<u8>,
    without_proof: Vec<u8>,
}

impl Challenge {
    /// The client-final-message, to be sent as SASLResponse, and what must come next.
    pub fn answer(self, keys: &Keys) -> (Vec<u8>, ExpectServerFinal) {
        let client_signature = hmac(&sha256(&keys.client_key), &[&self.auth_message]);
        let proof = xor(&keys.client_key, &client_signature);
        let mut message = self.without_proof;
        message.extend_from_slice(b",p=");
        message.extend_from_slice(BASE64_STANDARD.encode(proof).as_bytes());
        let server_signature = hmac(&keys.server_key, &[&self.auth_message]);
        (message, ExpectServerFinal { server_signature })
    }
}

impl std::fmt::Debug for Challenge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenge").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// The proof was sent; the node's own must come.
#[must_use]
pub struct ExpectServerFinal {
    server_signature: [u8; 32],
}

impl ExpectServerFinal {
    /// Takes the server-final-message: the body of AuthenticationSASLFinal behind its code.
    ///
    /// # Errors
    /// `Impostor` when the signature is not the one that only a keeper of the user's secret can make, `Refused` when the
    /// node says `e=`, `Misbehaved` for anything else.
    pub fn handle(self, body: &[u8]) -> Result<(), NodeError> {
        if body.len() > NODE_MESSAGE_MAX {
            return Err(NodeError::Misbehaved("its SCRAM message is longer than 4 kB"));
        }
        let mut attributes = Attributes::new(body)?;
        let signature = match attributes.next()? {
            Some((b'e', reason)) => {
                let reason = reason.iter().take(REASON_MAX).map(|byte| byte.escape_ascii().to_string());
                return Err(NodeError::Refused(reason.collect()));
            }
            Some((b'v', signature)) => signature,
            _ => {
                return Err(NodeError::Misbehaved("the signature is missing from its last SCRAM message"));
            }
        };
        if attributes.remaining() > 0 {
            return Err(NodeError::Misbehaved("something follows the signature in its last SCRAM message"));
        }
        let signature = key_from(signature).ok_or(NodeError::Misbehaved(
            "the signature of its last SCRAM message is not base64 of 32 bytes",
        ))?;
        if !bool::from(signature.ct_eq(&self.server_signature)) {
            return Err(NodeError::Impostor);
        }
        Ok(())
    }
}

impl std::fmt::Debug for ExpectServerFinal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExpectServerFinal(..)")
    }
}

/// "No channel binding, no authorization identity"; `biws` is its base64.
const GS2_HEADER: &[u8] = b"n,,";

/// How much of a node's reason is kept, bytes: the RFC's own are below 40.
const REASON_MAX: usize = 80;
