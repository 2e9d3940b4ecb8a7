//! What a stranger says first.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgweir::session::startup::Request;
use pgweir::wire::startup::{Packet, put_cancel, put_startup};

fuzz_target!(|bytes: &[u8]| {
    // The same in pieces: what is not there in full is no error, unless the whole is wrong as well.
    let whole = Packet::read(bytes);
    for cut in 0..bytes.len() {
        match Packet::read(&bytes[..cut]) {
            Ok(None) => {}
            piece => assert_eq!(piece, whole),
        }
    }
    let Ok(Some((packet, size))) = whole else { return };
    assert!((8..=bytes.len()).contains(&size));
    let mut built = Vec::new();
    match packet {
        Packet::Startup(startup) => {
            put_startup(&mut built, startup.parameters());
            let (again, all) = Packet::read(&built).expect("our own packet").expect("all of it");
            let Packet::Startup(again) = again else { panic!("{again:?} was a startup message") };
            assert_eq!(all, built.len());
            assert!(again.parameters().eq(startup.parameters()));
            if let Ok(request) = Request::read(&startup) {
                assert!(!request.user.is_empty() && !request.database.is_empty());
                assert!((4..=256).contains(&request.secret_size()));
            }
        }
        Packet::Cancel { process_id, secret } => {
            put_cancel(&mut built, process_id, secret);
            assert_eq!(built, bytes[..size]);
        }
        Packet::SslRequest | Packet::GssEncRequest | Packet::Unsupported { .. } => {}
    }
});
