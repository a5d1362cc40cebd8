//! What happens to one request. [`handle`] lists the phases in order; the other files are those phases.

pub(crate) mod body;
pub(crate) mod bounds;
mod error_page;
pub(crate) mod headers;
pub(crate) mod health;
mod link;
pub(crate) mod multiplexed;
pub(crate) mod pool;
mod replay;
pub(crate) mod request;
pub(crate) mod response;
mod tunnel;
pub(crate) mod upstream;

use std::{
    convert::Infallible,
    rc::Rc,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Instant,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use hyper::body::{Body, Incoming};
use tokio::sync::oneshot;
use tracing::{debug, warn};

pub(crate) use self::body::drain_bodies;
use self::{
    body::{ClientFault, ContinueGate, ProxyBody, Relay, RequestBody},
    bounds::Claim,
    headers::Kind,
    multiplexed::Wish,
    pool::Lease,
    tunnel::Held,
    upstream::UpstreamError,
};
use crate::{
    access_log,
    routes::{Route, RouteKind, path},
    server::{
        client::{Closing, Turn},
        connection::Guest,
        framing::Fault,
        websockets::Opener,
        worker::Worker,
    },
};

/// Answered by the proxy itself on every host and base URL, and to clients that have met their bounds.
pub(crate) const HEALTH_PATH: &str = "/_chp_healthz";
pub(crate) const HEALTHY: &str = r#"{"status":"OK"}"#;

/// Serves one request.
pub(crate) async fn handle(
    guest: Rc<Guest>,
    request: Request<Incoming>,
) -> Result<Response<ProxyBody>, Infallible> {
    let guest = &guest;
    let (worker, client) = (&guest.worker, &guest.client);
    let arrived = Instant::now();
    let (turn, fault) = client.begin();
    let logger = worker.shared.access_log.as_ref();
    let mut entry = logger.map(|logger| access_log::Entry::new(logger, client, &request));
    let mut response = match fault {
        // A balancer that asks stands for all its clients.
        Some(Fault::Crowded) if request.uri().path() == HEALTH_PATH => healthy(turn),
        Some(fault) => {
            if fault == Fault::Crowded {
                worker.stats.refused_clients.inc();
                worker.shared.shares.warn_of_bound(client.address.as_ref());
            }
            refuse(worker, fault.status(), fault.message(), turn)
        }
        None => dispatch(guest, request, turn, arrived, &mut entry).await,
    };
    worker.stats.latency.observe(arrived.elapsed());
    if client.secure
        && let Some(hsts) = &worker.settings().hsts
        && !response.headers().contains_key(header::STRICT_TRANSPORT_SECURITY)
    {
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, hsts.clone());
    }
    if client.closing() == Closing::Retire
        && !client.multiplexed
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        // The next request is for the process that took over.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(mut entry) = entry {
        entry.status = response.status();
        response.body_mut().log(entry);
    }
    Ok(response)
}

