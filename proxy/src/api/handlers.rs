//! The methods of `/api/routes`.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde_json::{Map, Value};
use tokio::time::timeout;
use tracing::{error, info, warn};
use url::{Url, form_urlencoded};

use super::{auth::Auth, date};
use crate::{
    http_server::answer,
    metrics::Metrics,
    routes::{RouteTable, path},
    server::{Cut, Scissors},
};

const ROOT: &str = "/api/routes";
const CUT: &str = "/api/websockets/cut";
const STATISTICS: &str = "/api/statistics";
const DEFAULT_LIMIT: usize = 100;
const MAX_BODY: usize = 1024 * 1024;
/// For a request body, in which no token has been looked at yet.
const BODY_TIME: Duration = Duration::from_secs(10);

type Answer = Response<Full<Bytes>>;

#[derive(Debug)]
pub(super) struct Handlers {
    auth: Auth,
    /// What cuts websockets, where a proxy belongs to the API.
    scissors: Option<Scissors>,
    routes: Arc<RouteTable>,
    metrics: Arc<Metrics>,
}

fn empty(status: StatusCode) -> Answer {
    text(status, Bytes::new())
}

/// As in the original, without a type.
fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Answer::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

fn json(value: &Map<String, Value>) -> Answer {
    // A map of JSON values always serialises.
    answer(StatusCode::OK, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

impl Handlers {
    pub(super) fn new(
        token: Option<String>,
        scissors: Option<Scissors>,
        routes: Arc<RouteTable>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { auth: Auth::new(token), scissors, routes, metrics }
    }

    pub(super) async fn respond(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        let response = self.dispatch(&parts, body).await;
        let status = response.status();
        self.metrics.api.requests.count(status);
        // The query may hold anything, so only the path is logged.
        let (code, method, path) = (status.as_u16(), &parts.method, parts.uri.path());
        match code {
            ..400 => info!(code, %method, path, "API request"),
            400..500 => warn!(code, %method, path, "API request refused"),
            _ => error!(code, %method, path, "API request failed"),
        }
        response
    }

    async fn dispatch(&self, parts: &Parts, body: Incoming) -> Answer {
        let Some(path) = normalised(parts.uri.path()) else {
            return text(StatusCode::BAD_REQUEST, "The path is not a valid URL path");
        };
        match (&parts.method, path.as_str(), &self.scissors) {
            (&Method::POST, CUT, Some(scissors)) => return self.cut(parts, body, scissors).await,
            (&Method::GET, STATISTICS, _) => return self.statistics(parts),
            _ => {}
        }
        let key = match key(&path, &parts.method) {
            Ok(key) => key,
            Err(refusal) => return refusal,
        };
        // As in the original, a body that is no JSON is reported before the token is looked at.
        let posted = match parts.method {
            Method::POST => match read_json(body).await {
                Ok(value) => Some(value),
                Err(refusal) => return refusal,
            },
            _ => None,
        };
        if !self.auth.allows(&parts.headers) {
            return empty(StatusCode::FORBIDDEN);
        }
        self.carry_out(&parts.method, &key, parts.uri.query().unwrap_or_default(), posted)
    }

    fn carry_out(&self, method: &Method, key: &str, query: &str, posted: Option<Value>) -> Answer {
        match (method, posted) {
            (_, Some(posted)) => self.post(key, posted),
            (&Method::DELETE, None) => self.delete(key),
            _ if key == "/" => self.list(query),
            _ => self.get(key),
        }
    }

    /// Ends the websockets that fit all fields of the body.
    async fn cut(&self, parts: &Parts, body: Incoming, scissors: &Scissors) -> Answer {
        if !self.auth.allows(&parts.headers) {
            return empty(StatusCode::FORBIDDEN);
        }
        let posted = match read_json(body).await {
            Ok(posted) => posted,
            Err(refusal) => return refusal,
        };
        let order = match serde_json::from_value::<Cut>(posted) {
            Ok(order) if !order.is_empty() => order,
            Ok(_) => {
                let message = "Name at least one of session, token, token_hash, token_id, route";
                return text(StatusCode::BAD_REQUEST, message);
            }
            // The parser's own words could repeat a token.
            Err(_) => {
                let message = "The body must be an object with text for session, token, token_id or route, \
                               and an object with prefix and hashed for token_hash";
                return text(StatusCode::BAD_REQUEST, message);
            }
        };
        // Comparing hashes and telling processes of before may take a moment.
        let scissors = scissors.clone();
        let Ok(count) = tokio::task::spawn_blocking(move || scissors.cut(&order)).await else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "The order was not carried out to its end");
        };
        info!(count, "websockets were cut");
        json(&Map::from_iter([("cut".to_owned(), Value::from(count))]))
    }

    /// The routes used most since they were added, busiest first; `?limit=` of them, 100 unless told.
    fn statistics(&self, parts: &Parts) -> Answer {
        if !self.auth.allows(&parts.headers) {
            return empty(StatusCode::FORBIDDEN);
        }
        let query = parts.uri.query().unwrap_or_default();
        let limit = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "limit");
        let limit = match limit.map(|(_, value)| value.parse::<usize>()) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return text(StatusCode::BAD_REQUEST, "limit must be a number"),
        };
        let mut all = Vec::with_capacity(self.routes.len());
        self.routes.for_each(&mut |route| all.push((route.requests.load(Relaxed), Arc::clone(route))));
        all.sort_by(|(one, first), (two, second)| two.cmp(one).then_with(|| first.key.cmp(&second.key)));
        all.truncate(limit);
        let routes = all.into_iter().map(|(requests, route)| {
            let open = route.target.origin.open.load(Relaxed);
            serde_json::json!({ "route": &*route.key, "requests": requests, "open_connections": open })
        });
        let routes = Value::Array(routes.collect());
        let count = Value::from(self.routes.len());
        json(&Map::from_iter([("count".to_owned(), count), ("routes".to_owned(), routes)]))
    }

    fn get(&self, key: &str) -> Answer {
        match self.routes.exact(key) {
            Some(route) => json(&route.document()),
            None => empty(StatusCode::NOT_FOUND),
        }
    }

    fn list(&self, query: &str) -> Answer {
        let limit = match inactive_since(query) {
            Ok(limit) => limit,
            Err(given) => {
                let message = format!("Invalid datestamp '{given}' must be ISO8601.");
                return text(StatusCode::BAD_REQUEST, message);
            }
        };
        let mut all = Map::new();
        self.routes.for_each(&mut |route| {
            if limit.is_none_or(|limit| route.activity.millis() < limit) {
                all.insert(route.key.to_string(), Value::Object(route.document()));
            }
        });
        self.metrics.api.route_get.inc();
        json(&all)
    }

    fn post(&self, key: &str, posted: Value) -> Answer {
        let Value::Object(data) = posted else {
            return text(StatusCode::BAD_REQUEST, "Must specify 'target' as string");
        };
        let Some(target) = data.get("target").and_then(Value::as_str).map(str::to_owned) else {
            return text(StatusCode::BAD_REQUEST, "Must specify 'target' as string");
        };
        match self.routes.add(key, &target, data) {
            Ok(()) => {
                info!(route = key, target, "route added");
                self.metrics.api.route_add.inc();
                empty(StatusCode::CREATED)
            }
            Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }

    fn delete(&self, key: &str) -> Answer {
        self.metrics.api.route_delete.inc();
        if self.routes.remove(key) {
            info!(route = key, "route removed");
            empty(StatusCode::NO_CONTENT)
        } else {
            empty(StatusCode::NOT_FOUND)
        }
    }
}

