//! pgpool.conf: settings in, draft out.
//!
//! A file of any pgpool-II version is understood. Each setting becomes a key of pgweir, or a
//! warning, or an error; none is dropped in silence, which is the trap such files fall into when
//! pgpool-II itself is upgraded. Opens no file: `include` is resolved, and pool_passwd and
//! pool_hba.conf are read, by [`read`](super::read).

mod access;
mod cluster;
mod failover;
pub(super) mod lexer;
mod listen;
mod log;
mod names;
mod nodes;
mod pool;
mod probe;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::lexer::{Fault, Setting};
use self::names::{Found, Meaning, Name, Numbered};
use super::draft::{Draft, Place};
use super::native;
use super::nearest::nearest;
use super::secrets::Secrets;
use super::{Balance, Config, Failover, Line, Listen, Pool, Reads, Route};

/// Whether a name belongs in a pgpool.conf, for telling the two formats apart.
pub(super) fn knows(name: &str) -> bool {
    name == INCLUDE || !matches!(names::find(name), Found::Unknown)
}

/// A pgpool.conf whose settings are applied, and whose pool_passwd is still to be read.
pub(super) struct Reader {
    pub draft: Draft,
    /// The last value of each name, by its newest name and number.
    values: BTreeMap<Key, Setting>,
    slots: nodes::Slots,
    access: access::Access,
    lines: Vec<(Line, Vec<Part>)>,
}

/// What a setting does; the error is the second half of `file:line: key:`.
type Use = fn(&mut Reader, &Setting, Option<u32>) -> Result<Outcome, String>;

