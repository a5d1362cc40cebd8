//! Values as Python prints them, because stock's messages quote what was sent that way.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::json;

/// The most that a message quotes of a request, in characters; stock quotes all of it.
const MOST: usize = 1024;

/// Python's `repr` of a text, cut after 1024 characters as stock does for its log.
pub fn quoted(text: &str) -> String {
    let mut out = String::new();
    write_str(&mut out, text);
    shorten(out)
}

/// Python's `repr` of what `json.loads` makes of a value.
pub(super) fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    shorten(out)
}

/// The same of an object.
pub(super) fn repr_map(map: &Map<String, Value>) -> String {
    let mut out = String::new();
    write_map(&mut out, map);
    shorten(out)
}

/// Python's name for the type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "NoneType",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float",
        Value::Number(_) => "int",
        Value::String(_) => "str",
        Value::Array(_) => "list",
        Value::Object(_) => "dict",
    }
}

/// What Python takes for true.
pub(super) fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn shorten(text: String) -> String {
    match text.char_indices().nth(MOST - 2) {
        Some((at, _)) if text.chars().count() > MOST => format!("{} …", text.get(..at).unwrap_or_default()),
        _ => text,
    }
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => out.push_str(&json::float(float)),
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) => write_str(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_value(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => write_map(out, map),
    }
}

fn write_map(out: &mut String, map: &Map<String, Value>) {
    out.push('{');
    for (index, (key, value)) in map.iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write_str(out, key);
        out.push_str(": ");
        write_value(out, value);
    }
    out.push('}');
}

fn write_str(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c if super::display_name::is_printable(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let written = match code {
                    0..=0xff => write!(out, "\\x{code:02x}"),
                    0x100..=0xffff => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
                debug_assert!(written.is_ok(), "writing to a string cannot fail");
            }
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_quoted_as_python_prints_them() {
        for (value, text) in [
            (json!({"a": [1, 1.0, true, null]}), r"{'a': [1, 1.0, True, None]}"),
            (json!("it's"), r#""it's""#),
            (json!("it's \"so\""), r#"'it\'s "so"'"#),
            (json!("a\u{7}\u{e9}\u{a0}\u{200b}\u{e0001}\n"), r"'a\x07é\xa0\u200b\U000e0001\n'"),
        ] {
            assert_eq!(repr(&value), text);
        }
    }

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(quoted(&"x".repeat(5000)).chars().count(), MOST);
        assert_eq!(quoted(&"x".repeat(1022)).chars().count(), 1024);
    }
}
