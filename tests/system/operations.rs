//! Starting, refusing to start, being told to read its files again, and ending.

mod kernel;

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pgweir::demo::port::free_port;
use pgweir::demo::process::alive;
use tempfile::TempDir;
use toml::Value;

use crate::harness::*;
use crate::routing::{here, node_name, read_from};

// The command line.

#[test]
fn version_and_help_say_what_there_is() {
    let version = pgweir(&["--version"]).wait().ok();
    assert_eq!(version.stdout, format!("pgweir {}\n", env!("CARGO_PKG_VERSION")));
    let help = pgweir(&["--help"]).wait().ok();
    for word in ["run", "check", "demo", "Examples", "pgweir run --config"] {
        assert!(help.stdout.contains(word), "{word} is not in\n{}", help.stdout);
    }
    for command in ["run", "check", "demo"] {
        let help = pgweir(&[command, "--help"]).wait().ok();
        assert!(help.stdout.contains("Examples"), "{}", help.stdout);
    }
    assert!(!pgweir(&["frolic"]).wait().status.success());
}

#[test]
fn what_is_wrong_in_a_file_is_one_sentence_with_its_place_and_what_may_be_meant() {
    let node = "[auth]\nmethod = \"trust\"\n[[node]]\nhost = \"127.0.0.1\"\n";
    let pgpool = "backend_hostname0 = '127.0.0.1'\nbackend_port0 = 5432\n";
    for (name, text, parts) in [
        ("a.toml", format!("{node}[pool]\nsze = 5\n"), vec!["a.toml:6: ", "[pool] sze", "\"size\""]),
        ("a.toml", format!("{node}[pol]\nsize = 5\n"), vec!["a.toml:5: ", "[pol]", "pool"]),
        ("a.toml", format!("{node}[pool]\nsize = 0\n"), vec!["a.toml:6: ", "[pool] size", "1"]),
        (
            "a.toml",
            format!("{node}[pool]\nidle_timeout = \"5 parsecs\"\n"),
            vec!["a.toml:6: ", "idle_timeout"],
        ),
        ("a.toml", format!("{node}[pool]\nmode = \"transactions\"\n"), vec!["a.toml:6: ", "transaction,"]),
        ("a.toml", format!("{node}[pool\n"), vec!["a.toml:5: "]),
        ("a.toml", "[auth]\nmethod = \"trust\"\n".to_owned(), vec!["a.toml: ", "[[node]]"]),
        (
            "a.toml",
            "[auth]\nusers = \"nowhere.txt\"\n[[node]]\nhost = \"a\"\n".to_owned(),
            vec!["nowhere.txt"],
        ),
        (
            "pgpool.conf",
            format!("{pgpool}num_init_childern = 5\n"),
            vec!["pgpool.conf:3: ", "num_init_childern", "num_init_children"],
        ),
        (
            "pgpool.conf",
            format!("{pgpool}num_init_children = many\n"),
            vec!["pgpool.conf:3: ", "num_init_children"],
        ),
        ("pgpool.conf", format!("{pgpool}port = 'x\n"), vec!["pgpool.conf:3: "]),
        ("pgpool.conf", "# nothing\nport = 9999\n".to_owned(), vec!["pgpool.conf: ", "backend_hostname0"]),
    ] {
        let folder = folder_with(&[(name, &text)]);
        let run = run_at(&folder.path().join(name)).wait();
        assert_eq!(run.status.code(), Some(2), "{text}{}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "not one sentence for\n{text}\n{}", run.stderr);
        for part in parts {
            assert!(run.stderr.contains(part), "{part:?} is missing for\n{text}\n{}", run.stderr);
        }
        let check = pgweir(&["check", "--config", &path(&folder, name)]).wait();
        assert!(!check.status.success());
        assert!(check.stderr.contains(run.stderr.trim()), "{}", check.stderr);
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = folder_with(&[]);
    let run = run_at(&folder.path().join("absent.toml")).wait();
    assert_eq!(run.status.code(), Some(2));
    assert!(run.stderr.contains("absent.toml") && run.stderr.lines().count() == 1, "{}", run.stderr);
}

#[test]
fn a_taken_port_is_refused_whoever_has_it() {
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let taken = stranger.local_addr().expect("it is bound").port();
    refused_port(taken);
    // Shards share a port among themselves, but one pgweir does not with another.
    let other = proxy(shared()).set("shards.count", 2).start();
    refused_port(other.port());
    other.client("postgres").query("SELECT 1");
}

#[track_caller]
fn refused_port(taken: u16) {
    let refused = proxy(shared()).set("listen.port", i64::from(taken)).try_start();
    let refusal = refused.err().expect("the port is taken");
    assert_eq!(refusal.code, 2, "{}", refusal.log);
    let last = refusal.log.lines().last().unwrap_or_default();
    assert!(last.contains(&taken.to_string()), "the port is not named: {}", refusal.log);
}

#[test]
fn a_socket_in_use_is_refused_and_one_left_behind_is_replaced() {
    let folder = folder_with(&[("users", &format!("\"postgres\" \"{PASSWORD}\"\n"))]);
    let port = free_port().expect("a free port");
    let text = format!(
        "[listen]\naddress = []\nport = {port}\nunix_socket_dir = {:?}\n[shards]\ncount = 1\npin = false\n\
         [auth]\nusers = \"users\"\n[[node]]\nhost = \"127.0.0.1\"\nport = {}\n",
        folder.path().display().to_string(),
        shared().node(0).port(),
    );
    let file = folder.path().join("pgweir.toml");
    fs::write(&file, text).expect("the folder is ours");
    let login = shared().login(0).at(Address::Socket(folder.path().to_owned(), port));
    let first = run_at(&file);
    eventually(|| login.can_connect(), "pgweir takes connections at its socket");
    let second = run_at(&file).wait();
    assert_eq!(second.status.code(), Some(2), "{}", second.stderr);
    assert!(login.can_connect(), "the second one broke the first one's socket");
    first.kill();
    first.wait();
    assert!(folder.path().join(format!(".s.PGSQL.{port}")).exists(), "a kill leaves the socket's file");
    let _third = run_at(&file);
    eventually(|| login.can_connect(), "the socket that was left behind is replaced");
}

#[test]
fn a_restart_finds_the_port_free_however_the_one_before_ended() {
    let port = free_port().expect("a free port");
    let text = format!(
        "[listen]\nport = {port}\n[shards]\ncount = 2\npin = false\n[auth]\nmethod = \"trust\"\n\
         [monitor]\npassword = {PASSWORD:?}\n[[node]]\nhost = \"127.0.0.1\"\nport = {}\n",
        shared().node(0).port(),
    );
    let folder = folder_with(&[("pgweir.toml", &text)]);
    let login = shared().login(0).at(Address::Port(port)).database("pgweir");
    for round in 0..12 {
        let running = run_at(&folder.path().join("pgweir.toml"));
        eventually(|| login.can_connect(), &format!("it serves in round {round}"));
        if round % 2 == 0 {
            running.terminate();
            running.wait().ok();
        } else {
            running.kill();
            running.wait();
        }
    }
}

// What a configuration means.

#[test]
fn check_prints_what_holds_and_no_password() {
    let folder = folder_with(&[
        (
            "pgweir.toml",
            "[pool]\nsize = 7\n[auth]\nusers = \"users\"\n[monitor]\npassword = \"hidden\"\n[[node]]\nhost = \"::1\"\n",
        ),
        ("users", "\"postgres\" \"hidden too\"\n"),
    ]);
    let check = pgweir(&["check", "--config", &path(&folder, "pgweir.toml")]).wait().ok();
    for line in ["size = 7", "mode = \"transaction\"", "reads = \"replicas\"", "host = \"::1\""] {
        assert!(check.stdout.lines().any(|known| known == line), "{line} is not in\n{}", check.stdout);
    }
    assert!(!check.stdout.contains("hidden") && !check.stderr.contains("hidden"));
}

#[test]
fn check_prints_what_each_line_of_a_pgpool_conf_became() {
    for (guide, lines, warnings) in [
        (
            "guide-3.x",
            vec![
                "backend_hostname1 = 192.168.10.12  ->  [[node]] host = \"192.168.10.12\"",
                "enable_pool_hba = on  ->  [auth] method = \"hba\"",
                "load_balance_mode = on  ->  [route] reads = \"any\"",
                "client_idle_limit = 0  ->  [pool] client_idle_timeout = \"0\"",
            ],
            // Renamed since, without a meaning here, and secrets that cannot be read.
            vec![
                "socket_dir",
                "white_function_list",
                "black_function_list",
                "black_query_pattern_list",
                "master_slave_mode",
                "master_slave_sub_mode",
                "replication_mode",
                "pcp_port",
                "pcp_listen_addresses",
                "pcp_socket_dir",
                "max_pool",
                "child_life_time",
                "child_max_connections",
                "insert_lock",
                "lobj_lock_table",
                "serialize_accept",
                "app_name_redirect_preference_list",
                "database_redirect_preference_list",
            ],
        ),
        (
            "guide-4.3",
            vec![
                "backend_weight1 = 2  ->  [[node]] weight = 2",
                "port = 9999  ->  [listen] port = 9999",
                "sr_check_user = pgpool  ->  [monitor] user = \"pgpool\"",
            ],
            vec!["max_pool", "child_life_time"],
        ),
    ] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/pgpool")
            .join(guide)
            .join("pgpool.conf");
        let check = pgweir(&["check", "--config", &file.display().to_string()]).wait().ok();
        let written = fs::read_to_string(&file).expect("it is in the repository");
        for (index, line) in written.lines().enumerate() {
            let place = format!("pgpool.conf:{}  ", index + 1);
            let told = check.stdout.lines().any(|told| told.contains(&place) && told.contains("  ->  "));
            assert!(told || line.starts_with('#'), "nothing is told of {line}\n{}", check.stdout);
        }
        for line in lines {
            assert!(check.stdout.contains(line), "{line} is not in\n{}", check.stdout);
        }
        for name in &warnings {
            let warned = |line: &str| line.contains(&format!("  {name} = ")) && line.contains("warning: ");
            assert!(check.stdout.lines().any(warned), "no warning for {name}\n{}", check.stdout);
        }
        for silent in
            ["listen_addresses", "backend_port0", "num_init_children", "pool_passwd", "connection_cache"]
        {
            let line = check.stdout.lines().find(|line| line.contains(&format!("  {silent} = ")));
            assert!(!line.unwrap_or_default().contains("warning"), "{line:?}");
        }
        let said = format!("{}{}", check.stdout, check.stderr);
        assert!(!said.contains("your-password") && !said.contains("pgpool123"), "a password shows");
    }
}

#[test]
fn a_pgpool_conf_is_run_as_it_is() {
    let cluster = cluster().replicas(1).hba("host all all 127.0.0.1/32 md5").start();
    let database = here(&cluster);
    cluster.run(0, "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'old secret'");
    cluster.run(0, "CREATE ROLE plain LOGIN PASSWORD 'plain:secret'");
    let md5 = cluster.value(0, "SELECT 'md5' || md5('old secret' || 'old')");
    cluster.settle();
    let text = format!(
        "# A comment\n\
         listen_addresses = '127.0.0.1'   # and one behind\n\
         unix_socket_directories ''\n\
         backend_clustering_mode = streaming_replication\n\
         backend_hostname0 = '127.0.0.1'\nbackend_port0 = {}\nbackend_weight0 = 1\n\
         backend_flag0 = 'ALLOW_TO_FAILOVER'\n\
         include 'more.conf'\n\
         load_balance_mode = on\nstatement_level_load_balance = true\n\
         num_init_children = 8\nconnection_cache = on\nconnection_life_time = 10min\nclient_idle_limit = 0\n\
         reset_query_list = 'ABORT; DISCARD ALL'\n\
         health_check_period = 1\nhealth_check_timeout = 20s\nhealth_check_user = 'postgres'\n\
         sr_check_period = 1\nsr_check_user = 'postgres'\nsr_check_password = '{}'\n\
         enable_pool_hba = off\npool_passwd = 'pool_passwd'\n\
         memory_cache_enabled = off\n",
        cluster.node(0).port(),
        PASSWORD.replace('\'', "''"),
    );
    let more = format!(
        "backend_hostname1 = '127.0.0.1'\nbackend_port1 = {}\nbackend_weight1 = 3\n",
        cluster.node(1).port()
    );
    let passwd = format!("postgres:TEXT{PASSWORD}\nold:{md5}\nplain:TEXTplain:secret\n");
    let proxy =
        proxy(&cluster).pgpool_conf(&text).file("more.conf", &more).file("pool_passwd", &passwd).start();
    assert!(proxy.log_contains("memory_cache_enabled"), "a setting not used yet is warned about");
    for (user, password) in [("old", "old secret"), ("plain", "plain:secret")] {
        let login = proxy.login().database(database.name()).user(user);
        assert_eq!(login.clone().password(password).connect().value("SELECT current_user"), user);
        assert_eq!(login.password("wrong").try_connect().err().expect("wrong").sqlstate(), "28P01");
    }
    eventually(
        || {
            let nodes = proxy.client(database.name()).query("SHOW pool_nodes");
            nodes.column("pg_status") == ["up", "up"] && nodes.column("role") == ["primary", "standby"]
        },
        "both nodes are known",
    );
    let mut client = proxy.client(database.name());
    let shares = read_from(&mut client, 300);
    let replica = *shares.get(&node_name(1)).unwrap_or(&0);
    assert!((180..=270).contains(&replica), "weights 1 and 3 gave {shares:?}");
    let nodes = client.query("SHOW pool_nodes");
    assert_eq!(nodes.column("lb_weight"), ["0.250000", "0.750000"]);
    assert_eq!(
        nodes.column("port"),
        [cluster.node(0).port().to_string(), cluster.node(1).port().to_string()]
    );
}

#[test]
fn a_pgpool_conf_brings_its_pool_hba_conf_and_may_keep_reads_on_the_primary() {
    let cluster = shared();
    let database = here(cluster);
    let nodes: String = (0..2)
        .map(|index| {
            let port = cluster.node(index).port();
            format!("backend_hostname{index} = '127.0.0.1'\nbackend_port{index} = {port}\n")
        })
        .collect();
    // In the names of pgpool-II 4.1, where no reads are shared unless that is asked for.
    let text = format!(
        "listen_addresses = '127.0.0.1'\nsocket_dir = ''\n{nodes}\
         master_slave_mode = on\nmaster_slave_sub_mode = 'stream'\nload_balance_mode = off\n\
         enable_pool_hba = on\npool_passwd = 'pool_passwd'\n\
         sr_check_user = 'postgres'\nhealth_check_user = 'postgres'\n"
    );
    let proxy = proxy(cluster)
        .pgpool_conf(&text)
        .file("pool_passwd", &format!("postgres:TEXT{PASSWORD}\nother:TEXT{PASSWORD}\n"))
        .file("pool_hba.conf", "host all postgres 0.0.0.0/0 scram-sha-256\nhost all all 0.0.0.0/0 reject\n")
        .start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut client = proxy.client(database.name());
    assert_eq!(read_from(&mut client, 20).into_keys().collect::<Vec<_>>(), [node_name(0)]);
    let error = proxy.login().user("other").try_connect().err().expect("the last line rejects it");
    assert_eq!(error.sqlstate(), "28000");
}

// Where it listens, and how it reaches its nodes.

#[test]
fn it_listens_over_both_ip_versions_and_unix_sockets_with_a_line_for_each() {
    let both: Vec<Value> = ["127.0.0.1", "::1"].into_iter().map(Value::from).collect();
    let proxy = proxy(shared()).set("listen.address", both).set("shards.count", 2).unix_socket().start();
    let v6 = Address::Tcp(SocketAddr::from((Ipv6Addr::LOCALHOST, proxy.port())));
    for address in [proxy.address(), v6, proxy.socket()] {
        let login = proxy.login().at(address);
        assert_eq!(login.connect().value("SELECT 1"), "1");
        assert_eq!(login.psql(&["-c", "SELECT 2"], "").ok().stdout.trim(), "2");
    }
    let log = proxy.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("listening on")).collect();
    assert_eq!(lines.len(), 3, "{log}");
    for place in
        [format!("127.0.0.1:{}", proxy.port()), format!("[::1]:{}", proxy.port()), "/.s.PGSQL.".into()]
    {
        assert!(lines.iter().any(|line| line.contains(&place)), "{place} is not in {lines:?}");
    }
}

