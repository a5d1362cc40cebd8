//! Shares and share codes.
//!
//! Stock's messages for these come from its validation library and name its version; ours are our own.

use serde_json::Value;

use super::RequestError;
use super::body::{self, Object};

/// Seconds that a share code lives where nothing is said: a day.
const CODE_LIFETIME: u32 = 86_400;
/// Least and most seconds that a share code lives: a minute, a year.
const CODE_LIFETIMES: std::ops::RangeInclusive<u32> = 60..=31_536_000;

/// With whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShareWith {
    /// A user, by name.
    User(String),
    /// A group, by name.
    Group(String),
}

/// `POST` (share) and `PATCH` (end a share) on `/shares/{user}/{server}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRequest {
    /// With whom.
    pub with: ShareWith,
    /// Scopes, not checked yet; none for the use of the server (`POST`) or for all of them (`PATCH`).
    pub scopes: Option<Vec<String>>,
}

impl ShareRequest {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let mut map = read_known(bytes, &["scopes", "user", "group"])?;
        let scopes = take_scopes(&mut map)?;
        let mut name = |key: &str| {
            let name = body::take_string(&mut map, key, &format!("{key} must be a string or null"))?;
            Ok::<_, RequestError>(name.filter(|name| !name.is_empty()))
        };
        let with = match (name("user")?, name("group")?) {
            (Some(user), None) => ShareWith::User(user),
            (None, Some(group)) => ShareWith::Group(group),
            (Some(_), Some(_)) => {
                return Err(RequestError::invalid("Expected exactly one of `user` or `group`, not both."));
            }
            (None, None) => return Err(RequestError::invalid("Specify exactly one of `user` or `group`")),
        };
        Ok(Self { with, scopes })
    }
}

/// `POST /share-codes/{user}/{server}`. The body may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareCodeRequest {
    /// Scopes, not checked yet; none for the use of the server.
    pub scopes: Option<Vec<String>>,
    /// Seconds until the code ends, 60 to 31536000.
    pub expires_in: u32,
}

impl ShareCodeRequest {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let mut map = read_known(bytes, &["scopes", "expires_in"])?;
        let scopes = take_scopes(&mut map)?;
        let expires_in = match map.remove("expires_in") {
            None => Some(CODE_LIFETIME),
            Some(value) => seconds(&value).filter(|seconds| CODE_LIFETIMES.contains(seconds)),
        };
        let expires_in = expires_in.ok_or_else(|| {
            let (least, most) = CODE_LIFETIMES.into_inner();
            RequestError::Invalid(format!("expires_in must be an integer from {least} to {most}"))
        })?;
        Ok(Self { scopes, expires_in })
    }
}

/// Whole numbers, also written as text or with a fraction of zero, as stock's validation takes them.
fn seconds(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(whole) => u32::try_from(whole).ok(),
            None => number.as_f64().filter(|float| float.fract() == 0.0)?.to_string().parse().ok(),
        },
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn read_known(bytes: &[u8], known: &[&str]) -> Result<Object, RequestError> {
    let map = body::read_object_or_empty(bytes, "Body must be a JSON object")?;
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => {
            let (key, known) = (super::python::quoted(key), known.join(", "));
            Err(RequestError::Invalid(format!("unexpected key {key}: only {known} can be given")))
        }
        None => Ok(map),
    }
}

/// An empty list is none.
fn take_scopes(map: &mut Object) -> Result<Option<Vec<String>>, RequestError> {
    let scopes =
        body::take_strings(map, "scopes", |_| "scopes must be null or a list of strings".to_owned())?;
    Ok(scopes.filter(|scopes| !scopes.is_empty()))
}
