//! Walking over frames in both directions, and looking into every message.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgweir::wire::backend::{
    ErrorFields, Report, TransactionStatus, put_error_as, read_command_complete, read_key_data,
    read_parameter_status, read_row,
};
use pgweir::wire::frontend::{Bind, Parse, Target, read_execute, read_query};
use pgweir::wire::{Frame, Head, build};

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    while let Ok(Some((frame, size))) = Frame::read(rest) {
        let mut built = Vec::new();
        build(&mut built, frame.tag, |out| out.extend_from_slice(frame.body));
        assert_eq!(built, rest[..size]);
        // Clients are trusted with less, and what is a frame of theirs is one of anybody's.
        if let Ok(head) = Head::read_frontend(rest) {
            assert_eq!(head, Head::read(rest).expect("it was read"));
        }
        frontend(frame.body);
        backend(frame.body);
        rest = &rest[size..];
    }
    // What is no frame as yet must not become another one by what follows.
    if let Ok(Some(head)) = Head::read(rest) {
        assert!(head.frame() > rest.len());
    }
});

/// Whatever the tag says: the views do not rely on it.
fn frontend(body: &[u8]) {
    let within = |part: &[u8]| assert!(part.len() <= body.len());
    if let Ok(parse) = Parse::read(body) {
        within(parse.name);
    }
    if let Ok(bind) = Bind::read(body) {
        within(bind.portal);
        within(bind.statement);
    }
    let _ = Target::read(body);
    if let Ok((portal, _)) = read_execute(body) {
        assert_eq!(portal.len() + 1 + 4, body.len());
    }
    if let Ok(text) = read_query(body) {
        assert!(!text.contains(&0));
    }
}

fn backend(body: &[u8]) {
    if let Ok((name, value)) = read_parameter_status(body) {
        assert_eq!(name.len() + value.len() + 2, body.len());
    }
    if let Ok(row) = read_row(body) {
        assert!(row.iter().flatten().map(|value| value.len()).sum::<usize>() <= body.len());
    }
    let _ = (read_key_data(body), read_command_complete(body), TransactionStatus::read(body));
    let error = ErrorFields::new(body);
    assert!(error.iter().all(|(letter, _)| letter != 0));
    // What a server says is told again, in other words; that can be read.
    let mut built = Vec::new();
    put_error_as(&mut built, error, b"ERROR", b"other words");
    let (frame, size) = Frame::read(&built).expect("our own frame").expect("all of it");
    assert_eq!((frame.tag, size), (b'E', built.len()));
    let letters = |(letter, _)| letter;
    assert!(ErrorFields::new(frame.body).iter().map(letters).eq(error.iter().map(letters)));
    let mut built = Vec::new();
    Report::of(error).put(&mut built);
    let (frame, size) = Frame::read(&built).expect("our own frame").expect("all of it");
    assert_eq!(size, built.len());
    assert!(ErrorFields::new(frame.body).sqlstate().is_some());
}
