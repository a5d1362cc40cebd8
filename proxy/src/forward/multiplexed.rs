//! Requests by HTTP/2: checked as strictly as those by HTTP/1.1, and turned into their shape.
//!
//! Framing needs no second look there, but header fields can still say what the next server, which is asked by
//! HTTP/1.1, would read differently.

use http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use hyper::ext::Protocol;

use crate::server::framing::is_host;

/// What an HTTP/2 request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// An ordinary request.
    Web,
    /// A websocket, by extended CONNECT (RFC 8441).
    Websocket,
}

/// Checks a request and gives it the shape of an HTTP/1.1 one. `ends` says that it has no body. The error is what
/// the client is told.
pub(crate) fn normalise(parts: &mut Parts, ends: bool) -> Result<Wish, &'static str> {
    let Some(authority) = parts.uri.authority() else {
        return Err("the request needs an authority");
    };
    if !is_host(authority.as_str().as_bytes()) {
        return Err("the authority is no valid host");
    }
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    if hosts.any(|host| !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes())) {
        return Err("Host and authority differ");
    }
    if parts
        .uri
        .path()
        .bytes()
        .chain(parts.uri.query().unwrap_or_default().bytes())
        .any(|byte| !(b'!'..=b'~').contains(&byte))
    {
        return Err("the request target holds characters that must be percent-encoded");
    }
    check_length(&parts.headers, ends)?;
    join_cookies(&mut parts.headers);
    let Some(protocol) = parts.extensions.remove::<Protocol>() else { return Ok(Wish::Web) };
    if parts.method != Method::CONNECT || !protocol.as_str().eq_ignore_ascii_case("websocket") {
        return Err("the only protocol to connect by is websocket");
    }
    parts.method = Method::GET;
    // HTTP/2 needs no key, HTTP/1.1 does. It proves nothing, so it need not be hard to guess.
    let key = websocket_key();
    parts.headers.insert(header::SEC_WEBSOCKET_KEY, key);
    Ok(Wish::Websocket)
}

/// One length at most, in digits, and none but zero where no body follows.
fn check_length(headers: &HeaderMap, ends: bool) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    let digits = !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit);
    let number = length.to_str().ok().filter(|_| digits).and_then(|text| text.parse::<u64>().ok());
    match (number, lengths.next()) {
        (Some(number), None) if number == 0 || !ends => Ok(()),
        (Some(_), None) => Err("Content-Length announces a body that does not follow"),
        _ => Err("Content-Length must be given once, as a number"),
    }
}

/// HTTP/2 may send each cookie on a line of its own; HTTP/1.1 knows one line.
fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(_)) = (lines.next(), lines.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for line in headers.get_all(header::COOKIE).iter().skip(1) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(line.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Sixteen bytes in base64.
fn websocket_key() -> HeaderValue {
    use std::hash::{BuildHasher, RandomState};
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let state = RandomState::new();
    let random = (u128::from(state.hash_one(1)) << 64) | u128::from(state.hash_one(2));
    // 21 digits of six bits, one of two bits, and the padding that goes with 16 bytes.
    let digit = |index: u32| {
        let bits = if index < 21 { (random >> (122 - 6 * index)) & 63 } else { (random & 3) << 4 };
        usize::try_from(bits).ok().and_then(|bits| ALPHABET.get(bits)).copied().unwrap_or(b'A')
    };
    let text: Vec<u8> = (0..22).map(digit).chain(*b"==").collect();
    HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static("AAAAAAAAAAAAAAAAAAAAAA=="))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        build: impl FnOnce(http::request::Builder) -> http::request::Builder,
        ends: bool,
    ) -> Result<Parts, &'static str> {
        let request = build(http::Request::builder().uri("https://h.example/a?b")).body(()).unwrap();
        let mut parts = request.into_parts().0;
        normalise(&mut parts, ends).map(|_| parts)
    }

    #[test]
    fn what_two_servers_could_read_differently_is_refused() {
        assert!(check(|request| request, true).is_ok());
        assert!(check(|request| request.header("host", "H.example"), true).is_ok());
        assert!(check(|request| request.header("host", "other"), true).is_err());
        assert!(check(|request| request.uri("/a"), true).is_err());
        assert!(check(|request| request.uri("https://u@h/a"), true).is_err());
        assert!(check(|request| request.header("content-length", "3"), false).is_ok());
        assert!(check(|request| request.header("content-length", "3"), true).is_err());
        assert!(check(|request| request.header("content-length", "+3"), false).is_err());
        assert!(
            check(|request| request.header("content-length", "").header("content-length", "3"), false)
                .is_err()
        );
        assert!(
            check(|request| request.header("content-length", "3").header("content-length", "3"), false)
                .is_err()
        );
        assert!(
            check(|request| request.method("CONNECT").extension(Protocol::from_static("connect-udp")), true)
                .is_err()
        );
    }

    #[test]
    fn cookies_are_joined_and_a_websocket_gets_its_key() {
        let parts = check(|request| request.header("cookie", "a=1").header("cookie", "b=2"), true).unwrap();
        let cookies: Vec<_> = parts.headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
        let parts =
            check(|request| request.method("CONNECT").extension(Protocol::from_static("websocket")), true)
                .unwrap();
        assert_eq!(parts.method, Method::GET);
        let key = parts.headers.get("sec-websocket-key").unwrap().to_str().unwrap();
        assert!(key.len() == 24 && key.ends_with("=="), "{key}");
    }
}
