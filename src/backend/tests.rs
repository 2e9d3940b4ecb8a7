//! A backend played from tables: what was sent, what comes back, what becomes of it.

use std::num::NonZeroU64;

use super::*;
use crate::wire::Frame;
use crate::wire::Sqlstate;
use crate::wire::backend::{Report, put_command_complete, put_ready};
use proptest::prelude::*;

fn id(number: u64) -> StatementId {
    StatementId(NonZeroU64::new(number).unwrap())
}

fn backend() -> Backend {
    Backend::new(BackendKey::default(), Parameters::default(), 2)
}

/// What the backend makes of a server's bytes, verdict by verdict; our own replies in their places.
fn verdicts(backend: &mut Backend, bytes: &[u8]) -> String {
    let mut seen = String::new();
    let mut at = 0;
    say(backend, &mut seen);
    while let Some((frame, size)) = Frame::read(&bytes[at..]).unwrap() {
        at += size;
        seen.push_str(match backend.handle(frame.tag, frame.body).unwrap() {
            Verdict::Forward => "f",
            Verdict::Skip => "s",
            Verdict::Parameter => "p",
            Verdict::Notice => "n",
            Verdict::Failed(NotDone { changes: 0, .. }) => "E",
            Verdict::Failed { .. } => "E!",
            Verdict::OwnFailed => "e",
            Verdict::Ready(_) => "Z",
            Verdict::OwnReady(_) => "z",
            Verdict::Found => "F",
            Verdict::Looked => "l",
            Verdict::LookFailed => "x",
            Verdict::Complete => "C",
            Verdict::Parsed => "1",
            Verdict::CopyIn => "G",
            Verdict::Duplicate { .. } => "D",
        });
        say(backend, &mut seen);
    }
    assert_eq!(at, bytes.len());
    seen
}

fn say(backend: &mut Backend, seen: &mut String) {
    while let Some(saying) = backend.ledger.say() {
        seen.push_str(match saying {
            Saying::Parsed => "(1)",
            Saying::Closed => "(3)",
        });
    }
}

/// A server's messages, by their tags: those with a body get a plausible one.
fn server(tags: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for tag in tags.chars() {
        match tag {
            'C' => put_command_complete(&mut out, b"SELECT 1"),
            'Z' => put_ready(&mut out, TransactionStatus::Idle),
            'Y' => put_ready(&mut out, TransactionStatus::InTransaction),
            'E' => Report::error(Sqlstate::SYNTAX_ERROR, "no").put(&mut out),
            tag => crate::wire::build(&mut out, tag as u8, |_| {}),
        }
    }
    out
}

#[test]
fn a_failed_transaction_refuses_to_parse_also_what_is_prepared() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.parse(id(1), b"select 1\0\0\0", &mut out);
    backend.ledger.owe(Owed::Sync);
    // Whether the next request is in a failed transaction is not known yet.
    out.clear();
    backend.parse(id(1), b"select 1\0\0\0", &mut out);
    backend.ledger.owe(Owed::Sync);
    assert_eq!(out[0], b'C');
    assert_eq!(verdicts(&mut backend, &server("1Z3EZ")), "1ZsE!Z");
    assert_eq!(backend.prepared.all(), []);
}

#[test]
fn a_copy_whose_end_was_sent_before_it_began_ends() {
    let mut backend = backend();
    for first in [Owed::Execute, Owed::Query] {
        backend.ledger.owe(first);
        // The server reads over the first Sync, since it copies; the second ends the batch.
        if first == Owed::Execute {
            backend.ledger.owe(Owed::Sync);
            backend.ledger.owe(Owed::CopyEnd);
            backend.ledger.owe(Owed::Sync);
        } else {
            backend.ledger.owe(Owed::CopyEnd);
        }
        assert_eq!(verdicts(&mut backend, &server("GCZ")), "fCZ");
        assert!(backend.quiet());
    }
    // Nobody copies: it means nothing.
    backend.ledger.owe(Owed::CopyEnd);
    backend.ledger.owe(Owed::Execute);
    backend.ledger.owe(Owed::CopyEnd);
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("CZ")), "CZ");
    assert!(backend.quiet());
}

