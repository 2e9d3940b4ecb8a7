//! Exchanges that are bound to fail and must not look like it.
//!
//! Whoever asks for a user nobody knows still gets a challenge, and it must be one that a known user could have got: the
//! same kind of exchange, as many iterations, a salt as long, and the same again next time. The weak spots are a list
//! whose secrets differ among themselves, and time. For the first, a name draws its looks from the list, as often as the
//! list has them. For the second, the work is the same as for a known user whose password is wrong.
//!
//! What stays visible: a list that mixes kinds shows the kind of each *known* user, as PostgreSQL does; and when the
//! seed changes, the salts of unknown users and of plain passwords change while those of SCRAM secrets stay. So keep one
//! seed for as long as possible, and the same in every pgweir that serves the same users.

use super::scram::{self, ITERATIONS_DEFAULT, Keys, SALT_LEN_DEFAULT, Verifier};
use super::{Secret, md5};

/// The looks an unknown user may take. Cheap to keep, made once per user list.
#[derive(Clone)]
pub struct Mock {
    seed: [u8; 32],
    /// The most common looks of the list, with how many users have each. At most [`LOOKS_MAX`].
    looks: Vec<(Look, u32)>,
}

/// What an outsider can tell about a stored secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Look {
    Md5,
    Plain,
    Scram { iterations: u32, salt_len: usize },
}

impl Mock {
    /// Looks of an empty list: PostgreSQL's defaults. `seed` is secret and random, and should outlive the process.
    pub fn new(seed: [u8; 32]) -> Mock {
        Mock { seed, looks: Vec::new() }
    }

    /// Looks of a list that holds `secrets`. Beyond the 8 most common looks the rest is not imitated.
    pub fn of<'a>(seed: [u8; 32], secrets: impl IntoIterator<Item = &'a Secret>) -> Mock {
        let mut each: Vec<Look> =
            secrets.into_iter().filter(|secret| secret.usable()).map(Look::of).collect();
        each.sort_unstable();
        let mut looks: Vec<(Look, u32)> = Vec::new();
        for look in each {
            match looks.last_mut() {
                Some((last, count)) if *last == look => *count = count.saturating_add(1),
                _ => looks.push((look, 1)),
            }
        }
        looks.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        looks.truncate(LOOKS_MAX);
        Mock { seed, looks }
    }

    /// A SCRAM verifier for `user` that no password matches: the same for the same name, and shaped like one of the list.
    pub fn verifier(&self, user: &str) -> Verifier {
        let (iterations, salt_len) = match self.draw(user, |look| look != Look::Md5) {
            Some(Look::Scram { iterations, salt_len }) => (iterations, salt_len),
            Some(Look::Md5 | Look::Plain) | None => (ITERATIONS_DEFAULT, SALT_LEN_DEFAULT),
        };
        Verifier {
            iterations,
            salt: self.salt(user, salt_len),
            stored_key: self.bytes(b"stored", user, 0),
            server_key: self.bytes(b"server", user, 0),
        }
    }

    /// The verifier to have a SCRAM exchange with: the `stored` one, or that of [`Mock::verifier`]. Made anew in both
    /// cases, so that a login takes as long for a name that is known as for one that is not.
    pub fn verifier_or(&self, stored: Option<&Verifier>, user: &str) -> Verifier {
        let of_nobody = std::hint::black_box(self.verifier(user));
        stored.cloned().unwrap_or(of_nobody)
    }

    /// **SLOW** (PBKDF2). The verifier, and the keys behind it, with which a user whose plain `password` is stored has
    /// its SCRAM exchanges. Made from the salt an unknown user of that name would get, so that it stays the same from
    /// login to login and from list to list. Make it when the list is read, or at first use and then keep it; a detour
    /// that only known users take would show.
    pub fn plain_verifier(&self, user: &str, password: &str) -> (Verifier, Keys) {
        let salt = self.salt(user, SALT_LEN_DEFAULT);
        let keys = scram::derive(password.as_bytes(), &salt, ITERATIONS_DEFAULT);
        (keys.verifier(&salt, ITERATIONS_DEFAULT), keys)
    }

    /// Whether an unknown `user` is offered SCRAM where the method is md5.
    pub(super) fn scram_under_md5(&self, user: &str) -> bool {
        matches!(self.draw(user, |_| true), Some(Look::Scram { .. }))
    }

    /// An MD5 hash that no password of `user` is known to have.
    pub(super) fn md5_hash(&self, user: &str) -> [u8; 32] {
        md5::hex(&self.bytes(b"md5", user, 0))
    }

    /// The look of `user` among those that `eligible` admits: each as likely as it is common. A race in which a look's
    /// time is exponential with its count as rate; so whoever wins among all also wins among any part it belongs to,
    /// and one more user in the list changes the draw of few names.
    fn draw(&self, user: &str, eligible: impl Fn(Look) -> bool) -> Option<Look> {
        let time = |look: Look, count: u32| {
            let bytes = self.bytes(&look.label(), user, 0);
            let bits = u64::from_be_bytes([
                bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
            ]);
            let uniform = ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
            -uniform.ln() / f64::from(count)
        };
        self.looks
            .iter()
            .filter(|(look, _)| eligible(*look))
            .map(|&(look, count)| (look, time(look, count)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(look, _)| look)
    }

    fn salt(&self, user: &str, len: usize) -> Vec<u8> {
        (0u32..).flat_map(|block| self.bytes(b"salt", user, block)).take(len).collect()
    }

    /// 32 bytes that only who knows the seed can tell from random ones.
    fn bytes(&self, label: &[u8], user: &str, block: u32) -> [u8; 32] {
        scram::hmac(&self.seed, &[label, &[0], user.as_bytes(), &[0], &block.to_be_bytes()])
    }
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mock").field("looks", &self.looks).finish_non_exhaustive()
    }
}

