//! The receive buffers: chunks that share them, too few of them, and all of them back in the end.

use std::io::{Read, Write};

use super::*;
use crate::limits::{RECV_BUFFER_SIZE, RECV_BUFFERS, RECV_BUFFERS_LOW};

#[test]
fn a_buffer_goes_back_when_its_last_chunk_is_dropped() {
    run_whole(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        peer.write_all(b"some bytes").expect("room for it");
        let chunk = received(&socket).await.expect("bytes");
        assert_eq!(ring.buffers_free(), RECV_BUFFERS - 1);
        let (mut front, back) = (chunk.slice(0..4), chunk.slice(4..10));
        drop(chunk);
        assert_eq!((&*front, &*back), (&b"some"[..], &b" bytes"[..]));
        front.join(back).unwrap_or_else(|_| panic!("they are neighbours"));
        assert_eq!(&*front, b"some bytes");
        assert!(front.join(Chunk::from(b"!".to_vec())).is_err(), "it lies elsewhere");
        assert_eq!(ring.buffers_free(), RECV_BUFFERS - 1);
        front.advance(10);
        assert!(front.is_empty());
        drop(front);
        assert_eq!(ring.buffers_free(), RECV_BUFFERS);
    });
}

#[test]
fn small_messages_share_a_buffer_that_goes_back_when_it_is_full_and_none_is_held() {
    run(|ring| async move {
        if !ring.inner.borrow().buffers.incremental() {
            // Before Linux 6.12.
            return;
        }
        let (socket, mut peer) = pair(&ring);
        peer.write_all(b"one").expect("room for it");
        let mut one = received(&socket).await.expect("bytes");
        peer.write_all(b"two").expect("room for it");
        let two = received(&socket).await.expect("bytes");
        one.join(two).unwrap_or_else(|_| panic!("they are neighbours"));
        assert_eq!(&*one, b"onetwo");
        assert_eq!(ring.buffers_free(), RECV_BUFFERS);
        // All that is left of it, and the first byte of the next.
        let rest = pattern(RECV_BUFFER_SIZE - 5);
        peer.write_all(&rest).expect("room for it");
        assert!(read(&socket, rest.len()).await == rest);
        assert_eq!((&*one, ring.buffers_free()), (&b"onetwo"[..], RECV_BUFFERS - 1));
        drop(one);
        assert_eq!(ring.buffers_free(), RECV_BUFFERS);
        peer.write_all(b"three").expect("room for it");
        assert_eq!(read(&socket, 5).await, b"three");
    });
}

#[test]
fn an_end_uses_no_buffer_up() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        // Each end is received with the buffer that the next bytes come into.
        for _ in 0..4 * RECV_BUFFERS {
            let (ended, _) = pair(&ring);
            assert!(received(&ended).await.is_none());
        }
        assert_eq!(ring.buffers_free(), RECV_BUFFERS);
        peer.write_all(b"still").expect("room for it");
        assert_eq!(read(&socket, 5).await, b"still");
    });
}

#[test]
fn a_burst_is_offered_more_buffers() {
    run(burst);
    run_whole(burst);
}

/// More sockets have a whole buffer to receive than the kernel is offered.
async fn burst(ring: Ring) {
    let before = ring.inner.borrow().buffers.window();
    let bytes = pattern(RECV_BUFFER_SIZE);
    let open: Vec<_> = (0..2 * before)
        .map(|_| {
            let (socket, mut peer) = pair(&ring);
            peer.write_all(&bytes).expect("room for it");
            (socket, peer)
        })
        .collect();
    for (socket, _) in &open {
        assert!(read(socket, bytes.len()).await == bytes);
    }
    assert!(ring.inner.borrow().buffers.window() > before, "they took turns");
    drop(open);
    turns_until(&ring, || ring.sockets() == 0).await;
    assert_eq!(ring.buffers_free(), RECV_BUFFERS);
}

#[test]
fn what_is_held_leaves_the_buffers_when_they_become_few() {
    run_whole(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        let mut held = Vec::new();
        for number in 0..2 * RECV_BUFFERS {
            peer.write_all(&[number as u8]).expect("room for it");
            held.push(received(&socket).await.expect("a byte"));
        }
        // One more is taken before it is seen that they are few.
        assert!(ring.buffers_free() + 1 >= RECV_BUFFERS_LOW, "{} are left", ring.buffers_free());
        assert!(held.iter().enumerate().all(|(number, chunk)| **chunk == [number as u8]));
        held.clear();
        assert_eq!(ring.buffers_free(), RECV_BUFFERS);
    });
}

