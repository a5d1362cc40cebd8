//! From bytes to checked JSON.

use serde_json::{Map, Value};

use super::RequestError;
use super::python::{repr, repr_map, truthy, type_name};

/// An object as sent.
pub(super) type Object = Map<String, Value>;

/// The body as JSON, none if there is none. Invalid UTF-8 inside becomes replacement characters, as in stock.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Value>, RequestError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(bytes);
    serde_json::from_str(&text).map(Some).map_err(|_| RequestError::NotJson)
}

/// The body as an object; empty where there is no body, or one that Python takes for false (`null`, `0`, `[]`).
/// `message` is for everything else.
pub(super) fn read_object_or_empty(bytes: &[u8], message: &str) -> Result<Object, RequestError> {
    match read(bytes)? {
        Some(Value::Object(map)) => Ok(map),
        Some(value) if truthy(&value) => Err(RequestError::invalid(message)),
        _ => Ok(Object::new()),
    }
}

/// The body as an object with something in it.
pub(super) fn read_filled_object(bytes: &[u8], message: &str) -> Result<Object, RequestError> {
    match read(bytes)? {
        Some(Value::Object(map)) if !map.is_empty() => Ok(map),
        _ => Err(RequestError::invalid(message)),
    }
}

/// The JSON type that a key must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Str,
    Bool,
    List,
    Dict,
}

impl Type {
    fn name(self) -> &'static str {
        match self {
            Self::Str => "str",
            Self::Bool => "bool",
            Self::List => "list",
            Self::Dict => "dict",
        }
    }
}

/// The body as a model: an object with none but known keys, all of the right type. Null is the wrong type. Answers to
/// `_check_model`.
pub(super) fn read_model(bytes: &[u8], model: &str, types: &[(&str, Type)]) -> Result<Object, RequestError> {
    check_model(read(bytes)?.unwrap_or(Value::Null), model, types)
}

/// The same for JSON that was read already.
pub(super) fn check_model(value: Value, model: &str, types: &[(&str, Type)]) -> Result<Object, RequestError> {
    let Value::Object(map) = value else {
        return Err(RequestError::Invalid(format!("Invalid JSON data: {}", repr(&value))));
    };
    let wanted = |key: &str| types.iter().find(|(known, _)| *known == key).map(|(_, wanted)| *wanted);
    if map.keys().any(|key| wanted(key).is_none()) {
        return Err(RequestError::Invalid(format!("Invalid JSON keys: {}", repr_map(&map))));
    }
    for (key, value) in &map {
        if let Some(wanted) = wanted(key)
            && type_name(value) != wanted.name()
        {
            let (wanted, given) = (wanted.name(), type_name(value));
            return Err(RequestError::Invalid(format!(
                "{model}.{key} must be <class '{wanted}'>, not: <class '{given}'>"
            )));
        }
    }
    Ok(map)
}

/// Takes a text out; none if missing or null.
pub(super) fn take_string(
    map: &mut Object,
    key: &str,
    message: &str,
) -> Result<Option<String>, RequestError> {
    match map.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(RequestError::invalid(message)),
    }
}

/// Takes a list of texts out; none if missing or null. `message` gets the offending value.
pub(super) fn take_strings(
    map: &mut Object,
    key: &str,
    message: impl Fn(&Value) -> String,
) -> Result<Option<Vec<String>>, RequestError> {
    let Some(value) = map.remove(key) else { return Ok(None) };
    match &value {
        Value::Null => Ok(None),
        Value::Array(items) => {
            let texts: Option<Vec<String>> =
                items.iter().map(|item| item.as_str().map(str::to_owned)).collect();
            texts.map(Some).ok_or_else(|| RequestError::Invalid(message(&value)))
        }
        _ => Err(RequestError::Invalid(message(&value))),
    }
}
