//! A corpus of requests that servers are known to read differently, sent byte by byte.
//!
//! Every case is followed by a request that nobody may see unless the case before it ended where the proxy thinks it
//! did. Behind the proxy is a server that takes the proxy's framing literally and notes what it sees.

use std::sync::{Arc, Mutex};

use super::support::{Raw, Target, TestProxy, patiently};

/// What must become of a case.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// One answer with such a status, the connection ends, the target sees nothing.
    Refused(&'static [u16]),
    /// The target sees exactly these requests (method, target, length of the body), then the one that follows.
    Seen(&'static [&'static str]),
}
use Fate::{Refused, Seen};

const BAD: Fate = Refused(&[400]);
/// Where a target is too broken to be told from another version of HTTP.
const BAD_LINE: Fate = Refused(&[400, 405, 414, 431, 505]);
const ROOT: Fate = Seen(&["GET / 0"]);
const POSTED: Fate = Seen(&["POST / 5"]);

/// Header lines of a POST to `/`, followed by an empty chunked body.
const HEADS: &[&str] = &[
    "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "transfer-encoding: chunked\r\ncontent-length: 0",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nX: y\r\nTransfer-Encoding: chunked",
    "Content-Length: 5\r\nContent-Length: 6",
    "Content-Length: 5\r\nContent-Length: 5",
    "Content-Length: 5\r\nX: y\r\nContent-Length: 0",
    "Content-Length: 5\r\ncontent-length: 5",
    "Content-Length: 5,5",
    "Content-Length: 5, 6",
    "Content-Length: ,5",
    "Content-Length: 5,",
    "Content-Length: +5",
    "Content-Length: -0",
    "Content-Length: -1",
    "Content-Length: 0x5",
    "Content-Length: 5a",
    "Content-Length: 5 5",
    "Content-Length: 5.0",
    "Content-Length: 5e0",
    "Content-Length: \"5\"",
    "Content-Length: 5;",
    "Content-Length: 1_0",
    "Content-Length: \u{665}",
    "Content-Length:",
    "Content-Length: ",
    "Content-Length: \x0b5",
    "Content-Length: 5\x0c",
    "Content-Length: 18446744073709551616",
    "Content-Length: 99999999999999999999",
    "Content-Length : 5",
    "Content-Length\t: 5",
    "Content-Length\x0b: 5",
    " Content-Length: 5",
    "\tContent-Length: 5",
    "X: y\r\n Content-Length: 5",
    "X: y\r\n\tfolded",
    "X:\r\n y",
    "Host:\r\n x",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    " Transfer-Encoding: chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: gzip",
    "Transfer-Encoding: deflate, chunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, gzip",
    "Transfer-Encoding: chunked, chunked",
    "Transfer-Encoding: chunked,",
    "Transfer-Encoding: , chunked",
    "Transfer-Encoding: chunked;q=1",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: chunkedx",
    "Transfer-Encoding: chunk",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: \x0bchunked",
    "Transfer-Encoding: chunked\x0c",
    "Transfer-Encoding: ch\u{fc}nked",
    "Transfer-Encoding:",
    "Transfer-Encoding\r\n: chunked",
    "X: a\nTransfer-Encoding: chunked",
    "X: a\n\rTransfer-Encoding: chunked",
    "X: a\rTransfer-Encoding: chunked",
    "X: a\r\rTransfer-Encoding: chunked",
    "X: a\0b",
    "X: a\x01b\nY: z",
    "X\0: a",
    "Host: other",
    "host: h",
    "Host:",
    "\u{e9}: x",
    "X(y): z",
    "X y: z",
    "X/y: z",
    "X[y]: z",
    "X{y}: z",
    "X\"y\": z",
    "X@y: z",
    "X,y: z",
    ": empty",
    " : blank",
    "nonsense",
    "@: x",
];

