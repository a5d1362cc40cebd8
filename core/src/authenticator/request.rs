//! A request as plain data, without anything of a web framework.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// A request as authenticators see it.
///
/// Its `Debug` output names fields, headers and cookies but shows no value of them: they hold passwords, codes and
/// sessions.
#[derive(Clone, Default)]
pub struct LoginRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// Full URL as the browser sees it.
    pub url: String,
    /// Query arguments, last value wins.
    pub query: BTreeMap<String, String>,
    /// Form fields, last value wins. The `_xsrf` field is taken out.
    pub form: BTreeMap<String, String>,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Cookies, values unquoted.
    pub cookies: BTreeMap<String, String>,
    /// What an earlier step left with [`super::StepCookie`], by the name it gave; the hub has checked its signature.
    pub kept: BTreeMap<String, String>,
    /// The browser's address, as far as trusted proxies tell.
    pub remote: Option<IpAddr>,
    /// The address of whoever is connected to the proxy, whatever other headers say; none for requests that came to the
    /// hub by any other way, for these may say what they like.
    pub peer: Option<IpAddr>,
    /// Where the person wants to go after login, validated by the hub: a path on this host.
    pub next: Option<String>,
    /// At a logout: this browser's login came from another session at the identity service than the one whose tokens
    /// are kept, which are those of the person's newest login.
    pub of_another_session: bool,
}

impl fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.url.split(['?', '#']).next().unwrap_or_default();
        f.debug_struct("LoginRequest")
            .field("method", &self.method)
            .field("url", &path)
            .field("query", &Names(&self.query))
            .field("form", &Names(&self.form))
            .field("headers", &Names(&self.headers))
            .field("cookies", &Names(&self.cookies))
            .field("kept", &Names(&self.kept))
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}

/// The names of a map alone.
struct Names<'a>(&'a BTreeMap<String, String>);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_people_typed_or_carry_is_in_the_debug_output() {
        let one = |name: &str| BTreeMap::from([(name.to_owned(), format!("hidden-{name}"))]);
        let rq = LoginRequest {
            method: "POST".to_owned(),
            url: "https://hub.example/hub/oauth_callback?code=hidden-code#hidden-part".to_owned(),
            query: one("code"),
            form: one("password"),
            headers: one("authorization"),
            cookies: one("jupyterhub-hub-login"),
            kept: one("oidc"),
            next: Some("/hub/spawn?hidden-next".to_owned()),
            ..LoginRequest::default()
        };
        let shown = format!("{rq:?}");
        assert!(!shown.contains("hidden"), "{shown}");
        for name in ["POST", "https://hub.example/hub/oauth_callback", "code", "password", "authorization"] {
            assert!(shown.contains(name), "{name}: {shown}");
        }
    }
}
