//! Who logs in where: the start of every client, whatever its kind.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::client::Client;
use super::message::ServerError;
use super::tools::{Background, Run};

/// Where somebody listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port at 127.0.0.1.
    Port(u16),
    /// Any address and port.
    Tcp(SocketAddr),
    /// The folder of a unix socket, and the port in the socket's name.
    Socket(PathBuf, u16),
}

impl Address {
    /// Host and port as libpq wants them.
    pub fn host_and_port(&self) -> (String, u16) {
        match self {
            Self::Port(port) => (Ipv4Addr::LOCALHOST.to_string(), *port),
            Self::Tcp(address) => (address.ip().to_string(), address.port()),
            Self::Socket(folder, port) => (folder.display().to_string(), *port),
        }
    }
}

/// A login that can be made in several ways: by our own [`Client`], psql, pgbench, or a driver.
#[derive(Clone, Debug)]
pub struct Login {
    pub(super) address: Address,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: String,
    /// Further parameters of the startup message.
    pub(super) parameters: Vec<(String, String)>,
    /// Major and minor number of the protocol that is asked for.
    pub(super) version: (u16, u16),
    /// Where psql and pgbench are.
    tools: PathBuf,
}

impl Login {
    pub(super) fn new(address: Address, user: &str, password: &str, database: &str, tools: &Path) -> Self {
        Self {
            address,
            user: user.to_owned(),
            password: password.to_owned(),
            database: database.to_owned(),
            parameters: Vec::new(),
            version: (3, 0),
            tools: tools.to_owned(),
        }
    }

    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        password.clone_into(&mut self.password);
        self
    }

    pub fn database(mut self, database: &str) -> Self {
        database.clone_into(&mut self.database);
        self
    }

    /// A further parameter of the startup message, such as `application_name`, `options` or `_pq_.something`.
    pub fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn protocol(mut self, major: u16, minor: u16) -> Self {
        self.version = (major, minor);
        self
    }

    /// The same login elsewhere.
    pub fn at(mut self, address: Address) -> Self {
        self.address = address;
        self
    }

    /// Logs in with our own client.
    #[track_caller]
    pub fn connect(&self) -> Client {
        self.try_connect().unwrap_or_else(|error| panic!("the login was refused: {error}"))
    }

    /// Logs in with our own client, or returns what the other side refuses it with.
    ///
    /// # Errors
    /// The ErrorResponse.
    #[track_caller]
    pub fn try_connect(&self) -> Result<Client, ServerError> {
        let mut client = Client::open(&self.address);
        client.startup(self.version, &self.startup_parameters());
        client.log_in(&self.user, &self.password)?;
        Ok(client)
    }

    /// Whether a login succeeds now; that nobody listens is one of the reasons why not.
    #[track_caller]
    pub fn can_connect(&self) -> bool {
        let Ok(mut client) = Client::try_open(&self.address) else { return false };
        // A process that was killed may leave a listener behind for a moment, which breaks off what it had in its queue.
        if client.try_startup(self.version, &self.startup_parameters()).is_err() {
            return false;
        }
        matches!(client.try_log_in(&self.user, &self.password), Ok(Ok(())))
    }

    /// The parameters of the startup message.
    pub fn startup_parameters(&self) -> Vec<(&str, &str)> {
        let own = [("user", self.user.as_str()), ("database", self.database.as_str())];
        let more = self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        own.into_iter().chain(more).collect()
    }

    /// A connection string for libpq and for tokio-postgres.
    pub fn conninfo(&self) -> String {
        let (host, port) = self.address.host_and_port();
        let quoted = |value: &str| format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
        format!(
            "host={} port={port} user={} password={} dbname={}",
            quoted(&host),
            quoted(&self.user),
            quoted(&self.password),
            quoted(&self.database)
        )
    }

    /// Runs psql to its end: `-X -A -t -q -v ON_ERROR_STOP=1`, then `arguments`, with `input` as its standard input.
    #[track_caller]
    pub fn psql(&self, arguments: &[&str], input: &str) -> Run {
        let usual = ["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1"];
        self.start_tool("psql", &[&usual, arguments].concat(), input).wait()
    }

    /// Runs pgbench to its end.
    #[track_caller]
    pub fn pgbench(&self, arguments: &[&str]) -> Run {
        self.start_tool("pgbench", arguments, "").wait()
    }

    /// Starts one of PostgreSQL's client programs and does not wait for it.
    #[track_caller]
    pub fn start_tool(&self, program: &str, arguments: &[&str], input: &str) -> Background {
        let beside = self.tools.join(program);
        let program = if beside.is_file() { beside } else { PathBuf::from(program) };
        let (host, port) = self.address.host_and_port();
        let environment = [
            ("PGHOST", host.as_str()),
            ("PGPORT", &port.to_string()),
            ("PGUSER", &self.user),
            ("PGPASSWORD", &self.password),
            ("PGDATABASE", &self.database),
            ("PGCONNECT_TIMEOUT", "20"),
        ];
        Background::start(&program, arguments, &environment, input)
    }
}
