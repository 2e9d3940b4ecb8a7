//! Backend, relay and load as processes, beside each other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

/// A server that ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let mut child =
            perf(arguments).stdout(Stdio::piped()).spawn().expect("the binary was built for this test");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        let address = line.trim().strip_prefix("listening on ").expect("it listens").to_owned();
        Server { child, address }
    }

    fn relay_to(address: &str) -> Server {
        Server::start(&["relay", "--to", address])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn perf(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perf"));
    command.args(arguments);
    command
}

/// Runs the load; its lines, the result last.
fn load(target: &str, options: &[&str]) -> (Vec<serde_json::Value>, Output) {
    let common = ["load", "--json", "--target", target, "--warmup", "50ms"];
    let output = perf(&common).args(options).output().expect("it ends");
    let text = String::from_utf8(output.stdout.clone()).expect("JSON is text");
    (text.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect(), output)
}

/// The result of a load without errors.
fn result(target: &str, options: &[&str]) -> serde_json::Value {
    let (lines, output) = load(target, &[options, &["--duration", "300ms"]].concat());
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap_or_default()).collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(events, ["connected", "begin", "end", "result"], "{options:?}: {stderr}");
    let result = lines.last().expect("there are four").clone();
    assert!(output.status.success(), "{options:?}: {stderr}{result}");
    assert_eq!(
        (&result["errors"], &result["first_error"]),
        (&0.into(), &serde_json::Value::Null),
        "{options:?}"
    );
    assert!(count(&result, "queries") > 0, "{options:?}: {result}");
    result
}

fn count(result: &serde_json::Value, name: &str) -> u64 {
    result[name].as_u64().unwrap_or_else(|| panic!("{name} is a number"))
}

#[test]
fn every_mode_runs_through_the_relay_without_an_error() {
    let backend = Server::start(&["backend", "--rows", "3", "--width", "20"]);
    let relay = Server::relay_to(&backend.address);
    for mode in ["simple", "extended", "prepared", "pipelined", "bulk", "connect"] {
        let result = result(&relay.address, &["--mode", mode, "--connections", "20"]);
        let (queries, rows) = (count(&result, "queries"), count(&result, "rows"));
        // At both ends of the window there are queries whose rows lie on the other side.
        assert!(rows.abs_diff(3 * queries) <= 3 * 20 * 10, "{mode}: {queries} queries, {rows} rows");
        let latency = &result["latency_us"];
        let figure = |name: &str| latency[name].as_f64().expect("it is a number");
        assert!(figure("p50") > 0.0 && figure("p50") <= figure("p99") && figure("p99") <= figure("max"));
    }
}

#[test]
fn copies_go_both_ways() {
    let backend = Server::start(&["backend", "--rows", "20000", "--width", "99"]);
    let relay = Server::relay_to(&backend.address);
    for (direction, bytes) in [("--copy-out", "bytes_received"), ("--copy-in", "bytes_sent")] {
        let result = result(&relay.address, &["--mode", "bulk", "--connections", "2", direction]);
        assert!(count(&result, bytes) > 1_000_000, "{direction}: {result}");
    }
}

#[test]
fn the_open_loop_keeps_its_rate_while_there_is_room_and_counts_the_wait_when_there_is_none() {
    let backend = Server::start(&["backend", "--delay", "20ms"]);
    let easy = result(&backend.address, &["--connections", "50", "--rate", "200", "--arrivals", "poisson"]);
    assert!((20..=110).contains(&count(&easy, "queries")), "{easy}");
    // One connection answers 50 a second, and is asked for 500.
    let hard = result(&backend.address, &["--connections", "1", "--rate", "500"]);
    let median = |name: &str| hard[name]["p50"].as_f64().expect("it is a number");
    assert!(median("latency_us") > 3.0 * median("service_us"), "{hard}");
    assert!(count(&hard, "unanswered") > 50, "{hard}");
}

#[test]
fn a_server_that_goes_away_is_an_error_that_is_told() {
    let backend = Server::start(&["backend"]);
    let relay = Server::relay_to(&backend.address);
    let target = relay.address.clone();
    let running = thread::spawn(move || load(&target, &["--connections", "4", "--duration", "3s"]));
    thread::sleep(std::time::Duration::from_millis(500));
    drop(relay);
    let (lines, output) = running.join().expect("it ran");
    let result = lines.last().expect("the result is told");
    assert!(!output.status.success());
    assert_eq!((&result["event"], &result["lost"]), (&"result".into(), &4.into()), "{result}");
    assert!(result["first_error"].as_str().is_some_and(|error| error.contains("lost")), "{result}");
}

#[test]
fn a_server_that_is_not_there_is_asked_again_but_not_without_a_pause() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port is free").local_addr().expect("it is bound");
    let options = ["--mode", "connect", "--connections", "2", "--duration", "300ms"];
    let (lines, output) = load(&nobody.to_string(), &options);
    let result = lines.last().expect("the result is told");
    assert!(!output.status.success());
    assert!((4..=100).contains(&count(result, "errors")), "{result}");
}

#[test]
fn the_relay_passes_a_hundred_megabytes_intact_in_both_directions_at_once() {
    const BYTES: usize = 100_000_000;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let relay = Server::relay_to(&listener.local_addr().expect("it is bound").to_string());
    let client = TcpStream::connect(&relay.address).expect("the relay accepts");
    let (backend, _) = listener.accept().expect("the relay connects");
    let ends = [(client, 1, 2), (backend, 2, 1)].map(|(stream, own, other)| {
        let mut writer = stream.try_clone().expect("a descriptor can be had");
        let sending = thread::spawn(move || {
            let mut source = Pattern(own);
            let mut chunk = vec![0; 1 << 16];
            let mut left = BYTES;
            while left > 0 {
                let count = chunk.len().min(left);
                source.fill(&mut chunk);
                writer.write_all(&chunk[..count]).expect("it is relayed");
                left -= count;
            }
            writer.shutdown(Shutdown::Write).expect("it is open");
        });
        let receiving = thread::spawn(move || {
            let mut source = Pattern(other);
            let (mut chunk, mut expected) = (vec![0; 1 << 16], vec![0; 1 << 16]);
            let mut left = BYTES;
            let mut reader = stream;
            while left > 0 {
                let count = chunk.len().min(left);
                reader.read_exact(&mut chunk[..count]).expect("it is relayed");
                source.fill(&mut expected);
                assert!(chunk[..count] == expected[..count], "other bytes, {left} before the end");
                left -= count;
            }
            assert_eq!(reader.read(&mut chunk).expect("the end is relayed, too"), 0);
        });
        [sending, receiving]
    });
    for end in ends.into_iter().flatten() {
        end.join().expect("it came to its end");
    }
}

/// Bytes that do not repeat: xorshift64 (Marsaglia, 2003).
struct Pattern(u64);

impl Pattern {
    fn fill(&mut self, chunk: &mut [u8]) {
        for part in chunk.chunks_exact_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            part.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}
