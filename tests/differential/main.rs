//! The differential tester: random sessions, told once to PostgreSQL itself and once to pgweir, must be answered alike,
//! message by message.
//!
//! A *play* is a sequence of *steps*, in each of which one of two to four sessions sends a few frames at once and reads
//! all that it is owed. The author writes it from a seed while the server itself plays it, since what may come next
//! depends on who is inside a transaction. Then pgweir plays the same script in a database of the same content, in front
//! of a pool of one, two or four backends, with reads on the primary or on a replica. The first difference ends it, and
//! the script is made as short as it can be.
//!
//! What is compared is everything but what must differ: process ids and cancel keys, the ids of tables and types (their
//! order of appearance counts), the numbers of temporary schemas, and the order of parameters reported together.
//!
//! Nobody has to wait for another: each session writes only to tables of its own, and the author knows who holds a
//! backend. Where pgweir keeps more than the author believes, a session gets pgweir's error instead of its answer.
//!
//! What pgweir is known to answer otherwise is not ignored, but left out of the plays, by a named switch with its reason:
//! see the list at the end of [`switches`]. Protocol 3.2 is spoken from PostgreSQL 18 on, since older servers step down
//! where pgweir itself speaks it. Not played yet: session pooling.
//!
//! By hand, with the variables that [`campaign`] and [`switches`] read:
//!
//! ```text
//! PGWEIR_DIFF_SEED=17       cargo test --test differential same    one seed
//! PGWEIR_DIFF_MINUTES=30    cargo test --test differential same    as long as one likes, from PGWEIR_DIFF_SEED on
//! PGWEIR_DIFF_COUNT=500     cargo test --test differential same    that many seeds
//! PGWEIR_DIFF_OFF=roles,listening   without these; PGWEIR_DIFF_ON: with these, although they are switched off
//! PGWEIR_PG_BIN=/path/bin   another PostgreSQL
//! ```

#[path = "../harness/mod.rs"]
mod harness;

mod campaign;
mod grammar;
mod holders;
mod owed;
mod play;
mod player;
mod random;
mod script;
mod shrink;
mod switches;
mod transcript;
mod world;

use self::campaign::{Campaign, SHRINKING_MAX, replay};
use self::play::write;
use self::script::{Frame, Script, Sql, Step};
use self::shrink::shrink;
use self::switches::Switches;
use self::world::{STAGES, World, servers};

#[test]
fn the_same_comes_back_as_from_the_server_itself() {
    let cluster = servers();
    let world = World::start(&cluster);
    let failures = Campaign::from_environment(&cluster).run(&world);
    assert!(failures.is_empty(), "{} kinds of differences, told above", failures.len());
}

#[test]
fn a_difference_is_noticed_and_made_short() {
    let cluster = servers();
    let world = World::start(&cluster);
    let switches = Switches::from_environment(&cluster);
    let stage = STAGES[0];
    let unlike = || world.unlike(stage, "UPDATE t SET name = 'another' WHERE id = 7");
    let sides = unlike();
    let (mut script, _) = write(1, 10, &switches, &sides.0);
    world.leave(sides);
    let sql = Sql { text: "SELECT name FROM public.t WHERE id = 7".to_owned(), keeps: false };
    let asked = Frame::Query(vec![sql]);
    script.steps.push(Step { session: 0, frames: vec![Frame::Sync, asked.clone()] });
    let differs = |script: &_| {
        let sides = unlike();
        let difference = replay(script, &sides);
        world.leave(sides);
        difference.filter(|difference| difference.kind() == "DataRow with other contents")
    };
    // What was made up may ask for the same.
    let asks = |script: &Script| script.steps.last().is_some_and(|step| step.frames.contains(&asked));
    let shrunk = shrink(script, SHRINKING_MAX, |script| asks(script) && differs(script).is_some());
    let difference = differs(&shrunk).expect("what was made shorter fails as before");
    assert_eq!(difference.step, Some(0), "{shrunk}{difference}");
    let told = format!("{shrunk}{difference}");
    assert!(told.contains("\n  0: session 0  Query «SELECT name FROM public.t WHERE id = 7»\n"), "{told}");
    assert!(told.contains("  direct DataRow 'name 7'\n"), "{told}");
    assert!(told.contains("  other  DataRow 'another'\n"), "{told}");
}
