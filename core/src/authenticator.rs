//! How a person proves who they are.
//!
//! The hub owns sessions, cookies, the users table and the allow rules; an [`Authenticator`] only turns a request
//! into an [`Identity`]. Requests reach it as plain data, so a form, a redirect to an identity provider and cookies
//! of another application (OpenHEXA) are the same thing to the hub.

mod identity;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::hook::SpawnHook;
use crate::names::ServerKey;

pub use identity::{Account, ClosedAccounts, Identity, Revocation};
pub use request::LoginRequest;

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
    ///
    /// With `alone`, the hub sees to it that no other request and no other hub on the same database asks about this
    /// person meanwhile. Without, the answer may be [`Refresh::Alone`].
    async fn refresh(
        &self,
        _who: &Identity,
        _rq: Option<&LoginRequest>,
        _alone: bool,
    ) -> Result<Refresh, AuthError> {
        Ok(Refresh::Valid)
    }

    /// Longest time that [`Authenticator::refresh`] takes, alone. Others wait for it for as long; when a hub ends
    /// meanwhile, so do they for what is left of it.
    fn refresh_takes(&self) -> Duration {
        Duration::from_secs(45)
    }

    /// Until when a login can be taken to hold without [`Authenticator::refresh`], if that is sooner than
    /// `authenticator.auth_refresh_age` says: before tokens run out that servers get.
    fn fresh_until(&self, _who: &Identity) -> Option<DateTime<Utc>> {
        None
    }

    /// The account that a login came from, read from what was kept about the person.
    fn account(&self, _who: &Identity) -> Option<Account> {
        None
    }

    /// Whether one name may pass from one account to another: whoever logs in under a name that another account had
    /// is refused if not.
    fn names_may_change_hands(&self) -> bool {
        true
    }

    /// What people are told who are known but not allowed in; none for the same text as after a wrong password.
    fn denied_text(&self) -> Option<String> {
        None
    }

    /// Whose logout a request is that proves who sends it by other means than the hub's login cookie: an application
    /// that logs people out from its backend. Asked for every request to `/hub/logout`.
    async fn leaving(&self, _rq: &LoginRequest) -> Result<Option<Identity>, AuthError> {
        Ok(None)
    }

    /// Whether a logout ends the person's logins in all browsers.
    fn logout_ends_all_sessions(&self) -> bool {
        false
    }

    /// Whether somebody of this name can still log in, as far as can be told of a person who is not there. Asked about
    /// everybody in the database at each start with `authenticator.delete_invalid_users`.
    async fn may_exist(&self, _name: &str) -> Result<bool, AuthError> {
        Ok(true)
    }

    /// What is to be done before servers of these people start. Answers to `Authenticator.pre_spawn_start`.
    fn spawn_hooks(&self) -> Vec<Arc<dyn SpawnHook>> {
        Vec::new()
    }

    /// Since when the place where people log in has not answered; none when it did at last. Pages say so.
    fn away_since(&self) -> Option<DateTime<Utc>> {
        None
    }

    /// Path below `/hub/` that leads to the person's account at the place where people log in.
    fn account_path(&self) -> Option<&'static str> {
        None
    }

    /// Variables that servers of this person get of what is kept about the login: access tokens that other services
    /// take. A server that runs longer than a token holds asks for them again with `GET /hub/api/user`.
    fn server_environment(&self, _who: &Identity) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// How old the credentials of a running server may be that come with [`Authenticator::spawn_hooks`] before a request
    /// of its owner's browser makes the hub ask for [`Authenticator::fresh_environment`]; none: it never does.
    fn credentials_max_age(&self) -> Option<Duration> {
        None
    }

    /// The variables that a running server of this person would get if it started now, on behalf of the browser that
    /// sent this request. None where the request does not bring what is needed to ask.
    async fn fresh_environment(
        &self,
        _server: &ServerKey,
        _rq: &LoginRequest,
    ) -> Result<Option<BTreeMap<String, String>>, AuthError> {
        Ok(None)
    }

    /// How often the hub asks for [`Authenticator::closed_accounts`]; none: never.
    fn watches_accounts(&self) -> Option<Duration> {
        None
    }

    /// The accounts that are closed where people log in. Whose they are is logged out here, once for each account that
    /// was not among the closed ones before.
    async fn closed_accounts(&self) -> Result<ClosedAccounts, AuthError> {
        Ok(ClosedAccounts::default())
    }

    /// Those of the accounts that are not there any more. Asked after [`ClosedAccounts::some_may_be_gone`], until it is
    /// answered.
    async fn gone_accounts(&self, _known: &[Account]) -> Result<Vec<Revocation>, AuthError> {
        Ok(Vec::new())
    }

    /// What is kept of a person when their login was ended from outside: which account it was, and nothing that could
    /// be used. None keeps nothing, so that any account may take the name next.
    fn remembered(&self, _who: &Identity) -> Option<serde_json::Value> {
        None
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
    /// The person is known and comes back from elsewhere.
    Returned {
        /// Who it is.
        identity: Box<Identity>,
        /// Where the person wanted to go when the login began, as [`LoginRequest::next`] said then.
        next: Option<String>,
        /// Cookies that are of no more use.
        cookies: Vec<StepCookie>,
    },
    /// An identity service ends logins (back-channel logout).
    Revoke(Box<Revocation>),
}

/// What the form shows beyond user name and password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginForm {
    /// HTML in place of the form.
    pub custom_html: Option<String>,
    /// Label of the field for a one-time password; none leaves it out.
    pub otp_prompt: Option<String>,
}

/// A cookie that a login step needs between two requests (state of a redirect). The next request has it in
/// [`LoginRequest::kept`].
#[derive(Clone, PartialEq, Eq)]
pub struct StepCookie {
    /// Name, letters, digits and hyphens; the hub puts a prefix in front.
    pub name: String,
    /// Value; the hub signs it.
    pub value: String,
    /// Seconds to live; 0 deletes it.
    pub max_age: u32,
}

impl std::fmt::Debug for StepCookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepCookie")
            .field("name", &self.name)
            .field("max_age", &self.max_age)
            .finish_non_exhaustive()
    }
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
    /// Cannot be told without something that works only once (a refresh token that is replaced by each use): ask
    /// again, alone.
    Alone,
}

/// The application at which people log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayIn {
    /// Its name.
    pub service: String,
    /// Its address, `http` or `https`; none when the configuration does not tell.
    pub url: Option<String>,
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
    /// Whoever asks is not known where people log in, and must go there first.
    #[error("not logged in at {}: {why}", way.service)]
    Elsewhere {
        /// Where that is.
        way: Box<WayIn>,
        /// Why the request counted for nothing, for the log.
        why: String,
    },
    /// The login was begun too long ago, in another browser, or twice; the text is for the person.
    #[error("to be begun again: {0}")]
    Again(String),
    /// Too many tries; seconds until the next one counts.
    #[error("too many attempts, next in {0} s")]
    Throttled(u32),
    /// The source of truth did not answer; text for the log.
    #[error("the identity service did not answer: {0}")]
    Unavailable(String),
}
