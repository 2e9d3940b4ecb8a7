use super::*;
use proptest::prelude::*;

fn hba(text: &str) -> Hba {
    match Hba::parse(text, "pool_hba.conf") {
        Ok(hba) => hba,
        Err(errors) => panic!("{errors:?}"),
    }
}

fn tcp(address: &str) -> Peer {
    Peer::Tcp(address.parse().unwrap())
}

#[test]
fn the_first_line_that_fits_decides() {
    let hba = hba("# TYPE DATABASE USER ADDRESS METHOD\n\
         local   all         postgres                          trust\n\
         local   all         all                               md5\n\
         host    all         mallory      all                  reject\n\
         host    sameuser    all          10.0.0.0/8           scram-sha-256\n\
         host    app,\"all\"   web, batch   192.168.1.0/24       md5\n\
         host    all         all          172.16.0.0 255.255.0.0  password\n\
         hostssl all         all          2001:db8::/32        scram-sha-256\n\
         hostnossl all       all          2001:db8::/32        reject\n\
         host    replication all          0.0.0.0/0            trust\n\
         host    all         all          ::1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff trust\n");
    for (peer, tls, database, user, expected) in [
        (Peer::Local, false, "any", "postgres", Some(Method::Trust)),
        (Peer::Local, false, "any", "web", Some(Method::Md5)),
        (tcp("10.1.2.3"), false, "bob", "mallory", Some(Method::Reject)),
        (tcp("10.1.2.3"), false, "bob", "bob", Some(Method::ScramSha256)),
        (tcp("10.1.2.3"), false, "bob", "eve", None),
        (tcp("11.0.0.1"), false, "bob", "bob", None),
        (tcp("::ffff:10.1.2.3"), false, "bob", "bob", Some(Method::ScramSha256)),
        (tcp("192.168.1.255"), false, "app", "web", Some(Method::Md5)),
        (tcp("192.168.1.0"), false, "app", "batch", Some(Method::Md5)),
        (tcp("192.168.1.1"), false, "all", "web", Some(Method::Md5)),
        (tcp("192.168.1.1"), false, "other", "web", None),
        (tcp("192.168.1.1"), false, "app", "all", None),
        (tcp("192.168.2.1"), false, "app", "web", None),
        (tcp("172.16.200.1"), false, "x", "y", Some(Method::Password)),
        (tcp("172.17.0.1"), false, "x", "y", None),
        (tcp("2001:db8:1::1"), true, "x", "y", Some(Method::ScramSha256)),
        (tcp("2001:db8:1::1"), false, "x", "y", Some(Method::Reject)),
        (tcp("2001:db9::1"), true, "x", "y", None),
        (tcp("8.8.8.8"), false, "replication", "y", None),
        (tcp("::1"), false, "x", "y", Some(Method::Trust)),
        (tcp("127.0.0.1"), false, "x", "y", None),
    ] {
        assert_eq!(
            hba.method(peer, tls, Target::Database(database), user),
            expected,
            "{peer} {tls} {database} {user}"
        );
    }
}

#[test]
fn physical_replication_fits_its_own_word_only() {
    let hba = hba("host all         all        10.0.0.0/8 md5\n\
                   host replication replicator 10.0.0.0/8 trust\n\
                   host \"replication\" all    10.0.0.0/8 reject\n");
    let replication = |user| hba.method(tcp("10.0.0.1"), false, Target::Replication, user);
    assert_eq!(replication("replicator"), Some(Method::Trust));
    assert_eq!(replication("other"), None);
    let logical = hba.method(tcp("10.0.0.1"), false, Target::Database("app"), "replicator");
    assert_eq!(logical, Some(Method::Md5));
}

#[test]
fn the_line_of_many_guides() {
    let hba = hba("host    all    all    0.0.0.0/0    md5\n");
    assert_eq!(
        hba.method(tcp("203.0.113.9"), false, Target::Database("postgres"), "pgpool"),
        Some(Method::Md5)
    );
    assert_eq!(hba.method(tcp("::1"), false, Target::Database("postgres"), "pgpool"), None);
    assert_eq!(hba.method(Peer::Local, false, Target::Database("postgres"), "pgpool"), None);
}

