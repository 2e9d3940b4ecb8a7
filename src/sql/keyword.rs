//! The words of the language, and what each means to us.
//!
//! All keywords of `words` are known, since a name that is *not* a keyword tells us something too: two plain
//! names in a row are a thing and its alias (see `classify`). A look-up compares numbers, not letters: a name of
//! up to sixteen bytes is one number, and the table is hashed when the program is compiled.

use super::block::{Block, SIZE};
use super::words::{COLUMN, RESERVED, SEQUENCE_COLUMNS, TYPE, UNRESERVED};

/// A name that may be a keyword.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Word {
    pub category: Category,
    pub keyword: Keyword,
}

/// How far a keyword is reserved (manual, appendix C), which says whether a function can bear its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Category {
    /// Not a keyword.
    Plain,
    /// A keyword that a function may be named after, reserved or not.
    Callable,
    /// A keyword that no function is named after: a parenthesis behind it is part of the language.
    Fixed,
}

impl Word {
    pub const PLAIN: Word = Word { category: Category::Plain, keyword: Keyword::Other };
}

/// The keyword that the first `len` bytes of the block are, in any case. They are letters, digits, `_`, `$` and
/// bytes from 0x80 on: nothing else, or folding would take a stranger for one of these.
#[inline(always)]
pub(super) fn word(block: Block, len: usize) -> Word {
    let key = Key(block.head(len) | FOLD);
    let mut slot = key.slot();
    loop {
        let index = SLOTS[slot];
        if index == FREE {
            return Word::PLAIN;
        }
        let entry = &ENTRIES[index as usize % ENTRY_COUNT];
        if entry.key.0 == key.0 {
            return entry.word;
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// The keyword that a name of more than sixteen bytes is; there is one that long.
pub(super) fn long_word(name: &[u8]) -> Word {
    if name.eq_ignore_ascii_case(LONGEST.as_bytes()) { LONGEST_WORD } else { Word::PLAIN }
}

/// A word of up to sixteen bytes, folded to lower case, with blanks behind it.
#[derive(Clone, Copy)]
struct Key(u128);

impl Key {
    const fn of(word: &[u8]) -> Self {
        let mut key = 0;
        let mut at = word.len();
        while at > 0 {
            at -= 1;
            key = key << 8 | word[at] as u128;
        }
        Key(key | FOLD)
    }

    /// Where the search for a word starts.
    #[inline(always)]
    const fn slot(self) -> usize {
        let mixed = (self.0 as u64) ^ ((self.0 >> 64) as u64).rotate_left(29);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SLOT_BITS)) as usize
    }
}

macro_rules! keywords {
    ($(($name:ident, $spelling:literal),)*) => {
        /// The words that the classifier tells apart.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub(super) enum Keyword {
            /// Any other keyword, or none.
            Other,
            $($name,)*
        }

        const NAMED: &[(&str, Keyword)] = &[$(($spelling, Keyword::$name),)*];
    };
}

