use super::*;
use crate::control::lsn::Lsn;
use crate::control::probe::Follower;
use crate::topology::NodeState::{self, Down, Drained, Lagging, Up};

const T0: Now = Now { at: SystemTime::UNIX_EPOCH, moment: Moment(5) };

fn config(ports: &[u16]) -> Config {
    let node = |port: &u16| config::Node { host: "10.0.0.1".into(), port: *port, ..config::Node::default() };
    let mut config = Config { nodes: ports.iter().map(node).collect(), ..Config::default() };
    config.monitor.retries = 0;
    config
}

fn cluster(nodes: u16) -> Cluster {
    Cluster::new(&config(&(1..=nodes).collect::<Vec<_>>()), 1, T0)
}

/// A primary asked at `sent`, whose WAL ends at `written`.
fn primary(timeline: u32, sent: u64, written: u64) -> Report {
    Report {
        sent: Moment(sent),
        written: Some(Lsn(written)),
        timeline: Some(timeline),
        system: Some(7),
        started: Some("noon".into()),
        ..Report::default()
    }
}

/// A replica that streams from the node at `port` and has replayed up to `replayed`.
fn replica(timeline: u32, port: u16, replayed: u64) -> Report {
    Report {
        in_recovery: true,
        received: Some(Lsn(replayed)),
        replayed: Some(Lsn(replayed)),
        timeline: Some(timeline),
        streaming: Some(true),
        follows: Some(("10.0.0.1".into(), port)),
        system: Some(7),
        started: Some("noon".into()),
        ..Report::default()
    }
}

impl Cluster {
    fn says(&mut self, node: u8, report: Report) -> bool {
        let changed = self.answered(NodeId(node), report, T0);
        self.acknowledge();
        changed
    }

    fn loses(&mut self, node: u8) -> bool {
        let changed = self.failed(NodeId(node), "refused", T0);
        self.acknowledge();
        changed
    }

    /// The only shard works by the last picture.
    fn acknowledge(&mut self) {
        loop {
            let epoch = self.picture.epoch;
            self.happened(Event::Acknowledged { shard: ShardId(0), epoch, wrote: None }, T0);
            if self.picture.epoch == epoch {
                return;
            }
        }
    }

    fn states(&self) -> Vec<NodeState> {
        self.picture.nodes.iter().map(|node| node.state).collect()
    }

    fn primary(&self) -> Option<u8> {
        self.picture.primary().map(|node| node.id.0)
    }

    /// Whether a read that must see what was committed at `floor` may run on the node.
    fn has(&self, node: u8, floor: u64) -> bool {
        self.picture.nodes[usize::from(node)].gauges.has(Moment(floor))
    }
}

#[test]
fn nodes_come_up_one_by_one_and_each_change_is_an_epoch() {
    let mut cluster = cluster(3);
    let first = cluster.picture().epoch;
    assert_eq!(cluster.states(), [Down, Down, Down]);
    assert!(cluster.says(0, primary(1, 10, 100)));
    assert_eq!((cluster.primary(), cluster.states()), (None, vec![Up, Down, Down]), "another may be it");
    assert!(cluster.says(1, replica(1, 1, 100)) && cluster.says(2, replica(1, 1, 100)));
    assert_eq!((cluster.primary(), cluster.states()), (Some(0), vec![Up, Up, Up]));
    assert_eq!(cluster.picture().epoch, Epoch(first.0 + 3));
    assert!(
        !cluster.says(0, primary(1, 20, 200)) && !cluster.says(1, replica(1, 1, 150)),
        "nothing to route by changed"
    );
    let notes = cluster.notes();
    let text = "node 0 at 10.0.0.1:1 is up: primary on timeline 1".to_owned();
    assert_eq!(notes[0], Note::Info(text));
    assert_eq!(notes.len(), 3, "{notes:?}");
}

#[test]
fn a_lost_replica_is_left_and_one_that_returns_is_used_with_new_backends() {
    let mut cluster = cluster(2);
    cluster.says(0, primary(1, 10, 100));
    cluster.says(1, replica(1, 1, 100));
    assert!(cluster.loses(1));
    assert_eq!(cluster.states(), [Up, Down]);
    assert_eq!(cluster.picture().nodes[1].reason.as_deref(), Some("refused"));
    assert!(!cluster.loses(1), "it is down once");
    cluster.says(1, replica(1, 1, 100));
    assert_eq!(cluster.states(), [Up, Up]);
    assert_eq!(cluster.picture().nodes[1].incarnation, 1);
}

#[test]
fn a_trouble_is_logged_once() {
    let mut cluster = cluster(1);
    for _ in 0..100 {
        cluster.failed(NodeId(0), "refused", T0);
        cluster.failed(NodeId(0), "timed out", T0);
    }
    assert_eq!(cluster.notes().len(), 2);
    cluster.says(0, primary(1, 10, 100));
    cluster.loses(0);
    assert_eq!(cluster.notes().len(), 2, "up, down again");
}

