//! Is finding a prepared statement slower? The cache that the sessions of one database and user share.

use std::hint::black_box;
use std::rc::Rc;

use criterion::{Criterion, criterion_group, criterion_main};
use pgweir::session::statements::{StatementCache, StatementCount};
use pgweir::sql::Dialect;
use pgweir::wire::frontend::Parse;

fn statements(bench: &mut Criterion) {
    let parse = Parse::read(b"s1\0SELECT abalance FROM pgbench_accounts WHERE aid = $1\0\0\0")
        .expect("our own Parse");
    let mut cache = StatementCache::new(Rc::new(StatementCount::new(0)));
    let held = cache.intern(&parse, Dialect::default());
    bench.bench_function("session/statement known", |bench| {
        bench.iter(|| cache.intern(black_box(&parse), Dialect::default()));
    });
    bench.bench_function("session/statement new", |bench| {
        bench.iter(|| {
            let mut cache = StatementCache::new(Rc::new(StatementCount::new(0)));
            cache.intern(black_box(&parse), Dialect::default())
        });
    });
    assert_eq!(held.query(), parse.query);
}

criterion_group!(benches, statements);
criterion_main!(benches);
