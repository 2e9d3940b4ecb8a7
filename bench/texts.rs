//! Texts of SQL as applications and their libraries write them, for the benches of more than one room.

/// Names and texts: what pgbench and sysbench send, the shapes that ORMs make, and what surrounds them.
pub const STATEMENTS: &[(&str, &str)] = &[
    ("point read", "SELECT abalance FROM pgbench_accounts WHERE aid = $1"),
    ("update", "UPDATE pgbench_accounts SET abalance = abalance + $1 WHERE aid = $2"),
    (
        "insert",
        "INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES ($1, $2, $3, $4, CURRENT_TIMESTAMP)",
    ),
    ("begin", "BEGIN"),
    ("commit", "COMMIT"),
    ("set", "SET statement_timeout = '5s'"),
    ("sysbench range", "SELECT DISTINCT c FROM sbtest1 WHERE id BETWEEN $1 AND $2 ORDER BY c"),
    ("sysbench sum", "SELECT SUM(k) FROM sbtest1 WHERE id BETWEEN 4973 AND 5072"),
    (
        "hibernate",
        "select o1_0.id,o1_0.customer_id,o1_0.placed_at,o1_0.state,c1_0.id,c1_0.email,c1_0.name from orders o1_0 \
         left join customers c1_0 on c1_0.id=o1_0.customer_id where o1_0.state=? and o1_0.placed_at>? \
         order by o1_0.placed_at desc offset ? rows fetch first ? rows only",
    ),
    (
        "django",
        r#"SELECT "shop_order"."id", "shop_order"."customer_id", "shop_order"."placed_at" FROM "shop_order" INNER JOIN "shop_customer" ON ("shop_order"."customer_id" = "shop_customer"."id") WHERE ("shop_customer"."email" = 'ann@example.org' AND "shop_order"."placed_at" >= '2026-01-01T00:00:00+00:00'::timestamptz) ORDER BY "shop_order"."placed_at" DESC LIMIT 21"#,
    ),
    (
        "rails",
        r#"SELECT "posts".* FROM "posts" WHERE "posts"."user_id" IN ($1, $2, $3, $4, $5) AND "posts"."published" = TRUE ORDER BY "posts"."created_at" DESC LIMIT $6 /*application:Blog,controller:posts,action:index*/"#,
    ),
    (
        "sqlalchemy",
        "SELECT users.id AS users_id, users.name AS users_name, addresses_1.id AS addresses_1_id, \n\
         addresses_1.email_address AS addresses_1_email_address \nFROM users LEFT OUTER JOIN addresses AS addresses_1 \
         ON users.id = addresses_1.user_id \nWHERE users.name = %(name_1)s::VARCHAR ORDER BY users.id",
    ),
    (
        "join",
        "SELECT u.id, u.name, count(o.id) AS orders, max(o.placed_at) FROM users u LEFT JOIN orders o \
         ON o.user_id = u.id AND o.state <> 'cancelled' WHERE u.email LIKE $1 GROUP BY u.id, u.name \
         HAVING count(o.id) > 3 ORDER BY orders DESC LIMIT 20",
    ),
];

/// Names and texts of about `size` bytes, each mostly of one kind of token.
pub fn long(size: usize) -> Vec<(&'static str, String)> {
    let repeated = |head: &str, item: &str, tail: &str| {
        [head, &item.repeat(size.saturating_sub(head.len() + tail.len()) / item.len()), tail].concat()
    };
    let literal = repeated("SELECT '", "x", "'");
    vec![
        ("one literal", literal),
        ("literals of 32", repeated("SELECT ''", ", 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'", "")),
        (
            "in uuids",
            repeated("SELECT * FROM t WHERE id IN (''", ", 'c56a4180-65aa-42ec-a945-5fd21dec0538'", ")"),
        ),
        ("in numbers", repeated("SELECT * FROM t WHERE id IN (1", ", 1234567", ")")),
        ("in parameters", repeated("SELECT * FROM t WHERE id IN ($1", ", $1234", ")")),
        ("identifiers", repeated("SELECT a", ", some_column_name", " FROM t")),
        ("aliases", repeated("SELECT a", ", t0_.some_column_name AS column_3", " FROM t0_")),
        ("comment", repeated("/*", " noise", "*/ SELECT 1")),
        ("rows", repeated("INSERT INTO t VALUES (1, 'a')", ", (1234567, 'some name')", "")),
    ]
}
