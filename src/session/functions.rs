//! What is known of the functions of one database that are not built in: whether calling them may leave something in the
//! session that calls them. What is not known is asked on a backend, behind the transaction that called it.

use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::sql::{self, Body, Calls};

/// What calling some functions leaves behind.
#[derive(Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing.
    Nothing,
    /// Maybe something.
    Something,
    /// It depends on functions of these names, which must be asked for.
    Unknown(Vec<Box<[u8]>>),
}

/// See the module's text. Bounded: when it is full, all is forgotten.
#[derive(Debug, Default)]
pub struct Functions {
    /// By name; what all functions of that name together leave, and until when that is believed.
    known: FxHashMap<Box<[u8]>, (Body, Instant)>,
}

impl Functions {
    /// What calling these leaves behind, as far as it is known at `now`.
    pub fn judge(&self, calls: &Calls, now: Instant) -> Judgement {
        let mut unknown = Vec::new();
        let mut seen = FxHashSet::default();
        let mut open: Vec<&Calls> = vec![calls];
        while let Some(calls) = open.pop() {
            if calls.unreadable {
                return Judgement::Something;
            }
            for name in &calls.names {
                if !seen.insert(name) {
                    continue;
                }
                match self.known.get(name).filter(|(_, until)| now < *until) {
                    Some((Body::Leaves, _)) => return Judgement::Something,
                    Some((Body::Calls(calls), _)) => open.push(calls),
                    None => unknown.push(name.clone()),
                }
            }
        }
        match unknown.is_empty() {
            true => Judgement::Nothing,
            false => Judgement::Unknown(unknown),
        }
    }

    /// Functions of these names are being asked for: from now on they are known, as far as [`found`](Self::found) does not
    /// say more.
    pub fn asked(&mut self, names: Vec<Box<[u8]>>, now: Instant) {
        if self.known.len() + names.len() > FUNCTIONS_MAX {
            self.known.clear();
        }
        for name in names {
            self.known.insert(name, (Body::Calls(Calls::default()), now + BELIEVED));
        }
    }

    /// One function with a name that was asked for; its body, unless that cannot be judged.
    pub fn found(&mut self, name: &[u8], body: Option<&[u8]>) {
        let Some((known, _)) = self.known.get_mut(name) else { return };
        match (&mut *known, body.map_or(Body::Leaves, sql::body)) {
            (Body::Calls(known), Body::Calls(more)) => {
                known.unreadable |= more.unreadable;
                for name in more.names {
                    if !known.names.contains(&name) {
                        known.names.push(name);
                    }
                }
            }
            (Body::Leaves, _) => {}
            (known, Body::Leaves) => *known = Body::Leaves,
        }
    }

    /// Functions may have been made, changed or dropped.
    pub fn forget(&mut self) {
        self.known.clear();
    }
}

/// The query that asks for functions by name: a row for each, with its name and its body. The body is the source of those
/// in SQL and PL/pgSQL; of an aggregate, the calls of the functions it is made of; empty for what keeps nothing in the
/// session; null for all that cannot be judged: other languages, texts that are too long.
pub fn ask_for(names: &[Box<[u8]>]) -> Vec<u8> {
    let mut sql = ASK_HEAD.to_vec();
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            sql.push(b',');
        }
        sql.extend_from_slice(b"E'");
        for &byte in name.iter() {
            if matches!(byte, b'\'' | b'\\') {
                sql.push(byte);
            }
            sql.push(byte);
        }
        sql.push(b'\'');
    }
    sql.push(b')');
    sql
}

