//! A session played from tables: what the client sends, what that is taken for.

use super::*;
use crate::wire::{Frame, frontend};
use proptest::prelude::*;

struct Client {
    session: Session,
    cache: StatementCache,
}

fn client() -> Client {
    Client { session: Session::new(SharedSettings::default()), cache: StatementCache::new(Rc::default()) }
}

impl Client {
    fn send(&mut self, bytes: &[u8]) -> Plan {
        let (frame, size) = Frame::read(bytes).unwrap().unwrap();
        assert_eq!(size, bytes.len());
        self.session.handle(frame.tag, frame.body, true, &mut self.cache).unwrap()
    }

    fn query(&mut self, text: &str) -> Plan {
        let mut out = Vec::new();
        frontend::put_query(&mut out, text.as_bytes());
        self.send(&out)
    }

    fn parse(&mut self, name: &str, text: &str) -> Plan {
        let mut out = Vec::new();
        frontend::put_parse(&mut out, name.as_bytes(), &[text.as_bytes(), &[0, 0, 0]].concat());
        self.send(&out)
    }

    fn bind(&mut self, name: &str) -> Plan {
        let mut out = Vec::new();
        frontend::put_bind_head(&mut out, b"", name.as_bytes(), 6);
        out.extend_from_slice(&[0; 6]);
        self.send(&out)
    }

    fn execute(&mut self) -> Plan {
        self.send(b"E\0\0\0\x09\0\0\0\0\0")
    }

    fn ready(&mut self, status: TransactionStatus) {
        let mut backend = SharedSettings::default();
        self.session.ready(status, &mut backend, false);
    }
}

#[test]
fn texts_want_what_they_need() {
    let mut client = client();
    for (text, want) in [
        ("select 1", Want::Read),
        ("insert into t values (1)", Want::Write),
        ("begin", Want::Write),
        ("begin read only", Want::Read),
        ("commit", Want::Any),
        ("set a.b to 1", Want::Any),
        ("", Want::Any),
        ("show pool_nodes", Want::Nothing),
    ] {
        assert_eq!(client.query(text).want, want, "{text}");
        client.ready(TransactionStatus::Idle);
    }
}

#[test]
fn statements_of_the_protocol_are_called_in_sql_what_backends_call_them() {
    let mut client = client();
    let Order::Parse(statement) = client.parse("a b", "select $1").order else { panic!() };
    client.session.parsed();
    let own = String::from_utf8(statement.backend_name()).unwrap();
    for (text, renamed) in [
        ("EXECUTE \"a b\"(1)", format!("EXECUTE {own}(1)")),
        ("EXPLAIN EXECUTE \"a b\"(1); SELECT 1", format!("EXPLAIN EXECUTE {own}(1); SELECT 1")),
        ("PREPARE \"a b\" AS SELECT 1", format!("PREPARE {own} AS SELECT 1")),
    ] {
        let Order::QueryRenamed { frame, needs } = client.query(text).order else { panic!("{text}") };
        assert_eq!(frame[5..frame.len() - 1], *renamed.as_bytes(), "{text}");
        assert!(Rc::ptr_eq(&needs[0], &statement));
        client.ready(TransactionStatus::Idle);
        client.parse("s", text);
        client.session.parsed();
        let Order::Bind { statement: Bound::Renamed(bound), .. } = client.bind("s").order else { panic!() };
        assert_eq!(bound.statement.query(), renamed.as_bytes());
        let mut close = Vec::new();
        frontend::put_close_statement(&mut close, b"s");
        client.send(&close);
        client.session.closed();
    }
    // In a transaction that has failed the server looks at nothing.
    client.ready(TransactionStatus::Failed);
    assert!(matches!(client.query("EXECUTE \"a b\"(1)").order, Order::Query));
}

