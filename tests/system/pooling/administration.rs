//! Statements that reach beyond their session: dropping and renaming databases, changing roles. The backends that pgweir
//! keeps are in nobody's way, and nobody new gets one that logged in before.

use super::on_primary;
use crate::harness::shared;

#[test]
fn a_database_that_only_idle_backends_hold_can_be_dropped_renamed_and_copied() {
    let [one, two] = [shared().database(), shared().database()];
    let (one, two) = (one.name(), two.name());
    let proxy = on_primary(3).set("shards.count", 2).start();
    let admin = &mut proxy.login().connect();
    let (renamed, copy) = (format!("{two}_renamed"), format!("{two}_copy"));
    let use_up = |database: &str| {
        // Several at once, so that several backends are left behind, on both shards.
        let mut clients: Vec<_> = (0..6).map(|_| proxy.client(database)).collect();
        for client in &mut clients {
            client.send_query("SELECT pg_sleep(0.02)");
        }
        clients.iter_mut().for_each(|client| drop(client.until_ready()));
    };
    use_up(one);
    admin.query(&format!("CREATE DATABASE {copy} TEMPLATE {one}"));
    use_up(one);
    admin.query(&format!("DROP DATABASE {one}"));
    // Who comes now is refused as by the server.
    let error = proxy.login().database(one).try_connect().err().expect("refused");
    assert_eq!(error.sqlstate(), "3D000", "{error:?}");
    use_up(two);
    admin.prepared(&format!("ALTER DATABASE {two} RENAME TO {renamed}"), &[]).unwrap();
    assert_eq!(proxy.client(&renamed).value("SELECT current_database()"), renamed);
    use_up(&renamed);
    use_up(&copy);
    admin.query(&format!("DROP DATABASE IF EXISTS {renamed}"));
    admin.query(&format!("DROP DATABASE {copy}"));
    // What holds it in earnest is as much in the way as without pgweir: the old name is another database's by now.
    admin.query(&format!("CREATE DATABASE {two}"));
    let mut holder = proxy.client(two);
    holder.query("BEGIN");
    let error = admin.try_query(&format!("DROP DATABASE {two}")).unwrap_err();
    assert_eq!(error.sqlstate(), "55006", "{error:?}");
    holder.query("COMMIT");
    admin.query(&format!("DROP DATABASE {two}"));
    admin.query(&format!("CREATE DATABASE {one}"));
    admin.query(&format!("CREATE DATABASE {two}"));
}

#[test]
fn changes_of_roles_and_databases_are_found_by_who_logs_in_afterwards() {
    let database = shared().database();
    let name = database.name();
    let proxy = on_primary(1).set("shards.count", 2).start();
    let login = || proxy.login().database(name).connect();
    let mut old = login();
    assert_eq!(old.value("SHOW work_mem"), "4MB");
    let mut other = login();
    other.query("BEGIN");
    other.query(&format!("ALTER DATABASE {name} SET work_mem = '7MB'"));
    other.query("COMMIT");
    // Sessions that run keep what they had, as without pgweir.
    assert_eq!(old.value("SHOW work_mem"), "4MB");
    assert_eq!(other.value("SHOW work_mem"), "4MB");
    assert_eq!(login().value("SHOW work_mem"), "7MB");
    other.query(&format!("ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'"));
    let mut new = login();
    assert_eq!(new.parameters["TimeZone"], "Asia/Tokyo");
    assert_eq!(new.value("SHOW TimeZone"), "Asia/Tokyo");
    // A login that the server refuses from now on is refused here, too.
    let mut elsewhere = proxy.login().connect();
    elsewhere.query(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"));
    let error = proxy.login().database(name).try_connect().err().expect("refused");
    assert_eq!(error.sqlstate(), "55000", "{error:?}");
    elsewhere.query(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"));
    assert_eq!(login().value("SHOW work_mem"), "7MB");
}
