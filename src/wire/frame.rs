//! Frames: five bytes of head (a tag and a length that counts itself but not the tag), then the body.

use crate::limits::{FRAME_BODY_MAX, FRAME_SMALL_MAX};

use super::Violation;

/// Bytes of a frame's head.
pub const HEAD_SIZE: usize = 5;

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub tag: u8,
    /// Bytes of the body: the length field minus the four bytes of itself.
    pub body: u32,
}

impl Head {
    /// Reads the head at the start of `bytes`; `None` when there are fewer than five.
    ///
    /// # Errors
    ///
    /// [`Violation::Length`] for a length that no message of the protocol can have.
    #[inline]
    pub fn read(bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let Some(head) = bytes.first_chunk::<HEAD_SIZE>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        match length.checked_sub(4) {
            Some(body) if body <= FRAME_BODY_MAX => Ok(Some(Head { tag: head[0], body })),
            _ => Err(Violation::Length),
        }
    }

    /// Reads the head of a message from a client.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and [`Violation::Tag`] for a type that clients do not send, [`Violation::Length`] for
    /// a length that this type cannot have.
    #[inline]
    pub fn read_frontend(bytes: &[u8]) -> Result<Option<Head>, Violation> {
        let Some(&tag) = bytes.first() else { return Ok(None) };
        // The type is judged before the length is there, so that a stranger's bytes are refused at the first one.
        let small = match tag {
            b'B' | b'F' | b'P' | b'Q' | b'd' | b'p' => false,
            b'C' | b'D' | b'E' | b'H' | b'S' | b'X' | b'c' | b'f' => true,
            _ => return Err(Violation::Tag),
        };
        match Head::read(bytes)? {
            Some(head) if small && head.body > FRAME_SMALL_MAX => Err(Violation::Length),
            head => Ok(head),
        }
    }

    /// Bytes of the whole frame.
    pub fn frame(&self) -> usize {
        HEAD_SIZE + self.body as usize
    }
}

/// Goes over a stream of frames that nobody reads, to know where one ends.
#[derive(Debug, Default)]
pub struct Walk {
    /// The beginning of a head.
    head: [u8; HEAD_SIZE],
    held: usize,
    /// Bytes of a body that are still to come.
    body: usize,
}

impl Walk {
    /// The next bytes of the stream.
    ///
    /// # Errors
    ///
    /// As [`Head::read`].
    pub fn pass(&mut self, mut bytes: &[u8]) -> Result<(), Violation> {
        while !bytes.is_empty() {
            if self.body > 0 {
                let step = self.body.min(bytes.len());
                self.body -= step;
                bytes = &bytes[step..];
                continue;
            }
            let step = (HEAD_SIZE - self.held).min(bytes.len());
            self.head[self.held..self.held + step].copy_from_slice(&bytes[..step]);
            self.held += step;
            bytes = &bytes[step..];
            if self.held == HEAD_SIZE
                && let Some(head) = Head::read(&self.head)?
            {
                self.held = 0;
                self.body = head.body as usize;
            }
        }
        Ok(())
    }

    /// True exactly when the last frame is complete.
    pub fn between_frames(&self) -> bool {
        self.held == 0 && self.body == 0
    }
}

/// A frame that is there in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub tag: u8,
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, and how many bytes it takes; `None` when it is not there in full.
    ///
    /// # Errors
    ///
    /// As [`Head::read`].
    #[inline]
    pub fn read(bytes: &'a [u8]) -> Result<Option<(Frame<'a>, usize)>, Violation> {
        let Some(head) = Head::read(bytes)? else { return Ok(None) };
        let size = head.frame();
        Ok(bytes.get(HEAD_SIZE..size).map(|body| (Frame { tag: head.tag, body }, size)))
    }
}

/// Moves bytes to a held beginning of a frame until it has `target` of them. `used` says how many of `bytes` are in it by
/// now. True when there were enough.
pub fn fill(held: &mut Vec<u8>, target: usize, bytes: &[u8], used: &mut usize) -> bool {
    let step = target.saturating_sub(held.len()).min(bytes.len() - *used);
    held.extend_from_slice(&bytes[*used..*used + step]);
    *used += step;
    held.len() >= target
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn half_a_head_is_not_an_error_but_a_wrong_length_is() {
        assert_eq!(Head::read(b"Q\0\0\0"), Ok(None));
        assert_eq!(Head::read(b"S\0\0\0\x04"), Ok(Some(Head { tag: b'S', body: 0 })));
        assert_eq!(Head::read(b"S\0\0\0\x03"), Err(Violation::Length));
        assert_eq!(Head::read(b"Q\xff\xff\xff\xff"), Err(Violation::Length));
        assert_eq!(Head::read(b"D\x40\0\0\x03").unwrap().unwrap().body, 0x3fff_ffff);
    }

    #[test]
    fn a_client_may_send_only_what_clients_send() {
        assert_eq!(Head::read_frontend(b"Z"), Err(Violation::Tag));
        assert_eq!(Head::read_frontend(b"\x16\x03\x01\0\0"), Err(Violation::Tag));
        assert_eq!(Head::read_frontend(b"S\0\x10\0\0"), Err(Violation::Length));
        assert_eq!(Head::read_frontend(b""), Ok(None));
    }

    #[test]
    fn a_walk_knows_where_frames_end_however_they_are_cut() {
        let mut bytes = b"S\0\0\0\x04".to_vec();
        super::super::build(&mut bytes, b'd', |out| out.extend_from_slice(&[7; 20]));
        let ends = [0, HEAD_SIZE, bytes.len()];
        for step in 1..bytes.len() {
            let mut walk = Walk::default();
            let mut at = 0;
            for part in bytes.chunks(step) {
                assert_eq!(walk.between_frames(), ends.contains(&at), "{at}");
                walk.pass(part).unwrap();
                at += part.len();
            }
            assert!(walk.between_frames());
        }
        assert_eq!(Walk::default().pass(b"S\0\0\0\x03"), Err(Violation::Length));
    }

    proptest! {
        #[test]
        fn what_was_built_is_read(tag: u8, body: Vec<u8>, rest: Vec<u8>) {
            let mut bytes = Vec::new();
            super::super::build(&mut bytes, tag, |out| out.extend_from_slice(&body));
            let size = bytes.len();
            for cut in 0..size {
                prop_assert_eq!(Frame::read(&bytes[..cut]), Ok(None));
            }
            bytes.extend_from_slice(&rest);
            prop_assert_eq!(Frame::read(&bytes), Ok(Some((Frame { tag, body: &body }, size))));
        }
    }
}