#[test]
fn names_are_given_up_when_the_server_says_so() {
    let mut client = client();
    for (text, tag, gone) in [
        ("DEALLOCATE a", &b"DEALLOCATE"[..], true),
        ("DEALLOCATE ALL", b"DEALLOCATE ALL", true),
        ("DEALLOCATE a", b"", false),
    ] {
        client.parse("a", "select 1");
        client.session.parsed();
        client.parse("", text);
        client.session.parsed();
        client.bind("");
        assert!(matches!(client.execute().order, Order::ExecuteForgets));
        assert!(client.session.forgetting());
        match tag {
            b"" => client.session.error(),
            tag => drop(client.session.completed(tag)),
        }
        assert!(!client.session.forgetting());
        client.ready(TransactionStatus::Idle);
        let known = matches!(client.bind("a").order, Order::Bind { statement: Bound::Named(_), .. });
        assert_eq!(known, !gone, "{text} {tag:?}");
    }
}

#[test]
fn what_was_sent_behind_the_question_is_not_answered_by_it() {
    let mut client = client();
    client.query("SELECT pg_advisory_lock(1)");
    client.ready(TransactionStatus::Idle);
    assert!(client.session.take_may_unpin());
    client.query("PREPARE p AS SELECT 1");
    client.session.unpin(Pins::TELLABLE);
    assert_eq!(client.session.pins(), Pins::PREPARE);
    assert!(client.session.take_may_unpin() && !client.session.take_may_unpin());
    client.session.unpin(Pins::TELLABLE);
    assert!(client.session.pins().is_empty());
}

#[test]
fn a_name_that_sql_has_taken_is_the_servers_to_judge() {
    let mut client = client();
    client.query("PREPARE p AS SELECT 1");
    client.session.completed(b"PREPARE");
    client.ready(TransactionStatus::Idle);
    assert!(matches!(client.parse("p", "select 2").order, Order::ParseTaken));
    client.session.did_not_happen(1, true);
    client.query("DISCARD ALL");
    client.session.completed(b"DISCARD ALL");
    client.ready(TransactionStatus::Idle);
    assert!(matches!(client.parse("p", "select 2").order, Order::Parse(_)));
}

#[test]
fn a_parse_that_is_gone_over_leaves_the_unnamed_statement() {
    let mut client = client();
    let is_unnamed = |plan: Plan| matches!(plan.order, Order::Bind { statement: Bound::Unnamed(_), .. });
    client.parse("", "select 1");
    client.session.parsed();
    client.parse("", "select 2");
    client.session.did_not_happen(1, false);
    assert!(is_unnamed(client.bind("")));
    client.parse("", "nonsense");
    client.session.did_not_happen(1, true);
    assert!(!is_unnamed(client.bind("")));
}

#[test]
fn a_name_is_taken_until_it_is_closed_or_its_parse_failed() {
    let mut client = client();
    assert!(matches!(client.parse("a", "select 1").order, Order::Parse(_)));
    assert!(matches!(client.parse("a", "select 2").order, Order::ParseDuplicate(_)));
    client.session.parsed();
    assert_eq!(client.session.parsing(), b"a");
    client.session.did_not_happen(1, true);
    assert!(matches!(client.bind("a").order, Order::Bind { statement: Bound::Named(_), .. }));
    assert!(matches!(client.parse("b", "select 3").order, Order::Parse(_)));
    client.session.did_not_happen(1, true);
    assert!(matches!(client.bind("b").order, Order::Bind { statement: Bound::Unknown, .. }));
    let mut close = Vec::new();
    frontend::put_close_statement(&mut close, b"a");
    assert!(matches!(client.send(&close).order, Order::CloseStatement));
    assert!(matches!(client.send(&close).order, Order::CloseAsIs), "the server says that it is not there");
}

