//! Is observing a picture slower? What control does for each shard, and the shard's look for news.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use pgweir::door::{Door, ToShard};
use pgweir::topology::{Epoch, Topology};

fn broadcast(bench: &mut Criterion) {
    let door = Door::new(|| {});
    bench.bench_function("topology/nothing new", |bench| bench.iter(|| black_box(&door).receive()));
    let picture = Arc::new(Topology { epoch: Epoch(1), ..Topology::default() });
    let mut observed = Arc::new(Topology::default());
    bench.bench_function("topology/publish and observe", |bench| {
        bench.iter(|| {
            let sent = door.send(ToShard::Topology(black_box(&picture).clone()));
            assert!(sent.is_ok(), "the door is empty");
            if let Some(ToShard::Topology(news)) = door.receive() {
                observed = news;
            }
            observed.epoch
        });
    });
}

criterion_group!(benches, broadcast);
criterion_main!(benches);
