//! A backend with its socket: what a pool holds and a lease lends. Opening one, and the frames between.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::auth::node::{Credentials, SaltedKeys};
use crate::auth::scram::Nonce;
use crate::backend::login::Progress;
use crate::backend::{Backend, BackendKey, Login, LoginError, Parameters};
use crate::door::{PoolKey, Suspicion, Work, Worked};
use crate::limits::FRAME_HOLD_MAX;
use crate::ring::{Address, Chunk, Socket};
use crate::session::SharedSettings;
use crate::topology::{Moment, NodeAddress, NodeId};
use crate::wire::backend::ErrorFields;
use crate::wire::{Frame, Sqlstate, Violation, frontend};

use super::Shard;
use super::seats::Target;

/// See the module's text.
pub(super) struct Link {
    /// Unique within the shard.
    pub id: u64,
    pub backend: Backend,
    pub socket: Socket,
    pub incoming: Incoming,
    /// What the last session left set here.
    pub settings: SharedSettings,
    pub key: Rc<PoolKey>,
    /// The node's incarnation when this was opened; another one by now means that it must go.
    pub incarnation: u64,
    /// Whom a cancel means.
    pub target: Rc<Target>,
    /// When it is too old to be used again.
    pub expires: Option<Instant>,
    /// When its login began.
    pub opened: Moment,
    /// The session whose writes came last: its sequences answer to currval.
    pub last_writer: u64,
    /// When those came.
    pub wrote: Option<Instant>,
    /// Whether it may listen to channels, and whether to all that its session listens to.
    pub listens: bool,
    pub shows: bool,
    /// Whether another session must not get it before a reset.
    pub reset_owed: bool,
    /// True exactly when the server waits for copy data.
    pub copy_in: bool,
    /// Whether the server has said that it shuts down.
    pub shut_down: bool,
}

/// Where in the stream of frames from the node we are.
#[derive(Default)]
pub(super) struct Incoming {
    /// The beginning of a frame that is not there in full.
    pub held: Vec<u8>,
    /// Bytes of a frame's body that are still to come, and whether they belong to the client.
    pub passing: usize,
    pub forward: bool,
}

/// Why a backend could not be opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The node is not there: it refused, broke off or did not answer in time.
    Unreachable(String),
    /// The node, or we, will not have this login.
    Login(LoginError),
}

impl Link {
    /// Whether something came, or ended, while nobody was asking for anything.
    pub fn stirred(&self) -> bool {
        self.socket.has_received() || self.socket.end().is_some()
    }

    /// Reads what came while idle: parameters and notices pass; anything else means that the server is leaving.
    /// False when the backend is of no use any more.
    pub fn calm(&mut self) -> bool {
        while let Some(chunk) = self.socket.receive() {
            self.incoming.held.extend_from_slice(&chunk);
            if self.incoming.held.len() > FRAME_HOLD_MAX {
                return false;
            }
        }
        let mut at = 0;
        loop {
            match Frame::read(&self.incoming.held[at..]) {
                Ok(Some((frame, size))) if matches!(frame.tag, b'S' | b'N' | b'A') => {
                    if self.backend.handle(frame.tag, frame.body).is_err() {
                        return false;
                    }
                    at += size;
                }
                Ok(None) => break,
                Ok(Some((frame, _))) => {
                    self.shut_down = frame.tag == b'E' && shuts_down(&ErrorFields::new(frame.body));
                    return false;
                }
                Err(_) => return false,
            }
        }
        self.incoming.held.drain(..at);
        self.socket.end().is_none()
    }
}

impl Link {
    /// What it speaks of, if its connection breaks.
    pub fn suspicion(&self) -> Suspicion {
        match self.shut_down {
            true => Suspicion::ShutDown,
            false => Suspicion::Broken,
        }
    }
}

/// Whether a server's last words are that it shuts down, or at least this backend.
pub(super) fn shuts_down(error: &ErrorFields<'_>) -> bool {
    let words = [Sqlstate::ADMIN_SHUTDOWN, Sqlstate::CRASH_SHUTDOWN];
    error.sqlstate().is_some_and(|sqlstate| words.contains(&sqlstate))
}

/// A connection to a node on which a login has succeeded.
pub(super) struct Greeted {
    pub socket: Socket,
    /// Where it is connected to.
    pub address: Address,
    /// The node's incarnation then.
    pub incarnation: u64,
    /// When the login began.
    pub opened: Moment,
    pub key: BackendKey,
    pub parameters: Parameters,
    /// What came behind the login.
    pub rest: Vec<u8>,
}

impl Shard {
    /// Opens a backend: connects, logs in.
    pub(super) async fn open(self: &Rc<Self>, key: &Rc<PoolKey>) -> Result<Box<Link>, OpenError> {
        // Nothing else: what a session wants set is set when it gets the backend, and RESET returns to the server's own.
        let parameters: [(&[u8], &[u8]); 2] =
            [(b"user", key.user.as_bytes()), (b"database", key.database.as_bytes())];
        let Greeted { socket, address, incarnation, opened, key: backend_key, parameters, rest } =
            self.greet(key.node, &key.user, &parameters).await?;
        let pool = &self.policy.borrow().config.pool;
        let statements_max = pool.statements_max as usize;
        // A tenth of jitter keeps backends opened together from being replaced together.
        let expires = (!pool.lifetime_max.is_zero()).then(|| {
            let tenth = pool.lifetime_max / 10;
            let share = self.random() as u32 % 1000;
            Instant::now() + pool.lifetime_max - tenth * share / 1000
        });
        Ok(Box::new(Link {
            id: self.next_id(),
            target: Rc::new(Target {
                node: key.node,
                primary: Cell::default(),
                address,
                key: backend_key.clone(),
                cancels: Cell::default(),
            }),
            backend: Backend::new(backend_key, parameters, statements_max),
            socket,
            incoming: Incoming { held: rest, ..Incoming::default() },
            settings: SharedSettings::default(),
            key: key.clone(),
            incarnation,
            expires,
            opened,
            last_writer: 0,
            wrote: None,
            listens: false,
            shows: false,
            reset_owed: false,
            copy_in: false,
            shut_down: false,
        }))
    }

