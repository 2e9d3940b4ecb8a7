//! Every name that any pgpool.conf since 1.0 may hold, and what pgweir does with it.
//!
//! One group per version that introduced the names. Names that a later version took away stay
//! here, with that version: old files are the ones that people bring.

use super::Use;
use super::{access, cluster, failover, listen, log, nodes, pool, probe};

/// One name of a pgpool.conf.
pub(super) struct Name {
    pub name: &'static str,
    pub numbered: Numbered,
    /// The newer name and the version that brought it.
    pub renamed: Option<(&'static str, &'static str)>,
    /// The version that dropped it without a newer name.
    pub dropped: Option<&'static str>,
    /// Whether its value is a password.
    pub secret: bool,
    pub meaning: Meaning,
}

/// Whether a name carries the number of a node, as in `backend_port0`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Numbered {
    Never,
    /// With a number for one node, without for all.
    Maybe,
    Always,
}

pub(super) enum Meaning {
    Used(Use),
    /// That of its newer name.
    Renamed,
    /// Something pgweir may come to do; the words say what there is today.
    NotYet(&'static str),
    /// Nothing, ever; the words say why.
    Never(&'static str),
}

/// What a name as written stands for.
pub(super) enum Found {
    /// The name in the table and the number behind it.
    Name(&'static Name, Option<u32>),
    /// A known name without the number it needs.
    NumberMissing,
    /// A known name whose number is beyond the last node.
    NumberTooLarge,
    Unknown,
}

/// Looks a name up as written.
pub(super) fn find(written: &str) -> Found {
    if let Some(name) = all().find(|name| name.name == written) {
        return match name.numbered {
            Numbered::Always => Found::NumberMissing,
            Numbered::Never | Numbered::Maybe => Found::Name(name, None),
        };
    }
    let base = written.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &written[base.len()..];
    let numbered = all().find(|name| name.name == base && name.numbered != Numbered::Never);
    match (numbered, digits.parse()) {
        (Some(name), Ok(number)) if number < NODES_MAX => Found::Name(name, Some(number)),
        (Some(_), _) => Found::NumberTooLarge,
        (None, _) => Found::Unknown,
    }
}

/// Every name, old ones too.
pub(super) fn all() -> impl Iterator<Item = &'static Name> {
    HISTORY.iter().flat_map(|(_, names)| names.iter())
}

/// The newest of a name's names, whose meaning counts.
pub(super) fn newest(name: &'static Name) -> &'static Name {
    match (&name.meaning, name.renamed) {
        (Meaning::Renamed, Some((to, _))) => all().find(|other| other.name == to).unwrap_or(name),
        _ => name,
    }
}

/// Node numbers end before this, as in pgpool-II.
pub(super) const NODES_MAX: u32 = 128;

#[rustfmt::skip]
const HISTORY: &[(&str, &[Name])] = &[
    ("1.0", &[
        later("allow_inet_domain_socket", "listen_addresses says where pgweir listens").dropped("3.6"),
        used("authentication_timeout", access::authentication_timeout),
        used("backend_hostname", nodes::hostname).always(),
        used("backend_port", nodes::port).always(),
        used("backend_socket_dir", nodes::socket_dir).dropped("3.5"),
        used("backend_weight", nodes::weight).always(),
        never("child_life_time", PROCESSES),
        never("child_max_connections", PROCESSES),
        used("connection_cache", pool::connection_cache),
        used("connection_life_time", pool::connection_life_time),
        used("enable_pool_hba", access::enable_pool_hba),
        later("enable_query_cache", CACHE).dropped("3.4"),
        used("health_check_period", probe::health_check_period).maybe(),
        used("health_check_timeout", probe::health_check_timeout).maybe(),
        used("health_check_user", probe::health_check_user).maybe(),
        used("ignore_leading_white_space", cluster::ignore_leading_white_space),
        never("insert_lock", EVERY_NODE),
        used("listen_addresses", listen::listen_addresses),
        used("load_balance_mode", cluster::load_balance_mode),
        used("log_connections", log::log_connections),
        later("log_hostname", LOGGING),
        later("log_statement", LOGGING),
        renamed("logdir", "work_dir", "4.7"),
        used("master_slave_mode", cluster::master_slave_mode).was("backend_clustering_mode", "4.2"),
        never("max_pool", "every session shares the backends of [pool] size"),
        used("num_init_children", pool::num_init_children),
        used("parallel_mode", cluster::parallel_mode).dropped("3.5"),
        later("pcp_port", PCP),
        later("pcp_socket_dir", PCP),
        later("pcp_timeout", PCP).dropped("3.5"),
        never("pgpool2_hostname", PARALLEL).dropped("3.5"),
        used("port", listen::port),
        renamed("print_timestamp", "log_line_prefix", "3.4"),
        never("replicate_select", EVERY_NODE),
        used("replication_mode", cluster::replication_mode).was("backend_clustering_mode", "4.2"),
        never("replication_stop_on_mismatch", EVERY_NODE),
        never("replication_strict", EVERY_NODE).dropped("2.2"),
        never("replication_timeout", EVERY_NODE).dropped("2.2"),
        used("reset_query_list", pool::reset_query_list),
        renamed("socket_dir", "unix_socket_directories", "4.4"),
        never("system_db_dbname", PARALLEL).dropped("3.5"),
        never("system_db_hostname", PARALLEL).dropped("3.5"),
        never("system_db_password", PARALLEL).dropped("3.5").secret(),
        never("system_db_port", PARALLEL).dropped("3.5"),
        never("system_db_schema", PARALLEL).dropped("3.5"),
        never("system_db_user", PARALLEL).dropped("3.5"),
    ]),
    ("2.2", &[
        used("backend_data_directory", nodes::data_directory).always(),
        used("client_idle_limit", pool::client_idle_limit),
        later("client_idle_limit_in_recovery", RECOVERY),
        used("failback_command", failover::failback_command),
        used("failover_command", failover::failover_command),
        later("pid_file_name", "pgweir writes no pid file"),
        later("recovery_1st_stage_command", RECOVERY),
        later("recovery_2nd_stage_command", RECOVERY),
        later("recovery_password", RECOVERY).secret(),
        later("recovery_timeout", RECOVERY),
        later("recovery_user", RECOVERY),
    ]),
    ("2.3", &[
        renamed("fail_over_on_backend_error", "failover_on_backend_error", "4.0"),
        never("lobj_lock_table", EVERY_NODE),
        later("log_per_node_statement", LOGGING),
        later("ssl", TLS),
        later("ssl_ca_cert", TLS),
        later("ssl_ca_cert_dir", TLS),
        later("ssl_cert", TLS),
        later("ssl_key", TLS),
    ]),
    ("3.0", &[
        renamed("black_function_list", "write_function_list", "4.2"),
        renamed("debug_level", "log_min_messages", "3.4"),
        used("delay_threshold", cluster::delay_threshold),
        never("failover_if_affected_tuples_mismatch", EVERY_NODE),
        later("log_standby_delay", LOGGING),
        used("master_slave_sub_mode", cluster::master_slave_sub_mode).was("backend_clustering_mode", "4.2"),
        used("pool_passwd", access::pool_passwd),
        renamed("white_function_list", "read_only_function_list", "4.2"),
    ]),
    ("3.1", &[
        used("backend_flag", nodes::flag).always(),
        renamed("follow_master_command", "follow_primary_command", "4.2"),
        used("health_check_password", probe::health_check_password).maybe().secret(),
        later("log_destination", LOGGING),
        never("relcache_expire", RELCACHE),
        used("sr_check_password", probe::sr_check_password).secret(),
        used("sr_check_period", probe::sr_check_period),
        used("sr_check_user", probe::sr_check_user),
        later("syslog_facility", LOGGING),
        later("syslog_ident", LOGGING),
    ]),
    ("3.2", &[
        later("arping_cmd", WATCHDOG),
        later("arping_path", WATCHDOG),
        renamed("black_memqcache_table_list", "cache_unsafe_memqcache_table_list", "4.2"),
        never("check_temp_table", "a session keeps its backend while it has temporary tables"),
        renamed("delegate_IP", "delegate_ip", "4.4"),
        used("health_check_max_retries", probe::health_check_max_retries).maybe(),
        used("health_check_retry_delay", probe::health_check_retry_delay).maybe(),
        later("if_down_cmd", WATCHDOG),
        later("if_up_cmd", WATCHDOG),
        renamed("ifconfig_path", "if_cmd_path", "3.5"),
        later("memory_cache_enabled", CACHE),
        later("memqcache_auto_cache_invalidation", CACHE),
        later("memqcache_cache_block_size", CACHE),
        later("memqcache_expire", CACHE),
        later("memqcache_max_num_cache", CACHE),
        later("memqcache_maxcache", CACHE),
        later("memqcache_memcached_host", CACHE),
        later("memqcache_memcached_port", CACHE),
        later("memqcache_method", CACHE),
        later("memqcache_oiddir", CACHE),
        later("memqcache_total_size", CACHE),
        renamed("other_pgpool_hostname", "hostname", "4.2").always(),
        renamed("other_pgpool_port", "pgpool_port", "4.2").always(),
        renamed("other_wd_port", "wd_port", "4.2").always(),
        later("ping_path", WATCHDOG),
        never("relcache_size", RELCACHE),
        later("trusted_servers", WATCHDOG),
        later("use_watchdog", WATCHDOG),
        renamed("wd_hostname", "hostname", "4.2"),
        later("wd_interval", WATCHDOG),
        later("wd_life_point", WATCHDOG),
        later("wd_lifecheck_query", WATCHDOG),
        later("wd_port", WATCHDOG).maybe(),
        renamed("white_memqcache_table_list", "cache_safe_memqcache_table_list", "4.2"),
    ]),
    ("3.3", &[
        later("clear_memqcache_on_escalation", WATCHDOG),
        renamed("heartbeat_destination", "heartbeat_hostname", "4.2").always(),
        renamed("heartbeat_destination_port", "heartbeat_port", "4.2").always(),
        later("heartbeat_device", WATCHDOG).always(),
        used("search_primary_node_timeout", failover::search_primary_node_timeout),
        later("wd_authkey", WATCHDOG).secret(),
        later("wd_escalation_command", WATCHDOG),
        later("wd_heartbeat_deadtime", WATCHDOG),
        later("wd_heartbeat_keepalive", WATCHDOG),
        renamed("wd_heartbeat_port", "heartbeat_port", "4.2"),
        later("wd_lifecheck_dbname", WATCHDOG),
        later("wd_lifecheck_method", WATCHDOG),
        later("wd_lifecheck_password", WATCHDOG).secret(),
        later("wd_lifecheck_user", WATCHDOG),
    ]),
    ("3.4", &[
        used("allow_sql_comments", cluster::allow_sql_comments),
        later("app_name_redirect_preference_list", REDIRECT),
        later("check_unlogged_table", "a read of an unlogged table is routed like any other"),
        later("client_min_messages", LOGGING),
        used("connect_timeout", pool::connect_timeout).maybe(),
        later("database_redirect_preference_list", REDIRECT),
        used("listen_backlog_multiplier", listen::listen_backlog_multiplier),
        later("log_error_verbosity", LOGGING),
        later("log_line_prefix", LOGGING),
        used("log_min_messages", log::log_min_messages),
        later("pcp_listen_addresses", PCP),
        renamed("print_user", "log_line_prefix", "3.4"),
        later("ssl_ciphers", TLS),
        later("ssl_prefer_server_ciphers", TLS),
    ]),
    ("3.5", &[
        used("health_check_database", probe::health_check_database).maybe(),
        later("if_cmd_path", WATCHDOG),
        never("serialize_accept", PROCESSES),
        used("sr_check_database", probe::sr_check_database),
        later("wd_de_escalation_command", WATCHDOG),
        later("wd_ipc_socket_dir", WATCHDOG),
        later("wd_monitoring_interfaces_list", WATCHDOG),
        later("wd_priority", WATCHDOG),
    ]),
    ("3.7", &[
        later("allow_multiple_failover_requests_from_node", WATCHDOG),
        later("failover_require_consensus", WATCHDOG),
        later("failover_when_quorum_exists", WATCHDOG),
        later("health_check_test", "pgweir's probes always ask the node itself"),
    ]),
    ("4.0", &[
        used("allow_clear_text_frontend_auth", access::allow_clear_text_frontend_auth),
        renamed("black_query_pattern_list", "primary_routing_query_pattern_list", "4.2"),
        used("detach_false_primary", failover::detach_false_primary),
        used("disable_load_balance_on_write", cluster::disable_load_balance_on_write),
        used("failover_on_backend_error", failover::failover_on_backend_error),
        later("log_client_messages", LOGGING),
    ]),
    ("4.1", &[
        used("auto_failback", failover::auto_failback),
        used("auto_failback_interval", failover::auto_failback_interval),
        used("backend_application_name", nodes::application_name).always(),
        later("enable_consensus_with_half_votes", WATCHDOG),
        never("enable_shared_relcache", RELCACHE),
        later("notice_per_node_statement", LOGGING),
        never("relcache_query_target", RELCACHE),
        used("reserved_connections", pool::reserved_connections),
        later("ssl_dh_params_file", TLS),
        later("ssl_ecdh_curve", TLS),
        used("statement_level_load_balance", cluster::statement_level_load_balance),
    ]),
    ("4.2", &[
        used("backend_clustering_mode", cluster::backend_clustering_mode),
        later("cache_safe_memqcache_table_list", CACHE),
        later("cache_unsafe_memqcache_table_list", CACHE),
        later("dml_adaptive_object_relationship_list", FUNCTIONS),
        used("follow_primary_command", failover::follow_primary_command),
        later("heartbeat_hostname", WATCHDOG).always(),
        later("heartbeat_port", WATCHDOG).maybe(),
        later("hostname", WATCHDOG).maybe(),
        later("log_directory", LOGGING),
        used("log_disconnections", log::log_disconnections),
        later("log_file_mode", LOGGING),
        later("log_filename", LOGGING),
        later("log_rotation_age", LOGGING),
        later("log_rotation_size", LOGGING),
        later("log_truncate_on_rotation", LOGGING),
        later("logging_collector", LOGGING),
        later("pgpool_port", WATCHDOG).always(),
        later("primary_routing_query_pattern_list", FUNCTIONS),
        later("read_only_function_list", FUNCTIONS),
        later("ssl_crl_file", TLS),
        later("ssl_passphrase_command", TLS),
        later("write_function_list", FUNCTIONS),
    ]),
    ("4.3", &[
        used("failover_on_backend_shutdown", failover::failover_on_backend_shutdown),
        later("prefer_lower_delay_standby", "a replica over its lag limit takes no new reads"),
        later("wd_lost_node_removal_timeout", WATCHDOG),
        later("wd_no_show_node_removal_timeout", WATCHDOG),
        later("wd_remove_shutdown_nodes", WATCHDOG),
    ]),
    ("4.4", &[
        used("delay_threshold_by_time", cluster::delay_threshold_by_time),
        later("delegate_ip", WATCHDOG),
        never("max_spare_children", PROCESSES),
        never("min_spare_children", PROCESSES),
        never("process_management_mode", PROCESSES),
        never("process_management_strategy", PROCESSES),
        later("trusted_server_command", WATCHDOG),
        used("unix_socket_directories", listen::unix_socket_directories),
        later("unix_socket_group", "the socket belongs to the group pgweir runs as"),
        used("unix_socket_permissions", listen::unix_socket_permissions),
    ]),
    ("4.5", &[
        later("log_pcp_processes", PCP),
        later("user_redirect_preference_list", REDIRECT),
    ]),
    ("4.6", &[
        later("log_backend_messages", LOGGING),
    ]),
    ("4.7", &[
        later("recovery_database", RECOVERY),
        later("wd_heartbeat_listen_addresses", WATCHDOG),
        later("wd_heartbeat_listen_port", WATCHDOG),
        later("wd_listen_address", WATCHDOG),
        later("wd_listen_port", WATCHDOG),
        later("work_dir", "pgweir keeps no status file and asks every node afresh"),
    ]),
    ("4.8", &[
        later("replication_delay_source_cmd", "pgweir asks the nodes for their positions"),
        later("replication_delay_source_timeout", "pgweir asks the nodes for their positions"),
        later("track_table_mutation_cold_start_duration", CAUSAL),
        later("track_table_mutation_max_staleness", CAUSAL),
        later("track_table_mutation_table_buckets", CAUSAL),
        later("track_table_mutation_table_size", CAUSAL),
        later("track_table_mutation_ttl_factor", CAUSAL),
    ]),
];

const CACHE: &str = "pgweir has no query cache";
const CAUSAL: &str = "[route] causal keeps reads from being older than the writes before them";
const EVERY_NODE: &str = "pgweir never writes to several nodes; PostgreSQL replicates";
const FUNCTIONS: &str = "pgweir decides by the statement alone what may go to a replica";
const LOGGING: &str = "pgweir logs to stderr, as [log] says";
const PARALLEL: &str = "parallel queries went away in pgpool-II itself";
const PCP: &str = "pgweir has no PCP port; its admin commands are SQL";
const PROCESSES: &str = "pgweir serves all clients from a few threads, not from child processes";
const RECOVERY: &str = "pgweir does not rebuild nodes";
const REDIRECT: &str = "pgweir chooses nodes by weight and load";
const RELCACHE: &str = "pgweir asks no catalog before it routes a statement";
const TLS: &str = "pgweir offers no TLS";
const WATCHDOG: &str = "pgweir has no watchdog";

const fn name(name: &'static str, meaning: Meaning) -> Name {
    Name { name, numbered: Numbered::Never, renamed: None, dropped: None, secret: false, meaning }
}

const fn used(written: &'static str, apply: Use) -> Name {
    name(written, Meaning::Used(apply))
}

const fn later(written: &'static str, today: &'static str) -> Name {
    name(written, Meaning::NotYet(today))
}

const fn never(written: &'static str, why: &'static str) -> Name {
    name(written, Meaning::Never(why))
}

const fn renamed(written: &'static str, to: &'static str, since: &'static str) -> Name {
    name(written, Meaning::Renamed).was(to, since)
}

impl Name {
    const fn always(mut self) -> Name {
        self.numbered = Numbered::Always;
        self
    }

    const fn maybe(mut self) -> Name {
        self.numbered = Numbered::Maybe;
        self
    }

    /// Has a newer name, but a meaning of its own.
    const fn was(mut self, to: &'static str, since: &'static str) -> Name {
        self.renamed = Some((to, since));
        self
    }

    const fn dropped(mut self, version: &'static str) -> Name {
        self.dropped = Some(version);
        self
    }

    const fn secret(mut self) -> Name {
        self.secret = true;
        self
    }
}
