//! What the sessions of one database and user share on a shard.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::door::ShardId;
use crate::session::{StatementCache, StatementCount};

use super::functions::SharedFunctions;

/// See the module's text.
pub(super) struct Tenant {
    pub database: Arc<str>,
    pub user: Arc<str>,
    /// What they have prepared: what a server accepts for one user, it may refuse for another.
    pub statements: RefCell<StatementCache>,
    /// What is known of the functions of the database, shared with its other users.
    pub functions: SharedFunctions,
}

/// The tenants of a shard that have sessions, or statements worth keeping.
pub(super) struct Tenants {
    databases: RefCell<FxHashMap<Arc<str>, Database>>,
    /// Numbers the statements of all.
    count: Rc<StatementCount>,
}

#[derive(Default)]
struct Database {
    functions: SharedFunctions,
    users: FxHashMap<Arc<str>, Rc<Tenant>>,
}

impl Tenants {
    /// None so far, on this shard.
    pub fn new(shard: ShardId) -> Tenants {
        Tenants { databases: RefCell::default(), count: Rc::new(StatementCount::new(shard.0)) }
    }

    /// The one of this database and user, each time the same.
    pub fn of(&self, database: &str, user: &str) -> Rc<Tenant> {
        let mut databases = self.databases.borrow_mut();
        if let Some(tenant) = databases.get(database).and_then(|database| database.users.get(user)) {
            return tenant.clone();
        }
        let known = databases.get_key_value(database).map(|(name, _)| name.clone());
        let name: Arc<str> = known.unwrap_or_else(|| database.into());
        let entry = databases.entry(name.clone()).or_default();
        let tenant = Rc::new(Tenant {
            database: name,
            user: user.into(),
            statements: RefCell::new(StatementCache::new(self.count.clone())),
            functions: entry.functions.clone(),
        });
        entry.users.insert(tenant.user.clone(), tenant.clone());
        tenant
    }

    /// Forgets what is known of the functions of a database.
    pub fn forget_functions(&self, database: &str) {
        if let Some(database) = self.databases.borrow().get(database) {
            database.functions.borrow_mut().forget();
        }
    }

    /// Forgets statements that nobody uses, and tenants that have neither sessions nor statements.
    pub fn sweep(&self) {
        self.databases.borrow_mut().retain(|_, database| {
            database.users.retain(|_, tenant| {
                tenant.statements.borrow_mut().sweep();
                Rc::strong_count(tenant) > 1 || !tenant.statements.borrow().is_empty()
            });
            !database.users.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_of_a_database_share_its_functions_and_nothing_else() {
        let tenants = Tenants::new(ShardId(0));
        let one = tenants.of("db", "one");
        let two = tenants.of("db", "two");
        let elsewhere = tenants.of("other", "one");
        assert!(Rc::ptr_eq(&one, &tenants.of("db", "one")));
        assert!(!Rc::ptr_eq(&one, &two) && Rc::ptr_eq(&one.functions, &two.functions));
        assert!(!Rc::ptr_eq(&one.functions, &elsewhere.functions));
        assert_eq!((&*two.database, &*two.user), ("db", "two"));
    }

    #[test]
    fn tenants_without_sessions_and_statements_are_forgotten() {
        let tenants = Tenants::new(ShardId(0));
        let one = tenants.of("db", "one");
        tenants.of("gone", "one");
        tenants.sweep();
        assert_eq!(tenants.databases.borrow().len(), 1);
        drop(one);
        tenants.sweep();
        assert!(tenants.databases.borrow().is_empty());
    }
}
