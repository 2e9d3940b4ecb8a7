//! What SHOW shows: numbers in, rows out. All numbers are sums or maxima over shards, but for SHOW SHARDS.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::statement::Table;
use super::time::utc;
use super::window::Totals;
use crate::config::PoolMode;
use crate::control::cluster::Cluster;
use crate::control::gather::Gathered;
use crate::control::member::Member;
use crate::control::probe::Follower;
use crate::counters::{Counter, NodeCounters, Refusal, RefusalCounters, ShardCounters};
use crate::door::{Answer, PoolKey, PoolSnapshot};
use crate::topology::{NodeId, NodeState};

/// SHOW HELP.
pub(super) fn help() -> Answer {
    let shows = Table::ALL.iter().map(|(name, _, what)| (format!("SHOW {name}"), *what));
    let others = [
        ("SWITCHOVER [TO node]".to_owned(), "make a replica the primary, without an error for any client"),
        ("PROMOTE node".to_owned(), "make this one the primary although nobody can say what is lost"),
        ("DETACH node".to_owned(), "send nothing new there, as before a restart"),
        ("ATTACH node".to_owned(), "use it again"),
        ("PAUSE".to_owned(), "let new transactions wait; answered when those that run are done"),
        ("RESUME".to_owned(), "let them begin again"),
        ("RELOAD".to_owned(), "read the configuration again and apply what can be"),
        ("SHUTDOWN".to_owned(), "end now"),
        ("SHUTDOWN WAIT_FOR_SERVERS".to_owned(), "accept nobody, let transactions finish, then end"),
    ];
    let rows = shows.chain(others).map(|(statement, what)| vec![Some(statement), Some(what.to_owned())]);
    show(&["statement", "what"], rows.collect())
}

/// One value.
pub(super) fn single(column: &str, value: String, tag: &str) -> Answer {
    Answer::Table { columns: vec![column.to_owned()], rows: vec![vec![Some(value)]], tag: tag.to_owned() }
}

/// SHOW NODES.
pub(super) fn nodes(cluster: &Cluster, counters: &[ShardCounters]) -> Answer {
    let picture = cluster.picture();
    let rows = cluster.members().map(|(id, member)| {
        let node = picture.node(id);
        let report = member.health.report.as_ref().filter(|_| member.health.up);
        let count = |counter: fn(&NodeCounters) -> &Counter| Some(sum(counters, id, counter).to_string());
        vec![
            Some(id.to_string()),
            Some(member.host.clone()),
            Some(member.port.to_string()),
            Some(cluster.role(id).name().to_owned()),
            Some(node.map_or(NodeState::Down, |node| node.state).name().to_owned()),
            Some(weight(member).to_string()),
            member.lag().bytes.map(|bytes| bytes.to_string()),
            member.lag().time.map(|time| format!("{:.3}", time.as_secs_f64())),
            report.and_then(|report| report.timeline).map(|timeline| timeline.to_string()),
            report.and_then(|report| report.received).map(|lsn| lsn.to_string()),
            report.and_then(|report| report.replayed.or(report.written)).map(|lsn| lsn.to_string()),
            count(|node| &node.leases),
            count(|node| &node.backends),
            count(|node| &node.reads),
            count(|node| &node.writes),
            count(|node| &node.broken),
            Some(utc(member.health.changed)),
            node.and_then(|node| node.reason.as_deref()).map(str::to_owned),
        ]
    });
    show(NODES, rows.collect())
}