#[test]
fn a_session_that_rested_is_what_it_was() {
    let mut client = client();
    assert!(client.session.is_quiet());
    client.query("SET a.b TO 1");
    assert!(!client.session.is_quiet());
    client.ready(TransactionStatus::Idle);
    client.parse("a", "select 1");
    assert!(!client.session.is_quiet());
    client.session.parsed();
    client.parse("", "select 2");
    client.session.parsed();
    client.query("PREPARE p AS SELECT 1");
    client.session.completed(b"PREPARE");
    client.ready(TransactionStatus::Idle);
    assert!(!client.session.is_quiet(), "it is pinned");
    client.query("DEALLOCATE p");
    client.session.completed(b"DEALLOCATE");
    client.ready(TransactionStatus::Idle);
    assert!(client.session.take_may_unpin());
    client.session.unpin(Pins::PREPARE);
    client.parse("", "select 2");
    client.session.parsed();
    client.session.dialect.standard_conforming_strings = false;
    client.session.statement_mode = true;
    client.session.refuse_pins = true;
    let mut client = Client { session: client.session.rest().resume(), cache: client.cache };
    assert!(client.session.is_quiet());
    assert_eq!(client.session.settings().get(b"a.b").map(|value| value.text()), Some(&b"1"[..]));
    assert!(matches!(client.bind("a").order, Order::Bind { statement: Bound::Named(_), .. }));
    assert!(matches!(client.bind("").order, Order::Bind { statement: Bound::Unnamed(_), .. }));
    assert!(!client.session.dialect.standard_conforming_strings);
    assert!(matches!(client.query("begin").order, Order::Refuse(_)), "statement mode");
    client.session.answered_by_us();
    assert!(
        matches!(client.query("create temp table a (b int)").order, Order::Refuse(_)),
        "pins are refused"
    );
    client.session.answered_by_us();
    // RESET goes back to what the session started with, not to what it rested with.
    client.query("RESET a.b");
    client.ready(TransactionStatus::Idle);
    assert!(client.session.settings().get(b"a.b").is_none());
}

#[test]
fn the_unnamed_statement_survives_a_sync_and_not_a_query() {
    let mut client = client();
    client.parse("", "select 1");
    assert!(matches!(client.bind("").order, Order::Bind { statement: Bound::Unnamed(_), .. }));
    client.query("select 2");
    assert!(matches!(client.bind("").order, Order::Bind { statement: Bound::Unknown, .. }));
}

#[test]
fn what_cannot_follow_the_session_pins_it_until_it_is_discarded() {
    for (text, pin) in [
        ("create temp table t (a int)", Pins::TEMPORARY),
        ("select pg_advisory_lock(1)", Pins::ADVISORY_LOCK),
        ("prepare p as select 1", Pins::PREPARE),
        ("declare c cursor with hold for select 1", Pins::CURSOR),
        ("do $$ begin end $$", Pins::OPAQUE),
        ("select set_config('a.b', 'c', false)", Pins::SET_CONFIG),
    ] {
        let mut client = client();
        client.query(text);
        assert!(client.session.pins().contains(pin), "{text}");
        client.ready(TransactionStatus::Idle);
        // Refused, as amid other statements.
        client.query("discard all");
        client.session.error();
        client.ready(TransactionStatus::Idle);
        assert!(client.session.pins().contains(pin), "{text}");
        client.query("discard all");
        client.session.completed(b"DISCARD ALL");
        client.ready(TransactionStatus::Idle);
        assert!(client.session.pins().is_empty(), "{text}");
    }
}

#[test]
fn statement_mode_refuses_transactions_and_nothing_else() {
    let mut client = client();
    client.session.statement_mode = true;
    assert!(matches!(client.query("begin").order, Order::Refuse(_)));
    assert!(matches!(client.parse("", "begin").order, Order::Refuse(_)));
    assert!(matches!(client.query("select 1; select 2").order, Order::Query));
}

#[test]
fn deallocating_a_statement_of_the_protocol_is_done_here() {
    let mut client = client();
    client.parse("S_1", "select 1");
    client.session.parsed();
    assert!(matches!(client.query("DEALLOCATE s_1").order, Order::Query), "folded: another name");
    assert!(matches!(client.query("DEALLOCATE \"S_1\";").order, Order::Deallocate));
    assert!(matches!(client.bind("S_1").order, Order::Bind { statement: Bound::Unknown, .. }));
}

#[test]
fn a_message_too_long_to_be_seen_pins_and_goes_to_the_primary() {
    let mut client = client();
    let plan = client.session.handle(b'Q', b"insert into t values ('xxx", false, &mut client.cache).unwrap();
    assert_eq!(plan.want, Want::Write);
    assert!(client.session.pins().contains(Pins::LONG_STATEMENT));
}

proptest! {
    #[test]
    fn no_frames_make_it_panic(
        frames in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..40),
    ) {
        let mut client = client();
        for (tag, body, whole) in frames {
            let _ = client.session.handle(tag, &body, whole, &mut client.cache);
            client.ready(TransactionStatus::Idle);
        }
    }
}
