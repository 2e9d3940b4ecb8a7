//! What a client's startup message asks for.

use std::rc::Rc;

use crate::wire::Sqlstate;
use crate::wire::backend::Report;
use crate::wire::startup::{self, Startup};

use super::settings::Settings;

/// A startup message that was understood.
#[derive(Debug)]
pub struct Request {
    pub user: Rc<str>,
    pub database: Rc<str>,
    /// What the session starts with; RESET returns to it.
    pub settings: Rc<Settings>,
    pub application_name: Option<String>,
    /// Whether it is to speak to the sender of the WAL, and what it sent, which goes to the server as it is.
    pub replication: Option<Replication>,
    /// The minor version both speak: what was asked for, up to ours.
    pub minor: u16,
    /// Whether the client asked for something newer or unknown, and is to be told what we speak.
    pub negotiate: Option<Vec<Vec<u8>>>,
}

/// What a client sent that asks for a replication connection (PostgreSQL manual 55.4).
#[derive(Debug)]
pub struct Replication {
    /// True exactly when it is of one database (`replication=database`) and understands SQL.
    pub logical: bool,
    /// All parameters of the startup message.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// # Errors
    ///
    /// What to tell the client before closing: no user, names that are not UTF-8, a value of `replication` that there is
    /// not, options that only a server's command line knows.
    pub fn read(startup: &Startup<'_>) -> Result<Request, Report> {
        let mut user = None;
        let mut database = None;
        let mut settings: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut unread_options = None;
        let mut unknown = Vec::new();
        let mut logical = None;
        for (name, value) in startup.parameters() {
            match name {
                b"user" => user = Some(text("user", value)?),
                b"database" => database = Some(text("database", value)?),
                b"replication" => logical = replication(value)?,
                b"options" => unread_options = Some(value),
                name if name.starts_with(b"_pq_.") => unknown.push(name.to_vec()),
                name => settings.push((name.to_vec(), value.to_vec())),
            }
        }
        let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
            Report::fatal(
                Sqlstate::INVALID_AUTHORIZATION,
                "no PostgreSQL user name specified in startup packet",
            )
        })?;
        let database = database.filter(|database| !database.is_empty()).unwrap_or_else(|| user.clone());
        // The server itself reads those of a replication connection.
        let options = match unread_options.filter(|_| logical.is_none()) {
            Some(value) => startup::parse_options(value).map_err(|word| {
                Report::fatal(
                    Sqlstate::FEATURE_NOT_SUPPORTED,
                    format!("unsupported option in startup packet: \"{word}\""),
                )
                .hint("Only settings can be given: -c NAME=VALUE or --NAME=VALUE.")
            })?,
            None => Vec::new(),
        };
        // As in the server, a parameter of its own wins over the same in `options`.
        let all = (options.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
            .chain(settings.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
        let application_name = settings
            .iter()
            .find(|(name, _)| name == b"application_name")
            .map(|(_, value)| String::from_utf8_lossy(value).into_owned());
        let negotiate = (startup.minor > startup::MINOR_MAX || !unknown.is_empty()).then_some(unknown);
        Ok(Request {
            user,
            database,
            settings: Rc::new(Settings::of_startup(all)),
            application_name,
            replication: logical.map(|logical| Replication {
                logical,
                parameters: startup
                    .parameters()
                    .filter(|(name, _)| !name.starts_with(b"_pq_."))
                    .map(|(name, value)| (name.to_vec(), value.to_vec()))
                    .collect(),
            }),
            minor: startup.minor.min(startup::MINOR_MAX),
            negotiate,
        })
    }

    /// How many bytes of secret the client can take in BackendKeyData: 4 before protocol 3.2.
    pub fn secret_size(&self) -> usize {
        if self.minor >= 2 { SECRET_SIZE } else { 4 }
    }
}

fn text(what: &str, value: &[u8]) -> Result<Rc<str>, Report> {
    std::str::from_utf8(value).map(Rc::from).map_err(|_| {
        Report::fatal(
            Sqlstate::INVALID_AUTHORIZATION,
            format!("the {what} name in the startup packet is not UTF-8"),
        )
    })
}