#[test]
fn writes_follow_a_promotion_and_never_return_to_the_old_primary() {
    let mut cluster = cluster(3);
    cluster.says(0, primary(1, 10, 100));
    cluster.says(1, replica(1, 1, 100));
    cluster.says(2, replica(1, 1, 100));
    cluster.loses(0);
    assert_eq!(
        (cluster.picture().primary, cluster.role(NodeId(0))),
        (None, Role::Primary),
        "known, and nobody's primary now"
    );
    cluster.says(1, primary(2, 20, 110));
    assert_eq!((cluster.primary(), cluster.picture().nodes[1].incarnation), (Some(1), 1));
    cluster.says(0, primary(1, 30, 100));
    assert_eq!((cluster.primary(), cluster.states()[0]), (Some(1), Down));
    let reason = cluster.picture().nodes[0].reason.clone().unwrap_or_default();
    assert!(reason.contains("timeline 1") && reason.contains("moved to timeline 2"), "{reason}");
    assert_eq!([0, 1, 2].map(|id| cluster.role(NodeId(id))), [Role::Unknown, Role::Primary, Role::Replica]);
    cluster.says(2, replica(1, 1, 110));
    assert_eq!(cluster.states()[2], Lagging, "it streams from the old one again");
    cluster.says(2, replica(2, 2, 110));
    assert_eq!(cluster.states()[2], Up, "it was pointed at the new one");
    cluster.loses(1);
    assert_eq!(cluster.primary(), None, "also when the new one is lost");
    cluster.says(1, primary(2, 40, 120));
    cluster.says(0, replica(2, 2, 120));
    assert_eq!((cluster.primary(), cluster.states()[0]), (Some(1), Up), "it was rewound and follows");
}

#[test]
fn two_primaries_are_never_both_written_to() {
    let mut cluster = cluster(3);
    cluster.says(0, primary(1, 10, 100));
    cluster.says(2, replica(1, 1, 100));
    cluster.says(1, primary(1, 10, 100));
    assert_eq!(
        (cluster.primary(), cluster.states()),
        (Some(0), vec![Up, Down, Up]),
        "the replica follows node 0"
    );
    cluster.says(2, replica(1, 2, 100));
    assert_eq!(
        (cluster.primary(), cluster.states()),
        (Some(0), vec![Up, Down, Up]),
        "no promotion made it that"
    );
    let notes = cluster.notes();
    assert!(
        notes
            .iter()
            .any(|note| matches!(note, Note::Warning(text) if text.contains("claims to be the primary")))
    );
}

#[test]
fn the_primary_may_name_its_replicas_before_they_do_themselves() {
    let mut lossless = config(&[1, 2]);
    lossless.failover.mode = config::FailoverMode::Promote;
    lossless.failover.max_data_loss = Some(0);
    let mut cluster = Cluster::new(&lossless, 1, T0);
    let follower = Follower { name: "b".into(), state: "streaming".into(), sync_state: "quorum".into() };
    cluster.says(0, Report { followers: vec![follower], ..primary(1, 10, 100) });
    cluster.says(1, Report { receiver_name: Some("b".into()), ..replica(1, 1, 100) });
    assert_eq!(cluster.primary(), Some(0));
    cluster.loses(0);
    cluster.says(1, Report { sent: Moment(20), receiver_name: Some("b".into()), ..replica(1, 1, 100) });
    let actions = cluster.actions();
    let promotes = |action: &Action| matches!(action, Action::Promote { node: NodeId(1), .. });
    assert!(actions.iter().any(promotes), "commits waited for it: {actions:?}");
}

#[test]
fn a_node_of_another_cluster_is_not_used() {
    let mut cluster = cluster(2);
    cluster.says(0, primary(1, 10, 100));
    cluster.says(1, Report { system: Some(8), ..replica(1, 1, 100) });
    assert_eq!(cluster.states(), [Up, Down]);
    let reason = cluster.picture().nodes[1].reason.clone().unwrap_or_default();
    assert!(reason.contains("another cluster"), "{reason}");
}

#[test]
fn a_replica_has_a_commit_when_it_replayed_what_the_primary_had_written_later() {
    let mut cluster = cluster(2);
    cluster.says(1, replica(1, 1, 99));
    cluster.says(0, primary(1, 10, 100));
    assert!(cluster.has(0, u64::MAX - 1), "the primary has everything");
    assert!(!cluster.has(1, 0));
    cluster.says(1, replica(1, 1, 100));
    assert!(cluster.has(1, 9) && !cluster.has(1, 10));
    cluster.says(0, primary(1, 20, 100));
    assert!(cluster.has(1, 19), "the primary wrote nothing since: no need to ask the replica");
    cluster.says(0, primary(1, 30, 200));
    assert!(cluster.has(1, 19) && !cluster.has(1, 25));
}

