//! The way in to a hub that nobody has configured: a link that works once, and a password.

use std::io::{IsTerminal as _, Write as _};

use hub_core::secret::random_urlsafe;
use serde_json::{Map, Value};

use super::derived;

/// The kind of authenticator that this is for.
pub const KIND: &str = "first-admin";
/// Length of the password, in characters of URL-safe base64.
const PASSWORD_LENGTH: usize = 20;

/// What was made up, to be printed once.
pub struct FirstLogin {
    name: String,
    token: String,
    password: Option<String>,
    known: bool,
}

impl std::fmt::Debug for FirstLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstLogin").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Fills in the options what they leave out: a fresh token for the link, and a password that stays the same for as
/// long as the cookie secret does, so that it need not be stored.
pub fn fill(options: Value, cookie_secret: &[u8]) -> (Value, FirstLogin) {
    let mut map = match options {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    let text = |map: &Map<String, Value>, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let name = text(&map, "name").unwrap_or_else(|| "admin".to_owned());
    let token = text(&map, "token").unwrap_or_else(random_urlsafe);
    let chosen = map.contains_key("password");
    let password = (!chosen).then(|| password_of(cookie_secret));
    map.insert("token".to_owned(), token.clone().into());
    if let Some(password) = &password {
        map.insert("password".to_owned(), password.clone().into());
    }
    (Value::Object(map), FirstLogin { name, token, password, known: false })
}

fn password_of(cookie_secret: &[u8]) -> String {
    let mut text = derived::secret(cookie_secret, "first administrator's password");
    text.truncate(PASSWORD_LENGTH);
    text
}

impl FirstLogin {
    /// The name of the first administrator, as configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the first administrator has been here before.
    pub fn set_known(&mut self, known: bool) {
        self.known = known;
    }

    /// Prints link and password on standard error, not through the log: logs are kept and shipped.
    pub fn print(&self, hub: &str) -> std::io::Result<()> {
        let mut out = std::io::stderr().lock();
        out.write_all(self.text(hub, out.is_terminal()).as_bytes())?;
        out.flush()
    }

    /// Standard error may be kept and shipped as well: the password, which stays the same, is told there for as long as
    /// nobody has logged in, and at a terminal.
    fn text(&self, hub: &str, terminal: bool) -> String {
        let later = match &self.password {
            Some(password) if terminal || !self.known => {
                format!("    Later: user name {}, password {password}\n\n", self.name)
            }
            _ => String::new(),
        };
        format!(
            "\n    To log in as the first administrator, open this link (it works once):\n\n        \
             {hub}hub/login?token={}\n\n{later}",
            self.token
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_link_is_fresh_and_the_password_stays() {
        let (first, _) = fill(Value::Null, b"secret");
        let (second, _) = fill(Value::Null, b"secret");
        assert_ne!(first["token"], second["token"]);
        assert_eq!(first["password"], second["password"]);
        assert_ne!(first["password"], fill(Value::Null, b"other").0["password"]);
        let (own, login) = fill(json!({"password": "chosen by somebody", "name": "root"}), b"secret");
        assert_eq!((own["password"].as_str(), login.name.as_str()), (Some("chosen by somebody"), "root"));
        assert!(login.password.is_none(), "a chosen password is not printed");
    }

    #[test]
    fn the_password_is_told_once_or_to_somebody_who_looks() {
        let (options, mut login) = fill(Value::Null, b"secret");
        let password = options["password"].as_str().unwrap();
        let tells = |login: &FirstLogin, terminal| login.text("http://h/", terminal).contains(password);
        assert!(tells(&login, false) && tells(&login, true));
        login.set_known(true);
        assert!(!tells(&login, false) && tells(&login, true));
        assert!(
            login.text("http://h/", false).contains(&format!("http://h/hub/login?token={}", login.token))
        );
    }
}
