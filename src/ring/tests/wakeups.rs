//! Timers, the bell of other threads, and listeners.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::mpsc;

use super::super::Listener;
use super::*;

#[test]
fn timers_fire_in_the_order_of_their_deadlines_and_not_before() {
    run(|ring| async move {
        let began = Instant::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        for milliseconds in [30, 10, 20, 10, 0] {
            let (ring, order, deadline) =
                (ring.clone(), order.clone(), began + Duration::from_millis(milliseconds));
            ring.clone().spawn(async move {
                ring.sleep_until(deadline).await;
                assert!(Instant::now() >= deadline);
                order.borrow_mut().push(milliseconds);
            });
        }
        turns_until(&ring, || order.borrow().len() == 5).await;
        assert_eq!(*order.borrow(), [0, 10, 10, 20, 30]);
    });
}

#[test]
fn a_deadline_ends_what_takes_too_long_and_leaves_no_timer_behind() {
    run(|ring| async move {
        let waiting = || ring.inner.borrow().timers.next();
        // That of the test itself, which is set behind its first step.
        turn(&ring).await;
        let others = waiting();
        let hour = Instant::now() + Duration::from_secs(3600);
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(ring.deadline(soon, ring.sleep_until(hour)).await, None);
        assert!(Instant::now() >= soon);
        assert_eq!(waiting(), others);
        assert_eq!(ring.deadline(hour, async { 7 }).await, Some(7));
        assert_eq!(waiting(), others);
        let (socket, _peer) = pair(&ring);
        let soon = Instant::now() + Duration::from_millis(5);
        assert!(ring.deadline(soon, received(&socket)).await.is_none(), "nothing came");
        assert_eq!(waiting(), others);
    });
}

#[test]
fn a_bell_wakes_the_ring_from_its_sleep() {
    let doorbell = Doorbell::new().expect("a descriptor");
    let (order, orders) = mpsc::channel();
    let other = std::thread::spawn({
        let doorbell = doorbell.clone();
        move || {
            while orders.recv().is_ok() {
                doorbell.ring();
            }
        }
    });
    run_with(doorbell, move |ring| async move {
        for _ in 0..200 {
            order.send(()).expect("it waits for it");
            ring.rung().await;
        }
    });
    other.join().expect("it ended with its orders");
}

#[test]
fn no_message_is_left_behind_however_many_ring_at_once() {
    let doorbell = Doorbell::new().expect("a descriptor");
    let (sender, queue) = mpsc::channel();
    let others: Vec<_> = (0..4)
        .map(|_| {
            let (doorbell, sender) = (doorbell.clone(), sender.clone());
            std::thread::spawn(move || {
                for _ in 0..MESSAGES {
                    if sender.send(()).is_ok() {
                        doorbell.ring();
                    }
                }
            })
        })
        .collect();
    run_with(doorbell, move |ring| async move {
        let mut seen = 0;
        loop {
            seen += queue.try_iter().count();
            if seen == 4 * MESSAGES {
                return;
            }
            ring.rung().await;
        }
    });
    others.into_iter().for_each(|other| other.join().expect("it has rung"));
}

#[test]
fn a_listener_accepts_until_it_is_dropped() {
    run(|ring| async move {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = socket.local_addr().expect("it is bound");
        let listener = Listener::new(&ring, socket.into());
        let clients: Vec<_> =
            (0..20).map(|_| TcpStream::connect(address).expect("somebody listens")).collect();
        for _ in &clients {
            let accepted = listener.accept().await.expect("a connection");
            let peer = accepted.peer().expect("it is connected");
            let known = |client: &TcpStream| client.local_addr().is_ok_and(|address| address == peer);
            assert!(clients.iter().any(known), "{peer} is none of ours");
            assert!(accepted.tuned(), "it has the listener's options");
        }
        turns_until(&ring, || ring.sockets() == 0).await;
        // One that was accepted in the kernel, and never asked for, is closed with it.
        let unasked = TcpStream::connect(address).expect("somebody listens");
        for _ in 0..20 {
            turn(&ring).await;
        }
        drop(listener);
        turns_until(&ring, || ring.inner.borrow().listeners.is_empty()).await;
        let refused = TcpStream::connect(address).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        unasked.set_read_timeout(Some(TIME_MAX)).expect("a duration above zero");
        let end = std::io::Read::read(&mut &unasked, &mut [0]);
        assert!(matches!(&end, Ok(0)) || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_listener_that_nobody_asked_can_be_dropped() {
    run(|ring| async move {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let listener = Listener::new(&ring, socket.into());
        drop(listener);
        assert!(ring.inner.borrow().listeners.is_empty());
    });
}

const MESSAGES: usize = 2_000;
