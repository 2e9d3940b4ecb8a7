//! What must hold, and what is remembered to tell whether it does.

use std::collections::BTreeMap;

use crate::node::Node;
use crate::plan::{HOLD_MAX, MS, Time};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// It was told that nothing was done.
    Failed,
    /// It was told that nobody knows.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Asked {
    read: bool,
    at: Time,
    sent: u32,
    outcome: Option<Outcome>,
    /// It was acknowledged, and the replica that was promoted never had it.
    lost: bool,
}

#[derive(Default)]
pub struct Check {
    rows: BTreeMap<u32, Asked>,
    /// By epoch: the node written to.
    written: BTreeMap<u64, usize>,
    /// Broken promises, as sentences.
    pub broken: Vec<String>,
    pub acknowledged: u64,
    pub lost: u64,
}

impl Check {
    pub fn fail(&mut self, now: Time, text: String) {
        self.broken.push(format!("at {} ms: {text}", now / MS));
    }

    pub fn asked(&mut self, row: u32, read: bool, at: Time) {
        self.rows.insert(row, Asked { read, at, sent: 0, outcome: None, lost: false });
    }

    /// A shard sends a statement. `published` is the primary of the newest picture.
    pub fn sent(
        &mut self,
        row: u32,
        read: bool,
        node: usize,
        epoch: u64,
        published: Option<usize>,
        now: Time,
    ) {
        if read {
            return;
        }
        let first = *self.written.entry(epoch).or_insert(node);
        if first != node {
            self.fail(now, format!("nodes {first} and {node} are both written to in epoch {epoch}"));
        }
        if let Some(other) = published.filter(|other| *other != node) {
            self.fail(now, format!("row {row} is sent to node {node}, while {other} is the primary"));
        }
    }

    /// A node runs it.
    pub fn runs(&mut self, row: u32, now: Time) {
        let times = self.rows.get_mut(&row).map_or(0, |asked| {
            asked.sent += 1;
            asked.sent
        });
        if times > 1 {
            self.fail(now, format!("row {row} runs {times} times"));
        }
    }

    pub fn answered(&mut self, row: u32, outcome: Outcome) {
        let Some(asked) = self.rows.get_mut(&row) else { return };
        asked.outcome = Some(outcome);
        if outcome == Outcome::Done && !asked.read {
            self.acknowledged += 1;
        }
    }

    /// Another node is published as the primary.
    pub fn adopted(&mut self, node: &Node, lossless: bool, now: Time) {
        let mut lost = Vec::new();
        for (row, asked) in &mut self.rows {
            if asked.outcome == Some(Outcome::Done) && !asked.read && !asked.lost && !node.has(*row) {
                asked.lost = true;
                lost.push(*row);
            }
        }
        self.lost += lost.len() as u64;
        if lossless && !lost.is_empty() {
            self.fail(
                now,
                format!("node {} becomes the primary without the acknowledged rows {lost:?}", node.id),
            );
        }
    }

    /// Statements that wait in a shard have a bound.
    pub fn held(&mut self, row: u32, since: Time, now: Time) {
        if now > since + HOLD_MAX + 5 * MS {
            self.fail(now, format!("row {row} is held since {} ms", since / MS));
        }
    }

    /// At the end: everybody has an answer, and the answers are true.
    pub fn finish(&mut self, primary: &Node, now: Time) {
        let mut broken = Vec::new();
        for (row, asked) in &self.rows {
            let times = primary.wal.iter().filter(|entry| entry.row == Some(*row)).count();
            match asked.outcome {
                None => broken.push(format!("row {row}, asked at {} ms, has no answer", asked.at / MS)),
                Some(_) if asked.read => {}
                Some(Outcome::Done) if times != 1 && !asked.lost => {
                    broken.push(format!("row {row} was acknowledged and is there {times} times"));
                }
                Some(Outcome::Failed) if times > 0 => {
                    broken.push(format!("row {row} was said to have failed and is there"));
                }
                Some(Outcome::Unknown) if times > 1 => {
                    broken.push(format!("row {row} is there {times} times"))
                }
                Some(_) => {}
            }
        }
        for text in broken {
            self.fail(now, text);
        }
    }
}
