use super::buffers::BUFFER_SIZE;
use super::*;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Runs the ring until `done`, handing out what happens.
fn drive(ring: &mut Ring, mut handle: impl FnMut(&mut Ring, Event) -> bool) {
    let late = std::time::Instant::now() + Duration::from_secs(10);
    while std::time::Instant::now() < late {
        ring.turn(Some(Duration::from_secs(1))).expect("the ring turns");
        while let Some(event) = ring.next() {
            if handle(ring, event) {
                return;
            }
        }
    }
    panic!("it has not happened for ten seconds");
}

fn ring_with_peer() -> (Ring, Key, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = SockAddr::from(listener.local_addr().expect("it is bound"));
    let mut ring = Ring::new().expect("io_uring is allowed");
    let key = ring.connect(&address).expect("a socket can be had");
    drive(&mut ring, |_, event| matches!(event, Event::Connected(connected) if connected == key));
    (ring, key, listener.accept().expect("it is connected").0)
}

#[test]
fn a_stream_that_fills_every_buffer_comes_through_in_order() {
    let (mut ring, key, mut peer) = ring_with_peer();
    let total = 2 * buffers::BUFFERS * BUFFER_SIZE;
    let writer = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..total).map(|index| (index % 251) as u8).collect();
        peer.write_all(&bytes).expect("it is read");
    });
    ring.receive(key);
    let mut count = 0;
    drive(&mut ring, |ring, event| match event {
        Event::Received(_, buffer) => {
            ring.read(key, buffer, |bytes, _| {
                for byte in bytes {
                    assert_eq!(*byte, (count % 251) as u8, "byte {count}");
                    count += 1;
                }
            });
            false
        }
        Event::Ended(_, None) => true,
        _ => panic!("nothing else happens"),
    });
    assert_eq!(count, total);
    assert_eq!(ring.buffers.free(), buffers::BUFFERS, "all buffers have come back");
    writer.join().expect("it wrote");
}

#[test]
fn nothing_comes_while_paused() {
    let (mut ring, key, mut peer) = ring_with_peer();
    ring.receive(key);
    ring.turn(Some(Duration::ZERO)).expect("the ring turns");
    ring.pause(key);
    ring.turn(Some(Duration::from_millis(10))).expect("the ring turns");
    assert!(ring.next().is_none());
    peer.write_all(b"later").expect("it is connected");
    ring.turn(Some(Duration::from_millis(20))).expect("the ring turns");
    assert!(ring.next().is_none());
    ring.receive(key);
    drive(&mut ring, |ring, event| match event {
        Event::Received(_, buffer) => ring.read(key, buffer, |bytes, _| bytes == b"later"),
        _ => false,
    });
}

#[test]
fn what_is_queued_is_sent_before_the_socket_closes() {
    let (mut ring, key, mut peer) = ring_with_peer();
    ring.receive(key);
    ring.turn(Some(Duration::ZERO)).expect("the ring turns");
    ring.write(key, |out| out.extend_from_slice(&[7; 100_000]));
    ring.close_when_sent(key);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).expect("it is sent");
        bytes.len()
    });
    while !ring.sockets.is_empty() {
        ring.turn(Some(Duration::from_millis(100))).expect("the ring turns");
        assert!(ring.next().is_none(), "a closed socket is silent");
    }
    assert_eq!(reader.join().expect("it read"), 100_000);
}

#[test]
fn a_closed_socket_is_freed_although_its_peer_does_not_read() {
    let (mut ring, key, _peer) = ring_with_peer();
    ring.receive(key);
    ring.write(key, |out| out.resize(32 << 20, 0));
    ring.turn(Some(Duration::from_millis(10))).expect("the ring turns");
    assert!(ring.unsent(key) > 0, "it does not fit into the kernel");
    ring.close(key);
    for _ in 0..100 {
        ring.turn(Some(Duration::from_millis(10))).expect("the ring turns");
        assert!(ring.next().is_none(), "a closed socket is silent");
    }
    assert!(ring.sockets.is_empty());
}
