//! A client from accept to its first ReadyForQuery: the startup packets, proving who it is, what it asked to be set.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::auth::node::SaltedKeys;
use crate::auth::scram::{ExpectClientFirst, Nonce};
use crate::auth::{Check, ClientError, Exchange, Method, Secret, exchange, hba, md5, password, scram};
use crate::backend::Parameters;
use crate::config::{AuthMethod, PinPolicy, PoolMode};
use crate::door::{Policy, Work, Worked};
use crate::ring::{Chunk, End, Socket};
use crate::route::Access;
use crate::session::settings::Value;
use crate::session::startup::Request;
use crate::session::{Session, SharedSettings};
use crate::sql::{self, Dialect};
use crate::wire::backend::{
    Report, TransactionStatus, put_authentication, put_key_data, put_negotiate_version, put_parameter_status,
    put_ready,
};
use crate::wire::startup::Packet;
use crate::wire::{Frame, Head, Sqlstate, Violation};

use super::parking::Kept;
use super::pools;
use super::relay::Relay;
use super::replication::{self, Passage};
use super::seats::{CancelSecret, Seat};
use super::{Shard, cleanup};

/// The name of the database that is the admin console.
pub(super) const CONSOLE: &str = "pgweir";

/// Why a connection ends before it becomes a session.
pub(super) enum Refusal {
    /// With these words.
    Told(Report),
    /// Without: the client is gone, or was never one (a cancel request, a port scan).
    Silent,
}

impl From<Report> for Refusal {
    fn from(report: Report) -> Refusal {
        Refusal::Told(report)
    }
}

impl From<Violation> for Refusal {
    fn from(violation: Violation) -> Refusal {
        Refusal::Told(Report::fatal(Sqlstate::PROTOCOL_VIOLATION, violation.to_string()))
    }
}

/// A connection on its way to be a session.
pub(super) struct Guest {
    pub shard: Rc<Shard>,
    pub socket: Socket,
    /// Bytes received and not used yet.
    pub held: Vec<u8>,
}

/// Serves one connection from accept to the end of its login; the session that begins then is a task of its own, so that
/// it does not keep the room that a login needs.
pub(super) async fn serve(shard: Rc<Shard>, socket: Socket) {
    shard.connections.set(shard.connections.get() + 1);
    match log_in(&shard, socket).await {
        Some(Admitted::Session(relay)) => shard.start(relay),
        Some(Admitted::Replication(passage, called)) => {
            let ring = shard.ring.clone();
            ring.spawn(pass(passage, called));
        }
        None => shard.connection_left(),
    }
}

/// A client that is in, and what it is in for.
enum Admitted {
    Session(Box<Relay>),
    Replication(Box<Passage>, Option<Box<Called>>),
}

/// Serves a replication connection to its end.
async fn pass(passage: Box<Passage>, called: Option<Box<Called>>) {
    let (shard, seat) = (passage.shard.clone(), passage.seat.clone());
    let (client, reason) = Box::pin(passage.run()).await;
    Box::pin(shard.goodbye(client)).await;
    shard.left(&seat, called, reason);
}

/// What the log calls a client at the end.
pub(super) struct Called {
    user: String,
    database: String,
    peer: Option<SocketAddr>,
}

impl Shard {
    /// A session is over, and its client has heard so.
    pub(super) fn left(self: &Rc<Self>, seat: &Seat, called: Option<Box<Called>>, reason: &str) {
        self.give_up_seat(seat);
        if let Some(called) = called {
            let Called { user, database, peer } = *called;
            tracing::info!(user, database, ?peer, reason, "client left");
        }
        self.client_left();
        self.connection_left();
    }

    fn client_left(&self) {
        self.counters().clients.sub(1);
        self.shared.process.client_leave();
    }

    fn connection_left(&self) {
        self.connections.set(self.connections.get() - 1);
        self.connection_ended();
    }
}

