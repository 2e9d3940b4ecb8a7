//! Is knowing what a backend has prepared slower? A full backend: found, and not found with one that has to go.

use std::hint::black_box;
use std::num::NonZeroU64;

use criterion::{Criterion, criterion_group, criterion_main};
use pgweir::backend::prepared::{Prepared, StatementId};

fn prepared(bench: &mut Criterion) {
    let id = |number: u64| StatementId(NonZeroU64::new(number).expect("counted from 1"));
    let mut full = Prepared::new(200);
    for number in 1..=200 {
        full.insert(id(number));
    }
    bench.bench_function("backend/statement prepared", |bench| {
        bench.iter(|| full.touch(black_box(id(7))));
    });
    let mut number = 200;
    bench.bench_function("backend/statement evicted for another", |bench| {
        bench.iter(|| {
            number += 1;
            let evicted = full.evict();
            full.insert(black_box(id(number)));
            evicted
        });
    });
}

criterion_group!(benches, prepared);
criterion_main!(benches);
