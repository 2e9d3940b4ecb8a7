//! How many descriptors the process may have: as many as it is allowed to, and a warning when that is too few.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// Raises the soft limit to the hard one, and says so when it may not be enough.
pub(super) fn raise(config: &Config, shards: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!("the limit of open files cannot be raised: {error}");
    }
    let (needed, allowed) = (needed(config, shards), getrlimit(Resource::Nofile).current);
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            "with [pool] client_max = {} about {needed} open files may be needed, and the limit is {allowed}: raise \
             `ulimit -n` or lower client_max",
            config.pool.client_max
        );
    }
}

/// Clients, the backends of one pool on every node, and what the threads themselves hold. How many pools there will be
/// nobody knows.
fn needed(config: &Config, shards: usize) -> u64 {
    let backends = u64::from(config.pool.size) * config.nodes.len() as u64;
    let replication = 2 * u64::from(config.pool.replication_max);
    u64::from(config.pool.client_max) + backends + replication + shards as u64 * PER_SHARD + PER_PROCESS
}

/// Its ring, glommio's rings, doorbells and listeners.
const PER_SHARD: u64 = 16;

/// Control's rings, probes, standard streams and open files.
const PER_PROCESS: u64 = 192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_need_grows_with_clients_and_nodes() {
        let mut config = Config::default();
        let alone = needed(&config, 2);
        assert!(alone > u64::from(config.pool.client_max));
        config.nodes = vec![Default::default(); 3];
        assert_eq!(needed(&config, 2), alone + 60);
    }
}