type Key = (&'static str, Option<u32>);

/// What a setting became.
#[derive(Default)]
struct Outcome {
    parts: Vec<Part>,
    warning: Option<String>,
}

/// One piece of what a setting became, put into words when everything is known.
enum Part {
    /// A key of pgweir, such as `[pool] size`, with its final value.
    Key(&'static str),
    /// A key of a node, by pgpool's number.
    Node(u32, &'static str),
    Words(String),
}

impl Reader {
    /// Applies all settings; `faults` are the lines that are none, with their file.
    pub fn new(file: &Path, settings: Vec<Setting>, faults: Vec<(PathBuf, Fault)>) -> Reader {
        let mut reader = Reader {
            draft: Draft::new(file, defaults()),
            values: BTreeMap::new(),
            slots: nodes::Slots::default(),
            access: access::Access::default(),
            lines: Vec::new(),
        };
        for (file, fault) in faults {
            let place = Place { file, line: Some(fault.line), key: fault.key };
            reader.draft.torn = true;
            reader.draft.error(place, fault.text);
        }
        let known = reader.known(settings);
        for (setting, name, number) in &known {
            reader.values.insert((names::newest(name).name, *number), setting.clone());
        }
        for (setting, name, number) in known {
            reader.apply(&setting, name, number);
        }
        cluster::finish(&mut reader);
        nodes::finish(&mut reader);
        probe::finish(&mut reader);
        reader
    }

    /// The file of the users' secrets, and whether somebody wrote its name.
    pub fn pool_passwd(&self) -> Option<(PathBuf, bool)> {
        self.access.pool_passwd(&self.draft.file)
    }

    /// The hba file, when it is in use.
    pub fn pool_hba(&self) -> Option<PathBuf> {
        self.access.pool_hba(&self.draft.file)
    }

    /// Decides what depends on the secrets, puts every line into words, and hands over the draft.
    pub fn finish(mut self, secrets: &Secrets) -> Draft {
        access::finish(&mut self, secrets);
        for (mut line, parts) in std::mem::take(&mut self.lines) {
            line.became = parts.iter().filter_map(|part| self.words(part)).collect();
            self.draft.lines.push(line);
        }
        self.draft.defaults = self.unwritten();
        self.draft
    }

    /// Reports unknown names and leaves them out.
    fn known(&mut self, settings: Vec<Setting>) -> Vec<(Setting, &'static Name, Option<u32>)> {
        let mut known = Vec::new();
        for setting in settings {
            let written = setting.name.as_str();
            let wrong = match names::find(written) {
                Found::Name(name, number) => {
                    known.push((setting, name, number));
                    continue;
                }
                Found::NumberMissing => {
                    format!("the number of the node is missing: write {written}0 for the first")
                }
                Found::NumberTooLarge => {
                    let last = names::NODES_MAX - 1;
                    format!("the number of the node is too large: nodes are 0 to {last}")
                }
                Found::Unknown => unknown(written),
            };
            self.draft.error(place(&setting), wrong);
        }
        known
    }

    fn apply(&mut self, setting: &Setting, name: &'static Name, number: Option<u32>) {
        let newest = names::newest(name);
        let last = self.values.get(&(newest.name, number));
        let outcome = match (&newest.meaning, last.filter(|last| *last != setting)) {
            (Meaning::Used(_), Some(last)) => Ok(Outcome::says(format!("overridden by {}", spot(last)))),
            (Meaning::Used(apply), None) => apply(self, setting, number),
            (Meaning::NotYet(today), _) => Ok(Outcome::warns(format!("is not used yet: {today}"))),
            (Meaning::Never(why), _) => Ok(Outcome::warns(format!("has no meaning in pgweir: {why}"))),
            // `newest` follows every name of the table; a test holds it to that.
            (Meaning::Renamed, _) => Ok(Outcome::warns("is not used yet")),
        };
        match outcome {
            Err(text) => self.draft.error(place(setting), text),
            Ok(outcome) => self.line(setting, name, number, outcome),
        }
    }

    fn line(&mut self, setting: &Setting, name: &Name, number: Option<u32>, outcome: Outcome) {
        let warning = history(name, number, outcome.warning);
        if let Some(text) = &warning {
            self.draft.warning(place(setting), text.clone());
        }
        for part in &outcome.parts {
            if let Part::Key(key) = part {
                self.draft.written(key, place(setting));
            }
        }
        let hidden = name.secret && !setting.value.is_empty();
        let line = Line {
            file: setting.file.clone(),
            line: setting.line,
            name: setting.name.clone(),
            value: match hidden {
                true => "*****".to_string(),
                false => setting.value.clone(),
            },
            became: Vec::new(),
            warning,
        };
        self.lines.push((line, outcome.parts));
    }

    fn words(&self, part: &Part) -> Option<String> {
        match part {
            Part::Key(key) => Some(native::written(&self.draft.config, key)),
            Part::Words(words) => Some(words.clone()),
            Part::Node(number, key) => Some(match self.slots.node(*number) {
                None => format!("node {number} is not in use"),
                Some(index) => native::written_node(&self.draft.config.nodes[index], key),
            }),
        }
    }

    /// Which keys nobody wrote, though their value is not pgweir's own default.
    fn unwritten(&self) -> Vec<String> {
        UNWRITTEN
            .iter()
            .filter(|(key, _)| !self.draft.is_written(key))
            .map(|(key, why)| format!("{}  ({why})", native::written(&self.draft.config, key)))
            .collect()
    }

    /// The value of a setting that counts, by its newest name.
    fn value(&self, name: &'static str, number: Option<u32>) -> Option<&str> {
        self.values.get(&(name, number)).map(|setting| setting.value.as_str())
    }

    /// For a setting that may carry a node's number: the outcome when another line speaks for all
    /// nodes, because pgweir treats them alike. `None` when this line is the one that counts: the
    /// line without a number, or else the one with the smallest.
    fn other_common(&self, name: &'static str, number: Option<u32>) -> Option<Outcome> {
        let (_, common) = self.values.range((name, None)..=(name, Some(u32::MAX))).next()?;
        let own = self.value(name, number)?;
        if common.value == own {
            return (common.name != format!("{name}{}", number?))
                .then(|| Outcome::says(format!("the same as {}", common.name)));
        }
        Some(Outcome::warns(format!(
            "is not used yet: pgweir treats all nodes alike, as {} says",
            common.name
        )))
    }
}

impl Outcome {
    fn sets(key: &'static str) -> Outcome {
        Outcome::default().and(key)
    }

    /// A key of the node with this number of pgpool's.
    fn sets_node(number: u32, key: &'static str) -> Outcome {
        Outcome { parts: vec![Part::Node(number, key)], warning: None }
    }

    fn says(words: impl Into<String>) -> Outcome {
        Outcome { parts: vec![Part::Words(words.into())], warning: None }
    }

    fn warns(text: impl Into<String>) -> Outcome {
        Outcome::default().warning(text)
    }

    fn and(mut self, key: &'static str) -> Outcome {
        self.parts.push(Part::Key(key));
        self
    }

    fn with(mut self, words: impl Into<String>) -> Outcome {
        self.parts.push(Part::Words(words.into()));
        self
    }

    fn warning(mut self, text: impl Into<String>) -> Outcome {
        self.warning = Some(text.into());
        self
    }
}

/// Pgpool-II's defaults, where a client or an operator would notice the difference.
fn defaults() -> Config {
    let native = Config::default();
    Config {
        listen: Listen {
            addresses: vec!["localhost".to_string()],
            port: 9999,
            unix_socket_dirs: vec!["/tmp".into()],
            ..native.listen
        },
        pool: Pool { size: pool::CHILDREN_DEFAULT, connect_timeout: Duration::from_secs(10), ..native.pool },
        failover: Failover { on_backend_shutdown: false, ..native.failover },
        route: Route { reads: Reads::Any, balance: Balance::Session, ..native.route },
        ..native
    }
}

/// Adds to a warning what the name itself went through.
fn history(name: &Name, number: Option<u32>, warning: Option<String>) -> Option<String> {
    let number = match name.numbered {
        Numbered::Never => String::new(),
        _ => number.map(|number| number.to_string()).unwrap_or_default(),
    };
    match (name.renamed, name.dropped, warning) {
        (Some((to, since)), _, None) => Some(format!("is called {to}{number} since pgpool-II {since}")),
        (Some((to, since)), _, Some(text)) => {
            Some(format!("is called {to}{number} since pgpool-II {since}, and {text}"))
        }
        (None, Some(version), Some(text)) => {
            Some(format!("{text} (pgpool-II itself dropped it in {version})"))
        }
        (None, Some(version), None) => Some(format!("pgpool-II itself dropped it in {version}")),
        (None, None, warning) => warning,
    }
}

fn unknown(written: &str) -> String {
    if let Some((_, text)) = MISTAKEN.iter().find(|(name, _)| *name == written) {
        return (*text).to_string();
    }
    let base = written.trim_end_matches(|c: char| c.is_ascii_digit());
    let near = nearest(base, names::all().map(|name| name.name));
    let digits = match names::all().find(|name| name.name == near) {
        Some(name) if name.numbered == Numbered::Never => "",
        Some(name) if name.numbered == Numbered::Always && base.len() == written.len() => "0",
        _ => &written[base.len()..],
    };
    format!("no version of pgpool-II has this setting: did you mean {near}{digits}?")
}

fn place(setting: &Setting) -> Place {
    Place::line(&setting.file, setting.line, setting.name.clone())
}

fn spot(setting: &Setting) -> String {
    format!("{}:{}", setting.file.display(), setting.line)
}

/// The one name that is no setting: it takes another file in.
pub(super) const INCLUDE: &str = "include";

/// Keys whose value comes from pgpool-II's defaults or from what pgweir is, and why.
const UNWRITTEN: &[(&str, &str)] = &[
    ("[listen] address", "pgpool-II's listen_addresses"),
    ("[listen] port", "pgpool-II's port"),
    ("[listen] unix_socket_dir", "pgpool-II's unix_socket_directories"),
    (
        "[pool] mode",
        "pgpool-II keeps a client's backends for its whole session; pgweir shares them between \
         transactions and carries the session's state along",
    ),
    ("[pool] size", "pgpool-II's num_init_children"),
    ("[pool] connect_timeout", "pgpool-II's connect_timeout"),
    ("[auth] method", "by what pool_passwd holds"),
    ("[route] reads", "pgpool-II's load_balance_mode: the primary takes its share"),
    ("[route] balance", "pgpool-II's statement_level_load_balance"),
    ("[route] causal", "stricter than pgpool-II: a session's reads see its own writes"),
    ("[failover] on_backend_shutdown", "pgpool-II's failover_on_backend_shutdown"),
    ("[admin] users", "the probes' user and postgres; pgpool-II lets everyone ask"),
];

/// Names that guides mention and no version ever had.
const MISTAKEN: &[(&str, &str)] = &[(
    "backend_connection_string",
    "no version of pgpool-II has this setting: write backend_hostname0, backend_port0 and so on",
)];
