//! Servers: create, start, edit, stop.

use serde_json::Value;

use super::RequestError;
use super::body::{self, Object};
use super::python::truthy;

const NOT_OBJECT: &str = "Body must be a JSON object";
const DISPLAY_NAME: &str = "display_name must be a string";

/// `PUT` and `POST` on a server, and on its `restart`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServerOptions {
    /// What people see; none or empty where the server's name will do.
    pub display_name: Option<String>,
    /// Options for the spawner; none means those of the last start.
    pub user_options: Option<Object>,
}

impl ServerOptions {
    /// Reads the body: `{display_name?, user_options?}`, or, with neither key, the options themselves, as before
    /// version 6.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let mut map = body::read_object_or_empty(bytes, NOT_OBJECT)?;
        if map.is_empty() {
            return Ok(Self::default());
        }
        let old = !map.contains_key("display_name") && !map.contains_key("user_options");
        if old {
            return Ok(Self { display_name: None, user_options: Some(map) });
        }
        let display_name = match map.remove("display_name") {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(_) => return Err(RequestError::invalid(DISPLAY_NAME)),
        };
        let user_options = match map.remove("user_options") {
            None | Some(Value::Null) => None,
            Some(Value::Object(options)) => Some(options),
            Some(_) => return Err(RequestError::invalid("user_options must be an object or null")),
        };
        Ok(Self { display_name, user_options })
    }

    /// The name to show for a new server called `name`.
    pub fn display_name_or<'a>(&'a self, name: &'a str) -> &'a str {
        self.display_name.as_deref().filter(|text| !text.is_empty()).unwrap_or(name)
    }
}

/// `PATCH` on a server. What is none stays as it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EditServer {
    /// New name, unchecked.
    pub name: Option<String>,
    /// New name to show, unchecked, never empty.
    pub display_name: Option<String>,
    /// New options for the spawner.
    pub user_options: Option<Object>,
}

impl EditServer {
    /// Reads the body. At least one key must be there, and none but the three; stock meant to say so about others
    /// and fails with an internal error.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        const KEYS: [&str; 3] = ["name", "display_name", "user_options"];
        let mut map = body::read_object_or_empty(bytes, NOT_OBJECT)?;
        if map.is_empty() {
            return Err(RequestError::invalid("Must specify at least one field to modify."));
        }
        let unknown: Vec<&str> = map.keys().map(String::as_str).filter(|key| !KEYS.contains(key)).collect();
        if !unknown.is_empty() {
            let (unknown, known) = (unknown.join(", "), KEYS.join(", "));
            return Err(RequestError::Invalid(format!(
                "Unexpected fields: {unknown}, supported fields: {known}"
            )));
        }
        let name = body::take_string(&mut map, "name", "name must be a string")?;
        let display_name = match map.remove("display_name") {
            None => None,
            Some(Value::String(text)) => Some(text).filter(|text| !text.is_empty()),
            Some(_) => return Err(RequestError::invalid(DISPLAY_NAME)),
        };
        let user_options = match map.remove("user_options") {
            None => None,
            Some(Value::Object(options)) => Some(options),
            Some(_) => return Err(RequestError::invalid("user_options must be a dict")),
        };
        Ok(Self { name, display_name, user_options })
    }
}

/// `DELETE` on a server. The body may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StopServer {
    /// Delete the server once it has stopped.
    pub remove: bool,
}

impl StopServer {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let map = body::read_object_or_empty(bytes, NOT_OBJECT)?;
        Ok(Self { remove: map.get("remove").is_some_and(truthy) })
    }
}
