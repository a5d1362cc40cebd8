//! `first-admin`: the way in for the first administrator of a hub without configuration. The hub prints a link
//! that works once, as Jupyter prints its token, and a password for later logins. Stock has nothing like it.
//!
//! Link and password are made by the hub and come in the options. The link is `/hub/login?token=...`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use hub_core::plugin::{DurationText, NameNormaliser, SecretText, read_options};
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, Clock, Identity, LoginForm, LoginMethod, LoginRequest,
    LoginStep, PluginError, Problem, UserName,
};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use tracing::info;

use crate::compare::{same, same_text};
use crate::{credentials, table};

/// The `kind`.
pub(crate) const NAME: &str = "first-admin";
/// Fewest characters of the link's token.
const TOKEN_LENGTH: usize = 32;
/// Fewest characters of the password.
const PASSWORD_LENGTH: usize = 12;
/// Longest life of the link: a week.
const LONGEST_LIFE: Duration = Duration::from_hours(7 * 24);

/// The table `[authenticator.first-admin]`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FirstAdminOptions {
    /// Name of the administrator.
    pub name: String,
    /// Token of the link, 32 characters or more; without it there is no link.
    #[schemars(with = "Option<SecretText>")]
    pub token: Option<SecretString>,
    /// How long the link works if nobody uses it, counted from the start of the hub; a week at most.
    #[serde(with = "DurationText")]
    pub link_lifetime: Duration,
    /// Password of the administrator, 12 characters or more; without it the form lets nobody in.
    #[schemars(with = "Option<SecretText>")]
    pub password: Option<SecretString>,
}

impl Default for FirstAdminOptions {
    fn default() -> Self {
        Self { name: "admin".to_owned(), token: None, link_lifetime: Duration::from_hours(1), password: None }
    }
}

impl FirstAdminOptions {
    /// Every problem of these options.
    pub fn validate(&self) -> Result<(), PluginError> {
        let mut problems = Vec::new();
        let mut wrong =
            |key: &str, text: String| problems.push(Problem::new(format!("{}.{key}", table(NAME)), text));
        if let Err(error) = UserName::new(self.name.as_str()) {
            wrong("name", error.to_string());
        }
        for (key, secret, least) in
            [("token", &self.token, TOKEN_LENGTH), ("password", &self.password, PASSWORD_LENGTH)]
        {
            let length = secret.as_ref().map(|secret| secret.expose_secret().chars().count());
            if let Some(length) = length.filter(|length| *length < least) {
                wrong(key, format!("must have {least} characters or more, this one has {length}"));
            }
        }
        if self.link_lifetime.is_zero() || self.link_lifetime > LONGEST_LIFE {
            wrong("link_lifetime", "must be longer than 0 and a week at most".to_owned());
        }
        PluginError::check(problems)
    }
}

/// Lets one person in: once by link, and by password.
pub struct FirstAdminAuthenticator {
    name: String,
    password: Option<SecretString>,
    link: Option<Link>,
    clock: Arc<dyn Clock>,
    normalise: NameNormaliser,
}

#[derive(Debug)]
struct Link {
    token: SecretString,
    until: DateTime<Utc>,
    used: AtomicBool,
}

impl std::fmt::Debug for FirstAdminAuthenticator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FirstAdminAuthenticator")
            .field("name", &self.name)
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

impl FirstAdminAuthenticator {
    /// An authenticator with checked options; the life of the link begins now.
    pub fn new(options: FirstAdminOptions, cx: &AuthenticatorContext) -> Result<Self, PluginError> {
        options.validate()?;
        let life = TimeDelta::from_std(options.link_lifetime)
            .map_err(|error| PluginError::one(format!("{}.link_lifetime", table(NAME)), error.to_string()))?;
        let until = cx.clock.now() + life;
        Ok(Self {
            name: (cx.normalise)(&options.name),
            password: options.password,
            link: options.token.map(|token| Link { token, until, used: AtomicBool::new(false) }),
            clock: Arc::clone(&cx.clock),
            normalise: Arc::clone(&cx.normalise),
        })
    }

    fn admin(&self) -> LoginStep {
        LoginStep::Identity(Box::new(Identity {
            name: self.name.clone(),
            admin: Some(true),
            allowed: true,
            ..Identity::default()
        }))
    }

    /// The token is spent by whoever comes first, however many come at once. Only who has the right token learns
    /// that it was spent or is too old.
    fn by_link(&self, token: &str) -> Result<LoginStep, AuthError> {
        let Some(link) = self.link.as_ref().filter(|link| bool::from(same(token, &link.token))) else {
            return Err(AuthError::Invalid("wrong token in the link for the first login".to_owned()));
        };
        if self.clock.now() >= link.until {
            return Err(no_more("This link has expired."));
        }
        if link.used.swap(true, Ordering::AcqRel) {
            return Err(no_more("This link was used already."));
        }
        info!(user = %self.name, "the link for the first login was used, it does not work again");
        Ok(self.admin())
    }
}

fn no_more(why: &str) -> AuthError {
    AuthError::Denied(format!(
        "{why} Log in with the password that the hub shows when it starts, or start it again."
    ))
}

/// Browsers and chat programs fetch links before anybody clicks; that must not spend the token.
fn is_click(rq: &LoginRequest) -> bool {
    let fetched_ahead = ["sec-purpose", "purpose", "x-moz", "x-purpose"].iter().any(|name| {
        rq.headers.get(*name).is_some_and(|value| value.contains("prefetch") || value.contains("preview"))
    });
    rq.method.eq_ignore_ascii_case("GET") && !fetched_ahead
}

