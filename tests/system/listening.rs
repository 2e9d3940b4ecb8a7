//! LISTEN and NOTIFY in transaction pooling: no session keeps a backend for it, and none can tell.

mod losses;
mod transactions;

use std::time::Duration;

use crate::harness::{Client, Message, Proxy, ProxyBuilder, eventually, proxy, shared};

#[test]
fn many_sessions_listen_on_one_connection() {
    let database = shared().database();
    let proxy = pooled(2).set("shards.count", 1).start();
    let mut listeners: Vec<Client> = (0..20).map(|_| proxy.client(database.name())).collect();
    for listener in &mut listeners {
        listener.query("LISTEN news");
    }
    assert!(proxy.admin("SHOW PINS").rows.is_empty());
    let rows = proxy.admin("SHOW LISTENERS").rows;
    assert_eq!(rows.len(), 20);
    let process_id = listeners[0].key.as_ref().expect("a key").process_id.to_string();
    let first: Vec<_> = rows[0][..5].iter().flatten().map(String::as_str).collect();
    assert_eq!(first, [&process_id, database.name(), "postgres", "news", "0"]);
    let listening = || {
        let sql = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name = 'pgweir listens'",
            database.name()
        );
        shared().value(0, &sql)
    };
    assert_eq!(listening(), "1");
    assert_eq!(listening_connections(&proxy), 1);
    let mut sender = proxy.client(database.name());
    for number in 0..5 {
        sender.query(&format!("NOTIFY news, 'number {number}'"));
    }
    let sent_by = sender.key.as_ref().expect("a key").process_id;
    for listener in &mut listeners {
        for number in 0..5 {
            assert_eq!(next(listener), (sent_by, "news".to_owned(), format!("number {number}")));
        }
        assert!(listener.is_silent(Duration::from_millis(1)));
    }
    for mut listener in listeners {
        listener.query("UNLISTEN *");
        listener.terminate();
    }
    eventually(|| listening() == "0", "nothing listens when nobody does");
    assert_eq!(listening_connections(&proxy), 0);
    assert!(proxy.admin("SHOW LISTENERS").rows.is_empty());
}

#[test]
fn a_session_hears_itself_before_it_is_ready_and_knows_its_own_id() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let (mut one, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    one.query("LISTEN here");
    for number in 0..50 {
        // Backends change hands.
        other.query(&format!("NOTIFY here, 'other {number}'"));
        one.send_query(&format!("SELECT pg_notify('here', 'own {number}')"));
        let messages = one.until_ready();
        let heard: Vec<_> = messages.iter().filter(|message| message.tag == b'A').map(read).collect();
        let id = |client: &Client| client.key.as_ref().expect("a key").process_id;
        let expected = [
            (id(&other), "here".to_owned(), format!("other {number}")),
            (id(&one), "here".to_owned(), format!("own {number}")),
        ];
        assert_eq!(heard, expected);
        let tags: String = messages.iter().map(|message| char::from(message.tag)).collect();
        // At once, or when it is ready: never inside an answer.
        assert!(["ATDCAZ", "TDCAAZ"].contains(&tags.as_str()), "{tags}");
    }
}

#[test]
fn what_was_committed_before_a_query_is_told_before_its_end() {
    let database = shared().database();
    let proxy = pooled(1).set("route.reads", "replicas").start();
    let (mut one, mut other) =
        (proxy.client(database.name()), shared().login(0).database(database.name()).connect());
    one.query("LISTEN here");
    for number in 0..100 {
        other.query(&format!("NOTIFY here, '{number}'"));
        // As applications poll that read only what they asked for.
        match number % 3 {
            0 => one.send_query("SELECT 1"),
            1 => one.send_query(""),
            _ => one.sync(),
        }
        let heard: Vec<_> =
            one.until_ready().iter().filter(|message| message.tag == b'A').map(read).collect();
        assert_eq!(heard.len(), 1, "{number}");
        assert_eq!(heard[0].2, number.to_string());
    }
}

