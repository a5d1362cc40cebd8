//! `[spawner.kube]`: the options read from the configuration, and every mistake in them told at once.

use std::collections::BTreeMap;

use hub_core::plugin::{options_schema, read_options};
use hub_core::{PluginError, Problem};
use serde_json::{Map, Value, json};

use crate::fields::{Expander, Resolved, Subject};
use crate::patch::check_patches;
use crate::profiles::{Forms, check_pattern, fill_sample, prepare};
use crate::python::format::{FormatError, Missing, PyValue, format};
use crate::schema::check_option;
use crate::traits::{Traits, apply};

/// Stands for Python's `None`, which TOML cannot say: `storage_class = "!none"`.
const NONE: &str = "!none";

/// Options whose texts are templates.
const TEMPLATES: [&str; 19] = [
    "user_namespace_template",
    "user_namespace_labels",
    "user_namespace_annotations",
    "pod_name_template",
    "pvc_name_template",
    "secret_name_template",
    "working_dir",
    "service_account",
    "extra_labels",
    "extra_annotations",
    "volumes",
    "volume_mounts",
    "init_containers",
    "extra_containers",
    "extra_pod_config",
    "storage_selector",
    "storage_extra_labels",
    "storage_extra_annotations",
    "environment",
];

/// Reads the table of options. `path` is its own, `spawner.kube`.
///
/// # Errors
/// Everything that is wrong, each with its key.
pub fn read(value: Value, path: &str) -> Result<Traits, PluginError> {
    let traits: Traits = read_options(with_none(value), path)?;
    let mut check = Checker { problems: Vec::new() };
    check.all(&traits, path);
    PluginError::check(check.problems)?;
    Ok(traits)
}

/// The table for editors. What may be `None` may be the text that stands for it.
pub(crate) fn describe() -> Value {
    let mut schema = options_schema::<Traits>();
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
    for types in properties.filter_map(|(_, option)| option.get_mut("type")?.as_array_mut()) {
        if types.contains(&json!("null")) && !types.contains(&json!("string")) {
            types.push(json!("string"));
        }
    }
    schema
}

/// Puts `null` where the text `!none` stands.
fn with_none(value: Value) -> Value {
    match value {
        Value::String(text) if text == NONE => Value::Null,
        Value::Array(items) => items.into_iter().map(with_none).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, with_none(value))).collect(),
        other => other,
    }
}

struct Checker {
    problems: Vec<Problem>,
}

