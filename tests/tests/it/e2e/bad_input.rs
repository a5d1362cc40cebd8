//! What is wrong is said clearly: in a message with the way out at start, with a status and a reason later.

use std::net::TcpListener;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::database;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{ready, with_both_hubs};

/// Starts our hub, which must end with a failure, and returns what it said.
async fn refusal(hub: &mut Hub) -> Result<String> {
    let output = hub.run_to_end().await?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let code = output.status.code().with_context(|| format!("it was ended by a signal: {said}"))?;
    ensure!(code != 0, "it ended as if all were well: {said}");
    ensure!(code != 101 && !said.contains("panicked"), "it panicked: {said}");
    Ok(said)
}

fn says(text: &str, parts: &[&str]) -> Result<()> {
    for part in parts {
        ensure!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    Ok(())
}

fn himalia(settings: Settings) -> Result<Option<Hub>> {
    if !ready(&[Kind::Himalia], &[]) {
        return Ok(None);
    }
    Hub::prepare(Kind::Himalia, settings).map(Some)
}

#[tokio::test]
async fn an_unknown_key_is_named_with_file_line_and_nearest_key() -> Result<()> {
    let extra = "[metrics]\nprefx = \"hub\"\n".to_owned();
    let Some(mut hub) = himalia(Settings { extra, ..Settings::default() })? else { return Ok(()) };
    let said = refusal(&mut hub).await?;
    let line =
        hub.settings_text().lines().position(|line| line.starts_with("prefx")).context("the line")? + 1;
    says(&said, &["prefx", "prefix", "himalia.toml", &line.to_string()])
}

#[tokio::test]
async fn an_unwritable_database_is_named() -> Result<()> {
    // Nobody can make a file there, not even root.
    let database = Some("sqlite:////proc/himalia/hub.sqlite".to_owned());
    let Some(mut hub) = himalia(Settings { database, ..Settings::default() })? else { return Ok(()) };
    says(&refusal(&mut hub).await?, &["/proc/himalia/hub.sqlite"])
}

#[tokio::test]
async fn a_database_of_another_revision_is_refused_with_the_command_that_helps() -> Result<()> {
    let Some(mut hub) = himalia(Settings::default())? else { return Ok(()) };
    hub.start_again().await?;
    hub.terminate().await?;
    let file = hub.folder().join("jupyterhub.sqlite");
    let before = database::query(&file, "SELECT version_num FROM alembic_version").await?;
    ensure!(before == [[json!("f460b0348206")]], "{before:?}");
    database::query(&file, "UPDATE alembic_version SET version_num = '4621fec11365'").await?;
    says(&refusal(&mut hub).await?, &["4621fec11365", "f460b0348206", "upgrade-db"])?;
    database::query(&file, "UPDATE alembic_version SET version_num = 'feedfacecafe'").await?;
    says(&refusal(&mut hub).await?, &["feedfacecafe", "f460b0348206"])
}

#[tokio::test]
async fn an_occupied_port_is_named() -> Result<()> {
    let Some(mut hub) = himalia(Settings::default())? else { return Ok(()) };
    for port in [hub.ports.public, hub.ports.hub] {
        let _occupied = TcpListener::bind(("127.0.0.1", port))?;
        says(&refusal(&mut hub).await?, &[&port.to_string()])?;
    }
    Ok(())
}

with_both_hubs! {
    [Needed::Venv61];
    a_missing_singleuser_command_is_a_failed_start_with_a_reason,
    a_user_name_of_a_megabyte_is_refused,
    invalid_cookies_are_those_of_nobody,
    broken_json_is_a_bad_request,
}

async fn a_missing_singleuser_command_is_a_failed_start_with_a_reason(kind: Kind) -> Result<()> {
    let command = vec!["no-such-singleuser".to_owned()];
    let hub = Hub::start(kind, Settings { command, ..Settings::default() }).await?;
    let administrator = &hub.administrator()?;
    administrator.add_user("alice").await?;
    let (status, _) = administrator.send(Method::POST, "users/alice/server", Value::Null).await?;
    ensure!(status.as_u16() >= 400 || status == StatusCode::ACCEPTED, "the start answers {status}");
    administrator.server_is_gone("alice", "").await?;
    let user = administrator.fetch("users/alice").await?;
    ensure!(user.get("pending") == Some(&Value::Null), "{user}");
    ensure!(hub.log().contains("no-such-singleuser"), "the log does not name the command: {}", hub.log());
    if kind == Kind::Himalia {
        let alice = hub.logged_in("alice").await?;
        let page = alice.follow("hub/spawn-pending/alice").await?;
        ensure!(page.status.as_u16() >= 400, "the page of the failed start answers {}", page.status);
        // The person reads what it means; the command is for the log.
        says(&page.text, &["not installed"])?;
    }
    Ok(())
}

async fn a_user_name_of_a_megabyte_is_refused(kind: Kind) -> Result<()> {
    let hub = Hub::start(kind, Settings::default()).await?;
    let name = "x".repeat(1 << 20);
    // Stock's database takes a name of any length when it is SQLite; what counts for both is that the hub lives.
    let login = hub.person()?.send_login(&name, "any").await?.status();
    let administrator = hub.administrator()?;
    let (created, said) =
        administrator.send(Method::POST, "users", json!({ "usernames": [name.as_str()] })).await?;
    for method in ["GET", "POST"] {
        let status = long_address(&hub, method, &name).await?;
        ensure!(
            status.is_none_or(|status| status.is_client_error()),
            "{method} of the address answers {status:?}"
        );
    }
    if kind == Kind::Himalia {
        ensure!(login.is_client_error() && created.is_client_error(), "answers {login}, {created}");
        ensure!(said.to_string().len() < 10_000, "the answer repeats the name");
        ensure!(hub.log().len() < 100_000, "the log repeats the name");
    }
    ensure!(hub.logged_in("alice").await?.who_am_i().await?.as_deref() == Some("alice"));
    Ok(())
}

/// Asks for the model of a user whose name no client library would send; `None` when the connection is closed instead
/// of answered, which a server may do with so much unread.
async fn long_address(hub: &Hub, method: &str, name: &str) -> Result<Option<StatusCode>> {
    let mut stream = TcpStream::connect(("127.0.0.1", hub.ports.public)).await?;
    let token = &hub.settings.administrator().token;
    let request = format!(
        "{method} /hub/api/users/{name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: token {token}\r\n\r\n"
    );
    // The server need not read it all.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = [0; 12];
    let answered = tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut answer));
    match answered.await.context("neither an answer nor the end of the connection")? {
        Ok(_) => Ok(Some(StatusCode::from_bytes(&answer[9..])?)),
        Err(_) => Ok(None),
    }
}

