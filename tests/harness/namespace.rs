//! A program that finds another file in place of one of the machine's, such as `/etc/hosts`.

use std::path::Path;
use std::process::{Command, Stdio};

/// A mount namespace (mount_namespaces(7)), made anew for each program that is started in it. The rest of the machine
/// does not notice.
#[derive(Clone, Debug)]
pub struct Namespace {
    words: Vec<String>,
}

impl Namespace {
    /// One in which `file` is what lies at `place`. What is written into it later is seen there, too.
    ///
    /// `None` where this user may not make one: the reason is printed, and the test had better end.
    pub fn with(file: &Path, place: &str) -> Option<Self> {
        let mount = "mount --bind \"$0\" \"$1\" && shift && exec \"$@\"";
        let file = file.display().to_string();
        let mut failure = String::new();
        // Whoever is not root has to become it in a namespace of users first.
        for flags in [&["--mount"][..], &["--mount", "--map-root-user"]] {
            let rest = ["sh", "-c", mount, &file, place];
            let words = ["unshare"].iter().chain(flags).chain(&rest).map(|word| (*word).to_owned());
            let words: Vec<String> = words.collect();
            match Command::new(&words[0]).args(&words[1..]).arg("true").stdin(Stdio::null()).output() {
                Ok(tried) if tried.status.success() => return Some(Self { words }),
                Ok(tried) => failure = String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
                Err(error) => failure = error.to_string(),
            }
        }
        eprintln!("skipped: no mount namespace with another {place}: {failure}");
        None
    }

    /// What comes before a program and its arguments, on a command line that becomes that program.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}
