//! What is logged.

use super::lexer::Setting;
use super::{Outcome, Reader, value};
use crate::config::LogLevel;

pub(super) fn log_connections(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    reader.draft.config.log.connections |= value::boolean(&setting.value)?;
    Ok(Outcome::sets("[log] connections"))
}

/// Pgweir has one switch for coming and going, so either setting turns it on.
pub(super) fn log_disconnections(
    reader: &mut Reader,
    setting: &Setting,
    number: Option<u32>,
) -> Result<Outcome, String> {
    log_connections(reader, setting, number)
}

/// The older debug_level is a number: 0 is quiet.
pub(super) fn log_min_messages(
    reader: &mut Reader,
    setting: &Setting,
    _: Option<u32>,
) -> Result<Outcome, String> {
    let level = match setting.value.to_ascii_lowercase().as_str() {
        "debug5" | "debug4" | "debug3" => LogLevel::Trace,
        "debug2" | "debug1" | "debug" => LogLevel::Debug,
        // Pgpool-II's "warning" still logs its LOG lines, which is what pgweir calls info.
        "info" | "notice" | "warning" => LogLevel::Info,
        "error" | "log" => LogLevel::Warn,
        "fatal" | "panic" => LogLevel::Error,
        _ if setting.name == "debug_level" => match value::integer(&setting.value, 0..=100)? {
            0 => LogLevel::Info,
            _ => LogLevel::Debug,
        },
        other => {
            return Err(format!(
                "'{other}' is none of debug5 to debug1, info, notice, warning, error, log, \
                 fatal, panic"
            ));
        }
    };
    reader.draft.config.log.level = level;
    Ok(Outcome::sets("[log] level"))
}