#[test]
fn nodes_are_reached_by_unix_socket_and_by_name() {
    let cluster = shared();
    let database = here(cluster);
    let socket = cluster.node(0).socket_folder().expect("its path is short").display().to_string();
    let proxy = proxy(cluster)
        .configure(|config| {
            config.set_node(cluster.node(0).port(), "host", socket);
            config.set_node(cluster.node(1).port(), "host", "localhost");
            config.remove_node(cluster.node(2).port());
        })
        .start();
    await_roles(&proxy, &["primary", "replica"]);
    let mut client = proxy.client(database.name());
    assert_eq!(read_from(&mut client, 5).into_keys().collect::<Vec<_>>(), [node_name(1)]);
    client.query("CREATE TABLE t (i int)");
    // A client at a unix socket has no address (manual, section 9.26.1).
    assert_eq!(client.query("SELECT inet_client_addr(), random()").rows[0][0], None);
}

#[test]
fn a_name_that_nobody_knows_does_not_keep_the_others_from_serving() {
    let cluster = shared();
    let proxy = proxy(cluster)
        .configure(|config| {
            config.set_node(cluster.node(1).port(), "host", "no-such-node.invalid");
        })
        .start();
    assert_eq!(proxy.client("postgres").value("SELECT 1"), "1");
    eventually(
        || proxy.admin("SHOW NODES").column("reason").iter().any(|reason| !reason.is_empty()),
        "the reason is shown",
    );
}