/// Finds out what is asked for, and who is to answer.
async fn dispatch(
    guest: &Rc<Guest>,
    request: Request<Incoming>,
    turn: Turn,
    arrived: Instant,
    entry: &mut Option<Box<access_log::Entry>>,
) -> Response<ProxyBody> {
    let (worker, client) = (&guest.worker, &guest.client);
    let (mut parts, body) = request.into_parts();
    let wish = if client.multiplexed {
        worker.stats.multiplexed_requests.inc();
        match multiplexed::normalise(&mut parts, body.is_end_stream()) {
            Ok(wish) => wish,
            Err(why) => return refuse(worker, StatusCode::BAD_REQUEST, why, turn),
        }
    } else {
        Wish::Web
    };
    if parts.method == Method::CONNECT {
        return refuse(worker, StatusCode::METHOD_NOT_ALLOWED, "CONNECT is not supported", turn);
    }
    if let Err(why) = request::adopt_authority(&mut parts) {
        return refuse(worker, StatusCode::BAD_REQUEST, why, turn);
    }
    if parts.uri.path() == HEALTH_PATH {
        return healthy(turn);
    }
    let upgrade =
        || parts.method == Method::GET && body.is_end_stream() && headers::is_websocket(&parts.headers);
    let kind = if wish == Wish::Websocket || upgrade() {
        worker.stats.requests_ws.inc();
        Kind::Websocket
    } else {
        worker.stats.requests_web.inc();
        Kind::Web
    };

    // The URI shares its bytes, so this copy frees the path from the parts that are rewritten below.
    let uri = parts.uri.clone();
    let Ok(path) = path::resolve(uri.path()) else {
        return instead(worker, StatusCode::INTERNAL_SERVER_ERROR, kind, &uri, turn).await;
    };
    let routes = &worker.shared.routes;
    let host = parts.headers.get(header::HOST).filter(|_| routes.host_routing()).and_then(headers::host_name);
    let route = routes.route(host, &path.decoded);
    worker.stats.find_target.observe(arrived.elapsed());
    let Some(route) = route else {
        return instead(worker, StatusCode::NOT_FOUND, kind, &uri, turn).await;
    };
    debug!(path = uri.path(), route = %route.key, target = %route.target.text, ?kind, "proxying");
    route.requests.fetch_add(1, Relaxed);
    worker.stats.count_kind(route.kind);
    if let Some(entry) = entry {
        entry.route = Some(Arc::clone(&route));
    }

    let settings = worker.settings();
    let opener = (kind == Kind::Websocket)
        .then(|| worker.shared.websockets.opener(&parts.headers, &uri, &settings.session_cookie));
    let outgoing = request::rewrite(&mut parts, &body, &path, &route, settings, client, kind);
    if let Err(error) = outgoing {
        debug!(%error, "request refused");
        return refuse(worker, StatusCode::BAD_REQUEST, "the request path cannot be forwarded", turn);
    }
    if let Some(opener) = opener {
        // A websocket is opened once and lives long: its future is kept out of the one for every request.
        let ends = Ends { route: &route, uri: &uri, opener };
        return Box::pin(websocket(guest, parts, ends, turn, entry)).await;
    }
    let (answer, kept) = forward(worker, parts, body, &route);
    let answer = answer.await;
    if let Ok((answer, _)) = &answer {
        worker.stats.count_status(answer.status());
    }
    match answer {
        Ok((answer, _)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
            warn!(route = %route.key, "target switched protocols without being asked");
            failed(worker, kind, &uri, turn).await
        }
        Ok((answer, lease)) => relay(worker, answer, lease, kept, route, turn),
        Err(_) if kept.fault.is_some_and(|fault| fault.happened()) => {
            refuse(worker, StatusCode::BAD_REQUEST, "the request body is not framed correctly", turn)
        }
        Err(error) => unanswered(worker, &route, &error, kind, &uri, turn).await,
    }
}

/// What is known of a websocket before it is opened.
struct Ends<'a> {
    route: &'a Arc<Route>,
    uri: &'a http::Uri,
    opener: Opener,
}

/// What is kept of a request until its answer arrives.
struct Kept {
    asked: response::Asked,
    gate: Option<Arc<ContinueGate>>,
    fault: Option<Arc<ClientFault>>,
}

/// Sends a request to the target; the future is the answer.
fn forward(
    worker: &Rc<Worker>,
    parts: Parts,
    body: Incoming,
    route: &Arc<Route>,
) -> (impl Future<Output = Result<(Response<Incoming>, Lease), UpstreamError>>, Kept) {
    let mut kept = Kept { asked: response::Asked::of(&parts, worker.settings()), gate: None, fault: None };
    let outgoing = if body.is_end_stream() {
        upstream::bodiless(parts)
    } else {
        let expects =
            parts.headers.get(header::EXPECT).is_some_and(|value| headers::has_token(value, "100-continue"));
        let gate = expects.then(Arc::<ContinueGate>::default);
        let (body, fault) = RequestBody::stream(body, route, worker, gate.clone());
        kept.gate.clone_from(&gate);
        kept.fault = Some(fault);
        let mut request = Request::from_parts(parts, body);
        if let Some(gate) = gate {
            // 100 is the only interim answer that concerns the body; 103 and its like do not open the gate.
            hyper::ext::on_informational(&mut request, move |interim| {
                if interim.status() == StatusCode::CONTINUE {
                    gate.open();
                }
            });
        }
        request
    };
    (upstream::send(worker, &route.target.origin, claim(route), outgoing, false), kept)
}

/// Relays the target's answer.
fn relay(
    worker: &Rc<Worker>,
    answer: Response<Incoming>,
    lease: Lease,
    kept: Kept,
    route: Arc<Route>,
    turn: Turn,
) -> Response<ProxyBody> {
    let (mut parts, incoming) = answer.into_parts();
    response::rewrite(&mut parts, &route.target, &kept.asked, worker.settings());
    // Moved: all workers share the count of its holders.
    let active = parts.status.is_success().then_some(route);
    let relay = Relay::new(incoming, lease, active, kept.gate, worker);
    Response::from_parts(parts, ProxyBody::relay(relay, Some(turn)))
}