keywords! {
    // What `scan` looks at wherever it stands, or `statement` does: up to `LAST_NOTED`.
    (Atomic, "atomic"),
    (Case, "case"),
    (Delete, "delete"),
    (End, "end"),
    (Execute, "execute"),
    (Function, "function"),
    (Insert, "insert"),
    (Into, "into"),
    (IsCalled, "is_called"),
    (Key, "key"),
    (LastValue, "last_value"),
    (Merge, "merge"),
    (No, "no"),
    (Procedure, "procedure"),
    (Share, "share"),
    (Temp, "temp"),
    (Temporary, "temporary"),
    (Update, "update"),
    // What has a meaning in its place.
    (Abort, "abort"),
    (All, "all"),
    (Alter, "alter"),
    (Analyse, "analyse"),
    (Analyze, "analyze"),
    (And, "and"),
    (As, "as"),
    (Authorization, "authorization"),
    (Begin, "begin"),
    (Binary, "binary"),
    (Bit, "bit"),
    (By, "by"),
    (Call, "call"),
    (Catalog, "catalog"),
    (Chain, "chain"),
    (Char, "char"),
    (Character, "character"),
    (Characteristics, "characteristics"),
    (Checkpoint, "checkpoint"),
    (Close, "close"),
    (Cluster, "cluster"),
    (Comment, "comment"),
    (Commit, "commit"),
    (Committed, "committed"),
    (Constraints, "constraints"),
    (Content, "content"),
    (Copy, "copy"),
    (Create, "create"),
    (Cross, "cross"),
    (Cube, "cube"),
    (Current, "current"),
    (Deallocate, "deallocate"),
    (Declare, "declare"),
    (Default, "default"),
    (Deferrable, "deferrable"),
    (Discard, "discard"),
    (Distinct, "distinct"),
    (Do, "do"),
    (Document, "document"),
    (Drop, "drop"),
    (Exists, "exists"),
    (Explain, "explain"),
    (Fetch, "fetch"),
    (First, "first"),
    (For, "for"),
    (From, "from"),
    (Full, "full"),
    (Global, "global"),
    (Grant, "grant"),
    (Group, "group"),
    (Grouping, "grouping"),
    (Hold, "hold"),
    (Ilike, "ilike"),
    (Import, "import"),
    (Inner, "inner"),
    (Isolation, "isolation"),
    (Join, "join"),
    (Left, "left"),
    (Level, "level"),
    (Listen, "listen"),
    (Load, "load"),
    (Local, "local"),
    (Lock, "lock"),
    (Materialized, "materialized"),
    (Move, "move"),
    (Names, "names"),
    (Nchar, "nchar"),
    (Next, "next"),
    (Natural, "natural"),
    (Not, "not"),
    (Notify, "notify"),
    (Of, "of"),
    (On, "on"),
    (Only, "only"),
    (Option, "option"),
    (Or, "or"),
    (Order, "order"),
    (Ordinality, "ordinality"),
    (Outer, "outer"),
    (Partition, "partition"),
    (Plans, "plans"),
    (Prepare, "prepare"),
    (Prepared, "prepared"),
    (Program, "program"),
    (Read, "read"),
    (Reassign, "reassign"),
    (Recursive, "recursive"),
    (References, "references"),
    (Refresh, "refresh"),
    (Reindex, "reindex"),
    (Release, "release"),
    (Replace, "replace"),
    (Reset, "reset"),
    (Revoke, "revoke"),
    (Right, "right"),
    (Role, "role"),
    (Rollback, "rollback"),
    (Rollup, "rollup"),
    (Savepoint, "savepoint"),
    (Schema, "schema"),
    (Security, "security"),
    (Select, "select"),
    (Sequences, "sequences"),
    (Serializable, "serializable"),
    (Session, "session"),
    (Set, "set"),
    (Sets, "sets"),
    (Show, "show"),
    (Snapshot, "snapshot"),
    (Start, "start"),
    (Stdin, "stdin"),
    (Stdout, "stdout"),
    (Table, "table"),
    (Tablesample, "tablesample"),
    (Time, "time"),
    (To, "to"),
    (Transaction, "transaction"),
    (Truncate, "truncate"),
    (Uncommitted, "uncommitted"),
    (Repeatable, "repeatable"),
    (Unlisten, "unlisten"),
    (User, "user"),
    (Vacuum, "vacuum"),
    (Values, "values"),
    (Varying, "varying"),
    (Verbose, "verbose"),
    (With, "with"),
    (Without, "without"),
    (Work, "work"),
    (Write, "write"),
    (Xml, "xml"),
    (Zone, "zone"),
}

impl Keyword {
    /// Whether it means something wherever it stands.
    #[inline(always)]
    pub fn matters(self) -> bool {
        // One comparison for both ends, since what is below the first wraps around.
        (self as u8).wrapping_sub(Keyword::Other as u8 + 1) < LAST_NOTED as u8
    }
}

/// The last of the keywords that mean something wherever they stand, the first being behind [`Keyword::Other`].
const LAST_NOTED: Keyword = Keyword::Update;

struct Entry {
    key: Key,
    word: Word,
}

