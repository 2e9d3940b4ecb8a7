//! From the configuration to what failover works by.

use super::failover::{Mode, NodeRules, Rules};
use crate::config::{self, Config};

pub(super) fn of(config: &Config) -> Rules {
    Rules {
        mode: Mode::Observe,
        retries: config.monitor.retries,
        user: config.monitor.user.clone(),
        ..Rules::default()
    }
}

pub(super) fn of_node(node: &config::Node) -> NodeRules {
    NodeRules {
        host: node.host.clone(),
        port: node.port,
        data_directory: node.data_directory.clone(),
        always_primary: node.always_primary,
        disallow_failover: node.disallow_failover,
        ..NodeRules::default()
    }
}
