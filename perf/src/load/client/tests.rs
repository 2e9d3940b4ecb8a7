use super::*;
use crate::load::scram::Password;
use crate::load::{Arguments, Mode};
use crate::wire::backend::{command_complete, data_row, error, ready};
use crate::wire::put;
use clap::Parser;

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

/// A client whose server is written out by the test.
struct Peer {
    work: Work,
    credentials: Credentials,
    tally: Tally,
    client: Client,
    sent: Vec<u8>,
}

impl Peer {
    fn new(options: &str) -> Peer {
        let options = std::iter::once("load").chain(options.split_whitespace());
        let Command { arguments } = Command::parse_from(options);
        assert!(arguments.mode != Mode::Connect, "a connection without a query");
        let mut tally = Tally::new();
        tally.counting = true;
        let credentials =
            Credentials { user: "u".into(), password: "secret".into(), scram: Password::new("secret") };
        Peer { work: Work::new(&arguments), credentials, tally, client: Client::new(None), sent: Vec::new() }
    }

    fn logged_in(options: &str) -> Peer {
        let mut peer = Peer::new(options);
        let step = peer.receive(|out| {
            put(out, b'R', |out| out.extend_from_slice(&[0; 4]));
            ready(out, b'I');
        });
        assert_eq!(step, Step::Ready);
        peer
    }

    fn begin(&mut self) {
        let now = Instant::now();
        self.client.begin(Begun { due: now, sent: now }, &self.work, &mut self.tally, &mut self.sent);
    }

    /// Receives what `write` writes, byte by byte; the last step that is not to wait.
    fn receive(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Step {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let mut last = Step::Waits;
        for byte in bytes {
            let (work, now) = (&self.work, Instant::now());
            let mut context =
                Context { work, credentials: &mut self.credentials, tally: &mut self.tally, now };
            match self.client.receive(&[byte], &mut context, &mut self.sent) {
                Step::Waits => {}
                step => last = step,
            }
        }
        last
    }
}

#[test]
fn rows_and_queries_are_counted_however_they_are_cut() {
    let mut peer = Peer::logged_in("");
    for _ in 0..3 {
        peer.begin();
        let step = peer.receive(|out| {
            for _ in 0..4 {
                data_row(out, [Some(&b"DZZZZ"[..])].into_iter());
            }
            command_complete(out, "SELECT 4");
            ready(out, b'I');
        });
        assert_eq!(step, Step::Done);
    }
    let tally = &peer.tally;
    assert_eq!((tally.queries, tally.rows, tally.errors, tally.latency.len()), (3, 12, 0, 3));
}

#[test]
fn queries_of_a_pipeline_count_one_by_one_and_an_error_is_none() {
    let mut peer = Peer::new("--mode pipelined --pipeline 3");
    let step = peer.receive(|out| {
        put(out, b'R', |out| out.extend_from_slice(&[0; 4]));
        ready(out, b'I');
    });
    assert_eq!((step, peer.sent.first()), (Step::Waits, Some(&b'P')), "the statement is prepared first");
    assert_eq!(peer.receive(|out| ready(out, b'I')), Step::Ready);
    peer.begin();
    let step = peer.receive(|out| {
        command_complete(out, "SELECT 1");
        error(out, "ERROR", "22012", "division by zero");
        ready(out, b'I');
    });
    assert_eq!((step, peer.tally.queries, peer.tally.errors), (Step::Done, 1, 1));
    assert_eq!(peer.tally.first_error.as_deref(), Some("ERROR 22012: division by zero"));
}

#[test]
fn a_query_that_fails_is_not_counted_as_answered() {
    let mut peer = Peer::logged_in("");
    peer.begin();
    let step = peer.receive(|out| {
        error(out, "ERROR", "42601", "syntax error");
        ready(out, b'I');
    });
    assert_eq!((step, peer.tally.queries, peer.tally.errors), (Step::Done, 0, 1));
}

#[test]
fn a_copy_sends_its_rows_when_it_is_asked_for_them() {
    let mut peer = Peer::logged_in("--mode bulk --copy-in --copy-rows 3 --copy-width 10");
    peer.begin();
    peer.sent.clear();
    assert_eq!(peer.receive(|out| crate::wire::backend::copy_response(out, b'G')), Step::Waits);
    let (data, length) = Frame::read(&peer.sent).expect("it is a message").expect("it is complete");
    assert_eq!((data.tag, data.body), (b'd', &b"xxxxxxxxx\nxxxxxxxxx\nxxxxxxxxx\n"[..]));
    assert_eq!(&peer.sent[length..], b"c\0\0\0\x04");
    assert_eq!((peer.tally.rows, peer.tally.bytes_sent > 30), (3, true));
}

#[test]
fn what_the_server_refuses_at_the_door_breaks_the_connection() {
    let refused = Peer::new("").receive(|out| error(out, "FATAL", "28P01", "no"));
    let unknown = Peer::new("").receive(|out| put(out, b'R', |out| out.extend_from_slice(&[0, 0, 0, 7])));
    let mut unproven = Peer::new("");
    let offer = unproven.receive(|out| {
        put(out, b'R', |out| out.extend_from_slice(b"\0\0\0\x0aSCRAM-SHA-256\0\0"));
    });
    assert_eq!((offer, unproven.sent.first()), (Step::Waits, Some(&b'p')));
    let skipped = unproven.receive(|out| put(out, b'R', |out| out.extend_from_slice(&[0; 4])));
    assert_eq!((refused, unknown, skipped), (Step::Broken, Step::Broken, Step::Broken));
}
