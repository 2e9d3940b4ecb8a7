//! Batches of the extended protocol, and what else is not one simple query.

use super::topics::COPY_IN;
use super::{Author, NAMES};
use crate::script::{Frame, Sql, Target};

impl Author<'_> {
    /// A batch with its end: Sync, several of them, Flush, or nothing yet.
    pub(super) fn extended(&mut self, session: usize) -> Vec<Frame> {
        let end = self.random.below(100);
        self.several_batches = (11..28).contains(&end);
        let mut frames = self.batch(session);
        match end {
            0..8 if self.switches.has("flush") => frames.push(Frame::Flush),
            8..11 if self.switches.has("unfinished_batches") => {}
            11..25 if self.switches.has("pipelines") => {
                for _ in 0..=self.random.below(2) {
                    frames.push(Frame::Sync);
                    frames.extend(self.batch(session));
                }
                frames.push(Frame::Sync);
            }
            25..28 if self.switches.has("queries_behind_batches") => {
                // A simple query ends a batch, too, but not what skips to the next Sync.
                frames.extend(self.fixed("SELECT 'behind a batch'"));
                frames.push(Frame::Sync);
            }
            _ => frames.push(Frame::Sync),
        }
        self.several_batches = false;
        frames
    }

    /// A few pieces without an end.
    pub(super) fn batch(&mut self, session: usize) -> Vec<Frame> {
        (0..=self.random.below(3)).flat_map(|_| self.piece(session)).collect()
    }

    fn piece(&mut self, session: usize) -> Vec<Frame> {
        let name = *self.random.pick(&NAMES);
        match self.random.below(100) {
            0..40 => self.unnamed(session),
            40..56 => self.parse(name, session),
            56..76 => {
                let count = self.parameters(session, name);
                let mut frames = vec![self.bind("", name, count)];
                if self.random.chance(40) {
                    frames.push(Frame::Describe(Target::Portal, ""));
                }
                frames.push(Frame::Execute { portal: "", rows_max: 0 });
                frames
            }
            76..82 if self.may_describe(session) => vec![Frame::Describe(Target::Statement, name)],
            82..86 => vec![Frame::Close(Target::Statement, name)],
            86..96 if self.switches.has("portals") => self.portal(session),
            96..98 => self.extended_copy(session),
            _ => vec![Frame::Execute { portal: "", rows_max: 0 }],
        }
    }

    /// Whether a statement may be described that was prepared in another batch.
    fn may_describe(&self, session: usize) -> bool {
        let outside = self.sessions[session].status == Some('I') && !self.several_batches;
        outside || self.switches.has("described_in_transactions")
    }

    /// Everything that one statement takes.
    fn unnamed(&mut self, session: usize) -> Vec<Frame> {
        let sql = self.sql(session);
        let count = parameters(&sql);
        let mut frames = vec![Frame::Parse { name: "", sql }];
        if self.random.chance(20) {
            frames.push(Frame::Describe(Target::Statement, ""));
        }
        frames.push(self.bind("", "", count));
        if self.random.chance(50) {
            frames.push(Frame::Describe(Target::Portal, ""));
        }
        frames.push(Frame::Execute { portal: "", rows_max: 0 });
        frames
    }

    fn parse(&mut self, name: &'static str, session: usize) -> Vec<Frame> {
        let sql = self.sql(session);
        let count = parameters(&sql);
        let prepared = &mut self.sessions[session].prepared;
        prepared.retain(|(known, _)| *known != name);
        prepared.push((name, count));
        let mut frames = Vec::new();
        // Drivers close a name before they give it again, or know that it is free.
        if self.random.chance(60) || !self.switches.has("taken_names") {
            frames.push(Frame::Close(Target::Statement, name));
        }
        frames.push(Frame::Parse { name, sql });
        if self.random.chance(60) {
            frames.push(Frame::Describe(Target::Statement, name));
        }
        frames
    }

    /// A portal that is read in pieces.
    fn portal(&mut self, session: usize) -> Vec<Frame> {
        let portal = *self.random.pick(&["", "x", "y"]);
        match self.random.below(4) {
            0 => vec![Frame::Execute { portal, rows_max: 2 }],
            1 => vec![Frame::Close(Target::Portal, portal)],
            2 => vec![Frame::Describe(Target::Portal, portal)],
            _ => {
                let statement = *self.random.pick(&["", "a", "b"]);
                let count = self.parameters(session, statement);
                let mut frames = vec![self.bind(portal, statement, count)];
                for _ in 0..self.random.below(4) {
                    frames.push(Frame::Execute { portal, rows_max: 2 });
                }
                frames
            }
        }
    }

    fn bind(&mut self, portal: &'static str, statement: &'static str, count: usize) -> Frame {
        let wrong = self.random.chance(4);
        let count = count + usize::from(wrong);
        let values = (0..count).map(|_| self.value()).collect();
        let binary = self.switches.has("binary") && self.random.chance(25);
        Frame::Bind { portal, statement, values, binary }
    }

    pub(super) fn copy_in(&mut self, session: usize) -> Vec<Frame> {
        if !self.switches.has("copy_in") {
            return self.simple(session);
        }
        let (sql, data) = self.copy(session);
        let mut statements = vec![sql];
        if self.switches.has("multiple") && self.random.chance(20) {
            statements.insert(0, Sql { text: "SELECT 'before'".to_owned(), keeps: false });
            statements.push(Sql { text: "SELECT 'after'".to_owned(), keeps: false });
        }
        let mut frames = vec![Frame::Query(statements)];
        frames.extend(data);
        frames
    }

    fn extended_copy(&mut self, session: usize) -> Vec<Frame> {
        let (sql, data) = self.copy(session);
        let mut frames = vec![
            Frame::Parse { name: "", sql },
            Frame::Bind { portal: "", statement: "", values: Vec::new(), binary: false },
            Frame::Execute { portal: "", rows_max: 0 },
        ];
        frames.extend(data);
        frames
    }

    /// A COPY from the client, and what it sends for it.
    fn copy(&mut self, session: usize) -> (Sql, Vec<Frame>) {
        let (text, pieces) = *self.random.pick(COPY_IN);
        let sql = Sql { text: self.filled(text, session), keeps: false };
        let mut data: Vec<Frame> = (0..self.random.below(3))
            .map(|_| Frame::CopyData((*self.random.pick(pieces)).to_owned()))
            .collect();
        data.push(if self.random.chance(80) { Frame::CopyDone } else { Frame::CopyFail });
        (sql, data)
    }

    pub(super) fn call(&mut self) -> Vec<Frame> {
        let (function, count) = *self.random.pick(&FUNCTIONS);
        vec![Frame::Call { function, arguments: (0..count).map(|_| self.value()).collect() }]
    }

    fn value(&mut self) -> Option<String> {
        match self.random.below(20) {
            0 => None,
            1 => Some("x".to_owned()),
            number => Some((number / 3).to_string()),
        }
    }

    fn parameters(&self, session: usize, name: &str) -> usize {
        let prepared = &self.sessions[session].prepared;
        prepared.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    }
}

fn parameters(sql: &Sql) -> usize {
    // Those of PREPARE belong to what it prepares.
    if sql.text.starts_with("PREPARE ") {
        return 0;
    }
    (1..).take_while(|number| sql.text.contains(&format!("${number}"))).count()
}

/// Functions of the server's own with the number of their arguments: int4pl, upper, one that is not there.
const FUNCTIONS: [(u32, usize); 3] = [(177, 2), (871, 1), (3, 0)];