async fn log_in(shard: &Rc<Shard>, socket: Socket) -> Option<Admitted> {
    let timeout = shard.policy.borrow().config.auth.login_timeout;
    let mut guest = Guest { shard: shard.clone(), socket, held: Vec::new() };
    let request = match shard.ring.deadline(Instant::now() + timeout, guest.request()).await {
        Some(Ok(request)) => Request { settings: shard.settings.of(request.settings), ..request },
        Some(Err(refusal)) => {
            guest.refuse(refusal).await;
            return None;
        }
        None => {
            guest.refuse(Refusal::Silent).await;
            return None;
        }
    };
    let client_max = shard.policy.borrow().config.pool.client_max;
    if shard.draining.get() {
        let report = Report::fatal(Sqlstate::CANNOT_CONNECT_NOW, "pgweir is shutting down");
        guest.refuse(report.into()).await;
        return None;
    }
    if !shard.shared.process.client_enter(client_max) {
        let report = Report::fatal(Sqlstate::TOO_MANY_CONNECTIONS, "sorry, too many clients already")
            .hint(format!("Raise pool.client_max ({client_max})."));
        guest.refuse(report.into()).await;
        return None;
    }
    // From here on the client counts, and must be counted out on every path.
    shard.counters().clients.add(1);
    let welcome = guest.admit(&request);
    let refusal = match shard.ring.deadline(Instant::now() + timeout, welcome).await {
        Some(Ok(welcome)) => {
            shard.counters().logins.add(1);
            let called = shard.policy.borrow().config.log.connections.then(|| {
                let peer = guest.socket.peer();
                tracing::info!(
                    user = &*request.user,
                    database = &*request.database,
                    ?peer,
                    "client connected"
                );
                Box::new(Called {
                    user: request.user.to_string(),
                    database: request.database.to_string(),
                    peer,
                })
            });
            let Guest { socket, held, .. } = guest;
            return Some(match welcome {
                Welcome::Session(session, seat, parameters, mode) => {
                    if !held.is_empty() {
                        // What came behind the login is the first of what comes now.
                        socket.unreceive(Chunk::from(held));
                    }
                    seat.admitted.set(true);
                    let kept = Kept {
                        session: session.rest(),
                        tenant: shard.tenants.of(&request.database, &request.user),
                        reported: parameters,
                        mode,
                        last_link: 0,
                        prefer: None,
                        floor: None,
                        since: shard.shared.moment(shard.ring.now()),
                        called,
                    };
                    Admitted::Session(Box::new(Relay::new(shard.clone(), socket, seat, kept)))
                }
                Welcome::Replication(server) => {
                    let passage = Passage::new(shard.clone(), socket, held, *server);
                    Admitted::Replication(Box::new(passage), called)
                }
            });
        }
        Some(Err(refusal)) => refusal,
        None => Refusal::Silent,
    };
    shard.counters().logins_refused.add(1);
    if let Refusal::Told(report) = &refusal {
        let peer = guest.socket.peer();
        tracing::info!(
            user = &*request.user, database = &*request.database, ?peer,
            sqlstate = %report.sqlstate, message = report.message, "login refused"
        );
    }
    guest.refuse(refusal).await;
    shard.client_left();
    None
}

/// What a client that has proved who it is gets.
enum Welcome {
    Session(Box<Session>, Rc<Seat>, Parameters, PoolMode),
    Replication(Box<replication::Server>),
}

impl Guest {
    /// Reads startup packets until one asks for a session.
    async fn request(&mut self) -> Result<Request, Refusal> {
        let (mut tls_asked, mut gss_asked) = (false, false);
        loop {
            let used = match Packet::read(&self.held)? {
                None => {
                    self.more().await?;
                    continue;
                }
                Some((Packet::SslRequest, used)) if !tls_asked => {
                    tls_asked = true;
                    self.socket.send_copy(b"N");
                    used
                }
                Some((Packet::GssEncRequest, used)) if !gss_asked => {
                    gss_asked = true;
                    self.socket.send_copy(b"N");
                    used
                }
                Some((Packet::SslRequest | Packet::GssEncRequest, _)) => {
                    return Err(Violation::Startup.into());
                }
                Some((Packet::Cancel { process_id, secret }, _)) => {
                    self.shard.cancel_everywhere(process_id, secret).await;
                    return Err(Refusal::Silent);
                }
                Some((Packet::Unsupported { major, minor }, _)) => {
                    return Err(Report::fatal(
                        Sqlstate::FEATURE_NOT_SUPPORTED,
                        format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2"),
                    )
                    .into());
                }
                Some((Packet::Startup(startup), used)) => {
                    let request = Request::read(&startup)?;
                    self.held.drain(..used);
                    return Ok(request);
                }
            };
            self.held.drain(..used);
        }
    }

