//! pgweir as its users meet it: the real program in front of real servers. One file per subject; `harness` speaks the
//! operator's language.

#[path = "../harness/mod.rs"]
mod harness;

mod authentication;
mod console;
mod copying;
mod failover;
mod listening;
mod operations;
mod pooling;
mod protocol;
mod replication;
mod routing;
mod statements;
mod tools;
mod topology;