#[test]
fn more_shards_than_cores_serve_as_one() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let shards = i64::try_from(cores * 4 + 1).expect("a small number");
    for pin in [false, true] {
        let proxy = proxy(shared())
            .set("shards.count", shards)
            .set("shards.pin", pin)
            .set("pool.size", 3)
            .set("route.reads", "primary")
            .start();
        let mut clients: Vec<Client> = (0..40).map(|_| proxy.client("postgres")).collect();
        for client in &mut clients {
            client.send_query("BEGIN; SELECT pg_backend_pid(); COMMIT");
        }
        for client in &mut clients {
            first_value(&client.until_ready());
        }
    }
}

#[test]
fn an_ordinary_user_with_the_usual_limits_can_run_it() {
    let folder = folder_with(&[("users", &format!("\"postgres\" \"{PASSWORD}\"\n"))]);
    // Where it was built may be closed to others.
    let program = folder.path().join("pgweir");
    fs::copy(PROGRAM, &program).expect("room for a copy");
    let port = free_port().expect("a free port");
    let sockets = folder.path().join("sockets");
    fs::create_dir(&sockets).expect("the folder is ours");
    fs::set_permissions(&sockets, fs::Permissions::from_mode(0o777)).expect("it is ours");
    fs::write(
        folder.path().join("pgweir.toml"),
        format!(
            "[listen]\nport = {port}\nunix_socket_dir = {:?}\n[auth]\nusers = \"users\"\n\
             [[node]]\nhost = \"127.0.0.1\"\nport = {}\n",
            sockets.display().to_string(),
            shared().node(0).port()
        ),
    )
    .expect("the folder is ours");
    let program = program.display().to_string();
    let config = path(&folder, "pgweir.toml");
    let mut arguments = vec!["--memlock=8388608:8388608", "--nofile=1024:4096"];
    if is_root() {
        arguments.extend(AS_NOBODY);
    }
    arguments.extend([program.as_str(), "run", "--config", &config]);
    let running = Background::start(Path::new("prlimit"), &arguments, &[], "");
    let login = shared().login(0).at(Address::Port(port));
    eventually(|| login.can_connect(), "pgweir serves as an ordinary user");
    let at_socket = login.clone().at(Address::Socket(sockets, port));
    let mut clients: Vec<Client> =
        (0..60).map(|index| if index % 2 == 0 { login.connect() } else { at_socket.connect() }).collect();
    for client in &mut clients {
        client.query("SELECT 1");
    }
    running.terminate();
    running.wait().ok();
}