    /// Connects to a node and logs in as `user`, with these parameters in the startup message.
    pub(super) async fn greet(
        self: &Rc<Self>,
        node: NodeId,
        user: &Arc<str>,
        parameters: &[(&[u8], &[u8])],
    ) -> Result<Greeted, OpenError> {
        let (addresses, incarnation) = {
            let topology = self.topology.borrow();
            let node = topology
                .node(node)
                .ok_or_else(|| OpenError::Unreachable("the node was removed".to_owned()))?;
            let addresses = match &node.address {
                NodeAddress::Tcp(addresses) => addresses.iter().map(|at| Address::Tcp(*at)).collect(),
                NodeAddress::Unix(folder) => {
                    vec![Address::Unix(folder.join(format!(".s.PGSQL.{}", node.port)))]
                }
            };
            (addresses, node.incarnation)
        };
        let mut failure = "its name does not resolve".to_owned();
        for address in addresses {
            match Socket::connect(&self.ring, &address).await {
                Ok(socket) => {
                    socket.tune();
                    let opened = self.shared.moment(Instant::now());
                    let (key, parameters, rest) = self.log_in(user, parameters, &socket).await?;
                    self.node_counters(node, |node| node.opened.add(1));
                    return Ok(Greeted { socket, address, incarnation, opened, key, parameters, rest });
                }
                Err(error) => failure = error.to_string(),
            }
        }
        Err(OpenError::Unreachable(failure))
    }

    async fn log_in(
        self: &Rc<Self>,
        user: &Arc<str>,
        parameters: &[(&[u8], &[u8])],
        socket: &Socket,
    ) -> Result<(BackendKey, Parameters, Vec<u8>), OpenError> {
        let mut random = [0u8; 18];
        getrandom::fill(&mut random).map_err(|error| OpenError::Unreachable(error.to_string()))?;
        let credentials = self.credentials(user);
        let mut out = Vec::new();
        let nonce = Nonce::from_random(random);
        let mut login = Login::start(user, parameters.iter().copied(), credentials, nonce, &mut out);
        socket.send_copy(&out);
        let mut held = Vec::new();
        loop {
            let chunk = self.received(socket).await.ok_or_else(|| {
                OpenError::Unreachable("it closed the connection during the login".to_owned())
            })?;
            held.extend_from_slice(&chunk);
            if held.len() > FRAME_HOLD_MAX {
                return Err(OpenError::Login(LoginError::Violation(Violation::Length)));
            }
            let mut at = 0;
            while let Some((frame, size)) =
                Frame::read(&held[at..]).map_err(|violation| OpenError::Login(violation.into()))?
            {
                out.clear();
                let mut progress = login.handle(frame, &mut out).map_err(OpenError::Login)?;
                at += size;
                if let Progress::KeysWanted { password, salt, iterations } = progress {
                    let work = Work::Derive { password, salt: salt.clone(), iterations };
                    let Some(Worked::Derived(keys)) = self.work(work).await else {
                        return Err(OpenError::Unreachable("pgweir is shutting down".to_owned()));
                    };
                    progress = login.provide(&keys, &mut out).map_err(OpenError::Login)?;
                    self.derived.borrow_mut().insert(user.clone(), SaltedKeys { salt, iterations, keys });
                }
                if !out.is_empty() {
                    socket.send_copy(&out);
                }
                if let Progress::Done { key, parameters } = progress {
                    return Ok((key, parameters, held.split_off(at)));
                }
            }
            held.drain(..at);
        }
    }

    /// What we may log in to nodes with as this user.
    fn credentials(&self, user: &str) -> Credentials {
        let secret = self.policy.borrow().secrets.get(user).cloned();
        let keys = self.derived.borrow().get(user).cloned();
        let keys = keys.or_else(|| self.learned.borrow().get(user).map(|keys| (**keys).clone()));
        Credentials { secret, keys }
    }

    /// The next chunk of a socket; `None` at its end.
    pub(super) async fn received(&self, socket: &Socket) -> Option<Chunk> {
        std::future::poll_fn(|context| {
            if let Some(chunk) = socket.receive() {
                return std::task::Poll::Ready(Some(chunk));
            }
            if socket.end().is_some() {
                return std::task::Poll::Ready(None);
            }
            socket.watch(context.waker());
            std::task::Poll::Pending
        })
        .await
    }

    /// Says goodbye to a backend, so that the server does not log a lost connection.
    pub(super) fn close(self: &Rc<Self>, link: Box<Link>) {
        self.node_counters(link.key.node, |node| node.backends.sub(1));
        self.shared.process.forget_lent(link.target.key.process_id);
        if link.socket.end().is_some() || !link.backend.ledger.settled() {
            return;
        }
        link.socket.send_with(frontend::put_terminate);
        let shard = self.clone();
        self.ring.spawn(async move {
            shard.ring.deadline(Instant::now() + super::GOODBYE_MAX, link.socket.flushed()).await;
        });
    }
}
