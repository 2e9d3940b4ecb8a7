//! All samples of one command: gathered, shown, kept.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Metric, Sample, Summary, table};
use crate::process::Machine;

/// What one command measured.
pub struct Report {
    command: &'static str,
    metrics: Vec<Metric>,
    samples: Vec<Sample>,
    remarks: Vec<String>,
    /// As it was at the start.
    machine: Machine,
}

impl Report {
    pub fn new(command: &'static str, metrics: &[Metric]) -> Report {
        let (samples, remarks) = (Vec::new(), Vec::new());
        Report { command, metrics: metrics.to_vec(), samples, remarks, machine: Machine::look() }
    }

    pub fn add(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// A line below the tables.
    pub fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The cases in the order in which they were first measured.
    pub fn cases(&self) -> Vec<String> {
        in_order(self.samples.iter().map(|sample| &sample.case))
    }

    /// The proxies that were measured in this case, in the order in which they first were.
    pub fn proxies(&self, case: &str) -> Vec<String> {
        in_order(self.samples.iter().filter(|sample| sample.case == case).map(|sample| &sample.proxy))
    }

    /// A metric over the rounds; `None` when no round has it.
    pub fn summary(&self, case: &str, proxy: &str, key: &str) -> Option<Summary> {
        Summary::of(self.of(case, proxy).filter_map(|sample| sample.figures.get(key).copied()))
    }

    /// A metric as a ratio to that of another proxy, each round divided by its own: what disturbs a whole round cancels
    /// out. `None` when no round has both.
    pub fn ratio(&self, case: &str, proxy: &str, to: &str, key: &str) -> Option<Summary> {
        let ratios = self.of(case, proxy).filter_map(|sample| {
            let other = self.of(case, to).find(|other| other.round == sample.round)?;
            let (above, below) = (sample.figures.get(key)?, other.figures.get(key)?);
            (*below > 0.0).then(|| above / below)
        });
        Summary::of(ratios)
    }

    /// Prints the table of medians, the table of ratios, and the remarks.
    pub fn print(&self) {
        println!("\n## perf {}\n\n{}.\n", self.command, self.machine);
        println!("{}", table(&self.medians()));
        let ratios = self.ratios();
        if ratios.len() > 1 {
            println!("As ratios to {}:\n", self.references().join(" / "));
            println!("{}", table(&ratios));
        }
        for remark in &self.remarks {
            println!("{remark}");
        }
    }

    /// Writes everything to a file, if one is wanted.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, file: Option<&Path>) -> Result<()> {
        let Some(file) = file else { return Ok(()) };
        let text = serde_json::to_string_pretty(&self.json())?;
        fs::write(file, text + "\n").with_context(|| file.display().to_string())
    }

