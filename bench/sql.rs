//! Is classification slower? One point read, other everyday statements, and texts long enough that only bytes
//! count.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgweir::sql::{Dialect, changes, classify};

fn statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify");
    for (name, text) in STATEMENTS {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| classify(black_box(text.as_bytes()), Dialect::default()));
        });
    }
    group.finish();
}

fn long_texts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify 100 kB");
    let texts = [
        ("one literal", literals(100_000)),
        ("literals of 1000", literals(1000)),
        ("literals of 32", literals(32)),
        ("numbers", [b"SELECT 1".to_vec(), b", 123456".repeat(100_000 / 8)].concat()),
        ("comment", [b"/*".to_vec(), b" noise".repeat(100_000 / 6), b"*/ SELECT 1".to_vec()].concat()),
        ("open parentheses", b"(".repeat(100_000)),
    ];
    for (name, text) in texts {
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| classify(black_box(&text), Dialect::default()));
        });
    }
    group.finish();
}

fn settings(criterion: &mut Criterion) {
    let text = b"SET DateStyle TO 'ISO, MDY'; SET search_path = app, public";
    criterion.bench_function("changes", |bencher| {
        bencher.iter(|| changes(black_box(text), Dialect::default()).count());
    });
}

/// A list of literals of `len` bytes each, about 100 kB in all.
fn literals(len: usize) -> Vec<u8> {
    let mut text = b"SELECT '".to_vec();
    for _ in 0..(100_000 / len).max(1) {
        text.extend(std::iter::repeat_n(b'x', len));
        text.extend_from_slice(b"', '");
    }
    text.extend_from_slice(b"'");
    text
}

const STATEMENTS: &[(&str, &str)] = &[
    ("point read", "SELECT abalance FROM pgbench_accounts WHERE aid = $1"),
    ("update", "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2"),
    ("begin", "BEGIN"),
    ("commit", "COMMIT"),
    ("set", "SET statement_timeout = '5s'"),
    (
        "join",
        "SELECT u.id, u.name, count(o.id) AS orders, max(o.placed_at) FROM users u LEFT JOIN orders o \
         ON o.user_id = u.id AND o.state <> 'cancelled' WHERE u.email LIKE $1 GROUP BY u.id, u.name \
         HAVING count(o.id) > 3 ORDER BY orders DESC LIMIT 20",
    ),
];

criterion_group!(benches, statements, long_texts, settings);
criterion_main!(benches);
