//! What crosses between the planes, and the bounded lock-free queues it crosses on.
//!
//! Whoever holds a [`Door`] may send; the one thread behind it receives and is woken by its bell. Nobody waits: when a
//! queue is full, the sender keeps the message and decides what that means.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use crate::auth::node::SaltedKeys;
use crate::auth::scram::{Keys, Verifier};
use crate::auth::{Mock, Secret, hba};
use crate::config::Config;
use crate::counters::{Latencies, Process, Refusal, ShardCounters};
use crate::limits::QUEUE_MAX;
use crate::topology::{Epoch, Moment, NodeId, Topology};

/// A queue into one thread.
pub struct Door<M> {
    queue: Arc<ArrayQueue<M>>,
    bell: Arc<dyn Fn() + Send + Sync>,
}

impl<M> Clone for Door<M> {
    fn clone(&self) -> Door<M> {
        Door { queue: self.queue.clone(), bell: self.bell.clone() }
    }
}

impl<M> Door<M> {
    /// A queue whose receiver is woken by `bell`.
    pub fn new(bell: impl Fn() + Send + Sync + 'static) -> Door<M> {
        Door { queue: Arc::new(ArrayQueue::new(QUEUE_MAX)), bell: Arc::new(bell) }
    }

    /// Sends, and wakes the receiver.
    ///
    /// # Errors
    ///
    /// Gives the message back when [`QUEUE_MAX`] wait already.
    pub fn send(&self, message: M) -> Result<(), M> {
        let result = self.queue.push(message);
        (self.bell)();
        result
    }

    /// The next message, for the thread behind the door.
    pub fn receive(&self) -> Option<M> {
        self.queue.pop()
    }
}

/// Names a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ShardId(pub u16);

impl ShardId {
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// Names a request of one shard, so that its answer finds back to the task that asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// The configuration with the texts that `auth` understands read once, so that no shard does it.
#[derive(Debug)]
pub struct Policy {
    pub config: Config,
    pub secrets: std::collections::HashMap<String, Secret>,
    pub hba: Option<hba::Hba>,
    pub mock: Mock,
}

/// To a shard.
#[derive(Debug)]
pub enum ToShard {
    /// A new picture to observe.
    Topology(Arc<Topology>),
    /// The configuration was read again.
    Policy(Arc<Policy>),
    /// Whoever has this process id and secret is to cancel what it runs. Sent by shards to each other; answered with
    /// `Cancelled` when the server has taken the request, or at once by those whom it does not mean.
    Cancel { process_id: u32, secret: Box<[u8]>, from: ShardId, ticket: Ticket },
    /// The answer to `Cancel`.
    Cancelled { ticket: Ticket },
    /// The answer to [`ToControl::Work`].
    Worked { ticket: Ticket, result: Worked },
    /// The answer to [`ToControl::Admin`].
    Answer { ticket: Ticket, answer: Answer },
    /// Control wants a [`Snapshot`].
    Snapshot { ticket: Ticket },
    /// SCRAM keys of a user that proved itself elsewhere: logins to nodes may use them.
    Learned { user: Arc<str>, keys: Arc<SaltedKeys> },
    /// Another shard has clients waiting for a backend of this pool, and the budget is spent. It holds so many itself.
    Wanted { pool: PoolKey, by: ShardId, held: usize },
    /// A backend lent by another shard, with the credit it stands for.
    Lent { pool: PoolKey, lent: Box<Lent> },
    /// What servers report to sessions of this database and user that start with these settings.
    Greeting {
        database: Box<str>,
        user: Box<str>,
        settings: Vec<(Vec<u8>, SettingText)>,
        parameters: Vec<(Vec<u8>, Vec<u8>)>,
    },
    /// A server has accepted this statement of this database and user.
    Accepted {
        database: Box<str>,
        user: Box<str>,
        /// The query, its zero and the parameter types.
        text: Box<[u8]>,
        /// Bytes of the query.
        query: usize,
    },
    /// Functions and views of this database may have changed.
    Defined { database: Box<str> },
    /// A standby refused a text with this fingerprint.
    Corrected { database: Arc<str>, fingerprint: u64, refusal: Refusal },
    /// Idle backends of this database are in somebody's way.
    Vacate { database: Box<str> },
    /// Logins turn out otherwise since this moment.
    LoginsChanged { at: Moment },
    /// Stop accepting; let transactions finish.
    Drain,
    /// End now.
    Stop,
}

/// An idle backend on its way from one shard's ring to another's.
#[derive(Debug)]
pub struct Lent {
    pub fd: std::os::fd::OwnedFd,
    pub process_id: u32,
    pub secret: Vec<u8>,
    /// What the server reported about itself.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// The numbers of the statements prepared on it, unique in the process.
    pub statements: Vec<std::num::NonZeroU64>,
    /// SQL that brings a new backend to what is set on this one. What cannot be said that way is not lent.
    pub settings: Vec<(Vec<u8>, SettingText)>,
    pub incarnation: u64,
    /// Where it is connected to, for cancelling.
    pub address: LentAddress,
    /// When it is too old to be used again.
    pub expires: Option<std::time::Instant>,
    /// When its login began.
    pub opened: Moment,
}

/// A setting's value, by the way it is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingText {
    Plain(Vec<u8>),
    Sql(Vec<u8>),
    TimeZone(Vec<u8>),
}

