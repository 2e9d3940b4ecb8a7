//! Lists of users with their secrets: PgBouncer's and pgpool-II's.

#![no_main]

use std::io::ErrorKind;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pgweir::auth::{Mock, Secret};
use pgweir::config::load_with;

fuzz_target!(|bytes: &[u8]| {
    for (main, text) in [("pgweir.toml", NATIVE), ("pgpool.conf", PGPOOL)] {
        let open = |path: &Path| match path.to_str() {
            Some("users") => Ok(bytes.to_vec()),
            Some(name) if name == main => Ok(text.as_bytes().to_vec()),
            _ => Err(ErrorKind::NotFound.into()),
        };
        match load_with(Path::new(main), &open) {
            Ok(loaded) => {
                assert!(
                    loaded.config.auth.users.keys().all(|user| !user.is_empty() || main == "pgweir.toml")
                );
                assert!(loaded.config.auth.users.values().all(|secret| !secret.is_empty()));
            }
            Err(errors) => assert!(errors.iter().all(|error| !error.to_string().is_empty())),
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for secret in [Secret::parse(text), Secret::parse_pool_passwd(text)].into_iter().flatten() {
        assert!(!secret.kind().is_empty());
        // Whoever is unknown looks like one of these.
        Mock::of([7; 32], [&secret]).verifier("nobody");
    }
});

const NATIVE: &str = "[auth]\nusers = \"users\"\n[[node]]\nhost = \"127.0.0.1\"\n";
const PGPOOL: &str = "backend_hostname0 = '127.0.0.1'\nbackend_port0 = 5432\npool_passwd = 'users'\n";
