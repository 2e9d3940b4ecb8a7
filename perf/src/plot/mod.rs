//! Drawings as SVG: lines over axes, nothing more.

mod chart;
mod latency;

pub use chart::{Axis, Line, chart};
pub use latency::latency_line;
