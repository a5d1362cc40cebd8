//! Entry points for fuzzing: each takes arbitrary input and checks what must hold for all.
//!
//! The targets in `fuzz/` call these without end; the tests below call them a bounded number of times with inputs
//! that are the same at every run.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    api,
    forward::headers::{self, Kind},
    options::ProxyOptions,
    routes::{RouteTable, path},
    server::{
        client::{Client, Origin},
        clock::Clock,
        framing::Framing,
        proxy_protocol,
        settings::Settings,
    },
};

/// A request path is routed by what a server behind would make of the path that it is sent.
///
/// # Panics
/// When a property does not hold.
pub fn paths(raw: &str) {
    if !raw.starts_with('/')
        || raw.contains(['?', '#'])
        || !raw.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
    {
        return;
    }
    let Ok(resolved) = path::resolve(raw) else { return };
    let again = path::resolve(&resolved.forwarded).expect("what is forwarded can be read");
    assert_eq!(again.decoded, resolved.decoded, "the forwarded path leads elsewhere");
    assert_eq!(again.forwarded, resolved.forwarded, "the forwarded path would be resolved once more");
    for length in 0..=resolved.forwarded.len() {
        let _ = path::strip_prefix(&resolved.forwarded, length);
    }
}

/// The border of requests is found whatever pieces the bytes come in.
///
/// # Panics
/// When a property does not hold.
pub fn framing(bytes: &[u8], piece: usize) {
    let mut whole = Framing::new(4096);
    let fault = whole.feed(bytes).fault;
    let mut pieces = Framing::new(4096);
    let mut found = None;
    for piece in bytes.chunks(piece.clamp(1, 64)) {
        found = found.or(pieces.feed(piece).fault);
    }
    assert_eq!(found, fault);
    assert_eq!(pieces.heads(), whole.heads());
    assert_eq!(pieces.may_end(), whole.may_end());
}

/// A PROXY protocol header is whole at one length only.
///
/// # Panics
/// When a property does not hold.
pub fn proxy_protocol(bytes: &[u8]) {
    use proxy_protocol::Header;
    if let Header::Complete { length, .. } = proxy_protocol::parse(bytes) {
        let header = bytes.get(..length).expect("a whole header has arrived");
        assert_eq!(proxy_protocol::parse(header), proxy_protocol::parse(bytes));
        if let Some((_, shorter)) = header.split_last() {
            assert_eq!(proxy_protocol::parse(shorter), Header::Partial);
        }
    }
}

/// Nothing that concerns one connection only is left in a head that is passed on.
///
/// # Panics
/// When a property does not hold.
pub fn header_fields<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let mut all = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            all.append(name, value);
        }
    }
    let lines: Option<Vec<&str>> = all.get_all("connection").iter().map(|line| line.to_str().ok()).collect();
    let names = lines.unwrap_or_default().into_iter().flat_map(|line| line.split(','));
    let named: Vec<String> = names.map(|name| name.trim().to_ascii_lowercase()).collect();
    headers::strip_hop_by_hop(&mut all);
    for name in ["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-connection"] {
        assert!(!all.contains_key(name), "{name} was left");
    }
    for name in named.iter().filter(|name| !matches!(name.as_str(), "host" | "content-length" | "trailer")) {
        assert!(!all.contains_key(name.as_str()), "{name} was left although Connection names it");
    }
}

