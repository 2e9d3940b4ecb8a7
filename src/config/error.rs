//! What is wrong with a configuration, each fault with its place.

use std::fmt;
use std::path::{Path, PathBuf};

/// One fault: where it is and what to change.
///
/// Prints as `file:line: key: what is wrong and what to change`, leaving out what is unknown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigError {
    pub file: PathBuf,
    /// 1 for the first line. `None` when the fault is in what the file lacks.
    pub line: Option<usize>,
    /// The key as a user writes it: `[pool] size`, or `backend_port1`.
    pub key: Option<String>,
    pub text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_place(f, &self.file, self.line, self.key.as_deref(), &self.text)
    }
}

/// All faults of a configuration, in the order of its files and lines. Never empty.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// `Ok` when nothing was found, so that the last line of a check can be this.
    pub(super) fn check(errors: Vec<ConfigError>) -> Result<(), ConfigErrors> {
        if errors.is_empty() { Ok(()) } else { Err(ConfigErrors { errors }) }
    }

    pub(super) fn one(error: ConfigError) -> ConfigErrors {
        ConfigErrors { errors: vec![error] }
    }

    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.errors.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// `file:line: key: text`, the one form of errors and warnings.
pub(super) fn write_place(
    f: &mut fmt::Formatter<'_>,
    file: &Path,
    line: Option<usize>,
    key: Option<&str>,
    text: &str,
) -> fmt::Result {
    write!(f, "{}", file.display())?;
    if let Some(line) = line {
        write!(f, ":{line}")?;
    }
    if let Some(key) = key {
        write!(f, ": {key}")?;
    }
    write!(f, ": {text}")
}
