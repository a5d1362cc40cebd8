//! Recorded faults of stock that we do not repeat, each recognised by what makes it one.

use serde_json::Value;

use super::case::Case;

/// Why a case may differ; none when it may not.
pub(crate) fn reason(case: &Case, differences: &[String]) -> Option<&'static str> {
    match case.kind.as_str() {
        "form" if only_unlisted(case) => {
            Some("stock's form crashes on an option that takes a free text only; ours shows the text field")
        }
        "form" if nothing_checked(case) && differences.iter().all(|d| d.contains("/checked: ")) => {
            Some("stock checks no profile when the saved one is gone; ours checks the default one")
        }
        "progress" if untimed(case) => {
            Some("an event without times ends stock's progress with an error; ours goes on")
        }
        _ => None,
    }
}

fn profiles(case: &Case) -> Vec<&Value> {
    match case.config.get("profile_list") {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(Value::Object(map)) => map.values().collect(),
        _ => Vec::new(),
    }
}

/// An option without choices, and an error recorded.
fn only_unlisted(case: &Case) -> bool {
    let options = profiles(case).into_iter().filter_map(|p| p.get("profile_options")?.as_object()).flatten();
    let bare = |option: &Value| option.get("choices").is_none();
    case.expected.contains_key("error") && options.into_iter().any(|(_, option)| bare(option))
}

fn nothing_checked(case: &Case) -> bool {
    let fields = case.expected.get("form_fields").and_then(Value::as_array);
    let checked = |field: &Value| field.get("checked").and_then(Value::as_bool) == Some(true);
    case.user_options.is_some() && fields.is_some_and(|fields| !fields.iter().any(checked))
}

/// An event with neither time, and an error recorded.
fn untimed(case: &Case) -> bool {
    let without = |event: &Value| {
        ["lastTimestamp", "eventTime"].iter().all(|key| event.get(*key).is_none_or(Value::is_null))
    };
    case.expected.contains_key("error") && case.events.iter().any(without)
}