/// Of what a client says about where it comes from, nothing is left but what a trusted one said; and our own word is
/// the last in each line.
///
/// # Panics
/// When a property does not hold.
pub fn forwarded<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, trusted: bool) {
    let mut all = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            all.append(name, value);
        }
    }
    let settings =
        Settings::new(&ProxyOptions::default(), &RouteTable::new(false)).expect("the defaults can be used");
    let remote = Some(SocketAddr::from(([192, 0, 2, 1], 5)));
    let origin = Origin { remote, secure: false, multiplexed: false, trusted };
    headers::add_forwarded(&mut all, &settings, &Client::new(origin, Clock::start()), Kind::Web);
    for (name, own) in [("x-forwarded-for", &b"192.0.2.1"[..]), ("x-forwarded-proto", b"http")] {
        let lines: Vec<&HeaderValue> = all.get_all(name).iter().collect();
        let [line] = lines.as_slice() else { panic!("{} lines of {name}", lines.len()) };
        assert!(line.as_bytes().ends_with(own), "{name} ends with another word");
        assert!(trusted || line.as_bytes() == own, "{name} holds what an untrusted client said");
    }
    if !trusted {
        for name in ["x-real-ip", "x-scheme", "forwarded"] {
            assert!(!all.contains_key(name), "{name} was left");
        }
    }
}

/// What the API reads from requests besides JSON.
pub fn api_texts(text: &str) {
    api::read_texts(text);
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, test_runner::RngSeed};

    /// The same inputs at every run.
    fn bounded() -> ProptestConfig {
        ProptestConfig {
            cases: 2048,
            rng_seed: RngSeed::Fixed(6),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    /// Bytes of which many mean something to HTTP.
    fn request_bytes() -> impl Strategy<Value = Vec<u8>> {
        let word = prop::sample::select(vec![
            "GET ",
            "POST ",
            "/",
            " HTTP/1.1",
            " HTTP/1.0",
            "\r\n",
            "\n",
            "\r",
            "Host: h",
            "Content-Length: ",
            "Transfer-Encoding: chunked",
            "0",
            "5",
            "a",
            ":",
            ";",
            " ",
            "\t",
            "\r\n\r\n",
            "hello",
            ",",
            "\0",
        ]);
        let word = prop_oneof![8 => word.prop_map(|word| word.as_bytes().to_vec()), 1 => any::<Vec<u8>>()];
        prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(bounded())]

        #[test]
        fn paths_lead_where_they_are_forwarded(raw in "(/|\\\\|\\.|%2[eEfF]|%5c|%25|%[0-9a-f]{2}|[!-~]){0,24}") {
            super::paths(&format!("/{raw}"));
        }

        #[test]
        fn borders_do_not_depend_on_pieces(bytes in request_bytes(), piece in 1usize..64) {
            super::framing(&bytes, piece);
        }

        #[test]
        fn proxy_protocol_headers_have_one_length(
            start in prop::sample::select(vec![&b"PROXY TCP4 "[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", b"\r\n\r\n\0\r\nQUIT\n", b""]),
            rest in prop_oneof![any::<Vec<u8>>(), "[0-9. :a-f]{0,40}\r\n".prop_map(String::into_bytes)],
        ) {
            super::proxy_protocol(&[start, &rest[..]].concat());
        }

        #[test]
        fn no_hop_by_hop_field_is_left(
            fields in prop::collection::vec(
                (
                    prop::sample::select(vec!["connection", "te", "x-a", "upgrade", "keep-alive", "transfer-encoding", "host", "cookie"]),
                    "(close|keep-alive|upgrade|x-a|cookie|te|host|trailers|chunked|[, ]|[!-~]){0,8}",
                ),
                0..8,
            ),
        ) {
            super::header_fields(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        }

        #[test]
        fn forwarded_headers_say_what_trusted_clients_and_we_say(
            fields in prop::collection::vec(
                (
                    prop::sample::select(vec!["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host", "x-real-ip", "x-scheme", "forwarded", "host"]),
                    any::<Vec<u8>>().prop_map(|bytes| bytes.into_iter().take(12).collect::<Vec<_>>()),
                ),
                0..8,
            ),
            trusted in any::<bool>(),
        ) {
            super::forwarded(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())), trusted);
        }

        #[test]
        fn the_api_reads_any_text(text in "(token|[0-9]{1,4}|[-:TZ+. %]|\\PC){0,16}") {
            super::api_texts(&text);
        }
    }
}
