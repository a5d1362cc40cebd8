//! The hub itself: version, health, metrics, details, shutdown. Answers to `apihandlers.hub`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use jupyterhub_api_compat::models::{ClassInfo, Info, ShuttingDown, Version};
use jupyterhub_api_compat::requests::Shutdown;
use tracing::info;

use super::answer;
use super::call::Call;
use crate::app::Hub;
use crate::app::shutdown::Order;
use crate::web::error::{ApiError, ApiResult};

/// What stock's client library announces.
const METRICS_TYPE: &str = "text/plain; version=1.0.0; charset=utf-8";

/// `GET /`: what servers look at to compare versions.
pub(super) fn version(_: &Hub) -> ApiResult<HttpResponse> {
    answer::ok(&Version { version: crate::JUPYTERHUB_VERSION.to_owned() })
}

/// `GET /health`.
#[expect(clippy::unnecessary_wraps, reason = "one signature for all handlers")]
pub(super) fn health(hub: &Hub) -> ApiResult<HttpResponse> {
    Ok(crate::web::health::answer(hub))
}

/// `GET /metrics`.
pub(super) fn metrics(hub: &Hub) -> ApiResult<HttpResponse> {
    hub.metrics.watches(&hub.servers.spawners.watches());
    let text = hub.metrics.text().map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type(METRICS_TYPE).body(text))
}

/// `GET /info`. There is no interpreter: `python` says what runs instead.
pub(super) fn info(hub: &Hub) -> ApiResult<HttpResponse> {
    let class = |name: &str| ClassInfo {
        class: name.replace("::", "."),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let program = std::env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    answer::ok(&Info {
        version: crate::JUPYTERHUB_VERSION.to_owned(),
        python: format!("none (Himalia {})", env!("CARGO_PKG_VERSION")),
        sys_executable: program,
        spawner: class(hub.servers.spawners.default_spawner().class_name()),
        authenticator: class(hub.auth.authenticator.class_name()),
    })
}

/// `POST /shutdown`.
pub(super) fn shutdown(call: &Call) -> ApiResult<HttpResponse> {
    let wanted = Shutdown::read(&call.body)?;
    info!(by = call.who()?.name(), proxy = wanted.proxy, servers = wanted.servers, "shutting down as asked");
    call.hub.shutdown.ask(Order { servers: wanted.servers, proxy: wanted.proxy });
    answer::json(StatusCode::ACCEPTED, &ShuttingDown::default())
}
