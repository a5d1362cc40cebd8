//! The admin page. Answers to `AdminHandler`.
//!
//! The page itself holds no data: its scripts use the public REST API, so that whoever opens it sees and does exactly
//! what their scopes allow, and nothing needs a second check here.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::context::{html, logged_in, user_view};
use crate::render::AdminPage;
use crate::web::caller::Page;
use crate::web::error::ApiResult;

/// Stock's arguments (`sort`, `offset` and so on, kept since its page was made by the hub) are accepted and read by
/// the scripts.
pub async fn show(page: Page) -> ApiResult<HttpResponse> {
    let user = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    page.caller.require_some(&["admin-ui"])?;
    let hub = &page.hub;
    let settings = &hub.config.hub;
    let content = AdminPage {
        current_user: user_view(hub, &user).await?,
        admin_access: true,
        allow_named_servers: settings.allow_named_servers,
        named_server_limit_per_user: i64::from(settings.named_server_limit_per_user),
        server_version: format!("{} (Himalia {})", crate::JUPYTERHUB_VERSION, env!("CARGO_PKG_VERSION")),
        api_page_limit: settings.api_page_default_limit,
        auth_state: hub.auth_state(&user),
    };
    html(&page, StatusCode::OK, &content).await
}