#[test]
fn odd_but_valid() {
    let hba = hba("hostnogssenc all all 0.0.0.0 0.0.0.0 trust\n\
                   host \"repl\" \"+x\",\"@y\",\"/z\" ::/0 trust\n\
                   host \"sameuser\" all 1.2.3.4/32 md5");
    assert_eq!(hba.method(tcp("9.9.9.9"), true, Target::Database("a"), "b"), Some(Method::Trust));
    assert_eq!(hba.method(tcp("::2"), true, Target::Database("repl"), "@y"), Some(Method::Trust));
    assert_eq!(hba.method(tcp("::2"), true, Target::Database("repl"), "y"), None);
    // Host bits right of the mask are ignored, as PostgreSQL does.
    let sloppy = super::Hba::parse("host all all 10.9.9.9/8 md5", "f").unwrap();
    assert_eq!(sloppy.method(tcp("10.1.1.1"), false, Target::Database("a"), "b"), Some(Method::Md5));
    assert_eq!(super::Hba::parse("", "f"), Ok(Hba::default()));
}

#[test]
fn every_wrong_line_says_what_to_write() {
    for (line, part) in [
        ("local", "ends before the database"),
        ("local all", "ends before the user"),
        ("local all all", "ends before the method"),
        ("host all all", "ends before the address"),
        ("host all all 10.0.0.1", "ends before the mask"),
        ("host all all 10.0.0.1 md5", "\"md5\" is not a mask for 10.0.0.1: write 10.0.0.1/32"),
        ("host all all ::1 md5", "write ::1/128"),
        ("host all all 10.0.0.0/33 md5", "from 0 to 32"),
        ("host all all 10.0.0.0/+8 md5", "from 0 to 32"),
        ("host all all 10.0.0.0/ md5", "from 0 to 32"),
        ("host all all ::/129 md5", "from 0 to 128"),
        ("host all all 10.0.0 255.0.0.0 md5", "is not an address"),
        ("host all all db.example.com md5", "is a host name"),
        ("host all all .example.com md5", "is a host name"),
        ("host all all samehost md5", "127.0.0.1/32"),
        ("host all all samenet md5", "or the network"),
        ("host all all 10.0.0.0/8,11.0.0.0/8 md5", "one address per line"),
        ("host samerole all all md5", "list the databases"),
        ("host samegroup all all md5", "list the databases"),
        ("host @dbs all all md5", "write the databases of that file"),
        ("host all @users all md5", "write the users of that file"),
        ("host all +admins all md5", "list the users"),
        ("host /^a all all md5", "no regular expressions"),
        ("host \"\" all all md5", "an empty name"),
        ("hostgssenc all all all md5", "GSSAPI"),
        ("hosts all all all md5", "unknown connection type \"hosts\""),
        ("include other.conf", "put the lines of that file here"),
        ("local all all peer", "\"peer\" is not supported: use scram-sha-256"),
        ("host all all all pam pamservice=x", "\"pam\" is not supported"),
        ("host all all all ldap", "\"ldap\" is not supported"),
        ("hostssl all all all cert", "\"cert\" is not supported"),
        ("local all all crypt", "gone from PostgreSQL"),
        ("local all all md6", "unknown method \"md6\""),
        ("hostssl all all all md5 clientcert=verify-full", "option \"clientcert=verify-full\""),
        ("host \"open all all md5", "no closing quote"),
    ] {
        let errors = Hba::parse(line, "f").expect_err(line);
        assert_eq!(errors.len(), 1, "{line}");
        assert!(errors[0].message.contains(part), "{line}: {}", errors[0].message);
    }
}

#[test]
fn all_errors_at_once_with_file_and_line() {
    let errors =
        Hba::parse("local all all peer\n\nlocal all all trust\nhost all \\\n all\n", "etc/pool_hba.conf")
            .expect_err("two wrong lines");
    let shown: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 2);
    assert!(shown[0].starts_with("etc/pool_hba.conf:1: method \"peer\""), "{}", shown[0]);
    assert!(shown[1].starts_with("etc/pool_hba.conf:4: the line ends before the address"), "{}", shown[1]);
}

proptest! {
    #[test]
    fn any_text_is_a_file_or_says_why(text in "((local|host|all|md5|trust|10\\.0\\.0\\.0/8|::1|[ ,\"#@+/\\\\\n\t])[ ]?){0,30}") {
        match Hba::parse(&text, "f") {
            Ok(hba) => { hba.method(tcp("10.0.0.1"), false, Target::Database("a"), "b"); }
            Err(errors) => prop_assert!(!errors.is_empty()),
        }
    }

    #[test]
    fn masks_agree_with_comparing_the_first_bits(network: u32, address: u32, bits in 0u32..=32) {
        let line = format!("host all all {}/{bits} trust", std::net::Ipv4Addr::from_bits(network));
        let fits = hba(&line).method(Peer::Tcp(std::net::Ipv4Addr::from_bits(address).into()), false, Target::Database("a"), "b").is_some();
        let naive = format!("{network:032b}")[..bits as usize] == format!("{address:032b}")[..bits as usize];
        prop_assert_eq!(fits, naive);
    }
}
