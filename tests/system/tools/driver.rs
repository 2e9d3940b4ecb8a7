//! tokio-postgres: a driver that pipelines, prepares, and speaks binary.

use std::future::Future;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_lite::StreamExt;
use tokio_postgres::binary_copy::{BinaryCopyInWriter, BinaryCopyOutStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, NoTls};

use super::pooled;
use crate::harness::{Login, eventually, shared};

#[test]
fn many_connections_prepare_pipeline_and_commit_over_few_backends() {
    let database = shared().database();
    let proxy = pooled(3).set("shards.count", 2).start();
    let login = proxy.login().database(database.name());
    login.connect().query("CREATE TABLE t (id int PRIMARY KEY, who int, note text)");
    run(async {
        let tasks: Vec<_> = (0..20).map(|who| tokio::spawn(work(login.clone(), who))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        // Others wrote this.
        shared().settle();
        let client = connect(&login).await;
        let row = client.query_one("SELECT count(*), sum(id)::bigint FROM t", &[]).await.unwrap();
        assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (200, (0..200).sum()));
    });
}

async fn work(login: Login, who: i32) {
    let mut client = connect(&login).await;
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2, $3)").await.unwrap();
    let select = client.prepare("SELECT note FROM t WHERE id = $1 AND who = $2").await.unwrap();
    for round in 0..10 {
        let (id, note) = (who * 10 + round, format!("{who} in {round}"));
        let transaction = client.transaction().await.unwrap();
        assert_eq!(transaction.execute(&insert, &[&id, &who, &note]).await.unwrap(), 1);
        if round == 5 {
            // Rolled back by hand, and by a savepoint, and done again.
            transaction.rollback().await.unwrap();
            let mut transaction = client.transaction().await.unwrap();
            let savepoint = transaction.transaction().await.unwrap();
            savepoint.execute(&insert, &[&id, &who, &"wrong"]).await.unwrap();
            savepoint.execute(&insert, &[&id, &who, &"twice"]).await.unwrap_err();
            savepoint.rollback().await.unwrap();
            transaction.execute(&insert, &[&id, &who, &note]).await.unwrap();
            transaction.commit().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
        }
        // A pipeline: sent together, answered in order; and one sees what one has written.
        let (own, number, nobody): ([Value; 2], [Value; 1], [Value; 2]) =
            ([&id, &who], [&round], [&-1, &who]);
        let (a, b, c) = tokio::join!(
            client.query_one(&select, &own),
            client.query_one("SELECT $1::int4 + 1", &number),
            client.query_opt(&select, &nobody),
        );
        assert_eq!(a.unwrap().get::<_, String>(0), note);
        assert_eq!(b.unwrap().get::<_, i32>(0), round + 1);
        assert!(c.unwrap().is_none());
    }
}

#[test]
fn values_of_all_kinds_pass_as_binary() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let login = proxy.login().database(database.name());
    login.connect().query("CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE TYPE pair AS (a int, b text)");
    shared().settle();
    run(async {
        let client = connect(&login).await;
        let row = client
            .query_one(
                "SELECT $1::bool, $2::int2, $3::int4, $4::int8, $5::float4, $6::float8, $7::text, $8::bytea, $9::int4[],
                    $10::text[], $11::\"char\", $12::oid, $13::varchar, $14::text",
                &[
                    &true, &-2i16, &i32::MIN, &i64::MAX, &1.5f32, &f64::MIN_POSITIVE, &"ä ö 漢字", &vec![0u8, 255, 0],
                    &vec![1i32, -1], &vec!["a", "{\"b\"}"], &b'c'.cast_signed(), &4_000_000_000u32, &"v", &None::<String>,
                ],
            )
            .await
            .unwrap();
        assert!(row.get::<_, bool>(0));
        assert_eq!(row.get::<_, i16>(1), -2);
        assert_eq!(row.get::<_, i32>(2), i32::MIN);
        assert_eq!(row.get::<_, i64>(3), i64::MAX);
        assert_eq!(row.get::<_, f32>(4), 1.5);
        assert_eq!(row.get::<_, f64>(5), f64::MIN_POSITIVE);
        assert_eq!(row.get::<_, &str>(6), "ä ö 漢字");
        assert_eq!(row.get::<_, &[u8]>(7), [0, 255, 0]);
        assert_eq!(row.get::<_, Vec<i32>>(8), [1, -1]);
        assert_eq!(row.get::<_, Vec<String>>(9), ["a", "{\"b\"}"]);
        assert_eq!(row.get::<_, i8>(10), b'c'.cast_signed());
        assert_eq!(row.get::<_, u32>(11), 4_000_000_000);
        assert_eq!(row.get::<_, &str>(12), "v");
        assert_eq!(row.get::<_, Option<String>>(13), None);
        // Types that the driver has to ask the catalog about, with statements of its own.
        let statement = client.prepare("SELECT $1::mood, $2::pair, $3::mood[]").await.unwrap();
        let names: Vec<_> = statement.params().iter().map(Type::name).collect();
        assert_eq!(names, ["mood", "pair", "_mood"]);
        assert_eq!(statement.columns()[1].type_().name(), "pair");
        assert!(
            matches!(statement.columns()[0].type_().kind(), tokio_postgres::types::Kind::Enum(labels) if labels.len() == 2)
        );
    });
}