/// The key of the route that a path of the API names.
fn key(path: &str, method: &Method) -> Result<String, Answer> {
    let key = match path.strip_prefix(ROOT) {
        Some("") => "/",
        Some(key) if key.starts_with('/') => key,
        _ => return Err(text(StatusCode::NOT_FOUND, "Not Found")),
    };
    if !matches!(*method, Method::GET | Method::POST | Method::DELETE) {
        return Err(text(StatusCode::METHOD_NOT_ALLOWED, "Method not supported"));
    }
    match path::decode(key) {
        Ok(key) => Ok(key.into_owned()),
        Err(_) => Err(text(StatusCode::BAD_REQUEST, "Malformed percent-encoding in the path")),
    }
}

/// The path as a URL parser reads it: dot segments resolved, still percent-encoded.
fn normalised(path: &str) -> Option<String> {
    Url::parse("http://base.invalid/").ok()?.join(path).ok().map(|url| url.path().to_owned())
}

async fn read_json(body: Incoming) -> Result<Value, Answer> {
    let Ok(read) = timeout(BODY_TIME, Limited::new(body, MAX_BODY).collect()).await else {
        return Err(text(StatusCode::REQUEST_TIMEOUT, "The body did not arrive in time"));
    };
    let body = match read {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(text(StatusCode::PAYLOAD_TOO_LARGE, "The body is larger than 1 MiB"));
        }
        Err(error) => return Err(text(StatusCode::BAD_REQUEST, format!("Body not readable: {error}"))),
    };
    parsed(&body)
}

fn parsed(body: &[u8]) -> Result<Value, Answer> {
    serde_json::from_slice(body)
        .map_err(|error| text(StatusCode::BAD_REQUEST, format!("Body not valid JSON: {error}")))
}

/// The limit in milliseconds since the epoch, or the text that is no date. The newer spelling wins.
fn inactive_since(query: &str) -> Result<Option<i64>, String> {
    let find = |name: &str| {
        form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let given = find("inactiveSince").filter(|text| !text.is_empty()).or_else(|| find("inactive_since"));
    match given {
        Some(given) if !given.is_empty() => date::parse(&given).map(Some).ok_or_else(|| given.into_owned()),
        _ => Ok(None),
    }
}

/// Carries out a request to the routes as if it had come over a connection, and returns the status.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn carry_out(
    routes: &Arc<RouteTable>,
    method: &Method,
    path: &str,
    query: &str,
    body: &[u8],
) -> StatusCode {
    let handlers = Handlers::new(None, None, Arc::clone(routes), Metrics::new());
    let Some(path) = normalised(path) else { return StatusCode::BAD_REQUEST };
    let answer = key(&path, method).and_then(|key| {
        let posted = (*method == Method::POST).then(|| parsed(body)).transpose()?;
        Ok(handlers.carry_out(method, &key, query, posted))
    });
    answer.unwrap_or_else(|refusal| refusal).status()
}