/// Built-in functions that keep something are known by name, but for those that run a text they are given.
const ASK_HEAD: &[u8] = b"SELECT p.proname, CASE \
    WHEN p.prokind = 'a' THEN (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(q.proname) || '(', ' ') \
        FROM pg_catalog.pg_aggregate a, pg_catalog.pg_proc q WHERE a.aggfnoid = p.oid AND q.oid IN (a.aggtransfn, \
        a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)) \
    WHEN l.lanname IN ('sql', 'plpgsql') THEN (SELECT CASE WHEN pg_catalog.length(s.body) <= 20000 THEN s.body END \
        FROM (SELECT COALESCE(pg_catalog.pg_get_function_sqlbody(p.oid), p.prosrc)) s (body)) \
    WHEN l.lanname = 'internal' AND p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname !~ \
        '^(query|cursor|table|schema|database)_to_xml|^ts_(stat|rewrite)$' THEN '' \
    WHEN l.lanname = 'c' AND (p.provolatile <> 'v' OR EXISTS (SELECT FROM pg_catalog.pg_depend d, \
        pg_catalog.pg_extension e WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid \
        AND d.deptype = 'e' AND e.oid = d.refobjid AND e.extname IN ('address_standardizer', 'bloom', 'btree_gin', \
        'btree_gist', 'citext', 'cube', 'dict_int', 'earthdistance', 'fuzzystrmatch', 'hstore', 'intarray', 'ip4r', \
        'isn', 'ltree', 'pageinspect', 'pg_buffercache', 'pg_freespacemap', 'pg_prewarm', 'pg_stat_statements', \
        'pg_trgm', 'pg_visibility', 'pgcrypto', 'pgrowlocks', 'pgstattuple', 'postgis', 'postgis_raster', 'seg', \
        'unaccent', 'uuid-ossp', 'vector'))) THEN '' \
    END FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.proname IN (";

/// How long an answer is believed, since functions may be changed where we do not see it.
const BELIEVED: Duration = Duration::from_secs(10);
/// Names kept for one database.
const FUNCTIONS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(names: &[&str]) -> Calls {
        Calls { names: names.iter().map(|name| name.as_bytes().into()).collect(), unreadable: false }
    }

    #[test]
    fn functions_are_judged_with_all_that_they_call() {
        let now = Instant::now();
        let mut functions = Functions::default();
        assert_eq!(functions.judge(&calls(&["abs"]), now), Judgement::Unknown(vec![(*b"abs").into()]));
        functions.asked(vec![(*b"f").into(), (*b"g").into(), (*b"none").into()], now);
        functions.found(b"f", Some(b"SELECT h(1), f(2)"));
        functions.found(b"g", Some(b"SELECT 1"));
        assert_eq!(functions.judge(&calls(&["g", "none"]), now), Judgement::Nothing);
        assert_eq!(functions.judge(&calls(&["f"]), now), Judgement::Unknown(vec![(*b"h").into()]));
        functions.asked(vec![(*b"h").into()], now);
        functions.found(b"h", Some(b""));
        assert_eq!(functions.judge(&calls(&["f"]), now), Judgement::Nothing);
        // A second function of that name is in a language that nobody can read.
        functions.found(b"h", None);
        functions.found(b"h", Some(b""));
        assert_eq!(functions.judge(&calls(&["f", "g"]), now), Judgement::Something);
        assert_eq!(functions.judge(&calls(&["g"]), now), Judgement::Nothing);
    }

    #[test]
    fn what_was_known_is_asked_again_after_a_while_or_a_change() {
        let now = Instant::now();
        let mut functions = Functions::default();
        functions.asked(vec![(*b"f").into()], now);
        assert_eq!(functions.judge(&calls(&["f"]), now), Judgement::Nothing);
        assert!(matches!(functions.judge(&calls(&["f"]), now + BELIEVED), Judgement::Unknown(_)));
        functions.forget();
        assert!(matches!(functions.judge(&calls(&["f"]), now), Judgement::Unknown(_)));
    }

    #[test]
    fn names_are_asked_for_as_literals() {
        let sql = ask_for(&[(*b"f").into(), (*b"it's \\").into()]);
        assert!(sql.ends_with(br"p.proname IN (E'f',E'it''s \\')"));
    }
}
