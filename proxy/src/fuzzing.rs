//! Entry points for fuzzing: each takes arbitrary input and checks what must hold for all.
//!
//! The targets in `fuzz/` call these without end; the tests below call them for a bounded time, with other inputs at
//! every run.

mod heads;

use std::{collections::BTreeSet, net::SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

pub use self::heads::{Asked, Framed, multiplexed, request_head, response_head};
use crate::{
    api,
    forward::headers::{self, Kind},
    options::ProxyOptions,
    routes::{RouteTable, path, segments},
    server::{
        client::{Client, Origin},
        clock::Clock,
        framing::Framing,
        proxy_protocol,
        settings::Settings,
    },
};

/// The fields that can be some.
fn appended<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> HeaderMap {
    let mut all = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            all.append(name, value);
        }
    }
    all
}

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
    let mut all = appended(fields);
    let names = all.get_all("connection").iter().flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let named: Vec<HeaderName> =
        names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok()).collect();
    headers::strip_hop_by_hop(&mut all);
    for name in ["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "proxy-connection"] {
        assert!(!all.contains_key(name), "{name} was left");
    }
    for name in named.iter().filter(|name| !matches!(name.as_str(), "host" | "content-length" | "trailer")) {
        assert!(!all.contains_key(name), "{name} was left although Connection names it");
    }
}

