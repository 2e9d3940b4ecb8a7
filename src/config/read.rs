//! The edge: the only place of this room that opens files.
//!
//! Everything it calls takes text and returns values; the reading itself is a function argument,
//! so that tests bring files from memory.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::check::check;
use super::draft::{Draft, Place};
use super::pgpool::lexer::{self, Fault, Setting};
use super::pgpool::{self, INCLUDE};
use super::secrets::{self, Secrets, is_scram};
use super::{ConfigError, ConfigErrors, Loaded, native};

/// Reads and checks the configuration in `path`, a pgweir.toml or a pgpool.conf, and the files it
/// names.
///
/// Which of the two it is shows in its content; the names `*.toml` and `*.conf` only settle what
/// could be both. Relative names inside it start at its folder.
///
/// # Errors
/// Everything that is wrong, at once. No part of a wrong configuration is returned.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, &|path| std::fs::read(path))
}

/// How a file is read: its bytes, or why not.
pub type Open<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// As [`load`], with files from elsewhere than the disk.
///
/// # Errors
/// As [`load`].
pub fn load_with(path: &Path, open: Open<'_>) -> Result<Loaded, ConfigErrors> {
    let bytes = match open(path) {
        Ok(bytes) => bytes,
        Err(error) => return Err(ConfigErrors::one(unreadable(path, &error))),
    };
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let (mut draft, users) = match is_toml(path, text) {
        true => from_toml(path, text, open),
        false => from_pgpool(path, text, open),
    };
    inherit_password(&mut draft);
    check(&mut draft, &users);
    draft.finish()
}

type UserLines = BTreeMap<String, usize>;

fn from_toml(path: &Path, text: &str, open: Open<'_>) -> (Draft, UserLines) {
    if let Some(line) = line_without_utf8(text) {
        let mut draft = Draft::new(path, super::Config::default());
        draft.torn = true;
        draft.error(Place::bare(path, Some(line)), "this line is not UTF-8: save the file as UTF-8");
        return (draft, UserLines::new());
    }
    let mut draft = native::draft(text, path);
    let mut lines = UserLines::new();
    if let Some(name) = draft.config.auth.users_file.take() {
        let file = beside(path, &name);
        match open(&file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                lines = take(&mut draft, &file, secrets::user_list(&text));
                not_utf8(&mut draft, &file, &text);
            }
            Err(error) => {
                let text = format!("{} cannot be read: {error}", file.display());
                draft.error(draft.place("[auth] users"), text);
            }
        }
        draft.config.auth.users_file = Some(file);
    }
    if let Some(hba) = draft.config.auth.hba.take() {
        let file = beside(path, &hba.path);
        read_hba(&mut draft, file, open);
    }
    (draft, lines)
}

fn from_pgpool(path: &Path, text: &str, open: Open<'_>) -> (Draft, UserLines) {
    let mut source = Source::default();
    source.add(path, text, 1, open);
    let mut reader = pgpool::Reader::new(path, source.settings, source.faults);
    reader.draft.errors.extend(source.errors);
    let mut secrets = Secrets::default();
    if let Some((file, written)) = reader.pool_passwd() {
        match open(&file) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                secrets = secrets::pool_passwd(&text);
                not_utf8(&mut reader.draft, &file, &text);
            }
            // Pgpool-II creates a missing one, so it is as good as empty.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if written {
                    let place = reader.draft.place("[auth] users");
                    let text = format!("{} does not exist: no user has a secret", file.display());
                    reader.draft.warning(place, text);
                }
            }
            Err(error) => {
                let text = format!("{} cannot be read: {error}", file.display());
                reader.draft.error(reader.draft.place("[auth] users"), text);
            }
        }
        reader.draft.config.auth.users_file = Some(file);
    }
    if let Some(file) = reader.pool_hba() {
        read_hba(&mut reader.draft, file, open);
    }
    let mut draft = reader.finish(&secrets);
    let file = draft.config.auth.users_file.clone().unwrap_or_default();
    let lines = take(&mut draft, &file, secrets);
    (draft, lines)
}

