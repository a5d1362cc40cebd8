//! Users.

use serde_json::Value;

use super::RequestError;
use super::body::{self, Object, Type};
use super::python::truthy;

const MODEL: &[(&str, Type)] = &[
    ("name", Type::Str),
    ("admin", Type::Bool),
    ("groups", Type::List),
    ("roles", Type::List),
    ("auth_state", Type::Dict),
];

/// `POST /users`. Names are as sent; the authenticator normalises and validates them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateUsers {
    /// At least one.
    pub usernames: Vec<String>,
    /// For all of them.
    pub admin: bool,
}

impl CreateUsers {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        const NONE: &str = "Must specify at least one user to create";
        let mut map = body::read_filled_object(bytes, NONE)?;
        if !map.get("usernames").is_some_and(truthy) {
            return Err(RequestError::invalid(NONE));
        }
        let usernames =
            body::take_strings(&mut map, "usernames", |_| "usernames must be a list of str".to_owned())?;
        let map = body::check_model(Value::Object(map), "user", MODEL)?;
        Ok(Self { usernames: usernames.unwrap_or_default(), admin: flag(&map) })
    }
}

/// `POST /users/{user}`. The body may be missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CreateUser {
    /// Make an administrator.
    pub admin: bool,
}

impl CreateUser {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        match body::read(bytes)? {
            Some(value) if truthy(&value) => {
                let map = body::check_model(value, "user", MODEL)?;
                Ok(Self { admin: flag(&map) })
            }
            _ => Ok(Self::default()),
        }
    }
}

/// `PATCH /users/{user}`: what is none stays as it is.
#[derive(Clone, Default, PartialEq)]
pub struct EditUser {
    /// New name, as sent.
    pub name: Option<String>,
    /// Administrator or not.
    pub admin: Option<bool>,
    /// New login state; it cannot be deleted this way.
    pub auth_state: Option<Object>,
}

impl EditUser {
    /// Reads the body. `groups` and `roles` have endpoints of their own; stock fails on them with an internal error.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let map = body::read_model(bytes, "user", MODEL)?;
        let mut edit = Self::default();
        for (key, value) in map {
            match (key.as_str(), value) {
                ("name", Value::String(name)) => edit.name = Some(name),
                ("admin", Value::Bool(admin)) => edit.admin = Some(admin),
                ("auth_state", Value::Object(state)) => edit.auth_state = Some(state),
                _ => return Err(RequestError::Invalid(format!("user.{key} cannot be changed here"))),
            }
        }
        Ok(edit)
    }
}

impl std::fmt::Debug for EditUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let auth_state = self.auth_state.as_ref().map(|_| "[hidden]");
        f.debug_struct("EditUser")
            .field("name", &self.name)
            .field("admin", &self.admin)
            .field("auth_state", &auth_state)
            .finish()
    }
}

fn flag(map: &Object) -> bool {
    map.get("admin").and_then(Value::as_bool).unwrap_or(false)
}

/// Which users a list is limited to, by their servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserState {
    /// Some server is running or pending.
    Active,
    /// Some server is ready. Sorted out after paging, so that pages may be short.
    Ready,
    /// No server is running or pending.
    Inactive,
}

/// By what a list of users is sorted. Users without a value come first ascending, last descending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UserSort {
    /// By the order of their making.
    #[default]
    Id,
    /// By name.
    Name,
    /// By last activity.
    LastActivity,
}

/// The arguments of `GET /users`, those for paging apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListUsers {
    /// `state`
    pub state: Option<UserState>,
    /// `name_filter`: part of the name, in upper or lower case.
    pub name_filter: Option<String>,
    /// `sort`
    pub sort: UserSort,
    /// A `-` before `sort`.
    pub descending: bool,
}

impl ListUsers {
    /// Reads the arguments. Empty ones count as missing, but for `sort`.
    pub fn parse(
        state: Option<&str>,
        name_filter: Option<&str>,
        sort: Option<&str>,
    ) -> Result<Self, RequestError> {
        let sort_text = sort.unwrap_or("id");
        let (descending, column) = match sort_text.strip_prefix('-') {
            Some(column) => (true, column),
            None => (false, sort_text),
        };
        let sort = match column {
            "id" => UserSort::Id,
            "name" => UserSort::Name,
            "last_activity" => UserSort::LastActivity,
            _ => {
                return Err(RequestError::Invalid(format!(
                    "sort must be 'id', 'name', or 'last_activity', not '{sort_text}'"
                )));
            }
        };
        let state = match state.unwrap_or("") {
            "" => None,
            "active" => Some(UserState::Active),
            "ready" => Some(UserState::Ready),
            "inactive" => Some(UserState::Inactive),
            other => {
                return Err(RequestError::Invalid(format!(
                    "Unrecognized state filter: {}",
                    super::python::quoted(other)
                )));
            }
        };
        let name_filter = name_filter.filter(|text| !text.is_empty()).map(str::to_owned);
        Ok(Self { state, name_filter, sort, descending })
    }

    /// Whether `include_stopped_servers` asks for stopped servers: anything but `0` and `false`.
    pub fn include_stopped_servers(argument: Option<&str>) -> bool {
        argument.is_some_and(|text| !matches!(text.to_ascii_lowercase().as_str(), "0" | "false"))
    }
}
