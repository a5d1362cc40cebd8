//! Answers that the proxy gives in a target's place.

use std::{io::ErrorKind, path::Path, rc::Rc};

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use tokio::time::timeout;
use tracing::warn;
use url::form_urlencoded;

use super::{
    body::{ProxyBody, Relay, RequestBody},
    bounds::Claim,
    headers::{self, Kind},
    pool::Lease,
    upstream::{self, UpstreamError},
};
use crate::{
    server::{client::Turn, settings::ErrorPages, worker::Worker},
    target::Target,
};

/// Largest error page read from a file.
const MAX_FILE: u64 = 1024 * 1024;
const NO_ROOM: &str = "The proxy has no more connections to this server at the moment. Try again soon.\n";

/// The error answer for a request to `uri`: bare for websockets, else with the page configured.
pub(crate) async fn respond(
    worker: &Rc<Worker>,
    status: StatusCode,
    kind: Kind,
    uri: &Uri,
    turn: Turn,
) -> Response<ProxyBody> {
    worker.stats.count_status(status);
    if kind == Kind::Websocket {
        return with_status(status, ProxyBody::empty(Some(turn)), None);
    }
    match &worker.settings().error_pages {
        ErrorPages::BuiltIn => built_in(status, turn),
        ErrorPages::Target(target) => {
            let limit = worker.settings().timeouts.error_page;
            match Box::pin(timeout(limit, fetch(worker, target, status, uri))).await {
                Ok(Ok((page, lease))) => relayed(worker, status, page, lease, turn),
                // Told by the request that found it out.
                Ok(Err(UpstreamError::Unreachable)) => plain(status, turn),
                Ok(Err(error)) => {
                    warn!(%error, "error page cannot be fetched");
                    plain(status, turn)
                }
                Err(_) => {
                    warn!("error page took too long");
                    plain(status, turn)
                }
            }
        }
        ErrorPages::Folder(folder) => match read(folder.clone(), status).await {
            Some(page) => with_status(status, ProxyBody::full(page, Some(turn)), Some("text/html")),
            None => plain(status, turn),
        },
    }
}

/// What a client is told for which there is no room on the way to its target. In words of its own, as nothing is wrong
/// with the target, and without asking anybody for a page: that would take a place as well.
pub(super) fn no_room(worker: &Worker, kind: Kind, turn: Turn) -> Response<ProxyBody> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    worker.stats.count_status(status);
    let mut response = match kind {
        Kind::Websocket => with_status(status, ProxyBody::empty(Some(turn)), None),
        Kind::Web => with_status(status, ProxyBody::full(NO_ROOM, Some(turn)), Some("text/plain")),
    };
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// A page that says no more than the status does.
fn built_in(status: StatusCode, turn: Turn) -> Response<ProxyBody> {
    let (code, reason) = (status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let advice = match status {
        StatusCode::NOT_FOUND => "Nothing is served at this address.",
        StatusCode::SERVICE_UNAVAILABLE => "The server behind this address does not answer at the moment.",
        _ => "The request could not be served.",
    };
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{code} {reason}</title>\n\
         <h1>{code} {reason}</h1>\n<p>{advice}</p>\n</html>\n"
    );
    with_status(status, ProxyBody::full(page, Some(turn)), Some("text/html"))
}

fn plain(status: StatusCode, turn: Turn) -> Response<ProxyBody> {
    let text = status.canonical_reason().unwrap_or("Error");
    // As in the original, without a type.
    with_status(status, ProxyBody::full(text, Some(turn)), None)
}

fn with_status(
    status: StatusCode,
    body: ProxyBody,
    content_type: Option<&'static str>,
) -> Response<ProxyBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    response
}

/// Asks the error target for `{path}/{status}?url={path of the request}`.
async fn fetch(
    worker: &Rc<Worker>,
    target: &Target,
    status: StatusCode,
    uri: &Uri,
) -> Result<(Response<Incoming>, Lease), UpstreamError> {
    let original = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(own) = &target.query {
        query.extend_pairs(form_urlencoded::parse(own.as_bytes()));
    }
    let query = query.append_pair("url", original).finish();
    let path = format!("{}/{}?{query}", target.base_path.trim_end_matches('/'), status.as_u16());
    let mut request = Request::new(RequestBody::default());
    *request.method_mut() = Method::GET;
    // Path and query are percent-encoded, so the parse cannot fail; the root is a harmless answer if it did.
    *request.uri_mut() = path.parse().unwrap_or_default();
    request.headers_mut().insert(header::HOST, target.origin.authority.clone());
    upstream::send(worker, &target.origin, Claim::Page, request, false).await
}

/// The fetched page under our status: content type and encoding are the only headers that are taken over.
fn relayed(
    worker: &Rc<Worker>,
    status: StatusCode,
    page: Response<Incoming>,
    lease: Lease,
    turn: Turn,
) -> Response<ProxyBody> {
    let (mut parts, incoming) = page.into_parts();
    headers::strip_hop_by_hop(&mut parts.headers);
    let mut response = with_status(
        status,
        ProxyBody::relay(Relay::new(incoming, lease, None, None, worker), Some(turn)),
        None,
    );
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        if let Some(value) = parts.headers.remove(&name) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The file for a status, or the one for all.
async fn read(folder: std::path::PathBuf, status: StatusCode) -> Option<Vec<u8>> {
    let read = move || {
        [format!("{}.html", status.as_u16()), "error.html".to_owned()]
            .into_iter()
            .find_map(|name| read_file(&folder.join(name)))
    };
    tokio::task::spawn_blocking(read).await.ok().flatten()
}

fn read_file(path: &Path) -> Option<Vec<u8>> {
    let result = std::fs::metadata(path).and_then(|data| {
        if data.len() > MAX_FILE {
            return Err(std::io::Error::other("the file is larger than 1 MiB"));
        }
        std::fs::read(path)
    });
    match result {
        Ok(page) => Some(page),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => {
            warn!(path = %path.display(), %error, "error page cannot be read");
            None
        }
    }
}
