//! Logging in to a node: what it asks for, what we hold, and the answer.
//!
//! ```text
//!   Start --Ok(0)-------------------------------------------------------------> Done      trust
//!     | --Cleartext(3), Md5(5)--> Answered --Ok(0)----------------------------> Done
//!     | --Sasl(10)--> First --SaslContinue(11)--> [Keys wanted --provide()-->] Final
//!     |                                                                          |
//!     |                                       Proven <--SaslFinal(12)------------+
//!     |                                          +--Ok(0)---------------------> Done
//!     +-- anything else, anywhere --> an error; the backend is closed
//! ```
//!
//! An AuthenticationOk in the middle of SASL is refused: whoever sends it wants us to go on with a node that has not
//! shown that it knows the secret.

mod error;

pub use error::{Fault, NodeError};

use subtle::ConstantTimeEq;

use super::scram::{self, Challenge, ClientFirst, ExpectServerFinal, Keys, MECHANISM, Nonce, Verifier};
use super::{Secret, md5};

/// What we may log in with.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// What the user list holds, or the password a client has just given in clear text.
    pub secret: Option<Secret>,
    /// SCRAM keys that are known already: learned from the client's proof, or derived at an earlier login.
    pub keys: Option<SaltedKeys>,
}

/// SCRAM keys with the salt and iterations they are good for.
#[derive(Clone, Debug)]
pub struct SaltedKeys {
    /// The salt they were derived with.
    pub salt: Vec<u8>,
    /// The iterations they were derived with.
    pub iterations: u32,
    /// The keys.
    pub keys: Keys,
}

impl SaltedKeys {
    /// The keys of a client that proved itself: its ClientKey comes from
    /// [`ExpectClientFinal::handle`](scram::ExpectClientFinal::handle), the rest from the `verifier` it was checked with.
    /// They work on every node whose `rolpassword` is that very secret. `None` if the key is not that verifier's.
    pub fn learned(verifier: &Verifier, client_key: [u8; 32]) -> Option<SaltedKeys> {
        let own = bool::from(scram::sha256(&client_key).ct_eq(&verifier.stored_key));
        own.then(|| SaltedKeys {
            salt: verifier.salt.clone(),
            iterations: verifier.iterations,
            keys: Keys { client_key, server_key: verifier.server_key },
        })
    }

    fn fit(&self, challenge: &Challenge) -> bool {
        self.salt == challenge.salt && self.iterations == challenge.iterations
    }
}

/// One login to one node, from the startup packet to AuthenticationOk.
#[derive(Debug)]
pub struct Login {
    user: String,
    credentials: Credentials,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The startup packet is sent; the nonce waits for its use.
    Start(Nonce),
    /// A password or an MD5 response is sent.
    Answered,
    /// Our first SCRAM message is sent.
    First(ClientFirst),
    /// The node's challenge waits for keys.
    KeysWanted(Challenge),
    /// Our proof is sent.
    Final(ExpectServerFinal),
    /// The node has proven itself.
    Proven,
    /// AuthenticationOk came.
    Done,
    /// An error was returned; nothing more can come of it.
    Failed,
}

/// What to do after a message of the node.
#[derive(Debug)]
pub enum Step {
    /// AuthenticationOk: parameters, the cancel key and ReadyForQuery follow.
    Done,
    /// Derive keys from the password (**SLOW**, so elsewhere), then call [`Login::provide`]. They are worth keeping: the
    /// next login as this user to this cluster will ask for the same.
    NeedKeys {
        /// The salt to derive with.
        salt: Vec<u8>,
        /// The iterations to derive with.
        iterations: u32,
    },
    /// Send this.
    Send(Answer),
    /// Nothing to say; the node speaks next.
    Wait,
}

/// A message for the node. All three kinds carry the tag `p`; which one it is, the node knows from what it asked.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// Which of the three.
    pub kind: AnswerKind,
    /// Its body: what follows tag and length.
    pub body: Vec<u8>,
}

/// The messages with tag `p` (manual, "Message Formats").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// PasswordMessage: a password or an MD5 response, with its NUL.
    Password,
    /// SASLInitialResponse.
    SaslInitialResponse,
    /// SASLResponse.
    SaslResponse,
}

impl Login {
    /// A login as `user`. `nonce` must be fresh; it is used if the node asks for SCRAM.
    pub fn new(user: &str, credentials: Credentials, nonce: Nonce) -> Login {
        Login { user: user.to_owned(), credentials, state: State::Start(nonce) }
    }

    /// Takes an authentication request (tag `R`) of the node: its code, and what follows the code.
    ///
    /// # Errors
    /// The login is over; close the backend.
    pub fn handle(&mut self, auth_code: u32, body: &[u8]) -> Result<Step, NodeError> {
        match (std::mem::replace(&mut self.state, State::Failed), auth_code) {
            (State::Start(_) | State::Answered | State::Proven, OK) if body.is_empty() => {
                self.state = State::Done;
                Ok(Step::Done)
            }
            (State::First(_) | State::KeysWanted(_) | State::Final(_), OK) => Err(NodeError::Impostor),
            (State::Start(_), CLEARTEXT) if body.is_empty() => self.cleartext(),
            (State::Start(_), MD5) => self.md5(body),
            (State::Start(nonce), SASL) => self.sasl(body, nonce),
            (State::First(first), SASL_CONTINUE) => self.challenge(first.handle_server_first(body)?),
            (State::Final(expect), SASL_FINAL) => {
                expect.handle(body)?;
                self.state = State::Proven;
                Ok(Step::Wait)
            }
            (State::Start(_), code) => Err(match unsupported(code) {
                Some(asked) => NodeError::Unsupported(asked),
                None => NodeError::Misbehaved("its authentication request is of no known kind or damaged"),
            }),
            _ => Err(NodeError::Misbehaved("its authentication request comes at the wrong time")),
        }
    }

