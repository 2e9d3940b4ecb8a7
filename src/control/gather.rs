//! Collecting a snapshot from every shard. One round at a time, however many ask: whoever asks during a round waits for
//! the next one, so that nobody is told what was before the question, and a thousand questions cost few rounds.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use glommio::channels::local_channel::{LocalReceiver, LocalSender, new_bounded};
use glommio::timer::Timer;

use super::Control;
use super::signal::Signal;
use crate::door::{ShardId, Snapshot, Ticket, ToShard};

/// By shard; `None` for one that did not answer in time.
pub(super) type Gathered = Vec<Option<Box<Snapshot>>>;

#[derive(Default)]
pub(super) struct Gatherer {
    round: RefCell<Round>,
    asked: Signal,
    /// A shard has answered, or ended.
    heard: Signal,
    waiting: RefCell<Vec<LocalSender<Rc<Gathered>>>>,
}

/// What was collected so far.
#[derive(Debug, Default)]
struct Round {
    number: u64,
    answers: Vec<Answer>,
}

/// What one shard has said in this round.
#[derive(Debug, Default)]
enum Answer {
    #[default]
    Awaited,
    Given(Box<Snapshot>),
    /// It has ended: nothing of it is left to tell.
    Ended,
}

impl Gatherer {
    /// A shard's answer.
    pub fn take(&self, shard: ShardId, ticket: Ticket, snapshot: Box<Snapshot>) {
        self.round.borrow_mut().take(shard, ticket, snapshot);
        self.heard.set();
    }

    /// A shard has ended: it is not waited for.
    pub fn ended(&self, shard: ShardId) {
        self.round.borrow_mut().end(shard);
        self.heard.set();
    }
}

impl Control {
    /// A snapshot of every shard, taken after this call; at most [`GATHER_MAX`] for a round under way and as much for
    /// the next.
    pub(super) async fn gather(&self) -> Rc<Gathered> {
        let (answer, answered): (_, LocalReceiver<Rc<Gathered>>) = new_bounded(1);
        self.gatherer.waiting.borrow_mut().push(answer);
        self.gatherer.asked.set();
        answered.recv().await.unwrap_or_default()
    }
}

/// Serves [`Control::gather`].
pub(super) async fn serve(control: Rc<Control>) {
    let gatherer = &control.gatherer;
    loop {
        gatherer.asked.wait().await;
        loop {
            let waiting = gatherer.waiting.take();
            if waiting.is_empty() {
                break;
            }
            let gathered = Rc::new(round(&control).await);
            for answer in waiting {
                let _ = answer.try_send(gathered.clone());
            }
        }
    }
}

async fn round(control: &Control) -> Gathered {
    let gatherer = &control.gatherer;
    let ticket = gatherer.round.borrow_mut().begin(&control.ended.borrow());
    for shard in control.shard_ids() {
        control.send(shard, ToShard::Snapshot { ticket });
    }
    let all = async {
        while !gatherer.round.borrow().is_complete() {
            gatherer.heard.wait().await;
        }
    };
    let late = async {
        Timer::new(GATHER_MAX).await;
    };
    all.or(late).await;
    let round = &mut *gatherer.round.borrow_mut();
    for (shard, answer) in round.answers.iter().enumerate() {
        if matches!(answer, Answer::Awaited) {
            tracing::warn!(
                "shard {shard} did not tell its state within {GATHER_MAX:?}: its numbers are left out"
            );
        }
    }
    round.finish()
}

impl Round {
    fn begin(&mut self, ended: &[bool]) -> Ticket {
        self.number += 1;
        let answer = |ended: &bool| if *ended { Answer::Ended } else { Answer::Awaited };
        self.answers = ended.iter().map(answer).collect();
        Ticket(self.number)
    }

    fn take(&mut self, shard: ShardId, ticket: Ticket, snapshot: Box<Snapshot>) {
        // The answer to a round that was given up counts no more.
        if ticket == Ticket(self.number)
            && let Some(answer) = self.answers.get_mut(shard.index())
        {
            *answer = Answer::Given(snapshot);
        }
    }

    fn end(&mut self, shard: ShardId) {
        if let Some(answer @ Answer::Awaited) = self.answers.get_mut(shard.index()) {
            *answer = Answer::Ended;
        }
    }

    fn is_complete(&self) -> bool {
        !self.answers.iter().any(|answer| matches!(answer, Answer::Awaited))
    }

    fn finish(&mut self) -> Gathered {
        let answers = std::mem::take(&mut self.answers).into_iter();
        let snapshots = answers.map(|answer| match answer {
            Answer::Given(snapshot) => Some(snapshot),
            Answer::Awaited | Answer::Ended => None,
        });
        snapshots.collect()
    }
}

/// How long shards have for one round. They answer within a turn of their reactor.
const GATHER_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_complete_when_every_shard_answered_or_ended() {
        let mut round = Round::default();
        let ticket = round.begin(&[false, true, false]);
        assert!(!round.is_complete());
        round.take(ShardId(0), ticket, Box::default());
        round.take(ShardId(9), ticket, Box::default());
        round.end(ShardId(0));
        assert!(!round.is_complete());
        round.end(ShardId(2));
        assert!(round.is_complete());
        let answered: Vec<bool> = round.finish().iter().map(Option::is_some).collect();
        assert_eq!(answered, [true, false, false], "an answer given before the end counts");
    }

    #[test]
    fn an_answer_that_comes_too_late_does_not_count_for_the_next_round() {
        let mut round = Round::default();
        let late = round.begin(&[false]);
        round.finish();
        round.take(ShardId(0), late, Box::default());
        round.begin(&[false]);
        round.take(ShardId(0), late, Box::default());
        assert!(!round.is_complete());
        assert!(round.finish()[0].is_none());
    }
}
