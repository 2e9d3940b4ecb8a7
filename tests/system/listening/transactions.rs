//! LISTEN is of its transaction: it takes effect when that commits, however the statements came.

use std::time::Duration;

use crate::harness::{Client, Proxy, cluster, proxy, shared};

use super::{answers, next, pooled, read};

/// Both at their best: one that listens, one that notifies what it is told to.
struct Pair {
    listener: Client,
    sender: Client,
}

impl Pair {
    fn new(proxy: &Proxy<'_>, database: &str) -> Self {
        let mut sender = shared().login(0).database(database).connect();
        sender.query("SELECT 1");
        Self { listener: proxy.client(database), sender }
    }

    /// The channels of `asked`, separated by white space, that the listener hears.
    #[track_caller]
    fn hears(&mut self, asked: &str) -> String {
        for channel in asked.split_whitespace() {
            self.sender.query(&format!("NOTIFY {channel}"));
        }
        self.listener.send_query("SELECT 1");
        let messages = self.listener.until_ready();
        let heard = messages.iter().filter(|message| message.tag == b'A').map(|message| read(message).1);
        heard.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn it_takes_effect_at_commit_and_is_undone_by_rollback() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let mut pair = Pair::new(&proxy, database.name());
    pair.listener.query("BEGIN; LISTEN a");
    pair.sender.query("NOTIFY a, 'too early'");
    pair.listener.query("COMMIT");
    assert!(pair.listener.is_silent(Duration::from_millis(50)));
    assert_eq!(pair.hears("a b"), "a");
    pair.listener.query("BEGIN");
    pair.listener.query("LISTEN b");
    pair.listener.query("UNLISTEN a");
    pair.listener.query("ROLLBACK");
    assert_eq!(pair.hears("a b"), "a");
    pair.listener
        .query("BEGIN; LISTEN b; SAVEPOINT s; LISTEN c; UNLISTEN a; ROLLBACK TO s; LISTEN d; COMMIT");
    assert_eq!(pair.hears("a b c d"), "a b d");
    pair.listener.query("BEGIN; UNLISTEN *; LISTEN c; COMMIT");
    assert_eq!(pair.hears("a b c d"), "c");
    // What fails takes all of its text with it.
    pair.listener.expect_refused("LISTEN a; SELECT 1/0", "22012");
    assert_eq!(pair.hears("a c"), "c");
    pair.listener.query("BEGIN");
    pair.listener.expect_refused("SELECT 1/0", "22012");
    pair.listener.expect_refused("LISTEN a", "25P02");
    pair.listener.query("COMMIT");
    assert_eq!(pair.hears("a c"), "c");
    pair.listener.expect_refused("LISTEN \"\"", "42601");
    pair.listener.expect_refused("LISTEN a b", "42601");
    assert_eq!(pair.hears("a c"), "c");
    assert!(proxy.admin("SHOW PINS").rows.is_empty());
}

#[test]
fn its_own_transaction_may_notify() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let mut client = proxy.client(database.name());
    client.send_query("BEGIN; LISTEN a; NOTIFY a, 'own'; COMMIT");
    answers(&mut client, "CCCCAZ");
    client.query("UNLISTEN a");
    client.send_query("LISTEN a; NOTIFY a, 'text'");
    answers(&mut client, "CCAZ");
    client.send_query("NOTIFY a, 'x'; NOTIFY a, 'x'; UNLISTEN a");
    answers(&mut client, "CCCZ");
}

#[test]
fn it_comes_by_the_extended_protocol_and_in_pipelines() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let mut pair = Pair::new(&proxy, database.name());
    pair.listener.prepared("LISTEN a", &[]).unwrap();
    assert_eq!(pair.hears("a"), "a");
    let client = &mut pair.listener;
    client.parse("l", "LISTEN b", &[]).sync();
    answers(client, "1Z");
    for _ in 0..2 {
        client.bind("", "l", &[]).execute("", 0).sync();
        answers(client, "2CZ");
    }
    assert_eq!(pair.hears("a b"), "a b");
    // Several in one pipeline, of which one fails.
    let client = &mut pair.listener;
    client.parse("", "LISTEN c", &[]).bind("", "", &[]).execute("", 0).write_sync();
    client.parse("", "LISTEN d", &[]).bind("", "", &[]).execute("", 0);
    client.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0).write_sync();
    client.parse("", "UNLISTEN a", &[]).bind("", "", &[]).execute("", 0).sync();
    answers(client, "12CZ");
    answers(client, "12C1EZ");
    answers(client, "12CZ");
    assert_eq!(pair.hears("a b c d"), "b c");
    // A transaction across Syncs, and its end in the same flight.
    let client = &mut pair.listener;
    for text in ["BEGIN", "LISTEN d", "UNLISTEN *", "LISTEN e", "COMMIT", "NOTIFY e, 'own'"] {
        client.parse("", text, &[]).bind("", "", &[]).execute("", 0).write_sync();
    }
    client.send_out();
    answers(client, "12CZ");
    answers(client, "12CZ");
    answers(client, "12CZ");
    answers(client, "12CZ");
    answers(client, "12CZ");
    answers(client, "12CAZ");
    assert_eq!(pair.hears("a b c d e"), "e");
    let client = &mut pair.listener;
    client.write_query("LISTEN f").write_query("NOTIFY f, '1'").write_query("SELECT 2").send_out();
    answers(client, "CZ");
    answers(client, "CAZ");
    answers(client, "TDCZ");
    assert!(proxy.admin("SHOW PINS").rows.is_empty());
}

#[test]
fn a_transaction_that_listens_cannot_be_prepared() {
    let cluster = cluster().setting("max_prepared_transactions", "5").start();
    let proxy = proxy(&cluster).set("pool.size", 1).start();
    let mut client = proxy.client("postgres");
    client.query("BEGIN; LISTEN a");
    client.expect_refused("PREPARE TRANSACTION 'x'", "0A000");
    client.query("NOTIFY a");
    assert!(client.is_silent(Duration::from_millis(50)));
    client.query("LISTEN b; NOTIFY a; NOTIFY b");
    assert!(proxy.admin("SHOW PINS").rows.is_empty());
}

#[test]
fn no_other_session_hears_what_a_backend_listened_to() {
    let database = shared().database();
    let proxy = pooled(1).start();
    let (mut one, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    for _ in 0..20 {
        one.query("LISTEN here");
        other.query("NOTIFY here, 'from the same backend'");
        assert_eq!(next(&mut one).2, "from the same backend");
        other.send_query("SELECT pg_listening_channels()");
        answers(&mut other, "TCZ");
        one.query("UNLISTEN here");
    }
    // One that vanishes in its transaction leaves nothing either.
    one.query("LISTEN here; BEGIN; LISTEN there");
    drop(one);
    other.send_query("NOTIFY here; NOTIFY there; SELECT pg_listening_channels()");
    answers(&mut other, "CCTCZ");
}

#[test]
fn statement_pooling_and_refused_pins_listen_as_well() {
    let database = shared().database();
    for (key, value) in [("pool.mode", "statement"), ("pool.pin", "refuse")] {
        let proxy = pooled(1).set(key, value).start();
        let mut pair = Pair::new(&proxy, database.name());
        pair.listener.query("LISTEN a");
        assert_eq!(pair.hears("a"), "a", "{value}");
    }
}
