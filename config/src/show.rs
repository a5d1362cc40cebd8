//! The effective configuration as TOML, each key with its origin, secrets masked.

use std::fmt::Write as _;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};

use crate::check::child;
use crate::load::Loaded;
use crate::schema::{self, SCHEMA, is_secret, kind};
use crate::secrets::is_secret_name;

const MASK: &str = "********";

/// The effective configuration as TOML. A comment after each key names its origin; keys without value are comments.
/// It can be read back but for the secrets, which are `********`.
pub fn show(loaded: &Loaded) -> String {
    let full = serde_json::to_value(&loaded.config).unwrap_or_default();
    let mut page = Page { loaded, text: String::new() };
    let sections = SCHEMA.get("properties").and_then(Value::as_object);
    for (name, schema) in sections.into_iter().flatten() {
        let value = full.get(name).unwrap_or(&Value::Null);
        if let Some(items) = schema.get("items") {
            for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                page.heading(&format!("[[{name}]]"));
                page.fixed(&format!("{name}[{index}]"), items, item);
            }
        } else if schema.get("properties").is_some() {
            page.heading(&format!("[{name}]"));
            page.fixed(name, schema, value);
            page.plugins(name, schema);
        } else if value.as_object().is_some_and(|table| !table.is_empty()) {
            page.heading(&format!("[{name}]"));
            for (key, value) in value.as_object().into_iter().flatten() {
                page.line(&child(name, key), key, &shown(key, value));
            }
        }
    }
    page.text
}

struct Page<'l> {
    loaded: &'l Loaded,
    text: String,
}

impl Page<'_> {
    fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(heading);
        self.text.push('\n');
    }

    fn line(&mut self, key: &str, name: &str, value: &str) {
        let origin = self.loaded.origins.of(key).to_string().replace(['\n', '\r'], " ");
        let name = quote_key(name);
        // writing into a String cannot fail
        let _ = writeln!(self.text, "{name} = {value}  # {origin}");
    }

    /// A table whose keys the schema knows.
    fn fixed(&mut self, key: &str, schema: &Value, value: &Value) {
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let inner = child(key, name);
            if matches!(kind(schema), Some("synonym" | "secret-file")) || inner == "spawner.profiles" {
                continue;
            }
            match value.get(name) {
                None => self.secret(&inner, name, schema),
                Some(Value::Null) => {
                    let _ = writeln!(self.text, "# {name} is not set");
                }
                Some(value) => self.line(&inner, name, &shown(name, value)),
            }
        }
    }

    /// What is not serialised: secrets, lists and tables of them.
    fn secret(&mut self, key: &str, name: &str, schema: &Value) {
        if key == "db.url" {
            let url = self.loaded.config.db.url.expose_secret();
            let url = if url.contains("://") { mask_url(url) } else { MASK.to_owned() };
            self.line(key, name, &inline(&url.into()));
        } else if !self.loaded.origins.is_set(key) {
            let _ = writeln!(self.text, "# {name} is not set");
        } else if schema.get("items").is_some_and(is_secret) {
            self.line(key, name, &format!("[{MASK:?}]"));
        } else if is_secret(schema) {
            self.line(key, name, &format!("{MASK:?}"));
        } else {
            let set = self.loaded.set.pointer(&format!("/{}", key.replace('.', "/")));
            let masked = |(name, _): (&String, _)| (name.clone(), Value::from(MASK));
            let table: Map<String, Value> =
                set.and_then(Value::as_object).into_iter().flatten().map(masked).collect();
            self.line(key, name, &inline(&Value::Object(table)));
        }
    }

    /// Tables of plugins, and spawner profiles, as they were written.
    fn plugins(&mut self, section: &str, schema: &Value) {
        let known = schema.get("properties");
        let set = self.loaded.set.get(section).and_then(Value::as_object);
        for (name, table) in set.into_iter().flatten() {
            let key = child(section, name);
            if key == "spawner.profiles" {
                for (name, profile) in table.as_object().into_iter().flatten() {
                    self.written(&child(&key, name), profile);
                }
            } else if known.is_none_or(|known| known.get(name).is_none()) {
                self.written(&key, table);
            }
        }
    }

    fn written(&mut self, key: &str, table: &Value) {
        let Some(table) = table.as_object() else { return };
        self.heading(&format!("[{key}]"));
        let plain = |name: &str, value: &Value| !value.is_object() || holds_secrets(name);
        for (name, value) in table.iter().filter(|(name, value)| plain(name, value)) {
            self.line(&child(key, name), name, &shown(name, value));
        }
        for (name, value) in table.iter().filter(|(name, value)| !plain(name, value)) {
            self.written(&child(key, name), value);
        }
    }
}

/// Tables whose values may be secrets whatever they are called: variables of processes.
fn holds_secrets(name: &str) -> bool {
    matches!(name, "environment" | "env")
}