#[test]
fn sockets_that_find_no_buffer_get_one_when_some_are_back() {
    run_whole(|ring| async move {
        let (holder, mut peer) = pair(&ring);
        let mut held = Vec::new();
        while ring.buffers_free() > RECV_BUFFERS_LOW {
            peer.write_all(b"x").expect("room for it");
            held.push(received(&holder).await.expect("a byte"));
        }
        // All of these are armed in one turn, and each byte wants a buffer.
        let sockets: Vec<_> = (0..RECV_BUFFERS_LOW + 60)
            .map(|number| {
                let (socket, mut peer) = pair(&ring);
                peer.write_all(&[number as u8]).expect("room for it");
                socket
            })
            .collect();
        // Looked at whenever something has come: between two turns.
        let mut parked = 0;
        for (number, socket) in sockets.iter().enumerate() {
            let chunk = received(socket).await.expect("a byte");
            parked = parked.max(ring.inner.borrow().parked.len());
            assert_eq!(*chunk, [number as u8]);
        }
        assert!(parked > 0, "there were enough for all");
        drop((held, sockets));
        turns_until(&ring, || ring.buffers_free() == RECV_BUFFERS).await;
    });
}

#[test]
fn one_that_was_parked_and_is_closed_is_forgotten() {
    run_whole(|ring| async move {
        let (holder, mut peer) = pair(&ring);
        let mut held = Vec::new();
        while ring.buffers_free() > RECV_BUFFERS_LOW {
            peer.write_all(b"x").expect("room for it");
            held.push(received(&holder).await.expect("a byte"));
        }
        let mut sockets: Vec<_> = (0..RECV_BUFFERS_LOW + 60)
            .map(|_| {
                let (socket, mut peer) = pair(&ring);
                peer.write_all(b"y").expect("room for it");
                (socket, peer)
            })
            .collect();
        received(&sockets[0].0).await.expect("a byte");
        assert!(!ring.inner.borrow().parked.is_empty(), "there were enough for all");
        sockets.truncate(1);
        turns_until(&ring, || ring.sockets() == 2).await;
        // Their places are taken by others, which must not be mistaken for them.
        for _ in 0..100 {
            let (socket, mut peer) = pair(&ring);
            peer.write_all(b"z").expect("room for it");
            assert_eq!(read(&socket, 1).await, b"z");
            sockets.push((socket, peer));
        }
        drop((held, sockets, holder));
        turns_until(&ring, || ring.sockets() == 0 && ring.buffers_free() == RECV_BUFFERS).await;
    });
}

#[test]
fn closing_in_the_middle_of_everything_gives_all_back() {
    run(|ring| async move {
        let mut open = Vec::new();
        for number in 0..60 {
            let (socket, mut peer) = pair(&ring);
            match number % 4 {
                // Idle, with a receive in the kernel.
                0 => {}
                // With bytes that nobody has read.
                1 => peer.write_all(&pattern(100)).expect("room for it"),
                // With so much to send that it does not fit.
                2 => (0..40).for_each(|_| socket.send(Chunk::from(pattern(RECV_BUFFER_SIZE)))),
                // With more coming all the time.
                _ => {
                    let mut writer = peer.try_clone().expect("one more descriptor");
                    std::thread::spawn(move || writer.write_all(&pattern(1 << 20)));
                }
            }
            open.push((socket, peer));
        }
        for _ in 0..20 {
            turn(&ring).await;
        }
        assert!(open.iter().any(|(socket, _)| socket.unsent() > 0), "all was sent");
        assert!(ring.buffers_free() < RECV_BUFFERS, "nothing was received");
        let peers: Vec<_> = open.into_iter().map(|(_, peer)| peer).collect();
        turns_until(&ring, || ring.sockets() == 0).await;
        assert_eq!(ring.buffers_free(), RECV_BUFFERS);
        for mut peer in peers {
            // Whatever came before, the end comes.
            let _ = peer.read_to_end(&mut Vec::new());
        }
    });
}
