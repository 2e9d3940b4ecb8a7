//! Under whose name a program runs that refuses to run as root (PostgreSQL, PgBouncer, pgpool-II).

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use anyhow::{Context, Result};

/// The user and the group a program runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
}

impl Account {
    /// The account to switch to: `None` for an ordinary user, who stays who they are; for root `postgres`, else
    /// `nobody`.
    ///
    /// # Errors
    /// When we are root and the system knows neither.
    pub fn find() -> Result<Option<Account>> {
        // The owner of a process's folder in /proc is its effective user (proc(5)).
        if fs::metadata("/proc/self")?.uid() != ROOT {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").context("/etc/passwd")?;
        let found = ["postgres", "nobody"].iter().find_map(|name| named(name, &accounts));
        found.map(Some).context("this system has neither a user postgres nor a user nobody")
    }

    /// Makes a file or folder its own.
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn give(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).with_context(|| format!("chown {}", path.display()))
    }
}

/// Looks a name up in the text of passwd(5).
fn named(name: &str, accounts: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        (found && uid != ROOT).then_some(Account { uid, gid })
    })
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name_and_is_never_root() {
        let text = "postgres:x:0:0::/:/bin/sh\npostgres2:x:7:8::/:/bin/sh\nnobody:x:65534:65533::/:/bin/sh\n";
        assert_eq!(named("postgres", text), None);
        assert_eq!(named("nobody", text), Some(Account { uid: 65534, gid: 65533 }));
        assert_eq!(named("ada", text), None);
    }
}