// Being told to end.

#[test]
fn sigterm_lets_what_runs_finish_and_nothing_new_begin() {
    let mut proxy = proxy(shared()).set("shutdown_timeout", "1min").set("shards.count", 2).start();
    let mut idle = proxy.client("postgres");
    idle.query("SELECT 1");
    let mut fresh = proxy.client("postgres");
    let mut in_transaction = proxy.client("postgres");
    in_transaction.query("BEGIN; SELECT 1");
    // It keeps its backend for itself, but does nothing with it.
    let mut pinned = proxy.client("postgres");
    pinned.query("CREATE TEMP TABLE t (i int)");
    let mut in_query = proxy.client("postgres");
    in_query.query("BEGIN; SELECT pg_advisory_xact_lock(5701)");
    let mut waits = proxy.client("postgres");
    waits.send_query("SELECT pg_advisory_xact_lock(5701)");
    eventually(
        || shared().value(0, "SELECT count(*) FROM pg_locks WHERE objid = 5701 AND NOT granted") == "1",
        "one query waits for a lock",
    );
    proxy.sigterm();
    for idle in [&mut idle, &mut fresh, &mut pinned] {
        let error = idle.expect_sqlstate("57P01");
        assert_eq!(error.severity(), "FATAL");
        idle.expect_closed();
    }
    eventually(|| Client::try_open(&proxy.address()).is_err(), "no new connection is taken");
    assert!(!proxy.has_ended());
    assert_eq!(in_transaction.value("SELECT 1"), "1");
    in_transaction.query("COMMIT");
    in_transaction.expect_sqlstate("57P01");
    in_query.query("COMMIT");
    assert_eq!(waits.until_ready().last().map(Message::status), Some('I'));
    assert_eq!(proxy.wait_exit(), 0, "{}", proxy.log());
}

