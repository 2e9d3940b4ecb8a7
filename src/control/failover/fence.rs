//! Whether every shard has observed that there is no primary, and who waits for what else of them.

use crate::door::ShardId;
use crate::topology::{Epoch, Moment};

/// What each shard has said last, and the fence that is being put up.
#[derive(Clone, Debug)]
pub(super) struct Fence {
    /// By id.
    shards: Vec<Shard>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
struct Shard {
    acknowledged: Epoch,
    drained: Epoch,
    wrote: Option<Moment>,
    ended: bool,
}

/// ```text
///           begin               published             all acknowledged
///   down ──────────▶ asked ───────────────▶ rising ──────────────────▶ up
///    ▲                                                                  │
///    └────────────────── removed: a primary is published ◀──────────────┘  (from any state)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Down,
    Asked,
    Rising(Epoch),
    Up { since: Moment },
}

impl Fence {
    /// Shards begin without a primary, so the fence is up.
    pub fn new(shards: usize, now: Moment) -> Fence {
        Fence { shards: vec![Shard::default(); shards], state: State::Up { since: now } }
    }

    /// Nobody is the primary from the next published picture on.
    pub fn begin(&mut self) {
        self.state = State::Asked;
    }

    /// Somebody is the primary again.
    pub fn remove(&mut self) {
        self.state = State::Down;
    }

    pub fn published(&mut self, epoch: Epoch) {
        if self.state == State::Asked {
            self.state = State::Rising(epoch);
        }
    }

    pub fn acknowledged(&mut self, shard: ShardId, epoch: Epoch, wrote: Option<Moment>, now: Moment) {
        if let Some(shard) = self.shards.get_mut(shard.index()) {
            shard.acknowledged = shard.acknowledged.max(epoch);
            shard.wrote = wrote;
        }
        self.look(now);
    }

    pub fn drained(&mut self, shard: ShardId, epoch: Epoch) {
        if let Some(shard) = self.shards.get_mut(shard.index()) {
            shard.drained = shard.drained.max(epoch);
        }
    }

    pub fn ended(&mut self, shard: ShardId, now: Moment) {
        if let Some(shard) = self.shards.get_mut(shard.index()) {
            shard.ended = true;
            // It may have written since it said so last.
            shard.wrote = None;
        }
        self.look(now);
    }

    fn look(&mut self, now: Moment) {
        if let State::Rising(epoch) = self.state
            && self.missing(epoch).is_empty()
        {
            self.state = State::Up { since: now };
        }
    }

    /// Since when no shard sends anything to any primary; `None` while one still may.
    pub fn up(&self) -> Option<Moment> {
        match self.state {
            State::Up { since } => Some(since),
            State::Down | State::Asked | State::Rising(_) => None,
        }
    }

    /// The epoch of the fence that is rising.
    pub fn epoch(&self) -> Option<Epoch> {
        match self.state {
            State::Rising(epoch) => Some(epoch),
            State::Down | State::Asked | State::Up { .. } => None,
        }
    }

    /// The shards that still work by a picture older than `epoch`.
    pub fn missing(&self, epoch: Epoch) -> Vec<ShardId> {
        self.list(|shard| shard.acknowledged < epoch)
    }

    /// The shards that still run transactions on the primary although the gate of `epoch` is closed.
    pub fn undrained(&self, epoch: Epoch) -> Vec<ShardId> {
        self.list(|shard| shard.drained < epoch)
    }

    fn list(&self, wanted: impl Fn(&Shard) -> bool) -> Vec<ShardId> {
        let ids = (0..=u16::MAX).map(ShardId);
        let all = ids.zip(&self.shards).filter(|(_, shard)| !shard.ended && wanted(shard));
        all.map(|(id, _)| id).collect()
    }

    /// The last moment at which any client was told that something was written. `None` when a shard does not know.
    pub fn wrote(&self) -> Option<Moment> {
        self.shards.iter().try_fold(Moment(0), |last, shard| Some(last.max(shard.wrote?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(7);

    fn acknowledge(fence: &mut Fence, shard: u16, epoch: u64) {
        fence.acknowledged(ShardId(shard), Epoch(epoch), Some(Moment(epoch)), NOW);
    }

    #[test]
    fn it_is_up_when_all_have_acknowledged_its_epoch_and_not_before() {
        let mut fence = Fence::new(2, Moment(1));
        assert_eq!(fence.up(), Some(Moment(1)), "nobody had a primary yet");
        fence.remove();
        fence.begin();
        acknowledge(&mut fence, 0, 9);
        acknowledge(&mut fence, 1, 9);
        assert_eq!(fence.up(), None, "it has no epoch yet");
        fence.published(Epoch(10));
        fence.published(Epoch(11));
        assert_eq!(fence.epoch(), Some(Epoch(10)), "later pictures have no primary either");
        acknowledge(&mut fence, 0, 10);
        assert_eq!((fence.up(), fence.missing(Epoch(10))), (None, vec![ShardId(1)]));
        acknowledge(&mut fence, 1, 9);
        assert_eq!(fence.up(), None);
        acknowledge(&mut fence, 1, 12);
        assert_eq!(fence.up(), Some(NOW));
        assert_eq!(fence.wrote(), Some(Moment(12)));
    }

    #[test]
    fn a_shard_that_has_ended_is_not_waited_for() {
        let mut fence = Fence::new(2, NOW);
        fence.begin();
        fence.published(Epoch(1));
        acknowledge(&mut fence, 0, 1);
        fence.ended(ShardId(1), NOW);
        assert_eq!(fence.up(), Some(NOW));
        assert_eq!(fence.wrote(), None, "it never said when it wrote last");
        assert_eq!(fence.undrained(Epoch(1)), [ShardId(0)]);
        fence.drained(ShardId(0), Epoch(1));
        assert!(fence.undrained(Epoch(1)).is_empty());
        acknowledge(&mut fence, 9, 1);
    }

    #[test]
    fn what_was_acknowledged_for_a_former_fence_does_not_count_for_the_next() {
        let mut fence = Fence::new(1, NOW);
        fence.begin();
        fence.published(Epoch(1));
        acknowledge(&mut fence, 0, 1);
        fence.remove();
        fence.begin();
        assert_eq!(fence.up(), None);
        fence.published(Epoch(3));
        assert_eq!(fence.missing(Epoch(3)), [ShardId(0)]);
    }
}
