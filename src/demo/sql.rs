//! A tiny client: log in, send one statement, get its rows as text.
//!
//! For setting servers up and asking them how they are; it waits on its socket, so it has no place on a shard. One
//! simple query at a time, no TLS, no parameters, no COPY. The protocol is the manual's chapter 55, version 3.0.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port at 127.0.0.1.
    Port(u16),
    /// A socket in the file system.
    Socket(PathBuf),
}

/// The rows of a result; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    #[error("connection to the server: {0}")]
    Io(#[from] io::Error),
    #[error("login: {0}")]
    Login(#[from] LoginError),
    /// The server refused. The first field is the SQLSTATE.
    #[error("{1} (SQLSTATE {0})")]
    Refused(String, String),
    #[error("the server sent what the protocol does not allow here")]
    Nonsense,
}

impl SqlError {
    /// The SQLSTATE, when it was the server that refused.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Refused(sqlstate, _) => Some(sqlstate),
            _ => None,
        }
    }
}

/// One logged-in connection.
pub struct Connection {
    stream: Box<dyn Stream>,
}

impl Connection {
    /// Connects and logs in, waiting at most `patience` for each single answer.
    ///
    /// # Errors
    /// When nobody listens, the login fails, or the server refuses (57P03 while it starts).
    pub fn open(
        address: &Address,
        user: &str,
        password: &str,
        database: &str,
        patience: Duration,
    ) -> Result<Self, SqlError> {
        let stream: Box<dyn Stream> = match address {
            Address::Port(port) => {
                let stream =
                    TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, *port)), patience)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Address::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                Box::new(stream)
            }
        };
        let mut connection = Self { stream };
        connection.stream.write_all(&startup(user, database))?;
        let mut login = Login::new(user, password);
        loop {
            let (tag, body) = connection.receive()?;
            match tag {
                b'R' => {
                    if let Some(answer) = login.answer(&body)? {
                        connection.stream.write_all(&answer)?;
                    }
                }
                b'E' => return Err(refusal(&body)),
                b'Z' => return Ok(connection),
                // Parameters, the cancel key, notices: of no use here.
                _ => {}
            }
        }
    }

    /// Runs one simple query and returns the rows of its last statement that had any.
    ///
    /// # Errors
    /// When the server refuses it or the connection breaks.
    pub fn rows(&mut self, sql: &str) -> Result<Rows, SqlError> {
        self.stream.write_all(&message(b'Q', &[sql.as_bytes(), b"\0"].concat()))?;
        let mut rows = Rows::new();
        let mut refused = None;
        loop {
            let (tag, body) = self.receive()?;
            match tag {
                b'T' => rows.clear(),
                b'D' => rows.push(data_row(&body).ok_or(SqlError::Nonsense)?),
                b'E' => refused = Some(refusal(&body)),
                b'Z' => return refused.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>), SqlError> {
        let mut head = [0u8; 5];
        self.stream.read_exact(&mut head)?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        if !(4..=LENGTH_MAX).contains(&length) {
            return Err(SqlError::Nonsense);
        }
        let mut body = vec![0u8; length as usize - 4];
        self.stream.read_exact(&mut body)?;
        Ok((head[0], body))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Terminate, so that the server does not log a lost connection.
        let _ = self.stream.write_all(&message(b'X', b""));
    }
}

/// The client's part of a login: each request of the server in, the answer to send out. No socket.
pub struct Login {
    user: String,
    password: String,
    scram: Option<ScramSha256>,
}

/// Why a login cannot go on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    #[error("the server asks for a way of authentication (number {0}) that is not known here")]
    Method(u32),
    #[error("the server offers no SASL mechanism but {0}")]
    Mechanism(String),
    #[error("the server's part of SCRAM-SHA-256 is wrong: {0}")]
    Scram(String),
    #[error("the server sent a request cut short")]
    Short,
}

impl Login {
    /// A login that has not begun.
    pub fn new(user: &str, password: &str) -> Self {
        Self { user: user.to_owned(), password: password.to_owned(), scram: None }
    }

    /// What to send after an Authentication message with this body; nothing when the server only reports.
    ///
    /// # Errors
    /// When the server wants what we cannot do, or does not prove that it knows the password either (RFC 5802).
    pub fn answer(&mut self, body: &[u8]) -> Result<Option<Vec<u8>>, LoginError> {
        let (code, rest) = body.split_first_chunk::<4>().ok_or(LoginError::Short)?;
        let password = |text: &str| Some(message(b'p', &[text.as_bytes(), b"\0"].concat()));
        match u32::from_be_bytes(*code) {
            AUTHENTICATION_OK => Ok(None),
            AUTHENTICATION_CLEARTEXT => Ok(password(&self.password)),
            AUTHENTICATION_MD5 => {
                let salt = *rest.first_chunk::<4>().ok_or(LoginError::Short)?;
                Ok(password(&md5_hash(self.user.as_bytes(), self.password.as_bytes(), salt)))
            }
            AUTHENTICATION_SASL => self.begin_scram(rest).map(Some),
            AUTHENTICATION_SASL_CONTINUE => {
                let scram = self.scram.as_mut().ok_or(LoginError::Short)?;
                scram.update(rest).map_err(|wrong| LoginError::Scram(wrong.to_string()))?;
                Ok(Some(message(b'p', scram.message())))
            }
            AUTHENTICATION_SASL_FINAL => {
                let mut scram = self.scram.take().ok_or(LoginError::Short)?;
                scram.finish(rest).map_err(|wrong| LoginError::Scram(wrong.to_string()))?;
                Ok(None)
            }
            other => Err(LoginError::Method(other)),
        }
    }

