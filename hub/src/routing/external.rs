//! A proxy in another process, spoken to by configurable-http-proxy's REST API.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use hub_core::secret::{ExposeSecret as _, SecretString};
use hub_proxy::Cut;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::{Route, RoutingError, canonical};

/// Where routes are, and where websockets are cut.
const ROUTES: &str = "/api/routes/";
const CUT: &str = "/api/websockets/cut";
/// Calls at once.
const CONCURRENCY: usize = 10;
/// How long one call is tried again when the proxy does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Where the proxy is.
#[derive(Debug, Clone)]
pub struct ExternalSettings {
    /// Root of its API, for example `http://127.0.0.1:8001`.
    pub api_url: Url,
    /// `CONFIGPROXY_AUTH_TOKEN`.
    pub auth_token: SecretString,
}

/// A client of the proxy's API.
#[derive(Debug)]
pub struct ExternalProxy {
    settings: arc_swap::ArcSwap<ExternalSettings>,
    client: reqwest::Client,
    slots: Semaphore,
}

impl ExternalProxy {
    /// A client; nothing is sent yet.
    pub fn new(settings: ExternalSettings) -> Result<Self, RoutingError> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(20))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|e| RoutingError::Unreachable {
                url: settings.api_url.to_string(),
                cause: e.to_string(),
            })?;
        Ok(Self {
            settings: arc_swap::ArcSwap::from_pointee(settings),
            client,
            slots: Semaphore::new(CONCURRENCY),
        })
    }

    /// The proxy moved (`PATCH /hub/api/proxy`).
    pub fn relocate(&self, settings: ExternalSettings) {
        self.settings.store(std::sync::Arc::new(settings));
    }

    /// Where it is now.
    pub fn settings(&self) -> ExternalSettings {
        ExternalSettings::clone(&self.settings.load())
    }

    pub(super) async fn add(
        &self,
        routespec: &str,
        target: &str,
        mut data: Map<String, Value>,
    ) -> Result<(), RoutingError> {
        data.insert("target".to_owned(), target.into());
        self.call(Method::POST, "POST", routespec, Some(&Value::Object(data))).await.map(drop)
    }

    pub(super) async fn remove(&self, routespec: &str) -> Result<(), RoutingError> {
        match self.call(Method::DELETE, "DELETE", routespec, None).await {
            Err(RoutingError::Refused { status: 404, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    pub(super) async fn list(&self) -> Result<BTreeMap<String, Route>, RoutingError> {
        let response = self.call(Method::GET, "GET", "", None).await?;
        let url = self.settings.load().api_url.to_string();
        let routes: BTreeMap<String, Map<String, Value>> = response
            .json()
            .await
            .map_err(|e| RoutingError::Unreachable { url, cause: format!("no list of routes: {e}") })?;
        Ok(routes.into_iter().map(|(routespec, data)| (canonical(&routespec), route(data))).collect())
    }

    /// Closes websockets, where the proxy can.
    pub(super) async fn cut(&self, order: &Cut) -> Result<(), RoutingError> {
        let body = serde_json::to_value(order).unwrap_or_default();
        let result = self.call_at(CUT, Method::POST, "POST", "", Some(&body)).await;
        match result {
            // configurable-http-proxy knows no such address.
            Err(RoutingError::Refused { status: 404 | 405, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn call(
        &self,
        method: Method,
        name: &'static str,
        routespec: &str,
        body: Option<&Value>,
    ) -> Result<Response, RoutingError> {
        self.call_at(ROUTES, method, name, routespec, body).await
    }

    /// One call, tried again while the proxy does not answer or answers 5xx.
    async fn call_at(
        &self,
        root: &'static str,
        method: Method,
        name: &'static str,
        routespec: &str,
        body: Option<&Value>,
    ) -> Result<Response, RoutingError> {
        let _slot = self.slots.acquire().await;
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(100);
        loop {
            let settings = self.settings.load_full();
            let path = routespec.trim_start_matches('/');
            let url = format!("{}{root}{path}", settings.api_url.as_str().trim_end_matches('/'));
            let url = if path.is_empty() && (body.is_none() || root == CUT) {
                url.trim_end_matches('/').to_owned()
            } else {
                url
            };
            let mut request = self
                .client
                .request(method.clone(), &url)
                .header("Authorization", format!("token {}", settings.auth_token.expose_secret()));
            if let Some(body) = body {
                request = request.json(body);
            }
            let api = settings.api_url.to_string();
            let (error, again) = match request.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => {
                    let status = response.status();
                    let again = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
                    let routespec = routespec.to_owned();
                    (
                        RoutingError::Refused { url: api, status: status.as_u16(), method: name, routespec },
                        again,
                    )
                }
                Err(e) => (RoutingError::Unreachable { url: api, cause: e.without_url().to_string() }, true),
            };
            if !again || Instant::now() + pause > until {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn route(mut data: Map<String, Value>) -> Route {
    let target = match data.remove("target") {
        Some(Value::String(target)) => target,
        _ => String::new(),
    };
    let last_activity = data
        .remove("last_activity")
        .and_then(|v| DateTime::parse_from_rfc3339(v.as_str()?).ok())
        .map(|at| at.with_timezone(&Utc));
    Route { target, data, last_activity }
}
