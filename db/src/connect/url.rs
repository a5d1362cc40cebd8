//! SQLAlchemy's database URLs.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use sqlx::mysql::{MySqlConnectOptions, MySqlSslMode};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use url::Url;

use super::DbOptions;
use crate::error::DbError;
use hub_core::secret::ExposeSecret as _;

/// Where the database is.
#[derive(Debug)]
pub(super) enum Target {
    /// A file, or memory.
    Sqlite(Option<PathBuf>),
    Postgres(Box<PgConnectOptions>),
    MySql(Box<MySqlConnectOptions>),
}

/// The URL with its password replaced by `***`, fit for a log.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // The authority ends at the first slash; a raw `@` inside a password is an error, but is hidden all the same.
    let end = rest
        .rfind('@')
        .map_or(0, |at| rest.get(at..).and_then(|tail| tail.find('/')).map_or(rest.len(), |n| at + n));
    let (authority, path) = rest.split_at(end);
    let Some((credentials, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    let path = path
        .split_once('?')
        .map_or_else(|| path.to_owned(), |(path, query)| format!("{path}?{}", hide(query)));
    match credentials.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:***@{host}{path}"),
        None => format!("{scheme}://{credentials}@{host}{path}"),
    }
}

fn hide(query: &str) -> String {
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, _)) if key.to_ascii_lowercase().contains("pass") => format!("{key}=***"),
        _ => pair.to_owned(),
    });
    pairs.collect::<Vec<_>>().join("&")
}

pub(super) fn parse(options: &DbOptions) -> Result<Target, DbError> {
    let text = options.url.trim();
    let bad = |problem: String| DbError::Url { url: redacted(text), problem };
    if text.is_empty() {
        return Err(bad(
            "is empty; give a file name or a URL such as `sqlite:///jupyterhub.sqlite`".to_owned()
        ));
    }
    if text == ":memory:" {
        return Ok(Target::Sqlite(None));
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        if let Some(path) = text.strip_prefix("sqlite:") {
            return Err(bad(format!("needs `sqlite:///` before the file name, like `sqlite:///{path}`")));
        }
        return Ok(Target::Sqlite(Some(PathBuf::from(text))));
    };
    match scheme.split('+').next().unwrap_or_default() {
        "sqlite" => sqlite(rest).map_err(bad),
        "postgresql" | "postgres" => postgres(text, options).map_err(bad),
        "mysql" | "mariadb" => mysql(text, options).map_err(bad),
        other => {
            Err(bad(format!("has the unknown scheme {other:?}; known are sqlite, postgresql and mysql")))
        }
    }
}

fn sqlite(rest: &str) -> Result<Target, String> {
    if rest.is_empty() {
        return Ok(Target::Sqlite(None));
    }
    let Some(path) = rest.strip_prefix('/') else {
        return Err(
            "names a host; a file has three slashes (`sqlite:///relative`) or four (`sqlite:////absolute`)"
                .to_owned(),
        );
    };
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    if !query.is_empty() {
        return Err(format!("has options after `?` that are not supported for SQLite: {query}"));
    }
    match path {
        "" | ":memory:" => Ok(Target::Sqlite(None)),
        path => Ok(Target::Sqlite(Some(PathBuf::from(path)))),
    }
}

/// The parts that both kinds of server have. Everything is percent-decoded.
struct Server {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    query: Vec<(String, String)>,
}

fn server(text: &str, options: &DbOptions) -> Result<Server, String> {
    let url = Url::parse(text).map_err(|error| {
        format!("cannot be read ({error}); special characters in user or password must be percent-encoded")
    })?;
    let decode = |text: &str| -> Result<Option<String>, String> {
        let text = percent_decode_str(text)
            .decode_utf8()
            .map_err(|_| "has percent-encoded bytes that are not UTF-8".to_owned())?;
        Ok((!text.is_empty()).then(|| text.into_owned()))
    };
    let password = match url.password() {
        Some(password) => decode(password)?,
        None => options.password.as_ref().map(|password| password.expose_secret().to_owned()),
    };
    Ok(Server {
        host: decode(url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']'))?,
        port: url.port(),
        user: decode(url.username())?,
        password,
        database: decode(url.path().trim_start_matches('/'))?,
        query: url.query_pairs().map(|(key, value)| (key.into_owned(), value.into_owned())).collect(),
    })
}

fn postgres(text: &str, options: &DbOptions) -> Result<Target, String> {
    let server = server(text, options)?;
    let mut pg = PgConnectOptions::new().application_name("himalia");
    if let Some(host) = &server.host {
        pg = pg.host(host);
    }
    if let Some(port) = server.port {
        pg = pg.port(port);
    }
    if let Some(user) = &server.user {
        pg = pg.username(user);
    }
    if let Some(password) = &server.password {
        pg = pg.password(password);
    }
    if let Some(database) = &server.database {
        pg = pg.database(database);
    }
    for (key, value) in &server.query {
        pg = match key.as_str() {
            "sslmode" | "ssl" => {
                let mode: PgSslMode =
                    value.parse().map_err(|_| format!("has the unknown sslmode {value:?}"))?;
                pg.ssl_mode(mode)
            }
            "sslrootcert" => pg.ssl_root_cert(value),
            "sslcert" => pg.ssl_client_cert(value),
            "sslkey" => pg.ssl_client_key(value),
            "host" if value.starts_with('/') => pg.socket(value),
            "host" => pg.host(value),
            "port" => pg.port(value.parse().map_err(|_| format!("has a port that is no number: {value:?}"))?),
            "application_name" => pg.application_name(value),
            // Limits of libpq's own; ours are in the configuration.
            "connect_timeout" | "client_encoding" => pg,
            other => return Err(format!("has the option {other:?}, which is not supported for PostgreSQL")),
        };
    }
    Ok(Target::Postgres(Box::new(pg)))
}

