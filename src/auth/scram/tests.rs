//! Both ends against the RFCs' examples, against each other, and against hostile peers.

use proptest::prelude::*;

use super::*;
use crate::auth::{ClientError, Mock, NodeError};

/// RFC 7677 section 3.
const RFC_SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
const RFC_CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
const RFC_SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const RFC_CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const RFC_SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const RFC_CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const RFC_SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

/// PostgreSQL's text form of the example's secret. Computed apart from this code, with Python's hashlib.
const RFC_VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                            wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn rfc_keys() -> Keys {
    derive(b"pencil", &BASE64_STANDARD.decode(RFC_SALT).unwrap(), 4096)
}

/// What a server stores of it. Read rather than derived: properties need it many times.
fn rfc_verifier() -> Verifier {
    Verifier::parse(RFC_VERIFIER).unwrap()
}

fn nonce(text: &str) -> Nonce {
    Nonce::from_text(text).unwrap()
}

/// A SASLInitialResponse for SCRAM-SHA-256 around `message`.
fn initial(message: &[u8]) -> Vec<u8> {
    [b"SCRAM-SHA-256\0", &(message.len() as i32).to_be_bytes()[..], message].concat()
}

fn first(message: &str) -> Result<(Vec<u8>, ExpectClientFinal), ClientError> {
    ExpectClientFirst::new().handle(&initial(message.as_bytes()), &nonce(RFC_SERVER_NONCE), &rfc_verifier())
}

fn finish(first_message: &str, last: &str) -> Result<(Vec<u8>, [u8; 32]), ClientError> {
    first(first_message).unwrap().1.handle(last.as_bytes())
}

