//! Paths into what the authenticator keeps: `oauth_user.groups`, `oauth_user.teams[*].name`.

use serde_json::Value;

/// Most texts of one claim.
pub(super) const MOST: usize = 10_000;

/// The texts at a path. A list at its end gives its elements; what is no text is left out.
pub(super) fn texts<'v>(state: &'v Value, path: &str) -> Vec<&'v str> {
    let mut found = vec![state];
    for step in path.split('.') {
        let (key, each) = step.strip_suffix("[*]").map_or((step, false), |key| (key, true));
        let next = found.into_iter().filter_map(|value| value.get(key));
        found = if each {
            next.filter_map(Value::as_array).flatten().take(MOST).collect()
        } else {
            next.collect()
        };
    }
    let mut texts = Vec::new();
    for value in found {
        match value {
            Value::String(text) => texts.push(text.as_str()),
            Value::Array(list) => texts.extend(list.iter().filter_map(Value::as_str)),
            _ => {}
        }
    }
    texts.truncate(MOST);
    texts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_followed_where_the_path_says_so() {
        let state = json!({"oauth_user": {"groups": ["a", 7, "b"], "one": "c", "teams": [{"name": "d"}, {}, {"name": ["e"]}]}});
        assert_eq!(texts(&state, "oauth_user.groups"), ["a", "b"]);
        assert_eq!(texts(&state, "oauth_user.one"), ["c"]);
        assert_eq!(texts(&state, "oauth_user.teams[*].name"), ["d", "e"]);
        assert_eq!(texts(&state, "oauth_user.teams.name"), [""; 0]);
        assert_eq!(texts(&state, "nothing[*]"), [""; 0]);
        assert_eq!(texts(&Value::Null, "a"), [""; 0]);
    }
}
