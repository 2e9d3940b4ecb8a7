//! One budget for all shards: a shard whose clients wait while the others hold all backends asks for one, and an idle
//! backend moves from ring to ring with its session state, nothing is closed and opened again.
//!
//! Who gives, and when:
//!
//! * an idle backend goes to the first who asks;
//! * a shard whose own clients wait as well gives the next one that comes free, if it holds at least two more than the one
//!   who asks: that evens out;
//! * where there are fewer backends than shards, one who has none at all gets its turn after [`TURN`], so that they go round.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::backend::{Backend, BackendKey, Parameters, StatementId};
use crate::door::{Lent, LentAddress, PoolKey, SettingText, ShardId, ToShard};
use crate::ring::{Address, Socket};
use crate::session::Settings;
use crate::session::settings::Value;

use super::Shard;
use super::link::{Incoming, Link};
use super::pools::Slot;
use super::seats::Target;

/// What one pool lends and borrows.
#[derive(Default)]
pub(super) struct Lending {
    /// Whether we keep asking the others.
    asking: Cell<bool>,
    /// Who asked, and how many each of them held.
    asked: RefCell<VecDeque<(ShardId, usize)>>,
    /// When one was last given although our own clients waited.
    gave: Cell<Option<Instant>>,
}

impl Shard {
    /// Clients wait here and the budget is spent: asks the other shards, again and again while that lasts.
    pub(super) fn ask(self: &Rc<Self>, slot: &Rc<Slot>) {
        if self.shared.shards.len() < 2 || slot.lending.asking.replace(true) {
            return;
        }
        let (shard, slot) = (self.clone(), slot.clone());
        self.ring.spawn(async move {
            while slot.pool.borrow().wants_backend() {
                let held = held(&slot);
                for (index, door) in shard.shared.shards.iter().enumerate() {
                    if index != shard.id.index() {
                        let pool = (*slot.key).clone();
                        // A full queue will have drained by the next time.
                        let _ = door.send(ToShard::Wanted { pool, by: shard.id, held });
                    }
                }
                shard.ring.sleep_until(Instant::now() + ASK_AGAIN).await;
                shard.replenish(&slot);
            }
            slot.lending.asking.set(false);
        });
    }

    /// Another shard asks for a backend.
    pub(super) fn wanted(self: &Rc<Self>, pool: &PoolKey, by: ShardId, held: usize) {
        let Some(slot) = self.pools.borrow().get(pool).cloned() else { return };
        let idle = slot.pool.borrow_mut().take_idle();
        if let Some(link) = idle {
            return self.lend(&slot, link, by);
        }
        let mut asked = slot.lending.asked.borrow_mut();
        match asked.iter_mut().find(|(shard, _)| *shard == by) {
            Some((_, known)) => *known = held,
            None => asked.push_back((by, held)),
        }
    }

    /// Who is to get the backend that just came free, if it is not to stay here.
    pub(super) fn lends_to(&self, slot: &Slot) -> Option<ShardId> {
        let mut asked = slot.lending.asked.borrow_mut();
        let (first, first_held) = *asked.front()?;
        let ours = held(slot);
        let give = if slot.pool.borrow().counts().waiting == 0 || ours > first_held + 1 {
            true
        } else {
            let rested = slot.lending.gave.get().is_none_or(|gave| gave.elapsed() >= TURN);
            first_held == 0 && rested
        };
        if give {
            asked.pop_front();
            slot.lending.gave.set(Some(Instant::now()));
            return Some(first);
        }
        if first_held > 0 {
            // It has some of its own by now; if it still wants more it asks again.
            asked.pop_front();
        }
        None
    }

