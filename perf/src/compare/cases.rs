//! Which pieces of work a comparison is made of.

use anyhow::{Result, ensure};

use super::{Arguments, Workload};
use crate::measure::{Mode, Script};

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Case {
    pub mode: Mode,
    pub connections: u32,
    /// Of pgbench, against real servers; `None`: perf's own load against canned ones.
    pub script: Option<Script>,
    /// The share of the slowest proxy's throughput at which queries arrive; `None`: as fast as they are answered.
    pub open_percent: Option<u32>,
}

impl Case {
    pub fn title(&self) -> String {
        match self.open_percent {
            Some(percent) => format!("{}, open at {percent} %", self.closed_title()),
            None => self.closed_title(),
        }
    }

    /// The title of the same work in a closed loop.
    pub fn closed_title(&self) -> String {
        format!("{}, {}", self.kind(), self.connections)
    }

    /// What is done, whatever the connections.
    pub fn kind(&self) -> String {
        match self.script {
            Some(script) => format!("{script} {}", self.mode),
            None => self.mode.to_string(),
        }
    }
}

/// All that the arguments ask for. An open loop comes behind the closed one that it takes its rate from.
///
/// # Errors
/// When pgbench cannot do what is asked.
pub(super) fn cases(arguments: &Arguments) -> Result<Vec<Case>> {
    let script = match arguments.workload {
        Workload::Canned => None,
        Workload::Select => Some(Script::Select),
        Workload::TpcB => Some(Script::TpcB),
    };
    let mut cases = Vec::new();
    for &mode in &arguments.modes {
        let known = matches!(mode, Mode::Simple | Mode::Extended | Mode::Prepared);
        ensure!(
            script.is_none() || known,
            "pgbench has no mode {mode}: it has simple, extended and prepared"
        );
        ensure!(script.is_none() || arguments.open.is_none(), "--open is for canned servers");
        for &connections in &arguments.connections {
            let closed = Case { mode, connections, script, open_percent: None };
            cases.push(closed);
            cases.extend(arguments.open.map(|_| Case { open_percent: arguments.open, ..closed }));
        }
    }
    Ok(cases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn titles(line: &str) -> Result<Vec<String>> {
        let arguments =
            Line::parse_from(std::iter::once("compare").chain(line.split_ascii_whitespace())).arguments;
        Ok(cases(&arguments)?.iter().map(Case::title).collect())
    }

    #[test]
    fn an_open_loop_follows_its_closed_one() {
        let found = titles("--modes simple --connections 16,64 --open 70").expect("canned servers can do it");
        assert_eq!(
            found,
            ["simple, 16", "simple, 16, open at 70 %", "simple, 64", "simple, 64, open at 70 %"]
        );
    }

    #[test]
    fn pgbench_does_only_what_it_can() {
        let found = titles("--workload tpc-b --modes prepared --connections 8").expect("pgbench can");
        assert_eq!(found, ["TPC-B prepared, 8"]);
        assert!(titles("--workload select --modes bulk").is_err());
        assert!(titles("--workload select --open 50").is_err());
    }
}
