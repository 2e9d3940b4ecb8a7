//! The texts that a server reads: its settings, its rules of entry, and where a replica finds its primary.

use std::fmt::Write;

/// What a server is for, which decides how careful it is with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be looked at and measured: PostgreSQL's own defaults, safe against a crash of the machine.
    Demo,
    /// To be thrown away after a test: small, started in a moment, and never waiting for a disk.
    Test,
}

/// The name of the role that replicas log in with.
pub const REPLICATION_USER: &str = "replicator";

/// What `postgresql.conf` holds for one node. The last word on a setting wins, so `extra` comes last.
pub fn postgresql_conf(
    purpose: Purpose,
    name: &str,
    port: u16,
    socket_folder: Option<&str>,
    extra: &[(String, String)],
) -> String {
    let port = port.to_string();
    let common = [
        ("cluster_name", name),
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", socket_folder.unwrap_or("")),
        ("password_encryption", "scram-sha-256"),
        ("max_connections", "100"),
        ("wal_level", "replica"),
        ("hot_standby", "on"),
        ("max_wal_senders", "10"),
        // Enough for a replica that was away for a while to catch up by itself.
        ("wal_keep_size", "256MB"),
        // So that an old primary can be rewound and join again as a replica.
        ("wal_log_hints", "on"),
        // A replica asks again soon when its primary is not there; the default of 5 s is felt by who watches.
        ("wal_retrieve_retry_interval", "250ms"),
        // A long read on a replica is not cancelled by a vacuum on the primary.
        ("hot_standby_feedback", "on"),
        ("logging_collector", "off"),
        ("log_line_prefix", "%m [%p] "),
        ("lc_messages", "C"),
    ];
    let throw_away = [
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("shared_buffers", "16MB"),
        ("min_wal_size", "32MB"),
        ("max_wal_size", "1GB"),
        // Left-overs of a killed server then lie in its folder and go with it.
        ("dynamic_shared_memory_type", "mmap"),
        // A test that runs for seconds gains nothing from it and is disturbed by its timing.
        ("autovacuum", "off"),
        ("jit", "off"),
    ];
    let purpose_own: &[(&str, &str)] = match purpose {
        Purpose::Demo => &[],
        Purpose::Test => &throw_away,
    };
    let extra = extra.iter().map(|(setting, value)| (setting.as_str(), value.as_str()));
    let mut text = String::new();
    for (setting, value) in common.iter().chain(purpose_own).copied().chain(extra) {
        let _ = writeln!(text, "{setting} = {}", quoted(value));
    }
    text
}

/// What `pg_hba.conf` holds: `host_lines`, or SCRAM for everybody when there are none.
///
/// The unix socket always takes the SCRAM passwords, so that whoever runs the cluster gets in whatever the other lines
/// say, and replicas always find the line they need.
pub fn pg_hba_conf(host_lines: &[String]) -> String {
    let usual = ["host all all 127.0.0.1/32 scram-sha-256".to_owned()];
    let chosen = if host_lines.is_empty() { &usual[..] } else { host_lines };
    let mut text = format!(
        "local all all scram-sha-256\nhost replication {REPLICATION_USER} 127.0.0.1/32 scram-sha-256\n"
    );
    for line in chosen {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The line of `postgresql.auto.conf` that makes a standby follow its primary, as `pg_basebackup -R` writes it.
///
/// It stands there, and not in `postgresql.conf`, because there `ALTER SYSTEM` can change it.
pub fn primary_conninfo(name: &str, primary_port: u16, password: &str) -> String {
    format!(
        "primary_conninfo = {}\n",
        quoted(&format!("{} password={}", conninfo(name, primary_port), word(password)))
    )
}

/// How a replica reaches its primary, without the password, in libpq's form.
pub fn conninfo(name: &str, primary_port: u16) -> String {
    format!("host=127.0.0.1 port={primary_port} user={REPLICATION_USER} application_name={name}")
}

/// A value of a configuration file (manual, section 20.1.2): quotes doubled, and backslashes too, which escape.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

/// A value of a connection string (manual, section 34.1.1.1).
fn word(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_server_never_waits_for_a_disk_and_a_demos_does() {
        let text = |purpose| postgresql_conf(purpose, "node1", 15_001, Some("/x/node1"), &[]);
        assert!(text(Purpose::Test).contains("fsync = 'off'\n"));
        assert!(!text(Purpose::Demo).contains("fsync"));
        assert!(text(Purpose::Demo).contains("port = '15001'\nunix_socket_directories = '/x/node1'\n"));
    }

    #[test]
    fn what_the_caller_sets_comes_last_and_is_quoted() {
        let extra = [("search_path".to_owned(), r"it's \ x".to_owned())];
        assert!(
            postgresql_conf(Purpose::Test, "n", 1, None, &extra).ends_with("search_path = 'it''s \\\\ x'\n")
        );
    }

    #[test]
    fn the_rules_of_entry_can_be_chosen_but_replicas_always_get_in() {
        assert!(pg_hba_conf(&[]).ends_with("host all all 127.0.0.1/32 scram-sha-256\n"));
        let chosen = pg_hba_conf(&["host all all all trust".to_owned()]);
        assert!(chosen.contains("host replication replicator 127.0.0.1/32 scram-sha-256\n"));
        assert!(chosen.ends_with("host all all all trust\n"));
        assert!(!chosen.contains("host all all 127.0.0.1/32"));
    }

    #[test]
    fn a_password_survives_both_layers_of_quotes() {
        assert_eq!(
            primary_conninfo("node2", 5, r"a'b"),
            "primary_conninfo = 'host=127.0.0.1 port=5 user=replicator application_name=node2 password=''a\\\\''b'''\n"
        );
    }
}
