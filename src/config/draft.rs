//! A configuration on its way: values so far, where each was written, and every fault found.
//!
//! Reading never stops at the first fault. Each step adds to the draft; only the last one turns
//! it into a [`Loaded`] or into all the errors at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::native;
use super::{Config, ConfigError, ConfigErrors, Line, Loaded, Report, Warning};

pub(super) struct Draft {
    pub config: Config,
    /// The file the operator named; faults without a better place are reported there.
    pub file: PathBuf,
    /// Where each node is written, as many as `config.nodes`.
    pub node_places: Vec<Place>,
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<Warning>,
    pub lines: Vec<Line>,
    pub defaults: Vec<String>,
    /// Whether the file could not be read as written, so that what seems missing may be there.
    pub torn: bool,
    places: BTreeMap<String, Place>,
}

/// Where something is written, and under which name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub file: PathBuf,
    pub line: Option<usize>,
    pub key: Option<String>,
}

impl Draft {
    /// Every value at its default, nothing found yet.
    pub fn new(file: &Path, config: Config) -> Draft {
        Draft {
            config,
            file: file.to_path_buf(),
            node_places: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
            lines: Vec::new(),
            defaults: Vec::new(),
            torn: false,
            places: BTreeMap::new(),
        }
    }

    /// Remembers where a key of pgweir, such as `[pool] size`, got its value.
    pub fn written(&mut self, key: &str, place: Place) {
        self.places.insert(key.to_string(), place);
    }

    /// Whether anybody wrote this key.
    pub fn is_written(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// Where a key got its value; the file alone when nobody wrote it.
    pub fn place(&self, key: &str) -> Place {
        self.places.get(key).cloned().unwrap_or_else(|| Place {
            file: self.file.clone(),
            line: None,
            key: Some(key.to_string()),
        })
    }

    pub fn error(&mut self, place: Place, text: impl Into<String>) {
        self.errors.push(ConfigError {
            file: place.file,
            line: place.line,
            key: place.key,
            text: text.into(),
        });
    }

    pub fn warning(&mut self, place: Place, text: impl Into<String>) {
        self.warnings.push(Warning { file: place.file, line: place.line, key: place.key, text: text.into() });
    }

    /// The end of loading: the configuration, or everything that is wrong with it.
    pub fn finish(mut self) -> Result<Loaded, ConfigErrors> {
        let files = first_seen(&self.file, self.errors.iter().map(|error| &error.file));
        self.errors.sort_by_key(|error| (rank(&files, &error.file), error.line.unwrap_or(usize::MAX)));
        self.errors.dedup();
        ConfigErrors::check(self.errors)?;
        let files = first_seen(&self.file, self.warnings.iter().map(|warning| &warning.file));
        self.warnings.sort_by_key(|warning| {
            let line = warning.line.unwrap_or(usize::MAX);
            (rank(&files, &warning.file), line)
        });
        let effective = self.config.to_toml(native::Passwords::Masked);
        Ok(Loaded {
            config: self.config,
            report: Report { lines: self.lines, defaults: self.defaults, warnings: self.warnings, effective },
        })
    }
}

impl Place {
    pub fn line(file: &Path, line: usize, key: impl Into<String>) -> Place {
        Place { file: file.to_path_buf(), line: Some(line), key: Some(key.into()) }
    }

    /// A place in a file whose lines have no keys.
    pub fn bare(file: &Path, line: Option<usize>) -> Place {
        Place { file: file.to_path_buf(), line, key: None }
    }
}

/// The files in the order they come up, the one the operator named first.
fn first_seen<'a>(named: &Path, files: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let mut seen: Vec<PathBuf> = vec![named.to_path_buf()];
    for file in files {
        if !seen.contains(file) {
            seen.push(file.clone());
        }
    }
    seen
}

fn rank(files: &[PathBuf], file: &Path) -> usize {
    files.iter().position(|seen| seen == file).unwrap_or(usize::MAX)
}