    /// The answer that [`Step::NeedKeys`] asked for.
    ///
    /// # Errors
    /// `NotAsked` when no keys are wanted.
    pub fn provide(&mut self, keys: &Keys) -> Result<Step, NodeError> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::KeysWanted(challenge) => Ok(self.prove(challenge, keys)),
            state => {
                self.state = state;
                Err(NodeError::NotAsked)
            }
        }
    }

    /// The password to derive keys from, for the caller's helper thread. `None` where keys are not to be derived.
    pub fn password(&self) -> Option<&str> {
        match &self.credentials.secret {
            Some(Secret::Plain(password)) if !password.is_empty() => Some(password),
            _ => None,
        }
    }

    fn cleartext(&mut self) -> Result<Step, NodeError> {
        let password = self.password().ok_or_else(|| self.unfit("the password in clear text"))?;
        Ok(self.answer(password.as_bytes().to_vec()))
    }

    fn md5(&mut self, body: &[u8]) -> Result<Step, NodeError> {
        let salt = body
            .try_into()
            .map_err(|_| NodeError::Misbehaved("the salt of its MD5 request is not 4 bytes"))?;
        let inner = match &self.credentials.secret {
            Some(Secret::Md5(digits)) => *digits,
            Some(secret @ Secret::Plain(password)) if secret.usable() => {
                md5::hash(password.as_bytes(), &self.user)
            }
            _ => return Err(self.unfit("an MD5 response")),
        };
        Ok(self.answer(md5::response(&inner, salt).to_vec()))
    }

    /// A PasswordMessage.
    fn answer(&mut self, mut text: Vec<u8>) -> Step {
        text.push(0);
        self.state = State::Answered;
        Step::Send(Answer { kind: AnswerKind::Password, body: text })
    }

    fn sasl(&mut self, body: &[u8], nonce: Nonce) -> Result<Step, NodeError> {
        let offered = mechanisms(body)?;
        if !offered.contains(&MECHANISM) {
            return Err(NodeError::Unsupported(if offered.contains(&&b"SCRAM-SHA-256-PLUS"[..]) {
                "SCRAM with channel binding only"
            } else if offered.contains(&&b"OAUTHBEARER"[..]) {
                "OAuth"
            } else {
                "a SASL mechanism other than SCRAM-SHA-256"
            }));
        }
        if self.password().is_none() && self.credentials.keys.is_none() {
            return Err(match self.credentials.secret {
                Some(Secret::Scram(_)) => NodeError::KeysMissing { user: self.user.clone() },
                _ => self.unfit("SCRAM-SHA-256"),
            });
        }
        let first = ClientFirst::new(nonce);
        let message = first.message();
        // Below 4 kB by the bound of a nonce.
        let length = message.len() as u32;
        let body = [MECHANISM, &[0], &length.to_be_bytes(), &message].concat();
        self.state = State::First(first);
        Ok(Step::Send(Answer { kind: AnswerKind::SaslInitialResponse, body }))
    }

    fn challenge(&mut self, challenge: Challenge) -> Result<Step, NodeError> {
        let known = self.credentials.keys.as_ref().filter(|known| known.fit(&challenge));
        if let Some(known) = known {
            let keys = known.keys.clone();
            return Ok(self.prove(challenge, &keys));
        }
        if self.password().is_none() {
            return Err(NodeError::SecretDiffers { user: self.user.clone() });
        }
        let step = Step::NeedKeys { salt: challenge.salt.clone(), iterations: challenge.iterations };
        self.state = State::KeysWanted(challenge);
        Ok(step)
    }

    fn prove(&mut self, challenge: Challenge, keys: &Keys) -> Step {
        let (body, expect) = challenge.answer(keys);
        self.state = State::Final(expect);
        Step::Send(Answer { kind: AnswerKind::SaslResponse, body })
    }

    fn unfit(&self, asked: &'static str) -> NodeError {
        let secret = self.credentials.secret.as_ref().filter(|secret| secret.usable());
        NodeError::SecretUnfit {
            user: self.user.clone(),
            asked,
            held: secret.map_or("no password", Secret::kind),
        }
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Answer({:?}, {} bytes)", self.kind, self.body.len())
    }
}

/// The names in AuthenticationSASL: each ends with a NUL, and an empty one ends the list.
fn mechanisms(body: &[u8]) -> Result<Vec<&[u8]>, NodeError> {
    match body.strip_suffix(b"\0\0") {
        Some(names) if body.len() <= scram::NODE_MESSAGE_MAX => {
            let names: Vec<&[u8]> = names.split(|&byte| byte == 0).collect();
            if names.iter().any(|name| name.is_empty()) {
                return Err(NodeError::Misbehaved("its list of SASL mechanisms ends early"));
            }
            Ok(names)
        }
        _ => Err(NodeError::Misbehaved("its list of SASL mechanisms has no end")),
    }
}

/// What the other authentication requests want (manual, "Message Formats").
fn unsupported(code: u32) -> Option<&'static str> {
    Some(match code {
        2 => "Kerberos V5",
        6 => "SCM credentials",
        7 => "GSSAPI",
        9 => "SSPI",
        _ => return None,
    })
}

const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

#[cfg(test)]
mod tests;
