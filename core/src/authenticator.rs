//! How a person proves who they are.
//!
//! The hub owns sessions, cookies, the users table and the allow rules; an [`Authenticator`] only turns a request
//! into an [`Identity`]. Requests reach it as plain data, so a form, a redirect to an identity provider and cookies
//! of another application (OpenHEXA) are the same thing to the hub.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use serde_json::Value;
use thiserror::Error;

/// Turns requests into identities. Answers to `jupyterhub.auth.Authenticator`.
#[async_trait]
pub trait Authenticator: Send + Sync + std::fmt::Debug {
    /// The name shown in `/hub/api/info`.
    fn class_name(&self) -> &'static str;

    /// How the login page looks.
    fn login(&self) -> LoginMethod;

    /// Whether everybody who can reach the hub gets in without proof (dummy without password). The hub refuses to
    /// listen on a public address with such an authenticator unless told to.
    fn lets_everybody_in(&self) -> bool {
        false
    }

    /// Begins a login: the login page was opened, or, with [`LoginMethod::Automatic`], any page by a stranger.
    async fn begin(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError>;

    /// A form was posted to `/hub/login`.
    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError>;

    /// Further paths below `/hub/` that the authenticator answers (`oauth_callback`, a back-channel logout).
    fn routes(&self) -> Vec<AuthRoute> {
        Vec::new()
    }

    /// A request to one of [`Authenticator::routes`].
    async fn handle(&self, route: &str, _rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Err(AuthError::Unavailable(format!("no such route: {route}")))
    }

    /// Looks whether a person's login still holds. `rq` is the request that made the hub ask, where there is one.
    async fn refresh(&self, _who: &Identity, _rq: Option<&LoginRequest>) -> Result<Refresh, AuthError> {
        Ok(Refresh::Valid)
    }

    /// The person logged out of the hub; an answer is where the browser goes next (single logout).
    async fn logged_out(&self, _who: &Identity, _rq: &LoginRequest) -> Result<Option<String>, AuthError> {
        Ok(None)
    }
}

/// How people log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginMethod {
    /// User name and password on the hub's own page.
    Form,
    /// A button that leads elsewhere: label of the service, and the path below `/hub/` that begins it.
    Redirect {
        /// Text for the button, `Sign in with LABEL`.
        label: String,
        /// Path below `/hub/`, for example `oauth_login`.
        path: String,
    },
    /// No click: the request itself carries the proof, or there is none to be had.
    Automatic,
}

/// One extra path that an authenticator answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthRoute {
    /// Path below `/hub/`, without slash in front.
    pub path: String,
    /// Whether the browser's XSRF token is required for POST; a call from another server cannot have one.
    pub xsrf: bool,
}

/// A request as plain data.
#[derive(Debug, Clone, Default)]
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
    /// The browser's address, as far as trusted proxies tell.
    pub remote: Option<IpAddr>,
    /// Where the person wants to go after login, validated by the hub: a path on this host.
    pub next: Option<String>,
}

/// What comes out of one step of a login.
#[derive(Debug, Clone)]
pub enum LoginStep {
    /// Show the hub's form.
    Form(LoginForm),
    /// Send the browser elsewhere.
    Redirect {
        /// Absolute URL or path.
        location: String,
        /// Cookies to set on the way.
        cookies: Vec<StepCookie>,
    },
    /// The person is known.
    Identity(Box<Identity>),
    /// Logins end: of these names, and of the sessions with these ids (back-channel logout).
    Revoke {
        /// Users whose sessions end.
        users: Vec<String>,
    },
}

/// What the form shows beyond user name and password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginForm {
    /// HTML in place of the form.
    pub custom_html: Option<String>,
    /// Label of the field for a one-time password; none leaves it out.
    pub otp_prompt: Option<String>,
}

/// A cookie that a login step needs between two requests (state of a redirect).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepCookie {
    /// Name.
    pub name: String,
    /// Value; the hub signs it.
    pub value: String,
    /// Seconds to live; 0 deletes it.
    pub max_age: u32,
}

/// Who somebody is. The hub normalises and validates the name, applies block and allow rules, and stores the rest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// The name, as the source gave it.
    pub name: String,
    /// Administrator: yes, no, or leave as it is.
    pub admin: Option<bool>,
    /// Groups, when the authenticator manages them; none leaves them.
    pub groups: Option<Vec<String>>,
    /// Roles, when the authenticator manages them.
    pub roles: Option<Vec<Value>>,
    /// State to keep, encrypted; none keeps nothing.
    pub auth_state: Option<Value>,
    /// Facts shown to servers (`display_name`, `avatar_url`, `color`).
    pub user_info: Option<Value>,
    /// Set when the authenticator itself vouches that the person may use this hub: allow rules are skipped, block
    /// rules are not.
    pub allowed: bool,
}

/// Whether a login still holds.
#[derive(Debug, Clone)]
pub enum Refresh {
    /// It does.
    Valid,
    /// It does, and this is newer.
    Updated(Box<Identity>),
    /// It does not: the person must log in again.
    Stale,
}

/// Why nobody was let in.
#[derive(Debug, Clone, Error)]
pub enum AuthError {
    /// Wrong or missing proof. Every such failure looks the same to the person.
    #[error("invalid credentials: {0}")]
    Invalid(String),
    /// Known, but not allowed; the text is for the person.
    #[error("not allowed: {0}")]
    Denied(String),
    /// Too many tries; seconds until the next one counts.
    #[error("too many attempts, next in {0} s")]
    Throttled(u32),
    /// The source of truth did not answer; text for the log.
    #[error("the identity service did not answer: {0}")]
    Unavailable(String),
}