pub(crate) fn build(
    options: Value,
    cx: &AuthenticatorContext,
) -> Result<Arc<dyn Authenticator>, PluginError> {
    Ok(Arc::new(FirstAdminAuthenticator::new(read_options(options, &table(NAME))?, cx)?))
}

#[async_trait]
impl Authenticator for FirstAdminAuthenticator {
    fn class_name(&self) -> &'static str {
        "hub_auth_basic::FirstAdminAuthenticator"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Form
    }

    async fn begin(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        match rq.query.get("token") {
            Some(token) if is_click(rq) => self.by_link(token),
            _ => Ok(LoginStep::Form(LoginForm::default())),
        }
    }

    async fn finish(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        let (user, password) = credentials(rq)?;
        // both are compared, so that a wrong name takes as long as a wrong password
        let right_name = same_text(&(self.normalise)(user), &self.name);
        let right_password = self.password.as_ref().map(|known| same(password, known));
        match right_password {
            Some(right_password) if bool::from(right_name & right_password) => Ok(self.admin()),
            _ => Err(AuthError::Invalid("wrong user name or password".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{TestClock, context, form, identity};

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";
    const PASSWORD: &str = "copper-lamp-42";

    fn options() -> Value {
        json!({"token": TOKEN, "password": PASSWORD, "link_lifetime": "10m"})
    }

    fn click(token: &str) -> LoginRequest {
        LoginRequest {
            method: "GET".to_owned(),
            query: [("token".to_owned(), token.to_owned())].into(),
            ..LoginRequest::default()
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn of_many_who_click_at_once_one_gets_in() {
        for _ in 0..20 {
            let hub = build(options(), &context()).unwrap();
            let clicks: Vec<_> = (0..50)
                .map(|_| {
                    let hub = Arc::clone(&hub);
                    tokio::spawn(async move { hub.begin(&click(TOKEN)).await })
                })
                .collect();
            let mut let_in = 0;
            for click in clicks {
                match click.await.unwrap() {
                    Ok(LoginStep::Identity(who)) => {
                        assert_eq!((who.name.as_str(), who.admin, who.allowed), ("admin", Some(true), true));
                        let_in += 1;
                    }
                    Err(AuthError::Denied(text)) => assert!(text.contains("used already"), "{text}"),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(let_in, 1);
        }
    }

    #[tokio::test]
    async fn a_wrong_token_lets_nobody_in_and_spends_nothing() {
        let hub = build(options(), &context()).unwrap();
        for wrong in ["", "x", &TOKEN[1..], &format!("{TOKEN}0")] {
            assert!(matches!(hub.begin(&click(wrong)).await, Err(AuthError::Invalid(_))), "{wrong}");
        }
        assert_eq!(identity(hub.begin(&click(TOKEN)).await).name, "admin");
    }

    #[tokio::test]
    async fn looking_ahead_spends_nothing() {
        let hub = build(options(), &context()).unwrap();
        let mut ahead = click(TOKEN);
        ahead.headers.insert("sec-purpose".to_owned(), "prefetch;prerender".to_owned());
        let head = LoginRequest { method: "HEAD".to_owned(), ..click(TOKEN) };
        for rq in [ahead, head, LoginRequest { method: "GET".to_owned(), ..LoginRequest::default() }] {
            assert!(matches!(hub.begin(&rq).await, Ok(LoginStep::Form(_))));
        }
        assert_eq!(identity(hub.begin(&click(TOKEN)).await).name, "admin");
    }

    #[tokio::test]
    async fn the_link_expires_and_the_password_does_not() {
        let clock = Arc::new(TestClock::default());
        let hub = build(options(), &AuthenticatorContext { clock: clock.clone(), ..context() }).unwrap();
        clock.pass(TimeDelta::minutes(10));
        let Err(AuthError::Denied(text)) = hub.begin(&click(TOKEN)).await else { panic!("it works still") };
        assert!(text.contains("expired"), "{text}");
        for _ in 0..2 {
            assert_eq!(identity(hub.finish(&form("Admin", PASSWORD)).await).admin, Some(true));
        }
    }

    #[tokio::test]
    async fn only_the_administrator_with_the_password_gets_in_by_form() {
        let hub = build(options(), &context()).unwrap();
        for (user, password) in
            [("admin", "x"), ("ann", PASSWORD), ("admin", ""), ("admin", TOKEN), ("", PASSWORD)]
        {
            assert!(matches!(hub.finish(&form(user, password)).await, Err(AuthError::Invalid(_))), "{user}");
        }
        let without = build(json!({"token": TOKEN}), &context()).unwrap();
        assert!(matches!(without.finish(&form("admin", "")).await, Err(AuthError::Invalid(_))));
    }

    #[test]
    fn weak_options_are_refused_and_not_shown() {
        let weak = json!({"name": "a/b", "token": "guessable", "password": "tiny", "link_lifetime": "8d"});
        let error = build(weak, &context()).unwrap_err();
        assert_eq!(error.problems.len(), 4, "{error}");
        assert!(!error.to_string().contains("guessable") && !error.to_string().contains("tiny"), "{error}");
        assert!(build(json!({}), &context()).is_ok());
    }

    #[test]
    fn nothing_secret_is_in_the_debug_output() {
        let shown = format!("{:?}", build(options(), &context()).unwrap());
        assert!(shown.contains("admin") && !shown.contains(TOKEN) && !shown.contains(PASSWORD), "{shown}");
    }
}
