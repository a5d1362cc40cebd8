//! The path by which a request is routed, and the path that is forwarded.
//!
//! Routing follows configurable-http-proxy, which resolves the request target as a browser's URL parser would
//! (dot segments, backslashes) and then percent-decodes its path. The forwarded path is the request's own unless
//! it had to be resolved: then the resolved one goes out, so that proxy and upstream never differ about the path.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use url::Url;

/// The paths of one request target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestPath<'a> {
    /// Decoded; the route is looked up by it.
    pub(crate) decoded: Cow<'a, str>,
    /// Percent-encoded; forwarded, without query.
    pub(crate) forwarded: Cow<'a, str>,
}

impl RequestPath<'_> {
    /// What the route was looked up by, percent-encoded: without the host of a network path, `//host/path`.
    pub(crate) fn routed(&self) -> &str {
        let path = self.forwarded.as_ref();
        if !path.starts_with("//") {
            return path;
        }
        let network = path.trim_start_matches('/');
        network.find('/').and_then(|at| network.get(at..)).unwrap_or("/")
    }
}

/// The target's percent-encoding is broken or does not spell UTF-8.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed percent-encoding in the request path")]
pub(crate) struct MalformedPath;

/// Works out both paths from the path part of a request target (origin form; `*` stands for itself).
pub(crate) fn resolve(raw: &str) -> Result<RequestPath<'_>, MalformedPath> {
    // `//host/path` is a network-path reference to a URL parser: its first segment is no part of the routed path.
    let network = raw.starts_with("//");
    if !network && !needs_resolving(raw) {
        return Ok(RequestPath { decoded: decode(raw)?, forwarded: Cow::Borrowed(raw) });
    }
    // Further slashes before the host mean nothing, which not every parser knows.
    let same = if network && raw.get(2..).is_some_and(|rest| rest.starts_with(is_slash)) {
        Cow::Owned(format!("//{}", raw.trim_start_matches(is_slash)))
    } else {
        Cow::Borrowed(raw)
    };
    let parsed = base().join(&same).map_err(|_| MalformedPath)?;
    let (routed, forwarded) = match (network, needs_resolving(raw)) {
        (_, false) => (parsed.path(), Cow::Borrowed(raw)),
        (true, true) => {
            let rest = raw.trim_start_matches(is_slash);
            let host = rest.split(is_slash).next().unwrap_or_default();
            if is_dot_segment(host) {
                // A host of dots alone would be a step for the next reader.
                let path = no_network(parsed.path());
                (path, Cow::Owned(path.to_owned()))
            } else {
                (parsed.path(), Cow::Owned(format!("//{host}{}", parsed.path())))
            }
        }
        (false, true) => {
            let path = no_network(parsed.path());
            (path, Cow::Owned(path.to_owned()))
        }
    };
    Ok(RequestPath { decoded: Cow::Owned(decode(routed)?.into_owned()), forwarded })
}

/// What begins with two slashes after it was resolved would be read as a host by the next reader.
fn no_network(path: &str) -> &str {
    path.find(|c| c != '/').map_or("/", |at| path.get(at.saturating_sub(1)..).unwrap_or(path))
}

/// A URL parser takes a backslash for a slash.
fn is_slash(character: char) -> bool {
    matches!(character, '/' | '\\')
}

fn base() -> Url {
    Url::parse("http://base.invalid/").expect("a constant URL parses")
}

/// Whether a URL parser would change the structure of the path: backslashes, or segments made of dots, plain or
/// encoded.
fn needs_resolving(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    // One look for the bytes without which there is nothing to resolve: most paths have none of them.
    if memchr::memchr3(b'\\', b'.', b'%', bytes).is_none() {
        return false;
    }
    if bytes.contains(&b'\\') {
        return true;
    }
    let has_dot = bytes.windows(2).any(|pair| pair == b"/.")
        || bytes.windows(4).any(|four| four[..3].eq_ignore_ascii_case(b"/%2") && four[3] | 0x20 == b'e');
    has_dot && raw.split('/').any(is_dot_segment)
}

fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment;
    let mut dots = 0;
    while !rest.is_empty() {
        rest = if let Some(rest) = rest.strip_prefix('.') {
            rest
        } else if let Some(rest) = rest.strip_prefix("%2e").or_else(|| rest.strip_prefix("%2E")) {
            rest
        } else {
            return false;
        };
        dots += 1;
    }
    dots == 1 || dots == 2
}

/// Percent-decodes strictly: every `%` starts an escape and the result is UTF-8.
pub(crate) fn decode(raw: &str) -> Result<Cow<'_, str>, MalformedPath> {
    if !raw.as_bytes().contains(&b'%') {
        return Ok(Cow::Borrowed(raw));
    }
    let mut rest = raw.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => {
                rest = rest.get(at + 3..).unwrap_or_default();
            }
            _ => return Err(MalformedPath),
        }
    }
    percent_decode_str(raw).decode_utf8().map_err(|_| MalformedPath)
}

/// What remains of an encoded path after a decoded prefix of `prefix_len` bytes was matched.
pub(crate) fn strip_prefix(encoded: &str, prefix_len: usize) -> &str {
    let bytes = encoded.as_bytes();
    let mut at = 0;
    for _ in 0..prefix_len {
        match bytes.get(at) {
            Some(b'%') => at += 3,
            Some(_) => at += 1,
            None => return "",
        }
    }
    encoded.get(at..).unwrap_or("")
}
