//! Messages in pieces, by the thousand, and of many megabytes; clients that do not read.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::harness::{Client, Config, FakeNode, Message, Proxy, eventually, proxy, shared};

#[test]
fn a_message_in_two_pieces_is_the_same_message_wherever_it_is_cut() {
    let proxy = proxy(shared()).set("auth.method", "trust").start();
    let mut bystander = proxy.login().connect();
    let startup = b"\0\0\0\x22\0\x03\0\0user\0postgres\0database\0x\0\0";
    assert_eq!(startup.len(), 0x22);
    for cut in 1..startup.len() {
        let mut client = Client::open(&proxy.address());
        client.send_raw(&startup[..cut]);
        // The only shard has seen the first piece once it has answered this.
        bystander.query("SELECT 1");
        client.send_raw(&startup[cut..]);
        // There is no database x.
        client.expect_sqlstate("3D000");
    }
    // A simple query, and a batch.
    let conversation = [
        message(b'Q', b"SELECT 1\0"),
        message(b'P', b"s\0SELECT $1::text || 'd'\0\0\0"),
        message(b'B', b"\0s\0\0\0\0\x01\0\0\0\x03abc\0\0"),
        message(b'D', b"P\0"),
        message(b'E', b"\0\0\0\0\0"),
        message(b'C', b"Ss\0"),
        message(b'S', b""),
    ]
    .concat();
    let mut client = proxy.login().connect();
    for cut in 1..conversation.len() {
        client.send_raw(&conversation[..cut]);
        bystander.query("SELECT 1");
        client.send_raw(&conversation[cut..]);
        client.expect_tags("TDCZ");
        let answer = client.expect_tags("12TDC3Z");
        assert_eq!(answer[3].row(), [Some("abcd".to_owned())], "cut at {cut}");
    }
    for byte in conversation {
        client.send_raw(&[byte]);
    }
    client.expect_tags("TDCZ");
    client.expect_tags("12TDC3Z");
}

#[test]
fn ten_thousand_messages_at_once_are_answered_in_order_and_starve_nobody() {
    let proxy = proxy(shared()).set("pool.size", 2).start();
    let (mut client, mut other) = (proxy.login().connect(), proxy.login().connect());
    for number in 0..2500 {
        let number = number.to_string();
        client.parse("", "SELECT $1::text", &[]).bind("", "", &[Some(&number)]).execute("", 0).write_sync();
    }
    client.send_out();
    for _ in 0..10 {
        assert_eq!(other.value("SELECT 'not starved'"), "not starved");
    }
    for number in 0..2500 {
        assert_eq!(client.expect_tags("12DCZ")[2].row(), [Some(number.to_string())]);
    }
    // All in one batch.
    client.parse("echo", "SELECT $1::text", &[]);
    for number in 0..5000 {
        client.bind("", "echo", &[Some(&number.to_string())]).execute("", 0);
    }
    client.sync();
    let rows: Vec<_> =
        client.until_ready().iter().filter(|message| message.tag == b'D').map(Message::row).collect();
    assert_eq!(rows.len(), 5000);
    assert!(rows.iter().enumerate().all(|(number, row)| row[0] == Some(number.to_string())));
    // Simple queries.
    for _ in 0..2000 {
        client.write_query("SELECT 1");
    }
    client.send_out();
    for _ in 0..2000 {
        client.expect_tags("TDCZ");
    }
}

#[test]
fn a_pipeline_of_100_mb_that_is_not_read_waits_in_bounded_memory() {
    let cluster = shared();
    let database = cluster.database();
    let proxy = proxy(cluster).set("pool.size", 2).set("route.reads", "primary").start();
    let (mut client, mut other) = (proxy.client(database.name()), proxy.client(database.name()));
    let before = proxy.memory();
    let (batches, value) = (1000, "v".repeat(100_000));
    let length = u32::try_from(value.len()).unwrap().to_be_bytes();
    let batch = [
        message(b'P', b"\0SELECT $1::text, 2\0\0\0"),
        message(b'B', &[b"\0\0\0\0\0\x01", &length[..], value.as_bytes(), b"\0\0"].concat()),
        message(b'E', b"\0\0\0\0\0"),
        message(b'S', b""),
    ]
    .concat();
    let mut sender = client.sender();
    let sending = std::thread::spawn(move || (0..batches).try_for_each(|_| sender.write_all(&batch)));
    await_stuck(cluster, database.name(), 1);
    for _ in 0..10 {
        assert_eq!(other.value("SELECT 'not hurt'"), "not hurt");
    }
    assert!(!sending.is_finished(), "somebody has taken 100 MB and shown nothing for it");
    for _ in 0..batches {
        let answer = client.expect_tags("12DCZ");
        assert_eq!(answer[2].body.len(), 2 + 4 + value.len() + 4 + 1);
    }
    sending.join().unwrap().expect("all of it was taken");
    expect_growth(&proxy, before, 16 << 20);
}

