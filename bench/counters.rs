//! Is counting slower? What a shard writes per query, and what whoever asks reads.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use pgweir::counters::{Latencies, Process, ShardCounters};

fn counters(bench: &mut Criterion) {
    let shard = ShardCounters::new(3);
    bench.bench_function("counters/a query's numbers", |bench| {
        bench.iter(|| {
            shard.queries.add(1);
            shard.transactions.add(1);
            shard.bytes_in.add(black_box(60));
            shard.bytes_out.add(black_box(90));
        });
    });
    bench.bench_function("counters/read", |bench| bench.iter(|| black_box(&shard).queries.read()));
    let process = Process::default();
    bench.bench_function("counters/a client comes and goes", |bench| {
        bench.iter(|| {
            let entered = process.client_enter(black_box(1_000));
            process.client_leave();
            entered
        });
    });
}

fn latencies(bench: &mut Criterion) {
    let mut latencies = Latencies::default();
    let mut micros = 1;
    bench.bench_function("counters/latency recorded", |bench| {
        bench.iter(|| {
            micros = micros * 7 % 100_003;
            latencies.record(Duration::from_micros(micros));
        });
    });
    bench.bench_function("counters/quantile", |bench| bench.iter(|| latencies.quantile(black_box(0.99))));
}

criterion_group!(benches, counters, latencies);
criterion_main!(benches);
