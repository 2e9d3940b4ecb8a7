//! A node that is no PostgreSQL: it lets everybody in, says that it is a primary, and takes and gives messages of any
//! size without the memory that a server needs for them.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// Listens until the process ends. What it is asked:
///
/// * a query that begins with `SELECT pg_is_in_recovery()`: the row that a probe wants;
/// * `row N`: one row of one column of N bytes;
/// * any other query, and an Execute behind a Bind: one row with the number of bytes in the body of that message.
pub struct FakeNode {
    port: u16,
}

impl FakeNode {
    #[track_caller]
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // Whoever goes away in the middle of something has his reasons.
                std::thread::spawn(move || Server::new(stream).and_then(Server::serve));
            }
        });
        Self { port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

struct Server {
    input: BufReader<TcpStream>,
    output: BufWriter<TcpStream>,
    /// Bytes in the body of the last Bind.
    bound: usize,
}

impl Server {
    fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let output = BufWriter::with_capacity(PIECE, stream.try_clone()?);
        Ok(Self { input: BufReader::with_capacity(PIECE, stream), output, bound: 0 })
    }

    fn serve(mut self) -> io::Result<()> {
        let packet = self.length()?;
        self.skip(packet)?;
        self.message(b'R', &0u32.to_be_bytes())?;
        for (name, value) in [
            ("server_version", "15.0"),
            ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
            ("integer_datetimes", "on"),
        ] {
            self.message(b'S', format!("{name}\0{value}\0").as_bytes())?;
        }
        self.message(b'K', &[0, 0, 0, 1, 0, 0, 0, 2])?;
        self.message(b'Z', b"I")?;
        loop {
            // Nothing is sent before there is nothing more to read at once.
            if self.input.buffer().is_empty() {
                self.output.flush()?;
            }
            let mut tag = [0];
            self.input.read_exact(&mut tag)?;
            let length = self.length()?;
            match tag[0] {
                b'Q' => self.query(length)?,
                b'X' => return Ok(()),
                tag => {
                    self.skip(length)?;
                    match tag {
                        b'P' => self.message(b'1', b"")?,
                        b'B' => {
                            self.bound = length;
                            self.message(b'2', b"")?;
                        }
                        b'C' => self.message(b'3', b"")?,
                        b'D' => self.description()?,
                        b'E' => {
                            self.row(&[Some(&self.bound.to_string())])?;
                            self.message(b'C', b"SELECT 1\0")?;
                        }
                        b'S' => self.message(b'Z', b"I")?,
                        _ => {}
                    }
                }
            }
        }
    }

    fn query(&mut self, length: usize) -> io::Result<()> {
        let mut text = vec![0; length.min(PROBE_MAX)];
        self.input.read_exact(&mut text)?;
        self.skip(length - text.len())?;
        let text = String::from_utf8_lossy(&text).into_owned();
        self.description()?;
        match text.trim_end_matches('\0').strip_prefix("row ").and_then(|size| size.parse().ok()) {
            Some(size) => self.long_row(size)?,
            None if text.starts_with(PROBE) => self.row(PRIMARY)?,
            None => self.row(&[Some(&length.to_string())])?,
        }
        self.message(b'C', b"SELECT 1\0")?;
        self.message(b'Z', b"I")
    }

    /// A RowDescription of one column of text; nobody here counts them.
    fn description(&mut self) -> io::Result<()> {
        let rest = [0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
        self.message(b'T', &[&[0, 1, b'v', 0][..], &rest].concat())
    }

    fn row(&mut self, columns: &[Option<&str>]) -> io::Result<()> {
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for column in columns {
            match column {
                Some(value) => {
                    body.extend((value.len() as u32).to_be_bytes());
                    body.extend(value.bytes());
                }
                None => body.extend([0xff; 4]),
            }
        }
        self.message(b'D', &body)
    }

    fn long_row(&mut self, size: usize) -> io::Result<()> {
        self.head(b'D', 2 + 4 + size)?;
        self.output.write_all(&[0, 1])?;
        self.output.write_all(&(size as u32).to_be_bytes())?;
        io::copy(&mut io::repeat(b'x').take(size as u64), &mut self.output)?;
        Ok(())
    }

    fn message(&mut self, tag: u8, body: &[u8]) -> io::Result<()> {
        self.head(tag, body.len())?;
        self.output.write_all(body)
    }

    fn head(&mut self, tag: u8, body: usize) -> io::Result<()> {
        self.output.write_all(&[tag])?;
        self.output.write_all(&(body as u32 + 4).to_be_bytes())
    }

    /// Reads a length, and returns how many bytes follow it.
    fn length(&mut self) -> io::Result<usize> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        (u32::from_be_bytes(length) as usize).checked_sub(4).ok_or(io::ErrorKind::InvalidData.into())
    }

    fn skip(&mut self, length: usize) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut self.input).take(length as u64), &mut io::sink())?;
        if skipped == length as u64 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

/// How every probe begins.
const PROBE: &str = "SELECT pg_is_in_recovery()";
/// What a primary without replicas answers to it.
const PRIMARY: &[Option<&str>] = &[
    Some("f"),
    Some("0/3000000"),
    None,
    None,
    None,
    Some("00000001"),
    Some("2026-01-01 00:00:00+00"),
    Some("16777216"),
    Some("8192"),
    Some("f"),
    None,
    None,
    None,
    None,
    None,
    None,
    Some("1"),
    Some("7000000000000000000"),
];
/// No probe is longer (bytes).
const PROBE_MAX: usize = 4096;
/// How much is read and written at a time (bytes).
const PIECE: usize = 256 * 1024;
