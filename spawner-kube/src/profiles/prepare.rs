//! The list of profiles made complete: slugs, default choices, default profile.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{ProfileError, is_default, slugify, truthy};
use crate::condition::{Asker, Condition};

/// Fills in what profiles leave out: the slug from the display name, the first choice as default, the fields of
/// free texts, the first profile as default.
pub fn prepare(profiles: Vec<Value>) -> Result<Vec<Value>, ProfileError> {
    let mut prepared = Vec::with_capacity(profiles.len());
    for (index, profile) in profiles.into_iter().enumerate() {
        let at = format!("[{index}]");
        let Value::Object(mut profile) = profile else {
            return Err(ProfileError::config(at, "must be a table"));
        };
        if !profile.contains_key("slug") {
            let Some(name) = profile.get("display_name").and_then(Value::as_str) else {
                return Err(ProfileError::config(at, "needs a `display_name`"));
            };
            let slug = slugify(name);
            profile.insert("slug".to_owned(), slug.into());
        }
        if let Some(options) = profile.get_mut("profile_options") {
            prepare_options(options, &format!("{at}.profile_options"))?;
        }
        prepared.push(Value::Object(profile));
    }
    if !prepared.iter().any(is_default)
        && let Some(Value::Object(first)) = prepared.first_mut()
    {
        first.insert("default".to_owned(), true.into());
    }
    Ok(prepared)
}

fn prepare_options(options: &mut Value, at: &str) -> Result<(), ProfileError> {
    let Value::Object(options) = options else {
        return Err(ProfileError::config(at, "must be a table of options"));
    };
    for (name, option) in options {
        let at = format!("{at}.{name}");
        let Value::Object(option) = option else {
            return Err(ProfileError::config(at, "must be a table"));
        };
        match option.get_mut("choices") {
            None => {}
            Some(Value::Object(choices)) => default_choice(choices, &at)?,
            Some(other) if !truthy(other) => {}
            Some(_) => return Err(ProfileError::config(at, "`choices` must be a table")),
        }
        let unlisted = option.entry("unlisted_choice").or_insert_with(|| json!({}));
        let Value::Object(unlisted) = unlisted else {
            return Err(ProfileError::config(at, "`unlisted_choice` must be a table"));
        };
        if truthy(unlisted.entry("enabled").or_insert(Value::Bool(false))) {
            unlisted.entry("display_name_in_choices").or_insert_with(|| "Other...".into());
        }
    }
    Ok(())
}

fn default_choice(choices: &mut Map<String, Value>, at: &str) -> Result<(), ProfileError> {
    if let Some((name, _)) = choices.iter().find(|(_, choice)| !choice.is_object()) {
        return Err(ProfileError::config(format!("{at}.choices.{name}"), "must be a table"));
    }
    if !choices.values().any(is_default)
        && let Some(Value::Object(first)) = choices.values_mut().next()
    {
        first.insert("default".to_owned(), true.into());
    }
    Ok(())
}

/// The profiles, options and choices that are for this person. An option of which no choice is left is gone too.
pub fn allowed(profiles: Vec<Value>, asker: &Asker) -> Result<Vec<Value>, ProfileError> {
    let mut kept = Vec::with_capacity(profiles.len());
    for (index, mut profile) in profiles.into_iter().enumerate() {
        let at = format!("[{index}]");
        if !admits(&mut profile, asker, &at)? {
            continue;
        }
        if let Some(Value::Object(options)) = profile.get_mut("profile_options") {
            let mut gone = Vec::new();
            for (name, option) in options.iter_mut() {
                let at = format!("{at}.profile_options.{name}");
                if !admits(option, asker, &at)? || !keep_choices(option, asker, &at)? {
                    gone.push(name.clone());
                }
            }
            options.retain(|name, _| !gone.contains(name));
        }
        kept.push(profile);
    }
    Ok(kept)
}

/// Drops choices that are not for this person; false when none of several is left and no free text is taken.
fn keep_choices(option: &mut Value, asker: &Asker, at: &str) -> Result<bool, ProfileError> {
    let free = option.pointer("/unlisted_choice/enabled").is_some_and(truthy);
    let Some(Value::Object(choices)) = option.get_mut("choices") else { return Ok(true) };
    let before = choices.len();
    let mut gone = Vec::new();
    for (name, choice) in choices.iter_mut() {
        if !admits(choice, asker, &format!("{at}.choices.{name}"))? {
            gone.push(name.clone());
        }
    }
    choices.retain(|name, _| !gone.contains(name));
    Ok(before == 0 || !choices.is_empty() || free)
}

/// Whether the limits of a table admit the person: being in one of the two lists of people, where there are any, for a
/// server among `allowed_workspaces`, where that is given, and `when`.
/// The limits are taken out: they are nobody else's business.
fn admits(table: &mut Value, asker: &Asker, at: &str) -> Result<bool, ProfileError> {
    let Value::Object(map) = table else { return Ok(true) };
    let mut limit = |key: &str| map.shift_remove(key).map(|value| (format!("{at}.{key}"), value));
    let (groups, users, when) = (limit("allowed_groups"), limit("allowed_users"), limit("when"));
    let workspaces = names(limit("allowed_workspaces"))?;
    let here = workspaces.is_none_or(|names| names.contains(&asker.server));
    let listed = match (names(groups)?, names(users)?) {
        (None, None) => true,
        (groups, users) => {
            groups.is_some_and(|names| names.iter().any(|name| asker.groups.contains(name)))
                || users.is_some_and(|names| names.contains(&asker.user))
        }
    };
    let condition: Condition = read(when)?.unwrap_or_default();
    Ok(listed && here && condition.holds(asker))
}