static ENTRIES: [Entry; ENTRY_COUNT] = {
    let mut entries = [const { Entry { key: Key(0), word: Word::PLAIN } }; ENTRY_COUNT];
    let mut count = 0;
    let lists = [
        (RESERVED, Category::Fixed),
        (COLUMN, Category::Fixed),
        (TYPE, Category::Callable),
        (UNRESERVED, Category::Callable),
        (SEQUENCE_COLUMNS, Category::Plain),
    ];
    let mut list = 0;
    while list < lists.len() {
        let (words, category) = lists[list];
        let mut at = 0;
        while at < words.len() {
            let spelling = words[at].as_bytes();
            at += 1;
            if equal(spelling, LONGEST.as_bytes()) {
                continue;
            }
            assert!(spelling.len() <= SIZE);
            entries[count] =
                Entry { key: Key::of(spelling), word: Word { category, keyword: named(spelling) } };
            count += 1;
        }
        list += 1;
    }
    entries
};

const fn named(spelling: &[u8]) -> Keyword {
    let mut at = 0;
    while at < NAMED.len() {
        if equal(NAMED[at].0.as_bytes(), spelling) {
            return NAMED[at].1;
        }
        at += 1;
    }
    Keyword::Other
}

const fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// For each hash the index of an entry; one that finds its slot taken goes into the next free one.
static SLOTS: [u16; 1 << SLOT_BITS] = {
    let mut slots = [FREE; 1 << SLOT_BITS];
    let mut entry = 0;
    while entry < COUNT {
        let mut slot = ENTRIES[entry].key.slot();
        while slots[slot] != FREE {
            slot = (slot + 1) % slots.len();
        }
        slots[slot] = entry as u16;
        entry += 1;
    }
    slots
};

/// How many words have a key: all but the longest.
const COUNT: usize =
    RESERVED.len() + COLUMN.len() + TYPE.len() + UNRESERVED.len() + SEQUENCE_COLUMNS.len() - 1;

/// A power of two, so that no index is out of bounds.
const ENTRY_COUNT: usize = COUNT.next_power_of_two();

/// Four times as many slots as words: nearly every search ends at its first slot.
const SLOT_BITS: u32 = 11;
const FREE: u16 = u16::MAX;
const FOLD: u128 = u128::from_ne_bytes([b' '; SIZE]);

const LONGEST: &str = "current_timestamp";
const LONGEST_WORD: Word = Word { category: Category::Fixed, keyword: Keyword::Other };

#[cfg(test)]
mod tests {
    use super::*;

    fn lists() -> impl Iterator<Item = (&'static str, Category)> {
        let fixed = RESERVED.iter().chain(COLUMN).map(|word| (*word, Category::Fixed));
        let callable = TYPE.iter().chain(UNRESERVED).map(|word| (*word, Category::Callable));
        fixed.chain(callable).chain(SEQUENCE_COLUMNS.iter().map(|word| (*word, Category::Plain)))
    }

    /// What the lexer does with a name.
    fn look_up(name: &[u8]) -> Word {
        if name.len() > SIZE { long_word(name) } else { word(Block::at(name, 0), name.len()) }
    }

    #[test]
    fn every_word_is_found_in_any_case() {
        for (spelling, category) in lists() {
            let expected = Word { category, keyword: named(spelling.as_bytes()) };
            assert_eq!(look_up(spelling.as_bytes()), expected, "{spelling}");
            assert_eq!(look_up(spelling.to_ascii_uppercase().as_bytes()), expected, "{spelling}");
        }
    }

    #[test]
    fn every_named_word_is_in_a_list() {
        for (spelling, keyword) in NAMED {
            assert_eq!(look_up(spelling.as_bytes()).keyword, *keyword, "{spelling}");
        }
    }

    #[test]
    fn no_word_is_in_two_lists() {
        let mut spellings: Vec<_> = lists().map(|(spelling, _)| spelling).collect();
        spellings.sort();
        spellings.dedup();
        assert_eq!(spellings.len(), lists().count());
    }

    #[test]
    fn other_names_are_plain() {
        for name in [
            "",
            "a",
            "ab",
            "abc",
            "accounts",
            "selec",
            "selects",
            "from_",
            "current_timestamps",
            "\u{e9}t\u{e9}",
        ] {
            assert_eq!(look_up(name.as_bytes()), Word::PLAIN, "{name}");
        }
    }

    #[test]
    fn a_search_rarely_takes_a_second_step() {
        let late = (0..COUNT).filter(|entry| SLOTS[ENTRIES[*entry].key.slot()] != *entry as u16).count();
        assert!(late * 4 < COUNT, "{late} of {COUNT} words are not in their own slot");
    }
}
