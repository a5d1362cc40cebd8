//! `[db]`: where the hub keeps its state. Answers to `db_url`, `db_kwargs` and `upgrade_db`.

use std::time::Duration;

use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use crate::durations::DurationText;
use crate::secrets::SecretText;

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DbSection {
    /// `sqlite:///relative.sqlite`, `sqlite:////absolute.sqlite`, `sqlite:///:memory:`,
    /// `postgresql://user:password@host/name` or `mysql://user:password@host/name`.
    #[serde(skip_serializing)]
    #[schemars(with = "SecretText", extend("default" = "sqlite:///jupyterhub.sqlite"))]
    pub url: SecretString,
    /// Password of the database, put into `url`.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<SecretText>")]
    pub password: Option<SecretString>,
    /// Most connections that are open at once (PostgreSQL, MySQL); SQLite has one writer.
    pub max_connections: u32,
    /// How long a request waits for a free connection.
    #[serde(with = "DurationText")]
    pub acquire_timeout: Duration,
    /// Brings the schema of an older JupyterHub up to date at start; a copy of an SQLite file is kept.
    pub upgrade_db: bool,
}

impl Default for DbSection {
    fn default() -> Self {
        Self {
            url: SecretString::from("sqlite:///jupyterhub.sqlite"),
            password: None,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(30),
            upgrade_db: false,
        }
    }
}

impl DbSection {
    /// The URL with `password` put in, in the form that drivers read. A driver named by SQLAlchemy's `+driver` is
    /// left out.
    pub fn connect_url(&self) -> Result<SecretString, url::ParseError> {
        let text = self.url.expose_secret();
        let text = match text.split_once("://") {
            Some((scheme, rest)) => match scheme.split_once('+') {
                Some((dialect, _driver)) => format!("{dialect}://{rest}"),
                None => text.to_owned(),
            },
            None => text.to_owned(),
        };
        let Some(password) = &self.password else { return Ok(SecretString::from(text)) };
        let mut url = url::Url::parse(&text)?;
        url.set_password(Some(password.expose_secret())).map_err(|()| url::ParseError::EmptyHost)?;
        Ok(SecretString::from(url.to_string()))
    }
}