fn names(limit: Option<(String, Value)>) -> Result<Option<Vec<String>>, ProfileError> {
    read(limit)
}

fn read<T: DeserializeOwned>(limit: Option<(String, Value)>) -> Result<Option<T>, ProfileError> {
    let Some((at, value)) = limit else { return Ok(None) };
    serde_json::from_value(value).map(Some).map_err(|error| ProfileError::config(at, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(user: &str, groups: &[&str]) -> Asker {
        Asker {
            user: user.to_owned(),
            groups: groups.iter().map(|g| (*g).to_owned()).collect(),
            ..Asker::default()
        }
    }

    #[test]
    fn slugs_and_defaults_are_filled_in() {
        let list = prepare(vec![
            json!({"display_name": "Small Env!"}),
            json!({"display_name": "B", "slug": "x", "profile_options": {
                "image": {"choices": {"z": {}, "a": {}}, "unlisted_choice": {"enabled": true}}, "mem": {}}}),
        ])
        .unwrap();
        assert_eq!(
            Value::from(list),
            json!([
                {"display_name": "Small Env!", "slug": "small-env", "default": true},
                {"display_name": "B", "slug": "x", "profile_options": {
                    "image": {
                        "choices": {"z": {"default": true}, "a": {}},
                        "unlisted_choice": {"enabled": true, "display_name_in_choices": "Other..."}
                    },
                    "mem": {"unlisted_choice": {"enabled": false}}
                }},
            ])
        );
    }

    #[test]
    fn mistakes_are_told_with_their_path() {
        for (profile, text) in [
            (json!({}), "profile_list[0]: needs a `display_name`"),
            (
                json!({"slug": "x", "profile_options": {"m": {"choices": {"a": 1}}}}),
                "profile_list[0].profile_options.m.choices.a: must be a table",
            ),
        ] {
            assert_eq!(prepare(vec![profile]).unwrap_err().to_string(), text);
        }
        let error =
            allowed(vec![json!({"slug": "x", "when": {"gruops": []}})], &Asker::default()).unwrap_err();
        assert!(error.to_string().starts_with("profile_list[0].when: unknown field `gruops`"), "{error}");
    }

    #[test]
    fn what_is_for_some_workspaces_is_not_there_for_other_servers() {
        let profiles = vec![
            json!({"slug": "all"}),
            json!({"slug": "gpu", "allowed_workspaces": ["alpha", "beta"], "allowed_groups": ["gpu"]}),
            json!({"slug": "opt", "profile_options": {
                "image": {"choices": {"a": {}, "b": {"allowed_workspaces": ["alpha"]}}},
            }}),
        ];
        let seen = |server: &str, groups: &[&str]| {
            let asker = Asker { server: server.to_owned(), ..asker("alice", groups) };
            let seen = Value::from(allowed(profiles.clone(), &asker).unwrap());
            assert!(!seen.to_string().contains("allowed_workspaces"), "{seen}");
            let gpu = seen.as_array().unwrap().iter().any(|profile| profile["slug"] == "gpu");
            (gpu, seen.to_string().contains("\"b\""))
        };
        assert_eq!(seen("alpha", &["gpu"]), (true, true));
        assert_eq!(seen("beta", &["gpu"]), (true, false));
        assert_eq!(seen("alpha", &[]), (false, true));
        assert_eq!(seen("", &["gpu"]), (false, false));
        assert_eq!(seen("gamma", &["gpu"]), (false, false));
    }

    #[test]
    fn people_see_only_what_is_for_them() {
        let profiles = vec![
            json!({"slug": "all"}),
            json!({"slug": "gpu", "allowed_groups": ["gpu"], "allowed_users": ["root"]}),
            json!({"slug": "opt", "profile_options": {
                "image": {"choices": {"a": {}, "b": {"allowed_groups": ["dev"]}}},
                "mem": {"choices": {"9": {"when": {"admin": true}}}},
            }}),
        ];
        let slugs = |asker: &Asker| {
            let seen = allowed(profiles.clone(), asker).unwrap();
            seen.iter().map(|p| p.get("slug").unwrap().as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(slugs(&asker("alice", &[])), ["all", "opt"]);
        assert_eq!(slugs(&asker("alice", &["gpu"])), ["all", "gpu", "opt"]);
        assert_eq!(slugs(&asker("root", &[])), ["all", "gpu", "opt"]);
        let seen = allowed(profiles, &asker("alice", &["gpu"])).unwrap();
        assert_eq!(
            Value::from(seen),
            json!([{"slug": "all"}, {"slug": "gpu"}, {"slug": "opt", "profile_options": {
                "image": {"choices": {"a": {}}}}}])
        );
    }
}
