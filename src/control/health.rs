//! From single probes to the verdict over one node. No clock: times come with the events.
//!
//! ```text
//!              answered                       failed more than `retries` times in a row
//!   down ───────────────────▶ up ───────────────────────────────────────────────────────▶ down
//!                             │ ▲
//!              over the limit │ │ below three quarters of it
//!                             ▼ │
//!                           lagging
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::lsn::Lsn;
use super::probe::Report;
use crate::topology::{NodeAddress, Role};

/// What the configuration says about judging a node.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rules {
    /// Failed probes in a row, beyond the first, before it counts as down.
    pub retries: u32,
    pub lag_max: Option<u64>,
    pub lag_max_time: Option<Duration>,
    /// Its role is not asked.
    pub always_primary: bool,
    /// It is not taken out for failed probes.
    pub disallow_failover: bool,
}

/// How far a replica is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lag {
    pub bytes: Option<u64>,
    pub time: Option<Duration>,
}

/// What is known of one node.
#[derive(Debug)]
pub(super) struct Health {
    pub up: bool,
    pub lagging: bool,
    pub role: Role,
    /// See [`Node::incarnation`](crate::topology::Node::incarnation).
    pub incarnation: u64,
    pub address: NodeAddress,
    /// What it last answered; kept while it is down.
    pub report: Option<Report>,
    pub lag: Lag,
    /// Why it is down, or why it lags.
    pub reason: Option<Arc<str>>,
    /// When `up`, `lagging` or `role` last changed.
    pub changed: SystemTime,
    failures: u32,
    suspected: bool,
}

impl Health {
    /// A node nobody has asked yet.
    pub fn new(address: NodeAddress, at: SystemTime) -> Health {
        Health {
            up: false,
            lagging: false,
            role: Role::Unknown,
            incarnation: 0,
            address,
            report: None,
            lag: Lag::default(),
            reason: Some(NOT_PROBED.into()),
            changed: at,
            failures: 0,
            suspected: false,
        }
    }

    /// A probe was answered. True when the node came back, or is another than it was: nothing that was said about it
    /// before holds any more.
    pub fn answered(&mut self, report: Report, rules: &Rules, at: SystemTime) -> bool {
        let role = match report.in_recovery && !rules.always_primary {
            true => Role::Replica,
            false => Role::Primary,
        };
        let former = self.report.as_ref();
        let restarted =
            former.is_some_and(|former| former.started.is_some() && former.started != report.started);
        let other = former.is_some_and(|former| former.system.is_some() && former.system != report.system);
        let first = former.is_none();
        let renewed = !self.up || restarted || other || self.role != role;
        if renewed {
            // Backends cannot have been opened before the first answer.
            self.incarnation += u64::from(!first);
            self.changed = at;
            self.lagging = false;
        }
        (self.up, self.role) = (true, role);
        (self.failures, self.suspected) = (0, false);
        if !self.lagging {
            self.reason = None;
        }
        self.report = Some(report);
        renewed
    }

    /// A probe failed. True when the node is down from now on.
    pub fn failed(&mut self, reason: &str, rules: &Rules, at: SystemTime) -> bool {
        self.failures = self.failures.saturating_add(1 + u32::from(std::mem::take(&mut self.suspected)));
        if !self.up {
            if self.reason.as_deref() != Some(reason) {
                self.reason = Some(reason.into());
            }
            return false;
        }
        if self.failures <= rules.retries || rules.disallow_failover {
            return false;
        }
        self.up = false;
        self.lagging = false;
        self.lag = Lag::default();
        self.reason = Some(reason.into());
        self.changed = at;
        true
    }

    /// A shard lost a connection: counts as a failed probe if the next one fails too.
    pub fn suspected(&mut self) {
        self.suspected = true;
    }

    /// Its name was resolved. Other addresses beside the one in use, or another order, are no news to whoever is connected.
    pub fn resolved(&mut self, address: NodeAddress) {
        if !still_there(&self.address, &address) {
            self.incarnation += 1;
        }
        self.address = address;
    }