/// SHOW pool_nodes: what pgpool-II 4.3 prints. There the node a session reads from is chosen once, here for each read,
/// so no node is this session's.
pub(super) fn pool_nodes(cluster: &Cluster, counters: &[ShardCounters]) -> Answer {
    let picture = cluster.picture();
    let last = cluster.last_primary();
    let primary = last.and_then(|id| cluster.member(id)).filter(|member| member.health.up);
    let followers = primary
        .and_then(|primary| primary.health.report.as_ref())
        .map_or(&[][..], |report| &report.followers);
    let weights: f64 = cluster.members().map(|(_, member)| weight(member)).sum();
    let rows: Vec<_> = cluster
        .members()
        .map(|(id, member)| {
            let health = &member.health;
            let is_primary = last == Some(id);
            let usable = picture.node(id).is_some_and(|node| node.usable());
            let status = match (health.up, usable) {
                (false, _) => "down",
                // It answers, and is not trusted.
                (true, false) => "quarantine",
                (true, true) if sum(counters, id, |node| &node.opened) == 0 => "waiting",
                (true, true) => "up",
            };
            let report = health.report.as_ref().filter(|_| health.up);
            let share = if weights > 0.0 { weight(member) / weights } else { 0.0 };
            let standby = |is_standby| if is_standby { "standby" } else { "primary" };
            let follower = follower(member, followers).filter(|_| !is_primary);
            let streaming = report.is_some_and(|report| report.streaming == Some(true));
            let state = follower.map_or(if streaming { "streaming" } else { "" }, |follower| &follower.state);
            let texts = [
                id.to_string(),
                member.host.clone(),
                member.port.to_string(),
                status.to_owned(),
                if health.up { "up" } else { "down" }.to_owned(),
                format!("{share:.6}"),
                standby(!is_primary).to_owned(),
                report.map_or("unknown", |report| standby(report.in_recovery)).to_owned(),
                sum(counters, id, |node| &node.reads).to_string(),
                "false".to_owned(),
                member.lag().bytes.unwrap_or(0).to_string(),
                state.to_owned(),
                follower.map(|follower| follower.sync_state.clone()).unwrap_or_default(),
                utc(health.changed),
            ];
            texts.map(Some).to_vec()
        })
        .collect();
    let tag = format!("SELECT {}", rows.len());
    Answer::Table { columns: names(POOL_NODES), rows, tag }
}

/// SHOW POOLS: PgBouncer's rows and columns, one for each database and user. Its exporters take no second row of the
/// same two.
pub(super) fn pools(gathered: &Gathered) -> Answer {
    let pools = sums(gathered, |key| (key.database.clone(), key.user.clone()));
    show(POOLS, pools.values().map(pool_row).collect())
}

/// SHOW NODE_POOLS: the same for each node, which is the last column, with the connections that listen for sessions.
pub(super) fn node_pools(cluster: &Cluster, gathered: &Gathered) -> Answer {
    let pools = sums(gathered, |key| (key.database.clone(), key.user.clone(), key.node));
    let row = |pool: &PoolSnapshot| {
        let node = match cluster.member(pool.key.node) {
            Some(member) => format!("{}:{}", member.host, member.port),
            None => pool.key.node.to_string(),
        };
        let mut row = pool_row(pool);
        row.extend([Some(pool.listening.to_string()), Some(node)]);
        row
    };
    let columns = [POOLS, &["listening", "node"]].concat();
    show(&columns, pools.values().map(row).collect())
}

/// SHOW STATS: totals since the start; averages per second and percentiles since `then`, `ago`.
pub(super) fn stats(now: &Totals, ago: Duration, then: &Totals) -> Answer {
    let counts = |totals: &Totals| {
        [
            totals.assignments,
            totals.transactions,
            totals.queries,
            totals.bytes_in,
            totals.bytes_out,
            totals.logins,
            totals.errors,
        ]
    };
    let rate = |(now, then): (u64, u64)| match ago.as_secs_f64() {
        seconds if seconds > 0.0 => (now.saturating_sub(then) as f64 / seconds).round() as u64,
        _ => 0,
    };
    let rates = counts(now).into_iter().zip(counts(then)).map(rate);
    let (queries, waits) = (now.query_times.since(&then.query_times), now.wait_times.since(&then.wait_times));
    let times = [queries.quantile(0.5), queries.quantile(0.99), waits.quantile(0.5), waits.quantile(0.99)];
    let numbers = counts(now).into_iter().chain(rates).map(|number| number.to_string());
    let times = times.map(|time| time.as_micros().to_string());
    let row = ["*".to_owned()].into_iter().chain(numbers).chain(times);
    show(STATS, vec![row.map(Some).collect()])
}

/// SHOW PINS: the sessions that keep a backend beyond their transaction, the longest first.
pub(super) fn pins(gathered: &Gathered, now: SystemTime) -> Answer {
    let mut pins: Vec<_> = gathered.iter().flatten().flat_map(|snapshot| &snapshot.pins).collect();
    pins.sort_by_key(|pin| pin.since);
    let rows = pins.into_iter().map(|pin| {
        let seconds = now.duration_since(pin.since).unwrap_or_default().as_secs();
        let texts = [
            pin.process_id.to_string(),
            pin.database.to_string(),
            pin.user.to_string(),
            pin.reasons.join(","),
            utc(pin.since),
            seconds.to_string(),
        ];
        texts.map(Some).to_vec()
    });
    show(&["session", "database", "user", "reason", "since", "seconds"], rows.collect())
}