/// The settings of a pgpool.conf with those of the files it includes, in the order that counts.
#[derive(Default)]
struct Source {
    settings: Vec<Setting>,
    faults: Vec<(PathBuf, Fault)>,
    errors: Vec<ConfigError>,
    /// True exactly when files were found to include one another without end: no further ones are opened then, since a
    /// file that includes itself twice would be read a thousand times.
    endless: bool,
}

impl Source {
    fn add(&mut self, path: &Path, text: &str, depth: usize, open: Open<'_>) {
        let (settings, faults) = lexer::settings(text, path);
        self.faults.extend(faults.into_iter().map(|fault| (path.to_path_buf(), fault)));
        for setting in settings {
            match setting.name == INCLUDE {
                true => self.include(path, &setting, depth, open),
                false => self.settings.push(setting),
            }
        }
    }

    fn include(&mut self, path: &Path, setting: &Setting, depth: usize, open: Open<'_>) {
        if self.endless {
            return;
        }
        let file = beside(path, Path::new(&setting.value));
        let wrong = if depth > INCLUDE_DEPTH_MAX {
            self.endless = true;
            format!("{INCLUDE_DEPTH_MAX} files include one another already: does one include itself?")
        } else {
            match open(&file) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    return self.add(&file, &text, depth + 1, open);
                }
                Err(error) => format!("{} cannot be read: {error}", file.display()),
            }
        };
        self.errors.push(ConfigError {
            file: path.to_path_buf(),
            line: Some(setting.line),
            key: Some(INCLUDE.to_string()),
            text: wrong,
        });
    }
}

fn read_hba(draft: &mut Draft, file: PathBuf, open: Open<'_>) {
    match open(&file) {
        Ok(bytes) => {
            draft.config.auth.hba =
                Some(super::HbaSource { path: file, text: String::from_utf8_lossy(&bytes).into_owned() });
        }
        Err(error) => {
            let text = format!("{} cannot be read: {error}", file.display());
            draft.error(draft.place("[auth] hba"), text);
            // Present, so that nobody reports it as missing too.
            draft.config.auth.hba = Some(super::HbaSource { path: file, text: String::new() });
        }
    }
}

/// Moves the secrets into the draft, with what is to be said about them.
fn take(draft: &mut Draft, file: &Path, secrets: Secrets) -> UserLines {
    draft.config.auth.users = secrets.users;
    for (line, text) in secrets.errors {
        draft.error(Place::bare(file, Some(line)), text);
    }
    for (line, text) in secrets.warnings {
        draft.warning(Place::bare(file, Some(line)), text);
    }
    secrets.lines
}

/// A secret with a replaced byte would never match: better say so now.
fn not_utf8(draft: &mut Draft, file: &Path, text: &str) {
    if let Some(line) = line_without_utf8(text) {
        draft.error(Place::bare(file, Some(line)), "this line is not UTF-8");
    }
}

fn line_without_utf8(text: &str) -> Option<usize> {
    let at = text.find(char::REPLACEMENT_CHARACTER)?;
    Some(text[..at].matches('\n').count() + 1)
}

/// The probes log in with the secret the user list has for their user, if it is one that works.
fn inherit_password(draft: &mut Draft) {
    let config = &mut draft.config;
    if config.monitor.password.is_none() {
        let secret = config.auth.users.get(&config.monitor.user);
        config.monitor.password = secret.filter(|secret| !is_scram(secret)).cloned();
    }
}

/// By content: only TOML has section lines, only a pgpool.conf has names that pgpool-II knows.
fn is_toml(path: &Path, text: &str) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    if extension == Some("toml") {
        return true;
    }
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    if lines().any(|line| line.starts_with('[') && line.contains(']')) {
        return true;
    }
    let known = lines().filter(|line| !line.starts_with('#')).any(|line| {
        let name = line.split(|c: char| c.is_whitespace() || c == '=').next();
        name.is_some_and(pgpool::knows)
    });
    !known && extension != Some("conf")
}

fn beside(path: &Path, name: &Path) -> PathBuf {
    path.with_file_name("").join(name)
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigError {
    ConfigError {
        file: path.to_path_buf(),
        line: None,
        key: None,
        text: format!("the file cannot be read: {error}"),
    }
}

/// How deep files may include one another, as in pgpool-II.
const INCLUDE_DEPTH_MAX: usize = 10;