    /// Lets the client prove who it is, and gives it what it came for: all that is sent up to the first ReadyForQuery.
    async fn admit(&mut self, request: &Request) -> Result<Welcome, Refusal> {
        if let Some(unknown) = &request.negotiate {
            let unknown: Vec<&[u8]> = unknown.iter().map(Vec::as_slice).collect();
            self.socket.send_with(|out| put_negotiate_version(out, request.minor, &unknown));
        }
        let policy = self.shard.policy.borrow().clone();
        self.authenticate(&policy, request).await?;
        if let Some(asked) = &request.replication {
            let server = self.replicate(request, asked).await?;
            return Ok(Welcome::Replication(Box::new(server)));
        }
        self.welcome(&policy, request).await
    }

    /// Makes the client a session.
    async fn welcome(&mut self, policy: &Policy, request: &Request) -> Result<Welcome, Refusal> {
        let console = &*request.database == CONSOLE;
        let mut session = Session::new(request.settings.clone());
        session.console = console;
        let secret = CancelSecret::random(request.secret_size()).map_err(|error| {
            Report::fatal(Sqlstate::INTERNAL_ERROR, format!("no random numbers: {error}"))
        })?;
        let mode = policy.config.mode_for(&request.database, &request.user);
        let seat = self.shard.seat(secret);
        let parameters = match console {
            true => self.console(policy, request),
            false => self.parameters(request, &seat).await,
        };
        let parameters = match parameters {
            Ok(parameters) => parameters,
            Err(refusal) => {
                self.shard.give_up_seat(&seat);
                return Err(refusal);
            }
        };
        session.dialect = dialect(&parameters);
        session.listens_itself(mode == PoolMode::Session);
        session.statement_mode = mode == PoolMode::Statement;
        session.refuse_pins = mode != PoolMode::Session && policy.config.pool.pin == PinPolicy::Refuse;
        self.greet(&parameters, &seat);
        Ok(Welcome::Session(Box::new(session), seat, parameters, mode))
    }

    /// What ends a login.
    pub(super) fn greet(&self, parameters: &Parameters, seat: &Seat) {
        self.socket.send_with(|out| {
            put_authentication(out, 0, &[]);
            for (name, value) in parameters.iter() {
                put_parameter_status(out, name, value);
            }
            put_key_data(out, seat.process_id, seat.secret());
            put_ready(out, TransactionStatus::Idle);
        });
    }

