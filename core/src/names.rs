//! Names of users and servers, and the two ways in which JupyterHub escapes them.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Characters that stay bare in a URL path segment: unreserved ones plus `@` (and `~`), as stock quotes names.
const PATH_SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@');

/// Characters that stay bare in a part of a client id or cookie name: Python's `quote(name, safe="")`.
const CLIENT_PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Characters that stay bare in the OAuth client id of a server: Python's `quote(name)`, which keeps slashes.
const CLIENT_ID: &AsciiSet = &CLIENT_PART.remove(b'/');

/// Percent-encodes one path segment: `a b@c` becomes `a%20b@c`.
pub fn escape_segment(text: &str) -> String {
    utf8_percent_encode(text, PATH_SEGMENT).to_string()
}

/// Percent-encodes a part of an OAuth client id or cookie name: `a@c` becomes `a%40c`.
pub fn escape_client_part(text: &str) -> String {
    utf8_percent_encode(text, CLIENT_PART).to_string()
}

/// Why a name is refused. The text is meant for the person who sent the name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name may not be empty")]
    Empty,
    /// Longer than the 255 characters that the database holds.
    #[error("a name may have at most 255 characters")]
    TooLong,
    /// A `/` would break every URL that holds the name.
    #[error("a name may not contain '/'")]
    Slash,
    /// White space at an end.
    #[error("a name may not begin or end with white space")]
    Space,
    /// Only dots: a path step, not a name.
    #[error("a name may not consist of dots alone")]
    Dots,
    /// A control character.
    #[error("a name may not contain control characters")]
    Control,
}

fn check(name: &str) -> Result<(), NameError> {
    if name.chars().count() > 255 {
        return Err(NameError::TooLong);
    }
    if name.contains('/') {
        return Err(NameError::Slash);
    }
    if name.trim() != name {
        return Err(NameError::Space);
    }
    let decoded = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
    if !name.is_empty() && (name.bytes().all(|b| b == b'.') || decoded.bytes().all(|b| b == b'.')) {
        return Err(NameError::Dots);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// The name of a user, as stored in `users.name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserName(String);

impl UserName {
    /// A validated name: not empty, no `/`, no space at the ends, not only dots, at most 255 characters.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        check(&name)?;
        Ok(Self(name))
    }

    /// A name that is in the database already, whatever it looks like.
    pub fn stored(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The raw name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a URL path segment.
    pub fn escaped(&self) -> String {
        escape_segment(&self.0)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a server of a user; the empty name is the default server.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServerName(String);

impl ServerName {
    /// A name that was stored or matched already.
    pub fn stored(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// A name for a new server under `server_names = "any"`: what JupyterHub 5 allowed.
    pub fn any(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        check(&name)?;
        Ok(Self(name))
    }

    /// Whether the name follows JupyterHub 6's rule for new named servers: 1 to 30 characters of `a-z0-9`
    /// and single hyphens, a letter first, a letter or digit last.
    pub fn is_safe(&self) -> bool {
        let bytes = self.0.as_bytes();
        (1..=30).contains(&bytes.len())
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.last().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
            && !self.0.contains("--")
    }

    /// Whether this is the default server.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// The raw name, `""` for the default server.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as a URL path segment.
    pub fn escaped(&self) -> String {
        escape_segment(&self.0)
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which server of which user. Shown as `user` for the default server and `user:server` for a named one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerKey {
    /// The owner.
    pub user: UserName,
    /// The server's name, empty for the default one.
    pub server: ServerName,
}

impl ServerKey {
    /// The key of one server.
    pub fn new(user: UserName, server: ServerName) -> Self {
        Self { user, server }
    }

    /// `user/server`, as in scope filters; the default server is `user/`.
    pub fn scope_value(&self) -> String {
        format!("{}/{}", self.user, self.server)
    }

    /// The path below the base URL, with slash at the end: `user/name/` or `user/name/server/`.
    pub fn path(&self) -> String {
        if self.server.is_default() {
            format!("user/{}/", self.user.escaped())
        } else {
            format!("user/{}/{}/", self.user.escaped(), self.server.escaped())
        }
    }

    /// The OAuth client id of the server: `jupyterhub-user-NAME[-SERVER]`, each part percent-encoded.
    pub fn oauth_client_id(&self) -> String {
        let part = |name: &str| utf8_percent_encode(name, CLIENT_ID).to_string();
        let user = part(self.user.as_str());
        if self.server.is_default() {
            format!("jupyterhub-user-{user}")
        } else {
            format!("jupyterhub-user-{user}-{}", part(self.server.as_str()))
        }
    }
}

impl fmt::Display for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.server.is_default() {
            write!(f, "{}", self.user)
        } else {
            write!(f, "{}:{}", self.user, self.server)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_urls_are_refused() {
        for (name, why) in [
            ("", NameError::Empty),
            ("a/b", NameError::Slash),
            (" a", NameError::Space),
            ("..", NameError::Dots),
            ("%2e%2e", NameError::Dots),
            ("a\u{7}b", NameError::Control),
        ] {
            assert_eq!(UserName::new(name), Err(why), "{name:?}");
        }
        assert_eq!(UserName::new("x".repeat(256)), Err(NameError::TooLong));
        assert!(UserName::new("josé@example.org").is_ok());
    }

    #[test]
    fn paths_keep_the_at_sign_and_client_ids_do_not() {
        let key = ServerKey::new(UserName::stored("a@b c"), ServerName::stored("x/ü"));
        assert_eq!(key.path(), "user/a@b%20c/x%2F%C3%BC/");
        assert_eq!(key.oauth_client_id(), "jupyterhub-user-a%40b%20c-x/%C3%BC");
        assert_eq!(key.scope_value(), "a@b c/x/ü");
    }

    #[test]
    fn safe_server_names_follow_the_rule_of_version_six() {
        for good in ["a", "lab-2", "abcdefghijklmnopqrstuvwxyz1234"] {
            assert!(ServerName::stored(good).is_safe(), "{good}");
        }
        for bad in ["", "2lab", "-a", "a-", "a--b", "A", "a.b", "abcdefghijklmnopqrstuvwxyz12345"] {
            assert!(!ServerName::stored(bad).is_safe(), "{bad}");
        }
    }
}
