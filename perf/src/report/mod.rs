//! What a command measured, and how it is told: a table of medians, one of ratios, and JSON.

mod summary;
mod table;
mod written;

use std::collections::BTreeMap;

use serde::Serialize;

pub use summary::Summary;
pub use table::table;
pub use written::Report;

/// One measurement of one proxy at one piece of work.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// The piece of work, in words.
    pub case: String,
    pub proxy: String,
    /// From 1.
    pub round: u32,
    /// By the key of a [`Metric`].
    pub figures: BTreeMap<&'static str, f64>,
    /// What a reader must know to compare this one with others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Every latency, as the load wrote it down (HDR histogram, base64).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub histogram: Option<String>,
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// In [`Sample::figures`].
    pub key: &'static str,
    /// With its unit.
    pub title: &'static str,
    /// What a figure is divided by to be shown.
    pub per: f64,
    /// Digits behind the point.
    pub digits: usize,
    /// Whether it says something as a ratio to another proxy's.
    pub compared: bool,
}

impl Metric {
    pub const fn new(key: &'static str, title: &'static str, digits: usize) -> Metric {
        Metric { key, title, per: 1.0, digits, compared: true }
    }

    pub const fn per(mut self, per: f64) -> Metric {
        self.per = per;
        self
    }

    pub const fn not_compared(mut self) -> Metric {
        self.compared = false;
        self
    }
}
