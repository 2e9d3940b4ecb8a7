//! Several measurements of the same thing in one: the median, and how far they lie apart.

use std::fmt::Write;

use serde::Serialize;

/// The median with the least and the greatest of at least one figure.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Summary {
    /// `None` of nothing. Of an even number of figures the median is the mean of the two in the middle.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Option<Summary> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => f64::midpoint(figures[middle - 1], figures[middle]),
            _ => figures[middle],
        };
        Some(Summary { median, min, max })
    }

    /// `15.2 (14.9–15.8)`, each divided by `per`; without the spread when it does not show.
    pub fn show(self, per: f64, digits: usize) -> String {
        let number = |figure: f64| grouped(&format!("{:.digits$}", figure / per));
        let (median, min, max) = (number(self.median), number(self.min), number(self.max));
        let mut text = median;
        if min != max {
            let _ = write!(text, " ({min}–{max})");
        }
        text
    }
}

/// Puts a comma before every third digit of the whole part.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    let mut text = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_the_order_and_the_outlier() {
        let odd = Summary::of([3.0, 100.0, 1.0]).expect("there are three");
        assert_eq!(odd, Summary { median: 3.0, min: 1.0, max: 100.0 });
        let even = Summary::of([4.0, 1.0, 2.0, 9.0]).expect("there are four");
        assert_eq!((even.median, even.min, even.max), (3.0, 1.0, 9.0));
        assert_eq!(Summary::of([]), None);
    }

    #[test]
    fn a_spread_is_shown_where_there_is_one() {
        let summary = Summary { median: 1_234_567.26, min: 999.94, max: 2_000_000.0 };
        assert_eq!(summary.show(1.0, 1), "1,234,567.3 (999.9–2,000,000.0)");
        assert_eq!(summary.show(1e6, 2), "1.23 (0.00–2.00)");
        assert_eq!(Summary { median: 7.0, min: 7.0, max: 7.0 }.show(1.0, 0), "7");
        assert_eq!(Summary { median: -1234.0, min: -1234.0, max: -1234.0 }.show(1.0, 0), "-1,234");
    }
}
