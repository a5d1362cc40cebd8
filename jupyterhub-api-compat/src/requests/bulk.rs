//! Several servers at once. Not in JupyterHub.

use std::collections::BTreeSet;

use serde_json::Value;

use super::RequestError;
use super::body::{self, Object};
use super::python::quoted;

/// `POST /servers/start` and `POST /servers/stop`.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkServers {
    /// At least one, each once.
    pub servers: Vec<BulkServer>,
}

/// One of the servers.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkServer {
    /// The owner.
    pub user: String,
    /// The name, empty for the default server.
    pub server: String,
    /// Options for the spawner; none means those of the last start. Only to start.
    pub user_options: Option<Object>,
}

impl BulkServers {
    /// Most servers in one call.
    pub const MOST: usize = 500;

    /// Reads the body of a start.
    pub fn read_to_start(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read(bytes, &["user", "server", "user_options"])
    }

    /// Reads the body of a stop.
    pub fn read_to_stop(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read(bytes, &["user", "server"])
    }

    fn read(bytes: &[u8], keys: &[&str]) -> Result<Self, RequestError> {
        const NONE: &str =
            "Must specify at least one server: {\"servers\": [{\"user\": NAME, \"server\": NAME}]}";
        let mut map = body::read_filled_object(bytes, NONE)?;
        let servers = map.remove("servers");
        only(&map, &[])?;
        let Some(Value::Array(servers)) = servers.filter(|list| *list != Value::Array(Vec::new())) else {
            return Err(RequestError::invalid(NONE));
        };
        if servers.len() > Self::MOST {
            let (sent, most) = (servers.len(), Self::MOST);
            return Err(RequestError::Invalid(format!("At most {most} servers in one call, not {sent}")));
        }
        let servers: Vec<BulkServer> =
            servers.into_iter().map(|server| one(server, keys)).collect::<Result<_, _>>()?;
        let mut seen = BTreeSet::new();
        match servers.iter().find(|one| !seen.insert((&one.user, &one.server))) {
            Some(twice) => {
                let name = quoted(&format!("{}/{}", twice.user, twice.server));
                Err(RequestError::Invalid(format!("server {name} is named twice")))
            }
            None => Ok(Self { servers }),
        }
    }
}

fn one(value: Value, keys: &[&str]) -> Result<BulkServer, RequestError> {
    let Value::Object(mut map) = value else {
        return Err(RequestError::invalid("servers must be a list of objects"));
    };
    only(&map, keys)?;
    let user = body::take_string(&mut map, "user", "user must be a string")?.filter(|name| !name.is_empty());
    let server = body::take_string(&mut map, "server", "server must be a string")?.unwrap_or_default();
    let user_options = match map.remove("user_options") {
        None | Some(Value::Null) => None,
        Some(Value::Object(options)) => Some(options),
        Some(_) => return Err(RequestError::invalid("user_options must be an object or null")),
    };
    let user = user.ok_or_else(|| RequestError::invalid("every server needs a user"))?;
    Ok(BulkServer { user, server, user_options })
}

fn only(map: &Object, keys: &[&str]) -> Result<(), RequestError> {
    match map.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => Err(RequestError::Invalid(format!("unexpected key {}", quoted(key)))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_named_by_user_and_name_each_once() {
        let read = BulkServers::read_to_start;
        let two = read(
            br#"{"servers": [{"user": "ada", "user_options": {"a": 1}}, {"user": "ada", "server": "x"}]}"#,
        );
        let two = two.unwrap().servers;
        assert_eq!((two[0].server.as_str(), two[1].server.as_str()), ("", "x"));
        assert!(two[0].user_options.is_some());
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"servers": []}"#,
            r#"{"servers": {}}"#,
            r#"{"servers": [1]}"#,
            r#"{"servers": [{"server": "x"}]}"#,
            r#"{"servers": [{"user": ""}]}"#,
            r#"{"servers": [{"user": 1}]}"#,
            r#"{"servers": [{"user": "a", "x": 1}]}"#,
            r#"{"servers": [{"user": "a"}, {"user": "a", "server": ""}]}"#,
            r#"{"servers": [{"user": "a"}], "x": 1}"#,
        ] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
        let options = br#"{"servers": [{"user": "ada", "user_options": {}}]}"#;
        assert!(BulkServers::read_to_stop(options).is_err());
        let many: Vec<String> = (0..=BulkServers::MOST).map(|i| format!(r#"{{"user": "u{i}"}}"#)).collect();
        assert!(read(format!(r#"{{"servers": [{}]}}"#, many.join(",")).as_bytes()).is_err());
    }
}
