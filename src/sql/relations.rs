//! System views that describe one node rather than the cluster.
//!
//! Replicas have the same catalogs, so reading `pg_class` or `information_schema` may go anywhere. These have
//! another answer on every node, or another for every backend; whoever reads them means the primary.

/// Whether `name`, as it was written, is such a view. Unquoted names come in any case.
#[inline]
pub(super) fn describes_one_node(name: &[u8]) -> bool {
    // Nearly every name of an application leaves here.
    if name.len() < 4 || !name[..3].eq_ignore_ascii_case(b"pg_") {
        return false;
    }
    let rest = &name[3..];
    PREFIXES.iter().any(|prefix| starts_with(rest, prefix))
        || VIEWS.iter().any(|view| rest.eq_ignore_ascii_case(view))
}

/// Whether `name` is the view of the prepared statements of a backend.
pub(super) fn is_prepared_view(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"pg_prepared_statements")
}

/// Whether `name` is a schema of temporary objects: `pg_temp`, which stands for this backend's own, or
/// `pg_temp_7`.
#[inline]
pub(super) fn is_temporary_schema(name: &[u8]) -> bool {
    starts_with(name, TEMPORARY) && matches!(name.get(TEMPORARY.len()), None | Some(b'_'))
}

/// Whether `value`, a setting's as it was written, may begin with such a schema: it does, or escapes in it
/// may spell one.
pub(super) fn may_begin_with_temporary_schema(value: &[u8]) -> bool {
    let escapes = matches!(value, [b'e' | b'E' | b'u' | b'U', b'\'' | b'&', ..]) && value.contains(&b'\\');
    escapes || value.windows(TEMPORARY.len()).any(|part| part.eq_ignore_ascii_case(TEMPORARY))
}

fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
}

const TEMPORARY: &[u8] = b"pg_temp";

/// Families of views: activity and statistics, which every node counts for itself. Not `pg_stats` and
/// `pg_statistic`, which are about columns and come with the catalogs. `pg_buffercache` is an extension's,
/// and about this node's memory.
const PREFIXES: &[&[u8]] =
    &[b"stat_", b"statio_", b"buffercache", b"shmem_", b"replication_", b"prepared_", b"wal"];

const VIEWS: &[&[u8]] = &[
    // the backend's session, its settings and its memory
    b"cursors",
    b"settings",
    b"backend_memory_contexts",
    b"aios",
    b"locks",
    // what is installed and configured on the machine
    b"available_extensions",
    b"available_extension_versions",
    b"config",
    b"file_settings",
    b"hba_file_rules",
    b"ident_file_mappings",
    b"timezone_abbrevs",
    b"timezone_names",
    b"wait_events",
    // a sequence's last value: a replica's may be up to 32 ahead
    b"sequences",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_about_one_node() {
        for name in [
            "pg_stat_activity",
            "PG_STAT_REPLICATION",
            "pg_statio_user_tables",
            "pg_locks",
            "pg_settings",
            "pg_prepared_statements",
            "pg_prepared_xacts",
            "pg_replication_slots",
            "pg_cursors",
            "pg_sequences",
        ] {
            assert!(describes_one_node(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn catalogs_are_replicated() {
        for name in [
            "pg_class",
            "pg_stats",
            "pg_stats_ext",
            "pg_statistic",
            "pg_sequence",
            "pg_roles",
            "pg_",
            "pg",
            "stat_x",
        ] {
            assert!(!describes_one_node(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn temporary_schemas() {
        assert!(is_temporary_schema(b"pg_temp"));
        assert!(is_temporary_schema(b"PG_TEMP_12"));
        assert!(!is_temporary_schema(b"pg_tem"));
        assert!(!is_temporary_schema(b"temp"));
    }
}
