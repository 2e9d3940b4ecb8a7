//! Receiving and sending, and what stops them.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;

use super::super::{Address, End};
use super::*;
use crate::limits::{RECV_BUFFER_SIZE, SOCKET_RECEIVED_MAX, SOCKET_UNSENT_MAX};

#[test]
fn what_is_sent_arrives_in_order_whatever_it_was_sent_as() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).map(|_| all)
        });
        let bytes = pattern(3 << 20);
        let mut rest = &bytes[..];
        for size in [1, 7, 600, 511, 512, 513, 5000, 40_000, 300_000].into_iter().cycle() {
            let (piece, behind) = rest.split_at(size.min(rest.len()));
            match size % 3 {
                0 => socket.send_copy(piece),
                1 => socket.send(Chunk::from(piece.to_vec())),
                _ => socket.send_with(|out| out.extend_from_slice(piece)),
            }
            rest = behind;
            if rest.is_empty() {
                break;
            }
            if socket.congested() {
                socket.flushed().await;
            }
        }
        socket.flushed().await;
        assert_eq!((socket.unsent(), socket.congested()), (0, false));
        socket.shutdown();
        turns_until(&ring, || reader.is_finished()).await;
        let all = reader.join().expect("it ended").expect("it read");
        assert!(all == bytes, "{} bytes came, {} were sent, or they differ", all.len(), bytes.len());
    });
}

#[test]
fn what_was_received_is_sent_on_from_where_it_lies() {
    run(|ring| async move {
        let (from, mut source) = pair(&ring);
        let (to, mut sink) = pair(&ring);
        let bytes = pattern(2 << 20);
        let expected = bytes.clone();
        std::thread::spawn(move || source.write_all(&bytes));
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            sink.read_to_end(&mut all).map(|_| all)
        });
        while let Some(chunk) = received(&from).await {
            to.send(chunk);
            while to.congested() {
                to.flushed().await;
            }
        }
        assert_eq!(from.end(), Some(End::Eof));
        to.flushed().await;
        drop(to);
        turns_until(&ring, || reader.is_finished()).await;
        assert!(reader.join().expect("it ended").expect("it read") == expected);
    });
}

#[test]
fn a_reader_that_stops_stops_its_peer_and_loses_nothing() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        peer.set_nonblocking(true).expect("a socket");
        let bytes = pattern(8 << 20);
        let (mut written, mut stuck) = (0, 0);
        // Nothing is taken for many turns: nobody will take any more.
        while stuck < 100 {
            turn(&ring).await;
            match peer.write(&bytes[written..]) {
                Ok(count) => (written, stuck) = (written + count, 0),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    stuck += 1;
                }
            }
        }
        // The rest lies in the kernel: `wmem_default`, 208 kB on most machines, and what is charged for it.
        assert!(written >= SOCKET_RECEIVED_MAX, "only {written} bytes were taken");
        assert!(written <= SOCKET_RECEIVED_MAX + (1 << 20), "{written} bytes were taken and not read");
        assert!(socket.has_received());
        peer.set_nonblocking(false).expect("a socket");
        let rest = bytes[written..].to_vec();
        std::thread::spawn(move || peer.write_all(&rest));
        assert!(read(&socket, bytes.len()).await == bytes);
        assert!(received(&socket).await.is_none());
    });
}

#[test]
fn a_peer_that_does_not_read_is_seen_and_seen_to_read_again() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        let piece = pattern(RECV_BUFFER_SIZE);
        let mut sent = 0;
        while !socket.congested() {
            socket.send(Chunk::from(piece.clone()));
            sent += piece.len();
            turn(&ring).await;
        }
        assert!(socket.unsent() >= SOCKET_UNSENT_MAX);
        // Nothing changes by itself.
        for _ in 0..20 {
            turn(&ring).await;
        }
        assert!(socket.congested());
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; sent];
            peer.read_exact(&mut all).map(|()| (peer, all))
        });
        poll_fn(|context| {
            socket.watch(context.waker());
            match socket.congested() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
        socket.flushed().await;
        turns_until(&ring, || reader.is_finished()).await;
        let (_peer, all) = reader.join().expect("it ended").expect("it read");
        assert!(all.chunks(piece.len()).all(|part| part == piece));
    });
}

#[test]
fn a_stream_that_swells_is_received_a_buffer_at_a_time_until_it_is_thin_again() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        for _ in 0..3 {
            peer.write_all(b"thin").expect("room for it");
            assert_eq!(read(&socket, 4).await, b"thin");
            assert!(!socket.bulk());
        }
        let bytes = pattern(4 * RECV_BUFFER_SIZE);
        peer.write_all(&bytes).expect("room for it");
        turns_until(&ring, || socket.bulk()).await;
        assert!(read(&socket, bytes.len()).await == bytes);
        peer.write_all(b"thin again").expect("room for it");
        assert_eq!(read(&socket, 10).await, b"thin again");
        assert!(!socket.bulk());
        peer.write_all(b"and again").expect("room for it");
        assert_eq!(read(&socket, 9).await, b"and again");
    });
}

