//! What the server still owes a session, so that a step reads neither too little nor too much and nobody has to wait for
//! silence. The rules are those of the manual's chapter on the message flow.

use std::collections::VecDeque;

use super::script::Frame;

/// What was sent and not answered in full.
#[derive(Default)]
pub struct Owed {
    frames: VecDeque<Kind>,
    /// True exactly while the server takes COPY data.
    copying: bool,
    /// True exactly while the server skips everything up to the next Sync.
    skipping: bool,
    /// True from when the server was sent something else than COPY data while it took them: how it ends that depends on
    /// when it looks.
    pub confused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Ends with a ReadyForQuery.
    Query,
    /// Ends with one message.
    Piece,
    Flush,
    Sync,
    CopyData,
    CopyEnd,
}

impl Owed {
    pub fn sent(&mut self, frame: &Frame) {
        self.frames.push_back(match frame {
            Frame::Query(_) | Frame::Call { .. } => Kind::Query,
            Frame::Parse { .. }
            | Frame::Bind { .. }
            | Frame::Describe(..)
            | Frame::Execute { .. }
            | Frame::Close(..) => Kind::Piece,
            Frame::Flush => Kind::Flush,
            Frame::Sync => Kind::Sync,
            Frame::CopyData(_) => Kind::CopyData,
            Frame::CopyDone | Frame::CopyFail => Kind::CopyEnd,
        });
        self.pass();
    }

    /// Whether a message must come without anything more being sent.
    pub fn is_due(&self) -> bool {
        !self.copying && self.frames.iter().any(|kind| matches!(kind, Kind::Query | Kind::Flush | Kind::Sync))
    }

    /// Whether all that was sent has been answered.
    pub fn is_settled(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes note of a message by its tag.
    pub fn came(&mut self, tag: u8) {
        match tag {
            b'G' => {
                self.copying = true;
                self.swallow();
            }
            b'Z' => {
                self.frames.pop_front();
                self.skipping = false;
            }
            b'E' if self.frames.front() == Some(&Kind::Piece) => {
                self.skipping = true;
            }
            b'1' | b'2' | b'3' | b'C' | b'I' | b'T' | b'n' | b's'
                if self.frames.front() == Some(&Kind::Piece) =>
            {
                self.frames.pop_front();
            }
            _ => {}
        }
        self.pass();
    }

    /// Lets go of what is at the front and is not answered.
    fn pass(&mut self) {
        if self.copying {
            self.swallow();
            return;
        }
        while let Some(kind) = self.frames.front() {
            let unanswered = match kind {
                Kind::Query if self.skipping => true,
                Kind::Query | Kind::Sync => false,
                Kind::Piece => self.skipping,
                // A server that takes no COPY data ignores what comes of it.
                Kind::Flush | Kind::CopyData | Kind::CopyEnd => true,
            };
            if !unanswered {
                return;
            }
            self.frames.pop_front();
        }
    }

    /// Lets go of what the server reads while it takes COPY data, behind the frame that made it do so.
    fn swallow(&mut self) {
        while let Some(kind) = self.frames.get(1).copied() {
            match kind {
                Kind::CopyData | Kind::Flush | Kind::Sync => {
                    self.frames.remove(1);
                }
                Kind::CopyEnd => {
                    self.frames.remove(1);
                    self.copying = false;
                    return;
                }
                // The server answers these with an error, which ends the COPY.
                Kind::Query | Kind::Piece => {
                    self.copying = false;
                    self.confused = true;
                    return;
                }
            }
        }
    }
}