/// Of what a client says about where it comes from, nothing is left but what a trusted one said; and our own word is
/// the last in each line.
///
/// # Panics
/// When a property does not hold.
pub fn forwarded<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, trusted: bool, websocket: bool) {
    let mut all = appended(fields);
    let settings =
        Settings::new(&ProxyOptions::default(), &RouteTable::new(false)).expect("the defaults can be used");
    let remote = Some(SocketAddr::from(([192, 0, 2, 1], 5)));
    let origin = Origin { remote, secure: false, multiplexed: false, trusted };
    let told_host = all.contains_key("x-forwarded-host");
    let (kind, proto) = if websocket { (Kind::Websocket, &b"ws"[..]) } else { (Kind::Web, &b"http"[..]) };
    headers::add_forwarded(&mut all, &settings, &Client::new(origin, Clock::start(), None), kind);
    assert_eq!(all.contains_key("x-forwarded-host"), !websocket || (trusted && told_host));
    for (name, own) in [("x-forwarded-for", &b"192.0.2.1"[..]), ("x-forwarded-proto", proto)] {
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

/// A line of text is a change or a look-up: `+KEY` adds a route, `-KEY` removes one, anything else is a path. The table
/// finds what a search through all keys finds.
///
/// # Panics
/// When a property does not hold.
pub fn routes(text: &str) {
    let table = RouteTable::new(false);
    let mut known = BTreeSet::new();
    let whole = |parts: &[&str]| format!("/{}", parts.join("/"));
    for line in text.lines().take(256) {
        let (change, path) = match line.split_at_checked(1) {
            Some((sign @ ("+" | "-"), path)) => (sign, path),
            _ => ("", line),
        };
        let parts: Vec<&str> = segments(path).collect();
        let key = whole(&parts);
        match change {
            "+" if table.add(path, "http://127.0.0.1:1", serde_json::Map::new()).is_ok() => {
                known.insert(key);
            }
            "-" => assert_eq!(table.remove(path), known.remove(&key), "{key} was there, or was not"),
            _ => {
                let prefix = |count| whole(parts.get(..count).unwrap_or_default());
                let expected = (0..=parts.len()).rev().map(prefix).find(|prefix| known.contains(prefix));
                let found = table.route(None, path).map(|route| route.key.to_string());
                assert_eq!(found, expected, "{path:?} leads elsewhere");
            }
        }
        assert_eq!(table.len(), known.len());
    }
    assert!(table.list().into_keys().eq(known), "the list is not what was added");
}

/// A request to the API: the first line is method, path and query, the rest is the body. Whatever it is, the answer is
/// one of those that are documented, and what was stored can be shown, saved and forwarded to.
///
/// # Panics
/// When a property does not hold.
pub fn api(bytes: &[u8]) {
    let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let Ok(line) = std::str::from_utf8(bytes.get(..end).unwrap_or_default()) else { return };
    let body = bytes.get(end + 1..).unwrap_or_default();
    let mut words = line.splitn(3, ' ');
    let (method, path, query) = (words.next(), words.next().unwrap_or("/api/routes"), words.next());
    let Ok(method) = method.unwrap_or("GET").parse::<http::Method>() else { return };
    let table = RouteTable::new(false);
    let status = api::carry_out(&table, &method, path, query.unwrap_or_default(), body);
    assert!(matches!(status.as_u16(), 200 | 201 | 204 | 400 | 404 | 405), "{status}");
    assert_eq!(status == 201, table.len() == 1, "{status} with {} routes", table.len());
    for (key, route) in table.list() {
        assert!(key.starts_with('/'));
        let data = serde_json::to_vec(&route.data).expect("what was parsed can be written");
        let again = RouteTable::new(false);
        let data = serde_json::from_slice(&data).expect("and read again");
        again.add(&key, &route.target, data).expect("a stored route can be stored again");
        assert!(again.get(&key).is_some());
    }
    assert!(status != 201 || api::carry_out(&table, &http::Method::GET, path, "", b"") == 200);
}

#[cfg(test)]
mod tests {
    use std::{
        hash::{BuildHasher, RandomState},
        sync::LazyLock,
        time::{Duration, Instant},
    };

    use proptest::{
        prelude::*,
        test_runner::{RngSeed, TestRunner},
    };

    /// Where the inputs of this run begin; a failure names it, and `HIMALIA_FUZZ_SEED` repeats it.
    static SEED: LazyLock<u64> = LazyLock::new(|| {
        let given = std::env::var("HIMALIA_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok());
        given.unwrap_or_else(|| RandomState::new().hash_one("seed"))
    });
    /// Time for all entry points together, in seconds: `HIMALIA_FUZZ_SECONDS`, or this.
    const SECONDS: u32 = 22;
    const ENTRY_POINTS: u32 = 11;

    /// Calls an entry point with new inputs until its share of the time is over.
    pub(super) fn holds<S: Strategy>(inputs: S, check: impl Fn(S::Value)) {
        let seconds = std::env::var("HIMALIA_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
        let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(SECONDS).into()) / ENTRY_POINTS;
        for round in 0.. {
            let seed = SEED.wrapping_add(round);
            // A runner counts its cases over all its runs, so each round needs a new one.
            let mut runner = TestRunner::new(ProptestConfig {
                cases: 64,
                rng_seed: RngSeed::Fixed(seed),
                failure_persistence: None,
                ..ProptestConfig::default()
            });
            let run = runner.run(&inputs, |input| {
                check(input);
                Ok(())
            });
            run.unwrap_or_else(|error| panic!("HIMALIA_FUZZ_SEED={seed}: {error}"));
            if Instant::now() >= end {
                return;
            }
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

    #[test]
    fn paths_lead_where_they_are_forwarded() {
        let inputs = "(/|\\\\|\\.|%2[eEfF]|%5c|%25|%[0-9a-f]{2}|[!-~]){0,24}";
        holds(inputs, |raw| super::paths(&format!("/{raw}")));
    }

    #[test]
    fn borders_do_not_depend_on_pieces() {
        holds((request_bytes(), 1usize..64), |(bytes, piece)| super::framing(&bytes, piece));
    }

    #[test]
    fn proxy_protocol_headers_have_one_length() {
        let begins: [&[u8]; 5] =
            [b"PROXY TCP4 ", b"PROXY ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", b"\r\n\r\n\0\r\nQUIT\n", b""];
        let line = "[0-9. :a-f]{0,40}\r\n".prop_map(String::into_bytes);
        let inputs = (prop::sample::select(begins.to_vec()), prop_oneof![any::<Vec<u8>>(), line]);
        holds(inputs, |(begin, rest)| super::proxy_protocol(&[begin, &rest[..]].concat()));
    }

    /// Some header fields with values of these bytes.
    pub(super) fn fields<V: Strategy<Value: AsRef<[u8]>>>(
        names: &'static [&'static str],
        values: V,
    ) -> impl Strategy<Value = Vec<(&'static str, V::Value)>> {
        prop::collection::vec((prop::sample::select(names), values), 0..8)
    }

    #[test]
    fn no_hop_by_hop_field_is_left() {
        let names =
            &["connection", "te", "x-a", "upgrade", "keep-alive", "transfer-encoding", "host", "cookie"];
        let values = "(close|keep-alive|upgrade|x-a|cookie|te|host|trailers|chunked|[, ]|[!-~]|é){0,8}";
        holds(fields(names, values), |fields| {
            super::header_fields(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        });
    }

    #[test]
    fn forwarded_headers_say_what_trusted_clients_and_we_say() {
        let names = &[
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-port",
            "x-forwarded-host",
            "x-real-ip",
            "x-scheme",
            "forwarded",
            "host",
        ];
        let values = prop::collection::vec(any::<u8>(), 0..12);
        holds((fields(names, values), any::<bool>(), any::<bool>()), |(fields, trusted, websocket)| {
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_slice()));
            super::forwarded(fields, trusted, websocket);
        });
    }

    #[test]
    fn the_api_reads_any_text() {
        holds("(token|[0-9]{1,4}|[-:TZ+. %]|\\PC){0,16}", |text| super::api_texts(&text));
    }

    #[test]
    fn the_api_answers_any_request() {
        let inputs = (
            prop::sample::select(vec!["GET", "POST", "POST", "POST", "DELETE", "PATCH"]),
            "/api/routes(/|a|%2[0-9a-f]|%[c-f][0-9a-f]|\\.|[ -~é]){0,12}",
            "(inactive_?[sS]ince|=|&|[0-9T:Z-]|%2[0-9]){0,8}",
            r#"(\{"target": ?"(http|https|http\+unix|ws|ftp)://([a-z.:/\[\]%0-9]|é){0,16}"(, ?"[a-z]{0,3}": ?("x"|1e9|null|\[\]|\{\}))?\}|[\[\]{}",:0-9 ]{0,12}|\PC{0,8})"#,
        );
        holds(inputs, |(method, path, query, body)| {
            super::api(format!("{method} {} {query}\n{body}", path.replace(' ', "%20")).as_bytes());
        });
    }

    #[test]
    fn the_route_table_finds_what_a_search_through_all_keys_finds() {
        holds("([+-]?(/{0,2}(a|b|user|é|[ -~]{0,3})){0,5}\n){0,40}", |text| super::routes(&text));
    }
}
