//! Sessions that keep their backend: for how long, and seen by the operator. Whether the cause of a pin is gone is asked on
//! the backend itself, behind a transaction that may have done away with it.

use std::time::SystemTime;

use crate::door::PinSnapshot;
use crate::session::Pins;

use super::Shard;
use super::functions::Look;
use super::relay::Relay;

/// What a seat shows of a session that is pinned.
pub(super) struct Pinned {
    pub database: Box<str>,
    pub user: Box<str>,
    pub reason: Pins,
    pub since: SystemTime,
}

impl Relay {
    /// Whether no pin keeps the backend. If its cause may be gone, the server is asked.
    pub(super) fn unpinned(&mut self) -> bool {
        if self.session.pins().is_empty() {
            return true;
        }
        if self.session.take_may_unpin()
            && let Some(link) = self.link.as_deref_mut()
        {
            link.socket.send_with(|out| link.backend.look(CAUSES, out));
            self.look = Some(Box::new(Look::Pins { gone: Pins::NONE }));
        }
        false
    }

    /// A session that was pinned in a READ ONLY transaction on a replica is about to write, which it cannot do there: the
    /// replica's backend is given up, with what was left on it.
    pub(super) fn leave_pinned_replica(&mut self) {
        let Some(link) = &mut self.link else { return };
        if self.on_replica && link.backend.quiet() && !self.counted_pins.is_empty() {
            tracing::debug!(reason = %self.counted_pins, "a pinned session leaves its replica to write");
            link.reset_owed = true;
            self.session.moved();
            self.hand_back();
        }
    }

    /// Counts and shows the session's pins, if they have changed.
    pub(super) fn count_pins(&mut self) {
        let pins = self.session.pins();
        if pins == self.counted_pins {
            return;
        }
        let counted = std::mem::replace(&mut self.counted_pins, pins);
        let counters = self.shard.counters();
        match (counted.is_empty(), pins.is_empty()) {
            (true, false) => counters.pinned.add(1),
            (false, true) => counters.pinned.sub(1),
            _ => {}
        }
        tracing::debug!(reason = %pins, "pins of a session");
        for ((pin, _), count) in Pins::ALL.iter().zip(&self.shard.pin_counts) {
            if pins.contains(*pin) && !counted.contains(*pin) {
                count.set(count.get() + 1);
            }
        }
        let since = self.seat.pinned.borrow().as_ref().map_or_else(SystemTime::now, |pinned| pinned.since);
        *self.seat.pinned.borrow_mut() = (!pins.is_empty()).then(|| {
            Box::new(Pinned {
                database: self.database().into(),
                user: self.user().into(),
                reason: pins,
                since,
            })
        });
    }
}

impl Shard {
    /// The sessions that are pinned now.
    pub(super) fn pins_snapshot(&self) -> Vec<PinSnapshot> {
        let seats = self.seats.all();
        let pinned = seats.iter().filter_map(|seat| {
            let pinned = seat.pinned.borrow();
            let Pinned { database, user, reason, since } = pinned.as_deref()?;
            Some(PinSnapshot {
                process_id: seat.process_id,
                database: database.clone(),
                user: user.clone(),
                reasons: Pins::ALL
                    .iter()
                    .filter(|(pin, _)| reason.contains(*pin))
                    .map(|(_, name)| *name)
                    .collect(),
                since: *since,
            })
        });
        pinned.collect()
    }

    /// How often sessions were pinned so far, by reason.
    pub(super) fn pin_counts(&self) -> Vec<(&'static str, u64)> {
        Pins::ALL.iter().zip(&self.pin_counts).map(|((_, name), count)| (*name, count.get())).collect()
    }
}

/// The pins whose causes are gone, by the row that answers [`CAUSES`].
pub(super) fn gone(row: &[Option<&[u8]>]) -> Pins {
    let causes = [Pins::ADVISORY_LOCK, Pins::TEMPORARY, Pins::CURSOR, Pins::PREPARE, Pins::LISTEN]
        .into_iter()
        .zip(row);
    let mut gone = Pins::NONE;
    for (pin, there) in causes {
        if *there == Some(b"f") {
            gone |= pin;
        }
    }
    gone
}

/// Asks a server which causes of pins there are in the session, in the order that [`gone`] reads. Outside a transaction
/// only what outlives it is there.
const CAUSES: &[u8] = b"SELECT EXISTS (SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = \
    pg_catalog.pg_backend_pid()), EXISTS (SELECT FROM pg_catalog.pg_class WHERE relnamespace = \
    pg_catalog.pg_my_temp_schema()) OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typnamespace = \
    pg_catalog.pg_my_temp_schema()) OR EXISTS (SELECT FROM pg_catalog.pg_proc WHERE pronamespace = \
    pg_catalog.pg_my_temp_schema()), EXISTS (SELECT FROM pg_catalog.pg_cursors), EXISTS (SELECT FROM \
    pg_catalog.pg_prepared_statements WHERE from_sql), EXISTS (SELECT FROM pg_catalog.pg_listening_channels())";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_does_not_see_is_gone() {
        let row = [Some(&b"t"[..]), Some(b"f"), Some(b"t"), Some(b"t"), Some(b"f")];
        assert_eq!(gone(&row).to_string(), "temporary,listen");
        assert_eq!(gone(&[None; 5]), Pins::NONE);
        assert_eq!(gone(&[]), Pins::NONE);
    }
}
