//! Reading and writing cookies as browsers, tornado and stock JupyterHub do.

use std::fmt::Write as _;

use chrono::{DateTime, Duration, Utc};
use serde_json::{Map, Value};

/// The cookies of one request, in the order in which the browser sent them, quotes taken off.
#[derive(Debug, Clone, Default)]
pub struct RequestCookies(Vec<(String, String)>);

impl RequestCookies {
    /// Parses `Cookie` headers. What is not `name=value` is skipped, as browsers and tornado do.
    pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Self {
        let pairs = headers
            .flat_map(|header| header.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| {
                let value = value.trim();
                let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
                (name.trim().to_owned(), value.to_owned())
            })
            .collect();
        Self(pairs)
    }

    /// The last value of a name: like tornado, later ones win.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a name: the same name may come with several paths.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// How long a cookie lives in the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Until the browser ends its session.
    Session,
    /// Until a date.
    Until(DateTime<Utc>),
    /// A number of seconds.
    MaxAge(i64),
}

/// One `Set-Cookie` header.
#[derive(Debug, Clone)]
pub struct SetCookie {
    /// Name.
    pub name: String,
    /// Value; quoted where it needs quotes.
    pub value: String,
    /// Path.
    pub path: String,
    /// Life.
    pub life: Life,
    /// Not for scripts.
    pub http_only: bool,
    /// Only over TLS.
    pub secure: bool,
    /// Further attributes (`domain`, `samesite`, `partitioned`, …) from `cookie_options`; they win over the fields.
    pub options: Map<String, Value>,
}

impl SetCookie {
    /// A cookie for the browser session, readable by scripts.
    pub fn new(name: impl Into<String>, value: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            path: path.into(),
            life: Life::Session,
            http_only: false,
            secure: false,
            options: Map::new(),
        }
    }

    /// Deletes a cookie: empty, with an expiry one year in the past.
    pub fn cleared(name: impl Into<String>, path: impl Into<String>, now: DateTime<Utc>) -> Self {
        Self { life: Life::Until(now - Duration::days(365)), ..Self::new(name, "\"\"", path) }
    }

    /// The header's value.
    pub fn header(&self) -> String {
        let quoted = self.value.starts_with('"') || self.value.bytes().all(is_bare);
        let mut out = if quoted {
            format!("{}={}", self.name, self.value)
        } else {
            format!("{}=\"{}\"", self.name, self.value)
        };
        match self.life {
            Life::Session => {}
            Life::Until(at) => push(&mut out, "expires", &at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()),
            Life::MaxAge(seconds) => push(&mut out, "Max-Age", &seconds.to_string()),
        }
        let overridden = |name: &str| self.options.keys().any(|key| attribute_name(key) == name);
        if self.http_only && !overridden("httponly") {
            out.push_str("; HttpOnly");
        }
        if !overridden("path") {
            push(&mut out, "Path", &self.path);
        }
        if self.secure && !overridden("secure") {
            out.push_str("; Secure");
        }
        for (key, value) in &self.options {
            match value {
                Value::Bool(true) => {
                    out.push_str("; ");
                    out.push_str(key);
                }
                Value::Bool(false) | Value::Null => {}
                Value::String(text) => push(&mut out, key, text),
                other => push(&mut out, key, &other.to_string()),
            }
        }
        out
    }
}

/// `samesite`, `SameSite` and `same_site` are the same attribute.
fn attribute_name(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

fn push(out: &mut String, name: &str, value: &str) {
    let value: String = value.chars().filter(|c| !c.is_control() && *c != ';').collect();
    write!(out, "; {name}={value}").expect("writing to a string cannot fail");
}

/// Bytes that Python's `http.cookies` leaves without quotes.
fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:".contains(&byte) && byte != b'|'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_repeated_names_are_read_as_tornado_does() {
        let cookies = RequestCookies::parse(["a=1; b=\"2|1:0\"; junk", "a=3; _xsrf=x=="].into_iter());
        assert_eq!(cookies.get("a"), Some("3"));
        assert_eq!(cookies.get("b"), Some("2|1:0"));
        assert_eq!(cookies.all("a").collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(cookies.get("_xsrf"), Some("x=="));
        assert_eq!(cookies.get("junk"), None);
    }

    #[test]
    fn signed_values_are_quoted_and_options_win() {
        let mut cookie = SetCookie::new("n", "2|1:0|x", "/hub/");
        cookie.http_only = true;
        cookie.options =
            serde_json::from_str(r#"{"SameSite": "None", "Secure": true, "domain": "a;b"}"#).unwrap();
        assert_eq!(cookie.header(), "n=\"2|1:0|x\"; HttpOnly; Path=/hub/; SameSite=None; Secure; domain=ab");
    }
}
