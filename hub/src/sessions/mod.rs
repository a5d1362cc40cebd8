//! Browser sessions: cookies, XSRF tokens, safe targets after login.

pub mod cookies;
pub mod next;
pub mod signed;
pub mod xsrf;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use hub_core::secret::{ExposeSecret as _, SecretSlice, random_hex32};
use hub_core::{Clock, StepCookie};
use serde_json::{Map, Value};

use self::cookies::{Life, SetCookie};
use self::xsrf::{Network, XsrfError, XsrfId};
use crate::web::facts::Facts;

/// Name of the login cookie, before a possible prefix.
const LOGIN: &str = "jupyterhub-hub-login";
/// Name of the cookie that ties the tokens of servers to a browser session.
const SESSION_ID: &str = "jupyterhub-session-id";
/// Legacy cookie of services, which is only ever cleared.
const SERVICES: &str = "jupyterhub-services";
/// How long browsers keep the login cookie; how long it is accepted is another setting.
const LOGIN_EXPIRY: TimeDelta = TimeDelta::days(30);
/// Longest life of a login that is noted; longer ones would leave the calendar.
const LONGEST_LOGIN: TimeDelta = TimeDelta::days(36_500);
/// Cookies that authenticators leave between two steps of a login begin with this.
const STEP: &str = "himalia-step-";
/// How long such a cookie is read, whatever the authenticator says, in seconds.
const LONGEST_STEP: i64 = 3_600;
/// Most of them that are read from one request.
const MOST_STEPS: usize = 32;

/// What a login cookie says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginCookie {
    /// The user's cookie id.
    pub cookie_id: String,
    /// Which login of the user it is; none in cookies of stock.
    pub number: Option<u64>,
}

/// Settings of sessions.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Percent-encoded base URL, slashes at both ends.
    pub base: String,
    /// How long a login is accepted.
    pub max_age: Duration,
    /// Whether names carry the `__Host-` prefix.
    pub host_prefix: bool,
    /// Attributes of all cookies.
    pub options: Map<String, Value>,
    /// Attributes of the XSRF cookie, when they differ.
    pub xsrf_options: Map<String, Value>,
    /// Headers that tell strangers apart.
    pub anonymous_headers: Vec<String>,
    /// Networks whose addresses count as one.
    pub anonymous_networks: Vec<Network>,
    /// The domain of the cookie with the session's id, where users have hosts of their own that share it.
    pub session_domain: Option<String>,
    /// Whether the public URL is HTTPS; without one each request tells.
    pub public_https: Option<bool>,
}

/// Makes and reads the hub's cookies.
#[derive(Debug)]
pub struct Sessions {
    secret: SecretSlice<u8>,
    settings: SessionSettings,
    clock: Arc<dyn Clock>,
}

