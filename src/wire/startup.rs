//! The packets of a connection's first moments: a length, a code, and no tag (PostgreSQL manual 55.2.1, 55.7).

use crate::limits::STARTUP_PACKET_MAX;

use super::{Reader, Violation, put_string};

/// Newest minor version of protocol 3 that pgweir speaks with clients.
pub const MINOR_MAX: u16 = 2;

/// Longest secret of a cancel request (bytes), by the protocol's 3.2.
pub const CANCEL_SECRET_MAX: usize = 256;

/// What a client may send before its session has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    SslRequest,
    GssEncRequest,
    Cancel {
        process_id: u32,
        secret: &'a [u8],
    },
    Startup(Startup<'a>),
    /// A major version other than 3.
    Unsupported {
        major: u16,
        minor: u16,
    },
}

/// A startup message of protocol 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup<'a> {
    pub minor: u16,
    parameters: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The packet at the start of `bytes`, and how many bytes it takes; `None` when it is not there in full.
    ///
    /// # Errors
    ///
    /// [`Violation::Startup`] for a length outside 8 to [`STARTUP_PACKET_MAX`], for parameters that are not pairs of
    /// strings with a terminator behind them, and for a cancel secret that is empty or too long.
    pub fn read(bytes: &'a [u8]) -> Result<Option<(Packet<'a>, usize)>, Violation> {
        let Some(length) = bytes.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        if !(8..=STARTUP_PACKET_MAX).contains(&length) {
            return Err(Violation::Startup);
        }
        let size = length as usize;
        let Some(packet) = bytes.get(4..size) else { return Ok(None) };
        let mut reader = Reader::new(packet);
        let code = reader.u32()?;
        let (major, minor) = ((code >> 16) as u16, code as u16);
        let rest = reader.rest();
        let packet = match (major, minor) {
            (1234, 5678) => {
                let process_id = reader.u32().map_err(|_| Violation::Startup)?;
                let secret = reader.rest();
                if secret.is_empty() || secret.len() > CANCEL_SECRET_MAX {
                    return Err(Violation::Startup);
                }
                Packet::Cancel { process_id, secret }
            }
            (1234, 5679) if rest.is_empty() => Packet::SslRequest,
            (1234, 5680) if rest.is_empty() => Packet::GssEncRequest,
            (1234, 5679 | 5680) => return Err(Violation::Startup),
            (3, minor) => Packet::Startup(Startup { minor, parameters: Startup::check(rest)? }),
            (major, minor) => Packet::Unsupported { major, minor },
        };
        Ok(Some((packet, size)))
    }
}

impl<'a> Startup<'a> {
    /// The parameters, pairs of name and value, as sent.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.parameters);
        std::iter::from_fn(move || {
            let name = reader.string().ok().filter(|name| !name.is_empty())?;
            Some((name, reader.string().ok()?))
        })
    }

    /// That `parameters` are pairs of strings ended by one zero byte.
    fn check(parameters: &'a [u8]) -> Result<&'a [u8], Violation> {
        let mut reader = Reader::new(parameters);
        loop {
            if reader.string().map_err(|_| Violation::Startup)?.is_empty() {
                break;
            }
            reader.string().map_err(|_| Violation::Startup)?;
        }
        reader.end().map_err(|_| Violation::Startup)?;
        Ok(parameters)
    }
}

/// Appends a startup message of protocol 3.0, as pgweir sends it to a node.
pub fn put_startup<'p>(out: &mut Vec<u8>, parameters: impl Iterator<Item = (&'p [u8], &'p [u8])>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&0x0003_0000u32.to_be_bytes());
    for (name, value) in parameters {
        put_string(out, name);
        put_string(out, value);
    }
    out.push(0);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a cancel request.
pub fn put_cancel(out: &mut Vec<u8>, process_id: u32, secret: &[u8]) {
    out.extend_from_slice(&(12 + secret.len() as u32).to_be_bytes());
    out.extend_from_slice(&0x04d2_162eu32.to_be_bytes());
    out.extend_from_slice(&process_id.to_be_bytes());
    out.extend_from_slice(secret);
}

