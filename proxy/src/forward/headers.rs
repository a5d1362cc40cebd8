//! Headers on their way through: what is dropped, what is added.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{self, Entry},
};

use crate::server::{client::Client, settings::Settings};

static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
static PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const SCHEME: HeaderName = HeaderName::from_static("x-scheme");
/// Where proxies say who the client is.
static TOLD_BY_PROXIES: [HeaderName; 7] =
    [FORWARDED_FOR, FORWARDED_PORT, FORWARDED_PROTO, FORWARDED_HOST, REAL_IP, SCHEME, header::FORWARDED];

/// What a message said for this hop only and the next hop may be told anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HopByHop {
    /// The sender accepts trailers.
    pub(crate) accepts_trailers: bool,
    /// There is a field that makes sense only with a body, and is still there.
    pub(crate) expects_body: bool,
}

/// Which of the fields that matter here a message has, found in one pass: most messages have one or two of them, and
/// a look-up for each would cost more than all the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Present {
    connection: bool,
    te: bool,
    /// `Expect` or `Trailer`.
    body: bool,
    /// Another field that concerns one connection only.
    other: bool,
}

impl Present {
    fn of(headers: &HeaderMap) -> Self {
        let mut present = Self::default();
        for name in headers.keys() {
            match *name {
                header::CONNECTION => present.connection = true,
                header::TE => present.te = true,
                header::EXPECT | header::TRAILER => present.body = true,
                header::TRANSFER_ENCODING
                | header::UPGRADE
                | header::PROXY_AUTHORIZATION
                | header::PROXY_AUTHENTICATE => present.other = true,
                _ => present.other |= *name == KEEP_ALIVE || *name == PROXY_CONNECTION,
            }
        }
        present
    }
}

/// Removes everything that concerns one connection only: the standard fields and those named by `Connection`.
///
/// `Trailer` stays: it announces fields that are forwarded, and only announced ones are.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) -> HopByHop {
    let present = Present::of(headers);
    let accepts_trailers =
        present.te && headers.get_all(header::TE).iter().any(|value| has_token(value, "trailers"));
    if present.te {
        headers.remove(header::TE);
    }
    if present.connection {
        join_connection(headers);
    }
    if present.connection
        && let Some(connection) = headers.remove(header::CONNECTION)
    {
        // Nearly always one of three words, none of which names a field that is not removed anyway.
        let common = connection.as_bytes();
        let common = common.eq_ignore_ascii_case(b"keep-alive")
            || common.eq_ignore_ascii_case(b"close")
            || common.eq_ignore_ascii_case(b"upgrade");
        if !common {
            remove_named(headers, &connection);
        }
    }
    if present.other {
        headers.remove(&KEEP_ALIVE);
        headers.remove(&PROXY_CONNECTION);
        headers.remove(header::PROXY_AUTHORIZATION);
        headers.remove(header::PROXY_AUTHENTICATE);
        headers.remove(header::TRANSFER_ENCODING);
        headers.remove(header::UPGRADE);
    }
    HopByHop { accepts_trailers, expects_body: present.body }
}

fn remove_named(headers: &mut HeaderMap, connection: &HeaderValue) {
    for name in connection.as_bytes().split(|byte| *byte == b',') {
        let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) else { continue };
        // Naming these would change where the message ends or whom it is for.
        if !matches!(name, header::HOST | header::CONTENT_LENGTH | header::TRAILER) {
            headers.remove(name);
        }
    }
}

/// Joins several `Connection` lines, so that one look at the field sees all of it.
fn join_connection(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::CONNECTION).iter();
    let (Some(first), Some(_)) = (values.next(), values.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for value in headers.get_all(header::CONNECTION).iter().skip(1) {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(value.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::CONNECTION, joined);
    }
}

/// Whether a comma-separated value holds a token, whatever its case.
pub(crate) fn has_token(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|byte| *byte == b',')
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether the client asks to speak websocket on this connection.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    let Some(upgrade) = headers.get(header::UPGRADE) else { return false };
    upgrade.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket")
        && headers.get_all(header::CONNECTION).iter().any(|value| has_token(value, "upgrade"))
}

/// What the `X-Forwarded-*` headers say of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Web,
    Websocket,
}

/// Appends to `X-Forwarded-For`, `-Port` and `-Proto`, dropping what an untrusted client said in them and their like;
/// sets `-Host` on web requests that have none.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, settings: &Settings, client: &Client, kind: Kind) {
    if !client.trusted && headers.keys().any(is_told_by_proxies) {
        for name in &TOLD_BY_PROXIES {
            headers.remove(name);
        }
    }
    if !settings.x_forward {
        return;
    }
    // Growing once is cheaper than twice.
    headers.reserve(4);
    if let Some(address) = &client.address {
        append(headers, FORWARDED_FOR, address.clone());
    }
    let host = headers.get(header::HOST).cloned();
    let port = host
        .as_ref()
        .and_then(port_of)
        .unwrap_or_else(|| HeaderValue::from_static(if client.secure { "443" } else { "80" }));
    append(headers, FORWARDED_PORT, port);
    let proto = match (kind, client.secure) {
        (Kind::Web, false) => "http",
        (Kind::Web, true) => "https",
        (Kind::Websocket, false) => "ws",
        (Kind::Websocket, true) => "wss",
    };
    append(headers, FORWARDED_PROTO, HeaderValue::from_static(proto));
    if kind == Kind::Web {
        let host = host.unwrap_or_else(|| HeaderValue::from_static(""));
        match headers.entry(FORWARDED_HOST) {
            Entry::Vacant(entry) => {
                entry.insert(host);
            }
            Entry::Occupied(mut entry) if entry.get().is_empty() => {
                entry.insert(host);
            }
            Entry::Occupied(_) => {}
        }
    }
}

/// Most requests come straight from a browser and have none of these: to look at all names once is cheaper than to
/// look each of these up.
fn is_told_by_proxies(name: &HeaderName) -> bool {
    *name == header::FORWARDED || (name.as_str().starts_with("x-") && TOLD_BY_PROXIES.contains(name))
}

/// The port in a `Host` value.
fn port_of(host: &HeaderValue) -> Option<HeaderValue> {
    let text = host.to_str().ok()?;
    let (name, port) = text.rsplit_once(':')?;
    let proper = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty();
    // In a bare IPv6 address the last colon does not part a port.
    (proper && (!name.contains(':') || name.ends_with(']'))).then(|| HeaderValue::from_str(port).ok())?
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => {
            entry.insert(value);
        }
        Entry::Occupied(mut entry) => {
            let mut joined = Vec::new();
            for old in entry.iter().filter(|old| !old.is_empty()) {
                if !joined.is_empty() {
                    joined.extend_from_slice(b", ");
                }
                joined.extend_from_slice(old.as_bytes());
            }
            if !joined.is_empty() {
                joined.push(b',');
            }
            joined.extend_from_slice(value.as_bytes());
            entry.insert(HeaderValue::from_bytes(&joined).unwrap_or(value));
        }
    }
}

/// The host of a `Host` value without its port: the first segment of the key with host routing.
pub(crate) fn host_name(host: &HeaderValue) -> Option<&str> {
    let text = host.to_str().ok()?;
    match text.find(']') {
        Some(end) if text.starts_with('[') => text.get(..=end),
        _ => text.split(':').next(),
    }
}
