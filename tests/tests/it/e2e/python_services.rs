//! Services and scripts as people write them for JupyterHub, with its own library and unchanged: they run beside
//! either hub alike.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::client::{Page, Person};
use hub_tests::hub::{Hub, Kind};
use hub_tests::ports::free_port;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::with_both_hubs;

with_both_hubs! {
    [Needed::VenvClients, Needed::LightSingleuser];
    people_and_programs_use_services_of_three_frameworks,
    the_idle_culler_ends_servers_that_nobody_uses,
    scripts_of_administrators_run,
}

/// The Python of the services.
fn python() -> String {
    hub_tests::environment::Needed::VenvClients.path().join("bin/python").display().to_string()
}

/// A service that the hub runs.
fn managed(name: &str, no_confirm: bool) -> Value {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("services").join(format!("{name}_app.py"));
    json!({
        "name": name,
        "url": format!("http://127.0.0.1:{}", free_port()),
        "command": [python(), program],
        "oauth_no_confirm": no_confirm,
    })
}

async fn eventually_json(person: &Person, path: &str) -> Result<(Page, Value)> {
    let found = eventually("the service answers", Duration::from_mins(1), || async {
        let page = person.follow(path).await?;
        let value = serde_json::from_str::<Value>(&page.text).ok().filter(|_| page.status == 200);
        Ok(value.map(|value| (page, value)))
    });
    found.await
}

async fn people_and_programs_use_services_of_three_frameworks(kind: Kind) -> Result<()> {
    let settings = Settings {
        further_services: vec![managed("flask", true), managed("fastapi", true), managed("tornado", false)],
        further_roles: vec![json!({"name": "user", "scopes": ["self", "access:services"]})],
        ..Settings::default()
    };
    let hub = Hub::start(kind, settings).await?;
    let alice = hub.logged_in("alice").await?;
    for name in ["flask", "fastapi"] {
        let path = format!("services/{name}/");
        let (page, who) =
            eventually_json(&alice, &path).await.with_context(|| format!("{name}: {}", hub.log()))?;
        ensure!(who == json!({"name": "alice", "by": name}), "{who}");
        let way: Vec<&str> = page.hops.iter().map(reqwest::Url::path).collect();
        ensure!(way.contains(&"/hub/api/oauth2/authorize"), "{name}: the hub was not asked: {way:?}");
        let again = alice.get(&path).await?;
        ensure!(again.status() == 200, "{name} has forgotten alice: {}", again.status());
    }

    // The third asks before it is told anything.
    let asked = eventually("tornado asks", Duration::from_mins(1), || async {
        let page = alice.follow("services/tornado/").await?;
        Ok((page.status == 200).then_some(page))
    });
    let asked = asked.await?;
    ensure!(asked.url.path() == "/hub/api/oauth2/authorize", "{}: {}", asked.url, asked.text);
    let xsrf = alice.cookie(&asked.url, "_xsrf").context("the page sets no _xsrf cookie")?;
    let form = [("scopes", "access:services!service=tornado"), ("_xsrf", xsrf.as_str())];
    let path = format!("hub/api/oauth2/authorize?{}", asked.url.query().unwrap_or_default());
    let allowed = alice.request(Method::POST, &path)?.form(&form).send().await?;
    let page = alice.arrive(allowed).await?;
    let who: Value = serde_json::from_str(&page.text).with_context(|| page.text.clone())?;
    ensure!(who.get("name") == Some(&json!("alice")), "{who}");
    let scopes = who.get("scopes").and_then(Value::as_array).context("scopes")?;
    ensure!(scopes.contains(&json!("access:services!service=tornado")), "{who}");

    // Programs come with a token.
    let token = hub.administrator()?.new_token("alice").await?;
    let stranger = hub.person()?;
    for (name, scheme) in [("flask", "token"), ("fastapi", "Bearer"), ("tornado", "token")] {
        let path = format!("services/{name}/");
        let with = |token: &str| {
            Ok::<_, anyhow::Error>(
                stranger.request(Method::GET, &path)?.header("Authorization", format!("{scheme} {token}")),
            )
        };
        let answer = with(&token)?.send().await?;
        ensure!(answer.status() == 200, "{name} with a token: {}", answer.status());
        let refused = with("0123456789abcdef")?.send().await?.status();
        ensure!(refused == 403 || refused == 302, "{name} with an unknown token: {refused}");
        let page = stranger.follow(&path).await?;
        ensure!(page.url.path() == "/hub/login", "{name} lets a stranger in: {}", page.url);
    }
    Ok(())
}

async fn the_idle_culler_ends_servers_that_nobody_uses(kind: Kind) -> Result<()> {
    let culler = json!({
        "name": "culler",
        "command": [python(), "-m", "jupyterhub_idle_culler", "--timeout=3", "--cull-every=1", "--api-page-size=2"],
    });
    let role = json!({
        "name": "culler",
        "services": ["culler"],
        "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
    });
    let settings =
        Settings { further_services: vec![culler], further_roles: vec![role], ..Settings::default() };
    let hub = Hub::start(kind, settings.with_light_singleuser()).await?;
    let administrator = hub.administrator()?;
    // More people than a page of the culler holds.
    let names = ["ada", "bob", "eve", "joe"];
    for name in names {
        administrator.add_user(name).await?;
        administrator.request_start(name, "").await?;
    }
    for name in names {
        let gone = administrator.server_is_gone(name, "").await;
        gone.with_context(|| format!("the server of {name} was not culled; log:\n{}", hub.log()))?;
    }
    Ok(())
}

async fn scripts_of_administrators_run(kind: Kind) -> Result<()> {
    let mut settings = Settings::default().with_light_singleuser();
    let more = ["admin:groups", "shares", "read:users:shares", "read:servers"];
    if let Some(administrator) = settings.services.first_mut() {
        administrator.scopes.extend(more.map(str::to_owned));
    }
    let hub = Hub::start(kind, settings).await?;
    let done = Command::new(python())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("services/scripts.py"))
        .env("JUPYTERHUB_API_URL", hub.url("hub/api"))
        .env("JUPYTERHUB_API_TOKEN", &hub.settings.administrator().token)
        .stdin(Stdio::null())
        .output()
        .await?;
    let out = String::from_utf8_lossy(&done.stdout);
    ensure!(done.status.success(), "{out}{}", String::from_utf8_lossy(&done.stderr));
    ensure!(out.trim_end().ends_with("10 scripts"), "{out}");
    Ok(())
}
