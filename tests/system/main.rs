//! pgweir as its users meet it: the real program in front of real servers. One file per subject; `harness` speaks the
//! operator's language.

#[path = "../harness/mod.rs"]
mod harness;

mod protocol;
mod pooling;
mod statements;
mod copying;
mod operations;
mod authentication;
mod routing;
mod topology;
mod console;
mod tools;
