//! How often a node was lost lately, and how long it must stay back before that is believed.

use std::collections::VecDeque;
use std::time::Duration;

use super::rules::Rules;
use super::time::Later;
use crate::topology::Moment;

/// The losses of one node, oldest first. At most [`FLAPS_MAX`].
#[derive(Clone, Debug, Default)]
pub(super) struct Flaps {
    losses: VecDeque<Moment>,
}

impl Flaps {
    pub fn lost(&mut self, now: Moment) {
        if self.losses.len() == FLAPS_MAX {
            self.losses.pop_front();
        }
        self.losses.push_back(now);
    }

    /// How long it must answer without a break: nothing after the first loss in the window, then twice as long each
    /// time.
    pub fn wait(&self, rules: &Rules, now: Moment) -> Duration {
        let recent = self.losses.iter().filter(|loss| now < loss.later(rules.flap_window)).count();
        match u32::try_from(recent).unwrap_or(u32::MAX).checked_sub(2) {
            None => Duration::ZERO,
            Some(doublings) => {
                let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
                rules.flap_wait.saturating_mul(factor).min(rules.flap_wait_max)
            }
        }
    }
}

/// Losses remembered: more would wait for the longest time anyway.
const FLAPS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_loss_in_the_window_doubles_the_wait_up_to_its_bound() {
        let rules = Rules {
            flap_window: Duration::from_secs(100),
            flap_wait: Duration::from_secs(1),
            flap_wait_max: Duration::from_secs(5),
            ..Rules::default()
        };
        let mut flaps = Flaps::default();
        let start = Moment(0);
        for seconds in [0, 0, 1, 2, 4, 5, 5] {
            assert_eq!(flaps.wait(&rules, start), Duration::from_secs(seconds));
            flaps.lost(start);
        }
        assert_eq!(flaps.wait(&rules, start.later(rules.flap_window)), Duration::ZERO, "long ago");
        for _ in 0..100 {
            flaps.lost(start);
        }
        assert_eq!(flaps.wait(&rules, start), rules.flap_wait_max);
        assert_eq!(flaps.losses.len(), FLAPS_MAX);
    }
}
