//! Replication connections: passed through to the primary, one server process each, and never pooled.

use crate::harness::{Background, Client, Cluster, ProxyBuilder, cluster, eventually, proxy};

#[test]
fn pg_basebackup_copies_a_cluster_through_pgweir() {
    let cluster = publishing();
    let proxy = through(&cluster).set("shards.count", 2).start();
    cluster.run(0, "CREATE TABLE kept AS SELECT generate_series(1, 10000) AS v");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy");
    let copy = copy.to_str().unwrap();
    let run = proxy.login().start_tool("pg_basebackup", &["-D", copy, "-X", "stream", "-c", "fast"], "");
    run.wait().ok();
    proxy.login().start_tool("pg_verifybackup", &["-q", copy], "").wait().ok();
    eventually(|| senders(&cluster) == "0", "its connections are gone");
    // Both its connections have given their places back.
    let mut places: Vec<Client> = (0..2).map(|_| replication(&proxy, "true").connect()).collect();
    assert_eq!(replication(&proxy, "true").try_connect().err().expect("one too many").sqlstate(), "53300");
    places.pop();
    eventually(|| replication(&proxy, "true").try_connect().is_ok(), "there is a place again");
}

#[test]
fn pg_receivewal_streams_until_its_primary_dies_and_goes_on_when_it_is_back() {
    let cluster = publishing();
    let proxy = through(&cluster).start();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let receiver = proxy.login().start_tool("pg_receivewal", &["-D", path, "-v", "--synchronous"], "");
    let segments = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| !name.to_string_lossy().ends_with(".partial")).count()
    };
    eventually(|| senders(&cluster) == "1", "it streams");
    fill_a_segment(&cluster);
    eventually(|| segments() == 1, "a whole segment has come");
    cluster.kill(0);
    cluster.revive(0);
    // It comes again by itself, five seconds after it was cut off.
    eventually(|| senders(&cluster) == "1", "it streams again");
    fill_a_segment(&cluster);
    eventually(|| segments() >= 2, "another segment has come");
    receiver.interrupt();
    receiver.wait().ok();
    eventually(|| senders(&cluster) == "0", "its connection is gone");
}

#[test]
fn pg_recvlogical_gets_every_change_of_its_database() {
    let cluster = publishing();
    let proxy = through(&cluster).start();
    cluster.run(0, "CREATE TABLE watched (v int)");
    let tool = |arguments: &[&str]| -> Background {
        let usual = ["-d", "postgres", "--slot", "through"];
        proxy.login().start_tool("pg_recvlogical", &[&usual[..], arguments].concat(), "")
    };
    tool(&["--create-slot", "-P", "test_decoding"]).wait().ok();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("changes");
    let receiver = tool(&["--start", "-f", file.to_str().unwrap(), "-F", "0"]);
    eventually(|| senders(&cluster) == "1", "it streams");
    proxy.login().connect().query("INSERT INTO watched SELECT generate_series(1, 1000)");
    let changes = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually(|| changes().matches("table public.watched: INSERT").count() == 1000, "all changes came");
    assert!(changes().contains("v[integer]:1000\n"));
    receiver.interrupt();
    receiver.wait().ok();
    tool(&["--drop-slot"]).wait().ok();
}

