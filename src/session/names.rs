//! The names of a session's prepared statements, and the changes of them that were sent and not answered yet.

use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::Statement;

/// See the module's text.
#[derive(Default)]
pub(super) struct Names {
    statements: FxHashMap<Box<[u8]>, Rc<Statement>>,
    unnamed: Option<Rc<Statement>>,
    /// In the order sent, which is the order they are answered in.
    pending: VecDeque<Pending>,
}

/// A change that was not answered yet.
enum Pending {
    /// A Parse of this name; the statement it makes, unless the name is taken or empty.
    Parse(Box<[u8]>, Option<Rc<Statement>>),
    /// A Close of this name, which was this statement's.
    Close(Box<[u8]>, Rc<Statement>),
}

impl Names {
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// The statement of a name; the empty name is that of the unnamed one.
    pub fn get(&self, name: &[u8]) -> Option<&Rc<Statement>> {
        match name {
            b"" => self.unnamed.as_ref(),
            name => self.statements.get(name),
        }
    }

    /// The unnamed statement becomes this one.
    pub fn set_unnamed(&mut self, statement: Option<Rc<Statement>>) {
        self.unnamed = statement;
    }

    /// A name becomes that of a statement. pgweir answers, so nothing is pending.
    pub fn set(&mut self, name: &[u8], statement: Rc<Statement>) {
        self.statements.insert(name.into(), statement);
    }

    /// A Parse of this name is being sent; the statement it makes, unless the name is taken or empty.
    pub fn parse(&mut self, name: &[u8], makes: Option<Rc<Statement>>) {
        if let Some(statement) = &makes {
            self.statements.insert(name.into(), statement.clone());
        }
        self.pending.push_back(Pending::Parse(name.into(), makes));
    }

    /// A name is being closed. False when it is nobody's.
    pub fn close(&mut self, name: &[u8]) -> bool {
        let closed = self.statements.remove(name);
        let known = closed.is_some();
        self.pending.extend(closed.map(|statement| Pending::Close(name.into(), statement)));
        known
    }

    /// A name is given up at once.
    pub fn remove(&mut self, name: &[u8]) -> Option<Rc<Statement>> {
        self.statements.remove(name)
    }

    /// All names are given up, but for the unnamed statement.
    pub fn clear(&mut self) {
        self.statements.clear();
    }

    /// The oldest changes that were not answered yet, so many together, did not happen.
    pub fn did_not_happen(&mut self, count: usize) {
        let count = count.min(self.pending.len());
        // Last first, since one may have used the name another had freed.
        for pending in self.pending.drain(..count).rev() {
            match pending {
                Pending::Parse(name, Some(_)) => {
                    self.statements.remove(&name);
                }
                // A Parse that fails leaves no unnamed statement, not even the one before.
                Pending::Parse(name, None) if name.is_empty() => self.unnamed = None,
                Pending::Parse(..) => {}
                Pending::Close(name, statement) => {
                    self.statements.insert(name, statement);
                }
            }
        }
    }

    /// Nothing that was not answered yet happened.
    pub fn nothing_happened(&mut self) {
        self.did_not_happen(self.pending.len());
    }

    /// The oldest Close that was not answered yet was answered.
    pub fn closed(&mut self) {
        self.pending.pop_front();
    }

    /// The oldest Parse that was not answered yet was answered.
    pub fn parsed(&mut self) {
        if let Some(Pending::Parse(_, Some(statement))) = self.pending.pop_front() {
            statement.accepted();
        }
    }

    /// The name of the oldest Parse not answered yet.
    pub fn parsing(&self) -> &[u8] {
        match self.pending.front() {
            Some(Pending::Parse(name, _)) => name,
            _ => b"",
        }
    }
}

/// The name in a single `DEALLOCATE [PREPARE] name`, as the server folds it. `None` when the text is anything else, or
/// written in a way that is not worth following.
pub(super) fn deallocated(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.trim().trim_end_matches(';').trim_end().splitn(2, char::is_whitespace);
    words.next().filter(|word| word.eq_ignore_ascii_case("deallocate"))?;
    let mut name = words.next()?.trim();
    if let Some((first, rest)) = name.split_once(char::is_whitespace)
        && first.eq_ignore_ascii_case("prepare")
    {
        name = rest.trim();
    }
    if let Some(quoted) = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        return (!quoted.contains('"')).then(|| quoted.as_bytes().to_vec());
    }
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (plain && !name.is_empty()).then(|| name.to_ascii_lowercase().into_bytes())
}