    /// Sends a backend that nobody uses to another shard. The credit it stands for goes with it.
    pub(super) fn lend(self: &Rc<Self>, slot: &Rc<Slot>, link: Box<Link>, to: ShardId) {
        self.node_counters(link.key.node, |node| node.backends.sub(1));
        let (shard, slot) = (self.clone(), slot.clone());
        self.ring.spawn(async move {
            let Link { backend, socket, settings, incarnation, target, expires, opened, key, .. } = *link;
            let lent = socket.detach().await.map(|fd| {
                Box::new(Lent {
                    fd,
                    process_id: backend.key.process_id,
                    secret: backend.key.secret,
                    parameters: backend
                        .parameters
                        .iter()
                        .map(|(name, value)| (name.to_vec(), value.to_vec()))
                        .collect(),
                    statements: backend.prepared.all().into_iter().map(|statement| statement.0).collect(),
                    settings: settings.iter().map(|(name, value)| (name.to_vec(), text(value))).collect(),
                    incarnation,
                    address: match &target.address {
                        Address::Tcp(address) => LentAddress::Tcp(*address),
                        Address::Unix(path) => LentAddress::Unix(path.clone()),
                    },
                    expires,
                    opened,
                })
            });
            let sent = lent.is_some_and(|lent| {
                shard.shared.shards[to.index()].send(ToShard::Lent { pool: (*key).clone(), lent }).is_ok()
            });
            if !sent {
                shard.give_credit(&slot);
            }
            shard.replenish(&slot);
        });
    }

    /// A backend came from another shard.
    pub(super) fn borrowed(self: &Rc<Self>, pool: &PoolKey, lent: Lent) {
        let slot = self.slot(pool.node, &pool.database, &pool.user);
        let mut parameters = Parameters::default();
        for (name, value) in &lent.parameters {
            parameters.set(name, value);
        }
        let mut settings = Settings::default();
        for (name, value) in lent.settings {
            settings.set(&name, value_of(value));
        }
        let statements_max = self.policy.borrow().config.pool.statements_max as usize;
        let key = BackendKey { process_id: lent.process_id, secret: lent.secret };
        let target = Target {
            node: pool.node,
            primary: Cell::default(),
            address: match lent.address {
                LentAddress::Tcp(address) => Address::Tcp(address),
                LentAddress::Unix(path) => Address::Unix(path),
            },
            key: key.clone(),
            cancels: Cell::default(),
        };
        let mut backend = Backend::new(key, parameters, statements_max);
        backend.was_elsewhere();
        for statement in lent.statements {
            backend.prepared.insert(StatementId(statement));
        }
        let link = Box::new(Link {
            id: self.next_id(),
            backend,
            socket: Socket::new(&self.ring, lent.fd),
            incoming: Incoming::default(),
            settings: Rc::new(settings),
            key: slot.key.clone(),
            incarnation: lent.incarnation,
            target: Rc::new(target),
            expires: lent.expires,
            opened: lent.opened,
            last_writer: 0,
            // By nobody knows whom here.
            wrote: Some(self.ring.now()),
            listens: false,
            shows: false,
            reset_owed: false,
            copy_in: false,
            shut_down: false,
        });
        self.node_counters(pool.node, |node| node.backends.add(1));
        if self.too_early_for_the_next(&slot, &link) {
            return self.retire(&slot, link);
        }
        self.settle(&slot, |pool, now| pool.arrived(link, now));
    }
}

/// How many backends a pool holds here, wherever they are.
fn held(slot: &Slot) -> usize {
    let counts = slot.pool.borrow().counts();
    counts.idle + counts.leased + counts.connecting + counts.resetting
}

pub(super) fn text(value: &Value) -> SettingText {
    match value {
        Value::Plain(text) => SettingText::Plain(text.to_vec()),
        Value::Sql(text) => SettingText::Sql(text.to_vec()),
        Value::TimeZone(text) => SettingText::TimeZone(text.to_vec()),
    }
}

pub(super) fn value_of(text: SettingText) -> Value {
    match text {
        SettingText::Plain(text) => Value::Plain(text.into()),
        SettingText::Sql(text) => Value::Sql(text.into()),
        SettingText::TimeZone(text) => Value::TimeZone(text.into()),
    }
}

/// How often a shard whose clients wait repeats that it wants a backend.
const ASK_AGAIN: Duration = Duration::from_millis(5);
/// How long a shard whose own clients wait keeps its backends before one goes to a shard that has none.
const TURN: Duration = Duration::from_millis(2);
