//! The fields of templates: `{username}`, `{user_server}`, `{servername}` and their relatives.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::python::format::{FormatError, Missing, PyValue, format};
use crate::slug;
use crate::traits::SlugScheme;

/// Whose server a template is expanded for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// Name of the user.
    pub user: String,
    /// Name of the server, empty for the default one.
    pub server: String,
    /// The user's number in the database (`{userid}`).
    pub user_id: i64,
    /// Namespace that the hub itself runs in.
    pub hub_namespace: String,
    /// Further fields, those of a workspace for example. They cannot replace the fields of stock.
    pub extra: BTreeMap<String, String>,
}

/// Names that are resolved already and may be used in other templates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Resolved<'a> {
    /// `{pod_name}`.
    pub pod_name: Option<&'a str>,
    /// `{pvc_name}`.
    pub pvc_name: Option<&'a str>,
    /// `{namespace}`.
    pub namespace: Option<&'a str>,
}

/// Expands templates for one server.
#[derive(Debug, Clone)]
pub struct Expander<'a> {
    subject: &'a Subject,
    scheme: SlugScheme,
    resolved: Resolved<'a>,
}

/// The names of the fields of stock.
pub const FIELDS: [&str; 16] = [
    "userid",
    "unescaped_username",
    "unescaped_servername",
    "hubnamespace",
    "username",
    "servername",
    "user_server",
    "safe_username",
    "safe_servername",
    "safe_user_server",
    "escaped_username",
    "escaped_servername",
    "escaped_user_server",
    "pod_name",
    "pvc_name",
    "namespace",
];

impl<'a> Expander<'a> {
    /// For one server, under one scheme.
    pub fn new(subject: &'a Subject, scheme: SlugScheme, resolved: Resolved<'a>) -> Self {
        Self { subject, scheme, resolved }
    }

    /// One template. Hyphens that an empty field leaves at the end are cut off, unless the template itself ends
    /// in one.
    pub fn text(&self, template: &str) -> Result<String, FormatError> {
        let mut text = format(template, &|name| self.field(name), Missing::Refuse)?;
        if !template.ends_with('-') {
            text.truncate(text.trim_end_matches('-').len());
        }
        Ok(text)
    }

    /// Every text inside a value: items of lists and values of tables, at any depth, but no keys.
    pub fn value(&self, value: &Value) -> Result<Value, FormatError> {
        Ok(match value {
            Value::String(text) => Value::String(self.text(text)?),
            Value::Array(items) => Value::Array(self.list(items)?),
            Value::Object(map) => Value::Object(self.map(map)?),
            other => other.clone(),
        })
    }

    /// Every text inside the items of a list.
    pub fn list(&self, items: &[Value]) -> Result<Vec<Value>, FormatError> {
        items.iter().map(|item| self.value(item)).collect()
    }

    /// Every text inside the values of a table.
    pub fn map(&self, map: &Map<String, Value>) -> Result<Map<String, Value>, FormatError> {
        map.iter().map(|(key, value)| Ok((key.clone(), self.value(value)?))).collect()
    }

    fn field(&self, name: &str) -> Option<PyValue<'a>> {
        let Subject { user, server, user_id, hub_namespace, extra } = self.subject;
        let safe_server = || if server.is_empty() { String::new() } else { slug::object(server) };
        let escaped_pair = || format!("{}--{}", slug::escaped(user), slug::escaped(server));
        let known = |resolved: Option<&'a str>| {
            let text = resolved.map_or_else(|| Cow::Owned(format!("{name}_unavailable!")), Cow::Borrowed);
            Some(PyValue::Str(text))
        };
        let text = match (name, self.scheme) {
            ("userid", _) => return Some(PyValue::Int(*user_id)),
            ("pod_name", _) => return known(self.resolved.pod_name),
            ("pvc_name", _) => return known(self.resolved.pvc_name),
            ("namespace", _) => return known(self.resolved.namespace),
            ("unescaped_username", _) => user.clone(),
            ("unescaped_servername", _) => server.clone(),
            ("hubnamespace", _) if hub_namespace == "default" => "user".to_owned(),
            ("hubnamespace", _) => hub_namespace.clone(),
            ("safe_username", _) | ("username", SlugScheme::Safe) => slug::object(user),
            ("safe_servername", _) | ("servername", SlugScheme::Safe) => safe_server(),
            ("safe_user_server", _) | ("user_server", SlugScheme::Safe) => slug::user_server(user, server),
            ("escaped_username", _) | ("username", SlugScheme::Escape) => slug::escaped(user),
            ("escaped_servername", _) | ("servername", SlugScheme::Escape) => slug::escaped(server),
            ("user_server", SlugScheme::Escape) if server.is_empty() => slug::escaped(user),
            ("escaped_user_server", _) | ("user_server", SlugScheme::Escape) => escaped_pair(),
            (other, _) => extra.get(other)?.clone(),
        };
        Some(PyValue::from(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(user: &str, server: &str) -> Subject {
        Subject {
            user: user.to_owned(),
            server: server.to_owned(),
            user_id: 7,
            hub_namespace: "default".to_owned(),
            extra: BTreeMap::from([
                ("workspace".to_owned(), "w1".to_owned()),
                ("username".to_owned(), "x".to_owned()),
            ]),
        }
    }

    #[test]
    fn hyphens_that_an_empty_server_name_leaves_are_cut() {
        let subject = subject("a@b", "");
        let expand = Expander::new(&subject, SlugScheme::Escape, Resolved::default());
        assert_eq!(expand.text("claim-{username}--{servername}").as_deref(), Ok("claim-a-40b"));
        assert_eq!(expand.text("{servername}-").as_deref(), Ok("-"));
        assert_eq!(expand.text("{escaped_user_server}-x").as_deref(), Ok("a-40b---x"));
    }

    #[test]
    fn names_that_are_not_resolved_yet_say_so() {
        let subject = subject("a", "");
        let resolved = Resolved { namespace: Some("ns"), ..Resolved::default() };
        let expand = Expander::new(&subject, SlugScheme::Safe, resolved);
        assert_eq!(expand.text("{pvc_name}.{namespace}").as_deref(), Ok("pvc_name_unavailable!.ns"));
        assert_eq!(
            expand.text("{hubnamespace}-{workspace}-{username}-{userid:03d}").as_deref(),
            Ok("user-w1-a-007")
        );
    }

    #[test]
    fn values_are_expanded_at_any_depth_and_keys_never() {
        let subject = subject("a", "");
        let expand = Expander::new(&subject, SlugScheme::Safe, Resolved::default());
        let value = json!({"{username}": ["{username}", 1, {"x": "{{}}"}]});
        assert_eq!(expand.value(&value), Ok(json!({"{username}": ["a", 1, {"x": "{}"}]})));
        assert!(expand.value(&json!(["${HOME}"])).is_err());
    }

    #[test]
    fn every_field_of_stock_is_known() {
        let subject = subject("a", "b");
        let expand = Expander::new(&subject, SlugScheme::Safe, Resolved::default());
        for field in FIELDS {
            assert!(expand.text(&format!("{{{field}}}")).is_ok(), "{field}");
        }
    }
}
