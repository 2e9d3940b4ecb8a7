//! Running statements: those of a Query one by one, and any of them for the extended protocol.

use super::canned::Canned;
use super::connection::Connection;
use super::rows::Rows;
use super::statement::{Kind, split};
use crate::wire::backend::{
    command_complete, copy_response, data_row, parameter_status, ready, row_description,
};

impl Connection {
    /// A Query: all its statements, and ReadyForQuery.
    pub(super) fn query(&mut self, canned: &Canned, text: &[u8], out: &mut Vec<u8>) {
        self.querying = true;
        let (statement, mut rest) = split(text);
        let mut kind = Kind::of(statement);
        while kind == Kind::Empty && !rest.is_empty() {
            let (statement, further) = split(rest);
            (kind, rest) = (Kind::of(statement), further);
        }
        self.script.extend_from_slice(rest);
        self.run_of_query(canned, &kind, out);
        self.run_script(canned, out);
    }

    /// Runs the rest of a Query, as far as there is room for its results.
    pub(super) fn run_script(&mut self, canned: &Canned, out: &mut Vec<u8>) {
        while self.rows.is_none() && !self.copying() {
            if self.script.is_empty() {
                self.querying = false;
                return ready(out, self.status);
            }
            let script = std::mem::take(&mut self.script);
            let (statement, rest) = split(&script);
            self.script.extend_from_slice(rest);
            match Kind::of(statement) {
                // Semicolons without a statement between them say nothing.
                Kind::Empty => {}
                kind => self.run_of_query(canned, &kind, out),
            }
        }
    }

    fn run_of_query(&mut self, canned: &Canned, kind: &Kind, out: &mut Vec<u8>) {
        if self.status != b'E' {
            describe(canned, kind, 0, out);
        }
        self.run(canned, kind, 0, canned.rows, out);
    }

    /// Runs one statement: appends its rows, up to `limit` (0: all) of the `left` that it has, and its tag.
    pub(super) fn run(&mut self, canned: &Canned, kind: &Kind, limit: u64, left: u64, out: &mut Vec<u8>) {
        if self.status == b'E'
            && !matches!(kind, Kind::Commit | Kind::Rollback | Kind::RollbackTo | Kind::Empty)
        {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return self.fail(out, "25P02", message);
        }
        match kind {
            Kind::Empty => Connection::empty(out),
            Kind::Select if limit == 0 && left == canned.rows && !canned.select.is_empty() => {
                out.extend_from_slice(&canned.select[canned.description.len()..]);
            }
            Kind::Select => {
                let rows = match limit {
                    1.. if limit < left => Rows::suspended(limit),
                    _ => Rows::select(left),
                };
                self.rows = Some(rows);
                self.finish_rows(canned, out);
            }
            Kind::Probe(depth) => {
                out.extend_from_slice(&canned.probe(*depth)[1]);
                command_complete(out, "SELECT 1");
            }
            Kind::Show(name) => match canned.shown(name) {
                Some(value) => {
                    data_row(out, [Some(value.as_bytes())].into_iter());
                    command_complete(out, "SHOW");
                }
                None => self.fail(out, "42704", "unrecognized configuration parameter"),
            },
            Kind::Begin(tag) => {
                self.status = b'T';
                command_complete(out, tag);
            }
            Kind::Commit => {
                let tag = if self.status == b'E' { "ROLLBACK" } else { "COMMIT" };
                self.status = b'I';
                command_complete(out, tag);
            }
            Kind::Rollback => {
                self.status = b'I';
                command_complete(out, "ROLLBACK");
            }
            Kind::RollbackTo => {
                if self.status == b'E' {
                    self.status = b'T';
                }
                command_complete(out, "ROLLBACK");
            }
            Kind::Set(reported) => {
                command_complete(out, "SET");
                if let Some((name, value)) = reported {
                    self.changed = true;
                    parameter_status(out, name.as_bytes(), value);
                }
            }
            Kind::Reset(tag) => {
                command_complete(out, tag);
                self.reset_parameters(canned, out);
                if *tag == "DISCARD ALL" {
                    self.extended.forget();
                }
            }
            Kind::CopyIn => self.copy_in(out),
            Kind::CopyOut => {
                copy_response(out, b'H');
                self.rows = Some(Rows::copy(canned.rows));
                self.finish_rows(canned, out);
            }
            Kind::Done(tag) => command_complete(out, tag),
            Kind::Unknown => self.fail(out, "42601", "syntax error: this server does not know the statement"),
        }
    }
}

/// Appends the RowDescription of the statement's result, with columns in `format`. False where it has no result.
pub(super) fn describe(canned: &Canned, kind: &Kind, format: u16, out: &mut Vec<u8>) -> bool {
    match kind {
        Kind::Select => out.extend_from_slice(&canned.description),
        Kind::Probe(depth) => out.extend_from_slice(&canned.probe(*depth)[0]),
        Kind::Show(name) if canned.shown(name).is_some() => row_description(out, &[name], 0),
        _ => return false,
    }
    // The text of a text is the same in both formats, and the format is what a description of one column ends with.
    if *kind == Kind::Select && format != 0 {
        let end = out.len();
        out[end - 2..].copy_from_slice(&format.to_be_bytes());
    }
    true
}
