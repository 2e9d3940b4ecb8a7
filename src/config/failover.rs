//! `[failover]`, as checked: who promotes a replica when the primary is lost, and how long each step may take.

use std::time::Duration;

/// Who promotes a replica when the primary is lost: `[failover] mode`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FailoverMode {
    /// Someone else does: Patroni, repmgr, a cloud, the operator. pgweir notices and follows (default).
    #[default]
    Observe,
    /// pgweir, by SQL; the monitor's user has to be a superuser.
    Promote,
    /// The operator's command.
    Command,
}

/// `[failover]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Failover {
    pub mode: FailoverMode,
    /// Bytes of WAL that may be lost with an unplanned promotion, judged from the last known positions; 0 promotes only
    /// what is known to have everything that was acknowledged. `None` (default): whatever the furthest replica lacks.
    /// At most 1 PB.
    pub max_data_loss: Option<u64>,
    /// How long a transaction waits while no node takes it; never longer than `pool.checkout_timeout`. Default 30 s; 0 (not
    /// at all) to 1 h.
    pub hold_time: Duration,
    /// How many may wait so, and how many bytes of what they have sent are kept, in the whole process; one more, and those
    /// that have waited longest are told so. Default 10000, 1 to 1000000; default 64 MB, at most 1 TB.
    pub hold_max: u32,
    pub hold_bytes: u64,
    /// Whether a connection to a node that breaks counts as a failed probe. Default true. The node is probed at once in any
    /// case.
    pub on_backend_error: bool,
    /// The same for one that the server closes with the words that it shuts down, as it also does for
    /// `pg_terminate_backend`. Default true.
    pub on_backend_shutdown: bool,
    /// How long a primary that no probe reaches, but that replicas still receive from, is waited for. Default 5 s; 0 to 1 h.
    pub suspect_timeout: Duration,
    /// How long a shard may take to acknowledge that there is no primary before that is an alarm. Default 1 s; 10 ms to 1 h.
    pub fence_timeout: Duration,
    /// How long replicas may take to tell their positions. Default 1 s; 10 ms to 1 h.
    pub choose_timeout: Duration,
    /// How long a promotion by SQL may take before the next candidate is tried. Default 10 s; 100 ms to 1 h.
    pub promote_timeout: Duration,
    /// How long after `failover_command` a new primary is looked for. Default 5 min; 100 ms to a day.
    pub search_timeout: Duration,
    /// How long replicas may take to follow a new primary before that is an alarm. Default 30 s; 100 ms to a day.
    pub follow_timeout: Duration,
    /// How long transactions that run may take to finish before a switchover is given up. Default 5 s; 1 ms to 1 h.
    pub drain_timeout: Duration,
    /// How long the target of a switchover may take to replay everything. Default 10 s; 10 ms to 1 h.
    pub catch_up_timeout: Duration,
    /// How often an alarm that still holds is raised again. Default 30 s; 1 s to a day.
    pub alarm_interval: Duration,
    /// Run to promote a replica (required for it in mode `Command`, unused otherwise), and when another node is lost.
    pub failover_command: Option<String>,
    /// Run for each node that is to follow a new primary, instead of setting its `primary_conninfo`.
    pub follow_primary_command: Option<String>,
    /// Run when a node is used again.
    pub failback_command: Option<String>,
    /// Whether a node that falsely claims to be the primary stays out until ATTACH, or `auto_failback`. Default false.
    pub detach_false_primary: bool,
    /// Whether a node detached for that comes back by itself, `auto_failback_interval` (default 1 min; 0 to a day) after it
    /// has become a healthy replica. Default false.
    pub auto_failback: bool,
    pub auto_failback_interval: Duration,
}

impl Default for Failover {
    fn default() -> Failover {
        Failover {
            mode: FailoverMode::default(),
            max_data_loss: None,
            hold_time: Duration::from_secs(30),
            hold_max: 10_000,
            hold_bytes: 64 << 20,
            on_backend_error: true,
            on_backend_shutdown: true,
            suspect_timeout: Duration::from_secs(5),
            fence_timeout: Duration::from_secs(1),
            choose_timeout: Duration::from_secs(1),
            promote_timeout: Duration::from_secs(10),
            search_timeout: Duration::from_secs(300),
            follow_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
            catch_up_timeout: Duration::from_secs(10),
            alarm_interval: Duration::from_secs(30),
            failover_command: None,
            follow_primary_command: None,
            failback_command: None,
            detach_false_primary: false,
            auto_failback: false,
            auto_failback_interval: Duration::from_secs(60),
        }
    }
}
