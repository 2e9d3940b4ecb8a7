//! The least of a client that asks whether a proxy is up, what its console says, and keeps sessions open: one simple
//! query at a time, over a blocking socket, without a password (manual, "Message Flow").

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// A logged-in session.
pub struct Client {
    stream: TcpStream,
}

/// What a server answers instead of what was asked for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    pub sqlstate: String,
    message: String,
}

/// A row as the simple protocol sends it: text, or NULL.
pub type Row = Vec<Option<String>>;

impl Client {
    /// Logs in at 127.0.0.1 as one who needs no password.
    ///
    /// # Errors
    /// When nobody listens, a password is asked for, or the server refuses.
    pub fn open(port: u16, user: &str, database: &str) -> Result<Client> {
        let mut client = Client::knock(port, user, database)?;
        let (tag, body) = client.message()?;
        match tag {
            b'R' if body == [0; 4] => {}
            b'R' => bail!("a password is asked for"),
            b'E' => bail!("{}", error_message(&body)),
            other => bail!("message {:?} instead of an answer to the login", char::from(other)),
        }
        client.until_ready()?;
        Ok(client)
    }

    /// Whether somebody at this port answers a login with anything but an error: with a welcome or a demand for proof.
    pub fn answers(port: u16, user: &str, database: &str) -> bool {
        Client::knock(port, user, database).is_ok_and(|mut client| matches!(client.message(), Ok((b'R', _))))
    }

    /// Runs a simple query and returns its rows.
    ///
    /// # Errors
    /// When the server answers with an error, or is gone.
    pub fn query(&mut self, sql: &str) -> Result<Vec<Row>> {
        self.send(b'Q', &[sql.as_bytes(), &[0]].concat())?;
        self.until_ready()
    }

    fn knock(port: u16, user: &str, database: &str) -> Result<Client> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, PATIENCE).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Client { stream };
        client.stream.write_all(&startup(user, database))?;
        Ok(client)
    }

    fn send(&mut self, tag: u8, body: &[u8]) -> Result<()> {
        let length = u32::try_from(body.len() + 4).context("the message is too long")?;
        let message = [&[tag], &length.to_be_bytes()[..], body].concat();
        self.stream.write_all(&message).context("the server is gone")
    }

    /// Reads on to ReadyForQuery and collects the rows before it.
    fn until_ready(&mut self) -> Result<Vec<Row>> {
        let (mut rows, mut error) = (Vec::new(), None);
        loop {
            let (tag, body) = self.message()?;
            match tag {
                b'D' => rows.push(row(&body).context("a broken DataRow")?),
                b'E' => {
                    error = Some(ServerError { sqlstate: field(&body, b'C'), message: error_message(&body) })
                }
                b'Z' => break,
                _ => {}
            }
        }
        match error {
            Some(error) => Err(error.into()),
            None => Ok(rows),
        }
    }

    fn message(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).context("the server is gone")?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        ensure!((4..=MESSAGE_MAX).contains(&length), "a message of {length} bytes");
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).context("the server is gone")?;
        Ok((head[0], body))
    }
}

/// A StartupMessage of protocol 3.0.
fn startup(user: &str, database: &str) -> Vec<u8> {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for text in ["user", user, "database", database] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &body].concat()
}

/// The columns of a DataRow; `None` when its lengths do not add up.
fn row(body: &[u8]) -> Option<Row> {
    let (count, mut rest) = body.split_at_checked(2)?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(count.try_into().ok()?) {
        let (length, after) = rest.split_at_checked(4)?;
        let length = i32::from_be_bytes(length.try_into().ok()?);
        // -1 is NULL.
        let Ok(length) = usize::try_from(length) else {
            columns.push(None);
            rest = after;
            continue;
        };
        let (value, after) = after.split_at_checked(length)?;
        columns.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(columns)
}

/// The field `M` of an ErrorResponse.
fn error_message(body: &[u8]) -> String {
    match field(body, b'M') {
        message if message.is_empty() => "an error without a message".to_owned(),
        message => message,
    }
}

/// A field of an ErrorResponse; empty when it is not there.
fn field(body: &[u8], code: u8) -> String {
    let field = body.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(&[code]));
    String::from_utf8_lossy(field.unwrap_or_default()).into_owned()
}

const PROTOCOL: u32 = 3 << 16;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes; nothing that is asked here has a longer answer.
const MESSAGE_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_texts_and_nulls() {
        let body = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        assert_eq!(row(body), Some(vec![Some("ab".to_owned()), None, Some(String::new())]));
        assert_eq!(row(&body[..7]), None);
    }

    #[test]
    fn the_message_of_an_error_is_found() {
        let body = b"SFATAL\0C53300\0Mtoo many\0\0";
        assert_eq!((error_message(body), field(body, b'C')), ("too many".to_owned(), "53300".to_owned()));
        assert_eq!(error_message(b"\0"), "an error without a message");
    }

    #[test]
    fn a_startup_message_counts_itself() {
        let message = startup("u", "d");
        assert_eq!(message.len(), usize::from(message[3]));
        assert!(message.ends_with(b"user\0u\0database\0d\0\0"));
    }
}
