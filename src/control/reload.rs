//! Reading the configuration again: what can be applied to a running process is, the rest waits for a restart, and a
//! wrong one changes nothing.

use std::rc::Rc;
use std::sync::Arc;

use super::{Control, log, policy};
use crate::config::{self, Change, Config};
use crate::door::{Policy, ToShard};

/// What a reload came to.
#[derive(Debug)]
pub(super) enum Reloaded {
    /// Applied: the differences, each as a line.
    Applied(Vec<Change>),
    /// Nothing was changed, because of these errors.
    Refused(Vec<String>),
}

impl Control {
    /// Reloads, for a signal: the log tells how it went.
    pub(super) fn reload_and_log(self: &Rc<Self>) {
        let control = self.clone();
        glommio::spawn_local(async move { drop(control.reload().await) }).detach();
    }

    /// Reads the file again and applies what can be.
    pub(super) async fn reload(self: &Rc<Self>) -> Reloaded {
        let reloaded = match self.reloading.replace(true) {
            true => Reloaded::Refused(vec!["the configuration is being read already".into()]),
            false => {
                let reloaded = self.read_and_apply().await;
                self.reloading.set(false);
                reloaded
            }
        };
        match &reloaded {
            Reloaded::Applied(changes) if changes.is_empty() => {
                tracing::info!("the configuration was read again: nothing changed");
            }
            Reloaded::Applied(changes) => {
                for change in changes {
                    tracing::info!("the configuration was read again: {change}");
                }
            }
            Reloaded::Refused(errors) => {
                for error in errors {
                    tracing::error!("the configuration stays as it was: {error}");
                }
            }
        }
        reloaded
    }

    async fn read_and_apply(self: &Rc<Self>) -> Reloaded {
        let Some(file) = self.file.clone() else {
            return Reloaded::Refused(vec!["it came from no file that could be read again".into()]);
        };
        let (old, seed) = (self.policy.borrow().config.clone(), self.seed);
        let read = self.helpers.ask(move || {
            let loaded = config::load(&file);
            let loaded =
                loaded.map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
            let changes = config::changes(&old, &loaded.config);
            let policy = policy(keep_restarted(&old, loaded.config), seed)?;
            Ok((policy, changes, loaded.report.warnings))
        });
        match read.await {
            Err(errors) => Reloaded::Refused(errors),
            Ok((policy, changes, warnings)) => {
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                self.apply(policy, changes)
            }
        }
    }

    fn apply(self: &Rc<Self>, policy: Policy, changes: Vec<Change>) -> Reloaded {
        let before = self.cluster.borrow().picture().epoch;
        let configured = self.cluster.borrow_mut().configured(&policy.config, self.now());
        if let Err(error) = configured {
            return Reloaded::Refused(vec![error.to_string()]);
        }
        let policy = Arc::new(policy);
        log::set_level(policy.config.log.level);
        if self.policy.replace(policy.clone()).config.monitor != policy.config.monitor {
            self.keys.replace(None);
        }
        // The policy first: a shard that learns of a new node finds its settings.
        self.send_all(|| ToShard::Policy(policy.clone()));
        let changed = self.cluster.borrow().picture().epoch != before;
        self.publish(changed);
        self.watch_nodes();
        for probe in self.probes.borrow().iter() {
            probe.set();
        }
        Reloaded::Applied(changes)
    }
}

/// The new configuration without what needs a restart: those sections stay as they are in use.
fn keep_restarted(old: &Config, new: Config) -> Config {
    Config { listen: old.listen.clone(), shards: old.shards.clone(), ..new }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sections that are kept are exactly those with keys that need a restart.
    #[test]
    fn what_needs_a_restart_stays_and_nothing_else() {
        let old = Config::default();
        let mut new = Config::default();
        new.listen.port = 7000;
        new.listen.addresses = vec!["*".into()];
        new.listen.unix_socket_dirs = vec!["/tmp".into()];
        new.listen.backlog = 7;
        new.shards.count = Some(7);
        new.shards.pin = false;
        new.pool.size = 7;
        let all = config::changes(&old, &new);
        let kept = config::changes(&old, &keep_restarted(&old, new));
        assert!(all.iter().any(|change| !change.live));
        let live: Vec<_> = all.into_iter().filter(|change| change.live).collect();
        assert_eq!(kept, live);
        assert_eq!(kept.len(), 1);
    }
}