/// See [`Lent::address`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LentAddress {
    Tcp(std::net::SocketAddr),
    Unix(std::path::PathBuf),
}

/// To control.
#[derive(Debug)]
pub enum ToControl {
    /// Compute something slow on a helper thread and answer with [`ToShard::Worked`].
    Work { shard: ShardId, ticket: Ticket, work: Work },
    /// A statement for the admin console, answered with [`ToShard::Answer`].
    Admin { shard: ShardId, ticket: Ticket, statement: String, user: String },
    /// A connection to this node broke or was refused: probe it at once.
    Suspect { shard: ShardId, node: NodeId, suspicion: Suspicion, reason: String },
    /// This shard works by the picture of this epoch: what still ran on a node that may not be used any more, or on one
    /// that is no primary any more, was cut off and answered. `wrote`: when it last passed on to a client that something
    /// was written; 0 when it never did.
    Acknowledged { shard: ShardId, epoch: Epoch, wrote: Moment },
    /// The gate of this epoch is closed, and no transaction of this shard runs on the primary any more.
    Drained { shard: ShardId, epoch: Epoch },
    /// The answer to [`ToShard::Snapshot`].
    Snapshot { shard: ShardId, ticket: Ticket, snapshot: Box<Snapshot> },
    /// A user's SCRAM keys were learned; tell the other shards.
    Learned { shard: ShardId, user: Arc<str>, keys: Arc<SaltedKeys> },
    /// A shard has ended: nothing of it is left.
    Ended { shard: ShardId },
}

/// What speaks against a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspicion {
    /// A connection broke, or none could be made.
    Broken,
    /// The server said that it shuts down, perhaps only for this one backend.
    ShutDown,
}

/// What must not be computed on a shard.
pub enum Work {
    /// PBKDF2 for a login to a node.
    Derive { password: String, salt: Vec<u8>, iterations: u32 },
    /// PBKDF2 for checking a client's SCRAM proof against a plain password in the user list.
    PlainVerifier { user: String, password: String },
    /// Whether this clear text is the user's password.
    Matches { user: String, secret: Option<Secret>, cleartext: Vec<u8> },
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Work::Derive { .. } => "Derive",
            Work::PlainVerifier { .. } => "PlainVerifier",
            Work::Matches { .. } => "Matches",
        })
    }
}

/// What came of it.
#[derive(Debug)]
pub enum Worked {
    Derived(Keys),
    PlainVerifier(Verifier, Keys),
    Matches(bool),
}

/// What the admin console says to one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A result set of text columns and its command tag.
    Table { columns: Vec<String>, rows: Vec<Vec<Option<String>>>, tag: String },
    /// Done, with this command tag.
    Done { tag: String },
    /// Refused, with an SQLSTATE, a message and perhaps a hint.
    Refused { sqlstate: [u8; 5], message: String, hint: Option<String> },
}

/// Names one pool: the backends of one node for one database and user, over all shards.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PoolKey {
    pub node: NodeId,
    pub database: Arc<str>,
    pub user: Arc<str>,
}

/// One shard's state at one moment, for the admin console.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub pools: Vec<PoolSnapshot>,
    pub pins: Vec<PinSnapshot>,
    pub listeners: Vec<ListenerSnapshot>,
    /// How often sessions were pinned so far, by reason.
    pub pin_counts: Vec<(&'static str, u64)>,
    /// How long queries took since the start, from the request's arrival to its ReadyForQuery.
    pub queries: Latencies,
    /// How long clients waited for a backend.
    pub waits: Latencies,
}

/// A session that keeps its backend beyond its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinSnapshot {
    /// As its client was told.
    pub process_id: u32,
    pub database: Box<str>,
    pub user: Box<str>,
    pub reasons: Vec<&'static str>,
    pub since: std::time::SystemTime,
}

/// A session that listens to channels without a backend of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerSnapshot {
    /// As its client was told.
    pub process_id: u32,
    pub database: Arc<str>,
    pub user: Arc<str>,
    pub channels: Vec<String>,
    /// Bytes of notifications that it was not told yet.
    pub waiting: u64,
    pub since: std::time::SystemTime,
}

/// One pool of one shard at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSnapshot {
    pub key: PoolKey,
    pub mode: crate::config::PoolMode,
    pub size: u32,
    /// Backends that are idle, leased to a session, being opened, being made fit again.
    pub idle: u32,
    pub leased: u32,
    pub connecting: u32,
    pub resetting: u32,
    /// Connections that listen for sessions, and are none of these.
    pub listening: u32,
    /// Clients that wait, and the longest of them since how many microseconds.
    pub waiting: u32,
    pub waiting_longest: u64,
}

/// What every thread shares.
#[derive(Clone)]
pub struct Shared {
    pub process: Arc<Process>,
    /// By shard.
    pub counters: Arc<Vec<ShardCounters>>,
    /// By shard.
    pub shards: Arc<Vec<Door<ToShard>>>,
    pub control: Door<ToControl>,
    /// When the process started: the zero of every [`Moment`](crate::topology::Moment).
    pub started: std::time::Instant,
}

impl Shared {
    /// The moment of an instant.
    pub fn moment(&self, instant: std::time::Instant) -> crate::topology::Moment {
        let since = instant.saturating_duration_since(self.started);
        crate::topology::Moment(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}
