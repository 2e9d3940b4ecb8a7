//! From the configuration to what failover works by.

use super::failover::{Mode, NodeRules, Rules};
use crate::config::{self, Config, FailoverMode};

pub(super) fn of(config: &Config) -> Rules {
    let config::Failover {
        mode,
        max_data_loss,
        // Shards see to it.
        hold_time: _,
        hold_max: _,
        hold_bytes: _,
        // It is asked where suspicions come in.
        on_backend_error: _,
        on_backend_shutdown: _,
        suspect_timeout,
        fence_timeout,
        choose_timeout,
        promote_timeout,
        search_timeout,
        follow_timeout,
        drain_timeout,
        catch_up_timeout,
        alarm_interval,
        failover_command,
        follow_primary_command,
        failback_command,
        detach_false_primary,
        auto_failback,
        auto_failback_interval,
    } = config.failover.clone();
    Rules {
        mode: match mode {
            FailoverMode::Observe => Mode::Observe,
            FailoverMode::Promote => Mode::Promote,
            FailoverMode::Command => Mode::Command,
        },
        retries: config.monitor.retries,
        suspect_timeout,
        fence_timeout,
        choose_timeout,
        promote_timeout,
        search_timeout,
        follow_timeout,
        drain_timeout,
        catch_up_timeout,
        alarm_interval,
        max_data_loss,
        failover_command,
        follow_primary_command,
        failback_command,
        detach_false_primary,
        auto_failback,
        auto_failback_interval,
        user: config.monitor.user.clone(),
        ..Rules::default()
    }
}

pub(super) fn of_node(node: &config::Node) -> NodeRules {
    NodeRules {
        host: node.host.clone(),
        port: node.port,
        data_directory: node.data_directory.clone(),
        priority: node.candidate,
        retries: node.probe_retries,
        always_primary: node.always_primary,
        disallow_failover: node.disallow_failover,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_configured_is_as_the_decider_has_it() {
        assert_eq!(of(&Config::default()), Rules::default());
        let node = config::Node { host: "127.0.0.1".into(), ..config::Node::default() };
        assert_eq!(of_node(&node), NodeRules::default());
    }
}
