//! The application's session as a request brought it.

use std::fmt;

use hub_core::LoginRequest;
use url::Url;

use crate::options::OpenHexaOptions;

/// Longest value of a cookie that is passed on, in bytes. Django's own have 32 and 64.
const LONGEST: usize = 1024;

/// What proves to the application on whose behalf the hub asks. Its `Debug` output shows nothing of it.
pub(crate) struct Session {
    /// The two cookies, as they stand in a `Cookie` header.
    pub(crate) cookies: String,
    /// The value of the CSRF cookie.
    pub(crate) csrf: String,
    /// Scheme and host of the request.
    pub(crate) referer: String,
}

impl Session {
    /// The session of a request; none when one of the two cookies is missing or cannot be one.
    pub(crate) fn of(rq: &LoginRequest, options: &OpenHexaOptions) -> Option<Self> {
        let cookie = |name: &str| rq.cookies.get(name).filter(|value| is_value(value));
        let session = cookie(&options.session_cookie)?;
        let csrf = cookie(&options.csrf_cookie)?;
        let referer = Url::parse(&rq.url).ok()?.origin().ascii_serialization();
        Some(Self {
            cookies: format!("{}={session}; {}={csrf}", options.session_cookie, options.csrf_cookie),
            csrf: csrf.clone(),
            referer,
        })
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("referer", &self.referer).finish_non_exhaustive()
    }
}

/// Whether a text can stand in a `Cookie` header without changing what else stands there.
fn is_value(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(session: &str, csrf: &str) -> Option<Session> {
        let rq = LoginRequest {
            url: "https://hub.example:8443/hub/login?next=%2F".to_owned(),
            cookies: [("sessionid", session), ("csrftoken", csrf), ("jupyterhub-hub-login", "2|1:0")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..LoginRequest::default()
        };
        Session::of(&rq, &OpenHexaOptions::default())
    }

    #[test]
    fn nothing_but_the_two_cookies_is_passed_on() {
        let found = session("s1", "t1").unwrap();
        assert_eq!(found.cookies, "sessionid=s1; csrftoken=t1");
        assert_eq!((found.csrf.as_str(), found.referer.as_str()), ("t1", "https://hub.example:8443"));
        assert!(!format!("{found:?}").contains("s1"));
    }

    #[test]
    fn without_both_cookies_or_with_bent_ones_there_is_no_session() {
        for (one, other) in
            [("", "t"), ("s", ""), ("s; a=b", "t"), ("s", "t\r\nX: y"), ("s p", "t"), ("é", "t")]
        {
            assert!(session(one, other).is_none(), "{one:?} {other:?}");
        }
        assert!(session(&"s".repeat(LONGEST + 1), "t").is_none());
    }
}
