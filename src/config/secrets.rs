//! The files that hold users' secrets: PgBouncer's user list and pgpool-II's pool_passwd.
//!
//! Text in, users out. What a secret means is `auth`'s business; here it is only told apart.

use std::collections::BTreeMap;

/// Users with their secrets as stored, and what is to be said about single lines.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Secrets {
    pub users: BTreeMap<String, String>,
    /// The line each user is on.
    pub lines: BTreeMap<String, usize>,
    /// Lines that cannot be split into a user and a secret.
    pub errors: Vec<(usize, String)>,
    pub warnings: Vec<(usize, String)>,
}

/// PgBouncer's format: `"user" "secret"` per line, quotes doubled inside, anything after the
/// second string ignored, comments behind `;` or `#`.
pub(super) fn user_list(text: &str) -> Secrets {
    let mut secrets = Secrets::default();
    for (number, line) in lines(text) {
        if line.starts_with([';', '#']) {
            continue;
        }
        let pair = quoted(line).and_then(|(user, rest)| {
            let (secret, _) = quoted(rest.trim_start())?;
            Some((user, secret))
        });
        match pair {
            Some((user, secret)) => secrets.add(number, user, secret, Twice::LastCounts),
            None => secrets.errors.push((
                number,
                "this line is not two strings in double quotes: write \"user\" \"secret\"".to_string(),
            )),
        }
    }
    secrets
}

/// pgpool-II's format: `user:secret` per line, where the secret is `md5…`, `TEXT` and a plain
/// password, or a plain password alone. `AES…` needs pgpool's key file and is left out.
pub(super) fn pool_passwd(text: &str) -> Secrets {
    let mut secrets = Secrets::default();
    for (number, line) in lines(text) {
        if line.starts_with('#') {
            continue;
        }
        match line.split_once(':') {
            None | Some(("", _)) => secrets.errors.push((
                number,
                "this line is not user:secret: write the user, a colon and the secret".to_string(),
            )),
            Some((user, secret)) if is_aes(secret) => {
                secrets.warnings.push((number, aes_refused(user)));
            }
            Some((user, secret)) => {
                let secret = secret.strip_prefix("TEXT").unwrap_or(secret);
                secrets.add(number, user.to_string(), secret.to_string(), Twice::FirstCounts);
            }
        }
    }
    secrets
}

/// Whether the secret is `md5` and 32 hex digits, as PostgreSQL stores it.
pub(super) fn is_md5(secret: &str) -> bool {
    secret
        .strip_prefix("md5")
        .is_some_and(|hex| hex.len() == 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether the secret is a SCRAM one, as PostgreSQL stores it: it proves clients, but nobody can
/// log in with it.
pub(super) fn is_scram(secret: &str) -> bool {
    secret.starts_with("SCRAM-SHA-256$")
}

/// Whether the secret is encrypted with pgpool's key file.
pub(super) fn is_aes(secret: &str) -> bool {
    secret.strip_prefix("AES").is_some_and(|text| {
        // Base64 of whole cipher blocks, so that a plain password that only starts alike stays one.
        text.len() >= 24
            && text.len().is_multiple_of(4)
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    })
}

/// Which line of a user that stands there twice is taken, as the owner of the format has it.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Twice {
    FirstCounts,
    LastCounts,
}

impl Secrets {
    fn add(&mut self, line: usize, user: String, secret: String, twice: Twice) {
        if secret.is_empty() {
            let text = format!("user {user:?} has an empty secret and cannot log in with it");
            self.warnings.push((line, text));
            return;
        }
        if let Some(first) = self.lines.get(&user) {
            let counts = match twice {
                Twice::FirstCounts => *first,
                Twice::LastCounts => line,
            };
            let text = format!("user {user:?} stands on line {first} already; line {counts} counts");
            self.warnings.push((line, text));
            if twice == Twice::FirstCounts {
                return;
            }
        }
        self.lines.insert(user.clone(), line);
        self.users.insert(user, secret);
    }
}

/// The lines that hold something, numbered from 1. Only the line's end is cut off the right: a
/// password may end in a blank.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim_start()))
        .filter(|(_, line)| !line.trim_end().is_empty())
}

/// A string in double quotes at the start of `text`, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut string = String::new();
    loop {
        let end = rest.find('"')?;
        string.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                string.push('"');
                rest = after;
            }
            None => return Some((string, rest)),
        }
    }
}

