use super::Role;
use super::canned::Canned;
use super::connection::{Connection, Flow};
use super::statement::{Kind, parameters, split};
use crate::wire::{Frame, Reader, frontend, put, put_text};

/// A client that talks to a connection in memory.
struct Peer {
    canned: Canned,
    connection: Connection,
}

impl Peer {
    /// Logged in to a server with `rows` rows of `width` bytes.
    fn new(rows: u64, width: usize, role: Role) -> Peer {
        let mut peer = Peer { canned: Canned::new(rows, width, role), connection: Connection::new() };
        let mut packet = Vec::new();
        frontend::startup(&mut packet, &[("user", "u"), ("application_name", "test")]);
        let (answer, flow) = peer.send(&packet);
        assert_eq!((tags(&answer).as_str(), flow), ("RSSSSSSSSSSSSSKZ", Flow::Continue));
        assert!(memchr::memmem::find(&answer, b"application_name\0test\0").is_some());
        peer
    }

    /// Sends everything, byte by byte or at once, and reads until nothing more comes.
    fn send(&mut self, bytes: &[u8]) -> (Vec<u8>, Flow) {
        let mut all = Vec::new();
        let mut flow = self.connection.receive(&self.canned, bytes, &mut all);
        while flow == Flow::Full {
            let mut out = Vec::new();
            flow = self.connection.resume(&self.canned, &mut out);
            all.extend(out);
        }
        (all, flow)
    }

    fn query(&mut self, text: &str) -> String {
        let mut message = Vec::new();
        frontend::query(&mut message, text);
        let (answer, _) = self.send(&message);
        story(&answer)
    }
}

fn frames(mut bytes: &[u8]) -> Vec<Frame<'_>> {
    let mut frames = Vec::new();
    while let Some((frame, length)) = Frame::read(bytes).expect("lengths are right") {
        frames.push(frame);
        bytes = &bytes[length..];
    }
    assert!(bytes.is_empty(), "no message is cut short");
    frames
}

fn tags(bytes: &[u8]) -> String {
    frames(bytes).iter().map(|frame| char::from(frame.tag)).collect()
}

/// The messages' tags, with what CommandComplete, ReadyForQuery and ErrorResponse say.
fn story(bytes: &[u8]) -> String {
    let tell = |frame: &Frame<'_>| match frame.tag {
        b'C' => format!("C({})", text(frame.body)),
        b'Z' => format!("Z{}", char::from(frame.body[0])),
        b'E' => {
            let code = frame.body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"));
            format!("E{}", String::from_utf8_lossy(code.expect("an error has a code")))
        }
        tag => char::from(tag).to_string(),
    };
    frames(bytes).iter().map(tell).collect::<Vec<_>>().join(" ")
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).expect("it is text").trim_end_matches('\0')
}

#[test]
fn a_login_may_ask_for_encryption_first_and_come_in_pieces() {
    let mut peer = Peer { canned: Canned::new(1, 8, Role::Primary), connection: Connection::new() };
    for code in [frontend::SSL, frontend::GSS_ENCRYPTION] {
        let request = [8u32.to_be_bytes(), code.to_be_bytes()].concat();
        assert_eq!(peer.send(&request), (b"N".to_vec(), Flow::Continue));
    }
    let mut packet = Vec::new();
    frontend::startup(&mut packet, &[("user", "u")]);
    let (last, first) = packet.split_last().expect("it is not empty");
    for byte in first {
        assert_eq!(peer.send(&[*byte]), (Vec::new(), Flow::Continue));
    }
    assert!(tags(&peer.send(&[*last]).0).ends_with("KZ"));
    let mut cancel = Peer { canned: Canned::new(1, 8, Role::Primary), connection: Connection::new() };
    let request = [&16u32.to_be_bytes()[..], &frontend::CANCEL.to_be_bytes(), &[0; 8]].concat();
    assert_eq!(cancel.send(&request), (Vec::new(), Flow::Close));
}

