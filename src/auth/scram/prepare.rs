//! SASLprep (RFC 4013) the way PostgreSQL does it, so that both come to the same keys.

use std::borrow::Cow;

use stringprep::tables;

/// The password as it enters PBKDF2: normalised, or as it is where that is not possible, because it is not UTF-8 or holds
/// what SASLprep forbids.
///
/// PostgreSQL departs from the RFC in which passwords stay as they are: pure ASCII always does, control characters
/// included; so does what would leave nothing; and what is forbidden is looked for *before* the normalisation, which is
/// why `stringprep::saslprep`, which looks after it, does not serve.
pub(super) fn prepare(password: &[u8]) -> Cow<'_, [u8]> {
    if password.is_ascii() {
        return Cow::Borrowed(password);
    }
    let Ok(text) = str::from_utf8(password) else {
        return Cow::Borrowed(password);
    };
    let mapped: Vec<char> = text
        .chars()
        .map(|c| if tables::non_ascii_space_character(c) { ' ' } else { c })
        .filter(|&c| !tables::commonly_mapped_to_nothing(c))
        .collect();
    if mapped.is_empty() || mapped.iter().copied().any(prohibited) || wrongly_mixed(&mapped) {
        return Cow::Borrowed(password);
    }
    match nfkc(&mapped) {
        Some(normalised) => Cow::Owned(normalised.into_bytes()),
        None => Cow::Borrowed(password),
    }
}

/// Normalisation form KC of text that passed the checks above.
///
/// The crate offers it only inside its profiles. That of X.520 adds the least: what it maps is mapped already, what it
/// forbids is forbidden already, and that the text must not begin with a combining character is met by a space in front,
/// with which nothing composes.
fn nfkc(text: &[char]) -> Option<String> {
    let with_space: String = std::iter::once(' ').chain(text.iter().copied()).collect();
    let normalised = stringprep::x520prep(&with_space, false).ok()?;
    normalised.strip_prefix(' ').map(str::to_owned)
}

/// RFC 4013 section 2.3, and unassigned in Unicode 3.2 (2.5).
fn prohibited(c: char) -> bool {
    tables::non_ascii_space_character(c)
        || tables::ascii_control_character(c)
        || tables::non_ascii_control_character(c)
        || tables::private_use(c)
        || tables::non_character_code_point(c)
        || tables::inappropriate_for_plain_text(c)
        || tables::inappropriate_for_canonical_representation(c)
        || tables::change_display_properties_or_deprecated(c)
        || tables::tagging_character(c)
        || tables::unassigned_code_point(c)
}

/// Whether right-to-left characters stand where RFC 3454 section 6 does not allow them: beside left-to-right ones, or
/// not at both ends.
fn wrongly_mixed(text: &[char]) -> bool {
    let right_to_left = tables::bidi_r_or_al;
    if !text.iter().copied().any(right_to_left) {
        return false;
    }
    let at_both_ends = [text.first(), text.last()].into_iter().flatten().copied().all(right_to_left);
    !at_both_ends || text.iter().copied().any(tables::bidi_l)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prepared(text: &str) -> String {
        String::from_utf8(prepare(text.as_bytes()).into_owned()).unwrap()
    }

    /// RFC 4013 section 3, where PostgreSQL keeps as it is what the RFC calls an error.
    #[test]
    fn rfc_4013_examples() {
        assert_eq!(prepared("I\u{AD}X"), "IX");
        assert_eq!(prepared("user"), "user");
        assert_eq!(prepared("USER"), "USER");
        assert_eq!(prepared("\u{AA}"), "a");
        assert_eq!(prepared("\u{2168}"), "IX");
        assert_eq!(prepared("\u{7}"), "\u{7}");
        assert_eq!(prepared("\u{627}\u{31}"), "\u{627}\u{31}");
    }

    #[test]
    fn what_cannot_be_prepared_stays_as_it_is() {
        assert_eq!(prepare(b"\xff\xfe").as_ref(), b"\xff\xfe");
        for text in [
            "\u{AD}",          // nothing would be left
            "\u{AA}\u{7}",     // a control character beside something to normalise
            "\u{AA}\u{340}",   // deprecated, though its normal form is not
            "\u{AA}\u{1F600}", // not yet in Unicode 3.2
            "\u{AA}\u{E000}",  // private use
            "\u{627}\u{AA}",   // right to left beside left to right
        ] {
            assert_eq!(prepared(text), text, "{text:?}");
        }
        assert_eq!(prepared("a\u{A0}b"), "a b");
        assert_eq!(prepared("\u{301}\u{AA}"), "\u{301}a");
        assert_eq!(prepared("e\u{301}"), "\u{E9}");
        // Left to right before the normalisation and mixed after it, which PostgreSQL does not mind.
        assert_eq!(prepared("\u{2135}\u{AA}"), "\u{5D0}a");
        assert_eq!(prepared("\u{627}1\u{628}"), "\u{627}1\u{628}");
    }

    /// Wherever the RFC's order and PostgreSQL's both succeed, they agree, character by character.
    #[test]
    fn agrees_with_the_crates_saslprep_on_every_character() {
        let mut compared = 0;
        for c in ('\u{80}'..=char::MAX).filter(|&c| !prohibited(c)) {
            let text = c.to_string();
            if let Ok(expected) = stringprep::saslprep(&text).map(std::borrow::Cow::into_owned)
                && !expected.is_empty()
            {
                assert_eq!(prepared(&text), expected, "U+{:04X}", u32::from(c));
                compared += 1;
            }
        }
        assert!(compared > 90_000, "{compared}");
    }

    proptest! {
        #[test]
        fn agrees_with_the_crates_saslprep_on_texts(text in "[a\u{AD}\u{A0}\u{300}-\u{3FF}\u{1100}-\u{1200}\u{2150}-\u{2170}\u{FB00}-\u{FB06}]{1,12}") {
            let gone = text.chars().all(tables::commonly_mapped_to_nothing);
            let kept = text.chars().any(|c| prohibited(c) && !tables::non_ascii_space_character(c));
            if let Ok(expected) = stringprep::saslprep(&text) && !gone && !kept {
                prop_assert_eq!(prepared(&text), expected.into_owned());
            }
        }

        #[test]
        fn never_fails_and_never_empties(password in proptest::collection::vec(any::<u8>(), 1..40)) {
            prop_assert!(!prepare(&password).is_empty());
        }

        #[test]
        fn any_text_is_prepared_once_for_all(text in "\\PC{1,20}") {
            let once = prepare(text.as_bytes()).into_owned();
            prop_assert!(!once.is_empty());
            if once != text.as_bytes() {
                prop_assert_eq!(prepare(&once).into_owned(), once.clone());
            }
        }
    }
}
