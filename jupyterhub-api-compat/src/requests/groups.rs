//! Groups.

use serde_json::Value;

use super::RequestError;
use super::body::{self, Object, Type};
use super::python::truthy;

const MODEL: &[(&str, Type)] = &[("name", Type::Str), ("users", Type::List), ("roles", Type::List)];

/// `POST /groups`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateGroups {
    /// Names, at least one.
    pub groups: Vec<String>,
    /// Members of each.
    pub users: Vec<String>,
}

impl CreateGroups {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        const NONE: &str = "Must specify at least one group to create";
        let mut map = body::read_filled_object(bytes, NONE)?;
        if !map.get("groups").is_some_and(truthy) {
            return Err(RequestError::invalid(NONE));
        }
        // Stock iterates over what it is given, so that the names may also be the keys of an object.
        if let Some(Value::Object(named)) = map.get("groups") {
            let names: Vec<Value> = named.keys().cloned().map(Value::from).collect();
            map.insert("groups".to_owned(), names.into());
        }
        let groups = body::take_strings(&mut map, "groups", |_| "groups must be a list of str".to_owned())?;
        let mut map = body::check_model(Value::Object(map), "group", MODEL)?;
        Ok(Self { groups: groups.unwrap_or_default(), users: members(&mut map)?.unwrap_or_default() })
    }
}

/// `POST /groups/{group}`. The body may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateGroup {
    /// Members.
    pub users: Vec<String>,
}

impl CreateGroup {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        match body::read(bytes)? {
            None | Some(Value::Null) => Ok(Self::default()),
            Some(value) => {
                let mut map = body::check_model(value, "group", MODEL)?;
                Ok(Self { users: members(&mut map)?.unwrap_or_default() })
            }
        }
    }
}

/// `POST` and `DELETE /groups/{group}/users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMembers {
    /// Whom to add or to take out.
    pub users: Vec<String>,
}

impl GroupMembers {
    /// Reads the body of `POST`.
    pub fn read_to_add(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read(bytes, "Must specify users to add")
    }

    /// Reads the body of `DELETE`.
    pub fn read_to_delete(bytes: &[u8]) -> Result<Self, RequestError> {
        Self::read(bytes, "Must specify users to delete")
    }

    fn read(bytes: &[u8], missing: &str) -> Result<Self, RequestError> {
        let mut map = body::read_model(bytes, "group", MODEL)?;
        members(&mut map)?.map(|users| Self { users }).ok_or_else(|| RequestError::invalid(missing))
    }
}

/// `PUT /groups/{group}/properties`: takes the place of all properties.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GroupProperties(pub Object);

impl GroupProperties {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        match body::read(bytes)? {
            Some(Value::Object(map)) => Ok(Self(map)),
            _ => Err(RequestError::invalid("Must specify properties")),
        }
    }
}

fn members(map: &mut Object) -> Result<Option<Vec<String>>, RequestError> {
    body::take_strings(map, "users", |_| "usernames must be str".to_owned())
}
