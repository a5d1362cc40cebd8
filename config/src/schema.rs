//! The one description of all keys, made from the section structs: the checks, the reference and the JSON Schema for
//! editors all read it.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::Config;

/// Keys of stock that mean one of ours in another unit or shape. The left one is accepted and turned into the right
/// one before the layers are merged.
pub(crate) const SYNONYMS: [Synonym; 2] = [
    Synonym {
        section: "hub",
        name: "cookie_max_age_days",
        target: "cookie_max_age",
        seconds: 86_400.0,
        about: "`cookie_max_age` in days, as stock names it.",
    },
    Synonym {
        section: "hub",
        name: "token_expires_in_max_seconds",
        target: "token_expires_in_max",
        seconds: 1.0,
        about: "`token_expires_in_max` in seconds, as stock names it.",
    },
];

/// One such key.
#[derive(Debug)]
pub(crate) struct Synonym {
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    /// What one unit is in seconds.
    pub(crate) seconds: f64,
    about: &'static str,
}

/// Schema with our own marks (`x-kind`) in it, without references.
pub(crate) static SCHEMA: LazyLock<Value> = LazyLock::new(build);

/// What a plugin says about its table: `[authenticator.NAME]` or `[spawner.NAME]`.
#[derive(Debug)]
pub struct PluginTable {
    /// `authenticator` or `spawner`.
    pub section: &'static str,
    /// The `kind`.
    pub name: &'static str,
    /// Its schema, with marks.
    pub schema: Value,
}

/// The JSON Schema (draft 7) for editors, for example with taplo: `#:schema ./himalia.schema.json`. `plugins` are those
/// that the program holds; the tables of spawners stand in each profile too.
pub fn json_schema(plugins: Vec<PluginTable>) -> Value {
    let mut schema = SCHEMA.clone();
    for PluginTable { section, name, schema: mut table } in plugins {
        add_secret_files(&mut table);
        for at in [
            format!("/properties/{section}"),
            format!("/properties/{section}/properties/profiles/additionalProperties"),
        ] {
            let properties = schema.pointer_mut(&format!("{at}/properties")).and_then(Value::as_object_mut);
            if let Some(properties) = properties {
                properties.insert(name.to_owned(), table.clone());
            }
        }
    }
    publish(&mut schema);
    schema
}

fn build() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<Config>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), "Himalia configuration".into());
        root.remove("description");
    }
    add_secret_files(&mut schema);
    for synonym in SYNONYMS {
        if let Some(section) = properties_mut(&mut schema, &[synonym.section]) {
            section.insert(
                synonym.name.to_owned(),
                json!({"type": "number", "minimum": 0, "description": synonym.about, "x-kind": "synonym"}),
            );
        }
    }
    let profile = profile_schema(&schema);
    if let Some(spawner) = properties_mut(&mut schema, &["spawner"]) {
        spawner.insert(
            "profiles".to_owned(),
            json!({
                "type": "object",
                "description": "Several ways to start a server, `[spawner.profiles.NAME]`. Each has its own \
                    `display_name`, `description` and `default`, and may set every key of `[spawner]` for itself.",
                "additionalProperties": profile,
                "default": {},
            }),
        );
    }
    for section in ["authenticator", "spawner"] {
        if let Some(section) = schema.pointer_mut(&format!("/properties/{section}")) {
            allow_plugin_tables(section);
        }
    }
    schema
}

fn properties_mut<'s>(schema: &'s mut Value, path: &[&str]) -> Option<&'s mut Map<String, Value>> {
    let mut at = schema;
    for step in path {
        at = at.get_mut("properties")?.get_mut(step)?;
    }
    at.get_mut("properties")?.as_object_mut()
}

