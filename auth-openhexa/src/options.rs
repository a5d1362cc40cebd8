//! The table `[authenticator.openhexa]`. In capitals: the variable of OpenHEXA's own configuration for stock.

use std::path::PathBuf;
use std::time::Duration;

use hub_core::plugin::DurationText;
use hub_core::spawner::Bind;
use hub_core::{PluginError, Problem, WayIn};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

/// The name of the application in texts.
const SERVICE: &str = "OpenHEXA";
/// Longest time that the application may be given for an answer.
const LONGEST_TIMEOUT: Duration = Duration::from_mins(5);

/// The options.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpenHexaOptions {
    /// Where the application tells whose a session is (`AUTHENTICATION_URL`): `https://APP/notebooks/authenticate/`.
    pub authentication_url: String,
    /// Where it gives the credentials of a workspace (`WORKSPACE_CREDENTIALS_URL`):
    /// `https://APP/workspaces/credentials/`.
    pub workspace_credentials_url: String,
    /// Where it gives the credentials of servers without a name (`DEFAULT_CREDENTIALS_URL`):
    /// `https://APP/notebooks/default-credentials/`. None: these servers get none.
    pub default_credentials_url: Option<String>,
    /// Where browsers go after logout (`LOGOUT_REDIRECT_URL`).
    pub logout_redirect_url: Option<String>,
    /// Address of the application's API, given to servers as `HEXA_SERVER_URL`.
    pub server_url: Option<String>,
    /// Where people log in, shown to whoever is not. None: the page only says so.
    pub app_url: Option<String>,
    /// Name of the application's session cookie.
    pub session_cookie: String,
    /// Name of the application's CSRF cookie.
    pub csrf_cookie: String,
    /// How long the application may take for one answer. Credentials of a new workspace take some seconds.
    #[serde(with = "DurationText")]
    pub http_timeout: Duration,
    /// How old the credentials of a running server may be. When the owner's browser asks the hub something and they are
    /// older, the application is asked for new ones, which the server gets with `GET /hub/api/user`. 0 asks only before
    /// starts. Needs a key in `hub.crypt_keys`.
    #[serde(with = "DurationText")]
    pub credentials_max_age: Duration,
    /// Further certificates (PEM) by which the application is recognised.
    pub ca_file: Option<PathBuf>,
    /// Where servers find the files of a workspace that the application keeps on this machine (its storage engine is
    /// `local`).
    pub local_storage_target: String,
}

impl Default for OpenHexaOptions {
    fn default() -> Self {
        Self {
            authentication_url: String::new(),
            workspace_credentials_url: String::new(),
            default_credentials_url: None,
            logout_redirect_url: None,
            server_url: None,
            app_url: None,
            session_cookie: "sessionid".to_owned(),
            csrf_cookie: "csrftoken".to_owned(),
            http_timeout: Duration::from_secs(30),
            credentials_max_age: Duration::from_mins(15),
            ca_file: None,
            local_storage_target: format!("{}/workspace", Bind::HOME),
        }
    }
}

impl OpenHexaOptions {
    /// Where people log in.
    pub(crate) fn way_in(&self) -> WayIn {
        WayIn { service: SERVICE.to_owned(), url: self.app_url.clone() }
    }

    /// Every problem of these options.
    ///
    /// # Errors
    /// Each with its key below `table`.
    pub fn validate(&self, table: &str) -> Result<(), PluginError> {
        let mut problems = Vec::new();
        let mut wrong = |key: &str, text: String| problems.push(Problem::new(format!("{table}.{key}"), text));
        for (key, value) in [
            ("authentication_url", &self.authentication_url),
            ("workspace_credentials_url", &self.workspace_credentials_url),
        ] {
            if value.is_empty() {
                wrong(key, "is missing: the address of the application for this, https://APP/…".to_owned());
            } else if let Err(text) = check_url(value) {
                wrong(key, text);
            }
        }
        for (key, value) in [
            ("default_credentials_url", &self.default_credentials_url),
            ("logout_redirect_url", &self.logout_redirect_url),
            ("server_url", &self.server_url),
            ("app_url", &self.app_url),
        ] {
            if let Some(Err(text)) = value.as_deref().map(check_url) {
                wrong(key, text);
            }
        }
        for (key, name) in [("session_cookie", &self.session_cookie), ("csrf_cookie", &self.csrf_cookie)] {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
                wrong(key, format!("{name:?} is no name of a cookie"));
            }
        }
        if self.session_cookie == self.csrf_cookie {
            wrong("csrf_cookie", "is the name of the session cookie too".to_owned());
        }
        if self.http_timeout.is_zero() || self.http_timeout > LONGEST_TIMEOUT {
            wrong("http_timeout", "must be longer than 0 and five minutes at most".to_owned());
        }
        if !self.local_storage_target.starts_with('/') {
            let target = &self.local_storage_target;
            wrong("local_storage_target", format!("{target:?} must be an absolute path"));
        }
        PluginError::check(problems)
    }
}

fn check_url(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(format!("{text:?} must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("may not hold a user name or password".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hub_core::plugin::read_options;
    use serde_json::{Value, json};

    use super::*;

    fn keys(options: Value) -> Vec<String> {
        let options: OpenHexaOptions = read_options(options, "o").unwrap();
        let problems = options.validate("o").err().map(|error| error.problems).unwrap_or_default();
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_key() {
        let good = json!({
            "authentication_url": "http://app/notebooks/authenticate/",
            "workspace_credentials_url": "https://app.example.org/workspaces/credentials/",
        });
        assert_eq!(keys(good), Vec::<String>::new());
        assert_eq!(keys(json!({})), ["o.authentication_url", "o.workspace_credentials_url"]);
        let bad = json!({
            "authentication_url": "app", "workspace_credentials_url": "ftp://app/", "server_url": "https://a:b@app/",
            "app_url": "javascript:alert(1)", "csrf_cookie": "sessionid", "http_timeout": "1h",
            "local_storage_target": "workspace",
        });
        assert_eq!(
            keys(bad),
            [
                "o.authentication_url",
                "o.workspace_credentials_url",
                "o.server_url",
                "o.app_url",
                "o.csrf_cookie",
                "o.http_timeout",
                "o.local_storage_target",
            ]
        );
    }
}
