//! `POST /shutdown`: what goes with the hub and what stays, whatever its configuration says.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::client::Api;
use hub_tests::hub::{Hub, Kind};
use hub_tests::processes::Marked;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use serde_json::{Value, json};

use super::with_both_hubs;

with_both_hubs! {
    [Needed::LightSingleuser];
    servers_go_with_the_hub_as_the_configuration_or_the_call_says,
    services_end_before_the_servers,
    a_proxy_of_its_own_goes_on_with_the_routes_of_servers_that_are_left,
}

/// Part of the command line of a service, and of a server.
const SERVICE: &str = "managed-service-of-this-test";
const SERVER: &str = "light-singleuser";

/// A hub with a managed service.
fn settings(cleanup_servers: bool) -> Settings {
    let service =
        json!({ "name": "managed", "command": ["sh", "-c", format!("{}; : {SERVICE}", end_of("service"))] });
    Settings { cleanup_servers, further_services: vec![service], ..Settings::default() }
        .with_light_singleuser()
}

/// A script that waits for its end, and writes it down in the folder of the hub. It has no child that would be left.
fn end_of(what: &str) -> String {
    format!("trap 'echo {what} >>\"$HIMALIA_TEST_ENDS\"; exit 0' INT TERM; while :; do sleep 0.1; done")
}

async fn shut_down(hub: &mut Hub, body: Value) -> Result<()> {
    let administrator = hub.administrator()?;
    let (status, answer) = administrator.send(Method::POST, "shutdown", body.clone()).await?;
    ensure!(
        status == 202 && answer == json!({ "message": "Shutting down Hub" }),
        "{status} {answer} to {body}"
    );
    ensure!(hub.ended().await?.success(), "{body}:\n{}", hub.log());
    Ok(())
}

/// Makes a user, unless an earlier run of the hub did.
async fn known(administrator: &Api, name: &str) -> Result<()> {
    let (status, _) = administrator.get(&format!("users/{name}")).await?;
    if status == 404 { administrator.add_user(name).await } else { Ok(()) }
}

/// The processes of servers, by number.
fn servers(hub: &Hub) -> Vec<Marked> {
    let mut all = hub.mark.with_command(SERVER);
    all.sort_by_key(|process| process.pid);
    all
}

async fn servers_go_with_the_hub_as_the_configuration_or_the_call_says(kind: Kind) -> Result<()> {
    let mut hub = Hub::prepare(kind, settings(true))?;
    let ends = hub.folder().join("ends");
    hub.settings.further_services[0]["environment"] = json!({ "HIMALIA_TEST_ENDS": ends });
    for cleanup_servers in [true, false] {
        for (body, stops) in [
            (json!({}), cleanup_servers),
            (json!({ "servers": true, "proxy": true }), true),
            (json!({ "servers": false, "proxy": true }), false),
        ] {
            let case = format!("cleanup_servers = {cleanup_servers}, {body}");
            hub.settings.cleanup_servers = cleanup_servers;
            hub.start_again().await?;
            let administrator = hub.administrator()?;
            known(&administrator, "ada").await?;
            for server in ["", "second"] {
                administrator.start_server("ada", server).await?;
            }
            let before = servers(&hub);
            ensure!(before.len() == 2, "{case}: {before:?}");
            ensure!(!hub.mark.with_command(SERVICE).is_empty(), "{case}: the service does not run");

            shut_down(&mut hub, body).await.with_context(|| case.clone())?;
            let left = servers(&hub);
            ensure!(left == if stops { Vec::new() } else { before }, "{case}: {left:?}");
            let service = hub.mark.with_command(SERVICE);
            ensure!(service.is_empty(), "{case}: {service:?}");

            // What was left is there for the next hub, which ends it.
            hub.start_again().await?;
            let administrator = hub.administrator()?;
            let user = administrator.fetch("users/ada").await?;
            let running = user.get("servers").and_then(Value::as_object).map_or(0, serde_json::Map::len);
            ensure!(running == left.len(), "{case}: {user}");
            for server in ["", "second"].iter().take(running) {
                administrator.stop_server("ada", server).await?;
            }
            ensure!(hub.terminate().await?.success(), "{case}: {}", hub.log());
        }
    }
    let told = fs::read_to_string(&ends)?;
    ensure!(told == "service\n".repeat(12), "each end of the hub was told to its service: {told}");
    Ok(())
}

async fn services_end_before_the_servers(kind: Kind) -> Result<()> {
    let mut hub = Hub::prepare(kind, settings(true))?;
    let ends = hub.folder().join("ends");
    hub.settings.further_services[0]["environment"] = json!({ "HIMALIA_TEST_ENDS": ends });
    hub.settings.environment.insert("HIMALIA_TEST_ENDS".to_owned(), ends.display().to_string());
    let server = hub.settings.command.join(" ");
    let script = format!("{server} & {}", end_of("server"));
    hub.settings.command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    hub.start_again().await?;
    let administrator = hub.administrator()?;
    known(&administrator, "ada").await?;
    administrator.start_server("ada", "").await?;
    shut_down(&mut hub, json!({})).await?;
    let told = fs::read_to_string(&ends)?;
    ensure!(told == "service\nserver\n", "{told:?}");
    Ok(())
}

async fn a_proxy_of_its_own_goes_on_with_the_routes_of_servers_that_are_left(kind: Kind) -> Result<()> {
    let mut hub = Hub::prepare(kind, Settings { separate_proxy: true, ..settings(true) })?;
    let ends = hub.folder().join("ends");
    hub.settings.further_services[0]["environment"] = json!({ "HIMALIA_TEST_ENDS": ends });
    let http = reqwest::Client::new();
    for (body, answers) in [
        (json!({ "servers": false, "proxy": true }), true),
        (json!({ "servers": false, "proxy": false }), true),
        (json!({ "proxy": false }), false),
    ] {
        hub.start_again().await?;
        let administrator = hub.administrator()?;
        known(&administrator, "ada").await?;
        if servers(&hub).is_empty() {
            administrator.start_server("ada", "").await?;
        }
        shut_down(&mut hub, body.clone()).await?;
        // The server itself tells its version to everybody; without the hub, the proxy has no other answer than 503.
        let status = eventually("the proxy answers", Duration::from_secs(30), || async {
            let answer = http.get(hub.url("user/ada/api")).send().await;
            Ok(answer.ok().map(|answer| answer.status()))
        });
        let status = status.await.with_context(|| format!("{body}: the proxy is gone"))?;
        ensure!(status.is_success() == answers, "{body}: {status}");
        ensure!(servers(&hub).is_empty() != answers, "{body}: {:?}", servers(&hub));
    }
    Ok(())
}
