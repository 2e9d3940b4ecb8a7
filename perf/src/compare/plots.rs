//! The plots of a comparison: latencies of each case, and throughput over connections of each kind of work.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cases::Case;
use crate::measure::{P50, P99, P99_9, QPS};
use crate::plot::{Axis, Line, chart, latency_line};
use crate::report::Report;

/// Writes them into a folder, which is made if it is not there.
///
/// # Errors
/// Those of the file system, and of histograms that cannot be read.
pub(super) fn draw(report: &Report, cases: &[Case], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for case in cases {
        let title = case.title();
        let mut lines = Vec::new();
        for proxy in report.proxies(&title) {
            let points = latencies(report, &title, &proxy)?;
            lines.push(Line { name: proxy, points });
        }
        let file = folder.join(file_name("latency", &title));
        chart(
            &file,
            &format!("Latency: {title} connections"),
            &Axis::percentiles(),
            &Axis::log("µs"),
            &lines,
        )?;
    }
    for kind in kinds(cases) {
        let same: Vec<&Case> =
            cases.iter().filter(|case| case.kind() == kind && case.open_percent.is_none()).collect();
        if same.len() < 2 {
            continue;
        }
        let mut lines: Vec<Line> = Vec::new();
        for case in same {
            for proxy in report.proxies(&case.title()) {
                let Some(qps) = report.summary(&case.title(), &proxy, QPS) else { continue };
                let point = (f64::from(case.connections), qps.median);
                match lines.iter_mut().find(|line| line.name == proxy) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line { name: proxy, points: vec![point] }),
                }
            }
        }
        lines.iter_mut().for_each(|line| line.points.sort_by(|one, other| one.0.total_cmp(&other.0)));
        let file = folder.join(file_name("throughput", &kind));
        chart(
            &file,
            &format!("Throughput: {kind}"),
            &Axis::doubling("connections"),
            &Axis::from_zero("queries/s"),
            &lines,
        )?;
    }
    Ok(())
}

/// All rounds' latencies together: the whole distribution where the load kept it, else the percentiles of the table.
fn latencies(report: &Report, case: &str, proxy: &str) -> Result<Vec<(f64, f64)>> {
    let samples = report.samples().iter().filter(|sample| sample.case == case && sample.proxy == proxy);
    let histograms: Vec<&str> = samples.filter_map(|sample| sample.histogram.as_deref()).collect();
    if !histograms.is_empty() {
        return latency_line(&histograms);
    }
    let known = [(0.5, P50), (0.99, P99), (0.999, P99_9)];
    let point =
        |(quantile, key): (f64, _)| Some((1.0 / (1.0 - quantile), report.summary(case, proxy, key)?.median));
    Ok(known.into_iter().filter_map(point).collect())
}

fn kinds(cases: &[Case]) -> Vec<String> {
    let mut kinds: Vec<String> = cases.iter().map(Case::kind).collect();
    kinds.dedup();
    kinds
}

/// `latency-pgbench-s-simple-16.svg`.
fn file_name(what: &str, title: &str) -> String {
    let words = title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
    format!("{what}-{}.svg", words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_have_no_spaces_or_signs() {
        assert_eq!(file_name("latency", "pgbench -S simple, 16"), "latency-pgbench-s-simple-16.svg");
        assert_eq!(file_name("latency", "simple, 64, open at 70 %"), "latency-simple-64-open-at-70.svg");
    }
}
