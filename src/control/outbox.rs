//! What waits to be sent to one shard because its door was full.

use std::collections::VecDeque;

use crate::door::{Door, ToShard};

/// Messages in their order. Of pictures and policies only the newest waits: each replaces the one before.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<ToShard>,
}

impl Outbox {
    /// Sends `message` behind what waits already.
    pub fn send(&mut self, door: &Door<ToShard>, message: ToShard) {
        self.waiting.retain(|waiting| !replaces(&message, waiting));
        if self.waiting.len() == WAITING_MAX {
            // A shard that has taken nothing for that long is beyond help; what it is owed first it gets first.
            tracing::error!("a shard does not take messages: one is lost");
            return;
        }
        self.waiting.push_back(message);
        self.flush(door);
    }

    /// Tries again.
    pub fn flush(&mut self, door: &Door<ToShard>) {
        while let Some(message) = self.waiting.pop_front() {
            if let Err(message) = door.send(message) {
                self.waiting.push_front(message);
                break;
            }
        }
    }
}

fn replaces(new: &ToShard, old: &ToShard) -> bool {
    matches!(
        (new, old),
        (ToShard::Topology(_), ToShard::Topology(_)) | (ToShard::Policy(_), ToShard::Policy(_))
    )
}

/// Messages that may wait beside the door's own queue.
const WAITING_MAX: usize = crate::limits::QUEUE_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::Ticket;
    use crate::limits::QUEUE_MAX;
    use crate::topology::{Epoch, Topology};

    fn topology(epoch: u64) -> ToShard {
        ToShard::Topology(Topology { epoch: Epoch(epoch), ..Topology::default() }.into())
    }

    #[test]
    fn a_full_door_delays_and_the_newest_picture_arrives() {
        let door = Door::new(|| {});
        let mut outbox = Outbox::default();
        for ticket in 0..QUEUE_MAX as u64 {
            outbox.send(&door, ToShard::Snapshot { ticket: Ticket(ticket) });
        }
        outbox.send(&door, topology(1));
        outbox.send(&door, ToShard::Drain);
        outbox.send(&door, topology(2));
        while door.receive().is_some() {}
        outbox.flush(&door);
        assert!(matches!(door.receive(), Some(ToShard::Drain)));
        assert!(matches!(door.receive(), Some(ToShard::Topology(picture)) if picture.epoch == Epoch(2)));
        assert!(door.receive().is_none());
    }
}
