//! Limits are for the whole process, whatever the number of shards.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::on_primary;
use crate::harness::{Client, Proxy, eventually, shared};

#[test]
fn the_size_of_a_pool_is_shared_by_all_shards_and_nobody_starves() {
    // Fewer backends than shards, as many, and a number that does not divide.
    for (shards, size) in [(4, 2), (4, 1), (3, 4)] {
        let database = shared().database();
        let proxy = on_primary(size).set("shards.count", shards).start();
        let count = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database.name());
        let done = AtomicBool::new(false);
        let most = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..16)
                .map(|number: i32| {
                    let mut client = proxy.client(database.name());
                    scope.spawn(move || {
                        for round in 0..15 {
                            match round % 3 {
                                0 => {
                                    assert_eq!(client.value(&format!("SELECT {number}")), number.to_string())
                                }
                                1 => {
                                    client.query("BEGIN");
                                    client.query("SELECT pg_sleep(0.001)");
                                    client.query("COMMIT");
                                }
                                _ => {
                                    let value = number.to_string();
                                    let outcome =
                                        client.prepared("SELECT $1::text", &[Some(&value)]).unwrap();
                                    assert_eq!(outcome.value(), value);
                                }
                            }
                        }
                    })
                })
                .collect();
            let counting = scope.spawn(|| {
                let mut server = shared().login(0).connect();
                let (mut most, mut counts) = (0, 0);
                while !done.load(Ordering::SeqCst) || counts == 0 {
                    most = most.max(server.value(&count).parse().unwrap());
                    counts += 1;
                }
                most
            });
            let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            done.store(true, Ordering::SeqCst);
            let most = counting.join().unwrap();
            assert!(ends.iter().all(Result::is_ok), "somebody starved");
            most
        });
        assert!(most <= size, "{most} backends, {size} allowed, {shards} shards");
    }
}

#[test]
fn the_only_backend_goes_to_whatever_shard_has_work() {
    let database = shared().database();
    let proxy = on_primary(1).set("shards.count", 4).start();
    let mut clients: Vec<Client> = (0..12).map(|_| proxy.client(database.name())).collect();
    for round in 0..5 {
        for client in &mut clients {
            assert_eq!(client.value(&format!("SELECT {round}")), round.to_string());
        }
    }
    // A backend that is in a transaction is not taken away, and goes to who waits as soon as it is free.
    for holder in 0..4 {
        clients[holder].query("BEGIN; SELECT 1");
        for client in &mut clients[4..] {
            client.send_query("SELECT 2");
        }
        for client in &mut clients[4..] {
            assert!(client.is_silent(Duration::from_millis(5)), "the only backend is taken");
        }
        clients[holder].query("COMMIT");
        for client in &mut clients[4..] {
            client.expect_tags("TDCZ");
        }
    }
}

#[test]
fn one_client_too_many_is_told_at_once() {
    for shards in [1, 4] {
        let proxy = on_primary(2).set("shards.count", shards).set("pool.client_max", 3).start();
        // What the harness looks in with may still count.
        let mut clients: Vec<Client> = Vec::new();
        eventually(
            || {
                clients.extend(proxy.login().try_connect().ok());
                clients.len() == 3
            },
            "three are let in",
        );
        for _ in 0..8 {
            let asked = Instant::now();
            let error = proxy.login().try_connect().err().expect("there are three already");
            assert_eq!((error.severity(), error.sqlstate()), ("FATAL", "53300"), "{error}");
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
        for client in &mut clients {
            assert_eq!(client.value("SELECT 1"), "1");
        }
        // A place is free as soon as somebody has left, be it without a word.
        drop(clients.pop());
        eventually(|| next(&proxy, &mut clients), "there is a place");
        clients.pop().unwrap().terminate();
        eventually(|| next(&proxy, &mut clients), "there is a place");
        proxy.login().try_connect().err().expect("no place");
    }
}

fn next(proxy: &Proxy<'_>, clients: &mut Vec<Client>) -> bool {
    let client = proxy.login().try_connect().ok();
    let came = client.is_some();
    clients.extend(client);
    came
}