#[test]
fn sigterm_with_nobody_at_work_ends_at_once() {
    let mut proxy = proxy(shared()).set("shutdown_timeout", "1h").start();
    let _idle = proxy.client("postgres");
    let began = Instant::now();
    proxy.sigterm();
    assert_eq!(proxy.wait_exit(), 0, "{}", proxy.log());
    assert!(began.elapsed() < SOON, "that took {:?}", began.elapsed());
}

#[test]
fn a_second_signal_and_sigint_end_at_once() {
    type Order = fn(&Proxy);
    let (term, int): (Order, Order) = (|proxy| proxy.sigterm(), |proxy| proxy.sigint());
    for orders in [vec![term, term], vec![term, int], vec![int]] {
        let mut proxy = proxy(shared()).set("shutdown_timeout", "1h").start();
        let mut idle = proxy.client("postgres");
        let mut busy = proxy.client("postgres");
        busy.query("BEGIN; SELECT 1");
        let began = Instant::now();
        for order in orders {
            order(&proxy);
            // It has taken the first when it sends the idle away.
            idle.expect_closed();
        }
        proxy.wait_exit();
        assert!(began.elapsed() < SOON, "that took {:?}", began.elapsed());
        busy.expect_closed();
    }
}

#[test]
fn a_transaction_that_does_not_end_is_cut_off_when_the_time_is_up() {
    let mut proxy = proxy(shared()).set("shutdown_timeout", "300ms").start();
    let mut busy = proxy.client("postgres");
    busy.query("BEGIN; SELECT pg_advisory_xact_lock(5702)");
    let began = Instant::now();
    proxy.sigterm();
    busy.expect_sqlstate("57P01");
    busy.expect_closed();
    assert_eq!(proxy.wait_exit(), 0, "{}", proxy.log());
    assert!(began.elapsed() >= Duration::from_millis(250), "it did not wait");
    assert!(began.elapsed() < SOON, "that took {:?}", began.elapsed());
    let held = "SELECT count(*) FROM pg_locks WHERE objid = 5702";
    eventually(|| shared().value(0, held) == "0", "what it held is let go");
}

