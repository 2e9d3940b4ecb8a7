//! A client that speaks the wire protocol byte by byte, and so can also say what no driver would.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pgweir::demo::sql::Login as Answers;

use super::PATIENCE;
use super::login::Address;
use super::message::{Message, Outcome, Reader, ServerError, tags};

/// A connection, from its first byte on. What is awaited and does not come within 20 s is a panic.
pub struct Client {
    stream: Stream,
    address: Address,
    /// Written, but not sent before `sync`, `flush` or `send`.
    outbox: Vec<u8>,
    /// What the other side reported by ParameterStatus, newest values.
    pub parameters: BTreeMap<String, String>,
    /// The key that a cancel request names, once the login is over.
    pub key: Option<CancelKey>,
    /// The transaction status of the last ReadyForQuery.
    pub status: char,
    /// The version and the refused options of a NegotiateProtocolVersion, when one came.
    pub negotiated: Option<(i32, Vec<String>)>,
}

/// What a BackendKeyData says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelKey {
    pub process_id: i32,
    /// Four bytes up to protocol 3.0, up to 256 from 3.2 on.
    pub secret: Vec<u8>,
}

impl Client {
    /// Connects, and says nothing yet.
    #[track_caller]
    pub fn open(address: &Address) -> Self {
        Self::try_open(address)
            .unwrap_or_else(|error| panic!("nobody takes a connection at {address:?}: {error}"))
    }

