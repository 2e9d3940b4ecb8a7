//! What pgweir tells about itself, in its admin database and to whoever asks as pgpool's users do.

use crate::harness::*;
use crate::operations::await_roles;
use crate::routing::{READ, here, read_from};

#[test]
fn pool_nodes_has_the_columns_of_pgpool() {
    let cluster = shared();
    let database = here(cluster);
    let proxy = proxy(cluster)
        .set("shards.count", 4)
        .configure(|config| {
            config.set_node(cluster.node(2).port(), "weight", 2);
            for node in cluster.nodes() {
                config.set_node(node.port(), "application_name", node.name());
            }
        })
        .start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut client = proxy.client(database.name());
    read_from(&mut client, 30);
    let nodes = client.query("SHOW pool_nodes");
    assert_eq!(nodes.columns, COLUMNS);
    assert_eq!(nodes.tags, ["SELECT 3"]);
    let ports: Vec<String> = cluster.nodes().iter().map(|node| node.port().to_string()).collect();
    for (column, values) in [
        ("node_id", ["0", "1", "2"]),
        ("hostname", ["127.0.0.1"; 3]),
        ("port", [&ports[0], &ports[1], &ports[2]].map(String::as_str)),
        ("status", ["up"; 3]),
        ("pg_status", ["up"; 3]),
        ("lb_weight", ["0.250000", "0.250000", "0.500000"]),
        ("role", ["primary", "standby", "standby"]),
        ("pg_role", ["primary", "standby", "standby"]),
        ("replication_state", ["", "streaming", "streaming"]),
        ("replication_sync_state", ["", "async", "async"]),
    ] {
        assert_eq!(nodes.column(column), values, "{column}");
    }
    assert_eq!(nodes.sum("select_cnt"), 30);
    assert_eq!(nodes.column("select_cnt")[0], "0");
    assert!(nodes.column("load_balance_node").iter().all(|value| ["true", "false"].contains(value)));
    for time in nodes.column("last_status_change") {
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00 00:00:00");
    }
    // Unset is the empty text, as pgpool has it, never NULL.
    assert!(nodes.rows.iter().flatten().all(Option::is_some));
}

#[test]
fn pool_nodes_is_answered_in_every_form_it_is_typed_in() {
    let database = here(shared());
    let proxy = proxy(shared()).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    for database in [database.name(), "pgweir"] {
        let mut client = proxy.client(database);
        for typed in [
            "SHOW pool_nodes",
            "show POOL_NODES;",
            "  SHOW\n\tpool_nodes  ; ",
            "SHOW POOL_NODES",
            "/* hello */ show pool_nodes -- there",
        ] {
            assert_eq!(client.query(typed).columns, COLUMNS, "{typed} in {database}");
            let prepared = client.prepared(typed, &[]).unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!((prepared.columns.len(), prepared.rows.len()), (14, 3), "{typed} in {database}");
        }
        let psql = proxy.login().database(database).psql(&["-c", "SHOW pool_nodes"], "").ok();
        assert_eq!(psql.stdout.lines().count(), 3, "{}", psql.stdout);
        assert!(psql.stdout.lines().all(|line| line.split('|').count() == 14), "{}", psql.stdout);
    }
}

#[test]
fn pool_nodes_leaves_a_transaction_and_prepared_statements_as_they_are() {
    let database = here(shared());
    let proxy = proxy(shared()).start();
    let mut client = proxy.client(database.name());
    client.query("BEGIN");
    client.query("CREATE TABLE t (i int)");
    assert_eq!(client.query("SHOW pool_nodes").rows.len(), 3);
    assert_eq!(client.status, 'T');
    assert_eq!(client.prepared("SHOW pool_nodes", &[]).expect("an answer").rows.len(), 3);
    assert_eq!(client.status, 'T');
    client.query("INSERT INTO t VALUES (1)");
    client.query("ROLLBACK");
    assert_eq!(client.value("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
    // A named statement, bound more than once, between others.
    client.parse("nodes", "SHOW pool_nodes", &[]).describe_statement("nodes").sync();
    let described = client.expect_tags("1tTZ");
    assert_eq!(described[2].columns(), COLUMNS);
    client.parse("", "SELECT 1", &[]).bind("", "", &[]).execute("", 0).write_sync();
    client.bind("", "nodes", &[]).describe_portal("").execute("", 0).write_sync();
    client.parse("", "SELECT 2", &[]).bind("", "", &[]).execute("", 0).write_sync();
    client.bind("", "nodes", &[]).execute("", 0).sync();
    for tags in ["12DCZ", "2TDDDCZ", "12DCZ", "2DDDCZ"] {
        client.expect_tags(tags);
    }
    client.close_statement("nodes").sync();
    client.expect_tags("3Z");
    client.bind("", "nodes", &[]).sync();
    client.expect_sqlstate("26000");
    client.until_ready();
    client.query("SELECT 1");
}

#[test]
fn a_driver_can_ask_too() {
    let database = here(shared());
    let proxy = proxy(shared()).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        for database in [database.name(), "pgweir"] {
            let conninfo = proxy.login().database(database).conninfo();
            let (client, connection) =
                tokio_postgres::connect(&conninfo, tokio_postgres::NoTls).await.expect("a login");
            let connection = tokio::spawn(connection);
            let rows = client.query("SHOW pool_nodes", &[]).await.expect("an answer");
            let names: Vec<&str> = rows[0].columns().iter().map(|column| column.name()).collect();
            assert_eq!(names, COLUMNS);
            let roles: Vec<String> = rows.iter().map(|row| row.get("role")).collect();
            assert_eq!(roles, ["primary", "standby", "standby"], "in {database}");
            let simple = client.simple_query("SHOW pool_nodes").await.expect("an answer");
            let is_row = |m: &&tokio_postgres::SimpleQueryMessage| {
                matches!(m, tokio_postgres::SimpleQueryMessage::Row(_))
            };
            assert_eq!(simple.iter().filter(is_row).count(), 3);
            if database == "pgweir" {
                for command in ["SHOW POOLS", "SHOW NODES", "SHOW STATS", "SHOW VERSION"] {
                    client.query(command, &[]).await.unwrap_or_else(|error| panic!("{command}: {error}"));
                }
                client.query("SHOW NONSENSE", &[]).await.expect_err("there is no such thing");
                client.query("SHOW VERSION", &[]).await.expect("the session goes on");
            }
            drop(client);
            connection.await.expect("it ends").expect("in good order");
        }
    });
}

