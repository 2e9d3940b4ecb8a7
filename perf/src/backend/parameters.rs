//! The parameters that a server reports (manual, "ParameterStatus"), as PostgreSQL 15 does after a login.

use super::Role;

/// Names and values after a login, in the server's order. `application_name` is the client's own.
pub(super) fn reported(role: Role) -> [(&'static str, &'static str); 13] {
    let standby = match role {
        Role::Primary => "off",
        Role::Replica => "on",
    };
    [
        ("in_hot_standby", standby),
        ("integer_datetimes", "on"),
        ("TimeZone", "UTC"),
        ("IntervalStyle", "postgres"),
        ("is_superuser", "on"),
        ("application_name", ""),
        ("default_transaction_read_only", "off"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("standard_conforming_strings", "on"),
        ("session_authorization", "postgres"),
        ("server_version", "15.14"),
        ("server_encoding", "UTF8"),
    ]
}

/// The name, as the server writes it, of a parameter that is reported when it changes.
pub(super) fn reported_name(name: &[u8]) -> Option<&'static str> {
    let fixed = ["in_hot_standby", "integer_datetimes", "is_superuser", "server_version", "server_encoding"];
    reported(Role::Primary)
        .into_iter()
        .map(|(reported, _)| reported)
        .find(|reported| reported.as_bytes().eq_ignore_ascii_case(name) && !fixed.contains(reported))
}

/// The value that `SHOW name` shows.
pub(super) fn shown(name: &[u8], role: Role) -> Option<&'static str> {
    let read_only = match role {
        Role::Primary => "off",
        Role::Replica => "on",
    };
    let silent = [
        ("transaction_read_only", read_only),
        ("transaction_isolation", "read committed"),
        ("search_path", "\"$user\", public"),
        ("server_version_num", "150014"),
    ];
    let mut all = reported(role).into_iter().chain(silent);
    all.find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(_, value)| value)
}