/// SHOW LISTENERS: the sessions that listen without keeping a backend, the longest first.
pub(super) fn listeners(gathered: &Gathered) -> Answer {
    let mut listeners: Vec<_> = gathered.iter().flatten().flat_map(|snapshot| &snapshot.listeners).collect();
    listeners.sort_by_key(|listener| listener.since);
    let rows = listeners.into_iter().map(|listener| {
        let texts = [
            listener.process_id.to_string(),
            listener.database.to_string(),
            listener.user.to_string(),
            listener.channels.join(","),
            listener.waiting.to_string(),
            utc(listener.since),
        ];
        texts.map(Some).to_vec()
    });
    show(&["session", "database", "user", "channels", "waiting", "since"], rows.collect())
}

/// SHOW PIN_STATS: by reason, how many sessions keep a backend now, and how often one did since the start.
pub(super) fn pin_stats(gathered: &Gathered) -> Answer {
    let mut reasons: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for snapshot in gathered.iter().flatten() {
        for (reason, total) in &snapshot.pin_counts {
            reasons.entry(reason).or_default().1 += total;
        }
        for reason in snapshot.pins.iter().flat_map(|pin| &pin.reasons) {
            reasons.entry(reason).or_default().0 += 1;
        }
    }
    let rows = reasons.into_iter().map(|(reason, (now, total))| {
        vec![Some(reason.to_owned()), Some(now.to_string()), Some(total.to_string())]
    });
    show(&["reason", "sessions", "total"], rows.collect())
}

/// SHOW CORRECTIONS: by reason, the reads that a standby refused, and those that were spared it, since the start.
pub(super) fn corrections(counters: &[ShardCounters]) -> Answer {
    let rows = Refusal::ALL.iter().map(|(refusal, name)| {
        let sum = |counter: fn(&RefusalCounters) -> &Counter| {
            let counts = counters.iter().map(|shard| counter(&shard.refusals[*refusal as usize]).read());
            Some(counts.sum::<u64>().to_string())
        };
        let refused = sum(|counters| &counters.refused);
        let foreseen = sum(|counters| &counters.foreseen);
        vec![Some((*name).to_owned()), refused, foreseen, sum(|counters| &counters.known)]
    });
    show(&["reason", "refused", "foreseen", "known"], rows.collect())
}

/// SHOW SHARDS: the one view that is not summed.
pub(super) fn shards(counters: &[ShardCounters], gathered: &Gathered) -> Answer {
    let rows = counters.iter().enumerate().map(|(index, shard)| {
        let of_nodes = |counter: fn(&NodeCounters) -> &Counter| {
            shard.nodes.iter().map(|node| counter(node).read()).sum()
        };
        let numbers: [u64; 15] = [
            index as u64,
            shard.epoch.read(),
            shard.clients.read(),
            shard.logins.read(),
            shard.logins_refused.read(),
            shard.transactions.read(),
            shard.queries.read(),
            shard.errors.read(),
            shard.bytes_in.read(),
            shard.bytes_out.read(),
            shard.pinned.read(),
            shard.parked.read(),
            shard.holding.read(),
            of_nodes(|node| &node.backends),
            of_nodes(|node| &node.leases),
        ];
        let answers = gathered.get(index).is_some_and(Option::is_some);
        let answers = if answers { "yes" } else { "no" };
        numbers.iter().map(ToString::to_string).chain([answers.to_owned()]).map(Some).collect()
    });
    show(SHARDS, rows.collect())
}

/// Which of them the node is; `None` also where more than one has its name, as all have that were given none.
fn follower<'a>(member: &Member, followers: &'a [Follower]) -> Option<&'a Follower> {
    let report = member.health.report.as_ref().filter(|_| member.health.up)?;
    // It has no receiver: another one has its name.
    if !report.in_recovery || report.streaming == Some(false) {
        return None;
    }
    let name = member.receiver_name()?;
    let mut namesakes = followers.iter().filter(|follower| follower.name == name);
    namesakes.next().filter(|_| namesakes.next().is_none())
}