/// What a value of `replication` asks for: nothing, or a connection that is logical or not. As the server reads it: the
/// word `database`, or a boolean in any unambiguous spelling.
fn replication(value: &[u8]) -> Result<Option<bool>, Report> {
    let folded = value.to_ascii_lowercase();
    let begins = |word: &[u8], least: usize| folded.len() >= least && word.starts_with(&folded);
    if value == b"database" {
        Ok(Some(true))
    } else if begins(b"true", 1) || begins(b"yes", 1) || begins(b"on", 2) || begins(b"1", 1) {
        Ok(Some(false))
    } else if begins(b"false", 1) || begins(b"no", 1) || begins(b"off", 2) || begins(b"0", 1) {
        Ok(None)
    } else {
        let value = String::from_utf8_lossy(value);
        let message = format!("invalid value for parameter \"replication\": \"{value}\"");
        Err(Report::fatal(Sqlstate::INVALID_PARAMETER_VALUE, message)
            .hint("Valid values are: \"false\", 0, \"true\", 1, \"database\"."))
    }
}

/// Bytes of the secrets given to clients that can take them.
const SECRET_SIZE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::startup::Packet;

    fn read(minor: u16, parameters: &[u8]) -> Result<Request, Report> {
        let mut bytes = (8 + parameters.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(&(0x0003_0000 | u32::from(minor)).to_be_bytes());
        bytes.extend_from_slice(parameters);
        match Packet::read(&bytes) {
            Ok(Some((Packet::Startup(startup), _))) => Request::read(&startup),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_database_is_the_user_unless_said_otherwise() {
        assert_eq!(&*read(0, b"user\0ann\0\0").unwrap().database, "ann");
        assert_eq!(&*read(0, b"user\0ann\0database\0shop\0\0").unwrap().database, "shop");
        assert_eq!(read(0, b"\0").unwrap_err().sqlstate, Sqlstate::INVALID_AUTHORIZATION);
    }

    #[test]
    fn options_and_parameters_become_settings_and_the_parameter_wins() {
        let request = read(0, b"user\0a\0options\0-c datestyle=SQL -c geqo=off\0DateStyle\0ISO\0\0").unwrap();
        let mut sql = Vec::new();
        request.settings.put_switch(&Settings::default(), &mut sql);
        assert_eq!(
            String::from_utf8(sql).unwrap(),
            "SELECT pg_catalog.set_config(E'datestyle',E'ISO',false);\
             SELECT pg_catalog.set_config(E'geqo',E'off',false)"
        );
        assert_eq!(
            read(0, b"user\0a\0options\0-h\0\0").unwrap_err().sqlstate,
            Sqlstate::FEATURE_NOT_SUPPORTED
        );
    }

    #[test]
    fn a_newer_client_is_told_what_we_speak() {
        let request = read(9999, b"user\0a\0_pq_.test\0x\0\0").unwrap();
        assert_eq!(request.minor, 2);
        assert_eq!(request.negotiate, Some(vec![b"_pq_.test".to_vec()]));
        assert!(read(0, b"user\0a\0\0").unwrap().negotiate.is_none());
        assert_eq!(read(0, b"user\0a\0\0").unwrap().secret_size(), 4);
        assert_eq!(read(2, b"user\0a\0\0").unwrap().secret_size(), 32);
    }

    #[test]
    fn replication_is_spelled_as_the_server_spells_it() {
        let asked = |value: &str| {
            let parameters = format!("user\0a\0options\0-h\0replication\0{value}\0_pq_.x\0y\0\0");
            read(0, parameters.as_bytes()).map(|request| request.replication.map(|asked| asked.logical))
        };
        for value in ["true", "T", "yes", "y", "on", "ON", "1"] {
            assert_eq!(asked(value).unwrap(), Some(false), "{value}");
        }
        assert_eq!(asked("database").unwrap(), Some(true));
        for value in ["DATABASE", "", "o", "2", "truest"] {
            assert_eq!(asked(value).unwrap_err().sqlstate, Sqlstate::INVALID_PARAMETER_VALUE, "{value}");
        }
        for value in ["false", "no", "off", "of", "F", "0"] {
            let request = read(0, format!("user\0a\0replication\0{value}\0\0").as_bytes()).unwrap();
            assert!(request.replication.is_none(), "{value}");
        }
        // Options that only a command line knows are refused as ever.
        assert_eq!(asked("off").unwrap_err().sqlstate, Sqlstate::FEATURE_NOT_SUPPORTED);
    }

    #[test]
    fn what_a_replication_connection_asks_for_goes_to_the_server_as_it_is() {
        let request = read(2, b"user\0a\0options\0-c x=1\0replication\0true\0_pq_.x\0y\0\0").unwrap();
        let parameters = request.replication.unwrap().parameters;
        let names: Vec<_> = parameters.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(names, [&b"user"[..], b"options", b"replication"]);
    }
}
