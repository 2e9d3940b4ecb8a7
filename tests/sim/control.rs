//! Control as the simulation has it: it probes, tells the decider what it hears, and does what it says.

use std::time::Duration;

use pgweir::control::Lsn;
use pgweir::control::failover::{Action, Attempt, Event, Gate, Order, PromoteError, Purpose, Verdict};
use pgweir::door::ShardId;
use pgweir::topology::{Epoch, Moment, NodeId};

use crate::node::State;
use crate::plan::{MS, Time};
use crate::shard::Picture;
use crate::world::{Happening, World};

/// The probe of one node: one question is under way, or the next one has its time.
#[derive(Default)]
pub struct Probe {
    serial: u64,
    pending: bool,
    /// What the last answer said, and what one under way will say.
    told: Option<Told>,
    asked: Option<Told>,
}

/// How far a replica was when it was asked.
#[derive(Clone, Copy)]
struct Told {
    sent: Time,
    timeline: u32,
    length: usize,
}

const INTERVAL: Time = 50 * MS;
const TIMEOUT: Time = 100 * MS;

/// Whoever asks for more of the same node at once waits so long.
const PAUSE_MIN: Time = 2 * MS;

impl World {
    pub fn ask(&mut self, node: usize) {
        if self.probes[node].pending {
            return;
        }
        self.probes[node].pending = true;
        self.probes[node].serial += 1;
        let serial = self.probes[node].serial;
        self.after(TIMEOUT, Happening::Late { node, serial });
        if self.control_reaches(node) {
            let (boot, sent, delay) = (self.nodes[node].boot, self.now, self.delay(Some(node)));
            self.after(delay, Happening::Question { node, boot, serial, sent });
        }
    }

    pub fn question(&mut self, node: usize, boot: u64, serial: u64, sent: Time) {
        let id = NodeId(node as u8);
        let event = match self.nodes[node].state {
            State::Frozen => {
                self.nodes[node].inbox.push(Happening::Question { node, boot, serial, sent });
                return;
            }
            State::Running if self.nodes[node].boot == boot => {
                let streams = self.nodes[node].recovering && self.streams(node);
                let mut sighting = self.nodes[node].sighting(sent, self.plan.replication, streams);
                if self.bugs.reports_wrong_positions {
                    sighting.received = sighting.received.map(|_| Lsn(u64::from(id.0)));
                }
                let server = &self.nodes[node];
                let told = Told { sent, timeline: server.timeline(), length: server.wal.len() };
                self.probes[node].asked = Some(told).filter(|_| server.recovering);
                Event::Answered { node: id, sighting }
            }
            State::Running | State::Crashed => {
                Event::Failed { node: id, reason: "connection refused".to_owned() }
            }
        };
        if self.control_reaches(node) {
            let delay = self.delay(Some(node));
            self.after(delay, Happening::Heard { node, serial, event });
        }
    }

    pub fn heard(&mut self, node: usize, serial: u64, event: Event) {
        let probe = &mut self.probes[node];
        if !probe.pending || probe.serial != serial {
            return;
        }
        probe.pending = false;
        if matches!(event, Event::Answered { .. }) {
            probe.told = probe.asked;
        }
        self.after(INTERVAL, Happening::Ask { node });
        self.tell(event);
    }

    pub fn acknowledged(&mut self, shard: usize, epoch: u64, wrote: Time) {
        self.acknowledged[shard] = self.acknowledged[shard].max(epoch);
        let fenced = self.published.primary.is_none();
        if fenced && self.acknowledged.iter().all(|acknowledged| *acknowledged >= self.fence) {
            self.fenced_since = self.fenced_since.or(Some(self.now));
        }
        let shard = ShardId(shard as u16);
        self.tell(Event::Acknowledged { shard, epoch: Epoch(epoch), wrote: Some(Moment(wrote)) });
    }

    pub fn drained(&mut self, shard: usize, epoch: u64) {
        self.tell(Event::Drained { shard: ShardId(shard as u16), epoch: Epoch(epoch) });
    }

    pub fn suspects(&mut self, shard: ShardId, node: usize) {
        let node = NodeId(node as u8);
        self.tell(Event::Suspected { node, by: shard, reason: "the connection broke".to_owned() });
    }

    pub fn order(&mut self, order: Order) {
        self.ticket += 1;
        self.unanswered.push(self.ticket);
        self.note(|| format!("ordered {order:?}"));
        self.tell(Event::Ordered { ticket: self.ticket, order });
    }