/// Whole heads of requests, without the empty line, that are refused.
const LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "GET / HTTP/1.1\r\nHost: a b",
    "GET / HTTP/1.1\r\nHost: a,b",
    "GET / HTTP/1.1\r\nHost: a/../b",
    "GET / HTTP/1.1\r\nHost: a@b",
    "GET / HTTP/1.1\r\nHost: a?b",
    "GET / HTTP/1.1\r\nHost: a#b",
    "GET / HTTP/1.1\r\nHost: a\\b",
    "GET / HTTP/1.1\r\nHost: <a>",
    "GET / HTTP/1.1\r\nHost: h\u{e9}",
    "GET / HTTP/1.1\nHost: h",
    "GET  / HTTP/1.1\r\nHost: h",
    "GET /  HTTP/1.1\r\nHost: h",
    "GET / / HTTP/1.1\r\nHost: h",
    "GET / HTTP/1.1 \r\nHost: h",
    "GET / HTTP/1.1x\r\nHost: h",
    "GET /\tx HTTP/1.1\r\nHost: h",
    "GET\t/ HTTP/1.1\r\nHost: h",
    "GET / \tHTTP/1.1\r\nHost: h",
    "GET /\u{e9} HTTP/1.1\r\nHost: h",
    "GET /\x7f HTTP/1.1\r\nHost: h",
    "GET /\x01 HTTP/1.1\r\nHost: h",
    "GET /a\0b HTTP/1.1\r\nHost: h",
    "GET /a\rb HTTP/1.1\r\nHost: h",
    "GET / HTTP/1.2\r\nHost: h",
    "GET / HTTP/2.0\r\nHost: h",
    "GET / HTTP/3.0\r\nHost: h",
    "GET / HTTP/0.9\r\nHost: h",
    "GET / HTTP/11\r\nHost: h",
    "GET / HTTP/1.10\r\nHost: h",
    "GET / HTTP/1\r\nHost: h",
    "GET / HTTP/ 1.1\r\nHost: h",
    "GET / http/1.1\r\nHost: h",
    "GET / HTTPS/1.1\r\nHost: h",
    "G@T / HTTP/1.1\r\nHost: h",
    "G\u{e9}T / HTTP/1.1\r\nHost: h",
    "\"GET\" / HTTP/1.1\r\nHost: h",
    "GET /\r\nHost: h",
    "GET\r\nHost: h",
    "/ HTTP/1.1\r\nHost: h",
    " GET / HTTP/1.1\r\nHost: h",
    "GET : HTTP/1.1\r\nHost: h",
    "GET h:80 HTTP/1.1\r\nHost: h",
    "GET ftp://h/ HTTP/1.1\r\nHost: h",
    "GET file:///etc/passwd HTTP/1.1\r\nHost: h",
    "GET http:// HTTP/1.1\r\nHost: h",
    "GET http://u:p@h/ HTTP/1.1\r\nHost: h",
    "GET http://a@b/ HTTP/1.1\r\nHost: b",
    "CONNECT h:443 HTTP/1.1\r\nHost: h",
    "CONNECT / HTTP/1.1\r\nHost: h",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked",
    "POST / HTTP/1.0\r\nContent-Length: 1\r\nContent-Length: 1",
];

/// Chunked bodies that are refused.
const CHUNKS: &[&str] = &[
    "x\r\nabc\r\n0\r\n\r\n",
    "-1\r\n",
    "+1\r\na\r\n0\r\n\r\n",
    "0x1\r\na\r\n0\r\n\r\n",
    "1 1\r\na\r\n0\r\n\r\n",
    " 1\r\na\r\n0\r\n\r\n",
    "1\na\r\n0\r\n\r\n",
    "1\r\nab\r\n0\r\n\r\n",
    "1\r\na\n0\r\n\r\n",
    "1\r\na0\r\n\r\n",
    "3\r\nabc0\r\n\r\n",
    "3\r\nab\r\n0\r\n\r\n",
    "fffffffffffffffff\r\na\r\n0\r\n\r\n",
    "ffffffffffffffff\r\na\r\n0\r\n\r\n",
    "10000000000000001\r\na\r\n0\r\n\r\n",
    "1;a\nb\r\na\r\n0\r\n\r\n",
    "1;a\rb\r\na\r\n0\r\n\r\n",
    "\r\n0\r\n\r\n",
    ";x\r\na\r\n0\r\n\r\n",
    "1,\r\na\r\n0\r\n\r\n",
    "\u{661}\r\na\r\n0\r\n\r\n",
    "0\n\r\n",
    "g\r\n\r\n",
];

