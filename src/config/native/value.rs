//! One TOML value to one checked value: the right type, inside its bounds.
//!
//! Each error is the second half of a sentence whose first half is `file:line: key:`.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use crate::config::unit;

pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, String> {
    value.as_bool().ok_or_else(|| wanted(value, "true or false, without quotes"))
}

/// A whole number inside `range`.
pub(super) fn integer(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Result<u64, String> {
    let integer = value.as_integer().ok_or_else(|| wanted(value, "a whole number without quotes"))?;
    let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
    match u64::try_from(number) {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{integer} is out of range: write {} to {}", range.start(), range.end())),
    }
}

/// As [`integer`], for types smaller than `u64` whose bounds the range keeps.
pub(super) fn small<T: TryFrom<u64>>(value: &DeValue<'_>, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = integer(value, range)?;
    T::try_from(number).map_err(|_| format!("{number} is out of range"))
}

/// A number, whole or not, inside `range`.
pub(super) fn float(value: &DeValue<'_>, range: RangeInclusive<f64>) -> Result<f64, String> {
    let number = match value {
        DeValue::Float(float) => float.as_str().parse().unwrap_or(f64::NAN),
        DeValue::Integer(integer) => {
            i128::from_str_radix(integer.as_str(), integer.radix()).map_or(f64::NAN, |number| number as f64)
        }
        _ => return Err(wanted(value, "a number without quotes")),
    };
    if range.contains(&number) {
        // -0.0 is in every range that starts at 0; adding 0.0 makes it the ordinary zero.
        Ok(number + 0.0)
    } else {
        let (start, end) = (range.start(), range.end());
        Err(format!("it is out of range: write {start} to {end}"))
    }
}

/// A duration inside `range`; 0 too when `zero` says so.
pub(super) fn duration(
    value: &DeValue<'_>,
    range: RangeInclusive<Duration>,
    zero: Zero,
) -> Result<Duration, String> {
    let duration = match value {
        DeValue::Integer(integer) if integer.as_str().parse() == Ok(0u8) => Duration::ZERO,
        DeValue::Integer(integer) => {
            return Err(format!("{integer} lacks its unit: write it in quotes, such as \"{integer}s\""));
        }
        _ => unit::parse_duration(&text_or(value, "a duration in quotes, such as \"500ms\"")?)?,
    };
    if range.contains(&duration) || (zero == Zero::Allowed && duration.is_zero()) {
        return Ok(duration);
    }
    Err(format!(
        "{} is out of range: write {} to {}{}",
        unit::print_duration(duration),
        unit::print_duration(*range.start()),
        unit::print_duration(*range.end()),
        zero.hint(),
    ))
}

/// A number of bytes up to `max`; 0 is allowed.
pub(super) fn bytes(value: &DeValue<'_>, max: u64) -> Result<u64, String> {
    let bytes = match value {
        DeValue::Integer(integer) if integer.as_str().parse() == Ok(0u8) => 0,
        DeValue::Integer(integer) => {
            return Err(format!("{integer} lacks its unit: write it in quotes, such as \"{integer}B\""));
        }
        _ => unit::parse_bytes(&text_or(value, "a size in quotes, such as \"64kB\"")?)?,
    };
    if bytes <= max {
        return Ok(bytes);
    }
    Err(format!("{} is out of range: write 0 to {}", unit::print_bytes(bytes), unit::print_bytes(max)))
}

/// One word of a list.
pub(super) fn word<T: Copy>(value: &DeValue<'_>, words: &[(&str, T)]) -> Result<T, String> {
    let names: Vec<&str> = words.iter().map(|(name, _)| *name).collect();
    let text = text_or(value, &format!("a word in quotes, one of {}", names.join(", ")))?;
    match words.iter().find(|(name, _)| *name == text) {
        Some((_, word)) => Ok(*word),
        None => Err(format!("{text:?} is none of {}", names.join(", "))),
    }
}

/// A text that says something.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, String> {
    let text = text_or(value, "a text in quotes")?;
    if text.is_empty() {
        return Err("it is empty".to_string());
    }
    if text.contains('\0') {
        return Err("it holds a zero byte".to_string());
    }
    Ok(text)
}

/// A list of texts; one text alone is a list of one.
pub(super) fn texts(value: &DeValue<'_>) -> Result<Vec<String>, String> {
    let Some(array) = value.as_array() else {
        text_or(value, "a text in quotes, or a list of them in [ ]")?;
        return Ok(vec![text(value)?]);
    };
    let texts: Vec<String> = array.iter().map(|entry| text(entry.get_ref())).collect::<Result<_, _>>()?;
    match texts.iter().enumerate().find(|(i, text)| texts[..*i].contains(text)) {
        Some((_, text)) => Err(format!("{text:?} is in the list twice")),
        None => Ok(texts),
    }
}

/// Whether 0 is a value of its own beside the range.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Zero {
    Allowed,
    Refused,
}

impl Zero {
    fn hint(self) -> &'static str {
        match self {
            Zero::Allowed => ", or 0",
            Zero::Refused => "",
        }
    }
}

fn text_or(value: &DeValue<'_>, what: &str) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        _ => Err(wanted(value, what)),
    }
}

fn wanted(value: &DeValue<'_>, what: &str) -> String {
    let article = match value {
        DeValue::Array(_) | DeValue::Integer(_) => "an",
        _ => "a",
    };
    format!("it is {article} {}: write {what}", value.type_str())
}
