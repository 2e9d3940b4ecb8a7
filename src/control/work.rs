//! What is too slow for a shard, computed on helper threads.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt;
use glommio::sync::Semaphore;
use glommio::timer::Timer;

use crate::auth::{password, scram};
use crate::door::{Policy, Work, Worked};

/// The helper threads of control. glommio starts them with the executor; this shares them out, so that a name server
/// that does not answer cannot keep clients from logging in.
pub(super) struct Helpers {
    computing: Semaphore,
    resolving: Semaphore,
}

impl Helpers {
    /// For as many threads as [`threads`] says.
    pub fn new() -> Helpers {
        let computing = threads() - RESOLVING_MAX;
        Helpers {
            computing: Semaphore::new(computing as u64),
            resolving: Semaphore::new(RESOLVING_MAX as u64),
        }
    }

    /// Waits until nothing is under way, but not long: glommio's threads take it ill when the executor is gone before
    /// they are done.
    pub async fn finish(&self) {
        let all = async {
            let _computing = self.computing.acquire_permit((threads() - RESOLVING_MAX) as u64).await;
            let _resolving = self.resolving.acquire_permit(RESOLVING_MAX as u64).await;
        };
        let late = async {
            Timer::new(FINISH_MAX).await;
        };
        all.or(late).await;
    }

    /// Computes something.
    pub async fn compute<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        run(&self.computing, work).await
    }

    /// Asks somebody who may take long to answer, such as a name server or a file system.
    pub async fn ask<R: Send + 'static>(&self, work: impl FnOnce() -> R + Send + 'static) -> R {
        run(&self.resolving, work).await
    }
}

/// How many threads there are to be: one per core for computing, and some that mostly wait.
pub(super) fn threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    cores.min(COMPUTING_MAX) + RESOLVING_MAX
}

/// **SLOW.** Does what a shard asks for.
pub(super) fn compute(work: Work, policy: &Arc<Policy>) -> Worked {
    match work {
        Work::Derive { password, salt, iterations } => {
            Worked::Derived(scram::derive(password.as_bytes(), &salt, iterations))
        }
        Work::PlainVerifier { user, password } => {
            let (verifier, keys) = policy.mock.plain_verifier(&user, &password);
            Worked::PlainVerifier(verifier, keys)
        }
        Work::Matches { user, secret, cleartext } => {
            Worked::Matches(password::matches(secret.as_ref(), &user, &cleartext, &policy.mock))
        }
    }
}

async fn run<R: Send + 'static>(places: &Semaphore, work: impl FnOnce() -> R + Send + 'static) -> R {
    // Closed only by being dropped, and then nobody waits any more.
    let _place = places.acquire_permit(1).await;
    glommio::executor().spawn_blocking(work).await
}

/// More cores than these are left to the shards.
const COMPUTING_MAX: usize = 8;

const RESOLVING_MAX: usize = 2;

/// How long the end waits for helpers.
const FINISH_MAX: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Secret;
    use crate::config::Config;
    use crate::control::policy::policy;

    #[test]
    fn each_kind_of_work_gives_what_auth_gives() {
        let policy = Arc::new(policy(Config::default(), [3; 32]).expect("nothing is wrong in it"));
        let derive = Work::Derive { password: "secret".into(), salt: b"salt".to_vec(), iterations: 2 };
        let Worked::Derived(keys) = compute(derive, &policy) else { panic!("keys were asked for") };
        assert_eq!(keys.client_key, scram::derive(b"secret", b"salt", 2).client_key);
        let plain = Work::PlainVerifier { user: "ann".into(), password: "secret".into() };
        let Worked::PlainVerifier(verifier, _) = compute(plain, &policy) else {
            panic!("a verifier was asked for")
        };
        assert_eq!(verifier.salt, policy.mock.verifier("ann").salt);
        for (cleartext, expected) in [(&b"secret"[..], true), (b"Secret", false)] {
            let secret = Some(Secret::Plain("secret".into()));
            let work = Work::Matches { user: "ann".into(), secret, cleartext: cleartext.to_vec() };
            assert!(matches!(compute(work, &policy), Worked::Matches(matches) if matches == expected));
        }
    }
}