#[test]
fn what_we_look_for_is_kept_from_the_client() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.look(b"SELECT 1", &mut out);
    backend.query();
    assert_eq!(verdicts(&mut backend, &server("TDDCZ")), "sFFsl");
    assert_eq!(verdicts(&mut backend, &server("TDCZ")), "ffCZ");
    backend.look(b"SELECT 1", &mut out);
    assert_eq!(verdicts(&mut backend, &server("EZ")), "xl");
    assert!(backend.quiet());
}

#[test]
fn statements_a_query_needs_are_prepared_in_a_request_of_their_own() {
    let mut backend = backend();
    let mut out = Vec::new();
    for first in [true, false] {
        out.clear();
        backend.ensure_before_query([(id(1), &b"select 1\0\0\0"[..])].into_iter(), &mut out);
        assert_eq!(out.is_empty(), !first);
        backend.query();
        assert_eq!(
            verdicts(&mut backend, &server(if first { "1ZCZ" } else { "CZ" })),
            if first { "szCZ" } else { "CZ" }
        );
    }
}

#[test]
fn our_own_query_in_front_is_cut_out_of_the_clients_replies() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.own_query(b"SET a TO b", &mut out);
    backend.query();
    assert!(!backend.quiet());
    assert_eq!(verdicts(&mut backend, &server("CZTDDCZ")), "szfffCZ");
    assert!(backend.quiet());
}

#[test]
fn a_statement_that_is_there_is_answered_by_us_in_its_turn() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.parse(id(1), b"select 1\0\0\0", &mut out);
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("1Z")), "1Z");
    out.clear();
    backend.ledger.owe(Owed::Bind);
    backend.ledger.owe(Owed::Execute);
    backend.parse(id(1), b"select 1\0\0\0", &mut out);
    assert!(out.is_empty(), "nothing is sent for it");
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("2DCZ")), "ffC(1)Z");
}

#[test]
fn an_error_takes_everything_up_to_the_sync_with_it() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.ledger.owe(Owed::Bind);
    backend.parse(id(7), b"select 7\0\0\0", &mut out);
    backend.ledger.owe(Owed::SayClosed);
    backend.ledger.owe(Owed::Sync);
    backend.ledger.owe(Owed::Execute);
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("EZCZ")), "E!ZCZ");
    assert!(!backend.prepared.touch(id(7)), "it was never prepared");
}

#[test]
fn what_is_sent_behind_an_error_is_ignored_until_the_sync_that_comes_later() {
    let mut backend = backend();
    backend.ledger.owe(Owed::Bind);
    assert_eq!(verdicts(&mut backend, &server("E")), "E");
    backend.ledger.owe(Owed::Execute);
    backend.query();
    assert!(!backend.quiet());
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("Z")), "Z");
    assert!(backend.quiet());
}

#[test]
fn an_error_in_a_simple_query_ignores_nothing() {
    let mut backend = backend();
    backend.query();
    backend.query();
    assert_eq!(verdicts(&mut backend, &server("CEZTDCZ")), "CEZffCZ");
}

#[test]
fn the_sync_behind_a_copy_is_read_by_the_copy() {
    let mut backend = backend();
    for owed in [Owed::Bind, Owed::Execute, Owed::Sync] {
        backend.ledger.owe(owed);
    }
    assert_eq!(verdicts(&mut backend, &server("2G")), "fG");
    // CopyDone, then a Sync that counts.
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("CZ")), "CZ");
    assert!(backend.quiet());
}

