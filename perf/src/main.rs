//! perf: is the proxy slower? Whole processes, measured beside a bare relay and their peers.
//!
//! The parts are `backend`, a canned server; `relay`, the floor; and `load`. Each is a command of its own, and the
//! other commands start them as children. Those decide what is measured:
//!
//! ```text
//!   lab        the options all have, and whose cores are whose
//!   nodes      servers: canned ones, or real PostgreSQL
//!   proxies    pgweir and its peers: found, configured, started
//!   measure    one load against one proxy, with the proxy's cost
//!   report     medians, spreads, ratios, tables, JSON;  plot: SVG
//!   process    children, their cores, CPU time and memory
//! ```
//!
//! Everything is a ratio within one run: proxies take turns, each measurement has a process of its own, and what is
//! shown is the median over rounds with the least and the greatest.

mod backend;
mod bulk;
mod client;
mod compare;
mod failover;
mod fair;
mod idle;
mod lab;
mod load;
mod measure;
mod nodes;
mod plot;
mod process;
mod proxies;
mod relay;
mod report;
mod ring;
mod shards;
mod soak;
mod storm;
mod wire;

use std::process::ExitCode;

use clap::Parser;

/// Is the proxy slower? Whole-process measurements of pgweir beside a bare relay and its peers
#[derive(Parser)]
#[command(version)]
enum Command {
    /// Be a canned PostgreSQL server
    Backend(backend::Arguments),
    /// Be a bare relay, the floor for any proxy
    Relay(relay::Arguments),
    /// Be a load, in a closed or an open loop
    Load(load::Arguments),
    Compare(compare::Arguments),
    Idle(idle::Arguments),
    Storm(storm::Arguments),
    Bulk(bulk::Arguments),
    Fair(fair::Arguments),
    Shards(shards::Arguments),
    Soak(soak::Arguments),
    Failover(failover::Arguments),
}

fn main() -> ExitCode {
    let done = match Command::parse() {
        Command::Backend(arguments) => backend::run(arguments),
        Command::Relay(arguments) => relay::run(arguments),
        Command::Load(arguments) => load::run(arguments),
        Command::Compare(arguments) => compare::run(arguments),
        Command::Idle(arguments) => idle::run(arguments),
        Command::Storm(arguments) => storm::run(arguments),
        Command::Bulk(arguments) => bulk::run(arguments),
        Command::Fair(arguments) => fair::run(arguments),
        Command::Shards(arguments) => shards::run(arguments),
        Command::Soak(arguments) => soak::run(arguments),
        Command::Failover(arguments) => failover::run(arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("perf: {error:#}");
            ExitCode::FAILURE
        }
    }
}
