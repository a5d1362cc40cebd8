//! Message heads on their way through, as the phases of a request change them.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::{
    body::{Body, Frame, SizeHint},
    ext::Protocol,
};
use url::Url;

use super::appended;
use crate::{
    forward::{
        headers::{Kind, has_token},
        multiplexed, request, response,
    },
    options::ProxyOptions,
    routes::{RouteTable, path},
    server::{
        client::{Client, Origin},
        clock::Clock,
        settings::Settings,
    },
};

/// What clients ask for.
const OWN_HOST: &str = "public.test:81";

/// How the client says where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framed {
    /// There is none.
    Empty,
    /// By its length.
    Sized(u64),
    /// By chunks.
    Chunked,
}

impl Framed {
    /// One for each number.
    pub fn of(number: u8) -> Self {
        match number % 3 {
            0 => Self::Empty,
            1 => Self::Sized(1 + u64::from(number)),
            _ => Self::Chunked,
        }
    }
}

impl Body for Framed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        *self == Self::Empty
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Sized(length) => SizeHint::with_exact(*length),
            Self::Chunked => SizeHint::default(),
        }
    }
}

/// A request, and the route that it takes.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Bits: prepend the target's path, include the prefix, change the origin, websocket, `DELETE`.
    pub flags: u8,
    /// URL of the target.
    pub target: &'a str,
    /// Key of the route.
    pub key: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// Of the body.
    pub framed: Framed,
}

