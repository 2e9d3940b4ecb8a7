//! The live view as text. Numbers in, lines out; the caller prints them and keeps the time.

use std::fmt::Write;
use std::time::Duration;

use crate::boot::{NodeView, View};

/// Draws one view after another, and knows from the last one how fast the counts grow.
pub(super) struct Table {
    /// Whether the next drawing goes over the last, as a terminal allows.
    in_place: bool,
    /// How many lines the last drawing took.
    drawn: usize,
    /// The counts of the last drawing: all queries, and those of each node by its address.
    queries: Option<u64>,
    node_queries: Vec<((String, u16), u64)>,
}

impl Table {
    pub(super) fn new(in_place: bool) -> Self {
        Self { in_place, drawn: 0, queries: None, node_queries: Vec::new() }
    }

    /// The text for `view`, which was taken `elapsed` after the one before.
    pub(super) fn draw(&mut self, view: &View, elapsed: Duration) -> String {
        let lines = if self.in_place { self.tall(view, elapsed) } else { vec![self.flat(view, elapsed)] };
        let mut text = String::new();
        if self.in_place && self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        for line in &lines {
            // Each line is cleared to its end, where a longer one may have stood.
            let _ = writeln!(text, "{line}{}", if self.in_place { "\x1b[K" } else { "" });
        }
        if self.in_place {
            // A node fewer than before would leave its line behind.
            text.push_str("\x1b[J");
        }
        self.drawn = lines.len();
        self.queries = Some(view.queries);
        self.node_queries = view.nodes.iter().map(|node| (key(node), node.queries)).collect();
        text
    }

    fn tall(&self, view: &View, elapsed: Duration) -> Vec<String> {
        let width = view.nodes.iter().map(|node| address(node).len()).max().unwrap_or(0).max(15);
        let mut lines = vec![format!(
            "{:width$}  {:<8} {:<8} {:>9} {:>9} {:>7} {:>10}",
            "node", "role", "state", "lag", "lag size", "leases", "queries/s"
        )];
        lines.extend(view.nodes.iter().map(|node| {
            format!(
                "{:width$}  {:<8} {:<8} {:>9} {:>9} {:>7} {:>10}",
                address(node),
                node.role,
                node.state,
                node.lag.map_or_else(|| "-".to_owned(), duration),
                node.lag_bytes.map_or_else(|| "-".to_owned(), size),
                node.leases,
                self.node_rate(node, elapsed),
            )
        }));
        lines.push(String::new());
        lines.push(format!(
            "clients {}   queries/s {}   p50 {}   p99 {}",
            view.clients,
            rate(self.queries, view.queries, elapsed),
            duration(view.p50),
            duration(view.p99)
        ));
        lines
    }

    fn flat(&self, view: &View, elapsed: Duration) -> String {
        let mut line = format!(
            "clients={} qps={} p50={} p99={}",
            view.clients,
            rate(self.queries, view.queries, elapsed),
            duration(view.p50),
            duration(view.p99)
        );
        for node in &view.nodes {
            let lag = node.lag.map(|lag| format!(" lag={}", duration(lag))).unwrap_or_default();
            let (address, qps) = (address(node), self.node_rate(node, elapsed));
            let _ = write!(
                line,
                " | {address} {} {}{lag} leases={} qps={qps}",
                node.role, node.state, node.leases
            );
        }
        line
    }

    fn node_rate(&self, node: &NodeView, elapsed: Duration) -> u64 {
        let key = key(node);
        let before = self.node_queries.iter().find(|(known, _)| *known == key).map(|(_, queries)| *queries);
        rate(before, node.queries, elapsed)
    }
}

fn key(node: &NodeView) -> (String, u16) {
    (node.host.clone(), node.port)
}

/// Host and port as one would type them; an IPv6 address in brackets (RFC 3986).
fn address(node: &NodeView) -> String {
    if node.host.contains(':') {
        format!("[{}]:{}", node.host, node.port)
    } else {
        format!("{}:{}", node.host, node.port)
    }
}

/// Per second, rounded; 0 as long as there is nothing to compare with.
fn rate(before: Option<u64>, now: u64, elapsed: Duration) -> u64 {
    let (Some(before), millis) = (before, elapsed.as_millis().max(1)) else {
        return 0;
    };
    let grown = u128::from(now.saturating_sub(before));
    u64::try_from((grown * 1000 + millis / 2) / millis).unwrap_or(u64::MAX)
}

/// Three digits or so, in the unit that suits.
fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..10_000 => format!("{:.2} ms", duration.as_secs_f64() * 1e3),
        10_000..1_000_000 => format!("{:.0} ms", duration.as_secs_f64() * 1e3),
        _ => format!("{:.1} s", duration.as_secs_f64()),
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_240 => format!("{bytes} B"),
        10_240..10_485_760 => format!("{} kB", bytes / 1024),
        _ => format!("{} MB", bytes / (1024 * 1024)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(queries: u64) -> View {
        let node = |port, role, lag: Option<u64>, queries| NodeView {
            host: "127.0.0.1".to_owned(),
            port,
            role,
            state: "up",
            lag: lag.map(Duration::from_millis),
            lag_bytes: lag.map(|lag| lag * 1024),
            leases: 2,
            queries,
        };
        View {
            nodes: vec![
                node(15_001, "primary", None, queries / 4),
                node(15_002, "replica", Some(12), queries),
            ],
            clients: 50,
            queries,
            p50: Duration::from_micros(230),
            p99: Duration::from_micros(1_900),
        }
    }

    #[test]
    fn rates_are_growth_over_time_and_nothing_at_first() {
        let mut table = Table::new(false);
        assert!(table.draw(&view(1000), Duration::from_secs(1)).starts_with("clients=50 qps=0 "));
        let line = table.draw(&view(3000), Duration::from_secs(2));
        assert_eq!(
            line,
            "clients=50 qps=1000 p50=230 us p99=1.90 ms | 127.0.0.1:15001 primary up leases=2 qps=250 \
             | 127.0.0.1:15002 replica up lag=12 ms leases=2 qps=1000\n"
        );
    }

    #[test]
    fn a_terminal_is_drawn_over() {
        let mut table = Table::new(true);
        let first = table.draw(&view(0), Duration::from_secs(1));
        assert!(first.starts_with("node "));
        assert_eq!(first.lines().count(), 6, "a head, two nodes, a gap, the sums, and the clearing: {first}");
        assert!(table.draw(&view(10), Duration::from_secs(1)).starts_with("\x1b[5A"));
    }

    #[test]
    fn a_count_that_shrinks_or_a_clock_that_stands_does_not_disturb() {
        assert_eq!(rate(Some(10), 5, Duration::from_secs(1)), 0);
        assert_eq!(rate(Some(0), 5, Duration::ZERO), 5000);
    }

    #[test]
    fn units_suit_their_numbers() {
        let texts = [999, 1_000, 54_300, 1_500_000].map(|micros| duration(Duration::from_micros(micros)));
        assert_eq!(texts, ["999 us", "1.00 ms", "54 ms", "1.5 s"]);
        assert_eq!([10, 20_480, 50 << 20].map(size), ["10 B", "20 kB", "50 MB"]);
    }
}
