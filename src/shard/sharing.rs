//! What one shard learns and tells the others, so that they need not ask a server: how logins were greeted, which
//! statements servers have accepted, that functions have changed. None of it must arrive: who was not told asks.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::node::SaltedKeys;
use crate::backend::Parameters;
use crate::door::{SettingText, ToControl, ToShard};
use crate::limits::LOGINS_KEPT_MAX;
use crate::session::{Settings, Statement};
use crate::sql::Dialect;
use crate::topology::Moment;
use crate::wire::frontend::Parse;

use super::tenants::Tenant;
use super::{Shard, lending};

impl Shard {
    pub(super) fn tell_others(&self, message: impl Fn() -> ToShard) {
        for (index, door) in self.shared.shards.iter().enumerate() {
            if index != self.id.index() {
                let _ = door.send(message());
            }
        }
    }

    /// A server has accepted this statement for the first time. On another shard a client that prepares it need not wait
    /// for a backend: a thread with many connections may be the one that all backends wait for.
    pub(super) fn accepted(&self, tenant: &Tenant, statement: &Statement) {
        if statement.text().len() > SHARED_TEXT_MAX || !statement.is_usual() {
            return;
        }
        self.tell_others(|| ToShard::Accepted {
            database: (*tenant.database).into(),
            user: (*tenant.user).into(),
            text: statement.text().into(),
            query: statement.query().len(),
        });
    }

    /// Another shard's server has accepted a statement.
    pub(super) fn accepted_elsewhere(&self, database: &str, user: &str, text: &[u8], query: usize) {
        let tenant = self.tenants.of(database, user);
        let parse = Parse { name: b"", query: &text[..query], text };
        tenant.statements.borrow_mut().intern(&parse, Dialect::default()).accepted();
    }

    /// Functions and views of this database may have changed.
    pub(super) fn defined(&self, database: &str) {
        self.defined_elsewhere(database);
        self.tell_others(|| ToShard::Defined { database: database.into() });
    }

    /// The same, seen by another shard.
    pub(super) fn defined_elsewhere(&self, database: &str) {
        self.tenants.forget_functions(database);
        self.forget_corrections(database);
    }

    /// A statement is about to be sent that a server refuses while anybody is connected to this database.
    pub(super) fn vacate_everywhere(self: &Rc<Self>, database: &str) {
        self.vacate(database);
        self.tell_others(|| ToShard::Vacate { database: database.into() });
    }

    /// Roles or databases were changed: who logs in from now on gets a backend that did so, too.
    pub(super) fn change_logins(&self) {
        let at = self.shared.moment(Instant::now());
        self.logins_changed(at);
        self.tell_others(|| ToShard::LoginsChanged { at });
    }

    /// The same, seen by another shard.
    pub(super) fn logins_changed(&self, at: Moment) {
        self.logins_changed.set(at.max(self.logins_changed.get()));
        self.logins.borrow_mut().clear();
    }

    /// Keeps what a login like this was told, here and on the other shards: the next one needs no backend.
    pub(super) fn greet_like_this(&self, key: super::LoginKey, parameters: &Parameters) {
        for (index, door) in self.shared.shards.iter().enumerate() {
            if index != self.id.index() {
                let _ = door.send(ToShard::Greeting {
                    database: (*key.0).into(),
                    user: (*key.1).into(),
                    settings: key
                        .2
                        .iter()
                        .map(|(name, value)| (name.to_vec(), lending::text(value)))
                        .collect(),
                    parameters: parameters
                        .iter()
                        .map(|(name, value)| (name.to_vec(), value.to_vec()))
                        .collect(),
                });
            }
        }
        self.keep_login(key, parameters.clone());
    }

    /// Another shard has greeted somebody.
    pub(super) fn greeted(
        &self,
        database: &str,
        user: &str,
        settings: Vec<(Vec<u8>, SettingText)>,
        parameters: &[(Vec<u8>, Vec<u8>)],
    ) {
        let mut like = Settings::default();
        for (name, value) in settings {
            like.set(&name, lending::value_of(value));
        }
        let mut told = Parameters::default();
        for (name, value) in parameters {
            told.set(name, value);
        }
        self.keep_login((database.into(), user.into(), Rc::new(like)), told);
    }

    fn keep_login(&self, key: super::LoginKey, parameters: Parameters) {
        let mut logins = self.logins.borrow_mut();
        if logins.len() >= LOGINS_KEPT_MAX {
            logins.clear();
        }
        logins.insert(key, parameters);
    }

    /// Keeps the keys a client proved to have, and tells the other shards.
    pub(super) fn learn(&self, user: &str, keys: SaltedKeys) {
        let user: Arc<str> = user.into();
        let known = self
            .learned
            .borrow()
            .get(&user)
            .is_some_and(|known| known.salt == keys.salt && known.iterations == keys.iterations);
        if known {
            return;
        }
        let keys = Arc::new(keys);
        self.learned.borrow_mut().insert(user.clone(), keys.clone());
        let _ = self.shared.control.send(ToControl::Learned { shard: self.id, user, keys });
    }
}

/// Longest text of a statement that is told to other shards (bytes).
const SHARED_TEXT_MAX: usize = 8192;
