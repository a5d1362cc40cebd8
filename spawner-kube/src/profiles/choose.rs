//! A person's choice: checked, and turned into changes of options.

use serde_json::{Map, Value};

use super::{ProfileError, is_default, pattern, truthy};
use crate::python::format::{Missing, PyValue, format};
use crate::traits::{Traits, UnlistedMatch, apply};

/// Checks a choice against the prepared profiles of this person. Without a profile there is nothing to check.
pub fn check_choice(
    profiles: &[Value],
    options: &Map<String, Value>,
    how: UnlistedMatch,
) -> Result<(), ProfileError> {
    let Some(slug) = options.get("profile").filter(|slug| truthy(slug)) else { return Ok(()) };
    let profile = find(profiles, slug)?;
    for (name, option) in profile_options(profile) {
        let unlisted = options.get(&format!("{name}--unlisted-choice")).filter(|text| truthy(text));
        if let Some(text) = unlisted {
            check_unlisted(name, option, text, how)?;
        }
    }
    Ok(())
}

/// What of a choice of old is possible today: nothing without its profile, else the choices that there still are.
pub(super) fn still_possible(
    profiles: &[Value],
    saved: &Map<String, Value>,
    how: UnlistedMatch,
) -> Map<String, Value> {
    let mut kept = Map::new();
    let Some(slug) = saved.get("profile").filter(|slug| truthy(slug)) else { return kept };
    let Ok(profile) = find(profiles, slug) else { return kept };
    kept.insert("profile".to_owned(), slug.clone());
    for (name, option) in profile_options(profile) {
        let unlisted = format!("{name}--unlisted-choice");
        if let Some(chosen) = saved.get(name).filter(|chosen| choice(option, name, chosen).is_ok()) {
            kept.insert(name.clone(), chosen.clone());
        }
        let text = saved.get(&unlisted).filter(|text| text.is_string() && truthy(text));
        if let Some(text) = text.filter(|text| check_unlisted(name, option, text, how).is_ok()) {
            kept.insert(unlisted, text.clone());
        }
    }
    kept
}

fn check_unlisted(name: &str, option: &Value, text: &Value, how: UnlistedMatch) -> Result<(), ProfileError> {
    let unlisted = option.get("unlisted_choice");
    let part = |key: &str| unlisted.and_then(|unlisted| unlisted.get(key)).filter(|value| truthy(value));
    if part("enabled").is_none() {
        return Err(ProfileError::NotUnlisted { option: name.to_owned() });
    }
    let Some(regex) = part("validation_regex") else { return Ok(()) };
    let Value::String(regex) = regex else {
        return Err(ProfileError::config("", format!("option {name}: `validation_regex` must be a text")));
    };
    let fits = match text {
        Value::String(text) => pattern::fits(regex, text, how).map_err(|reason| {
            ProfileError::config("", format!("option {name}: `validation_regex` is unusable: {reason}"))
        })?,
        _ => false,
    };
    if fits {
        return Ok(());
    }
    let message = part("validation_message").and_then(Value::as_str);
    let message = message.unwrap_or("the text does not have the required form").to_owned();
    Err(ProfileError::DoesNotFit { option: name.to_owned(), message })
}

/// Applies a choice: the changes of the profile, then those of its options in their order. Nothing is applied when
/// there are no profiles. Returns changes of names that are no options.
pub fn apply_choice(
    traits: &mut Traits,
    profiles: &[Value],
    options: &Map<String, Value>,
) -> Result<Map<String, Value>, ProfileError> {
    let slug = options.get("profile").filter(|slug| truthy(slug));
    let profile = match slug {
        Some(slug) => find(profiles, slug)?,
        None => match profiles.iter().find(|profile| is_default(profile)) {
            Some(profile) => profile,
            None => return Ok(Map::new()),
        },
    };
    let mut other = apply(traits, &changes(profile, "")?)?;
    for (name, option) in profile_options(profile) {
        let unlisted = options.get(&format!("{name}--unlisted-choice")).filter(|text| truthy(text));
        let chosen = options.get(name).filter(|choice| truthy(choice));
        let changes = match (unlisted, chosen) {
            (Some(text), _) => {
                let changes = changes(option.get("unlisted_choice").unwrap_or(&Value::Null), name)?;
                let value = scalar(text).ok_or_else(|| ProfileError::DoesNotFit {
                    option: name.clone(),
                    message: "a text is needed".to_owned(),
                })?;
                // Only values are formatted here: the names of options are no templates.
                let filled = changes.into_iter().map(|(key, change)| Ok((key, fill(&change, &value, name)?)));
                filled.collect::<Result<Map<_, _>, ProfileError>>()?
            }
            (None, Some(chosen)) => changes(choice(option, name, chosen)?, name)?,
            (None, None) => changes(default_choice(option, name)?, name)?,
        };
        other.extend(apply(traits, &changes)?);
    }
    Ok(other)
}

fn find<'p>(profiles: &'p [Value], slug: &Value) -> Result<&'p Value, ProfileError> {
    profiles.iter().find(|profile| profile.get("slug") == Some(slug)).ok_or_else(|| {
        let known: Vec<&str> = profiles.iter().filter_map(|p| p.get("slug")?.as_str()).collect();
        ProfileError::NoSuchProfile { chosen: shown(slug), known: listed(&known) }
    })
}

