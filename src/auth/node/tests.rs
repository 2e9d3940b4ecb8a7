//! Logins against scripted nodes.

use proptest::prelude::*;

use super::*;
use crate::auth::scram::{ExpectClientFinal, ExpectClientFirst, derive};

fn login(secret: Option<Secret>, keys: Option<SaltedKeys>) -> Login {
    Login::new("bob", Credentials { secret, keys }, Nonce::from_random([1; 18]))
}

fn plain() -> Option<Secret> {
    Some(Secret::Plain("secret".into()))
}

fn sent(step: Step) -> Answer {
    match step {
        Step::Send(answer) => answer,
        other => panic!("{other:?}"),
    }
}

fn verifier() -> Verifier {
    derive(b"secret", b"salt", 3).verifier(b"salt", 3)
}

/// The node's half of SCRAM, as our own code towards clients plays it.
fn node_challenge(answer: &Answer, verifier: &Verifier) -> (Vec<u8>, ExpectClientFinal) {
    assert_eq!(answer.kind, AnswerKind::SaslInitialResponse);
    ExpectClientFirst::new().handle(&answer.body, &Nonce::from_random([2; 18]), verifier).unwrap()
}

#[test]
fn trust_needs_nothing() {
    let mut login = login(None, None);
    assert!(matches!(login.handle(0, b""), Ok(Step::Done)));
    assert!(login.handle(0, b"").is_err(), "once");
}

#[test]
fn cleartext() {
    let mut login = login(plain(), None);
    let answer = sent(login.handle(3, b"").unwrap());
    assert_eq!((answer.kind, answer.body.as_slice()), (AnswerKind::Password, &b"secret\0"[..]));
    assert!(matches!(login.handle(0, b""), Ok(Step::Done)));
}

#[test]
fn md5_from_plain_and_from_hash() {
    let inner = md5::hash(b"secret", "bob");
    let expected = [&md5::response(&inner, [9, 8, 7, 6])[..], b"\0"].concat();
    for secret in [plain(), Some(Secret::Md5(inner))] {
        let mut login = login(secret, None);
        let answer = sent(login.handle(5, &[9, 8, 7, 6]).unwrap());
        assert_eq!((answer.kind, &answer.body), (AnswerKind::Password, &expected));
        assert!(matches!(login.handle(0, b""), Ok(Step::Done)));
    }
    assert!(matches!(login(plain(), None).handle(5, &[1, 2, 3]), Err(NodeError::Misbehaved(_))));
}

