//! Small things: health, metrics, static files, logo, reports of violated policies, requests that go elsewhere.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, LOCATION};
use actix_web::{HttpRequest, HttpResponse, web};
use tracing::warn;

use super::context::redirect;
use crate::app::Hub;
use crate::render::{Asset, StaticFiles};
use crate::web::caller::{Page, UserPath};
use crate::web::error::{ApiError, ApiResult};

/// Longest report that is logged, in bytes.
const MAX_REPORT: usize = 16 << 10;

/// `GET /hub/health`.
pub async fn health(hub: web::Data<Hub>) -> HttpResponse {
    crate::web::health::answer(&hub)
}

fn asset(rq: &HttpRequest, asset: &'static Asset) -> HttpResponse {
    let versioned = rq.query_string().split('&').any(|pair| pair.starts_with("v="));
    let known = rq
        .headers()
        .get(IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|tag| tag.trim().trim_start_matches("W/") == asset.etag));
    let mut response = if known { HttpResponse::build(StatusCode::NOT_MODIFIED) } else { HttpResponse::Ok() };
    response
        .insert_header((ETAG, asset.etag.as_str()))
        .insert_header((CACHE_CONTROL, Asset::cache_control(versioned)))
        .insert_header(("x-content-type-options", "nosniff"));
    if known {
        return response.finish();
    }
    response.content_type(asset.content_type).body(match &asset.data {
        std::borrow::Cow::Borrowed(bytes) => web::Bytes::from_static(bytes),
        std::borrow::Cow::Owned(bytes) => web::Bytes::copy_from_slice(bytes),
    })
}

/// `GET /hub/static/{path}`.
pub async fn file(hub: web::Data<Hub>, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let path = rq.match_info().get("path").unwrap_or_default();
    hub.files.get(path).map(|found| asset(&rq, found)).ok_or_else(ApiError::not_found)
}

/// `GET /hub/logo`: the site's own file, or the built-in one.
pub async fn logo(hub: web::Data<Hub>, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let Some(path) = &hub.config.templates.logo_file else {
        return hub
            .files
            .get(StaticFiles::LOGO)
            .map(|found| asset(&rq, found))
            .ok_or_else(ApiError::not_found);
    };
    let bytes = tokio::fs::read(path)
        .await
        .map_err(|e| ApiError::internal(format!("templates.logo_file {}: {e}", path.display())))?;
    let kind = match path.extension().and_then(|e| e.to_str()) {
        Some("svg") => "image/svg+xml",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("gif") => "image/gif",
        Some("webp") => "image/webp",
        _ => "image/png",
    };
    Ok(HttpResponse::Ok().content_type(kind).body(bytes))
}

/// `GET /favicon.ico`.
pub async fn favicon(hub: web::Data<Hub>, rq: HttpRequest) -> ApiResult<HttpResponse> {
    hub.files.get("favicon.ico").map(|found| asset(&rq, found)).ok_or_else(ApiError::not_found)
}

/// `POST /hub/security/csp-report`.
pub async fn csp_report(page: Page, rq: HttpRequest, body: web::Bytes) -> ApiResult<HttpResponse> {
    page.check_form(&rq, None)?;
    let user = page.caller.user().ok_or_else(|| ApiError::bare(StatusCode::FORBIDDEN))?;
    let text = String::from_utf8_lossy(body.get(..body.len().min(MAX_REPORT)).unwrap_or_default());
    warn!(user = %user.name, report = ?text, "a content security policy was violated");
    page.hub.metrics.csp_report();
    Ok(HttpResponse::Ok().finish())
}

/// The base URL and all that is not below `/hub/`: to the same path below `/hub/`.
pub async fn to_hub(hub: web::Data<Hub>, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let path = rq.uri().path();
    let base = hub.urls.base();
    let query = if rq.query_string().is_empty() { String::new() } else { format!("?{}", rq.query_string()) };
    let bare_hub = hub.urls.hub().trim_end_matches('/');
    if path == bare_hub {
        return Ok(HttpResponse::MovedPermanently()
            .insert_header((LOCATION, format!("{bare_hub}/{query}")))
            .finish());
    }
    let rest = path.strip_prefix(base).unwrap_or(path).trim_start_matches('/');
    let mut steps = rest.split('/');
    if let (Some("user" | "services"), Some(name), None) = (steps.next(), steps.next(), steps.next())
        && !name.is_empty()
        && path.starts_with(base)
    {
        // Not the path as it came: with two slashes in front it would lead to another host.
        return Ok(HttpResponse::MovedPermanently()
            .insert_header((LOCATION, format!("{base}{rest}/{query}")))
            .finish());
    }
    Ok(redirect(&hub.urls.for_browser(&hub.urls.hub_path(&format!("{rest}{query}")))))
}

/// Anything below `/hub/` that there is not.
pub async fn not_found(_page: Page) -> ApiResult<HttpResponse> {
    Err(ApiError::not_found())
}

/// `/robots.txt`: not given, and no page of the hub either.
pub async fn no_robots() -> ApiResult<HttpResponse> {
    Err(ApiError::not_found())
}

/// A method that a path does not have. Who asks from another site is told of that first, as in stock.
pub async fn no_method(_page: Page) -> ApiResult<HttpResponse> {
    Err(ApiError::bare(StatusCode::METHOD_NOT_ALLOWED))
}

/// The same where programs come with tokens, who need no proof of coming from the hub's own pages.
pub async fn no_method_for_programs(_page: UserPath) -> ApiResult<HttpResponse> {
    Err(ApiError::bare(StatusCode::METHOD_NOT_ALLOWED))
}
