//! Which replica is promoted in the place of a lost primary: positions in, one node with the reason out.
//!
//! Of those that may be promoted, the one furthest in (timeline, received) loses the least, and everything that any
//! other of them has. Between equals come those that commits waited for, then the higher priority, then the one that
//! has replayed more, then the smaller number.

use std::cmp::Reverse;

use super::event::Sync;
use crate::control::Lsn;
use crate::topology::{Moment, NodeId};

/// A node that answered after the last write could have been sent to the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub node: NodeId,
    /// Why it is not promoted, however far it is.
    pub excluded: Option<String>,
    /// See [`NodeRules::priority`](super::NodeRules::priority).
    pub priority: u32,
    pub timeline: Option<u32>,
    pub received: Option<Lsn>,
    pub replayed: Option<Lsn>,
    /// What the lost primary last said about it.
    pub sync: Option<Sync>,
}

/// What is known of the lost primary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// 0: not known.
    pub timeline: u32,
    /// Where its WAL ended at the last answer, and when that was asked for.
    pub written: Option<(Lsn, Moment)>,
    /// The last moment at which any client was told that something was written; `None` when that is not known.
    pub told: Option<Moment>,
    /// Whether its last answer said that commits wait for a replica.
    pub synchronous: bool,
    /// Nodes that commits may have waited for and that have not answered.
    pub silent: Vec<NodeId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub node: NodeId,
    /// Reads well behind "node 1 is promoted: ".
    pub why: String,
}

/// Chooses.
///
/// # Errors
///
/// Why nobody is fit, to read well behind "nobody is promoted: ".
pub(super) fn choose(
    candidates: &[Candidate],
    lost: &Lost,
    max_data_loss: Option<u64>,
) -> Result<Chosen, String> {
    let mut reasons = Vec::new();
    let mut fit: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| match unfit(candidate, lost) {
            None => true,
            Some(reason) => {
                reasons.push(format!("node {} {reason}", candidate.node));
                false
            }
        })
        .collect();
    fit.sort_by_key(|candidate| Reverse(rank(candidate)));
    let Some(first) = fit.first() else {
        let reasons = match reasons.is_empty() {
            true => "no replica answers".to_owned(),
            false => reasons.join("; "),
        };
        return Err(reasons);
    };
    let safety = safety(first, candidates, lost);
    let loss = match (&safety, max_data_loss) {
        (Ok(proof), _) => format!("it has everything that was acknowledged: {proof}"),
        (Err(_), None) => match behind(first, candidates, lost) {
            Some(bytes) => format!("it is {bytes} bytes behind the last known position"),
            None => "where the primary's WAL ended is not known".to_owned(),
        },
        (Err(doubt), Some(0)) => {
            return Err(format!(
                "node {} is the furthest, but it may lack what was acknowledged, and max_data_loss is 0B: {doubt}",
                first.node
            ));
        }
        (Err(_), Some(max)) => match behind(first, candidates, lost) {
            Some(bytes) if bytes <= max => {
                format!("it is {bytes} bytes behind the last known position, and max_data_loss is {max}")
            }
            Some(bytes) => {
                return Err(format!(
                    "node {} is the furthest, but {bytes} bytes behind the last known position, and max_data_loss is \
                     {max}",
                    first.node
                ));
            }
            None => {
                return Err(format!(
                    "node {} is the furthest, but nobody knows how far the primary was, and max_data_loss is {max}",
                    first.node
                ));
            }
        },
    };
    let others = fit.len() - 1;
    let received = first.received.map_or_else(|| "an unknown position".to_owned(), |lsn| lsn.to_string());
    let timeline = first.timeline.map_or_else(|| "?".to_owned(), |timeline| timeline.to_string());
    let why = format!("of {} it is the furthest, with {received} on timeline {timeline}; {loss}", others + 1);
    Ok(Chosen { node: first.node, why })
}

