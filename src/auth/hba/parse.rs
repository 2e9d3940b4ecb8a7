//! From the fields of a line to a rule, or to a sentence that says what to write instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tokens::Token;
use super::{Address, DatabaseName, Rule, Transport, UserName};
use crate::auth::Method;

pub(super) fn rule(fields: &[Vec<Token>]) -> Result<Rule, String> {
    let mut fields = fields.iter();
    let transport = transport(single(fields.next(), "connection type")?)?;

    let databases = fields.next().ok_or("the line ends before the database")?;
    let databases = databases.iter().map(database).collect::<Result<_, _>>()?;
    let users = fields.next().ok_or("the line ends before the user")?;
    let users = users.iter().map(user).collect::<Result<_, _>>()?;

    let address = match transport {
        Transport::Local => Address::All,
        Transport::Host | Transport::HostNoSsl | Transport::HostSsl => {
            let text = single(fields.next(), "address")?;
            match address(text)? {
                Parsed::Whole(address) => address,
                Parsed::NeedsMask(address) => with_mask(address, single(fields.next(), "mask")?)?,
            }
        }
    };

    let method = method(single(fields.next(), "method")?)?;
    if let Some(option) = fields.next().and_then(|tokens| tokens.first()) {
        return Err(format!(
            "option \"{}\" is not supported: no method of pgweir takes options, so remove it if the line may do without",
            option.text
        ));
    }
    Ok(Rule { transport, databases, users, address, method })
}

fn single<'a>(field: Option<&'a Vec<Token>>, what: &str) -> Result<&'a Token, String> {
    match field.map(Vec::as_slice) {
        None => Err(format!("the line ends before the {what}")),
        Some([token]) => Ok(token),
        Some(_) => Err(format!("a list is not possible here: one {what} per line")),
    }
}

fn transport(token: &Token) -> Result<Transport, String> {
    match token.text.as_str() {
        "local" => Ok(Transport::Local),
        // Without GSSAPI every connection is one without GSSAPI encryption.
        "host" | "hostnogssenc" => Ok(Transport::Host),
        "hostssl" => Ok(Transport::HostSsl),
        "hostnossl" => Ok(Transport::HostNoSsl),
        "hostgssenc" => {
            Err("hostgssenc can never match, since pgweir does not speak GSSAPI: remove the line".to_owned())
        }
        "include" | "include_if_exists" | "include_dir" => {
            Err(format!("\"{}\" is not supported: put the lines of that file here", token.text))
        }
        other => Err(format!(
            "unknown connection type \"{other}\": one of local, host, hostssl, hostnossl, hostnogssenc"
        )),
    }
}

fn database(token: &Token) -> Result<DatabaseName, String> {
    let text = token.text.as_str();
    if token.is_keyword("all") {
        return Ok(DatabaseName::All);
    }
    if token.is_keyword("sameuser") {
        return Ok(DatabaseName::SameUser);
    }
    if token.is_keyword("replication") {
        return Ok(DatabaseName::Replication);
    }
    if token.is_keyword("samerole") || token.is_keyword("samegroup") {
        return Err(format!(
            "\"{text}\" is not supported, since pgweir does not know who belongs to which role: list the databases"
        ));
    }
    name(token, "databases").map(DatabaseName::Named)
}

fn user(token: &Token) -> Result<UserName, String> {
    if token.is_keyword("all") {
        return Ok(UserName::All);
    }
    if !token.quoted && token.text.starts_with('+') {
        return Err(format!(
            "\"{}\" is not supported, since pgweir does not know who belongs to which role: list the users, or put the \
             name in quotes if it really starts with +",
            token.text
        ));
    }
    name(token, "users").map(UserName::Named)
}

/// A name as it is, unless its first character makes it something else.
fn name(token: &Token, what: &str) -> Result<String, String> {
    let text = &token.text;
    if !token.quoted && text.starts_with('@') {
        return Err(format!(
            "\"{text}\" is not supported: write the {what} of that file here, or put the name in quotes if it really \
             starts with @"
        ));
    }
    if !token.quoted && text.starts_with('/') {
        return Err(format!(
            "\"{text}\" is not supported: pgweir takes no regular expressions here, so list the {what}, or put the name \
             in quotes if it really starts with /"
        ));
    }
    if text.is_empty() {
        return Err(format!("an empty name: the {what} are written out, or \"all\" without quotes"));
    }
    Ok(text.clone())
}

enum Parsed {
    Whole(Address),
    NeedsMask(IpAddr),
}

fn address(token: &Token) -> Result<Parsed, String> {
    if token.is_keyword("all") {
        return Ok(Parsed::Whole(Address::All));
    }
    let text = token.text.as_str();
    if token.is_keyword("samehost") || token.is_keyword("samenet") {
        return Err(format!(
            "\"{text}\" is not supported: write the addresses, such as 127.0.0.1/32 and ::1/128, or the network"
        ));
    }
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        let shown = if looks_numeric(address) {
            "is not an address"
        } else {
            "is a host name, which is not supported"
        };
        return Err(format!(
            "\"{text}\" {shown}: write an address with its mask length, such as 192.0.2.7/32"
        ));
    };
    let Some(bits) = bits else {
        return Ok(Parsed::NeedsMask(address));
    };
    let width = if address.is_ipv4() { 32 } else { 128 };
    let digits = !bits.is_empty() && bits.len() <= 3 && bits.bytes().all(|byte| byte.is_ascii_digit());
    let bits: u32 = match bits.parse() {
        Ok(bits) if digits && bits <= width => bits,
        _ => {
            return Err(format!("the mask length of \"{text}\" is not a number from 0 to {width}"));
        }
    };
    Ok(Parsed::Whole(match address {
        IpAddr::V4(address) => {
            Address::V4 { network: address.to_bits(), mask: u32::MAX.checked_shl(32 - bits).unwrap_or(0) }
        }
        IpAddr::V6(address) => {
            Address::V6 { network: address.to_bits(), mask: u128::MAX.checked_shl(128 - bits).unwrap_or(0) }
        }
    }))
}

fn with_mask(address: IpAddr, mask: &Token) -> Result<Address, String> {
    match address {
        IpAddr::V4(address) => mask
            .text
            .parse::<Ipv4Addr>()
            .map(|mask| Address::V4 { network: address.to_bits(), mask: mask.to_bits() })
            .ok(),
        IpAddr::V6(address) => mask
            .text
            .parse::<Ipv6Addr>()
            .map(|mask| Address::V6 { network: address.to_bits(), mask: mask.to_bits() })
            .ok(),
    }
    .ok_or_else(|| {
        format!(
            "\"{}\" is not a mask for {address}: write {address}/{} for this one address, or the mask behind it",
            mask.text,
            if address.is_ipv4() { 32 } else { 128 }
        )
    })
}

/// Whether somebody meant an address, in a text that is none.
fn looks_numeric(text: &str) -> bool {
    text.contains(':') || text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn method(token: &Token) -> Result<Method, String> {
    let text = token.text.as_str();
    if let Some(method) = Method::from_name(text) {
        return Ok(method);
    }
    Err(match text {
        "bsd" | "cert" | "gss" | "ident" | "ldap" | "oauth" | "pam" | "peer" | "radius" | "sspi" => {
            format!("method \"{text}\" is not supported: use scram-sha-256 with a user list, or password")
        }
        "crypt" | "krb5" => {
            format!("method \"{text}\" is gone from PostgreSQL as well: use scram-sha-256")
        }
        _ => {
            format!("unknown method \"{text}\": one of trust, reject, password, md5, scram-sha-256")
        }
    })
}
