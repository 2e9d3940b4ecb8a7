//! What is told while the load runs, and the result.

use std::io::{self, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2Serializer};
use serde_json::{Value, json};

use super::Arguments;
use super::tally::Tally;

/// Standard output, as lines of JSON or for people.
pub(super) struct Report {
    json: bool,
    mode: &'static str,
    connections: u32,
    rate: Option<f64>,
}

/// How a run went.
pub(super) struct Outcome {
    /// How long it was measured.
    pub seconds: f64,
    /// Queries that were due and had no answer at the end.
    pub unanswered: u64,
    /// Connections that failed.
    pub lost: u64,
    pub tally: Tally,
}

impl Report {
    pub fn new(arguments: &Arguments) -> Report {
        Report {
            json: arguments.json,
            mode: arguments.mode.name(),
            connections: arguments.connections,
            rate: arguments.rate,
        }
    }

    /// Tells whoever runs the load where it stands.
    pub fn event(&self, event: &str) -> io::Result<()> {
        match self.json {
            true => line(&json!({ "event": event }).to_string()),
            false => Ok(()),
        }
    }

    pub fn result(&self, outcome: &Outcome) -> anyhow::Result<()> {
        let text = if self.json { self.as_json(outcome)?.to_string() } else { self.as_table(outcome) };
        Ok(line(&text)?)
    }

    fn as_json(&self, outcome: &Outcome) -> anyhow::Result<Value> {
        let tally = &outcome.tally;
        let mut histogram = Vec::new();
        V2Serializer::new().serialize(&tally.latency, &mut histogram)?;
        Ok(json!({
            "event": "result",
            "mode": self.mode,
            "connections": self.connections,
            "seconds": outcome.seconds,
            "queries": tally.queries,
            "errors": tally.errors,
            "first_error": tally.first_error,
            "lost": outcome.lost,
            "unanswered": outcome.unanswered,
            "bytes_received": tally.bytes_received,
            "bytes_sent": tally.bytes_sent,
            "rows": tally.rows,
            "qps": per_second(tally.queries, outcome),
            "rate": self.rate,
            "latency_us": percentiles(&tally.latency),
            "service_us": percentiles(&tally.service),
            // HdrHistogram's V2 encoding, of nanoseconds.
            "histogram": BASE64_STANDARD.encode(histogram),
        }))
    }

    fn as_table(&self, outcome: &Outcome) -> String {
        let tally = &outcome.tally;
        let mut lines = vec![
            format!("mode         {}, {} connections", self.mode, self.connections),
            format!("queries      {} in {:.2} s", tally.queries, outcome.seconds),
            format!("per second   {:.0}", per_second(tally.queries, outcome)),
            format!("rows         {}", tally.rows),
            format!("received     {:.1} MB/s", per_second(tally.bytes_received, outcome) / 1e6),
            format!("sent         {:.1} MB/s", per_second(tally.bytes_sent, outcome) / 1e6),
            format!("unanswered   {}", outcome.unanswered),
            format!("errors       {}", tally.errors),
        ];
        lines.extend(tally.first_error.iter().map(|error| format!("first error  {error}")));
        lines.push(format!(
            "{:<13}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "µs", "mean", "p50", "p90", "p99", "p99.9", "max"
        ));
        for (name, histogram) in [("latency", &tally.latency), ("service", &tally.service)] {
            let [mean, p50, p90, p99, p99_9, max] = figures(histogram);
            lines.push(format!(
                "{name:<13}{mean:>10.1}{p50:>10.1}{p90:>10.1}{p99:>10.1}{p99_9:>10.1}{max:>10.1}"
            ));
        }
        lines.join("\n")
    }
}

fn per_second(count: u64, outcome: &Outcome) -> f64 {
    if outcome.seconds > 0.0 { count as f64 / outcome.seconds } else { 0.0 }
}

fn percentiles(histogram: &Histogram<u64>) -> Value {
    let [mean, p50, p90, p99, p99_9, max] = figures(histogram);
    json!({ "mean": mean, "p50": p50, "p90": p90, "p99": p99, "p99_9": p99_9, "max": max })
}

/// Mean, percentiles 50, 90, 99 and 99.9, and maximum (µs).
fn figures(histogram: &Histogram<u64>) -> [f64; 6] {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    [histogram.mean() / 1e3, at(0.5), at(0.9), at(0.99), at(0.999), histogram.max() as f64 / 1e3]
}

fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}