impl Checker {
    fn wrong(&mut self, key: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem::new(key, text));
    }

    fn all(&mut self, traits: &Traits, path: &str) {
        self.numbers(traits, path);
        for name in Traits::NAMES {
            self.option(traits, name, &format!("{path}.{name}"));
        }
        if let Err(error) = check_patches(&traits.pod_patches) {
            self.wrong(format!("{path}.pod_patches[{}]", error.index), error.reason);
        }
        if let Err(error) = Forms::new(traits) {
            self.wrong(format!("{path}.profile_form_template"), error.to_string());
        }
        let changed = !traits.group_overrides.is_empty() || !traits.profile_list.is_empty();
        if traits.storage_pvc_ensure && traits.storage_capacity.is_none() && !changed {
            let text = "`storage_pvc_ensure` needs a size, for example \"10Gi\"";
            self.wrong(format!("{path}.storage_capacity"), text);
        }
        if traits.hub_connect_ip.as_deref().is_some_and(|ip| !ip.is_empty()) {
            self.wrong(format!("{path}.hub_connect_ip"), "is gone: use `hub_connect_url`");
        }
        if traits.hub_connect_port != 0 {
            self.wrong(format!("{path}.hub_connect_port"), "is gone: use `hub_connect_url`");
        }
        self.groups(traits, path);
        self.profiles(traits, path);
    }

    fn numbers(&mut self, traits: &Traits, path: &str) {
        if u16::try_from(traits.port).is_err() {
            self.wrong(format!("{path}.port"), "must be between 0 and 65535");
        }
        for (name, value, least) in [
            ("delete_grace_period", traits.delete_grace_period, 0),
            ("slow_spawn_message_threshold", traits.slow_spawn_message_threshold, 0),
            ("slow_spawn_message_frequency", traits.slow_spawn_message_frequency, 1),
            ("give_up_after", traits.give_up_after, 0),
            ("force_delete_after", traits.force_delete_after, 0),
            ("orphan_grace", traits.orphan_grace, 0),
            ("k8s_api_request_timeout", traits.k8s_api_request_timeout, 1),
            ("k8s_api_request_retry_timeout", traits.k8s_api_request_retry_timeout, 1),
            ("start_timeout", traits.start_timeout, 1),
            ("http_timeout", traits.http_timeout, 1),
        ] {
            if !(least..=86_400).contains(&value) {
                self.wrong(format!("{path}.{name}"), format!("must be between {least} and 86400 seconds"));
            }
        }
        if !(0..=1000).contains(&traits.crash_limit) {
            self.wrong(format!("{path}.crash_limit"), "must be between 0 and 1000");
        }
        for (name, least, most) in [
            ("memory", traits.mem_guarantee.0.map(precise), traits.mem_limit.0.map(precise)),
            ("cores", traits.cpu_guarantee, traits.cpu_limit),
        ] {
            let key = if name == "memory" { "mem_guarantee" } else { "cpu_guarantee" };
            if let (Some(least), Some(most)) = (least, most)
                && most > 0.0
                && least > most
            {
                self.wrong(format!("{path}.{key}"), "is more than the limit: no pod could be made");
            }
        }
    }

    /// Templates and types of one option.
    fn option(&mut self, traits: &Traits, name: &str, at: &str) {
        if let Err(error) = expands(traits, name) {
            self.wrong(at, error.to_string());
        }
        if traits.check_manifests {
            let mut found = Vec::new();
            check_option(traits, name, at, &mut found);
            self.problems.extend(found.into_iter().map(|(key, text)| Problem::new(key, text)));
        }
    }

    fn groups(&mut self, traits: &Traits, path: &str) {
        for (key, entry) in &traits.group_overrides {
            let at = format!("{path}.group_overrides.{key}");
            let known = ["groups", "spawner_override"];
            let entry = entry.as_object().cloned().unwrap_or_default();
            if let Some(other) = entry.keys().find(|key| !known.contains(&key.as_str())) {
                self.wrong(format!("{at}.{other}"), "unknown key, known are: groups, spawner_override");
            }
            let texts = |value: &Value| value.as_array().is_some_and(|all| all.iter().all(Value::is_string));
            if !entry.get("groups").is_some_and(texts) {
                self.wrong(format!("{at}.groups"), "must be a list of names of groups");
            }
            match entry.get("spawner_override") {
                Some(Value::Object(changes)) => {
                    self.changes(traits, changes, &format!("{at}.spawner_override"));
                }
                _ => self.wrong(format!("{at}.spawner_override"), "must be a table of options"),
            }
        }
    }

    /// Changes of options: each must name one, fit it, and leave it valid.
    fn changes(&mut self, traits: &Traits, changes: &Map<String, Value>, at: &str) {
        for (name, value) in changes {
            let at = format!("{at}.{name}");
            let mut changed = traits.clone();
            let single = std::iter::once((name.clone(), value.clone())).collect();
            match apply(&mut changed, &single) {
                Ok(unknown) if unknown.is_empty() => {
                    if Traits::NAMES.contains(&name.as_str()) {
                        self.option(&changed, name, &at);
                    }
                }
                Ok(_) => self.wrong(at, "there is no option of this name"),
                Err(error) => self.wrong(at, error.to_string()),
            }
        }
    }

    fn profiles(&mut self, traits: &Traits, path: &str) {
        let list = match prepare(traits.profile_list.sorted()) {
            Ok(list) => list,
            Err(error) => return self.wrong(path, error.to_string()),
        };
        if let Err(error) = crate::profiles::allowed(list.clone(), &crate::Asker::default()) {
            self.wrong(path, error.to_string());
        }
        let mut slugs: Vec<&str> = Vec::new();
        for profile in &list {
            let slug = profile.get("slug").and_then(Value::as_str).unwrap_or_default();
            let at = format!("{path}.profile_list.{slug}");
            if slugs.contains(&slug) {
                self.wrong(&at, "another profile has the same slug: give one of them a `slug` of its own");
            }
            slugs.push(slug);
            self.overrides(traits, profile, &at, false);
            let options = profile.get("profile_options").and_then(Value::as_object);
            for (name, option) in options.into_iter().flatten() {
                self.profile_option(traits, option, &format!("{at}.profile_options.{name}"));
            }
        }
    }

    fn profile_option(&mut self, traits: &Traits, option: &Value, at: &str) {
        let choices = option.get("choices").and_then(Value::as_object);
        for (name, choice) in choices.into_iter().flatten() {
            self.overrides(traits, choice, &format!("{at}.choices.{name}"), false);
        }
        let Some(unlisted) = option.get("unlisted_choice") else { return };
        let at = format!("{at}.unlisted_choice");
        if let Some(regex) = unlisted.get("validation_regex").and_then(Value::as_str)
            && let Err(reason) = check_pattern(regex)
        {
            self.wrong(format!("{at}.validation_regex"), reason);
        }
        self.overrides(traits, unlisted, &at, true);
    }

    fn overrides(&mut self, traits: &Traits, table: &Value, at: &str, with_value: bool) {
        let at = format!("{at}.kubespawner_override");
        let changes = match table.get("kubespawner_override") {
            None => return,
            Some(Value::Object(changes)) => changes,
            Some(_) => return self.wrong(at, "must be a table of options"),
        };
        if !with_value {
            return self.changes(traits, changes, &at);
        }
        match fill_sample(changes) {
            Ok(filled) => self.changes(traits, &filled, &at),
            Err(error) => self.wrong(at, error.to_string()),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "only compared")]
