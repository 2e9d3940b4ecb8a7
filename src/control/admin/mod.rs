//! The admin console: what PgBouncer's and pgpool-II's users know, and what is only here.
//!
//! Whether a user may use it the shard has decided. Everything shown is the sum over shards, as of now.

mod canned;
mod failovers;
mod statement;
mod tables;
mod time;
mod window;

pub(super) use self::window::{Totals, Window};

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use self::statement::{Request, Table};
use super::Control;
use super::reload::Reloaded;
use crate::door::Answer;

impl Control {
    /// What the console says to a statement.
    pub(super) async fn answer(self: &Rc<Self>, statement: &str, user: &str) -> Answer {
        match statement::parse(statement) {
            Request::Empty => Answer::Done { tag: String::new() },
            Request::Show(table) => self.table(table).await,
            Request::Canned { column, value, tag } => tables::single(&column, value, &tag),
            Request::Ignored(tag) => Answer::Done { tag: tag.into() },
            Request::Order(order) => {
                tracing::info!("user \"{user}\" sent {}", order.name());
                match self.ordered(order).await {
                    Ok(sentence) => tables::single(&order.name().to_lowercase(), sentence, order.name()),
                    Err(message) => Answer::Refused { sqlstate: *b"55000", message, hint: None },
                }
            }
            Request::Reload => {
                tracing::info!("user \"{user}\" sent RELOAD");
                match self.reload().await {
                    Reloaded::Applied(_) => Answer::Done { tag: "RELOAD".into() },
                    Reloaded::Refused(errors) => Answer::Refused {
                        sqlstate: *b"F0000",
                        message: format!("the configuration stays as it was: {}", errors.join("\n")),
                        hint: None,
                    },
                }
            }
            Request::Shutdown { drain } => {
                tracing::info!("user \"{user}\" sent SHUTDOWN");
                match drain {
                    true if self.shutdown.borrow().is_running() => self.drain(),
                    true => {}
                    false => self.stop(),
                }
                Answer::Done { tag: "SHUTDOWN".into() }
            }
            Request::Refused { sqlstate, message } => {
                Answer::Refused { sqlstate, message, hint: Some(hint()) }
            }
        }
    }

    async fn table(&self, table: Table) -> Answer {
        let counters = &self.shared.counters;
        match table {
            Table::Corrections => tables::corrections(counters),
            Table::Failovers => {
                let cluster = self.cluster.borrow();
                let now = self.now();
                failovers::failovers(cluster.failover().records(), |moment| {
                    let ago = Duration::from_nanos(now.moment.0.saturating_sub(moment.0));
                    now.at.checked_sub(ago).unwrap_or(now.at)
                })
            }
            Table::Help => tables::help(),
            Table::Listeners => tables::listeners(&*self.gather().await),
            Table::NodePools => {
                let gathered = self.gather().await;
                tables::node_pools(&self.cluster.borrow(), &gathered)
            }
            Table::Nodes => tables::nodes(&self.cluster.borrow(), counters),
            Table::PinStats => tables::pin_stats(&*self.gather().await),
            Table::Pins => tables::pins(&*self.gather().await, SystemTime::now()),
            Table::PoolNodes => tables::pool_nodes(&self.cluster.borrow(), counters),
            Table::PoolVersion => tables::single("pool_version", pool_version(), "SELECT 1"),
            Table::Pools => tables::pools(&*self.gather().await),
            Table::Shards => tables::shards(counters, &*self.gather().await),
            Table::Stats => {
                let gathered = self.gather().await;
                let (ago, then) = self.window.borrow().oldest(Instant::now());
                tables::stats(&Totals::of(&self.shared, &gathered), ago, &then)
            }
            Table::Version => tables::single("version", version(), "SHOW"),
        }
    }
}

/// `pgweir 0.1.0`.
fn version() -> String {
    format!("pgweir {}", env!("CARGO_PKG_VERSION"))
}

/// In pgpool-II's form: the version whose pool_nodes are shown, and who shows them.
fn pool_version() -> String {
    format!("4.3.0 ({})", version())
}

fn hint() -> String {
    let names: Vec<&str> = Table::ALL.iter().map(|(name, ..)| *name).collect();
    format!(
        "There are SHOW {}, SWITCHOVER, PROMOTE, DETACH, ATTACH, PAUSE, RESUME, RELOAD and SHUTDOWN.",
        names.join(", ")
    )
}
