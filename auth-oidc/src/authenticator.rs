//! The authenticator: `oauth_login` sends people away, `oauth_callback` takes them back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use hub_core::{
    Account, AuthError, AuthRoute, Authenticator, AuthenticatorContext, Identity, LoginForm, LoginMethod,
    LoginRequest, LoginStep, PluginError, Refresh, SpawnHook,
};
use moka::sync::Cache;
use serde_json::Value;
use tracing::{info, warn};

use crate::engine::{Engine, Received};
use crate::environment::Environment;
use crate::fault::{Fault, TokenFault, short};
use crate::identity::{Mapper, kept_user};
use crate::options::OidcOptions;
use crate::outage::Outage;
use crate::refusal::Refusal;
use crate::tokens::Tokens;
use crate::transaction::Transaction;

/// Path below `/hub/` that begins a login.
pub const LOGIN_PATH: &str = "oauth_login";
/// Path below `/hub/` to which the provider sends back.
pub const CALLBACK_PATH: &str = "oauth_callback";
/// Path below `/hub/` at which the provider ends logins.
pub const BACK_CHANNEL_PATH: &str = "backchannel_logout";
/// How long finished logins and used logout tokens are remembered, and how many.
const MEMORY: Duration = Duration::from_hours(1);
const MOST_REMEMBERED: u64 = 100_000;

/// Logs in by OpenID Connect or OAuth 2. Answers to `GenericOAuthenticator`.
#[derive(Debug)]
pub struct OidcAuthenticator {
    pub(crate) engine: Engine,
    pub(crate) cx: AuthenticatorContext,
    pub(crate) outage: Outage,
    /// States of logins that ended, and ids of logout tokens: neither works twice. Filled after they were checked.
    pub(crate) used: Cache<String, ()>,
    environment: Option<Environment>,
    name: &'static str,
}

impl OidcAuthenticator {
    /// An authenticator for the options in `table`; `name` is what `/hub/api/info` shows.
    ///
    /// # Errors
    /// Every problem of the options.
    pub fn new(
        options: OidcOptions,
        table: &str,
        cx: &AuthenticatorContext,
        mapper: Arc<dyn Mapper>,
        name: &'static str,
    ) -> Result<Self, PluginError> {
        if !options.validate_server_cert {
            warn!(
                "{table}.validate_server_cert is off: whoever is on the way to the provider can log in as anybody"
            );
        }
        let engine = Engine::new(options, table, cx, mapper)?;
        Ok(Self {
            environment: Environment::of(&engine.options, &cx.clock),
            engine,
            cx: cx.clone(),
            outage: Outage::default(),
            used: Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(MEMORY).build(),
            name,
        })
    }

    /// Asks an address of the provider in the hub's own name, with a token of the client's service account. None where
    /// nothing is there.
    ///
    /// # Errors
    /// [`Fault::Misconfigured`] when the provider gives no such token, or the account lacks the right.
    pub async fn ask_as_client(&self, url: &str) -> Result<Option<Value>, Fault> {
        self.engine.ask_as_client(url).await
    }

    fn options(&self) -> &OidcOptions {
        &self.engine.options
    }

