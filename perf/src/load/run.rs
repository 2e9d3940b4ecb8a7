//! The sockets and the phases of a run: connect, warm up, measure, say goodbye.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::bail;
use socket2::SockAddr;

use super::Arguments;
use super::arrivals::Arrivals;
use super::client::{Client, Context, Step};
use super::login::Credentials;
use super::report::{Outcome, Report};
use super::scram::Password;
use super::tally::{Begun, Tally};
use super::work::Work;
use crate::ring::{Event, Key, Ring};
use crate::wire::frontend::terminate;

pub(super) struct Run<'a> {
    arguments: &'a Arguments,
    report: &'a Report,
    ring: Ring,
    address: SockAddr,
    work: Work,
    credentials: Credentials,
    tally: Tally,
    /// By key.
    clients: Vec<Option<Client>>,
    /// Connections without a query, the one idle for longest in front.
    idle: VecDeque<Key>,
    /// In mode connect: connections that may be opened.
    slots: usize,
    /// In mode connect: when slots whose connection was lost may be used again, the first in front.
    resting: VecDeque<Instant>,
    /// Connections open.
    open: usize,
    lost: u64,
    /// The open loop's schedule, and when it started.
    schedule: Option<(Arrivals, Instant)>,
    /// Whether idle connections are given work.
    running: bool,
}

