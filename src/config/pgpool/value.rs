//! The value of one setting of a pgpool.conf, as its type reads it.
//!
//! Each error is the second half of a sentence whose first half is `file:line: key:`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::unit;

/// pgpool-II's booleans: any unambiguous beginning of true, false, yes, no, on, off, in any case;
/// 1 and 0.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    let lower = text.to_ascii_lowercase();
    let starts = |word: &str, least: usize| lower.len() >= least && word.starts_with(&lower);
    if starts("true", 1) || starts("yes", 1) || starts("on", 2) || lower == "1" {
        Ok(true)
    } else if starts("false", 1) || starts("no", 1) || starts("off", 2) || lower == "0" {
        Ok(false)
    } else {
        Err(format!("'{text}' is neither on nor off"))
    }
}

/// A whole number without a unit, inside `range`. As in C, 0x starts a hexadecimal number and a
/// leading 0 an octal one.
pub(super) fn integer(text: &str, range: RangeInclusive<i64>) -> Result<i64, String> {
    let (number, unit) = split(text).ok_or_else(|| format!("'{text}' is no whole number"))?;
    if !unit.is_empty() {
        return Err(format!("'{text}' has a unit, but this is a plain number"));
    }
    within(number, range)
}

/// A duration, where a bare number counts `base`. Pgpool-II's units are those of PostgreSQL.
pub(super) fn duration(text: &str, base: &str, range: RangeInclusive<Duration>) -> Result<Duration, String> {
    let micros = with_unit(text, base, unit::DURATION_UNITS, "duration")?;
    let duration = Duration::from_micros(micros);
    if range.contains(&duration) || duration.is_zero() {
        return Ok(duration);
    }
    Err(format!(
        "'{text}' is out of range: write {} to {}, or 0",
        unit::print_duration(*range.start()),
        unit::print_duration(*range.end())
    ))
}

/// A number of bytes up to `max`; a bare number counts bytes.
pub(super) fn bytes(text: &str, max: u64) -> Result<u64, String> {
    let bytes = with_unit(text, "B", unit::BYTE_UNITS, "size")?;
    if bytes <= max {
        return Ok(bytes);
    }
    let max = unit::print_bytes(max);
    Err(format!("'{text}' is out of range: write 0 to {max}"))
}

/// A number, whole or not, inside `range`.
pub(super) fn float(text: &str, range: RangeInclusive<f64>) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        // Adding 0.0 makes -0.0 the ordinary zero.
        Ok(number) if range.contains(&number) => Ok(number + 0.0),
        Ok(_) => Err(format!("'{text}' is out of range: write {} to {}", range.start(), range.end())),
        Err(_) => Err(format!("'{text}' is no number")),
    }
}

/// The entries of a list with commas, blanks around them dropped.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_string).collect()
}

fn with_unit(text: &str, base: &str, units: &[(&str, u64)], what: &str) -> Result<u64, String> {
    let (number, unit) = split(text).ok_or_else(|| format!("'{text}' is no {what}"))?;
    let unit = if unit.is_empty() { base } else { unit };
    let factor = unit::factor(unit, units).ok_or_else(|| {
        let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
        format!("'{text}' has a unit that is none of {}", names.join(", "))
    })?;
    let number = u64::try_from(number).map_err(|_| format!("'{text}' is negative"))?;
    number.checked_mul(factor).ok_or_else(|| format!("'{text}' is too large"))
}

/// The number at the start and the unit behind it.
fn split(text: &str) -> Option<(i64, &str)> {
    let text = text.trim();
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let (digits, radix) = match hex {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (digits, 8),
        None => (digits, 10),
    };
    let end = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let (digits, unit) = digits.split_at(end);
    let number = i64::from_str_radix(digits, radix).ok()?;
    let unit = unit.trim_start();
    if !unit.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return None;
    }
    Some((if negative { -number } else { number }, unit))
}

fn within(number: i64, range: RangeInclusive<i64>) -> Result<i64, String> {
    if range.contains(&number) {
        return Ok(number);
    }
    let (start, end) = (range.start(), range.end());
    Err(format!("{number} is out of range: write {start} to {end}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn booleans_may_be_shortened() {
        for text in ["on", "ON", "true", "t", "tr", "yes", "y", "1"] {
            assert_eq!(boolean(text), Ok(true), "{text}");
        }
        for text in ["off", "of", "false", "f", "no", "n", "0", "False"] {
            assert_eq!(boolean(text), Ok(false), "{text}");
        }
        for text in ["", "o", "2", "onn", "enabled"] {
            assert!(boolean(text).is_err(), "{text}");
        }
    }

    #[test]
    fn integers_are_read_as_in_c() {
        assert_eq!(integer("9999", 1..=65535), Ok(9999));
        assert_eq!(integer("0x270f", 1..=65535), Ok(9999));
        assert_eq!(integer("0777", 0..=511), Ok(0o777));
        assert_eq!(integer("-1", -1..=5), Ok(-1));
        for text in ["", "x", "1.5", "10s", "70000", "0999", "99999999999999999999"] {
            assert!(integer(text, 1..=65535).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_and_sizes_count_in_the_unit_of_the_setting() {
        let range = Duration::from_millis(1)..=Duration::from_secs(86400);
        let seconds = |text: &str| duration(text, "s", range.clone());
        assert_eq!(seconds("10"), Ok(Duration::from_secs(10)));
        assert_eq!(seconds("10 min"), Ok(Duration::from_secs(600)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(duration("10000", "ms", range.clone()), Ok(Duration::from_secs(10)));
        for text in ["-1", "10m", "1.5s", "2d", "x"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(bytes("1024", 1 << 30), Ok(1024));
        assert_eq!(bytes("10MB", 1 << 30), Ok(10 << 20));
        assert!(bytes("10mb", 1 << 30).is_err());
        assert!(bytes("2GB", 1 << 30).is_err());
    }

    #[test]
    fn weights_are_not_negative() {
        assert_eq!(float("0.5", 0.0..=1.0), Ok(0.5));
        for text in ["-1", "nan", "inf", "x", ""] {
            assert!(float(text, 0.0..=1.0).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in ".{0,30}") {
            let _ = (boolean(&text), integer(&text, 0..=9), bytes(&text, 9), float(&text, 0.0..=1.0));
            let _ = duration(&text, "s", Duration::ZERO..=Duration::MAX);
        }
    }
}
