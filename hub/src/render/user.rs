//! The person and the servers that a page speaks of.

use std::sync::Arc;

use minijinja::value::{Enumerator, Kwargs, Object, ObjectExt as _, Serde, Value, from_args};
use minijinja::{Error, ErrorKind, State};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Serialize, Serializer};

use super::date::Date;

/// Path segments as stock writes them: `@` and `~` stay.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'@');

pub(super) fn escape_segment(name: &str) -> String {
    utf8_percent_encode(name, SEGMENT).to_string()
}

/// One server, as templates see a spawner.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SpawnerView {
    /// Name in addresses; empty for the default server.
    pub name: String,
    /// Name shown to people; empty where none was given.
    pub display_name: String,
    /// Running or on its way to either side.
    pub active: bool,
    /// Answers requests.
    pub ready: bool,
    /// `spawn`, `stop`, `check` or `rename` while that goes on.
    pub pending: Option<String>,
    /// Last activity known.
    pub last_activity: Option<Date>,
    /// When it was started.
    pub started: Option<Date>,
    /// Where people reach it, with a slash at the end.
    pub url: String,
    /// Whether there is a form to fill in before the start; sets `jhdata.options_form`.
    pub options_form: bool,
    /// What was chosen at the last start.
    pub user_options: serde_json::Map<String, serde_json::Value>,
}

/// The logged-in person, as templates see `user`.
#[derive(Debug, Clone, Default)]
pub struct UserView {
    /// Name, exactly as stored.
    pub name: String,
    /// Whether the person is an administrator.
    pub admin: bool,
    /// Names of groups, sorted.
    pub groups: Vec<String>,
    /// Address of the default server, with a slash at the end: `/base/user/name/`, or with host where each person has
    /// one.
    pub url: String,
    /// All servers known, the default one (name empty) among them.
    pub spawners: Vec<SpawnerView>,
}

impl UserView {
    /// Name as a path segment.
    pub fn escaped_name(&self) -> String {
        escape_segment(&self.name)
    }

    /// Name for the inside of a JSON string in a script, without the quotes. Unlike stock's, it cannot end the script.
    pub fn json_escaped_name(&self) -> String {
        let quoted = serde_json::Value::from(self.name.as_str()).to_string();
        let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
        let mut safe = String::with_capacity(inner.len());
        for character in inner.chars() {
            match character {
                '<' => safe.push_str("\\u003c"),
                '>' => safe.push_str("\\u003e"),
                '&' => safe.push_str("\\u0026"),
                '\'' => safe.push_str("\\u0027"),
                '\u{2028}' => safe.push_str("\\u2028"),
                '\u{2029}' => safe.push_str("\\u2029"),
                other => safe.push(other),
            }
        }
        safe
    }

    /// Address of a server; the empty name is the default one.
    pub fn server_url(&self, server: &str) -> String {
        if server.is_empty() { self.url.clone() } else { format!("{}{}/", self.url, escape_segment(server)) }
    }

    fn spawner(&self) -> SpawnerView {
        self.spawners
            .iter()
            .find(|spawner| spawner.name.is_empty())
            .cloned()
            .unwrap_or_else(|| SpawnerView { url: self.url.clone(), ..SpawnerView::default() })
    }
}

impl Serialize for UserView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Value::from_object(self.clone()).serialize(serializer)
    }
}

fn value_of(spawner: &SpawnerView) -> Value {
    Value::from(Serde(spawner))
}

impl Object for UserView {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        Some(match key.as_str()? {
            "name" => self.name.as_str().into(),
            "escaped_name" => self.escaped_name().into(),
            "json_escaped_name" => self.json_escaped_name().into(),
            "admin" => self.admin.into(),
            "groups" => self.groups.iter().map(String::as_str).collect(),
            "url" | "base_url" => self.url.as_str().into(),
            "spawner" => value_of(&self.spawner()),
            "spawners" => Value::from_pairs(
                self.spawners.iter().map(|spawner| (spawner.name.clone(), value_of(spawner))),
            ),
            "running" => self.spawner().ready.into(),
            "active" => self.spawners.iter().any(|spawner| spawner.active).into(),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.mapped_enumerator(|_| {
            Box::new(
                [
                    "name",
                    "escaped_name",
                    "json_escaped_name",
                    "admin",
                    "groups",
                    "url",
                    "spawner",
                    "spawners",
                ]
                .iter()
                .map(|key| Value::from(*key)),
            )
        })
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }

    fn call_method(
        self: &Arc<Self>,
        _: &mut State<'_, '_>,
        method: &str,
        args: &[Value],
    ) -> Result<Value, Error> {
        match method {
            "server_url" => {
                let (name, options): (Option<&str>, Kwargs) = from_args(args)?;
                let name = name.or(options.get::<Option<&str>>("server_name")?).unwrap_or_default();
                options.assert_all_used()?;
                Ok(self.server_url(name).into())
            }
            "all_spawners" => {
                let (positional, options): (Option<bool>, Kwargs) = from_args(args)?;
                let with_default =
                    positional.or(options.get::<Option<bool>>("include_default")?).unwrap_or(true);
                options.assert_all_used()?;
                let wanted = self.spawners.iter().filter(|spawner| with_default || !spawner.name.is_empty());
                Ok(wanted.map(value_of).collect())
            }
            _ => Err(Error::from(ErrorKind::UnknownMethod)),
        }
    }

    fn render(self: &Arc<Self>, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}