    async fn authenticate(&mut self, policy: &Policy, request: &Request) -> Result<(), Refusal> {
        let (user, database) = (&*request.user, &*request.database);
        let physical = request.replication.as_ref().is_some_and(|asked| !asked.logical);
        let method = match policy.config.auth.method {
            AuthMethod::Trust => Method::Trust,
            AuthMethod::Password => Method::Password,
            AuthMethod::Md5 => Method::Md5,
            AuthMethod::ScramSha256 => Method::ScramSha256,
            AuthMethod::Hba => {
                let peer = self.ip().map_or(hba::Peer::Local, hba::Peer::Tcp);
                let target = match physical {
                    true => hba::Target::Replication,
                    false => hba::Target::Database(database),
                };
                let method = policy.hba.as_ref().and_then(|hba| hba.method(peer, false, target, user));
                method.ok_or_else(|| {
                    let message = format!("no hba entry for {}, no encryption", self.whom(request));
                    Report::fatal(Sqlstate::INVALID_AUTHORIZATION, message)
                })?
            }
        };
        let secret = policy.secrets.get(user);
        let wrong = |error: ClientError| {
            let sqlstate = Sqlstate::parse(error.sqlstate().as_bytes()).unwrap_or(Sqlstate::INVALID_PASSWORD);
            Refusal::Told(Report::fatal(sqlstate, error.message(user)))
        };
        let proven = match exchange(method, secret, user, &policy.mock) {
            Exchange::Accept => true,
            Exchange::Reject => {
                return Err(Report::fatal(
                    Sqlstate::INVALID_AUTHORIZATION,
                    format!("the hba file rejects connection for {}, no encryption", self.whom(request)),
                )
                .into());
            }
            Exchange::Cleartext(check) => {
                self.socket.send_with(|out| put_authentication(out, 3, &[]));
                let body = self.password().await?;
                let cleartext = password::text(&body).map_err(wrong)?.to_vec();
                let secret = secret.filter(|_| check == Check::Stored).cloned();
                let work = Work::Matches { user: user.to_owned(), secret, cleartext };
                matches!(self.shard.work(work).await, Some(Worked::Matches(true))) && check == Check::Stored
            }
            Exchange::Md5(check) => {
                let mut salt = [0u8; 4];
                getrandom::fill(&mut salt).map_err(|_| Refusal::Silent)?;
                self.socket.send_with(|out| put_authentication(out, 5, &salt));
                let body = self.password().await?;
                let response = password::text(&body).map_err(wrong)?;
                let secret = secret.filter(|_| check == Check::Stored);
                md5::verify(secret, user, salt, response, &policy.mock) && check == Check::Stored
            }
            Exchange::Scram(check) => {
                let secret = secret.filter(|_| check == Check::Stored);
                self.scram(policy, user, secret).await?.map_err(wrong)?;
                check == Check::Stored
            }
        };
        proven.then_some(()).ok_or_else(|| wrong(ClientError::WrongPassword))
    }

    /// Where the client connects from, if not by a unix socket.
    fn ip(&self) -> Option<IpAddr> {
        self.socket.peer().map(|peer| peer.ip())
    }

    /// Who asks for what, in the words of PostgreSQL's messages about its hba file.
    fn whom(&self, request: &Request) -> String {
        let (user, database) = (&*request.user, &*request.database);
        let from = self.ip().map_or_else(|| "[local]".to_owned(), |address| address.to_string());
        match request.replication.as_ref().is_some_and(|asked| !asked.logical) {
            true => format!("host \"{from}\", user \"{user}\", physical replication"),
            false => format!("host \"{from}\", user \"{user}\", database \"{database}\""),
        }
    }

    async fn scram(
        &mut self,
        policy: &Policy,
        user: &str,
        secret: Option<&Secret>,
    ) -> Result<Result<(), ClientError>, Refusal> {
        let stored = match secret {
            Some(Secret::Scram(verifier)) => Some(verifier.clone()),
            Some(Secret::Plain(password)) => {
                Some(self.shard.plain_verifier(user, password).await.ok_or_else(|| {
                    Report::fatal(
                        Sqlstate::CANNOT_CONNECT_NOW,
                        "pgweir is too busy to check passwords, try again",
                    )
                })?)
            }
            Some(Secret::Md5(_)) | None => None,
        };
        let verifier = policy.mock.verifier_or(stored.as_ref(), user);
        self.socket.send_with(|out| put_authentication(out, 10, scram::MECHANISMS));
        let mut random = [0u8; 18];
        getrandom::fill(&mut random).map_err(|_| Refusal::Silent)?;
        let body = self.password().await?;
        let (first, expect) =
            match ExpectClientFirst::new().handle(&body, &Nonce::from_random(random), &verifier) {
                Ok(next) => next,
                Err(error) => return Ok(Err(error)),
            };
        self.socket.send_with(|out| put_authentication(out, 11, &first));
        let body = self.password().await?;
        let (last, client_key) = match expect.handle(&body) {
            Ok(next) => next,
            Err(error) => return Ok(Err(error)),
        };
        if stored.is_none() {
            return Ok(Err(ClientError::WrongPassword));
        }
        self.socket.send_with(|out| put_authentication(out, 12, &last));
        // A stored SCRAM secret cannot log in anywhere; what its owner just proved can.
        if let Some(Secret::Scram(stored)) = secret
            && let Some(keys) = SaltedKeys::learned(stored, client_key)
        {
            self.shard.learn(user, keys);
        }
        Ok(Ok(()))
    }

