//! What the other side sent, taken apart. The forms are those of the manual's chapter on message formats.

use std::fmt;

/// One message: its tag and its body, without the length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub tag: u8,
    pub body: Vec<u8>,
}

impl Message {
    /// The columns of a DataRow as text; `None` is NULL.
    #[track_caller]
    pub fn row(&self) -> Vec<Option<String>> {
        assert_eq!(char::from(self.tag), 'D', "not a DataRow: {self:?}");
        let mut rest = Reader(&self.body);
        let count = rest.int16();
        (0..count)
            .map(|_| {
                let length = rest.int32();
                (length >= 0).then(|| text(rest.take(length.unsigned_abs() as usize)))
            })
            .collect()
    }

    /// The names of the columns of a RowDescription.
    #[track_caller]
    pub fn columns(&self) -> Vec<String> {
        assert_eq!(char::from(self.tag), 'T', "not a RowDescription: {self:?}");
        let mut rest = Reader(&self.body);
        let count = rest.int16();
        (0..count)
            .map(|_| {
                let name = rest.string();
                // Table, column, type, its size and modifier, format.
                rest.take(4 + 2 + 4 + 2 + 4 + 2);
                name
            })
            .collect()
    }

    /// The tag of a CommandComplete, such as `SELECT 1`; the name and value of a ParameterStatus; and so on.
    pub fn strings(&self) -> Vec<String> {
        let body = self.body.strip_suffix(&[0]).unwrap_or(&self.body);
        body.split(|&byte| byte == 0).map(text).collect()
    }

    /// The fields of an ErrorResponse or NoticeResponse.
    #[track_caller]
    pub fn error(&self) -> ServerError {
        assert!(matches!(self.tag, b'E' | b'N'), "neither an error nor a notice: {self:?}");
        let fields = self.body.split(|&byte| byte == 0).filter_map(|field| {
            let (&code, value) = field.split_first()?;
            Some((char::from(code), text(value)))
        });
        ServerError { fields: fields.collect() }
    }

    /// The transaction status of a ReadyForQuery: `I`, `T` or `E`.
    #[track_caller]
    pub fn status(&self) -> char {
        assert_eq!(char::from(self.tag), 'Z', "not a ReadyForQuery: {self:?}");
        char::from(self.body[0])
    }
}

/// The tags of messages as one string, to compare a whole exchange at a glance.
pub fn tags(messages: &[Message]) -> String {
    messages.iter().map(|message| char::from(message.tag)).collect()
}

/// What a query came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Of the last statement that had any.
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Option<String>>>,
    /// One for each statement.
    pub tags: Vec<String>,
    pub notices: Vec<ServerError>,
}

impl Outcome {
    /// Sums up what came for a query, up to its ReadyForQuery.
    ///
    /// # Errors
    /// The first error among the messages.
    pub(super) fn of(messages: &[Message]) -> Result<Self, ServerError> {
        let mut outcome = Self::default();
        for message in messages {
            match message.tag {
                b'C' => outcome.tags.extend(message.strings()),
                b'D' => outcome.rows.push(message.row()),
                b'E' => return Err(message.error()),
                b'N' => outcome.notices.push(message.error()),
                b'T' => {
                    outcome.columns = message.columns();
                    outcome.rows.clear();
                }
                _ => {}
            }
        }
        Ok(outcome)
    }

    /// The first column of the first row.
    #[track_caller]
    pub fn value(&self) -> &str {
        let first = self.rows.first().and_then(|row| row.first()).and_then(Option::as_deref);
        first.unwrap_or_else(|| panic!("no value in {self:?}"))
    }

    /// All values of a named column; NULL as the empty text.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<&str> {
        let index = self.columns.iter().position(|column| column == name);
        let index = index.unwrap_or_else(|| panic!("no column {name} among {:?}", self.columns));
        self.rows.iter().map(|row| row[index].as_deref().unwrap_or_default()).collect()
    }

    /// The value of `column` in the row whose `key` column holds `wanted`.
    #[track_caller]
    pub fn lookup(&self, key: &str, wanted: &str, column: &str) -> &str {
        let row = self.column(key).iter().position(|value| *value == wanted);
        let row = row.unwrap_or_else(|| panic!("no row has {key} = {wanted} in {self:?}"));
        self.column(column)[row]
    }

    /// The sum of a column of numbers.
    #[track_caller]
    pub fn sum(&self, column: &str) -> u64 {
        let values = self.column(column);
        values
            .iter()
            .map(|value| value.parse::<u64>().unwrap_or_else(|_| panic!("{value} in {column}")))
            .sum()
    }
}

/// An ErrorResponse or a NoticeResponse.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerError {
    /// By the one-letter codes of the manual.
    pub fields: Vec<(char, String)>,
}

impl ServerError {
    pub fn field(&self, code: char) -> &str {
        self.fields.iter().find(|(known, _)| *known == code).map_or("", |(_, value)| value)
    }

    pub fn sqlstate(&self) -> &str {
        self.field('C')
    }

    pub fn message(&self) -> &str {
        self.field('M')
    }

    pub fn severity(&self) -> &str {
        self.field('V')
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.severity(), self.sqlstate(), self.message())?;
        for (label, code) in [("detail", 'D'), ("hint", 'H')] {
            if !self.field(code).is_empty() {
                write!(f, " ({label}: {})", self.field(code))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for ServerError {}

/// Reads a body that the other side promised to be well-formed; a test may well panic when it is not.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    #[track_caller]
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let split = self.0.split_at_checked(count);
        let (taken, rest) =
            split.unwrap_or_else(|| panic!("{count} bytes wanted, {} are left", self.0.len()));
        self.0 = rest;
        taken
    }

    #[track_caller]
    pub fn int16(&mut self) -> i16 {
        let bytes = self.take(2);
        i16::from_be_bytes([bytes[0], bytes[1]])
    }

    #[track_caller]
    pub fn int32(&mut self) -> i32 {
        let bytes = self.take(4);
        i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    #[track_caller]
    pub fn string(&mut self) -> String {
        let end = self.0.iter().position(|&byte| byte == 0);
        let taken = self.take(end.expect("a string ends with a zero"));
        self.take(1);
        text(taken)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
