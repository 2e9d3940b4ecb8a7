//! "Did you mean": the known name that looks most like an unknown one.

/// The nearest of `names`, which is not empty.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> &'a str {
    let mut best = ("", f64::MIN);
    for candidate in names {
        // Edits weigh more than a shared beginning, which alone would prefer any long name that
        // starts alike; the beginning decides between equals. Words may be swapped: max_client.
        let edits = strsim::normalized_damerau_levenshtein(name, candidate);
        let swapped = strsim::normalized_damerau_levenshtein(&sorted(name), &sorted(candidate));
        let likeness = edits.max(swapped) + 0.1 * strsim::jaro_winkler(name, candidate);
        if likeness > best.1 {
            best = (candidate, likeness);
        }
    }
    best.0
}

/// The words of a name in alphabetical order.
fn sorted(name: &str) -> String {
    let mut words: Vec<&str> = name.split('_').collect();
    words.sort_unstable();
    words.join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likest_name_wins() {
        let names = ["size", "mode", "client_max", "client_idle_timeout"];
        for (typed, meant) in [
            ("sizee", "size"),
            ("modus", "mode"),
            ("max_client", "client_max"),
            ("clientmax", "client_max"),
            ("client_idle_limit", "client_idle_timeout"),
        ] {
            assert_eq!(nearest(typed, names.into_iter()), meant);
        }
    }
}
