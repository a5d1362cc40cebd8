//! The description of the REST API: OpenAPI for programs, a page for people. Not in JupyterHub.

use std::sync::OnceLock;

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_SECURITY_POLICY;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jupyterhub_api_compat::openapi::{STYLE, Site, document, page};
use sha2::{Digest as _, Sha256};

use crate::app::Hub;
use crate::web::error::{ApiError, ApiResult};

/// Both forms, made when they are first asked for.
#[derive(Debug, Default)]
pub struct Description {
    json: OnceLock<Bytes>,
    html: OnceLock<Bytes>,
}

fn make(hub: &Hub) -> serde_json::Value {
    let server = hub.urls.hub_path("api");
    document(Site { version: env!("CARGO_PKG_VERSION"), server: &server, scopes: hub.rbac.table() })
}

/// `GET /openapi.json`.
#[expect(clippy::unnecessary_wraps, reason = "one signature for all handlers")]
pub(super) fn json(hub: &Hub) -> ApiResult<HttpResponse> {
    let text = hub.description.json.get_or_init(|| make(hub).to_string().into());
    Ok(HttpResponse::Ok().content_type("application/json").body(text.clone()))
}

/// `GET /docs`. Its policy lets the page's own style through and nothing else.
pub(super) fn html(hub: &Hub) -> ApiResult<HttpResponse> {
    let text = hub.description.html.get_or_init(|| page(&make(hub), "openapi.json").into());
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    );
    let policy = actix_web::http::header::HeaderValue::from_str(&policy).map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CONTENT_SECURITY_POLICY, policy))
        .body(text.clone()))
}
