//! From a probe's report to what failover looks at: hosts and names become nodes.

use super::failover::{Sighting, Sync};
use super::member::Member;
use super::probe::Report;
use crate::topology::NodeId;

/// `members`: all, by id.
pub(super) fn of(report: &Report, members: &[Member]) -> Sighting {
    let at = |host: &str, port: u16| ids(members).find(|(_, member)| member.is_at(host, port));
    Sighting {
        sent: report.sent,
        in_recovery: report.in_recovery,
        timeline: report.timeline,
        written: report.written.filter(|_| !report.in_recovery),
        received: report.received,
        replayed: report.replayed,
        streaming: report.streaming,
        follows: report.follows.as_ref().and_then(|(host, port)| at(host, *port)).map(|(id, _)| id),
        system: report.system,
        started: report.started.as_deref().map(Box::from),
        followers: followers(report, members),
    }
}

/// The nodes that a primary names as its replicas. A name that several nodes or several receivers have names nobody.
fn followers(report: &Report, members: &[Member]) -> Vec<(NodeId, Sync)> {
    let follower = |name: &str, sync: &str| {
        let mut namesakes = ids(members).filter(|(_, member)| member.receiver_name() == Some(name));
        let (id, _) = namesakes.next().filter(|_| namesakes.next().is_none())?;
        let sync = match sync {
            "sync" => Sync::Sync,
            "quorum" => Sync::Quorum,
            "potential" => Sync::Potential,
            _ => Sync::Async,
        };
        Some((id, sync))
    };
    let alone = |name: &str| report.followers.iter().filter(|other| other.name == name).count() == 1;
    let named = report.followers.iter().filter(|follower| alone(&follower.name));
    named.filter_map(|named| follower(&named.name, &named.sync_state)).collect()
}

fn ids(members: &[Member]) -> impl Iterator<Item = (NodeId, &Member)> {
    (0..=u8::MAX).map(NodeId).zip(members).filter(|(_, member)| member.configured.is_some())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::config;
    use crate::control::probe::Follower;

    fn member(port: u16, application_name: Option<&str>) -> Member {
        let host = "10.0.0.1".to_owned();
        let application_name = application_name.map(str::to_owned);
        Member::new(
            config::Node { host, port, application_name, ..config::Node::default() },
            SystemTime::UNIX_EPOCH,
        )
    }

    fn follower(name: &str, sync: &str) -> Follower {
        Follower { name: name.into(), state: "streaming".into(), sync_state: sync.into() }
    }

    #[test]
    fn places_and_names_become_nodes() {
        let members = [
            member(1, None),
            member(2, Some("b")),
            member(3, Some("c")),
            member(4, Some("d")),
            member(5, Some("d")),
        ];
        let replica =
            Report { in_recovery: true, follows: Some(("10.0.0.1".into(), 1)), ..Report::default() };
        assert_eq!(of(&replica, &members).follows, Some(NodeId(0)));
        let elsewhere = Report { follows: Some(("10.0.0.1".into(), 9)), ..replica };
        assert_eq!(of(&elsewhere, &members).follows, None);
        let followers = ["b sync", "c async", "c quorum", "d sync", "stranger sync"];
        let followers = followers.map(|text| text.split_once(' ').expect("two words"));
        let primary = Report {
            followers: followers.iter().map(|(name, sync)| follower(name, sync)).collect(),
            ..Report::default()
        };
        assert_eq!(
            of(&primary, &members).followers,
            [(NodeId(1), Sync::Sync)],
            "what is not plain counts for nobody"
        );
    }
}
