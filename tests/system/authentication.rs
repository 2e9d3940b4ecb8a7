//! Who may come in, how they prove it, and how pgweir proves it to the nodes in turn.

use crate::harness::*;
use crate::operations::await_roles;
use crate::routing::{here, node_name, read_from};
use pgweir::demo::port::free_port;

#[test]
fn every_secret_serves_every_method_it_can() {
    let methods = ["trust", "password", "md5", "scram-sha-256"];
    // One user for each way that a node asks. Those that it asks by md5 have their secret stored so, or it would ask
    // by SCRAM nevertheless (manual, section 21.5).
    let mut builder = cluster();
    for method in methods {
        builder = builder.hba(&format!("host all \"by {method}\" 127.0.0.1/32 {method}"));
    }
    let cluster = builder.hba("host all all 127.0.0.1/32 scram-sha-256").start();
    for method in methods {
        let kind = if method == "md5" { "md5" } else { "scram-sha-256" };
        let role = format!(
            "SET password_encryption = '{kind}'; CREATE ROLE \"by {method}\" LOGIN PASSWORD '{WORD}'"
        );
        cluster.run(0, &role);
    }
    for client_method in methods {
        for secret in ["plain", "md5", "scram"] {
            let mut builder = proxy(&cluster).set("auth.method", client_method);
            for method in methods {
                let user = format!("by {method}");
                builder = builder.user(&user, &secret_of(&cluster, secret, &user));
            }
            let proxy = builder.start();
            for node_method in methods {
                let what = format!("client by {client_method}, secret {secret}, node by {node_method}");
                let login = proxy.login().user(&format!("by {node_method}")).password(WORD);
                let outcome =
                    login.try_connect().and_then(|mut client| client.try_query("SELECT current_user"));
                // What the secret alone can do; a password that the client has sent in clear may do more.
                let here = client_method != "scram-sha-256" || secret != "md5";
                let there = match (node_method, secret) {
                    ("trust", _) | (_, "plain") | ("md5", "md5") => true,
                    // The client's own proof serves for the node: see below.
                    ("scram-sha-256", "scram") => matches!(client_method, "scram-sha-256" | "md5"),
                    _ => false,
                };
                if here && there {
                    let outcome = outcome.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(outcome.value(), format!("by {node_method}"), "{what}");
                } else if !here {
                    assert_eq!(outcome.expect_err(&what).sqlstate(), "28P01", "{what}");
                } else if let Err(error) = outcome {
                    assert_eq!(error.severity(), "FATAL", "{what}: {error}");
                    assert!(error.message().contains("by "), "{what}: whose secret? {error}");
                }
                if client_method != "trust" {
                    let wrong = login.password("wrong").try_connect().err().expect(&what);
                    assert_eq!(wrong.sqlstate(), "28P01", "{what}");
                }
            }
        }
    }
}

#[test]
fn a_scram_secret_alone_lets_clients_through_to_nodes_that_ask_by_scram() {
    let cluster = cluster().replicas(1).start();
    let database = here(&cluster);
    cluster.run(0, &format!("CREATE ROLE app LOGIN PASSWORD '{WORD}'"));
    cluster.settle();
    let secret = secret_of(&cluster, "scram", "app");
    let proxy = proxy(&cluster).user("app", &secret).set("shards.count", 3).set("pool.size", 2).start();
    await_roles(&proxy, &["primary", "replica"]);
    let login = proxy.login().database(database.name()).user("app").password(WORD);
    // More clients than backends, at once and one after the other, on all shards.
    let mut clients: Vec<Client> = (0..8).map(|_| login.connect()).collect();
    for client in &mut clients {
        assert_eq!(read_from(client, 2).into_keys().collect::<Vec<_>>(), [node_name(1)]);
        assert_eq!(client.value("BEGIN; SELECT current_user; COMMIT"), "app");
    }
    assert_eq!(login.psql(&["-c", "SELECT current_user"], "").ok().stdout.trim(), "app");
    assert_eq!(login.password("wrong").try_connect().err().expect("wrong").sqlstate(), "28P01");
}

#[test]
fn an_unknown_user_cannot_be_told_from_a_wrong_password() {
    for method in ["password", "md5", "scram-sha-256"] {
        let proxy = proxy(shared()).set("auth.method", method).user("known", WORD).start();
        let refusal = |user: &str| {
            let error = proxy.login().user(user).password("wrong").try_connect().err().expect("refused");
            error.fields.iter().map(|(code, value)| (*code, value.replace(user, "…"))).collect::<Vec<_>>()
        };
        assert_eq!(refusal("known"), refusal("unknown"), "{method}");
        let error = proxy.login().user("known").password("wrong").try_connect().err().expect("refused");
        assert_eq!((error.sqlstate(), error.severity()), ("28P01", "FATAL"));
        assert_eq!(error.message(), "password authentication failed for user \"known\"");
        // Up to there the same is said, in the same order, with as much to it.
        let asked = |user: &str| {
            let mut client = Client::open(&proxy.address());
            client.startup((3, 0), &[("user", user), ("database", "postgres")]);
            let request = client.recv_message();
            (request.tag, request.body.len(), request.body[..4].to_vec())
        };
        assert_eq!(asked("known"), asked("unknown"), "{method}");
    }
}

