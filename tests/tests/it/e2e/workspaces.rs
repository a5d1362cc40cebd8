//! Workspaces as EODH has them: below `/notebooks` behind nginx, login by Keycloak, groups that are workspaces.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hub_tests::client::{Page, Person};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::keycloak::{CLIENT, Keycloak, SECRET, Session};
use hub_tests::nginx::Nginx;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::header::LOCATION;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// Life of access tokens.
const LIFE: Duration = Duration::from_mins(1);
const SEEN_WITHIN: Duration = Duration::from_mins(2);
/// Longest wait for open websockets and logins to end after Keycloak has told the hub of a logout, which it does
/// before it answers the administrator's order.
const OUT_WITHIN: Duration = Duration::from_secs(2);

const FURTHER: &str = r#"
[spawner.profiles.small]
display_name = "Small"
default = true
mem_limit = "1G"

[spawner.profiles.large]
display_name = "Large"
mem_limit = "4G"

[workspaces]
environment = { WORKSPACE = "{workspace}", AWS_BUCKET = "s3://{workspace}-{other}" }
labels = { "platform.example.org/workspace" = "{workspace}" }

[[workspaces.sources]]
kind = "groups"
pattern = "ws-*"

[[workspaces.sources]]
kind = "static"
workspaces = [{ name = "gamma", display_name = "Gamma rays", member_groups = ["ws-gamma"], viewers = ["alice"] }]
"#;

struct Bench {
    keycloak: Keycloak,
    hub: Hub,
    nginx: Nginx,
}

impl Bench {
    /// `servers` say where servers run.
    async fn start(servers: Settings) -> Result<Self> {
        let keycloak = Keycloak::start().await?;
        let authenticator = json!({
            "kind": "keycloak",
            "auto_login": true,
            "enable_auth_state": true,
            "manage_groups": true,
            // Only Keycloak's own call can end a login within seconds; groups are told with renewed tokens.
            "auth_refresh_age": "1h",
            "keycloak": {
                "issuer": keycloak.issuer(), "client_id": CLIENT, "client_secret": SECRET,
                "rules": [{"group": "/workspaces/*", "groups": ["{1}"], "allow": true}],
            },
        });
        let port = Nginx::port();
        let public = format!("http://127.0.0.1:{port}/notebooks/");
        let settings = Settings {
            base_url: "/notebooks/".to_owned(),
            authenticator: Some(authenticator),
            hub: [("public_url", json!(public)), ("trusted_downstream_ips", json!(["127.0.0.1"]))]
                .map(|(key, value)| (key.to_owned(), value))
                .into(),
            extra: FURTHER.to_owned(),
            ..servers
        };
        let mut hub = Hub::prepare(Kind::Himalia, settings)?;
        let nginx = Nginx::start(port, "/notebooks/", hub.ports.public).await?;
        keycloak.make_realm(&public, LIFE).await?;
        for group in ["ws-alpha", "ws-gamma"] {
            keycloak.join("bob", &format!("/workspaces/{group}")).await?;
        }
        hub.start_again().await?;
        Ok(Self { keycloak, hub, nginx })
    }

    /// Somebody opens a page of the hub, and ends where Keycloak and the hub lead.
    async fn visits(&self, user: &str, path: &str) -> Result<(Person, Page)> {
        let person = Person::new(&self.nginx.url("/notebooks/"))?;
        let page = self.opens(&person, user, path).await?;
        Ok((person, page))
    }

    async fn opens(&self, person: &Person, user: &str, path: &str) -> Result<Page> {
        let mut session = Session::default();
        let mut answer = person.get(path).await?;
        while let Some(location) = answer.headers().get(LOCATION) {
            let next = answer.url().join(location.to_str()?)?;
            if next.as_str().starts_with(&self.keycloak.issuer()) {
                let back = self.keycloak.visit(&mut session, next.as_str(), user).await?;
                return person.follow(back.as_str()).await;
            }
            answer = person.absolute(Method::GET, next.as_str()).send().await?;
        }
        person.arrive(answer).await
    }

    async fn starts(
        &self,
        person: &Person,
        user: &str,
        workspace: &str,
        body: Value,
    ) -> Result<(StatusCode, Value)> {
        person.get("hub/home").await?;
        let path = format!("hub/api/users/{user}/servers/{workspace}");
        let answer = person.scripted(Method::POST, &path)?.json(&body).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        Ok((status, serde_json::from_str(&text).unwrap_or(json!(text))))
    }
}

#[tokio::test]
async fn himalia() -> Result<()> {
    if !super::ready(&[Kind::Himalia], &[Needed::Venv61, Needed::Keycloak, Needed::Nginx]) {
        return Ok(());
    }
    story(Settings::default(), async |hub| {
        let (status, model) = hub.administrator()?.get("users/bob").await?;
        ensure!(status == 200, "{status}: {model}");
        let process = model["servers"]["alpha"]["state"]["pid"].clone();
        ensure!(process.is_number(), "no process is known: {model}");
        Ok(process)
    })
    .await
}

