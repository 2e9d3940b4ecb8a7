//! What the configuration says about failover: plain values, already checked.

use std::time::Duration;

/// Who promotes a replica when the primary is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Someone else does: Patroni, repmgr, a cloud, the operator. pgweir follows the roles it sees.
    #[default]
    Observe,
    /// pgweir, with `pg_promote()`.
    Promote,
    /// The operator's `failover_command`.
    Command,
}

/// For all nodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    pub mode: Mode,
    /// Failed probes in a row, beyond the first, before a node is lost; a broken connection of a shard counts as one of
    /// them.
    pub retries: u32,
    /// How long a primary that no probe reaches, but that replicas still receive from, is waited for.
    pub suspect_timeout: Duration,
    /// How long a shard may take to acknowledge before that is an alarm. Nothing is promoted without it.
    pub fence_timeout: Duration,
    /// How long replicas may take to tell their positions; those that have not are not candidates.
    pub choose_timeout: Duration,
    /// How long a promotion by SQL may take before the next candidate is tried.
    pub promote_timeout: Duration,
    /// How long after `failover_command` a new primary is looked for: pgpool's `search_primary_node_timeout`.
    pub search_timeout: Duration,
    /// How long replicas may take to follow a new primary before that is an alarm.
    pub follow_timeout: Duration,
    /// How long running transactions may take to finish before a switchover is given up.
    pub drain_timeout: Duration,
    /// How long the target of a switchover may take to replay everything.
    pub catch_up_timeout: Duration,
    /// How often an alarm that still holds is raised again.
    pub alarm_interval: Duration,
    /// How often candidates are asked anew while there is none that may be promoted.
    pub look_interval: Duration,
    /// How long a lost node that comes back is remembered for having been lost.
    pub flap_window: Duration,
    /// How long a node must stay back, from the second loss in the window on; doubled with each further one.
    pub flap_wait: Duration,
    pub flap_wait_max: Duration,
    /// Bytes of WAL that an unplanned promotion may lose, judged from the last known positions; with 0 only what is
    /// known to have everything that was acknowledged is promoted. `None`: whatever the furthest replica lacks.
    pub max_data_loss: Option<u64>,
    /// Required in [`Mode::Command`].
    pub failover_command: Option<String>,
    pub follow_primary_command: Option<String>,
    pub failback_command: Option<String>,
    /// Whether a node that falsely claims to be the primary stays out until `ATTACH` (or `auto_failback`).
    pub detach_false_primary: bool,
    /// Whether a node detached by that rule comes back by itself as a healthy replica, `auto_failback_interval` after it
    /// became one.
    pub auto_failback: bool,
    pub auto_failback_interval: Duration,
    /// The login that the commands of alarms name.
    pub user: String,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules {
            mode: Mode::Observe,
            retries: 1,
            suspect_timeout: Duration::from_secs(5),
            fence_timeout: Duration::from_secs(1),
            choose_timeout: Duration::from_secs(1),
            promote_timeout: Duration::from_secs(10),
            search_timeout: Duration::from_secs(300),
            follow_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
            catch_up_timeout: Duration::from_secs(10),
            alarm_interval: Duration::from_secs(30),
            look_interval: Duration::from_secs(1),
            flap_window: Duration::from_secs(60),
            flap_wait: Duration::from_secs(1),
            flap_wait_max: Duration::from_secs(30),
            max_data_loss: None,
            failover_command: None,
            follow_primary_command: None,
            failback_command: None,
            detach_false_primary: false,
            auto_failback: false,
            auto_failback_interval: Duration::from_secs(60),
            user: "postgres".to_owned(),
        }
    }
}

/// For one node.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeRules {
    pub host: String,
    pub port: u16,
    pub data_directory: Option<String>,
    /// Which of two replicas that are equally far is promoted: the one with more. 0: never.
    pub priority: u32,
    /// Its own [`Rules::retries`].
    pub retries: Option<u32>,
    /// Its role is not asked: it is the primary, and nobody is promoted in its place.
    pub always_primary: bool,
    /// It is never given up for failed probes.
    pub disallow_failover: bool,
}

impl Default for NodeRules {
    fn default() -> NodeRules {
        NodeRules {
            host: "127.0.0.1".to_owned(),
            port: 5432,
            data_directory: None,
            priority: 1,
            retries: None,
            always_primary: false,
            disallow_failover: false,
        }
    }
}
