//! Settings of `[spawner]` that groups and people's choices change for one start. Answers to `Spawner.group_overrides`
//! and to the table form of `Spawner.apply_user_options`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::durations::OptionalSizeText;

/// Changes for the members of some groups.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GroupOverride {
    /// Whoever is in one of these groups gets them.
    pub groups: Vec<String>,
    /// Keys of `[spawner]` with other values.
    pub spawner_override: SpawnerChanges,
}

/// Keys of `[spawner]` that a start may have other values of.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SpawnerChanges {
    /// Another command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Other arguments after the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Further variables, or other values of them; `"!none"` takes one away.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Another directory shown first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notebook_dir: Option<String>,
    /// Another page shown first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_url: Option<String>,
    /// Whether servers read configuration of the person's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_user_config: Option<bool>,
    /// Whether servers log in detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug: Option<bool>,
    /// Another limit of memory.
    #[serde(with = "OptionalSizeText", skip_serializing_if = "Option::is_none")]
    pub mem_limit: Option<u64>,
    /// Other memory set aside.
    #[serde(with = "OptionalSizeText", skip_serializing_if = "Option::is_none")]
    pub mem_guarantee: Option<u64>,
    /// Another limit of processor cores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_limit: Option<f64>,
    /// Other processor cores set aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_guarantee: Option<f64>,
}

impl SpawnerChanges {
    /// What takes a variable away.
    pub const NONE: &str = "!none";

    /// Keys that an option of a person may set.
    pub const CHOOSABLE: [&str; 10] = [
        "cmd",
        "args",
        "notebook_dir",
        "default_url",
        "disable_user_config",
        "debug",
        "mem_limit",
        "mem_guarantee",
        "cpu_limit",
        "cpu_guarantee",
    ];

    /// The change of one of these keys. Forms bring texts: one that is no value of the key as it is, is read as JSON.
    /// None where it is no value then either.
    pub fn chosen(key: &str, value: &Value) -> Option<Self> {
        let read = |value: &Value| {
            let known = Self::CHOOSABLE.contains(&key) && !value.is_null();
            known.then(|| serde_json::from_value(json!({ key: value })).ok()).flatten()
        };
        read(value).or_else(|| read(&serde_json::from_str(value.as_str()?).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_a_value_of_its_key_or_a_text_for_one() {
        let of = |key: &str, value: Value| SpawnerChanges::chosen(key, &value);
        for value in [json!(1.5), json!("1.5")] {
            let wanted = SpawnerChanges { cpu_limit: Some(1.5), ..SpawnerChanges::default() };
            assert_eq!(of("cpu_limit", value), Some(wanted));
        }
        assert_eq!(of("mem_limit", json!("2G")).unwrap().mem_limit, Some(2 << 30));
        assert_eq!(of("debug", json!("true")).unwrap().debug, Some(true));
        assert_eq!(of("default_url", json!("1")).unwrap().default_url.as_deref(), Some("1"));
        assert_eq!(of("args", json!("[\"-x\"]")).unwrap().args, Some(vec!["-x".to_owned()]));
        for (key, value) in [
            ("cpu_limit", json!("many")),
            ("cpu_limit", json!(["1"])),
            ("mem_limit", Value::Null),
            ("environment", json!({"A": "1"})),
            ("port", json!(1)),
        ] {
            assert_eq!(of(key, value.clone()), None, "{key} {value}");
        }
    }

    #[test]
    fn the_keys_to_choose_are_those_of_the_changes() {
        let full = json!({
            "cmd": ["a"], "args": ["b"], "notebook_dir": "c", "default_url": "d", "disable_user_config": true,
            "debug": true, "mem_limit": "1G", "mem_guarantee": "1M", "cpu_limit": 2.0, "cpu_guarantee": 0.5,
        });
        let read: SpawnerChanges = serde_json::from_value(full.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), full);
        let names: Vec<&String> = full.as_object().unwrap().keys().collect();
        assert_eq!(names, SpawnerChanges::CHOOSABLE);
        assert_eq!(serde_json::to_value(SpawnerChanges::default()).unwrap(), json!({}));
    }
}