#[test]
fn what_is_put_back_comes_first() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        peer.write_all(b"one two").expect("room for it");
        let mut chunk = received(&socket).await.expect("bytes");
        chunk.advance(4);
        socket.unreceive(chunk);
        peer.write_all(b" three").expect("room for it");
        assert_eq!(read(&socket, 9).await, b"two three");
    });
}

#[test]
fn connections_are_made_over_both_families_and_refused_with_a_reason() {
    run(|ring| async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let tcp = Socket::connect(&ring, &Address::Tcp(address)).await.expect("somebody listens");
        tcp.tune();
        assert_eq!(tcp.peer(), Some(address));
        let (mut peer, _) = listener.accept().expect("a connection");
        tcp.send_copy(b"over TCP");
        tcp.flushed().await;
        let mut bytes = [0; 8];
        peer.read_exact(&mut bytes).expect("it was sent");
        assert_eq!(&bytes, b"over TCP");

        drop(listener);
        let refused = Socket::connect(&ring, &Address::Tcp(address)).await.err().expect("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);

        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).expect("the folder is ours");
        let unix = Socket::connect(&ring, &Address::Unix(path)).await.expect("somebody listens");
        assert_eq!(unix.peer(), None);
        let (mut peer, _) = listener.accept().expect("a connection");
        peer.write_all(b"over a file").expect("room for it");
        assert_eq!(read(&unix, 11).await, b"over a file");
    });
}

#[test]
fn a_connection_that_breaks_says_so_and_swallows_what_is_sent() {
    run(|ring| async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let socket = Socket::connect(&ring, &Address::Tcp(address)).await.expect("somebody listens");
        let (peer, _) = listener.accept().expect("a connection");
        socket.send_copy(b"never read");
        socket.flushed().await;
        turn(&ring).await;
        // Unread bytes turn the closing into a reset.
        drop(peer);
        assert!(received(&socket).await.is_none());
        assert_eq!(socket.end(), Some(End::Broken(libc::ECONNRESET)));
        socket.send_copy(b"to nobody");
        assert_eq!(socket.unsent(), 0);
        socket.flushed().await;
    });
}

#[test]
fn a_descriptor_moves_to_another_ring_unless_something_came_for_this_one() {
    run(|ring| async move {
        let (socket, mut peer) = pair(&ring);
        turn(&ring).await;
        let fd = socket.detach().await.expect("nothing came");
        turns_until(&ring, || ring.sockets() == 0).await;
        peer.write_all(b"after the move").expect("room for it");
        let moved = Socket::new(&ring, fd);
        assert_eq!(read(&moved, 14).await, b"after the move");

        peer.write_all(b"too soon").expect("room for it");
        turns_until(&ring, || moved.has_received()).await;
        assert!(moved.detach().await.is_none());
        assert_eq!(peer.read(&mut [0]).map_err(|error| error.kind()).unwrap_or_default(), 0, "it is closed");
        turns_until(&ring, || ring.sockets() == 0).await;
    });
}

#[test]
fn a_bulk_stream_starves_nobody() {
    run(|ring| async move {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        // Writes until the connection is closed.
        let writer = std::thread::spawn(move || {
            let mut stream = TcpStream::connect(address)?;
            let piece = vec![0; 1 << 20];
            loop {
                stream.write_all(&piece)?;
            }
            #[allow(unreachable_code)]
            std::io::Result::Ok(())
        });
        let (accepted, _) = listener.accept().expect("a connection");
        let bulk = Socket::new(&ring, accepted.into());
        let total = Rc::new(Cell::new(0usize));
        let reader = {
            let total = total.clone();
            async move {
                while let Some(chunk) = received(&bulk).await {
                    total.set(total.get() + chunk.len());
                }
            }
        };
        let (small, mut peer) = pair(&ring);
        let echo = std::thread::spawn(move || {
            let mut bytes = [0; 5];
            for _ in 0..ROUNDS {
                peer.read_exact(&mut bytes).and_then(|()| peer.write_all(&bytes))?;
            }
            std::io::Result::Ok(())
        });
        let rounds = async {
            turns_until(&ring, || total.get() > 1 << 20).await;
            for _ in 0..ROUNDS {
                small.send_copy(b"hello");
                assert_eq!(read(&small, 5).await, b"hello");
            }
        };
        futures_lite::future::or(rounds, reader).await;
        turns_until(&ring, || echo.is_finished() && writer.is_finished()).await;
        echo.join().expect("it ended").expect("all rounds were made");
        assert!(writer.join().expect("it ended").is_err(), "its connection was closed at last");
    });
}

const ROUNDS: usize = 500;
