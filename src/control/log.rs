//! The log: lines on standard error, as much of it as the configuration says.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::LogLevel;

/// Logs to standard error from now on. The environment's `RUST_LOG` wins over `level`, and over every later one.
/// Only the first call counts.
pub fn log_to_stderr(level: LogLevel) {
    if let Ok(filter) = EnvFilter::try_from_default_env() {
        let _ = tracing_subscriber::registry().with(filter).with(lines()).try_init();
        return;
    }
    let (filter, handle) = reload::Layer::new(filter(level));
    if tracing_subscriber::registry().with(filter).with(lines()).try_init().is_ok() {
        let _ = LEVEL.set(handle);
    }
}

/// The configuration was read again.
pub(super) fn set_level(level: LogLevel) {
    if let Some(handle) = LEVEL.get() {
        let _ = handle.reload(filter(level));
    }
}

fn lines<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal()).with_target(false)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Set when the level can be changed.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();
