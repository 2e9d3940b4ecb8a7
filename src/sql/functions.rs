//! What calling a function may do: harmless anywhere, or leaving something behind, or unknown and so a write.
//!
//! Where the harmless ones come from: all names in `pg_proc` of PostgreSQL 15 and 18, schema `pg_catalog`, of
//! which *every* overload is marked stable or immutable in both; without those that only the system calls
//! (support functions of operators, aggregates, types, triggers, languages); with the few volatile ones that
//! a replica may run all the same. Then, by hand, without those below, although they are marked stable or
//! immutable:
//!
//! - `current_setting`: a setting may describe the node (`in_hot_standby`, `port`); harmless only with a
//!   custom setting's name, which `scan` looks at
//! - `version`, `pg_config`, `pg_available_extensions`, `pg_timezone_names`, `pg_tablespace_location`,
//!   `unicode_version`, `pg_numa_available`, `pg_conf_load_time`, `pg_postmaster_start_time`, …: what is
//!   installed on one machine, or happened there
//! - `pg_backend_pid`, `inet_client_addr`, `inet_server_addr`, `system_user`, `pg_my_temp_schema`,
//!   `pg_prepared_statement`, `pg_cursor`, `pg_listening_channels`, `pg_show_all_settings`, …: one backend's
//!   own
//! - `txid_current`, `pg_current_xact_id`: they write; `pg_current_snapshot` and their other kin: they number
//!   the primary's transactions
//! - `pg_walfile_name`: a standby refuses it
//! - `pg_stat_get_…`, `pg_get_replication_slots`: every node counts for itself
//! - `table_to_xml` and its kin: they run queries of their own, as do the volatile `query_to_xml`,
//!   `cursor_to_xml`, `ts_stat` and `ts_rewrite`
//!
//! and, marked volatile, not taken in: the sizes of relations (`pg_table_size`, …: an unlogged table has none
//! on a standby), large objects (`lo_get`, …), files, slots, statistics, signals, locks, and all that changes
//! something.
//!
//! A function of a user's own that shares a harmless name is beyond us: `pg_catalog` is searched first, but
//! another type of argument may still find the user's. A name with any other schema than `pg_catalog` is
//! unknown.

use std::sync::LazyLock;

use super::effects::Effects;

/// What calling a function by some name may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    /// May run on a replica, and answers there as on the primary.
    Harmless,
    /// Runs on the primary and leaves nothing in the session.
    Primary,
    /// Runs on the primary and leaves this behind.
    Leaves(Effects),
    /// Not ours to judge, so it runs on the primary.
    Unknown,
}

/// The function of that name, which is folded to lower case unless it was `quoted`.
pub(super) fn function(name: &[u8], quoted: bool) -> Function {
    if name.len() > NAME_MAX {
        return Function::Unknown;
    }
    let mut buffer = [0; NAME_MAX];
    let folded = &mut buffer[..name.len()];
    folded.copy_from_slice(name);
    if !quoted {
        folded.make_ascii_lowercase();
    }
    if let Some(found) = TABLE.find(folded) {
        return found;
    }
    match EXTENSIONS.iter().any(|prefix| folded.starts_with(prefix)) {
        true => Function::Leaves(Effects::OPAQUE),
        false => Function::Unknown,
    }
}

