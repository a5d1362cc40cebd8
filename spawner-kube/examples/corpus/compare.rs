//! Comparing objects: what the API server takes for the same is the same.

use serde_json::{Map, Number, Value, json};

/// Differences between the expected value and ours, each with its path. At most `MOST`.
pub(crate) fn differences(path: &str, expected: &Value, ours: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(path, &clean(expected, false), &clean(ours, false), &mut found);
    found.truncate(MOST);
    found
}

const MOST: usize = 8;

/// Without empty things, quantities as numbers.
fn clean(value: &Value, quantity: bool) -> Value {
    match value {
        Value::Object(map) => {
            let quantities = |key: &str| matches!(key, "limits" | "requests");
            let cleaned: Map<String, Value> = map
                .iter()
                .map(|(key, value)| (key.clone(), clean(value, quantity || quantities(key))))
                .filter(|(_, value)| !is_empty(value))
                .collect();
            Value::Object(cleaned)
        }
        Value::Array(items) => items.iter().map(|item| clean(item, quantity)).collect(),
        Value::Number(number) => {
            number.as_f64().and_then(Number::from_f64).map_or(json!(null), Value::Number)
        }
        Value::String(text) if quantity => amount(text).map_or_else(|| value.clone(), |n| json!(n)),
        other => other.clone(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A quantity of the API, `1Gi` or `500m`.
fn amount(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !matches!(c, '0'..='9' | '.' | '-' | '+')).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1.0,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * factor)
}

fn walk(path: &str, expected: &Value, ours: &Value, found: &mut Vec<String>) {
    match (expected, ours) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys: Vec<&String> =
                a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))).collect();
            keys.sort();
            for key in keys {
                let missing = Value::Null;
                let (a, b) = (a.get(key).unwrap_or(&missing), b.get(key).unwrap_or(&missing));
                walk(&format!("{path}/{key}"), a, b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&format!("{path}/{index}"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: expected {a}, got {b}")),
    }
}
