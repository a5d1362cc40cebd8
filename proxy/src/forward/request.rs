//! From the client's request to the target's: path, headers, framing.

use std::fmt::Write;

use http::{HeaderValue, Method, Uri, Version, header, request, uri::PathAndQuery};
use hyper::body::Body;

use super::{
    headers::{self, HopByHop, Kind},
    response::OriginalHost,
};
use crate::{
    routes::{
        Route,
        path::{RequestPath, strip_prefix},
    },
    server::{client::Client, framing::is_host, settings::Settings},
};

/// The target's path cannot be written as a URI; the client's path was at fault.
#[derive(Debug, thiserror::Error)]
#[error("the request path cannot be forwarded")]
pub(crate) struct Unforwardable;

/// Takes over the authority of an absolute-form target: it takes precedence over `Host` (RFC 9112, 3.2.2), for
/// routing, too. The error is what the client is told.
pub(super) fn adopt_authority(parts: &mut request::Parts) -> Result<(), &'static str> {
    let Some(authority) = parts.uri.authority() else { return Ok(()) };
    if parts.uri.path().is_empty() || !matches!(parts.uri.scheme_str(), Some("http" | "https")) {
        return Err("the request target is neither a path nor an http address");
    }
    let host = HeaderValue::from_str(authority.as_str()).ok();
    match host.filter(|host| is_host(host.as_bytes())) {
        Some(host) => {
            parts.headers.insert(header::HOST, host);
            Ok(())
        }
        None => Err("the request target names no valid host"),
    }
}

/// Rewrites a request head in place. `body` decides how the forwarded body is framed.
pub(crate) fn rewrite(
    parts: &mut request::Parts,
    body: &impl Body,
    path: &RequestPath<'_>,
    route: &Route,
    settings: &Settings,
    client: &Client,
    kind: Kind,
) -> Result<(), Unforwardable> {
    parts.uri = uri(parts, path, route, settings)?;
    parts.version = Version::HTTP_11;

    let headers = &mut parts.headers;
    let hop = headers::strip_hop_by_hop(headers);
    headers::add_forwarded(headers, settings, client, kind);
    if settings.auto_rewrite
        && let Some(host) = headers.get(header::HOST)
    {
        parts.extensions.insert(OriginalHost(host.clone()));
    }
    let origin = &route.target.origin;
    if settings.change_origin || !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, origin.authority.clone());
    }
    for (name, value) in &settings.custom_headers {
        headers.insert(name.clone(), value.clone());
    }
    if let Some((name, value)) = settings.hub_mark.as_ref().filter(|_| route.leads_to_hub()) {
        headers.insert(name.clone(), value.clone());
    }
    match kind {
        Kind::Websocket => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        Kind::Web if hop.accepts_trailers => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        Kind::Web => {}
    }
    frame(parts, body, hop);
    Ok(())
}

/// Says how long the body is in the one way that the client said it.
fn frame(parts: &mut request::Parts, body: &impl Body, hop: HopByHop) {
    let headers = &mut parts.headers;
    if !body.is_end_stream() {
        if body.size_hint().exact().is_none() {
            headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        return;
    }
    if hop.expects_body {
        headers.remove(header::EXPECT);
        headers.remove(header::TRAILER);
    }
    // Some servers wait for a body after these methods unless told that there is none.
    if matches!(parts.method, Method::DELETE | Method::OPTIONS)
        && !headers.contains_key(header::CONTENT_LENGTH)
    {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
}

/// The path and query that the target is asked for.
fn uri(
    parts: &request::Parts,
    path: &RequestPath<'_>,
    route: &Route,
    settings: &Settings,
) -> Result<Uri, Unforwardable> {
    let (base, base_query) = if settings.prepend_path {
        (&*route.target.base_path, route.target.query.as_deref())
    } else {
        ("/", None)
    };
    let rest = if settings.include_prefix {
        path.forwarded.as_ref()
    } else if route.prefix_len() == 0 {
        // The route is a slash, and that one is not forwarded.
        path.forwarded.strip_prefix('/').unwrap_or(&path.forwarded)
    } else {
        strip_prefix(path.routed(), route.prefix_len())
    };
    let unchanged = base == "/" && base_query.is_none() && std::ptr::eq(rest, parts.uri.path());
    if unchanged || rest == "*" {
        let same = parts.uri.path_and_query().cloned();
        return Ok(same.map_or_else(Uri::default, Uri::from));
    }
    let mut joined = String::with_capacity(base.len() + rest.len() + 16);
    joined.push_str(base);
    if !rest.is_empty() {
        if joined.ends_with('/') {
            joined.pop();
        }
        if !rest.starts_with('/') {
            joined.push('/');
        }
        joined.push_str(rest);
    }
    let own_query = parts.uri.query().filter(|query| !query.is_empty());
    for (index, query) in base_query.into_iter().chain(own_query).enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        // Writing to a String cannot fail.
        let _ = write!(joined, "{separator}{query}");
    }
    PathAndQuery::try_from(joined).map(Uri::from).map_err(|_| Unforwardable)
}