impl Sessions {
    /// Signs with `secret`.
    pub fn new(secret: SecretSlice<u8>, settings: SessionSettings, clock: Arc<dyn Clock>) -> Self {
        Self { secret, settings, clock }
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    fn hub_path(&self) -> String {
        format!("{}hub/", self.settings.base)
    }

    /// Name and path of the login cookie.
    fn login_cookie(&self) -> (String, String) {
        if self.settings.host_prefix {
            (format!("__Host-{LOGIN}"), "/".to_owned())
        } else {
            (LOGIN.to_owned(), self.hub_path())
        }
    }

    fn is_secure(&self, facts: &Facts) -> bool {
        self.settings.host_prefix || self.settings.public_https.unwrap_or(facts.scheme == "https")
    }

    fn cookie(&self, name: String, value: String, path: String, facts: &Facts) -> SetCookie {
        SetCookie {
            secure: self.is_secure(facts),
            http_only: true,
            options: self.settings.options.clone(),
            ..SetCookie::new(name, value, path)
        }
    }

    /// The login cookie, if there is one and it holds. The second value tells that there is one that does not hold and
    /// should be cleared.
    pub fn login_of(&self, facts: &Facts) -> (Option<LoginCookie>, bool) {
        let (name, _) = self.login_cookie();
        let Some(text) = facts.cookies.get(&name).filter(|text| !text.is_empty()) else {
            return (None, false);
        };
        let read = self.read_login(&name, text);
        let bad = read.is_none();
        (read, bad)
    }

    /// What a login cookie of any name says, if it holds.
    pub fn read_login(&self, name: &str, text: &str) -> Option<LoginCookie> {
        let max_age = i64::try_from(self.settings.max_age.as_secs()).unwrap_or(i64::MAX);
        let signed = signed::verify(self.secret.expose_secret(), name, text, max_age, self.now())?;
        let number = (signed.number != 0).then_some(signed.number);
        Some(LoginCookie { cookie_id: String::from_utf8(signed.value).ok()?, number })
    }

    /// When a login of this moment ends by itself.
    pub fn login_end(&self) -> DateTime<Utc> {
        let life = TimeDelta::from_std(self.settings.max_age).unwrap_or(TimeDelta::MAX);
        self.clock.now().checked_add_signed(life.min(LONGEST_LOGIN)).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// The value of a signed text, for a cookie of any name.
    pub fn read_signed(&self, name: &str, text: &str, max_age: i64) -> Option<String> {
        let signed = signed::verify(self.secret.expose_secret(), name, text, max_age, self.now())?;
        String::from_utf8(signed.value).ok()
    }

    /// Signs a value for a cookie of any name.
    pub fn sign(&self, name: &str, value: &str) -> String {
        signed::sign(self.secret.expose_secret(), name, value.as_bytes(), self.now(), 0)
    }

    /// The login cookie for the login of a user with this number.
    pub fn login(&self, cookie_id: &str, number: u64, facts: &Facts) -> SetCookie {
        let (name, path) = self.login_cookie();
        let value =
            signed::sign(self.secret.expose_secret(), &name, cookie_id.as_bytes(), self.now(), number);
        SetCookie {
            life: Life::Until(self.clock.now() + LOGIN_EXPIRY),
            ..self.cookie(name, value, path, facts)
        }
    }

    /// The browser session's id.
    pub fn session_id(facts: &Facts) -> Option<String> {
        facts.cookies.get(SESSION_ID).filter(|id| !id.is_empty() && id.len() <= 255).map(str::to_owned)
    }

    /// A fresh session id, and its cookie.
    pub fn new_session(&self, facts: &Facts) -> (String, SetCookie) {
        let id = random_hex32();
        let cookie = self.session_cookie(&id, facts);
        (id, cookie)
    }

    /// The cookie for a session id.
    pub fn session_cookie(&self, id: &str, facts: &Facts) -> SetCookie {
        let cookie = self.cookie(SESSION_ID.to_owned(), id.to_owned(), self.settings.base.clone(), facts);
        self.shared(cookie)
    }

    /// The same cookie for the hosts of all users, where they have some.
    fn shared(&self, mut cookie: SetCookie) -> SetCookie {
        if let Some(domain) = &self.settings.session_domain {
            cookie.options.retain(|key, _| !key.eq_ignore_ascii_case("domain"));
            cookie.options.insert("Domain".to_owned(), Value::String(domain.clone()));
        }
        cookie
    }

    /// Whether the browser sent this session id.
    pub fn has_session(facts: &Facts, id: &str) -> bool {
        facts.cookies.all(SESSION_ID).any(|sent| sent == id)
    }

    /// What clears a login cookie that does not hold.
    pub fn clear_login(&self) -> SetCookie {
        let (name, path) = self.login_cookie();
        self.cleared(&name, &path)
    }

    /// What clears every cookie of the hub.
    pub fn clear_all(&self) -> Vec<SetCookie> {
        vec![
            self.shared(self.cleared(SESSION_ID, &self.settings.base)),
            self.clear_login(),
            self.cleared(xsrf::NAME, &self.hub_path()),
            self.cleared(SERVICES, &format!("{}services", self.settings.base)),
        ]
    }

    fn cleared(&self, name: &str, path: &str) -> SetCookie {
        let mut cookie = SetCookie::cleared(name, path, self.clock.now());
        // A cookie with a domain is only cleared with that domain.
        cookie.options.clone_from(&self.settings.options);
        cookie.options.retain(|key, _| !key.eq_ignore_ascii_case("path"));
        cookie
    }

    /// The cookie that an authenticator leaves for its next step. It survives the way back from another site
    /// (`SameSite=Lax` at the most), whatever the configuration says about the hub's own cookies.
    pub fn step(&self, cookie: &StepCookie, facts: &Facts) -> SetCookie {
        let name = format!("{STEP}{}", cookie.name);
        if cookie.max_age == 0 {
            return self.cleared(&name, &self.hub_path());
        }
        let value = self.sign(&name, &cookie.value);
        let mut made = self.cookie(name, value, self.hub_path(), facts);
        made.life = Life::MaxAge(i64::from(cookie.max_age));
        let strict = |key: &String, value: &Value| {
            key.eq_ignore_ascii_case("samesite")
                && value.as_str().is_some_and(|v| v.eq_ignore_ascii_case("strict"))
        };
        made.options.retain(|key, value| !strict(key, value));
        if !made.options.keys().any(|key| key.eq_ignore_ascii_case("samesite")) {
            made.options.insert("SameSite".to_owned(), Value::String("Lax".to_owned()));
        }
        made
    }

    /// What authenticators left, by the names that they gave; cookies without our signature are left out.
    pub fn kept_steps(&self, facts: &Facts) -> BTreeMap<String, String> {
        facts
            .cookies
            .iter()
            .filter(|(name, _)| name.starts_with(STEP))
            .take(MOST_STEPS)
            .filter_map(|(name, text)| {
                let value = self.read_signed(name, text, LONGEST_STEP)?;
                Some((name.strip_prefix(STEP)?.to_owned(), value))
            })
            .collect()
    }

    /// To whom XSRF tokens of this request belong. `user` is the logged-in user's cookie id.
    pub fn xsrf_id<'a>(
        &self,
        facts: &Facts,
        session_id: Option<&str>,
        user: Option<&str>,
        header: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> XsrfId {
        match user {
            Some(cookie_id) => XsrfId::user(session_id.unwrap_or("None"), cookie_id),
            None => XsrfId::anonymous(
                session_id,
                facts.remote,
                &self.settings.anonymous_networks,
                self.settings.anonymous_headers.iter().filter_map(|name| header(name)),
            ),
        }
    }

    /// The first cookie value that belongs to this id.
    pub fn xsrf_cookie(&self, facts: &Facts, id: &XsrfId) -> Option<String> {
        let (secret, now) = (self.secret.expose_secret(), self.now());
        facts
            .cookies
            .all(xsrf::NAME)
            .find(|token| xsrf::belongs_to(secret, id, token, now))
            .map(str::to_owned)
    }

    /// A fresh token and its cookie.
    pub fn new_xsrf(&self, facts: &Facts, id: &XsrfId, anonymous: bool) -> (String, SetCookie) {
        let token = xsrf::issue(self.secret.expose_secret(), id, self.now());
        let options = if self.settings.xsrf_options.is_empty() {
            &self.settings.options
        } else {
            &self.settings.xsrf_options
        };
        let cookie = SetCookie {
            secure: self.is_secure(facts),
            life: if anonymous { Life::MaxAge(xsrf::ANONYMOUS_MAX_AGE) } else { Life::Session },
            options: options.clone(),
            ..SetCookie::new(xsrf::NAME, token.clone(), self.hub_path())
        };
        (token, cookie)
    }

    /// Checks the token of a request against the cookie.
    pub fn check_xsrf(&self, facts: &Facts, id: &XsrfId, argument: Option<&str>) -> Result<(), XsrfError> {
        let argument = argument.filter(|text| !text.is_empty()).ok_or(XsrfError::Missing)?;
        let (secret, now) = (self.secret.expose_secret(), self.now());
        let ours = xsrf::belongs_to(secret, id, argument, now);
        if ours && facts.cookies.all(xsrf::NAME).any(|cookie| cookie == argument) {
            Ok(())
        } else {
            Err(XsrfError::Mismatch)
        }
    }
}