/// A value on one line, with what may be secret in it masked.
fn shown(name: &str, value: &Value) -> String {
    inline(&masked(name, value))
}

fn masked(name: &str, value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(table) => {
            let all = holds_secrets(name);
            let mask = |(key, value): (&String, &Value)| {
                let hidden = all && !value.is_null();
                (key.clone(), if hidden { MASK.into() } else { masked(key, value) })
            };
            Value::Object(table.iter().map(mask).collect())
        }
        _ if is_secret_name(name) => MASK.into(),
        Value::Array(list) if holds_secrets(name) => list.iter().map(|_| Value::from(MASK)).collect(),
        Value::Array(list) => list.iter().map(|value| masked("", value)).collect(),
        Value::String(text) => mask_url(text).into(),
        other => other.clone(),
    }
}

/// A text without the password that it holds if it is a URL: after the user's name, or in the query.
fn mask_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let in_query = |query: &str| {
        let keys =
            query.split('&').map(|pair| pair.split('=').next().unwrap_or_default().to_ascii_lowercase());
        let words = ["password", "passwd", "secret", "token"];
        keys.into_iter().any(|key| words.iter().any(|word| key.contains(word)))
    };
    // A password with a slash that nobody escaped looks like a port and a path.
    let no_port = |authority: &str| {
        authority.rsplit_once(':').is_some_and(|(_, port)| !port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let broken =
        !authority.contains('@') && !authority.ends_with(']') && no_port(authority) && path.contains('@');
    if broken || path.split_once('?').is_some_and(|(_, query)| in_query(query)) {
        return format!("{scheme}://{MASK}");
    }
    match authority.rsplit_once('@') {
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:{MASK}@{host}{path}"),
            None => url.to_owned(),
        },
        None => url.to_owned(),
    }
}

fn quote_key(key: &str) -> String {
    child("", key)
}

/// A value as TOML on one line.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        // JSON's escapes are TOML's but for one character that JSON leaves bare
        Value::String(text) => Value::from(text.as_str()).to_string().replace('\u{7f}', "\\u007f"),
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        Value::Object(table) => {
            let entries: Vec<String> = table
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{} = {}", quote_key(key), inline(value)))
                .collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

/// Used by the reference too: what a schema says about types, in words.
pub(crate) fn type_in_words(schema: &Value) -> String {
    match kind(schema) {
        Some("duration") => "duration".to_owned(),
        Some("wait") => "duration or `\"forever\"`".to_owned(),
        Some("size") => "size".to_owned(),
        Some("secret") => "secret".to_owned(),
        Some("secret-file") => "file".to_owned(),
        Some("bind-url") => "address".to_owned(),
        Some("base-url") => "path".to_owned(),
        _ => plain_type_in_words(schema),
    }
}

fn plain_type_in_words(schema: &Value) -> String {
    if let Some(choices) = schema::choices(schema) {
        return choices.iter().map(|choice| format!("`\"{choice}\"`")).collect::<Vec<_>>().join(", ");
    }
    if let Some(alternatives) = schema::alternatives(schema) {
        return alternatives.iter().map(type_in_words).collect::<Vec<_>>().join(" or ");
    }
    let names: Vec<String> = schema::types(schema)
        .into_iter()
        .map(|name| match name {
            "string" => "text".to_owned(),
            "integer" => "whole number".to_owned(),
            "number" => "number".to_owned(),
            "boolean" => "true or false".to_owned(),
            "array" => match schema.get("items") {
                Some(items) => format!("list of {}", type_in_words(items)),
                None => "list".to_owned(),
            },
            "object" => match schema.get("additionalProperties").filter(|values| values.is_object()) {
                Some(values) if kind(values) != Some("plugin") => {
                    format!("table of {}", type_in_words(values))
                }
                _ => "table".to_owned(),
            },
            other => other.to_owned(),
        })
        .collect();
    names.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked_and_the_rest_stays_readable() {
        for (url, shown) in [
            ("postgresql://hub:s3@cr:et@db:5432/hub", "postgresql://hub:********@db:5432/hub"),
            ("postgresql://hub@db/hub", "postgresql://hub@db/hub"),
            ("sqlite:///jupyterhub.sqlite", "sqlite:///jupyterhub.sqlite"),
            ("mysql://db/hub?user=a&password=b", "mysql://********"),
            ("mysql://db/hub?passwd=b", "mysql://********"),
            ("mysql://db/hub?charset=utf8", "mysql://db/hub?charset=utf8"),
            ("http://user:pass@proxy:8001", "http://user:********@proxy:8001"),
            ("postgresql://hub:s3/cret@db/hub", "postgresql://********"),
            ("http://[::1]:8000/a@b", "http://[::1]:8000/a@b"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(mask_url(url), shown);
        }
    }
}
