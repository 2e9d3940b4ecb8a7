//! Values that many sessions have alike, each kept once.

use std::cell::RefCell;
use std::hash::Hash;
use std::rc::Rc;

use rustc_hash::FxHashSet;

use crate::backend::Parameters;
use crate::session::SharedSettings;

/// What is shared when it is cloned.
pub(super) trait Shared: Clone + Eq + Hash {
    /// Whether somebody else has it too.
    fn is_shared(&self) -> bool;
}

impl Shared for SharedSettings {
    fn is_shared(&self) -> bool {
        Rc::strong_count(self) > 1
    }
}

impl Shared for Parameters {
    fn is_shared(&self) -> bool {
        Parameters::is_shared(self)
    }
}

/// See the module's text. Holds [`COMMON_MAX`] values; what comes while it is full is not made common.
pub(super) struct Common<T> {
    known: RefCell<FxHashSet<T>>,
}

impl<T> Default for Common<T> {
    fn default() -> Common<T> {
        Common { known: RefCell::default() }
    }
}

impl<T: Shared> Common<T> {
    /// The one that is equal to this, so that whoever compares them need not look inside.
    pub fn of(&self, value: T) -> T {
        let mut known = self.known.borrow_mut();
        if let Some(common) = known.get(&value) {
            return common.clone();
        }
        if known.len() < COMMON_MAX {
            known.insert(value.clone());
        }
        value
    }

    /// Forgets those that nobody has any more.
    pub fn sweep(&self) {
        self.known.borrow_mut().retain(Shared::is_shared);
    }
}

/// Different values of one kind that are kept.
const COMMON_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Settings;
    use crate::session::settings::Value;

    #[test]
    fn equal_values_become_one_and_are_forgotten_with_their_last_holder() {
        let named = |name: &[u8]| {
            let mut settings = Settings::default();
            settings.set(b"application_name", Value::Plain(name.into()));
            Rc::new(settings)
        };
        let common = Common::default();
        let first = common.of(named(b"a"));
        assert!(Rc::ptr_eq(&first, &common.of(named(b"a"))));
        assert!(!Rc::ptr_eq(&first, &common.of(named(b"b"))));
        common.sweep();
        assert_eq!(common.known.borrow().len(), 1);
        drop(first);
        common.sweep();
        assert!(common.known.borrow().is_empty());
    }
}
