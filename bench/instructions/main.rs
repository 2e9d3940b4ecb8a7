//! How many instructions do the hottest functions take? Unlike time, their number hardly varies from run to run, so a
//! busy machine can check it: `check` compares with `baseline.toml` beside this file, `write` makes that anew.
//!
//! valgrind's callgrind counts, and only inside [`measured`], so neither the folder nor the environment matters. What
//! does matter is the compiler, and that libraries choose by the processor: the baseline names both, and other ones
//! are not compared.

mod baseline;
mod cases;
#[path = "../texts.rs"]
mod texts;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use baseline::Baseline;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let result = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", name] => run(name),
        ["check"] => check(),
        ["write"] => write(),
        _ => Err("say what to do: check, or write".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a case, first uncounted, to fill every cache and table. This is what valgrind is given.
fn run(name: &str) -> Result<(), String> {
    let (_, mut case) = cases::all()
        .into_iter()
        .find(|(other, _)| *other == name)
        .ok_or_else(|| format!("no case is {name}"))?;
    case();
    measured(&mut *case);
    Ok(())
}

/// What is counted. callgrind knows this function by its name.
#[inline(never)]
fn measured(case: &mut dyn FnMut()) {
    for _ in 0..ROUNDS {
        case();
    }
}

fn check() -> Result<(), String> {
    if !has_valgrind() {
        println!("instructions: not counted, since there is no valgrind");
        return Ok(());
    }
    let path = baseline_path();
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let expected = Baseline::parse(&text)?;
    let here = Baseline::machine()?;
    if expected.machine != here {
        println!(
            "instructions: not compared, since the baseline is of {}, and this is {here}",
            expected.machine
        );
        return Ok(());
    }
    let differences = expected.differences(&count()?);
    if differences.is_empty() {
        println!("instructions: all {} counts are as in the baseline", expected.counts.len());
        return Ok(());
    }
    Err(format!("{}\nIf that is meant, run  make baseline", differences.join("\n")))
}

fn write() -> Result<(), String> {
    if !has_valgrind() {
        return Err("there is no valgrind".to_owned());
    }
    let baseline = Baseline { machine: Baseline::machine()?, counts: count()? };
    let path = baseline_path();
    std::fs::write(&path, baseline.print()).map_err(|error| format!("{}: {error}", path.display()))
}

/// The instructions of each case, one round's.
fn count() -> Result<Vec<(String, u64)>, String> {
    cases::all().into_iter().map(|(name, _)| Ok((name.to_owned(), count_case(name)? / ROUNDS))).collect()
}

/// The instructions of all rounds of a case.
fn count_case(name: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let out = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--toggle-collect=instructions::measured*"])
        .arg(format!("--callgrind-out-file={}", out.path().display()))
        .arg(program)
        .args(["run", name])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(format!("{name}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    let text = std::fs::read_to_string(out.path()).map_err(|error| error.to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.filter(|total| *total > 0).ok_or_else(|| format!("{name}: callgrind counted nothing"))
}

fn has_valgrind() -> bool {
    let version =
        Command::new("valgrind").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn baseline_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/instructions/baseline.toml")
}

/// How often each case runs while it is counted, so that what surrounds it does not count.
const ROUNDS: u64 = 100;
