//! Who may use the API.

use http::{HeaderMap, header};
use subtle::ConstantTimeEq;

/// The token that requests must show, if any.
pub(super) struct Auth(Option<String>);

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Auth(token)" } else { "Auth(open)" })
    }
}

impl Auth {
    /// An empty token counts as none, as in configurable-http-proxy.
    pub(super) fn new(token: Option<String>) -> Self {
        Self(token.filter(|token| !token.is_empty()))
    }

    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.0 else { return true };
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| shown_token(value.to_str().ok()?));
        shown.is_some_and(|shown| shown.as_bytes().ct_eq(token.as_bytes()).into())
    }
}

/// The first word after `token` and white space, wherever that stands in the header.
pub(super) fn shown_token(header: &str) -> Option<&str> {
    header.match_indices("token").find_map(|(at, word)| {
        let rest = header.get(at + word.len()..)?;
        let value = rest.trim_start();
        (value.len() < rest.len() && !value.is_empty()).then(|| value.split_whitespace().next())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_as_the_original_finds_it() {
        assert_eq!(shown_token("token abc"), Some("abc"));
        assert_eq!(shown_token("token \t abc def"), Some("abc"));
        assert_eq!(shown_token("tokentoken abc"), Some("abc"));
        assert_eq!(shown_token("Bearer abc"), None);
        assert_eq!(shown_token("Token abc"), None);
        assert_eq!(shown_token("token"), None);
        assert_eq!(shown_token("tokenabc"), None);
    }

    #[test]
    fn no_token_means_open_and_a_wrong_one_is_refused() {
        let mut headers = HeaderMap::new();
        assert!(Auth::new(None).allows(&headers));
        assert!(Auth::new(Some(String::new())).allows(&headers));
        let auth = Auth::new(Some("secret".to_owned()));
        assert!(!auth.allows(&headers));
        headers.insert(header::AUTHORIZATION, "token secre".parse().unwrap());
        assert!(!auth.allows(&headers));
        headers.insert(header::AUTHORIZATION, "token secret".parse().unwrap());
        assert!(auth.allows(&headers));
        assert!(!format!("{auth:?}").contains("secret"));
    }
}
