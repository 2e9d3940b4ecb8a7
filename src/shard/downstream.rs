//! From the backend to the client: frames are walked over, not read; what belongs to the client leaves from the buffers it
//! arrived in, what answers our own messages is cut out.

use crate::backend::{NotDone, Saying, StatementId, Verdict};
use crate::counters::Refusal;
use crate::limits::FRAME_HOLD_MAX;
use crate::ring::Chunk;
use crate::session::{Bound, Forgotten, Order};
use crate::wire::backend::{
    ErrorFields, TransactionStatus, put_error_as, put_parameter_status, put_ready, read_command_complete,
    read_parameter_status,
};
use crate::wire::frame::{HEAD_SIZE, fill};
use crate::wire::frontend::find_own_statement;
use crate::wire::{Head, Sqlstate, Violation};

use super::link::shuts_down;
use super::login;
use super::relay::{Ending, Relay, TRIES_MAX};

/// What happens to the frame that was just judged.
enum Fate {
    Forward,
    Skip,
}

impl Relay {
    /// Relays what the backend sent. True when there was anything.
    pub(super) fn downstream(&mut self) -> bool {
        let mut progressed = false;
        while !self.client.congested() && !self.owes_ready {
            let Some(link) = &self.link else { return progressed };
            let Some(chunk) = link.socket.receive() else {
                if let Some(end) = link.socket.end() {
                    tracing::debug!(node = %link.key.node, ?end, "lost a backend");
                    self.lost("the connection broke");
                    progressed = true;
                }
                return progressed;
            };
            progressed = true;
            let length = chunk.len() as u64;
            match self.take_chunk(chunk) {
                Ok(()) => self.shard.counters().bytes_out.add(length),
                Err(violation) => {
                    tracing::warn!(%violation, "a server broke the protocol");
                    self.lost("the server broke the protocol");
                }
            }
            if self.end.is_some() {
                return true;
            }
        }
        progressed
    }

    /// Takes one received chunk apart.
    fn take_chunk(&mut self, chunk: Chunk) -> Result<(), Violation> {
        let bytes = &*chunk;
        // Bytes from `run` to `at` belong to the client and were not sent yet.
        let (mut run, mut at) = (0, 0);
        while at < bytes.len() {
            let Some(link) = &mut self.link else { return Ok(()) };
            if self.owes_ready {
                // What comes behind a ReadyForQuery that the client has not heard yet.
                link.socket.unreceive(chunk.slice(at..bytes.len()));
                self.flush(&chunk, run, at);
                return Ok(());
            }
            if link.incoming.passing > 0 {
                let step = link.incoming.passing.min(bytes.len() - at);
                link.incoming.passing -= step;
                if !link.incoming.forward {
                    self.flush(&chunk, run, at);
                    run = at + step;
                }
                at += step;
                continue;
            }
            if !link.incoming.held.is_empty() {
                at += self.complete_held(&bytes[at..])?;
                run = at;
                continue;
            }
            let rest = &bytes[at..];
            let Some(head) = Head::read(rest)? else {
                link.incoming.held.extend_from_slice(rest);
                self.flush(&chunk, run, at);
                return Ok(());
            };
            let size = head.frame();
            if size <= rest.len() {
                let end = at + size;
                if matches!(head.tag, b'D' | b'd') && link.backend.ledger.content() == Verdict::Forward {
                    at = end;
                    continue;
                }
                let verdict = link.backend.handle(head.tag, &rest[HEAD_SIZE..size])?;
                if self.again {
                    // The answer to what will be sent again.
                    at = end;
                    run = end;
                    if head.tag == b'Z' {
                        if at < bytes.len()
                            && let Some(link) = &self.link
                        {
                            link.socket.unreceive(chunk.slice(at..bytes.len()));
                        }
                        return Ok(());
                    }
                    continue;
                }
                if let Verdict::Failed(_) = verdict
                    && self.sends_again(&bytes[at + HEAD_SIZE..end])
                {
                    at = end;
                    run = end;
                    continue;
                }
                if let Verdict::Failed { .. } = verdict
                    && self.shuts_down(&bytes[at + HEAD_SIZE..end])
                {
                    self.flush(&chunk, run, at);
                    self.lost("the server shut down");
                    return Ok(());
                }
                // These may be reworded, behind what came before.
                let reworded = matches!(verdict, Verdict::Duplicate(_) | Verdict::Failed(_))
                    || head.tag == b'Z' && (self.restoring || self.session.resetting());
                if reworded {
                    self.flush(&chunk, run, at);
                    run = at;
                }
                match self.judge(verdict, head.tag, &bytes[at + HEAD_SIZE..end]) {
                    Fate::Forward => at = end,
                    Fate::Skip => {
                        self.flush(&chunk, run, at);
                        at = end;
                        run = end;
                    }
                }
                self.say_ours(|relay| {
                    relay.flush(&chunk, run, at);
                    run = at;
                });
                if head.tag == b'Z' && self.releasable() {
                    self.flush(&chunk, run, at);
                    // What a server says unasked behind ReadyForQuery stays with the backend.
                    if at < bytes.len()
                        && let Some(link) = &self.link
                    {
                        link.socket.unreceive(chunk.slice(at..bytes.len()));
                    }
                    self.hand_back();
                    return Ok(());
                }
            } else if streamed(head.tag) && link.backend.ledger.content() != Verdict::Found {
                let verdict = link.backend.handle(head.tag, &[])?;
                let forward = verdict != Verdict::Skip;
                link.incoming.passing = size - rest.len();
                link.incoming.forward = forward;
                if !forward {
                    self.flush(&chunk, run, at);
                    return Ok(());
                }
                at = bytes.len();
            } else {
                if size > FRAME_MAX {
                    return Err(Violation::Length);
                }
                link.incoming.held.extend_from_slice(rest);
                self.flush(&chunk, run, at);
                return Ok(());
            }
        }
        self.flush(&chunk, run, at);
        Ok(())
    }

