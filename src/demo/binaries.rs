//! Which PostgreSQL of this machine to run.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder with a server's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    /// The folder, with no symbolic link left in its path.
    pub folder: PathBuf,
    /// Major and minor version; the minor of a beta or development version counts as 0.
    pub version: (u32, u32),
}

/// Why no server's programs could be chosen.
#[derive(Debug, thiserror::Error)]
pub enum BinariesError {
    #[error(
        "no PostgreSQL server of version {VERSION_MIN} or newer was found on this machine: install one (Debian, \
         Ubuntu: apt-get install postgresql; Fedora: dnf install postgresql-server postgresql-contrib), or name the \
         folder of its programs in {BIN_VARIABLE}"
    )]
    None,
    #[error(
        "{BIN_VARIABLE} names {0}, which does not hold the programs of a PostgreSQL server of version {VERSION_MIN} \
         or newer (postgres, initdb, pg_basebackup)"
    )]
    Named(PathBuf),
}

impl Binaries {
    /// The newest server of version 14 or later: in the folder that `PGWEIR_PG_BIN` names when it is set, else among
    /// `PATH` and the folders that distributions use.
    ///
    /// # Errors
    /// When there is none.
    pub fn find() -> Result<Self, BinariesError> {
        if let Some(named) = env::var_os(BIN_VARIABLE).filter(|named| !named.is_empty()) {
            let named = PathBuf::from(named);
            return Self::in_folder(&named).ok_or(BinariesError::Named(named));
        }
        let on_path = env::var_os("PATH").unwrap_or_default();
        let mut folders: Vec<PathBuf> = env::split_paths(&on_path).collect();
        folders.extend(below("/usr/lib/postgresql", ""));
        folders.extend(below("/usr", "pgsql-"));
        folders.extend(["/usr/local/pgsql/bin", "/usr/libexec/postgresql"].map(PathBuf::from));
        // A program on PATH is often a link into the real folder, so what counts is where the links lead.
        let mut found: Vec<Self> = folders.iter().filter_map(|folder| Self::in_folder(folder)).collect();
        found.sort_by_key(|binaries| binaries.version);
        found.pop().ok_or(BinariesError::None)
    }

    /// The path of one of the server's programs, such as `initdb`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where to find a client program, such as `psql` or `pgbench`: beside the server, else wherever `PATH` says.
    ///
    /// Some distributions package the clients apart from the server.
    pub fn client_program(&self, name: &str) -> PathBuf {
        let beside = self.program(name);
        if beside.is_file() { beside } else { PathBuf::from(name) }
    }

    /// The folder's programs, when they are complete and new enough.
    fn in_folder(folder: &Path) -> Option<Self> {
        let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
        let folder = postgres.parent()?.to_owned();
        if !["initdb", "pg_basebackup"].iter().all(|name| folder.join(name).is_file()) {
            return None;
        }
        let said = Command::new(&postgres).arg("--version").stdin(Stdio::null()).output().ok()?;
        let version = parse_version(&String::from_utf8_lossy(&said.stdout))?;
        (version.0 >= VERSION_MIN).then_some(Self { folder, version })
    }
}

/// The environment variable that names the folder of the server's programs.
pub const BIN_VARIABLE: &str = "PGWEIR_PG_BIN";
/// The oldest major version that is of use here.
pub const VERSION_MIN: u32 = 14;

/// The `bin` folders of every `root/PREFIX*`.
fn below(root: &str, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root) else {
        return Vec::new();
    };
    let fits = |name: &OsStr| name.to_str().is_some_and(|name| name.starts_with(prefix));
    entries.flatten().filter(|entry| fits(&entry.file_name())).map(|entry| entry.path().join("bin")).collect()
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)`, `… 17beta1`, `… 18devel`.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let (_, version) = said.split_once("(PostgreSQL) ")?;
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    let major = digits(version);
    let minor = version[major.len()..].strip_prefix('.').map(digits).unwrap_or_default();
    Some((major.parse().ok()?, minor.parse().unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn versions_of_every_form_are_read() {
        assert_eq!(parse_version("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some((15, 18)));
        assert_eq!(parse_version("postgres (PostgreSQL) 17beta1"), Some((17, 0)));
        assert_eq!(parse_version("postgres (PostgreSQL) 18devel"), Some((18, 0)));
        assert_eq!(parse_version("postgres (PostgreSQL) 9.6.24"), Some((9, 6)));
        assert_eq!(parse_version("EnterpriseDB"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_program_says_is_survived(said in "\\PC*") {
            let _ = parse_version(&format!("postgres (PostgreSQL) {said}"));
        }
    }
}
