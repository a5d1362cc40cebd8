//! The environment of the notebook container.

use serde_json::{Map, Value, json};

use super::ManifestError;
use super::model::{Model, build};
use crate::fields::Expander;
use crate::python::format::{FormatError, Missing, PyValue, format};
use crate::python::{float_text, json_text};
use crate::traits::Traits;

/// What the environment depends on besides the options.
#[derive(Debug, Clone, Copy)]
pub struct EnvFacts<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// Path of the server, slashes at both ends.
    pub prefix: &'a str,
    /// Whether servers speak TLS (`internal_ssl`).
    pub tls: bool,
}

/// Variables that follow from options alone. Whatever the hub set for them before is void.
const FROM_OPTIONS: [&str; 11] = [
    "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES",
    "JUPYTERHUB_SERVICE_URL",
    "MEM_LIMIT",
    "MEM_GUARANTEE",
    "CPU_LIMIT",
    "CPU_GUARANTEE",
    "JUPYTERHUB_ROOT_DIR",
    "JUPYTERHUB_DEFAULT_URL",
    "JUPYTERHUB_DEBUG",
    "JUPYTERHUB_DISABLE_USER_CONFIG",
    "JUPYTER_IMAGE",
];

/// The environment by variable: what the hub says, what options say, and `environment` over it. Values are those
/// of the API: texts, or tables for references to secrets and the like.
pub fn environment(
    hub: &Map<String, Value>,
    traits: &Traits,
    facts: EnvFacts<'_>,
    expand: &Expander<'_>,
) -> Result<Map<String, Value>, ManifestError> {
    let mut env = hub.clone();
    env.retain(|name, _| !FROM_OPTIONS.contains(&name.as_str()));
    if let Some(url) = &traits.hub_connect_url {
        reach_hub_by(&mut env, url);
    }
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), Value::String(value));
    let scopes = Value::Array(traits.oauth_client_allowed_scopes.clone());
    set("JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES", json_text(&scopes));
    let scheme = if facts.tls { "https" } else { "http" };
    let host = if traits.ip.contains(':') { format!("[{}]", traits.ip) } else { traits.ip.clone() };
    set("JUPYTERHUB_SERVICE_URL", format!("{scheme}://{host}:{}{}", traits.port, facts.prefix));
    for (name, bytes) in [("MEM_LIMIT", traits.mem_limit.0), ("MEM_GUARANTEE", traits.mem_guarantee.0)] {
        if let Some(bytes) = bytes.filter(|bytes| *bytes != 0) {
            set(name, bytes.to_string());
        }
    }
    for (name, cores) in [("CPU_LIMIT", traits.cpu_limit), ("CPU_GUARANTEE", traits.cpu_guarantee)] {
        if let Some(cores) = cores.filter(|cores| *cores != 0.0) {
            set(name, float_text(cores));
        }
    }
    for (name, template) in
        [("JUPYTERHUB_ROOT_DIR", &traits.notebook_dir), ("JUPYTERHUB_DEFAULT_URL", &traits.default_url)]
    {
        if !template.is_empty() {
            set(name, fill(template, facts)?);
        }
    }
    for (name, on) in
        [("JUPYTERHUB_DEBUG", traits.debug), ("JUPYTERHUB_DISABLE_USER_CONFIG", traits.disable_user_config)]
    {
        if on {
            set(name, "1".to_owned());
        }
    }
    env.extend(traits.environment.clone());
    for name in ["JUPYTER_IMAGE_SPEC", "JUPYTER_IMAGE"] {
        env.insert(name.to_owned(), traits.image.clone().into());
    }
    for (name, value) in &traits.environment {
        if matches!(value, Value::String(_) | Value::Array(_) | Value::Object(_)) {
            env.insert(name.clone(), expand.value(value)?);
        }
    }
    Ok(env)
}

/// Replaces scheme and host of the hub's addresses.
fn reach_hub_by(env: &mut Map<String, Value>, url: &str) {
    for name in ["JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL"] {
        if let Some(Value::String(current)) = env.get_mut(name) {
            let path = current
                .split_once("://")
                .and_then(|(_, rest)| rest.split_once('/'))
                .map_or("", |(_, path)| path);
            *current = format!("{}/{path}", url.trim_end_matches('/'));
        }
    }
}