/// The pools of all shards, added up where `key` is the same.
fn sums<K: Ord>(gathered: &Gathered, key: impl Fn(&PoolKey) -> K) -> BTreeMap<K, PoolSnapshot> {
    let mut sums: BTreeMap<K, PoolSnapshot> = BTreeMap::new();
    for pool in gathered.iter().flatten().flat_map(|snapshot| &snapshot.pools) {
        sums.entry(key(&pool.key)).and_modify(|sum| add(sum, pool)).or_insert_with(|| pool.clone());
    }
    sums
}

fn pool_row(pool: &PoolSnapshot) -> Vec<Option<String>> {
    let longest = Duration::from_micros(pool.waiting_longest);
    let mode = match pool.mode {
        PoolMode::Session => "session",
        PoolMode::Transaction => "transaction",
        PoolMode::Statement => "statement",
    };
    let number = |number: u32| Some(number.to_string());
    let none = || Some("0".to_owned());
    vec![
        Some(pool.key.database.to_string()),
        Some(pool.key.user.to_string()),
        number(pool.leased),
        number(pool.waiting),
        none(),
        none(),
        number(pool.leased),
        none(),
        none(),
        number(pool.idle),
        none(),
        number(pool.resetting),
        number(pool.connecting),
        Some(longest.as_secs().to_string()),
        Some(longest.subsec_micros().to_string()),
        Some(mode.to_owned()),
        None,
    ]
}

fn add(sum: &mut PoolSnapshot, pool: &PoolSnapshot) {
    sum.idle += pool.idle;
    sum.leased += pool.leased;
    sum.connecting += pool.connecting;
    sum.resetting += pool.resetting;
    sum.listening += pool.listening;
    sum.waiting += pool.waiting;
    sum.waiting_longest = sum.waiting_longest.max(pool.waiting_longest);
}

fn sum(counters: &[ShardCounters], id: NodeId, counter: fn(&NodeCounters) -> &Counter) -> u64 {
    counters.iter().filter_map(|shard| shard.nodes.get(id.index())).map(|node| counter(node).read()).sum()
}

fn weight(member: &Member) -> f64 {
    member.configured.as_ref().map_or(0.0, |node| node.weight)
}

pub(super) fn show(columns: &[&str], rows: Vec<Vec<Option<String>>>) -> Answer {
    Answer::Table { columns: names(columns), rows, tag: "SHOW".into() }
}

fn names(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|name| (*name).to_owned()).collect()
}

const NODES: &[&str] = &[
    "node",
    "host",
    "port",
    "role",
    "state",
    "weight",
    "lag_bytes",
    "lag",
    "timeline",
    "received",
    "replayed",
    "leases",
    "backends",
    "reads",
    "writes",
    "broken",
    "last_change",
    "reason",
];

const POOL_NODES: &[&str] = &[
    "node_id",
    "hostname",
    "port",
    "status",
    "pg_status",
    "lb_weight",
    "role",
    "pg_role",
    "select_cnt",
    "load_balance_node",
    "replication_delay",
    "replication_state",
    "replication_sync_state",
    "last_status_change",
];

const POOLS: &[&str] = &[
    "database",
    "user",
    "cl_active",
    "cl_waiting",
    "cl_active_cancel_req",
    "cl_waiting_cancel_req",
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_idle",
    "sv_used",
    "sv_tested",
    "sv_login",
    "maxwait",
    "maxwait_us",
    "pool_mode",
    "load_balance_hosts",
];

const STATS: &[&str] = &[
    "database",
    "total_server_assignment_count",
    "total_xact_count",
    "total_query_count",
    "total_received",
    "total_sent",
    "total_client_login_count",
    "total_errors",
    "avg_server_assignment_count",
    "avg_xact_count",
    "avg_query_count",
    "avg_recv",
    "avg_sent",
    "avg_client_login_count",
    "avg_errors",
    "query_p50",
    "query_p99",
    "wait_p50",
    "wait_p99",
];

const SHARDS: &[&str] = &[
    "shard",
    "epoch",
    "clients",
    "logins",
    "logins_refused",
    "transactions",
    "queries",
    "errors",
    "bytes_in",
    "bytes_out",
    "pinned",
    "parked",
    "holding",
    "backends",
    "leases",
    "answers",
];

#[cfg(test)]
mod tests;