#[test]
fn scram_derives_and_the_next_login_need_not() {
    let mut first = login(plain(), None);
    let answer = sent(first.handle(10, scram::MECHANISMS).unwrap());
    let (challenge, expect) = node_challenge(&answer, &verifier());
    let Step::NeedKeys { salt, iterations } = first.handle(11, &challenge).unwrap() else { panic!() };
    assert_eq!(first.password(), Some("secret"));
    let keys = derive(b"secret", &salt, iterations);
    let answer = sent(first.provide(&keys).unwrap());
    assert_eq!(answer.kind, AnswerKind::SaslResponse);
    let (server_final, client_key) = expect.handle(&answer.body).unwrap();
    assert!(matches!(first.handle(12, &server_final), Ok(Step::Wait)));
    assert!(matches!(first.handle(0, b""), Ok(Step::Done)));

    // With the same keys kept, or learned from a client's proof without any password: no derivation.
    let kept = SaltedKeys { salt, iterations, keys };
    let learned = SaltedKeys::learned(&verifier(), client_key).unwrap();
    for (secret, keys) in [(plain(), kept), (Some(Secret::Scram(verifier())), learned)] {
        let mut next = login(secret, Some(keys));
        let answer = sent(next.handle(10, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0").unwrap());
        let (challenge, expect) = node_challenge(&answer, &verifier());
        let answer = sent(next.handle(11, &challenge).unwrap());
        let (server_final, _) = expect.handle(&answer.body).unwrap();
        assert!(matches!(next.handle(12, &server_final), Ok(Step::Wait)));
        assert!(matches!(next.handle(0, b""), Ok(Step::Done)));
    }
}

#[test]
fn a_key_that_is_not_the_verifiers_is_not_learned() {
    assert!(SaltedKeys::learned(&verifier(), [0; 32]).is_none());
}

#[test]
fn keys_for_another_salt_are_derived_anew_or_the_operator_is_told() {
    let other = derive(b"secret", b"other salt", 3);
    let stale = || Some(SaltedKeys { salt: b"other salt".to_vec(), iterations: 3, keys: other.clone() });
    let challenge_of = |login: &mut Login| {
        let answer = sent(login.handle(10, scram::MECHANISMS).unwrap());
        node_challenge(&answer, &verifier()).0
    };
    let mut with_password = login(plain(), stale());
    let challenge = challenge_of(&mut with_password);
    assert!(matches!(with_password.handle(11, &challenge), Ok(Step::NeedKeys { iterations: 3, .. })));
    let mut without = login(Some(Secret::Scram(verifier())), stale());
    let challenge = challenge_of(&mut without);
    assert_eq!(without.handle(11, &challenge).unwrap_err(), NodeError::SecretDiffers { user: "bob".into() });
}

#[test]
fn a_node_that_skips_its_own_proof_is_refused() {
    // Ok after our first message, while keys are wanted, and after our proof.
    let mut login1 = login(plain(), None);
    sent(login1.handle(10, scram::MECHANISMS).unwrap());
    assert_eq!(login1.handle(0, b"").unwrap_err(), NodeError::Impostor);

    let mut login2 = login(plain(), None);
    let answer = sent(login2.handle(10, scram::MECHANISMS).unwrap());
    let (challenge, _) = node_challenge(&answer, &verifier());
    login2.handle(11, &challenge).unwrap();
    assert_eq!(login2.handle(0, b"").unwrap_err(), NodeError::Impostor);

    let mut login3 = login(plain(), None);
    let answer = sent(login3.handle(10, scram::MECHANISMS).unwrap());
    let (challenge, _) = node_challenge(&answer, &verifier());
    login3.handle(11, &challenge).unwrap();
    sent(login3.provide(&derive(b"secret", b"salt", 3)).unwrap());
    assert_eq!(login3.handle(0, b"").unwrap_err(), NodeError::Impostor);
}

#[test]
fn every_refusal_says_what_to_change() {
    let md5 = || Some(Secret::Md5([b'0'; 32]));
    let scram = || Some(Secret::Scram(verifier()));
    let empty = || Some(Secret::Plain(String::new()));
    for (secret, code, body, part) in [
        (
            plain(),
            7,
            &b""[..],
            "node asks for GSSAPI, which pgweir does not speak: change pg_hba.conf of the node to scram-sha-256",
        ),
        (plain(), 9, b"", "asks for SSPI"),
        (plain(), 2, b"", "asks for Kerberos V5"),
        (plain(), 6, b"", "asks for SCM credentials"),
        (plain(), 10, b"SCRAM-SHA-256-PLUS\0\0", "channel binding only"),
        (plain(), 10, b"OAUTHBEARER\0\0", "asks for OAuth"),
        (plain(), 10, b"X\0\0", "other than SCRAM-SHA-256"),
        (None, 3, b"", "clear text and the user list holds no password for \"bob\""),
        (empty(), 3, b"", "clear text and the user list holds no password for \"bob\""),
        (md5(), 3, b"", "holds an md5 secret"),
        (scram(), 3, b"", "holds a SCRAM secret"),
        (None, 5, b"salt", "an MD5 response and the user list holds no password"),
        (scram(), 5, b"salt", "an MD5 response and the user list holds a SCRAM secret"),
        (md5(), 10, scram::MECHANISMS, "asks for SCRAM-SHA-256 and the user list holds an md5 secret"),
        (scram(), 10, scram::MECHANISMS, "use that method for them"),
    ] {
        let mut login = login(secret, None);
        let error = login.handle(code, body).expect_err(part);
        assert!(error.to_string().contains(part), "{error}");
        assert_eq!((error.fault(), error.sqlstate()), (Fault::Configuration, "28000"), "{error}");
        assert!(login.handle(0, b"").is_err(), "nothing comes after an error");
    }
}

#[test]
fn nodes_that_break_the_protocol() {
    for (code, body) in [
        (0, &b"x"[..]),
        (1, b""),
        (3, b"x"),
        (5, b"12345"),
        (8, b""),
        (10, b""),
        (10, b"\0"),
        (10, b"\0\0"),
        (10, b"SCRAM-SHA-256\0"),
        (10, b"SCRAM-SHA-256"),
        (10, b"SCRAM-SHA-256\0\0x\0\0"),
        (11, b"r=x"),
        (12, b"v="),
        (u32::MAX, b""),
    ] {
        let error = login(plain(), None).handle(code, body).expect_err("broken");
        assert_eq!((error.fault(), error.sqlstate()), (Fault::Node, "08P01"), "{code} {body:?} {error}");
    }
    let mut twice = login(plain(), None);
    twice.handle(3, b"").unwrap();
    assert!(matches!(twice.handle(3, b""), Err(NodeError::Misbehaved(_))), "the password is sent once");
}

#[test]
fn keys_nobody_asked_for_change_nothing() {
    let keys = derive(b"x", b"y", 1);
    let mut login = login(plain(), None);
    assert_eq!(login.provide(&keys).unwrap_err(), NodeError::NotAsked);
    assert_eq!(NodeError::NotAsked.fault(), Fault::Bug);
    assert!(matches!(login.handle(0, b""), Ok(Step::Done)));
}

#[test]
fn nothing_secret_is_printed() {
    let mut login =
        login(plain(), Some(SaltedKeys { salt: vec![], iterations: 1, keys: derive(b"x", b"y", 1) }));
    let step = login.handle(3, b"").unwrap();
    let shown = format!("{login:?} {step:?}");
    assert!(!shown.contains("secret\"") && !shown.contains("115, 101"), "{shown}");
}

proptest! {
    /// Whatever a node sends after SASL began, it never gets a Done without having proven itself.
    #[test]
    fn no_sequence_of_garbage_logs_in(
        messages in proptest::collection::vec((0u32..13, proptest::collection::vec(any::<u8>(), 0..60)), 1..6)
    ) {
        let mut login = login(plain(), None);
        sent(login.handle(10, scram::MECHANISMS).unwrap());
        for (code, body) in messages {
            match login.handle(code, &body) {
                Ok(Step::Done) => prop_assert!(false, "logged in"),
                Ok(Step::NeedKeys { .. }) => {
                    login.provide(&Keys { client_key: [1; 32], server_key: [2; 32] }).unwrap();
                }
                Ok(Step::Send(_) | Step::Wait) | Err(_) => {}
            }
        }
    }
}