    /// Judges the lag against `written`, the end of the primary's WAL, and `timeline`, which the primary writes.
    /// `None`: there is no primary to lag behind, and the last verdict stays. `answered`: the node has just told its
    /// position. One from before would be compared with a primary that has written on since, so that every burst of
    /// writes made all replicas lag until their next probe.
    pub fn judge_lag(
        &mut self,
        primary: Option<(Lsn, Option<u32>)>,
        answered: bool,
        rules: &Rules,
        at: SystemTime,
    ) {
        let (Some(report), Role::Replica, true) = (&self.report, self.role, self.up) else {
            self.lag = Lag::default();
            return;
        };
        let Some((written, timeline)) = primary else { return };
        let answered = answered || self.lag == Lag::default();
        if answered {
            self.lag = lag(report, written);
        }
        let part = match self.lagging {
            false => Part::WHOLE,
            true => Part::BACK,
        };
        let reason = if let Some((own, timeline)) = report
            .timeline
            .zip(timeline)
            .filter(|(own, timeline)| report.streaming.is_some() && own < timeline)
        {
            // That one ended when the primary began its own. If it receives nothing it will not come nearer by itself;
            // if it does, it has yet to reach the switch, or follows a former primary whose writes belong to nobody.
            // Where the receiver is hidden the timeline may be an old one, see `Report::parse`: that proves nothing.
            Some(format!("it is still on timeline {own} while the primary is on {timeline}"))
        } else if !answered {
            return;
        } else if let Some((bytes, max)) =
            self.lag.bytes.zip(rules.lag_max).filter(|(bytes, max)| *bytes > part.of(*max))
        {
            Some(format!("it is {bytes} bytes behind, and lag_max is {max}"))
        } else {
            let over = self.lag.time.zip(rules.lag_max_time).filter(|(time, max)| *time > part.of_time(*max));
            over.map(|(time, max)| format!("it is {time:.1?} behind, and lag_max_time is {max:?}"))
        };
        if reason.is_some() == self.lagging {
            return;
        }
        self.lagging = reason.is_some();
        self.reason = reason.map(Arc::from);
        self.changed = at;
    }
}

/// How far behind a replica is when the primary's WAL ends at `written`.
fn lag(report: &Report, written: Lsn) -> Lag {
    let bytes = report.replayed.map(|replayed| written.since(replayed));
    // The age of the last transaction says nothing while the primary is idle: then all that came is replayed.
    let received_all =
        report.replayed.is_some() && report.received == report.replayed && report.streaming != Some(false);
    let time = match bytes {
        Some(0) => Some(Duration::ZERO),
        _ if received_all => Some(Duration::ZERO),
        _ => report.replayed_age,
    };
    Lag { bytes, time }
}

/// What part of a limit is compared with.
#[derive(Clone, Copy)]
struct Part {
    quarters: u32,
}

impl Part {
    const WHOLE: Part = Part { quarters: 4 };
    /// What a lagging replica must come below, so that one at its limit does not come and go with every probe.
    const BACK: Part = Part { quarters: 3 };

    fn of(self, limit: u64) -> u64 {
        limit / 4 * u64::from(self.quarters) + limit % 4 * u64::from(self.quarters) / 4
    }

    fn of_time(self, limit: Duration) -> Duration {
        limit / 4 * self.quarters
    }
}

/// Whether the address in use, which is the first, is among the new ones.
fn still_there(old: &NodeAddress, new: &NodeAddress) -> bool {
    match (old, new) {
        (NodeAddress::Tcp(old), NodeAddress::Tcp(new)) => old.first().is_none_or(|used| new.contains(used)),
        (old, new) => old == new,
    }
}