    /// Scheme and host of the hub as browsers see it.
    pub(crate) fn origin(&self, rq: &LoginRequest) -> String {
        self.cx.public_origin.clone().unwrap_or_else(|| {
            url::Url::parse(&rq.url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
        })
    }

    fn callback_url(&self, rq: &LoginRequest) -> String {
        self.options()
            .oauth_callback_url
            .clone()
            .unwrap_or_else(|| format!("{}{}{CALLBACK_PATH}", self.origin(rq), self.cx.hub_path))
    }

    /// Sends the browser to the provider.
    async fn leave(&self, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        let endpoints = self.engine.provider.endpoints().await?;
        let login = Transaction::begin(self.callback_url(rq), rq.next.clone(), self.engine.clock.now());
        let location = self.engine.authorize_url(&endpoints, &login)?;
        Ok(LoginStep::Redirect { location, cookies: login.cookies(rq) })
    }

    /// The browser is back.
    async fn come_back(&self, rq: &LoginRequest) -> Result<LoginStep, Refusal> {
        let state = rq.query.get("state").map(String::as_str).unwrap_or_default();
        let login = Transaction::of(rq, state, self.engine.clock.now())
            .ok_or_else(|| Refusal::again("state_unknown"))?;
        if let Some(error) = rq.query.get("error") {
            return Err(told_by_provider(
                error,
                rq.query.get("error_description").map_or("", String::as_str),
            ));
        }
        if self.used.contains_key(&login.state) {
            return Err(Refusal::again("state_used"));
        }
        let code = rq.query.get("code").filter(|code| !code.is_empty());
        let code = code.ok_or_else(|| Refusal::again("code_missing"))?;
        let endpoints = self.engine.provider.endpoints().await?;
        // Before the code goes anywhere: it must come from the provider that the browser was sent to.
        let named = rq.query.get("iss");
        let wrong = named.is_some_and(|issuer| *issuer != endpoints.issuer);
        if self.options().is_oidc() && (wrong || (named.is_none() && endpoints.names_itself)) {
            return Err(Refusal::new("answer_issuer", Fault::Token(TokenFault::Issuer).into()));
        }
        self.used.insert(login.state.clone(), ());
        let Received { tokens, id_token } = self.engine.redeem(&endpoints, code, &login).await?;
        let subject = id_token.get("sub").and_then(Value::as_str).map(str::to_owned);
        let claims = self.engine.claims(&endpoints, &tokens, id_token, subject.as_deref()).await?;
        let identity = self.engine.identity(&claims, &tokens)?;
        Ok(LoginStep::Returned { identity: Box::new(identity), cookies: vec![login.end()], next: login.next })
    }

    /// Looks whether a login holds. `alone` says that the refresh token may be used.
    async fn look(&self, who: &Identity, alone: bool) -> Result<Refresh, Fault> {
        let Some(state) = who.auth_state.as_ref() else {
            info!(user = %who.name, "nothing was kept about the login, so it must be repeated");
            return Ok(Refresh::Stale);
        };
        let Some(tokens) = Tokens::of_state(state) else {
            info!(user = %who.name, "the kept state has no tokens, so the login must be repeated");
            return Ok(Refresh::Stale);
        };
        let endpoints = self.engine.provider.endpoints().await?;
        let subject = self.subject_of(state);
        let now = self.engine.clock.now();
        let due = tokens.renewal(self.engine.renew_before()).is_some_and(|renewal| renewal <= now);
        let can_renew = tokens.refresh().is_some();
        let can_ask = endpoints.userinfo.is_some() && !self.options().userdata_from_id_token;
        if can_ask && !(due && can_renew) {
            match self.engine.claims(&endpoints, &tokens, self.kept_claims(&tokens), subject.as_deref()).await
            {
                Ok(claims) => return Ok(self.outcome(who, &claims, &tokens)),
                Err(Fault::Refused(why) | Fault::Misconfigured(why)) if can_renew => {
                    info!(user = %who.name, why, "the access token is refused, it will be renewed");
                }
                Err(Fault::Token(fault)) if can_renew => {
                    info!(user = %who.name, why = %fault, "the access token is of no use, it will be renewed");
                }
                Err(fault) => return Err(fault),
            }
        } else if !can_renew {
            // Nothing more can be learned; the login holds as long as its token.
            let ended = tokens.ends().is_some_and(|end| end <= now);
            return Ok(if ended { Refresh::Stale } else { Refresh::Valid });
        }
        if !alone {
            return Ok(Refresh::Alone);
        }
        let Received { tokens: fresh, id_token } =
            self.engine.renew(&endpoints, &tokens, subject.as_deref()).await?;
        let id_token = if id_token.is_empty() { self.kept_claims(&tokens) } else { id_token };
        // From here on the old refresh token may be used up: the new tokens must be kept whatever else fails.
        match self.engine.claims(&endpoints, &fresh, id_token, subject.as_deref()).await {
            Ok(claims) => Ok(self.outcome(who, &claims, &fresh)),
            Err(fault) => {
                warn!(user = %who.name, %fault, "renewed tokens are kept, but the provider tells nothing new about the user");
                let kept = Identity {
                    name: who.name.clone(),
                    auth_state: Some(fresh.state(&kept_user(state))),
                    allowed: true,
                    ..Identity::default()
                };
                Ok(Refresh::Updated(Box::new(kept)))
            }
        }
    }

    fn outcome(&self, who: &Identity, claims: &crate::claims::Claims, tokens: &Tokens) -> Refresh {
        match self.engine.identity(claims, tokens) {
            Ok(identity) if (self.cx.normalise)(&identity.name) == who.name => {
                Refresh::Updated(Box::new(identity))
            }
            Ok(_) => {
                info!(user = %who.name, "the provider has another name for this user now, so the login ends");
                Refresh::Stale
            }
            Err(Refusal { reason, error }) => {
                info!(user = %who.name, reason, %error, "the user may not come in any more");
                Refresh::Stale
            }
        }
    }

    /// The claims of the id_token that is kept. It was checked when it came and is stored encrypted since.
    fn kept_claims(&self, tokens: &Tokens) -> serde_json::Map<String, Value> {
        tokens.id().filter(|_| self.options().is_oidc()).map(unchecked).unwrap_or_default()
    }

    fn subject_of(&self, state: &Value) -> Option<String> {
        let tokens = Tokens::of_state(state)?;
        let claims = self.kept_claims(&tokens);
        claims.get("sub").and_then(Value::as_str).map(str::to_owned)
    }
}

/// The claims of a token that was checked before.
pub(crate) fn unchecked(token: &str) -> serde_json::Map<String, Value> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1).unwrap_or_default();
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .ok()
        .and_then(|json| serde_json::from_slice(&json).ok())
        .unwrap_or_default()
}

