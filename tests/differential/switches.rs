//! What plays are made of can be switched off by name: the subjects and settings of the grammar ([`subjects`]), parts of
//! the protocol ([`PARTS`]), and what pgweir is known to answer otherwise ([`OFF`]).

use std::collections::BTreeSet;
use std::env;

use crate::harness::Cluster;

use super::grammar::subjects;

/// What is switched off.
pub struct Switches {
    off: BTreeSet<String>,
    /// The major version of the servers.
    pub version: u32,
}

impl Switches {
    /// What a run by hand asks for: all but [`OFF`], with what `PGWEIR_DIFF_ON` names, without what `PGWEIR_DIFF_OFF`
    /// names, each a list with commas.
    pub fn from_environment(cluster: &Cluster) -> Self {
        let listed = |variable: &str| -> Vec<String> {
            let names = env::var(variable).unwrap_or_default();
            names.split(',').filter(|name| !name.is_empty()).map(|name| name.trim().to_owned()).collect()
        };
        let (more, fewer) = (listed("PGWEIR_DIFF_OFF"), listed("PGWEIR_DIFF_ON"));
        for name in more.iter().chain(&fewer) {
            assert!(is_known(name), "there is nothing of the name {name:?} to be switched on or off");
        }
        let mut off: BTreeSet<String> = OFF.iter().map(|(name, _)| (*name).to_owned()).collect();
        off.extend(more);
        off.retain(|name| !fewer.contains(name));
        Self { off, version: cluster.binaries().version.0 }
    }

    /// Whether plays may have something in them.
    pub fn has(&self, name: &str) -> bool {
        debug_assert!(is_known(name), "{name} is in no list");
        !self.off.contains(name)
    }
}

fn is_known(name: &str) -> bool {
    let mut names = subjects().chain(PARTS.iter().copied()).chain(OFF.iter().map(|(name, _)| *name));
    names.any(|known| known == name)
}

/// Parts of the protocol, reads on replicas, and startup messages that set what is reported.
const PARTS: &[&str] = &[
    "binary",
    "copy_in",
    "flush",
    "function_call",
    "multiple",
    "pipelines",
    "portals",
    "protocol_3_2",
    "replicas",
    "startup_reports",
    "taken_names",
    "unfinished_batches",
];

/// What is left out unless it is asked for, and why.
const OFF: &[(&str, &str)] = &[
    ("app.memory", "a backend on which somebody set a parameter of that kind knows its name for good"),
    ("described_in_transactions", "a failed transaction cannot describe what another backend prepared"),
    (
        "early_notifications",
        "what was notified before a LISTEN was committed is not heard, also by sessions that listened already",
    ),
    ("last_values", "currval() and lastval() are refused on a backend that served others since"),
    ("prepared_view", "what stands for pg_prepared_statements is described without the view's number"),
    (
        "queries_behind_batches",
        "the author loses count of what a server owes behind a Query that ends a batch",
    ),
    (
        "read_only_on_replicas",
        "what a replica refuses in a READ ONLY transaction, or right behind it, is told",
    ),
    ("shared_names", "errors about what SQL prepares under a name of the protocol have other texts"),
    (
        "resets_amid_others",
        "within its text or batch, a RESET gives the server's value, not the startup message's",
    ),
    ("temporary_schema", "a backend that had temporary tables once keeps the empty schema for good"),
];