#[test]
fn rows_are_copied_streamed_and_fetched_in_portions() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let login = proxy.login().database(database.name());
    run(async {
        let mut client = connect(&login).await;
        client.batch_execute("CREATE TABLE t (id int, note text)").await.unwrap();
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN BINARY").await.unwrap();
        let mut writer = Box::pin(BinaryCopyInWriter::new(sink, &[Type::INT4, Type::TEXT]));
        for id in 0..10_000i32 {
            writer.as_mut().write(&[&id, &format!("note {id}")]).await.unwrap();
        }
        assert_eq!(writer.as_mut().finish().await.unwrap(), 10_000);

        let stream = client.copy_out("COPY (SELECT * FROM t ORDER BY id) TO STDOUT BINARY").await.unwrap();
        let mut rows = Box::pin(BinaryCopyOutStream::new(stream, &[Type::INT4, Type::TEXT]));
        let mut next = 0;
        while let Some(row) = rows.next().await {
            let row = row.unwrap();
            assert_eq!((row.get::<i32>(0), row.get::<&str>(1)), (next, format!("note {next}").as_str()));
            next += 1;
        }
        assert_eq!(next, 10_000);

        // Dropped half-way, on either side.
        let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN").await.unwrap();
        drop(sink);
        let stream = client.copy_out("COPY t TO STDOUT").await.unwrap();
        let first = Box::pin(stream).next().await.unwrap().unwrap();
        assert!(first.has_remaining());
        assert_eq!(client.query_one("SELECT count(*) FROM t", &[]).await.unwrap().get::<_, i64>(0), 10_000);

        let transaction = client.transaction().await.unwrap();
        let portal = transaction.bind("SELECT id FROM t ORDER BY id", &[]).await.unwrap();
        for portion in 0..4 {
            let rows = transaction.query_portal(&portal, 3000).await.unwrap();
            assert_eq!(rows.len(), if portion < 3 { 3000 } else { 1000 });
            assert_eq!(rows[0].get::<_, i32>(0), portion * 3000);
        }
        transaction.commit().await.unwrap();
    });
}

#[test]
fn a_cancel_token_cancels_and_the_connection_goes_on() {
    let database = shared().database();
    let proxy = pooled(2).set("shards.count", 4).start();
    let login = proxy.login().database(database.name());
    let asleep = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event = 'PgSleep'",
        database.name()
    );
    run(async {
        for _ in 0..3 {
            let client = connect(&login).await;
            let (token, asleep) = (client.cancel_token(), asleep.clone());
            let canceller = std::thread::spawn(move || {
                let sleeps = || (0..3).any(|node| shared().value(node, &asleep) != "0");
                eventually(sleeps, "it sleeps");
                run(async { token.cancel_query(NoTls).await.unwrap() });
            });
            let slept = client.query("SELECT pg_sleep(60)", &[]).await;
            assert_eq!(slept.unwrap_err().code(), Some(&SqlState::QUERY_CANCELED));
            assert_eq!(client.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
            canceller.join().unwrap();
        }
    });
}

#[test]
fn errors_notices_and_notifications_arrive_as_they_are() {
    let database = shared().database();
    let proxy = pooled(2).start();
    let login = proxy.login().database(database.name());
    run(async {
        let client = connect(&login).await;
        client.batch_execute("CREATE TABLE t (v int CONSTRAINT positive CHECK (v > 0))").await.unwrap();
        let error = client.execute("INSERT INTO t VALUES ($1)", &[&-1i32]).await.unwrap_err();
        let error = error.as_db_error().unwrap();
        assert_eq!(error.code(), &SqlState::CHECK_VIOLATION);
        assert_eq!((error.table(), error.constraint()), (Some("t"), Some("positive")));
        assert_eq!(
            client.query("SELECT wrong", &[]).await.unwrap_err().code(),
            Some(&SqlState::UNDEFINED_COLUMN)
        );
        // Statements that are dropped are closed behind one's back, in the midst of others.
        for number in 0..50 {
            let statement = client.prepare(&format!("SELECT {number}")).await.unwrap();
            assert_eq!(client.query_one(&statement, &[]).await.unwrap().get::<_, i32>(0), number);
        }
        let rows = client.simple_query("SELECT 1; SELECT 2").await.unwrap();
        assert!(rows.len() >= 4);
    });
}

type Value<'a> = &'a (dyn ToSql + Sync);

/// Runs what must come to an end within a time that only a failure uses up.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("it comes to an end");
    });
}

async fn connect(login: &Login) -> Client {
    let (client, connection) = tokio_postgres::connect(&login.conninfo(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}
