//! Kind `form`: the fields of the form, and the completed profiles.

use hub_spawner_kube::Server;
use hub_spawner_kube::profiles::Forms;
use serde_json::{Map, Value, json};

use crate::case::{Case, Outcome};
use crate::compare::differences;
use crate::{html, hub, manifest};

pub(crate) fn run(case: &Case) -> Outcome {
    match (rendered(case), case.expected.get("error")) {
        (Ok(_), Some(error)) => Outcome::differs(format!("was to be refused: {error}")),
        (Err(error), None) => Outcome::differs(format!("was refused: {error}")),
        (Err(_), Some(_)) => Outcome::default(),
        (Ok(ours), None) => {
            Outcome { differences: differences("", &Value::Object(case.expected.clone()), &ours) }
        }
    }
}

fn rendered(case: &Case) -> anyhow::Result<Value> {
    let mut traits = manifest::traits(case)?;
    let mut list = serde_json::to_value(&traits.profile_list)?;
    restore_order(&mut list, case.expected.get("form_fields").unwrap_or(&Value::Null));
    traits.profile_list = serde_json::from_value(list)?;
    if traits.profile_list.is_empty() {
        return Ok(json!({"form_fields": null}));
    }
    let server = Server::new(traits, hub::facts(case))?;
    let profiles = server.profiles(&hub::asker(case))?;
    let saved = match &case.user_options {
        Some(Value::Object(saved)) => saved.clone(),
        _ => Map::new(),
    };
    let text = Forms::new(&server.traits)?.render(&profiles, &saved, &server.traits)?;
    Ok(json!({"form_fields": html::fields(&text), "initialized_profile_list": profiles}))
}

/// Recorded configurations have their keys sorted, while the order of choices is shown to people: it is taken back
/// from the recorded form.
fn restore_order(list: &mut Value, recorded: &Value) {
    let selects: Vec<&Value> = recorded
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|profile| profile.get("options")?.as_array())
        .flatten()
        .filter(|option| option.get("choices").is_some())
        .collect();
    let profiles: Vec<&mut Value> = match list {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(map) => map.values_mut().collect(),
        _ => return,
    };
    for options in profiles.into_iter().filter_map(|p| p.get_mut("profile_options")?.as_object_mut()) {
        for (name, option) in options.iter_mut() {
            let Some(Value::Object(choices)) = option.get_mut("choices") else { continue };
            let ending = format!("--{name}");
            let place = |value: &str| {
                selects
                    .iter()
                    .filter(|s| s.get("name").and_then(Value::as_str).is_some_and(|n| n.ends_with(&ending)))
                    .find_map(|s| {
                        s.get("choices")?
                            .as_array()?
                            .iter()
                            .position(|c| c.get("value") == Some(&json!(value)))
                    })
            };
            let mut entries: Vec<_> = std::mem::take(choices).into_iter().collect();
            entries.sort_by_key(|(value, _)| place(value));
            choices.extend(entries);
        }
        let whole = |name: &str| {
            let ending = format!("--{name}");
            selects
                .iter()
                .position(|s| s.get("name").and_then(Value::as_str).is_some_and(|n| n.ends_with(&ending)))
        };
        let mut entries: Vec<_> = std::mem::take(options).into_iter().collect();
        entries.sort_by_key(|(name, _)| whole(name));
        options.extend(entries);
    }
}
