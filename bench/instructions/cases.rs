//! What is counted: walking over frames, classification, the statement cache, a pool's checkout and checkin.

use std::hint::black_box;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::time::Instant;

use pgweir::backend::prepared::{Prepared, StatementId};
use pgweir::pool::{Fit, Pool};
use pgweir::session::statements::{StatementCache, StatementCount};
use pgweir::sql::{Dialect, classify};
use pgweir::wire::Head;
use pgweir::wire::backend::{
    TransactionStatus, put_command_complete, put_ready, put_row, put_row_description,
};
use pgweir::wire::frontend::Parse;

use crate::texts;

/// A name, and one round.
pub type Case = (&'static str, Box<dyn FnMut()>);

/// Always the same, in the same order.
pub fn all() -> Vec<Case> {
    let (_, numbers) =
        texts::long(1_000).into_iter().find(|(name, _)| *name == "in numbers").expect("listed");
    vec![
        ("frames of a row", frames(1)),
        ("frames of a hundred rows", frames(100)),
        ("classify a point read", classification(texts::STATEMENTS[0].1.to_owned())),
        ("classify everyday statements", everyday()),
        ("classify 1 kB of numbers", classification(numbers)),
        ("statement known", known()),
        ("statement prepared", prepared()),
        ("checkout and checkin", checkout()),
    ]
}

fn frames(rows: usize) -> Box<dyn FnMut()> {
    let mut bytes = Vec::new();
    put_row_description(&mut bytes, ["column"].into_iter());
    for _ in 0..rows {
        put_row(&mut bytes, [Some(&[b'x'; 100][..])].into_iter());
    }
    put_command_complete(&mut bytes, b"SELECT 1");
    put_ready(&mut bytes, TransactionStatus::Idle);
    Box::new(move || {
        let mut at = 0;
        while let Ok(Some(head)) = Head::read(black_box(&bytes[at..])) {
            at += head.frame();
        }
        assert_eq!(at, bytes.len());
    })
}

fn classification(text: String) -> Box<dyn FnMut()> {
    Box::new(move || {
        black_box(classify(black_box(text.as_bytes()), Dialect::default()));
    })
}

fn everyday() -> Box<dyn FnMut()> {
    Box::new(|| {
        for (_, text) in texts::STATEMENTS {
            black_box(classify(black_box(text.as_bytes()), Dialect::default()));
        }
    })
}

fn known() -> Box<dyn FnMut()> {
    let body = [b"s1\0", texts::STATEMENTS[0].1.as_bytes(), b"\0\0\0"].concat();
    let mut cache = StatementCache::new(Rc::new(StatementCount::new(0)));
    Box::new(move || {
        let parse = Parse::read(black_box(&body)).expect("our own Parse");
        black_box(cache.intern(&parse, Dialect::default()));
    })
}

fn prepared() -> Box<dyn FnMut()> {
    let mut full = Prepared::new(200);
    let id = |number| StatementId(NonZeroU64::new(number).expect("counted from 1"));
    (1..=200).for_each(|number| full.insert(id(number)));
    Box::new(move || assert!(full.touch(black_box(id(7)))))
}

fn checkout() -> Box<dyn FnMut()> {
    let now = Instant::now();
    let mut pool: Pool<u64, u64> = Pool::default();
    for backend in 0..20 {
        pool.connect();
        pool.connected(backend, now);
    }
    Box::new(move || {
        let backend = pool
            .checkout(|backend| Some(if *backend == black_box(7) { Fit::Best } else { Fit::Any }))
            .expect("all are idle");
        black_box(pool.checkin(backend, now));
    })
}
