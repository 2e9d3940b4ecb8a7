//! A measurement with `perf load`, which says when its window begins and ends.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::{BYTES_IN, BYTES_OUT, ERRORS, MAX, P50, P99, P99_9, QPS, Reading, add_cost};
use crate::lab::Lab;
use crate::nodes::{DATABASE, USER};
use crate::proxies::Running;
use crate::report::Sample;

/// How the load asks; the names are those of `perf load --mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    Simple,
    Extended,
    Prepared,
    Pipelined,
    Bulk,
    /// A new connection for each query.
    Connect,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Simple => "simple",
            Mode::Extended => "extended",
            Mode::Prepared => "prepared",
            Mode::Pipelined => "pipelined",
            Mode::Bulk => "bulk",
            Mode::Connect => "connect",
        })
    }
}

/// What the load does.
#[derive(Clone, Debug)]
pub struct Load {
    pub mode: Mode,
    pub connections: u32,
    /// Queries per second of all connections together; `None`: each asks again as soon as it is answered.
    pub rate: Option<f64>,
    pub password: Option<String>,
    /// More options of `perf load`.
    pub more: Vec<String>,
}

impl Load {
    pub fn new(mode: Mode, connections: u32) -> Load {
        Load { mode, connections, rate: None, password: None, more: Vec::new() }
    }
}

/// Runs the load against the proxy for the lab's warm-up and duration.
///
/// # Errors
/// When the load cannot connect, loses a connection, or gets nothing but errors; or when the proxy ends.
pub fn load(lab: &Lab, running: &Running, case: &str, round: u32, load: &Load) -> Result<Sample> {
    measure(lab, running, case, round, load)
        .with_context(|| format!("{} at \"{case}\", round {round}", running.name))
}

fn measure(lab: &Lab, running: &Running, case: &str, round: u32, load: &Load) -> Result<Sample> {
    let micros = |duration: std::time::Duration| format!("{}us", duration.as_micros());
    let mut command = lab
        .part("load", &lab.load_cores)
        .arguments(["--json", "--target", &format!("127.0.0.1:{}", running.port)])
        .arguments(["--user", USER, "--database", DATABASE, "--mode", &load.mode.to_string()])
        .arguments(["--connections", &load.connections.to_string()])
        .arguments(["--warmup", &micros(lab.options.warmup), "--duration", &micros(lab.options.duration)])
        .arguments(&load.more);
    if let Some(rate) = load.rate {
        command = command.arguments(["--rate", &rate.to_string()]);
    }
    if let Some(password) = &load.password {
        command = command.arguments(["--password", password]);
    }
    let mut child = command.start()?;
    let (mut begin, mut end, mut result) = (None, None, None);
    while let Some(line) = child.line()? {
        match serde_json::from_str(&line).with_context(|| format!("the load said {line:?}"))? {
            Event::Connected => {}
            Event::Begin => begin = Some(Reading::take(running)?),
            Event::End => end = Some((Reading::take(running)?, running.memory()?)),
            Event::Result(numbers) => result = Some(numbers),
        }
    }
    let (Some(begin), Some((end, memory)), Some(result)) = (begin, end, result) else {
        child.finish()?;
        bail!("the load ended without a result");
    };
    if let Err(failure) = child.finish() {
        bail!("{}", result.first_error.unwrap_or_else(|| failure.to_string()));
    }
    let answered = result.queries > result.errors;
    ensure!(answered, "no query succeeded: {}", result.first_error.as_deref().unwrap_or("none was answered"));
    let mut sample = result.sample(case, &running.name, round);
    let errors = result.first_error.map(|error| format!("{} errors: {error}", result.errors));
    let notes: Vec<String> = running.note.iter().cloned().chain(errors).collect();
    sample.note = (!notes.is_empty()).then(|| notes.join("; "));
    add_cost(&mut sample, &begin, &end, memory, result.queries as f64);
    Ok(sample)
}

/// A line of `perf load --json`.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    Connected,
    Begin,
    End,
    Result(Numbers),
}

#[derive(Deserialize)]
struct Numbers {
    seconds: f64,
    queries: u64,
    errors: u64,
    first_error: Option<String>,
    bytes_received: u64,
    bytes_sent: u64,
    qps: f64,
    latency_us: Latency,
    histogram: String,
}

#[derive(Deserialize)]
struct Latency {
    p50: f64,
    p99: f64,
    p99_9: f64,
    max: f64,
}

impl Numbers {
    fn sample(&self, case: &str, proxy: &str, round: u32) -> Sample {
        let figures = [
            (QPS, self.qps),
            (P50, self.latency_us.p50),
            (P99, self.latency_us.p99),
            (P99_9, self.latency_us.p99_9),
            (MAX, self.latency_us.max),
            (BYTES_IN, self.bytes_received as f64 / self.seconds),
            (BYTES_OUT, self.bytes_sent as f64 / self.seconds),
            (ERRORS, self.errors as f64),
        ];
        Sample {
            case: case.to_owned(),
            proxy: proxy.to_owned(),
            round,
            figures: figures.into(),
            note: None,
            histogram: Some(self.histogram.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_load_are_understood() {
        assert!(matches!(serde_json::from_str(r#"{"event":"begin"}"#), Ok(Event::Begin)));
        let line = r#"{"event":"result","mode":"simple","connections":16,"seconds":2.0,"queries":10,"errors":0,
            "first_error":null,"bytes_received":400,"bytes_sent":100,"rows":10,"qps":5.0,"rate":null,
            "latency_us":{"mean":9.0,"p50":8.0,"p90":9.0,"p99":10.0,"p99_9":11.0,"max":12.5},
            "service_us":{"mean":9.0,"p50":8.0,"p90":9.0,"p99":10.0,"p99_9":11.0,"max":12.5},"histogram":"AA=="}"#;
        let Ok(Event::Result(numbers)) = serde_json::from_str(line) else {
            panic!("the result is not understood")
        };
        let sample = numbers.sample("c", "p", 3);
        assert_eq!((sample.figures[BYTES_IN], sample.figures[MAX], sample.round), (200.0, 12.5, 3));
    }
}
