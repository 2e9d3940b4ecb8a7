//! What a probe asks a node and what it makes of the answer. Text in, values out.

use std::time::Duration;

use crate::control::lsn::{Lsn, WalLayout};
use crate::topology::Moment;

/// What a node said about itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::control) struct Report {
    /// When the question was sent: everything said is at least as new.
    pub sent: Moment,
    /// Whether it replays WAL, as a replica does.
    pub in_recovery: bool,
    /// Where its last WAL record ends. Only of a node that writes.
    pub written: Option<Lsn>,
    /// How far it has received and replayed WAL. Only of a replica.
    pub received: Option<Lsn>,
    pub replayed: Option<Lsn>,
    /// How long ago the last replayed transaction was committed on the primary. Grows while nothing is written.
    pub replayed_age: Option<Duration>,
    pub timeline: Option<u32>,
    /// When it was started: another value means that it was restarted in between. As the node writes it.
    pub started: Option<String>,
    /// Whether WAL streams in. `None`: it is not a replica, or the login may not know.
    pub streaming: Option<bool>,
    /// Where it streams from, as its `primary_conninfo` resolved.
    pub follows: Option<(String, u16)>,
    /// The name under which it streams: the `application_name` of its receiver. Only of a replica.
    pub receiver_name: Option<String>,
    /// Who streams from it. Only of a primary, and empty where the login may not know. At most [`FOLLOWERS_MAX`].
    pub followers: Vec<Follower>,
    /// The number that all nodes of one cluster share.
    pub system: Option<u64>,
}

/// One row of a primary's `pg_stat_replication` (manual, "pg_stat_replication").
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::control) struct Follower {
    /// Its `application_name`. Nothing keeps others from using the same.
    pub name: String,
    /// `startup`, `catchup`, `streaming`, `backup` or `stopping`.
    pub state: String,
    /// `async`, `potential`, `sync` or `quorum`.
    pub sync_state: String,
}

/// How much is asked. Less, where the login lacks a right or the server a function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::control) enum Depth {
    #[default]
    Full,
    /// Without what `pg_control_system()` and `pg_control_checkpoint()` know.
    Positions,
    /// Only whether it is a replica.
    Role,
}

impl Depth {
    /// The next more modest question.
    pub fn less(self) -> Option<Depth> {
        match self {
            Depth::Full => Some(Depth::Positions),
            Depth::Positions => Some(Depth::Role),
            Depth::Role => None,
        }
    }

    /// What is not known any more, for the log.
    pub fn lost(self) -> &'static str {
        match self {
            Depth::Full => "nothing",
            Depth::Positions => "to which cluster it belongs",
            Depth::Role => "its WAL positions, so neither its lag nor whether it has a session's own writes",
        }
    }

    /// One SELECT of one row for PostgreSQL 14 and later (manual, "Recovery Information Functions", "Control Data
    /// Functions", "pg_stat_wal_receiver").
    pub fn query(self) -> String {
        let columns = match self {
            Depth::Full => format!("{ROLE}, {POSITIONS}, {CONTROL}"),
            Depth::Positions => format!("{ROLE}, {POSITIONS}"),
            Depth::Role => ROLE.to_owned(),
        };
        let from = match self {
            Depth::Full | Depth::Positions => FROM,
            Depth::Role => "",
        };
        format!("SELECT {columns} {from}")
    }
}

