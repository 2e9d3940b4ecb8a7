//! What the open transaction is about to change of a session's [`Settings`]: steps that become part of the map when it
//! commits and vanish when it rolls back, to a savepoint or as a whole, exactly as the server undoes them (PostgreSQL
//! manual, SET).

use std::collections::VecDeque;

use crate::sql::Change;

use super::channels::Channels;
use super::settings::{Settings, Value};

/// The steps of the open transaction, or of the statement that is running.
#[derive(Debug, Default)]
pub struct Changes {
    steps: Vec<Step>,
    /// How many steps the server is known to have taken: those before its last ReadyForQuery without error.
    confirmed: usize,
    /// For each request that was sent and not answered yet, how many steps there were with it. Those without any are left
    /// out.
    marks: VecDeque<(Request, usize)>,
}

/// Numbers the requests of a session that are answered by a ReadyForQuery, in the order sent.
pub type Request = u64;

/// What a text does, among other things.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Something that replaying cannot carry.
    pub opaque: bool,
    /// Something returns to what it was when the session began.
    pub resets: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Set(Box<[u8]>, Value),
    Reset(Box<[u8]>),
    ResetAll,
    /// Resets all, and takes effect at once, whatever comes behind it.
    DiscardAll,
    Listen(Box<[u8]>),
    Unlisten(Box<[u8]>),
    UnlistenAll,
    Begin,
    Commit,
    Rollback,
    Savepoint(Box<[u8]>),
    Release(Box<[u8]>),
    RollbackTo(Box<[u8]>),
    /// We have set on the backend what the session has.
    Restored,
}

/// What session and backend have set, and what the session listens to, step by step.
struct Replay {
    now: (Settings, Settings, Channels),
    /// The same at the beginning of the transaction.
    base: (Settings, Settings, Channels),
    savepoints: Vec<Savepoint>,
}

impl Replay {
    fn new(session: &Settings, backend: &Settings, channels: &Channels) -> Replay {
        let now = (session.clone(), backend.clone(), channels.clone());
        Replay { base: now.clone(), now, savepoints: Vec::new() }
    }

    fn take(&mut self, step: Step, startup: &Settings) {
        let Replay { now, base, savepoints } = self;
        match step {
            Step::Set(name, value) => {
                now.0.set(&name, value.clone());
                now.1.set(&name, value);
            }
            Step::Reset(name) => {
                now.0.reset(&name, startup);
                now.1.forget(&name);
            }
            Step::ResetAll => {
                now.0 = startup.clone();
                now.1 = Settings::default();
            }
            Step::DiscardAll => {
                *now = (startup.clone(), Settings::default(), Channels::default());
                *base = now.clone();
            }
            Step::Listen(name) => now.2.join(&name),
            Step::Unlisten(name) => now.2.leave(&name),
            Step::UnlistenAll => now.2.leave_all(),
            Step::Restored => now.1 = now.0.clone(),
            Step::Begin => {}
            Step::Commit => {
                *base = now.clone();
                savepoints.clear();
            }
            Step::Rollback => {
                *now = base.clone();
                savepoints.clear();
            }
            Step::Savepoint(name) => savepoints.push((name, now.clone())),
            Step::Release(name) => {
                if let Some(at) = savepoints.iter().rposition(|(known, _)| *known == name) {
                    savepoints.truncate(at);
                }
            }
            Step::RollbackTo(name) => {
                if let Some(at) = savepoints.iter().rposition(|(known, _)| *known == name) {
                    *now = savepoints[at].1.clone();
                    savepoints.truncate(at + 1);
                }
            }
        }
    }
}

