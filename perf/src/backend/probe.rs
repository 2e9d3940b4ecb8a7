//! What pgweir's monitor asks a node, and the one row that answers it: a primary that writes nothing, or a replica that
//! streams and has replayed all of it.
//!
//! The question is one SELECT of up to three groups of columns: whether it is a replica, where its WAL stands and who
//! streams, to which cluster it belongs.

use std::time::{SystemTime, UNIX_EPOCH};

use memchr::memmem::find;

use super::Role;
use crate::wire::backend::{data_row, row_description};

/// How many columns are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    Role = 1,
    Positions = 16,
    Cluster = 18,
}

/// Recognises the question. Others that name the same functions in another order are no business of this server.
pub(super) fn question(text: &[u8]) -> Option<Depth> {
    let names = |name: &str| find(text, name.as_bytes()).is_some();
    if !text.starts_with(b"SELECT pg_is_in_recovery()") {
        None
    } else if names("pg_control_system()") {
        Some(Depth::Cluster)
    } else if names("pg_last_wal_replay_lsn()") {
        Some(Depth::Positions)
    } else {
        Some(Depth::Role)
    }
}

/// RowDescription and DataRow.
pub(super) fn answer(depth: Depth, role: Role) -> [Vec<u8>; 2] {
    let started = timestamp(SystemTime::now());
    let primary = [
        Some("f"),
        Some(POSITION),
        None,
        None,
        None,
        Some("00000001"),
        Some(&*started),
        Some("16777216"),
        Some("8192"),
        Some("f"),
        None,
        None,
        None,
        None,
        None,
        Some("async streaming replica"),
        Some("1"),
        Some(SYSTEM),
    ];
    let replica = [
        Some("t"),
        None,
        Some(POSITION),
        Some(POSITION),
        Some("0.000000"),
        None,
        Some(&*started),
        Some("16777216"),
        Some("8192"),
        Some("t"),
        Some("streaming"),
        Some("1"),
        None,
        None,
        Some("user=postgres application_name=replica"),
        None,
        Some("1"),
        Some(SYSTEM),
    ];
    let values = match role {
        Role::Primary => primary,
        Role::Replica => replica,
    };
    let count = depth as usize;
    let (mut description, mut row) = (Vec::new(), Vec::new());
    row_description(&mut description, &COLUMNS[..count], 0);
    data_row(&mut row, values[..count].iter().map(|value| value.map(str::as_bytes)));
    [description, row]
}

/// A time as the server writes it, in UTC and whole seconds: `2026-01-31 12:00:00+00`.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March put the odd day of a leap year at their end; 719,468 days lie between the first of them
    // and 1970.
    let day = days + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}+00")
}

/// The columns' names, as the server derives them from the question.
const COLUMNS: [&str; 18] = [
    "pg_is_in_recovery",
    "pg_current_wal_insert_lsn",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "extract",
    "substr",
    "pg_postmaster_start_time",
    "pg_size_bytes",
    "current_setting",
    "?column?",
    "status",
    "received_tli",
    "sender_host",
    "sender_port",
    "conninfo",
    "string_agg",
    "timeline_id",
    "system_identifier",
];

/// Where the WAL ends, on all nodes.
const POSITION: &str = "0/3000148";
/// The number that all nodes of this cluster share.
const SYSTEM: &str = "7300000000000000001";

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_as_the_server_does() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00+00"),
            (951_782_400, "2000-02-29 00:00:00+00"),
            (1_709_251_199, "2024-02-29 23:59:59+00"),
            (1_767_225_600, "2026-01-01 00:00:00+00"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_question_is_known_by_its_columns() {
        assert_eq!(question(b"SELECT pg_is_in_recovery() "), Some(Depth::Role));
        assert_eq!(
            question(b"SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn() "),
            Some(Depth::Positions)
        );
        assert_eq!(question(b"SELECT 1"), None);
    }
}
