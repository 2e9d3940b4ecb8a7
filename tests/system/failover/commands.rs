//! `failover.mode = "command"`: the operator's script promotes.

use std::fs;

use super::{await_failover, three};
use crate::harness::{PASSWORD, eventually, proxy};
use crate::operations::await_roles;
use crate::routing::here;

#[test]
fn a_script_promotes_and_its_failure_is_no_end() {
    let cluster = three().start();
    let database = here(&cluster);
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name).display().to_string();
    let psql = cluster.binaries().client_program("psql").display().to_string();
    fs::write(folder.path().join("password"), format!("*:*:*:*:{}\n", PASSWORD)).expect("it is ours");
    // Without the mark it fails, as a script does whose way to the new primary is not there.
    let script = format!(
        "echo \"node $1 of $2 is lost, promoting $3 at $4:$5\"\n\
         test -e '{}' || {{ echo 'no mark' >&2; exit 3; }}\n\
         chmod 600 '{password}'\n\
         PGPASSFILE='{password}' '{psql}' -X -h \"$4\" -p \"$5\" -U postgres -d postgres -c 'SELECT pg_promote()'\n",
        place("mark"),
        password = place("password"),
    );
    fs::write(folder.path().join("failover.sh"), script).expect("it is ours");
    let followed = place("followed");
    let proxy = proxy(&cluster)
        .set("failover.mode", "command")
        .set("failover.failover_command", format!("sh {} %d %P %m %H %r", place("failover.sh")))
        .set("failover.failback_command", format!("echo '%d %%' >> {followed}"))
        .start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut client = proxy.client(database.name());
    client.query("CREATE TABLE t (i int)");
    cluster.settle();
    cluster.kill(0);
    proxy.await_log("failover_command: no mark");
    proxy.await_log("failover_command ended with exit code 3");
    client.send_query("INSERT INTO t VALUES (1)");
    fs::write(folder.path().join("mark"), "").expect("it is ours");
    let new = await_failover(&proxy, 1);
    assert!(client.until_ready().iter().all(|message| message.tag != b'E'));
    let port = cluster.node(new).port();
    assert!(proxy.log_contains(&format!("node 0 of 0 is lost, promoting {new} at 127.0.0.1:{port}")));
    assert_eq!(cluster.value(new, "SELECT count(*) FROM pg_stat_replication"), "1", "the other one follows");
    cluster.rejoin(0, new);
    eventually(|| fs::read_to_string(&followed).is_ok_and(|text| text == "0 %\n"), "failback_command is run");
}
