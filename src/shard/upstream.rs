//! From the client to the backend: frames are cut, the session says what each means, and it is sent, collected, or
//! answered here.

use std::rc::Rc;

use crate::backend::{Backend, Owed, StatementId};
use crate::limits::{BATCH_BYTES_MAX, BATCH_FRAMES_MAX, FRAME_HOLD_MAX};
use crate::ring::Chunk;
use crate::session::statements::Statement;
use crate::session::{Bound, Order, Pins, Renamed, Want};
use crate::wire::backend::{Report, TransactionStatus};
use crate::wire::frame::{HEAD_SIZE, fill};
use crate::wire::frontend::Parse;
use crate::wire::{Head, Sqlstate, Violation, frontend};

use super::functions::Look;
use super::relay::{Ending, Need, Relay};

impl Relay {
    /// Takes what the client sent, as far as it can go. True when there was anything.
    pub(super) fn upstream(&mut self) -> bool {
        let mut progressed = false;
        while self.ready_for_more() {
            let Some(chunk) = self.client.receive() else { break };
            progressed = true;
            self.seat.heard.set(self.shard.ring.now());
            let length = chunk.len() as u64;
            match self.cut(&chunk) {
                Ok(used) => {
                    self.shard.counters().bytes_in.add(used as u64);
                    if used < length as usize {
                        self.client.unreceive(chunk.slice(used..chunk.len()));
                    }
                }
                Err(violation) => {
                    let report = Report::fatal(Sqlstate::PROTOCOL_VIOLATION, violation.to_string());
                    self.end(Ending::Told(report));
                }
            }
        }
        progressed
    }

    fn ready_for_more(&self) -> bool {
        self.need.is_none()
            && self.next.is_none()
            && self.deferred.is_none()
            && !self.leaving
            && self.end.is_none()
            && self.may_send()
            && !self.moving
            && !self.again
            && !self.owes_ready
            && !self.must_wait()
            && !self.at_closed_gate()
            // Answers of our own pile up too.
            && !(self.link.is_none() && self.client.congested())
    }

    /// Whether what comes next depends on the answer to a request that was sent: on a replica, whether it is a read is
    /// looked at when the lease is over; anywhere, statements that are being made or closed must be decided first. All
    /// else may follow at once.
    fn must_wait(&self) -> bool {
        self.link.as_ref().is_some_and(|link| {
            let ledger = &link.backend.ledger;
            // Names that are being given up: what comes behind depends on it even in the same pipeline.
            if self.session.forgetting() && !ledger.is_empty() {
                return true;
            }
            // It is about to be given back.
            if matches!(self.look.as_deref(), Some(Look::Unlisten)) {
                return true;
            }
            let sent = !ledger.is_empty() && !ledger.unsynced() && !link.copy_in;
            // What was reset is not yet what the session started with. A session that listens is told of each request what
            // belongs to it, before the next one is run.
            let waits = self.session.resetting() || self.restoring || self.listening.is_some();
            sent && (self.on_replica || ledger.undecided() || waits)
        })
    }

    /// Cuts one chunk into frames; answers how many bytes were used before something has to be waited for.
    fn cut(&mut self, chunk: &Chunk) -> Result<usize, Violation> {
        let bytes = &**chunk;
        let mut at = 0;
        while at < bytes.len() && self.ready_for_more() {
            if self.outgoing.passing > 0 {
                let step = self.outgoing.passing.min(bytes.len() - at);
                self.pass(chunk.slice(at..at + step));
                self.outgoing.passing -= step;
                at += step;
                // A server that refuses a copy is done with it long before its data ends.
                if self.outgoing.passing == 0 && self.releasable() {
                    self.hand_back();
                }
                continue;
            }
            if !self.outgoing.held.is_empty() {
                at += self.complete(&bytes[at..])?;
                continue;
            }
            let rest = &bytes[at..];
            let Some(head) = Head::read_frontend(rest)? else {
                self.outgoing.held.extend_from_slice(rest);
                return Ok(bytes.len());
            };
            let size = head.frame();
            if size <= rest.len() {
                self.take(head.tag, chunk.slice(at..at + size), true)?;
                at += size;
            } else if head.tag == b'd' {
                // Copy data is relayed as it comes.
                self.outgoing.passing = size - rest.len();
                self.take(head.tag, chunk.slice(at..bytes.len()), false)?;
                at = bytes.len();
            } else {
                self.outgoing.held.reserve(size.min(FRAME_HOLD_MAX));
                self.outgoing.held.extend_from_slice(rest);
                return Ok(bytes.len());
            }
        }
        Ok(at)
    }

