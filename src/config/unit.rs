//! Durations and sizes with their units, as PostgreSQL writes them: `500ms`, `10min`, `64kB`.
//!
//! PostgreSQL manual, section 20.1.1: units are case-sensitive, kB is 1024 bytes.

use std::time::Duration;

/// Reads `500ms`; `0` needs no unit.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number = whole(number, text, "a duration such as \"500ms\"")?;
    if unit.is_empty() && number == 0 {
        return Ok(Duration::ZERO);
    }
    let micros = factor(unit, DURATION_UNITS)
        .ok_or_else(|| bad_unit(text, unit, DURATION_UNITS))?
        .checked_mul(number)
        .ok_or_else(|| format!("{text:?} is too long"))?;
    Ok(Duration::from_micros(micros))
}

/// Reads `64kB`; `0` needs no unit.
pub(super) fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text);
    let number = whole(number, text, "a size such as \"64kB\"")?;
    if unit.is_empty() && number == 0 {
        return Ok(0);
    }
    factor(unit, BYTE_UNITS)
        .ok_or_else(|| bad_unit(text, unit, BYTE_UNITS))?
        .checked_mul(number)
        .ok_or_else(|| format!("{text:?} is too large"))
}

/// Prints with the largest unit that leaves a whole number. Whole microseconds only: nothing
/// finer can be written.
pub(super) fn print_duration(duration: Duration) -> String {
    print(duration.as_micros().try_into().unwrap_or(u64::MAX), DURATION_UNITS)
}

/// Prints with the largest unit that leaves a whole number.
pub(super) fn print_bytes(bytes: u64) -> String {
    print(bytes, BYTE_UNITS)
}

/// How many microseconds a time unit has, how many bytes a size unit.
pub(super) fn factor(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn whole(number: &str, text: &str, wanted: &str) -> Result<u64, String> {
    if number.is_empty() {
        return Err(format!("{text:?} is not {wanted}: a whole number and a unit"));
    }
    number.parse().map_err(|_| format!("{text:?} is too large"))
}

fn bad_unit(text: &str, unit: &str, units: &[(&str, u64)]) -> String {
    let names: Vec<&str> = units.iter().rev().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    if unit.is_empty() {
        format!("{text:?} lacks its unit: one of {names}")
    } else {
        format!("{text:?} has the unit {unit:?}, which is none of {names}")
    }
}

fn print(value: u64, units: &[(&str, u64)]) -> String {
    for (name, factor) in units {
        if value != 0 && value.is_multiple_of(*factor) {
            return format!("{}{name}", value / factor);
        }
    }
    "0".to_string()
}

/// In microseconds, largest first.
pub(super) const DURATION_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("min", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// In bytes, largest first.
pub(super) const BYTE_UNITS: &[(&str, u64)] =
    &[("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_have_postgresql_units() {
        for (text, micros) in [
            ("0", 0),
            ("7us", 7),
            ("500ms", 500_000),
            ("30 s", 30_000_000),
            ("10min", 600_000_000),
            ("1h", 3_600_000_000),
            ("2d", 172_800_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)));
        }
    }

    #[test]
    fn a_wrong_duration_says_what_is_wrong() {
        for (text, wrong) in [
            ("30", "lacks its unit: one of us, ms, s, min, h, d"),
            ("30m", "has the unit \"m\", which is none of us, ms"),
            ("1.5s", "has the unit \".5s\""),
            ("-1s", "a whole number and a unit"),
            ("", "a whole number and a unit"),
            ("99999999999999999999s", "is too large"),
            ("999999999999999d", "is too long"),
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn sizes_have_postgresql_units() {
        assert_eq!(parse_bytes("10MB"), Ok(10 << 20));
        assert_eq!(parse_bytes("1TB"), Ok(1 << 40));
        assert_eq!(parse_bytes("0"), Ok(0));
        assert!(parse_bytes("10mb").unwrap_err().contains("B, kB, MB"));
        assert!(parse_bytes("99999999TB").unwrap_err().contains("too large"));
    }

    #[test]
    fn the_largest_unit_is_printed() {
        assert_eq!(print_duration(Duration::from_secs(90)), "90s");
        assert_eq!(print_duration(Duration::from_secs(3600)), "1h");
        assert_eq!(print_duration(Duration::ZERO), "0");
        assert_eq!(print_bytes(10 << 20), "10MB");
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(micros in 0..u64::from(u32::MAX) * 1000) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
            prop_assert_eq!(parse_bytes(&print_bytes(micros)), Ok(micros));
        }

        #[test]
        fn nothing_panics(text in ".*") {
            let _ = parse_duration(&text);
            let _ = parse_bytes(&text);
        }
    }
}
