//! Where a browser may be sent after login: only within this hub.

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
/// Backslashes are escaped (browsers take them for slashes), more than two slashes in front count as two (as they do
/// for browsers), absolute URLs must name this very host, or one below `hosts_below` (host and port) where users have
/// hosts of their own, and lose it. Answers to `BaseHandler._validate_next_url`.
pub fn safe_next(next: &str, here: Here<'_>, hosts_below: Option<&str>) -> Option<String> {
    if next.is_empty() || next.len() > 16_384 || next.chars().any(char::is_control) {
        return None;
    }
    let mut next = next.trim().replace('\\', "%5C");
    if next.starts_with("///") {
        next = format!("//{}", next.trim_start_matches('/'));
    }
    if next.starts_with('/') && !next.starts_with("//") {
        return Some(next);
    }
    let without_scheme =
        next.strip_prefix(here.scheme).and_then(|rest| rest.strip_prefix(':')).unwrap_or(&next);
    let target = without_scheme.strip_prefix("//")?;
    let target = target.strip_prefix(here.host).or_else(|| {
        let end = target.find('/').unwrap_or(target.len());
        let below = target[..end].strip_suffix(hosts_below?)?;
        let label = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
        (below.is_empty() || below.ends_with('.') && below.chars().all(label)).then_some(&target[end..])
    })?;
    (target.is_empty() || target.starts_with('/')).then(|| format!("/{}", target.trim_start_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str) -> Option<String> {
        safe_next(text, Here { scheme: "http", host: "hub.example:8000" }, None)
    }

    #[test]
    fn hosts_of_users_are_within_the_hub_where_they_have_some() {
        let next = |text: &str| {
            safe_next(text, Here { scheme: "http", host: "hub.example:8000" }, Some("hub.example:8000"))
        };
        for (given, wanted) in [
            ("http://ada.hub.example:8000/user/ada/lab?x=1", Some("/user/ada/lab?x=1")),
            ("//ada.hub.example:8000//evil.example", Some("/evil.example")),
            ("http://hub.example:8000/hub/", Some("/hub/")),
            ("http://evilhub.example:8000/", None),
            ("http://evil.example/.hub.example:8000/", None),
            ("http://evil.example?.hub.example:8000/", None),
            ("http://evil.example#.hub.example:8000", None),
            ("http://ada.hub.example/", None),
            ("ftp://ada.hub.example:8000/", None),
        ] {
            assert_eq!(next(given).as_deref(), wanted, "{given}");
        }
    }

    #[test]
    fn targets_on_this_host_are_kept() {
        for (given, wanted) in [
            ("/hub/home", "/hub/home"),
            ("/user/a/lab?x=1#top", "/user/a/lab?x=1#top"),
            ("http://hub.example:8000/hub/", "/hub/"),
            ("//hub.example:8000/a", "/a"),
            ("http://hub.example:8000", "/"),
            ("///hub.example:8000/a b?x=\"1\"#top", "/a b?x=\"1\"#top"),
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
            "///evil.example/",
            "http:///evil.example/",
            "http:/hub.example:8000/a",
            "//hub.example:8000.evil.example/",
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
    }
}
