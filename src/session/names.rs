//! The names of a session's prepared statements, and the changes of them that were sent and not answered yet.

use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::sql::{Mention, Verb};

use super::Statement;
use super::changes::Request;

/// See the module's text.
#[derive(Default)]
pub(super) struct Names {
    statements: FxHashMap<Box<[u8]>, Rc<Statement>>,
    unnamed: Option<Rc<Statement>>,
    /// In the order sent, which is the order they are answered in.
    pending: VecDeque<Pending>,
    /// Names of statements that SQL has prepared, or was to: they are the server's to know.
    by_sql: FxHashSet<Box<[u8]>>,
    /// What the unanswered texts give up, in order.
    forgetting: VecDeque<(Request, Forget)>,
    /// The portal whose execution gives names up, and what it gives up.
    portal: Option<(Box<[u8]>, Vec<Forget>)>,
}

/// What a statement gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Forget {
    One(Box<[u8]>),
    All,
}

/// What became of statements.
#[derive(Clone, Debug)]
pub enum Forgotten {
    Nothing,
    /// This one is not on the backend any more.
    One(Rc<Statement>),
    /// None is.
    All,
}

/// A change that was not answered yet.
enum Pending {
    /// A Parse of this name; the statement it makes, unless the name is taken.
    Parse(Box<[u8]>, Option<Rc<Statement>>),
    /// A Parse of the unnamed statement; the one before.
    Unnamed(Option<Rc<Statement>>),
    /// A Close of this name, which was this statement's.
    Close(Box<[u8]>, Rc<Statement>),
}

