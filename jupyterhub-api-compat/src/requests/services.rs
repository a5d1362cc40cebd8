//! Services that are added while the hub runs.

use std::collections::BTreeMap;

use hub_core::secret::SecretString;
use serde_json::Value;

use super::RequestError;
use super::body::{self, Object, Type};

const MODEL: &[(&str, Type)] = &[
    ("name", Type::Str),
    ("admin", Type::Bool),
    ("url", Type::Str),
    ("oauth_client_allowed_scopes", Type::List),
    ("api_token", Type::Str),
    ("info", Type::Dict),
    ("display", Type::Bool),
    ("oauth_no_confirm", Type::Bool),
    ("command", Type::List),
    ("cwd", Type::Str),
    ("environment", Type::Dict),
    ("user", Type::Str),
    ("oauth_client_id", Type::Str),
    ("oauth_redirect_uri", Type::Str),
];

/// `POST /services/{service}`. The name is that of the path, whatever the body says. A service with a command is
/// refused: the hub runs only those of its configuration.
#[derive(Debug, Clone, Default)]
pub struct CreateService {
    /// May do everything.
    pub admin: bool,
    /// Where it listens.
    pub url: Option<String>,
    /// What its OAuth client may ask for; none where nothing was said.
    pub oauth_client_allowed_scopes: Option<Vec<String>>,
    /// The token by which it calls the hub.
    pub api_token: Option<SecretString>,
    /// Whatever the site says about it.
    pub info: Object,
    /// Whether the menu of services shows it; none for the default, which is yes.
    pub display: Option<bool>,
    /// Whether users are sent on to it without being asked.
    pub oauth_no_confirm: bool,
    /// Working directory; without a command it has no effect.
    pub cwd: Option<String>,
    /// Environment, all values as text; without a command it has no effect.
    pub environment: BTreeMap<String, String>,
    /// System user; without a command it has no effect.
    pub user: Option<String>,
    /// Id of its OAuth client; none for `service-NAME`.
    pub oauth_client_id: Option<String>,
    /// Where its OAuth client sends browsers; none for `PREFIX/oauth_callback`.
    pub oauth_redirect_uri: Option<String>,
}

impl CreateService {
    /// Reads the body for the service called `name`.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self, RequestError> {
        let mut map = body::read_filled_object(bytes, "Invalid service data")?;
        map.insert("name".to_owned(), Value::String(name.to_owned()));
        let mut map = body::check_model(Value::Object(map), "service", MODEL)?;
        if map.get("command").and_then(Value::as_array).is_some_and(|command| !command.is_empty()) {
            return Err(RequestError::Invalid(format!("Can not create managed service {name} at runtime")));
        }
        let scopes = body::take_strings(&mut map, "oauth_client_allowed_scopes", |_| {
            "service.oauth_client_allowed_scopes must be a list of str".to_owned()
        })?;
        let mut text = |key: &str| match map.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        let (url, api_token, cwd, user) = (text("url"), text("api_token"), text("cwd"), text("user"));
        let (oauth_client_id, oauth_redirect_uri) = (text("oauth_client_id"), text("oauth_redirect_uri"));
        let flag = |key: &str| map.get(key).and_then(Value::as_bool);
        let (admin, display, oauth_no_confirm) = (flag("admin"), flag("display"), flag("oauth_no_confirm"));
        let mut dict = |key: &str| match map.remove(key) {
            Some(Value::Object(dict)) => dict,
            _ => Object::new(),
        };
        let info = dict("info");
        let environment = dict("environment")
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key, text)),
                _ => Err(RequestError::Invalid(format!("service.environment.{key} must be str"))),
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            admin: admin.unwrap_or(false),
            url,
            oauth_client_allowed_scopes: scopes,
            api_token: api_token.map(SecretString::from),
            info,
            display,
            oauth_no_confirm: oauth_no_confirm.unwrap_or(false),
            cwd,
            environment,
            user,
            oauth_client_id,
            oauth_redirect_uri,
        })
    }
}
