//! What happens around every request: request id, headers, cookies, error pages, access log, metrics.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION, SET_COOKIE,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, HttpRequest, HttpResponse, web};
use hub_core::secret::random_hex32;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::error::ApiError;
use super::log;
use super::routes::label;
use crate::app::Hub;
use crate::sessions::cookies::SetCookie;

/// Header under which a request id comes in and goes out.
const REQUEST_ID: &str = "x-request-id";
/// Bodies up to this size get an entity tag, in bytes.
const MAX_TAGGED: usize = 1 << 20;

/// The id of a request, for logs and for error pages.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Cookies to be set on the response; filled by extractors and handlers.
#[derive(Debug, Clone, Default)]
pub struct Outgoing(Rc<RefCell<Vec<SetCookie>>>);

impl Outgoing {
    /// The list that belongs to a request.
    pub fn of(rq: &HttpRequest) -> Self {
        if let Some(present) = rq.extensions().get::<Self>() {
            return present.clone();
        }
        let fresh = Self::default();
        rq.extensions_mut().insert(fresh.clone());
        fresh
    }

    /// Sets a cookie; a later one of the same name and path replaces it.
    pub fn set(&self, cookie: SetCookie) {
        let mut cookies = self.0.borrow_mut();
        cookies.retain(|c| c.name != cookie.name || c.path != cookie.path);
        cookies.push(cookie);
    }
}

/// Wraps every request.
pub async fn around(rq: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let began = Instant::now();
    let Some(hub) = rq.app_data::<web::Data<Hub>>().cloned() else {
        return next.call(rq).await;
    };
    let id = request_id(rq.headers());
    rq.extensions_mut().insert(RequestId(id.clone()));
    let outgoing = Outgoing::of(rq.request());
    let span = tracing::info_span!("request", id = %id);
    async move {
        let mut response = next.call(rq).await?;
        if let Some(page) = error_page(&hub, &response) {
            let (request, _) = response.into_parts();
            response = ServiceResponse::new(request, page);
        }
        finish_headers(&hub, &mut response, &outgoing, &id);
        let response = tag(response);
        report(&hub, &response, &id, began.elapsed());
        Ok(response)
    }
    .instrument(span)
    .await
}

/// The caller's own id where it is harmless, else a fresh one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| {
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
        .map_or_else(random_hex32, str::to_owned)
}

/// Whether a path belongs to the REST API, whose errors are JSON. Stock answers some paths there with handlers of
/// pages.
fn is_api(hub: &Hub, path: &str) -> bool {
    path.strip_prefix(hub.urls.hub()).is_some_and(|rest| {
        rest == "api"
            || rest.starts_with("api/")
                && !matches!(rest, "api/health" | "api/metrics" | "api/oauth2/authorize")
    })
}

/// What programs of other sites may read: stock's version.
fn is_version(hub: &Hub, path: &str) -> bool {
    path.strip_prefix(hub.urls.hub()).is_some_and(|rest| matches!(rest, "api" | "api/"))
}

/// The HTML page in place of a JSON error, for requests outside the API.
fn error_page(hub: &Hub, response: &ServiceResponse<BoxBody>) -> Option<HttpResponse> {
    let error = response.response().error()?.as_error::<ApiError>()?;
    let request = response.request();
    if is_api(hub, request.uri().path()) {
        return None;
    }
    Some(super::pages::error::respond(hub, request, error))
}

fn finish_headers(hub: &Hub, response: &mut ServiceResponse<BoxBody>, outgoing: &Outgoing, id: &str) {
    let path = response.request().uri().path();
    let (api, version) = (is_api(hub, path), is_version(hub, path));
    let empty = response.status() == StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let mut default = |name: HeaderName, value: &str| {
        if !headers.contains_key(&name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    };
    default(HeaderName::from_static("x-jupyterhub-version"), crate::JUPYTERHUB_VERSION);
    default(ACCESS_CONTROL_ALLOW_HEADERS, "accept, content-type, authorization");
    default(HeaderName::from_static(REQUEST_ID), id);
    if !empty {
        default(CONTENT_TYPE, if api { "application/json" } else { "text/html" });
    }
    default(CONTENT_SECURITY_POLICY, hub.content_security_policy(api));
    if version {
        default(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    }
    for (name, value) in hub.extra_headers() {
        headers.insert(name.clone(), value.clone());
    }
    for cookie in outgoing.0.borrow().iter() {
        if let Ok(value) = HeaderValue::from_str(&cookie.header()) {
            headers.append(SET_COOKIE, value);
        }
    }
}

/// Adds an entity tag to buffered successful reads, and answers 304 when the client has it already.
fn tag(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let wants = matches!(*response.request().method(), Method::GET | Method::HEAD)
        && response.status() == StatusCode::OK
        && !response.headers().contains_key(ETAG);
    if !wants {
        return response;
    }
    let (request, response) = response.into_parts();
    let (mut response, body) = response.into_parts();
    let bytes = match body.try_into_bytes() {
        Ok(bytes) if bytes.len() <= MAX_TAGGED => bytes,
        Ok(bytes) => return ServiceResponse::new(request, response.set_body(BoxBody::new(bytes))),
        Err(body) => return ServiceResponse::new(request, response.set_body(body)),
    };
    let digest = hex::encode(Sha256::digest(&bytes));
    let etag = format!("\"{}\"", digest.get(..40).unwrap_or(&digest));
    let known =
        request.headers().get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).is_some_and(|tags| {
            tags.split(',').any(|t| t.trim().trim_start_matches("W/") == etag || t.trim() == "*")
        });
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(ETAG, value);
    }
    if known {
        response.headers_mut().remove(CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        return ServiceResponse::new(request, response.set_body(BoxBody::new(())));
    }
    ServiceResponse::new(request, response.set_body(BoxBody::new(bytes)))
}

fn report(hub: &Hub, response: &ServiceResponse<BoxBody>, id: &str, took: Duration) {
    let request = response.request();
    let status = response.status();
    let handler = label(hub, request);
    hub.metrics.request(request.method().as_str(), handler, status.as_u16(), took);
    let error = response.response().error().and_then(|e| e.as_error::<ApiError>());
    let facts = super::facts::Facts::of(request, hub);
    hub.audit.call(request, &facts, handler, id, status);
    log::access(&log::Access {
        method: request.method().as_str(),
        uri: &request.uri().to_string(),
        status: status.as_u16(),
        location: response.headers().get(LOCATION).and_then(|value| value.to_str().ok()),
        who: request.extensions().get::<log::Who>().map(|who| who.0.as_str()),
        remote: facts.remote,
        took,
        quiet: is_quiet(hub, request.uri().path()),
        message: error.and_then(|e| e.message.as_deref()),
        cause: error.and_then(ApiError::cause),
    });
}

/// Paths whose successes are of interest only while debugging.
fn is_quiet(hub: &Hub, path: &str) -> bool {
    path.strip_prefix(hub.urls.hub())
        .is_some_and(|rest| rest.starts_with("static/") || matches!(rest, "health" | "api/health" | "logo"))
}
