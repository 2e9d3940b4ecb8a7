//! The backends one shard holds for one (node, database, user), and who waits for one. Takes what happened, answers what
//! to do; the backends themselves, the tasks that wait and the process-wide budget are the caller's.
//!
//! A backend's state is where it is: in `idle`, or counted in one of the other places while somebody else holds it.
//!
//! ```text
//!               opened                checkout
//! (connecting) ────────▶ idle ───────────────────▶ (leased)
//!                         ▲  ╲ expired, broken        │ checkin
//!                         │   ╲─────▶ closed ◀────────┤ unfit, too many
//!                         │            ▲              │
//!                         └──────── (resetting) ◀─────┘ owes a reset
//! ```
//!
//! A backend that comes back while somebody waits never becomes idle: it goes straight to the first in line.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// See the module's text. `B` is a backend, `W` whoever waits.
#[derive(Debug)]
pub struct Pool<B, W> {
    /// Least recently used first.
    idle: Vec<Idle<B>>,
    waiting: VecDeque<Waiting<W>>,
    leased: usize,
    connecting: usize,
    resetting: usize,
}

#[derive(Debug)]
struct Idle<B> {
    backend: B,
    since: Instant,
}

#[derive(Debug)]
struct Waiting<W> {
    waiter: W,
    since: Instant,
}

/// How many backends are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub idle: usize,
    pub leased: usize,
    pub connecting: usize,
    pub resetting: usize,
    pub waiting: usize,
}

/// Where a backend that is given back goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Checkin<B, W> {
    /// To this one, who waited longest: it is leased now.
    Handed(W, B),
    /// It is idle now.
    Kept,
}

impl<B, W> Default for Pool<B, W> {
    fn default() -> Pool<B, W> {
        Pool { idle: Vec::new(), waiting: VecDeque::new(), leased: 0, connecting: 0, resetting: 0 }
    }
}

/// How well an idle backend fits who asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// It will do.
    Any,
    /// It has the right settings.
    Good,
    /// There is none better.
    Best,
}

impl<B, W> Pool<B, W> {
    /// Leases an idle backend: the one that fits best, of equals the one used last (its caches are warm). Among those
    /// used lately any that fits will do, so that many idle ones do not make it slow. Those without a [`Fit`] do not.
    /// Nobody overtakes: while others wait there is none.
    pub fn checkout(&mut self, fit: impl Fn(&B) -> Option<Fit>) -> Option<B> {
        if !self.waiting.is_empty() {
            return None;
        }
        let mut best: Option<(usize, Fit)> = None;
        for (looked, (at, idle)) in self.idle.iter().enumerate().rev().enumerate() {
            let Some(fit) = fit(&idle.backend) else { continue };
            if best.is_none_or(|(_, known)| fit > known) {
                best = Some((at, fit));
            }
            match best {
                Some((_, Fit::Best)) => break,
                Some((_, Fit::Good)) if looked + 1 >= LOOKED_AT_MAX => break,
                _ => {}
            }
        }
        let (at, _) = best?;
        self.leased += 1;
        Some(self.idle.remove(at).backend)
    }

    /// Puts somebody in line.
    pub fn wait(&mut self, waiter: W, now: Instant) {
        self.waiting.push_back(Waiting { waiter, since: now });
    }

