//! One play on both sides, and the first thing in which they differ.

use std::fmt;

use super::grammar::Author;
use super::holders::Holders;
use super::player::{Answer, Player};
use super::script::Script;
use super::switches::Switches;
use super::transcript::{Lines, kind_of};
use super::world::Side;

/// What came of a script on the server itself: of the logins, then of the steps.
pub struct Record {
    logins: Vec<Lines>,
    steps: Vec<Lines>,
    /// Whether the script can be played at all: nobody had to wait for another, or for what never came.
    pub valid: bool,
}

/// The first thing in which two sides differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Which step; `None` for a login.
    pub step: Option<usize>,
    session: usize,
    direct: Lines,
    other: Lines,
    /// Which line of both.
    line: usize,
}

/// Writes a play of `steps` steps while the server itself plays it.
pub fn write(seed: u64, steps: usize, switches: &Switches, side: &Side) -> (Script, Record) {
    let (mut author, mut script) = Author::begin(seed, switches);
    let mut player = Player::new();
    let mut record = Record { logins: Vec::new(), steps: Vec::new(), valid: true };
    for (session, start) in script.sessions.iter().enumerate() {
        let answer = player.log_in(side, start);
        author.note(session, &[], &answer);
        record.logins.push(answer.lines);
    }
    for _ in 0..steps {
        let step = author.step();
        let answer = player.play(step.session, &step.frames);
        author.note(step.session, &step.frames, &answer);
        record.valid &= answer.sound;
        record.steps.push(answer.lines);
        script.steps.push(step);
    }
    (script, record)
}

/// Plays a script on the server itself.
pub fn record(script: &Script, side: &Side) -> Record {
    let mut player = Player::new();
    let mut holders = Holders::new(script.stage.backends, script.sessions.len());
    let mut record = Record { logins: Vec::new(), steps: Vec::new(), valid: true };
    for (session, start) in script.sessions.iter().enumerate() {
        let answer = player.log_in(side, start);
        holders.note(session, &[], &answer);
        record.logins.push(answer.lines);
    }
    for step in &script.steps {
        record.valid &= holders.may_move(step.session);
        let answer = player.play(step.session, &step.frames);
        holders.note(step.session, &step.frames, &answer);
        record.valid &= answer.sound;
        record.steps.push(answer.lines);
    }
    record
}

/// Plays a script on the other side until something comes that did not come before.
pub fn compare(script: &Script, record: &Record, side: &Side) -> Option<Difference> {
    let mut player = Player::new();
    let differs = |step, session, direct: &Lines, answer: Answer| {
        let other = answer.lines;
        (*direct != other).then(|| {
            let line = direct.iter().zip(&other).take_while(|(one, two)| one == two).count();
            Difference { step, session, direct: direct.clone(), other, line }
        })
    };
    for (session, (start, direct)) in script.sessions.iter().zip(&record.logins).enumerate() {
        let difference = differs(None, session, direct, player.log_in(side, start));
        if difference.is_some() {
            return difference;
        }
    }
    script.steps.iter().zip(&record.steps).enumerate().find_map(|(number, (step, direct))| {
        differs(Some(number), step.session, direct, player.play(step.session, &step.frames))
    })
}

impl Difference {
    /// What it has in common with others of its kind.
    pub fn kind(&self) -> String {
        let kind = |lines: &Lines| lines.get(self.line).map_or("nothing".to_owned(), |line| kind_of(line));
        match (kind(&self.direct), kind(&self.other)) {
            (direct, other) if direct == other => format!("{direct} with other contents"),
            (direct, other) => format!("{direct} / {other}"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.step {
            Some(step) => writeln!(f, "they differ in step {step}, session {}:", self.session)?,
            None => writeln!(f, "they differ in the login of session {}:", self.session)?,
        }
        for line in &self.direct[..self.line] {
            writeln!(f, "  both   {line}")?;
        }
        for (side, lines) in [("direct", &self.direct), ("other ", &self.other)] {
            for line in &lines[self.line..] {
                writeln!(f, "  {side} {line}")?;
            }
        }
        Ok(())
    }
}
