//! The channels a session listens to, wherever it is served.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::sql::Effects;

use super::Session;

/// Names of channels as the server folds them. Cheap to copy; nothing but a word while there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Channels(Option<Rc<BTreeSet<Box<[u8]>>>>);

impl Channels {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |names| names.len())
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.0.as_ref().is_some_and(|names| names.contains(name))
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|names| names.iter().map(AsRef::as_ref))
    }

    /// LISTEN.
    pub fn join(&mut self, name: &[u8]) {
        if !self.contains(name) {
            Rc::make_mut(self.0.get_or_insert_default()).insert(name.into());
        }
    }

    /// UNLISTEN of one channel.
    pub fn leave(&mut self, name: &[u8]) {
        if let Some(names) = &mut self.0
            && names.contains(name)
        {
            Rc::make_mut(names).remove(name);
            if names.is_empty() {
                self.0 = None;
            }
        }
    }

    /// UNLISTEN of all.
    pub fn leave_all(&mut self) {
        self.0 = None;
    }
}

/// What a session's texts have to do with channels.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub channels: Channels,
    /// Whether its backend is its own, and listens for it.
    pub own_backend: bool,
    /// Whether what is about to be sent may make a LISTEN take effect.
    pub joins: bool,
    /// Whether something was sent that listens on the backend itself.
    pub listened: bool,
    /// Whether what is about to be sent asks which channels there are.
    pub asks: bool,
}

impl Listening {
    /// Whether it listens to nothing, and nothing that was sent is about to change that.
    pub fn is_quiet(&self) -> bool {
        self.channels.is_empty() && !self.joins && !self.listened && !self.asks
    }

    /// Notes a text with these effects. `idle`: whether it begins a transaction of its own; `joining`: whether a LISTEN
    /// waits for the end of the open one.
    pub fn note(&mut self, effects: Effects, idle: bool, joining: bool) {
        if self.own_backend {
            return;
        }
        let listens = effects.contains(Effects::LISTEN);
        self.listened |= listens;
        self.joins |=
            (listens && idle) || (effects.contains(Effects::TRANSACTION_END) && (joining || listens));
        self.asks |= effects.contains(Effects::CHANNELS);
    }
}

impl Session {
    /// Whether its backend is its own, and listens for it: session pooling.
    pub fn listens_itself(&mut self, own_backend: bool) {
        self.listening.own_backend = own_backend;
    }

    /// What it listens to.
    pub fn channels(&self) -> &Channels {
        &self.listening.channels
    }

    /// What it will listen to besides, if all goes through that was sent.
    pub fn joining(&self) -> impl Iterator<Item = &[u8]> {
        self.changes.joining()
    }

    /// Whether what was handled last may make a LISTEN take effect: then somebody must listen before it is sent, so that
    /// nothing is missed.
    pub fn take_joins(&mut self) -> bool {
        std::mem::take(&mut self.listening.joins)
    }

    /// Whether something that was sent since the last call listens on the backend itself.
    pub fn take_listened(&mut self) -> bool {
        std::mem::take(&mut self.listening.listened)
    }

    /// Whether what was handled since the last call asks which channels this session listens to, and there are any.
    pub fn take_asks_for_channels(&mut self) -> bool {
        std::mem::take(&mut self.listening.asks)
            && !self.listening.own_backend
            && !self.listening.channels.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_follow_what_becomes_of_the_original() {
        let mut channels = Channels::default();
        channels.join(b"a");
        channels.join(b"b");
        channels.join(b"a");
        let copy = channels.clone();
        channels.leave(b"a");
        assert_eq!(channels.iter().collect::<Vec<_>>(), [b"b"]);
        assert_eq!((copy.len(), channels.len()), (2, 1));
        channels.leave(b"never there");
        channels.leave(b"b");
        assert!(channels.is_empty() && channels == Channels::default());
        let mut copy = copy;
        copy.leave_all();
        assert!(copy.is_empty());
    }
}
