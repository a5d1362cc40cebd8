//! Cookies in both directions.

use http::HeaderMap;
use http::header::COOKIE;
use serde_json::Value;

use crate::settings::Settings;

/// The cookies of a request, quotes taken off.
pub(crate) fn of(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// One cookie of that name.
pub(crate) fn get<'a>(cookies: &'a [(String, String)], name: &str) -> Option<&'a str> {
    cookies.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Name of the cookie of a login: that of the OAuth client.
pub(crate) fn login_name(settings: &Settings) -> String {
    let mark = if settings.host_prefix { "__Host-" } else { "" };
    format!("{mark}{}", settings.client_id)
}

/// A `Set-Cookie` value. `max_age` in seconds; none lasts as long as the browser, 0 deletes.
pub(crate) fn set(settings: &Settings, name: &str, value: &str, max_age: Option<u32>, https: bool) -> String {
    let path = if settings.host_prefix { "/" } else { &settings.prefix };
    let mut parts = vec![format!("{name}={value}"), format!("Path={path}"), "HttpOnly".to_owned()];
    parts.extend(max_age.map(|seconds| format!("Max-Age={seconds}")));
    if https || settings.host_prefix {
        parts.push("Secure".to_owned());
    }
    let own = ["path", "httponly", "max_age", "max-age", "secure", "expires", "expires_days"];
    parts.extend(settings.cookie_options.iter().filter_map(|(key, value)| match value {
        _ if own.contains(&key.to_lowercase().as_str()) => None,
        Value::String(text) => Some(format!("{key}={text}")),
        Value::Bool(true) => Some(key.clone()),
        _ => None,
    }));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_plain_cookies_are_read() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=1; b=\"2|x\"".parse().unwrap());
        headers.append(COOKIE, "c=3=3".parse().unwrap());
        let cookies = of(&headers);
        for (name, value) in [("a", "1"), ("b", "2|x"), ("c", "3=3")] {
            assert_eq!(get(&cookies, name), Some(value));
        }
        assert_eq!(get(&cookies, "d"), None);
    }
}