    /// Connects, and says nothing yet.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn try_open(address: &Address) -> io::Result<Self> {
        let stream = match address {
            Address::Port(port) => Stream::tcp(SocketAddr::from(([127, 0, 0, 1], *port)))?,
            Address::Tcp(address) => Stream::tcp(*address)?,
            Address::Socket(folder, port) => {
                Stream::Unix(UnixStream::connect(folder.join(format!(".s.PGSQL.{port}")))?)
            }
        };
        stream.patience(Some(PATIENCE))?;
        Ok(Self {
            stream,
            address: address.clone(),
            outbox: Vec::new(),
            parameters: BTreeMap::new(),
            key: None,
            status: '?',
            negotiated: None,
        })
    }

    // What a connection begins with.

    /// Sends a startup message.
    #[track_caller]
    pub fn startup(&mut self, version: (u16, u16), parameters: &[(&str, &str)]) {
        self.try_startup(version, parameters)
            .unwrap_or_else(|error| panic!("the other side takes nothing: {error}"));
    }

    /// As [`startup`](Self::startup), to a side that may have closed by now.
    ///
    /// # Errors
    /// When it has.
    pub fn try_startup(&mut self, version: (u16, u16), parameters: &[(&str, &str)]) -> io::Result<()> {
        let mut body = Vec::new();
        body.extend(version.0.to_be_bytes());
        body.extend(version.1.to_be_bytes());
        for word in parameters.iter().flat_map(|(name, value)| [name, value]) {
            body.extend(word.bytes());
            body.push(0);
        }
        body.push(0);
        self.try_send_raw(&untagged(&body))
    }

    /// Asks for TLS, and returns the one byte that answers.
    #[track_caller]
    pub fn ssl_request(&mut self) -> char {
        self.send_raw(&untagged(&SSL_REQUEST.to_be_bytes()));
        self.recv_byte()
    }

    /// Asks for GSSAPI encryption, and returns the one byte that answers.
    #[track_caller]
    pub fn gss_request(&mut self) -> char {
        self.send_raw(&untagged(&GSS_REQUEST.to_be_bytes()));
        self.recv_byte()
    }

    /// Answers whatever way of authentication is asked for, up to the first ReadyForQuery.
    ///
    /// # Errors
    /// The ErrorResponse that ends the login.
    #[track_caller]
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<(), ServerError> {
        self.try_log_in(user, password).unwrap_or_else(|error| panic!("no message: {error}"))
    }

    /// As [`log_in`](Self::log_in); the outer error is that of a connection that broke on the way.
    ///
    /// # Errors
    /// What the socket says; within, the ErrorResponse that ends the login.
    #[track_caller]
    pub fn try_log_in(&mut self, user: &str, password: &str) -> io::Result<Result<(), ServerError>> {
        let mut answers = Answers::new(user, password);
        loop {
            let message = self.try_recv_message()?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match message.tag {
                b'E' => return Ok(Err(message.error())),
                b'R' => match answers.answer(&message.body) {
                    Ok(Some(answer)) => self.try_send_raw(&answer)?,
                    Ok(None) => {}
                    Err(error) => panic!("the login cannot go on: {error}"),
                },
                b'Z' => return Ok(Ok(())),
                _ => {}
            }
        }
    }

    // Whole queries.

    /// Runs a simple query.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Outcome {
        self.try_query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a simple query, or returns what it was refused with.
    ///
    /// # Errors
    /// The first ErrorResponse.
    #[track_caller]
    pub fn try_query(&mut self, sql: &str) -> Result<Outcome, ServerError> {
        self.send_query(sql);
        Outcome::of(&self.until_ready())
    }

    /// Runs a simple query and returns the first column of the first row.
    #[track_caller]
    pub fn value(&mut self, sql: &str) -> String {
        self.query(sql).value().to_owned()
    }

    /// Runs a simple query that must be refused with this SQLSTATE, while the session goes on.
    #[track_caller]
    pub fn expect_refused(&mut self, sql: &str, sqlstate: &str) -> ServerError {
        match self.try_query(sql) {
            Ok(outcome) => panic!("{sql}: not refused with {sqlstate}, but {outcome:?}"),
            Err(error) => {
                assert_eq!(error.sqlstate(), sqlstate, "{sql}: {error}");
                error
            }
        }
    }

    /// Runs a statement by the extended protocol, unnamed, with parameters as text.
    #[track_caller]
    pub fn prepared(&mut self, sql: &str, values: &[Option<&str>]) -> Result<Outcome, ServerError> {
        self.parse("", sql, &[]).bind("", "", values).describe_portal("").execute("", 0).sync();
        Outcome::of(&self.until_ready())
    }

    /// Sends a simple query and does not wait for what comes of it.
    #[track_caller]
    pub fn send_query(&mut self, sql: &str) {
        self.send(b'Q', &zero_ended(&[sql]));
    }

    /// Copies `data` in by a `COPY … FROM STDIN`.
    ///
    /// # Errors
    /// The first ErrorResponse.
    #[track_caller]
    pub fn copy_in(&mut self, sql: &str, data: &[u8]) -> Result<Outcome, ServerError> {
        self.send_query(sql);
        let began = self.recv_message();
        if began.tag != b'G' {
            let mut messages = vec![began];
            messages.extend(self.until_ready());
            return Outcome::of(&messages);
        }
        for piece in data.chunks(COPY_PIECE) {
            self.send(b'd', piece);
        }
        self.send(b'c', b"");
        Outcome::of(&self.until_ready())
    }

    /// The bytes that come out of a `COPY … TO STDOUT`.
    ///
    /// # Errors
    /// The first ErrorResponse.
    #[track_caller]
    pub fn copy_out(&mut self, sql: &str) -> Result<Vec<u8>, ServerError> {
        self.send_query(sql);
        let messages = self.until_ready();
        Outcome::of(&messages)?;
        Ok(messages
            .into_iter()
            .filter(|message| message.tag == b'd')
            .flat_map(|message| message.body)
            .collect())
    }

    // The extended protocol: written one after the other, sent together by `sync` or `flush`.

    #[track_caller]
    pub fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> &mut Self {
        let mut body = zero_ended(&[name, sql]);
        body.extend(count(types.len()));
        body.extend(types.iter().flat_map(|oid| oid.to_be_bytes()));
        self.write(b'P', &body)
    }

    /// Parameters and results as text.
    #[track_caller]
    pub fn bind(&mut self, portal: &str, statement: &str, values: &[Option<&str>]) -> &mut Self {
        let mut body = zero_ended(&[portal, statement]);
        body.extend(count(0));
        body.extend(count(values.len()));
        for value in values {
            match value {
                None => body.extend((-1i32).to_be_bytes()),
                Some(value) => {
                    body.extend(length(value.len()));
                    body.extend(value.bytes());
                }
            }
        }
        body.extend(count(0));
        self.write(b'B', &body)
    }

    #[track_caller]
    pub fn describe_statement(&mut self, name: &str) -> &mut Self {
        self.write(b'D', &zero_ended(&[&format!("S{name}")]))
    }

    #[track_caller]
    pub fn describe_portal(&mut self, name: &str) -> &mut Self {
        self.write(b'D', &zero_ended(&[&format!("P{name}")]))
    }

    /// At most `rows_max` rows, or all for 0.
    #[track_caller]
    pub fn execute(&mut self, portal: &str, rows_max: u32) -> &mut Self {
        let mut body = zero_ended(&[portal]);
        body.extend(rows_max.to_be_bytes());
        self.write(b'E', &body)
    }

    #[track_caller]
    pub fn close_statement(&mut self, name: &str) -> &mut Self {
        self.write(b'C', &zero_ended(&[&format!("S{name}")]))
    }

    #[track_caller]
    pub fn close_portal(&mut self, name: &str) -> &mut Self {
        self.write(b'C', &zero_ended(&[&format!("P{name}")]))
    }

    /// Writes a simple query among the other messages, for a pipeline that mixes both protocols.
    #[track_caller]
    pub fn write_query(&mut self, sql: &str) -> &mut Self {
        self.write(b'Q', &zero_ended(&[sql]))
    }

    #[track_caller]
    pub fn sync(&mut self) {
        self.write(b'S', b"").send_out();
    }

    #[track_caller]
    pub fn flush(&mut self) {
        self.write(b'H', b"").send_out();
    }

    /// Writes a Sync that is sent later, with what follows: a pipeline of several.
    #[track_caller]
    pub fn write_sync(&mut self) -> &mut Self {
        self.write(b'S', b"")
    }

    // Messages and bytes.

    /// Writes any message, to be sent together with those that follow.
    #[track_caller]
    pub fn write(&mut self, tag: u8, body: &[u8]) -> &mut Self {
        self.outbox.push(tag);
        self.outbox.extend(untagged(body));
        self
    }

    /// Sends any message, after those that were written.
    #[track_caller]
    pub fn send(&mut self, tag: u8, body: &[u8]) {
        self.write(tag, body).send_out();
    }

    /// Sends what was written.
    #[track_caller]
    pub fn send_out(&mut self) {
        let bytes = std::mem::take(&mut self.outbox);
        self.send_raw(&bytes);
    }

    /// Sends any bytes.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.try_send_raw(bytes).unwrap_or_else(|error| panic!("the other side takes nothing: {error}"));
    }

    /// Sends any bytes to a side that may have closed by now.
    ///
    /// # Errors
    /// When it has.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// A second hand on the same connection, for a thread that sends while this one reads.
    #[track_caller]
    pub fn sender(&self) -> Box<dyn Write + Send> {
        match &self.stream {
            Stream::Tcp(stream) => Box::new(stream.try_clone().expect("one more descriptor")),
            Stream::Unix(stream) => Box::new(stream.try_clone().expect("one more descriptor")),
        }
    }

    /// The next message. Parameters, cancel keys and the transaction status in it are noted.
    #[track_caller]
    pub fn recv_message(&mut self) -> Message {
        match self.try_recv_message() {
            Ok(Some(message)) => message,
            Ok(None) => panic!("the other side closed the connection"),
            Err(error) => panic!("no message: {error}"),
        }
    }

    /// The next message, or `None` when the other side has closed instead.
    ///
    /// # Errors
    /// When nothing comes in time, the connection was reset, or it ends inside a message.
    pub fn try_recv_message(&mut self) -> io::Result<Option<Message>> {
        let mut head = [0u8; 5];
        // A machine that is paused and goes on interrupts reads that have a time limit (signal(7)).
        let read = loop {
            match self.stream.read(&mut head[..1]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if read == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut head[1..])?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let length = length.checked_sub(4).ok_or(ErrorKind::InvalidData)?;
        let mut body = vec![0u8; length];
        self.stream.read_exact(&mut body)?;
        let message = Message { tag: head[0], body };
        self.note(&message);
        Ok(Some(message))
    }

    /// The tag of the next message and the bytes in its body, which are read and forgotten: for what is too long to be
    /// kept.
    #[track_caller]
    pub fn recv_length(&mut self) -> (u8, usize) {
        let mut head = [0u8; 5];
        self.stream.read_exact(&mut head).unwrap_or_else(|error| panic!("no message: {error}"));
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize - 4;
        let mut piece = vec![0; length.min(LONG_PIECE)];
        let mut rest = length;
        while rest > 0 {
            let part = rest.min(piece.len());
            let read = self.stream.read_exact(&mut piece[..part]);
            read.unwrap_or_else(|error| panic!("{rest} of {length} bytes do not come: {error}"));
            rest -= part;
        }
        (head[0], length)
    }

    /// All messages up to and including the next ReadyForQuery.
    #[track_caller]
    pub fn until_ready(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            messages.push(self.recv_message());
            if messages.last().is_some_and(|message| message.tag == b'Z') {
                return messages;
            }
        }
    }

    /// Reads up to and including the next ReadyForQuery and compares the tags, such as `"12DCZ"`. Notices and reported
    /// parameters may come at any time and do not count.
    #[track_caller]
    pub fn expect_tags(&mut self, expected: &str) -> Vec<Message> {
        let mut messages = self.until_ready();
        messages.retain(|message| !matches!(message.tag, b'N' | b'S' | b'A'));
        assert_eq!(tags(&messages), expected, "messages: {messages:?}");
        messages
    }

    /// Reads up to the next ErrorResponse, which must have this SQLSTATE.
    #[track_caller]
    pub fn expect_sqlstate(&mut self, sqlstate: &str) -> ServerError {
        loop {
            let message = self.recv_message();
            if message.tag == b'E' {
                let error = message.error();
                assert_eq!(error.sqlstate(), sqlstate, "{error}");
                return error;
            }
            assert_ne!(char::from(message.tag), 'Z', "no error came, but the query ended");
        }
    }

    /// Reads until the other side closes, and returns what it said before.
    #[track_caller]
    pub fn expect_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.try_recv_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return messages,
                // What we sent may still be unread there, which turns the closing into a reset.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return messages,
                Err(error) => panic!("not closed: {error}; before that came {messages:?}"),
            }
        }
    }

    /// Whether nothing comes within `within`. For the few cases in which silence is what is to be seen.
    #[track_caller]
    pub fn is_silent(&mut self, within: Duration) -> bool {
        self.stream.patience(Some(within)).expect("a duration above zero");
        let read = loop {
            match self.stream.peek() {
                // As in `try_recv_message`.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.stream.patience(Some(PATIENCE)).expect("a duration above zero");
        matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
    }

    /// Asks for the cancellation of what this client runs, and waits until the request was taken.
    #[track_caller]
    pub fn cancel(&self) {
        let key = self.key.as_ref().expect("the login gave no cancel key");
        cancel(&self.address, key);
    }

    /// Says goodbye and waits until the other side has closed, too.
    #[track_caller]
    pub fn terminate(mut self) {
        self.send(b'X', b"");
        self.expect_closed();
    }

    /// Closes our side for sending and leaves the other open, as a client that died does not.
    pub fn shut(&self) {
        self.stream.shut();
    }

    fn note(&mut self, message: &Message) {
        match message.tag {
            b'K' => {
                let mut rest = Reader(&message.body);
                self.key = Some(CancelKey { process_id: rest.int32(), secret: rest.0.to_vec() });
            }
            b'S' => {
                if let [name, value] = &message.strings()[..] {
                    self.parameters.insert(name.clone(), value.clone());
                }
            }
            b'Z' => self.status = message.status(),
            b'v' => {
                let mut rest = Reader(&message.body);
                let (version, count) = (rest.int32(), rest.int32());
                self.negotiated = Some((version, (0..count).map(|_| rest.string()).collect()));
            }
            _ => {}
        }
    }

    #[track_caller]
    fn recv_byte(&mut self) -> char {
        let mut byte = [0u8];
        self.stream.read_exact(&mut byte).unwrap_or_else(|error| panic!("no answer: {error}"));
        char::from(byte[0])
    }
}

/// Sends a cancel request for `key` and waits until it was taken, which the other side shows by closing.
#[track_caller]
pub fn cancel(address: &Address, key: &CancelKey) {
    let mut request = Client::open(address);
    let body = [&CANCEL_REQUEST.to_be_bytes(), &key.process_id.to_be_bytes(), key.secret.as_slice()].concat();
    request.send_raw(&untagged(&body));
    let said = request.expect_closed();
    assert!(said.is_empty(), "a cancel request is not answered, but {said:?} came");
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(Self::Tcp(stream))
    }

    fn patience(&self, patience: Option<Duration>) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(patience).and_then(|()| stream.set_write_timeout(patience))
            }
        }
    }

    /// Waits for a byte and, over TCP, leaves it there; the standard library cannot do so for unix sockets.
    fn peek(&mut self) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(&mut [0u8]),
            Self::Unix(stream) => stream.read(&mut [0u8]),
        }
    }

    fn shut(&self) {
        // The other side may have closed before: then there is nothing left to do.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn untagged(body: &[u8]) -> Vec<u8> {
    [&length(body.len() + 4), body].concat()
}

fn zero_ended(words: &[&str]) -> Vec<u8> {
    words.iter().flat_map(|word| word.bytes().chain([0])).collect()
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a message of less than 4 GB").to_be_bytes()
}

fn count(count: usize) -> [u8; 2] {
    u16::try_from(count).expect("at most 65535 of them").to_be_bytes()
}

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
/// How much of a long message is read at a time (bytes).
const LONG_PIECE: usize = 1 << 20;
/// How much of a COPY goes into one message.
const COPY_PIECE: usize = 32 * 1024;
