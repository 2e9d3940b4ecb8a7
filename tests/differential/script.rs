//! What is played: who logs in how, and who sends which messages in which order. It prints as it would be told.

use std::fmt;

/// One play, for both sides.
#[derive(Clone, Debug)]
pub struct Script {
    pub stage: Stage,
    pub sessions: Vec<Start>,
    pub steps: Vec<Step>,
}

/// In front of which pool it is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Whether reads go to replicas.
    pub replicas: bool,
    /// The user, whose pool has a size and a mode of its own.
    pub user: &'static str,
    /// How many backends of the primary there are for all sessions.
    pub backends: usize,
}

/// How a session begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The minor version of protocol 3 that is asked for.
    pub minor: u16,
    /// Further parameters of the startup message.
    pub parameters: Vec<(&'static str, String)>,
}

/// Frames that one session sends at once, after which it reads what it is owed.
#[derive(Clone, Debug)]
pub struct Step {
    pub session: usize,
    pub frames: Vec<Frame>,
}

/// A message of the client's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Query(Vec<Sql>),
    Parse { name: &'static str, sql: Sql },
    Bind { portal: &'static str, statement: &'static str, values: Vec<Option<String>>, binary: bool },
    Describe(Target, &'static str),
    Execute { portal: &'static str, rows_max: u32 },
    Close(Target, &'static str),
    Flush,
    Sync,
    CopyData(String),
    CopyDone,
    CopyFail,
    Call { function: u32, arguments: Vec<Option<String>> },
}

/// What Describe and Close are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Statement,
    Portal,
}

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sql {
    pub text: String,
    /// Whether it may keep its session on one backend.
    pub keeps: bool,
}

impl Frame {
    /// Whether it may keep its session on one backend.
    pub fn keeps(&self) -> bool {
        match self {
            Self::Query(statements) => statements.iter().any(|sql| sql.keeps),
            Self::Parse { sql, .. } => sql.keeps,
            // What a function leaves is not known by its number.
            Self::Call { .. } => true,
            _ => false,
        }
    }

    /// Whether a statement in it, or one that it prepares, has this word in it.
    pub fn says(&self, word: &str) -> bool {
        match self {
            Self::Query(statements) => statements.iter().any(|sql| sql.text.contains(word)),
            Self::Parse { sql, .. } => sql.text.contains(word),
            _ => false,
        }
    }

    /// Adds the message as it goes over the wire.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (tag, body) = match self {
            Self::Query(statements) => (b'Q', zero_ended(&joined(statements))),
            Self::Parse { name, sql } => {
                (b'P', [zero_ended(name), zero_ended(&sql.text), count(0).to_vec()].concat())
            }
            Self::Bind { portal, statement, values, binary } => {
                let values = values_of(values);
                let results = if *binary { [count(1), count(1)].concat() } else { count(0).to_vec() };
                (
                    b'B',
                    [zero_ended(portal), zero_ended(statement), count(0).to_vec(), values, results].concat(),
                )
            }
            Self::Describe(target, name) => (b'D', [vec![target.letter()], zero_ended(name)].concat()),
            Self::Execute { portal, rows_max } => {
                (b'E', [&zero_ended(portal)[..], &rows_max.to_be_bytes()].concat())
            }
            Self::Close(target, name) => (b'C', [vec![target.letter()], zero_ended(name)].concat()),
            Self::Flush => (b'H', Vec::new()),
            Self::Sync => (b'S', Vec::new()),
            Self::CopyData(data) => (b'd', data.as_bytes().to_vec()),
            Self::CopyDone => (b'c', Vec::new()),
            Self::CopyFail => (b'f', zero_ended("changed my mind")),
            Self::Call { function, arguments } => {
                let head = [&function.to_be_bytes()[..], &count(0)].concat();
                (b'F', [head, values_of(arguments), count(0).to_vec()].concat())
            }
        };
        out.push(tag);
        out.extend(length(body.len() + 4));
        out.extend(body);
    }
}

impl Target {
    fn letter(self) -> u8 {
        match self {
            Self::Statement => b'S',
            Self::Portal => b'P',
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stage { replicas, user, backends } = self.stage;
        let reads = if replicas { "replicas" } else { "primary" };
        writeln!(f, "user {user}, {backends} backends, route.reads = {reads}")?;
        for (number, start) in self.sessions.iter().enumerate() {
            write!(f, "session {number}: protocol 3.{}", start.minor)?;
            for (name, value) in &start.parameters {
                write!(f, ", {name} = {value}")?;
            }
            writeln!(f)?;
        }
        self.steps.iter().enumerate().try_for_each(|(number, step)| writeln!(f, "{number:3}: {step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.session)?;
        self.frames.iter().try_for_each(|frame| write!(f, "  {frame}"))
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(statements) => write!(f, "Query «{}»", joined(statements)),
            Self::Parse { name, sql } => write!(f, "Parse {name:?} «{}»", sql.text),
            Self::Bind { portal, statement, values, binary } => {
                let results = if *binary { " for binary results" } else { "" };
                write!(f, "Bind {portal:?} to {statement:?} with {}{results}", listed(values))
            }
            Self::Describe(target, name) => write!(f, "Describe {} {name:?}", target.word()),
            Self::Execute { portal, rows_max: 0 } => write!(f, "Execute {portal:?}"),
            Self::Execute { portal, rows_max } => write!(f, "Execute {portal:?} for {rows_max} rows"),
            Self::Close(target, name) => write!(f, "Close {} {name:?}", target.word()),
            Self::Flush => f.write_str("Flush"),
            Self::Sync => f.write_str("Sync"),
            Self::CopyData(data) => write!(f, "CopyData {data:?}"),
            Self::CopyDone => f.write_str("CopyDone"),
            Self::CopyFail => f.write_str("CopyFail"),
            Self::Call { function, arguments } => {
                write!(f, "FunctionCall {function} with {}", listed(arguments))
            }
        }
    }
}

impl Target {
    fn word(self) -> &'static str {
        match self {
            Self::Statement => "statement",
            Self::Portal => "portal",
        }
    }
}

fn joined(statements: &[Sql]) -> String {
    let texts: Vec<&str> = statements.iter().map(|sql| sql.text.as_str()).collect();
    texts.join("; ")
}

fn listed(values: &[Option<String>]) -> String {
    let values: Vec<&str> = values.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
    format!("({})", values.join(", "))
}

fn values_of(values: &[Option<String>]) -> Vec<u8> {
    let mut out = count(values.len()).to_vec();
    for value in values {
        match value {
            None => out.extend((-1i32).to_be_bytes()),
            Some(value) => {
                out.extend(length(value.len()));
                out.extend(value.bytes());
            }
        }
    }
    out
}

fn zero_ended(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

fn count(count: usize) -> [u8; 2] {
    u16::try_from(count).expect("a handful").to_be_bytes()
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("a short message").to_be_bytes()
}
