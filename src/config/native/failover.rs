//! The keys of `[failover]`.

use std::time::Duration;

use super::keys::{DAY, HOUR, Key, MS, SECOND, TEN_MS, US, key, name_of, set};
use super::print::quote;
use super::value::{Zero, boolean, bytes, duration, small, text, word};
use crate::config::unit::{print_bytes, print_duration};
use crate::config::{Config, FailoverMode};

pub(super) const KEYS: &[Key<Config>] = &[
    key(
        "mode",
        "Who promotes a replica: observe (someone else, pgweir follows) | promote (pgweir, by SQL) | command",
        |c, v| set(&mut c.failover.mode, word(v, MODES)),
        |c| Some(name_of(c.failover.mode, MODES)),
    ),
    key(
        "max_data_loss",
        "WAL that an unplanned promotion may lose, \"0B\" to \"1024TB\"; default whatever the furthest replica lacks",
        |c, v| set(&mut c.failover.max_data_loss, bytes(v, 1 << 50).map(Some)),
        |c| c.failover.max_data_loss.map(|bytes| quote(&print_bytes(bytes))),
    ),
    key(
        "hold_time",
        "How long a transaction waits while no node takes it, within [pool] checkout_timeout; 0 to 1h",
        |c, v| set(&mut c.failover.hold_time, duration(v, US..=HOUR, Zero::Allowed)),
        |c| Some(quote(&print_duration(c.failover.hold_time))),
    ),
    key(
        "hold_max",
        "How many may wait so, whole process; those that have waited longest make room; 1 to 1000000",
        |c, v| set(&mut c.failover.hold_max, small(v, 1..=1_000_000)),
        |c| Some(c.failover.hold_max.to_string()),
    ),
    key(
        "hold_bytes",
        "How much of what they have sent is kept, whole process; 0 to 1TB",
        |c, v| set(&mut c.failover.hold_bytes, bytes(v, 1 << 40)),
        |c| Some(quote(&print_bytes(c.failover.hold_bytes))),
    ),
    key(
        "on_backend_error",
        "Whether a connection that breaks counts as a failed probe; the node is probed at once in any case",
        |c, v| set(&mut c.failover.on_backend_error, boolean(v)),
        |c| Some(c.failover.on_backend_error.to_string()),
    ),
    key(
        "on_backend_shutdown",
        "The same for one that the server ends with the words that it shuts down",
        |c, v| set(&mut c.failover.on_backend_shutdown, boolean(v)),
        |c| Some(c.failover.on_backend_shutdown.to_string()),
    ),
    key(
        "suspect_timeout",
        "How long a primary is waited for that only replicas reach; 0 to 1h",
        |c, v| set(&mut c.failover.suspect_timeout, duration(v, US..=HOUR, Zero::Allowed)),
        |c| Some(quote(&print_duration(c.failover.suspect_timeout))),
    ),
    key(
        "fence_timeout",
        "How long shards may take to let go of a lost primary before that is an alarm; 10ms to 1h",
        |c, v| set(&mut c.failover.fence_timeout, duration(v, TEN_MS..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.fence_timeout))),
    ),
    key(
        "choose_timeout",
        "How long replicas may take to tell how far they are; 10ms to 1h",
        |c, v| set(&mut c.failover.choose_timeout, duration(v, TEN_MS..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.choose_timeout))),
    ),
    key(
        "promote_timeout",
        "How long a promotion by SQL may take before the next candidate is tried; 100ms to 1h",
        |c, v| set(&mut c.failover.promote_timeout, duration(v, TENTH..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.promote_timeout))),
    ),
    key(
        "search_timeout",
        "How long after failover_command a new primary is looked for; 100ms to 1d",
        |c, v| set(&mut c.failover.search_timeout, duration(v, TENTH..=DAY, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.search_timeout))),
    ),
    key(
        "follow_timeout",
        "How long replicas may take to follow a new primary before that is an alarm; 100ms to 1d",
        |c, v| set(&mut c.failover.follow_timeout, duration(v, TENTH..=DAY, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.follow_timeout))),
    ),
    key(
        "drain_timeout",
        "How long a switchover waits for transactions that run; 1ms to 1h",
        |c, v| set(&mut c.failover.drain_timeout, duration(v, MS..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.drain_timeout))),
    ),
    key(
        "catch_up_timeout",
        "How long a switchover waits for the new primary to have everything; 10ms to 1h",
        |c, v| set(&mut c.failover.catch_up_timeout, duration(v, TEN_MS..=HOUR, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.catch_up_timeout))),
    ),
    key(
        "alarm_interval",
        "How often an alarm that still holds is raised again; 1s to 1d",
        |c, v| set(&mut c.failover.alarm_interval, duration(v, SECOND..=DAY, Zero::Refused)),
        |c| Some(quote(&print_duration(c.failover.alarm_interval))),
    ),
    key(
        "failover_command",
        "Run to promote a replica (mode = \"command\"), with pgpool-II's placeholders",
        |c, v| set(&mut c.failover.failover_command, text(v).map(Some)),
        |c| c.failover.failover_command.as_deref().map(quote),
    ),
    key(
        "follow_primary_command",
        "Run for each node that is to follow a new primary, instead of setting primary_conninfo",
        |c, v| set(&mut c.failover.follow_primary_command, text(v).map(Some)),
        |c| c.failover.follow_primary_command.as_deref().map(quote),
    ),
    key(
        "failback_command",
        "Run when a node is used again",
        |c, v| set(&mut c.failover.failback_command, text(v).map(Some)),
        |c| c.failover.failback_command.as_deref().map(quote),
    ),
    key(
        "detach_false_primary",
        "Whether a node that falsely claims to be the primary stays out until ATTACH",
        |c, v| set(&mut c.failover.detach_false_primary, boolean(v)),
        |c| Some(c.failover.detach_false_primary.to_string()),
    ),
    key(
        "auto_failback",
        "Whether a node detached for that comes back by itself as a healthy replica",
        |c, v| set(&mut c.failover.auto_failback, boolean(v)),
        |c| Some(c.failover.auto_failback.to_string()),
    ),
    key(
        "auto_failback_interval",
        "How long it must have been one before; 0 to 1d",
        |c, v| set(&mut c.failover.auto_failback_interval, duration(v, US..=DAY, Zero::Allowed)),
        |c| Some(quote(&print_duration(c.failover.auto_failback_interval))),
    ),
];

const MODES: &[(&str, FailoverMode)] = &[
    ("observe", FailoverMode::Observe),
    ("promote", FailoverMode::Promote),
    ("command", FailoverMode::Command),
];

const TENTH: Duration = Duration::from_millis(100);