impl<'a> Run<'a> {
    /// # Errors
    ///
    /// Where io_uring is not to be had.
    pub fn new(arguments: &'a Arguments, address: SockAddr, report: &'a Report) -> anyhow::Result<Run<'a>> {
        let credentials = Credentials {
            user: arguments.user.clone(),
            password: arguments.password.clone(),
            scram: Password::new(&arguments.password),
        };
        Ok(Run {
            arguments,
            report,
            ring: Ring::new()?,
            address,
            work: Work::new(arguments),
            credentials,
            tally: Tally::new(),
            clients: Vec::new(),
            idle: VecDeque::new(),
            slots: 0,
            resting: VecDeque::new(),
            open: 0,
            lost: 0,
            schedule: None,
            running: false,
        })
    }

    /// # Errors
    ///
    /// Where not all connections can be made.
    pub fn finish(mut self) -> anyhow::Result<Outcome> {
        self.connect()?;
        self.report.event("connected")?;
        self.start();
        self.until(Instant::now() + self.arguments.warmup.into())?;
        self.report.event("begin")?;
        let begin = Instant::now();
        self.tally.counting = true;
        self.until(begin + self.arguments.duration.into())?;
        self.tally.counting = false;
        let end = Instant::now();
        self.report.event("end")?;
        self.running = false;
        let unanswered = self.unanswered(end);
        self.say_goodbye()?;
        Ok(Outcome { seconds: (end - begin).as_secs_f64(), unanswered, lost: self.lost, tally: self.tally })
    }

    /// Opens all connections and waits until they are logged in; some at a time, as the queue of a listener is short.
    fn connect(&mut self) -> anyhow::Result<()> {
        let wanted = self.arguments.connections as usize;
        if self.work.connects {
            self.slots = wanted;
            return Ok(());
        }
        let mut last = Instant::now();
        while self.idle.len() < wanted {
            while self.open < wanted && self.open - self.idle.len() < CONNECTING_MAX {
                self.open(None)?;
            }
            let before = self.idle.len();
            self.turn(Some(Duration::from_secs(1)))?;
            if let Some(error) = &self.tally.first_error {
                bail!("{error}");
            }
            match self.idle.len() > before {
                true => last = Instant::now(),
                false if last.elapsed() > LOGIN_MAX => {
                    bail!("no login for {LOGIN_MAX:?}, with {before} of {wanted} connections")
                }
                false => {}
            }
        }
        Ok(())
    }

    fn start(&mut self) {
        self.running = true;
        let now = Instant::now();
        match self.arguments.rate {
            Some(rate) => {
                let cycles = rate / f64::from(self.work.queries);
                self.schedule = Some((Arrivals::new(self.arguments.arrivals, cycles, SEED), now));
            }
            None => {
                for _ in 0..self.idle.len() + self.slots {
                    self.begin(Begun { due: now, sent: now });
                }
            }
        }
    }

    /// Runs until `end`, or until there is no connection any more.
    fn until(&mut self, end: Instant) -> anyhow::Result<()> {
        loop {
            let now = Instant::now();
            if now >= end || (self.open == 0 && !self.work.connects) {
                return Ok(());
            }
            while self.resting.front().is_some_and(|until| *until <= now) {
                self.resting.pop_front();
                self.slots += 1;
                self.begin_again();
            }
            let next = self.arrive(now).into_iter().chain(self.resting.front().copied());
            let next = next.fold(end, Instant::min);
            self.turn(Some(next.saturating_duration_since(now)))?;
        }
    }

    /// Gives what is due in the open loop to idle connections. Says when the next is due, if one could take it.
    fn arrive(&mut self, now: Instant) -> Option<Instant> {
        while !self.idle.is_empty() || self.slots > 0 {
            let (arrivals, start) = self.schedule.as_mut()?;
            let due = *start + arrivals.due();
            if due > now {
                return Some(due);
            }
            arrivals.take();
            self.begin(Begun { due, sent: now });
        }
        None
    }

    /// Lets an idle connection, or a new one in mode connect, begin.
    fn begin(&mut self, begun: Begun) {
        if self.work.connects {
            self.slots -= 1;
            if let Err(error) = self.open(Some(begun)) {
                self.tally.failed(error.to_string());
                self.lost += 1;
                self.rest();
            }
            return;
        }
        let Some(key) = self.idle.pop_front() else { return };
        let Some(client) = &mut self.clients[key] else { return };
        let (work, tally) = (&self.work, &mut self.tally);
        self.ring.write(key, |out| client.begin(begun, work, tally, out));
    }

    fn open(&mut self, begun: Option<Begun>) -> std::io::Result<()> {
        let key = self.ring.connect(&self.address)?;
        if self.clients.len() <= key {
            self.clients.resize_with(key + 1, || None);
        }
        self.clients[key] = Some(Client::new(begun));
        self.open += 1;
        Ok(())
    }

    /// One turn of the ring and all that comes of it.
    fn turn(&mut self, wait: Option<Duration>) -> anyhow::Result<()> {
        self.ring.turn(wait)?;
        while let Some(event) = self.ring.next() {
            let key = match &event {
                Event::Connected(key) | Event::Received(key, _) | Event::Sent(key) | Event::Ended(key, _) => {
                    *key
                }
                Event::Accepted(_) | Event::AcceptFailed(_) => continue,
            };
            let Some(client) = &mut self.clients[key] else { continue };
            let mut context = Context {
                work: &self.work,
                credentials: &mut self.credentials,
                tally: &mut self.tally,
                now: Instant::now(),
            };
            match event {
                Event::Connected(_) => {
                    self.ring.write(key, |out| out.extend_from_slice(&self.work.startup));
                    self.ring.receive(key);
                }
                Event::Received(_, buffer) => {
                    let step =
                        self.ring.read(key, buffer, |bytes, out| client.receive(bytes, &mut context, out));
                    self.step(key, step);
                }
                Event::Sent(_) if self.ring.unsent(key) == 0 => {
                    self.ring.write(key, |out| client.sent(&mut context, out));
                }
                Event::Ended(_, error) => {
                    let how = error.map_or("the server closed it".into(), |error| error.to_string());
                    context.tally.failed(format!("a connection was lost: {how}"));
                    self.lose(key);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn step(&mut self, key: Key, step: Step) {
        match step {
            Step::Waits => {}
            Step::Ready => self.idle.push_back(key),
            Step::Done if self.work.connects => {
                self.part(key);
                self.slots += 1;
                self.begin_again();
            }
            Step::Done => {
                self.idle.push_back(key);
                self.begin_again();
            }
            Step::Broken => self.lose(key),
        }
    }

    /// In the closed loop, a connection that is done goes on at once.
    fn begin_again(&mut self) {
        if self.running && self.schedule.is_none() {
            let now = Instant::now();
            self.begin(Begun { due: now, sent: now });
        }
    }

    /// A connection has failed. In mode connect another one takes its place.
    fn lose(&mut self, key: Key) {
        self.lost += 1;
        self.open -= 1;
        self.clients[key] = None;
        self.idle.retain(|idle| *idle != key);
        self.ring.close(key);
        if self.work.connects {
            self.rest();
        }
    }

    /// Where one connection was refused, the next one would be, too: a server that is down is not asked without a pause.
    fn rest(&mut self) {
        self.resting.push_back(Instant::now() + REST);
    }

    /// Ends a connection in order.
    fn part(&mut self, key: Key) {
        self.open -= 1;
        self.clients[key] = None;
        self.ring.write(key, terminate);
        self.ring.close_when_sent(key);
    }

    /// Queries that were due and have no answer at `end`.
    fn unanswered(&self, end: Instant) -> u64 {
        let waiting = match &self.schedule {
            Some((arrivals, start)) => arrivals.clone().waiting(end - *start),
            None => 0,
        };
        let asked = self.clients.iter().flatten().filter(|client| client.begun().is_some()).count() as u64;
        (asked + waiting) * u64::from(self.work.queries)
    }

    fn say_goodbye(&mut self) -> anyhow::Result<()> {
        for key in 0..self.clients.len() {
            if self.clients[key].is_some() {
                self.part(key);
            }
        }
        let late = Instant::now() + GOODBYE_MAX;
        while self.ring.sockets() > 0 && Instant::now() < late {
            self.turn(Some(Duration::from_millis(100)))?;
        }
        Ok(())
    }
}

/// Connections that log in at the same time.
const CONNECTING_MAX: usize = 64;
/// How long nobody may be let in before the run is given up.
const LOGIN_MAX: Duration = Duration::from_secs(30);
/// How long the slot of a lost connection rests.
const REST: Duration = Duration::from_millis(10);
/// How long the goodbyes may take.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Of the schedule's random numbers: every run has the same arrivals.
const SEED: u64 = 1;
