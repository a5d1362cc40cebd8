//! JSON in text columns: `JSONDict` and `JSONList` of stock's ORM.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, StringLen, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable, Value};
use serde::Serialize as _;
use serde_json::Value as Json;
use serde_json::ser::Formatter;

/// The key by which stock marks bytes inside JSON.
const BYTES_KEY: &str = "__jupyterhub_bytes__";
/// Bytes per line of Python's `encodebytes`.
const BYTES_PER_LINE: usize = 57;

/// Any JSON value kept as text: `users.user_info`, `spawners.state`, `groups.properties` and their like.
///
/// An `Option<JsonDict>` is `None` for SQL NULL, for the text `null`, and for text that is not JSON, which is logged.
/// Bytes stay in their wrapped form; see [`bytes_value`] and [`value_bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonDict(pub Json);

impl JsonDict {
    /// The value inside, by value.
    pub fn into_inner(self) -> Json {
        self.0
    }
}

impl From<Json> for JsonDict {
    fn from(value: Json) -> Self {
        Self(value)
    }
}

/// A list of strings kept as JSON text: scopes, commands. SQL NULL reads as the empty list.
///
/// Members that are not strings are left out, and text that is not a list reads as empty and is logged: for scopes
/// that is the safe side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JsonList(pub Vec<String>);

impl JsonList {
    /// The strings, by value.
    pub fn into_inner(self) -> Vec<String> {
        self.0
    }
}

impl<S: Into<String>> FromIterator<S> for JsonList {
    fn from_iter<T: IntoIterator<Item = S>>(members: T) -> Self {
        Self(members.into_iter().map(Into::into).collect())
    }
}

impl From<Vec<String>> for JsonList {
    fn from(members: Vec<String>) -> Self {
        Self(members)
    }
}

impl std::ops::Deref for JsonList {
    type Target = [String];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Bytes as stock keeps them inside JSON (files uploaded with a spawn form):
/// `{"__jupyterhub_bytes__": true, "data": "<base64, 76 characters a line>"}`.
pub fn bytes_value(bytes: &[u8]) -> Json {
    let mut data = String::with_capacity(bytes.len() * 4 / 3 + bytes.len() / BYTES_PER_LINE + 8);
    for line in bytes.chunks(BYTES_PER_LINE) {
        STANDARD.encode_string(line, &mut data);
        data.push('\n');
    }
    serde_json::json!({ BYTES_KEY: true, "data": data })
}

/// The bytes behind [`bytes_value`], or `None` when the value is anything else or damaged.
pub fn value_bytes(value: &Json) -> Option<Vec<u8>> {
    let object = value.as_object()?;
    if object.get(BYTES_KEY) != Some(&Json::Bool(true)) {
        return None;
    }
    let data: String = object.get("data")?.as_str()?.split_ascii_whitespace().collect();
    STANDARD.decode(data).ok()
}

/// JSON as Python's `json.dumps` writes it: `", "` and `": "` between parts, everything beyond ASCII escaped.
///
/// # Panics
/// Never: a JSON value has only text keys and finite numbers, and memory does not refuse to be written.
pub fn python_json(value: &Json) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, PythonFormatter);
    value.serialize(&mut serializer).expect("writing a JSON value into memory cannot fail");
    String::from_utf8(text).expect("the formatter writes ASCII")
}

/// serde_json's view of `json.dumps`.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0_u16; 2];
        for character in fragment.chars() {
            // serde_json escapes the controls below space itself; DEL stays bare in Python too.
            if character.is_ascii() {
                writer.write_all(&[character as u8])?;
            } else {
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<Json> {
    match serde_json::from_str(text) {
        Ok(Json::Null) => None,
        Ok(value) => Some(value),
        Err(error) => {
            // The text may hold secrets: only where it breaks is told.
            tracing::warn!(
                line = error.line(),
                column = error.column(),
                "a JSON column holds no JSON and reads as null"
            );
            None
        }
    }
}

fn strings(value: Json) -> Vec<String> {
    let Json::Array(members) = value else {
        tracing::warn!("a JSON list column holds no list and reads as empty");
        return Vec::new();
    };
    members
        .into_iter()
        .filter_map(|member| match member {
            Json::String(text) => Some(text),
            _ => None,
        })
        .collect()
}

impl From<JsonDict> for Value {
    fn from(value: JsonDict) -> Self {
        Self::String(Some(python_json(&value.0)))
    }
}

impl From<JsonList> for Value {
    fn from(list: JsonList) -> Self {
        let members = list.0.into_iter().map(Json::String).collect();
        Self::String(Some(python_json(&Json::Array(members))))
    }
}

impl TryGetable for JsonDict {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, index)?;
        parse(&text).map(Self).ok_or_else(|| TryGetError::Null(format!("{index:?}")))
    }
}

impl TryGetable for JsonList {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = Option::<String>::try_get_by(row, index)?;
        Ok(Self(text.as_deref().and_then(parse).map(strings).unwrap_or_default()))
    }
}

impl ValueType for JsonDict {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        match value {
            Value::String(Some(text)) => parse(&text).map(Self).ok_or(ValueTypeErr),
            _ => Err(ValueTypeErr),
        }
    }

    fn type_name() -> String {
        "JsonDict".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::Text
    }
}

impl ValueType for JsonList {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        match value {
            Value::String(text) => Ok(Self(text.as_deref().and_then(parse).map(strings).unwrap_or_default())),
            _ => Err(ValueTypeErr),
        }
    }

    fn type_name() -> String {
        "JsonList".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::String(StringLen::None)
    }
}

impl Nullable for JsonDict {
    fn null() -> Value {
        Value::String(None)
    }
}

impl Nullable for JsonList {
    fn null() -> Value {
        Value::String(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_is_what_python_dumps() {
        let value = json!({"a": [1, 2.5, null, true], "é😀": "x\n\"\u{7f}", "empty": {}, "none": []});
        assert_eq!(
            python_json(&value),
            "{\"a\": [1, 2.5, null, true], \"\\u00e9\\ud83d\\ude00\": \"x\\n\\\"\u{7f}\", \"empty\": {}, \"none\": []}"
        );
        assert_eq!(parse(&python_json(&value)), Some(value));
    }

    #[test]
    fn bytes_are_wrapped_with_python_line_lengths() {
        let bytes: Vec<u8> = (0..=255).collect();
        let value = bytes_value(&bytes);
        let lines: Vec<usize> = value["data"].as_str().unwrap().lines().map(str::len).collect();
        assert_eq!(lines, [76, 76, 76, 76, 40]);
        assert_eq!(value_bytes(&value), Some(bytes));
        assert_eq!(bytes_value(b""), json!({"__jupyterhub_bytes__": true, "data": ""}));
    }

    #[test]
    fn damaged_or_foreign_values_are_no_bytes() {
        for value in [
            json!({}),
            json!("text"),
            json!({"__jupyterhub_bytes__": false, "data": ""}),
            json!({"__jupyterhub_bytes__": true}),
            json!({"__jupyterhub_bytes__": true, "data": "*"}),
        ] {
            assert_eq!(value_bytes(&value), None, "{value}");
        }
    }

    #[test]
    fn lists_drop_what_is_no_string_and_nulls_are_nothing() {
        assert_eq!(strings(json!(["a", 1, null, "b"])), ["a", "b"]);
        assert!(strings(json!({"a": 1})).is_empty());
        assert_eq!(parse("null"), None);
        assert_eq!(parse("{broken"), None);
    }
}