fn mysql(text: &str, options: &DbOptions) -> Result<Target, String> {
    let server = server(text, options)?;
    let mut my = MySqlConnectOptions::new().host(server.host.as_deref().unwrap_or("localhost"));
    if let Some(port) = server.port {
        my = my.port(port);
    }
    if let Some(user) = &server.user {
        my = my.username(user);
    }
    if let Some(password) = &server.password {
        my = my.password(password);
    }
    let database =
        server.database.as_deref().ok_or("names no database, like `mysql://user@host/jupyterhub`")?;
    my = my.database(database);
    for (key, value) in &server.query {
        my = match key.as_str() {
            "charset" if value == "utf8" || value == "utf8mb3" => my.charset("utf8mb4"),
            "charset" => my.charset(value),
            "collation" => my.collation(value),
            "unix_socket" => my.socket(value),
            "ssl_ca" => my.ssl_mode(MySqlSslMode::VerifyCa).ssl_ca(value),
            "ssl_cert" => my.ssl_client_cert(value),
            "ssl_key" => my.ssl_client_key(value),
            "ssl_disabled" if value == "true" || value == "1" => my.ssl_mode(MySqlSslMode::Disabled),
            other => return Err(format!("has the option {other:?}, which is not supported for MySQL")),
        };
    }
    Ok(Target::MySql(Box::new(my)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(url: &str) -> Result<Target, DbError> {
        parse(&DbOptions::new(url))
    }

    #[test]
    fn sqlite_urls_are_those_of_sqlalchemy() {
        for (url, file) in [
            ("sqlite://", None),
            ("sqlite:///", None),
            ("sqlite:///:memory:", None),
            (":memory:", None),
            ("sqlite:///hub.sqlite", Some("hub.sqlite")),
            ("sqlite+pysqlite:///hub.sqlite", Some("hub.sqlite")),
            ("sqlite:////srv/hub dir/hub.sqlite", Some("/srv/hub dir/hub.sqlite")),
            ("hub.sqlite", Some("hub.sqlite")),
            ("/srv/hub.sqlite", Some("/srv/hub.sqlite")),
        ] {
            match target(url).unwrap() {
                Target::Sqlite(found) => {
                    assert_eq!(found.as_deref(), file.map(std::path::Path::new), "{url}");
                }
                other => panic!("{url}: {other:?}"),
            }
        }
    }

    #[test]
    fn server_urls_are_decoded_and_their_driver_is_ignored() {
        let Target::Postgres(pg) =
            target("postgresql+psycopg2://h%40b:p%2Fw@db.example:6543/hub%20db?sslmode=require").unwrap()
        else {
            panic!("not PostgreSQL")
        };
        assert_eq!(pg.get_host(), "db.example");
        assert_eq!(pg.get_port(), 6543);
        assert_eq!(pg.get_username(), "h@b");
        assert_eq!(pg.get_database(), Some("hub db"));
        let Target::MySql(my) = target("mysql+pymysql://hub@[::1]/hub?charset=utf8mb4").unwrap() else {
            panic!("not MySQL")
        };
        assert_eq!(my.get_host(), "::1");
        assert_eq!(my.get_port(), 3306);
        assert_eq!(my.get_database(), Some("hub"));
    }

    #[test]
    fn bad_urls_are_explained_without_their_password() {
        for (url, text) in [
            ("", "is empty"),
            ("sqlite:hub.sqlite", "sqlite:///hub.sqlite"),
            ("sqlite://hub.sqlite", "three slashes"),
            ("sqlite:///a?mode=ro", "mode=ro"),
            ("oracle://hub:hunter2@db/hub", "unknown scheme \"oracle\""),
            ("mysql://hub:hunter2@db", "names no database"),
            ("postgresql://hub:hunter2@db:port/hub", "cannot be read"),
            ("postgresql://hub:hunt@er2@db/hub?sslmode=maybe", "unknown sslmode"),
            ("postgresql://hub:hunter2@db/hub?gssencmode=no", "gssencmode"),
        ] {
            let error = target(url).unwrap_err().to_string();
            assert!(error.contains(text), "{url}: {error}");
            assert!(!error.contains("hunt") && !error.contains("er2"), "{error}");
        }
    }

    #[test]
    fn redaction_hides_the_password_and_nothing_else() {
        assert_eq!(redacted("postgresql://hub:a:b@c/d@db:1/hub"), "postgresql://hub:***@db:1/hub");
        assert_eq!(
            redacted("mysql://hub@db/hub?password=x&charset=y"),
            "mysql://hub@db/hub?password=***&charset=y"
        );
        assert_eq!(redacted("sqlite:///a@b.sqlite"), "sqlite:///a@b.sqlite");
        let options = DbOptions {
            password: Some("hunter2".to_owned().into()),
            ..DbOptions::new("postgresql://hub:hunter2@db/hub")
        };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