#[test]
fn queries_are_answered_one_statement_after_the_other() {
    let mut peer = Peer::new(2, 5, Role::Primary);
    for (query, answer) in [
        ("select 1", "T D D C(SELECT 2) ZI"),
        ("SELECT ';'; SELECT 2;", "T D D C(SELECT 2) T D D C(SELECT 2) ZI"),
        ("", "I ZI"),
        (" ; ;", "I ZI"),
        ("/* x */ insert into t values (1)", "C(INSERT 0 1) ZI"),
        ("BEGIN; UPDATE t SET a = 1", "C(BEGIN) C(UPDATE 1) ZT"),
        ("nonsense; SELECT 1", "E42601 ZE"),
        ("SELECT 1", "E25P02 ZE"),
        ("COMMIT", "C(ROLLBACK) ZI"),
        ("COPY t TO STDOUT", "H d d c C(COPY 2) ZI"),
        ("SHOW in_hot_standby", "T D C(SHOW) ZI"),
        ("SHOW nothing", "E42704 ZI"),
        ("SET application_name = 'x'", "C(SET) S ZI"),
        ("SET work_mem TO 1", "C(SET) ZI"),
        ("RESET ALL", "C(RESET) S S S S S S S ZI"),
        ("DISCARD ALL", "C(DISCARD ALL) ZI"),
        ("CREATE TABLE t ()", "C(CREATE TABLE) ZI"),
        ("BEGIN", "C(BEGIN) ZT"),
        ("SAVEPOINT a; nonsense", "C(SAVEPOINT) E42601 ZE"),
        ("ROLLBACK TO SAVEPOINT a", "C(ROLLBACK) ZT"),
        ("ROLLBACK", "C(ROLLBACK) ZI"),
    ] {
        assert_eq!(peer.query(query), answer, "{query}");
    }
}

#[test]
fn a_long_result_is_given_in_pieces_and_its_query_goes_on_behind_it() {
    let (rows, width) = (100_000, 100);
    let mut peer = Peer::new(rows, width, Role::Primary);
    let mut message = Vec::new();
    frontend::query(&mut message, "SELECT 1; INSERT");
    frontend::query(&mut message, "COPY t TO STDOUT");
    let mut first = Vec::new();
    assert_eq!(peer.connection.receive(&peer.canned, &message, &mut first), Flow::Full);
    assert!(first.len() < 1 << 20, "{} bytes at once", first.len());
    let (rest, _) = peer.send(b"");
    let answer = [first, rest].concat();
    let frames = frames(&answer);
    let count = |tag| frames.iter().filter(|frame| frame.tag == tag).count() as u64;
    assert_eq!((count(b'D'), count(b'd'), count(b'Z')), (rows, rows, 2));
    let done: Vec<_> =
        frames.iter().filter(|frame| frame.tag == b'C').map(|frame| text(frame.body)).collect();
    assert_eq!(done, ["SELECT 100000", "INSERT 0 1", "COPY 100000"]);
    assert!(frames.iter().all(|frame| frame.tag != b'D' || frame.body.len() == 2 + 4 + width));
}

#[test]
fn copied_rows_are_counted() {
    let mut peer = Peer::new(1, 8, Role::Primary);
    assert_eq!(peer.query("COPY t FROM STDIN; SELECT 1"), "G");
    let mut data = Vec::new();
    frontend::copy_data(&mut data, b"1\n2\n3");
    frontend::copy_data(&mut data, b"\n");
    frontend::copy_done(&mut data);
    assert_eq!(story(&peer.send(&data).0), "C(COPY 3) T D C(SELECT 1) ZI");
    assert_eq!(peer.query("COPY t FROM STDIN"), "G");
    let mut failure = Vec::new();
    put(&mut failure, b'f', |out| put_text(out, b"no"));
    assert_eq!(story(&peer.send(&failure).0), "E57014 ZI");
}

