//! Pages in the language of whoever reads them.
//!
//! Templates and scripts are written in English and look every text up by its English form; what a catalogue lacks
//! stays English, and so do the texts of a site's own templates. Catalogues are the files of `frontend/locales`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::Error;
use minijinja::value::{Kwargs, Value};
use serde::Deserialize;

/// One language's texts by their English form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Catalogue {
    /// Of templates.
    pages: BTreeMap<String, String>,
    /// Of scripts.
    scripts: BTreeMap<String, String>,
    /// That other parts of the hub make and pages show.
    messages: BTreeMap<String, String>,
}

static FRENCH: LazyLock<Catalogue> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../frontend/locales/fr.json"))
        .expect("the catalogue is part of the program and read by a test")
});

/// A language that pages can be shown in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Language {
    /// English, in which everything is written.
    #[default]
    English,
    /// French.
    French,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::French];

    /// The tag for `lang`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::French => "fr",
        }
    }

    /// The language of a tag such as `fr-CA`, by its first part.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let first = tag.split(['-', '_']).next()?;
        Self::ALL.into_iter().find(|language| language.tag().eq_ignore_ascii_case(first))
    }

    /// The first of the wanted languages that there is; English otherwise.
    pub fn choose<'a>(wanted: impl IntoIterator<Item = &'a str>) -> Self {
        wanted.into_iter().find_map(Self::of_tag).unwrap_or_default()
    }

    /// A text in this language.
    pub fn say(self, english: &str) -> &str {
        let catalogue = match self {
            Self::English => return english,
            Self::French => &*FRENCH,
        };
        let found = catalogue.pages.get(english).or_else(|| catalogue.messages.get(english));
        found.or_else(|| catalogue.scripts.get(english)).map_or(english, String::as_str)
    }

    /// The function `_` of templates: `_("Up to {count}", count=3)`.
    pub(super) fn function(self) -> Value {
        Value::from_function(move |english: &str, values: Kwargs| -> Result<String, Error> {
            let mut pairs = Vec::new();
            for name in values.args() {
                pairs.push((name, values.get::<Value>(name)?.to_string()));
            }
            Ok(fill(self.say(english), &pairs))
        })
    }
}

/// Puts values in the places of their names; what stands in a value is not looked at again.
fn fill(text: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let named = after.split_once('}').and_then(|(name, after)| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some((value, after))
        });
        if let Some((value, after)) = named {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

/// Longest list of languages that is read; browsers send a handful.
const MOST_LANGUAGES: usize = 20;

/// The languages of an `Accept-Language` header, the most wanted first; those with a weight of zero are left out.
pub fn accepted_languages(header: &str) -> Vec<String> {
    let mut wanted: Vec<(f32, &str)> = header
        .split(',')
        .take(MOST_LANGUAGES)
        .filter_map(|part| {
            let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |text| text.parse().ok())?;
            let tag = tag.trim();
            (weight > 0.0 && !tag.is_empty()).then_some((weight, tag))
        })
        .collect();
    // Stable: of equal weights the first one counts.
    wanted.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    wanted.into_iter().map(|(_, tag)| tag.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_language_is_the_most_wanted_one_that_there_is() {
        let choose = |header: &str| Language::choose(accepted_languages(header).iter().map(String::as_str));
        assert_eq!(choose("fr-FR,fr;q=0.9,en;q=0.8"), Language::French);
        assert_eq!(choose("de-DE, en;q=0.3, fr;q=0.7"), Language::French);
        assert_eq!(choose("en-GB,fr;q=0.5"), Language::English);
        assert_eq!(choose("fr;q=0, de"), Language::English);
        assert_eq!(choose("FR-ca"), Language::French);
        assert_eq!(choose("*, ;;q=, frisian"), Language::English);
        assert_eq!(choose(""), Language::English);
    }

    #[test]
    fn values_take_the_place_of_their_names() {
        let values = [("a", "{b}".to_owned()), ("b", "2".to_owned())];
        assert_eq!(fill("{a} and {b}, {c} {", &values), "{b} and 2, {c} {");
    }

    /// Texts between quotes after `open`, in all files below a directory.
    fn texts(directory: &Path, extension: &str, opens: &[&str], found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                texts(&path, extension, opens, found);
            } else if path.extension().is_some_and(|known| known == extension) {
                let source = std::fs::read_to_string(&path).unwrap();
                for open in opens {
                    for after in source.split(open).skip(1) {
                        let after = after.trim_start();
                        let quote = after.chars().next().unwrap();
                        if quote == '"' || quote == '\'' {
                            found.insert(after[1..].split(quote).next().unwrap().to_owned());
                        }
                    }
                }
            }
        }
    }

    fn names(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|part| Some(part.split_once('}')?.0)).collect()
    }

    #[test]
    fn every_text_of_pages_and_scripts_is_translated_and_no_other() {
        let hub = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut pages, mut scripts) = (BTreeSet::new(), BTreeSet::new());
        texts(&hub.join("templates"), "html", &["_("], &mut pages);
        texts(&hub.join("frontend/src"), "ts", &[" t(", "(t(", "[t(", "!t(", "{t(", ".t("], &mut scripts);
        let known = |catalogue: &BTreeMap<String, String>| catalogue.keys().cloned().collect::<BTreeSet<_>>();
        let missing: Vec<_> = pages.difference(&known(&FRENCH.pages)).cloned().collect();
        assert!(missing.is_empty(), "templates say what the catalogue lacks: {missing:#?}");
        let missing: Vec<_> = scripts.difference(&known(&FRENCH.scripts)).cloned().collect();
        assert!(missing.is_empty(), "scripts say what the catalogue lacks: {missing:#?}");
        let unused: Vec<_> = known(&FRENCH.pages).difference(&pages).cloned().collect();
        assert!(unused.is_empty(), "no template says: {unused:#?}");
        let unused: Vec<_> = known(&FRENCH.scripts).difference(&scripts).cloned().collect();
        assert!(unused.is_empty(), "no script says: {unused:#?}");
    }

    #[test]
    fn translations_keep_the_values_of_the_english_text() {
        for part in [&FRENCH.pages, &FRENCH.scripts, &FRENCH.messages] {
            for (english, french) in part {
                assert_eq!(names(english), names(french), "{english}");
                assert!(!french.trim().is_empty(), "{english}");
            }
        }
    }

    #[test]
    fn scopes_are_explained_in_every_language() {
        let table = hub_core::scopes::ScopeTable::stock();
        for scope in table.iter() {
            assert!(FRENCH.messages.contains_key(scope.description), "{}: {}", scope.name, scope.description);
        }
    }
}