    /// Goes on with a frame whose beginning is held; answers how many of `bytes` it took.
    fn complete(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let held = &mut self.outgoing.held;
        let mut used = 0;
        if !fill(held, HEAD_SIZE, bytes, &mut used) {
            Head::read_frontend(held)?;
            return Ok(used);
        }
        let head = Head::read_frontend(held)?.ok_or(Violation::Length)?;
        let size = head.frame();
        let keep = if head.tag == b'd' { HEAD_SIZE } else { size.min(FRAME_HOLD_MAX) };
        if !fill(held, keep, bytes, &mut used) {
            return Ok(used);
        }
        let frame = Chunk::from(std::mem::take(held));
        self.outgoing.passing = size - frame.len();
        let whole = self.outgoing.passing == 0;
        self.take(head.tag, frame, whole)?;
        Ok(used)
    }

    /// Sends on a part of a long frame's body, or drops it with the rest of that frame.
    fn pass(&mut self, part: Chunk) {
        if let Some(link) = &self.link
            && !self.outgoing.drop
        {
            link.socket.send(part);
        }
    }

    /// One frame: whole, or its beginning with the rest to be passed on.
    fn take(&mut self, tag: u8, frame: Chunk, whole: bool) -> Result<(), Violation> {
        self.outgoing.drop = false;
        if self.skipping && tag != b'X' {
            return self.skip(tag);
        }
        // Behind an error the server reads over everything up to the Sync, and so do we.
        if self.ignored() && !matches!(tag, b'S' | b'X') {
            self.outgoing.drop = true;
            return Ok(());
        }
        let plan = {
            let mut statements = self.tenant.statements.borrow_mut();
            self.session.handle(tag, &frame[HEAD_SIZE..], whole, &mut statements)?
        };
        for database in self.session.take_vacating() {
            self.shard.vacate_everywhere(&String::from_utf8_lossy(&database));
        }
        self.asked.get_or_insert(self.seat.heard.get());
        match plan.order {
            Order::Terminate => {
                self.leaving = true;
                return Ok(());
            }
            // Data for a copy that nobody is making any more: dropped, as the server does.
            Order::Copy if self.link.is_none() && self.batch.is_empty() => {
                self.outgoing.drop = true;
                return Ok(());
            }
            _ => {}
        }
        let order = match plan.order {
            order if self.session.console && plan.want > Want::Nothing => {
                drop(order);
                Order::Refuse(Box::new(
                    Report::error(Sqlstate::FEATURE_NOT_SUPPORTED, "the admin console has no such thing")
                        .hint("SHOW HELP lists what there is."),
                ))
            }
            order => order,
        };
        if let Some(report) = self.overdue.take() {
            self.refuse_overdue(tag, *report);
            return Ok(());
        }
        if self.session.take_asks_for_channels()
            && let Err(report) = self.show_channels()
            && tag != b'P'
        {
            self.direct(Order::Refuse(report), frame, Want::Nothing);
            return Ok(());
        }
        if self.session.take_joins() {
            self.next = Some(Box::new((order, frame, plan.want)));
            self.need = Some(Need::Channels);
            return Ok(());
        }
        self.direct(order, frame, plan.want);
        Ok(())
    }