    /// Takes somebody out of line who does not want to wait any longer. True when they were in it.
    pub fn leave(&mut self, is: impl Fn(&W) -> bool) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| !is(&waiting.waiter));
        self.waiting.len() < before
    }

    /// Everybody in line, who is told that it is over; the line is empty then.
    pub fn dismiss(&mut self) -> impl Iterator<Item = W> + use<B, W> {
        std::mem::take(&mut self.waiting).into_iter().map(|waiting| waiting.waiter)
    }

    /// The first in line, who is told that it is over.
    pub fn dismiss_first(&mut self) -> Option<W> {
        self.waiting.pop_front().map(|waiting| waiting.waiter)
    }

    /// Whether one more backend should be opened: more wait than are being opened or made fit.
    pub fn wants_backend(&self) -> bool {
        self.waiting.len() > self.connecting + self.resetting
    }

    /// One more backend is being opened.
    pub fn connect(&mut self) {
        self.connecting += 1;
    }

    /// Opening one did not work out.
    pub fn connect_failed(&mut self) {
        self.connecting -= 1;
    }

    /// One was opened.
    pub fn connected(&mut self, backend: B, now: Instant) -> Checkin<B, W> {
        self.connecting -= 1;
        self.settle(backend, now)
    }

    /// A backend came from another shard.
    pub fn arrived(&mut self, backend: B, now: Instant) -> Checkin<B, W> {
        self.settle(backend, now)
    }

    /// A leased backend comes back, fit for anyone.
    pub fn checkin(&mut self, backend: B, now: Instant) -> Checkin<B, W> {
        self.leased -= 1;
        self.settle(backend, now)
    }

    /// A leased backend is not coming back.
    pub fn discard(&mut self) {
        self.leased -= 1;
    }

    /// A leased backend has to be made fit first.
    pub fn reset(&mut self) {
        self.leased -= 1;
        self.resetting += 1;
    }

    /// A backend was made fit.
    pub fn was_reset(&mut self, backend: B, now: Instant) -> Checkin<B, W> {
        self.resetting -= 1;
        self.settle(backend, now)
    }

    /// A backend could not be made fit, and is gone.
    pub fn reset_failed(&mut self) {
        self.resetting -= 1;
    }

    /// Takes out the idle backends that `unwanted` says must go, given how long they have been idle.
    pub fn expire(&mut self, now: Instant, unwanted: impl Fn(&B, Duration) -> bool) -> Vec<B> {
        let (gone, kept) = std::mem::take(&mut self.idle)
            .into_iter()
            .partition(|idle| unwanted(&idle.backend, now.saturating_duration_since(idle.since)));
        self.idle = kept;
        gone.into_iter().map(|idle: Idle<B>| idle.backend).collect()
    }

    /// The first in line.
    pub fn first_waiting(&self) -> Option<&W> {
        self.waiting.front().map(|waiting| &waiting.waiter)
    }

    /// Takes out the backend that has been idle longest.
    pub fn take_idle(&mut self) -> Option<B> {
        (!self.idle.is_empty()).then(|| self.idle.remove(0).backend)
    }

    /// Shows the backend that became idle last.
    pub fn newest_idle(&self, show: impl FnOnce(&B)) {
        if let Some(idle) = self.idle.last() {
            show(&idle.backend);
        }
    }

    pub fn counts(&self) -> Counts {
        Counts {
            idle: self.idle.len(),
            leased: self.leased,
            connecting: self.connecting,
            resetting: self.resetting,
            waiting: self.waiting.len(),
        }
    }

    /// How long the first in line has been waiting.
    pub fn waiting_longest(&self, now: Instant) -> Duration {
        self.waiting.front().map_or(Duration::ZERO, |waiting| now.saturating_duration_since(waiting.since))
    }

    /// True exactly when there is nothing here at all.
    pub fn is_empty(&self) -> bool {
        self.counts() == Counts::default()
    }

    fn settle(&mut self, backend: B, now: Instant) -> Checkin<B, W> {
        match self.waiting.pop_front() {
            Some(first) => {
                self.leased += 1;
                Checkin::Handed(first.waiter, backend)
            }
            None => {
                self.idle.push(Idle { backend, since: now });
                Checkin::Kept
            }
        }
    }
}

