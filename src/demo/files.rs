//! What the demo writes and prints so that a user can go on from there.

use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use super::template::write_private;

/// What clients of the demo need to know, and pgweir of its nodes.
#[derive(Clone)]
pub struct Setup {
    /// Where pgweir listens, at 127.0.0.1.
    pub port: u16,
    /// Of user `postgres`, at pgweir and at the nodes.
    pub password: String,
    /// Where the nodes listen, at 127.0.0.1.
    pub nodes: Vec<u16>,
}

impl Setup {
    /// Writes `pgweir.toml` and `userlist.txt` into `folder` and returns the path of the former.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, folder: &Path) -> io::Result<PathBuf> {
        let config = folder.join("pgweir.toml");
        // Both hold the password, so both are for their owner alone.
        write_private(&folder.join("userlist.txt"), &format!("\"{USER}\" \"{}\"\n", self.password))?;
        write_private(&config, &self.config())?;
        Ok(config)
    }

    /// The variables that libpq reads (manual, section 34.15), and with it nearly every client.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("PGHOST", "127.0.0.1".to_owned()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", USER.to_owned()),
            ("PGPASSWORD", self.password.clone()),
            ("PGDATABASE", DATABASE.to_owned()),
        ]
    }

    /// What a user sees once everything is up: the line to paste first.
    pub fn welcome(&self, psql: &str, folder: &Path) -> String {
        let line = format!("PGPASSWORD={} {psql} -h 127.0.0.1 -p {} -U {USER}", self.password, self.port);
        format!(
            "\npgweir is up, in front of a primary and {replicas}. Connect from another terminal:\n\n    \
             {line} {DATABASE}\n\nHow the nodes share the work:\n\n    {line} -c 'SHOW pool_nodes' pgweir\n\n\
             The configuration of all this is {config}. Ctrl-C ends it.\n",
            replicas = match self.nodes.len() {
                0 | 1 => "no replica".to_owned(),
                2 => "one replica".to_owned(),
                nodes => format!("{} replicas", nodes - 1),
            },
            config = folder.join("pgweir.toml").display(),
        )
    }

    fn config(&self) -> String {
        let mut text = format!(
            r#"# Written by pgweir demo for the servers in this folder.

# A demo ends soon after its Ctrl-C, whatever its clients do.
shutdown_timeout = "3s"

[listen]
address = "127.0.0.1"
port = {port}

[auth]
method = "scram-sha-256"
users = "userlist.txt"

# How pgweir itself logs in to ask the nodes how they are.
[monitor]
user = "{USER}"
password = "{password}"
database = "{DATABASE}"

# Who may connect to the database "pgweir" and ask: SHOW pool_nodes, SHOW POOLS, SHOW STATS.
[admin]
users = ["{USER}"]

# Which of the nodes is the primary is found out, not written down. The name is the one under which a replica appears
# in the primary's pg_stat_replication.
"#,
            port = self.port,
            password = self.password,
        );
        for (number, port) in (1..).zip(&self.nodes) {
            let _ = write!(
                text,
                "[[node]]\nhost = \"127.0.0.1\"\nport = {port}\napplication_name = \"node{number}\"\n\n"
            );
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    }
}

const USER: &str = "postgres";
const DATABASE: &str = "postgres";

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> Setup {
        Setup { port: 6432, password: "0a1b".to_owned(), nodes: vec![15_001, 15_002, 15_003] }
    }

    #[test]
    fn the_configuration_is_the_contract_in_toml() {
        let table: toml::Table = setup().config().parse().expect("valid TOML");
        assert_eq!(table["listen"]["port"].as_integer(), Some(6432));
        assert_eq!(table["auth"]["users"].as_str(), Some("userlist.txt"));
        assert_eq!(table["monitor"]["password"].as_str(), Some("0a1b"));
        let ports: Vec<_> = table["node"]
            .as_array()
            .expect("a list of nodes")
            .iter()
            .filter_map(|node| node["port"].as_integer())
            .collect();
        assert_eq!(ports, [15_001, 15_002, 15_003]);
    }

    #[test]
    fn the_line_to_paste_works_as_it_stands() {
        let text = setup().welcome("psql", Path::new("/x"));
        assert!(
            text.contains("\n    PGPASSWORD=0a1b psql -h 127.0.0.1 -p 6432 -U postgres postgres\n"),
            "{text}"
        );
        assert!(text.contains("a primary and 2 replicas"));
    }
}
