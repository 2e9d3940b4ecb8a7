//! What the operator is to run so that a former primary becomes a replica again.

use super::placeholders::Place;

/// The commands, for the alarm: first the quick one, then the one that always works. To be run on the node's own
/// machine, as the user that PostgreSQL runs as (manual, pg_rewind and pg_basebackup).
pub(super) fn commands(node: Place, primary: Place, user: &str) -> String {
    let directory = match node.directory {
        "" => "DATA_DIRECTORY".to_owned(),
        directory => quoted(directory),
    };
    let source = format!("host={} port={} user={} dbname=postgres", primary.host, primary.port, user);
    format!(
        "on {}, with its server stopped: pg_rewind --target-pgdata={directory} --source-server={} \
         --write-recovery-conf; or, from an empty directory: pg_basebackup -h {} -p {} -U {} -D {directory} -R -X stream",
        node.host,
        quoted(&source),
        quoted(primary.host),
        primary.port,
        quoted(user),
    )
}

/// As one word of a shell's command line.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_commands_name_the_new_primary() {
        let node = Place { id: 0, host: "ann", port: 5433, directory: "/var/lib/it's" };
        let primary = Place { id: 1, host: "bob", port: 5434, directory: "" };
        assert_eq!(
            commands(node, primary, "postgres"),
            "on ann, with its server stopped: pg_rewind --target-pgdata='/var/lib/it'\\''s' \
             --source-server='host=bob port=5434 user=postgres dbname=postgres' --write-recovery-conf; or, from an empty \
             directory: pg_basebackup -h bob -p 5434 -U postgres -D '/var/lib/it'\\''s' -R -X stream"
        );
        assert!(commands(primary, node, "a b").contains("--target-pgdata=DATA_DIRECTORY "));
        assert!(commands(primary, node, "a b").contains("-U 'a b'"));
    }
}
