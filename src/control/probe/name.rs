//! A node's name and when it is resolved: at first, again after failures, and once a minute.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::time::Instant;

use super::{RESOLVE_AGAIN_MIN, RESOLVED_FOR};
use crate::control::Control;
use crate::control::signal::Signal;
use crate::topology::{NodeAddress, NodeId};

/// One node's name.
pub(super) struct Name {
    /// `None` where there is nothing to resolve: an address or a folder.
    host: Option<String>,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    attempt: RefCell<Attempt>,
    done: Signal,
}

/// The last attempt.
#[derive(Debug, Default)]
struct Attempt {
    begun: Option<Instant>,
    running: bool,
    /// Why it failed.
    failure: Option<String>,
    /// Whether nobody answered at what it resolved to.
    doubted: bool,
}

impl Name {
    pub fn new(host: &str) -> Name {
        let is_name = !host.starts_with('/') && host.parse::<IpAddr>().is_err();
        Name { host: is_name.then(|| host.to_owned()), state: Rc::default() }
    }

    /// Nobody answers there: it may lead elsewhere by now.
    pub fn doubt(&self) {
        self.state.attempt.borrow_mut().doubted = true;
    }

    /// What a probe that was given up was waiting for, if it was the name server.
    pub fn pending(&self, control: &Control, id: NodeId) -> Option<String> {
        let host =
            self.host.as_ref().filter(|_| self.state.attempt.borrow().running && is_unknown(control, id));
        host.map(|host| format!("its name \"{host}\" is not resolved yet"))
    }

    /// Resolves the name if it is time to, and tells control. Waits for it only while no address is known.
    ///
    /// # Errors
    ///
    /// A sentence, when no address is known and none was found.
    pub async fn resolve(&self, control: &Rc<Control>, id: NodeId, port: u16) -> Result<(), String> {
        let Some(host) = &self.host else { return Ok(()) };
        if self.state.attempt.borrow_mut().begin(Instant::now()) {
            let (host, control, state) = (host.clone(), control.clone(), self.state.clone());
            // Goes on when the probe is given up: name servers may take longer than probes.
            glommio::spawn_local(async move {
                let name = host.clone();
                let found = control.helpers.ask(move || addresses(&name, port)).await;
                let mut attempt = state.attempt.borrow_mut();
                attempt.running = false;
                match found {
                    Ok(addresses) => {
                        attempt.failure = None;
                        control.resolved(id, NodeAddress::Tcp(keep_order(control.address(id), addresses)));
                    }
                    Err(reason) => {
                        attempt.failure = Some(format!("its name \"{host}\" does not resolve: {reason}"))
                    }
                }
                state.done.set();
            })
            .detach();
        }
        while is_unknown(control, id) {
            let (running, failure) = {
                let attempt = self.state.attempt.borrow();
                (attempt.running, attempt.failure.clone())
            };
            match failure {
                _ if running => self.state.done.wait().await,
                failure => {
                    return Err(failure.unwrap_or_else(|| format!("its name \"{host}\" has no address")));
                }
            }
        }
        Ok(())
    }
}

impl Attempt {
    /// Whether to try now.
    fn begin(&mut self, now: Instant) -> bool {
        let patience = match self.doubted || self.failure.is_some() {
            true => RESOLVE_AGAIN_MIN,
            false => RESOLVED_FOR,
        };
        if self.running || self.begun.is_some_and(|begun| now.saturating_duration_since(begun) < patience) {
            return false;
        }
        *self = Attempt { begun: Some(now), running: true, failure: self.failure.take(), doubted: false };
        true
    }
}

fn is_unknown(control: &Control, id: NodeId) -> bool {
    matches!(control.address(id), NodeAddress::Tcp(addresses) if addresses.is_empty())
}

/// **SLOW** (asks name servers).
fn addresses(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = (host, port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err("it has no address".into()),
        false => Ok(addresses),
    }
}

/// Name servers shuffle what they answer: what was known already stays in its order, and the rest follows.
fn keep_order(present: NodeAddress, found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let NodeAddress::Tcp(mut kept) = present else { return found };
    kept.retain(|address| found.contains(address));
    let others: Vec<SocketAddr> = found.into_iter().filter(|address| !kept.contains(address)).collect();
    kept.extend(others);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_name_is_resolved_at_first_after_a_failure_and_once_a_minute() {
        let start = Instant::now();
        let mut attempt = Attempt::default();
        let done = |attempt: &mut Attempt, seconds| {
            let begun = attempt.begin(start + Duration::from_secs(seconds));
            attempt.running = false;
            begun
        };
        assert!(done(&mut attempt, 0));
        assert!(!done(&mut attempt, 59));
        assert!(done(&mut attempt, 60));
        assert!(!done(&mut attempt, 61));
        attempt.doubted = true;
        assert!(done(&mut attempt, 61), "nobody answers there any more");
        assert!(!done(&mut attempt, 62));
        attempt.failure = Some("no".into());
        assert!(done(&mut attempt, 62));
        attempt.running = true;
        assert!(!attempt.begin(start + Duration::from_secs(999)), "one at a time");
    }

    #[test]
    fn addresses_and_folders_are_not_resolved() {
        for (host, is_name) in [("127.0.0.1", false), ("::1", false), ("/tmp", false), ("localhost", true)] {
            assert_eq!(Name::new(host).host.is_some(), is_name, "{host}");
        }
    }

    #[test]
    fn a_shuffled_answer_is_no_other_address() {
        let tcp = |ports: &[u16]| -> Vec<SocketAddr> {
            ports.iter().map(|port| ([1, 2, 3, 4], *port).into()).collect()
        };
        assert_eq!(keep_order(NodeAddress::Tcp(tcp(&[1, 2])), tcp(&[2, 1])), tcp(&[1, 2]));
        assert_eq!(keep_order(NodeAddress::Tcp(tcp(&[1, 2])), tcp(&[3, 2])), tcp(&[2, 3]));
        assert_eq!(keep_order(NodeAddress::Tcp(Vec::new()), tcp(&[2])), tcp(&[2]));
    }
}
