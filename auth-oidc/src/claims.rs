//! Looking things up in what a provider tells about a person.
//!
//! A path names a claim: `groups`, `realm_access.roles`, `memberships[*].team.name`. Alternatives are separated by
//! `|`, the first that is there counts. Keys may hold dots themselves (`https://example.org/groups`,
//! `resource_access.my.client.roles`): at every step the longest key that is there is taken.

use serde_json::{Map, Value};

/// Most alternatives in one path, and most dots in one alternative.
const MOST_PARTS: usize = 16;
/// Most values that one claim may give; the rest is left out.
const MOST_VALUES: usize = 2_000;

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// Reads a path.
    ///
    /// # Errors
    /// A text for the operator when it is empty or too long.
    pub fn parse(text: &str) -> Result<Self, String> {
        let alternatives: Vec<String> = text.split('|').map(|part| part.trim().to_owned()).collect();
        if alternatives.iter().any(String::is_empty) {
            return Err(format!(
                "{text:?} is no path of a claim: write NAME, NAME.NAME, NAME[*].NAME or A|B"
            ));
        }
        let too_long = alternatives.iter().any(|path| path.matches('.').count() > MOST_PARTS);
        if alternatives.len() > MOST_PARTS || too_long {
            return Err(format!("has more than {MOST_PARTS} parts"));
        }
        Ok(Self(alternatives))
    }

    /// The alternatives, in order.
    pub fn alternatives(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// What a provider told about a person, by source. A source in front hides those behind it.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Answer of the userinfo endpoint.
    pub userinfo: Map<String, Value>,
    /// Claims of the checked id_token.
    pub id_token: Map<String, Value>,
    /// Claims of the checked access token, where it is a token that the hub may read.
    pub access_token: Map<String, Value>,
}

impl Claims {
    fn sources(&self) -> [&Map<String, Value>; 3] {
        [&self.userinfo, &self.id_token, &self.access_token]
    }

    /// All values of the first alternative that is there, lists taken apart.
    pub fn values(&self, path: &ClaimPath) -> Vec<Value> {
        self.told(path).map(|(values, _)| values).unwrap_or_default()
    }

    /// The same, with the alternative.
    fn told<'p>(&self, path: &'p ClaimPath) -> Option<(Vec<Value>, &'p str)> {
        for alternative in path.alternatives() {
            for source in self.sources() {
                let mut found = Vec::new();
                collect(&mut found, source, alternative);
                if !found.is_empty() {
                    return Some((found, alternative));
                }
            }
        }
        None
    }

    /// Whether there are more values than are told: the provider names another place for them (`_claim_names`), as
    /// some do for people in many groups, or there are more than are read.
    pub fn lacks_some(&self, path: &ClaimPath) -> bool {
        // In the order of `values`: what is hidden there says nothing here.
        let told = path.alternatives().flat_map(|path| self.sources().map(|source| is_cut(source, path)));
        told.flatten().next().unwrap_or(false)
    }

    /// The same as texts; what is no text, number or truth value is left out, as are empty texts.
    pub fn texts(&self, path: &ClaimPath) -> Vec<String> {
        texts(&self.values(path))
    }

    /// The first text of a path, and the alternative that gave it.
    pub fn first<'p>(&self, path: &'p ClaimPath) -> Option<(String, &'p str)> {
        path.alternatives().find_map(|alternative| {
            let one = ClaimPath(vec![alternative.to_owned()]);
            self.texts(&one).into_iter().next().map(|text| (text, alternative))
        })
    }

    /// The texts of a path without those that are e-mail addresses which the provider has not verified: anybody may have
    /// typed them.
    pub fn proven_texts(&self, path: &ClaimPath) -> Vec<String> {
        let Some((values, alternative)) = self.told(path) else { return Vec::new() };
        let mut texts = texts(&values);
        texts.retain(|text| !self.is_unverified_email(text, alternative));
        texts
    }

    /// Whether a text that a claim gave is an e-mail address, by the claim's name or because it was told as one, and not
    /// the verified one.
    pub fn is_unverified_email(&self, text: &str, claim: &str) -> bool {
        let name = claim.rsplit('.').next().unwrap_or(claim);
        let is_address = name.strip_suffix("[*]").unwrap_or(name) == "email"
            || self.emails().any(|address| address.eq_ignore_ascii_case(text));
        is_address && !self.verified_email().is_some_and(|address| address.eq_ignore_ascii_case(text))
    }

    /// The e-mail address, if the provider says that it has verified it. Address and verification must come from the
    /// same source.
    pub fn verified_email(&self) -> Option<String> {
        self.sources().into_iter().find_map(|source| {
            let address = source.get("email")?.as_str()?;
            // Some providers write the truth value as a text.
            let verified = match source.get("email_verified")? {
                Value::Bool(yes) => *yes,
                Value::String(text) => text == "true",
                _ => false,
            };
            verified.then(|| address.to_owned())
        })
    }

    /// The e-mail addresses that were told, verified or not.
    pub fn emails(&self) -> impl Iterator<Item = &str> {
        self.sources().into_iter().filter_map(|source| source.get("email")?.as_str())
    }
}

