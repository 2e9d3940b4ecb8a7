//! The words of the language, and what each means to us.
//!
//! All keywords of PostgreSQL 14 to 18 are here, since a name that is *not* a keyword tells us something too:
//! two plain names in a row are a thing and its alias (see `classify`). A few words that later versions are
//! known to add come with them. Look-ups allocate nothing and compare at most a few words: the table is
//! hashed when the program is compiled.

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

/// The keyword that `name` is, in any case. A name has letters, digits, `_`, `$` and bytes from 0x80 on:
/// nothing else, or folding would take a stranger for one of these.
#[inline(always)]
pub(super) fn word(name: &[u8]) -> Word {
    if name.len() > LONGEST {
        return Word::PLAIN;
    }
    let key = Key::of(name);
    let mut slot = key.slot();
    loop {
        let index = SLOTS[slot];
        if index == FREE {
            return Word::PLAIN;
        }
        let entry = &ENTRIES[index as usize];
        if entry.key.equals(key)
            && (name.len() <= WHOLE || entry.spelling.as_bytes().eq_ignore_ascii_case(name))
        {
            return entry.word;
        }
        slot = (slot + 1) % SLOTS.len();
    }
}

/// A word's length and its first and last four bytes, folded to lower case: all there is to a word of up to
/// eight.
#[derive(Clone, Copy)]
struct Key {
    len: u32,
    head: u32,
    tail: u32,
}

impl Key {
    #[inline]
    const fn of(name: &[u8]) -> Self {
        let len = name.len();
        let (head, tail) = match len {
            0 => (0, 0),
            1..=3 => (u32::from_le_bytes([name[0], name[len / 2], name[len - 1], 0]), 0),
            _ => (
                u32::from_le_bytes([name[0], name[1], name[2], name[3]]),
                u32::from_le_bytes([name[len - 4], name[len - 3], name[len - 2], name[len - 1]]),
            ),
        };
        Key { len: len as u32, head: head | FOLD, tail: tail | FOLD }
    }

    #[inline]
    const fn equals(self, other: Key) -> bool {
        self.len == other.len && self.head == other.head && self.tail == other.tail
    }

    /// Where the search for a word starts.
    #[inline]
    const fn slot(self) -> usize {
        let mixed = self.head.wrapping_mul(0x9e37_79b1)
            ^ self.tail.wrapping_mul(0x85eb_ca77).rotate_left(15)
            ^ self.len.wrapping_mul(0xc2b2_ae3d);
        (mixed.wrapping_mul(0x27d4_eb2f) >> (u32::BITS - SLOT_BITS)) as usize
    }
}

macro_rules! keywords {
    ($(($name:ident, $spelling:literal),)*) => {
        /// The words that the classifier tells apart.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum Keyword {
            /// Any other keyword, or none.
            Other,
            $($name,)*
        }

        const NAMED: &[(&str, Keyword)] = &[$(($spelling, Keyword::$name),)*];
    };
}

keywords! {
    (Abort, "abort"),
    (All, "all"),
    (Alter, "alter"),
    (Analyse, "analyse"),
    (Analyze, "analyze"),
    (And, "and"),
    (As, "as"),
    (Atomic, "atomic"),
    (Authorization, "authorization"),
    (Begin, "begin"),
    (Binary, "binary"),
    (Bit, "bit"),
    (By, "by"),
    (Call, "call"),
    (Case, "case"),
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
    (Delete, "delete"),
    (Discard, "discard"),
    (Distinct, "distinct"),
    (Do, "do"),
    (Document, "document"),
    (Drop, "drop"),
    (End, "end"),
    (Execute, "execute"),
    (Exists, "exists"),
    (Explain, "explain"),
    (Fetch, "fetch"),
    (First, "first"),
    (For, "for"),
    (From, "from"),
    (Full, "full"),
    (Function, "function"),
    (Global, "global"),
    (Grant, "grant"),
    (Group, "group"),
    (Grouping, "grouping"),
    (Hold, "hold"),
    (Ilike, "ilike"),
    (Import, "import"),
    (Inner, "inner"),
    (Insert, "insert"),
    (Into, "into"),
    (IsCalled, "is_called"),
    (Isolation, "isolation"),
    (Join, "join"),
    (Key, "key"),
    (LastValue, "last_value"),
    (Left, "left"),
    (Level, "level"),
    (Listen, "listen"),
    (Load, "load"),
    (Local, "local"),
    (Lock, "lock"),
    (Materialized, "materialized"),
    (Merge, "merge"),
    (Move, "move"),
    (Names, "names"),
    (Nchar, "nchar"),
    (Next, "next"),
    (Natural, "natural"),
    (No, "no"),
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
    (Procedure, "procedure"),
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
    (Share, "share"),
    (Show, "show"),
    (Snapshot, "snapshot"),
    (Start, "start"),
    (Stdin, "stdin"),
    (Stdout, "stdout"),
    (Table, "table"),
    (Tablesample, "tablesample"),
    (Temp, "temp"),
    (Temporary, "temporary"),
    (Time, "time"),
    (To, "to"),
    (Transaction, "transaction"),
    (Truncate, "truncate"),
    (Uncommitted, "uncommitted"),
    (Repeatable, "repeatable"),
    (Unlisten, "unlisten"),
    (Update, "update"),
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

/// Reserved, in every use.
#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case",
    "cast", "check", "collate", "column", "constraint", "create", "current_catalog",
    "current_date", "current_role", "current_time", "current_timestamp", "current_user",
    "default", "deferrable", "desc", "distinct", "do", "else", "end", "except", "false", "fetch",
    "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
    "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on",
    "only", "or", "order", "placing", "primary", "references", "returning", "select",
    "session_user", "some", "symmetric", "system_user", "table", "then", "to", "trailing", "true",
    "union", "unique", "user", "using", "variadic", "when", "where", "window", "with",
];

