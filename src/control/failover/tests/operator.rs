//! What the operator orders.

use super::*;

fn switching() -> Driven {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.order(Order::Switchover { to: Some(NodeId(2)) });
    assert_eq!((driven.published(), driven.failover.primary().1), (Some(NodeId(0)), Gate::Closed));
    driven.acknowledge();
    assert_eq!(driven.phase(), "draining");
    driven
}

#[test]
fn a_switchover_drains_fences_catches_up_and_promotes() {
    let mut driven = switching();
    driven.drained();
    assert_eq!((driven.published(), driven.phase()), (None, "fencing"));
    driven.acknowledge();
    driven.hears(0, primary(1, 150));
    driven.hears(2, replica(1, 149, Some(0)));
    assert_eq!((driven.promoting(), driven.phase()), (None, "catching up"));
    driven.hears(2, replica(1, 150, Some(0)));
    assert_eq!(driven.promoting().map(|(_, node)| node), Some(2));
    driven.hears(2, primary(2, 160));
    assert_eq!(driven.published(), Some(NodeId(2)));
    assert_eq!(driven.failover.primary().1, Gate::Open);
    assert_eq!(driven.answer(), Some(Ok("node 2 at n2:5432 is the primary".to_owned())));
    let demoted = driven.last(|action| match action {
        Action::Demote { node, primary, .. } => Some((node.0, primary.0)),
        _ => None,
    });
    assert_eq!(demoted, Some((0, 2)));
    assert_eq!(driven.record().kind, Kind::Switchover);
}

#[test]
fn a_switchover_that_does_not_come_along_leaves_all_as_it_was() {
    let mut driven = switching();
    driven.wait(Rules::default().drain_timeout);
    assert_eq!(driven.failover.primary(), (Some(NodeId(0)), Gate::Open));
    assert!(
        driven.answer().is_some_and(|answer| answer.is_err_and(|text| text.contains("running transactions")))
    );
    let mut driven = switching();
    driven.drained();
    driven.wait(Rules::default().fence_timeout);
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "steady"));
    let mut driven = switching();
    driven.drained();
    driven.acknowledge();
    driven.hears(0, primary(1, 150));
    driven.wait(Rules::default().catch_up_timeout);
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "steady"));
    assert!(driven.promoting().is_none());
}

#[test]
fn a_refused_promotion_in_a_switchover_gives_the_primary_back() {
    let mut driven = switching();
    driven.drained();
    driven.acknowledge();
    driven.hears(0, primary(1, 150));
    driven.hears(2, replica(1, 150, Some(0)));
    let (attempt, _) = driven.promoting().expect("it is promoted");
    let result = Err(PromoteError::Refused("no".to_owned()));
    driven.tell(Event::Promoted { attempt, result });
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "steady"));
    assert!(driven.answer().is_some_and(|answer| answer.is_err()));
}

#[test]
fn losing_the_primary_in_a_switchover_makes_it_a_failover() {
    let mut driven = switching();
    driven.killed(0);
    assert_eq!((driven.published(), driven.phase()), (None, "fencing"));
    driven.acknowledge();
    driven.hears(1, replica(1, 120, None));
    driven.hears(2, replica(1, 110, None));
    assert_eq!(driven.promoting().map(|(_, node)| node), Some(1), "the furthest, whatever was wished");
    assert_eq!(driven.record().kind, Kind::Failover);
}

#[test]
fn what_cannot_be_done_is_refused_with_the_reason() {
    for (mode, order, reason) in [
        (Mode::Observe, Order::Switchover { to: None }, "observe"),
        (Mode::Promote, Order::Switchover { to: Some(NodeId(0)) }, "not a replica"),
        (Mode::Promote, Order::Switchover { to: Some(NodeId(9)) }, "no node 9"),
        (Mode::Promote, Order::Detach(NodeId(0)), "SWITCHOVER first"),
        (Mode::Promote, Order::Promote(NodeId(1)), "use SWITCHOVER TO 1"),
        (Mode::Promote, Order::Promote(NodeId(0)), "is the primary"),
        (Mode::Promote, Order::Resume, "not paused"),
    ] {
        let mut driven = Driven::steady(rules(mode));
        driven.order(order);
        let answer = driven.answer().expect("it is answered").expect_err("it is refused");
        assert!(answer.contains(reason), "{order:?}: {answer}");
        assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "steady"));
    }
}

#[test]
fn a_detached_node_is_not_used_and_not_promoted() {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.order(Order::Detach(NodeId(1)));
    assert_eq!(driven.failover.verdict(NodeId(1)), Verdict::Drained);
    assert_eq!(driven.answer(), None, "shards do not know yet");
    driven.acknowledge();
    assert_eq!(driven.answer(), Some(Ok("node 1 at n1:5432 is detached".to_owned())));
    driven.killed(0);
    driven.acknowledge();
    driven.hears(1, replica(1, 900, None));
    driven.hears(2, replica(1, 110, None));
    assert_eq!(driven.promoting().map(|(_, node)| node), Some(2));
    driven.hears(2, primary(2, 120));
    driven.hears(1, replica(2, 120, Some(2)));
    driven.order(Order::Attach(NodeId(1)));
    assert_eq!(driven.failover.verdict(NodeId(1)), Verdict::Usable);
}

#[test]
fn nothing_is_decided_while_it_is_paused() {
    let mut driven = Driven::steady(rules(Mode::Promote));
    driven.order(Order::Pause);
    assert_eq!(driven.failover.primary(), (Some(NodeId(0)), Gate::Closed));
    driven.acknowledge();
    assert_eq!(driven.answer(), None);
    driven.drained();
    assert!(driven.answer().is_some_and(|answer| answer.is_ok_and(|text| text.starts_with("paused"))));
    driven.killed(0);
    driven.wait(Duration::from_secs(60));
    assert_eq!((driven.published(), driven.phase()), (Some(NodeId(0)), "paused"));
    driven.hears(0, primary(1, 100));
    driven.order(Order::Resume);
    assert_eq!(driven.failover.primary(), (Some(NodeId(0)), Gate::Open));
    assert_eq!(driven.phase(), "steady");
}
