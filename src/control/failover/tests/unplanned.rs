//! Losing the primary.

use super::*;

const INSTANT: Duration = Duration::from_millis(5);

/// The primary is killed, shards know, and node 1 has more than node 2.
fn fenced(rules: Rules) -> Driven {
    let mut driven = Driven::steady(rules);
    driven.killed(0);
    assert_eq!((driven.published(), driven.phase()), (None, "fencing"));
    driven.acknowledge();
    driven
}

fn promoting(rules: Rules) -> Driven {
    let mut driven = fenced(rules);
    driven.hears(2, replica(1, 110, None));
    driven.hears(1, replica(1, 120, None));
    assert_eq!(driven.phase(), "promoting", "{}", driven.alarm());
    driven
}

fn replaced() -> Driven {
    let mut driven = promoting(rules(Mode::Promote));
    driven.hears(1, primary(2, 130));
    driven.acknowledge();
    assert_eq!(driven.published(), Some(NodeId(1)));
    driven
}

#[test]
fn one_lost_probe_is_no_lost_primary() {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.fails(0);
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "suspecting"));
    assert!(driven.done.contains(&Action::Probe { node: NodeId(0) }));
    driven.hears(0, primary(1, 101));
    assert_eq!(driven.phase(), "steady");
    driven.suspected(0);
    driven.wait(INSTANT);
    driven.hears(0, primary(1, 101));
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "steady"));
    assert_eq!(driven.failover.records().iter().count(), 0);
}

#[test]
fn the_furthest_replaces_a_killed_primary_and_the_others_follow() {
    let mut driven = promoting(rules(Mode::Promote));
    let (attempt, node) = driven.promoting().expect("one is promoted");
    assert_eq!(node, 1);
    driven.tell(Event::Promoted { attempt, result: Ok(()) });
    assert_eq!(driven.published(), None, "it has not said so itself");
    driven.hears(1, primary(2, 130));
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(1)), "following"));
    let follow = driven.last(|action| match action {
        Action::Follow { attempt, node, primary } => Some((*attempt, node.0, primary.0)),
        _ => None,
    });
    let Some((attempt, 2, 1)) = follow else { panic!("node 2 is to follow node 1: {follow:?}") };
    driven.tell(Event::Followed { attempt, result: Ok(()) });
    driven.hears(2, replica(2, 130, Some(1)));
    assert_eq!(driven.phase(), "steady");
    let record = driven.record();
    assert_eq!((record.from, record.to, record.kind), (Some(NodeId(0)), Some(NodeId(1)), Kind::Failover));
    assert_eq!(record.seen[0].by, Witness::Shard(ShardId(1)));
    assert!(record.fenced.is_some() && record.published > record.fenced && record.why.contains("furthest"));
    let phases: Vec<&str> = record.phases.iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, ["suspecting", "fencing", "choosing", "promoting", "following"]);
}

#[test]
fn nobody_is_promoted_while_a_shard_has_not_acknowledged() {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.killed(0);
    driven.acknowledge_one(0);
    for _ in 0..100 {
        driven.hears(1, replica(1, 120, None));
        driven.hears(2, replica(1, 110, None));
        driven.wait(Duration::from_millis(500));
    }
    assert!(driven.promoting().is_none() && driven.phase() == "fencing");
    assert!(driven.alarm().contains("have not acknowledged") && driven.alarm().ends_with(": 1"));
    driven.acknowledge_one(1);
    driven.hears(1, replica(1, 120, None));
    driven.hears(2, replica(1, 110, None));
    assert_eq!(driven.promoting().map(|(_, node)| node), Some(1));
}

#[test]
fn a_primary_that_is_back_before_a_promotion_stays() {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.killed(0);
    driven.hears(0, primary(1, 105));
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "steady"));
    assert_eq!(driven.record().outcome.as_deref(), Some("the primary came back"));
    let mut driven = promoting(rules(Mode::Promote));
    driven.hears(0, primary(1, 105));
    assert_eq!(driven.published(), None, "somebody else was told already");
}