fn profile_options(profile: &Value) -> impl Iterator<Item = (&String, &Value)> {
    profile.get("profile_options").and_then(Value::as_object).into_iter().flatten()
}

fn changes(table: &Value, at: &str) -> Result<Map<String, Value>, ProfileError> {
    match table.get("kubespawner_override") {
        None => Ok(Map::new()),
        Some(Value::Object(changes)) => Ok(changes.clone()),
        Some(_) => Err(ProfileError::config("", format!("{at}: `kubespawner_override` must be a table"))),
    }
}

fn choice<'o>(option: &'o Value, name: &str, chosen: &Value) -> Result<&'o Value, ProfileError> {
    let choices = option.get("choices").and_then(Value::as_object);
    let found = chosen.as_str().and_then(|chosen| choices?.get(chosen));
    found.ok_or_else(|| {
        let known: Vec<&str> = choices.into_iter().flat_map(Map::keys).map(String::as_str).collect();
        ProfileError::NoSuchChoice { option: name.to_owned(), chosen: shown(chosen), known: listed(&known) }
    })
}

fn default_choice<'o>(option: &'o Value, name: &str) -> Result<&'o Value, ProfileError> {
    let mut choices = option.get("choices").and_then(Value::as_object).into_iter().flat_map(Map::values);
    // A limit may have taken the default choice away; the first that is left stands in.
    let first = choices.clone().next();
    choices
        .find(|choice| is_default(choice))
        .or(first)
        .ok_or_else(|| ProfileError::NothingChosen { option: name.to_owned() })
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("\"{text}\""))
}

fn listed(names: &[&str]) -> String {
    if names.is_empty() { "(there are none)".to_owned() } else { names.join(", ") }
}

fn scalar(value: &Value) -> Option<PyValue<'_>> {
    match value {
        Value::String(text) => Some(PyValue::from(text.as_str())),
        Value::Bool(on) => Some(PyValue::Bool(*on)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => Some(PyValue::Int(whole)),
            None => number.as_f64().map(PyValue::Float),
        },
        _ => None,
    }
}

/// Changes with a sample in place of a person's text, for checks.
pub(crate) fn fill_sample(changes: &Map<String, Value>) -> Result<Map<String, Value>, ProfileError> {
    let sample = PyValue::from("value");
    changes.iter().map(|(key, change)| Ok((key.clone(), fill(change, &sample, "")?))).collect()
}

/// Puts the text of a person in place of `{value}`; other braces stay, doubled ones are halved.
fn fill(change: &Value, value: &PyValue<'_>, option: &str) -> Result<Value, ProfileError> {
    let text = |template: &str| {
        let field = |name: &str| (name == "value").then(|| value.clone());
        format(template, &field, Missing::Keep)
            .map_err(|error| ProfileError::config("", format!("option {option}: {error}")))
    };
    Ok(match change {
        Value::String(template) => Value::String(text(template)?),
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, value, option)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, item)| Ok((text(key)?, fill(item, value, option)?)))
                .collect::<Result<_, ProfileError>>()?,
        ),
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::prepare;
    use super::*;

    fn profiles() -> Vec<Value> {
        prepare(vec![
            json!({"display_name": "Small", "kubespawner_override": {"mem_limit": "1G"}}),
            json!({"display_name": "Opt", "profile_options": {"image": {
                "choices": {"a": {"kubespawner_override": {"image": "a:1"}}},
                "unlisted_choice": {"enabled": true, "validation_regex": "x.*", "validation_message": "must start with x",
                    "kubespawner_override": {"image": "{value}", "extra_labels": {"{value}": "{{{value}}} {other}"}}}},
            }}),
        ])
        .unwrap()
    }

    fn chosen(options: Value) -> Result<Traits, ProfileError> {
        let Value::Object(options) = options else { unreachable!("options are a table") };
        let mut traits = Traits::default();
        check_choice(&profiles(), &options, UnlistedMatch::Whole)?;
        apply_choice(&mut traits, &profiles(), &options)?;
        Ok(traits)
    }

    #[test]
    fn the_default_profile_holds_when_nothing_is_chosen() {
        assert_eq!(chosen(json!({})).unwrap().mem_limit.0, Some(1 << 30));
        assert_eq!(chosen(json!({"profile": "opt"})).unwrap().image, "a:1");
    }

    #[test]
    fn free_texts_are_put_in_place() {
        let traits =
            chosen(json!({"profile": "opt", "image": "a", "image--unlisted-choice": "x:2"})).unwrap();
        assert_eq!(traits.image, "x:2");
        assert_eq!(Value::Object(traits.extra_labels), json!({"x:2": "{x:2} {other}"}));
    }

    #[test]
    fn wrong_choices_are_refused_with_a_reason_for_people() {
        for (options, text) in [
            (json!({"profile": "gone"}), "There is no profile \"gone\". Choose one of: small, opt"),
            (json!({"profile": "opt", "image": "b"}), "image: there is no choice \"b\". Choose one of: a"),
            (json!({"profile": "opt", "image--unlisted-choice": "y"}), "image: must start with x"),
            (json!({"profile": "opt", "image--unlisted-choice": ["x"]}), "image: must start with x"),
        ] {
            let error = chosen(options).unwrap_err();
            assert_eq!(error.to_string(), text);
            assert!(error.is_choice());
        }
    }
}
