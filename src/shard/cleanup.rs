//! Making a backend fit for the next session: letting it finish or stopping what runs, ending the transaction, resetting
//! what was left. Whatever does not work out within the bound ends with the backend closed.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::backend::{Owed, Verdict};
use crate::limits::FRAME_HOLD_MAX;
use crate::session::SharedSettings;
use crate::wire::backend::{ErrorFields, Report, TransactionStatus};
use crate::wire::{Frame, Head, build, frontend};

use super::link::Link;
use super::pools::Slot;
use super::{Shard, cancel};

/// Takes a backend that came back in disorder, and gives it to the pool when it is in order.
pub(super) async fn run(shard: Rc<Shard>, slot: Rc<Slot>, mut link: Box<Link>) {
    let deadline = Instant::now() + CLEANUP_MAX;
    let clean = shard.ring.deadline(deadline, tidy(&shard, &mut link)).await;
    match clean {
        Some(Ok(())) => shard.was_reset(&slot, link),
        Some(Err(reason)) => {
            tracing::debug!(node = %link.key.node, reason, "a backend could not be made fit");
            shard.reset_failed(&slot, link);
        }
        None => {
            tracing::debug!(node = %link.key.node, "a backend was not fit in time");
            shard.reset_failed(&slot, link);
        }
    }
}

async fn tidy(shard: &Rc<Shard>, link: &mut Link) -> Result<(), &'static str> {
    // What the client had left running is stopped; nobody waits for it.
    if !link.backend.ledger.settled() {
        if link.copy_in {
            link.socket
                .send_with(|out| build(out, b'f', |out| out.extend_from_slice(b"the client is gone\0")));
            link.copy_in = false;
        }
        if link.backend.ledger.unsynced() {
            link.socket.send_with(frontend::put_sync);
            link.backend.ledger.owe(Owed::Sync);
        }
        cancel::send(shard.clone(), link.target.clone());
        settle(shard, link).await?;
    }
    // A cancel that is still under way would hit whoever comes next.
    while link.target.cancels.get() > 0 {
        shard.ring.sleep_until(Instant::now() + cancel::CANCEL_LOOK).await;
    }
    let mut failed = false;
    if link.backend.status() != TransactionStatus::Idle {
        link.socket.send_with(|out| link.backend.own_query(b"ROLLBACK", out));
        failed |= settle(shard, link).await?;
    }
    if link.reset_owed {
        let reset = shard.policy.borrow().config.pool.reset.clone();
        for statement in &reset {
            link.socket.send_with(|out| link.backend.own_query(statement.as_bytes(), out));
        }
        failed |= settle(shard, link).await?;
        link.backend.forget_statements();
        link.settings = SharedSettings::default();
        link.last_writer = 0;
        link.listens = false;
        link.shows = false;
        link.reset_owed = false;
    }
    match failed || link.backend.status() != TransactionStatus::Idle {
        true => Err("a statement of the reset failed"),
        false => Ok(()),
    }
}

/// Reads until nothing is owed any more, dropping all of it. True when a message of our own failed.
async fn settle(shard: &Rc<Shard>, link: &mut Link) -> Result<bool, &'static str> {
    settle_with_error(shard, link).await.map(|error| error.is_some())
}

/// Reads until nothing is owed any more. The error that a message of our own got, if any.
pub(super) async fn settle_with_error(
    shard: &Rc<Shard>,
    link: &mut Link,
) -> Result<Option<Report>, &'static str> {
    let mut error = None;
    while !link.backend.ledger.settled() {
        let chunk = shard.received(&link.socket).await.ok_or("the connection broke")?;
        swallow(link, &chunk, &mut error)?;
    }
    Ok(error)
}

/// Takes in received bytes that nobody is waiting for.
fn swallow(link: &mut Link, bytes: &[u8], error: &mut Option<Report>) -> Result<(), &'static str> {
    link.incoming.held.extend_from_slice(bytes);
    let skipped = link.incoming.passing.min(link.incoming.held.len());
    link.incoming.passing -= skipped;
    let mut at = skipped;
    loop {
        let rest = &link.incoming.held[at..];
        match Frame::read(rest) {
            Ok(Some((frame, size))) => {
                let verdict = link
                    .backend
                    .handle(frame.tag, frame.body)
                    .map_err(|_| "the server broke the protocol")?;
                if verdict == Verdict::OwnFailed {
                    error.get_or_insert_with(|| Report::of(ErrorFields::new(frame.body)));
                }
                while link.backend.ledger.say().is_some() {}
                at += size;
            }
            Ok(None) => {
                // Rows and copy data may be of any size: what came of them is dropped, and what is to come.
                if let Ok(Some(head)) = Head::read(rest) {
                    if matches!(head.tag, b'D' | b'd') {
                        link.incoming.passing = head.frame() - rest.len();
                        at = link.incoming.held.len();
                    } else if head.frame() > FRAME_HOLD_MAX {
                        return Err("the server sent a message that is too long");
                    }
                }
                break;
            }
            Err(_) => return Err("the server broke the protocol"),
        }
    }
    link.incoming.held.drain(..at);
    if link.incoming.held.is_empty() {
        link.incoming.held = Vec::new();
    }
    Ok(())
}

/// How long making a backend fit may take.
const CLEANUP_MAX: Duration = Duration::from_secs(5);
