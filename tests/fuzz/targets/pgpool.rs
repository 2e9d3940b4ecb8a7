//! A `pgpool.conf` in its folder, with files that it may include.

#![no_main]

use std::io::ErrorKind;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use pgweir::config::load_with;

fuzz_target!(|text: &[u8]| {
    let open = |path: &Path| match path.to_str() {
        Some("pgpool.conf") => Ok(text.to_vec()),
        Some("more.conf") => Ok(b"port = 5433\n".to_vec()),
        Some("pool_passwd") => Ok(b"someone:TEXTsecret\n".to_vec()),
        Some("pool_hba.conf") => Ok(b"host all all 0.0.0.0/0 scram-sha-256\n".to_vec()),
        _ => Err(ErrorKind::NotFound.into()),
    };
    match load_with(Path::new("pgpool.conf"), &open) {
        Ok(loaded) => {
            assert!(!loaded.config.nodes.is_empty());
            loaded.report.to_string();
        }
        Err(errors) => assert!(errors.iter().all(|error| !error.to_string().is_empty())),
    }
});
