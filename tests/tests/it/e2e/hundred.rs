//! A hundred people at once, each with a server of their own.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use hub_tests::client::Person;
use hub_tests::database;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::with_both_hubs;

const PEOPLE: usize = 100;
const WITHIN: Duration = Duration::from_mins(5);

with_both_hubs! {
    [Needed::LightSingleuser, Needed::Venv61];
    a_hundred_people_start_use_and_stop_servers_at_once,
}

async fn a_hundred_people_start_use_and_stop_servers_at_once(kind: Kind) -> Result<()> {
    let settings = Settings { start_timeout: WITHIN, ..Settings::default().with_light_singleuser() };
    let hub = Hub::start(kind, settings).await?;
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("person-{number}")).collect();

    let done =
        join_all(names.iter().map(|name| async { work(&hub, name).await.with_context(|| name.clone()) }))
            .await;
    let failures: Vec<String> =
        done.into_iter().filter_map(|result| result.err().map(|error| format!("{error:#}"))).collect();
    ensure!(failures.is_empty(), "{} of {PEOPLE} failed, the first: {:#?}", failures.len(), failures.first());

    nothing_is_left(&hub, &names).await
}

/// One person's day: log in, start the server, open it, leave it, stop it.
async fn work(hub: &Hub, name: &str) -> Result<()> {
    let person = hub.logged_in(name).await.context("login")?;
    // The home page gives the XSRF cookie of the logged-in person, which scripts of the page use.
    person.get("hub/home").await?;
    let server = format!("hub/api/users/{name}/server");
    let answer = person.scripted(Method::POST, &server)?.send().await?;
    let status = answer.status();
    ensure!(matches!(status.as_u16(), 201 | 202), "the start answers {status}: {}", answer.text().await?);
    server_is(&person, name, true).await.context("start")?;

    let page = person.follow(&format!("user/{name}/")).await.context("visit")?;
    ensure!(page.status == 200, "the server answers {} at {}: {}", page.status, page.url, page.text);
    let by_oauth = page.hops.iter().any(|hop| hop.path().ends_with("/oauth_callback"));
    ensure!(by_oauth, "the server let the person in without OAuth: {:#?}", page.hops);

    let answer = person.scripted(Method::DELETE, &server)?.send().await?;
    let status = answer.status();
    ensure!(matches!(status.as_u16(), 204 | 202), "the stop answers {status}: {}", answer.text().await?);
    server_is(&person, name, false).await.context("stop")
}

/// Waits until the person's server is ready, or gone.
async fn server_is(person: &Person, name: &str, ready: bool) -> Result<()> {
    let path = &format!("hub/api/users/{name}");
    eventually(if ready { "the server is ready" } else { "the server is gone" }, WITHIN, || async move {
        let answer = person.scripted(Method::GET, path)?.send().await?;
        let status = answer.status();
        let user: Value = answer.json().await?;
        ensure!(status == StatusCode::OK, "the user's model answers {status}: {user}");
        let server = user.pointer("/servers/").context("no servers in the model").ok();
        let now = server.and_then(|server| server.get("ready")).and_then(Value::as_bool);
        ensure!(!(ready && now.is_none()), "the server is gone before it was ready: {user}");
        Ok((now == if ready { Some(true) } else { None }).then_some(()))
    })
    .await
}

/// No process, no row, no token, no route of any server.
async fn nothing_is_left(hub: &Hub, names: &[String]) -> Result<()> {
    let left = hub.mark.with_command("light-singleuser");
    ensure!(left.is_empty(), "{} processes are left: {:?}", left.len(), left.first());
    let file = hub.folder().join("jupyterhub.sqlite");
    let rows = [
        ("running servers", "SELECT * FROM servers WHERE base_url LIKE '/user/%'"),
        ("spawners that say they run", "SELECT name FROM spawners WHERE server_id IS NOT NULL"),
        (
            "clients of servers",
            "SELECT identifier FROM oauth_clients WHERE identifier LIKE 'jupyterhub-user-%'",
        ),
        ("tokens of servers", "SELECT note FROM api_tokens WHERE note LIKE 'Server at %'"),
        ("sessions on servers", "SELECT client_id FROM api_tokens WHERE client_id LIKE 'jupyterhub-user-%'"),
        ("unused codes", "SELECT client_id FROM oauth_codes WHERE client_id LIKE 'jupyterhub-user-%'"),
    ];
    for (what, statement) in rows {
        let found = database::query(&file, statement).await?;
        ensure!(found.is_empty(), "{what}: {} are left, the first {:?}", found.len(), found.first());
    }
    let visitor = hub.person()?;
    for name in names {
        // Without a route of its own, the address belongs to the hub, which sends visitors on to its own pages.
        let answer = visitor.get(&format!("user/{name}/")).await?;
        let location =
            answer.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let expected = format!("/hub/user/{name}/");
        ensure!(
            answer.status() == 302 && location.ends_with(&expected),
            "{name}: {} {location}",
            answer.status()
        );
    }
    Ok(())
}