/// Not reserved as the name of a column, but of a function or type.
#[rustfmt::skip]
const COLUMN: &[&str] = &[
    "between", "bigint", "bit", "boolean", "char", "character", "coalesce", "dec", "decimal",
    "exists", "extract", "float", "graph_table", "greatest", "grouping", "inout", "int",
    "integer", "interval", "json", "json_array", "json_arrayagg", "json_exists", "json_object",
    "json_objectagg", "json_query", "json_scalar", "json_serialize", "json_table", "json_value",
    "least", "merge_action", "national", "nchar", "none", "normalize", "nullif", "numeric", "out",
    "overlay", "position", "precision", "real", "row", "setof", "smallint", "substring", "time",
    "timestamp", "treat", "trim", "values", "varchar", "xmlattributes", "xmlconcat", "xmlelement",
    "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
    "xmltable",
];

/// Reserved, though a function or type may be named so.
#[rustfmt::skip]
const TYPE: &[&str] = &[
    "authorization", "binary", "collation", "concurrently", "cross", "current_schema", "freeze",
    "full", "ilike", "inner", "is", "isnull", "join", "left", "like", "natural", "notnull",
    "outer", "overlaps", "right", "similar", "tablesample", "verbose",
];

#[rustfmt::skip]
const UNRESERVED: &[&str] = &[
    "abort", "absent", "absolute", "access", "action", "add", "admin", "after", "aggregate",
    "also", "alter", "always", "asensitive", "assertion", "assignment", "at", "atomic", "attach",
    "attribute", "backward", "before", "begin", "breadth", "by", "cache", "call", "called",
    "cascade", "cascaded", "catalog", "chain", "characteristics", "checkpoint", "class", "close",
    "cluster", "columns", "comment", "comments", "commit", "committed", "compression",
    "conditional", "configuration", "conflict", "connection", "constraints", "content",
    "continue", "conversion", "copy", "cost", "csv", "cube", "current", "cursor", "cycle", "data",
    "database", "day", "deallocate", "declare", "defaults", "deferred", "definer", "delete",
    "delimiter", "delimiters", "depends", "depth", "destination", "detach", "dictionary",
    "disable", "discard", "document", "domain", "double", "drop", "each", "edge", "empty",
    "enable", "encoding", "encrypted", "enforced", "enum", "error", "escape", "event", "exclude",
    "excluding", "exclusive", "execute", "explain", "expression", "extension", "external",
    "family", "filter", "finalize", "first", "following", "force", "format", "forward",
    "function", "functions", "generated", "global", "granted", "groups", "handler", "header",
    "hold", "hour", "identity", "if", "ignore", "immediate", "immutable", "implicit", "import",
    "include", "including", "increment", "indent", "index", "indexes", "inherit", "inherits",
    "inline", "input", "insensitive", "insert", "instead", "invoker", "isolation", "keep", "key",
    "keys", "label", "language", "large", "last", "leakproof", "level", "listen", "load", "local",
    "location", "lock", "locked", "logged", "lsn", "mapping", "match", "matched", "materialized",
    "maxvalue", "merge", "method", "minute", "minvalue", "mode", "month", "move", "name", "names",
    "nested", "new", "next", "nfc", "nfd", "nfkc", "nfkd", "no", "node", "normalized", "nothing",
    "notify", "nowait", "nulls", "object", "objects", "of", "off", "oids", "old", "omit",
    "operator", "option", "options", "ordinality", "others", "over", "overriding", "owned",
    "owner", "parallel", "parameter", "parser", "partial", "partition", "passing", "password",
    "path", "period", "plan", "plans", "policy", "preceding", "prepare", "prepared", "preserve",
    "prior", "privileges", "procedural", "procedure", "procedures", "program", "properties",
    "property", "publication", "quote", "quotes", "range", "read", "reassign", "recheck",
    "recursive", "ref", "referencing", "refresh", "reindex", "relationship", "relationships",
    "relative", "release", "rename", "repack", "repeatable", "replace", "replica", "reset",
    "respect", "restart", "restrict", "return", "returns", "revoke", "role", "rollback", "rollup",
    "routine", "routines", "rows", "rule", "savepoint", "scalar", "schema", "schemas", "scroll",
    "search", "second", "security", "sequence", "sequences", "serializable", "server", "session",
    "set", "sets", "share", "show", "simple", "skip", "snapshot", "source", "sql", "stable",
    "standalone", "start", "statement", "statistics", "stdin", "stdout", "storage", "stored",
    "strict", "string", "strip", "subscription", "support", "sysid", "system", "tables",
    "tablespace", "target", "temp", "template", "temporary", "text", "ties", "transaction",
    "transform", "trigger", "truncate", "trusted", "type", "types", "uescape", "unbounded",
    "uncommitted", "unconditional", "unencrypted", "unknown", "unlisten", "unlogged", "until",
    "update", "vacuum", "valid", "validate", "validator", "value", "varying", "version", "vertex",
    "view", "views", "virtual", "volatile", "wait", "whitespace", "within", "without", "work",
    "wrapper", "write", "xml", "year", "yes", "zone",
];

