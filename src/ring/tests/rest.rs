//! Sockets at rest: what ends it, and that nothing is lost by it.

use std::io::{Read, Write};

use super::super::{End, Resting};
use super::*;

/// Lays a socket to rest as soon as it is quiet.
async fn rest(ring: &Ring, mut socket: Socket, token: u32) -> Resting {
    loop {
        match socket.rest(token) {
            Ok(resting) => return resting,
            Err(back) => socket = back,
        }
        turn(ring).await;
    }
}

#[test]
fn what_comes_ends_the_rest_and_is_received_behind_it() {
    run(|ring| async move {
        let (first, mut to_first) = pair(&ring);
        let (second, to_second) = pair(&ring);
        let first = rest(&ring, first, 7).await;
        let second = rest(&ring, second, 8).await;
        to_first.write_all(b"hello").expect("room");
        assert_eq!(ring.stirred().await, 7);
        to_first.write_all(b", again").expect("room");
        let first = first.resume();
        assert_eq!(read(&first, 12).await, b"hello, again");
        first.send_copy(b"answer");
        let mut answer = [0; 6];
        first.flushed().await;
        to_first.read_exact(&mut answer).expect("it was sent");
        assert_eq!(&answer, b"answer");
        // It can rest as often as it likes.
        let first = rest(&ring, first, 9).await;
        to_first.write_all(b"x").expect("room");
        assert_eq!(ring.stirred().await, 9);
        drop((first, second, to_second));
        turns_until(&ring, || ring.sockets() == 0).await;
        assert_eq!(to_first.read(&mut answer).expect("it was closed"), 0);
    });
}

#[test]
fn the_end_of_the_connection_ends_the_rest() {
    run(|ring| async move {
        let (socket, peer) = pair(&ring);
        let resting = rest(&ring, socket, 1).await;
        drop(peer);
        assert_eq!(ring.stirred().await, 1);
        let socket = resting.resume();
        assert_eq!(socket.end(), Some(End::Eof));
        assert!(socket.rest(1).is_err(), "a connection that has ended does not rest");
    });
}

#[test]
fn a_socket_that_is_not_quiet_does_not_rest() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        socket.send_copy(b"x");
        let Err(socket) = socket.rest(1) else { panic!("something is being sent") };
        peer.write_all(b"y").expect("room");
        turns_until(&ring, || socket.has_received()).await;
        let Err(socket) = socket.rest(1) else { panic!("something was received") };
        assert_eq!(read(&socket, 1).await, b"y");
        drop(rest(&ring, socket, 1).await);
    });
}

#[test]
fn the_owner_can_end_the_rest_at_any_time() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        let socket = rest(&ring, socket, 1).await.resume();
        peer.write_all(b"x").expect("room");
        assert_eq!(read(&socket, 1).await, b"x");
        // Others may say that it is time.
        let resting = rest(&ring, socket, 2).await;
        ring.stir(2);
        assert_eq!(ring.stirred().await, 2);
        // A slot's next owner is not taken for the one that rested.
        drop(resting);
        turns_until(&ring, || ring.sockets() == 0).await;
        let (next, _peer) = pair(&ring);
        assert!(next.end().is_none() && !next.has_received());
    });
}
