//! Bodies that are very large, and bodies that come byte by byte.

use std::time::Duration;

use super::{
    program::{Process, Which},
    support::{Message, Raw, Target, TestProxy, patiently},
};

const MIB: u64 = 1024 * 1024;

/// Counts bodies and answers with their length.
async fn counting() -> Target {
    Target::start(|mut raw: Raw, _| async move {
        while let Some(head) = raw.head().await {
            let mut length = 0;
            if let Some(told) = head.header("content-length") {
                length = told.parse().unwrap();
                raw.discard(length).await;
            } else {
                loop {
                    match raw.chunk().await.len() as u64 {
                        0 => break,
                        more => length += more,
                    }
                }
                assert_eq!(raw.take(2).await, b"\r\n");
            }
            let text = length.to_string();
            raw.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())).await;
        }
    })
    .await
}

/// Resident memory of a process in MiB.
fn memory(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// Sends a body of so many MiB; the largest memory that the proxy had meanwhile.
async fn upload(process: &Process, mebibytes: u64, chunked: bool) -> u64 {
    let mut raw = Raw::connect(process.public).await;
    let length = mebibytes * MIB;
    let mut block = vec![b'x'; usize::try_from(MIB).unwrap()];
    let framing = if chunked {
        block = [format!("{MIB:x}\r\n").as_bytes(), &block, b"\r\n"].concat();
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {length}")
    };
    raw.send(format!("POST /up HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n")).await;
    let mut most = 0;
    for number in 0..mebibytes {
        raw.send(&block).await;
        if number % 16 == 0 {
            most = most.max(memory(process));
        }
    }
    if chunked {
        raw.send("0\r\n\r\n").await;
    }
    let answer = raw.response().await;
    assert_eq!((answer.status(), answer.text()), (200, length.to_string()));
    most.max(memory(process))
}

/// `cargo xtask bench proxy` sends bodies of more than 4 GiB.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_takes_no_more_memory_than_a_small_one() {
    let target = counting().await;
    let base = format!("http://{}", target.address);
    for (chunked, mebibytes) in [(false, 1024), (true, 512)] {
        let process =
            Process::start(&Which::Ours, &["--default-target", &base, "--log-level", "error"]).await;
        let small = upload(&process, 16, chunked).await;
        let large = upload(&process, mebibytes, chunked).await;
        assert!(large <= small + 16, "{large} MiB after {small} MiB");
    }
}

/// Sends each byte in a segment of its own.
async fn trickle(raw: &mut Raw, text: &str) {
    for byte in text.bytes() {
        raw.send([byte]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

const CHUNKS: &str = "00a;name=\"a;\\\"b\"\r\n0123456789\r\n3\r\nabc\r\n1\r\n\r\r\n0\r\nX-Sum: 1\r\n\r\n";

fn is_whole(message: &Message) -> bool {
    message.text() == "0123456789abc\r"
}

#[tokio::test]
async fn a_request_that_comes_byte_by_byte_arrives_whole() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            assert!(is_whole(&request), "{request:?}");
            raw.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    let sized = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\n\r\n0123456789abc\r";
    let chunked = format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}");
    for request in [sized, &chunked, sized] {
        patiently(trickle(&mut raw, request)).await;
        assert_eq!(raw.response().await.status(), 200);
    }
}

#[tokio::test]
async fn an_answer_that_comes_byte_by_byte_arrives_whole() {
    let target = Target::start(|mut raw: Raw, _| async move {
        while let Some(request) = raw.request().await {
            let answer = match request.target() {
                "/sized" => "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n0123456789abc\r".to_owned(),
                _ => format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{CHUNKS}"),
            };
            trickle(&mut raw, &answer).await;
        }
    })
    .await;
    let proxy = TestProxy::to(target.address);
    let mut raw = proxy.connect().await;
    for path in ["/sized", "/chunked", "/sized"] {
        raw.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
        let answer = raw.response().await;
        assert!(is_whole(&answer), "{answer:?}");
    }
}