#[test]
fn what_is_shown_is_the_sum_over_the_shards() {
    let database = here(shared());
    let other = here(shared());
    let proxy = proxy(shared()).set("shards.count", 4).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let before = proxy.admin("SHOW NODES");
    let mut clients: Vec<Client> = (0..24).map(|_| proxy.client(database.name())).collect();
    let mut elsewhere = proxy.client(other.name());
    for client in &mut clients {
        client.query("SELECT 1 FOR UPDATE");
        read_from(client, 5);
    }
    elsewhere.query(READ);
    let stats = proxy.admin("SHOW STATS");
    let row = stats.column("database").iter().filter(|name| **name == database.name()).count();
    assert!(row <= 1, "one row for each shard? {stats:?}");
    let after = proxy.admin("SHOW NODES");
    assert_eq!(after.column("node"), ["0", "1", "2"]);
    assert_eq!(after.sum("reads") - before.sum("reads"), 24 * 5 + 1);
    assert!(after.sum("writes") - before.sum("writes") >= 24);
    // Each client in a transaction of its own, all at once.
    for client in clients.iter_mut().take(9) {
        client.query("BEGIN; SELECT 1");
    }
    let pools = proxy.admin("SHOW POOLS");
    // As PgBouncer has it, whose exporters take no two rows of the same database and user.
    let rows = distinct(&pools, &["database", "user"]);
    assert_eq!(pools.columns.len(), 17);
    let ours: Vec<usize> =
        (0..rows).filter(|&row| pools.column("database")[row] == database.name()).collect();
    let sum = |column: &str| -> u64 {
        ours.iter().map(|&row| pools.column(column)[row].parse::<u64>().expect("a number")).sum()
    };
    assert_eq!(sum("sv_active"), 9, "{pools:?}");
    assert_eq!(sum("cl_waiting"), 0, "{pools:?}");
    let by_node = proxy.admin("SHOW NODE_POOLS");
    assert!(distinct(&by_node, &["database", "user", "node"]) > rows);
    assert_eq!(by_node.sum("sv_active"), 9, "{by_node:?}");
    let help = proxy.admin("SHOW HELP");
    assert!(help.column("statement").contains(&"SHOW NODE_POOLS"), "{help:?}");
    assert_eq!(proxy.admin("SHOW VERSION").value(), format!("pgweir {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn counters_never_go_back() {
    let cluster = shared();
    let database = here(cluster);
    let mut proxy = proxy(cluster).set("shards.count", 2).start();
    await_roles(&proxy, &["primary", "replica", "replica"]);
    let mut client = proxy.client(database.name());
    read_from(&mut client, 20);
    let before = proxy.admin("SHOW NODES").sum("reads");
    let queries = proxy.admin("SHOW STATS").sum("total_query_count");
    assert!(before >= 20 && queries >= 20, "{before} reads, {queries} queries");
    proxy.reload(|config| {
        config.set_node(cluster.node(1).port(), "weight", 3).set("pool.size", 7);
    });
    proxy.await_log("-> 7");
    read_from(&mut client, 5);
    client.terminate();
    let nodes = proxy.admin("SHOW NODES");
    assert_eq!(nodes.sum("reads"), before + 5);
    assert!(proxy.admin("SHOW STATS").sum("total_query_count") >= queries + 5);
}

#[test]
fn the_admin_database_is_for_admins() {
    let proxy =
        proxy(shared()).user("app", "word").user("boss", "word").set("admin.users", vec!["boss"]).start();
    let login = proxy.login().database("pgweir").password("word");
    assert_eq!(login.clone().user("boss").connect().query("SHOW NODES").rows.len(), 3);
    for user in ["app", "postgres"] {
        let password = if user == "app" { "word" } else { PASSWORD };
        let login = login.clone().user(user).password(password);
        let error = match login.try_connect() {
            Ok(mut client) => client.try_query("SHOW NODES").expect_err("it is no admin"),
            Err(error) => error,
        };
        assert!(["42501", "28000"].contains(&error.sqlstate()), "{error}");
    }
    // Elsewhere it is at least never mistaken for one of the server's own settings.
    let mut client = proxy.client("postgres");
    match client.try_query("SHOW pool_nodes") {
        Ok(nodes) => assert_eq!(nodes.columns, COLUMNS),
        Err(error) => assert_eq!(error.sqlstate(), "42501", "{error}"),
    }
    client.query("SELECT 1");
    let wrong = login.user("boss").password("wrong").try_connect().err().expect("wrong");
    assert_eq!(wrong.sqlstate(), "28P01");
}

#[test]
fn what_there_is_not_to_show_costs_no_session() {
    let proxy = proxy(shared()).start();
    let mut admin = proxy.client("pgweir");
    for wrong in ["SHOW NONSENSE", "SHOW", "SELECT * FROM t", "nonsense", "SHOW POOLS; SHOW NONSENSE", "'"] {
        let error = admin.try_query(wrong).expect_err(wrong);
        assert_eq!(error.severity(), "ERROR", "{wrong}: {error}");
        assert!(!error.sqlstate().starts_with("XX"), "{wrong}: {error}");
        assert_eq!(admin.status, 'I', "{wrong}");
        admin.prepared(wrong, &[]).expect_err(wrong);
        admin.query("SHOW VERSION");
    }
    assert_eq!(admin.query(" ; ").tags, Vec::<String>::new());
    // The server's own settings are the server's to show.
    let mut client = proxy.client("postgres");
    assert_eq!(client.value("SHOW port"), shared().node(0).port().to_string());
    assert_eq!(client.try_query("SHOW pools").expect_err("no such setting").sqlstate(), "42704");
    assert_eq!(client.value("SHOW server_version_num").len(), 6);
}

#[test]
fn the_console_needs_no_backend_and_disturbs_nobody() {
    let proxy = proxy(shared()).set("pool.size", 1).set("route.reads", "primary").start();
    let mut busy = proxy.client("postgres");
    busy.query("BEGIN; SELECT 1");
    let mut waits = proxy.client("postgres");
    waits.send_query("BEGIN; SELECT 2; COMMIT");
    let mut admin = proxy.client("pgweir");
    eventually(|| admin.query("SHOW POOLS").sum("cl_waiting") == 1, "the client that waits is shown");
    for _ in 0..200 {
        admin.query("SHOW pool_nodes");
        admin.query("SHOW STATS");
    }
    assert_eq!(admin.query("SHOW POOLS").sum("sv_active"), 1);
    busy.query("COMMIT");
    waits.until_ready();
    eventually(|| admin.query("SHOW POOLS").sum("cl_waiting") == 0, "nobody waits");
}

/// How many rows there are, of which no two have the same in these columns.
#[track_caller]
fn distinct(table: &Outcome, columns: &[&str]) -> usize {
    let columns: Vec<Vec<&str>> = columns.iter().map(|name| table.column(name)).collect();
    let mut keys: Vec<Vec<&str>> =
        (0..table.rows.len()).map(|row| columns.iter().map(|column| column[row]).collect()).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), table.rows.len(), "one row for each shard? {table:?}");
    keys.len()
}