    /// Goes on with a frame whose beginning is held; answers how many of `bytes` it took.
    fn complete_held(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let Some(link) = &mut self.link else { return Ok(bytes.len()) };
        let held = &mut link.incoming.held;
        let mut used = 0;
        if !fill(held, HEAD_SIZE, bytes, &mut used) {
            return Ok(used);
        }
        let head = Head::read(held)?.ok_or(Violation::Length)?;
        let size = head.frame();
        if streamed(head.tag) && link.backend.ledger.content() != Verdict::Found {
            let verdict = link.backend.handle(head.tag, &[])?;
            let forward = verdict != Verdict::Skip;
            link.incoming.forward = forward;
            link.incoming.passing = size - link.incoming.held.len();
            let held = std::mem::take(&mut link.incoming.held);
            if forward {
                self.told = true;
                self.client.send_copy(&held);
            }
            if link.incoming.passing == 0 {
                self.settle_held(head.tag);
            }
            return Ok(used);
        }
        if size > FRAME_MAX {
            return Err(Violation::Length);
        }
        if !fill(&mut link.incoming.held, size, bytes, &mut used) {
            return Ok(used);
        }
        let frame = std::mem::take(&mut link.incoming.held);
        let verdict = link.backend.handle(head.tag, &frame[HEAD_SIZE..])?;
        if self.again || matches!(verdict, Verdict::Failed(_)) && self.sends_again(&frame[HEAD_SIZE..]) {
            return Ok(used);
        }
        if matches!(verdict, Verdict::Failed { .. }) && self.shuts_down(&frame[HEAD_SIZE..]) {
            self.lost("the server shut down");
            return Ok(used);
        }
        self.told = true;
        if let Fate::Forward = self.judge(verdict, head.tag, &frame[HEAD_SIZE..]) {
            self.client.send_copy(&frame);
        }
        self.settle_held(head.tag);
        Ok(used)
    }