#[test]
fn a_pipeline_is_skipped_behind_its_error() {
    let mut peer = Peer::new(1, 8, Role::Primary);
    let mut messages = Vec::new();
    frontend::parse(&mut messages, "s", "SELECT $1, '$9', $2");
    frontend::bind(&mut messages, "s", &["a".into(), "b".into()]);
    frontend::describe(&mut messages);
    frontend::execute(&mut messages);
    frontend::sync(&mut messages);
    assert_eq!(story(&peer.send(&messages).0), "1 2 T D C(SELECT 1) ZI");
    for (statement, parameters, code) in [("gone", 0, "26000"), ("s", 1, "08P01")] {
        let mut messages = Vec::new();
        frontend::bind(&mut messages, statement, &vec!["a".to_owned(); parameters]);
        frontend::execute(&mut messages);
        frontend::sync(&mut messages);
        frontend::query(&mut messages, "SELECT 1");
        assert_eq!(story(&peer.send(&messages).0), format!("E{code} ZI T D C(SELECT 1) ZI"));
    }
    let mut again = Vec::new();
    frontend::parse(&mut again, "s", "SELECT 1");
    frontend::sync(&mut again);
    assert_eq!(story(&peer.send(&again).0), "E42P05 ZI");
}

#[test]
fn a_portal_gives_as_many_rows_as_it_is_asked_for() {
    let mut peer = Peer::new(5, 8, Role::Primary);
    let mut messages = Vec::new();
    frontend::parse(&mut messages, "", "SELECT 1");
    frontend::bind(&mut messages, "", &[]);
    for _ in 0..3 {
        put(&mut messages, b'E', |out| {
            put_text(out, b"");
            out.extend_from_slice(&2u32.to_be_bytes());
        });
    }
    frontend::sync(&mut messages);
    frontend::execute(&mut messages);
    frontend::sync(&mut messages);
    assert_eq!(story(&peer.send(&messages).0), "1 2 D D s D D s D C(SELECT 1) ZI E34000 ZI");
}

#[test]
fn what_is_no_message_ends_the_connection() {
    let mut peer = Peer::new(1, 8, Role::Primary);
    let (answer, flow) = peer.send(b"!\0\0\0\x04");
    assert_eq!((story(&answer).as_str(), flow), ("E08P01", Flow::Close));
    let mut peer = Peer::new(1, 8, Role::Primary);
    let (answer, flow) = peer.send(b"Q\0\0\0\x03");
    assert_eq!((story(&answer).as_str(), flow), ("E08P01", Flow::Close));
}

#[test]
fn pgweirs_question_is_answered_for_the_role() {
    let question = "SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn(), (pg_control_system()).x";
    for (role, first) in [(Role::Primary, b"f"), (Role::Replica, b"t")] {
        let mut peer = Peer::new(3, 8, role);
        let mut message = Vec::new();
        frontend::query(&mut message, question);
        let (answer, _) = peer.send(&message);
        assert_eq!(story(&answer), "T D C(SELECT 1) ZI");
        let row = frames(&answer)[1].body;
        let mut reader = Reader::new(row);
        let (count, length) = (reader.u16().expect("a count"), reader.u32().expect("a length"));
        assert_eq!((count, reader.bytes(length as usize)), (18, Ok(&first[..])));
    }
}

#[test]
fn statements_are_split_and_known_by_their_words() {
    assert_eq!(split(b"a ';' b; c"), (&b"a ';' b"[..], &b" c"[..]));
    assert_eq!(split(b"a ';"), (&b"a ';"[..], &b""[..]));
    assert_eq!(parameters(b"$2 '$7' \"$8\" $1"), 2);
    for (statement, kind) in [
        ("-- x\n begin", Kind::Begin("BEGIN")),
        ("Start transaction", Kind::Begin("START TRANSACTION")),
        ("END", Kind::Commit),
        ("rollback to x", Kind::RollbackTo),
        ("copy t to stdout", Kind::CopyOut),
        ("copy t from stdin", Kind::CopyIn),
        ("set session TimeZone to 'UTC'", Kind::Set(Some(("TimeZone", b"UTC"[..].into())))),
        ("set local x = 1", Kind::Set(None)),
        ("DISCARD TEMP", Kind::Done("DISCARD")),
        ("ALTER TABLE t", Kind::Done("ALTER TABLE")),
        ("(", Kind::Unknown),
    ] {
        assert_eq!(Kind::of(statement.as_bytes()), kind, "{statement}");
    }
}
