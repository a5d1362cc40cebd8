//! The access log: one line a request, without secrets.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{debug, error, info, warn};

/// Query arguments whose values never reach a log.
const SECRET_ARGUMENTS: [&str; 6] = ["token", "auth", "key", "code", "state", "_xsrf"];
/// Requests slower than this are told at least as information.
const SLOW: Duration = Duration::from_secs(1);
/// Longest URI in a line, in bytes.
const MAX_URI: usize = 512;

/// The name of whoever asked, noted on the request once known.
#[derive(Debug, Clone)]
pub struct Who(pub String);

/// One request to be told.
#[derive(Debug)]
pub struct Access<'a> {
    /// Method.
    pub method: &'a str,
    /// Path and query.
    pub uri: &'a str,
    /// Status of the answer.
    pub status: u16,
    /// Where a redirect leads.
    pub location: Option<&'a str>,
    /// Who asked.
    pub who: Option<&'a str>,
    /// From where.
    pub remote: Option<IpAddr>,
    /// How long it took.
    pub took: Duration,
    /// Whether a success is of interest only while debugging.
    pub quiet: bool,
    /// What the client was told of a failure.
    pub message: Option<&'a str>,
    /// What only the log is told of it.
    pub cause: Option<&'a str>,
}

/// Writes the line: `{status} {METHOD} {uri}[ -> location] ({who}@{ip}) {ms}ms`.
pub fn access(access: &Access<'_>) {
    let ms = access.took.as_secs_f64() * 1_000.0;
    let uri = scrub(access.uri);
    let to = access.location.map(|location| format!(" -> {}", scrub(location))).unwrap_or_default();
    let who = access.who.unwrap_or_default();
    let ip = access.remote.map(|ip| ip.to_string()).unwrap_or_default();
    let line = format!("{} {} {uri}{to} ({who}@{ip}) {ms:.2}ms", access.status, access.method);
    let (message, cause) = (access.message, access.cause);
    match access.status {
        500.. => error!(message, cause, "{line}"),
        400..=499 => warn!(message, cause, "{line}"),
        304 => debug!("{line}"),
        _ if access.quiet && access.took < SLOW => debug!("{line}"),
        _ => info!("{line}"),
    }
}

/// A URI with the values of secret arguments replaced, shortened.
pub fn scrub(uri: &str) -> String {
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let mut out = scrub_path(path);
    if let Some(query) = query {
        out.push('?');
        for (i, pair) in query.split('&').enumerate() {
            if i > 0 {
                out.push('&');
            }
            match pair.split_once('=') {
                Some((name, _)) if is_secret(name) => {
                    out.push_str(name);
                    out.push_str("=[secret]");
                }
                _ => out.push_str(pair),
            }
        }
    }
    if out.len() > MAX_URI {
        let mut end = MAX_URI;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        out.push('…');
    }
    out
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_ARGUMENTS.iter().any(|secret| name.contains(secret))
}

/// Tokens and cookies in the path of the deprecated `authorizations` routes.
fn scrub_path(path: &str) -> String {
    for marker in ["/api/authorizations/token/", "/api/authorizations/cookie/"] {
        if let Some((before, rest)) = path.split_once(marker)
            && !rest.is_empty()
        {
            return format!("{before}{marker}[secret]");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_uri_do_not_reach_the_log() {
        assert_eq!(
            scrub("/hub/oauth?code=abc&state=def&x=1&_xsrf=2&access_token=q"),
            "/hub/oauth?code=[secret]&state=[secret]&x=1&_xsrf=[secret]&access_token=[secret]"
        );
        assert_eq!(scrub("/hub/api/authorizations/token/abcdef"), "/hub/api/authorizations/token/[secret]");
        assert!(scrub(&"/é".repeat(1000)).len() < 520);
    }
}