#[test]
fn nothing_is_missed_from_the_moment_that_listen_is_answered() {
    let database = shared().database();
    let proxy = pooled(2).set("shards.count", 2).start();
    let mut sender = shared().login(0).database(database.name()).connect();
    for number in 0..100 {
        let mut listener = proxy.client(database.name());
        listener.send_query(&format!("LISTEN channel_{}", number % 7));
        while listener.recv_message().tag != b'C' {}
        sender.query(&format!("NOTIFY channel_{}, '{number}'", number % 7));
        assert_eq!(awaited(&mut listener).2, number.to_string());
        if number % 3 == 0 {
            listener.query("UNLISTEN *");
        }
        listener.terminate();
    }
}

#[test]
fn notifications_wait_for_the_end_of_a_transaction_and_come_at_once_outside() {
    let database = shared().database();
    let proxy = pooled(3).start();
    let (mut one, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    one.query("LISTEN here");
    one.query("BEGIN");
    other.query("NOTIFY here, 'first'; NOTIFY here, 'second'");
    assert_eq!(one.query("SELECT 1").rows.len(), 1);
    assert!(one.is_silent(Duration::from_millis(100)));
    one.send_query("COMMIT");
    let messages = answers(&mut one, "CAAZ");
    assert_eq!([read(&messages[1]).2, read(&messages[2]).2], ["first", "second"]);
    // A pipeline without its Sync is a transaction, too.
    one.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0).flush();
    while one.recv_message().tag != b'C' {}
    other.query("NOTIFY here, 'third'");
    assert!(one.is_silent(Duration::from_millis(100)));
    one.sync();
    answers(&mut one, "AZ");
    other.query("NOTIFY here, 'fourth'");
    assert_eq!(next(&mut one).2, "fourth");
}

