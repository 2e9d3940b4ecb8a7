//! `primary_conninfo`: where a replica streams from and how it logs in there (manual, "Connection Strings"). Pointing it
//! at another server keeps everything else in it.

/// The same connection to another server. `text` may be empty: then only the place is in the result.
///
/// # Errors
///
/// What is wrong with `text`, in which case nobody knows what it says.
pub(super) fn pointed_at(text: &str, host: &str, port: u16) -> Result<String, String> {
    let kept = pairs(text)?.into_iter().filter(|(key, _)| !PLACE.contains(&key.as_str()));
    let place = [("host".to_owned(), host.to_owned()), ("port".to_owned(), port.to_string())];
    let settings = place.into_iter().chain(kept);
    let settings: Vec<String> = settings.map(|(key, value)| format!("{key}={}", quoted(&value))).collect();
    Ok(settings.join(" "))
}

/// The settings of a connection string, of either form.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    match text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")) {
        Some(rest) => uri(rest),
        None => words(text),
    }
}

/// `key = 'value' key=value`; a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or_else(|| format!("\"=\" is missing after {rest:?}"))?;
        let (value, after) = value(after.trim_start())?;
        pairs.push((key.trim_end().to_owned(), value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

fn value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            letter if letter.is_whitespace() && !quoted => return Ok((value, &text[at..])),
            letter => value.push(letter),
        }
    }
    match quoted {
        true => Err("a quote is not closed".to_owned()),
        false => Ok((value, "")),
    }
}

/// What follows `postgresql://`: `[user[:password]@][hosts][/dbname][?key=value[&…]]`.
fn uri(text: &str) -> Result<Vec<(String, String)>, String> {
    let (text, parameters) = text.split_once('?').unwrap_or((text, ""));
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    let login = authority.rsplit_once('@').map_or("", |(login, _)| login);
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let named = [("user", user), ("password", password), ("dbname", database)];
    let named = named.into_iter().filter(|(_, value)| !value.is_empty()).map(Ok);
    let parameters = parameters.split('&').filter(|parameter| !parameter.is_empty());
    let parameters =
        parameters.map(|pair| pair.split_once('=').ok_or_else(|| format!("\"=\" is missing in {pair:?}")));
    named
        .chain(parameters)
        .map(|pair| pair.and_then(|(key, value)| Ok((decoded(key)?, decoded(value)?))))
        .collect()
}

/// Without percent-encoding.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not percent-encoded");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or_else(wrong)?;
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,*%".contains(c);
    match !value.is_empty() && value.chars().all(plain) {
        true => value.to_owned(),
        false => format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'")),
    }
}

/// What says where the server is.
const PLACE: [&str; 3] = ["host", "hostaddr", "port"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn everything_but_the_place_stays() {
        for (text, pointed) in [
            ("", "host=bob port=5433"),
            ("host=ann port=5432 user=rep", "host=bob port=5433 user=rep"),
            (
                "user='a b' password = 'it\\'s \\\\' hostaddr=1.2.3.4 application_name=n1",
                "host=bob port=5433 user='a b' password='it\\'s \\\\' application_name=n1",
            ),
            ("host=ann,carl port=1,2 sslmode=prefer", "host=bob port=5433 sslmode=prefer"),
            ("user=a\\ b", "host=bob port=5433 user='a b'"),
            ("passfile=''", "host=bob port=5433 passfile=''"),
            (
                "postgresql://rep:p%40ss@ann:1/db?application_name=n1&host=x",
                "host=bob port=5433 user=rep password=p@ss dbname=db application_name=n1",
            ),
            ("postgres://ann", "host=bob port=5433"),
        ] {
            assert_eq!(pointed_at(text, "bob", 5433).as_deref(), Ok(pointed), "{text}");
        }
        for wrong in ["user", "user='a", "postgresql://ann?a", "postgresql://ann?a=%zz"] {
            assert!(pointed_at(wrong, "bob", 5433).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn values_survive_whatever_is_in_them(values in proptest::collection::vec("(?s)[^\\x00]{0,8}", 0..4)) {
            let pairs = values.iter().enumerate().map(|(index, value)| format!("k{index}={}", quoted(value)));
            let text = pairs.collect::<Vec<_>>().join(" ");
            let read = words(&pointed_at(&text, "/run/pg sql", 1).expect("it is well formed")).expect("so is this");
            prop_assert_eq!(&read[0], &("host".to_owned(), "/run/pg sql".to_owned()));
            let kept: Vec<String> = read.into_iter().skip(2).map(|(_, value)| value).collect();
            prop_assert_eq!(kept, values);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,60}") {
            let _ = pointed_at(&text, "bob", 1);
        }
    }
}
