//! The counts that were right when they were written, and where they hold.

use std::process::Command;

/// See the module's text.
#[derive(Debug, PartialEq)]
pub struct Baseline {
    /// The compiler, and the processor as far as libraries choose by it.
    pub machine: String,
    /// Each case's instructions per round.
    pub counts: Vec<(String, u64)>,
}

impl Baseline {
    pub fn parse(text: &str) -> Result<Baseline, String> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
        let machine =
            table.get("machine").and_then(toml::Value::as_str).ok_or("the baseline has no machine")?;
        let counts =
            table.get("counts").and_then(toml::Value::as_table).ok_or("the baseline has no counts")?;
        let counts = counts.iter().map(|(name, count)| {
            let count = count.as_integer().and_then(|count| u64::try_from(count).ok());
            Ok((name.clone(), count.ok_or_else(|| format!("{name} has no count"))?))
        });
        Ok(Baseline { machine: machine.to_owned(), counts: counts.collect::<Result<_, String>>()? })
    }

    pub fn print(&self) -> String {
        let mut text = format!(
            "# Instructions per round of each case of bench/instructions. Written by `make baseline`.\n\
             machine = \"{}\"\n\n[counts]\n",
            self.machine
        );
        for (name, count) in &self.counts {
            text += &format!("\"{name}\" = {count}\n");
        }
        text
    }

    /// Where the counts hold: on this machine.
    pub fn machine() -> Result<String, String> {
        let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output =
            Command::new(compiler).arg("--version").output().map_err(|error| format!("rustc: {error}"))?;
        let version = String::from_utf8_lossy(&output.stdout);
        let version = version.split(' ').nth(1).ok_or("rustc says no version")?.to_owned();
        Ok(format!(
            "rustc {version}, {}{}",
            std::env::consts::ARCH,
            if has_avx2() { " with AVX2" } else { "" }
        ))
    }

    /// A sentence for each case whose count is too far away, or that only one of the two has.
    pub fn differences(&self, counts: &[(String, u64)]) -> Vec<String> {
        let find = |counts: &[(String, u64)], wanted: &str| {
            counts.iter().find(|(name, _)| name == wanted).map(|(_, count)| *count)
        };
        let mut differences = Vec::new();
        for (name, count) in counts {
            match find(&self.counts, name) {
                None => differences.push(format!("{name}: {count}, not in the baseline")),
                Some(expected) if count.abs_diff(expected) * 100 > expected * TOLERANCE => {
                    let change = 100.0 * (*count as f64 / expected as f64 - 1.0);
                    differences
                        .push(format!("{name}: {count}, {change:+.1} % from {expected} in the baseline"));
                }
                Some(_) => {}
            }
        }
        let gone = self.counts.iter().filter(|(name, _)| find(counts, name).is_none());
        differences.extend(gone.map(|(name, _)| format!("{name}: in the baseline, but no case any more")));
        differences
    }
}

fn has_avx2() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// How far, in per cent, a count may be from the baseline, either way: less is news too, and would hide the next loss.
const TOLERANCE: u64 = 3;
