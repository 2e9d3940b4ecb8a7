//! What no single key can know: the checks across keys, once everything is read.

use std::collections::BTreeMap;

use super::draft::{Draft, Place};
use super::secrets::{is_md5, is_scram};
use super::{AuthMethod, FailoverMode};

/// Adds what is wrong to the draft. `user_lines` says where each user's secret stands.
pub(super) fn check(draft: &mut Draft, user_lines: &BTreeMap<String, usize>) {
    nodes(draft);
    listen(draft);
    shards(draft);
    auth(draft, user_lines);
    failover(draft);
    admin(draft);
}

fn nodes(draft: &mut Draft) {
    let nodes = draft.config.nodes.clone();
    if nodes.is_empty() && !draft.torn {
        let place = Place::bare(&draft.file, None);
        draft.error(place, NO_NODE);
    }
    if nodes.len() > NODES_MAX {
        let place = draft.node_places[NODES_MAX].clone();
        let text = format!("there are {} nodes: {NODES_MAX} are the most", nodes.len());
        draft.error(place, text);
    }
    let places = draft.node_places.clone();
    for (index, (node, place)) in nodes.iter().zip(&places).enumerate() {
        let twin = nodes[..index].iter().position(|other| other.host == node.host && other.port == node.port);
        if let Some(twin) = twin {
            let text = format!(
                "{} port {} is already a node, on line {}: every node has its own",
                node.host,
                node.port,
                places[twin].line.unwrap_or(0)
            );
            draft.error(place.clone(), text);
        }
        let other = nodes[..index].iter().find(|other| other.always_primary);
        if let (true, Some(other)) = (node.always_primary, other) {
            let text = format!("{} port {} is always the primary already", other.host, other.port);
            draft.error(place.clone(), text);
        }
    }
}

fn listen(draft: &mut Draft) {
    let listen = &draft.config.listen;
    let relative = listen
        .unix_socket_dirs
        .iter()
        .find(|dir| !dir.is_absolute())
        .map(|dir| format!("{} must start with /", dir.display()));
    // The socket's path, `DIR/.s.PGSQL.PORT`, has to fit into a socket address (107 bytes).
    let too_long = listen
        .unix_socket_dirs
        .iter()
        .find(|dir| dir.as_os_str().len() + "/.s.PGSQL.65535".len() > 107)
        .map(|dir| format!("{} is too long for a unix socket", dir.display()));
    let nowhere = (listen.addresses.is_empty() && listen.unix_socket_dirs.is_empty())
        .then(|| "there is neither an address nor a unix_socket_dir: write one".to_string());
    let mut faults = vec![];
    faults.extend(relative.or(too_long).map(|text| ("[listen] unix_socket_dir", text)));
    faults.extend(nowhere.map(|text| ("[listen] address", text)));
    for (key, text) in faults {
        draft.error(draft.place(key), text);
    }
}

fn shards(draft: &mut Draft) {
    let shards = &draft.config.shards;
    if let (Some(count), Some(cores)) = (shards.count, &shards.cores)
        && count != cores.len()
    {
        let text =
            format!("{count} is not the number of cores listed, which is {}: leave count out", cores.len());
        draft.error(draft.place("[shards] count"), text);
    }
}

fn auth(draft: &mut Draft, user_lines: &BTreeMap<String, usize>) {
    let auth = &draft.config.auth;
    match auth.method {
        AuthMethod::Hba if auth.hba.is_none() => {
            let text = "is missing: method = \"hba\" needs the file that says who may come in";
            draft.error(draft.place("[auth] hba"), text);
        }
        AuthMethod::Password | AuthMethod::Md5 | AuthMethod::ScramSha256
            if auth.users_file.is_none() && !draft.torn =>
        {
            let text = "is missing: the method needs the file of the users' secrets, such as \
                        \"userlist.txt\"";
            draft.error(draft.place("[auth] users"), text);
        }
        AuthMethod::ScramSha256 => {
            let weak: Vec<String> = auth
                .users
                .iter()
                .filter(|(_, secret)| is_md5(secret))
                .map(|(user, _)| user.clone())
                .collect();
            let file = auth.users_file.clone();
            for user in weak {
                let text = format!(
                    "user {user:?} cannot log in: scram-sha-256 cannot be done with an md5 secret; \
                     store the password or a SCRAM secret, or write method = \"md5\""
                );
                let file = file.clone().unwrap_or_else(|| draft.file.clone());
                draft.warning(Place::bare(&file, user_lines.get(&user).copied()), text);
            }
        }
        _ => {}
    }
    let monitor = &draft.config.monitor;
    if monitor.password.as_deref().is_some_and(is_scram) {
        let text = "nobody can log in with a SCRAM secret: write the password itself";
        draft.error(draft.place("[monitor] password"), text);
    }
}

fn failover(draft: &mut Draft) {
    let failover = draft.config.failover.clone();
    match (failover.mode, &failover.failover_command) {
        (FailoverMode::Command, None) => {
            let text = "\"command\" needs failover_command, which says how a replica is promoted";
            draft.error(draft.place("[failover] mode"), text);
        }
        (FailoverMode::Observe | FailoverMode::Promote, Some(_)) => {
            let text = "is never run: write mode = \"command\" for it to promote";
            draft.warning(draft.place("[failover] failover_command"), text);
        }
        _ => {}
    }
    if failover.mode == FailoverMode::Observe && failover.follow_primary_command.is_some() {
        let text = "is never run: mode = \"observe\" leaves it to whoever promotes";
        draft.warning(draft.place("[failover] follow_primary_command"), text);
    }
}

/// Only where admins were written down: the default one may well not exist.
fn admin(draft: &mut Draft) {
    let needs_secret =
        matches!(draft.config.auth.method, AuthMethod::Password | AuthMethod::Md5 | AuthMethod::ScramSha256);
    if !needs_secret || !draft.is_written("[admin] users") {
        return;
    }
    let strangers: Vec<String> = draft
        .config
        .admin
        .users
        .iter()
        .filter(|user| !draft.config.auth.users.contains_key(*user))
        .cloned()
        .collect();
    for user in strangers {
        let text = format!("user {user:?} has no secret in [auth] users and cannot log in");
        draft.warning(draft.place("[admin] users"), text);
    }
}

/// The most nodes there may be, as in pgpool-II.
const NODES_MAX: usize = 128;

const NO_NODE: &str = "there is no node: add a [[node]] section with its host and port \
                       (pgpool.conf: backend_hostname0 and backend_port0)";