    fn begin_scram(&mut self, mechanisms: &[u8]) -> Result<Vec<u8>, LoginError> {
        if !mechanisms.split(|&byte| byte == 0).any(|name| name == SCRAM_SHA_256.as_bytes()) {
            return Err(LoginError::Mechanism(String::from_utf8_lossy(mechanisms).replace('\0', " ")));
        }
        let scram = ScramSha256::new(self.password.as_bytes(), ChannelBinding::unsupported());
        let first = scram.message();
        let length = u32::try_from(first.len()).map_err(|_| LoginError::Short)?;
        let body = [SCRAM_SHA_256.as_bytes(), b"\0", &length.to_be_bytes(), first].concat();
        self.scram = Some(scram);
        Ok(message(b'p', &body))
    }
}

/// Text as a literal of SQL, whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn startup(user: &str, database: &str) -> Vec<u8> {
    let parameters = ["user", user, "database", database, "application_name", "pgweir-setup"];
    let text: Vec<u8> = parameters.iter().flat_map(|word| word.bytes().chain([0])).chain([0]).collect();
    untagged(&[&PROTOCOL_3_0.to_be_bytes(), text.as_slice()].concat())
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag], untagged(body).as_slice()].concat()
}

/// Everything sent from here is a few hundred bytes, far below what a length can say.
fn untagged(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body].concat()
}

/// The fields `C` and `M` of an ErrorResponse.
fn refusal(body: &[u8]) -> SqlError {
    let field = |wanted: u8| {
        body.split(|&byte| byte == 0)
            .find(|field| field.first() == Some(&wanted))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
            .unwrap_or_default()
    };
    SqlError::Refused(field(b'C'), field(b'M'))
}

/// The columns of a DataRow; `None` when the bytes are not one.
fn data_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        columns.push(match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => None,
            Ok(length) => {
                let (value, after) = rest.split_at_checked(length)?;
                rest = after;
                Some(String::from_utf8_lossy(value).into_owned())
            }
        });
    }
    Some(columns)
}

const PROTOCOL_3_0: u32 = 3 << 16;
const AUTHENTICATION_OK: u32 = 0;
const AUTHENTICATION_CLEARTEXT: u32 = 3;
const AUTHENTICATION_MD5: u32 = 5;
const AUTHENTICATION_SASL: u32 = 10;
const AUTHENTICATION_SASL_CONTINUE: u32 = 11;
const AUTHENTICATION_SASL_FINAL: u32 = 12;
/// No answer to a question asked here comes near; a larger length means that this is no PostgreSQL.
const LENGTH_MAX: u32 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(code: u32, rest: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), rest].concat()
    }

    #[test]
    fn a_cleartext_and_an_md5_password_are_sent_as_the_manual_says() {
        let mut login = Login::new("md5_user", "password");
        assert_eq!(login.answer(&request(3, b"")), Ok(Some(b"p\0\0\0\rpassword\0".to_vec())));
        let answer = login.answer(&request(5, &[0x2a, 0x3d, 0x8f, 0xe0])).expect("known").expect("an answer");
        assert_eq!(&answer[5..], b"md562af4dd09bbb41884907a838a3233294\0");
        assert_eq!(login.answer(&request(0, b"")), Ok(None));
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let mut login = Login::new("u", "p");
        assert_eq!(login.answer(&request(7, b"")), Err(LoginError::Method(7)));
        assert_eq!(
            login.answer(&request(10, b"SCRAM-SHA-256-PLUS\0\0")),
            Err(LoginError::Mechanism("SCRAM-SHA-256-PLUS  ".into()))
        );
        assert_eq!(login.answer(&request(11, b"r=x")), Err(LoginError::Short));
        assert_eq!(login.answer(b"\0\0"), Err(LoginError::Short));
    }

    #[test]
    fn an_error_keeps_its_sqlstate_and_words() {
        let refused = refusal(b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0");
        assert_eq!(refused.sqlstate(), Some("57P03"));
        assert_eq!(refused.to_string(), "the database system is starting up (SQLSTATE 57P03)");
    }

    #[test]
    fn a_row_may_hold_null_and_nothing() {
        let row = data_row(b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(row, Some(vec![Some("a".into()), None, Some(String::new())]));
        assert_eq!(data_row(b"\0\x01\0\0\0\x09abc"), None);
    }

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal(r"it's \ here"), r"E'it''s \\ here'");
    }

    proptest! {
        #[test]
        fn no_bytes_from_a_server_cause_a_panic(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = data_row(&body);
            let _ = refusal(&body);
            let mut login = Login::new("u", "p");
            let _ = login.answer(&body);
            let _ = login.answer(&request(10, b"SCRAM-SHA-256\0\0"));
            let _ = login.answer(&request(11, &body));
        }
    }
}
