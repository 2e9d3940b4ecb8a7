//! SCRAM where we are the server: a client proves itself to us.
//!
//! ```text
//!   ExpectClientFirst --SASLInitialResponse--> ExpectClientFinal --SASLResponse--> in, with its ClientKey
//!          |                                          |
//!          +-- ClientError                            +-- ClientError
//! ```

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use subtle::ConstantTimeEq;

use super::attributes::{Attributes, is_nonce};
use super::{CLIENT_MESSAGE_MAX, MECHANISM, Nonce, Verifier, hmac, key_from, sha256, xor};
use crate::auth::ClientError;

/// AuthenticationSASL was sent; a SASLInitialResponse must come.
#[derive(Debug, Default)]
#[must_use]
pub struct ExpectClientFirst(());

impl ExpectClientFirst {
    /// The state after [`MECHANISMS`](super::MECHANISMS) were offered.
    pub fn new() -> ExpectClientFirst {
        ExpectClientFirst(())
    }

    /// Takes the body of a SASLInitialResponse: the mechanism and its NUL, the length of the data, the data. Gives the
    /// server-first-message, to be sent as AuthenticationSASLContinue, and what must come next.
    ///
    /// `nonce` must be fresh. `verifier` is the user's own, or a mock. The name inside the message is ignored, as
    /// PostgreSQL does: the one in the startup packet counts.
    ///
    /// # Errors
    /// The client's; none depends on `verifier`. A client that sends no data at once (length -1) is refused: SCRAM
    /// begins with the client, and no driver waits to be asked.
    pub fn handle(
        self,
        body: &[u8],
        nonce: &Nonce,
        verifier: &Verifier,
    ) -> Result<(Vec<u8>, ExpectClientFinal), ClientError> {
        let first = ClientFirst::parse(initial_response(body)?)?;

        let nonce = [first.nonce, nonce.as_bytes()].concat();
        let mut server_first = b"r=".to_vec();
        server_first.extend_from_slice(&nonce);
        server_first.extend_from_slice(b",s=");
        server_first.extend_from_slice(BASE64_STANDARD.encode(&verifier.salt).as_bytes());
        server_first.extend_from_slice(b",i=");
        server_first.extend_from_slice(verifier.iterations.to_string().as_bytes());

        let mut auth_message = first.bare.to_vec();
        auth_message.push(b',');
        auth_message.extend_from_slice(&server_first);
        auth_message.push(b',');

        let expect = ExpectClientFinal {
            auth_message,
            binding: first.binding,
            nonce,
            stored_key: verifier.stored_key,
            server_key: verifier.server_key,
        };
        Ok((server_first, expect))
    }
}

/// The challenge was sent; a SASLResponse with the proof must come.
#[must_use]
pub struct ExpectClientFinal {
    /// The AuthMessage (RFC 5802 section 3) as far as it is known: both first messages, each with its comma.
    auth_message: Vec<u8>,
    /// What `c=` must say: the client's own gs2 header, in base64.
    binding: &'static [u8],
    /// Both nonces, one after the other.
    nonce: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl ExpectClientFinal {
    /// Takes the body of a SASLResponse. Gives the server-final-message, to be sent as AuthenticationSASLFinal, and the
    /// ClientKey that the proof revealed, with which [`SaltedKeys::learned`](crate::auth::node::SaltedKeys::learned)
    /// logs in to nodes.
    ///
    /// # Errors
    /// `WrongPassword` if the proof does not match, which is all that depends on the verifier; the others are the
    /// client's mistakes.
    pub fn handle(self, body: &[u8]) -> Result<(Vec<u8>, [u8; 32]), ClientError> {
        let last = ClientFinal::parse(body)?;
        if last.binding != self.binding {
            return Err(ClientError::Malformed("the channel binding differs from the first message's"));
        }
        if last.nonce != self.nonce {
            return Err(ClientError::Malformed("the nonce differs from the challenge's"));
        }

        let auth_message: [&[u8]; 2] = [&self.auth_message, last.without_proof];
        let client_key = xor(&last.proof, &hmac(&self.stored_key, &auth_message));
        // Made before it is known whether it will be sent: so both outcomes take the same time.
        let server_signature = hmac(&self.server_key, &auth_message);
        if !bool::from(sha256(&client_key).ct_eq(&self.stored_key)) {
            return Err(ClientError::WrongPassword);
        }

        let mut server_final = b"v=".to_vec();
        server_final.extend_from_slice(BASE64_STANDARD.encode(server_signature).as_bytes());
        Ok((server_final, client_key))
    }
}

impl std::fmt::Debug for ExpectClientFinal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ExpectClientFinal(..)")
    }
}

