use super::*;
use std::time::SystemTime;

use crate::config::{self, Config};
use crate::control::cluster::Now;
use crate::control::lsn::Lsn;
use crate::control::probe::Report;
use crate::counters::Latencies;
use crate::door::Snapshot;
use crate::topology::Moment;

const T0: SystemTime = SystemTime::UNIX_EPOCH;
const NOW: Now = Now { at: T0, moment: Moment(10) };

/// A primary, a replica that is 24 bytes behind, and a node nobody has reached.
fn cluster() -> Cluster {
    let node = |port, weight| config::Node { host: "db".into(), port, weight, ..config::Node::default() };
    let nodes = vec![node(1, 1.0), node(2, 2.0), node(3, 1.0)];
    let mut cluster = Cluster::new(&Config { nodes, ..Config::default() }, 1, NOW);
    let primary =
        Report { sent: Moment(9), written: Some(Lsn(1024)), timeline: Some(3), ..Report::default() };
    cluster.answered(NodeId(0), primary, NOW);
    let replica = Report {
        in_recovery: true,
        received: Some(Lsn(1010)),
        replayed: Some(Lsn(1000)),
        replayed_age: Some(Duration::from_millis(1500)),
        timeline: Some(3),
        streaming: Some(true),
        ..Report::default()
    };
    cluster.answered(NodeId(1), replica, NOW);
    cluster.failed(NodeId(2), "refused", NOW);
    cluster
}

fn counters() -> Vec<ShardCounters> {
    let shards: Vec<ShardCounters> = (0..2).map(|_| ShardCounters::new(3)).collect();
    for shard in &shards {
        shard.nodes[1].reads.add(21);
        shard.nodes[1].opened.add(1);
    }
    shards
}

/// Each row as text, `-` for NULL.
fn rows(answer: &Answer) -> Vec<String> {
    let Answer::Table { columns, rows, .. } = answer else { panic!("a table was asked for") };
    assert!(rows.iter().all(|row| row.len() == columns.len()), "each row has all columns");
    let text = |row: &Vec<Option<String>>| {
        let texts: Vec<&str> = row.iter().map(|value| value.as_deref().unwrap_or("-")).collect();
        texts.join("|")
    };
    rows.iter().map(text).collect()
}

#[test]
fn pool_nodes_are_as_pgpool_prints_them() {
    let answer = pool_nodes(&cluster(), &counters());
    assert_eq!(
        rows(&answer),
        [
            "0|db|1|waiting|up|0.250000|primary|primary|0|false|0|||1970-01-01 00:00:00",
            "1|db|2|up|up|0.500000|standby|standby|42|false|24|streaming||1970-01-01 00:00:00",
            "2|db|3|down|down|0.250000|standby|unknown|0|false|0|||1970-01-01 00:00:00",
        ]
    );
    assert!(matches!(answer, Answer::Table { columns, tag, .. } if columns.len() == 14 && tag == "SELECT 3"));
}

#[test]
fn a_replica_is_found_among_the_followers_by_its_name_alone() {
    let follower = |name: &str, sync_state: &str| Follower {
        name: name.into(),
        state: "catchup".into(),
        sync_state: sync_state.into(),
    };
    let shown = |configured: Option<&str>, own: Option<&str>, streaming, followers: Vec<Follower>| {
        let node = |port, name: Option<&str>| config::Node {
            host: "db".into(),
            port,
            application_name: name.map(str::to_owned),
            ..config::Node::default()
        };
        let nodes = vec![node(1, Some("a")), node(2, configured)];
        let mut cluster = Cluster::new(&Config { nodes, ..Config::default() }, 1, NOW);
        cluster.answered(NodeId(0), Report { followers, ..Report::default() }, NOW);
        let receiver_name = own.map(str::to_owned);
        let replica = Report { in_recovery: true, streaming, receiver_name, ..Report::default() };
        cluster.answered(NodeId(1), replica, NOW);
        let rows = rows(&pool_nodes(&cluster, &counters()));
        assert!(rows[0].ends_with("|||1970-01-01 00:00:00"), "{}", rows[0]);
        let columns: Vec<String> = rows[1].split('|').map(str::to_owned).collect();
        format!("{} {}", columns[11], columns[12])
    };
    let all = || vec![follower("a", "quorum"), follower("b", "sync")];
    assert_eq!(shown(Some("b"), None, Some(true), all()), "catchup sync");
    assert_eq!(shown(Some("b"), None, None, all()), "catchup sync", "its receiver is hidden");
    assert_eq!(shown(None, Some("b"), Some(true), all()), "catchup sync");
    assert_eq!(shown(Some("a"), Some("b"), Some(true), all()), "catchup quorum");
    assert_eq!(shown(Some("c"), None, Some(true), all()), "streaming ");
    assert_eq!(shown(None, None, None, all()), " ");
    assert_eq!(shown(Some("b"), None, Some(false), all()), " ", "another one has its name");
    let namesakes = vec![follower("b", "sync"), follower("b", "potential")];
    assert_eq!(shown(Some("b"), None, Some(true), namesakes), "streaming ");
}