#[test]
fn a_full_backend_closes_the_oldest_statement_and_takes_it_back_when_that_fails() {
    let mut backend = backend();
    let mut out = Vec::new();
    for number in 1..=2 {
        backend.ensure_prepared(id(number), b"select 1\0\0\0", &mut out);
    }
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("11Z")), "ssZ");
    out.clear();
    backend.ledger.owe(Owed::Bind);
    backend.ensure_prepared(id(3), b"select 3\0\0\0", &mut out);
    assert_eq!((out[0], backend.prepared.len()), (b'C', 2));
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("EZ")), "EZ");
    assert!(backend.prepared.touch(id(1)), "it was never closed");
    assert!(!backend.prepared.touch(id(3)), "nor was the other made");
}

#[test]
fn a_statement_that_was_evicted_before_it_was_ever_prepared_is_not_there() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.ledger.owe(Owed::Describe);
    // Room for two: the third closes the first.
    for number in 1..=3 {
        backend.parse(id(number), b"select 1\0\0\0", &mut out);
    }
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("EZ")), "E!Z");
    assert_eq!(backend.prepared.all(), [], "the server went over all of it");
}

#[test]
fn the_unnamed_statement_of_another_goes_before_one_that_has_none() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.ensure_no_unnamed(&mut out);
    assert!(out.is_empty(), "there is none");
    backend.parse_unnamed(5);
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("1Z")), "1Z");
    backend.ensure_no_unnamed(&mut out);
    assert_eq!(out[0], b'C');
    backend.ledger.owe(Owed::Bind);
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("3EZ")), "sEZ");
    out.clear();
    backend.ensure_no_unnamed(&mut out);
    assert!(out.is_empty(), "it is closed");
}

#[test]
fn an_unnamed_statement_that_may_still_be_there_is_nobodys() {
    let mut backend = backend();
    let mut out = Vec::new();
    backend.parse_unnamed(5);
    backend.ledger.owe(Owed::Sync);
    verdicts(&mut backend, &server("1Z"));
    // The server goes over the second Parse.
    backend.ledger.owe(Owed::Bind);
    backend.parse_unnamed(6);
    backend.ledger.owe(Owed::Sync);
    assert_eq!(verdicts(&mut backend, &server("EZ")), "E!Z");
    assert!(!backend.has_unnamed(5) && !backend.has_unnamed(6));
    backend.ensure_no_unnamed(&mut out);
    assert_eq!(out[0], b'C');
}

#[test]
fn a_transaction_keeps_the_backend_from_being_quiet() {
    let mut backend = backend();
    backend.query();
    assert_eq!(verdicts(&mut backend, &server("CY")), "CZ");
    assert_eq!(backend.status(), TransactionStatus::InTransaction);
    assert!(!backend.quiet());
}

#[test]
fn replies_nobody_asked_for_are_a_violation() {
    for tags in ["1", "2", "Z", "C", "T"] {
        let bytes = server(tags);
        let (frame, _) = Frame::read(&bytes).unwrap().unwrap();
        assert!(backend().handle(frame.tag, frame.body).is_err(), "{tags}");
    }
}

proptest! {
    #[test]
    fn no_frames_make_it_panic(
        owed in proptest::collection::vec(0u8..10, 0..20),
        frames in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)), 0..40),
    ) {
        let mut backend = backend();
        let mut out = Vec::new();
        for owed in owed {
            match owed {
                0 => backend.query(),
                1 => backend.ledger.owe(Owed::Sync),
                2 => backend.parse(id(1), b"", &mut out),
                3 => backend.ensure_prepared(id(2), b"", &mut out),
                4 => backend.ensure_prepared(id(3), b"", &mut out),
                5 => backend.ledger.owe(Owed::Bind),
                6 => backend.ledger.owe(Owed::Execute),
                7 => backend.ledger.owe(Owed::Describe),
                8 => backend.ledger.owe(Owed::SayClosed),
                _ => backend.ledger.owe(Owed::FunctionCall),
            }
        }
        for (tag, body) in frames {
            let _ = backend.handle(tag, &body);
            while backend.ledger.say().is_some() {}
        }
    }
}
