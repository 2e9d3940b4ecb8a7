//! Makes plays up. The next step depends on what the server itself answered to the ones before, so a play is written
//! while the server plays it; the same seed and the same server give the same play.

mod batches;
mod topics;

use super::holders::Holders;
use super::player::Answer;
use super::random::Random;
use super::script::{Frame, Script, Sql, Stage, Start, Step};
use super::switches::Switches;
use super::world::{SESSIONS_MAX, STAGES};

use self::topics::{SETTINGS, TOPICS, Topic};

/// Writes one play.
pub struct Author<'a> {
    random: Random,
    switches: &'a Switches,
    holders: Holders,
    sessions: Vec<State>,
    /// Whether reads go to replicas.
    replicas: bool,
    /// True exactly while several batches are made up that are sent at once.
    several_batches: bool,
}

/// In front of which pool the play of a seed takes place.
pub fn stage_of(seed: u64, switches: &Switches) -> Stage {
    stage(&mut Random::new(seed), switches)
}

/// What the author keeps in mind of a session.
#[derive(Clone, Default)]
struct State {
    /// The transaction status, unless a ReadyForQuery is owed.
    status: Option<char>,
    /// How many parameters the statements of the protocol have, by their names.
    prepared: Vec<(&'static str, usize)>,
    /// Whether its startup message sets anything.
    started_with: bool,
    /// Whether the open transaction has said LISTEN, or has notified others.
    listened: bool,
    notified: bool,
}

impl<'a> Author<'a> {
    /// The cast and the stage of a play, still without steps.
    pub fn begin(seed: u64, switches: &'a Switches) -> (Self, Script) {
        let mut random = Random::new(seed);
        let stage = stage(&mut random, switches);
        let count = 2 + random.below(SESSIONS_MAX - 1);
        let sessions = vec![State { status: Some('I'), ..State::default() }; count];
        let holders = Holders::new(stage.backends, count);
        let mut author =
            Self { random, switches, holders, sessions, replicas: stage.replicas, several_batches: false };
        let sessions = (0..count).map(|session| author.start(session)).collect();
        (author, Script { stage, sessions, steps: Vec::new() })
    }

    /// The next step.
    pub fn step(&mut self) -> Step {
        let all = 0..self.sessions.len();
        let mut able: Vec<usize> =
            all.clone().filter(|&session| self.holders.surely_may_move(session)).collect();
        if able.is_empty() {
            able = all.filter(|&session| self.holders.may_move(session)).collect();
        }
        let session = *self.random.pick(&able);
        let frames = self.frames(session);
        Step { session, frames }
    }

    /// Takes note of what the server answered to the last step, or to a login.
    pub fn note(&mut self, session: usize, frames: &[Frame], answer: &Answer) {
        self.holders.note(session, frames, answer);
        let state = &mut self.sessions[session];
        state.status = answer.status;
        let open = answer.status != Some('I');
        let said = |words: &[&str]| frames.iter().any(|frame| words.iter().any(|word| frame.says(word)));
        state.listened = open && (state.listened || said(&["LISTEN"]));
        state.notified = open && (state.notified || said(NOTIFYING));
    }

    fn start(&mut self, session: usize) -> Start {
        let mut start = Start::default();
        if self.switches.has("protocol_3_2") && self.switches.version >= 18 && self.random.chance(30) {
            start.minor = 2;
        }
        let reported = self.switches.has("startup_reports");
        if self.random.chance(40) && reported {
            start.parameters.push(("application_name", format!("started {session}")));
        }
        if self.random.chance(40) {
            start.parameters.push(("options", format!("-c search_path=s{session},public")));
        }
        if self.random.chance(20) && reported {
            start.parameters.push(("DateStyle", "SQL, DMY".to_owned()));
        }
        if self.random.chance(10) {
            start.parameters.push(("client_encoding", "UTF8".to_owned()));
        }
        self.sessions[session].started_with = !start.parameters.is_empty();
        start
    }

    fn frames(&mut self, session: usize) -> Vec<Frame> {
        match self.sessions[session].status {
            // A failed transaction is left soon, a good one after a while, so that there are many of both.
            Some('E') if self.random.chance(40) => return self.fixed("ROLLBACK"),
            Some('E') if self.random.chance(20) => return self.fixed("COMMIT"),
            Some('T') if self.random.chance(12) => return self.fixed("COMMIT"),
            Some('T') if self.random.chance(4) => return self.fixed("ROLLBACK"),
            // So that not everybody waits behind one.
            Some('I') if self.holders.keeps(session) && self.holders.is_full() && self.random.chance(25) => {
                return self.fixed("DISCARD ALL");
            }
            None if !self.switches.has("queries_behind_batches") || self.random.chance(60) => {
                let mut frames = self.batch(session);
                frames.push(Frame::Sync);
                return frames;
            }
            _ => {}
        }
        match self.random.below(100) {
            0..52 => self.simple(session),
            52..57 => self.copy_in(session),
            57..60 if self.switches.has("function_call") => self.call(),
            _ => self.extended(session),
        }
    }

