//! Both ledgers, a session's and a backend's: batches of a client are answered by a server that keeps the protocol and
//! fails where the input says so, and what all of them believe about prepared statements is compared after each. In the
//! end both sides send anything at all.

#![no_main]

use std::collections::BTreeSet;
use std::rc::Rc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pgweir::backend::{Backend, BackendKey, Owed, Parameters, Saying, StatementId, Verdict};
use pgweir::session::statements::Statement;
use pgweir::session::{Bound, Order, Session, SharedSettings, StatementCache};
use pgweir::wire::backend::TransactionStatus;
use pgweir::wire::{Frame, build, frontend};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    batches: Vec<Batch>,
    /// How many statements a backend may hold, of the few there are.
    room: u8,
    nonsense: Vec<(bool, u8, &'a [u8], bool)>,
}

#[derive(Arbitrary, Debug)]
struct Batch {
    steps: Vec<Step>,
    /// Which of the messages that reach the server fails, if so many do.
    fails: Option<u8>,
    status: u8,
}

/// A message; names and texts by number.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Step {
    Parse(u8, u8),
    Bind(u8),
    Describe(u8),
    Portal,
    Execute,
    Close(u8),
    Flush,
}

fuzz_target!(|input: Input<'_>| {
    let mut pair = Pair::new(usize::from(input.room % 6) + 1);
    for batch in &input.batches {
        pair.run(batch);
    }
    for (from_client, tag, body, whole) in input.nonsense {
        if from_client {
            let _ = pair.session.handle(tag, body, whole, &mut pair.cache);
        } else {
            let _ = pair.backend.handle(tag, body);
            while pair.backend.ledger.say().is_some() {}
            let more = pair.backend.ledger.owes_ready();
            pair.session.ready(TransactionStatus::Idle, &mut SharedSettings::default(), more);
        }
    }
});

struct Pair {
    session: Session,
    cache: StatementCache,
    backend: Backend,
    /// What the client may rightly believe to have prepared.
    client: BTreeSet<&'static str>,
    /// What the server has under a name.
    server: BTreeSet<Vec<u8>>,
}

impl Pair {
    fn new(room: usize) -> Pair {
        Pair {
            session: Session::new(SharedSettings::default()),
            cache: StatementCache::new(Rc::default()),
            backend: Backend::new(BackendKey::default(), Parameters::default(), room),
            client: BTreeSet::new(),
            server: BTreeSet::new(),
        }
    }

    /// Sends a batch and a Sync, and has it answered.
    fn run(&mut self, batch: &Batch) {
        let mut wire = Vec::new();
        for step in batch.steps.iter().take(STEPS_MAX) {
            let (tag, body) = message(*step);
            self.send(tag, &body, &mut wire);
        }
        self.send(b'S', b"", &mut wire);
        let told = self.answer(&wire, batch);
        self.believe(batch, &told);

        assert!(self.backend.ledger.is_empty() && !self.backend.ledger.undecided());
        assert_eq!(self.backend.quiet(), self.backend.status() == TransactionStatus::Idle);
        let prepared: BTreeSet<Vec<u8>> =
            self.backend.prepared.all().into_iter().map(StatementId::name).collect();
        assert_eq!(prepared, self.server, "what the backend believes, what the server has");
        for name in NAMES {
            let (tag, body) = message(Step::Describe(number(name)));
            let plan = self.session.handle(tag, &body, true, &mut self.cache).expect("a Describe");
            assert_eq!(matches!(plan.order, Order::Describe(_)), self.client.contains(name), "{name}");
        }
    }