/// A request is forwarded to a path below the target's, which reads the same to everybody, with a body that ends where
/// the client's does, and with the words for the connection that are ours.
///
/// # Panics
/// When a property does not hold.
pub fn request_head<'a>(asked: Asked<'_>, fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let set = |bit: u8| asked.flags & (1 << bit) != 0;
    let options = ProxyOptions {
        prepend_path: set(0),
        include_prefix: set(1),
        change_origin: set(2),
        ..ProxyOptions::default()
    };
    let table = RouteTable::new(false);
    if !asked.path.starts_with('/') || table.add(asked.key, asked.target, serde_json::Map::new()).is_err() {
        return;
    }
    let Ok(uri) = asked.path.parse::<Uri>() else { return };
    let Ok(path) = path::resolve(uri.path()) else { return };
    let Some(route) = table.route(None, &path.decoded) else { return };
    let (kind, framed) = if set(3) { (Kind::Websocket, Framed::Empty) } else { (Kind::Web, asked.framed) };
    let mut parts = Request::new(()).into_parts().0;
    parts.uri = uri.clone();
    parts.method = if set(4) && kind == Kind::Web { Method::DELETE } else { Method::GET };
    parts.headers = appended(fields);
    // What frames a message was checked before.
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::HOST] {
        parts.headers.remove(name);
    }
    parts.headers.insert(header::HOST, HeaderValue::from_static(OWN_HOST));
    match framed {
        Framed::Empty => {}
        Framed::Sized(length) => drop(parts.headers.insert(header::CONTENT_LENGTH, length.into())),
        Framed::Chunked => {
            parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    let settings = Settings::new(&options, &table).expect("the options can be used");
    let client = a_client();
    if request::rewrite(&mut parts, &framed, &path, &route, &settings, &client, kind).is_err() {
        return;
    }

    let forwarded = parts.uri.path();
    // Two slashes behind a prefix that is cut are passed on as they came.
    let as_it_came = !options.include_prefix && forwarded.starts_with("//");
    if forwarded != "*" && !as_it_came {
        let again = path::resolve(forwarded).expect("what is forwarded can be read");
        assert_eq!(again.forwarded, forwarded, "the next reader finds another path");
        let base = if options.prepend_path { route.target.base_path.trim_end_matches('/') } else { "" };
        assert!(forwarded.starts_with(base), "{forwarded:?} is not below {base:?}");
    }
    let own = uri.query().filter(|query| !query.is_empty());
    assert!(own.is_none_or(|own| parts.uri.query().is_some_and(|query| query.ends_with(own))), "{own:?}");

    let lines = |name: header::HeaderName| -> Vec<&[u8]> {
        parts.headers.get_all(name).iter().map(HeaderValue::as_bytes).collect()
    };
    let (lengths, codings) = (lines(header::CONTENT_LENGTH), lines(header::TRANSFER_ENCODING));
    match framed {
        Framed::Empty => {
            assert!(
                codings.is_empty() && (lengths.is_empty() || lengths == [b"0"]),
                "{lengths:?} {codings:?}"
            );
            assert!(parts.method != Method::DELETE || lengths == [b"0"], "the target waits for a body");
        }
        Framed::Sized(length) => {
            assert!(
                codings.is_empty() && lengths == [length.to_string().as_bytes()],
                "{lengths:?} {codings:?}"
            );
        }
        Framed::Chunked => assert!(lengths.is_empty() && codings == [b"chunked"], "{lengths:?} {codings:?}"),
    }
    let (connection, upgrade) = (lines(header::CONNECTION), lines(header::UPGRADE));
    match kind {
        Kind::Websocket => {
            assert_eq!((connection, upgrade), (vec![&b"Upgrade"[..]], vec![&b"websocket"[..]]));
        }
        Kind::Web => {
            assert!(connection.iter().all(|line| line == b"te") && upgrade.is_empty(), "{connection:?}");
        }
    }
    let host =
        if options.change_origin { route.target.origin.authority.as_bytes() } else { OWN_HOST.as_bytes() };
    assert!(lines(header::HOST) == [host], "the host is neither the client's nor the target's");
}

/// An answer says in one way where it ends, and its `Location` changes only where it leads to the target, to the same
/// path on the public side.
///
/// # Panics
/// When a property does not hold.
pub fn response_head<'a>(
    flags: u8,
    status: u16,
    location: &[u8],
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    const TARGET: &str = "http://127.0.0.1:81/base";
    let Ok(status) = StatusCode::from_u16(status) else { return };
    let options = ProxyOptions {
        auto_rewrite: flags & 1 != 0,
        protocol_rewrite: (flags & 2 != 0).then(|| "https".to_owned()),
        ..ProxyOptions::default()
    };
    let table = RouteTable::new(false);
    table.add("/", TARGET, serde_json::Map::new()).expect("the target can be used");
    let settings = Settings::new(&options, &table).expect("the options can be used");
    let route = table.route(None, "/").expect("it was added");
    let mut asked = Request::new(()).into_parts().0;
    asked.extensions.insert(response::OriginalHost(HeaderValue::from_static("public.test:82")));
    let asked = response::Asked::of(&asked, &settings);

    let mut parts = Response::new(()).into_parts().0;
    parts.status = status;
    parts.headers = appended(fields);
    if let Ok(location) = HeaderValue::from_bytes(location) {
        parts.headers.insert(header::LOCATION, location);
    }
    let before = parts.headers.clone();
    response::rewrite(&mut parts, &route.target, &asked, &settings);

    let after = &parts.headers;
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        assert!(!after.contains_key(&name), "{name} was left");
    }
    let lengths: Vec<_> = after.get_all(header::CONTENT_LENGTH).iter().collect();
    assert!(lengths.len() <= 1 && lengths.iter().all(|length| !length.as_bytes().contains(&b',')));
    assert!(
        !before.contains_key(header::TRANSFER_ENCODING) || lengths.is_empty(),
        "two ways to tell the length"
    );
    let (old, new) = (before.get(header::LOCATION), after.get(header::LOCATION));
    let dropped =
        new.is_none() && before.get_all(header::CONNECTION).iter().any(|line| has_token(line, "location"));
    if old == new || dropped {
        return;
    }
    assert!(
        flags & 3 != 0 && matches!(status.as_u16(), 201 | 301 | 302 | 307 | 308),
        "{old:?} became {new:?}"
    );
    let url = |value: Option<&HeaderValue>| Url::parse(value?.to_str().ok()?).ok();
    let (old, new) = (url(old).expect("only URLs change"), url(new).expect("and become URLs"));
    assert_eq!(
        (old.host_str(), old.port_or_known_default()),
        (Some("127.0.0.1"), Some(81)),
        "{old} is elsewhere"
    );
    assert_eq!((old.path(), old.query(), old.fragment()), (new.path(), new.query(), new.fragment()));
    let public =
        if options.auto_rewrite { (Some("public.test"), Some(82)) } else { (Some("127.0.0.1"), Some(81)) };
    assert_eq!((new.host_str(), new.port_or_known_default()), public, "{old} became {new}");
}