#[test]
fn a_login_that_waits_for_a_node_does_not_delay_the_end() {
    let nobody = free_port().expect("a free port");
    let mut proxy = proxy(shared())
        .set("shutdown_timeout", "1h")
        .set("pool.checkout_timeout", "1h")
        .configure(|config| {
            for node in shared().nodes() {
                config.remove_node(node.port());
            }
            config.node(nobody);
        })
        .start();
    let login = proxy.login();
    let mut waits = Client::open(&proxy.address());
    waits.startup((3, 0), &login.startup_parameters());
    std::thread::scope(|scope| {
        let refused = scope.spawn(|| waits.log_in("postgres", PASSWORD).expect_err("there is no node"));
        proxy.await_log(&nobody.to_string());
        let began = Instant::now();
        proxy.sigterm();
        assert_eq!(proxy.wait_exit(), 0, "{}", proxy.log());
        assert!(began.elapsed() < SOON, "that took {:?}", began.elapsed());
        assert!(refused.join().expect("an answer").sqlstate().starts_with("57P0"));
    });
}

#[test]
fn the_socket_file_goes_with_it() {
    let mut proxy = proxy(shared()).unix_socket().start();
    let Address::Socket(folder, port) = proxy.socket() else { unreachable!("it is a socket") };
    let file = folder.join(format!(".s.PGSQL.{port}"));
    assert!(file.exists());
    proxy.sigterm();
    assert_eq!(proxy.wait_exit(), 0);
    assert!(!file.exists());
}

// Being told to read its files again.

#[test]
fn sighup_applies_weights_and_prints_the_difference() {
    let cluster = shared();
    let database = here(cluster);
    let mut proxy = proxy(cluster).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut client = proxy.client(database.name());
    let [first, second] = [1, 2].map(|index| cluster.node(index).port());
    for (off, on, reader) in [(first, second, 2), (second, first, 1)] {
        proxy.reload(|config| {
            config.set_node(off, "weight", 0).set_node(on, "weight", 2);
        });
        eventually(
            || read_from(&mut client, 10).into_keys().eq([node_name(reader)]),
            "reads follow the weights",
        );
        let log = proxy.log();
        let told = log.lines().any(|line| line.contains(&off.to_string()) && line.contains("weight"));
        assert!(told, "no difference in\n{log}");
    }
}

#[test]
fn sighup_applies_limits_and_keeps_the_clients() {
    let mut proxy = proxy(shared())
        .set("pool.size", 1)
        .set("pool.checkout_timeout", "1s")
        .set("route.reads", "primary")
        .start();
    let mut one = proxy.client("postgres");
    let mut two = proxy.client("postgres");
    one.query("BEGIN; SELECT 1");
    two.try_query("BEGIN; SELECT 1").expect_err("there is one backend only");
    proxy.reload(|config| {
        config.set("pool.size", 2);
    });
    eventually(|| two.try_query("BEGIN; SELECT 1").is_ok(), "the second backend is there");
    one.query("COMMIT");
    two.query("COMMIT");
    assert!(proxy.log().lines().any(|line| line.contains("[pool] size") && line.contains("1 -> 2")));
    proxy.reload(|config| {
        config.set("pool.client_max", 2);
    });
    proxy.await_log("[pool] client_max");
    let refused = || proxy.login().try_connect().err().map(|error| error.sqlstate().to_owned());
    eventually(|| refused().as_deref() == Some("53300"), "the third client is refused");
    one.query("SELECT 1");
    two.query("SELECT 1");
}