#[test]
fn one_that_comes_and_goes_has_to_stay_before_it_is_believed() {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.killed(0);
    driven.hears(0, primary(1, 105));
    assert_eq!(driven.published(), Some(NodeId(0)));
    driven.killed(0);
    driven.hears(0, primary(1, 105));
    assert_eq!(driven.published(), None);
    driven.wait(Duration::from_secs(2));
    driven.hears(0, primary(1, 105));
    assert_eq!(driven.published(), Some(NodeId(0)));
}

#[test]
fn a_refused_promotion_leads_to_the_next_candidate() {
    let mut driven = promoting(rules(Mode::Promote));
    let (attempt, _) = driven.promoting().expect("one is promoted");
    let refused = Err(PromoteError::Refused("permission denied".to_owned()));
    driven.tell(Event::Promoted { attempt: Attempt(99), result: refused.clone() });
    assert_eq!(driven.phase(), "promoting", "that was another attempt");
    driven.tell(Event::Promoted { attempt, result: refused });
    assert!(driven.alarm().contains("node 1 at n1:5432 was not promoted: permission denied"));
    driven.hears(1, replica(1, 120, None));
    driven.hears(2, replica(1, 110, None));
    assert_eq!(driven.promoting().map(|(_, node)| node), Some(2));
}

#[test]
fn a_promotion_that_comes_too_late_is_not_believed() {
    let mut driven = promoting(rules(Mode::Promote));
    driven.fails(2);
    driven.fails(2);
    driven.wait(Rules::default().promote_timeout);
    assert_eq!(driven.phase(), "holding", "node 2 is lost too");
    driven.hears(0, primary(1, 105));
    assert_eq!(driven.published(), Some(NodeId(0)), "nobody else is it yet");
    driven.hears(1, primary(2, 130));
    assert_eq!(driven.published(), Some(NodeId(0)));
    assert!(matches!(driven.failover.verdict(NodeId(1)), Verdict::Refused(_)));
    assert!(driven.alarm().contains("node 1 at n1:5432 is not written to"), "{}", driven.alarm());
    driven.hears(1, replica(1, 140, Some(0)));
    driven.wait(Duration::from_secs(1));
    assert!(
        matches!(driven.failover.verdict(NodeId(1)), Verdict::Refused(_)),
        "what it was told may still be waiting"
    );
    driven.wait(Rules::default().promote_timeout);
    assert_eq!(driven.failover.verdict(NodeId(1)), Verdict::Usable);
}

#[test]
fn a_late_promotion_counts_when_nobody_else_is_it() {
    let mut driven = promoting(rules(Mode::Promote));
    driven.wait(Rules::default().promote_timeout);
    driven.hears(1, primary(2, 130));
    assert_eq!(driven.published(), Some(NodeId(1)));
}

#[test]
fn an_old_primary_is_reported_with_the_commands_and_used_again_as_a_replica() {
    let mut driven = replaced();
    assert!(matches!(driven.failover.verdict(NodeId(0)), Verdict::Refused(_)));
    driven.hears(0, primary(1, 125));
    driven.hears(0, primary(1, 125));
    assert_eq!(driven.published(), Some(NodeId(1)));
    let alarm = driven.alarm();
    for part in ["pg_rewind --target-pgdata=/data/0", "host=n1 port=5432", "pg_basebackup -h n1 -p 5432"] {
        assert!(alarm.contains(part), "{alarm}");
    }
    let alarms = driven.done.iter().filter(|action| matches!(action, Action::Alarm(_))).count();
    assert_eq!(alarms, 1);
    driven.wait(Rules::default().promote_timeout);
    driven.hears(0, replica(1, 125, None));
    assert!(matches!(driven.failover.verdict(NodeId(0)), Verdict::Refused(_)), "it does not stream");
    driven.hears(0, replica(2, 130, Some(1)));
    driven.wait(Duration::from_secs(5));
    assert_eq!(driven.failover.verdict(NodeId(0)), Verdict::Usable);
}

#[test]
fn a_detached_false_primary_waits_for_the_operator() {
    let mut driven = Driven::steady(Rules { detach_false_primary: true, ..rules(Mode::Promote) });
    driven.hears(2, primary(1, 100));
    assert!(driven.alarm().contains("used again after ATTACH"));
    driven.hears(2, replica(1, 100, Some(0)));
    driven.wait(Duration::from_secs(300));
    assert!(matches!(driven.failover.verdict(NodeId(2)), Verdict::Refused(_)));
    driven.order(Order::Attach(NodeId(2)));
    assert_eq!(driven.failover.verdict(NodeId(2)), Verdict::Usable);
}