/// A request by HTTP/2 that is let through reads the same by HTTP/1.1.
///
/// # Panics
/// When a property does not hold.
pub fn multiplexed<'a>(
    uri: &str,
    websocket: bool,
    ends: bool,
    fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) {
    let Ok(uri) = uri.parse::<Uri>() else { return };
    let mut parts = Request::new(()).into_parts().0;
    (parts.uri, parts.headers) = (uri, appended(fields));
    if websocket {
        parts.method = Method::CONNECT;
        parts.extensions.insert(Protocol::from_static("websocket"));
    }
    let Ok(wish) = multiplexed::normalise(&mut parts, ends) else { return };
    assert_eq!(wish == multiplexed::Wish::Websocket, websocket);
    assert_eq!(parts.method, Method::GET);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    assert!(target.bytes().all(|byte| (b'!'..=b'~').contains(&byte)), "{target:?} ends a request line");
    let count = |headers: &HeaderMap, name| headers.get_all(name).iter().count();
    assert!(count(&parts.headers, header::COOKIE) <= 1);
    assert!(count(&parts.headers, header::CONTENT_LENGTH) <= 1);
    if let Some(length) = parts.headers.get(header::CONTENT_LENGTH) {
        let length: u64 = length.to_str().expect("digits").parse().expect("a number");
        assert!(length == 0 || !ends, "a body is announced and does not follow");
    }
    let authority = parts.uri.authority().expect("a request without one is refused").as_str().to_owned();
    assert!(!authority.contains('@'), "{authority} names a user");
    for host in parts.headers.get_all(header::HOST) {
        assert!(host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()), "{host:?} is not {authority}");
    }
    assert!(!websocket || count(&parts.headers, header::SEC_WEBSOCKET_KEY) == 1);
}

fn a_client() -> Client {
    let remote = Some(SocketAddr::from(([192, 0, 2, 1], 5)));
    let origin = Origin { remote, secure: false, multiplexed: false, trusted: true };
    Client::new(origin, Clock::start(), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::tests::{fields, holds},
        Asked, Framed,
    };

    const NAMES: &[&str] = &[
        "connection",
        "te",
        "upgrade",
        "content-length",
        "transfer-encoding",
        "expect",
        "trailer",
        "cookie",
        "host",
        "location",
    ];
    const VALUES: &str = "(close|upgrade|websocket|te|trailers|chunked|host|content-length|location|public.test|[0-9]|[,; ]|[!-~]){0,6}";

    #[test]
    fn requests_are_forwarded_below_the_target_and_end_where_they_did() {
        let path = "(/[ab.]{1,4}/ab?)?(/|a|b|\\.|%2[eEfF]|%5c|%41|[!-~]){0,12}(\\?[!-~]{0,6})?";
        let target = "http://127.0.0.1:81(/|/base|/a%20b/|//x)(\\?(q=1)?)?";
        let key = "(/|/a|/a/b|/ab|/\\.\\.a)";
        let inputs = (any::<u8>(), any::<u8>(), target, key, path, fields(NAMES, VALUES));
        holds(inputs, |(flags, framed, target, key, path, fields)| {
            let path = format!("/{path}");
            let asked = Asked { flags, target: &target, key: &key, path: &path, framed: Framed::of(framed) };
            super::request_head(
                asked,
                fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            );
        });
    }

    #[test]
    fn answers_end_in_one_way_and_lead_where_they_did() {
        let location =
            "(http|https|ftp)?(://|//|/)?(127.0.0.1|other.test|u@127.0.0.1|)?(:81|:82)?(/|\\?|#|[!-~]){0,8}";
        let status = prop_oneof![Just(201u16), Just(302), Just(308), 100u16..600];
        let inputs = (any::<u8>(), status, location, fields(NAMES, VALUES));
        holds(inputs, |(flags, status, location, fields)| {
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            super::response_head(flags, status, location.as_bytes(), fields);
        });
    }

    #[test]
    fn requests_by_http2_read_the_same_by_http1() {
        let uri = "(https|http)://(public.test|u@|\\[::1\\]|[a-z.]{0,3})(:81)?(/|\\?|%20|[ -~é]){0,8}";
        let inputs = (uri, any::<bool>(), any::<bool>(), fields(NAMES, VALUES));
        holds(inputs, |(uri, websocket, ends, fields)| {
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            super::multiplexed(&uri, websocket, ends, fields);
        });
    }
}
