//! The proxy's routes. Answers to `apihandlers.proxy`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::SecondsFormat;
use jupyterhub_api_compat::requests::ProxyLocation;
use serde_json::{Value, json};
use tracing::info;
use url::Url;

use super::call::Call;
use super::{answer, lists};
use crate::routing::{CheckError, ExternalSettings, Proxy, Route, RoutingError};
use crate::web::error::{ApiError, ApiResult};

/// Seconds after which a proxy that does not answer may be asked again.
const RETRY_SECONDS: u32 = 10;
/// Marks the routes of the hub; the others are nobody's business here.
const OURS: &str = "jupyterhub";

impl From<RoutingError> for ApiError {
    fn from(error: RoutingError) -> Self {
        Self::unavailable("The proxy did not do what it was told.", RETRY_SECONDS, error)
    }
}

impl From<CheckError> for ApiError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Proxy(error) => error.into(),
            CheckError::Db(error) => error.into(),
        }
    }
}

/// `GET /proxy`.
pub(super) async fn list(call: Call) -> ApiResult<HttpResponse> {
    let page = call.page()?;
    let mut routes = call.hub.routing.list().await?;
    routes.retain(|_, route| route.data.contains_key(OURS));
    let total = routes.len() as u64;
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    // With host names in front there is no slash before them.
    let hosts = call.hub.urls.shared_domain().is_some();
    let shown: BTreeMap<String, Value> = routes
        .into_iter()
        .skip(place(page.offset))
        .take(place(page.limit))
        .map(|(routespec, route)| {
            let bare = hosts && routespec != "/";
            let routespec = if bare { routespec.trim_start_matches('/').to_owned() } else { routespec };
            let model = model(&routespec, route);
            (routespec, model)
        })
        .collect();
    lists::page(&call, &page, shown, total)
}

fn model(routespec: &str, route: Route) -> Value {
    let mut data = route.data;
    data.remove(OURS);
    if let Some(at) = route.last_activity {
        data.insert("last_activity".to_owned(), at.to_rfc3339_opts(SecondsFormat::Millis, true).into());
    }
    json!({ "routespec": routespec, "target": route.target.trim_end_matches('/'), "data": data })
}

/// `POST /proxy`: checks all routes now.
pub(super) async fn check(call: Call) -> ApiResult<HttpResponse> {
    call.hub.check_routes().await?;
    Ok(answer::empty_json(StatusCode::OK))
}

/// `PATCH /proxy`: another proxy is in charge.
pub(super) async fn relocate(call: Call) -> ApiResult<HttpResponse> {
    let place = ProxyLocation::read(&call.body)?;
    let Proxy::External(proxy) = call.hub.routing.proxy() else {
        return Err(ApiError::bad_request("The proxy of this hub runs inside it and cannot be moved."));
    };
    let mut settings: ExternalSettings = proxy.settings();
    if let Some(text) = place.api_url {
        settings.api_url =
            Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(
                || ApiError::bad_request("api_url must be a URL that begins with http:// or https://"),
            )?;
    }
    if let Some(token) = place.auth_token {
        settings.auth_token = token;
    }
    info!(api_url = %settings.api_url, "another proxy is in charge");
    proxy.relocate(settings);
    call.hub.check_routes().await?;
    Ok(answer::empty_json(StatusCode::OK))
}