/// How many idle backends are looked at for the best, once one is found that fits.
const LOOKED_AT_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_to_wait_is_the_first_served() {
        let now = Instant::now();
        let mut pool: Pool<char, u32> = Pool::default();
        pool.connect();
        assert_eq!(pool.connected('a', now), Checkin::Kept);
        assert_eq!(pool.checkout(|_| Some(Fit::Any)), Some('a'));
        for waiter in 1..=3 {
            pool.wait(waiter, now);
        }
        assert!(pool.leave(|waiter| *waiter == 2));
        assert_eq!(pool.checkin('a', now), Checkin::Handed(1, 'a'));
        assert_eq!(pool.checkout(|_| Some(Fit::Any)), None, "nobody overtakes");
        assert_eq!(pool.checkin('a', now), Checkin::Handed(3, 'a'));
        assert_eq!(pool.checkin('a', now), Checkin::Kept);
    }

    #[test]
    fn the_best_backend_is_taken_and_of_equals_the_warmest() {
        let now = Instant::now();
        let mut pool: Pool<(Fit, char), ()> = Pool::default();
        for backend in [(Fit::Good, 'a'), (Fit::Any, 'b'), (Fit::Good, 'c'), (Fit::Any, 'd')] {
            pool.connect();
            pool.connected(backend, now);
        }
        let mut checkout = || pool.checkout(|(fit, _)| Some(*fit)).map(|(_, name)| name);
        assert_eq!([checkout(), checkout(), checkout()], [Some('c'), Some('a'), Some('d')]);
    }

    #[test]
    fn one_that_fits_is_found_among_many_and_the_best_among_the_last() {
        let now = Instant::now();
        let mut pool: Pool<(Fit, usize), ()> = Pool::default();
        for number in 0..100 {
            pool.connect();
            pool.connected((if number == 0 { Fit::Good } else { Fit::Any }, number), now);
        }
        assert_eq!(pool.checkout(|(fit, _)| Some(*fit)), Some((Fit::Good, 0)));
        for number in 100..105 {
            pool.connect();
            pool.connected((if number == 101 { Fit::Best } else { Fit::Good }, number), now);
        }
        assert_eq!(pool.checkout(|(fit, _)| Some(*fit)), Some((Fit::Best, 101)));
        // Better none than one that will not do.
        assert_eq!(pool.checkout(|_| None), None);
    }

    #[test]
    fn only_as_many_are_opened_as_wait() {
        let now = Instant::now();
        let mut pool: Pool<char, u32> = Pool::default();
        assert!(!pool.wants_backend());
        pool.wait(1, now);
        assert!(pool.wants_backend());
        pool.connect();
        assert!(!pool.wants_backend());
        pool.connect_failed();
        assert_eq!(pool.dismiss().collect::<Vec<_>>(), [1]);
        assert!(pool.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Connect,
        Connected,
        ConnectFailed,
        Checkout,
        Checkin,
        Discard,
        Reset,
        WasReset,
        Wait,
    }

    proptest! {
        /// Whatever happens: no backend is in two places, none is lost, and nobody waits beside an idle one.
        #[test]
        fn backends_are_neither_lost_nor_doubled(steps in proptest::collection::vec(
            prop_oneof![
                Just(Step::Connect), Just(Step::Connected), Just(Step::ConnectFailed), Just(Step::Checkout),
                Just(Step::Checkin), Just(Step::Discard), Just(Step::Reset), Just(Step::WasReset), Just(Step::Wait),
            ], 0..200))
        {
            let now = Instant::now();
            let mut pool: Pool<u32, u32> = Pool::default();
            let (mut leased, mut resetting, mut connecting, mut next) = (Vec::new(), Vec::new(), 0usize, 0u32);
            for step in steps {
                next += 1;
                let settled = match step {
                    Step::Connect => { pool.connect(); connecting += 1; None }
                    Step::Connected if connecting > 0 => { connecting -= 1; Some(pool.connected(next, now)) }
                    Step::ConnectFailed if connecting > 0 => { connecting -= 1; pool.connect_failed(); None }
                    Step::Checkout => { leased.extend(pool.checkout(|_| Some(Fit::Any))); None }
                    Step::Checkin => leased.pop().map(|backend| pool.checkin(backend, now)),
                    Step::Discard => { if leased.pop().is_some() { pool.discard(); } None }
                    Step::Reset => { if let Some(backend) = leased.pop() { pool.reset(); resetting.push(backend); } None }
                    Step::WasReset => resetting.pop().map(|backend| pool.was_reset(backend, now)),
                    Step::Wait => {
                        // As the shard does: whoever can be served at once does not wait.
                        if let Some(backend) = pool.checkout(|_| Some(Fit::Any)) { leased.push(backend) } else { pool.wait(next, now) }
                        None
                    }
                    _ => None,
                };
                if let Some(Checkin::Handed(_, backend)) = settled {
                    leased.push(backend);
                }
                let counts = pool.counts();
                prop_assert_eq!(counts.leased, leased.len());
                prop_assert_eq!(counts.resetting, resetting.len());
                prop_assert_eq!(counts.connecting, connecting);
                prop_assert!(counts.idle == 0 || counts.waiting == 0);
            }
        }
    }
}
