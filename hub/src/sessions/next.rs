//! Where a browser may be sent after login: only within this hub.

use url::Url;

/// The hub's own origin and prefix, against which targets are checked.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// `http` or `https`, as the browser sees it.
    pub scheme: &'a str,
    /// Host with port, as the browser sees it.
    pub host: &'a str,
}

/// The path, query and fragment of a `next` argument that stays on this host; none for anything else.
///
/// Backslashes are escaped (browsers take them for slashes), runs of slashes in front collapse, absolute URLs must
/// name this very host and lose it.
pub fn safe_next(next: &str, here: Here<'_>) -> Option<String> {
    if next.is_empty() || next.len() > 16_384 || next.chars().any(char::is_control) {
        return None;
    }
    let next = next.trim().replace('\\', "%5C");
    let slashes = next.bytes().take_while(|b| *b == b'/').count();
    if slashes == 1 {
        return Some(next);
    }
    let absolute = match slashes {
        0 if next.contains("://") => next,
        0 => return None,
        2 => format!("{}:{next}", here.scheme),
        _ => return Some(format!("/{}", next.trim_start_matches('/'))),
    };
    let url = Url::parse(&absolute).ok()?;
    let own = Url::parse(&format!("{}://{}/", here.scheme, here.host)).ok()?;
    if !matches!(url.scheme(), "http" | "https")
        || url.origin() != own.origin()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return None;
    }
    let mut target = format!("/{}", url.path().trim_start_matches('/'));
    if let Some(query) = url.query() {
        target = format!("{target}?{query}");
    }
    if let Some(fragment) = url.fragment() {
        target = format!("{target}#{fragment}");
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str) -> Option<String> {
        safe_next(text, Here { scheme: "http", host: "hub.example:8000" })
    }

    #[test]
    fn targets_on_this_host_are_kept() {
        for (given, wanted) in [
            ("/hub/home", "/hub/home"),
            ("/user/a/lab?x=1#top", "/user/a/lab?x=1#top"),
            ("http://hub.example:8000/hub/", "/hub/"),
            ("//hub.example:8000/a", "/a"),
            ("http://hub.example:8000//evil.example/a", "/evil.example/a"),
        ] {
            assert_eq!(next(given).as_deref(), Some(wanted), "{given}");
        }
    }

    #[test]
    fn everything_that_leads_elsewhere_is_dropped() {
        for given in [
            "",
            "https://evil.example/",
            "//evil.example/",
            "http://hub.example:8000@evil.example/",
            "http://hub.example/",
            "javascript:alert(1)",
            "javascript://hub.example:8000/%0aalert(1)",
            "relative/path",
            "/a\r\nSet-Cookie: x=1",
            "ftp://hub.example:8000/",
        ] {
            assert_eq!(next(given), None, "{given}");
        }
        assert_eq!(next("/\\evil.example/").as_deref(), Some("/%5Cevil.example/"));
        assert_eq!(next("///evil.example/").as_deref(), Some("/evil.example/"));
    }
}
