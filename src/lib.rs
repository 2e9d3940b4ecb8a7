//! pgweir: a PostgreSQL proxy. Transaction pooling that applications do not notice, writes on the primary, reads on the
//! replicas, one thread per core on io_uring.
//!
//! # Threads
//!
//! ```text
//!  pgweir process
//!  ├─ shard 0..N-1   one pinned core each: an executor, a ring, listeners (SO_REUSEPORT), sessions, backends, pools,
//!  │                 the statement cache. Shares nothing mutable.
//!  ├─ control        one unpinned thread: probes, the picture of the cluster, reload, the admin console
//!  └─ helpers        what is slow and must not run on a shard: PBKDF2, names
//!
//!                    topology, policy, answers
//!          control ─────────────────────────────▶ shard        bounded lock-free queues with a bell: `door`
//!                  ◀─────────────────────────────
//!                    questions, suspicions
//!          control ◀───────────────────────────── shard        plain atomics, one writer each: `counters`
//! ```
//!
//! # Rooms, in the order bytes meet them
//!
//! Rooms that *decide* take bytes, events and the time, and answer what to do; they own no socket, thread or clock.
//! Three rooms *do*: [`ring`], [`shard`], [`control`].
//!
//! | Room | What it is | May import |
//! |---|---|---|
//! | [`limits`] | every bound, and why it is what it is | |
//! | [`counters`] | per-shard counts and times; what the process bounds | |
//! | [`wire`] | the protocol as borrowed views over bytes | limits |
//! | [`sql`] | bytes to intent; unsure means write | |
//! | [`config`] | the file as written, the checked values, the errors between | |
//! | [`rung`] | whether a sleeping thread has been woken already | |
//! | [`ring`] | the io_uring data plane; `unsafe` lives here | limits, rung |
//! | [`auth`] | proving who is who, towards clients and towards nodes | wire |
//! | [`topology`] | the picture of the cluster at one epoch | config |
//! | [`door`] | what crosses between the planes, and the queues it crosses on | config, topology, auth, counters, limits |
//! | [`route`] | intent and topology to a node | config, sql, topology |
//! | [`session`] | one client from accept to goodbye | wire, auth, sql, limits, counters |
//! | [`backend`] | one connection to one node | wire, auth, limits, counters |
//! | [`pool`] | the backends of one shard for a (node, database, user), and who waits | |
//! | [`shard`] | one core: joins all of the above to the ring | everything above |
//! | [`control`] | keeps the picture true, answers the operator | config, topology, door, rung, wire, auth, counters, limits |
//! | [`boot`] | builds both planes from a checked configuration, ends them in order | everything |
//! | [`demo`] | real servers on the spot, for `pgweir demo` and for the tests | boot, config |

pub mod auth;
pub mod backend;
pub mod boot;
pub mod config;
pub mod control;
pub mod counters;
pub mod demo;
pub mod door;
pub mod limits;
pub mod pool;
pub mod ring;
pub mod route;
pub mod rung;
pub mod session;
pub mod shard;
pub mod sql;
pub mod topology;
pub mod wire;
