//! Patterns for group paths and role names.

/// Most stars in one pattern: matching tries their lengths.
const MOST_STARS: usize = 4;

/// A parsed pattern: texts with stars between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Anything, not empty; without `/` unless `deep`.
    Star {
        deep: bool,
    },
}

impl Pattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("an empty pattern never fits".to_owned());
        }
        let mut parts = Vec::new();
        for (index, between) in text.replace("**", "\0").split_inclusive(['*', '\0']).enumerate() {
            let plain = between.trim_end_matches(['*', '\0']);
            if index > 0 && plain.is_empty() && between != plain {
                return Err(format!("{text:?}: two stars need a text between them (** is one)"));
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.to_owned()));
            }
            if between != plain {
                parts.push(Part::Star { deep: between.ends_with('\0') });
            }
        }
        let stars = parts.iter().filter(|part| matches!(part, Part::Star { .. })).count();
        if stars > MOST_STARS {
            return Err(format!("{text:?} has more than {MOST_STARS} stars"));
        }
        Ok(Self { parts })
    }

    /// That a target asks for no more than the pattern catches.
    pub(crate) fn check_target(&self, target: &str) -> Result<(), String> {
        let stars = self.parts.iter().filter(|part| matches!(part, Part::Star { .. })).count();
        let caught: Vec<String> = vec!["x".to_owned(); stars];
        let filled = fill(target, &caught);
        if target.is_empty() || filled.contains(['{', '}']) {
            return Err(format!(
                "{target:?}: the pattern has {stars} stars, so that only {{1}} to {{{stars}}} can be used"
            ));
        }
        Ok(())
    }

    /// What the stars stand for in a text that fits; none when it does not.
    pub(crate) fn matches(&self, text: &str) -> Option<Vec<String>> {
        let mut caught = Vec::new();
        fits(&self.parts, text, &mut caught).then_some(caught)
    }
}

fn fits(parts: &[Part], text: &str, caught: &mut Vec<String>) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((Part::Text(part), rest)) => {
            text.strip_prefix(part.as_str()).is_some_and(|text| fits(rest, text, caught))
        }
        Some((Part::Star { deep }, rest)) => {
            let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
            for end in ends {
                let (inside, after) = text.split_at(end);
                if !deep && inside.ends_with('/') {
                    return false;
                }
                caught.push(inside.to_owned());
                if fits(rest, after, caught) {
                    return true;
                }
                caught.pop();
            }
            false
        }
    }
}

/// Puts what stars stood for into a target.
pub(crate) fn fill(target: &str, caught: &[String]) -> String {
    caught
        .iter()
        .enumerate()
        .fold(target.to_owned(), |text, (index, value)| text.replace(&format!("{{{}}}", index + 1), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_parts_of_a_path() {
        for (pattern, text, expected) in [
            ("/a", "/a", Some(vec![])),
            ("/a", "/a/b", None),
            ("/a/*", "/a/b", Some(vec!["b"])),
            ("/a/*", "/a/", None),
            ("/a/*", "/a/b/c", None),
            ("/a/**", "/a/b/c", Some(vec!["b/c"])),
            ("/a/*/*", "/a/b/c", Some(vec!["b", "c"])),
            ("/ws-*-*", "/ws-x-y-z", Some(vec!["x", "y-z"])),
            ("**/lead", "/a/b/lead", Some(vec!["/a/b"])),
            ("hub:*", "hub:é", Some(vec!["é"])),
        ] {
            let found = Pattern::parse(pattern).unwrap().matches(text);
            let expected = expected.map(|list| list.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn targets_use_what_was_caught_and_nothing_else() {
        let pattern = Pattern::parse("/a/*/*").unwrap();
        assert!(pattern.check_target("ws-{1}-{2}").is_ok());
        assert!(pattern.check_target("ws-{3}").is_err());
        assert!(pattern.check_target("").is_err());
        assert_eq!(fill("{2}-{1}", &["x".to_owned(), "y".to_owned()]), "y-x");
    }

    #[test]
    fn what_cannot_fit_or_would_be_slow_is_refused() {
        for pattern in ["", "***", "****", "a*b*c*d*e*f"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
