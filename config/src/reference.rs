//! `docs/configuration.md`, written from the schema. A test compares the two.

use std::fmt::Write as _;

use serde_json::Value;

use crate::schema::{SCHEMA, kind};
use crate::show::{inline, type_in_words};

/// What precedes the tables of keys.
const PREFACE: &str = include_str!("reference_preface.md");

/// The reference of all keys as Markdown.
pub fn markdown() -> String {
    let mut page = PREFACE.to_owned();
    for (name, schema) in SCHEMA.get("properties").and_then(Value::as_object).into_iter().flatten() {
        section(&mut page, name, schema);
    }
    page
}

fn section(page: &mut String, name: &str, schema: &Value) {
    let values = schema.get("additionalProperties").filter(|values| values.is_object());
    let (heading, schema) = match (schema.get("items"), schema.get("properties"), values) {
        (Some(items), ..) => (format!("[[{name}]]"), items),
        (None, None, Some(values)) if values.get("properties").is_some() => {
            (format!("[{name}.\"NAME\"]"), values)
        }
        _ => (format!("[{name}]"), schema),
    };
    // writing into a String cannot fail
    let _ = write!(page, "\n## `{heading}`\n\n");
    let about = SCHEMA
        .pointer(&format!("/properties/{name}/description"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let _ = write!(page, "{about}\n\n");
    if name == "groups" {
        page.push_str(
            "`NAME = [\"member\", ...]`, or a table `[groups.NAME]` with `users`, a list of members, and `properties`, \
             a table of facts for spawners and services to read.\n",
        );
        return;
    }
    table(page, name, schema);
    if schema.get("additionalProperties").and_then(kind) == Some("plugin") {
        let _ = write!(page, "\n`[{name}.KIND]` holds the settings of the plugin KIND itself.\n");
    }
}

/// The keys of a table, then those of the tables that it or its lists hold.
fn table(page: &mut String, path: &str, schema: &Value) {
    page.push_str("| Key | Type | Default | |\n| --- | --- | --- | --- |\n");
    for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let about = about(schema).replace('|', "\\|");
        let what = if key == "profiles" { "table of tables".to_owned() } else { type_in_words(schema) };
        let _ = writeln!(
            page,
            "| `{key}` | {} | {} | {about}{} |",
            what.replace('|', "\\|"),
            default(schema),
            choices(schema)
        );
    }
    for (key, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(items) = schema.get("items").filter(|items| items.get("properties").is_some()) {
            let path = format!("{path}.{key}");
            let _ = write!(page, "\n### `[[{path}]]`\n\n");
            table(page, &path, items);
        } else if is_table_of_keys(schema) {
            let path = format!("{path}.{key}");
            let _ = write!(page, "\n### `[{path}]`\n\n{}\n\n", about(schema));
            table(page, &path, schema);
        }
    }
}

/// The description of a key in one line.
fn about(schema: &Value) -> String {
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    about.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a key is a table of which all keys are known, which then has a table of its own.
fn is_table_of_keys(schema: &Value) -> bool {
    schema.get("properties").is_some()
}

fn default(schema: &Value) -> String {
    match schema.get("default") {
        None | Some(Value::Null) => String::new(),
        Some(_) if is_table_of_keys(schema) => String::new(),
        Some(value) => format!("`{}`", inline(value).replace('|', "\\|")),
    }
}

/// What each of a few possible values means.
fn choices(schema: &Value) -> String {
    let mut text = String::new();
    for one in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
        let value = one.get("const").and_then(Value::as_str);
        let about = one.get("description").and_then(Value::as_str);
        if let (Some(value), Some(about)) = (value, about) {
            let _ = write!(text, " `\"{value}\"`: {}", about.trim_end_matches('.'));
            text.push('.');
        }
    }
    text
}
