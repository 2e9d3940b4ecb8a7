//! Is walking over frames slower? Results of a query as a server sends them, and the pipeline of a prepared statement.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pgweir::backend::{Backend, BackendKey, Owed, Parameters};
use pgweir::wire::backend::{
    BIND_COMPLETE, TransactionStatus, put_command_complete, put_ready, put_row, put_row_description,
};
use pgweir::wire::{Frame, Head};

/// A result of `rows` rows of one 100-byte column.
fn result(rows: usize) -> Vec<u8> {
    let mut out = Vec::new();
    put_row_description(&mut out, ["column"].into_iter());
    for _ in 0..rows {
        put_row(&mut out, [Some(&[b'x'; 100][..])].into_iter());
    }
    put_command_complete(&mut out, b"SELECT 1");
    put_ready(&mut out, TransactionStatus::Idle);
    out
}

fn frames(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("wire");
    for rows in [1, 100] {
        let bytes = result(rows);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(format!("heads/{rows} rows"), |bench| {
            bench.iter(|| {
                let mut at = 0;
                while let Ok(Some(head)) = Head::read(black_box(&bytes[at..])) {
                    at += head.frame();
                }
                at
            });
        });
        group.bench_function(format!("ledger/{rows} rows"), |bench| {
            let mut backend = Backend::new(BackendKey::default(), Parameters::default(), 200);
            bench.iter(|| {
                backend.query();
                walk(&mut backend, black_box(&bytes))
            });
        });
    }
    let mut prepared = BIND_COMPLETE.to_vec();
    let one = result(1);
    let description = Frame::read(&one).unwrap().unwrap().1;
    prepared.extend_from_slice(&one[description..]);
    group.bench_function("ledger/prepared", |bench| {
        let mut backend = Backend::new(BackendKey::default(), Parameters::default(), 200);
        bench.iter(|| {
            for owed in [Owed::Bind, Owed::Execute, Owed::Sync] {
                backend.ledger.owe(owed);
            }
            walk(&mut backend, black_box(&prepared))
        });
    });
    group.finish();
}

fn walk(backend: &mut Backend, bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(Some((frame, size))) = Frame::read(&bytes[at..]) {
        black_box(backend.handle(frame.tag, frame.body).unwrap());
        at += size;
    }
    at
}

criterion_group!(benches, frames);
criterion_main!(benches);