    /// Carries out what a frame means for the session; answers whether its bytes go to the client.
    fn judge(&mut self, verdict: Verdict, tag: u8, body: &[u8]) -> Fate {
        match verdict {
            Verdict::Forward => {
                if tag == b'C' || tag == b'I' {
                    self.copy_ended();
                }
                Fate::Forward
            }
            Verdict::Notice if tag == b'A' && self.told_by_hub(body) => Fate::Skip,
            Verdict::Notice => Fate::Forward,
            Verdict::OwnReady(status) if self.restoring => {
                self.restored(status);
                Fate::Skip
            }
            Verdict::Skip | Verdict::OwnReady(_) => Fate::Skip,
            Verdict::Found => {
                self.found(body);
                Fate::Skip
            }
            Verdict::Looked => {
                self.looked();
                Fate::Skip
            }
            Verdict::LookFailed => {
                self.look_failed();
                Fate::Skip
            }
            Verdict::Complete => {
                self.copy_ended();
                self.completed(body);
                Fate::Forward
            }
            Verdict::Parsed => {
                self.parsed();
                Fate::Forward
            }
            Verdict::CopyIn => {
                if let Some(link) = &mut self.link {
                    link.copy_in = true;
                }
                Fate::Forward
            }
            Verdict::Parameter => self.parameter(body),
            Verdict::Failed(not_done) => self.failed(ErrorFields::new(body), not_done),
            Verdict::Duplicate(not_done) => {
                let error = ErrorFields::new(body);
                if error.sqlstate() != Some(Sqlstate::DUPLICATE_PREPARED_STATEMENT) {
                    return self.failed(error, not_done);
                }
                let name = String::from_utf8_lossy(self.session.parsing()).into_owned();
                let message = format!("prepared statement \"{name}\" already exists");
                self.client.send_with(|out| put_error_as(out, error, b"ERROR", message.as_bytes()));
                self.session.did_not_happen(not_done.changes, not_done.parse);
                self.session.error();
                Fate::Skip
            }
            Verdict::OwnFailed => {
                // Our own query brings the session's settings: they do not hold any more, and nothing may run without
                // them. The server has not run what came behind either: its transaction failed.
                let mut report = crate::wire::backend::Report::of(ErrorFields::new(body));
                report.severity = crate::wire::backend::Severity::Fatal;
                if let Some(link) = &mut self.link {
                    link.backend.spoil("the session's settings could not be applied");
                }
                self.end(Ending::Told(report));
                Fate::Skip
            }
            Verdict::Ready(status) => self.ready(status),
        }
    }

    /// What the client asked got an error.
    fn failed(&mut self, error: ErrorFields<'_>, not_done: NotDone) -> Fate {
        self.copy_ended();
        self.session.did_not_happen(not_done.changes, not_done.parse);
        let fate = self.put_renamed(error);
        self.session.error();
        if error.fatal() {
            self.last_words();
        }
        fate
    }

    /// The server is ready for the client's next request.
    fn ready(&mut self, status: TransactionStatus) -> Fate {
        let waiting = !self.batch.is_empty() || self.next.is_some() || self.deferred.is_some();
        if let Some(link) = &mut self.link {
            link.copy_in = false;
            let more = waiting || link.backend.ledger.owes_ready();
            self.session.ready(status, &mut link.settings, more);
            if link.settings == *self.session.settings() {
                link.settings = self.session.settings().clone();
            }
        }
        if self.session.take_reset() {
            if self.restore(status) {
                return Fate::Skip;
            }
            self.tell_parameters();
        }
        self.settled(status);
        match self.owes_ready {
            true => Fate::Skip,
            false => Fate::Forward,
        }
    }

    /// The server is ready for the client's next request, and the client will hear so: at once, or behind what it is to
    /// be told of first.
    fn settled(&mut self, status: TransactionStatus) {
        if self.session.take_defines() {
            self.defined();
        }
        if status == TransactionStatus::Idle && self.session.take_login_changes() {
            self.change_logins();
        }
        self.shard.spare_batch(std::mem::take(&mut self.kept));
        self.tries = 0;
        self.answered(status);
        self.owes_ready = self.listening.is_some() && status == TransactionStatus::Idle;
    }