#[test]
fn nodes_tell_all_that_is_known() {
    assert_eq!(
        rows(&nodes(&cluster(), &counters())),
        [
            "0|db|1|primary|up|1|-|-|3|-|0/400|0|0|0|0|0|1970-01-01 00:00:00|-",
            "1|db|2|replica|up|2|24|1.500|3|0/3F2|0/3E8|0|0|42|0|0|1970-01-01 00:00:00|-",
            "2|db|3|unknown|down|1|-|-|-|-|-|0|0|0|0|0|1970-01-01 00:00:00|refused",
        ]
    );
}

#[test]
fn pools_are_summed_and_the_longest_wait_is_the_longest() {
    let pool = |node, user: &str, count, waiting_longest| PoolSnapshot {
        key: PoolKey { node: NodeId(node), database: "app".into(), user: user.into() },
        mode: PoolMode::Transaction,
        size: 20,
        idle: count,
        leased: 2 * count,
        connecting: 3 * count,
        resetting: 4 * count,
        listening: 5 * count,
        waiting: 5 * count,
        waiting_longest,
    };
    let snapshot = |pools| Some(Box::new(Snapshot { pools, ..Snapshot::default() }));
    let gathered = vec![
        snapshot(vec![pool(1, "bob", 1, 7), pool(0, "bob", 1, 0)]),
        None,
        snapshot(vec![pool(1, "bob", 2, 1_500_007), pool(9, "ann", 1, 0)]),
    ];
    assert_eq!(
        rows(&pools(&gathered)),
        [
            "app|ann|2|5|0|0|2|0|0|1|0|4|3|0|0|transaction|-",
            "app|bob|8|20|0|0|8|0|0|4|0|16|12|1|500007|transaction|-",
        ]
    );
    assert_eq!(
        rows(&node_pools(&cluster(), &gathered)),
        [
            "app|ann|2|5|0|0|2|0|0|1|0|4|3|0|0|transaction|-|5|9",
            "app|bob|2|5|0|0|2|0|0|1|0|4|3|0|0|transaction|-|5|db:1",
            "app|bob|6|15|0|0|6|0|0|3|0|12|9|1|500007|transaction|-|15|db:2",
        ]
    );
}

#[test]
fn stats_are_totals_and_what_the_last_minute_was_like() {
    let times = |micros: &[u64]| {
        let mut times = Latencies::default();
        micros.iter().for_each(|micros| times.record(Duration::from_micros(*micros)));
        times
    };
    let then = Totals { queries: 100, query_times: times(&[9_000_000]), ..Totals::default() };
    let now = Totals {
        assignments: 50,
        transactions: 60,
        queries: 300,
        bytes_in: 70,
        bytes_out: 80,
        logins: 9,
        errors: 10,
        query_times: times(&[9_000_000, 100, 100]),
        wait_times: times(&[]),
    };
    assert_eq!(
        rows(&stats(&now, Duration::from_secs(10), &then)),
        ["*|50|60|300|70|80|9|10|5|6|20|7|8|1|1|100|100|0|0"]
    );
    assert_eq!(rows(&stats(&now, Duration::ZERO, &now)), ["*|50|60|300|70|80|9|10|0|0|0|0|0|0|0|0|0|0|0"]);
}

#[test]
fn each_shard_has_a_row_and_a_silent_one_says_so() {
    let gathered = vec![Some(Box::default()), None];
    let rows = rows(&shards(&counters(), &gathered));
    assert!(rows[0].starts_with("0|") && rows[0].ends_with("|yes"), "{}", rows[0]);
    assert!(rows[1].starts_with("1|") && rows[1].ends_with("|no"), "{}", rows[1]);
}

#[test]
fn corrections_are_summed_by_reason() {
    let counters = counters();
    let write = |shard: usize| &counters[shard].refusals[Refusal::Write as usize];
    write(0).refused.add(2);
    write(1).refused.add(3);
    write(1).foreseen.add(40);
    write(0).known.set(1);
    counters[1].refusals[Refusal::Recovery as usize].refused.add(7);
    assert_eq!(
        rows(&corrections(&counters)),
        ["write|5|40|1", "unsupported|0|0|0", "serializable|0|0|0", "number|0|0|0", "recovery|7|0|0"]
    );
}

#[test]
fn help_lists_every_table() {
    let help = rows(&help());
    for (name, ..) in Table::ALL {
        assert!(help.iter().any(|row| row.starts_with(&format!("SHOW {name}|"))), "{name}");
    }
}
