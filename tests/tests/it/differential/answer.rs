//! An answer without what differs from run to run: addresses, moments, ids, secrets.

use std::collections::{BTreeMap, BTreeSet};

use hub_tests::hub::Hub;
use serde_json::{Map, Value, json};

use super::side::Facts;

/// Headers of the connection, of the moment, or of the program's name.
const IGNORED: [&str; 6] =
    ["date", "server", "content-length", "connection", "transfer-encoding", "keep-alive"];
/// Values that are new in every run.
const SECRETS: [&str; 5] = ["token", "code", "access_token", "session_id", "auth_token"];

/// Lists that stock writes in the order in which a set or the database happens to have them, or, of tokens, in the
/// order of moments that are written down once in thirty seconds.
const SETS: [&str; 5] = ["scopes", "roles", "groups", "users", "api_tokens"];

/// What is compared.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Value,
}

impl Answer {
    /// From what came, for the hub it came from and the values captured there.
    pub(super) fn new(facts: &Facts, hub: &Hub, values: &BTreeMap<String, String>) -> Self {
        let clean = |text: &str| neutral(text, hub, values);
        let mut headers = BTreeMap::new();
        for (name, all) in &facts.headers {
            let value = match name.as_str() {
                name if IGNORED.contains(&name) => continue,
                "etag" => "present".to_owned(),
                // Both choose at random, so that not all come back at once.
                "retry-after" if all.iter().all(|text| soon(text)) => "soon".to_owned(),
                "set-cookie" => cookies(all),
                _ => clean(&all.join(" | ")),
            };
            headers.insert(name.clone(), value);
        }
        let kind = headers.get("content-type").map_or("", String::as_str);
        let body = body(kind, &facts.text, &clean);
        Self { status: facts.status, headers, body }
    }

    /// The status.
    pub(super) fn status(&self) -> u16 {
        self.status
    }

    /// Whether it is an internal error of a hub. Both proxies have one status for paths that they cannot decode, which
    /// never reach a hub.
    pub(super) fn is_internal_error(&self) -> bool {
        self.status == 500 && self.headers.contains_key("x-jupyterhub-version")
    }

    /// What differs: its name, and how it is here and there.
    pub(super) fn differences(&self, other: &Self) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        if self.status != other.status {
            let shown = |answer: &Self| format!("{} {}", answer.status, short(&answer.body));
            found.push(("status".to_owned(), shown(self), shown(other)));
        }
        let names: BTreeSet<&String> = self.headers.keys().chain(other.headers.keys()).collect();
        for name in names {
            let of = |answer: &Self| answer.headers.get(name).cloned();
            let (was, is) = (of(self), of(other));
            if was != is {
                let shown = |value: Option<String>| value.unwrap_or_else(|| "none".to_owned());
                found.push((name.clone(), shown(was), shown(is)));
            }
        }
        if self.body != other.body {
            let (was, is) = unequal(&self.body, &other.body, "");
            found.push(("body".to_owned(), was, is));
        }
        found
    }
}

/// The first place where two bodies differ.
fn unequal(one: &Value, other: &Value, at: &str) -> (String, String) {
    if let (Value::Object(a), Value::Object(b)) = (one, other) {
        for key in a.keys().chain(b.keys()) {
            match (a.get(key), b.get(key)) {
                (Some(x), Some(y)) if x == y => {}
                (Some(x), Some(y)) => return unequal(x, y, &format!("{at}/{key}")),
                (x, y) => {
                    let shown = |value: Option<&Value>| value.map_or("no such key".to_owned(), short);
                    return (format!("{at}/{key} {}", shown(x)), format!("{at}/{key} {}", shown(y)));
                }
            }
        }
    }
    if let (Value::Array(a), Value::Array(b)) = (one, other)
        && a.len() == b.len()
        && let Some(index) = (0..a.len()).find(|index| a[*index] != b[*index])
    {
        return unequal(&a[index], &b[index], &format!("{at}/{index}"));
    }
    (format!("{at} {}", short(one)), format!("{at} {}", short(other)))
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(600).collect()
}

/// Pages have templates of their own; of them only status and headers are compared.
fn body(kind: &str, text: &str, clean: &dyn Fn(&str) -> String) -> Value {
    if text.is_empty() {
        return json!("");
    }
    let media = kind.split(';').next().unwrap_or_default();
    match media {
        "application/json" => match serde_json::from_str(text) {
            Ok(value) => tidy("", value, clean),
            Err(_) => json!(format!("no JSON: {}", clean(text))),
        },
        "text/event-stream" => {
            let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
            let events = data.map(|data| serde_json::from_str(data).unwrap_or_else(|_| json!(data)));
            Value::Array(events.map(|event| tidy("", event, clean)).collect())
        }
        "text/html" => json!("a page"),
        "text/plain" if text.contains("# HELP") => json!("metrics"),
        _ => json!(clean(text)),
    }
}

