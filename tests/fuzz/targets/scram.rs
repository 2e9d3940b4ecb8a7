//! Messages of SCRAM and of every other way to log in, from clients and from nodes; also exchanges that go well until
//! a byte is changed.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use pgweir::auth::node::{Credentials, Login, Step};
use pgweir::auth::scram::{ClientFirst, ExpectClientFirst, Keys, Nonce, Verifier};
use pgweir::auth::{ClientError, NodeError, Secret};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    first: &'a [u8],
    last: &'a [u8],
    /// Codes and bodies of a node's requests.
    requests: Vec<(u8, &'a [u8])>,
    text: &'a str,
    /// Which message is changed, where and by what.
    change: (u8, u16, u8),
}

fuzz_target!(|input: Input<'_>| {
    let keys = Keys { client_key: [1; 32], server_key: [2; 32] };
    let verifier = keys.verifier(b"0123456789abcdef", 4096);
    let nonce = |byte| Nonce::from_random([byte; 18]);

    if let Ok((_, expect)) = ExpectClientFirst::new().handle(input.first, &nonce(3), &verifier) {
        // The proof of somebody who has neither password nor keys.
        assert!(expect.handle(input.last).is_err());
    }

    let credentials = Credentials { secret: Secret::parse("secret").ok(), ..Credentials::default() };
    let mut login = Login::new("someone", credentials, nonce(4));
    for (code, body) in &input.requests {
        let step = match login.handle(u32::from(*code), body) {
            Ok(Step::NeedKeys { iterations, .. }) => {
                assert!((1..=10_000_000).contains(&iterations));
                login.provide(&keys)
            }
            step => step,
        };
        if step.is_err() {
            // It stays over.
            assert!(login.handle(0, b"").is_err());
            break;
        }
    }

    if let Ok(verifier) = Verifier::parse(input.text) {
        assert_eq!(Verifier::parse(&verifier.to_string()).ok(), Some(verifier));
    }
    if let Some(nonce) = Nonce::from_text(input.text) {
        assert!(!input.text.is_empty());
        let _ = ClientFirst::new(nonce).message();
    }

    exchange(&keys, &verifier, input.change);
});

/// An exchange of two honest sides over a line that changes at most one byte: it goes well only if nothing was changed.
fn exchange(keys: &Keys, verifier: &Verifier, (which, place, by): (u8, u16, u8)) {
    let mut changed = false;
    let mut pass = |number: u8, mut message: Vec<u8>| {
        if which == number && !message.is_empty() && by != 0 {
            let place = usize::from(place) % message.len();
            message[place] ^= by;
            changed = true;
        }
        message
    };
    let client = ClientFirst::new(Nonce::from_random([5; 18]));
    let data = pass(0, client.message());
    let length = (data.len() as u32).to_be_bytes();
    let body = [b"SCRAM-SHA-256\0".as_slice(), &length, &data].concat();
    let server = ExpectClientFirst::new().handle(&body, &Nonce::from_random([6; 18]), verifier);
    let Ok((server_first, server)) = server else { return assert!(changed) };
    let Ok(challenge) = client.handle_server_first(&pass(1, server_first)) else { return assert!(changed) };
    let (client_last, client) = challenge.answer(keys);
    let answered: Result<_, ClientError> = server.handle(&pass(2, client_last));
    let Ok((server_last, client_key)) = answered else { return assert!(changed) };
    assert_eq!(client_key, keys.client_key);
    let ended: Result<(), NodeError> = client.handle(&pass(3, server_last));
    assert_eq!(ended.is_ok(), !changed);
}