type Rank = (Option<u32>, Option<Lsn>, bool, u32, Option<Lsn>, Reverse<NodeId>);

fn rank(candidate: &Candidate) -> Rank {
    let waited_for = matches!(candidate.sync, Some(Sync::Sync | Sync::Quorum));
    (
        candidate.timeline,
        candidate.received,
        waited_for,
        candidate.priority,
        candidate.replayed,
        Reverse(candidate.node),
    )
}

fn unfit(candidate: &Candidate, lost: &Lost) -> Option<String> {
    if let Some(reason) = &candidate.excluded {
        return Some(reason.clone());
    }
    if candidate.priority == 0 {
        return Some("is configured never to be promoted".to_owned());
    }
    // Its WAL may have left the common line before the primary's timeline began.
    let older = candidate.timeline.filter(|timeline| *timeline < lost.timeline)?;
    Some(format!("is on timeline {older}, and the primary was on {}", lost.timeline))
}

/// Whether `candidate` has everything that any client was told is committed, and how that is known; or what speaks
/// against it.
fn safety(candidate: &Candidate, all: &[Candidate], lost: &Lost) -> Result<String, String> {
    let reached = |lsn: Lsn| candidate.received.is_some_and(|received| received >= lsn);
    let same_timeline = candidate.timeline == Some(lost.timeline);
    if let Some(((written, asked), told)) = lost.written.zip(lost.told)
        && told < asked
        && same_timeline
        && reached(written)
    {
        return Ok(format!("nothing was since the primary stood at {written}"));
    }
    if !lost.synchronous {
        return Err("commits did not wait for a replica".to_owned());
    }
    if let Some(silent) = lost.silent.first() {
        return Err(format!("commits may have waited for node {silent}, which does not answer"));
    }
    let furthest = all.iter().filter_map(|other| other.received).max();
    match furthest {
        Some(lsn) if reached(lsn) && same_timeline => {
            Ok("commits waited for replicas, and none of these has more".to_owned())
        }
        _ => Err("another replica has received more".to_owned()),
    }
}