    pub fn tell(&mut self, event: Event) {
        self.note(|| format!("  event {event:?}"));
        self.failover.handle(event, Moment(self.now));
        self.act();
    }

    /// Does what the decider says.
    pub fn act(&mut self) {
        while let Some(action) = self.failover.next_action() {
            self.note(|| format!("    does {action:?}"));
            match action {
                Action::Publish { primary, gate } => self.publish(primary.map(NodeId::index), gate),
                Action::Probe { node } => self.after(PAUSE_MIN, Happening::Ask { node: node.index() }),
                Action::Promote { attempt, node } => self.send_promote(node.index(), attempt, false),
                Action::Run { attempt, purpose, node: _, command } => {
                    self.run_command(attempt, purpose, &command)
                }
                Action::Follow { attempt, node, primary } => {
                    let (node, primary) = (node.index(), primary.index());
                    let delay = self.delay(Some(node));
                    self.after(delay, Happening::Follow { node, attempt, primary });
                }
                Action::Demote { attempt, .. } => {
                    let delay = self.delay(None);
                    self.after(delay, Happening::Told(Event::Demoted { attempt, result: Ok(()) }));
                }
                Action::Answer { ticket, .. } => {
                    match self.unanswered.iter().position(|other| *other == ticket) {
                        Some(index) => {
                            self.unanswered.remove(index);
                        }
                        None => self.check.fail(self.now, format!("order {ticket} is answered again")),
                    }
                }
                Action::Recorded { number } => {
                    let complete = self.failover.records().iter().any(|record| {
                        record.number == number && record.outcome.is_some() && !record.seen.is_empty()
                    });
                    if !complete {
                        self.check.fail(self.now, format!("record {number} is not complete"));
                    }
                }
                Action::Alarm(_) | Action::Log(_) => {}
            }
        }
    }

    fn publish(&mut self, primary: Option<usize>, gate: Gate) {
        let epoch = self.published.epoch + 1;
        if self.published.primary.is_some() && primary.is_none() {
            self.fence = epoch;
        }
        self.published = Picture { epoch, primary, gate };
        if let Some(primary) = primary.filter(|primary| self.incumbent != Some(*primary)) {
            if self.incumbent.is_some() {
                self.failovers += 1;
                let lossless = self.plan.rules.max_data_loss == Some(0) && !self.decided_by_others();
                self.check.adopted(&self.nodes[primary], lossless, self.now);
            }
            self.incumbent = Some(primary);
        }
        if primary.is_some() {
            self.fenced_since = None;
            self.told.clear();
        }
        let picture = self.published;
        for shard in 0..self.shards.len() {
            let delay = self.door_delay();
            self.after(delay, Happening::Topology { shard, picture });
        }
        let now = Moment(self.now);
        self.failover.handle(Event::Published { epoch: Epoch(epoch) }, now);
        if self.bugs.skips_fence_acks {
            for shard in 0..self.shards.len() {
                let (shard, wrote) = (ShardId(shard as u16), Some(now));
                self.failover.handle(Event::Acknowledged { shard, epoch: Epoch(epoch), wrote }, now);
            }
        }
    }

    fn send_promote(&mut self, node: usize, attempt: Attempt, command: bool) {
        let bound = self.plan.rules.promote_timeout;
        self.check_choice(node);
        self.after(nanos(bound), Happening::PromoteLate { attempt, command });
        if self.control_reaches(node) {
            let (boot, delay) = (self.nodes[node].boot, self.delay(Some(node)));
            self.after(delay, Happening::Promote { node, boot, attempt, command });
        }
    }

    /// The operator's script: it promotes the node it is told.
    fn run_command(&mut self, attempt: Attempt, purpose: Purpose, command: &str) {
        let words: Vec<&str> = command.split(' ').collect();
        let number = |index: usize| words.get(index).and_then(|word: &&str| word.parse::<i32>().ok());
        let (lost, main, primary) = (number(1), number(3), number(5));
        // As pgpool's sample does: nothing to do when the node was not the primary.
        match main.filter(|_| purpose == Purpose::Promote && lost == primary) {
            Some(main) => self.send_promote(main as usize, attempt, true),
            None => self.after(MS, Happening::Told(Event::Exited { attempt, code: Some(0) })),
        }
    }