    /// Enters one message of the client in both ledgers, and writes what the server gets for it, as a shard does.
    fn send(&mut self, tag: u8, body: &[u8], wire: &mut Vec<u8>) {
        let plan = self.session.handle(tag, body, true, &mut self.cache).expect("a message by the book");
        let backend = &mut self.backend;
        let owed = match &plan.order {
            Order::Parse(statement) => return backend.parse(id(statement), statement.text(), wire),
            Order::ParseDuplicate(statement) => {
                backend.ensure_prepared(id(statement), statement.text(), wire);
                frontend::put_parse(wire, &id(statement).name(), statement.text());
                backend.ledger.owe(Owed::ParseDuplicate);
                return;
            }
            Order::Bind { statement: Bound::Named(statement), .. } => {
                backend.ensure_prepared(id(statement), statement.text(), wire);
                build(wire, b'B', |out| out.extend([&[0], &*id(statement).name(), &[0; 7]].concat()));
                backend.ledger.owe(Owed::Bind);
                return;
            }
            Order::Describe(statement) => {
                backend.ensure_prepared(id(statement), statement.text(), wire);
                frontend::put_describe_statement(wire, &id(statement).name());
                backend.ledger.owe(Owed::Describe);
                return;
            }
            Order::CloseStatement => return backend.ledger.owe(Owed::SayClosed),
            Order::Bind { statement: Bound::Unknown, .. } => Some(Owed::Bind),
            Order::DescribeAsIs => Some(Owed::Describe),
            Order::Execute => Some(Owed::Execute),
            Order::CloseAsIs => Some(Owed::Close),
            Order::Sync => Some(Owed::Sync),
            Order::Flush => None,
            order => panic!("{order:?} for {}", char::from(tag)),
        };
        build(wire, tag, |out| out.extend(body));
        if let Some(owed) = owed {
            backend.ledger.owe(owed);
        }
    }

    /// Answers `wire` as a server does. Returns the tags that the client gets to see.
    fn answer(&mut self, mut wire: &[u8], batch: &Batch) -> Vec<u8> {
        let mut told = Vec::new();
        let (mut ignoring, mut count) = (false, 0);
        self.say(&mut told);
        while let Some((frame, size)) = Frame::read(wire).expect("frames of ours") {
            wire = &wire[size..];
            if ignoring && frame.tag != b'S' {
                continue;
            }
            let fails = frame.tag != b'S' && frame.tag != b'H' && batch.fails.map(usize::from) == Some(count);
            count += 1;
            match self.serve(frame).filter(|_| !fails) {
                Some(replies) => replies.iter().for_each(|&(tag, body)| self.hear(tag, body, &mut told)),
                None => {
                    ignoring = true;
                    self.hear(b'E', b"SERROR\0C26000\0\0", &mut told);
                }
            }
            if frame.tag == b'S' {
                let status: &[u8] = if batch.status.is_multiple_of(2) { b"I" } else { b"T" };
                self.hear(b'Z', status, &mut told);
            } else if !fails && !ignoring {
                self.carry_out(frame);
            }
        }
        told
    }