/// Columns of every sequence, no keywords.
const SEQUENCE_COLUMNS: &[&str] = &["is_called", "last_value"];

struct Entry {
    spelling: &'static str,
    key: Key,
    word: Word,
}

static ENTRIES: [Entry; COUNT] = {
    let mut entries = [const { Entry { spelling: "", key: Key::of(b""), word: Word::PLAIN } }; COUNT];
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
            let spelling = words[at];
            let word = Word { category, keyword: named(spelling.as_bytes()) };
            entries[count] = Entry { spelling, key: Key::of(spelling.as_bytes()), word };
            count += 1;
            at += 1;
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

const COUNT: usize = RESERVED.len() + COLUMN.len() + TYPE.len() + UNRESERVED.len() + SEQUENCE_COLUMNS.len();

/// Four times as many slots as words: nearly every search ends at its first slot.
const SLOT_BITS: u32 = 11;
const FREE: u16 = u16::MAX;
const FOLD: u32 = 0x2020_2020;
/// How long a word may be for its key to tell it from all others.
const WHOLE: usize = 8;
const LONGEST: usize = "current_timestamp".len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_in_any_case() {
        for Entry { spelling, word: expected, .. } in &ENTRIES {
            assert!(spelling.len() <= LONGEST);
            assert_eq!(word(spelling.as_bytes()), *expected, "{spelling}");
            assert_eq!(word(spelling.to_ascii_uppercase().as_bytes()), *expected, "{spelling}");
        }
    }

    #[test]
    fn every_named_word_is_in_a_list() {
        for (spelling, keyword) in NAMED {
            assert_eq!(word(spelling.as_bytes()).keyword, *keyword, "{spelling}");
        }
    }

    #[test]
    fn no_word_is_in_two_lists() {
        let mut spellings: Vec<_> = ENTRIES.iter().map(|entry| entry.spelling).collect();
        spellings.sort();
        spellings.dedup();
        assert_eq!(spellings.len(), COUNT);
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
            assert_eq!(word(name.as_bytes()), Word::PLAIN, "{name}");
        }
    }

    #[test]
    fn a_search_rarely_takes_a_second_step() {
        let late = (0..COUNT).filter(|entry| SLOTS[ENTRIES[*entry].key.slot()] != *entry as u16).count();
        assert!(late * 4 < COUNT, "{late} of {COUNT} words are not in their own slot");
    }
}