    /// Something was reset, and became what the server knows: where the client's startup message had said otherwise, sets
    /// that. True when there is something to set: the client is not told that the server is ready before it is.
    fn restore(&mut self, status: TransactionStatus) -> bool {
        self.restoring = match status {
            TransactionStatus::Idle => self.begin(),
            TransactionStatus::InTransaction => match self.link.as_deref_mut() {
                Some(link) => {
                    let mut sql = Vec::new();
                    let any = self.session.put_restore(&link.settings, &mut sql);
                    if any {
                        link.socket.send_with(|out| link.backend.own_query(&sql, out));
                    }
                    any
                }
                None => false,
            },
            TransactionStatus::Failed => false,
        };
        self.restoring
    }

    /// What the client started with is set again.
    fn restored(&mut self, status: TransactionStatus) {
        self.restoring = false;
        self.tell_parameters();
        self.settled(status);
        if !self.owes_ready {
            self.client.send_with(|out| put_ready(out, status));
        }
    }

    /// Tells the client what it has not heard of its session's parameters.
    fn tell_parameters(&mut self) {
        let Some(link) = &self.link else { return };
        let mut told = Vec::new();
        for (name, value) in link.backend.parameters.iter() {
            if name != IN_HOT_STANDBY && self.reported.set(name, value) {
                put_parameter_status(&mut told, name, value);
            }
        }
        if !told.is_empty() {
            self.session.dialect = login::dialect(&self.reported);
            self.client.send_copy(&told);
        }
    }

    fn copy_ended(&mut self) {
        if let Some(link) = &mut self.link {
            link.copy_in = false;
        }
    }

    /// CommandComplete: its tag tells what became of the transaction and of the prepared statements.
    fn completed(&mut self, body: &[u8]) {
        let Ok(tag) = read_command_complete(body) else { return };
        // Also a text too long to be looked into may give up all statements.
        if !self.session.watches_tags() && tag != b"DEALLOCATE ALL" {
            return;
        }
        let forgotten = self.session.completed(tag);
        let Some(link) = &mut self.link else { return };
        match forgotten {
            Forgotten::Nothing => {}
            Forgotten::One(statement) => link.backend.prepared.remove(StatementId(statement.id())),
            Forgotten::All => link.backend.forget_statements(),
        }
    }

    /// Tells the client an error in which statements have the names that the client gave them. Whether the error is to be
    /// forwarded as it is, because there are none.
    fn put_renamed(&mut self, error: ErrorFields<'_>) -> Fate {
        let message = error.field(b'M').unwrap_or_default();
        let Some((place, number)) = find_own_statement(message) else { return Fate::Forward };
        let Some(name) = self.session.name_of(number.get()) else { return Fate::Forward };
        let message = [&message[..place.start], name, &message[place.end..]].concat();
        let severity = error.field(b'S').unwrap_or(b"ERROR");
        self.client.send_with(|out| put_error_as(out, error, severity, &message));
        Fate::Skip
    }

    /// ParameterStatus: told to the client when its own view changes.
    fn parameter(&mut self, body: &[u8]) -> Fate {
        let Ok((name, value)) = read_parameter_status(body) else { return Fate::Skip };
        // What was reset may not be what the session started with.
        let early = self.restoring || self.session.resetting();
        // Which node answers changes from query to query; the session as a whole is not on standby.
        if early || name == IN_HOT_STANDBY || !self.reported.set(name, value) {
            return Fate::Skip;
        }
        if matches!(name, b"standard_conforming_strings" | b"client_encoding") {
            self.session.dialect = login::dialect(&self.reported);
        }
        Fate::Forward
    }

    /// Whether the server says that it shuts down, or only this backend: what is under way is lost, and no reason for the
    /// session to end.
    fn shuts_down(&mut self, body: &[u8]) -> bool {
        let error = ErrorFields::new(body);
        let Some(link) = self.link.as_mut().filter(|_| error.fatal()) else { return false };
        link.shut_down = shuts_down(&error);
        link.shut_down
    }