fn fill(template: &str, facts: EnvFacts<'_>) -> Result<String, FormatError> {
    let field = |name: &str| match name {
        "username" => Some(PyValue::from(facts.user)),
        "base_url" => Some(PyValue::from(facts.prefix)),
        _ => None,
    };
    format(template, &field, Missing::Refuse)
}

struct Variable {
    key: String,
    name: String,
    needs: Vec<String>,
    object: Value,
}

/// The list for the container. The API resolves `$(NAME)` only from variables that come before, so those come
/// first as far as possible; otherwise the order is that of the keys.
pub(super) fn list(env: &Map<String, Value>) -> Result<Vec<Value>, ManifestError> {
    let mut waiting: Vec<Variable> = Vec::with_capacity(env.len());
    for (key, value) in env {
        let variable = variable(key, value)?;
        // Two keys may name the same variable: the later one counts, in the place of the first.
        match waiting.iter_mut().find(|other| other.name == variable.name) {
            Some(other) => *other = variable,
            None => waiting.push(variable),
        }
    }
    waiting.sort_by(|a, b| a.key.cmp(&b.key));
    let mut placed: Vec<Variable> = Vec::with_capacity(waiting.len());
    loop {
        let ready = |v: &Variable| v.needs.iter().all(|need| placed.iter().any(|other| other.name == *need));
        let (now, later): (Vec<_>, Vec<_>) = waiting.into_iter().partition(ready);
        waiting = later;
        if now.is_empty() {
            break;
        }
        placed.extend(now);
    }
    placed.extend(waiting);
    Ok(placed.into_iter().map(|variable| variable.object).collect())
}

fn variable(key: &str, value: &Value) -> Result<Variable, ManifestError> {
    let at = format!("environment.{key}");
    let object = match value {
        Value::Object(map) => {
            let mut map = map.clone();
            if !map.contains_key("name") {
                map.insert("name".to_owned(), key.into());
            }
            build(&Model::ENV_VAR, &Value::Object(map), &at)?
        }
        Value::Null => json!({"name": key}),
        other => json!({"name": key, "value": other}),
    };
    let Some(name) = object.get("name").and_then(Value::as_str).map(str::to_owned) else {
        return Err(ManifestError::value(at, "`name` must be a text"));
    };
    let needs = match object.get("value") {
        None => Vec::new(),
        Some(Value::String(text)) => references(text).filter(|need| *need != name).collect(),
        Some(other) if is_falsy(other) => Vec::new(),
        Some(other) => {
            return Err(ManifestError::value(at, format!("{other} must be a text: put it in quotes")));
        }
    };
    Ok(Variable { key: key.to_owned(), name, needs, object })
}

/// What stock sends although it is no text.
fn is_falsy(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(true) | Value::String(_) => false,
    }
}

/// The names in `$(NAME)`.
fn references(text: &str) -> impl Iterator<Item = String> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (_, tail) = rest.split_once("$(")?;
            match tail.split_once(')') {
                None => return None,
                Some(("", _)) => rest = tail,
                Some((name, after)) => {
                    rest = after;
                    return Some(name.to_owned());
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(env: &Value) -> Vec<String> {
        let list = list(env.as_object().unwrap()).unwrap();
        list.iter().map(|v| v.get("name").unwrap().as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn variables_come_after_those_that_they_refer_to() {
        assert_eq!(names(&json!({"A": "$(B)", "B": "$(C)", "C": "x", "D": "1"})), ["C", "D", "B", "A"]);
    }

    #[test]
    fn cycles_and_unknown_references_come_last() {
        assert_eq!(
            names(&json!({"A": "$(B)", "B": "$(A)", "C": "$(NOT_HERE)", "D": "$(D)"})),
            ["D", "A", "B", "C"]
        );
    }

    #[test]
    fn the_later_of_two_keys_for_one_name_counts() {
        let list = list(json!({"A": "1", "B": {"name": "A", "value": "2"}}).as_object().unwrap()).unwrap();
        assert_eq!(list, [json!({"name": "A", "value": "2"})]);
    }

    #[test]
    fn numbers_need_quotes() {
        let error = list(json!({"N": 5}).as_object().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "environment.N: 5 must be a text: put it in quotes");
    }

    #[test]
    fn references_are_found_as_stock_finds_them() {
        let found = |text| references(text).collect::<Vec<_>>();
        assert_eq!(found("$(A)x$(B) $$(C) $(D"), ["A", "B", "C"]);
        assert_eq!(found("$()$(E)"), ["E"]);
    }
}
