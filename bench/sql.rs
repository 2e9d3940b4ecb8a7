//! Is classification slower? Everyday statements, texts long enough that only bytes count, and a parser on the same.

mod texts;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgweir::sql::{Dialect, changes, classify};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::parser::Parser;

fn statements(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("classify");
    for (name, text) in texts::STATEMENTS {
        group.bench_function(*name, |bencher| {
            bencher.iter(|| classify(black_box(text.as_bytes()), Dialect::default()));
        });
    }
    group.finish();
}

fn long_texts(criterion: &mut Criterion) {
    for (label, size) in [("classify 1 kB", 1_000), ("classify 100 kB", 100_000)] {
        let mut group = criterion.benchmark_group(label);
        for (name, text) in texts::long(size) {
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(name, |bencher| {
                bencher.iter(|| classify(black_box(text.as_bytes()), Dialect::default()));
            });
        }
        group.finish();
    }
}

/// What the same texts cost a full parser, which is what most proxies ask. A text that it refuses is left out.
fn parser(criterion: &mut Criterion) {
    let parse = |text: &str| Parser::parse_sql(&PostgreSqlDialect {}, text);
    let mut group = criterion.benchmark_group("sqlparser");
    for (name, text) in texts::STATEMENTS {
        if parse(text).is_ok() {
            group.bench_function(*name, |bencher| bencher.iter(|| parse(black_box(text))));
        }
    }
    group.finish();
    for (label, size) in [("sqlparser 1 kB", 1_000), ("sqlparser 100 kB", 100_000)] {
        let mut group = criterion.benchmark_group(label);
        group.sample_size(10);
        for (name, text) in texts::long(size) {
            if parse(&text).is_ok() {
                group.throughput(Throughput::Bytes(text.len() as u64));
                group.bench_function(name, |bencher| bencher.iter(|| parse(black_box(&text))));
            }
        }
        group.finish();
    }
}

fn settings(criterion: &mut Criterion) {
    let text = b"SET DateStyle TO 'ISO, MDY'; SET search_path = app, public";
    criterion.bench_function("changes", |bencher| {
        bencher.iter(|| changes(black_box(text), Dialect::default()).count());
    });
}

criterion_group!(benches, statements, long_texts, parser, settings);
criterion_main!(benches);