#[test]
fn sighup_applies_users() {
    let cluster = cluster().hba("host all all 127.0.0.1/32 trust").start();
    cluster.run(0, "CREATE ROLE newcomer LOGIN");
    let mut proxy = proxy(&cluster).start();
    let login = proxy.login().user("newcomer").password("one");
    assert_eq!(login.try_connect().err().expect("not in the list").sqlstate(), "28P01");
    let mut reloaded = |change: fn(&mut Config), login: &Login, may: bool| {
        proxy.reload(change);
        eventually(|| login.can_connect() == may, "the list of users is read again");
    };
    reloaded(
        |config| {
            config.user("newcomer", "one");
        },
        &login,
        true,
    );
    let mut stays = login.connect();
    reloaded(
        |config| {
            config.user("newcomer", "two");
        },
        &login.clone().password("two"),
        true,
    );
    assert!(!login.can_connect(), "the old password is still good");
    stays.query("SELECT 1");
}

#[test]
fn sighup_adds_and_removes_nodes_under_the_clients() {
    let cluster = shared();
    let database = here(cluster);
    let [first, second] = [1, 2].map(|index| cluster.node(index).port());
    let mut proxy = proxy(cluster)
        .configure(|config| {
            config.remove_node(first).remove_node(second);
        })
        .set("shards.count", 2)
        .start();
    let mut client = proxy.client(database.name());
    await_roles(&proxy, &["primary"]);
    assert_eq!(read_from(&mut client, 5).into_keys().collect::<Vec<_>>(), [node_name(0)]);
    proxy.reload(|config| {
        config.node(first);
    });
    eventually(|| read_from(&mut client, 5).into_keys().eq([node_name(1)]), "the new node takes the reads");
    await_roles(&proxy, &["primary", "replica"]);
    proxy.reload(|config| {
        config.remove_node(first).node(second);
    });
    eventually(|| read_from(&mut client, 5).into_keys().eq([node_name(2)]), "the other node has taken over");
    await_roles(&proxy, &["primary", "replica"]);
    let name = database.name();
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}'");
    eventually(|| cluster.value(1, &left) == "0", "the connections to the removed node are closed");
    proxy.reload(|config| {
        config.remove_node(second);
    });
    eventually(|| read_from(&mut client, 5).into_keys().eq([node_name(0)]), "the primary serves alone");
}

#[test]
fn sighup_with_a_wrong_file_keeps_what_was_and_says_why() {
    let mut proxy = proxy(shared()).set("pool.size", 2).start();
    let mut client = proxy.client("postgres");
    proxy.reload_text("[pool]\nsze = 1\n");
    proxy.await_log("sze");
    assert!(proxy.log().lines().any(|line| line.contains(":2: [pool] sze") && line.contains("\"size\"")));
    client.query("SELECT 1");
    proxy.client("postgres").query("SELECT 1");
    // And it still listens to the next one.
    proxy.reload(|config| {
        config.set("pool.size", 3);
    });
    proxy.await_log("2 -> 3");
    client.query("SELECT 1");
}

#[test]
fn sighup_says_what_needs_a_restart() {
    let mut proxy = proxy(shared()).start();
    let other = free_port().expect("a free port");
    proxy.reload(|config| {
        config.set("listen.port", i64::from(other));
    });
    proxy.await_log("[listen] port");
    let log = proxy.log();
    let line = log.lines().find(|line| line.contains("[listen] port")).unwrap_or_default();
    assert!(line.contains("restart"), "{line}");
    proxy.client("postgres").query("SELECT 1");
    assert!(Client::try_open(&Address::Port(other)).is_err());
}

// The demo.

#[test]
fn a_demo_runs_a_command_against_itself_and_ends_with_its_status() {
    let folder = folder_with(&[]);
    let dir = path(&folder, "demo");
    let script = "set -e\n\
        test -f \"$0/pgweir.toml\"; echo \"host $PGHOST user $PGUSER database $PGDATABASE\"; test -n \"$PGPASSWORD\"\n\
        psql -X -A -t -c 'SHOW pool_nodes' | cut -d'|' -f7\n\
        psql -X -A -t -c 'SELECT 6 * 7'\n\
        exit 7";
    let demo = pgweir(&["demo", "--replicas", "1", "--dir", &dir, "--", "sh", "-c", script, &dir]).wait();
    assert_eq!(demo.status.code(), Some(7), "{}\n{}", demo.stdout, demo.stderr);
    let said: Vec<&str> = demo.stdout.lines().collect();
    for (line, wanted) in said.iter().rev().zip(["42", "standby", "primary"]) {
        assert_eq!(*line, wanted, "{}", demo.stdout);
    }
    assert!(demo.stdout.contains("host 127.0.0.1 user postgres database postgres"), "{}", demo.stdout);
    assert_nothing_of(&dir);
}

