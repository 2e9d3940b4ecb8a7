//! Latencies as a line: HDR histograms of several rounds, added up.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

/// The latencies of several histograms together, each as the load writes it (base64), as points of 1 / (1 - quantile)
/// and microseconds.
///
/// # Errors
/// When one of them is no histogram.
pub fn latency_line(histograms: &[&str]) -> Result<Vec<(f64, f64)>> {
    let mut all: Option<Histogram<u64>> = None;
    for text in histograms {
        let bytes = BASE64_STANDARD.decode(text).context("a histogram is not base64")?;
        let mut one: Histogram<u64> = Deserializer::new()
            .deserialize(&mut bytes.as_slice())
            .map_err(|error| anyhow::anyhow!("a histogram cannot be read: {error:?}"))?;
        match &mut all {
            None => {
                // A later round may have a longer latency.
                one.auto(true);
                all = Some(one);
            }
            Some(all) => {
                all.add(one).map_err(|error| anyhow::anyhow!("histograms do not add up: {error:?}"))?
            }
        }
    }
    let Some(all) = all else { return Ok(Vec::new()) };
    // Beyond one in the number of values there is nothing to show.
    let last = (all.len() as f64).max(1.0);
    let step = 10_f64.powf(1.0 / POINTS_PER_NINE);
    let positions = std::iter::successors(Some(1.0), |position| Some(position * step));
    let value = |position: f64| all.value_at_quantile(1.0 - 1.0 / position) as f64 / NANOS_PER_MICRO;
    Ok(positions
        .take_while(|&position| position <= last)
        .map(|position| (position, value(position)))
        .collect())
}

/// Points between 90 % and 99 %, as between 99 % and 99.9 %.
const POINTS_PER_NINE: f64 = 12.0;
/// The load counts nanoseconds.
const NANOS_PER_MICRO: f64 = 1e3;

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::{Serializer, V2Serializer};

    fn written(values: impl Iterator<Item = u64>) -> String {
        let mut histogram = Histogram::<u64>::new(3).expect("three digits are allowed");
        values.for_each(|value| histogram.record(value).expect("it resizes itself"));
        let mut bytes = Vec::new();
        V2Serializer::new().serialize(&histogram, &mut bytes).expect("into memory");
        BASE64_STANDARD.encode(bytes)
    }

    #[test]
    fn rounds_are_added_up() {
        let (low, high) = (written((1..=500).map(|n| n * 1000)), written((501..=1000).map(|n| n * 1000)));
        let line = latency_line(&[&low, &high]).expect("both are histograms");
        let at = |position: f64| {
            line.iter().min_by(|one, other| (one.0 - position).abs().total_cmp(&(other.0 - position).abs()))
        };
        let (_, p90) = at(10.0).expect("there are points");
        assert!((p90 - 900.0).abs() < 2.0, "{p90}");
        assert!(line.last().is_some_and(|last| last.0 > 900.0 && last.1 > 990.0), "{line:?}");
        assert!(line.windows(2).all(|pair| pair[0].1 <= pair[1].1));
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        assert!(latency_line(&["???"]).is_err());
        assert!(latency_line(&["AAAA"]).is_err());
        assert!(latency_line(&[]).expect("nothing is fine").is_empty());
    }
}