fn tidy(key: &str, value: Value, clean: &dyn Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) if SECRETS.contains(&key) && !text.is_empty() => json!(format!("<{key}>")),
        Value::String(text) if is_id(&text) && matches!(key, "id" | "token_id") => json!("<id>"),
        Value::String(text) if is_moment(&text) => json!("<moment>"),
        Value::Number(number) if key == "pid" => json!(number.as_u64() > Some(0)),
        Value::Number(number) if key == "expires_in" => json!(number.as_i64().map(|n| (n + 50) / 100)),
        Value::String(text) if key == "scope" => {
            let mut words: Vec<&str> = text.split(' ').collect();
            words.sort_unstable();
            json!(words.join(" "))
        }
        Value::String(text) if key == "message" => json!(clean(&in_order(&text))),
        Value::Array(all) => {
            let mut all: Vec<Value> = all.into_iter().map(|item| tidy(key, item, clean)).collect();
            if SETS.contains(&key) {
                all.sort_by_key(Value::to_string);
            }
            Value::Array(all)
        }
        Value::String(text) => json!(clean(&text)),
        Value::Object(all) => {
            let tidied = all.into_iter().map(|(key, value)| {
                let value = tidy(&key, value, clean);
                (clean(&key), value)
            });
            Value::Object(tidied.collect::<Map<String, Value>>())
        }
        other => other,
    }
}

/// Half a minute to a minute, in seconds.
fn soon(text: &str) -> bool {
    text.parse().is_ok_and(|seconds: u32| (30..=60).contains(&seconds))
}

/// Messages that list scopes do it in the order of a set, and times to wait are chosen at random.
fn in_order(message: &str) -> String {
    let begin = "Not assigning requested scopes ";
    if let Some((scopes, rest)) = message.strip_prefix(begin).and_then(|rest| rest.split_once(" not held")) {
        let mut scopes: Vec<&str> = scopes.split(',').collect();
        scopes.sort_unstable();
        return format!("{begin}{} not held{rest}", scopes.join(","));
    }
    if let Some((before, rest)) = message.split_once("Try again in ")
        && let Some(seconds) = rest.strip_suffix(" seconds.")
        && soon(seconds)
    {
        return format!("{before}Try again soon.");
    }
    message.to_owned()
}

fn is_id(text: &str) -> bool {
    let number = text.strip_prefix("sc_").or_else(|| text.strip_prefix('a'));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// `2026-01-01T00:00:00.123456Z`, with or without the fraction.
fn is_moment(text: &str) -> bool {
    let bytes = text.as_bytes();
    (20..=27).contains(&bytes.len())
        && bytes.ends_with(b"Z")
        && bytes[4] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
}

/// Names, attributes and whether there is a value; moments of expiry only as before or after now.
fn cookies(all: &[String]) -> String {
    let mut lines: Vec<String> = all
        .iter()
        .map(|cookie| {
            let mut parts = cookie.split(';').map(str::trim);
            let (name, value) = parts.next().unwrap_or_default().split_once('=').unwrap_or_default();
            let empty = value.trim_matches('"').is_empty();
            let mut attributes: Vec<String> = parts
                .map(|part| match part.split_once('=') {
                    Some((key, _)) if key.eq_ignore_ascii_case("expires") => "expires".to_owned(),
                    Some((key, value)) => format!("{}={value}", key.to_lowercase()),
                    None => part.to_lowercase(),
                })
                .collect();
            attributes.sort();
            format!("{name}={}; {}", if empty { "" } else { "..." }, attributes.join("; "))
        })
        .collect();
    lines.sort();
    lines.join(" | ")
}

/// A text without ports, folders and codes of this run and with captured values by their names.
fn neutral(text: &str, hub: &Hub, values: &BTreeMap<String, String>) -> String {
    let mut text = text.replace(&hub.folder().display().to_string(), "<folder>");
    for (name, value) in values {
        text = replace_word(&text, value, &format!("{{{name}}}"));
    }
    let mut clean = without_after(&text, "127.0.0.1:", |c| c.is_ascii_digit());
    // Codes of shares and of logins.
    for mark in ["code=", "code%3D"] {
        clean = without_after(&clean, mark, |c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    }
    clean
}

/// Takes out what follows a mark as long as it is of some kind.
fn without_after(text: &str, mark: &str, what: fn(char) -> bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let (before, after) = rest.split_at(at + mark.len());
        clean.push_str(before);
        rest = after.trim_start_matches(what);
    }
    clean.push_str(rest);
    clean
}

/// Replaces a value where no letter or digit stands beside it.
fn replace_word(text: &str, value: &str, by: &str) -> String {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, found) in text.match_indices(value) {
        let (before, after) = (text[..at].chars().next_back(), text[at + found.len()..].chars().next());
        if at < from || is_part(before) || is_part(after) {
            continue;
        }
        out.push_str(&text[from..at]);
        out.push_str(by);
        from = at + found.len();
    }
    out.push_str(&text[from..]);
    out
}