    fn of<'a>(&'a self, case: &'a str, proxy: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.case == case && sample.proxy == proxy)
    }

    /// Every case with every proxy measured in it.
    fn lines(&self) -> Vec<(String, String)> {
        let of_case = |case: String| {
            self.proxies(&case).into_iter().map(move |proxy| (case.clone(), proxy)).collect::<Vec<_>>()
        };
        self.cases().into_iter().flat_map(of_case).collect()
    }

    fn medians(&self) -> Vec<Vec<String>> {
        let titles = self.metrics.iter().map(|metric| metric.title.to_owned());
        let mut rows = vec![["case".into(), "proxy".into()].into_iter().chain(titles).collect::<Vec<_>>()];
        for (case, proxy) in self.lines() {
            let cells = self.metrics.iter().map(|metric| {
                let summary = self.summary(&case, &proxy, metric.key);
                summary.map_or_else(|| "–".to_owned(), |summary| summary.show(metric.per, metric.digits))
            });
            let note = self.of(&case, &proxy).find_map(|sample| sample.note.clone());
            let name = note.map_or_else(|| proxy.clone(), |note| format!("{proxy} ({note})"));
            rows.push([case.clone(), name].into_iter().chain(cells).collect());
        }
        rows
    }

    fn ratios(&self) -> Vec<Vec<String>> {
        let references = self.references();
        let compared: Vec<&Metric> = self.metrics.iter().filter(|metric| metric.compared).collect();
        let titles = compared.iter().map(|metric| metric.title.to_owned());
        let mut rows = vec![["case".into(), "proxy".into()].into_iter().chain(titles).collect::<Vec<_>>()];
        for (case, proxy) in
            self.lines().into_iter().filter(|(_, proxy)| references.first() != Some(&&**proxy))
        {
            let cell = |metric: &&Metric| {
                let ratio = |to: &&str| {
                    let ratio = (*to != proxy).then(|| self.ratio(&case, &proxy, to, metric.key)).flatten();
                    ratio.map_or_else(|| "–".to_owned(), |ratio| ratio.show(1.0, 2))
                };
                references.iter().map(ratio).collect::<Vec<_>>().join(" / ")
            };
            let cells: Vec<String> = compared.iter().map(cell).collect();
            if cells.iter().any(|cell| cell.contains(|c: char| c.is_ascii_digit())) {
                rows.push([case, proxy].into_iter().chain(cells).collect());
            }
        }
        rows
    }

    /// The references that were measured.
    fn references(&self) -> Vec<&'static str> {
        let measured = |name: &&str| self.samples.iter().any(|sample| sample.proxy == *name);
        REFERENCES.into_iter().filter(measured).collect()
    }

    fn json(&self) -> Value {
        let summary = |case: &str, proxy: &str, metric: &Metric| {
            let mut value = json!(self.summary(case, proxy, metric.key)?);
            for to in REFERENCES.iter().filter(|to| **to != proxy) {
                if let Some(ratio) = self.ratio(case, proxy, to, metric.key) {
                    value[format!("to_{to}")] = json!(ratio);
                }
            }
            Some((metric.key.to_owned(), value))
        };
        let lines: Vec<Value> = self
            .lines()
            .iter()
            .map(|(case, proxy)| {
                let figures: serde_json::Map<_, _> =
                    self.metrics.iter().filter_map(|metric| summary(case, proxy, metric)).collect();
                json!({ "case": case, "proxy": proxy, "figures": figures })
            })
            .collect();
        json!({
            "command": self.command,
            "machine": self.machine,
            "remarks": self.remarks,
            "lines": lines,
            "samples": self.samples,
        })
    }
}

fn in_order<'a>(names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        if !seen.contains(name) {
            seen.push(name.clone());
        }
    }
    seen
}

/// The proxies that every other is compared with, as far as they take part.
const REFERENCES: [&str; 2] = ["relay", "pgbouncer"];

#[cfg(test)]
mod tests {
    use super::*;

    fn report(figures: &[(&str, u32, f64)]) -> Report {
        let mut report = Report::new("test", &[Metric::new("cost", "cost µs", 1)]);
        for &(proxy, round, cost) in figures {
            let figures = [("cost", cost)].into();
            report.add(Sample { case: "c".into(), proxy: proxy.into(), round, figures, ..Sample::default() });
        }
        report
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The second round was twice as slow for both.
        let report =
            report(&[("relay", 1, 10.0), ("pgweir", 1, 11.0), ("relay", 2, 20.0), ("pgweir", 2, 22.0)]);
        let ratio = report.ratio("c", "pgweir", "relay", "cost").expect("both were measured");
        assert!((ratio.min - 1.1).abs() < 1e-9 && (ratio.max - 1.1).abs() < 1e-9, "{ratio:?}");
        assert_eq!(report.ratio("c", "pgweir", "pgbouncer", "cost"), None);
    }

    #[test]
    fn both_tables_name_each_proxy_once() {
        let report =
            report(&[("relay", 1, 10.0), ("pgweir", 1, 15.0), ("relay", 2, 10.0), ("pgweir", 2, 17.0)]);
        let medians = report.medians();
        assert_eq!(medians[1], ["c", "relay", "10.0"]);
        assert_eq!(medians[2], ["c", "pgweir", "16.0 (15.0–17.0)"]);
        assert_eq!(report.ratios()[1..], [["c", "pgweir", "1.60 (1.50–1.70)"]]);
        assert_eq!(report.json()["lines"][1]["figures"]["cost"]["to_relay"]["median"], json!(1.6));
    }
}
