//! A `pgweir.toml`.

#![no_main]

use std::io::ErrorKind;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pgweir::config::{Passwords, changes, load_with};

fuzz_target!(|text: &[u8]| {
    let open = |text: Vec<u8>| {
        move |path: &Path| match path.to_str() {
            Some("pgweir.toml") => Ok(text.clone()),
            Some("users") => Ok(b"\"someone\" \"secret\"\n".to_vec()),
            _ => Err(ErrorKind::NotFound.into()),
        }
    };
    let load = |text| load_with(Path::new("pgweir.toml"), &open(text));
    match load(text.to_vec()) {
        Ok(loaded) => {
            assert!(!loaded.config.nodes.is_empty());
            loaded.report.to_string();
            // What is printed means the same.
            let printed = loaded.config.to_toml(Passwords::Written);
            let again = load(printed.clone().into_bytes());
            let again = again.unwrap_or_else(|errors| panic!("{errors}\n{printed}"));
            assert_eq!(changes(&loaded.config, &again.config), [], "{printed}");
        }
        Err(errors) => assert!(errors.iter().all(|error| !error.to_string().is_empty())),
    }
});