fn aes_refused(user: &str) -> String {
    format!(
        "the AES secret of user {user:?} is left out, because reading it takes pgpool's key file: \
         write {user}:TEXT and the password, or the md5 secret, and keep the file private"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MD5: &str = "md50123456789abcdef0123456789ABCDEF";

    #[test]
    fn a_user_list_is_pairs_of_quoted_strings() {
        let text = format!(
            "; comment\n# comment\n\n\"ann\" \"plain\"\r\n  \"b o b\"\t\"{MD5}\" rest\n\
             \"q\"\"q\" \"s\"\"s\"\n\"cid\"\"\" \"SCRAM-SHA-256$4096:c2FsdA==$a:b\"\n"
        );
        let secrets = user_list(&text);
        let users: Vec<(&str, &str)> =
            secrets.users.iter().map(|(user, secret)| (user.as_str(), secret.as_str())).collect();
        assert_eq!(
            users,
            [
                ("ann", "plain"),
                ("b o b", MD5),
                ("cid\"", "SCRAM-SHA-256$4096:c2FsdA==$a:b"),
                ("q\"q", "s\"s"),
            ]
        );
        assert_eq!(secrets.lines["b o b"], 5);
        assert!(secrets.errors.is_empty() && secrets.warnings.is_empty());
    }

    #[test]
    fn a_line_that_cannot_be_split_is_an_error_with_its_number() {
        for line in ["ann plain", "\"ann\"", "\"ann\" plain", "\"ann \"x"] {
            let secrets = user_list(&format!("\n{line}\n"));
            assert_eq!(secrets.errors.len(), 1, "{line}");
            assert_eq!(secrets.errors[0].0, 2);
        }
        for line in ["ann", ":plain"] {
            let secrets = pool_passwd(&format!("bob:x\n{line}\n"));
            assert_eq!(secrets.errors.len(), 1, "{line}");
            assert_eq!(secrets.errors[0].0, 2);
        }
    }

    #[test]
    fn pool_passwd_has_four_forms() {
        let text = format!(
            "md:{MD5}\ntext:TEXTse:cret\nplain:pass word \naes:AES{}\naesthete:AESthetic\n",
            "A".repeat(24)
        );
        let secrets = pool_passwd(&text);
        assert_eq!(secrets.users["md"], MD5);
        assert_eq!(secrets.users["text"], "se:cret");
        assert_eq!(secrets.users["plain"], "pass word ");
        assert_eq!(secrets.users["aesthete"], "AESthetic");
        assert!(!secrets.users.contains_key("aes"));
        assert_eq!(secrets.warnings.len(), 1);
        assert_eq!(secrets.warnings[0].0, 4);
        assert!(secrets.warnings[0].1.contains("write aes:TEXT"));
    }

    #[test]
    fn one_line_of_a_user_counts_and_an_empty_secret_does_not() {
        let secrets = pool_passwd("a:1\na:2\nb:\n");
        assert_eq!(secrets.users["a"], "1");
        assert_eq!(secrets.warnings.len(), 2);
        let secrets = user_list("\"a\" \"1\"\n\"a\" \"2\"\n\"b\" \"\"\n");
        assert_eq!(secrets.users["a"], "2");
        assert_eq!(secrets.users.len(), 1);
        let lines: Vec<usize> = secrets.warnings.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3]);
    }

    #[test]
    fn forms_are_told_apart() {
        assert!(is_md5(MD5));
        assert!(!is_md5("md5short") && !is_md5(&MD5.replace('0', "g")));
        assert!(is_scram("SCRAM-SHA-256$4096:x$y:z") && !is_scram("SCRAM"));
    }

    proptest! {
        #[test]
        fn what_is_written_by_the_rules_reads_back(
            user in "[^\\r\\n]{1,12}",
            secret in "[^\\r\\n]{1,12}",
        ) {
            let quote = |text: &str| text.replace('"', "\"\"");
            let line = format!("\"{}\" \"{}\"", quote(&user), quote(&secret));
            let read = user_list(&line);
            prop_assert_eq!(read.users.get(&user), Some(&secret));
        }

        #[test]
        fn nothing_panics(text in "(?s).{0,200}") {
            user_list(&text);
            pool_passwd(&text);
        }
    }
}
