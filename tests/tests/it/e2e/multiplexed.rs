//! A browser that speaks HTTP/2 to the proxy over TLS opens its websockets in it as well.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use hub_tests::browser::Browser;
use hub_tests::environment::Needed;
use hub_tests::hub::Kind;
use hub_tests::ports::free_port;
use hub_tests::wait::eventually;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::ready;

const SOON: Duration = Duration::from_mins(1);

/// What the page does: how it came, and how much came back of what it sent.
const PAGE: &str = "
    const socket = new WebSocket(args[0]);
    const echoed = await new Promise((resolve, reject) => {
        socket.onopen = () => socket.send('x'.repeat(100000));
        socket.onmessage = message => resolve(message.data.length);
        socket.onerror = () => reject('the websocket failed');
    });
    socket.close();
    const [page] = performance.getEntriesByType('navigation');
    return [page.nextHopProtocol, echoed];
";

/// A page, and websockets that send back what they are sent.
async fn answer(mut stream: TcpStream) -> Result<()> {
    let mut begin = [0; 7];
    while stream.peek(&mut begin).await? < begin.len() {}
    if &begin == b"GET /ws" {
        let mut socket = tokio_tungstenite::accept_async(stream).await?;
        while let Some(message) = socket.next().await {
            let message = message?;
            if message.is_text() {
                socket.send(message).await?;
            }
        }
        return Ok(());
    }
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let page = "<!doctype html><title>a page</title><h1>a page</h1>";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    );
    Ok(stream.write_all(answer.as_bytes()).await?)
}

/// The proxy alone with a certificate, in front of a server on `port`; where it listens.
fn proxy(port: u16) -> Result<(Child, u16)> {
    let fixture = |name| Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/tests/it/fixtures").join(name);
    let [public, api] = [free_port(), free_port()];
    let mut command = Command::new(Needed::Himalia.path());
    // Its name tells it what to be.
    command.arg0("configurable-http-proxy");
    command.args(["--ip", "127.0.0.1", "--port", &public.to_string()]);
    command.args(["--api-ip", "127.0.0.1", "--api-port", &api.to_string()]);
    command.args(["--default-target", &format!("http://127.0.0.1:{port}"), "--access-log", "json"]);
    command.arg("--ssl-key").arg(fixture("leaf-key.pem")).arg("--ssl-cert").arg(fixture("leaf.pem"));
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    Ok((child.spawn().context("the proxy cannot be started")?, public))
}

#[tokio::test]
async fn a_browser_opens_websockets_by_http2() -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::Chromium, Needed::Chromedriver]) {
        return Ok(());
    }
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let (mut process, public) = proxy(port)?;
    eventually("the proxy listens", SOON, || async move {
        Ok(TcpStream::connect(("127.0.0.1", public)).await.ok().map(drop))
    })
    .await?;
    let browser = Browser::start("multiplexed").await?;
    browser.open(&format!("https://localhost:{public}/page")).await?;
    browser.reads("h1", "a page").await?;
    let seen = browser.script(PAGE, vec![json!(format!("wss://localhost:{public}/ws"))]).await?;
    ensure!(seen == json!(["h2", 100_000]), "{seen}");

    let mut lines = BufReader::new(process.stdout.take().context("the log is read once")?).lines();
    let logged = tokio::time::timeout(SOON, async {
        while let Some(line) = lines.next_line().await? {
            let line: Value = serde_json::from_str(&line)?;
            if line["path"] == "/ws" {
                return Ok(line);
            }
        }
        anyhow::bail!("the log ends")
    });
    let line = logged.await.context("the websocket is not logged")??;
    ensure!(line["protocol"] == "HTTP/2.0" && line["status"] == 200, "{line}");
    browser.quit().await?;
    serving.abort();
    Ok(())
}
