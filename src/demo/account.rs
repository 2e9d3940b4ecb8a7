//! Whose processes the servers are.
//!
//! PostgreSQL refuses to run as root. For an ordinary user the servers run as that user; for root they run as
//! `postgres` where there is such an account and as `nobody` elsewhere, and own the folders they write to.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The account under which servers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The login name, for messages.
    pub name: String,
    /// Its number, and the number of its group. `None` when the servers simply run as we do.
    switch: Option<(u32, u32)>,
    own_uid: u32,
}

impl Account {
    /// The account to use: ours, unless we are root.
    ///
    /// # Errors
    /// When we are root and the system has neither `postgres` nor `nobody`.
    pub fn find() -> io::Result<Self> {
        // The owner of a process's folder in /proc is its effective user (proc(5)).
        let own_uid = fs::metadata("/proc/self")?.uid();
        let accounts = fs::read_to_string("/etc/passwd")?;
        choose(own_uid, &accounts)
    }

    /// The number of the user whose processes the servers are.
    pub fn uid(&self) -> u32 {
        self.switch.map_or(self.own_uid, |(uid, _)| uid)
    }

    /// The number of the user that we ourselves are.
    pub fn own_uid(&self) -> u32 {
        self.own_uid
    }

    /// Whether the servers run as somebody else than we do.
    pub fn is_other(&self) -> bool {
        self.switch.is_some()
    }

    /// A command that will run under this account, in `folder`, untouched by what our environment says of PostgreSQL.
    ///
    /// The standard library gives up the supplementary groups of root by itself when it switches the user.
    pub fn command(&self, program: impl AsRef<Path>, folder: &Path) -> Command {
        let mut command = Command::new(program.as_ref());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        // Messages are read by us and shown to users: one language, and no surprise in how text sorts.
        command.env("LC_ALL", "C").current_dir(folder).stdin(Stdio::null());
        if let Some((uid, gid)) = self.switch {
            command.uid(uid).gid(gid).env("HOME", folder);
        }
        command
    }

    /// Makes a folder or file the account's own.
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn give(&self, path: &Path) -> io::Result<()> {
        self.switch.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)))
    }

    /// Whether the account can write into `folder`, which takes more than its mode: every folder above counts.
    pub fn can_write(&self, folder: &Path) -> bool {
        self.command("/bin/sh", Path::new("/"))
            .args(["-c", r#"test -w "$1" && test -x "$1""#, "sh"])
            .arg(folder)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }
}

/// Picks from the text of passwd(5).
fn choose(own_uid: u32, accounts: &str) -> io::Result<Account> {
    let line = |wanted: &dyn Fn(&str, u32) -> bool| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            wanted(name, uid).then(|| (name.to_owned(), uid, gid))
        })
    };
    if own_uid != ROOT {
        let name = line(&|_, uid| uid == own_uid).map_or_else(|| own_uid.to_string(), |(name, ..)| name);
        return Ok(Account { name, switch: None, own_uid });
    }
    ["postgres", "nobody"]
        .iter()
        .find_map(|wanted| line(&|name, uid| name == *wanted && uid != ROOT))
        .map(|(name, uid, gid)| Account { name, switch: Some((uid, gid)), own_uid })
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                "PostgreSQL does not run as root, and this system has neither a user postgres nor a user nobody",
            )
        })
}

const ROOT: u32 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\n\
                            ada:x:1000:1000::/home/ada:/bin/sh\n";

    #[test]
    fn an_ordinary_user_stays_itself() {
        let account = choose(1000, ACCOUNTS).expect("no switch is needed");
        assert_eq!((account.name.as_str(), account.uid(), account.is_other()), ("ada", 1000, false));
        assert_eq!(choose(4711, ACCOUNTS).expect("a user may have no name").name, "4711");
    }

    #[test]
    fn root_becomes_postgres_and_else_nobody() {
        let account = choose(0, ACCOUNTS).expect("nobody is there");
        assert_eq!(account.switch, Some((65534, 65533)));
        let with = format!("{ACCOUNTS}postgres:x:101:104::/var/lib/postgresql:/bin/bash\n");
        assert_eq!(choose(0, &with).expect("postgres is there").switch, Some((101, 104)));
    }

    #[test]
    fn root_alone_is_refused_with_a_sentence() {
        let refused =
            choose(0, "root:x:0:0::/root:/bin/sh\nbroken line\n").expect_err("nobody else is there");
        assert!(refused.to_string().contains("does not run as root"));
    }
}
