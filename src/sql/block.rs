//! Sixteen bytes of a text at once.
//!
//! Every keyword but one is no longer, so a look-up compares one number; and most names and small literals end within
//! the first eight, so that plain arithmetic on them (SWAR) finds the end without a loop.
//!
//! Behind the end of the text a block has zeros, which belong to no run.

/// How many bytes a block has.
pub(super) const SIZE: usize = 16;

#[derive(Clone, Copy)]
pub(super) struct Block(u128);

impl Block {
    /// The block that starts at `at`, which is not beyond the text's end.
    #[inline(always)]
    pub fn at(text: &[u8], at: usize) -> Block {
        let rest = &text[at..];
        match rest.first_chunk() {
            Some(bytes) => Block(u128::from_le_bytes(*bytes)),
            None => Block(last(rest)),
        }
    }

    /// How many of the first eight bytes, counted from the front, are ASCII letters, digits or `_`.
    ///
    /// One number holds eight bytes, and the top bit of each says what is true of it: adding `0x80 - low` sets it
    /// from `low` on. A byte from 0x80 on disturbs only those behind it, and is itself the end.
    #[inline(always)]
    pub fn word_len(self) -> usize {
        let bytes = self.0 as u64;
        let from = |bytes: u64, low: u8| bytes.wrapping_add(all(0x80 - low));
        let folded = bytes | all(0x20);
        let letters = from(folded, b'a') & !from(folded, b'z' + 1);
        let digits = from(bytes, b'0') & !from(bytes, b'9' + 1);
        let lines = all(0x80).wrapping_sub(bytes ^ all(b'_'));
        let ends = !((letters | digits | lines) & !bytes) & all(0x80);
        (ends.trailing_zeros() / u8::BITS) as usize
    }

    /// How many of the first eight bytes stand before a `byte`.
    #[inline(always)]
    pub fn len_before(self, byte: u8) -> usize {
        // Where it stands there is zero now, and the first zero is the first byte that a subtraction borrows for.
        let bytes = self.0 as u64 ^ all(byte);
        let ends = bytes.wrapping_sub(all(1)) & !bytes & all(0x80);
        (ends.trailing_zeros() / u8::BITS) as usize
    }

    /// The first `len` bytes, at most all, as a number with the first byte lowest.
    #[inline(always)]
    pub fn head(self, len: usize) -> u128 {
        self.0 & HEAD[len]
    }
}

#[inline(always)]
const fn all(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Fewer than sixteen bytes as a block, by two loads that may overlap.
#[cold]
#[inline(never)]
fn last(bytes: &[u8]) -> u128 {
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

    /// Every byte in every place, before every other: a run ends at the first that is not of it.
    #[test]
    fn runs_end_where_their_bytes_do() {
        for place in 0..SIZE / 2 {
            for byte in 0..=u8::MAX {
                for next in 0..=u8::MAX {
                    let mut text = [b'x'; SIZE];
                    text[place] = byte;
                    text[place + 1] = next;
                    let before =
                        |ends: fn(u8) -> bool| text[..8].iter().position(|&byte| ends(byte)).unwrap_or(8);
                    let block = Block::at(&text, 0);
                    let word = before(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
                    assert_eq!(block.word_len(), word, "{byte:#x} {next:#x} at {place}");
                    let quote = before(|byte| byte == b'\'');
                    assert_eq!(block.len_before(b'\''), quote, "{byte:#x} {next:#x} at {place}");
                }
            }
        }
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
