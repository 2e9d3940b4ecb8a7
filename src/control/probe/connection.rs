//! Control's own connection to a node: connect, log in, ask or order one thing at a time.
//!
//! Only what a login and a simple query of one row need of the protocol (manual, "Message Flow").

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use glommio::net::{TcpStream, UnixStream};
use glommio::timer::Timer;

use crate::auth::NodeError;
use crate::auth::node::{Login, Step};
use crate::auth::scram::Keys;
use crate::topology::NodeAddress;
use crate::wire::backend::{ErrorFields, read_row};
use crate::wire::frame::{Frame, Head};
use crate::wire::{Reader, Violation, frontend, startup};

/// Logged in, with no question open.
pub(in crate::control) struct Connection {
    stream: Stream,
    /// `None`: a unix socket.
    peer: Option<SocketAddr>,
    received: Vec<u8>,
}

/// Who logs in, and where to.
pub(super) struct Who<'a> {
    pub user: &'a str,
    pub database: &'a str,
    /// How long the server may work on one question.
    pub timeout: Duration,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::control) enum ProbeError {
    #[error("{}", sentence(.0))]
    Io(#[from] io::Error),
    #[error(transparent)]
    Login(#[from] NodeError),
    #[error("{0}")]
    Misbehaved(String),
    /// What the node says in an ErrorResponse; `fatal` when it closes the connection behind it.
    #[error("{message} (SQLSTATE {sqlstate})")]
    Refused { sqlstate: String, message: String, fatal: bool },
}

impl Connection {
    /// Connects to the first address that answers, giving each a fair part of `patience`, and logs in; `derive` is where
    /// SCRAM keys are made. Also returns which of the addresses it was.
    pub(super) async fn open(
        address: &NodeAddress,
        port: u16,
        who: Who<'_>,
        login: Login,
        derive: impl AsyncFn(String, Vec<u8>, u32) -> Keys,
        patience: Duration,
    ) -> Result<(Connection, usize), ProbeError> {
        let (stream, index) = match address {
            NodeAddress::Tcp(addresses) => connect_tcp(addresses, patience).await?,
            NodeAddress::Unix(folder) => (connect_unix(folder, port).await?, 0),
        };
        let peer = match address {
            NodeAddress::Tcp(addresses) => addresses.get(index).copied(),
            NodeAddress::Unix(_) => None,
        };
        let mut connection = Connection { stream, peer, received: Vec::new() };
        connection.log_in(who, login, derive).await?;
        Ok((connection, index))
    }

    /// Whether a new connection could have come out at the same place.
    pub fn leads_to(&self, address: &NodeAddress) -> bool {
        match (address, self.peer) {
            (NodeAddress::Tcp(addresses), Some(peer)) => addresses.contains(&peer),
            (NodeAddress::Unix(_), None) => true,
            _ => false,
        }
    }

    /// The one row that `query` gives, as text.
    pub async fn ask(&mut self, query: &str) -> Result<Vec<Option<String>>, ProbeError> {
        let row = self.run(query).await?;
        row.ok_or_else(|| ProbeError::Misbehaved("it answers a question with no row".into()))
    }

    /// Runs something; the last row that it gives, if any.
    pub async fn run(&mut self, statement: &str) -> Result<Option<Vec<Option<String>>>, ProbeError> {
        let mut message = Vec::new();
        frontend::put_query(&mut message, statement.as_bytes());
        self.stream.write_all(&message).await?;
        let mut answer = Ok(None);
        loop {
            let message = self.message().await?;
            match message.tag {
                b'D' => answer = Ok(Some(texts(&message.body)?)),
                b'E' => {
                    let error = refused(&message.body);
                    // No ReadyForQuery comes behind this one.
                    if matches!(error, ProbeError::Refused { fatal: true, .. }) {
                        return Err(error);
                    }
                    answer = Err(error);
                }
                b'Z' => return answer,
                _ => {}
            }
        }
    }

    async fn log_in(
        &mut self,
        who: Who<'_>,
        mut login: Login,
        derive: impl AsyncFn(String, Vec<u8>, u32) -> Keys,
    ) -> Result<(), ProbeError> {
        self.stream.write_all(&startup_packet(&who)).await?;
        let mut proven = false;
        loop {
            let message = self.message().await?;
            match (message.tag, proven) {
                (b'R', false) => {
                    let mut reader = Reader::new(&message.body);
                    let mut step = login.handle(reader.u32()?, reader.rest())?;
                    if let Step::NeedKeys { salt, iterations } = step {
                        let password = login.password().unwrap_or_default().to_owned();
                        step = login.provide(&derive(password, salt, iterations).await)?;
                    }
                    match step {
                        Step::Send(answer) => {
                            let mut message = Vec::new();
                            frontend::put_password(&mut message, &answer.body);
                            self.stream.write_all(&message).await?;
                        }
                        Step::Done => proven = true,
                        Step::Wait | Step::NeedKeys { .. } => {}
                    }
                }
                (b'E', _) => return Err(refused(&message.body)),
                (b'Z', true) => return Ok(()),
                // ParameterStatus, BackendKeyData, NoticeResponse.
                (b'S' | b'K', true) | (b'N', _) => {}
                _ => return Err(ProbeError::Misbehaved("it breaks the protocol during the login".into())),
            }
        }
    }

    /// The next message, as a whole.
    async fn message(&mut self) -> Result<Message, ProbeError> {
        loop {
            if let Some((frame, length)) = Frame::read(&self.received)? {
                let message = Message { tag: frame.tag, body: frame.body.to_vec() };
                self.received.drain(..length);
                return Ok(message);
            }
            if Head::read(&self.received)?.is_some_and(|head| head.frame() > MESSAGE_MAX) {
                return Err(ProbeError::Misbehaved("it answers a probe with an endless message".into()));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).await? {
                0 => {
                    let text = "it closed the connection";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text).into());
                }
                count => self.received.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

struct Message {
    tag: u8,
    body: Vec<u8>,
}

impl ProbeError {
    /// Whether a more modest question may be answered: a right, a function or a column is missing.
    pub fn asks_too_much(&self) -> bool {
        matches!(self, ProbeError::Refused { sqlstate, fatal: false, .. }
            if matches!(sqlstate.as_str(), "0A000" | "42501" | "42703" | "42883" | "42P01"))
    }
}

impl From<Violation> for ProbeError {
    fn from(violation: Violation) -> ProbeError {
        ProbeError::Misbehaved(format!("it breaks the protocol: {violation}"))
    }
}

trait Duplex: AsyncRead + AsyncWrite {}

impl<S: AsyncRead + AsyncWrite> Duplex for S {}

type Stream = Pin<Box<dyn Duplex>>;

async fn connect_tcp(addresses: &[SocketAddr], patience: Duration) -> Result<(Stream, usize), ProbeError> {
    let each = patience / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for (index, address) in addresses.iter().enumerate() {
        let connecting = async { TcpStream::connect(*address).await.map_err(io::Error::from) };
        let late = async {
            Timer::new(each).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "it does not answer"))
        };
        match connecting.or(late).await {
            Ok(stream) => {
                // Otherwise a question could wait for a delayed acknowledgement.
                stream.set_nodelay(true).map_err(io::Error::from)?;
                return Ok((Box::pin(stream), index));
            }
            Err(error) => failure = error,
        }
    }
    Err(failure.into())
}

async fn connect_unix(folder: &Path, port: u16) -> Result<Stream, ProbeError> {
    let path = folder.join(format!(".s.PGSQL.{port}"));
    let stream = UnixStream::connect(&path).await.map_err(io::Error::from)?;
    Ok(Box::pin(stream))
}

/// The error's text, so that it reads well behind a colon, without its number.
fn sentence(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

fn startup_packet(who: &Who<'_>) -> Vec<u8> {
    let mut packet = Vec::new();
    let timeout = who.timeout.as_millis().to_string();
    let parameters = [
        ("user", who.user),
        ("database", who.database),
        ("application_name", "pgweir"),
        ("client_encoding", "UTF8"),
        // Nobody's own functions are to answer for the system's.
        ("search_path", "pg_catalog"),
        // Questions that nobody waits for any more are not to pile up on a server in trouble.
        ("statement_timeout", &timeout),
    ];
    let parameters = parameters.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    startup::put_startup(&mut packet, parameters);
    packet
}

fn texts(row: &[u8]) -> Result<Vec<Option<String>>, ProbeError> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(read_row(row)?.into_iter().map(|column| column.map(text)).collect())
}

fn refused(body: &[u8]) -> ProbeError {
    let error = ErrorFields::new(body);
    let sqlstate =
        error.sqlstate().map_or_else(|| "none".into(), |code| String::from_utf8_lossy(&code.0).into_owned());
    ProbeError::Refused { sqlstate, message: error.message(), fatal: error.fatal() }
}

/// Longest message of a probe (bytes): an answer is below 1 kB, the notice of a talkative login trigger not much longer.
const MESSAGE_MAX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Sqlstate;
    use crate::wire::backend::Report;

    #[test]
    fn what_a_right_is_missing_for_is_asked_more_modestly() {
        for (sqlstate, modest) in
            [(*b"42501", true), (*b"42883", true), (*b"57P03", false), (*b"28P01", false)]
        {
            let mut message = Vec::new();
            Report::error(Sqlstate(sqlstate), "no").put(&mut message);
            assert_eq!(refused(&message[5..]).asks_too_much(), modest, "{}", refused(&message[5..]));
            let mut message = Vec::new();
            Report::fatal(Sqlstate(sqlstate), "no").put(&mut message);
            assert!(!refused(&message[5..]).asks_too_much());
        }
        assert_eq!(refused(b"").to_string(), " (SQLSTATE none)");
    }

    #[test]
    fn errors_of_the_system_read_well() {
        let error = ProbeError::from(io::Error::from_raw_os_error(libc::ECONNREFUSED));
        assert_eq!(error.to_string(), "connection refused");
    }
}