/// Requests, after the connection's first bytes, with what the target sees of them.
const FORMS: &[(&str, Fate)] = &[
    ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", ROOT),
    ("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", ROOT),
    ("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost:h\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost:  h  \r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nhOsT: h\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\nX:\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: \t \r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\nX: b\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\n!#$%&'*+-.^_`|~: x\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\nX: caf\u{e9}\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\nConnection: content-length, host\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n", ROOT),
    ("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n", ROOT),
    ("GET /%2f HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /%2f 0"])),
    ("GET /a%2F..%2fb HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /a%2F..%2fb 0"])),
    ("GET //a//b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET //a//b 0"])),
    ("GET /a/../b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /b 0"])),
    ("GET /a/./b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /a/b 0"])),
    ("GET /../../b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /b 0"])),
    ("GET /a/%2e%2E/b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /b 0"])),
    ("GET /a/.%2e/b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /b 0"])),
    ("GET /a\\..\\b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /b 0"])),
    ("GET /a/...;/b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /a/...;/b 0"])),
    ("GET /a/..;/b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /a/..;/b 0"])),
    ("GET /%00 HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /%00 0"])),
    ("GET /%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /%0d%0aX:%20y 0"])),
    ("GET /?a=/../b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /?a=/../b 0"])),
    ("GET /?%zz HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /?%zz 0"])),
    ("GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /a 0"])),
    ("GET http://other/a?b HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /a?b 0"])),
    ("GET https://h/a HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["GET /a 0"])),
    ("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", ROOT),
    ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["OPTIONS * 0"])),
    ("BREW / HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["BREW / 0"])),
    ("get / HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["get / 0"])),
    ("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", Seen(&["DELETE / 0"])),
    ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", Seen(&["GET / 5"])),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 05\r\n\r\nhello", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length:5\t\r\n\r\nhello", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nX-Content-Length: 9\r\nContent-Length: 5\r\n\r\nhello", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent_Length: 9\r\nContent-Length: 5\r\n\r\nhello", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nConnection: content-length\r\n\r\nhello", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding:\tchunked \r\n\r\n5\r\nhello\r\n0\r\n\r\n", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n05\r\nhello\r\n00\r\n\r\n", POSTED),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n", POSTED),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0\r\n\r\n",
        POSTED,
    ),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", POSTED),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
        POSTED,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        POSTED,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\
         Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n",
        POSTED,
    ),
    (
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X\r\n\r\n\
         5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        POSTED,
    ),
    ("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Seen(&["POST / 0"])),
    (
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
         GET /3 HTTP/1.1\r\nHost: h\r\n\r\n",
        Seen(&["GET /1 0", "POST /2 3", "GET /3 0"]),
    ),
];