/// A savepoint's name, what session and backend had set at it, and what the session listened to.
type Savepoint = (Box<[u8]>, (Settings, Settings, Channels));

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Notes what a text that is being sent will do.
    pub fn note<'a>(&mut self, changes: impl Iterator<Item = Change<'a>>) -> Noted {
        let mut noted = Noted::default();
        for change in changes {
            noted.resets |= matches!(change, Change::Reset { .. } | Change::ResetAll | Change::DiscardAll);
            self.steps.push(match change {
                Change::Set { name, value } => Step::Set(name.as_bytes().into(), Value::Sql(value.into())),
                Change::SetTimeZone { value } => {
                    Step::Set((*b"timezone").into(), Value::TimeZone(value.into()))
                }
                Change::Reset { name } => Step::Reset(name.as_bytes().into()),
                Change::ResetAll => Step::ResetAll,
                Change::DiscardAll => Step::DiscardAll,
                Change::Listen { name } => Step::Listen(name.as_bytes().into()),
                Change::Unlisten { name } => Step::Unlisten(name.as_bytes().into()),
                Change::UnlistenAll => Step::UnlistenAll,
                Change::Opaque => {
                    noted.opaque = true;
                    continue;
                }
                Change::Local => continue,
                Change::Begin => Step::Begin,
                Change::Commit => Step::Commit,
                Change::Rollback => Step::Rollback,
                Change::Savepoint { name } => Step::Savepoint(name.as_bytes().into()),
                Change::Release { name } => Step::Release(name.as_bytes().into()),
                Change::RollbackTo { name } => Step::RollbackTo(name.as_bytes().into()),
            });
        }
        noted
    }

    /// The channels that are listened to if all goes through, some of them perhaps more than once.
    pub fn joining(&self) -> impl Iterator<Item = &[u8]> {
        self.steps.iter().filter_map(|step| match step {
            Step::Listen(name) => Some(&**name),
            _ => None,
        })
    }

    /// A request is sent: what was noted since the one before belongs to it.
    pub fn sent(&mut self, request: Request) {
        if !self.steps.is_empty() {
            self.marks.push_back((request, self.steps.len()));
        }
    }

    /// Nothing of what was noted since the last confirmation reached a server.
    pub fn refuse(&mut self) {
        self.steps.truncate(self.confirmed);
        self.marks.clear();
    }

    /// How many steps belong to this request and those before it.
    fn steps_of(&mut self, request: Request) -> usize {
        let mut steps = 0;
        while let Some(&(number, mark)) = self.marks.front()
            && number <= request
        {
            steps = mark;
            self.marks.pop_front();
        }
        steps
    }

    /// So many of the first steps are settled and leave.
    fn forget_first(&mut self, steps: usize) {
        for (_, mark) in &mut self.marks {
            *mark -= steps;
        }
    }

    /// The server is ready after this request, and the transaction goes on: the steps since the last time were taken, or
    /// failed.
    pub fn confirm(&mut self, request: Request, failed: bool) {
        let steps = self.steps_of(request).max(self.confirmed);
        if failed {
            self.steps.drain(self.confirmed..steps);
            self.forget_first(steps - self.confirmed);
        } else {
            self.confirmed = steps;
        }
    }

    /// The server is ready after this request and no transaction is open: what became of what the session has set, of what
    /// the backend has, and of the channels the session listens to. What later requests do is still open.
    ///
    /// `failed`: the last text got an error, behind so many ends of transactions that had gone through; what it did since
    /// the last of these is undone. `rolled_back`: the transaction ended with ROLLBACK, also when COMMIT was asked for.
    #[allow(clippy::too_many_arguments)]
    pub fn finish(
        &mut self,
        request: Request,
        session: &mut Settings,
        backend: &mut Settings,
        channels: &mut Channels,
        startup: &Settings,
        failed: Option<usize>,
        rolled_back: bool,
    ) {
        let of_this = self.steps_of(request).max(self.confirmed);
        let later = self.steps.split_off(of_this);
        self.forget_first(of_this);
        if let Some(ends) = failed {
            let is_end = |step: &Step| matches!(step, Step::Commit | Step::Rollback | Step::DiscardAll);
            let behind = self.steps.iter().enumerate().skip(self.confirmed).filter(|(_, step)| is_end(step));
            let kept = ends.checked_sub(1).and_then(|last| behind.map(|(at, _)| at + 1).nth(last));
            self.steps.truncate(kept.unwrap_or(self.confirmed));
        }
        let steps = std::mem::replace(&mut self.steps, later);
        self.confirmed = 0;
        let last_end = steps.iter().rposition(|step| matches!(step, Step::Commit | Step::Rollback));
        let mut replay = Replay::new(session, backend, channels);
        for (at, step) in steps.into_iter().enumerate() {
            let step = match step {
                Step::Commit if rolled_back && Some(at) == last_end => Step::Rollback,
                step => step,
            };
            replay.take(step, startup);
        }
        // An explicit transaction that ended badly without an end among the steps (lost, or ended inside a function).
        if rolled_back && last_end.is_none() {
            replay.now = replay.base;
        }
        (*session, *backend, *channels) = replay.now;
    }

    /// Within an open transaction, with no request on its way: appends the SQL that sets on the backend what the session
    /// has set there, and counts it as done. False when there is nothing to do.
    pub fn put_restore(
        &mut self,
        session: &Settings,
        backend: &Settings,
        startup: &Settings,
        out: &mut Vec<u8>,
    ) -> bool {
        let mut replay = Replay::new(session, backend, &Channels::default());
        for step in &self.steps[..self.confirmed] {
            replay.take(step.clone(), startup);
        }
        let (session, backend, _) = &replay.now;
        let any = session.put_switch(backend, out);
        if any {
            self.steps.insert(self.confirmed, Step::Restored);
            self.confirmed += 1;
            self.marks.iter_mut().for_each(|(_, mark)| *mark += 1);
        }
        any
    }

    /// Nothing of the open transaction happened.
    pub fn forget(&mut self) {
        self.steps.clear();
        self.marks.clear();
        self.confirmed = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{Dialect, changes};

    /// Runs texts in one transaction each having succeeded, and finishes it.
    fn after(texts: &[&str], rolled_back: bool) -> (String, String) {
        let startup = Settings::of_startup([(&b"DateStyle"[..], &b"ISO"[..])].into_iter());
        let (mut session, mut backend) = (startup.clone(), startup.clone());
        let mut steps = Changes::default();
        for text in texts {
            steps.note(changes(text.as_bytes(), Dialect::default()));
            steps.sent(1);
            steps.confirm(1, false);
        }
        steps.finish(2, &mut session, &mut backend, &mut Channels::default(), &startup, None, rolled_back);
        let sql = |settings: &Settings| {
            let mut out = Vec::new();
            settings.put_switch(&Settings::default(), &mut out);
            String::from_utf8(out).unwrap()
        };
        (sql(&session), sql(&backend))
    }

    const START: &str = "SELECT pg_catalog.set_config(E'datestyle',E'ISO',false)";

    #[test]
    fn what_was_committed_stays_and_what_was_rolled_back_does_not() {
        let set = format!("{START};SET \"work_mem\" TO '1MB'");
        assert_eq!(after(&["BEGIN", "SET work_mem = '1MB'", "COMMIT"], false).0, set);
        assert_eq!(after(&["BEGIN", "SET work_mem = '1MB'", "ROLLBACK"], true).0, START);
        assert_eq!(after(&["BEGIN", "SET work_mem = '1MB'", "COMMIT"], true).0, START);
        assert_eq!(after(&["SET LOCAL work_mem = '1MB'"], false).0, START);
    }

    #[test]
    fn rolling_back_to_a_savepoint_undoes_what_came_after_it() {
        let texts = ["BEGIN", "SET a.x = 1", "SAVEPOINT s", "SET a.x = 2", "ROLLBACK TO s", "COMMIT"];
        assert_eq!(after(&texts, false).0, format!("SET \"a\".\"x\" TO 1;{START}"));
        let texts = ["BEGIN", "SAVEPOINT s", "SET a.x = 2", "RELEASE s", "COMMIT"];
        assert_eq!(after(&texts, false).0, format!("SET \"a\".\"x\" TO 2;{START}"));
    }

    #[test]
    fn reset_returns_to_what_the_client_started_with() {
        let (session, backend) = after(&["SET datestyle = 'German'", "RESET datestyle"], false);
        assert_eq!((session.as_str(), backend.as_str()), (START, ""));
        assert_eq!(after(&["SET a.x = 1", "DISCARD ALL"], false).0, START);
        // Also when what comes behind it in the same batch fails.
        let startup = Settings::default();
        let (mut session, mut backend) = (Settings::default(), Settings::default());
        session.set(b"a.x", Value::Sql((*b"1").into()));
        let mut steps = Changes::default();
        steps.note(changes(b"DISCARD ALL", Dialect::default()));
        steps.note(changes(b"SET a.y = 1", Dialect::default()));
        steps.sent(1);
        steps.finish(1, &mut session, &mut backend, &mut Channels::default(), &startup, Some(1), false);
        assert!(session.is_empty() && backend.is_empty());
    }

    #[test]
    fn several_transactions_in_one_text_are_told_apart() {
        // A BEGIN inside a text takes what stands before it into its transaction (PostgreSQL manual 55.2.2.1).
        let text = "SET a.x = 1; BEGIN; SET a.y = 2; ROLLBACK; SET a.z = 3";
        assert_eq!(after(&[text], false).0, format!("SET \"a\".\"z\" TO 3;{START}"));
        let text = "SET a.x = 1; COMMIT; SET a.y = 2; ROLLBACK; SET a.z = 3";
        assert_eq!(after(&[text], false).0, format!("SET \"a\".\"x\" TO 1;SET \"a\".\"z\" TO 3;{START}"));
    }

    #[test]
    fn an_error_undoes_what_came_since_the_last_end_that_went_through() {
        let startup = Settings::default();
        for (ends, sql) in [(0, ""), (1, "SET \"a\".\"x\" TO 1")] {
            let (mut session, mut backend) = (Settings::default(), Settings::default());
            let mut steps = Changes::default();
            steps.note(changes(b"SET a.x = 1; COMMIT; SET a.y = 2; SELECT 1/0", Dialect::default()));
            steps.sent(1);
            steps.finish(
                1,
                &mut session,
                &mut backend,
                &mut Channels::default(),
                &startup,
                Some(ends),
                false,
            );
            let mut out = Vec::new();
            session.put_switch(&Settings::default(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), sql);
        }
    }

    #[test]
    fn what_is_listened_to_is_undone_as_settings_are() {
        let names = |texts: &[&str], rolled_back| {
            let (mut session, mut backend) = (Settings::default(), Settings::default());
            let mut channels = Channels::default();
            channels.join(b"old");
            let mut steps = Changes::default();
            for text in texts {
                steps.note(changes(text.as_bytes(), Dialect::default()));
                steps.sent(1);
                steps.confirm(1, false);
            }
            let startup = Settings::default();
            steps.finish(2, &mut session, &mut backend, &mut channels, &startup, None, rolled_back);
            let names: Vec<_> =
                channels.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            names.join(" ")
        };
        assert_eq!(names(&["LISTEN new"], false), "new old");
        assert_eq!(names(&["BEGIN", "LISTEN new", "UNLISTEN old", "ROLLBACK"], true), "old");
        assert_eq!(names(&["BEGIN", "UNLISTEN *", "LISTEN new; LISTEN \"New\"", "COMMIT"], false), "New new");
        assert_eq!(names(&["BEGIN; LISTEN a; SAVEPOINT s; LISTEN b; ROLLBACK TO s; COMMIT"], false), "a old");
        assert_eq!(names(&["LISTEN a; DISCARD ALL"], false), "");
        assert_eq!(names(&["RESET ALL"], false), "old");
    }

    #[test]
    fn each_of_several_requests_counts_by_itself() {
        let startup = Settings::default();
        let (mut session, mut backend) = (Settings::default(), Settings::default());
        let mut steps = Changes::default();
        steps.sent(1);
        for (request, text) in [(2, "SET a.x = 1"), (3, "SET a.y = 2"), (4, "SET a.z = 3")] {
            steps.note(changes(text.as_bytes(), Dialect::default()));
            steps.sent(request);
        }
        let sql = |settings: &Settings| {
            let mut out = Vec::new();
            settings.put_switch(&Settings::default(), &mut out);
            String::from_utf8(out).unwrap()
        };
        // The first fails and has none, the third fails and loses its own.
        steps.finish(1, &mut session, &mut backend, &mut Channels::default(), &startup, Some(0), false);
        assert_eq!((sql(&session).as_str(), steps.len()), ("", 3));
        steps.finish(2, &mut session, &mut backend, &mut Channels::default(), &startup, None, false);
        assert_eq!((sql(&session).as_str(), steps.len()), ("SET \"a\".\"x\" TO 1", 2));
        steps.finish(3, &mut session, &mut backend, &mut Channels::default(), &startup, Some(0), false);
        assert_eq!((sql(&session).as_str(), steps.len()), ("SET \"a\".\"x\" TO 1", 1));
        steps.finish(4, &mut session, &mut backend, &mut Channels::default(), &startup, None, false);
        assert_eq!(sql(&session), "SET \"a\".\"x\" TO 1;SET \"a\".\"z\" TO 3");
        assert!(steps.is_empty() && session == backend);
    }

    #[test]
    fn a_failed_request_within_a_transaction_takes_its_own_steps_only() {
        let startup = Settings::default();
        let (mut session, mut backend) = (Settings::default(), Settings::default());
        let mut steps = Changes::default();
        for (request, text) in [
            (1, "BEGIN; SET a.x = 1; SAVEPOINT s"),
            (2, "SET a.y = 2"),
            (3, "ROLLBACK TO s; SET a.z = 3"),
            (4, "COMMIT"),
        ] {
            steps.note(changes(text.as_bytes(), Dialect::default()));
            steps.sent(request);
        }
        for (request, failed) in [(1, false), (2, true), (3, false)] {
            steps.confirm(request, failed);
        }
        steps.finish(4, &mut session, &mut backend, &mut Channels::default(), &startup, None, false);
        assert_eq!((session.get(b"a.x").is_some(), session.get(b"a.y"), session.len()), (true, None, 2));
    }

    #[test]
    fn what_was_refused_does_not_count_for_the_next_request() {
        let mut steps = Changes::default();
        steps.note(changes(b"SET a.x = 1", Dialect::default()));
        steps.refuse();
        steps.sent(1);
        assert!(steps.is_empty());
    }

    #[test]
    fn what_the_client_started_with_is_brought_back_within_the_transaction() {
        let startup = Settings::of_startup([(&b"DateStyle"[..], &b"ISO"[..])].into_iter());
        let (mut session, mut backend) = (startup.clone(), startup.clone());
        let mut steps = Changes::default();
        let noted = steps.note(changes(b"BEGIN; SET a.x = 1; SAVEPOINT s; RESET ALL", Dialect::default()));
        assert_eq!(noted, Noted { opaque: false, resets: true });
        steps.sent(1);
        steps.confirm(1, false);
        let mut out = Vec::new();
        assert!(steps.put_restore(&session, &backend, &startup, &mut out));
        assert_eq!(String::from_utf8(out).unwrap(), START);
        assert!(!steps.put_restore(&session, &backend, &startup, &mut Vec::new()));
        // And is gone with the RESET where that is undone.
        steps.note(changes(b"ROLLBACK TO s; COMMIT", Dialect::default()));
        steps.sent(2);
        steps.finish(2, &mut session, &mut backend, &mut Channels::default(), &startup, None, false);
        assert_eq!((session.len(), &session), (2, &backend));
    }
}