#[test]
fn ctrl_c_takes_a_demo_down_whatever_it_was_doing() {
    let folder = folder_with(&[]);
    let dir = path(&folder, "demo");
    let demo = pgweir(&["demo", "--replicas", "0", "--dir", &dir]);
    let config = PathBuf::from(&dir).join("pgweir.toml");
    eventually(
        || port_of(&config).is_some_and(|port| Client::try_open(&Address::Port(port)).is_ok()),
        "it is up",
    );
    demo.interrupt();
    let run = demo.wait().ok();
    assert!(run.stdout.contains("psql") || run.stderr.contains("psql"), "no line to paste: {}", run.stderr);
    assert_nothing_of(&dir);
    // And half-way.
    let demo = pgweir(&["demo", "--replicas", "1", "--dir", &dir]);
    eventually(|| processes_with(&dir) > 1, "the servers are being made");
    demo.interrupt();
    demo.wait();
    assert_nothing_of(&dir);
}

#[test]
fn a_demo_runs_as_an_ordinary_user_and_its_command_may_be_killed() {
    let folder = folder_with(&[]);
    let program = folder.path().join("pgweir");
    fs::copy(PROGRAM, &program).expect("room for a copy");
    let program = program.display().to_string();
    let mut arguments = vec!["-u", "HOME"];
    if is_root() {
        arguments.extend(AS_NOBODY);
    }
    arguments.extend([program.as_str(), "demo", "--replicas", "0", "--", "sh", "-c", "kill -9 $$"]);
    let demo = Background::start(Path::new("env"), &arguments, &[], "").wait();
    assert_eq!(demo.status.code(), Some(128 + 9), "{}\n{}", demo.stdout, demo.stderr);
}

#[test]
fn a_demo_refuses_a_port_that_is_taken() {
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let taken = stranger.local_addr().expect("it is bound").port().to_string();
    let folder = folder_with(&[]);
    let dir = path(&folder, "demo");
    let demo = pgweir(&["demo", "--replicas", "0", "--dir", &dir, "--port", &taken, "--", "true"]).wait();
    assert_eq!(demo.status.code(), Some(2), "{}\n{}", demo.stdout, demo.stderr);
    assert!(demo.stderr.contains(&taken), "{}", demo.stderr);
    assert_nothing_of(&dir);
}

// Words of this file.

/// Waits until these roles are known, in the order of the nodes.
#[track_caller]
pub fn await_roles(proxy: &Proxy, roles: &[&str]) {
    eventually(|| proxy.admin("SHOW NODES").column("role") == roles, &format!("the roles are {roles:?}"));
}

#[track_caller]
fn run_at(file: &Path) -> Background {
    pgweir(&["run", "--config", &file.display().to_string()])
}

/// A folder that everybody may enter, with these files.
fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("it is ours");
    }
    folder
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).display().to_string()
}

fn first_value(messages: &[Message]) -> String {
    let row = messages.iter().find(|message| message.tag == b'D').map(Message::row);
    row.and_then(|row| row.into_iter().next().flatten()).unwrap_or_else(|| panic!("no row in {messages:?}"))
}

/// The port that a generated configuration names.
fn port_of(config: &Path) -> Option<u16> {
    let table: toml::Table = fs::read_to_string(config).ok()?.parse().ok()?;
    u16::try_from(table.get("listen")?.get("port")?.as_integer()?).ok()
}

/// Nothing is left of a demo in `dir`: neither files nor processes.
#[track_caller]
fn assert_nothing_of(dir: &str) {
    let left: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    eventually(|| processes_with(dir) == 0, "its processes are gone");
}

/// How many processes have `word` on their command line.
fn processes_with(word: &str) -> usize {
    let entries = fs::read_dir("/proc").expect("it is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|&pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        alive(pid) && String::from_utf8_lossy(&line).contains(word)
    })
    .count()
}

fn is_root() -> bool {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata("/proc/self").expect("it is mounted")) == 0
}

/// Far less than a `shutdown_timeout` of an hour, and far more than a busy machine needs.
const SOON: Duration = Duration::from_secs(10);
const AS_NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