/// What was to be smuggled in, or follows in order.
const NEXT: &str = "GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn cases() -> Vec<(Vec<u8>, Fate)> {
    let heads =
        HEADS.iter().map(|head| (format!("POST / HTTP/1.1\r\nHost: h\r\n{head}\r\n\r\n0\r\n\r\n"), BAD));
    let lines = LINES.iter().map(|line| (format!("{line}\r\n\r\n"), BAD_LINE));
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = CHUNKS.iter().map(|chunk| (format!("{head}{chunk}"), BAD));
    let forms = FORMS.iter().map(|(form, fate)| ((*form).to_owned(), *fate));
    let mut all: Vec<(Vec<u8>, Fate)> =
        heads.chain(lines).chain(chunks).chain(forms).map(|(text, fate)| (text.into_bytes(), fate)).collect();
    let big = |text: String, fate| (text.into_bytes(), fate);
    let too_large = Refused(&[431]);
    all.push(big(format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "a".repeat(100_000)), too_large));
    all.push(big(format!("GET / HTTP/1.1\r\nHost: h\r\n{}: x\r\n\r\n", "a".repeat(100_000)), BAD_LINE));
    all.push(big(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(500)), too_large));
    all.push(big(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(66_000)), BAD_LINE));
    all.push(big(format!("GET / HTTP/1.1\r\nHost: h\r\nCookie: {}\r\n\r\n", "a".repeat(30_000)), ROOT));
    all.push(big(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(100)), ROOT));
    all.push(big(format!("{head}{}", "1;x=y\r\nz\r\n".repeat(1000) + "0\r\n\r\n"), Seen(&["POST / 1000"])));
    all
}

/// Sends the bytes in pieces and collects all that comes back.
async fn exchange(proxy: &TestProxy, bytes: &[u8], pieces: usize) -> String {
    let mut raw = proxy.connect().await;
    for piece in bytes.chunks(bytes.len().div_ceil(pieces).max(1)) {
        if raw.try_send(piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = tokio::io::AsyncWriteExt::shutdown(&mut raw.stream).await;
    let mut all = Vec::new();
    let _ = patiently(tokio::io::AsyncReadExt::read_to_end(&mut raw.stream, &mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn proxy_and_target_agree_about_every_border() {
    let all = cases();
    assert!(all.len() >= 150, "{} cases", all.len());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = Arc::clone(&seen);
    let target = Target::start(move |mut raw: Raw, _| {
        let noting = Arc::clone(&noting);
        async move {
            // A body may be on its way when it turns out to be broken.
            while let Some(request) = raw.request_if_whole().await {
                let method = request.first.split(' ').next().unwrap_or_default().to_owned();
                let told = format!("{method} {} {}", request.target(), request.body.len());
                let both = request.header("content-length").is_some()
                    && request.header("transfer-encoding").is_some();
                assert!(!both, "two ways to tell the length: {request:?}");
                let names = request.headers.iter().map(|(name, _)| name.as_str());
                assert_eq!(names.filter(|name| *name == "host").count(), 1, "{request:?}");
                noting.lock().unwrap().push(told);
                if raw.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    for (bytes, fate) in &all {
        for pieces in [1, 7] {
            let shown = || String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
            let answer = exchange(&proxy, &[bytes, NEXT.as_bytes()].concat(), pieces).await;
            let mut seen = std::mem::take(&mut *seen.lock().unwrap());
            let statuses: Vec<u16> = answer
                .split("\r\n")
                .filter_map(|line| line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")))
                .filter_map(|line| line.get(..3)?.parse().ok())
                .collect();
            match fate {
                Refused(allowed) => {
                    // hyper says nothing to what it takes for HTTP/2.
                    let silent = bytes.starts_with(b"GET / HTTP/2.0") && statuses.is_empty();
                    let told = matches!(statuses.as_slice(), [status] if allowed.contains(status));
                    assert!(told || silent, "{:?} in {pieces}: {answer}", shown());
                    // A body may be on its way when it turns out to be broken; the request then never ends.
                    assert!(seen.is_empty(), "{:?} in {pieces}: {seen:?}", shown());
                }
                Seen(expected) => {
                    let all_served = statuses.iter().all(|status| *status == 200);
                    assert!(all_served && statuses.len() == expected.len() + 1, "{:?}: {answer}", shown());
                    assert_eq!(seen.pop().as_deref(), Some("GET /next 0"), "{:?} in {pieces}", shown());
                    assert_eq!(seen, *expected, "{:?} in {pieces}", shown());
                }
            }
        }
    }
}
