//! The shapes of answers.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use jupyterhub_api_compat::json::dumps;
use serde::Serialize;

use crate::web::error::{ApiError, ApiResult};

const JSON: &str = "application/json";

/// A model, written as stock writes it.
pub(super) fn json(status: StatusCode, value: &(impl Serialize + ?Sized)) -> ApiResult<HttpResponse> {
    let body = dumps(value).map_err(ApiError::internal)?;
    Ok(HttpResponse::build(status).content_type(JSON).body(body))
}

/// 200 with a model.
pub(super) fn ok(value: &(impl Serialize + ?Sized)) -> ApiResult<HttpResponse> {
    json(StatusCode::OK, value)
}

/// 201 with a model.
pub(super) fn created(value: &(impl Serialize + ?Sized)) -> ApiResult<HttpResponse> {
    json(StatusCode::CREATED, value)
}

/// Nothing to say, where stock leaves the content type of its models.
pub(super) fn empty_json(status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).content_type(JSON).finish()
}

/// Nothing to say, where stock sets a content type by which clients know that there is no JSON.
pub(super) fn empty_text(status: StatusCode) -> HttpResponse {
    HttpResponse::build(status).content_type("text/plain").finish()
}

/// 204.
pub(super) fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// A model, or `{}` where the caller's scopes show nothing of it.
pub(super) fn or_empty<T: Serialize>(model: Option<T>) -> serde_json::Value {
    model.and_then(|model| serde_json::to_value(model).ok()).unwrap_or_else(|| serde_json::json!({}))
}