/// Forwards an upgrade request, and joins both connections when the target agrees.
async fn websocket(
    guest: &Rc<Guest>,
    mut parts: Parts,
    ends: Ends<'_>,
    turn: Turn,
    entry: &mut Option<Box<access_log::Entry>>,
) -> Response<ProxyBody> {
    let (worker, client) = (&guest.worker, &guest.client);
    let Ends { route, uri, mut opener } = ends;
    let asked = response::Asked::of(&parts, worker.settings());
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    let outgoing = upstream::bodiless(parts);
    match upstream::send(worker, &route.target.origin, claim(route), outgoing, true).await {
        Ok((mut answer, lease)) => {
            worker.stats.count_status(answer.status());
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let (mut parts, incoming) = answer.into_parts();
                response::rewrite(&mut parts, &route.target, &asked, worker.settings());
                let relay = Relay::new(incoming, lease, None, None, worker);
                return Response::from_parts(parts, ProxyBody::relay(relay, Some(turn)));
            }
            let Some(upgrade) = upgrade else {
                warn!(route = %route.key, "the client connection cannot be upgraded");
                return failed(worker, Kind::Websocket, uri, turn).await;
            };
            let target_upgrade = hyper::upgrade::on(&mut answer);
            let (mut parts, _) = answer.into_parts();
            response::rewrite(&mut parts, &route.target, &asked, worker.settings());
            opener.learn(&mut parts.headers);
            parts.headers.remove(header::CONTENT_LENGTH);
            if client.multiplexed {
                parts.status = StatusCode::OK;
                parts.headers.remove(header::SEC_WEBSOCKET_ACCEPT);
            } else {
                parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                parts.headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            }
            // Logged when the websocket ends, with all that went through it.
            let mut entry = entry.take();
            if let Some(entry) = &mut entry {
                entry.status = parts.status;
            }
            let farewell = client.multiplexed.then(|| {
                let (farewell, patience) = oneshot::channel();
                guest.local.limit_next(patience);
                farewell
            });
            let held = Held { guest: Rc::clone(guest), turn, entry, farewell };
            tunnel::start(worker, held, Arc::clone(route), opener, (upgrade, target_upgrade));
            Response::from_parts(parts, ProxyBody::empty(None))
        }
        Err(error) => unanswered(worker, route, &error, Kind::Websocket, uri, turn).await,
    }
}

/// Whose places a route's connections take.
fn claim(route: &Route) -> Claim {
    if route.kind == RouteKind::Hub { Claim::Hub } else { Claim::Other }
}

fn log_failure(worker: &Worker, route: &Route, error: &UpstreamError) {
    worker.stats.count_upstream_error(error.class());
    if matches!(error, UpstreamError::Unreachable) {
        // Said by the request that found it out.
        return debug!(route = %route.key, target = %route.target.text, %error, "target was not asked");
    }
    warn!(route = %route.key, target = %route.target.text, %error, "target did not answer");
}

/// Answers in place of a target that gave no answer, or was not asked.
async fn unanswered(
    worker: &Rc<Worker>,
    route: &Route,
    error: &UpstreamError,
    kind: Kind,
    uri: &http::Uri,
    turn: Turn,
) -> Response<ProxyBody> {
    log_failure(worker, route, error);
    if error.is_shortage() {
        error_page::no_room(worker, kind, turn)
    } else {
        failed(worker, kind, uri, turn).await
    }
}

/// Answers with a page of an error in place of a target. Boxed, as the future of each request, which is moved several
/// times, would need room for it.
async fn instead(
    worker: &Rc<Worker>,
    status: StatusCode,
    kind: Kind,
    uri: &http::Uri,
    turn: Turn,
) -> Response<ProxyBody> {
    Box::pin(error_page::respond(worker, status, kind, uri, turn)).await
}

async fn failed(worker: &Rc<Worker>, kind: Kind, uri: &http::Uri, turn: Turn) -> Response<ProxyBody> {
    instead(worker, StatusCode::SERVICE_UNAVAILABLE, kind, uri, turn).await
}

/// Refuses a request for what it is. The connection ends, because what follows cannot be trusted.
fn refuse(worker: &Worker, status: StatusCode, message: &'static str, turn: Turn) -> Response<ProxyBody> {
    worker.stats.count_status(status);
    let mut response = Response::new(ProxyBody::full(message, Some(turn)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn healthy(turn: Turn) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::full(HEALTHY, Some(turn)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
