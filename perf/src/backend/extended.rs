//! The extended protocol: statements and portals of one connection, and the pipeline that an error skips.

use std::collections::HashMap;

use super::canned::Canned;
use super::connection::{Connection, Goodbye};
use super::simple::describe;
use super::statement::{Kind, parameters, split};
use crate::wire::backend::{bare, parameter_description};
use crate::wire::{Frame, Reader, Violation};

#[derive(Default)]
pub(super) struct Extended {
    /// The unnamed one apart, so that no name is allocated for each query.
    unnamed: Option<Statement>,
    statements: HashMap<Box<[u8]>, Statement>,
    unnamed_portal: Option<Portal>,
    portals: HashMap<Box<[u8]>, Portal>,
    /// True exactly from an error until the next Sync.
    skipping: bool,
}

#[derive(Clone)]
struct Statement {
    kind: Kind,
    /// How many parameters it has.
    parameters: u16,
}

struct Portal {
    kind: Kind,
    /// The format of the result's columns: 0 text, 1 binary.
    format: u16,
    /// Rows not yet fetched.
    left: u64,
}

impl Extended {
    /// Skips what comes before the next Sync, if `skip`.
    pub fn skip(&mut self, skip: bool) {
        self.skipping |= skip;
    }

    /// At a Sync: the pipeline ends, and with it the transaction's portals unless a block is open.
    pub fn synchronize(&mut self, status: u8) {
        self.skipping = false;
        if status == b'I' {
            self.unnamed_portal = None;
            self.portals.clear();
        }
    }

    /// All statements and portals are gone.
    pub fn forget(&mut self) {
        *self = Extended { skipping: self.skipping, ..Extended::default() };
    }

    fn statement(&self, name: &[u8]) -> Option<&Statement> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.statements.get(name) }
    }

    fn portal(&mut self, name: &[u8]) -> Option<&mut Portal> {
        if name.is_empty() { self.unnamed_portal.as_mut() } else { self.portals.get_mut(name) }
    }
}

impl Connection {
    /// Parse, Bind, Describe, Execute, Close or Flush.
    pub(super) fn extended_message(
        &mut self,
        canned: &Canned,
        frame: Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Goodbye> {
        if self.extended.skipping {
            return Ok(());
        }
        let reader = Reader::new(frame.body);
        match frame.tag {
            b'P' => self.parse(reader, out)?,
            b'B' => self.bind(canned, reader, out)?,
            b'D' => self.describe(canned, reader, out)?,
            b'E' => self.execute(canned, reader, out)?,
            b'C' => self.close(reader, out)?,
            // Flush: everything is sent at once anyway.
            _ => {}
        }
        Ok(())
    }

    fn parse(&mut self, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
        let (name, text) = (reader.text()?, reader.text()?);
        let declared = reader.u16()?;
        let (first, rest) = split(text);
        if !rest.trim_ascii().is_empty() {
            self.fail(out, "42601", "cannot insert multiple commands into a prepared statement");
            return Ok(());
        }
        let kind = Kind::of(first);
        if kind == Kind::Unknown {
            self.fail(out, "42601", "syntax error: this server does not know the statement");
            return Ok(());
        }
        let statement = Statement { kind, parameters: parameters(first).max(declared) };
        if name.is_empty() {
            self.extended.unnamed = Some(statement);
        } else if self.extended.statements.contains_key(name) {
            let message = format!("prepared statement \"{}\" already exists", String::from_utf8_lossy(name));
            self.fail(out, "42P05", &message);
            return Ok(());
        } else {
            self.extended.statements.insert(name.into(), statement);
        }
        bare(out, b'1');
        Ok(())
    }

    fn bind(&mut self, canned: &Canned, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
        let (portal, name) = (reader.text()?, reader.text()?);
        let formats = reader.u16()?;
        reader.bytes(2 * formats as usize)?;
        let given = reader.u16()?;
        for _ in 0..given {
            // -1 is a null.
            let length = reader.u32()?;
            reader.bytes(if length == u32::MAX { 0 } else { length as usize })?;
        }
        let format = if reader.u16()? > 0 { reader.u16()? } else { 0 };
        let Some(statement) = self.extended.statement(name) else {
            self.missing(name, out);
            return Ok(());
        };
        if statement.parameters != given {
            let message = format!(
                "bind message supplies {given} parameters, but the prepared statement requires {}",
                statement.parameters
            );
            self.fail(out, "08P01", &message);
            return Ok(());
        }
        let bound = Portal { kind: statement.kind.clone(), format, left: canned.rows };
        if portal.is_empty() {
            self.extended.unnamed_portal = Some(bound);
        } else {
            self.extended.portals.insert(portal.into(), bound);
        }
        bare(out, b'2');
        Ok(())
    }

    fn describe(
        &mut self,
        canned: &Canned,
        mut reader: Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let (what, name) = (reader.u8()?, reader.text()?);
        let (kind, format) = if what == b'S' {
            let Some(statement) = self.extended.statement(name) else {
                self.missing(name, out);
                return Ok(());
            };
            parameter_description(out, statement.parameters);
            (&statement.kind, 0)
        } else {
            let Some(portal) = self.extended.portal(name) else {
                self.no_portal(name, out);
                return Ok(());
            };
            (&portal.kind, portal.format)
        };
        if !describe(canned, kind, format, out) {
            bare(out, b'n');
        }
        Ok(())
    }

    fn execute(
        &mut self,
        canned: &Canned,
        mut reader: Reader<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let (name, limit) = (reader.text()?, u64::from(reader.u32()?));
        let Some(portal) = self.extended.portal(name) else {
            self.no_portal(name, out);
            return Ok(());
        };
        let (kind, left) = (portal.kind.clone(), portal.left);
        portal.left = if limit == 0 { 0 } else { left.saturating_sub(limit) };
        self.run(canned, &kind, limit, left, out);
        Ok(())
    }

    fn close(&mut self, mut reader: Reader<'_>, out: &mut Vec<u8>) -> Result<(), Violation> {
        // What is not there is closed without an error.
        match (reader.u8()?, reader.text()?) {
            (b'S', b"") => self.extended.unnamed = None,
            (b'S', name) => drop(self.extended.statements.remove(name)),
            (_, b"") => self.extended.unnamed_portal = None,
            (_, name) => drop(self.extended.portals.remove(name)),
        }
        bare(out, b'3');
        Ok(())
    }

    fn missing(&mut self, name: &[u8], out: &mut Vec<u8>) {
        let message = match name {
            b"" => "unnamed prepared statement does not exist".to_owned(),
            _ => format!("prepared statement \"{}\" does not exist", String::from_utf8_lossy(name)),
        };
        self.fail(out, "26000", &message);
    }

    fn no_portal(&mut self, name: &[u8], out: &mut Vec<u8>) {
        let message = format!("portal \"{}\" does not exist", String::from_utf8_lossy(name));
        self.fail(out, "34000", &message);
    }
}
