//! pgweir
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
pub mod session;
pub mod shard;
pub mod sql;
pub mod topology;
pub mod wire;
