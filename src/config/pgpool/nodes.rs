//! The nodes: pgpool-II's numbered slots become a list without gaps.

use std::collections::BTreeMap;

use super::lexer::Setting;
use super::{Outcome, Part, Reader, place, value};
use crate::config::Node;
use crate::config::draft::Place;

/// What has been said about each slot so far.
#[derive(Default)]
pub(super) struct Slots {
    slots: BTreeMap<u32, Slot>,
    socket_dir: Option<String>,
    /// The place in the configuration of each slot in use.
    used: BTreeMap<u32, usize>,
}

#[derive(Default)]
struct Slot {
    node: Node,
    host: Option<(String, Place)>,
    port: Option<(u16, Place)>,
}

impl Slots {
    /// The index of a slot's node; `None` for an unused slot.
    pub(super) fn node(&self, number: u32) -> Option<usize> {
        self.used.get(&number).copied()
    }

    /// What becomes the node with this number, if that is one.
    pub(super) fn node_mut(&mut self, number: u32) -> &mut Node {
        &mut self.slot(Some(number)).node
    }

    fn slot(&mut self, number: Option<u32>) -> &mut Slot {
        self.slots.entry(number.unwrap_or(0)).or_default()
    }
}

pub(super) fn hostname(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    let host = setting.value.trim().to_string();
    reader.slots.slot(number).host = Some((host, place(setting)));
    Ok(node_key(number, "host"))
}

/// 0 leaves the slot unused.
pub(super) fn port(reader: &mut Reader, setting: &Setting, number: Option<u32>) -> Result<Outcome, String> {
    let port = value::integer(&setting.value, 0..=65535)?;
    reader.slots.slot(number).port = Some((port as u16, place(setting)));
    Ok(node_key(number, "port"))
}

pub(super) fn weight(reader: &mut Reader, setting: &Setting, number: Option<u32>) -> Result<Outcome, String> {
    let weight = value::float(&setting.value, 0.0..=1_000_000.0)?;
    reader.slots.slot(number).node.weight = weight;
    Ok(node_key(number, "weight"))
}

pub(super) fn data_directory(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    if setting.value.is_empty() {
        return Ok(Outcome::says("no data directory"));
    }
    reader.slots.slot(number).node.data_directory = Some(setting.value.clone());
    Ok(node_key(number, "data_directory"))
}

pub(super) fn application_name(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    if setting.value.is_empty() {
        return Ok(Outcome::says("no application name"));
    }
    reader.slots.slot(number).node.application_name = Some(setting.value.clone());
    Ok(node_key(number, "application_name"))
}

/// Flags joined by `|`.
pub(super) fn flag(reader: &mut Reader, setting: &Setting, number: Option<u32>) -> Result<Outcome, String> {
    let (mut allow, mut disallow, mut primary, mut master) = (false, false, false, false);
    for word in setting.value.split('|').map(str::trim) {
        match word {
            "ALLOW_TO_FAILOVER" => allow = true,
            "DISALLOW_TO_FAILOVER" => disallow = true,
            "ALWAYS_PRIMARY" => primary = true,
            "ALWAYS_MASTER" => (primary, master) = (true, true),
            "" => {}
            other => {
                return Err(format!(
                    "'{other}' is none of ALLOW_TO_FAILOVER, DISALLOW_TO_FAILOVER, ALWAYS_PRIMARY"
                ));
            }
        }
    }
    if allow && disallow {
        return Err("it cannot both allow and disallow failover: write one of them".to_string());
    }
    let node = &mut reader.slots.slot(number).node;
    node.disallow_failover = disallow;
    node.always_primary = primary;
    let mut outcome = node_key(number, "disallow_failover");
    if primary {
        outcome.parts.push(part(number, "always_primary"));
    }
    if master {
        outcome = outcome.warning("ALWAYS_MASTER is called ALWAYS_PRIMARY since pgpool-II 4.2");
    }
    Ok(outcome)
}

/// The folder of the sockets of nodes without a host name.
pub(super) fn socket_dir(reader: &mut Reader, setting: &Setting, _: Option<u32>) -> Result<Outcome, String> {
    reader.slots.socket_dir = Some(setting.value.clone()).filter(|dir| !dir.is_empty());
    Ok(Outcome::says("the folder of nodes without a backend_hostname"))
}

/// Slots with a port become nodes, in the order of their numbers.
pub(super) fn finish(reader: &mut Reader) {
    let slots = std::mem::take(&mut reader.slots.slots);
    let local = reader.slots.socket_dir.clone().unwrap_or_else(|| "/tmp".to_string());
    for (number, slot) in slots {
        let Some((port, port_place)) = slot.port.filter(|(port, _)| *port > 0) else {
            if let Some((_, place)) = slot.host {
                let text = format!("node {number} is left out: backend_port{number} is missing or 0");
                reader.draft.warning(place, text);
            }
            continue;
        };
        let (host, place) = slot.host.unwrap_or((String::new(), port_place));
        let host = match host.is_empty() {
            true => local.clone(),
            false => host,
        };
        let index = reader.draft.config.nodes.len();
        if index as u32 != number {
            let text = format!("this is node {index} in pgweir, which leaves out unused numbers");
            reader.draft.warning(place.clone(), text);
        }
        reader.slots.used.insert(number, index);
        reader.draft.config.nodes.push(Node { host, port, ..slot.node });
        reader.draft.node_places.push(place);
    }
}

fn node_key(number: Option<u32>, key: &'static str) -> Outcome {
    Outcome { parts: vec![part(number, key)], warning: None }
}

fn part(number: Option<u32>, key: &'static str) -> Part {
    Part::Node(number.unwrap_or(0), key)
}
