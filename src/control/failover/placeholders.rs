//! pgpool-II's placeholders in commands (its manual, `failover_command`): `%d` becomes a node's number, and so on.

/// What a node is to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    pub id: u8,
    pub host: &'a str,
    pub port: u16,
    /// Its data folder; empty when none is configured.
    pub directory: &'a str,
}

/// What the placeholders stand for in one event. In pgpool's words the main node is the live one with the smallest
/// number; pgweir names the chosen candidate instead when a primary is replaced, which is what scripts promote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placeholders<'a> {
    /// `%d %h %p %D`: the node it is about.
    pub node: Place<'a>,
    /// `%m %H %r %R`. `None`: no node is left.
    pub new_main: Option<Place<'a>>,
    /// `%M`. `None`: no node was there before.
    pub old_main: Option<u8>,
    /// `%P %N %S`. `None`: no primary was known.
    pub old_primary: Option<Place<'a>>,
}

impl Placeholders<'_> {
    /// `template` with each placeholder replaced by its value; `%%` is a percent sign, and a percent sign before
    /// anything else is left out with what follows it, as pgpool does. A number that is not there is `-1`, a text that
    /// is not there empty.
    ///
    /// Values go in as they are, without quotes: templates of pgpool bring their own.
    pub fn expand(&self, template: &str) -> String {
        let mut expanded = String::with_capacity(template.len() + 64);
        let mut rest = template.chars();
        while let Some(letter) = rest.next() {
            match letter {
                '%' => {
                    if let Some(placeholder) = rest.next() {
                        expanded.push_str(&self.value(placeholder));
                    }
                }
                other => expanded.push(other),
            }
        }
        expanded
    }

    fn value(&self, placeholder: char) -> String {
        let id = |id: Option<u8>| id.map_or_else(|| "-1".to_owned(), |id| id.to_string());
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let port = |place: Option<Place>| place.map(|place| place.port.to_string()).unwrap_or_default();
        match placeholder {
            'd' => self.node.id.to_string(),
            'h' => self.node.host.to_owned(),
            'p' => self.node.port.to_string(),
            'D' => self.node.directory.to_owned(),
            'm' => id(self.new_main.map(|place| place.id)),
            'H' => text(self.new_main.map(|place| place.host)),
            'r' => port(self.new_main),
            'R' => text(self.new_main.map(|place| place.directory)),
            'M' => id(self.old_main),
            'P' => id(self.old_primary.map(|place| place.id)),
            'N' => text(self.old_primary.map(|place| place.host)),
            'S' => port(self.old_primary),
            '%' => "%".to_owned(),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LOST: Place = Place { id: 0, host: "ann", port: 5433, directory: "/a" };
    const CHOSEN: Place = Place { id: 2, host: "bob", port: 5434, directory: "/b" };

    fn lost_primary() -> Placeholders<'static> {
        Placeholders { node: LOST, new_main: Some(CHOSEN), old_main: Some(0), old_primary: Some(LOST) }
    }

    #[test]
    fn every_letter_has_its_value() {
        for (letter, value) in [
            ("%d", "0"),
            ("%h", "ann"),
            ("%p", "5433"),
            ("%D", "/a"),
            ("%m", "2"),
            ("%H", "bob"),
            ("%r", "5434"),
            ("%R", "/b"),
            ("%M", "0"),
            ("%P", "0"),
            ("%N", "ann"),
            ("%S", "5433"),
            ("%%", "%"),
            ("%x", ""),
            ("%", ""),
            ("a%%d", "a%d"),
        ] {
            assert_eq!(lost_primary().expand(letter), value, "{letter}");
        }
    }

    #[test]
    fn the_sample_of_the_manual_expands() {
        let command = "/etc/failover.sh %d %h %p %D %m %H %M %P %r %R %N %S";
        let expanded = lost_primary().expand(command);
        assert_eq!(expanded, "/etc/failover.sh 0 ann 5433 /a 2 bob 0 0 5434 /b ann 5433");
    }

    #[test]
    fn without_a_node_left_numbers_are_minus_one_and_texts_empty() {
        let last = Placeholders { new_main: None, old_main: None, old_primary: None, ..lost_primary() };
        assert_eq!(last.expand("%m/%H/%r/%R/%M/%P/%N/%S/%d"), "-1////-1/-1///0");
    }

    proptest! {
        #[test]
        fn text_without_percent_signs_stays_as_it_is(text in "[^%]{0,40}") {
            prop_assert_eq!(lost_primary().expand(&text), text);
        }

        #[test]
        fn doubled_percent_signs_come_back_single(text in "[a-z%]{0,40}") {
            prop_assert_eq!(lost_primary().expand(&text.replace('%', "%%")), text);
        }
    }
}