/// Those of pgpool-II 4.3.
const COLUMNS: [&str; 14] = [
    "node_id",
    "hostname",
    "port",
    "status",
    "pg_status",
    "lb_weight",
    "role",
    "pg_role",
    "select_cnt",
    "load_balance_node",
    "replication_delay",
    "replication_state",
    "replication_sync_state",
    "last_status_change",
];

#[test]
fn what_pgweir_answers_stands_in_its_place_in_a_pipeline() {
    let proxy = proxy(shared()).start();
    let mut client = proxy.login().connect();
    client.parse("", "SELECT 'before'", &[]).bind("", "", &[]).execute("", 0);
    client.parse("", "SHOW pool_nodes", &[]).bind("", "", &[]).describe_portal("").execute("", 0);
    client.parse("", "SHOW pool_version", &[]).bind("", "", &[]).execute("", 0);
    client.parse("", "SELECT 'behind'", &[]).bind("", "", &[]).execute("", 0).sync();
    let answer = client.expect_tags("12DC12TDDDC12DC12DCZ");
    assert_eq!(answer[2].row()[0].as_deref(), Some("before"));
    assert_eq!(answer[17].row()[0].as_deref(), Some("behind"));
    // One that begins with ours.
    client.parse("", "SHOW pool_version", &[]).bind("", "", &[]).execute("", 0);
    client.parse("", "SELECT 1/0", &[]).bind("", "", &[]).execute("", 0);
    client.parse("", "SHOW pool_version", &[]).bind("", "", &[]).execute("", 0).sync();
    client.expect_tags("12DC1EZ");
    assert_eq!(client.value("SELECT 'and on'"), "and on");
}
