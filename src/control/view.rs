//! The state of everything at one moment, for a program that shows it.

use std::time::Duration;

use super::cluster::Cluster;
use super::gather::Gathered;
use crate::counters::Latencies;
use crate::door::Shared;
use crate::topology::NodeState;

/// What is going on.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub nodes: Vec<NodeView>,
    /// Clients connected now.
    pub clients: u64,
    /// Queries answered so far.
    pub queries: u64,
    /// What half of the queries since the last view took at most, and 99 of 100.
    pub p50: Duration,
    pub p99: Duration,
}

/// One configured node.
#[derive(Clone, Debug)]
pub struct NodeView {
    pub host: String,
    pub port: u16,
    pub role: &'static str,
    pub state: &'static str,
    /// How far a replica is behind, where that is known.
    pub lag: Option<Duration>,
    pub lag_bytes: Option<u64>,
    /// Backends leased to sessions now.
    pub leases: u64,
    /// Leases given so far.
    pub queries: u64,
}

/// `viewed` is what was recorded up to the last view, and is brought up to this one.
pub(super) fn view(shared: &Shared, cluster: &Cluster, gathered: &Gathered, viewed: &mut Latencies) -> View {
    let picture = cluster.picture();
    let nodes = cluster.members().map(|(id, member)| {
        let node = picture.node(id);
        let counters = || shared.counters.iter().filter_map(|shard| shard.nodes.get(id.index()));
        NodeView {
            host: member.host.clone(),
            port: member.port,
            role: cluster.role(id).name(),
            state: node.map_or(NodeState::Down, |node| node.state).name(),
            lag: member.lag().time,
            lag_bytes: member.lag().bytes,
            leases: counters().map(|node| node.leases.read()).sum(),
            queries: counters().map(|node| node.reads.read() + node.writes.read()).sum(),
        }
    });
    let mut all = Latencies::default();
    for snapshot in gathered.iter().flatten() {
        all.add(&snapshot.queries);
    }
    let times = all.since(viewed);
    *viewed = all;
    View {
        nodes: nodes.collect(),
        clients: shared.counters.iter().map(|shard| shard.clients.read()).sum(),
        queries: shared.counters.iter().map(|shard| shard.queries.read()).sum(),
        p50: times.quantile(0.5),
        p99: times.quantile(0.99),
    }
}