impl Report {
    /// Reads the row that [`Depth::query`] gave.
    ///
    /// # Errors
    ///
    /// A sentence, where the answer is none that PostgreSQL gives.
    pub fn parse(depth: Depth, row: &[Option<String>], sent: Moment) -> Result<Report, String> {
        let wanted = match depth {
            Depth::Full => 18,
            Depth::Positions => 16,
            Depth::Role => 1,
        };
        if row.len() != wanted {
            return Err(format!(
                "it answers {} columns to a probe, not {wanted}: it is no PostgreSQL",
                row.len()
            ));
        }
        let column = |index: usize| row.get(index).and_then(Option::as_deref);
        let in_recovery = match column(0) {
            Some("t") => true,
            Some("f") => false,
            other => return Err(format!("it answers {other:?} to pg_is_in_recovery()")),
        };
        let lsn = |index| column(index).and_then(|text| text.parse::<Lsn>().ok());
        let number = |index| column(index).and_then(|text| text.parse::<u64>().ok());
        let layout = WalLayout { segment: number(7).unwrap_or(0), page: number(8).unwrap_or(0) };
        let replica = |value: Option<Lsn>| value.filter(|_| in_recovery);
        let port = column(13).and_then(|text| text.parse().ok());
        // A primary knows its timeline from the name of the WAL file it writes; a replica from its receiver, and without
        // one from the last restart point, which may lie before a switch of timelines.
        let writing = column(5).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let timelines = [writing, number(11).and_then(to_u32), number(16).and_then(to_u32)];
        Ok(Report {
            sent,
            in_recovery,
            written: lsn(1).map(|next| next.record_end(layout)),
            received: replica(lsn(2)),
            replayed: replica(lsn(3)),
            replayed_age: column(4)
                .and_then(|text| text.parse::<f64>().ok())
                .map(age)
                .filter(|_| in_recovery),
            timeline: timelines.into_iter().flatten().max(),
            started: column(6).map(str::to_owned),
            streaming: match (in_recovery, column(9), column(10)) {
                (false, ..) => None,
                // There is a receiver and its state is hidden: the login is not a member of pg_monitor.
                (true, Some("t"), None) => None,
                (true, Some("t"), Some(state)) => Some(state == "streaming"),
                (true, Some(_), _) => Some(false),
                (true, None, _) => None,
            },
            follows: column(12).map(str::to_owned).zip(port).filter(|_| in_recovery),
            receiver_name: column(14).and_then(name_in).filter(|_| in_recovery),
            followers: column(15).filter(|_| !in_recovery).map(followers).unwrap_or_default(),
            // Negative in the text form where the highest bit is set: it is a bigint there.
            system: column(17).and_then(|text| text.parse::<i64>().ok()).map(i64::cast_unsigned),
        })
    }

    /// Whether the login may not see the state of the WAL receiver.
    pub fn receiver_hidden(row: &[Option<String>]) -> bool {
        row.get(9).is_some_and(|there| there.as_deref() == Some("t")) && row.get(10) == Some(&None)
    }
}

/// The name that a receiver with this `conninfo` gives the sender. The server writes all settings there that are not
/// empty, and without quotes, so a name that holds blanks is cut short and will match nobody.
fn name_in(conninfo: &str) -> Option<String> {
    let value = |key: &str| {
        conninfo.split_ascii_whitespace().find_map(|setting| setting.strip_prefix(key)?.strip_prefix('='))
    };
    value("application_name").or_else(|| value("fallback_application_name")).map(str::to_owned)
}

/// Reads the lines of column 15.
fn followers(lines: &str) -> Vec<Follower> {
    let follower = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let (sync_state, state, name) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Follower { name: name.into(), state: state.into(), sync_state: sync_state.into() })
    };
    lines.lines().filter_map(follower).take(FOLLOWERS_MAX).collect()
}

fn to_u32(number: u64) -> Option<u32> {
    u32::try_from(number).ok()
}