#[test]
fn the_salt_of_an_unknown_user_is_always_the_same() {
    let proxy = proxy(shared()).user("known", WORD).set("shards.count", 2).start();
    let salt_of = |user: &str| {
        let mut client = Client::open(&proxy.address());
        client.startup((3, 0), &[("user", user), ("database", "postgres")]);
        client.recv_message();
        let first = b"n,,n=,r=fyko+d2lbbFgONRv9qkxdawL";
        let length = i32::try_from(first.len()).expect("it is short").to_be_bytes();
        client.send(b'p', &[b"SCRAM-SHA-256\0".as_slice(), &length, first].concat());
        // r=…,s=…,i=…: the nonce is new each time, the rest is not (RFC 5802, section 7).
        let said = String::from_utf8(client.recv_message().body[4..].to_vec()).expect("it is text");
        let (nonce, rest) = said.split_once(',').expect("three parts");
        assert!(nonce.starts_with("r=fyko+d2lbbFgONRv9qkxdawL") && nonce.len() > 40, "{said}");
        rest.to_owned()
    };
    let (known, unknown, other) = (salt_of("known"), salt_of("unknown"), salt_of("other"));
    for _ in 0..4 {
        assert_eq!(salt_of("unknown"), unknown);
        assert_eq!(salt_of("known"), known);
    }
    assert_ne!(unknown, other);
    assert_eq!(known.len(), unknown.len(), "{known} and {unknown}");
    assert_eq!(known.split_once(",i=").map(|(_, i)| i), unknown.split_once(",i=").map(|(_, i)| i));
}

#[test]
fn the_hba_file_decides_by_the_first_line_that_fits() {
    let both: Vec<toml::Value> = ["127.0.0.1", "::1"].into_iter().map(toml::Value::from).collect();
    let proxy = proxy(shared())
        .set("auth.method", "hba")
        .set("auth.hba", "pg_hba.conf")
        .set("listen.address", both)
        .unix_socket()
        .file(
            "pg_hba.conf",
            "# TYPE  DATABASE  USER  ADDRESS  METHOD\n\
             host all banned 0.0.0.0/0 reject\n\
             hostnossl \"postgres\" postgres 127.0.0.0 255.0.0.0 scram-sha-256 # the usual way\n\
             host template1 postgres 127.0.0.1/32 trust\n\
             local all postgres trust\n",
        )
        .user("banned", WORD)
        .start();
    let login = proxy.login();
    login.connect();
    assert_eq!(login.clone().password("wrong").try_connect().err().expect("wrong").sqlstate(), "28P01");
    login.clone().database("template1").password("wrong").connect();
    login.clone().at(proxy.socket()).password("wrong").connect();
    let v6 = Address::Tcp(std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, proxy.port())));
    for (login, line) in [
        (login.clone().user("banned").password(WORD), true),
        (login.clone().at(v6), false),
        (login.clone().database("template0"), false),
        (login.clone().user("unknown"), false),
    ] {
        let error = login.try_connect().err().expect("no line lets it in");
        assert_eq!((error.sqlstate(), error.severity()), ("28000", "FATAL"), "{error}");
        let wanted = if line { "rejects connection" } else { "entry for host" };
        assert!(error.message().contains(wanted), "{error}");
    }
}

#[test]
fn what_the_node_refuses_is_told_as_the_node_said_it() {
    let cluster = cluster().start();
    cluster.run(0, &format!("CREATE ROLE app LOGIN PASSWORD '{WORD}'"));
    cluster.run(0, &format!("CREATE ROLE grown LOGIN PASSWORD '{WORD}'"));
    cluster.run(0, "CREATE DATABASE private");
    cluster.run(0, "REVOKE CONNECT ON DATABASE private FROM public");
    cluster.run(0, &format!("CREATE ROLE nobody NOLOGIN PASSWORD '{WORD}'"));
    let proxy = proxy(&cluster)
        .user("app", WORD)
        .user("nobody", WORD)
        .user("ghost", WORD)
        .user("grown", "another word")
        .start();
    let login = proxy.login();
    let mut healthy = login.connect();
    let refused = |login: Login| {
        let error = match login.try_connect() {
            Ok(mut client) => client.try_query("SELECT 1").expect_err("the node refuses"),
            Err(error) => error,
        };
        assert_eq!(error.severity(), "FATAL", "{error}");
        error
    };
    let error = refused(login.clone().database("no such database"));
    assert_eq!(error.sqlstate(), "3D000");
    assert_eq!(error.message(), "database \"no such database\" does not exist");
    let app = login.clone().user("app").password(WORD);
    app.connect();
    assert_eq!(refused(app.database("private")).sqlstate(), "42501");
    assert_eq!(refused(login.clone().user("nobody").password(WORD)).sqlstate(), "28000");
    // Both sides know it, by different words: a fault of the user list, not of the client.
    refused(login.clone().user("ghost").password(WORD));
    refused(login.clone().user("grown").password("another word"));
    healthy.query("SELECT 1");
}

