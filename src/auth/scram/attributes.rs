//! The grammar all SCRAM messages share: `a=value,b=value` (RFC 5802 section 7).

use super::NONCE_MAX;

/// How a message breaks the grammar. By itself it does not say whose message: a client's or a node's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// What is left to read of a message, attribute by attribute.
pub(super) struct Attributes<'a> {
    rest: &'a [u8],
}

impl<'a> Attributes<'a> {
    /// # Errors
    /// A message holds neither NUL nor nothing at all. PostgreSQL refuses both.
    pub(super) fn new(message: &'a [u8]) -> Result<Attributes<'a>, Malformed> {
        if message.is_empty() {
            return Err(Malformed("the SCRAM message is empty"));
        }
        if message.contains(&0) {
            return Err(Malformed("a NUL byte in the SCRAM message"));
        }
        Ok(Attributes { rest: message })
    }

    /// The value of the next attribute, which must be the one called `name`; `otherwise` is the complaint.
    pub(super) fn expect(&mut self, name: u8, otherwise: &'static str) -> Result<&'a [u8], Malformed> {
        match self.next()? {
            Some((found, value)) if found == name => Ok(value),
            _ => Err(Malformed(otherwise)),
        }
    }

    /// The next attribute's name and value; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u8, &'a [u8])>, Malformed> {
        let [name, equals, value @ ..] = self.rest else {
            return if self.rest.is_empty() {
                Ok(None)
            } else {
                Err(Malformed("a SCRAM attribute is cut off"))
            };
        };
        if !name.is_ascii_alphabetic() {
            return Err(Malformed("the name of a SCRAM attribute is not a letter"));
        }
        if *equals != b'=' {
            return Err(Malformed("'=' expected behind the name of a SCRAM attribute"));
        }
        let comma = value.iter().position(|&byte| byte == b',');
        let (value, rest) = match comma {
            Some(at) => (&value[..at], &value[at + 1..]),
            None => (value, &[][..]),
        };
        self.rest = rest;
        Ok(Some((*name, value)))
    }

    /// How many bytes are left: tells where in the message an attribute starts.
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }
}

/// Whether `text` may be a nonce or a part of one: 1 to [`NONCE_MAX`] printable ASCII characters without comma.
pub(super) fn is_nonce(text: &[u8]) -> bool {
    (1..=NONCE_MAX).contains(&text.len()) && text.iter().all(|&byte| byte.is_ascii_graphic() && byte != b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(message: &[u8]) -> Result<Vec<(u8, Vec<u8>)>, Malformed> {
        let mut attributes = Attributes::new(message)?;
        let mut found = Vec::new();
        while let Some((name, value)) = attributes.next()? {
            found.push((name, value.to_vec()));
        }
        Ok(found)
    }

    #[test]
    fn attributes_in_order() {
        let found = all(b"n=,r=a=b,x=1").unwrap();
        assert_eq!(found, vec![(b'n', b"".to_vec()), (b'r', b"a=b".to_vec()), (b'x', b"1".to_vec())]);
    }

    #[test]
    fn damage() {
        for message in [&b""[..], b"n", b"n=a,r", b"=a", b"n:a", b"1=a", b"n=a,,r=b", b"n=\0"] {
            assert!(all(message).is_err(), "{message:?}");
        }
    }

    #[test]
    fn nonces() {
        assert!(is_nonce(b"fyko+d2lbbFgONRv9qkxdawL"));
        assert!(is_nonce(b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"));
        assert!(is_nonce(&[b'x'; NONCE_MAX]));
        for text in [&b""[..], b"a,b", b"a b", b"a\x7f", "é".as_bytes(), &[b'x'; NONCE_MAX + 1]] {
            assert!(!is_nonce(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(message in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(found) = all(&message) {
                let length: usize = found.iter().map(|(_, value)| value.len() + 3).sum();
                // Each attribute takes its name, '=' and a comma, which may be missing at the end.
                prop_assert!(length == message.len() || length == message.len() + 1);
            }
        }
    }
}