/// The settings inside a startup packet's `options`, split as the server splits them (`pg_split_opts`: white space
/// separates, a backslash takes the next character as it is), as pairs of name and value.
///
/// # Errors
///
/// The word that is neither `-c name=value`, `-cname=value` nor `--name=value`: those would reach the server's command
/// line, which a pooled backend does not have.
pub fn parse_options(options: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut words: Vec<Vec<u8>> = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = options.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => words.extend(word.take()),
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let refused = || String::from_utf8_lossy(&word).into_owned();
        let setting = match word.as_slice() {
            b"-c" => words.next().ok_or_else(refused)?,
            [b'-', b'c', rest @ ..] | [b'-', b'-', rest @ ..] => rest.to_vec(),
            _ => return Err(refused()),
        };
        let text = String::from_utf8(setting).map_err(|_| refused())?;
        let (name, value) = text.split_once('=').ok_or_else(refused)?;
        // As ParseLongOption does: dashes in a name stand for underscores.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn startup(parameters: &[u8]) -> Vec<u8> {
        let mut bytes = (8 + parameters.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&0x0003_0000u32.to_be_bytes());
        bytes.extend_from_slice(parameters);
        bytes
    }

    #[test]
    fn lengths_outside_the_bounds_are_refused_before_anything_is_kept() {
        for length in [0u32, 4, 7, 10_001, u32::MAX] {
            assert_eq!(Packet::read(&length.to_be_bytes()), Err(Violation::Startup), "{length}");
        }
        assert_eq!(Packet::read(&8u32.to_be_bytes()), Ok(None));
    }

    #[test]
    fn parameters_must_be_pairs_with_a_terminator() {
        for wrong in [&b""[..], b"user\0", b"user\0a", b"user\0a\0", b"user\0a\0\0x", b"user\0a\0\0\0"] {
            assert_eq!(Packet::read(&startup(wrong)), Err(Violation::Startup), "{wrong:?}");
        }
        let bytes = startup(b"user\0a\0database\0\0\0");
        let Ok(Some((Packet::Startup(startup), size))) = Packet::read(&bytes) else { panic!() };
        assert_eq!(size, bytes.len());
        let pairs: Vec<_> = startup.parameters().collect();
        assert_eq!(pairs, [(&b"user"[..], &b"a"[..]), (b"database", b"")]);
    }

    #[test]
    fn the_codes_that_are_not_versions_are_told_apart() {
        let ssl = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
        assert_eq!(Packet::read(&ssl), Ok(Some((Packet::SslRequest, 8))));
        let gss = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30];
        assert_eq!(Packet::read(&gss), Ok(Some((Packet::GssEncRequest, 8))));
        let mut cancel = Vec::new();
        put_cancel(&mut cancel, 7, &[1, 2, 3, 4]);
        assert_eq!(
            Packet::read(&cancel),
            Ok(Some((Packet::Cancel { process_id: 7, secret: &[1, 2, 3, 4] }, 16)))
        );
        let v2 = [0, 0, 0, 8, 0, 2, 0, 0];
        assert_eq!(Packet::read(&v2), Ok(Some((Packet::Unsupported { major: 2, minor: 0 }, 8))));
    }

    #[test]
    fn options_are_split_as_the_server_splits_them() {
        let parsed = parse_options(b"-c geqo=off  --search_path=a\\ b -cwork-mem=1MB").unwrap();
        let parsed: Vec<_> = parsed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(parsed, [("geqo", "off"), ("search_path", "a b"), ("work_mem", "1MB")]);
        assert_eq!(parse_options(b"-h"), Err("-h".to_owned()));
        assert_eq!(parse_options(b"-c"), Err("-c".to_owned()));
        assert_eq!(parse_options(b""), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Packet::read(&bytes);
            let _ = parse_options(&bytes);
        }

        #[test]
        fn what_is_sent_is_read(parameters in proptest::collection::vec(("[a-z_.]{1,9}", "[ -~]{0,9}"), 0..5)) {
            let mut bytes = Vec::new();
            put_startup(&mut bytes, parameters.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())));
            let Ok(Some((Packet::Startup(startup), size))) = Packet::read(&bytes) else { panic!() };
            prop_assert_eq!(size, bytes.len());
            let read: Vec<_> = startup.parameters().collect();
            let sent: Vec<_> = parameters.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            prop_assert_eq!(read, sent);
        }
    }
}