async fn invalid_cookies_are_those_of_nobody(kind: Kind) -> Result<()> {
    let hub = Hub::start(kind, Settings::default()).await?;
    let alice = hub.logged_in("alice").await?;
    let url = alice.url("hub/home")?;
    let good = alice.cookie(&url, "jupyterhub-hub-login").context("the cookie of the login")?;
    // What the base64 in a cookie's value says may be changed without harm to its form.
    let changed = good.replacen("|4", "|5", 1);
    let bad = [
        "",
        "x",
        "2|1:0|",
        "\"2|1:0|10:1700000000|20:jupyterhub-hub-login|4:YWJj|00\"",
        "%00%ff",
        &changed,
        &good[..good.len() / 2],
    ];
    let long = "y".repeat(3_000);
    for value in bad.into_iter().chain([long.as_str()]) {
        let shown = &value[..value.len().min(80)];
        let cookie = format!("jupyterhub-hub-login={value}; jupyterhub-session-id={value}; _xsrf={value}");
        let visitor = hub.person()?;
        let page = visitor.request(Method::GET, "hub/home")?.header("Cookie", &cookie).send().await?;
        ensure!(page.status() == 302, "{shown:?}: the home page answers {}", page.status());
        let location =
            page.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        ensure!(location.contains("/hub/login"), "{shown:?}: the home page leads to {location}");
        let api = visitor.request(Method::GET, "hub/api/user")?.header("Cookie", &cookie).send().await?;
        ensure!(api.status() == 403, "{shown:?}: the API answers {}", api.status());
        let form = visitor.request(Method::POST, "hub/login")?.header("Cookie", &cookie);
        let form = form.form(&[("username", "alice"), ("password", "any"), ("_xsrf", value)]).send().await?;
        ensure!(form.status() == 403, "{shown:?}: a login answers {}", form.status());
    }
    ensure!(alice.who_am_i().await?.as_deref() == Some("alice"));
    Ok(())
}

async fn broken_json_is_a_bad_request(kind: Kind) -> Result<()> {
    let hub = Hub::start(kind, Settings::default()).await?;
    let administrator = hub.administrator()?;
    administrator.add_user("alice").await?;
    let bodies: [&[u8]; 4] = [b"{", b"{\"usernames\": [}", b"\xff\xfe", b"[[[[[["];
    for body in bodies {
        for path in ["users", "users/alice/tokens", "users/alice/activity"] {
            let request = administrator.request(Method::POST, path)?.body(body.to_vec());
            let answer = request.header("Content-Type", "application/json").send().await?;
            let status = answer.status();
            let said: Value = answer.json().await.with_context(|| format!("{path} answers no JSON"))?;
            ensure!(
                status == 400 && said.get("status") == Some(&json!(400)),
                "{path} answers {status}: {said}"
            );
            ensure!(said.get("message").is_some_and(Value::is_string), "{path} gives no reason: {said}");
        }
    }
    let deep = "[".repeat(200_000);
    let answer = administrator.request(Method::POST, "users")?.body(deep).send().await?;
    ensure!(
        answer.status().is_client_error() || kind == Kind::Stock,
        "deep JSON answers {}",
        answer.status()
    );
    let alive = eventually("the hub answers", Duration::from_secs(5), || async {
        Ok((administrator.get("user").await?.0 == 200).then_some(()))
    });
    alive.await
}
