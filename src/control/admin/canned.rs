//! Settings and functions that drivers ask for when they connect. The console has no such settings; these are the values
//! with which every driver goes on.

/// A setting's name as PostgreSQL writes it, and its value. `name` is in lower case.
pub(super) fn setting(name: &str) -> Option<(&'static str, String)> {
    let found = SETTINGS.iter().find(|(setting, _)| setting.eq_ignore_ascii_case(name));
    match found {
        Some((setting, value)) => Some((setting, (*value).to_owned())),
        None if name == "server_version" => Some(("server_version", env!("CARGO_PKG_VERSION").to_owned())),
        None => None,
    }
}

/// What a function without arguments returns.
pub(super) fn function(name: &str) -> Option<String> {
    Some(match name {
        "current_database" => "pgweir".to_owned(),
        "current_schema" => "public".to_owned(),
        "pg_is_in_recovery" => "f".to_owned(),
        "version" => super::version(),
        _ => return None,
    })
}

const SETTINGS: &[(&str, &str)] = &[
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_read_only", "off"),
    ("extra_float_digits", "1"),
    ("in_hot_standby", "off"),
    ("integer_datetimes", "on"),
    ("IntervalStyle", "postgres"),
    ("is_superuser", "on"),
    ("max_identifier_length", "63"),
    ("search_path", "\"$user\", public"),
    ("server_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
    ("statement_timeout", "0"),
    ("TimeZone", "UTC"),
    ("transaction_isolation", "read committed"),
    ("transaction_read_only", "off"),
];