    /// Whether the server reads over everything up to the next Sync.
    pub(super) fn ignored(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.backend.ledger.ignoring())
    }

    /// Sends a frame on, keeps it until those before it are answered, or collects it.
    pub(super) fn direct(&mut self, order: Order, frame: Chunk, want: Want) {
        if self.ignored() && !matches!(order, Order::Sync) {
            // It was taken for granted when it was held back.
            if matches!(
                order,
                Order::Parse(_)
                    | Order::ParseAsIs(_)
                    | Order::ParseDuplicate(_)
                    | Order::ParseTaken
                    | Order::CloseStatement
            ) {
                self.session.did_not_happen(1, false);
            }
            self.outgoing.drop = true;
            return;
        }
        if want == Want::Write {
            self.leave_pinned_replica();
        }
        if self.link.is_some() {
            if order.local() {
                self.flush_link();
                self.deferred = Some(Box::new((order, frame)));
            } else if want == Want::Write && self.leaves_replica() {
                self.batch.push((order, frame));
                self.batch_want = Want::Write;
            } else {
                if want == Want::Write {
                    self.will_write();
                }
                self.begin();
                self.note_listening();
                self.kept.clear();
                self.carry_out(&order, frame);
                if matches!(order, Order::ExecuteForgets) {
                    self.flush_link();
                }
                self.say_ours(|_| {});
            }
            return;
        }
        self.collect(order, frame, want);
    }

    /// A pipeline that began with reads turns out to write: ends what the replica has of it, so that it can go on at the
    /// primary. Not inside a transaction, which the client itself has declared READ ONLY, and not when the server ignores
    /// what comes anyway. True when it leaves.
    fn leaves_replica(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let ledger = &mut link.backend.ledger;
        if !self.on_replica
            || !ledger.unsynced()
            || ledger.ignoring()
            || link.backend.status() != TransactionStatus::Idle
        {
            return false;
        }
        link.socket.send_with(frontend::put_sync);
        link.backend.ledger.owe(Owed::OwnSync);
        self.moving = true;
        true
    }

    /// Frames behind one that we refused: dropped up to the Sync, like a server would.
    fn skip(&mut self, tag: u8) -> Result<(), Violation> {
        self.outgoing.drop = true;
        if tag == b'S' {
            self.skipping = false;
            self.session.asked();
            match &mut self.link {
                Some(link) => {
                    link.socket.send_with(frontend::put_sync);
                    link.backend.ledger.owe(Owed::Sync);
                }
                None => self.say_ready(TransactionStatus::Idle),
            }
        }
        Ok(())
    }

    /// The transaction was lost while the client was not asking: its next request is told so.
    pub(super) fn refuse_overdue(&mut self, tag: u8, report: Report) {
        self.outgoing.drop = true;
        self.session.refused();
        self.asked = None;
        match tag {
            b'Q' | b'F' | b'S' => {
                self.say(&report);
                self.say_ready(TransactionStatus::Idle);
            }
            b'H' => self.overdue = Some(Box::new(report)),
            _ => {
                self.say(&report);
                self.skipping = true;
            }
        }
    }

    /// Collects a frame until what it needs is clear: at a Sync, a query, or when too much was collected.
    fn collect(&mut self, order: Order, frame: Chunk, want: Want) {
        // What pgweir answers and what a server answers are done one after the other.
        let local = self.batch.iter().any(|(order, _)| order.local());
        if local && want > Want::Nothing || order.local() && self.batch_want > Want::Nothing {
            self.next = Some(Box::new((order, frame, want)));
            self.need = Some(match local {
                true => Need::Here,
                false => Need::Lease(self.batch_want),
            });
            return;
        }
        self.batch_want = self.batch_want.max(want);
        self.batch_bytes += frame.len();
        let boundary = matches!(
            order,
            Order::Sync
                | Order::Query
                | Order::QueryRenamed { .. }
                | Order::FunctionCall
                | Order::Console(_)
                | Order::Deallocate
                | Order::Refuse(_)
        );
        // What comes behind these is decided when they are answered.
        let flush = matches!(order, Order::Flush | Order::ExecuteForgets);
        let long = self.outgoing.passing > 0;
        if self.batch.capacity() == 0 {
            self.batch = self.shard.spare_batches.borrow_mut().pop().unwrap_or_default();
        }
        self.batch.push((order, frame));
        let full = self.batch.len() >= BATCH_FRAMES_MAX || self.batch_bytes >= BATCH_BYTES_MAX;
        if !(boundary || flush || long || full) {
            return;
        }
        self.need = Some(match self.batch_want {
            Want::Nothing => Need::Here,
            // More of this pipeline is to come, and nobody knows what. What was only prepared and described may be a read
            // all the same: that is how some drivers ask for a statement's types before they run it.
            Want::Read if (flush || full) && self.batch.iter().any(|(order, _)| runs(order)) => {
                Need::Lease(Want::Write)
            }
            want => Need::Lease(want),
        });
    }

    /// Sends the collected frames to the backend that was just leased.
    pub(super) fn send_batch(&mut self) {
        if self.batch_want == Want::Write {
            self.will_write();
        }
        self.note_listening();
        self.batch_bytes = 0;
        self.kept_want = std::mem::take(&mut self.batch_want);
        let mut batch = std::mem::take(&mut self.batch);
        for (order, frame) in &batch {
            self.carry_out(order, frame.clone());
        }
        if matches!(batch.last(), Some((Order::ExecuteForgets, _))) {
            self.flush_link();
        }
        // Until the first word of the answer the frames are kept: what was refused as a whole can be sent once more.
        let whole = self.outgoing.passing == 0
            && self.link.as_ref().is_some_and(|link| !link.backend.ledger.unsynced())
            && !batch.iter().any(|(order, _)| names_others(order));
        std::mem::swap(&mut self.kept, &mut batch);
        self.told = !whole;
        if !whole {
            self.shard.spare_batch(std::mem::take(&mut self.kept));
        }
        self.shard.spare_batch(batch);
        self.say_ours(|_| {});
    }

    /// Sends one frame, and enters what is owed for it.
    fn carry_out(&mut self, order: &Order, frame: Chunk) {
        let Some(link) = self.link.as_deref_mut() else { return };
        let (backend, socket) = (&mut link.backend, &link.socket);
        // A text too long to be kept is known to the server alone, which the session then stays with.
        let others_unnamed = !self.session.pins().contains(Pins::LONG_STATEMENT);
        match order {
            Order::Query => {
                backend.query();
                socket.send(frame);
            }
            Order::ParseAsIs(statement) => {
                backend.parse_unnamed(statement.as_ref().map_or(0, |statement| statement.id().get()));
                socket.send(frame);
            }
            Order::QueryRenamed { frame, needs } => {
                socket.send_with(|out| {
                    let needs = needs.iter().map(|statement| (id(statement), statement.text()));
                    backend.ensure_before_query(needs, out);
                    out.extend_from_slice(frame);
                });
                backend.query();
            }
            Order::ParseTaken => {
                socket.send(frame);
                backend.ledger.owe(Owed::ParseDuplicate);
            }
            Order::Parse(statement) => {
                socket.send_with(|out| backend.parse(id(statement), statement.text(), out));
            }
            Order::ParseDuplicate(statement) => socket.send_with(|out| {
                // The server says that the name is taken, if nothing else is wrong, and fails the transaction as it should.
                backend.ensure_prepared(id(statement), statement.text(), out);
                let text = Parse::read(&frame[HEAD_SIZE..]).map_or(statement.text(), |parse| parse.text);
                frontend::put_parse(out, &id(statement).name(), text);
                backend.ledger.owe(Owed::ParseDuplicate);
            }),
            Order::Bind { statement, portal, names } => {
                if let Bound::Renamed(Renamed { needs, .. }) = statement {
                    socket.send_with(|out| ensure_all(backend, needs, out));
                }
                match statement {
                    Bound::Named(statement) | Bound::Renamed(Renamed { statement, .. }) => {
                        let body = &frame[HEAD_SIZE..];
                        let rest = HEAD_SIZE + *names;
                        // Of a long frame only the beginning is here.
                        let length = body.len() - *names + self.outgoing.passing;
                        socket.send_with(|out| {
                            backend.ensure_prepared(id(statement), statement.text(), out);
                            let name = id(statement).name();
                            frontend::put_bind_head(out, &body[..*portal], &name, length);
                        });
                        socket.send(frame.slice(rest..frame.len()));
                    }
                    Bound::Unnamed(statement) => {
                        socket.send_with(|out| {
                            backend.ensure_unnamed(statement.id().get(), statement.text(), out)
                        });
                        socket.send(frame);
                    }
                    Bound::Unknown => {
                        // An empty name: two strings, of which the portal's ends with its zero.
                        if others_unnamed && *names == *portal + 2 {
                            socket.send_with(|out| backend.ensure_no_unnamed(out));
                        }
                        socket.send(frame);
                    }
                }
                backend.ledger.owe(Owed::Bind);
            }
            Order::Describe(statement) => socket.send_with(|out| {
                backend.ensure_prepared(id(statement), statement.text(), out);
                frontend::put_describe_statement(out, &id(statement).name());
                backend.ledger.owe(Owed::Describe);
            }),
            Order::DescribeRenamed(Renamed { statement, needs }) => socket.send_with(|out| {
                ensure_all(backend, needs, out);
                backend.ensure_prepared(id(statement), statement.text(), out);
                frontend::put_describe_statement(out, &id(statement).name());
                backend.ledger.owe(Owed::Describe);
            }),
            Order::DescribeUnnamed(statement) => {
                socket.send_with(|out| backend.ensure_unnamed(statement.id().get(), statement.text(), out));
                socket.send(frame);
                backend.ledger.owe(Owed::Describe);
            }
            Order::DescribeAsIs => {
                if others_unnamed && frame[HEAD_SIZE..] == *UNNAMED {
                    socket.send_with(|out| backend.ensure_no_unnamed(out));
                }
                socket.send(frame);
                backend.ledger.owe(Owed::Describe);
            }
            Order::Execute | Order::ExecuteForgets => {
                socket.send(frame);
                backend.ledger.owe(Owed::Execute);
            }
            Order::CloseStatement => backend.ledger.owe(Owed::SayClosed),
            Order::CloseAsIs => {
                if frame[HEAD_SIZE..] == *UNNAMED {
                    backend.close_unnamed();
                }
                socket.send(frame);
                backend.ledger.owe(Owed::Close);
            }
            // While it copies from the client, the server reads over these without an answer.
            Order::Sync if link.copy_in => socket.send(frame),
            Order::Sync => {
                socket.send(frame);
                backend.ledger.owe(Owed::Sync);
            }
            Order::Flush => socket.send(frame),
            Order::FunctionCall => {
                socket.send(frame);
                backend.ledger.owe(Owed::FunctionCall);
            }
            Order::Copy => {
                if matches!(frame.first(), Some(b'c' | b'f')) && !std::mem::take(&mut link.copy_in) {
                    backend.ledger.owe(Owed::CopyEnd);
                }
                socket.send(frame);
            }
            // Never sent anywhere.
            Order::Terminate
            | Order::Deallocate
            | Order::Refuse(_)
            | Order::Console(_)
            | Order::ConsoleParse
            | Order::ConsoleBind
            | Order::ConsoleDescribe { .. }
            | Order::ConsoleExecute(_) => {}
        }
    }

    /// Has the server answer what it was sent, although no Sync follows yet.
    fn flush_link(&mut self) {
        if let Some(link) = &self.link
            && link.backend.ledger.unsynced()
        {
            link.socket.send_with(|out| crate::wire::build(out, b'H', |_| {}));
        }
    }
}

/// Whether an order runs something, rather than preparing or describing it.
fn runs(order: &Order) -> bool {
    matches!(
        order,
        Order::Bind { .. } | Order::Execute | Order::Query | Order::QueryRenamed { .. } | Order::FunctionCall
    )
}

/// Whether an order calls other statements by the names they have on one backend.
fn names_others(order: &Order) -> bool {
    matches!(order, Order::QueryRenamed { .. } | Order::Bind { statement: Bound::Renamed(_), .. })
}

fn ensure_all(backend: &mut Backend, needs: &[Rc<Statement>], out: &mut Vec<u8>) {
    for statement in needs {
        backend.ensure_prepared(id(statement), statement.text(), out);
    }
}

fn id(statement: &Rc<Statement>) -> StatementId {
    StatementId(statement.id())
}

/// The body of a Describe or a Close of the unnamed statement.
const UNNAMED: &[u8] = b"S\0";
