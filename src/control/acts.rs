//! Doing what failover says: statements on nodes, commands, answers to orders, lines of the log.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use glommio::timer::Timer;

use super::failover::{Action, Event, PromoteError, Purpose};
use super::probe::{Connection, ProbeError};
use super::{Control, command, conninfo};
use crate::topology::NodeId;

impl Control {
    /// Does what is to be done since the last call.
    pub(super) fn act(self: &Rc<Self>) {
        let actions = self.cluster.borrow_mut().actions();
        for action in actions {
            match action {
                Action::Probe { node } => {
                    if let Some(probe) = self.probes.borrow().get(node.index()) {
                        probe.set();
                    }
                }
                Action::Promote { attempt, node } => self.report(async move |control| {
                    let timeout = control.cluster.borrow().failover().rules().promote_timeout;
                    Event::Promoted { attempt, result: control.promote(node, timeout).await }
                }),
                Action::Follow { attempt, node, primary } => self.report(async move |control| {
                    Event::Followed { attempt, result: control.point(node, node, primary).await }
                }),
                Action::Demote { attempt, node, primary } => self.report(async move |control| {
                    // The new primary was a replica until now: it knows how one logs in.
                    Event::Demoted { attempt, result: control.point(node, primary, primary).await }
                }),
                Action::Run { attempt, purpose, node, command } => {
                    tracing::info!("{} for node {node}: {command}", purpose.setting());
                    let handle = self.handle.clone();
                    let (heard, ended) = (tell(purpose), move |code| handle.exited(attempt, code));
                    command::start(command, heard, ended);
                }
                Action::Alarm(text) => tracing::error!("{text}"),
                Action::Log(text) => tracing::info!("{text}"),
                Action::Answer { ticket, result } => self.orders.answer(ticket, result),
                Action::Recorded { number } => self.recorded(number),
                // Drawn by the cluster itself.
                Action::Publish { .. } => {}
            }
        }
    }

    /// Does something and tells failover what came of it.
    fn report(self: &Rc<Self>, work: impl AsyncFnOnce(Rc<Control>) -> Event + 'static) {
        let control = self.clone();
        glommio::spawn_local(async move {
            let event = work(control.clone()).await;
            control.happened(event);
        })
        .detach();
    }

    /// Makes a replica the primary. It counts as done when the node itself says so.
    async fn promote(self: &Rc<Self>, node: NodeId, timeout: Duration) -> Result<(), PromoteError> {
        let promote = async {
            // Where nothing was asked, nothing can have happened.
            let connection = self.connect(node, timeout).await;
            let mut connection = connection.map_err(|error| PromoteError::Refused(error.to_string()))?;
            // Waiting for it there would be in steps of 100 ms (xlogfuncs.c).
            let asked = connection.ask("SELECT pg_promote(false)").await.map_err(refused)?;
            if asked != [Some("t".to_owned())] {
                return Err(PromoteError::Unknown(
                    "the server could not tell its startup process to promote".into(),
                ));
            }
            loop {
                let recovering = connection.ask("SELECT pg_is_in_recovery()").await.map_err(unknown)?;
                if recovering == [Some("f".to_owned())] {
                    return Ok(());
                }
                Timer::new(PROMOTED_LOOK).await;
            }
        };
        let late = async {
            Timer::new(timeout).await;
            Err(PromoteError::Unknown(format!("it is no primary after {timeout:?}")))
        };
        promote.or(late).await
    }

    /// Has `node` stream from `primary`, logging in there as `known` does.
    async fn point(self: &Rc<Self>, node: NodeId, known: NodeId, primary: NodeId) -> Result<(), String> {
        let point = async {
            let mut connection = self.connect(node, FOLLOW_MAX).await?;
            let mut setting = connection.ask(SETTINGS).await?;
            let empty = setting.first().is_none_or(|text| text.as_ref().is_none_or(String::is_empty));
            if known != node && empty {
                setting = self.connect(known, FOLLOW_MAX).await?.ask(SETTINGS).await?;
            }
            let mut settings = setting.into_iter().map(Option::unwrap_or_default);
            let (text, slot) = (settings.next().unwrap_or_default(), settings.next().unwrap_or_default());
            let (host, port) = self.place(primary).ok_or_else(|| {
                ProbeError::Misbehaved("the primary was taken out of the configuration".into())
            })?;
            let pointed = conninfo::pointed_at(&text, &host, port)
                .map_err(|wrong| ProbeError::Misbehaved(format!("its primary_conninfo: {wrong}")))?;
            if !slot.is_empty() {
                let mut at_primary = self.connect(primary, FOLLOW_MAX).await?;
                make_slot(&mut at_primary, &slot).await?;
            }
            let set = format!("ALTER SYSTEM SET primary_conninfo = {}", literal(&pointed));
            connection.run(&set).await?;
            connection.ask("SELECT pg_reload_conf()").await
        };
        let late = async {
            Timer::new(FOLLOW_MAX).await;
            Err(ProbeError::Misbehaved(format!("it does not answer within {FOLLOW_MAX:?}")))
        };
        point.or(late).await.map(drop).map_err(|error| error.to_string())
    }
}

/// The slot that a replica's receiver uses, where it has to be.
async fn make_slot(primary: &mut Connection, slot: &str) -> Result<(), ProbeError> {
    let name = literal(slot);
    let make = format!(
        "SELECT pg_create_physical_replication_slot({name}) WHERE NOT EXISTS \
         (SELECT FROM pg_replication_slots WHERE slot_name = {name})"
    );
    primary.run(&make).await.map(drop)
}

/// What a server said no to did not happen there.
fn refused(error: ProbeError) -> PromoteError {
    match error {
        ProbeError::Refused { fatal: false, .. } => PromoteError::Refused(error.to_string()),
        error => unknown(error),
    }
}

fn unknown(error: ProbeError) -> PromoteError {
    PromoteError::Unknown(error.to_string())
}

/// As a string constant of SQL.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    match quoted.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

fn tell(purpose: Purpose) -> impl Fn(&str) + Send + Clone + 'static {
    move |line: &str| tracing::info!("{}: {line}", purpose.setting())
}

const SETTINGS: &str = "SELECT current_setting('primary_conninfo'), current_setting('primary_slot_name')";

/// How often a node that was told to become the primary is asked whether it is.
const PROMOTED_LOOK: Duration = Duration::from_millis(5);

/// How long one attempt at having a node follow may take.
const FOLLOW_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_of_sql() {
        for (text, constant) in [("a", "'a'"), ("it's", "'it''s'"), ("a\\'b", "E'a\\\\''b'")] {
            assert_eq!(literal(text), constant);
        }
    }
}
