//! Which of 64 bytes may stand inside a name, one bit each: the end of a name is then a count of ones.
//!
//! Where a token begins depends on where the one before it ended, so what counts is how soon that is known. Looking at
//! the bytes only when their turn comes takes five times as long as asking bits that were made together before.
//! (Digits are better looked at one by one: numbers are short, and foreseeing their ends costs no wait at all.)

use super::{Block, SIZE};

#[derive(Clone, Copy)]
pub(super) struct Window {
    /// Where in the text the first byte stands.
    base: usize,
    /// What may stand inside a name. The first byte's bit is the lowest; behind the end of the text no bit is set.
    names: u64,
}

/// How many bytes a window has.
pub(super) const LEN: usize = u64::BITS as usize;

impl Window {
    /// A window before it is moved to where it is needed.
    pub const NOWHERE: Window = Window { base: usize::MAX / 2, names: 0 };

    /// Where the name ends that begins at `start`, if that is inside the window.
    #[inline(always)]
    pub fn end_of_name(&self, start: usize) -> Option<usize> {
        let place = start.wrapping_sub(self.base);
        if place >= LEN {
            return None;
        }
        let len = (!(self.names >> place)).trailing_zeros() as usize;
        (place + len < LEN).then_some(start + len)
    }

    /// Moves the window to `start`, which is not beyond the text's end.
    #[inline(never)]
    pub fn move_to(&mut self, text: &[u8], start: usize) {
        let rest = &text[start..];
        let mut names = 0;
        let mut take = |index: usize, block: Block| names |= u64::from(block.names()) << (index * SIZE);
        match rest.first_chunk::<LEN>() {
            Some(bytes) => {
                let (blocks, _) = bytes.as_chunks();
                (0..LEN / SIZE).for_each(|index| take(index, Block::of(&blocks[index])));
            }
            None => {
                let (blocks, last) = rest.as_chunks();
                for (index, block) in blocks.iter().enumerate() {
                    take(index, Block::of(block));
                }
                if !last.is_empty() {
                    take(blocks.len(), Block::at(text, text.len() - last.len()));
                }
            }
        }
        *self = Window { base: start, names };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_name(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || b"_$".contains(&byte) || byte >= 0x80
    }

    #[test]
    fn bits_say_what_bytes_are() {
        for len in 0..2 * LEN {
            let text: Vec<u8> = (0..len).map(|at| (at * 37 % 256) as u8).collect();
            for base in 0..=len {
                let mut window = Window::NOWHERE;
                window.move_to(&text, base);
                let bytes = text[base..].iter().take(LEN).enumerate();
                let expected = bytes.fold(0, |bits, (at, &byte)| bits | u64::from(in_name(byte)) << at);
                assert_eq!(window.names, expected, "{base} of {len}");
            }
        }
    }

    /// Wherever the window is.
    #[test]
    fn names_end_where_their_bytes_do() {
        let text: Vec<u8> =
            (0..400).map(|at| if at % 7 == 0 || at > 150 && at < 380 { b'x' } else { b' ' }).collect();
        for base in 0..text.len() {
            let mut window = Window::NOWHERE;
            assert_eq!(window.end_of_name(base), None);
            window.move_to(&text, base);
            for start in 0..text.len() {
                let end = start + text[start..].iter().take_while(|&&byte| byte == b'x').count();
                let seen = base <= start && end < base + LEN && start < base + LEN;
                assert_eq!(window.end_of_name(start), seen.then_some(end), "{start} seen from {base}");
            }
        }
    }
}
