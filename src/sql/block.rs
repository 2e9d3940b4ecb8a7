//! Sixteen bytes of a text at once.
//!
//! Every keyword but one is no longer, so a look-up compares one number; and a few steps for all its bytes together
//! (SIMD) say what they are.
//!
//! Behind the end of the text a block has zeros, which belong to no name.

use wide::{i8x16, u8x16};

/// How many bytes a block has.
pub(super) const SIZE: usize = 16;

#[derive(Clone, Copy)]
pub(super) struct Block(u128);

impl Block {
    #[inline(always)]
    pub fn of(bytes: &[u8; SIZE]) -> Block {
        Block(u128::from_le_bytes(*bytes))
    }

    /// The block that starts at `at`, which is not beyond the text's end.
    #[inline(always)]
    pub fn at(text: &[u8], at: usize) -> Block {
        let rest = &text[at..];
        if let Some(bytes) = rest.first_chunk() {
            return Block::of(bytes);
        }
        match text.last_chunk() {
            Some(last) => {
                let missing = (SIZE - rest.len()) as u32;
                Block(u128::from_le_bytes(*last).checked_shr(u8::BITS * missing).unwrap_or(0))
            }
            None => Block(few(rest)),
        }
    }

    /// Which bytes may stand inside a name: letters, digits, `_`, `$`, and bytes from 0x80 on. The first byte's bit is
    /// the lowest.
    #[inline(always)]
    pub fn names(self) -> u16 {
        let bytes = self.bytes();
        let letters = within(bytes | i8x16::splat(0x20), b'a', b'z');
        let others = within(bytes, b'0', b'9') | is(bytes, b'_') | is(bytes, b'$');
        // Only top bits count, so bytes from 0x80 on need no comparison.
        (letters | others | bytes).to_bitmask() as u16
    }

    /// How many of the bytes stand before a `byte`; all, if there is none.
    #[inline(always)]
    pub fn len_before(self, byte: u8) -> usize {
        (is(self.bytes(), byte).to_bitmask() | 1 << SIZE).trailing_zeros() as usize
    }

    /// Which bytes are zero, the first byte's bit lowest.
    #[inline(always)]
    pub fn nuls(self) -> u16 {
        is(self.bytes(), 0).to_bitmask() as u16
    }

    #[inline(always)]
    fn bytes(self) -> i8x16 {
        u8x16::new(self.0.to_le_bytes()).cast_signed()
    }

    /// The first `len` bytes, at most all, as a number with the first byte lowest.
    #[inline(always)]
    pub fn head(self, len: usize) -> u128 {
        self.0 & HEAD[len]
    }
}

/// Which bytes are that one.
#[inline(always)]
fn is(bytes: i8x16, byte: u8) -> i8x16 {
    bytes.simd_eq(i8x16::splat(byte as i8))
}

/// Which bytes are these or between them. Vectors compare with a sign, so the range is moved to the lowest numbers.
#[inline(always)]
fn within(bytes: i8x16, first: u8, last: u8) -> i8x16 {
    let lowest = bytes + i8x16::splat(i8::MIN.wrapping_sub(first as i8));
    lowest.simd_lt(i8x16::splat(i8::MIN + (last - first) as i8 + 1))
}

/// Fewer than sixteen bytes as a number, by two loads that may overlap.
#[inline(never)]
fn few(bytes: &[u8]) -> u128 {
    let bits = 8 * bytes.len() as u32;
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u128::from(u64::from_le_bytes(*last)) << (bits - u64::BITS);
        u128::from(u64::from_le_bytes(*first)) | last
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (bits - u32::BITS);
        u128::from(u64::from(u32::from_le_bytes(*first)) | last)
    } else {
        bytes.iter().rev().fold(0, |block, &byte| block << u8::BITS | u128::from(byte))
    }
}

/// Masks that keep so many bytes.
static HEAD: [u128; SIZE + 1] = {
    let mut masks = [u128::MAX; SIZE + 1];
    let mut len = 0;
    while len < SIZE {
        masks[len] = (1 << (8 * len)) - 1;
        len += 1;
    }
    masks
};

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte in every place, among some others.
    #[test]
    fn bits_say_what_the_bytes_are() {
        for place in 0..SIZE {
            for byte in 0..=u8::MAX {
                for next in [0, b'$', b'0', b'\'', b'x', 0x80, 0xff] {
                    for filler in [b'x', b'7', 0xe9, b' '] {
                        let mut text = [filler; SIZE];
                        text[place] = byte;
                        if let Some(behind) = text.get_mut(place + 1) {
                            *behind = next;
                        }
                        check(&text);
                    }
                }
            }
        }
    }

    fn check(text: &[u8; SIZE]) {
        let before = |ends: fn(u8) -> bool| text.iter().position(|&byte| ends(byte)).unwrap_or(SIZE);
        let bits = |is: fn(u8) -> bool| {
            text.iter().enumerate().fold(0, |bits, (at, &byte)| bits | u16::from(is(byte)) << at)
        };
        let block = Block::at(text, 0);
        assert_eq!(
            block.names(),
            bits(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte) || byte >= 0x80),
            "{text:x?}"
        );
        assert_eq!(block.nuls(), bits(|byte| byte == 0), "{text:x?}");
        assert_eq!(block.len_before(b'\''), before(|byte| byte == b'\''), "{text:x?}");
    }

    #[test]
    fn near_the_end_zeros_follow() {
        let text: Vec<u8> = (1..=40).collect();
        for len in 0..=text.len() {
            for at in 0..=len {
                let mut expected = [0; SIZE];
                let rest = &text[at..len.min(at + SIZE)];
                expected[..rest.len()].copy_from_slice(rest);
                assert_eq!(Block::at(&text[..len], at).0.to_le_bytes(), expected);
            }
        }
    }

    #[test]
    fn a_head_ends_in_zeros() {
        let block = Block::at(&[0xff; SIZE], 0);
        for len in 0..=SIZE {
            let expected: Vec<u8> = (0..SIZE).map(|at| if at < len { 0xff } else { 0 }).collect();
            assert_eq!(block.head(len).to_le_bytes(), expected[..]);
        }
    }
}
