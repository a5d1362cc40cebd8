//! Changes of options by name, as groups and profiles make them.

use serde_json::{Map, Value};
use thiserror::Error;

use super::stock::current_name;
use super::table::Traits;

/// Why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OverrideError {
    /// The value does not fit the option.
    #[error("`{name}`: {reason}")]
    Value {
        /// Name of the option.
        name: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// A table for something that has no entries.
    #[error("`{path}` is set to a table, but what is there is none")]
    NotATable {
        /// Path of the entry.
        path: String,
    },
    /// No such option, and the value is a table that would have to be merged into it.
    #[error("there is no option `{name}`")]
    Unknown {
        /// Name of the option.
        name: String,
    },
}

/// Applies changes in order. A table is merged into an option that holds a table, entry by entry, and `null`
/// removes an entry; everything else replaces the option. Returns the changes of names that are no options: stock
/// sets these on the spawner, where only some mean anything.
pub fn apply(traits: &mut Traits, changes: &Map<String, Value>) -> Result<Map<String, Value>, OverrideError> {
    let mut unknown = Map::new();
    for (given, value) in changes {
        let name = current_name(given);
        let Some(current) = traits.get(name) else {
            if value.is_object() {
                return Err(OverrideError::Unknown { name: given.clone() });
            }
            unknown.insert(given.clone(), value.clone());
            continue;
        };
        let wanted = match (value, current) {
            (Value::Object(new), Value::Object(mut old)) => {
                merge(&mut old, new, name)?;
                Value::Object(old)
            }
            (value, _) => value.clone(),
        };
        traits.set(name, wanted).map_err(|reason| OverrideError::Value { name: given.clone(), reason })?;
    }
    Ok(unknown)
}

/// Merges a table into another in place; `null` removes an entry, at any depth.
pub fn merge(
    target: &mut Map<String, Value>,
    new: &Map<String, Value>,
    path: &str,
) -> Result<(), OverrideError> {
    for (key, value) in new {
        match value {
            Value::Object(inner) => {
                let path = format!("{path}.{key}");
                match target.entry(key.clone()).or_insert_with(|| Value::Object(Map::new())) {
                    Value::Object(old) => merge(old, inner, &path)?,
                    _ if inner.is_empty() => {}
                    _ => return Err(OverrideError::NotATable { path }),
                }
            }
            Value::Null => {
                target.shift_remove(key);
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changes(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn tables_are_merged_and_null_removes() {
        let mut traits = Traits::default();
        traits.set("node_selector", json!({"keep": "1", "gone": "2"})).unwrap();
        let unknown = apply(
            &mut traits,
            &changes(&json!({"node_selector": {"gone": null, "new": "3"}, "mem_limit": "1K", "nosuch": 1})),
        )
        .unwrap();
        assert_eq!(traits.get("node_selector"), Some(json!({"keep": "1", "new": "3"})));
        assert_eq!(traits.mem_limit.0, Some(1024));
        assert_eq!(Value::Object(unknown), json!({"nosuch": 1}));
    }

    #[test]
    fn a_list_over_a_table_replaces_it() {
        let mut traits = Traits::default();
        traits.set("volumes", json!({"a": {"name": "a"}})).unwrap();
        apply(&mut traits, &changes(&json!({"volumes": [{"name": "b"}]}))).unwrap();
        assert_eq!(traits.volumes.sorted(), [json!({"name": "b"})]);
    }

    #[test]
    fn names_of_older_versions_still_work() {
        let mut traits = Traits::default();
        apply(&mut traits, &changes(&json!({"image_spec": "x:1", "singleuser_uid": 5}))).unwrap();
        assert_eq!((traits.image.as_str(), traits.uid), ("x:1", Some(5)));
    }

    #[test]
    fn values_that_do_not_fit_are_refused_by_name() {
        let mut traits = Traits::default();
        let error = apply(&mut traits, &changes(&json!({"mem_limit": "1Gi"}))).unwrap_err();
        assert!(error.to_string().starts_with("`mem_limit`: \"1Gi\" is no amount of memory"), "{error}");
        assert!(apply(&mut traits, &changes(&json!({"nosuch": {"a": 1}}))).is_err());
        traits.set("environment", json!({"A": "text"})).unwrap();
        assert!(apply(&mut traits, &changes(&json!({"environment": {"A": {"value": "x"}}}))).is_err());
    }
}
