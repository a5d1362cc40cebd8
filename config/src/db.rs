//! `[db]`: where the hub keeps its state. Answers to `db_url`, `db_kwargs` and `upgrade_db`.

use std::time::Duration;

use hub_core::plugin::{DurationText, SecretText};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// The database.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DbSection {
    /// `sqlite:///relative.sqlite`, `sqlite:////absolute.sqlite`, `sqlite:///:memory:`,
    /// `postgresql://user:password@host/name` or `mysql://user:password@host/name`. SQLAlchemy's driver (`+psycopg`)
    /// may stay in it.
    #[serde(skip_serializing)]
    #[schemars(with = "SecretText", extend("default" = "sqlite:///jupyterhub.sqlite"))]
    pub url: SecretString,
    /// Password, when `url` has none. Without it `PGPASSWORD` or `MYSQL_PWD` is used, as the databases' own programs
    /// do.
    #[serde(skip_serializing)]
    #[schemars(with = "Option<SecretText>")]
    pub password: Option<SecretString>,
    /// Most connections that are open at once (PostgreSQL, MySQL); SQLite has one writer.
    pub max_connections: u32,
    /// How long a request waits for a free connection.
    #[serde(with = "DurationText")]
    pub acquire_timeout: Duration,
    /// How long one statement may take.
    #[serde(with = "DurationText")]
    pub statement_timeout: Duration,
    /// How long to wait while another process writes to the SQLite file.
    #[serde(with = "DurationText")]
    pub write_timeout: Duration,
    /// Brings the schema of an older JupyterHub up to date at start, after a backup: a copy of a SQLite file, or of the
    /// tables inside the database server. Without one nothing is changed and the hub does not start.
    pub upgrade_db: bool,
}

impl Default for DbSection {
    fn default() -> Self {
        Self {
            url: SecretString::from("sqlite:///jupyterhub.sqlite"),
            password: None,
            max_connections: 10,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(10),
            upgrade_db: false,
        }
    }
}

impl DbSection {
    /// The kind of database that the URL names, without SQLAlchemy's driver: `sqlite`, `postgresql`, `mysql`.
    pub fn dialect(&self) -> String {
        let url = self.url.expose_secret();
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        scheme.split('+').next().unwrap_or_default().to_owned()
    }
}
