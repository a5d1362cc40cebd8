//! What a plugin says about its own table to editors: a JSON Schema made from the struct that reads the table.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;

use super::DurationText;

/// Describes the table of one plugin. The marks `x-kind` in it are for the program, not for editors.
pub type DescribeOptions = fn() -> Value;

/// The JSON Schema (draft 7) of `T`, the struct that [`read_options`](super::read_options) reads, without references.
pub fn options_schema<T: JsonSchema>() -> Value {
    let mut settings = SchemaSettings::draft07();
    settings.inline_subschemas = true;
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    for of_documents in ["$schema", "title"] {
        schema.remove(of_documents);
    }
    schema.to_value()
}

/// Marks a secret in a schema (`#[schemars(with = "SecretText")]`). The marked key gets a sibling `KEY_file` that names
/// a file with the value.
#[derive(Debug)]
pub enum SecretText {}

impl JsonSchema for SecretText {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "x-kind": "secret"})
    }
}

impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"], "x-kind": "duration"})
    }
}
