//! Names of servers: the one in URLs, and the one that people see.

use hub_core::ServerName;
use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory as _};

use super::RequestError;
use super::python::quoted;

/// The name of a server to be created: see [`ServerName::is_safe`].
pub fn check_server_name(name: &str) -> Result<ServerName, RequestError> {
    let server = ServerName::stored(name);
    if server.is_safe() {
        Ok(server)
    } else {
        Err(RequestError::Invalid(format!("Invalid server_name: {}", quoted(name))))
    }
}

/// What people see of a server to be created: 1 to 255 characters, all printable, single spaces between words and
/// none at the ends, counted after composing accents (NFC). Returns the composed form, which is the one to store:
/// stock stores the text as it came.
pub fn normalise_display_name(text: &str) -> Result<String, RequestError> {
    let name: String = text.nfc().collect();
    let length = name.chars().count();
    let spaced = name.starts_with(' ') || name.ends_with(' ') || name.contains("  ");
    if (1..=255).contains(&length) && !spaced && name.chars().all(is_printable) {
        Ok(name)
    } else {
        Err(RequestError::Invalid(format!("Invalid display_name: {}", quoted(&name))))
    }
}

/// Letters, marks, numbers, punctuation, symbols, and the plain space: what Python calls printable.
pub(super) fn is_printable(c: char) -> bool {
    c == ' '
        || matches!(
            c.general_category_group(),
            GeneralCategoryGroup::Letter
                | GeneralCategoryGroup::Mark
                | GeneralCategoryGroup::Number
                | GeneralCategoryGroup::Punctuation
                | GeneralCategoryGroup::Symbol
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_are_for_people() {
        for good in ["a", "My Lab (2) — große Daten", "実験", &"x".repeat(255)] {
            assert_eq!(normalise_display_name(good).as_deref(), Ok(good));
        }
        assert_eq!(normalise_display_name("e\u{301}").as_deref(), Ok("é"));
        for bad in ["", " a", "a ", "a  b", "a\tb", "a\u{a0}b", "a\u{200b}", "\u{e000}", &"x".repeat(256)] {
            assert!(normalise_display_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_bad_server_name_is_quoted() {
        assert_eq!(check_server_name("lab-1").unwrap().as_str(), "lab-1");
        assert_eq!(check_server_name("Lab").unwrap_err().to_string(), "Invalid server_name: 'Lab'");
    }
}
