//! What a session finds in `pg_prepared_statements`: a backend shows what it has prepared for anybody, under our names.

use super::names::Names;
use super::settings::literal;

impl Names {
    /// Appends what stands for the view in a FROM clause: a subquery with the session's own statements under its own
    /// names. What SQL has prepared is there as it is. All that the view has besides names is left as the server shows it,
    /// whatever columns its version has.
    pub(super) fn put_view(&self, aliased: bool, out: &mut Vec<u8>) {
        let mut names = Vec::new();
        for (name, statement) in self.in_order() {
            names.extend_from_slice(if names.is_empty() { b"" } else { b"," });
            names.push(b'(');
            names.extend_from_slice(&literal(&statement.backend_name()));
            names.push(b',');
            names.extend_from_slice(&literal(name));
            names.push(b')');
        }
        if names.is_empty() {
            out.extend_from_slice(b"(SELECT * FROM pg_catalog.pg_prepared_statements WHERE from_sql)");
        } else {
            out.extend_from_slice(
                b"(SELECT (pg_catalog.jsonb_populate_record(s, pg_catalog.jsonb_build_object('name', \
                  COALESCE(n.name, s.name)))).* FROM pg_catalog.pg_prepared_statements s LEFT JOIN (VALUES ",
            );
            out.extend_from_slice(&names);
            out.extend_from_slice(
                b") n(known, name) ON n.known = s.name WHERE s.from_sql OR n.known IS NOT NULL)",
            );
        }
        if !aliased {
            out.extend_from_slice(b" AS pg_prepared_statements");
        }
    }
}