/// The provider sent the browser back without a code.
fn told_by_provider(error: &str, description: &str) -> Refusal {
    let (error, description) = (short(error), short(description));
    info!(error, description, "the provider ended a login with an error");
    let told = match error.as_str() {
        "access_denied" => {
            AuthError::Denied("The login was cancelled, or you may not use this service.".to_owned())
        }
        "temporarily_unavailable" | "server_error" => AuthError::Unavailable(error),
        _ => AuthError::Again("The identity service could not log you in. Please try again.".to_owned()),
    };
    Refusal::new("provider_error", told)
}

#[async_trait]
impl Authenticator for OidcAuthenticator {
    fn class_name(&self) -> &'static str {
        self.name
    }

    fn login(&self) -> LoginMethod {
        let configured = &self.cx.login_service;
        let label = if configured.is_empty() { &self.options().login_service } else { configured };
        LoginMethod::Redirect { label: label.clone(), path: LOGIN_PATH.to_owned() }
    }

    async fn begin(&self, _rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Form(LoginForm::default()))
    }

    async fn finish(&self, _rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        Err(AuthError::Denied("This hub takes no passwords: use the button to log in.".to_owned()))
    }

    fn routes(&self) -> Vec<AuthRoute> {
        let mut paths = vec![LOGIN_PATH, CALLBACK_PATH];
        if self.options().back_channel_logout {
            paths.push(BACK_CHANNEL_PATH);
        }
        paths.into_iter().map(|path| AuthRoute { path: path.to_owned(), xsrf: false }).collect()
    }

    async fn handle(&self, route: &str, rq: &LoginRequest) -> Result<LoginStep, AuthError> {
        match (route, rq.method.as_str()) {
            (LOGIN_PATH, "GET") => self.leave(rq).await,
            (CALLBACK_PATH, "GET") => self.come_back(rq).await.map_err(Refusal::told),
            (BACK_CHANNEL_PATH, "POST") if self.options().back_channel_logout => {
                self.back_channel(rq).await.map(|revocation| LoginStep::Revoke(Box::new(revocation)))
            }
            _ => Err(AuthError::Again("Nothing is done here by this method.".to_owned())),
        }
    }

    async fn refresh(
        &self,
        who: &Identity,
        _rq: Option<&LoginRequest>,
        alone: bool,
    ) -> Result<Refresh, AuthError> {
        if !self.cx.auth_state {
            return Ok(Refresh::Valid);
        }
        let result = self.look(who, alone).await;
        let now = self.engine.clock.now();
        self.outage.note(&result, now);
        match result {
            Ok(answer) => Ok(answer),
            Err(Fault::Refused(why)) => {
                info!(user = %who.name, reason = "provider_refused", why, "the login has ended at the provider");
                Ok(Refresh::Stale)
            }
            Err(Fault::Token(fault)) => {
                warn!(user = %who.name, reason = fault.reason(), %fault, "a renewed token is not accepted, so the login ends");
                Ok(Refresh::Stale)
            }
            Err(fault) if self.outage.outlasts(self.options().outage_grace, now) => {
                warn!(user = %who.name, %fault, "the provider has been away for longer than outage_grace, so the login ends");
                Ok(Refresh::Stale)
            }
            Err(fault) => Err(AuthError::Unavailable(fault.to_string())),
        }
    }

    fn refresh_takes(&self) -> Duration {
        self.engine.renewal_takes()
    }

    fn fresh_until(&self, who: &Identity) -> Option<DateTime<Utc>> {
        let tokens = Tokens::of_state(who.auth_state.as_ref()?)?;
        tokens.refresh()?;
        tokens.renewal(self.engine.renew_before())
    }

    fn account(&self, who: &Identity) -> Option<Account> {
        let state = who.auth_state.as_ref()?;
        let claims = match Tokens::of_state(state) {
            Some(tokens) => self.kept_claims(&tokens),
            // What is remembered of a login that was ended.
            None => state.get("oauth_user")?.as_object()?.clone(),
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).map(str::to_owned);
        Some(Account { issuer: text("iss")?, subject: text("sub")?, session: text("sid") })
    }

    fn remembered(&self, who: &Identity) -> Option<Value> {
        let account = self.account(who)?;
        let mut user = serde_json::Map::new();
        user.insert("iss".to_owned(), account.issuer.into());
        user.insert("sub".to_owned(), account.subject.into());
        Some(Tokens::default().state(&user))
    }

    fn names_may_change_hands(&self) -> bool {
        !self.options().pin_subject
    }

    fn denied_text(&self) -> Option<String> {
        Some(self.options().custom_403_message.clone())
    }

    fn away_since(&self) -> Option<DateTime<Utc>> {
        self.outage.since()
    }

    fn server_environment(&self, who: &Identity) -> BTreeMap<String, String> {
        let variables = |environment: &Environment| environment.variables(who.auth_state.as_ref());
        self.environment.as_ref().map(variables).unwrap_or_default()
    }

    fn spawn_hooks(&self) -> Vec<Arc<dyn SpawnHook>> {
        self.environment.iter().map(|one| Arc::new(one.clone()) as Arc<dyn SpawnHook>).collect()
    }

    async fn logged_out(&self, who: &Identity, rq: &LoginRequest) -> Result<Option<String>, AuthError> {
        self.leave_for_good(who, rq).await
    }
}
