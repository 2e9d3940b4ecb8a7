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
    /// The minor version both speak: what was asked for, up to ours.
    pub minor: u16,
    /// Whether the client asked for something newer or unknown, and is to be told what we speak.
    pub negotiate: Option<Vec<Vec<u8>>>,
}

impl Request {
    /// # Errors
    ///
    /// What to tell the client before closing: no user, names that are not UTF-8, replication, options that only a
    /// server's command line knows.
    pub fn read(startup: &Startup<'_>) -> Result<Request, Report> {
        let mut user = None;
        let mut database = None;
        let mut settings: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut options: Vec<(String, String)> = Vec::new();
        let mut unknown = Vec::new();
        for (name, value) in startup.parameters() {
            match name {
                b"user" => user = Some(text("user", value)?),
                b"database" => database = Some(text("database", value)?),
                b"replication" if !is_off(value) => {
                    return Err(Report::fatal(
                        Sqlstate::FEATURE_NOT_SUPPORTED,
                        "replication connections are not supported",
                    )
                    .hint("Connect to the node itself for replication."));
                }
                b"replication" => {}
                b"options" => {
                    options = startup::parse_options(value).map_err(|word| {
                        Report::fatal(
                            Sqlstate::FEATURE_NOT_SUPPORTED,
                            format!("unsupported option in startup packet: \"{word}\""),
                        )
                        .hint("Only settings can be given: -c NAME=VALUE or --NAME=VALUE.")
                    })?;
                }
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

fn is_off(value: &[u8]) -> bool {
    [&b"off"[..], b"false", b"no", b"0", b"f", b"n"].contains(&value.to_ascii_lowercase().as_slice())
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
    fn replication_is_refused_unless_it_is_off() {
        assert!(read(0, b"user\0a\0replication\0false\0\0").is_ok());
        assert_eq!(
            read(0, b"user\0a\0replication\0database\0\0").unwrap_err().sqlstate,
            Sqlstate::FEATURE_NOT_SUPPORTED
        );
    }
}
