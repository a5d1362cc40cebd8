//! HTTP/2 frame by frame: what breaks the protocol, or could be read as another message behind the proxy, never gets
//! there.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hub_proxy::{ProxyOptions, options::Timeouts};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Raw, Target, TestProxy, options, patiently, until};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const WHOLE: u8 = END_STREAM | END_HEADERS;

fn frame(kind: u8, flags: u8, stream: u32, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that are neither indexed nor compressed.
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            block.extend(text.bytes());
        }
    }
    block
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "h")];

/// A request with these fields beside the usual ones.
fn with(more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, WHOLE, 1, fields(&[&GET, more].concat()))
}

/// A request with one of the usual fields replaced.
fn but(name: &str, value: &str) -> Vec<u8> {
    let changed = GET.map(|(own, old)| (own, if own == name { value } else { old }));
    frame(HEADERS, WHOLE, 1, fields(&changed))
}

/// What the next frame says about a request or the connection.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// An answer with a header block that begins so: the status, by its place in the table that everybody knows.
    Answer(u8),
    /// The code by which the stream or the connection was ended.
    Reset(u32),
    Farewell(u32),
}

/// Where status 200 and 400 are in that table.
const OK: u8 = 0x88;
const BAD_REQUEST: u8 = 0x8c;

/// None when the connection ends without one.
async fn verdict(raw: &mut Raw) -> Option<Verdict> {
    loop {
        let head = raw.try_take(9).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = raw.try_take(length).await?;
        let code = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match head[3] {
            HEADERS => return Some(Verdict::Answer(payload[0])),
            RST_STREAM => return Some(Verdict::Reset(code(0))),
            GOAWAY => return Some(Verdict::Farewell(code(4))),
            _ => {}
        }
    }
}