/// The reason of a node that was not asked yet.
pub(super) const NOT_PROBED: &str = "it has not been probed yet";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Moment;

    const T0: SystemTime = SystemTime::UNIX_EPOCH;

    fn nowhere() -> NodeAddress {
        NodeAddress::Tcp(Vec::new())
    }

    fn report(in_recovery: bool) -> Report {
        Report { sent: Moment(1), in_recovery, started: Some("noon".into()), ..Report::default() }
    }

    fn replica_at(replayed: u64) -> Report {
        Report { replayed: Some(Lsn(replayed)), received: Some(Lsn(replayed + 1)), ..report(true) }
    }

    #[test]
    fn a_node_is_down_when_more_than_the_retries_fail_in_a_row() {
        for retries in [0, 1, 3] {
            let rules = Rules { retries, ..Rules::default() };
            let mut health = Health::new(nowhere(), T0);
            assert!(!health.up);
            assert!(health.answered(report(false), &rules, T0));
            for _ in 0..retries {
                assert!(!health.failed("refused", &rules, T0));
            }
            assert!(!health.answered(report(false), &rules, T0), "an answer in between counts anew");
            for _ in 0..retries {
                assert!(!health.failed("refused", &rules, T0));
            }
            assert!(health.failed("refused", &rules, T0) && !health.up);
            assert_eq!(health.reason.as_deref(), Some("refused"));
            assert!(!health.failed("timed out", &rules, T0), "it is down once");
            assert_eq!(health.reason.as_deref(), Some("timed out"), "the last reason is the one to tell");
            assert!(health.answered(report(false), &rules, T0) && health.reason.is_none());
        }
    }

    #[test]
    fn a_lost_connection_and_a_failed_probe_are_two_failures() {
        let rules = Rules { retries: 1, ..Rules::default() };
        let mut health = Health::new(nowhere(), T0);
        health.answered(report(false), &rules, T0);
        health.suspected();
        assert!(health.failed("refused", &rules, T0));
        health.answered(report(false), &rules, T0);
        health.suspected();
        health.answered(report(false), &rules, T0);
        assert!(!health.failed("refused", &rules, T0), "the answer took the suspicion away");
    }

    #[test]
    fn a_node_that_must_stay_is_never_down_once_it_was_up() {
        let rules = Rules { disallow_failover: true, ..Rules::default() };
        let mut health = Health::new(nowhere(), T0);
        health.failed("refused", &rules, T0);
        assert!(!health.up);
        health.answered(report(false), &rules, T0);
        for _ in 0..100 {
            assert!(!health.failed("refused", &rules, T0));
        }
        assert!(health.up);
    }

    #[test]
    fn whatever_ends_backends_counts_the_incarnation_up() {
        let rules = Rules::default();
        let mut health = Health::new(nowhere(), T0);
        health.answered(report(true), &rules, T0);
        assert_eq!(health.incarnation, 0, "nobody was connected before the first answer");
        health.answered(report(true), &rules, T0);
        assert_eq!(health.incarnation, 0);
        health.answered(report(false), &rules, T0);
        assert_eq!(health.incarnation, 1, "promoted");
        health.answered(Report { started: Some("one".into()), ..report(false) }, &rules, T0);
        assert_eq!(health.incarnation, 2, "restarted between two probes");
        health.failed("refused", &rules, T0);
        health.answered(Report { started: Some("one".into()), ..report(false) }, &rules, T0);
        assert_eq!(health.incarnation, 3, "came back");
        let tcp = |ports: &[u16]| {
            NodeAddress::Tcp(ports.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect())
        };
        health.resolved(tcp(&[1, 2]));
        assert_eq!(health.incarnation, 3, "the first addresses");
        health.resolved(tcp(&[2, 1]));
        health.resolved(tcp(&[2, 3]));
        assert_eq!(health.incarnation, 3, "another order, and others beside the one in use");
        health.resolved(tcp(&[4]));
        assert_eq!(health.incarnation, 4, "another address");
    }

    #[test]
    fn a_node_that_always_is_the_primary_is_not_asked() {
        let rules = Rules { always_primary: true, ..Rules::default() };
        let mut health = Health::new(nowhere(), T0);
        health.answered(report(true), &rules, T0);
        assert_eq!(health.role, Role::Primary);
    }

    #[test]
    fn lag_has_a_lower_limit_for_coming_back() {
        let rules = Rules { lag_max: Some(1000), ..Rules::default() };
        let mut health = Health::new(nowhere(), T0);
        for (replayed, lagging) in
            [(0, false), (9000, false), (8999, true), (9249, true), (9250, false), (9000, false)]
        {
            health.answered(replica_at(replayed), &rules, T0);
            health.judge_lag((replayed > 0).then_some((Lsn(10_000), None)), true, &rules, T0);
            assert_eq!(health.lagging, lagging, "{replayed}");
            assert_eq!(health.reason.is_some(), lagging);
        }
        health.answered(replica_at(1), &rules, T0);
        health.judge_lag(None, true, &rules, T0);
        assert!(!health.lagging, "without a primary the verdict stays");
    }

    #[test]
    fn time_behind_is_zero_when_all_that_came_is_replayed() {
        let aged = |replayed, received, streaming| Report {
            received: Some(Lsn(received)),
            replayed_age: Some(Duration::from_secs(9)),
            streaming,
            ..replica_at(replayed)
        };
        let zero = Some(Duration::ZERO);
        let nine = Some(Duration::from_secs(9));
        for (report, time) in [
            (aged(100, 100, Some(true)), zero),
            (aged(90, 90, Some(true)), zero),
            (aged(90, 90, None), zero),
            (aged(90, 90, Some(false)), nine),
            (aged(100, 80, Some(false)), zero),
            (aged(80, 90, Some(true)), nine),
        ] {
            assert_eq!(lag(&report, Lsn(100)).time, time, "{report:?}");
        }
        let rules = Rules { lag_max_time: Some(Duration::from_secs(5)), ..Rules::default() };
        let mut health = Health::new(nowhere(), T0);
        health.answered(aged(80, 90, Some(true)), &rules, T0);
        health.judge_lag(Some((Lsn(100), None)), true, &rules, T0);
        assert!(health.lagging);
    }

    #[test]
    fn a_replica_on_a_timeline_that_ended_lags_without_any_limit() {
        let rules = Rules::default();
        let mut health = Health::new(nowhere(), T0);
        let on = |timeline, streaming| Report { timeline: Some(timeline), streaming, ..replica_at(100) };
        health.answered(on(1, Some(false)), &rules, T0);
        health.judge_lag(Some((Lsn(100), Some(1))), true, &rules, T0);
        assert!(!health.lagging);
        for (report, lagging) in [
            (on(1, Some(false)), true),
            // It has found the former primary again.
            (on(1, Some(true)), true),
            (on(2, Some(true)), false),
            (on(1, Some(true)), true),
            // A login without pg_monitor sees the timeline of the last restart point only.
            (on(1, None), false),
        ] {
            health.answered(report.clone(), &rules, T0);
            health.judge_lag(Some((Lsn(100), Some(2))), true, &rules, T0);
            assert_eq!(health.lagging, lagging, "{report:?}");
            let named = health.reason.as_deref().is_some_and(|reason| reason.contains("timeline 1"));
            assert_eq!(named, lagging, "{report:?}");
        }
    }

    #[test]
    fn an_old_position_is_not_compared_with_a_new_one() {
        let rules = Rules { lag_max: Some(10), ..Rules::default() };
        let mut health = Health::new(nowhere(), T0);
        health.answered(replica_at(100), &rules, T0);
        health.judge_lag(Some((Lsn(150), None)), false, &rules, T0);
        assert!(health.lagging, "there was no primary to compare it with when it told its position");
        health.answered(replica_at(200), &rules, T0);
        health.judge_lag(Some((Lsn(200), None)), true, &rules, T0);
        health.judge_lag(Some((Lsn(300), None)), false, &rules, T0);
        assert!(!health.lagging && health.lag.bytes == Some(0));
        health.answered(replica_at(200), &rules, T0);
        health.judge_lag(Some((Lsn(300), None)), true, &rules, T0);
        assert!(health.lagging && health.lag.bytes == Some(100));
        health.judge_lag(Some((Lsn(200), None)), false, &rules, T0);
        assert!(health.lagging);
    }

    #[test]
    fn parts_of_a_limit_do_not_overflow() {
        assert_eq!(Part::WHOLE.of(u64::MAX), u64::MAX);
        assert_eq!(Part::BACK.of(1000), 750);
        assert_eq!(Part::BACK.of(3), 2);
    }
}
