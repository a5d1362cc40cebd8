//! Kind `form`: the fields of the form, and the completed profiles.

use hub_spawner_kube::Server;
use hub_spawner_kube::profiles::Forms;
use serde_json::{Map, Value, json};

use super::case::{Case, Outcome};
use super::compare::differences;
use super::{html, hub, manifest};

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
    let mut list = traits.profile_list.sorted();
    let recorded = case.expected.get("form_fields").and_then(Value::as_array);
    for (profile, recorded) in list.iter_mut().zip(recorded.into_iter().flatten()) {
        restore_order(profile, recorded);
    }
    traits.profile_list = serde_json::from_value(list.into())?;
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

/// Recorded configurations have their keys sorted, while the order of options and choices is shown to people: it is
/// taken back from the recorded form of the same profile.
fn restore_order(profile: &mut Value, recorded: &Value) {
    let selects: Vec<&Value> = recorded
        .get("options")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|option| option.get("choices").is_some())
        .collect();
    let place_of = |option: &str| {
        let ending = format!("--{option}");
        let named = |s: &&Value| s.get("name").and_then(Value::as_str).is_some_and(|n| n.ends_with(&ending));
        selects.iter().position(named)
    };
    let Some(Value::Object(options)) = profile.get_mut("profile_options") else { return };
    let mut entries: Vec<_> = std::mem::take(options).into_iter().collect();
    entries.sort_by_key(|(name, _)| place_of(name));
    for (name, mut option) in entries {
        let select = place_of(&name).and_then(|at| selects.get(at));
        let recorded = select.and_then(|s| s.get("choices")?.as_array());
        if let (Some(Value::Object(choices)), Some(recorded)) = (option.get_mut("choices"), recorded) {
            let place = |value: &str| recorded.iter().position(|c| c.get("value") == Some(&json!(value)));
            let mut sorted: Vec<_> = std::mem::take(choices).into_iter().collect();
            sorted.sort_by_key(|(value, _)| place(value));
            choices.extend(sorted);
        }
        options.insert(name, option);
    }
}