#[test]
fn rfc_7677_example_as_the_server() {
    let (server_first, expect) = first(RFC_CLIENT_FIRST).unwrap();
    assert_eq!(String::from_utf8(server_first).unwrap(), RFC_SERVER_FIRST);
    let (server_final, client_key) = expect.handle(RFC_CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(String::from_utf8(server_final).unwrap(), RFC_SERVER_FINAL);
    assert_eq!(client_key, rfc_keys().client_key);
}

#[test]
fn rfc_7677_example_as_the_client() {
    let client = ClientFirst::with_user("user", nonce(RFC_CLIENT_NONCE));
    assert_eq!(client.message(), RFC_CLIENT_FIRST.as_bytes());
    let challenge = client.handle_server_first(RFC_SERVER_FIRST.as_bytes()).unwrap();
    assert_eq!(BASE64_STANDARD.encode(&challenge.salt), RFC_SALT);
    assert_eq!(challenge.iterations, 4096);
    let (message, expect) = challenge.answer(&rfc_keys());
    assert_eq!(String::from_utf8(message).unwrap(), RFC_CLIENT_FINAL);
    assert_eq!(expect.handle(RFC_SERVER_FINAL.as_bytes()), Ok(()));
}

#[test]
fn verifier_text_form() {
    let derived = rfc_keys().verifier(&BASE64_STANDARD.decode(RFC_SALT).unwrap(), 4096);
    assert_eq!(derived, rfc_verifier());
    assert_eq!(derived.to_string(), RFC_VERIFIER);
    assert!(Verifier::parse("pencil").is_err());
}

#[test]
fn nothing_secret_is_printed() {
    let (_, expect) = first(RFC_CLIENT_FIRST).unwrap();
    let shown = format!("{:?} {:?} {:?} {:?}", rfc_keys(), rfc_verifier(), expect, nonce("abc"));
    assert_eq!(shown, "Keys(..) Verifier { iterations: 4096, .. } ExpectClientFinal(..) Nonce(..)");
}

#[test]
fn flags_of_channel_binding() {
    // A proof over "y,," needs its own computation: only "p" is refused, and the two others must come back in c=.
    assert!(first("y,,n=,r=abc").is_ok());
    let wrong = |first_message: &str, binding: &str| {
        finish(
            first_message,
            &format!("c={binding},r=abc{RFC_SERVER_NONCE},p={}", BASE64_STANDARD.encode([0; 32])),
        )
    };
    let differs = ClientError::Malformed("the channel binding differs from the first message's");
    assert_eq!(wrong("n,,n=,r=abc", "eSws"), Err(differs));
    assert_eq!(wrong("y,,n=,r=abc", "biws"), Err(differs));
    assert_eq!(wrong("n,,n=,r=abc", "cD10bHMtdW5pcXVlLCw="), Err(differs));
    assert_eq!(wrong("n,,n=,r=abc", "biws"), Err(ClientError::WrongPassword));
    assert_eq!(wrong("y,,n=,r=abc", "eSws"), Err(ClientError::WrongPassword));
}

#[test]
fn first_messages_that_are_refused() {
    for (message, sqlstate) in [
        ("", "08P01"),
        ("n", "08P01"),
        ("n,", "08P01"),
        ("n,,", "08P01"),
        ("n,,n=", "08P01"),
        ("n,,n=,r=", "08P01"),
        ("n,,r=abc", "08P01"),
        ("n,,n=,x=1,r=abc", "08P01"),
        ("n,,n=,r=a b", "08P01"),
        ("n,,n=,r=abc,x", "08P01"),
        ("n,,n=,r=é", "08P01"),
        ("n,,n=\0,r=abc", "08P01"),
        ("x,,n=,r=abc", "08P01"),
        ("nn,,n=,r=abc", "08P01"),
        ("p=tls-server-end-point,,n=,r=abc", "08P01"),
        ("p=tls-unique,,n=,r=abc", "08P01"),
        ("n,a=admin,n=,r=abc", "0A000"),
        ("n,,m=ext,n=,r=abc", "0A000"),
        ("n,,n=,r=abc,m=ext", "0A000"),
    ] {
        let error = first(message).map(drop).expect_err(message);
        assert_eq!(error.sqlstate(), sqlstate, "{message}: {error}");
    }
    let long = format!("n,,n=,r=abc,x={}", "x".repeat(CLIENT_MESSAGE_MAX));
    assert!(matches!(
        first(&long),
        Err(ClientError::Malformed("the SCRAM message is longer than 1024 bytes"))
    ));
    // An unknown extension that need not be understood is passed over, and so is the name.
    assert!(first("n,,n=whoever,r=abc,x=1,y=").is_ok());
}

#[test]
fn lengths_of_the_initial_response() {
    let handle = |body: &[u8]| {
        ExpectClientFirst::new()
            .handle(body, &nonce(RFC_SERVER_NONCE), &rfc_verifier())
            .map(drop)
            .unwrap_err()
    };
    let with_length = |length: i32| [b"SCRAM-SHA-256\0", &length.to_be_bytes()[..], b"n,,n=,r=abc"].concat();
    for length in [0, 10, 12, i32::MAX, i32::MIN, -2] {
        assert_eq!(
            handle(&with_length(length)),
            ClientError::Malformed("the length of the SASL data is wrong"),
            "{length}"
        );
    }
    assert_eq!(handle(&with_length(-1)), ClientError::Malformed("the SASL response holds no SCRAM message"));
    assert_eq!(
        handle(b"SCRAM-SHA-256\0\0\0"),
        ClientError::Malformed("the length of the SASL data is missing")
    );
    assert_eq!(handle(b"SCRAM-SHA-256"), ClientError::Malformed("the name of the SASL mechanism has no end"));
    assert_eq!(handle(b"SCRAM-SHA-256-PLUS\0\0\0\0\0"), ClientError::Mechanism);
    assert_eq!(handle(b"\0\0\0\0\0"), ClientError::Mechanism);
    assert_eq!(handle(b""), ClientError::Malformed("the name of the SASL mechanism has no end"));
}

#[test]
fn last_messages_that_are_refused() {
    let nonce = format!("{RFC_CLIENT_NONCE}{RFC_SERVER_NONCE}");
    let proof = BASE64_STANDARD.encode([0; 32]);
    for (message, sqlstate) in [
        (String::new(), "08P01"),
        ("c=biws".into(), "08P01"),
        (format!("r={nonce},p={proof}"), "08P01"),
        (format!("c=biws,p={proof}"), "08P01"),
        (format!("c=biws,r={nonce}"), "08P01"),
        (format!("c=biws,r={nonce},p="), "08P01"),
        (format!("c=biws,r={nonce},p={}", BASE64_STANDARD.encode([0; 31])), "08P01"),
        (format!("c=biws,r={nonce},p={}", BASE64_STANDARD.encode([0; 33])), "08P01"),
        (format!("c=biws,r={nonce},p={proof},x=1"), "08P01"),
        (format!("c=biws,r={nonce}x,p={proof}"), "08P01"),
        (format!("c=biws,r={RFC_CLIENT_NONCE},p={proof}"), "08P01"),
        (format!("c=biws,r={RFC_SERVER_NONCE},p={proof}"), "08P01"),
        (format!("c=biws,r={nonce},m=1,p={proof}"), "0A000"),
        (format!("c=biws,r={nonce},p={proof}"), "28P01"),
        (format!("c=biws,r={nonce},x=1,p={proof}"), "28P01"),
        (format!("c=biws,r={nonce},x={},p={proof}", "x".repeat(CLIENT_MESSAGE_MAX)), "08P01"),
    ] {
        let error = finish(RFC_CLIENT_FIRST, &message).expect_err(&message);
        assert_eq!(error.sqlstate(), sqlstate, "{message}: {error}");
    }
}

/// Plays both sides; the client has `password` and libpq's manners.
fn round_trip(
    password: &[u8],
    verifier: &Verifier,
    random: (u8, u8),
) -> Result<Result<(), NodeError>, ClientError> {
    let client = ClientFirst::new(Nonce::from_random([random.0; 18]));
    let (challenge, expect) = ExpectClientFirst::new().handle(
        &initial(&client.message()),
        &Nonce::from_random([random.1; 18]),
        verifier,
    )?;
    let challenge = client.handle_server_first(&challenge).unwrap();
    let keys = derive(password, &challenge.salt, challenge.iterations);
    let (answer, proven) = challenge.answer(&keys);
    let (server_final, client_key) = expect.handle(&answer)?;
    assert_eq!(client_key, keys.client_key);
    Ok(proven.handle(&server_final))
}

#[test]
fn both_sides_agree_and_disagree() {
    let verifier = derive(b"secret", b"salt", 10).verifier(b"salt", 10);
    assert_eq!(round_trip(b"secret", &verifier, (1, 2)), Ok(Ok(())));
    assert_eq!(round_trip(b"Secret", &verifier, (1, 2)), Err(ClientError::WrongPassword));
    assert_eq!(round_trip(b"", &verifier, (1, 2)), Err(ClientError::WrongPassword));
    // A server that has the StoredKey and not the ServerKey cannot prove itself.
    let forged = Verifier { server_key: [0; 32], ..verifier.clone() };
    assert_eq!(round_trip(b"secret", &forged, (1, 2)), Ok(Err(NodeError::Impostor)));
    // Without a salt, as PostgreSQL allows.
    assert_eq!(round_trip(b"x", &derive(b"x", b"", 1).verifier(b"", 1), (1, 2)), Ok(Ok(())));
}

#[test]
fn non_ascii_passwords_meet_after_preparation() {
    let verifier = derive("\u{2168}".as_bytes(), b"salt", 1).verifier(b"salt", 1);
    assert_eq!(round_trip(b"IX", &verifier, (1, 2)), Ok(Ok(())));
    let raw = derive(b"\xff", b"salt", 1).verifier(b"salt", 1);
    assert_eq!(round_trip(b"\xff", &raw, (1, 2)), Ok(Ok(())));
}

/// An unknown user and a wrong password: the same messages but for the bytes of the salt, and the same end.
#[test]
fn unknown_user_and_wrong_password_look_the_same() {
    let known = derive(b"secret", &[5; 16], ITERATIONS_DEFAULT).verifier(&[5; 16], ITERATIONS_DEFAULT);
    let list = [crate::auth::Secret::Scram(known.clone())];
    let unknown = Mock::of([1; 32], &list).verifier("nobody");
    assert_eq!(unknown, mock_verifier(&[1; 32], "nobody"));
    let play = |verifier: &Verifier| {
        let client = ClientFirst::new(Nonce::from_random([3; 18]));
        let message = initial(&client.message());
        let (challenge, expect) =
            ExpectClientFirst::new().handle(&message, &Nonce::from_random([4; 18]), verifier).unwrap();
        let keys = derive(b"wrong", &verifier.salt, verifier.iterations);
        let (answer, _) = client.handle_server_first(&challenge).unwrap().answer(&keys);
        let shown = String::from_utf8(challenge).unwrap();
        let salt = BASE64_STANDARD.encode(&verifier.salt);
        assert!(shown.contains(&salt));
        (shown.replace(&salt, "SALT"), expect.handle(&answer).unwrap_err())
    };
    assert_eq!(play(&known), play(&unknown));
}

#[test]
fn challenges_that_are_refused() {
    let handle = |text: &str| ClientFirst::new(nonce("abc")).handle_server_first(text.as_bytes()).map(drop);
    assert_eq!(handle("r=abcdef,s=AAAA,i=1"), Ok(()));
    assert_eq!(handle("r=abcdef,s=AAAA,i=10000000"), Ok(()));
    let long_nonce = format!("r=abc{},s=AAAA,i=1", "x".repeat(10_000));
    let longer_nonce = format!("r=abc{},s=AAAA,i=1", "x".repeat(NONCE_MAX + 1));
    for text in [
        "",
        "r",
        "r=abc",
        "r=abc,s=AAAA,i=1",
        "r=abdef,s=AAAA,i=1",
        "r=xabc,s=AAAA,i=1",
        "r=abcd e,s=AAAA,i=1",
        "r=abcdef,s=A,i=1",
        "r=abcdef,i=1,s=AAAA",
        "r=abcdef,s=AAAA",
        "r=abcdef,s=AAAA,i=",
        "r=abcdef,s=AAAA,i=0",
        "r=abcdef,s=AAAA,i=-1",
        "r=abcdef,s=AAAA,i=10000001",
        "r=abcdef,s=AAAA,i=4294967297",
        "r=abcdef,s=AAAA,i=1,x=1",
        "m=x,r=abcdef,s=AAAA,i=1",
        "e=other-error",
        &long_nonce,
        &longer_nonce,
    ] {
        assert!(matches!(handle(text), Err(NodeError::Misbehaved(_))), "{text}");
    }
}

#[test]
fn last_words_of_a_node() {
    let expect = || {
        let challenge = ClientFirst::with_user("user", nonce(RFC_CLIENT_NONCE))
            .handle_server_first(RFC_SERVER_FIRST.as_bytes())
            .unwrap();
        challenge.answer(&rfc_keys()).1
    };
    assert_eq!(expect().handle(RFC_SERVER_FINAL.as_bytes()), Ok(()));
    let other = format!("v={}", BASE64_STANDARD.encode([0; 32]));
    assert_eq!(expect().handle(other.as_bytes()), Err(NodeError::Impostor));
    assert_eq!(expect().handle(b"e=invalid-proof"), Err(NodeError::Refused("invalid-proof".into())));
    assert_eq!(expect().handle(b"e=\x1b[1m"), Err(NodeError::Refused("\\x1b[1m".into())));
    let Err(NodeError::Refused(reason)) = expect().handle(&[b"e=", &[b'x'; 4000][..]].concat()) else {
        panic!()
    };
    assert_eq!(reason.len(), 80);
    for text in ["", "v=", "v=AAAA", "x=1", &format!("{RFC_SERVER_FINAL},x=1"), &"v".repeat(5000)] {
        assert!(matches!(expect().handle(text.as_bytes()), Err(NodeError::Misbehaved(_))), "{text}");
    }
}

proptest! {
    #[test]
    fn any_password_salt_and_nonce_make_a_round_trip(
        password in proptest::collection::vec(1u8.., 1..30),
        salt in proptest::collection::vec(any::<u8>(), 0..40),
        iterations in 1u32..5,
        random: (u8, u8),
    ) {
        let verifier = derive(&password, &salt, iterations).verifier(&salt, iterations);
        prop_assert_eq!(round_trip(&password, &verifier, random), Ok(Ok(())));
    }

    #[test]
    fn arbitrary_bytes_never_authenticate(
        body in proptest::collection::vec(any::<u8>(), 0..80),
        last in proptest::collection::vec(any::<u8>(), 0..160),
    ) {
        let verifier = rfc_verifier();
        let _ = ExpectClientFirst::new().handle(&body, &nonce(RFC_SERVER_NONCE), &verifier);
        let (_, expect) = ExpectClientFirst::new()
            .handle(&initial(RFC_CLIENT_FIRST.as_bytes()), &nonce(RFC_SERVER_NONCE), &verifier)
            .unwrap();
        prop_assert!(expect.handle(&last).is_err());
        if let Ok(challenge) = ClientFirst::new(nonce("abc")).handle_server_first(&last) {
            let (_, expect) = challenge.answer(&Keys { client_key: [1; 32], server_key: [2; 32] });
            prop_assert!(expect.handle(&body).is_err());
        }
    }

    /// A valid last message with one byte changed anywhere.
    #[test]
    fn a_changed_byte_never_authenticates(at in 0..RFC_CLIENT_FINAL.len(), flip in 1u8..) {
        let (_, expect) = ExpectClientFirst::new()
            .handle(&initial(RFC_CLIENT_FIRST.as_bytes()), &nonce(RFC_SERVER_NONCE), &rfc_verifier())
            .unwrap();
        let mut last = RFC_CLIENT_FINAL.as_bytes().to_vec();
        last[at] ^= flip;
        prop_assert!(expect.handle(&last).is_err());
    }

    /// Grammatical attribute soup: deeper into the parsers than random bytes come.
    #[test]
    fn attribute_soup_never_authenticates(soup in "[nyp],?(a=x)?,((n|r|c|p|m|s|i|v|e|x)=[ -~]{0,12},?){0,6}") {
        let _ = first(&soup);
        prop_assert!(finish(RFC_CLIENT_FIRST, &soup).is_err());
        let _ = ClientFirst::new(nonce("abc")).handle_server_first(soup.as_bytes());
    }
}