async fn counting() -> (Target, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let target = Target::start(move |mut raw: Raw, _| {
        let count = Arc::clone(&count);
        async move {
            while raw.request().await.is_some() {
                count.fetch_add(1, Relaxed);
                if raw.try_send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (target, seen)
}

async fn begin(proxy: &TestProxy, frames: &[u8]) -> Raw {
    let mut raw = proxy.connect().await;
    raw.send([PREFACE, &frame(SETTINGS, 0, 0, []), frames].concat()).await;
    raw
}

#[tokio::test]
async fn a_request_in_frames_of_our_own_is_answered() {
    let (target, seen) = counting().await;
    let proxy = TestProxy::with(ProxyOptions { http2_cleartext: true, ..options() }, target.address);
    let block = fields(&GET);
    let (one, two) = block.split_at(7);
    for frames in [
        with(&[("te", "trailers")]),
        [frame(HEADERS, END_STREAM, 1, one), frame(CONTINUATION, END_HEADERS, 1, two)].concat(),
        // Kinds that nobody knows are passed over.
        [frame(0xfa, 0xff, 0, "x"), frame(PING, 0, 0, [7; 8]), with(&[])].concat(),
    ] {
        let before = seen.load(Relaxed);
        let mut raw = begin(&proxy, &frames).await;
        assert_eq!(verdict(&mut raw).await, Some(Verdict::Answer(OK)));
        assert_eq!(seen.load(Relaxed), before + 1);
    }
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused_and_never_reaches_a_target() {
    let (target, seen) = counting().await;
    let proxy = TestProxy::with(ProxyOptions { http2_cleartext: true, ..options() }, target.address);
    let post = |length: &str| {
        let changed = GET.map(|(own, old)| (own, if own == ":method" { "POST" } else { old }));
        frame(HEADERS, END_HEADERS, 1, fields(&[&changed[..], &[("content-length", length)]].concat()))
    };
    let cases = [
        ("a field name in capitals", with(&[("X-A", "b")])),
        ("an empty field name", with(&[("", "b")])),
        ("a line end in a value", with(&[("x-a", "b\r\nx: y")])),
        ("a line end in a name", with(&[("x-a: b\r\nx", "y")])),
        ("NUL in a value", with(&[("x-a", "b\0")])),
        ("connection", with(&[("connection", "close")])),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")])),
        ("upgrade", with(&[("upgrade", "websocket")])),
        ("te other than trailers", with(&[("te", "gzip")])),
        ("a pseudo field after others", with(&[("x-a", "b"), (":path", "/other")])),
        ("a pseudo field twice", with(&[(":path", "/other")])),
        ("a pseudo field of answers", with(&[(":status", "200")])),
        ("a pseudo field that nobody knows", with(&[(":x", "y")])),
        ("two hosts", with(&[("host", "other")])),
        ("a body that is announced and does not follow", with(&[("content-length", "3")])),
        ("no authority", frame(HEADERS, WHOLE, 1, fields(&GET[..3]))),
        ("no path", frame(HEADERS, WHOLE, 1, fields(&[GET[0], GET[1], GET[3]]))),
        ("no method", frame(HEADERS, WHOLE, 1, fields(&GET[1..]))),
        ("an empty path", but(":path", "")),
        ("a path with a space", but(":path", "/ HTTP/1.1")),
        ("a path with a line end", but(":path", "/\r\nx: y")),
        ("a method with a space", but(":method", "GET /x")),
        ("an authority with a user", but(":authority", "u@h")),
        ("an authority with a space", but(":authority", "h x")),
        ("a body longer than announced", [post("1"), frame(DATA, END_STREAM, 1, "abc")].concat()),
        ("a length with a sign", [post("+3"), frame(DATA, END_STREAM, 1, "abc")].concat()),
        ("stream 0 for a request", frame(HEADERS, WHOLE, 0, fields(&GET))),
        ("a stream of the server's", frame(HEADERS, WHOLE, 2, fields(&GET))),
        ("data before a head", frame(DATA, END_STREAM, 1, "abc")),
        ("data on stream 0", frame(DATA, 0, 0, "abc")),
        ("a continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, fields(&GET))),
        (
            "another frame within a head",
            [frame(HEADERS, END_STREAM, 1, fields(&GET)), frame(PING, 0, 0, [0; 8])].concat(),
        ),
        ("padding longer than the frame", frame(HEADERS, WHOLE | 8, 1, [255, 0])),
        ("an index that does not exist", frame(HEADERS, WHOLE, 1, [0xff, 0xff, 0x7f])),
        ("a promise by the client", frame(PUSH_PROMISE, END_HEADERS, 1, [0, 0, 0, 2])),
        ("settings of half a line", frame(SETTINGS, 0, 0, [0, 1, 0])),
        ("settings for a stream", frame(SETTINGS, 0, 1, [])),
        ("a ping of three bytes", frame(PING, 0, 0, [1, 2, 3])),
        ("a window that grows by nothing", frame(WINDOW_UPDATE, 0, 0, [0; 4])),
        ("a window that grows too large", frame(WINDOW_UPDATE, 0, 0, [0x7f, 0xff, 0xff, 0xff])),
        ("a stream that depends on itself", frame(PRIORITY, 0, 1, [0, 0, 0, 1, 5])),
        ("a reset of stream 0", frame(RST_STREAM, 0, 0, [0; 4])),
        ("a frame larger than allowed", frame(DATA, 0, 0, vec![0; 20_000])),
    ];
    for (what, frames) in cases {
        let mut raw = begin(&proxy, &frames).await;
        let verdict = verdict(&mut raw).await;
        let refused = match verdict {
            Some(Verdict::Answer(status)) => status == BAD_REQUEST,
            Some(Verdict::Reset(code) | Verdict::Farewell(code)) => code != 0,
            None => false,
        };
        assert!(refused, "{what}: {verdict:?}");
        assert_eq!(seen.load(Relaxed), 0, "{what} reached the target");
    }
    assert_eq!(proxy.get("/").await.status(), 200);
}

#[tokio::test]
async fn a_websocket_whose_client_takes_nothing_is_reset_and_the_connection_goes_on() {
    let target = Target::start(|mut raw: Raw, _| async move {
        let request = raw.request().await.unwrap();
        if request.target() == "/" {
            return raw.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
        raw.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        // More than anybody takes without being asked to; "/last" ends there.
        let size = if request.target() == "/last" { 200_000 } else { 64 * 1024 * 1024 };
        let _ = raw.try_send(vec![b'x'; size]).await;
        if request.target() != "/last" {
            std::future::pending::<()>().await;
        }
    })
    .await;
    let brief = Duration::from_millis(300);
    let timeouts = Timeouts { stuck: brief, half_closed: brief, ..Timeouts::default() };
    let options = ProxyOptions { http2_cleartext: true, timeouts, ..options() };
    let proxy = TestProxy::with(options, target.address);
    let mut raw = begin(&proxy, &[]).await;
    for (path, stream) in [("/for-ever", 1), ("/last", 3)] {
        let connect = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "h"),
            ("sec-websocket-version", "13"),
        ];
        // The window of the connection grows for each, that of the stream does not.
        raw.send(
            [
                frame(WINDOW_UPDATE, 0, 0, 65_535_u32.to_be_bytes()),
                frame(HEADERS, END_HEADERS, stream, fields(&connect)),
            ]
            .concat(),
        )
        .await;
        assert_eq!(verdict(&mut raw).await, Some(Verdict::Answer(OK)), "{path}");
        let end = verdict(&mut raw).await;
        assert!(matches!(end, Some(Verdict::Reset(_))), "{path}: {end:?}");
        until(|| proxy.metric("proxy_open_websockets").as_deref() == Some("0")).await;
    }
    raw.send(frame(HEADERS, WHOLE, 5, fields(&GET))).await;
    assert_eq!(verdict(&mut raw).await, Some(Verdict::Answer(OK)));
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_connection_and_who_returns_no_farewell_is_cut() {
    let target = Target::echo("one").await;
    let keep_alive = std::time::Duration::from_millis(200);
    let timeouts = Timeouts { keep_alive, ..Timeouts::default() };
    let cleartext = ProxyOptions { http2_cleartext: true, timeouts, ..options() };
    let proxy = TestProxy::with(cleartext, target.address);

    let mut raw = proxy.connect().await;
    raw.send([PREFACE, &frame(SETTINGS, 0, 0, [])].concat()).await;
    let (mut reader, mut writer) = raw.stream.split();
    let pinging = async {
        while writer.write_all(&frame(PING, 0, 0, [7; 8])).await.is_ok() {
            tokio::time::sleep(keep_alive / 20).await;
        }
    };
    let mut seen = Vec::new();
    let said = async {
        // Up to the farewell, whose kind and stream are this.
        while !seen.windows(6).any(|six| six[0] == GOAWAY && six[1..] == [0, 0, 0, 0, 0]) {
            assert!(reader.read_buf(&mut seen).await.unwrap() > 0, "closed without a farewell");
        }
    };
    // Who pings no longer may still read what was said before.
    patiently(async {
        tokio::pin!(said);
        tokio::select! {
            biased;
            () = &mut said => {}
            () = pinging => said.await,
        }
    })
    .await;

    // This one neither asks for anything nor answers.
    let mut raw = proxy.connect().await;
    raw.send([PREFACE, &frame(SETTINGS, 0, 0, [])].concat()).await;
    while raw.fill().await > 0 {}
    until(|| proxy.metric("proxy_open_connections").as_deref() == Some("0")).await;
}
