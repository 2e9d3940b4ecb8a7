//! What a session answers to a frame: what is to be done with it, and what that needs.

use std::rc::Rc;

use crate::sql::Intent;
use crate::wire::backend::Report;

use super::Statement;

/// What a frame needs to be served, from least to most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Nothing by itself.
    #[default]
    Nothing,
    /// Any node.
    Any,
    /// A node for a read.
    Read,
    /// The primary.
    Write,
}

/// What to do with a frame from the client.
#[derive(Debug)]
pub enum Order {
    /// A simple query.
    Query,
    /// A simple query that names statements of the protocol: sent as this frame, which calls them what backends do.
    QueryRenamed {
        frame: Box<[u8]>,
        needs: Vec<Rc<Statement>>,
    },
    /// A Parse that the server sees as it came: unnamed statements, and texts too long to be kept.
    ParseAsIs(Option<Rc<Statement>>),
    /// A Parse of a named statement, under our own name.
    Parse(Rc<Statement>),
    /// A Parse of a name that is taken, by this statement.
    ParseDuplicate(Rc<Statement>),
    /// A Parse of a name that SQL has taken on this session's own backend: the server decides.
    ParseTaken,
    /// A Bind; the names take so many bytes of the body.
    Bind {
        statement: Bound,
        portal: usize,
        names: usize,
    },
    /// A Describe of a named statement.
    Describe(Rc<Statement>),
    /// A Describe of a statement that names others.
    DescribeRenamed(Renamed),
    /// A Describe of the unnamed statement.
    DescribeUnnamed(Rc<Statement>),
    /// A Describe of a portal, or of something unknown.
    DescribeAsIs,
    Execute,
    /// An Execute that gives up names: what comes behind it depends on how it ends.
    ExecuteForgets,
    /// A Close of a named statement: forgotten here; backends keep theirs for others.
    CloseStatement,
    /// A Close of a portal, or of the unnamed statement.
    CloseAsIs,
    Sync,
    Flush,
    FunctionCall,
    /// CopyData, CopyDone, CopyFail.
    Copy,
    Terminate,
    /// DEALLOCATE of a statement that was prepared by the protocol: done here.
    Deallocate,
    /// Refused without asking a server.
    Refuse(Box<Report>),
    /// A simple query that pgweir answers itself.
    Console(Box<[u8]>),
    /// The same by the extended protocol, step by step.
    ConsoleParse,
    ConsoleBind,
    ConsoleDescribe {
        statement: Rc<Statement>,
        portal: bool,
    },
    ConsoleExecute(Rc<Statement>),
}

impl Order {
    /// Whether pgweir carries it out without a server.
    pub fn local(&self) -> bool {
        matches!(
            self,
            Order::Deallocate
                | Order::Refuse(_)
                | Order::Console(_)
                | Order::ConsoleParse
                | Order::ConsoleBind
                | Order::ConsoleDescribe { .. }
                | Order::ConsoleExecute(_)
        )
    }
}

/// What a Bind binds.
#[derive(Debug)]
pub enum Bound {
    Named(Rc<Statement>),
    Unnamed(Rc<Statement>),
    /// A statement that names others.
    Renamed(Renamed),
    /// A name this session does not know: the server says so.
    Unknown,
}

/// A statement in SQL that names statements of the protocol, EXECUTE or its kin.
#[derive(Debug)]
pub struct Renamed {
    /// The same, calling them what backends do.
    pub statement: Rc<Statement>,
    /// What it names.
    pub needs: Vec<Rc<Statement>>,
}

/// A frame's order with what it takes to carry it out.
#[derive(Debug)]
pub struct Plan {
    pub order: Order,
    pub want: Want,
}

/// What a text needs.
pub(super) fn want_of(intent: Intent) -> Want {
    match intent {
        Intent::Empty | Intent::Session | Intent::End => Want::Any,
        Intent::Read | Intent::BeginReadOnly => Want::Read,
        Intent::Begin | Intent::Write => Want::Write,
    }
}