/// Whether a map tells less than there is at a path; `None` where it tells nothing of it.
pub(crate) fn is_cut(map: &Map<String, Value>, path: &str) -> Option<bool> {
    let names = map.get("_claim_names").and_then(Value::as_object);
    if names.is_some_and(|names| names.keys().any(|name| begins_with(path, name))) {
        return Some(true);
    }
    let mut found = Vec::new();
    collect(&mut found, map, path);
    (!found.is_empty()).then_some(found.len() >= MOST_VALUES)
}

/// Whether a path leads through a claim.
fn begins_with(path: &str, claim: &str) -> bool {
    path.strip_prefix(claim).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Values that are texts, or can be written as one.
pub(crate) fn texts(values: &[Value]) -> Vec<String> {
    values
        .iter()
        .filter_map(|value| match value {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        })
        .collect()
}

/// What a path gives in one map.
pub(crate) fn collect(found: &mut Vec<Value>, map: &Map<String, Value>, path: &str) {
    // From the longest key to the shortest.
    let ends = std::iter::once(path.len()).chain(path.rmatch_indices('.').map(|(at, _)| at));
    for end in ends {
        let (key, rest) = path.split_at(end);
        let (key, each) = key.strip_suffix("[*]").map_or((key, false), |key| (key, true));
        let Some(value) = map.get(key) else { continue };
        match rest.strip_prefix('.') {
            None => push(found, value),
            Some(rest) => match value {
                Value::Object(inner) if !each => collect(found, inner, rest),
                Value::Array(list) if each => {
                    for inner in list.iter().filter_map(Value::as_object) {
                        collect(found, inner, rest);
                    }
                }
                _ => continue,
            },
        }
        return;
    }
}

fn push(found: &mut Vec<Value>, value: &Value) {
    match value {
        Value::Null => {}
        Value::Array(list) => {
            let room = MOST_VALUES.saturating_sub(found.len());
            found.extend(list.iter().filter(|value| !value.is_null()).take(room).cloned());
        }
        other if found.len() < MOST_VALUES => found.push(other.clone()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(userinfo: Value) -> Claims {
        let Value::Object(userinfo) = userinfo else { panic!("claims are an object") };
        Claims { userinfo, ..Claims::default() }
    }

    fn texts_of(claims: &Claims, path: &str) -> Vec<String> {
        claims.texts(&ClaimPath::parse(path).unwrap())
    }

    #[test]
    fn paths_go_through_tables_lists_and_keys_with_dots() {
        let claims = claims(json!({
            "sub": "s-1",
            "realm_access": {"roles": ["a", "b", null, ""]},
            "resource_access": {"my.client": {"roles": ["c"]}},
            "https://example.org/groups": ["d"],
            "teams": [{"team": {"name": "x"}}, {"team": {"name": "y"}}, "z"],
            "level": 3,
        }));
        for (path, expected) in [
            ("sub", vec!["s-1"]),
            ("realm_access.roles", vec!["a", "b"]),
            ("resource_access.my.client.roles", vec!["c"]),
            ("https://example.org/groups", vec!["d"]),
            ("teams[*].team.name", vec!["x", "y"]),
            ("level", vec!["3"]),
            ("nothing|also.nothing|sub", vec!["s-1"]),
            ("realm_access.roles.deeper", vec![]),
            ("sub.deeper", vec![]),
        ] {
            assert_eq!(texts_of(&claims, path), expected, "{path}");
        }
    }

    #[test]
    fn userinfo_hides_the_id_token_which_hides_the_access_token() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let claims = Claims {
            userinfo: map(json!({"a": "1"})),
            id_token: map(json!({"a": "2", "b": "2"})),
            access_token: map(json!({"a": "3", "b": "3", "c": "3"})),
        };
        assert_eq!(["a", "b", "c"].map(|path| texts_of(&claims, path)), [["1"], ["2"], ["3"]]);
    }

    #[test]
    fn an_address_is_verified_only_by_its_own_source() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let mixed = Claims {
            userinfo: map(json!({"email": "boss@example.org", "email_verified": false})),
            id_token: map(json!({"email_verified": true})),
            ..Claims::default()
        };
        assert_eq!(mixed.verified_email(), None);
        for (verified, expected) in [
            (json!(true), Some("a@b.c".to_owned())),
            (json!("true"), Some("a@b.c".to_owned())),
            (json!("yes"), None),
            (json!(1), None),
            (json!(null), None),
        ] {
            let claims = claims(json!({"email": "a@b.c", "email_verified": verified}));
            assert_eq!(claims.verified_email(), expected, "{claims:?}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for text in ["", " ", "a|", "|b", &"a.".repeat(40)] {
            assert!(ClaimPath::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_claim_with_a_million_values_is_cut() {
        let claims = claims(json!({"groups": vec!["g"; 5_000]}));
        assert_eq!(texts_of(&claims, "groups").len(), MOST_VALUES);
    }
}
