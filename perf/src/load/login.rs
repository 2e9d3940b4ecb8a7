//! Letting a connection in: what the server asks for, and the answers.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::{Digest, Md5};

use super::scram::{self, ExpectChallenge, ExpectFinal, Password};
use crate::wire::frontend::password as put_password;
use crate::wire::{Reader, put_text};

/// Who logs in; shared by all connections.
pub(super) struct Credentials {
    pub user: String,
    pub password: String,
    pub scram: Password,
}

/// What the server may ask next.
#[derive(Default)]
pub(super) enum Login {
    #[default]
    Start,
    ScramChallenge(ExpectChallenge),
    ScramFinal(ExpectFinal),
}

impl Login {
    /// Handles an Authentication message and appends the answer.
    ///
    /// # Errors
    ///
    /// A sentence: the server asks for what this client does not have, or does not prove itself.
    pub fn handle(
        self,
        body: &[u8],
        credentials: &mut Credentials,
        out: &mut Vec<u8>,
    ) -> Result<Login, String> {
        let mut reader = Reader::new(body);
        let code = reader.u32().map_err(|violation| violation.to_string())?;
        let rest = reader.rest();
        match (code, self) {
            (OK, Login::Start) => Ok(Login::Start),
            (OK, _) => Err("the server ends the login before it has proven itself".into()),
            (CLEARTEXT, _) => {
                let mut data = Vec::new();
                put_text(&mut data, credentials.password.as_bytes());
                put_password(out, &data);
                Ok(Login::Start)
            }
            (MD5, _) => {
                let salt = reader.bytes(4).map_err(|violation| violation.to_string())?;
                let mut data = Vec::new();
                put_text(&mut data, md5_answer(&credentials.user, &credentials.password, salt).as_bytes());
                put_password(out, &data);
                Ok(Login::Start)
            }
            (SASL, _) => {
                if !rest.split(|byte| *byte == 0).any(|name| name == MECHANISM) {
                    return Err("the server does not offer SCRAM-SHA-256".into());
                }
                // Not secret: it only has to be new.
                let nonce = BASE64_STANDARD.encode(fastrand::u128(..).to_be_bytes());
                let (first, state) = scram::start(nonce);
                let mut data = Vec::new();
                put_text(&mut data, MECHANISM);
                data.extend_from_slice(&(first.len() as u32).to_be_bytes());
                data.extend_from_slice(&first);
                put_password(out, &data);
                Ok(Login::ScramChallenge(state))
            }
            (SASL_CONTINUE, Login::ScramChallenge(state)) => {
                let challenge = std::str::from_utf8(rest).unwrap_or_default();
                let answer = state.answer(challenge, &mut credentials.scram);
                let (answer, state) = answer.ok_or("the server's SCRAM challenge is none")?;
                put_password(out, &answer);
                Ok(Login::ScramFinal(state))
            }
            (SASL_FINAL, Login::ScramFinal(state)) => {
                match state.proves(std::str::from_utf8(rest).unwrap_or_default()) {
                    true => Ok(Login::Start),
                    false => Err("the server does not know the password".into()),
                }
            }
            _ => Err(format!("the server asks for an authentication this client does not have: {code}")),
        }
    }
}

/// `md5` and the digest of the salted digest of password and user, in hexadecimal.
fn md5_answer(user: &str, password: &str, salt: &[u8]) -> String {
    let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let inner = hex(&Md5::new().chain_update(password).chain_update(user).finalize());
    format!("md5{}", hex(&Md5::new().chain_update(inner).chain_update(salt).finalize()))
}

// The codes of Authentication messages.
const OK: u32 = 0;
const CLEARTEXT: u32 = 3;
const MD5: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

const MECHANISM: &[u8] = b"SCRAM-SHA-256";

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with the MD5 of another language.
    #[test]
    fn an_md5_password_is_salted() {
        assert_eq!(
            md5_answer("md5_user", "password", &[0x2a, 0x3d, 0x8f, 0xe0]),
            "md562af4dd09bbb41884907a838a3233294"
        );
    }
}