    /// The server says goodbye: what it said goes to the client, and the session ends behind it.
    fn last_words(&mut self) {
        if let Some(link) = &mut self.link {
            link.backend.spoil("the server ended the session");
        }
        self.end(Ending::Heard);
    }

    /// Says what is ours to say now that its turn has come; `before` is called before each.
    pub(super) fn say_ours(&mut self, mut before: impl FnMut(&mut Relay)) {
        while !self.owes_ready
            && let Some(link) = &mut self.link
            && let Some(saying) = link.backend.ledger.say()
        {
            before(self);
            self.told = true;
            self.client.send_copy(saying.reply());
            match saying {
                Saying::Parsed => self.parsed(),
                Saying::Closed => self.session.closed(),
            }
        }
    }

    fn settle_held(&mut self, tag: u8) {
        self.say_ours(|_| {});
        if tag == b'Z' && self.releasable() {
            self.hand_back();
        }
    }

    /// Whether what failed with this error is to be sent once more, unseen by the client: a statement that was refused as
    /// a whole has done nothing. That is so when the error is the first word of the answer, outside a transaction, and
    /// says that a standby does not do this, or that a plan was made for what the table was before (0A000).
    fn sends_again(&mut self, body: &[u8]) -> bool {
        if self.told
            || self.kept.is_empty()
            || self.session.status() != TransactionStatus::Idle
            || self.tries >= TRIES_MAX
        {
            return false;
        }
        let error = ErrorFields::new(body);
        // The server tells this one of its many 0A000 apart by where it says it, not by its words, which are translated.
        let outdated_plan = error.sqlstate() == Some(Sqlstate::FEATURE_NOT_SUPPORTED)
            && error.field(b'R') == Some(b"RevalidateCachedQuery");
        if outdated_plan {
            for (order, _) in &self.kept {
                if let Order::Bind { statement: Bound::Named(statement), .. }
                | Order::Describe(statement)
                | Order::Parse(statement) = order
                {
                    statement.renew();
                }
            }
        }
        let refusal = match error.sqlstate() {
            Some(sqlstate) if self.on_replica && !outdated_plan => refusal(sqlstate, error),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.refused_by_standby(refusal);
        }
        self.again = refusal.is_some() || outdated_plan;
        self.tries += u32::from(self.again);
        self.again
    }

    fn flush(&mut self, chunk: &Chunk, run: usize, at: usize) {
        if run < at {
            self.told = true;
            self.client.send(chunk.slice(run..at));
        }
    }
}

/// Messages that may be long and need not be seen whole: their type alone says whose they are.
fn streamed(tag: u8) -> bool {
    matches!(tag, b'D' | b'd' | b'T' | b't' | b'N' | b'V')
}

/// What a standby says where the primary may do better: it is read-only; it has no unlogged tables and no SERIALIZABLE; it
/// numbers no new objects; what it read was removed by recovery, or recovery waited for what it held (PostgreSQL manual
/// 27.4).
fn refusal(sqlstate: Sqlstate, error: ErrorFields<'_>) -> Option<Refusal> {
    match sqlstate {
        Sqlstate::READ_ONLY_TRANSACTION => Some(Refusal::Write),
        // Told apart by where the server says it (`predicate.c`), since words are translated.
        Sqlstate::FEATURE_NOT_SUPPORTED
            if error.field(b'R') == Some(b"GetSerializableTransactionSnapshot") =>
        {
            Some(Refusal::Serializable)
        }
        Sqlstate::FEATURE_NOT_SUPPORTED => Some(Refusal::Unsupported),
        Sqlstate::INTERNAL_ERROR => Some(Refusal::Number),
        Sqlstate::SERIALIZATION_FAILURE | Sqlstate::DEADLOCK_DETECTED => Some(Refusal::Recovery),
        _ => None,
    }
}

/// The parameter that says which kind of node answers.
const IN_HOT_STANDBY: &[u8] = b"in_hot_standby";
/// Longest message of a server that has to be seen whole (bytes): errors carry the statement's text.
const FRAME_MAX: usize = 64 * FRAME_HOLD_MAX;
