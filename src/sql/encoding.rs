//! Client encodings in which a byte below 0x80 may be the second half of a character.

/// Whether every byte below 0x80 is a character of its own in `client_encoding`, as it is in every encoding
/// that a server can store. The exceptions are those that only a client may use (manual, section 24.3.1): in
/// them the second byte of a character may look like a backslash, a letter or a bracket, though never like a
/// quote, a semicolon, a dollar sign, a slash or a star.
///
/// Names and aliases are the server's own; as there, case and everything but letters and digits is ignored.
pub fn ascii_safe(client_encoding: &[u8]) -> bool {
    let mut name = [0u8; LONGEST];
    let mut len = 0;
    for byte in client_encoding.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
        if len == LONGEST {
            return true; // longer than any name of the table
        }
        name[len] = byte.to_ascii_lowercase();
        len += 1;
    }
    !UNSAFE.iter().any(|unsafe_name| unsafe_name.as_bytes() == &name[..len])
}

const LONGEST: usize = "shiftjis2004".len();

/// Each encoding and its aliases, in the spelling that is left after folding (`src/common/encnames.c` of
/// PostgreSQL).
const UNSAFE: &[&str] = &[
    "big5",
    "win950",
    "windows950", //
    "gbk",
    "win936",
    "windows936", //
    "gb18030",
    "johab", //
    "sjis",
    "mskanji",
    "shiftjis",
    "win932",
    "windows932",   //
    "shiftjis2004", //
    "uhc",
    "win949",
    "windows949",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_only_encodings_are_unsafe_in_any_spelling() {
        for name in [
            "SJIS",
            "Shift_JIS",
            "shift-jis-2004",
            "SHIFT_JIS_2004",
            "Big5",
            "GBK",
            "UHC",
            "JOHAB",
            "GB18030",
        ] {
            assert!(!ascii_safe(name.as_bytes()), "{name}");
        }
        for name in ["WIN932", "Windows-950", "win936", "WIN949", "mskanji"] {
            assert!(!ascii_safe(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn server_encodings_are_safe() {
        for name in [
            "UTF8",
            "utf-8",
            "Unicode",
            "SQL_ASCII",
            "LATIN1",
            "EUC_JP",
            "EUC_JIS_2004",
            "WIN1252",
            "KOI8R",
            "",
        ] {
            assert!(ascii_safe(name.as_bytes()), "{name}");
        }
        assert!(ascii_safe(b"an encoding with a name that is longer than any we know"));
    }
}