#[test]
fn a_primary_that_replicas_receive_from_is_waited_for_and_not_for_ever() {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.fails(0);
    driven.hears(1, replica(1, 100, Some(0)));
    driven.hears(1, replica(1, 120, Some(0)));
    driven.fails(0);
    assert_eq!(driven.phase(), "suspecting");
    driven.wait(Rules::default().suspect_timeout);
    assert_eq!(driven.phase(), "fencing");
}

#[test]
fn flags_keep_a_node_from_failing_over() {
    let disallowed = NodeRules { disallow_failover: true, ..node_rules(0) };
    let mut driven =
        Driven::steady_with(rules(Mode::Promote), vec![disallowed, node_rules(1), node_rules(2)]);
    for _ in 0..50 {
        driven.fails(0);
        driven.wait(Duration::from_secs(1));
    }
    assert_eq!(driven.published(), Some(NodeId(0)));
    assert!(driven.alarm().contains("may not fail over"));
    let always = NodeRules { always_primary: true, ..node_rules(0) };
    let mut driven = Driven::steady_with(rules(Mode::Promote), vec![always, node_rules(1), node_rules(2)]);
    driven.killed(0);
    driven.acknowledge();
    driven.hears(1, replica(1, 120, None));
    driven.hears(2, replica(1, 110, None));
    assert!(driven.promoting().is_none() && driven.phase() == "holding");
    driven.hears(0, replica(1, 120, None));
    assert_eq!(driven.published(), Some(NodeId(0)), "its role is not asked");
}

#[test]
fn a_command_is_expanded_and_its_failure_handled() {
    let command = "f %d %h %p %D %m %H %M %P %r %R %N %S %%".to_owned();
    let mut driven = promoting(Rules { failover_command: Some(command), ..rules(Mode::Command) });
    let run = driven.last(|action| match action {
        Action::Run { attempt, purpose: Purpose::Promote, command, .. } => Some((*attempt, command.clone())),
        _ => None,
    });
    let (attempt, command) = run.expect("it is run");
    assert_eq!(command, "f 0 n0 5432 /data/0 1 n1 0 0 5432 /data/1 n0 5432 %");
    driven.tell(Event::Exited { attempt, code: Some(3) });
    assert!(driven.alarm().contains("failover_command ended with exit code 3"));
    // It may have promoted somebody all the same.
    driven.hears(2, primary(2, 111));
    assert_eq!(driven.published(), Some(NodeId(2)));
}

#[test]
fn an_observer_follows_what_others_promote() {
    let mut driven = fenced(rules(Mode::Observe));
    driven.hears(1, replica(1, 120, None));
    driven.hears(2, replica(1, 110, None));
    assert!(driven.promoting().is_none() && driven.phase() == "holding");
    driven.hears(2, primary(2, 111));
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(2)), "steady"));
    let mut driven = Driven::steady(rules(Mode::Observe));
    driven.hears(2, primary(2, 111));
    assert_eq!(driven.published(), None, "not before nobody writes to the former one");
    driven.acknowledge();
    assert_eq!(driven.published(), Some(NodeId(2)));
    assert_eq!(driven.record().kind, Kind::Observed);
}

#[test]
fn without_loss_means_hold_and_look_again() {
    let mut driven = fenced(Rules { max_data_loss: Some(0), ..rules(Mode::Promote) });
    driven.hears(1, replica(1, 120, None));
    driven.hears(2, replica(1, 110, None));
    assert!(driven.promoting().is_none() && driven.phase() == "holding");
    assert!(driven.alarm().contains("max_data_loss is 0B"), "{}", driven.alarm());
    driven.order(Order::Promote(NodeId(1)));
    assert_eq!(driven.promoting().map(|(_, node)| node), Some(1), "the operator may");
    driven.hears(1, primary(2, 130));
    assert_eq!(driven.answer(), Some(Ok("node 1 at n1:5432 is the primary".to_owned())));
}