#[test]
fn a_logical_connection_takes_sql_and_is_cancelled_by_its_key() {
    let cluster = publishing();
    let proxy = through(&cluster).set("pool.size", 1).set("shards.count", 2).start();
    let login = replication(&proxy, "database").parameter("application_name", "follower");
    let mut client = login.parameter("options", "-c work_mem=3MB").connect();
    // It is called what the server calls it, and the parameters of its startup message are the server's to read.
    let process_id = client.key.as_ref().expect("a key").process_id;
    assert_eq!(client.value("SELECT pg_backend_pid()"), process_id.to_string());
    assert_eq!(client.value("SHOW work_mem"), "3MB");
    assert_eq!(client.value("SHOW application_name"), "follower");
    assert_eq!(client.query("IDENTIFY_SYSTEM").rows[0][3].as_deref(), Some("postgres"));
    // It is none of the pool's: somebody else has the only backend.
    let mut holder = proxy.login().connect();
    holder.query("BEGIN; SELECT 1");
    client.send_query("SELECT pg_sleep(60)");
    eventually(
        || cluster.value(0, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1",
        "it sleeps",
    );
    client.cancel();
    client.expect_sqlstate("57014");
    client.expect_tags("Z");
    assert_eq!(client.value("SELECT 1"), "1");
    client.terminate();
    eventually(
        || {
            cluster.value(0, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'follower'")
                == "0"
        },
        "its server process has ended",
    );
}

#[test]
fn what_is_no_replication_is_a_session_like_any_other() {
    let cluster = publishing();
    let proxy = through(&cluster).set("pool.replication_max", 0).start();
    for value in ["false", "off", "no", "0"] {
        let mut client = replication(&proxy, value).connect();
        client.expect_refused("IDENTIFY_SYSTEM", "42601");
    }
    for value in ["true", "on", "yes", "1", "database"] {
        let refused = replication(&proxy, value).try_connect().err().expect("none is allowed");
        assert_eq!(refused.sqlstate(), "53300", "{refused}");
        assert!(refused.to_string().contains("replication"), "{refused}");
    }
    assert_eq!(replication(&proxy, "often").try_connect().err().expect("no value").sqlstate(), "22023");
}

#[test]
fn the_hba_file_speaks_of_physical_replication_by_its_own_word() {
    let cluster = publishing();
    let proxy = through(&cluster)
        .set("auth.method", "hba")
        .set("auth.hba", "pg_hba.conf")
        .file(
            "pg_hba.conf",
            "host replication \"postgres\" 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n",
        )
        .start();
    let refused = replication(&proxy, "true").try_connect().err().expect("the file rejects it");
    assert_eq!(refused.sqlstate(), "28000", "{refused}");
    assert!(replication(&proxy, "true").password("wrong").try_connect().is_err());
    assert_eq!(replication(&proxy, "database").connect().value("SELECT 1"), "1");
    let wrong = replication(&proxy, "database").password("wrong").try_connect().err().expect("wrong");
    assert_eq!(wrong.sqlstate(), "28P01");
    proxy.login().connect().query("SELECT 1");
}

#[test]
fn the_server_says_who_may_not_replicate() {
    let cluster = publishing();
    cluster.run(0, "CREATE ROLE app LOGIN PASSWORD 'word'");
    let proxy = through(&cluster).user("app", "word").start();
    let login = replication(&proxy, "true").user("app").password("word");
    let refused = login.try_connect().err().expect("it has not the attribute");
    assert_eq!(refused.sqlstate(), "42501", "{refused}");
}

#[test]
fn its_connection_ends_with_its_primary_and_with_pgweir() {
    let cluster = publishing();
    let mut proxy = through(&cluster).start();
    let mut client = replication(&proxy, "true").connect();
    client.query("IDENTIFY_SYSTEM");
    cluster.kill(0);
    client.expect_closed();
    cluster.revive(0);
    eventually(|| replication(&proxy, "true").can_connect(), "there is a primary again");
    let mut client = replication(&proxy, "true").connect();
    proxy.sigterm();
    client.expect_sqlstate("57P01");
    client.expect_closed();
    assert_eq!(proxy.wait_exit(), 0);
}

/// A primary that lets everybody replicate.
fn publishing() -> Cluster {
    cluster()
        .setting("wal_level", "logical")
        .hba("host all all 127.0.0.1/32 scram-sha-256")
        .hba("host replication all 127.0.0.1/32 scram-sha-256")
        .start()
}

fn through(cluster: &Cluster) -> ProxyBuilder<'_> {
    proxy(cluster).set("pool.replication_max", 2).set("monitor.interval", "50ms")
}

fn replication(proxy: &crate::harness::Proxy<'_>, value: &str) -> crate::harness::Login {
    proxy.login().parameter("replication", value)
}

fn senders(cluster: &Cluster) -> String {
    let sql = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
    cluster.node(0).sql_value(sql).unwrap_or_default()
}

/// Writes until the next segment of the WAL begins.
fn fill_a_segment(cluster: &Cluster) {
    cluster.run(0, "CREATE TABLE IF NOT EXISTS filler (v text)");
    cluster.run(0, "INSERT INTO filler VALUES ('more'); SELECT pg_switch_wal()");
}
