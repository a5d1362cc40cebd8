//! What was opened with a session or a token ends with it, and nothing else does.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use hub_tests::database;
use hub_tests::environment::{Needed, database_server};
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::Value;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::ready;

/// Long enough for a busy machine; a websocket that stays open fails the test.
const SOON: Duration = Duration::from_secs(30);

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// JupyterLab's events, asked for with a token.
async fn events(hub: &Hub, token: &str) -> Result<Socket> {
    let url = hub.url("user/alice/api/events/subscribe").replace("http://", "ws://");
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("Authorization", format!("token {token}").parse()?);
    request.headers_mut().insert("Origin", hub.origin().parse()?);
    Ok(tokio_tungstenite::connect_async(request).await.context("the websocket is refused")?.0)
}

async fn ends(mut socket: Socket) -> Result<()> {
    let end = async { while socket.next().await.is_some_and(|message| message.is_ok()) {} };
    tokio::time::timeout(SOON, end).await.context("the websocket goes on")
}

async fn new_token(hub: &Hub) -> Result<(String, String)> {
    let (status, made) = hub
        .administrator()?
        .send(Method::POST, "users/alice/tokens", serde_json::json!({ "note": "for a websocket" }))
        .await?;
    ensure!(status == 201, "{status}: {made}");
    let text = |key: &str| made.get(key).and_then(Value::as_str).map(str::to_owned).context("no such field");
    Ok((text("id")?, text("token")?))
}

async fn websockets_end_with_what_opened_them(separate_proxy: bool) -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::Venv61]) {
        return Ok(());
    }
    let hub = Hub::start(Kind::Himalia, Settings { separate_proxy, ..Settings::default() }).await?;
    let administrator = hub.administrator()?;
    let (desk, phone) = (hub.logged_in("alice").await?, hub.logged_in("alice").await?);
    administrator.start_server("alice", "").await?;
    for person in [&desk, &phone] {
        ensure!(person.follow("user/alice/lab").await?.status == 200);
    }
    let mut at_desk = Kernel::start(&desk, "user/alice/").await?;
    let mut at_phone = Kernel::start(&phone, "user/alice/").await?;
    at_desk.execute("1").await?;
    let ((first, one), (_, other)) = (new_token(&hub).await?, new_token(&hub).await?);
    let (by_first, mut by_other) = (events(&hub, &one).await?, events(&hub, &other).await?);

    let (status, _) =
        administrator.send(Method::DELETE, &format!("users/alice/tokens/{first}"), Value::Null).await?;
    ensure!(status == 204, "{status}");
    ends(by_first).await?;

    ensure!(desk.follow("hub/logout").await?.status == 200);
    let end = tokio::time::timeout(SOON, async { while at_desk.execute("2").await.is_ok() {} });
    end.await.context("the kernel's websocket goes on after the logout")?;

    // The other browser and the other token go on.
    ensure!(at_phone.execute("print('still here')").await? == "still here\n");
    let quiet = tokio::time::timeout(Duration::from_millis(1), by_other.next()).await;
    ensure!(!matches!(quiet, Ok(None | Some(Err(_)))), "the other token's websocket ended");
    Ok(())
}

#[tokio::test]
async fn websockets_end_with_their_session_or_token() -> Result<()> {
    websockets_end_with_what_opened_them(false).await
}

#[tokio::test]
async fn websockets_end_with_their_session_or_token_in_a_proxy_of_its_own() -> Result<()> {
    websockets_end_with_what_opened_them(true).await
}

/// What one hub ends, ends in the proxies of all hubs on the database.
async fn websockets_end_in_the_other_hub(variable: &str) -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::Venv61]) {
        return Ok(());
    }
    let Some(server) = database_server(variable) else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let settings = Settings {
        database: Some(database::create(&server).await?),
        cookie_secret_file: Some(folder.path().join("cookie_secret")),
        ..Settings::default()
    };
    let one = Hub::start(Kind::Himalia, settings.clone()).await?;
    let other = Hub::start(Kind::Himalia, settings).await?;
    let alice = one.logged_in("alice").await?;
    one.administrator()?.start_server("alice", "").await?;
    other.administrator()?.server_is_ready("alice", "").await?;
    let at_other = alice.at(&other.url(""))?;
    ensure!(at_other.follow("user/alice/lab").await?.status == 200);
    let mut kernel = Kernel::start(&at_other, "user/alice/").await?;
    kernel.execute("1").await?;
    let ((first, revoked), (_, kept)) = (new_token(&one).await?, new_token(&one).await?);
    let (by_revoked, mut by_kept) = (events(&other, &revoked).await?, events(&other, &kept).await?);

    let path = format!("users/alice/tokens/{first}");
    ensure!(one.administrator()?.send(Method::DELETE, &path, Value::Null).await?.0 == 204);
    ends(by_revoked).await?;
    ensure!(alice.follow("hub/logout").await?.status == 200);
    let end = tokio::time::timeout(SOON, async { while kernel.execute("2").await.is_ok() {} });
    end.await.context("the kernel's websocket goes on in the other hub after the logout")?;
    let quiet = tokio::time::timeout(Duration::from_millis(1), by_kept.next()).await;
    ensure!(!matches!(quiet, Ok(None | Some(Err(_)))), "the other token's websocket ended");
    Ok(())
}

#[tokio::test]
async fn websockets_end_in_the_other_hub_on_postgresql() -> Result<()> {
    websockets_end_in_the_other_hub("HIMALIA_TEST_POSTGRES_URL").await
}

#[tokio::test]
async fn websockets_end_in_the_other_hub_on_mariadb() -> Result<()> {
    websockets_end_in_the_other_hub("HIMALIA_TEST_MARIADB_URL").await
}