#[test]
fn what_a_replica_has_is_forgotten_when_it_may_have_gone_back() {
    let mut cluster = cluster(2);
    let caught_up = |cluster: &mut Cluster| {
        cluster.says(0, primary(1, 10, 100));
        cluster.says(1, replica(1, 1, 100));
        assert!(cluster.has(1, 9));
    };
    caught_up(&mut cluster);
    cluster.suspected(NodeId(1), ShardId(0), "closed".into(), T0);
    assert!(!cluster.has(1, 0), "a restarted replica shows an older state at first");
    cluster.says(0, primary(1, 10, 100));
    assert!(!cluster.has(1, 0), "what the primary says does not help");
    caught_up(&mut cluster);
    cluster.loses(1);
    assert!(!cluster.has(1, 0));
    caught_up(&mut cluster);
    cluster.says(1, replica(2, 1, 100));
    assert!(!cluster.has(1, 0), "it is on another timeline");
    caught_up(&mut cluster);
    cluster.loses(0);
    cluster.says(1, primary(2, 50, 100));
    assert!(cluster.has(1, u64::MAX - 1) && !cluster.has(0, 0));
    cluster.suspected(NodeId(1), ShardId(0), "closed".into(), T0);
    assert!(cluster.has(1, u64::MAX - 1), "of a primary there is nothing to doubt");
}

#[test]
fn a_primary_that_was_restarted_starts_from_nothing() {
    let mut cluster = cluster(2);
    cluster.says(0, primary(1, 10, 100));
    cluster.says(1, replica(1, 1, 100));
    cluster.says(0, Report { started: Some("one".into()), ..primary(1, 20, 110) });
    assert!(!cluster.has(1, 0));
    cluster.says(1, replica(1, 1, 110));
    assert!(cluster.has(1, 19));
}

#[test]
fn a_replica_over_its_lag_limit_takes_no_reads_and_is_not_down() {
    let mut limited = config(&[1, 2]);
    limited.route.lag_max = Some(50);
    let mut cluster = Cluster::new(&limited, 1, T0);
    cluster.says(0, primary(1, 10, 1000));
    cluster.says(1, replica(1, 1, 949));
    assert_eq!(cluster.states(), [Up, Lagging]);
    cluster.says(1, replica(1, 1, 1000));
    assert_eq!(cluster.states(), [Up, Up]);
    cluster.says(0, primary(1, 10, 2000));
    assert_eq!(cluster.states(), [Up, Up], "it may be as far by now");
    cluster.says(1, replica(1, 1, 1000));
    assert_eq!(cluster.states(), [Up, Lagging]);
    cluster.loses(0);
    cluster.says(1, replica(1, 1, 1000));
    assert_eq!(cluster.states(), [Down, Lagging], "without a primary nothing new is known");
}

#[test]
fn nodes_keep_their_ids_through_reloads() {
    let mut cluster = Cluster::new(&config(&[1, 2]), 1, T0);
    cluster.says(0, primary(1, 10, 100));
    cluster.says(1, replica(1, 1, 100));
    let changed = cluster.configured(&config(&[3, 2]), T0).expect("there are ids left");
    assert_eq!(changed, Reconfigured { added: vec![NodeId(2)], removed: vec![NodeId(0)] });
    assert_eq!(cluster.states(), [Drained, Up, Down]);
    assert_eq!(cluster.picture().nodes[2].port, 3);
    assert_eq!(
        cluster.members().map(|(id, _)| id.0).collect::<Vec<_>>(),
        [1, 2],
        "the drained one is hidden"
    );
    assert!(!cluster.says(0, primary(1, 20, 200)), "a late probe of a former node");
    assert_eq!(cluster.picture().primary, None);
    let changed = cluster.configured(&config(&[1, 2, 3]), T0).expect("there are ids left");
    assert_eq!(changed.added, [NodeId(0)], "the same place has its old id again");
    cluster.says(0, primary(1, 30, 300));
    assert_eq!(cluster.states(), [Up, Up, Down]);
    assert!(cluster.picture().nodes[0].incarnation > 0);
}

#[test]
fn ids_are_not_given_twice_and_run_out() {
    let ports: Vec<u16> = (1..=NODES_MAX as u16).collect();
    let mut cluster = Cluster::new(&config(&ports), 1, T0);
    let epoch = cluster.picture().epoch;
    assert_eq!(cluster.configured(&config(&[999]), T0), Err(TooManyNodes));
    assert_eq!((cluster.picture().epoch, cluster.members().count()), (epoch, NODES_MAX));
}

#[test]
fn another_weight_is_an_epoch_and_a_resolved_name_too() {
    let mut cluster = cluster(1);
    let mut heavier = config(&[1]);
    heavier.nodes[0].weight = 3.0;
    let before = cluster.picture().epoch;
    cluster.configured(&heavier, T0).expect("there are ids left");
    assert_eq!((cluster.picture().epoch.0, cluster.picture().nodes[0].weight), (before.0 + 1, 3.0));
    assert!(cluster.resolved(NodeId(0), NodeAddress::Tcp(vec![([1, 2, 3, 4], 1).into()]), T0));
    assert!(!cluster.resolved(NodeId(0), NodeAddress::Tcp(vec![([1, 2, 3, 4], 1).into()]), T0));
}
