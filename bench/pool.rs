//! Is leasing a backend slower? Checkout and checkin of a pool of twenty, and choosing a node.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use pgweir::config::Reads;
use pgweir::pool::{Fit, Pool};
use pgweir::route::{Access, Choice, route};
use pgweir::topology::{Epoch, Gauges, Moment, Node, NodeAddress, NodeId, NodeState, Role, Topology};

fn pool(bench: &mut Criterion) {
    let now = Instant::now();
    let mut pool: Pool<u64, u64> = Pool::default();
    for backend in 0..20 {
        pool.connect();
        pool.connected(backend, now);
    }
    bench.bench_function("pool/checkout and checkin", |bench| {
        bench.iter(|| {
            let backend = pool
                .checkout(|backend| Some(if *backend == black_box(7) { Fit::Best } else { Fit::Any }))
                .unwrap();
            pool.checkin(backend, now)
        });
    });
    bench.bench_function("pool/hand over to the first in line", |bench| {
        let mut pool: Pool<u64, u64> = Pool::default();
        pool.connect();
        pool.connected(1, now);
        let mut backend = pool.checkout(|_| Some(Fit::Any)).unwrap();
        bench.iter(|| {
            pool.wait(black_box(1), now);
            if let pgweir::pool::Checkin::Handed(_, handed) = pool.checkin(backend, now) {
                backend = handed;
            }
        });
    });
}

fn routes(bench: &mut Criterion) {
    let node = |id: u8, role| Node {
        id: NodeId(id),
        host: "node".into(),
        port: 5432,
        weight: 1.0,
        role,
        state: NodeState::Up,
        address: NodeAddress::Tcp(vec![]),
        incarnation: 0,
        reason: None,
        gauges: Arc::new(Gauges::default()),
    };
    let nodes = vec![node(0, Role::Primary), node(1, Role::Replica), node(2, Role::Replica)];
    nodes[1].gauges.caught_up(Moment(10));
    nodes[2].gauges.caught_up(Moment(10));
    let topology = Topology { epoch: Epoch(1), nodes, primary: Some(NodeId(0)), ..Topology::default() };
    let leases = |node: NodeId| u64::from(node.0);
    let mut random = 1u64;
    bench.bench_function("route/a read over two replicas", |bench| {
        bench.iter(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let access = Access::Read { floor: Some(Moment(black_box(5))) };
            let choice = Choice {
                reads: Reads::Replicas,
                prefer: None,
                avoid: 0,
                leases: &leases,
                random: [random, random.rotate_left(32)],
            };
            route(&topology, access, choice)
        });
    });
}

criterion_group!(benches, pool, routes);
criterion_main!(benches);
