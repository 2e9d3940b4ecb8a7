//! From the startup message to the first ReadyForQuery (PostgreSQL manual 55.2.1).
//!
//! ```text
//! ExpectAuthentication ──Ok──▶ ExpectReady ──ReadyForQuery──▶ Backend
//!        │   ▲                     │ ParameterStatus, BackendKeyData, notices are kept or dropped
//!        ▼   │ keys, once derived off the shard
//!    KeysWanted
//! ```

use crate::auth::NodeError;
use crate::auth::node::{self, Credentials, Step};
use crate::auth::scram::{Keys, Nonce};
use crate::wire::backend::{ErrorFields, read_key_data, read_parameter_status};
use crate::wire::{Frame, Reader, Sqlstate, Violation, frontend, startup};

use super::{BackendKey, Parameters};

/// A login in progress.
pub struct Login {
    authentication: node::Login,
    authenticated: bool,
    key: BackendKey,
    parameters: Parameters,
}

/// What a frame led to.
pub enum Progress {
    /// Go on reading.
    More,
    /// Derive these off the shard and give them to [`Login::provide`].
    KeysWanted { password: String, salt: Vec<u8>, iterations: u32 },
    /// Logged in.
    Done { key: BackendKey, parameters: Parameters },
}

/// Why a backend could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The server said no: its whole ErrorResponse body, to be told to whoever waits.
    #[error("{}", ErrorFields::new(.0).message())]
    Refused(Vec<u8>),
    #[error(transparent)]
    Authentication(#[from] NodeError),
    #[error("the node broke the protocol during login: {0}")]
    Violation(#[from] Violation),
}

impl LoginError {
    pub fn sqlstate(&self) -> Option<Sqlstate> {
        match self {
            LoginError::Refused(body) => ErrorFields::new(body).sqlstate(),
            LoginError::Authentication(error) => Sqlstate::parse(error.sqlstate().as_bytes()),
            LoginError::Violation(_) => None,
        }
    }
}

impl Login {
    /// Starts a login as `user`, who is one of `parameters`: appends the startup message to `out`.
    pub fn start<'p>(
        user: &str,
        parameters: impl Iterator<Item = (&'p [u8], &'p [u8])>,
        credentials: Credentials,
        nonce: Nonce,
        out: &mut Vec<u8>,
    ) -> Login {
        startup::put_startup(out, parameters);
        Login {
            authentication: node::Login::new(user, credentials, nonce),
            authenticated: false,
            key: BackendKey::default(),
            parameters: Parameters::default(),
        }
    }

    /// Takes one frame of the node; appends what is to be sent.
    pub fn handle(&mut self, frame: Frame<'_>, out: &mut Vec<u8>) -> Result<Progress, LoginError> {
        match frame.tag {
            b'R' if !self.authenticated => {
                let mut reader = Reader::new(frame.body);
                let code = reader.u32()?;
                let step = self.authentication.handle(code, reader.rest())?;
                self.step(step, out)
            }
            b'E' => Err(LoginError::Refused(frame.body.to_vec())),
            b'N' => Ok(Progress::More),
            b'S' if self.authenticated => {
                let (name, value) = read_parameter_status(frame.body)?;
                self.parameters.set(name, value);
                Ok(Progress::More)
            }
            b'K' if self.authenticated => {
                let (process_id, secret) = read_key_data(frame.body)?;
                self.key = BackendKey { process_id, secret: secret.to_vec() };
                Ok(Progress::More)
            }
            b'Z' if self.authenticated && frame.body == b"I" => Ok(Progress::Done {
                key: std::mem::take(&mut self.key),
                parameters: std::mem::take(&mut self.parameters),
            }),
            b'v' => Err(Violation::Startup.into()),
            _ => Err(Violation::Tag.into()),
        }
    }

    /// The keys that [`Progress::KeysWanted`] asked for.
    pub fn provide(&mut self, keys: &Keys, out: &mut Vec<u8>) -> Result<Progress, LoginError> {
        let step = self.authentication.provide(keys)?;
        self.step(step, out)
    }

    fn step(&mut self, step: Step, out: &mut Vec<u8>) -> Result<Progress, LoginError> {
        match step {
            Step::Done => self.authenticated = true,
            Step::NeedKeys { salt, iterations } => {
                let password = self.authentication.password().unwrap_or_default().to_owned();
                return Ok(Progress::KeysWanted { password, salt, iterations });
            }
            Step::Send(answer) => frontend::put_password(out, &answer.body),
            Step::Wait => {}
        }
        Ok(Progress::More)
    }
}