/// Clocks differ: what lies in the future is as good as now.
fn age(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// Column 0.
const ROLE: &str = "pg_is_in_recovery()";

/// Columns 1 to 15. A CASE is not evaluated ahead for functions that are volatile, as these are.
const POSITIONS: &str = "\
    CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END, \
    pg_last_wal_receive_lsn(), \
    pg_last_wal_replay_lsn(), \
    extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), \
    CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END, \
    pg_postmaster_start_time(), \
    pg_size_bytes(current_setting('wal_segment_size')), \
    current_setting('wal_block_size'), \
    receiver.pid IS NOT NULL, receiver.status, receiver.received_tli, receiver.sender_host, receiver.sender_port, \
    receiver.conninfo, \
    CASE WHEN NOT pg_is_in_recovery() THEN (\
        SELECT string_agg(sync_state || ' ' || state || ' ' || application_name, chr(10)) \
        FROM (SELECT sync_state, state, application_name FROM pg_stat_replication LIMIT 512) AS followers) END";

/// Columns 16 and 17.
const CONTROL: &str = "(pg_control_checkpoint()).timeline_id, (pg_control_system()).system_identifier";

const FROM: &str = "FROM (SELECT 1) AS one LEFT JOIN pg_stat_wal_receiver AS receiver ON true";

/// Rows of `pg_stat_replication` that are looked at, as the query says too: a name is at most 63 bytes, so the answer stays far below what
/// a probe takes.
const FOLLOWERS_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned()).filter(|text| text != "-")).collect()
    }

    const PRIMARY: &[&str] = &[
        "f",
        "0/3002018",
        "-",
        "-",
        "-",
        "00000002",
        "noon",
        "16777216",
        "8192",
        "f",
        "-",
        "-",
        "-",
        "-",
        "-",
        "async streaming node2\nsync catchup the other\nnonsense",
        "1",
        "7123",
    ];
    const REPLICA: &[&str] = &[
        "t",
        "-",
        "0/3002000",
        "0/3001000",
        "1.5",
        "-",
        "noon",
        "16777216",
        "8192",
        "t",
        "streaming",
        "2",
        "10.0.0.1",
        "5432",
        "user=r password=******** dbname=replication fallback_application_name=node2 sslmode=prefer",
        "-",
        "1",
        "-5",
    ];

    fn follower(name: &str, state: &str, sync_state: &str) -> Follower {
        Follower { name: name.into(), state: state.into(), sync_state: sync_state.into() }
    }

    #[test]
    fn a_receiver_has_the_name_it_was_given_before_the_one_to_fall_back_on() {
        for (conninfo, name) in [
            ("fallback_application_name=b application_name=a port=1", Some("a")),
            ("user=x fallback_application_name=walreceiver", Some("walreceiver")),
            ("user=application_name", None),
            ("", None),
        ] {
            assert_eq!(name_in(conninfo).as_deref(), name, "{conninfo}");
        }
    }

    #[test]
    fn a_primary_tells_where_it_writes() {
        let report = Report::parse(Depth::Full, &row(PRIMARY), Moment(7)).expect("it is whole");
        let expected = Report {
            sent: Moment(7),
            written: Some(Lsn(0x300_2000)),
            timeline: Some(2),
            started: Some("noon".into()),
            followers: vec![
                follower("node2", "streaming", "async"),
                follower("the other", "catchup", "sync"),
            ],
            system: Some(7123),
            ..Report::default()
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn a_replica_tells_how_far_it_is_and_whom_it_follows() {
        let report = Report::parse(Depth::Full, &row(REPLICA), Moment(7)).expect("it is whole");
        let expected = Report {
            sent: Moment(7),
            in_recovery: true,
            received: Some(Lsn(0x300_2000)),
            replayed: Some(Lsn(0x300_1000)),
            replayed_age: Some(Duration::from_millis(1500)),
            timeline: Some(2),
            started: Some("noon".into()),
            streaming: Some(true),
            follows: Some(("10.0.0.1".into(), 5432)),
            receiver_name: Some("node2".into()),
            system: Some(u64::MAX - 4),
            ..Report::default()
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn a_login_without_pg_monitor_sees_that_there_is_a_receiver_and_no_more() {
        for (depth, length) in [(Depth::Full, 18), (Depth::Positions, 16)] {
            let mut hidden = row(REPLICA);
            hidden.truncate(length);
            assert!(!Report::receiver_hidden(&hidden));
            hidden[10..16].fill(None);
            assert!(Report::receiver_hidden(&hidden));
            let report = Report::parse(depth, &hidden, Moment(7)).expect("it is whole");
            assert_eq!((report.streaming, report.follows), (None, None));
        }
        let mut gone = row(REPLICA);
        gone[9] = Some("f".into());
        gone[10..16].fill(None);
        assert!(!Report::receiver_hidden(&gone));
        let report = Report::parse(Depth::Full, &gone, Moment(7)).expect("it is whole");
        assert_eq!((report.streaming, report.timeline), (Some(false), Some(1)));
    }

    #[test]
    fn the_most_modest_question_tells_the_role() {
        let report = Report::parse(Depth::Role, &row(&["t"]), Moment(7)).expect("it is whole");
        assert_eq!(report, Report { sent: Moment(7), in_recovery: true, ..Report::default() });
        assert!(Report::parse(Depth::Role, &row(&["maybe"]), Moment(7)).is_err());
        assert!(Report::parse(Depth::Full, &row(&["t"]), Moment(7)).is_err());
    }

    #[test]
    fn each_question_is_more_modest_than_the_one_before() {
        assert_eq!(Depth::Full.less().and_then(Depth::less), Some(Depth::Role));
        assert_eq!(Depth::Role.less(), None);
        assert!(Depth::Full.query().contains("pg_control_system"));
        assert!(!Depth::Positions.query().contains("pg_control"));
        assert_eq!(Depth::Role.query().trim(), "SELECT pg_is_in_recovery()");
        assert!(Depth::Full.query().contains(&format!("LIMIT {FOLLOWERS_MAX})")));
    }

    proptest! {
        #[test]
        fn any_row_is_read_or_refused(
            row in proptest::collection::vec(proptest::option::of("[tf0-9A-F/.= \n-]{0,18}"), 0..20),
        ) {
            for depth in [Depth::Full, Depth::Positions, Depth::Role] {
                let _ = Report::parse(depth, &row, Moment(0));
            }
            Report::receiver_hidden(&row);
        }
    }
}
