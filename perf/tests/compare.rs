//! A comparison from end to end: servers, proxies and load as real processes, for one second each.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const PERF: &str = env!("CARGO_BIN_EXE_perf");

/// pgweir takes part when it has been built into the same folder; the relay always does.
#[test]
fn a_short_comparison_measures_every_proxy() {
    let folder = tempfile::tempdir().expect("a folder");
    let pgweir = Path::new(PERF).with_file_name("pgweir").is_file();
    let proxies: &[&str] = if pgweir { &["direct", "relay", "pgweir"] } else { &["direct", "relay"] };
    let (json, plots) = (folder.path().join("compare.json"), folder.path().join("plots"));
    let output = Command::new(PERF)
        .args(["compare", "--rounds", "1", "--warmup", "100ms", "--duration", "1s"])
        .args(["--modes", "simple", "--connections", "4,8", "--proxies", &proxies.join(",")])
        .arg("--json")
        .arg(&json)
        .arg("--plots")
        .arg(&plots)
        .output()
        .expect("perf starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");

    let table = String::from_utf8(output.stdout).expect("the table is text");
    let text = fs::read_to_string(&json).expect("the figures are written");
    let figures: Value = serde_json::from_str(&text).expect("the figures are JSON");
    for case in ["simple, 4", "simple, 8"] {
        for proxy in proxies {
            assert!(table.lines().any(|line| line.contains(case) && line.contains(proxy)), "{table}");
            let of_this = |line: &&Value| line["case"] == case && line["proxy"] == *proxy;
            let line = figures["lines"].as_array().and_then(|lines| lines.iter().find(of_this));
            let figure = |key: &str| line.and_then(|line| line["figures"][key]["median"].as_f64());
            assert!(figure("queries_per_second").is_some_and(|qps| qps > 100.0), "{proxy}: {text}");
            let (p50, p99) = (figure("p50_us"), figure("p99_us"));
            assert!(p50.is_some_and(|p50| p50 > 0.0) && p50 <= p99, "{proxy}: {text}");
            // No process, no cost; a process, some cost, but less than a core for a second.
            let cost = figure("cores_busy");
            assert_eq!(cost.is_some(), *proxy != "direct", "{proxy}: {text}");
            assert!(cost.is_none_or(|cost| cost > 0.0 && cost < 1.2), "{proxy}: {text}");
        }
    }
    for plot in ["latency-simple-4.svg", "throughput-simple.svg"] {
        let drawing = fs::read_to_string(plots.join(plot)).expect("it was drawn");
        assert!(proxies.iter().all(|proxy| drawing.contains(proxy)), "{plot}");
    }
}

#[test]
fn a_proxy_of_the_environment_is_started_by_its_command() {
    // Another relay will do: its command tells it the ports that perf chose.
    let command = format!(
        "twin={PERF} relay --listen 127.0.0.1:{{listen_port}} --to {{backend_host}}:{{backend_port}}"
    );
    let output = Command::new(PERF)
        .args(["compare", "--rounds", "1", "--warmup", "50ms", "--duration", "300ms"])
        .args(["--modes", "simple", "--connections", "2", "--proxies", "relay,twin"])
        .env("PERF_PROXIES", command)
        .output()
        .expect("perf starts");
    let (table, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(table.lines().filter(|line| line.contains("| twin")).count(), 2, "{table}");
}

#[test]
fn an_unknown_proxy_is_refused_by_name() {
    let output = Command::new(PERF).args(["compare", "--proxies", "pgwier"]).output().expect("perf starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("pgwier"), "{said}");
}