impl Look {
    fn of(secret: &Secret) -> Look {
        match secret {
            Secret::Md5(_) => Look::Md5,
            Secret::Plain(_) => Look::Plain,
            Secret::Scram(verifier) => {
                Look::Scram { iterations: verifier.iterations, salt_len: verifier.salt.len() }
            }
        }
    }

    fn label(self) -> Vec<u8> {
        match self {
            Look::Md5 => b"look md5".to_vec(),
            Look::Plain => b"look plain".to_vec(),
            Look::Scram { iterations, salt_len } => {
                format!("look scram {iterations} {salt_len}").into_bytes()
            }
        }
    }
}

/// How many different looks of a list are imitated; each costs one HMAC per unknown login. Lists have one or two.
const LOOKS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn scram(iterations: u32, salt_len: usize) -> Secret {
        Secret::Scram(Verifier {
            iterations,
            salt: vec![7; salt_len],
            stored_key: [1; 32],
            server_key: [2; 32],
        })
    }

    #[test]
    fn stable_for_a_name_and_seed_and_different_otherwise() {
        let mock = Mock::new([9; 32]);
        assert_eq!(mock.verifier("a"), mock.clone().verifier("a"));
        assert_ne!(mock.verifier("a").salt, mock.verifier("b").salt);
        assert_ne!(mock.verifier("a").salt, Mock::new([8; 32]).verifier("a").salt);
        assert_ne!(mock.verifier("a").stored_key, mock.verifier("a").server_key);
        assert_eq!((mock.verifier("a").iterations, mock.verifier("a").salt.len()), (4096, 16));
        assert_eq!(mock.md5_hash("a"), mock.md5_hash("a"));
        assert_eq!(mock.verifier_or(None, "a"), mock.verifier("a"));
        assert_eq!(mock.verifier_or(Some(&mock.verifier("b")), "a"), mock.verifier("b"));
    }

    #[test]
    fn takes_iterations_and_salt_length_from_the_list() {
        let mock = Mock::of([9; 32], &[scram(10_000, 40), scram(10_000, 40)]);
        let verifier = mock.verifier("nobody");
        assert_eq!((verifier.iterations, verifier.salt.len()), (10_000, 40));
        assert_ne!(verifier.salt[..8], verifier.salt[32..], "blocks differ");
    }

    #[test]
    fn a_mixed_list_is_imitated_in_proportion() {
        let list: Vec<Secret> =
            (0..30).map(|_| Secret::Md5([b'0'; 32])).chain((0..10).map(|_| scram(4096, 16))).collect();
        let mock = Mock::of([3; 32], &list);
        let scrams = (0..2000).filter(|n| mock.scram_under_md5(&format!("user{n}"))).count();
        assert!((400..600).contains(&scrams), "{scrams} of 2000 for a quarter");
    }

    #[test]
    fn the_look_under_md5_and_the_verifier_agree() {
        let list = [scram(4096, 16), scram(600_000, 24), Secret::Md5([b'0'; 32]), Secret::Plain("x".into())];
        let mock = Mock::of([3; 32], &list);
        for n in 0..200 {
            let user = format!("user{n}");
            if let Some(Look::Scram { iterations, salt_len }) = mock.draw(&user, |_| true) {
                let verifier = mock.verifier(&user);
                assert_eq!((verifier.iterations, verifier.salt.len()), (iterations, salt_len));
            }
        }
    }

    #[test]
    fn the_salt_of_a_plain_password_is_the_one_its_name_would_get_unknown() {
        let mock = Mock::new([5; 32]);
        let (verifier, _) = mock.plain_verifier("bob", "secret");
        assert_eq!(verifier.salt, mock.verifier("bob").salt);
        assert_eq!(verifier.iterations, mock.verifier("bob").iterations);
    }
}