/// The data inside a SASLInitialResponse.
fn initial_response(body: &[u8]) -> Result<&[u8], ClientError> {
    let end = body
        .iter()
        .position(|&byte| byte == 0)
        .ok_or(ClientError::Malformed("the name of the SASL mechanism has no end"))?;
    if &body[..end] != MECHANISM {
        return Err(ClientError::Mechanism);
    }
    let Some((length, data)) = body[end + 1..].split_first_chunk() else {
        return Err(ClientError::Malformed("the length of the SASL data is missing"));
    };
    match i32::from_be_bytes(*length) {
        -1 => Err(ClientError::Malformed("the SASL response holds no SCRAM message")),
        // Compared as it came, so that no length, however large, is computed with.
        length if usize::try_from(length) == Ok(data.len()) => Ok(data),
        _ => Err(ClientError::Malformed("the length of the SASL data is wrong")),
    }
}

/// `gs2-cbind-flag "," [authzid] "," client-first-message-bare`
struct ClientFirst<'a> {
    binding: &'static [u8],
    bare: &'a [u8],
    nonce: &'a [u8],
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a [u8]) -> Result<ClientFirst<'a>, ClientError> {
        check_length(message)?;
        let (binding, rest): (&[u8], _) = match message {
            [b'n', rest @ ..] => (b"biws", rest),
            // Could bind, and thinks that we cannot: which is true.
            [b'y', rest @ ..] => (b"eSws", rest),
            [b'p', ..] => {
                return Err(ClientError::Malformed("channel binding in SCRAM-SHA-256, which does not bind"));
            }
            _ => {
                return Err(ClientError::Malformed("the channel-binding flag is none of n, y and p"));
            }
        };
        let bare = match rest {
            [b',', b',', bare @ ..] => bare,
            [b',', b'a', ..] => {
                return Err(ClientError::Unsupported("SCRAM authorization identities are not supported"));
            }
            _ => {
                return Err(ClientError::Malformed("the GS2 header of the SCRAM message is damaged"));
            }
        };
        if bare.starts_with(b"m") {
            return Err(MANDATORY_EXTENSION);
        }
        let mut attributes = Attributes::new(bare)?;
        attributes.expect(b'n', "the user name is missing from the SCRAM message")?;
        let nonce = attributes.expect(b'r', "the nonce is missing from the SCRAM message")?;
        if !is_nonce(nonce) {
            return Err(ClientError::Malformed("the nonce is empty, too long or not printable"));
        }
        while let Some((name, _)) = attributes.next()? {
            if name == b'm' {
                return Err(MANDATORY_EXTENSION);
            }
        }
        Ok(ClientFirst { binding, bare, nonce })
    }
}

/// `c=binding,r=nonce[,extensions],p=proof`
struct ClientFinal<'a> {
    binding: &'a [u8],
    nonce: &'a [u8],
    proof: [u8; 32],
    without_proof: &'a [u8],
}

impl<'a> ClientFinal<'a> {
    fn parse(message: &'a [u8]) -> Result<ClientFinal<'a>, ClientError> {
        check_length(message)?;
        let mut attributes = Attributes::new(message)?;
        let binding = attributes.expect(b'c', "the channel binding is missing from the SCRAM message")?;
        let nonce = attributes.expect(b'r', "the nonce is missing from the SCRAM message")?;
        loop {
            let start = message.len() - attributes.remaining();
            match attributes.next()? {
                Some((b'p', proof)) => {
                    if attributes.remaining() > 0 {
                        return Err(ClientError::Malformed(
                            "something follows the proof in the SCRAM message",
                        ));
                    }
                    return Ok(ClientFinal {
                        binding,
                        nonce,
                        proof: key_from(proof)
                            .ok_or(ClientError::Malformed("the proof is not base64 of 32 bytes"))?,
                        // Without the comma before the proof.
                        without_proof: &message[..start.saturating_sub(1)],
                    });
                }
                Some((b'm', _)) => return Err(MANDATORY_EXTENSION),
                Some(_) => {}
                None => {
                    return Err(ClientError::Malformed("the proof is missing from the SCRAM message"));
                }
            }
        }
    }
}

fn check_length(message: &[u8]) -> Result<(), ClientError> {
    if message.len() > CLIENT_MESSAGE_MAX {
        return Err(ClientError::Malformed("the SCRAM message is longer than 1024 bytes"));
    }
    Ok(())
}

/// RFC 5802 section 5.1: an `m` attribute means a future extension that must be understood.
const MANDATORY_EXTENSION: ClientError =
    ClientError::Unsupported("client requires an unsupported SCRAM extension");
