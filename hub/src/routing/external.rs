//! A proxy in another process, spoken to by configurable-http-proxy's REST API.

use std::collections::BTreeMap;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use chrono::{DateTime, Utc};
use hub_core::secret::{ExposeSecret as _, SecretString};
use hub_proxy::Cut;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::{Mark, Route, RoutingError, canonical};

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

impl ExternalSettings {
    fn mark(&self) -> Mark {
        Mark::from_secret(self.auth_token.expose_secret().as_bytes())
    }
}

/// A client of the proxy's API.
#[derive(Debug)]
pub struct ExternalProxy {
    settings: arc_swap::ArcSwap<ExternalSettings>,
    mark: arc_swap::ArcSwap<Mark>,
    client: reqwest::Client,
    slots: Semaphore,
}

impl ExternalProxy {
    /// A client, made of `client`; nothing is sent yet.
    pub fn new(settings: ExternalSettings, client: reqwest::ClientBuilder) -> Result<Self, RoutingError> {
        let client = client
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
            mark: arc_swap::ArcSwap::from_pointee(settings.mark()),
            settings: arc_swap::ArcSwap::from_pointee(settings),
            client,
            slots: Semaphore::new(CONCURRENCY),
        })
    }

    /// The proxy moved (`PATCH /hub/api/proxy`).
    pub fn relocate(&self, settings: ExternalSettings) {
        self.mark.store(std::sync::Arc::new(settings.mark()));
        self.settings.store(std::sync::Arc::new(settings));
    }

    pub(super) fn has_marked(&self, headers: &HeaderMap) -> bool {
        self.mark.load().is_on(headers)
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

    /// Ends the websockets that fit.
    pub(super) async fn cut(&self, order: &Cut) -> Result<(), RoutingError> {
        let order = serde_json::to_value(order).map_err(RoutingError::Order)?;
        match self.ask(Method::POST, "POST", "websockets/cut", Some(&order)).await {
            // configurable-http-proxy has no such thing.
            Err(RoutingError::Refused { status: 404 | 405, .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// One call about a route, or about all.
    async fn call(
        &self,
        method: Method,
        name: &'static str,
        routespec: &str,
        body: Option<&Value>,
    ) -> Result<Response, RoutingError> {
        let path = routespec.trim_start_matches('/');
        if path.is_empty() && body.is_none() {
            return self.ask(method, name, "routes", body).await;
        }
        self.ask(method, name, &format!("routes/{path}"), body).await
    }

    /// Whether the proxy has the hub's own route as the hub made it. Asked once. A proxy that was started anew has
    /// none, or one that somebody else made.
    pub(super) async fn has_hub_route(&self, own_route: &str) -> Result<bool, RoutingError> {
        let path = format!("routes{}", canonical(own_route));
        let (method, name) = (Method::GET, "GET");
        let response = match self.once(&method, name, &path, None).await {
            Ok(response) => response,
            Err((RoutingError::Refused { status: 404, .. }, _)) => return Ok(false),
            Err((error, _)) => return Err(error),
        };
        let url = self.settings.load().api_url.to_string();
        let answer: Value = response
            .json()
            .await
            .map_err(|e| RoutingError::Unreachable { url, cause: format!("no route: {e}") })?;
        // Of the root there is nothing but the list of all.
        let own = if own_route == "/" { answer.get("/") } else { Some(&answer) };
        Ok(own.is_some_and(|route| route.get("hub") == Some(&Value::Bool(true))))
    }

    /// One call, tried again while the proxy does not answer or answers 5xx.
    async fn ask(
        &self,
        method: Method,
        name: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, RoutingError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(100);
        loop {
            match self.once(&method, name, path, body).await {
                Ok(response) => return Ok(response),
                Err((error, again)) if !again || Instant::now() + pause > until => return Err(error),
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One call. With an error comes whether it may help to try again.
    async fn once(
        &self,
        method: &Method,
        name: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, (RoutingError, bool)> {
        let _slot = self.slots.acquire().await;
        let settings = self.settings.load_full();
        let url = format!("{}/api/{path}", settings.api_url.as_str().trim_end_matches('/'));
        let mut request = self
            .client
            .request(method.clone(), &url)
            .header("Authorization", format!("token {}", settings.auth_token.expose_secret()));
        if let Some(body) = body {
            request = request.json(body);
        }
        let api = settings.api_url.to_string();
        match request.send().await {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => {
                let status = response.status();
                let again = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
                let (status, path) = (status.as_u16(), path.to_owned());
                Err((RoutingError::Refused { url: api, status, method: name, path }, again))
            }
            Err(e) => Err((RoutingError::Unreachable { url: api, cause: e.without_url().to_string() }, true)),
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