fn precise(bytes: i64) -> f64 {
    bytes as f64
}

/// Whether the templates of an option can be expanded for some server.
fn expands(traits: &Traits, name: &str) -> Result<(), FormatError> {
    let value = traits.get(name).unwrap_or(json!(null));
    if TEMPLATES.contains(&name) {
        let subject = Subject {
            user: "someone".to_owned(),
            server: "server".to_owned(),
            user_id: 1,
            hub_namespace: "hub".to_owned(),
            extra: BTreeMap::from([("workspace".to_owned(), "server".to_owned())]),
        };
        let known = Some("name");
        let resolved = Resolved { pod_name: known, pvc_name: known, namespace: known };
        return Expander::new(&subject, traits.slug_scheme, resolved).value(&value).map(|_| ());
    }
    let fields: &[&str] = match name {
        "dns_name_template" => &["name", "namespace"],
        "notebook_dir" | "default_url" => &["username", "base_url"],
        "slow_spawn_message" => &["seconds"],
        _ => return Ok(()),
    };
    let field = |name: &str| fields.contains(&name).then_some(PyValue::Int(1));
    format(value.as_str().unwrap_or_default(), &field, Missing::Refuse).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(value: Value) -> Vec<String> {
        match read(value, "spawner.kube") {
            Ok(_) => Vec::new(),
            Err(error) => error.problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn no_table_at_all_is_stocks_default() {
        assert_eq!(read(Value::Null, "spawner.kube"), Ok(Traits::default()));
    }

    #[test]
    fn none_can_be_said_in_toml() {
        let traits = read(
            json!({"allow_privilege_escalation": "!none", "group_overrides": {"a": {"groups": ["g"],
                "spawner_override": {"node_selector": {"pool": "!none"}}}}}),
            "spawner.kube",
        )
        .unwrap();
        assert_eq!(traits.allow_privilege_escalation, None);
        let entry = traits.group_overrides.get("a").unwrap();
        assert_eq!(entry.pointer("/spawner_override/node_selector/pool"), Some(&Value::Null));
    }

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let found = problems(json!({
            "port": 70000,
            "environment": {"A": "${HOME}"},
            "volumes": [{"name": "v", "secret": {"secretNam": "x"}}],
            "pod_patches": [{}],
            "storage_pvc_ensure": true,
            "group_overrides": {"a": {"groups": "g", "spawner_override": {"mem_limt": "1G"}}},
            "profile_list": [
                {"display_name": "A", "kubespawner_override": {"mem_limit": "1Gi"}},
                {"display_name": "A", "profile_options": {"image": {
                    "choices": {"x": {"kubespawner_override": {"environment": {"B": "{"}}}},
                    "unlisted_choice": {"enabled": true, "validation_regex": "(",
                        "kubespawner_override": {"image": "{value}", "environment": {"T": "{value} {x}"}}}}}},
            ],
        }));
        for key in [
            "spawner.kube.port",
            "spawner.kube.environment",
            "spawner.kube.volumes[0].secret.secretNam",
            "spawner.kube.pod_patches[0]",
            "spawner.kube.group_overrides.a.groups",
            "spawner.kube.group_overrides.a.spawner_override.mem_limt",
            "spawner.kube.profile_list.a.kubespawner_override.mem_limit",
            "spawner.kube.profile_list.a",
            "spawner.kube.profile_list.a.profile_options.image.choices.x.kubespawner_override.environment",
            "spawner.kube.profile_list.a.profile_options.image.unlisted_choice.validation_regex",
            "spawner.kube.profile_list.a.profile_options.image.unlisted_choice.kubespawner_override.environment",
        ] {
            assert!(found.iter().any(|text| text.starts_with(&format!("{key}: "))), "{key} in {found:#?}");
        }
    }

    #[test]
    fn unknown_options_name_their_neighbour() {
        let found = problems(json!({"pod_name_templat": "x"}));
        assert_eq!(found, ["spawner.kube.pod_name_templat: unknown key, did you mean `pod_name_template`?"]);
    }
}
