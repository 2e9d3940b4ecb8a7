//! A `pool_hba.conf`, and who it lets in.

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use pgweir::auth::hba::{Hba, Peer, Target};

fuzz_target!(|text: &str| {
    let lines = text.lines().count();
    match Hba::parse(text, "pool_hba.conf") {
        Ok(hba) => {
            for peer in [
                Peer::Local,
                Peer::Tcp(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                Peer::Tcp(IpAddr::V4(Ipv4Addr::BROADCAST)),
                Peer::Tcp(IpAddr::V6(Ipv6Addr::LOCALHOST)),
                Peer::Tcp(IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped())),
            ] {
                for (tls, database, user) in [(false, "db", "someone"), (true, "", ""), (true, "all", "+all")]
                {
                    hba.method(peer, tls, Target::Database(database), user);
                    hba.method(peer, tls, Target::Replication, user);
                }
            }
            // An IPv4 client is one, whatever family the listener has.
            let [mapped, plain] =
                [IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped()), IpAddr::V4(Ipv4Addr::LOCALHOST)]
                    .map(|address| hba.method(Peer::Tcp(address), false, Target::Database("db"), "someone"));
            assert_eq!(mapped, plain);
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(
                errors.iter().all(|error| (1..=lines).contains(&error.line) && !error.message.is_empty())
            );
        }
    }
});
