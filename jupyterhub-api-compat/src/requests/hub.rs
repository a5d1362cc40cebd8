//! The hub and its proxy.

use hub_core::secret::SecretString;
use serde_json::Value;

use super::RequestError;
use super::body;
use super::python::repr;

/// `PATCH /proxy`: another proxy is in charge.
#[derive(Debug, Clone, Default)]
pub struct ProxyLocation {
    /// Its API.
    pub api_url: Option<String>,
    /// The token for that.
    pub auth_token: Option<SecretString>,
}

impl ProxyLocation {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        const DICT: &str = "Request body must be JSON dict";
        if bytes.is_empty() {
            return Err(RequestError::invalid("need JSON body"));
        }
        let Ok(Some(Value::Object(mut map))) = body::read(bytes) else {
            return Err(RequestError::invalid(DICT));
        };
        let api_url = body::take_string(&mut map, "api_url", "api_url must be a string")?;
        let auth_token = body::take_string(&mut map, "auth_token", "auth_token must be a string")?;
        Ok(Self { api_url, auth_token: auth_token.map(SecretString::from) })
    }
}

/// `POST /shutdown`. The body may be missing. None leaves it to the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shutdown {
    /// End the proxy, too.
    pub proxy: Option<bool>,
    /// Stop all servers, too.
    pub servers: Option<bool>,
}

impl Shutdown {
    /// Reads the body.
    pub fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        let map = body::read_object_or_empty(bytes, "Body must be a JSON object")?;
        let flag = |key: &str| match map.get(key) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            // 0 and 1 are flags in Python.
            Some(Value::Number(number)) if number.as_f64() == Some(0.0) => Ok(Some(false)),
            Some(Value::Number(number)) if number.as_f64() == Some(1.0) => Ok(Some(true)),
            Some(value) => {
                Err(RequestError::Invalid(format!("{key} must be true or false, got {}", repr(value))))
            }
        };
        Ok(Self { proxy: flag("proxy")?, servers: flag("servers")? })
    }
}
