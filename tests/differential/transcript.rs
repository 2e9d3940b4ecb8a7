//! What came back, as lines that can be compared and read. Nothing of a message is left out but what differs between any
//! two servers: process ids and secrets, the ids of what was made there, the numbers of temporary schemas, and where in the
//! server's source an error comes from.

use std::collections::HashMap;

use crate::harness::Message;

/// Turns the messages of one side into lines.
#[derive(Default)]
pub struct Scribe {
    /// The numbers, in the order of their first appearance, of ids that the server gave to tables and types.
    ids: HashMap<u32, usize>,
}

/// What came of one step.
pub type Lines = Vec<String>;

impl Scribe {
    /// Writes down what came of a step. Reported parameters are put in the order of their names before the message they
    /// were reported for, since a server reports them in no order that means anything. Notifications are put at the end:
    /// whether they came before a step or at the end of one of its queries is a matter of chance.
    pub fn write(&mut self, messages: &[Message]) -> Lines {
        let mut lines = Lines::new();
        let (mut reported, mut notified) = (Lines::new(), Lines::new());
        for message in messages {
            match message.tag {
                b'A' => notified.push(self.line(message)),
                b'S' => reported.push(format!("ParameterStatus {}", message.strings().join(" = "))),
                b'Z' => {
                    reported.sort();
                    lines.append(&mut reported);
                    lines.push(self.line(message));
                }
                _ => lines.push(self.line(message)),
            }
        }
        reported.sort();
        lines.append(&mut reported);
        lines.append(&mut notified);
        lines
    }

    fn line(&mut self, message: &Message) -> String {
        let mut body = Body(&message.body);
        match message.tag {
            b'1' => format!("ParseComplete{}", body.rest()),
            b'2' => format!("BindComplete{}", body.rest()),
            b'3' => format!("CloseComplete{}", body.rest()),
            b'A' => {
                body.number::<4>();
                format!("NotificationResponse {}", body.rest())
            }
            b'C' => format!("CommandComplete {}", body.rest()),
            b'D' => format!("DataRow {}", body.values()),
            b'E' => format!("ErrorResponse {}", fields(message)),
            b'G' => format!("CopyInResponse {}", body.rest()),
            b'H' => format!("CopyOutResponse {}", body.rest()),
            b'I' => format!("EmptyQueryResponse{}", body.rest()),
            b'K' => "BackendKeyData".to_owned(),
            b'N' => format!("NoticeResponse {}", fields(message)),
            b'R' => format!("Authentication {}", body.rest()),
            b'T' => format!("RowDescription {}", self.columns(&mut body)),
            b'V' => format!("FunctionCallResponse {}", body.rest()),
            b'Z' => format!("ReadyForQuery {}", body.rest()),
            b'c' => format!("CopyDone{}", body.rest()),
            b'd' => format!("CopyData {}", body.rest()),
            b'n' => format!("NoData{}", body.rest()),
            b's' => format!("PortalSuspended{}", body.rest()),
            b't' => format!("ParameterDescription {}", self.types(&mut body)),
            b'v' => format!("NegotiateProtocolVersion {}", body.rest()),
            other => format!("{:?} {}", char::from(other), body.rest()),
        }
    }

    fn columns(&mut self, body: &mut Body<'_>) -> String {
        let count = body.number::<2>();
        let columns = (0..count).map(|_| {
            let (name, table, column) = (body.string(), body.number::<4>(), body.number::<2>());
            let (kind, size, modifier, format) =
                (body.number::<4>(), body.number::<2>(), body.number::<4>(), body.number::<2>());
            let (table, kind) = (self.id(table), self.id(kind));
            format!("{name} ({table}.{column}, type {kind} {size} {modifier}, format {format})")
        });
        columns.collect::<Vec<_>>().join(", ") + &body.rest()
    }

    fn types(&mut self, body: &mut Body<'_>) -> String {
        let count = body.number::<2>();
        let types = (0..count).map(|_| self.id(body.number::<4>()));
        types.collect::<Vec<_>>().join(", ") + &body.rest()
    }

    fn id(&mut self, id: u32) -> String {
        if id < FIRST_ID {
            return id.to_string();
        }
        let next = self.ids.len();
        format!("#{}", self.ids.entry(id).or_insert(next))
    }
}

/// The kind of a line, without what is particular: what a hundred failures have in common.
pub fn kind_of(line: &str) -> String {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default();
    match name {
        "ErrorResponse" | "NoticeResponse" => {
            let state = words.find_map(|word| word.strip_prefix("C=")).unwrap_or_default();
            format!("{name} {}", state.trim_end_matches(';'))
        }
        "ReadyForQuery" | "CommandComplete" | "ParameterStatus" => {
            format!("{name} {}", words.next().unwrap_or_default())
        }
        _ => name.to_owned(),
    }
}

fn fields(message: &Message) -> String {
    let fields = message.error().fields;
    let fields = fields.iter().filter(|(code, _)| !matches!(code, 'F' | 'L' | 'R'));
    let fields = fields.map(|(code, value)| format!("{code}={}", without_schema_numbers(value)));
    fields.collect::<Vec<_>>().join("; ")
}

/// `pg_temp_7` and `pg_toast_temp_7` without the number, which says on which backend something is.
fn without_schema_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("temp_") {
        let (before, after) = rest.split_at(at + "temp_".len());
        out.push_str(before);
        rest = after.trim_start_matches(|digit: char| digit.is_ascii_digit());
    }
    out + rest
}

/// Reads a body; what is missing counts as 0, so that a broken message is written down too, and not like a good one.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn number<const SIZE: usize>(&mut self) -> u32 {
        let (taken, rest) = self.0.split_at(SIZE.min(self.0.len()));
        self.0 = rest;
        taken.iter().fold(0, |number, &byte| number << 8 | u32::from(byte))
    }

    fn string(&mut self) -> String {
        let end = self.0.iter().position(|&byte| byte == 0).unwrap_or(self.0.len());
        let text = self.0[..end].escape_ascii().to_string();
        self.0 = &self.0[(end + 1).min(self.0.len())..];
        text
    }

    fn values(&mut self) -> String {
        let count = self.number::<2>();
        let values = (0..count).map(|_| match self.number::<4>() {
            u32::MAX => "NULL".to_owned(),
            size => {
                let (value, rest) = self.0.split_at((size as usize).min(self.0.len()));
                self.0 = rest;
                format!("'{}'", value.escape_ascii())
            }
        });
        values.collect::<Vec<_>>().join(", ") + &self.rest()
    }

    /// Whatever is left, which is nothing behind a body that was read to its end.
    fn rest(&mut self) -> String {
        std::mem::take(&mut self.0).escape_ascii().to_string()
    }
}

/// Ids below belong to what every server is made with (FirstNormalObjectId).
const FIRST_ID: u32 = 16384;
