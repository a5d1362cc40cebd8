//! Addresses: where something listens, and below which path everything lives.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use hub_core::names::escape_segment;
use percent_encoding::percent_decode_str;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AddressError {
    /// The scheme is missing or another one.
    #[error("{0:?} must begin with http://, https:// or http+unix://")]
    Scheme(String),
    /// No valid port.
    #[error("{0:?} needs a port between 0 and 65535")]
    Port(String),
    /// No valid host.
    #[error("{0:?} names no valid host; write an IP address, a host name or nothing for all interfaces")]
    Host(String),
    /// A path that cannot be below which everything lives.
    #[error("{0:?} is no base URL: {1}")]
    BaseUrl(String, &'static str),
}

/// An address to listen on, `http://127.0.0.1:8000/base/`. The host may be empty (`http://:8000`): all interfaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindUrl {
    /// Whether the scheme is `https`.
    pub tls: bool,
    /// Where to listen.
    pub listen: Listen,
    /// The path, normalised as [`normalise_base_url`] does; `/` where there is none.
    pub path: String,
}

/// A TCP address or a socket in the file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// Host (empty: all interfaces; IPv6 without brackets) and port; port 0 lets the system choose.
    Tcp {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Path of a unix socket (`http+unix://%2Frun%2Fhub.sock`).
    Unix(PathBuf),
}

impl BindUrl {
    /// A plain HTTP address.
    pub fn http(host: impl Into<String>, port: u16) -> Self {
        Self { tls: false, listen: Listen::Tcp { host: host.into(), port }, path: "/".to_owned() }
    }

    /// The host, where it listens on TCP; empty for all interfaces.
    pub fn host(&self) -> Option<&str> {
        match &self.listen {
            Listen::Tcp { host, .. } => Some(host),
            Listen::Unix(_) => None,
        }
    }

    /// The port, where it listens on TCP.
    pub fn port(&self) -> Option<u16> {
        match &self.listen {
            Listen::Tcp { port, .. } => Some(*port),
            Listen::Unix(_) => None,
        }
    }

    /// Whether nobody outside this machine can connect.
    pub fn is_loopback(&self) -> bool {
        match &self.listen {
            Listen::Unix(_) => true,
            Listen::Tcp { host, .. } => {
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
            }
        }
    }
}

impl FromStr for BindUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(socket) = text.strip_prefix("http+unix://") {
            let (socket, path) = socket.split_once('/').unwrap_or((socket, ""));
            let socket = percent_decode_str(socket).decode_utf8_lossy();
            if !socket.starts_with('/') {
                return Err(AddressError::Host(text.to_owned()));
            }
            return Ok(Self {
                tls: false,
                listen: Listen::Unix(PathBuf::from(socket.as_ref())),
                path: normalise_base_url(path)?,
            });
        }
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(AddressError::Scheme(text.to_owned())),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let bad_port = |_| AddressError::Port(text.to_owned());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(bad_port)?),
            _ => (authority, if tls { 443 } else { 80 }),
        };
        let host = match host {
            "*" => "",
            host => host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host),
        };
        let valid = host.is_empty()
            || host.parse::<IpAddr>().is_ok()
            || host.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        if !valid {
            return Err(AddressError::Host(text.to_owned()));
        }
        Ok(Self { tls, listen: Listen::Tcp { host: host.to_owned(), port }, path: normalise_base_url(path)? })
    }
}

impl fmt::Display for BindUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        match &self.listen {
            Listen::Tcp { host, port } if host.contains(':') => write!(f, "{scheme}://[{host}]:{port}")?,
            Listen::Tcp { host, port } => write!(f, "{scheme}://{host}:{port}")?,
            Listen::Unix(path) => {
                let path = path.to_string_lossy();
                write!(f, "http+unix://{}", escape_segment(&path))?;
            }
        }
        if self.path == "/" { Ok(()) } else { f.write_str(&self.path) }
    }
}

impl Serialize for BindUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BindUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for BindUrl {
    fn schema_name() -> Cow<'static, str> {
        "BindUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "x-kind": "bind-url"})
    }
}

/// Brings a base URL to its one form: slashes at both ends, percent-encoded. `/@/space word` becomes
/// `/@/space%20word/`, and so does `/@/space%20word/`.
pub fn normalise_base_url(text: &str) -> Result<String, AddressError> {
    let wrong = |why| AddressError::BaseUrl(text.to_owned(), why);
    if text.contains("://") {
        return Err(wrong("give the path only; scheme and host belong to public_url or bind_url"));
    }
    if text.contains(['?', '#']) {
        return Err(wrong("it may not have a query or fragment"));
    }
    let mut normalised = String::from("/");
    for segment in text.split('/').filter(|segment| !segment.is_empty()) {
        let decoded =
            percent_decode_str(segment).decode_utf8().map_err(|_| wrong("it is not UTF-8 when decoded"))?;
        if decoded == "." || decoded == ".." {
            return Err(wrong("it may not have the steps '.' and '..'"));
        }
        if decoded.chars().any(char::is_control) {
            return Err(wrong("it may not have control characters"));
        }
        normalised.push_str(&escape_segment(&decoded));
        normalised.push('/');
    }
    Ok(normalised)
}

/// Notation of a base URL in a `String` field.
#[derive(Debug)]
pub enum BaseUrlText {}

impl BaseUrlText {
    /// As it is.
    pub fn serialize<S: Serializer>(base_url: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(base_url)
    }

    /// Raw or percent-encoded, with or without slashes at the ends.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        normalise_base_url(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl JsonSchema for BaseUrlText {
    fn schema_name() -> Cow<'static, str> {
        "BaseUrl".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "x-kind": "base-url"})
    }
}
