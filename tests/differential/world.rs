//! Where plays take place: a cluster, several pgweirs in front of it, and a fresh pair of databases for each play, alike
//! in all but their names.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::{Address, Cluster, Login, Proxy, cluster, proxy};

use super::script::Stage;

/// A primary and a replica that everybody may enter.
pub fn servers() -> Cluster {
    let cluster = cluster()
        .replicas(1)
        .setting("max_connections", "200")
        // What waits for a lock does so for a session that is not to move before it.
        .setting("lock_timeout", "1s")
        .hba("host all all 127.0.0.1/32 trust")
        .start();
    let mut roles = ROLES.to_owned();
    for Stage { user, .. } in STAGES {
        if !roles.contains(&format!("CREATE ROLE {user} ")) {
            roles += &format!("CREATE ROLE {user} LOGIN IN ROLE players, reader;");
        }
    }
    cluster.run(0, &roles);
    cluster.run(0, "CREATE DATABASE arena");
    let mut owner = cluster.login(0).database("arena").connect();
    owner.query(ARENA);
    for session in 0..SESSIONS_MAX {
        owner.query(&CORNER.replace("{n}", &session.to_string()));
    }
    owner.terminate();
    cluster
}

/// The pgweirs in front of a cluster.
pub struct World<'a> {
    cluster: &'a Cluster,
    primary: Proxy<'a>,
    replicas: Proxy<'a>,
    count: AtomicUsize,
    /// Databases that nobody needs any more, and since when.
    left: Mutex<VecDeque<(String, Instant)>>,
}

impl<'a> World<'a> {
    pub fn start(cluster: &'a Cluster) -> Self {
        let pgweir = |reads: &str| {
            let mut builder = proxy(cluster)
                .set("auth.method", "trust")
                .set("route.reads", reads)
                .set("shards.count", SHARDS as i64)
                .set("pool.checkout_timeout", "1s")
                // So that databases can be dropped soon after.
                .set("pool.idle_timeout", "1s");
            for stage in STAGES {
                let size = i64::try_from(stage.backends).expect("a handful");
                builder = builder.set(&format!("user.{}.size", stage.user), size).user(stage.user, "");
            }
            builder.start()
        };
        Self {
            cluster,
            primary: pgweir("primary"),
            replicas: pgweir("replicas"),
            count: AtomicUsize::new(1),
            left: Mutex::default(),
        }
    }

    /// A fresh pair of sides: the server itself, and pgweir.
    pub fn sides(&self, stage: Stage) -> (Side, Side) {
        self.clear();
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let proxy = if stage.replicas { &self.replicas } else { &self.primary };
        let sides = (
            self.side(format!("direct_{number}"), self.server(), stage),
            self.side(format!("proxied_{number}"), proxy.address(), stage),
        );
        self.cluster.settle();
        sides
    }

    /// A fresh pair of sides without pgweir, of which the second holds what `sql` makes.
    pub fn unlike(&self, stage: Stage, sql: &str) -> (Side, Side) {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        let side = |name: String| self.side(name, self.server(), stage);
        let sides = (side(format!("direct_{number}")), side(format!("other_{number}")));
        sides.1.login.clone().user("postgres").connect().query(sql);
        sides
    }

    /// Gives the databases of a play back.
    pub fn leave(&self, sides: (Side, Side)) {
        let mut left = self.left.lock().expect("nobody panics with it");
        left.extend([sides.0, sides.1].map(|side| (side.database, Instant::now())));
    }

    fn server(&self) -> Address {
        Address::Port(self.cluster.node(0).port())
    }

    fn side(&self, database: String, address: Address, stage: Stage) -> Side {
        self.cluster.run(0, &format!("CREATE DATABASE {database} TEMPLATE arena"));
        let login = self.cluster.login(0).at(address.clone()).user(stage.user).database(&database);
        Side { database, address, login }
    }

    /// Drops the databases that pgweir has left by now.
    fn clear(&self) {
        loop {
            let mut left = self.left.lock().expect("nobody panics with it");
            if left.front().is_none_or(|(_, since)| since.elapsed() < LEAVING) {
                return;
            }
            let (name, _) = left.pop_front().expect("looked at just now");
            drop(left);
            // One that is still in use stays until the cluster ends.
            let _ = self.cluster.sql(0, &format!("DROP DATABASE {name}"));
        }
    }
}

/// One way to the server, and the database at its end.
pub struct Side {
    database: String,
    address: Address,
    login: Login,
}

impl Side {
    pub fn login(&self) -> &Login {
        &self.login
    }

    pub fn address(&self) -> &Address {
        &self.address
    }
}

/// Every pool that plays take place in front of. Pools of one user are the same in both pgweirs.
pub const STAGES: [Stage; 6] = [
    Stage { replicas: false, user: "alone", backends: 1 },
    Stage { replicas: false, user: "pair", backends: 2 },
    Stage { replicas: false, user: "crowd", backends: 4 },
    Stage { replicas: true, user: "alone", backends: 1 },
    Stage { replicas: true, user: "pair", backends: 2 },
    Stage { replicas: true, user: "crowd", backends: 4 },
];

/// How many shards each pgweir has.
const SHARDS: usize = 2;

/// How many sessions a play has at most.
pub const SESSIONS_MAX: usize = 4;

const ROLES: &str = "CREATE ROLE players; CREATE ROLE reader; GRANT pg_read_all_stats TO players;";

/// What all sessions share and none changes, but for the log, which takes rows and is not read back.
const ARENA: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'fine', 'happy');
    CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(8, 2), feeling mood);
    INSERT INTO t SELECT i, 'name ' || i, i * 1.5, 'fine' FROM generate_series(1, 8) AS i;
    CREATE TABLE log (note text);
    CREATE FUNCTION twice(v int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT v * 2';
    CREATE FUNCTION half(v int) RETURNS int LANGUAGE plpgsql STABLE AS
        $$ BEGIN RETURN (SELECT v / 2); END $$;
    CREATE FUNCTION note(v text) RETURNS text LANGUAGE sql AS
        'INSERT INTO public.log VALUES (v) RETURNING note';
    CREATE FUNCTION remember(v text) RETURNS text LANGUAGE sql AS
        $$ SELECT set_config('app.memory', v, false) $$;
    CREATE FUNCTION complain(v text) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN RAISE NOTICE 'about %', v; RETURN v; END $$;
    CREATE FUNCTION fail(v text) RETURNS text LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'no %', v USING HINT = 'try something else', ERRCODE = 'P0077'; END $$;
    GRANT SELECT ON t TO reader;
    GRANT SELECT, INSERT ON t, log TO players;
";

/// What belongs to one session, so that none waits for another's locks.
const CORNER: &str = "
    CREATE SCHEMA s{n} AUTHORIZATION players;
    SET ROLE players;
    CREATE TABLE s{n}.w (id int PRIMARY KEY, v text DEFAULT 'new', n int CHECK (n < 100));
    CREATE SEQUENCE s{n}.q;
    CREATE VIEW s{n}.seen AS SELECT id, v FROM s{n}.w;
    INSERT INTO s{n}.w VALUES (1, 'one of {n}', 10), (2, 'two of {n}', 20), (3, NULL, 30);
    CREATE FUNCTION s{n}.mine() RETURNS text LANGUAGE sql AS $$ SELECT 'version 1 of {n}' $$;
    RESET ROLE;
";

/// By when pgweir has closed the backends of a database whose clients have gone.
const LEAVING: Duration = Duration::from_secs(4);