    /// The replies to a message, or `None` where the server has to refuse it.
    fn serve(&self, frame: Frame<'_>) -> Option<&'static [(u8, &'static [u8])]> {
        let has = |name: &[u8]| self.server.contains(name);
        Some(match frame.tag {
            b'P' if has(frontend::Parse::read(frame.body).expect("ours").name) => return None,
            b'P' => &[(b'1', b"")],
            b'B' if !has(frontend::Bind::read(frame.body).expect("ours").statement) => return None,
            b'B' => &[(b'2', b"")],
            b'D' => match frontend::Target::read(frame.body).expect("ours") {
                frontend::Target::Statement(name) if has(name) => &[(b't', b"\0\0"), (b'n', b"")],
                frontend::Target::Statement(_) => return None,
                frontend::Target::Portal(_) => &[(b'n', b"")],
            },
            b'E' => &[(b'C', b"SELECT 0\0")],
            b'C' => &[(b'3', b"")],
            _ => &[],
        })
    }

    fn carry_out(&mut self, frame: Frame<'_>) {
        match (frame.tag, frontend::Target::read(frame.body)) {
            (b'P', _) => {
                self.server.insert(frontend::Parse::read(frame.body).expect("ours").name.to_vec());
            }
            (b'C', Ok(frontend::Target::Statement(name))) => {
                self.server.remove(name);
            }
            _ => {}
        }
    }

    /// Hands a reply to both ledgers, as a shard does.
    fn hear(&mut self, tag: u8, body: &[u8], told: &mut Vec<u8>) {
        match self.backend.handle(tag, body).expect("the server keeps the protocol") {
            Verdict::Skip => {}
            Verdict::Failed(not_done) | Verdict::Duplicate(not_done) => {
                self.session.did_not_happen(not_done.changes, not_done.parse);
                self.session.error();
                told.push(tag);
            }
            Verdict::Parsed => {
                self.session.parsed();
                told.push(tag);
            }
            Verdict::Ready(status) => {
                let more = self.backend.ledger.owes_ready();
                self.session.ready(status, &mut SharedSettings::default(), more);
                told.push(tag);
            }
            Verdict::Forward | Verdict::Complete => told.push(tag),
            verdict => panic!("{verdict:?} for {}", char::from(tag)),
        }
        self.say(told);
    }

    fn say(&mut self, told: &mut Vec<u8>) {
        while let Some(saying) = self.backend.ledger.say() {
            told.push(saying.reply()[0]);
            match saying {
                Saying::Parsed => drop(self.session.parsed()),
                Saying::Closed => self.session.closed(),
            }
        }
    }

    /// Draws the client's conclusions, message by message: one answer each, and after an error none up to the Sync's.
    fn believe(&mut self, batch: &Batch, told: &[u8]) {
        let mut told = told.iter().copied();
        for step in batch.steps.iter().take(STEPS_MAX).filter(|step| !matches!(step, Step::Flush)) {
            let mut answer = told.next().expect("an answer");
            if answer == b't' {
                answer = told.next().expect("a description goes on");
            }
            if answer == b'E' {
                break;
            }
            let expected = match step {
                Step::Parse(..) => b'1',
                Step::Bind(_) => b'2',
                Step::Describe(_) | Step::Portal => b'n',
                Step::Execute => b'C',
                Step::Close(_) => b'3',
                Step::Flush => unreachable!("it has no answer"),
            };
            assert_eq!(char::from(answer), char::from(expected), "{step:?}");
            match step {
                Step::Parse(name, _) => assert!(self.client.insert(named(*name)), "the name was taken"),
                Step::Close(name) => {
                    self.client.remove(named(*name));
                }
                Step::Bind(name) | Step::Describe(name) => assert!(self.client.contains(named(*name))),
                Step::Portal | Step::Execute | Step::Flush => {}
            }
        }
        assert!(told.eq([b'Z']), "one ReadyForQuery, and nothing behind it");
    }
}

fn message(step: Step) -> (u8, Vec<u8>) {
    let bytes = |parts: &[&[u8]]| parts.concat();
    match step {
        Step::Parse(name, text) => {
            let text = TEXTS[usize::from(text) % TEXTS.len()];
            (b'P', bytes(&[named(name).as_bytes(), &[0], text.as_bytes(), &[0; 3]]))
        }
        Step::Bind(name) => (b'B', bytes(&[&[0], named(name).as_bytes(), &[0; 7]])),
        Step::Describe(name) => (b'D', bytes(&[b"S", named(name).as_bytes(), &[0]])),
        Step::Portal => (b'D', b"P\0".to_vec()),
        Step::Execute => (b'E', vec![0; 5]),
        Step::Close(name) => (b'C', bytes(&[b"S", named(name).as_bytes(), &[0]])),
        Step::Flush => (b'H', Vec::new()),
    }
}

fn named(number: u8) -> &'static str {
    NAMES[usize::from(number) % NAMES.len()]
}

fn number(name: &str) -> u8 {
    NAMES.iter().position(|known| *known == name).unwrap_or_default() as u8
}

fn id(statement: &Rc<Statement>) -> StatementId {
    StatementId(statement.id())
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const TEXTS: [&str; 5] = ["select 1", "select 2", "insert into t values (1)", "update t set a = 1", ""];
const STEPS_MAX: usize = 24;
