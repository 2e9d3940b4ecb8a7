//! From a checked configuration to what shards work by: the texts that `auth` understands are read here, once.

use std::collections::HashMap;

use crate::auth::hba::Hba;
use crate::auth::{Mock, Secret};
use crate::config::Config;
use crate::door::Policy;

/// Reads the secrets and the hba file. `seed` is what [`Mock`] draws the looks of unknown users from; the same again
/// after a reload.
///
/// # Errors
///
/// One sentence per wrong secret or line, with its file.
pub fn policy(config: Config, seed: [u8; 32]) -> Result<Policy, Vec<String>> {
    let mut errors = Vec::new();
    let mut secrets = HashMap::with_capacity(config.auth.users.len());
    for (user, text) in &config.auth.users {
        match Secret::parse(text) {
            Ok(secret) => {
                secrets.insert(user.clone(), secret);
            }
            Err(error) => {
                let file = config.auth.users_file.as_ref();
                let file = file.map_or_else(|| "the user list".to_owned(), |file| file.display().to_string());
                errors.push(format!("{file}: user \"{user}\": {error}"));
            }
        }
    }
    let hba = config.auth.hba.as_ref().and_then(|source| {
        let parsed = Hba::parse(&source.text, &source.path.display().to_string());
        parsed.map_err(|wrong| errors.extend(wrong.iter().map(ToString::to_string))).ok()
    });
    if let Some(text) = &config.monitor.password
        && let Err(error) = Secret::parse(text)
    {
        errors.push(format!("[monitor] password: {error}"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let mock = Mock::of(seed, secrets.values());
    Ok(Policy { config, secrets, hba, mock })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HbaSource;

    #[test]
    fn all_wrong_secrets_and_lines_are_told_with_their_files() {
        let mut config = Config::default();
        config.auth.users.insert("ann".into(), "SCRAM-SHA-256$nonsense".into());
        config.auth.users.insert("bob".into(), "plain".into());
        config.auth.users_file = Some("users.txt".into());
        config.auth.hba =
            Some(HbaSource { path: "hba.conf".into(), text: "local all all trust\nnonsense\n".into() });
        let errors = policy(config.clone(), [0; 32]).expect_err("two are wrong");
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("users.txt: user \"ann\": "), "{}", errors[0]);
        assert!(errors[1].starts_with("hba.conf:2: "), "{}", errors[1]);
        config.auth.users.remove("ann");
        config.auth.hba = None;
        let policy = policy(config, [0; 32]).expect("all are right");
        assert_eq!(policy.secrets.len(), 1);
    }
}
