//! Texts of SQL, in every dialect.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgweir::sql::{Dialect, Effects, Intent, changes, classify};

fuzz_target!(|text: &[u8]| {
    for standard_conforming_strings in [true, false] {
        let dialect = |ascii_safe| Dialect { standard_conforming_strings, ascii_safe };
        let (analysis, guarded) = (classify(text, dialect(true)), classify(text, dialect(false)));
        for analysis in [analysis, guarded] {
            let nothing = analysis.statements == 0 && !analysis.effects.contains(Effects::UNFINISHED);
            assert_eq!(analysis.intent == Intent::Empty, nothing);
        }
        // What an encoding may hide is no read.
        assert!(guarded == analysis || guarded.intent == Intent::Write);
        assert!(changes(text, dialect(true)).count() <= 2 * text.len());
        // A write behind it is seen, unless the text has swallowed it, which shows.
        let followed = [text, b"\n;INSERT INTO t VALUES (1)"].concat();
        let analysis = classify(&followed, dialect(true));
        let swallowed = analysis.effects.contains(Effects::UNFINISHED) || text.contains(&0);
        assert!(analysis.intent != Intent::Read || swallowed, "{analysis:?}");
    }
});
