//! What authentication costs a shard: both halves of a client's SCRAM login (a few HMACs), for a known and an unknown
//! user; and what it must never cost a shard: PBKDF2.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pgweir::auth::scram::{self, ClientFirst, ExpectClientFirst, Nonce, Verifier};
use pgweir::auth::{Mock, md5};

fn verify(c: &mut Criterion) {
    let keys = scram::derive(b"pencil", b"0123456789abcdef", 4096);
    let verifier = keys.verifier(b"0123456789abcdef", 4096);
    let mock = Mock::new([7; 32]);

    // The client's side is played once: it cannot be played without the challenge, which is the same every time.
    let client = ClientFirst::new(Nonce::from_random([1; 18]));
    let message = client.message();
    let mut first = b"SCRAM-SHA-256\0".to_vec();
    first.extend_from_slice(&(message.len() as u32).to_be_bytes());
    first.extend_from_slice(&message);
    let server_nonce = Nonce::from_random([2; 18]);
    let (challenge, _) = begin(&first, &server_nonce, &verifier);
    let (last, _) = client.handle_server_first(&challenge).expect("our own challenge").answer(&keys);

    c.bench_function("scram verify, known user", |b| {
        b.iter(|| {
            let (_, expect) =
                begin(black_box(&first), &server_nonce, &mock.verifier_or(Some(&verifier), "somebody"));
            expect.handle(black_box(&last)).is_ok()
        });
    });
    c.bench_function("scram verify, unknown user", |b| {
        b.iter(|| {
            let (_, expect) = begin(black_box(&first), &server_nonce, &mock.verifier_or(None, "nobody"));
            expect.handle(black_box(&last)).is_ok()
        });
    });
    c.bench_function("md5 verify, unknown user", |b| {
        b.iter(|| md5::verify(None, black_box("nobody"), [1, 2, 3, 4], &[b'0'; 35], &mock));
    });
    c.bench_function("scram derive, 4096 iterations (never on a shard)", |b| {
        b.iter(|| scram::derive(black_box(b"pencil"), b"0123456789abcdef", 4096));
    });
}

fn begin(first: &[u8], nonce: &Nonce, verifier: &Verifier) -> (Vec<u8>, scram::ExpectClientFinal) {
    ExpectClientFirst::new().handle(first, nonce, verifier).expect("our own first message")
}

criterion_group!(benches, verify);
criterion_main!(benches);
