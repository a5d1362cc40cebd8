//! Error pages: of the hub's own failures, and of the proxy (`/hub/error/{code}`).

use actix_web::http::StatusCode;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};

use super::context::{addresses, known};
use super::spawn::path_argument;
use crate::app::Hub;
use crate::render::{CommonContext, ErrorPage, WayInView};
use crate::web::caller::Page;
use crate::web::error::{ApiError, ApiResult};
use crate::web::facts::languages;
use crate::web::middleware::RequestId;

/// Variables of an error page: nothing that could fail again.
fn common(hub: &Hub, rq: &HttpRequest) -> CommonContext {
    rq.extensions().get::<Page>().map_or_else(
        || CommonContext { lang: hub.language(&languages(rq.headers())), ..addresses(hub) },
        known,
    )
}

fn render(hub: &Hub, rq: &HttpRequest, page: &ErrorPage) -> String {
    hub.renderer.render(&common(hub, rq), page).unwrap_or_else(|error| {
        tracing::error!(%error, "the error page itself cannot be rendered");
        format!("{} {}", page.status_code, page.status_message)
    })
}

/// The page for a failed request.
pub fn respond(hub: &Hub, rq: &HttpRequest, error: &ApiError) -> HttpResponse {
    let content = ErrorPage {
        status_code: error.status.as_u16(),
        status_message: error.status.canonical_reason().unwrap_or("Unknown Error").to_owned(),
        message: error.page_message(),
        message_html: error.message_html.clone().unwrap_or_default(),
        way_in: error
            .way_in
            .as_deref()
            .map(|way| WayInView { service: way.service.clone(), url: way.url.clone().unwrap_or_default() }),
        request_id: rq.extensions().get::<RequestId>().map(|id| id.0.clone()),
        no_spawner_check: true,
        ..ErrorPage::default()
    };
    if let Some(page) = rq.extensions().get::<Page>() {
        page.set_xsrf_cookie();
    }
    let mut response = HttpResponse::build(error.status);
    for header in error.headers() {
        response.insert_header(header.clone());
    }
    response.content_type("text/html").body(render(hub, rq, &content))
}

/// `GET /hub/error/{code}`: the proxy asks for the page and sends it with that status.
pub async fn of_proxy(page: Page, rq: HttpRequest) -> ApiResult<HttpResponse> {
    let hub = &page.hub;
    let code = path_argument(&rq, "code");
    let status = code
        .parse::<u16>()
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or_else(ApiError::not_found)?;
    let (message, extra) = match status.as_u16() {
        503 => (
            "Your server appears to be down.",
            format!("<p>Try restarting it <a href=\"{}\">from the hub</a>.</p>", hub.urls.hub_path("home")),
        ),
        _ => ("", String::new()),
    };
    let content = ErrorPage {
        status_code: status.as_u16(),
        status_message: status.canonical_reason().unwrap_or("Unknown Error").to_owned(),
        message: message.to_owned(),
        extra_error_html: extra,
        no_spawner_check: true,
        ..ErrorPage::default()
    };
    page.set_xsrf_cookie();
    Ok(HttpResponse::Ok().content_type("text/html").body(render(hub, &rq, &content)))
}
