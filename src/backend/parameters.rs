//! What a server reports about itself and its session (ParameterStatus, PostgreSQL manual 55.2.7).

use std::rc::Rc;

/// Names and values, in the order first reported. Cloning shares them until one is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Parameters {
    values: Rc<Vec<Pair>>,
}

/// A name and its value.
type Pair = (Box<[u8]>, Box<[u8]>);

impl Parameters {
    /// Sets one value. True when it is another than before.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        match self.values.iter().position(|(known, _)| known.as_ref() == name) {
            Some(at) if self.values[at].1.as_ref() == value => false,
            Some(at) => {
                Rc::make_mut(&mut self.values)[at].1 = value.into();
                true
            }
            None => {
                Rc::make_mut(&mut self.values).push((name.into(), value.into()));
                true
            }
        }
    }

    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    /// Whether a clone shares these.
    pub fn is_shared(&self) -> bool {
        Rc::strong_count(&self.values) > 1
    }

    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.values.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_keeps_its_values_when_the_other_changes() {
        let mut ours = Parameters::default();
        assert!(ours.set(b"TimeZone", b"UTC"));
        assert!(!ours.set(b"TimeZone", b"UTC"));
        let theirs = ours.clone();
        assert!(ours.set(b"TimeZone", b"GMT"));
        assert_eq!(theirs.get(b"TimeZone"), Some(&b"UTC"[..]));
        assert_eq!(ours.get(b"TimeZone"), Some(&b"GMT"[..]));
        assert_eq!(ours.get(b"timezone"), None);
    }
}
