//! Proving who is who: towards clients, where pgweir is the server, and towards nodes, where it is the client.
//!
//! No sockets, no threads, no clocks, no randomness: message bodies come in as bytes and go out as bytes, nonces, salts
//! and seeds are arguments. So every exchange can be played from a table, and none of it can block a shard by waiting.
//! It can block one by computing: functions marked **SLOW** run PBKDF2 and belong on a helper thread.
//!
//! ```text
//!   a client logs in                                      a backend logs in
//!   ----------------                                      -----------------
//!   hba::Hba::method ----> Method                         node::Login::handle(code, body) ----> Step
//!   exchange(Method, Option<&Secret>, user, &Mock)            Send       a 'p' message for the node
//!      |                                                      NeedKeys   derive off the shard, then provide()
//!      +- Accept, Reject                                      Wait       nothing to say before the next message
//!      +- Cleartext   password::matches   (SLOW)              Done       AuthenticationOk, and rightly so
//!      +- Md5         md5::verify
//!      +- Scram       scram::ExpectClientFirst -> scram::ExpectClientFinal -> ClientKey
//!                                                                                |
//!                               node::SaltedKeys::learned  <---------------------+
//! ```
//!
//! The last arrow is the pass-through: who stores SCRAM secrets only, as PostgreSQL does, still logs in to nodes, with
//! the ClientKey that the client's own proof reveals.
//!
//! Two rules hold everywhere. A user nobody knows and a wrong password look the same, in every message and in the work
//! done for it ([`Mock`]). And secrets are compared in constant time and never printed: `Debug` of anything here shows
//! what kind of secret it is, not the secret.

mod error;
mod exchange;
pub mod hba;
pub mod md5;
mod mock;
pub mod node;
pub mod password;
pub mod scram;
mod secret;

pub use error::ClientError;
pub use exchange::{Check, Exchange, Method, exchange};
pub use mock::Mock;
pub use node::NodeError;
pub use secret::{Secret, SecretError};
