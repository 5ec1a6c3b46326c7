//! Names in trees.
//!
//! The format writes a name as the inside of a Go string literal (`strconv.Quote`), and that text then as a JSON
//! string. So a quote is escaped twice, and bytes that are not UTF-8 survive as `\xNN`. We read those bytes as
//! U+FFFD: no file of ours has such a name.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serializer};

pub(super) fn serialize<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&quote(name))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let quoted = String::deserialize(deserializer)?;
    unquote(&quoted).ok_or_else(|| serde::de::Error::custom("a name with a malformed escape"))
}

fn quote(name: &str) -> String {
    let mut quoted = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            // Writing to a string cannot fail.
            _ if character.is_ascii_control() => drop(write!(quoted, "\\x{:02x}", u32::from(character))),
            _ => quoted.push(character),
        }
    }
    quoted
}

fn unquote(quoted: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(quoted.len());
    let mut rest = quoted.chars();
    while let Some(character) = rest.next() {
        if character == '\\' {
            unescape(&mut rest, &mut bytes)?;
        } else {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Some(
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
    )
}

/// Reads one escape of Go's string literals, after its backslash.
fn unescape(rest: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let escape = rest.next()?;
    let byte = match escape {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '"' | '\'' => u8::try_from(escape).ok()?,
        'x' => u8::try_from(number(rest, 2, 16)?).ok()?,
        '0'..='7' => u8::try_from(escape.to_digit(8)? * 64 + number(rest, 2, 8)?).ok()?,
        'u' => return push(bytes, number(rest, 4, 16)?),
        'U' => return push(bytes, number(rest, 8, 16)?),
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn number(rest: &mut std::str::Chars<'_>, digits: u32, radix: u32) -> Option<u32> {
    (0..digits)
        .try_fold(0_u32, |number, _| number.checked_mul(radix)?.checked_add(rest.next()?.to_digit(radix)?))
}

fn push(bytes: &mut Vec<u8>, code: u32) -> Option<()> {
    bytes.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_quoting() {
        for name in ["plain", "with \"quotes\"", "back\\slash", "tab\tnewline\n\u{1}\u{7f}", "Ümläut 日本 🖥"]
        {
            assert_eq!(unquote(&quote(name)).as_deref(), Some(name));
        }
    }

    proptest::proptest! {
        #[test]
        fn any_name_survives_and_any_text_is_a_name_or_refused(name in ".*", text in r#"[\\\\"a-zA-Z0-9]*"#) {
            proptest::prop_assert_eq!(unquote(&quote(&name)), Some(name));
            let _ = unquote(&text);
        }
    }

    #[test]
    fn the_escapes_of_go_are_understood() {
        let quoted = r#"\a\b\f\n\r\t\v\\\"\x41\101\u00e9\U0001f5a5"#;
        assert_eq!(unquote(quoted).as_deref(), Some("\u{7}\u{8}\u{c}\n\r\t\u{b}\\\"AAé🖥"));
        assert_eq!(unquote(r"\xff").as_deref(), Some("\u{fffd}"));
        for malformed in [r"\", r"\q", r"\x4", r"\u12", r"\ud800", r"\U00110000"] {
            assert_eq!(unquote(malformed), None, "{malformed}");
        }
    }
}