#[test]
fn a_login_while_no_node_is_reachable_is_refused_in_time_with_the_reason() {
    let nobody = free_port().expect("a free port");
    let proxy = proxy(shared())
        .set("pool.checkout_timeout", "500ms")
        .set("pool.connect_timeout", "500ms")
        .configure(|config| {
            for node in shared().nodes() {
                config.remove_node(node.port());
            }
            config.node(nobody);
        })
        .start();
    for shard in 0..2 {
        let began = std::time::Instant::now();
        let error = proxy.login().try_connect().err().expect("nobody is there");
        assert_eq!((error.sqlstate(), error.severity()), ("57P03", "FATAL"), "{error}");
        assert!(error.to_string().contains(&nobody.to_string()), "which node? {error}");
        assert!(error.to_string().contains("refused"), "why? {error}");
        assert!(began.elapsed().as_secs() < 5, "try {shard} took {:?}", began.elapsed());
        // A wrong password is found out first.
        let error = proxy.login().password("wrong").try_connect().err().expect("wrong");
        assert_eq!(error.sqlstate(), "28P01");
    }
    // The admin database needs no node.
    assert_eq!(proxy.admin("SHOW NODES").rows.len(), 1);
}

#[test]
fn a_login_that_waits_for_the_only_node_goes_on_when_it_is_there() {
    let cluster = cluster().start();
    let proxy = proxy(&cluster).start();
    cluster.node(0).shut_down();
    let login = proxy.login();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| login.connect().value("SELECT 1"));
        eventually(|| proxy.admin("SHOW NODES").column("state") == ["down"], "the node is known to be down");
        cluster.revive(0);
        assert_eq!(waits.join().expect("it is let in"), "1");
    });
}

#[test]
fn a_client_that_never_answers_is_sent_away() {
    let proxy = proxy(shared()).set("auth.login_timeout", "1s").start();
    let mut silent = Client::open(&proxy.address());
    let mut halfway = Client::open(&proxy.address());
    halfway.startup((3, 0), &proxy.login().startup_parameters());
    let began = std::time::Instant::now();
    silent.expect_closed();
    let said = halfway.expect_closed();
    assert_eq!(said.first().map(|message| message.tag), Some(b'R'), "it was asked first: {said:?}");
    assert!(began.elapsed().as_secs() < 10, "that took {:?}", began.elapsed());
    eventually(|| proxy.login().can_connect(), "others are let in");
}

#[test]
fn many_logins_at_once_do_not_stop_who_is_already_in() {
    let proxy = proxy(shared()).user("app", WORD).start();
    let mut inside = proxy.client("postgres");
    let refused = proxy.login().user("app").password("wrong");
    std::thread::scope(|scope| {
        let logins: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..5 {
                        refused.try_connect().err().expect("the password is wrong");
                    }
                })
            })
            .collect();
        while !logins.iter().all(|login| login.is_finished()) {
            inside.query("SELECT 1");
        }
    });
}

/// The secret of `user` as a user list may hold it. The SCRAM one is the node's own, so that proofs fit both.
#[track_caller]
fn secret_of(cluster: &Cluster, kind: &str, user: &str) -> String {
    match kind {
        "plain" => WORD.to_owned(),
        "md5" => cluster.value(0, &format!("SELECT 'md5' || md5('{WORD}' || '{user}')")),
        _ => {
            let stored =
                cluster.value(0, &format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'"));
            if stored.starts_with("SCRAM-SHA-256$") {
                return stored;
            }
            // The node keeps an md5 one: any SCRAM secret of the same password will do.
            cluster.run(
                0,
                &format!("SET password_encryption = 'scram-sha-256'; CREATE ROLE other PASSWORD '{WORD}'"),
            );
            let other = cluster.value(0, "SELECT rolpassword FROM pg_authid WHERE rolname = 'other'");
            cluster.run(0, "DROP ROLE other");
            other
        }
    }
}

/// The password of every user here: with all that a quoting might trip over.
const WORD: &str = "p\"ss, w:rd\\";
