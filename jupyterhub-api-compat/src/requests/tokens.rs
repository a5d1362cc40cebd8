//! New tokens.

use serde_json::Value;

use super::RequestError;
use super::body;
use super::python::repr;

/// `POST /users/{user}/tokens`. The body may be missing. Unknown keys are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateToken {
    /// What it is for; none or never empty.
    pub note: Option<String>,
    /// Seconds until it ends, at least 1; none for never, or for the longest that is allowed.
    pub expires_in: Option<i64>,
    /// What it may do. Not together with `roles`.
    pub scopes: Option<Vec<String>>,
    /// What it may do, as roles.
    pub roles: Option<Vec<String>>,
}

const NOT_A_DICT: &str = "Body must be a JSON dict or empty";

impl CreateToken {
    /// Proof of identity for a caller without credentials, for the authenticator to judge. Read before the rest: what
    /// is wrong with that is told only to who may make tokens.
    pub fn proof(bytes: &[u8]) -> Result<Option<Value>, RequestError> {
        let mut map = body::read_object_or_empty(bytes, NOT_A_DICT)?;
        Ok(map.remove("auth").filter(|auth| !auth.is_null()))
    }

    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let mut map = body::read_object_or_empty(bytes, NOT_A_DICT)?;
        let note = body::take_string(&mut map, "note", "token note must be a string")?;
        let mut permissions = |key: &str| {
            let message =
                |value: &Value| format!("token {key} must be null or a list of strings, not {}", repr(value));
            body::take_strings(&mut map, key, message)
        };
        let roles = permissions("roles")?;
        let scopes = permissions("scopes")?;
        let expires_in = match map.remove("expires_in") {
            None | Some(Value::Null) => None,
            // A flag is a number in Python.
            Some(Value::Bool(flag)) => Some(i64::from(flag)),
            Some(Value::Number(number)) if number.as_i64().is_some() => number.as_i64(),
            Some(value) => {
                let value = repr(&value);
                return Err(RequestError::Invalid(format!(
                    "token expires_in must be null or integer, not {value}"
                )));
            }
        };
        if let Some(seconds) = expires_in.filter(|seconds| *seconds < 1) {
            return Err(RequestError::Invalid(format!(
                "expires_in must be a positive integer or null, not {seconds}"
            )));
        }
        if roles.is_some() && scopes.is_some() {
            return Err(RequestError::invalid(
                "Can only assign one of scopes or roles when creating tokens.",
            ));
        }
        let note = note.filter(|note| !note.is_empty());
        Ok(Self { note, expires_in, scopes, roles })
    }

    /// How long it lives, given the longest that is allowed: that where nothing is asked for, an error where more is.
    pub fn lifetime(&self, most: Option<i64>) -> Result<Option<i64>, RequestError> {
        match (self.expires_in, most.filter(|most| *most != 0)) {
            (Some(wanted), Some(most)) if wanted > most => {
                Err(RequestError::Invalid(format!("token expires_in: {wanted} must not exceed {most}")))
            }
            (wanted, most) => Ok(wanted.or(most)),
        }
    }
}