    /// The body of the next message, which must be a password (or SASL) message.
    async fn password(&mut self) -> Result<Vec<u8>, Refusal> {
        loop {
            if let Some(&tag) = self.held.first()
                && tag != b'p'
            {
                return Err(match tag {
                    // psql asks for the password on a new connection, and just leaves.
                    b'X' => Refusal::Silent,
                    _ => Violation::Tag.into(),
                });
            }
            if let Some(head) = Head::read(&self.held)?
                && head.body > PASSWORD_MAX
            {
                return Err(Violation::Length.into());
            }
            if let Some((frame, used)) = Frame::read(&self.held)? {
                let body = frame.body.to_vec();
                self.held.drain(..used);
                return Ok(body);
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Refusal> {
        // Nobody wakes those who are not in yet, so they look up now and then whether the shard still wants them.
        loop {
            if self.shard.draining.get() {
                return Err(super::shutting_down().into());
            }
            let received = self.shard.received(&self.socket);
            if let Some(received) = self.shard.ring.deadline(Instant::now() + LOOK_UP, received).await {
                self.held.extend_from_slice(&received.ok_or(Refusal::Silent)?);
                return Ok(());
            }
        }
    }

    fn console(&self, policy: &Policy, request: &Request) -> Result<Parameters, Refusal> {
        if !policy.config.admin.users.iter().any(|user| **user == *request.user) {
            return Err(Report::fatal(
                Sqlstate::INSUFFICIENT_PRIVILEGE,
                format!("user \"{}\" may not use the admin console", request.user),
            )
            .hint("Add the user to [admin] users.")
            .into());
        }
        let mut parameters = Parameters::default();
        let version = concat!(env!("CARGO_PKG_VERSION"), "/pgweir");
        for (name, value) in [
            ("server_version", version),
            ("client_encoding", "UTF8"),
            ("server_encoding", "UTF8"),
            ("DateStyle", "ISO, MDY"),
            ("TimeZone", "GMT"),
            ("integer_datetimes", "on"),
            ("standard_conforming_strings", "on"),
            ("is_superuser", "on"),
            ("session_authorization", &request.user),
            ("application_name", request.application_name.as_deref().unwrap_or_default()),
        ] {
            parameters.set(name.as_bytes(), value.as_bytes());
        }
        Ok(parameters)
    }

    /// What a server reports to a session with these settings: known from a login like it, else asked.
    async fn parameters(&mut self, request: &Request, seat: &Seat) -> Result<Parameters, Refusal> {
        // The name of an application is reported as it is; so logins that differ in nothing else are alike. One without
        // a name is not: what it is told is the server's own setting.
        let plain_name = request.application_name.as_deref().filter(|name| {
            name.len() < NAME_MAX && name.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
        });
        let mut like = request.settings.clone();
        if plain_name.is_some() {
            Rc::make_mut(&mut like).set(b"application_name", Value::Plain(Box::default()));
        }
        let key = (request.database.clone(), request.user.clone(), like);
        if let Some(known) = self.shard.logins.borrow().get(&key) {
            let mut known = known.clone();
            if let Some(name) = plain_name {
                known.set(b"application_name", name.as_bytes());
            }
            return Ok(self.shard.parameters.of(known));
        }
        let tenant = self.shard.tenants.of(&request.database, &request.user);
        let checkout = self.shard.checkout(
            pools::Request {
                database: &tenant.database,
                user: &tenant.user,
                access: Access::Any,
                last: 0,
                settings: &request.settings,
                prefer: None,
                session: seat.id,
                own_writes: false,
                since: self.shard.shared.moment(Instant::now()),
                bytes: 0,
            },
            seat,
            &self.socket,
        );
        let mut link = checkout.await.map_err(|refused| match refused {
            Some(mut report) => {
                report.severity = crate::wire::backend::Severity::Fatal;
                Refusal::Told(report)
            }
            None if self.shard.draining.get() => Refusal::Told(super::shutting_down()),
            None => Refusal::Silent,
        })?;
        let applied = self.apply(&mut link, &request.settings).await;
        let mut parameters = link.backend.parameters.clone();
        self.shard.checkin(link);
        applied?;
        // Which node answers changes from query to query; the session as a whole is not on standby.
        if parameters.get(b"in_hot_standby").is_some() {
            parameters.set(b"in_hot_standby", b"off");
        }
        self.shard.greet_like_this(key, &parameters);
        Ok(parameters)
    }

    /// Sets on a backend what the client asked for; what the server does not accept is told in its own words.
    async fn apply(&self, link: &mut super::link::Link, settings: &SharedSettings) -> Result<(), Refusal> {
        let mut sql = Vec::new();
        if !settings.put_switch(&link.settings, &mut sql) && link.backend.ledger.is_empty() {
            return Ok(());
        }
        link.socket.send_with(|out| link.backend.own_query(&sql, out));
        let error = cleanup::settle_with_error(&self.shard, link).await.map_err(|reason| {
            link.backend.spoil(reason);
            Report::fatal(Sqlstate::CONNECTION_FAILURE, "the node closed the connection during the login")
        })?;
        match error {
            None => {
                link.settings = settings.clone();
                Ok(())
            }
            Some(mut report) => {
                report.severity = crate::wire::backend::Severity::Fatal;
                Err(report.into())
            }
        }
    }

    /// Says why, if there is anything to say, and ends the connection once that was sent.
    async fn refuse(self, refusal: Refusal) {
        if let Refusal::Told(report) = refusal {
            self.socket.send_with(|out| report.put(out));
            self.shard.counters().errors.add(1);
        }
        self.shard.goodbye(self.socket).await;
    }
}

impl Shard {
    /// Lets the last words reach the peer, then closes.
    pub(super) async fn goodbye(&self, socket: Socket) {
        if matches!(socket.end(), Some(End::Broken(_))) {
            return;
        }
        if self.ring.deadline(Instant::now() + super::GOODBYE_MAX, socket.flushed()).await.is_none() {
            return;
        }
        // Closing while bytes lie unread would reset the connection, and the peer might never see the words.
        socket.shutdown();
        let drain = async { while self.received(&socket).await.is_some() {} };
        self.ring.deadline(Instant::now() + LINGER, drain).await;
    }

    /// The verifier of a plain password: derived once, off the shard.
    async fn plain_verifier(&self, user: &str, password: &str) -> Option<scram::Verifier> {
        if let Some((known, verifier)) = self.verifiers.borrow().get(user)
            && known == password
        {
            return Some(verifier.clone());
        }
        let work = Work::PlainVerifier { user: user.to_owned(), password: password.to_owned() };
        let Some(Worked::PlainVerifier(verifier, _)) = self.work(work).await else { return None };
        let kept = (password.to_owned(), verifier.clone());
        self.verifiers.borrow_mut().insert(user.to_owned(), kept);
        Some(verifier)
    }
}

/// How a session's SQL is read, by what the server reports.
pub(super) fn dialect(parameters: &Parameters) -> Dialect {
    Dialect {
        standard_conforming_strings: parameters.get(b"standard_conforming_strings") != Some(b"off"),
        ascii_safe: sql::ascii_safe(parameters.get(b"client_encoding").unwrap_or(b"UTF8")),
    }
}

/// An application's name must be shorter than this to be reported as it is (bytes): PostgreSQL's `NAMEDATALEN`.
const NAME_MAX: usize = 64;
/// Longest body of a password message (bytes): PostgreSQL's `PG_MAX_AUTH_TOKEN_LENGTH`.
const PASSWORD_MAX: u32 = 65_535;
/// How often a connection that is not in yet looks whether the shard drains.
const LOOK_UP: Duration = Duration::from_millis(250);
/// How long a connection that we end may take to be ended by the peer as well.
const LINGER: Duration = Duration::from_millis(500);