/// An open-addressing table: for each hash the index of a name, or of the next one where that is taken.
struct Table {
    slots: Box<[u16; SLOTS]>,
    names: Vec<(&'static str, Function)>,
}

impl Table {
    fn new() -> Self {
        let harmless = [STABLE, VOLATILE, TYPES]
            .into_iter()
            .flat_map(str::split_ascii_whitespace)
            .map(|name| (name, Function::Harmless));
        let primary = PRIMARY.split_ascii_whitespace().map(|name| (name, Function::Primary));
        let leaving = LEAVING.iter().map(|(name, effects)| (*name, Function::Leaves(*effects)));
        let names: Vec<_> = harmless.chain(primary).chain(leaving).collect();
        let mut slots = Box::new([FREE; SLOTS]);
        for (index, (name, _)) in names.iter().enumerate() {
            let mut slot = hash(name.as_bytes());
            while slots[slot] != FREE {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = index as u16; // far fewer names than slots, and fewer slots than 65535
        }
        Table { slots, names }
    }

    fn find(&self, name: &[u8]) -> Option<Function> {
        let mut slot = hash(name);
        loop {
            let index = self.slots[slot];
            if index == FREE {
                return None;
            }
            let (found, function) = self.names[index as usize];
            if found.as_bytes() == name {
                return Some(function);
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

/// FNV-1a.
fn hash(name: &[u8]) -> usize {
    let hash =
        name.iter().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 15)) as usize % SLOTS
}

static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// Names of PostgreSQL's own functions are shorter.
pub(super) const NAME_MAX: usize = 63;
const SLOTS: usize = 2048;
const FREE: u16 = u16::MAX;

/// Stable or immutable in every overload, and the same on every node.
const STABLE: &str = "\
    abbrev abs acldefault aclexplode acos acosd acosh age any_value area array_agg \
    array_append array_cat array_dims array_fill array_length array_lower array_ndims \
    array_position array_positions array_prepend array_remove array_replace array_reverse \
    array_sort array_to_json array_to_string array_to_tsvector array_upper ascii asin asind \
    asinh atan atan2 atan2d atand atanh avg bit bit_and bit_count bit_length bit_or bit_xor \
    bool bool_and bool_or bound_box box bpchar broadcast btrim bytea cardinality casefold \
    cash_words cbrt ceil ceiling center char char_length character_length chr cidr circle \
    col_description concat concat_ws convert convert_from convert_to corr cos cosd cosh cot \
    cotd count covar_pop covar_samp crc32 crc32c cume_dist current_database current_schema \
    current_schemas current_user date date_add date_bin date_part date_subtract date_trunc \
    datemultirange daterange decode degrees dense_rank diagonal diameter div encode enum_first \
    enum_last enum_range erf erfc every exp extract factorial family first_value float4 float8 \
    floor format format_type gamma gcd generate_series generate_subscripts get_bit get_byte \
    get_current_ts_config getdatabaseencoding getpgusername has_any_column_privilege \
    has_column_privilege has_database_privilege has_foreign_data_wrapper_privilege \
    has_function_privilege has_language_privilege has_largeobject_privilege \
    has_parameter_privilege has_schema_privilege has_sequence_privilege has_server_privilege \
    has_table_privilege has_tablespace_privilege has_type_privilege hash_record hashint4 \
    hashint8 hashtext hashtextextended height host hostmask inet_merge inet_same_family \
    initcap int2 int4 int4multirange int4range int8 int8multirange int8range interval \
    is_normalized isclosed isempty isfinite ishorizontal isopen isparallel isperp isvertical \
    json_agg json_agg_strict json_array_elements json_array_elements_text json_array_length \
    json_build_array json_build_object json_each json_each_text json_extract_path \
    json_extract_path_text json_object json_object_agg json_object_agg_strict \
    json_object_agg_unique json_object_agg_unique_strict json_object_keys json_populate_record \
    json_populate_recordset json_strip_nulls json_to_record json_to_recordset json_to_tsvector \
    json_typeof jsonb_agg jsonb_agg_strict jsonb_array_elements jsonb_array_elements_text \
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text \
    jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object jsonb_object_agg \
    jsonb_object_agg_strict jsonb_object_agg_unique jsonb_object_agg_unique_strict \
    jsonb_object_keys jsonb_path_exists jsonb_path_exists_tz jsonb_path_match \
    jsonb_path_match_tz jsonb_path_query jsonb_path_query_array jsonb_path_query_array_tz \
    jsonb_path_query_first jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record \
    jsonb_populate_record_valid jsonb_populate_recordset jsonb_pretty jsonb_set jsonb_set_lax \
    jsonb_strip_nulls jsonb_to_record jsonb_to_recordset jsonb_to_tsvector jsonb_typeof \
    justify_days justify_hours justify_interval lag last_value lcm lead left length lgamma \
    like like_escape line ln log log10 lower lower_inc lower_inf lpad lseg ltrim macaddr \
    macaddr8 macaddr8_set7bit make_date make_interval make_time make_timestamp \
    make_timestamptz makeaclitem masklen max md5 min min_scale mod mode money multirange name \
    netmask network normalize now npoints nth_value ntile num_nonnulls num_nulls numeric \
    nummultirange numnode numrange obj_description octet_length oid oidvectortypes overlaps \
    overlay parse_ident path pclose percent_rank percentile_cont percentile_disc pg_basetype \
    pg_char_to_encoding pg_client_encoding pg_collation_for pg_collation_is_visible \
    pg_column_compression pg_column_is_updatable pg_column_size pg_column_toast_chunk_id \
    pg_conversion_is_visible pg_describe_object pg_encoding_max_length pg_encoding_to_char \
    pg_filenode_relation pg_function_is_visible pg_get_acl pg_get_catalog_foreign_keys \
    pg_get_constraintdef pg_get_expr pg_get_function_arg_default pg_get_function_arguments \
    pg_get_function_identity_arguments pg_get_function_result pg_get_function_sqlbody \
    pg_get_functiondef pg_get_indexdef pg_get_keywords pg_get_object_address \
    pg_get_partition_constraintdef pg_get_partkeydef pg_get_publication_tables \
    pg_get_replica_identity_index pg_get_ruledef pg_get_serial_sequence \
    pg_get_statisticsobjdef pg_get_statisticsobjdef_columns \
    pg_get_statisticsobjdef_expressions pg_get_triggerdef pg_get_userbyid pg_get_viewdef \
    pg_has_role pg_identify_object pg_identify_object_as_address pg_index_column_has_property \
    pg_index_has_property pg_indexam_has_property pg_input_error_info pg_input_is_valid pg_lsn \
    pg_mcv_list_items pg_opclass_is_visible pg_operator_is_visible pg_opfamily_is_visible \
    pg_options_to_table pg_partition_root pg_relation_filenode pg_relation_filepath \
    pg_relation_is_publishable pg_relation_is_updatable pg_sequence_parameters pg_size_bytes \
    pg_size_pretty pg_snapshot_xip pg_snapshot_xmax pg_snapshot_xmin pg_split_walfile_name \
    pg_statistics_obj_is_visible pg_table_is_visible pg_ts_config_is_visible \
    pg_ts_dict_is_visible pg_ts_parser_is_visible pg_ts_template_is_visible pg_type_is_visible \
    pg_typeof pg_visible_in_snapshot pg_wal_lsn_diff phraseto_tsquery pi plainto_tsquery point \
    polygon popen position pow power querytree quote_ident quote_literal quote_nullable \
    radians radius range_agg range_intersect_agg range_merge rank regclass regexp_count \
    regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array \
    regexp_split_to_table regexp_substr regr_avgx regr_avgy regr_count regr_intercept regr_r2 \
    regr_slope regr_sxx regr_sxy regr_syy repeat replace reverse right round row_number \
    row_security_active row_to_json rpad rtrim scale session_user set_bit set_byte set_masklen \
    setweight sha224 sha256 sha384 sha512 shobj_description sign similar_escape \
    similar_to_escape sin sind sinh slope split_part sqrt starts_with statement_timestamp \
    stddev stddev_pop stddev_samp string_agg string_to_array string_to_table strip strpos \
    substr substring sum tan tand tanh text time timestamp timestamptz timetz timezone \
    to_ascii to_bin to_char to_date to_hex to_json to_jsonb to_number to_oct to_regclass \
    to_regcollation to_regnamespace to_regoper to_regoperator to_regproc to_regprocedure \
    to_regrole to_regtype to_regtypemod to_timestamp to_tsquery to_tsvector \
    transaction_timestamp translate trim_array trim_scale trunc ts_debug ts_delete ts_filter \
    ts_headline ts_lexize ts_parse ts_rank ts_rank_cd ts_token_type tsmultirange \
    tsquery_phrase tsrange tstzmultirange tstzrange tsvector_to_array txid_snapshot_xip \
    txid_snapshot_xmax txid_snapshot_xmin txid_visible_in_snapshot unicode_assigned unistr \
    unnest upper upper_inc upper_inf uuid_extract_timestamp uuid_extract_version var_pop \
    var_samp varbit varchar variance websearch_to_tsquery width width_bucket xid xml \
    xml_is_well_formed xml_is_well_formed_content xml_is_well_formed_document xmlagg \
    xmlcomment xmlexists xmltext xmlvalidate xpath xpath_exists";

/// Volatile, since they answer anew each time, but they change nothing and know nothing of the node. What
/// `random` returns after `setseed` depends on the backend; the caller keeps that one, since `setseed` is
/// opaque.
const VOLATILE: &str = "\
    array_sample array_shuffle clock_timestamp current_query gen_random_uuid \
    pg_partition_ancestors pg_partition_tree pg_sleep pg_sleep_for pg_sleep_until random \
    random_normal timeofday uuidv4 uuidv7";

/// Types that are called like functions to convert a text, without a function of that name.
const TYPES: &str = "\
    inet json jsonb regnamespace regproc regrole regtype tsquery tsvector uuid";

/// Built in, and leaving nothing in the session, but only right on the primary: those that applications and their
/// drivers call. What is not listed is asked of the server where it matters, so the list need not be complete.
const PRIMARY: &str = "\
    current_setting inet_client_addr inet_client_port inet_server_addr inet_server_port lo_close lo_creat lo_create \
    lo_export lo_from_bytea lo_get lo_import lo_lseek lo_lseek64 lo_open lo_put lo_tell lo_tell64 lo_truncate \
    lo_truncate64 lo_unlink loread lowrite pg_advisory_xact_lock pg_advisory_xact_lock_shared pg_backend_pid \
    pg_blocking_pids pg_cancel_backend pg_conf_load_time pg_current_snapshot pg_current_wal_flush_lsn \
    pg_current_wal_insert_lsn pg_current_wal_lsn pg_current_xact_id pg_current_xact_id_if_assigned \
    pg_database_size pg_export_snapshot pg_indexes_size pg_is_in_recovery pg_is_other_temp_schema \
    pg_last_wal_receive_lsn pg_last_wal_replay_lsn pg_last_xact_replay_timestamp pg_lock_status \
    pg_logical_emit_message pg_my_temp_schema pg_postmaster_start_time pg_relation_size pg_reload_conf \
    pg_safe_snapshot_blocking_pids pg_stat_file pg_stat_get_activity pg_stat_reset pg_switch_wal \
    pg_table_size pg_tablespace_size pg_terminate_backend pg_total_relation_size pg_try_advisory_xact_lock \
    pg_try_advisory_xact_lock_shared pg_walfile_name system_user txid_current txid_current_if_assigned \
    txid_current_snapshot version";

/// What leaves something behind that a caller can carry, or must pin for.
const LEAVING: &[(&str, Effects)] = &[
    ("pg_advisory_lock", Effects::ADVISORY),
    ("pg_advisory_lock_shared", Effects::ADVISORY),
    ("pg_advisory_unlock", Effects::ADVISORY),
    ("pg_advisory_unlock_all", Effects::ADVISORY),
    ("pg_advisory_unlock_shared", Effects::ADVISORY),
    ("pg_try_advisory_lock", Effects::ADVISORY),
    ("pg_try_advisory_lock_shared", Effects::ADVISORY),
    ("currval", Effects::SEQUENCE_STATE),
    ("lastval", Effects::SEQUENCE_STATE),
    ("nextval", Effects::SEQUENCE_ADVANCE),
    ("setval", Effects::SEQUENCE_ADVANCE),
    ("set_config", Effects::SET_CONFIG),
    ("pg_notify", Effects::NOTIFY),
    ("pg_listening_channels", Effects::CHANNELS),
    // A seed, a backup, an origin, a slot (it may be a temporary one): all live as long as the backend's
    // session.
    ("setseed", Effects::OPAQUE),
    ("pg_backup_start", Effects::OPAQUE),
    ("pg_backup_stop", Effects::OPAQUE),
    ("pg_start_backup", Effects::OPAQUE),
    ("pg_stop_backup", Effects::OPAQUE),
    ("pg_replication_origin_session_setup", Effects::OPAQUE),
    ("pg_replication_origin_session_reset", Effects::OPAQUE),
    ("pg_create_physical_replication_slot", Effects::OPAQUE),
    ("pg_create_logical_replication_slot", Effects::OPAQUE),
    ("pg_copy_physical_replication_slot", Effects::OPAQUE),
    ("pg_copy_logical_replication_slot", Effects::OPAQUE),
    // Extensions: a named connection of dblink, pg_trgm's threshold, another user by set_user.
    ("dblink_connect", Effects::OPAQUE),
    ("dblink_connect_u", Effects::OPAQUE),
    ("dblink_disconnect", Effects::OPAQUE),
    ("set_limit", Effects::OPAQUE),
    ("set_user", Effects::OPAQUE),
    ("reset_user", Effects::OPAQUE),
];

/// Extensions whose functions keep state in the backend: pg_variables, and HypoPG's hypothetical indexes.
const EXTENSIONS: &[&[u8]] = &[b"pgv_", b"hypopg"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_functions_are_harmless_in_any_case() {
        for name in ["abs", "COUNT", "Lower", "now", "generate_series", "pg_sleep", "JSONB_AGG", "row_number"]
        {
            assert_eq!(function(name.as_bytes(), false), Function::Harmless, "{name}");
        }
    }

    #[test]
    fn quotes_keep_the_case() {
        assert_eq!(function(b"abs", true), Function::Harmless);
        assert_eq!(function(b"Abs", true), Function::Unknown);
    }

    #[test]
    fn what_writes_or_tells_nodes_apart_is_not_harmless() {
        for name in [
            "nextval",
            "setval",
            "currval",
            "lastval",
            "set_config",
            "pg_notify",
            "setseed",
            "txid_current",
            "lo_get",
            "pg_current_xact_id",
            "pg_current_wal_lsn",
            "pg_is_in_recovery",
            "pg_last_wal_replay_lsn",
            "inet_server_addr",
            "pg_backend_pid",
            "pg_export_snapshot",
            "current_setting",
            "pg_advisory_xact_lock",
            "pg_stat_get_activity",
            "query_to_xml",
            "table_to_xml",
            "ts_stat",
            "ts_rewrite",
            "dblink",
            "lo_create",
            "lo_import",
            "pg_terminate_backend",
            "pg_cancel_backend",
            "pg_reload_conf",
            "pg_read_file",
            "pg_ls_dir",
            "pg_switch_wal",
            "pg_promote",
            "pg_table_size",
            "pg_relation_size",
            "version",
            "f",
            "",
        ] {
            assert_ne!(function(name.as_bytes(), false), Function::Harmless, "{name}");
        }
    }

    #[test]
    fn session_locks_are_told_from_those_of_a_transaction() {
        assert_eq!(function(b"pg_try_advisory_lock_shared", false), Function::Leaves(Effects::ADVISORY));
        assert_eq!(function(b"pg_try_advisory_xact_lock_shared", false), Function::Primary);
    }

    #[test]
    fn extensions_that_keep_state() {
        assert_eq!(function(b"pgv_set_int", false), Function::Leaves(Effects::OPAQUE));
        assert_eq!(function(b"hypopg_create_index", false), Function::Leaves(Effects::OPAQUE));
    }

    #[test]
    fn every_name_is_listed_once_and_found() {
        let mut names: Vec<_> = TABLE.names.iter().map(|(name, _)| *name).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(count * 2 < SLOTS);
        for (name, expected) in &TABLE.names {
            assert_eq!(function(name.as_bytes(), false), *expected, "{name}");
        }
    }
}