/// Bytes between what `candidate` has and the furthest position anybody knows. `None` when none is known.
fn behind(candidate: &Candidate, all: &[Candidate], lost: &Lost) -> Option<u64> {
    let (written, _) = lost.written?;
    let furthest = all.iter().filter_map(|other| other.received).max().unwrap_or(written).max(written);
    Some(furthest.since(candidate.received?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(node: u8, timeline: u32, received: u64) -> Candidate {
        Candidate {
            node: NodeId(node),
            excluded: None,
            priority: 1,
            timeline: Some(timeline),
            received: Some(Lsn(received)),
            replayed: Some(Lsn(received)),
            sync: Some(Sync::Async),
        }
    }

    fn lost(written: u64) -> Lost {
        Lost {
            timeline: 1,
            written: Some((Lsn(written), Moment(100))),
            told: Some(Moment(200)),
            synchronous: false,
            silent: Vec::new(),
        }
    }

    fn chosen(candidates: &[Candidate], lost: &Lost, max: Option<u64>) -> Option<u8> {
        choose(candidates, lost, max).ok().map(|chosen| chosen.node.0)
    }

    #[test]
    fn the_furthest_is_chosen_and_between_equals_the_preferred() {
        let base = candidate(1, 1, 100);
        for (other, first) in [
            (Candidate { node: NodeId(2), ..base.clone() }, 1),
            (Candidate { received: Some(Lsn(101)), ..candidate(2, 1, 0) }, 2),
            (Candidate { priority: 9, ..candidate(2, 1, 99) }, 1),
            (Candidate { priority: 2, ..candidate(2, 1, 100) }, 2),
            (Candidate { sync: Some(Sync::Sync), ..candidate(2, 1, 100) }, 2),
            (Candidate { replayed: Some(Lsn(101)), ..candidate(2, 1, 100) }, 2),
            (candidate(2, 2, 1), 2),
            (Candidate { excluded: Some("is drained".into()), ..candidate(2, 1, 900) }, 1),
            (Candidate { priority: 0, ..candidate(2, 1, 900) }, 1),
            (Candidate { received: None, ..candidate(2, 1, 0) }, 1),
        ] {
            assert_eq!(chosen(&[base.clone(), other.clone()], &lost(100), None), Some(first), "{other:?}");
        }
    }

    #[test]
    fn one_on_a_timeline_that_ended_is_never_promoted() {
        let lost = Lost { timeline: 2, ..lost(100) };
        assert_eq!(chosen(&[candidate(1, 1, 900)], &lost, None), None);
        let error = choose(&[candidate(1, 1, 900)], &lost, None).expect_err("it is too old");
        assert!(error.contains("timeline 1"), "{error}");
        assert_eq!(choose(&[], &lost, None), Err("no replica answers".to_owned()));
    }

    #[test]
    fn a_bound_on_the_loss_counts_from_the_last_known_position() {
        for (written, max, fits) in
            [(100, None, true), (150, Some(50), true), (151, Some(50), false), (100, Some(0), false)]
        {
            let chosen = chosen(&[candidate(1, 1, 100)], &lost(written), max);
            assert_eq!(chosen.is_some(), fits, "{written} {max:?}");
        }
        let unknown = Lost { written: None, ..lost(0) };
        assert_eq!(chosen(&[candidate(1, 1, 100)], &unknown, Some(50)), None);
        assert_eq!(chosen(&[candidate(1, 1, 100)], &unknown, None), Some(1));
    }

    #[test]
    fn without_loss_only_what_provably_has_everything() {
        let quiet = Lost { told: Some(Moment(99)), ..lost(100) };
        let synchronous = Lost { synchronous: true, ..lost(500) };
        let silent = Lost { silent: vec![NodeId(2)], ..synchronous.clone() };
        for (name, lost, fits) in [
            ("written since", lost(100), false),
            ("written at the same moment", Lost { told: Some(Moment(100)), ..lost(100) }, false),
            ("nothing written since", quiet.clone(), true),
            ("further than it", Lost { written: Some((Lsn(101), Moment(100))), ..quiet.clone() }, false),
            ("unknown writes", Lost { told: None, ..quiet }, false),
            ("synchronous", synchronous, true),
            ("a silent one", silent, false),
        ] {
            assert_eq!(chosen(&[candidate(1, 1, 100)], &lost, Some(0)).is_some(), fits, "{name}");
        }
        let synchronous = Lost { synchronous: true, ..lost(0) };
        let drained = Candidate { excluded: Some("is drained".into()), ..candidate(2, 1, 101) };
        assert_eq!(chosen(&[candidate(1, 1, 100), drained], &synchronous, Some(0)), None);
    }

    proptest! {
        /// Whoever is chosen has received all that any other of the fit has.
        #[test]
        fn nobody_fit_has_more(
            positions in proptest::collection::vec((1u32..3, 0u64..5, 0u64..5, 0u32..3, any::<bool>()), 1..6),
        ) {
            let candidates: Vec<Candidate> = (0u8..)
                .zip(positions)
                .map(|(node, (timeline, received, replayed, priority, sync))| Candidate {
                    replayed: Some(Lsn(replayed)),
                    priority,
                    sync: sync.then_some(Sync::Quorum),
                    ..candidate(node, timeline, received)
                })
                .collect();
            let fit = || candidates.iter().filter(|candidate| candidate.priority > 0);
            match chosen(&candidates, &lost(3), None) {
                None => prop_assert_eq!(fit().count(), 0),
                Some(node) => {
                    let chosen = &candidates[usize::from(node)];
                    let position = |candidate: &Candidate| (candidate.timeline, candidate.received);
                    prop_assert!(fit().all(|other| position(other) <= position(chosen)));
                }
            }
        }
    }
}
