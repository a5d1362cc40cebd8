//! Where a provider is: its discovery document, read once an hour and kept while the provider is away.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use chrono::{DateTime, TimeDelta, Utc};
use hub_core::Clock;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tracing::{info, warn};
use url::Url;

use crate::fault::Fault;
use crate::http::Http;
use crate::options::OidcOptions;
use crate::validate::is_safe;

/// How long a document is taken to hold.
const FRESH: TimeDelta = TimeDelta::hours(1);
/// After a failure, how long the provider is not asked again while there is an older document, and while there is none.
const PAUSE: TimeDelta = TimeDelta::seconds(30);
const SHORT_PAUSE: TimeDelta = TimeDelta::seconds(2);

/// The addresses of a provider, and what it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// The issuer as it writes itself; empty for plain OAuth 2.
    pub issuer: String,
    /// Where browsers are sent.
    pub authorize: String,
    /// Where codes become tokens.
    pub token: String,
    /// Who the person is.
    pub userinfo: Option<String>,
    /// Public keys.
    pub jwks: Option<String>,
    /// Where browsers log out.
    pub end_session: Option<String>,
    /// Whether answers to the browser name the issuer (RFC 9207), so that a missing name is a forgery.
    pub names_itself: bool,
    /// Whether a secret is taken only in the form.
    pub secret_by_post: bool,
}

#[derive(Debug)]
struct Cached {
    endpoints: Arc<Endpoints>,
    fetched: DateTime<Utc>,
}

#[derive(Debug)]
struct Failure {
    at: DateTime<Utc>,
    fault: Fault,
}

/// Finds the endpoints.
#[derive(Debug)]
pub(crate) struct Provider {
    options: Arc<OidcOptions>,
    http: Http,
    clock: Arc<dyn Clock>,
    cached: ArcSwapOption<Cached>,
    failure: ArcSwapOption<Failure>,
    /// One request at a time.
    asking: Mutex<()>,
}

impl Provider {
    pub(crate) fn new(options: Arc<OidcOptions>, http: Http, clock: Arc<dyn Clock>) -> Self {
        Self {
            options,
            http,
            clock,
            cached: ArcSwapOption::empty(),
            failure: ArcSwapOption::empty(),
            asking: Mutex::new(()),
        }
    }

    /// The endpoints, from memory where that is fresh. An old document serves while no new one can be had.
    pub(crate) async fn endpoints(&self) -> Result<Arc<Endpoints>, Fault> {
        if !self.options.is_oidc() {
            return Ok(Arc::new(self.overridden(Endpoints::default())));
        }
        if let Some(answer) = self.remembered() {
            return answer;
        }
        let _one = self.asking.lock().await;
        if let Some(answer) = self.remembered() {
            return answer;
        }
        match self.fetch().await {
            Ok(endpoints) => {
                let endpoints = Arc::new(endpoints);
                let cached = Cached { endpoints: Arc::clone(&endpoints), fetched: self.clock.now() };
                if self.cached.swap(Some(Arc::new(cached))).is_none() {
                    info!(issuer = %endpoints.issuer, "the provider's addresses are known");
                }
                self.failure.store(None);
                Ok(endpoints)
            }
            Err(fault) => {
                warn!(issuer = %self.options.issuer, %fault, "the provider's discovery document cannot be read");
                self.failure.store(Some(Arc::new(Failure { at: self.clock.now(), fault: fault.clone() })));
                self.cached.load().as_ref().map(|cached| Arc::clone(&cached.endpoints)).ok_or(fault)
            }
        }
    }

    /// What can be said without asking.
    fn remembered(&self) -> Option<Result<Arc<Endpoints>, Fault>> {
        let now = self.clock.now();
        let cached = self.cached.load_full();
        let failure = self.failure.load_full();
        match (cached, failure) {
            (Some(cached), _) if now - cached.fetched < FRESH => Some(Ok(Arc::clone(&cached.endpoints))),
            (Some(cached), Some(failure)) if now - failure.at < PAUSE => {
                Some(Ok(Arc::clone(&cached.endpoints)))
            }
            (None, Some(failure)) if now - failure.at < SHORT_PAUSE => Some(Err(failure.fault.clone())),
            _ => None,
        }
    }

    async fn fetch(&self) -> Result<Endpoints, Fault> {
        let issuer = self.options.issuer.trim_end_matches('/');
        let document = self.http.document(&format!("{issuer}/.well-known/openid-configuration")).await?;
        let endpoints = self.overridden(read(&document));
        if endpoints.issuer.trim_end_matches('/') != issuer {
            return Err(Fault::Nonsense(format!(
                "the document is that of issuer {:?}; authenticator issuer must be that very text",
                endpoints.issuer
            )));
        }
        let named = [
            ("authorization_endpoint", Some(&endpoints.authorize)),
            ("token_endpoint", Some(&endpoints.token)),
            ("jwks_uri", endpoints.jwks.as_ref().or(Some(&endpoints.issuer))),
            ("userinfo_endpoint", endpoints.userinfo.as_ref()),
            ("end_session_endpoint", endpoints.end_session.as_ref()),
        ];
        for (name, url) in named.into_iter().filter_map(|(name, url)| Some((name, url?))) {
            let good = Url::parse(url).is_ok_and(|url| is_safe(&url, self.options.allow_insecure_http));
            if !good {
                return Err(Fault::Nonsense(format!("{name} is missing or no https: address")));
            }
        }
        if endpoints.jwks.is_none() {
            return Err(Fault::Nonsense("jwks_uri is missing".to_owned()));
        }
        Ok(endpoints)
    }

    /// The configuration's word goes before the provider's.
    fn overridden(&self, found: Endpoints) -> Endpoints {
        let options = &self.options;
        Endpoints {
            authorize: options.authorize_url.clone().unwrap_or(found.authorize),
            token: options.token_url.clone().unwrap_or(found.token),
            userinfo: options.userdata_url.clone().or(found.userinfo),
            jwks: options.jwks_url.clone().or(found.jwks),
            end_session: options.end_session_url.clone().or(found.end_session),
            ..found
        }
    }
}

fn read(document: &Map<String, Value>) -> Endpoints {
    let text = |name: &str| document.get(name).and_then(Value::as_str).map(str::to_owned);
    let methods: Vec<&str> = document
        .get("token_endpoint_auth_methods_supported")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    Endpoints {
        issuer: text("issuer").unwrap_or_default(),
        authorize: text("authorization_endpoint").unwrap_or_default(),
        token: text("token_endpoint").unwrap_or_default(),
        userinfo: text("userinfo_endpoint"),
        jwks: text("jwks_uri"),
        end_session: text("end_session_endpoint"),
        names_itself: document.get("authorization_response_iss_parameter_supported")
            == Some(&Value::Bool(true)),
        secret_by_post: methods.contains(&"client_secret_post") && !methods.contains(&"client_secret_basic"),
    }
}
