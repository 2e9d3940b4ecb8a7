//! Positions in the WAL.

use std::fmt;
use std::str::FromStr;

/// A byte position in the WAL (manual, `pg_lsn`). Comparable only within one timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

/// The sizes a server writes its WAL with, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WalLayout {
    pub(super) page: u64,
    pub(super) segment: u64,
}

impl Lsn {
    /// Where the last record ends, if `self` is where the next one will start.
    ///
    /// `pg_current_wal_insert_lsn()` says where the next record starts, so at the end of a page it is already behind the
    /// header of the next page, while a replica that has replayed everything stands before that header. Without this an
    /// idle cluster would look as if its replicas were 24 or 40 bytes behind, until the next write.
    pub(super) fn record_end(self, layout: WalLayout) -> Lsn {
        let header = match self.0.checked_rem(layout.segment) {
            Some(HEADER_LONG) => HEADER_LONG,
            Some(PAGE_FIRST_MAX..) if self.0.checked_rem(layout.page) == Some(HEADER) => HEADER,
            _ => 0,
        };
        Lsn(self.0 - header)
    }

    /// How many bytes lie between; 0 when `earlier` is later.
    pub(super) fn since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl FromStr for Lsn {
    type Err = ();

    /// Reads `16/B374D848`.
    fn from_str(text: &str) -> Result<Lsn, ()> {
        let half = |digits: &str| match digits.len() {
            1..=8 if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                u64::from_str_radix(digits, 16).map_err(drop)
            }
            _ => Err(()),
        };
        let (high, low) = text.split_once('/').ok_or(())?;
        Ok(Lsn(half(high)? << 32 | half(low)?))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff)
    }
}

/// Bytes of a page's header: `SizeOfXLogShortPHD`.
const HEADER: u64 = 24;

/// Bytes of the header of a segment's first page: `SizeOfXLogLongPHD`.
const HEADER_LONG: u64 = 40;

/// The smallest page a server can be built with, `XLOG_BLCKSZ` of 1 kB: what is before it is in a first page.
const PAGE_FIRST_MAX: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAYOUT: WalLayout = WalLayout { page: 8192, segment: 16 << 20 };

    #[test]
    fn the_header_of_a_page_nobody_wrote_to_is_not_counted() {
        for (start, end) in [
            ("0/3000028", "0/3000000"),
            ("0/3002018", "0/3002000"),
            ("0/3002028", "0/3002028"),
            ("0/3002020", "0/3002020"),
            ("0/3000018", "0/3000018"),
            ("1/3100028", "1/3100028"),
        ] {
            let start: Lsn = start.parse().expect("it is one");
            assert_eq!(start.record_end(LAYOUT).to_string(), end);
        }
        let senseless = WalLayout { page: 0, segment: 0 };
        assert_eq!(Lsn(40).record_end(senseless), Lsn(40));
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "/", "1/", "/1", "1", "1/G", "+1/1", "123456789/1", "1/1/1", "1/ 1"] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
        assert_eq!("16/B374D848".parse(), Ok(Lsn(0x16_b374_d848)));
    }

    proptest! {
        #[test]
        fn text_form_and_back(position: u64) {
            prop_assert_eq!(Lsn(position).to_string().parse(), Ok(Lsn(position)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,20}") {
            let _ = text.parse::<Lsn>();
        }
    }
}
