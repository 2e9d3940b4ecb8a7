//! `pool_hba.conf`: who may come from where, and how they prove who they are.
//!
//! The syntax is that of PostgreSQL's `pg_hba.conf` (manual, "The pg_hba.conf File") as far as a proxy can honour it
//! without asking anybody: no files to include, no groups to look up, no names to resolve, no interfaces to list. A line
//! that needs one of those is an error that says what to write instead, never a line that silently matches nobody.

mod parse;
mod tokens;

use std::fmt;
use std::net::IpAddr;

use super::Method;

/// A checked file: its lines in order, of which the first that fits a client decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hba {
    rules: Vec<Rule>,
}

/// Where a client comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Over a unix socket.
    Local,
    /// Over TCP, from this address.
    Tcp(IpAddr),
}

/// What a client wants to be let in to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// This database, also for logical replication.
    Database(&'a str),
    /// Physical replication, which is of no database.
    Replication,
}

impl Hba {
    /// Reads the `text` of the file called `file`.
    ///
    /// # Errors
    /// Every wrong line, in order, not just the first.
    pub fn parse(text: &str, file: &str) -> Result<Hba, Vec<HbaError>> {
        let mut rules = Vec::new();
        let mut errors = Vec::new();
        for line in tokens::lines(text) {
            match line.fields.and_then(|fields| parse::rule(&fields)) {
                Ok(rule) => rules.push(rule),
                Err(message) => errors.push(HbaError { file: file.to_owned(), line: line.number, message }),
            }
        }
        if errors.is_empty() { Ok(Hba { rules }) } else { Err(errors) }
    }

    /// The method of the first line that fits; `None` when none does, which is a refusal (28000). `tls` is whether the
    /// connection is encrypted.
    ///
    /// An IPv4 client on a listener that serves both families (`::ffff:192.0.2.1`) is an IPv4 client.
    pub fn method(&self, peer: Peer, tls: bool, target: Target<'_>, user: &str) -> Option<Method> {
        self.rules.iter().find(|rule| rule.fits(peer, tls, target, user)).map(|rule| rule.method)
    }
}

/// A line that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct HbaError {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1; of continued lines the first.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    transport: Transport,
    databases: Vec<DatabaseName>,
    users: Vec<UserName>,
    address: Address,
    method: Method,
}

impl Rule {
    fn fits(&self, peer: Peer, tls: bool, target: Target<'_>, user: &str) -> bool {
        let transport = match (self.transport, peer) {
            (Transport::Local, Peer::Local) => true,
            (Transport::Host, Peer::Tcp(_)) => true,
            (Transport::HostSsl, Peer::Tcp(_)) => tls,
            (Transport::HostNoSsl, Peer::Tcp(_)) => !tls,
            (Transport::Local, Peer::Tcp(_)) => false,
            (Transport::Host | Transport::HostSsl | Transport::HostNoSsl, Peer::Local) => false,
        };
        transport
            && match peer {
                Peer::Local => true,
                Peer::Tcp(address) => self.address.contains(address.to_canonical()),
            }
            && self.databases.iter().any(|name| match (name, target) {
                (DatabaseName::Replication, target) => target == Target::Replication,
                (_, Target::Replication) => false,
                (DatabaseName::All, Target::Database(_)) => true,
                (DatabaseName::Named(name), Target::Database(database)) => name == database,
                (DatabaseName::SameUser, Target::Database(database)) => database == user,
            })
            && self.users.iter().any(|name| match name {
                UserName::All => true,
                UserName::Named(name) => name == user,
            })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transport {
    Host,
    HostNoSsl,
    HostSsl,
    Local,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum DatabaseName {
    All,
    Named(String),
    /// Physical replication connections, and nothing else: no other word fits these.
    Replication,
    SameUser,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum UserName {
    All,
    Named(String),
}

/// Which addresses a line is about. A mask may have holes, as in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    All,
    V4 { network: u32, mask: u32 },
    V6 { network: u128, mask: u128 },
}

impl Address {
    fn contains(self, address: IpAddr) -> bool {
        match (self, address) {
            (Address::All, _) => true,
            (Address::V4 { network, mask }, IpAddr::V4(address)) => (address.to_bits() ^ network) & mask == 0,
            (Address::V6 { network, mask }, IpAddr::V6(address)) => (address.to_bits() ^ network) & mask == 0,
            (Address::V4 { .. }, IpAddr::V6(_)) | (Address::V6 { .. }, IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Local => f.write_str("local socket"),
            Peer::Tcp(address) => write!(f, "host \"{}\"", address.to_canonical()),
        }
    }
}

#[cfg(test)]
mod tests;