impl Names {
    /// Whether everything that was sent was answered.
    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty() && self.forgetting.is_empty()
    }

    /// What is kept of quiet ones: the unnamed statement, and the names, if there are any.
    pub fn rest(self) -> (Option<Rc<Statement>>, Option<Box<Names>>) {
        let Names { statements, unnamed, by_sql, portal, pending: _, forgetting: _ } = self;
        let named = !statements.is_empty() || !by_sql.is_empty() || portal.is_some();
        let names = named.then(|| Box::new(Names { statements, by_sql, portal, ..Names::default() }));
        (unnamed, names)
    }

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

    /// All names with their statements, in the order these were first prepared by anybody.
    pub fn in_order(&self) -> impl Iterator<Item = (&[u8], &Rc<Statement>)> {
        let mut all: Vec<_> = self.statements.iter().map(|(name, statement)| (&**name, statement)).collect();
        all.sort_by_key(|(_, statement)| statement.id());
        all.into_iter()
    }

    /// The unnamed statement becomes this one.
    pub fn set_unnamed(&mut self, statement: Option<Rc<Statement>>) {
        self.unnamed = statement;
    }

    /// A name becomes that of a statement. pgweir answers, so nothing is pending.
    pub fn set(&mut self, name: &[u8], statement: Rc<Statement>) {
        self.statements.insert(name.into(), statement);
    }

    /// The unnamed statement is being parsed, as this one if it is known here.
    pub fn parse_unnamed(&mut self, statement: Option<Rc<Statement>>) {
        let before = std::mem::replace(&mut self.unnamed, statement);
        self.pending.push_back(Pending::Unnamed(before));
    }

    /// A Parse of this name is being sent; the statement it makes, unless the name is taken.
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

    /// SQL has no statement prepared any more.
    pub fn none_by_sql(&mut self) {
        self.by_sql.clear();
    }

    /// Whether SQL may have taken this name.
    pub fn taken_by_sql(&self, name: &[u8]) -> bool {
        self.by_sql.contains(name)
    }

    /// A text is being sent with this request that mentions these.
    pub fn mentioned(&mut self, mentions: &[Mention<'_>], request: Request) {
        for mention in mentions {
            let name = mention.name.as_bytes();
            if mention.verb == Verb::Prepare && !self.statements.contains_key(name) {
                self.by_sql.insert(name.into());
            }
        }
        self.forgetting.extend(forgets(mentions).map(|forget| (request, forget)));
    }

    /// A portal is being made of a statement that mentions these.
    pub fn bound(&mut self, portal: &[u8], mentions: &[Mention<'_>]) {
        for mention in mentions.iter().filter(|mention| mention.verb == Verb::Prepare) {
            self.by_sql.insert(mention.name.as_bytes().into());
        }
        let forgets: Vec<_> = forgets(mentions).collect();
        if !forgets.is_empty() {
            self.portal = Some((portal.into(), forgets));
        } else if self.portal.as_ref().is_some_and(|(known, _)| **known == *portal) {
            self.portal = None;
        }
    }

    /// A portal is being run with this request. True when that gives names up.
    pub fn run(&mut self, portal: &[u8], request: Request) -> bool {
        match &self.portal {
            Some((known, forgets)) if **known == *portal => {
                self.forgetting.extend(forgets.iter().map(|forget| (request, forget.clone())));
                true
            }
            _ => false,
        }
    }

    /// Whether the answer is still to come that decides whether names are given up.
    pub fn forgetting(&self) -> bool {
        !self.forgetting.is_empty()
    }

    /// The server completed something with this tag.
    pub fn completed(&mut self, tag: &[u8]) -> Forgotten {
        let all = matches!(tag, b"DEALLOCATE ALL" | b"DISCARD ALL");
        if !all && tag != b"DEALLOCATE" {
            return Forgotten::Nothing;
        }
        match (all, self.forgetting.pop_front().map(|(_, forget)| forget)) {
            (false, Some(Forget::One(name))) => {
                self.by_sql.remove(&name);
                self.statements.remove(&name).map_or(Forgotten::Nothing, Forgotten::One)
            }
            (false, _) => Forgotten::Nothing,
            (true, _) => {
                self.statements.clear();
                self.by_sql.clear();
                Forgotten::All
            }
        }
    }

    /// What was to be given up with the requests up to this one, and was not yet, stays.
    pub fn decided(&mut self, request: Request) {
        self.forgetting.retain(|(later, _)| *later > request);
    }

    /// What the client calls the statement with this number, or called it when what is being answered was sent.
    pub fn name_of(&self, id: u64) -> Option<&[u8]> {
        let closing = self.pending.iter().filter_map(|pending| match pending {
            Pending::Close(name, statement) => Some((name, statement)),
            Pending::Parse(..) | Pending::Unnamed(_) => None,
        });
        let mut known = closing.chain(&self.statements);
        known.find(|(_, statement)| statement.id().get() == id).map(|(name, _)| &**name)
    }

    /// The oldest changes that were not answered yet, so many together, did not happen. `failed`: whether the first is a
    /// Parse that failed.
    pub fn did_not_happen(&mut self, count: usize, failed: bool) {
        let count = count.min(self.pending.len());
        let mut unnamed = None;
        // Last first, since one may have used the name another had freed.
        for (at, pending) in self.pending.drain(..count).enumerate().rev() {
            match pending {
                Pending::Parse(name, Some(_)) => {
                    self.statements.remove(&name);
                }
                // A Parse that fails leaves no unnamed statement, not even the one before.
                Pending::Unnamed(_) if at == 0 && failed => unnamed = Some(None),
                Pending::Unnamed(before) => unnamed = Some(before),
                Pending::Parse(..) => {}
                Pending::Close(name, statement) => {
                    self.statements.insert(name, statement);
                }
            }
        }
        let Some(unnamed) = unnamed else { return };
        // Another one may have been sent behind them.
        let later = self.pending.iter_mut().find_map(|pending| match pending {
            Pending::Unnamed(before) => Some(before),
            Pending::Parse(..) | Pending::Close(..) => None,
        });
        *later.unwrap_or(&mut self.unnamed) = unnamed;
    }

    /// Nothing that was not answered yet happened.
    pub fn nothing_happened(&mut self) {
        self.did_not_happen(self.pending.len(), false);
    }

    /// The oldest Close that was not answered yet was answered.
    pub fn closed(&mut self) {
        self.pending.pop_front();
    }

    /// The oldest Parse that was not answered yet was answered. The statement it made, if no server had accepted that
    /// before.
    pub fn parsed(&mut self) -> Option<Rc<Statement>> {
        match self.pending.pop_front() {
            Some(Pending::Parse(_, Some(statement))) => statement.accepted().then_some(statement),
            _ => None,
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

fn forgets<'m>(mentions: &'m [Mention<'_>]) -> impl Iterator<Item = Forget> + use<'m> {
    mentions.iter().filter_map(|mention| match mention.verb {
        Verb::Deallocate => Some(Forget::One(mention.name.as_bytes().into())),
        Verb::DeallocateAll => Some(Forget::All),
        Verb::Prepare | Verb::Execute | Verb::View { .. } => None,
    })
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
