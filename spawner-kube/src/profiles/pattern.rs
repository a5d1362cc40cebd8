//! `validation_regex`: Python's regular expressions.

use fancy_regex::Regex;

use crate::traits::UnlistedMatch;

/// How much work one text may cost; a pattern that backtracks without end is given up.
const BACKTRACKS: usize = 100_000;

/// A pattern that cannot be read, or that costs too much for a text.
pub(super) type Unusable = String;

/// Whether a pattern can be read.
///
/// # Errors
/// What is wrong with it.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    compile(pattern, UnlistedMatch::Whole).map(|_| ())
}

/// Whether the text fits the pattern.
pub(super) fn fits(pattern: &str, text: &str, how: UnlistedMatch) -> Result<bool, Unusable> {
    compile(pattern, how)?.is_match(text).map_err(|error| error.to_string())
}

fn compile(pattern: &str, how: UnlistedMatch) -> Result<Regex, Unusable> {
    let body = in_our_dialect(pattern, how);
    let anchored = match how {
        UnlistedMatch::Whole => format!("\\A(?:{body})\\z"),
        UnlistedMatch::Start => format!("\\A(?:{body})"),
    };
    fancy_regex::RegexBuilder::new(&anchored)
        .backtrack_limit(BACKTRACKS)
        .build()
        .map_err(|error| error.to_string())
}

/// `\Z` of Python is `\z` here; its `$` also matches before a line feed at the end.
fn in_our_dialect(pattern: &str, how: UnlistedMatch) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if !in_class => out.push_str("\\z"),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '$' if !in_class && how == UnlistedMatch::Start => out.push_str("(?=\\n?\\z)"),
            '$' if !in_class => out.push_str("\\z"),
            _ => {
                match c {
                    '[' => in_class = true,
                    ']' => in_class = false,
                    _ => {}
                }
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("v[0-9]+", "v1", true, true)]
    #[case("v[0-9]+", "v1; rm", true, false)]
    #[case("v[0-9]+", "xv1", false, false)]
    #[case("^a|b$", "bc", false, false)]
    #[case("^x.*$", "x:1", true, true)]
    #[case("^x.*$", "x:1\n", true, false)]
    #[case(r"x\Z", "x\n", false, false)]
    #[case("[$]a", "$a", true, true)]
    #[case("^(?!.*latest).+:.+$", "a:1", true, true)]
    #[case("^(?!.*latest).+:.+$", "a:latest", false, false)]
    fn patterns_mean_what_they_mean_in_python(
        #[case] pattern: &str,
        #[case] text: &str,
        #[case] start: bool,
        #[case] whole: bool,
    ) {
        assert_eq!(fits(pattern, text, UnlistedMatch::Start), Ok(start));
        assert_eq!(fits(pattern, text, UnlistedMatch::Whole), Ok(whole));
    }

    #[test]
    fn patterns_that_never_end_are_given_up() {
        let text = "a".repeat(60) + "!";
        assert!(fits("(?=x?)(a|aa)+(?!b)$", &text, UnlistedMatch::Whole).is_err());
        assert!(check_pattern("(").is_err());
    }
}
