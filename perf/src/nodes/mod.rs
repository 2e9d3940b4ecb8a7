//! The servers behind the proxies: canned ones, or real PostgreSQL.

mod canned;
mod postgres;

pub use canned::{Canned, Shape, listening};
pub use postgres::{Postgres, client_program};

/// The login name that all servers here let in without a password.
pub const USER: &str = "postgres";
/// The database that all servers here have.
pub const DATABASE: &str = "postgres";