    pub fn promote(&mut self, node: usize, boot: u64, attempt: Attempt, command: bool) {
        let server = &self.nodes[node];
        match server.state {
            State::Frozen => {
                self.nodes[node].inbox.push(Happening::Promote { node, boot, attempt, command });
            }
            State::Running if server.boot == boot && server.recovering && !server.unpromotable => {
                let delay = self.random.between(MS, 15 * MS);
                self.after(delay, Happening::Promotes { node, boot, attempt, command });
            }
            State::Running if server.boot == boot => {
                let text = "it is not in recovery, or may not be promoted".to_owned();
                self.promote_result(node, attempt, command, Err(PromoteError::Refused(text)));
            }
            _ => self.lost_while_promoting(node, attempt, command),
        }
    }

    pub fn promotes(&mut self, node: usize, boot: u64, attempt: Attempt, command: bool) {
        match self.nodes[node].state {
            State::Frozen => {
                self.nodes[node].inbox.push(Happening::Promotes { node, boot, attempt, command });
            }
            State::Running if self.nodes[node].boot == boot => {
                if self.nodes[node].recovering {
                    self.become_primary(node);
                }
                self.promote_result(node, attempt, command, Ok(()));
            }
            _ => self.lost_while_promoting(node, attempt, command),
        }
    }

    /// A node begins a timeline of its own.
    pub fn become_primary(&mut self, node: usize) {
        self.nodes[node].recovering = false;
        self.nodes[node].follows = None;
        let timeline = self.nodes[node].timeline() + 1;
        self.append(node, timeline, None);
        self.note(|| format!("node {node} is promoted, to timeline {timeline}"));
    }

    fn lost_while_promoting(&mut self, node: usize, attempt: Attempt, command: bool) {
        let text = "the connection broke".to_owned();
        self.promote_result(node, attempt, command, Err(PromoteError::Unknown(text)));
    }

    pub fn promote_late(&mut self, attempt: Attempt, command: bool) {
        let event = match command {
            true => Event::Exited { attempt, code: Some(1) },
            false => Event::Promoted { attempt, result: Err(PromoteError::Unknown("time is up".to_owned())) },
        };
        self.tell(event);
    }

    fn promote_result(
        &mut self,
        node: usize,
        attempt: Attempt,
        command: bool,
        result: Result<(), PromoteError>,
    ) {
        if self.control_reaches(node) {
            let delay = self.delay(Some(node));
            let code = Some(i32::from(result.is_err()));
            let event = match command {
                true => Event::Exited { attempt, code },
                false => Event::Promoted { attempt, result },
            };
            self.after(delay, Happening::Told(event));
        }
    }

    pub fn follow(&mut self, node: usize, attempt: Attempt, primary: usize) {
        let server = &mut self.nodes[node];
        let result = match server.state {
            State::Running if server.recovering && node != primary => {
                server.follows = Some(primary);
                Ok(())
            }
            _ => Err("it does not answer, or is no replica".to_owned()),
        };
        let delay = self.delay(Some(node));
        self.after(delay, Happening::Told(Event::Followed { attempt, result }));
    }

    /// Nobody whom control has heard since it compares, and who may be promoted, has told of more than the one that is
    /// promoted.
    fn check_choice(&mut self, chosen: usize) {
        self.told.push(chosen);
        let since = match self.fenced_since {
            _ if self.bugs.skips_fence_acks => return,
            Some(since) => since,
            None => return self.check.fail(self.now, format!("node {chosen} is promoted without a fence")),
        };
        let position = |node: usize| self.probes[node].told.filter(|told| told.sent >= since);
        let Some(own) = position(chosen) else {
            return self
                .check
                .fail(self.now, format!("node {chosen} is promoted, and nobody knows how far it is"));
        };
        let more = (0..self.nodes.len()).find(|node| {
            let fit = self.plan.priorities[*node] > 0 && !self.told.contains(node);
            let usable = self.failover.verdict(NodeId(*node as u8)) == Verdict::Usable;
            fit && usable
                && position(*node)
                    .is_some_and(|told| (told.timeline, told.length) > (own.timeline, own.length))
        });
        if let Some(node) = more {
            self.check.fail(self.now, format!("node {chosen} is promoted, although node {node} has more"));
        }
    }
}

fn nanos(duration: Duration) -> Time {
    duration.as_nanos() as Time
}