    /// One statement by either protocol.
    fn fixed(&mut self, text: &str) -> Vec<Frame> {
        let sql = Sql { text: text.to_owned(), keeps: false };
        if self.random.chance(70) {
            return vec![Frame::Query(vec![sql])];
        }
        vec![
            Frame::Parse { name: "", sql },
            Frame::Bind { portal: "", statement: "", values: Vec::new(), binary: false },
            Frame::Execute { portal: "", rows_max: 0 },
            Frame::Sync,
        ]
    }

    fn simple(&mut self, session: usize) -> Vec<Frame> {
        let count = if self.switches.has("multiple") && self.random.chance(25) {
            2 + self.random.below(3)
        } else {
            1
        };
        let mut statements = match count {
            1 => vec![self.only_sql(session)],
            count => (0..count).map(|_| self.sql(session)).collect(),
        };
        for sql in &mut statements {
            for parameter in ["$1", "$2"] {
                sql.text = sql.text.replace(parameter, "'2'");
            }
        }
        let mut frames = vec![Frame::Query(statements)];
        if self.random.chance(6) {
            // Two queries without waiting for the first.
            frames.extend(self.fixed("SELECT 'pipelined'"));
        }
        frames
    }

    /// A statement of any subject that others may follow in its text or batch.
    fn sql(&mut self, session: usize) -> Sql {
        loop {
            let sql = self.only_sql(session);
            let resets = ["RESET", "DISCARD ALL"].iter().any(|words| sql.text.starts_with(words))
                || sql.text.ends_with(" DEFAULT");
            let returns = resets && self.sessions[session].started_with;
            if !returns || self.switches.has("resets_amid_others") {
                return sql;
            }
        }
    }

    /// A statement of any subject that nothing follows.
    fn only_sql(&mut self, session: usize) -> Sql {
        let switches = self.switches;
        let weight = |topic: &Topic| if switches.has(topic.name) { topic.weight } else { 0 };
        loop {
            let topic = self.random.pick_weighted(TOPICS, weight);
            let text = *self.random.pick(topic.texts);
            if self.may_say(text, session) {
                return Sql { text: self.filled(text, session), keeps: topic.keeps };
            }
        }
    }

    /// Whether nothing that is switched off forbids a text here.
    fn may_say(&self, text: &str, session: usize) -> bool {
        // A session that listens already hears of what it is about to listen to, too, from the start of its transaction.
        let mut others = self.sessions.iter().enumerate().filter(|(other, _)| *other != session);
        let notifies = NOTIFYING.iter().any(|word| text.contains(word));
        let early = others
            .any(|(_, other)| (notifies && other.listened) || (text.starts_with("LISTEN") && other.notified));
        let forbidden = [
            ("early_notifications", early),
            ("read_only_on_replicas", text.contains("READ ONLY") && self.replicas),
        ];
        forbidden.iter().all(|(switch, here)| !here || self.switches.has(switch))
    }

    /// A text with its gaps filled.
    fn filled(&mut self, text: &str, session: usize) -> String {
        let settings: Vec<_> = SETTINGS.iter().filter(|(name, _)| self.switches.has(name)).collect();
        let (setting, values) = **self.random.pick(&settings);
        let value = *self.random.pick(values);
        let names = if self.switches.has("shared_names") { &NAMES } else { &["e", "f"] };
        let choices = [
            ("{setting}", setting.to_owned()),
            ("{set}", format!("{setting} = {value}")),
            ("{n}", session.to_string()),
            ("{k}", self.random.below(6).to_string()),
            ("{s}", (*self.random.pick(names)).to_owned()),
            ("{c}", (*self.random.pick(&["c", "d"])).to_owned()),
            ("{p}", (*self.random.pick(&["p", "o"])).to_owned()),
        ];
        choices.iter().fold(text.to_owned(), |text, (gap, filling)| text.replace(gap, filling))
    }
}

/// The names of the subjects and of the settings that plays are made of.
pub fn subjects() -> impl Iterator<Item = &'static str> {
    TOPICS.iter().map(|topic| topic.name).chain(SETTINGS.iter().map(|(name, _)| *name))
}

fn stage(random: &mut Random, switches: &Switches) -> Stage {
    let on = |stage: &Stage| !stage.replicas || switches.has("replicas");
    let stages: Vec<Stage> = STAGES.into_iter().filter(on).collect();
    *random.pick(&stages)
}

/// What is in statements that others may hear of.
const NOTIFYING: &[&str] = &["NOTIFY common", "pg_notify('Common'"];
/// The names of what is prepared, in SQL and by the protocol.
const NAMES: [&str; 2] = ["a", "b"];