/// The section `[spawner]` again, with what only profiles have.
fn profile_schema(schema: &Value) -> Value {
    let mut profile = schema.pointer("/properties/spawner").cloned().unwrap_or_default();
    if let Some(object) = profile.as_object_mut() {
        object.remove("default");
        object.insert("description".to_owned(), "One way to start a server.".into());
    }
    if let Some(properties) = properties_mut(&mut profile, &[]) {
        for (_, property) in properties.iter_mut() {
            if let Some(property) = property.as_object_mut() {
                property.remove("default");
            }
        }
        properties.insert(
            "display_name".to_owned(),
            json!({"type": "string", "description": "Name shown to people; the key of the profile when left out."}),
        );
        properties.insert(
            "description".to_owned(),
            json!({"type": "string", "description": "Text shown to people."}),
        );
        properties.insert(
            "default".to_owned(),
            json!({"type": "boolean", "description": "Chosen when people do not choose."}),
        );
        properties.insert(
            "allowed_workspaces".to_owned(),
            json!({
                "type": "array",
                "items": {"type": "string"},
                "description": "Workspaces whose servers may have it, by name; empty for all servers.",
            }),
        );
    }
    allow_plugin_tables(&mut profile);
    profile
}

fn allow_plugin_tables(section: &mut Value) {
    if let Some(section) = section.as_object_mut() {
        section.insert("additionalProperties".to_owned(), json!({"type": "object", "x-kind": "plugin"}));
    }
}

/// Every secret `x` may be given as `x_file`.
fn add_secret_files(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            let mut in_files = Vec::new();
            if let Some(properties) = object.get_mut("properties").and_then(Value::as_object_mut) {
                let secrets: Vec<String> = properties
                    .iter()
                    .filter(|(_, schema)| is_secret(schema))
                    .map(|(name, _)| name.clone())
                    .collect();
                for name in secrets {
                    let about = if properties.get(&name).is_some_and(|schema| schema.get("items").is_some()) {
                        format!("File with the values of `{name}`, one a line.")
                    } else {
                        format!("File with the value of `{name}`.")
                    };
                    let entry = json!({"type": "string", "description": about, "x-kind": "secret-file"});
                    properties.entry(format!("{name}_file")).or_insert(entry);
                    in_files.push(name);
                }
            }
            if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
                required.retain(|name| !in_files.iter().any(|secret| name == secret));
            }
            for (_, inner) in object.iter_mut() {
                add_secret_files(inner);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(add_secret_files),
        _ => {}
    }
}

/// Whether a key holds one secret or a list of secrets.
pub(crate) fn is_secret(schema: &Value) -> bool {
    kind(schema) == Some("secret") || schema.get("items").and_then(kind) == Some("secret")
}

/// Our own mark of a schema.
pub(crate) fn kind(schema: &Value) -> Option<&str> {
    schema.get("x-kind").and_then(Value::as_str)
}

/// The names of a schema's JSON types, `null` left out.
pub(crate) fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect()
        }
        _ => Vec::new(),
    }
}

/// The schemas that a value may follow, when there are several.
pub(crate) fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array)
}

/// The texts that a key may have, when there are only a few.
pub(crate) fn choices(schema: &Value) -> Option<Vec<&str>> {
    if let Some(list) = schema.get("enum").and_then(Value::as_array) {
        return Some(list.iter().filter_map(Value::as_str).collect());
    }
    let list = schema.get("oneOf").and_then(Value::as_array)?;
    list.iter().map(|one| one.get("const").and_then(Value::as_str)).collect()
}

/// Takes out what editors need not see: our marks, and `null`, which TOML does not have.
fn publish(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("x-kind");
            if object.get("default").is_some_and(Value::is_null) {
                object.remove("default");
            }
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|t| t != "null");
                if let [one] = types.as_slice() {
                    let one = one.clone();
                    object.insert("type".to_owned(), one);
                }
            }
            for (_, inner) in object.iter_mut() {
                publish(inner);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(publish),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_secret_has_a_sibling_that_names_a_file() {
        for pointer in [
            "/properties/db/properties/url_file",
            "/properties/db/properties/password_file",
            "/properties/proxy/properties/auth_token_file",
            "/properties/hub/properties/crypt_keys_file",
            "/properties/services/items/properties/api_token_file",
        ] {
            assert_eq!(SCHEMA.pointer(pointer).and_then(kind), Some("secret-file"), "{pointer}");
        }
        // this one has its own meaning: the file is made when it is missing
        assert_eq!(SCHEMA.pointer("/properties/hub/properties/cookie_secret_file").and_then(kind), None);
    }

    #[test]
    fn the_published_schema_has_no_marks_and_no_null() {
        let text = json_schema(Vec::new()).to_string();
        assert!(!text.contains("x-kind"), "{text}");
        assert!(!text.contains("null\""), "{text}");
    }
}