/// `servers` say where servers run, and `which` tells what runs as the workspace `alpha` of bob.
pub(crate) async fn story(servers: Settings, which: impl AsyncFn(&Hub) -> Result<Value>) -> Result<()> {
    let mut bench = Bench::start(servers).await?;
    let bob = all_workspaces_are_listed_before_anything_was_started(&bench).await.context("list")?;
    a_member_starts_a_workspace_with_a_profile(&bench, &bob).await.context("start")?;
    others_are_told_why_they_cannot(&bench, &bob).await.context("refusals")?;
    who_leaves_a_workspace_loses_its_server(&bench, &bob).await.context("lost membership")?;
    a_logout_closes_open_websockets(&bench, &bob).await.context("logout")?;
    a_logout_by_the_hubs_own_button_does_so_too(&bench).await.context("logout by the hub's own button")?;
    without_the_database_people_come_back_by_logging_in(&mut bench, which).await.context("lost database")
}

async fn all_workspaces_are_listed_before_anything_was_started(bench: &Bench) -> Result<Person> {
    let (bob, page) = bench.visits("bob", "hub/home").await?;
    ensure!(
        page.status == 200 && page.url.path() == "/notebooks/hub/home",
        "{} at {}",
        page.status,
        page.url
    );
    for workspace in ["alpha", "beta", "gamma"] {
        for part in [format!("data-server-name=\"{workspace}\""), format!("id=\"start-{workspace}\"")] {
            ensure!(page.text.contains(&part), "{part} is not in the control panel: {}", page.text);
        }
    }
    ensure!(page.text.contains("Gamma rays"), "the name for people is missing: {}", page.text);
    for part in ["delta", "new-server-name", "id=\"delete-alpha\""] {
        ensure!(!page.text.contains(part), "{part} is in the control panel: {}", page.text);
    }
    let version: Value = bob.get("hub/api").await?.json().await?;
    ensure!(version["version"].is_string(), "{version}");
    let platform = reqwest::get(bench.nginx.url("/")).await?.text().await?;
    ensure!(platform == "the platform", "{platform}");
    Ok(bob)
}

async fn a_member_starts_a_workspace_with_a_profile(bench: &Bench, bob: &Person) -> Result<()> {
    let administrator = bench.hub.administrator()?;
    let (status, answer) = bench.starts(bob, "bob", "alpha", json!({"profile": "large"})).await?;
    ensure!(status == 201 || status == 202, "{status}: {answer}");
    administrator.server_is_ready("bob", "alpha").await?;
    let page = bench.opens(bob, "bob", "user/bob/alpha/").await?;
    ensure!(page.status == 200, "{} at {}", page.status, page.url);
    let mut kernel = Kernel::start(bob, "user/bob/alpha/").await?;
    let code = "import os; print(*[os.environ[n] for n in ('WORKSPACE', 'AWS_BUCKET', 'MEM_LIMIT')])";
    let seen = kernel.execute(code).await?;
    ensure!(seen.trim() == "alpha s3://alpha-{other} 4294967296", "{seen}");
    let home = bob.follow("hub/home").await?.text;
    let row = home.split("data-server-name=\"alpha\"").nth(1).context("no row for the workspace")?;
    ensure!(row.contains("data-state=\"running\""), "{row}");
    Ok(())
}

async fn others_are_told_why_they_cannot(bench: &Bench, bob: &Person) -> Result<()> {
    let (status, answer) = bench.starts(bob, "bob", "delta", json!({})).await?;
    ensure!(
        status == 403 && answer["message"] == "You do not belong to this workspace.",
        "{status}: {answer}"
    );
    let (status, answer) = bench.starts(bob, "bob", "mine", json!({})).await?;
    ensure!(status == 403, "a server that is no workspace: {status}: {answer}");
    let (alice, page) = bench.visits("alice", "hub/home").await?;
    ensure!(
        page.text.contains("id=\"start-alpha\"") && page.text.contains("look at this workspace"),
        "{}",
        page.text
    );
    ensure!(!page.text.contains("id=\"start-gamma\"") && !page.text.contains("\"beta\""), "{}", page.text);
    let (status, answer) = bench.starts(&alice, "alice", "gamma", json!({})).await?;
    let text = answer["message"].as_str().unwrap_or_default();
    ensure!(status == 403 && text.contains("look at this workspace"), "{status}: {answer}");
    let page = alice.follow("hub/spawn/alice/gamma").await?;
    ensure!(
        page.status == 403 && page.text.contains("look at this workspace"),
        "{}: {}",
        page.status,
        page.text
    );
    let model = bench.hub.administrator()?.fetch("users/alice?include_stopped_servers").await?;
    ensure!(model["servers"].as_object().is_some_and(|servers| !servers.contains_key("gamma")), "{model}");
    Ok(())
}