#[test]
fn a_result_of_200_mb_passes_with_memory_flat() {
    let proxy = proxy(shared()).start();
    let mut client = proxy.login().connect();
    client.query("SELECT 1");
    let before = proxy.memory();
    for (rows, width) in [(100_000, 1000), (1000, 100_000), (1, 100_000_000)] {
        client.send_query(&format!("SELECT repeat('x', {width}) FROM generate_series(1, {rows})"));
        let mut seen = 0;
        loop {
            let message = client.recv_message();
            match message.tag {
                b'D' => seen += message.body.len() - 6,
                b'Z' => break,
                tag => assert!(matches!(tag, b'T' | b'C'), "{message:?}"),
            }
        }
        assert_eq!(seen, rows * width);
    }
    expect_growth(&proxy, before, 16 << 20);
}

#[test]
fn queries_and_parameters_of_many_mb_pass_with_memory_flat() {
    let proxy = proxy(shared()).start();
    let mut client = proxy.login().connect();
    client.query("SELECT 1");
    let before = proxy.memory();
    // The server takes its time with a literal this long, and is quick with a parameter.
    let literal = "x".repeat(24 << 20);
    let query = format!("SELECT length('{literal}')");
    assert_eq!(client.value(&query), literal.len().to_string());
    client.query("BEGIN");
    assert_eq!(client.value(&query), literal.len().to_string());
    client.query("COMMIT");
    let value = "x".repeat(100 << 20);
    let outcome = client.prepared("SELECT length($1)", &[Some(&value)]).unwrap();
    assert_eq!(outcome.value(), value.len().to_string());
    assert_eq!(client.value("SELECT 1"), "1");
    expect_growth(&proxy, before, 16 << 20);
}

#[test]
fn a_row_of_a_gigabyte_passes_with_memory_flat() {
    let _bulk = bulk();
    let node = FakeNode::start();
    let proxy = before(&node);
    let mut client = proxy.login().connect();
    assert_eq!(client.value("SELECT 1"), "9");
    let memory = proxy.memory();
    proxy.forget_memory_peak();
    client.send_query(&format!("row {}", MESSAGE_MAX - 6));
    assert_eq!(client.recv_message().tag, b'T');
    assert_eq!(client.recv_length(), (b'D', MESSAGE_MAX));
    client.expect_tags("CZ");
    expect_growth(&proxy, memory, 16 << 20);
}

#[test]
fn a_query_of_a_gigabyte_passes_with_memory_flat() {
    let _bulk = bulk();
    let node = FakeNode::start();
    let proxy = before(&node);
    let mut client = proxy.login().connect();
    client.query("SELECT 1");
    let memory = proxy.memory();
    proxy.forget_memory_peak();
    send_long(&client, b'Q', b"SELECT '", MESSAGE_MAX, b"'\0");
    assert_eq!(first_value(&client.expect_tags("TDCZ")), MESSAGE_MAX.to_string());
    expect_growth(&proxy, memory, 16 << 20);
    // One byte more is no message.
    client.send_raw(&[&b"Q"[..], &(MESSAGE_MAX as u32 + 5).to_be_bytes()].concat());
    client.expect_sqlstate("08P01");
    client.expect_closed();
}

#[test]
fn a_parameter_of_a_gigabyte_passes_with_memory_flat() {
    let _bulk = bulk();
    let node = FakeNode::start();
    let proxy = before(&node);
    let mut client = proxy.login().connect();
    client.query("SELECT 1");
    let memory = proxy.memory();
    proxy.forget_memory_peak();
    client.parse("", "SELECT length($1)", &[]).flush();
    assert_eq!(client.recv_message().tag, b'1');
    let length = u32::try_from(MESSAGE_MAX - 14).expect("less than 4 GB").to_be_bytes();
    let head = [b"\0\0\0\0\0\x01", &length[..]].concat();
    send_long(&client, b'B', &head, MESSAGE_MAX, b"\0\0");
    client.execute("", 0).sync();
    assert_eq!(client.expect_tags("2DCZ")[1].row(), [Some(MESSAGE_MAX.to_string())]);
    expect_growth(&proxy, memory, 16 << 20);
}