#[test]
fn channels_have_names_as_the_server_folds_them() {
    let database = shared().database();
    let proxy = pooled(3).start();
    let (mut one, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    let long = "l".repeat(70);
    one.query(&format!("LISTEN Folded; LISTEN \"Quoted \"\"x\"\"\"; LISTEN folded; LISTEN {long}"));
    one.query("LISTEN U&\"d\\0061t\\+000061\"");
    other.query("NOTIFY FOLDED; NOTIFY \"Quoted \"\"x\"\"\", 'y'; NOTIFY \"Folded\"");
    assert_eq!(next(&mut one).1, "folded");
    assert_eq!(next(&mut one).1, "Quoted \"x\"");
    drop(other);
    let mut other = shared().login(0).database(database.name()).connect();
    other.query(&format!("NOTIFY {long}"));
    assert_eq!(next(&mut one).1, "l".repeat(63));
    other.query("NOTIFY data");
    assert_eq!(awaited(&mut one).1, "data");
    one.query(&format!("UNLISTEN {long}; UNLISTEN folded"));
    other.query(&format!("NOTIFY {long}; NOTIFY folded; NOTIFY \"Quoted \"\"x\"\"\""));
    assert_eq!(next(&mut one).1, "Quoted \"x\"");
    one.query("DISCARD ALL");
    other.query("NOTIFY \"Quoted \"\"x\"\"\"; NOTIFY data");
    assert_eq!(one.value("SELECT 1"), "1");
    assert!(one.is_silent(Duration::from_millis(100)));
    eventually(|| proxy.admin("SHOW LISTENERS").rows.is_empty(), "nobody listens");
}

#[test]
fn a_session_is_shown_its_own_channels_and_nobody_elses() {
    let database = shared().database();
    let proxy = pooled(1).start();
    let (mut one, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    one.query("LISTEN b; LISTEN a");
    let channels = |client: &mut Client| {
        let rows = client.query("SELECT * FROM pg_listening_channels() AS c ORDER BY c").rows;
        rows.into_iter().flatten().flatten().collect::<Vec<_>>().join(" ")
    };
    for _ in 0..3 {
        assert_eq!(channels(&mut other), "");
        assert_eq!(channels(&mut one), "a b");
    }
    let shown = one.prepared("SELECT count(*) FROM pg_listening_channels()", &[]).unwrap();
    assert_eq!(shown.value(), "2");
    one.query("BEGIN");
    one.expect_refused("SELECT pg_listening_channels()", "0A000");
    one.query("ROLLBACK");
    assert_eq!(channels(&mut other), "");
    one.query("UNLISTEN b");
    assert_eq!(channels(&mut one), "a");
    // While it is shown, the backend hears as well: nothing comes twice.
    one.send_query("SELECT pg_listening_channels(), pg_notify('a', 'once')");
    answers(&mut one, "TDCAZ");
    assert!(one.is_silent(Duration::from_millis(50)));
}

#[test]
fn words_come_in_the_encoding_of_their_session() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let mut sender = proxy.client(database.name());
    let mut latin = proxy.login().database(database.name()).parameter("client_encoding", "LATIN1").connect();
    let mut changing = proxy.client(database.name());
    latin.query("LISTEN here");
    changing.query("LISTEN here");
    sender.query("NOTIFY here, 'ä'");
    assert_eq!(next_bytes(&mut latin), b"here\0\xe4\0");
    assert_eq!(next_bytes(&mut changing), "here\0ä\0".as_bytes());
    changing.query("SET client_encoding TO latin1");
    sender.query("NOTIFY here, 'ö'");
    assert_eq!(next_bytes(&mut changing), b"here\0\xf6\0");
    assert_eq!(next_bytes(&mut latin), b"here\0\xf6\0");
    assert!(changing.is_silent(Duration::from_millis(50)));
}

#[test]
fn a_client_that_does_not_read_what_it_hears_has_to_leave() {
    let database = shared().database();
    let proxy = pooled(3).start();
    let mut reads = proxy.client(database.name());
    let mut stuck = proxy.client(database.name());
    reads.query("LISTEN flood");
    stuck.query("LISTEN flood; LISTEN other");
    stuck.query("BEGIN");
    let mut sender = proxy.client(database.name());
    let payload = "x".repeat(7000);
    for number in 0..700 {
        sender.query(&format!("NOTIFY flood, '{number} {payload}'"));
        assert!(next(&mut reads).2.starts_with(&format!("{number} ")));
    }
    let error = stuck.expect_sqlstate("54000");
    assert!(error.message().contains("notifications"), "{error}");
    stuck.expect_closed();
    let memory = proxy.memory_peak();
    assert!(memory < 200 << 20, "{} kB", memory >> 10);
    eventually(|| proxy.admin("SHOW LISTENERS").rows.len() == 1, "it listens no more");
}

#[test]
fn every_listener_hears_every_notification_once_and_in_the_order_of_commits() {
    let database = shared().database();
    let proxy = pooled(6).set("shards.count", 2).start();
    let senders = 4;
    let each = 100;
    let mut witness = shared().login(0).database(database.name()).connect();
    witness.query("LISTEN busy");
    std::thread::scope(|scope| {
        let listeners: Vec<_> = (0..6)
            .map(|number| {
                let mut client = proxy.client(database.name());
                client.query("LISTEN busy");
                scope.spawn(move || {
                    let mut heard = Vec::new();
                    while heard.len() < senders * each {
                        if number % 2 == 0 {
                            client.send_query("SELECT 1");
                            let messages = client.until_ready();
                            heard.extend(messages.iter().filter(|message| message.tag == b'A').map(read));
                        } else {
                            heard.push(next(&mut client));
                        }
                    }
                    heard.into_iter().map(|(_, _, payload)| payload).collect::<Vec<_>>()
                })
            })
            .collect();
        for sender in 0..senders {
            let mut client = proxy.client(database.name());
            scope.spawn(move || {
                for number in 0..each {
                    client.query(&format!("BEGIN; NOTIFY busy, '{sender} {number}'; COMMIT"));
                }
            });
        }
        let order: Vec<_> = (0..senders * each).map(|_| next(&mut witness).2).collect();
        for listener in listeners {
            assert_eq!(listener.join().expect("it hears"), order);
        }
    });
    assert!(proxy.admin("SHOW PINS").rows.is_empty());
}

#[test]
fn what_listens_takes_no_backend_from_others() {
    let database = shared().database();
    let proxy = pooled(2).set("pool.checkout_timeout", "300ms").start();
    let mut listener = proxy.client(database.name());
    listener.query("LISTEN here");
    let mut holders: Vec<Client> = (0..3).map(|_| proxy.client(database.name())).collect();
    for holder in &mut holders[..2] {
        holder.query("BEGIN; SELECT 1");
    }
    holders[2].expect_refused("SELECT 1", "53300");
    holders[1].query("NOTIFY here, 'heard'; COMMIT");
    assert_eq!(next(&mut listener).2, "heard");
}

#[test]
fn a_session_that_is_pinned_hears_each_notification_once() {
    let database = shared().database();
    let proxy = pooled(3).start();
    let (mut one, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    one.query("CREATE TEMP TABLE mine (v int); LISTEN here");
    other.query("NOTIFY here, 'first'");
    assert_eq!(next(&mut one).2, "first");
    one.send_query("NOTIFY here, 'own'");
    answers(&mut one, "CAZ");
    // What it cannot be seen to listen to keeps its backend, and is heard there.
    one.query("DO $$ BEGIN EXECUTE 'LISTEN hidden'; END $$");
    other.query("NOTIFY hidden, 'found'; NOTIFY here, 'second'");
    let mut heard = [awaited(&mut one).2, awaited(&mut one).2];
    heard.sort();
    assert_eq!(heard, ["found", "second"]);
    one.query("DISCARD ALL");
    other.query("NOTIFY hidden; NOTIFY here");
    assert!(one.is_silent(Duration::from_millis(100)));
    eventually(|| proxy.admin("SHOW PINS").rows.is_empty(), "nothing keeps it");
}

fn pooled(size: i64) -> ProxyBuilder<'static> {
    proxy(shared()).set("pool.size", size).set("route.reads", "primary")
}

/// How many connections listen for sessions, as the console shows it.
fn listening_connections(proxy: &Proxy<'_>) -> u32 {
    let pools = proxy.admin("SHOW NODE_POOLS");
    let column = pools.columns.iter().position(|name| name == "listening").expect("a column");
    pools.rows.iter().map(|row| row[column].as_deref().expect("a number").parse::<u32>().unwrap()).sum()
}

/// Process id, channel and payload.
type Heard = (i32, String, String);

fn read(message: &Message) -> Heard {
    assert_eq!(message.tag, b'A', "{message:?}");
    let (id, words) = message.body.split_first_chunk::<4>().expect("a process id");
    let words: Vec<_> =
        words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    (i32::from_be_bytes(*id), words[0].clone(), words[1].clone())
}

/// The next message, which is a notification.
#[track_caller]
fn next(client: &mut Client) -> Heard {
    read(&client.recv_message())
}

/// The next notification, whatever comes before it.
#[track_caller]
fn awaited(client: &mut Client) -> Heard {
    loop {
        let message = client.recv_message();
        if message.tag == b'A' {
            return read(&message);
        }
    }
}

/// Reads up to the next ReadyForQuery and compares the tags, with those of notifications.
#[track_caller]
fn answers(client: &mut Client, expected: &str) -> Vec<Message> {
    let mut messages = client.until_ready();
    messages.retain(|message| !matches!(message.tag, b'N' | b'S'));
    let tags: String = messages.iter().map(|message| char::from(message.tag)).collect();
    assert_eq!(tags, expected, "{messages:?}");
    messages
}

/// Channel and payload of the next message as they came.
#[track_caller]
fn next_bytes(client: &mut Client) -> Vec<u8> {
    let message = client.recv_message();
    assert_eq!(message.tag, b'A', "{message:?}");
    message.body[4..].to_vec()
}
