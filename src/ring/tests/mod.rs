//! The ring at work on an executor like a shard's, with socket pairs and real TCP. Every test ends within [`TIME_MAX`].

mod buffers;
mod rest;
mod socket;
mod wakeups;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use glommio::{LocalExecutorBuilder, Placement};

use super::{Chunk, Doorbell, Ring, Socket};

/// Runs `test` as a task of a shard that does nothing else.
fn run<F: Future<Output = ()> + 'static>(test: impl FnOnce(Ring) -> F + 'static) {
    run_with(Doorbell::new().expect("a descriptor"), test);
}

/// As [`run`], with a bell that other threads may have.
fn run_with<F: Future<Output = ()> + 'static>(doorbell: Doorbell, test: impl FnOnce(Ring) -> F + 'static) {
    run_on(move || Ring::new(doorbell, Duration::ZERO), test);
}

/// As [`run`], with buffers of which each is received into once, as before Linux 6.12.
fn run_whole<F: Future<Output = ()> + 'static>(test: impl FnOnce(Ring) -> F + 'static) {
    run_on(|| Ring::with(Doorbell::new()?, Duration::ZERO, false), test);
}

fn run_on<F: Future<Output = ()> + 'static>(
    make: impl FnOnce() -> io::Result<Ring> + 'static,
    test: impl FnOnce(Ring) -> F + 'static,
) {
    let executor = LocalExecutorBuilder::new(Placement::Unbound)
        .ring_depth(16)
        .io_memory(64 * 1024)
        .preempt_timer(Duration::from_secs(5))
        .make()
        .expect("an executor");
    executor.run(async move {
        let ring = make().expect("a ring");
        let done = Rc::new(Cell::new(false));
        ring.spawn({
            let (ring, done) = (ring.clone(), done.clone());
            async move {
                let began = Instant::now();
                done.set(ring.deadline(began + TIME_MAX, test(ring.clone())).await.is_some());
                ring.stop();
            }
        });
        ring.run().await;
        assert!(done.get(), "not done within {TIME_MAX:?}");
    });
}

/// A socket of the ring and the other end of its connection, which blocks.
fn pair(ring: &Ring) -> (Socket, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("two descriptors");
    (Socket::new(ring, ours.into()), theirs)
}

/// The next chunk, or `None` when the peer has closed.
async fn received(socket: &Socket) -> Option<Chunk> {
    poll_fn(|context| {
        socket.watch(context.waker());
        match (socket.receive(), socket.end()) {
            (None, None) => Poll::Pending,
            (chunk, _) => Poll::Ready(chunk),
        }
    })
    .await
}

/// The next `count` bytes.
async fn read(socket: &Socket, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count);
    while bytes.len() < count {
        let mut chunk = received(socket).await.expect("more bytes");
        let part = chunk.len().min(count - bytes.len());
        bytes.extend_from_slice(&chunk[..part]);
        chunk.advance(part);
        if !chunk.is_empty() {
            socket.unreceive(chunk);
        }
    }
    bytes
}

/// Lets the reactor come round until `holds` does.
async fn turns_until(ring: &Ring, mut holds: impl FnMut() -> bool) {
    while !holds() {
        turn(ring).await;
    }
}

/// Lets the reactor come round at least once.
async fn turn(ring: &Ring) {
    ring.sleep_until(Instant::now() + Duration::from_micros(50)).await;
}

/// Bytes that are nowhere the same for long.
fn pattern(count: usize) -> Vec<u8> {
    (0u32..).flat_map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()).take(count).collect()
}

/// Far more than any of these takes on a busy machine.
const TIME_MAX: Duration = Duration::from_secs(20);