#[test]
fn a_quarter_of_a_gigabyte_passes_to_a_real_server_and_back_with_memory_flat() {
    let _bulk = bulk();
    let proxy = proxy(shared()).start();
    let mut client = proxy.login().connect();
    client.query("SELECT 1");
    let before = proxy.memory();
    proxy.forget_memory_peak();
    let size = 250_000_000;
    client.send_query(&format!("SELECT repeat('x', {size})"));
    assert_eq!(client.recv_message().tag, b'T');
    assert_eq!(client.recv_length(), (b'D', size + 6));
    client.expect_tags("CZ");
    client.parse("", "SELECT length($1)", &[]).flush();
    assert_eq!(client.recv_message().tag, b'1');
    let length = u32::try_from(size).expect("less than 4 GB").to_be_bytes();
    let head = [b"\0\0\0\0\0\x01", &length[..]].concat();
    send_long(&client, b'B', &head, size + 12, b"\0\0");
    client.execute("", 0).sync();
    assert_eq!(client.expect_tags("2DCZ")[1].row(), [Some(size.to_string())]);
    assert_eq!(client.value("SELECT 1"), "1");
    expect_growth(&proxy, before, 16 << 20);
}

#[test]
fn readers_that_stop_hurt_nobody_and_cost_little() {
    let cluster = shared();
    let database = cluster.database();
    let proxy = proxy(cluster).set("pool.size", 9).set("route.reads", "primary").start();
    let mut other = proxy.client(database.name());
    let mut stopped: Vec<Client> = (0..8).map(|_| proxy.client(database.name())).collect();
    let before = proxy.memory();
    for client in &mut stopped {
        client.send_query("SELECT repeat('x', 10000) FROM generate_series(1, 4000)");
    }
    await_stuck(cluster, database.name(), 8);
    for number in 0..200 {
        assert_eq!(other.value(&format!("SELECT {number}")), number.to_string());
    }
    // A bulk transfer beside them is not hurt either.
    let rows = other.query("SELECT repeat('y', 10000) FROM generate_series(1, 1000)").rows;
    assert_eq!(rows.len(), 1000);
    expect_growth(&proxy, before, 8 * (2 << 20) + (8 << 20));
    // One goes away; the others take up reading again.
    drop(stopped.pop());
    for client in &mut stopped {
        let rows = client.until_ready().iter().filter(|message| message.tag == b'D').count();
        assert_eq!(rows, 4000);
        assert_eq!(client.value("SELECT 1"), "1");
    }
    await_stuck(cluster, database.name(), 0);
}

/// The right to move so much that the machine has time for one such test only.
fn bulk() -> MutexGuard<'static, ()> {
    static BULK: Mutex<()> = Mutex::new(());
    BULK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// pgweir in front of a node that is no PostgreSQL.
#[track_caller]
fn before(node: &FakeNode) -> Proxy<'static> {
    let nodes = |config: &mut Config| {
        for node in shared().nodes() {
            config.remove_node(node.port());
        }
        config.node(node.port());
    };
    proxy(shared()).configure(nodes).start()
}

/// Sends a message with a body of `size` bytes, of which the first and the last are given, without ever having it whole.
#[track_caller]
fn send_long(client: &Client, tag: u8, first: &[u8], size: usize, last: &[u8]) {
    let mut sender = io::BufWriter::with_capacity(1 << 20, client.sender());
    let head = u32::try_from(size + 4).expect("less than 4 GB").to_be_bytes();
    let between = (size - first.len() - last.len()) as u64;
    let mut send = || -> io::Result<()> {
        sender.write_all(&[tag])?;
        sender.write_all(&head)?;
        sender.write_all(first)?;
        io::copy(&mut io::Read::take(io::repeat(b'x'), between), &mut sender)?;
        sender.write_all(last)?;
        sender.flush()
    };
    send().unwrap_or_else(|error| panic!("the other side takes no more: {error}"));
}

fn first_value(messages: &[Message]) -> String {
    let row = messages.iter().find(|message| message.tag == b'D').expect("a row").row();
    row[0].clone().expect("a value")
}

/// Waits until so many servers of this database wait for somebody to take what they have to say.
#[track_caller]
fn await_stuck(cluster: &crate::harness::Cluster, database: &str, count: usize) {
    let stuck = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event = 'ClientWrite'"
    );
    eventually(|| cluster.value(0, &stuck) == count.to_string(), "the servers are stuck");
}

/// Checks that the most memory that was ever in use is little more than what was in use `before`.
#[track_caller]
fn expect_growth(proxy: &Proxy, before: u64, bytes_max: u64) {
    let grown = proxy.memory_peak().saturating_sub(before);
    assert!(grown <= bytes_max, "{} kB before, {} kB more since", before >> 10, grown >> 10);
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[tag][..], &length, body].concat()
}

/// The longest body of a message, in bytes.
const MESSAGE_MAX: usize = pgweir::limits::FRAME_BODY_MAX as usize;