async fn who_leaves_a_workspace_loses_its_server(bench: &Bench, bob: &Person) -> Result<()> {
    let administrator = bench.hub.administrator()?;
    bench.starts(bob, "bob", "beta", json!({})).await?;
    administrator.server_is_ready("bob", "beta").await?;
    bench.keycloak.leave("bob", "/workspaces/ws-beta").await?;
    eventually("the server of the lost workspace is gone", SEEN_WITHIN, || async {
        ensure!(bob.who_am_i().await?.is_some(), "bob is out");
        let model = administrator.fetch("users/bob").await?;
        Ok(model["servers"].get("beta").is_none().then_some(()))
    })
    .await?;
    let model = administrator.fetch("users/bob").await?;
    ensure!(model["servers"]["alpha"]["ready"] == true, "the other server has stopped, too: {model}");
    let (status, _) = bench.starts(bob, "bob", "beta", json!({})).await?;
    ensure!(status == 403, "a start after that answers {status}");
    let page = bob.follow("hub/home").await?;
    ensure!(
        !page.text.contains("id=\"start-beta\"") && page.text.contains("id=\"delete-beta\""),
        "{}",
        page.text
    );
    Ok(())
}

async fn a_logout_closes_open_websockets(bench: &Bench, bob: &Person) -> Result<()> {
    let mut sockets = Vec::new();
    let mut tabs = vec![bob.clone()];
    for _ in 0..4 {
        tabs.push(bench.visits("bob", "user/bob/alpha/").await?.0);
    }
    for tab in &tabs {
        sockets.push(Kernel::start(tab, "user/bob/alpha/").await?);
    }
    let ordered = Instant::now();
    bench.keycloak.log_out("bob").await?;
    let began = Instant::now();
    for socket in &mut sockets {
        let left = OUT_WITHIN.saturating_sub(began.elapsed());
        tokio::time::timeout(left, socket.closes()).await.context("a websocket stays open")?;
    }
    let closed = began.elapsed();
    for tab in &tabs {
        ensure!(tab.who_am_i().await?.is_none(), "a tab is still in");
    }
    ensure!(began.elapsed() <= OUT_WITHIN, "the tabs were out after {:?}", began.elapsed());
    println!(
        "{} websockets closed {closed:?} and {} tabs out {:?} after Keycloak's answer, {:?} after the order",
        sockets.len(),
        tabs.len(),
        began.elapsed(),
        ordered.elapsed()
    );
    let model = bench.hub.administrator()?.fetch("users/bob").await?;
    ensure!(model["servers"]["alpha"]["ready"] == true, "the server was stopped: {model}");
    Ok(())
}

/// The tabs of one browser. What the hub gave them ends before the browser goes on to Keycloak.
async fn a_logout_by_the_hubs_own_button_does_so_too(bench: &Bench) -> Result<()> {
    let (bob, _) = bench.visits("bob", "user/bob/alpha/").await?;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(Kernel::start(&bob, "user/bob/alpha/").await?);
    }
    let began = Instant::now();
    let answer = bob.get("hub/logout").await?;
    let location = answer.headers().get(LOCATION).context("the logout leads nowhere")?.to_str()?;
    ensure!(
        location.starts_with(&bench.keycloak.issuer()) && location.contains("id_token_hint="),
        "{location}"
    );
    for socket in &mut sockets {
        let left = OUT_WITHIN.saturating_sub(began.elapsed());
        tokio::time::timeout(left, socket.closes()).await.context("a websocket stays open")?;
    }
    ensure!(bob.who_am_i().await?.is_none(), "the browser is still in");
    let answer = bob.get("user/bob/alpha/api/kernels").await?;
    ensure!(!answer.status().is_success(), "the server still lets the browser in: {}", answer.status());
    println!("{} websockets closed {:?} after the logout", sockets.len(), began.elapsed());
    ensure!(began.elapsed() <= OUT_WITHIN, "it took {:?}", began.elapsed());
    Ok(())
}

async fn without_the_database_people_come_back_by_logging_in(
    bench: &mut Bench,
    which: impl AsyncFn(&Hub) -> Result<Value>,
) -> Result<()> {
    let before = which(&bench.hub).await?;
    bench.hub.terminate().await?;
    for name in ["jupyterhub.sqlite", "jupyterhub.sqlite-wal", "jupyterhub.sqlite-shm"] {
        let file = bench.hub.folder().join(name);
        if file.exists() {
            std::fs::remove_file(file)?;
        }
    }
    bench.hub.start_again().await?;
    let (bob, page) = bench.visits("bob", "hub/home").await?;
    ensure!(page.status == 200 && page.text.contains("id=\"start-alpha\""), "{}: {}", page.status, page.text);
    let (status, answer) = bench.starts(&bob, "bob", "alpha", json!({})).await?;
    ensure!(status == 201 || status == 202, "{status}: {answer}");
    bench.hub.administrator()?.server_is_ready("bob", "alpha").await?;
    ensure!(which(&bench.hub).await? == before, "another server was started beside the one that runs");
    // The server works with the new database by the token that it has.
    let page = bench.opens(&bob, "bob", "user/bob/alpha/").await?;
    ensure!(page.status == 200, "{} at {}", page.status, page.url);
    Ok(())
}
