//! Our description of the REST API held against our hub by schemathesis, which makes up calls from it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;

use super::ready;

/// Longest run of the tool; it takes well under a minute on a machine with nothing else to do.
const LIMIT: Duration = Duration::from_mins(4);

/// What is held against each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

/// Who calls, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    /// Nobody in particular, for made-up things.
    OfAStranger,
    /// An administrator, for made-up things.
    OfAnAdministrator,
    /// An administrator, for things that are there.
    ForThingsThatAreThere,
}

/// Makes a user with a server and a token, and a group; the arguments of paths that name them.
async fn things(hub: &Hub) -> Result<String> {
    let administrator = hub.administrator()?;
    administrator.add_user("ada").await?;
    administrator.new_token("ada").await?;
    let (_, tokens) = administrator.get("users/ada/tokens").await?;
    let token = tokens.pointer("/api_tokens/0/id").and_then(Value::as_str).context("the id of the token")?;
    for (method, path) in [(Method::PUT, "users/ada/servers/lab"), (Method::POST, "groups/maths")] {
        let (status, said) = administrator.send(method, path, Value::Null).await?;
        ensure!(status == 201, "{path} answers {status}: {said}");
    }
    let arguments = [
        ("user", "ada"),
        ("owner", "ada"),
        ("server", "lab"),
        ("shared_server", "lab"),
        ("group", "maths"),
        ("token", token),
    ];
    let lines: Vec<String> =
        arguments.iter().map(|(name, value)| format!("\"path.{name}\" = \"{value}\"")).collect();
    Ok(format!("[parameters]\n{}\n", lines.join("\n")))
}

async fn calls_made_up_from_the_description(calls: Calls) -> Result<()> {
    let admin = json!({"name": "admin", "services": ["test-administrator"]});
    let settings = Settings { further_roles: vec![admin], ..Settings::default() };
    let mut hub = Hub::start(Kind::Himalia, settings.with_light_singleuser()).await?;
    let there = calls == Calls::ForThingsThatAreThere;
    let arguments = if there { things(&hub).await? } else { String::new() };
    let file = hub.folder().join("schemathesis.toml");
    std::fs::write(&file, arguments)?;
    let mut command = Command::new(Needed::VenvClients.path().join("bin/schemathesis"));
    command
        .arg("--config-file")
        .arg(&file)
        .arg("run")
        .arg(hub.url("hub/api/openapi.json"))
        .args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", "6"])
        .args(["--seed", "1", "--generation-deterministic", "--no-color"])
        .args(["--continue-on-failure", "--request-timeout", "60"])
        // One ends the hub, one is a page, one answers for as long as somebody listens.
        .args([
            "--exclude-path",
            "/shutdown",
            "--exclude-path",
            "/oauth2/authorize",
            "--exclude-path",
            "/events",
        ])
        .current_dir(hub.folder())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if there {
        // The things shall stay there.
        for id in ["DeleteUser", "EditUser", "DeleteGroup", "DeleteToken"] {
            command.args(["--exclude-operation-id", id]);
        }
    }
    if calls != Calls::OfAStranger {
        let token = &hub.settings.administrator().token;
        command.args(["--header", &format!("Authorization: token {token}")]);
    }
    let output =
        tokio::time::timeout(LIMIT, command.output()).await.context("schemathesis takes too long")??;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains(" passed"), "{said}");
    let log = hub.log();
    ensure!(!log.contains("panicked"), "the hub panicked:\n{log}");
    hub.terminate().await.map(drop)
}

fn possible() -> bool {
    ready(&[Kind::Himalia], &[Needed::VenvClients, Needed::LightSingleuser])
}

#[tokio::test]
async fn an_administrator_finds_no_answer_that_is_not_described() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    calls_made_up_from_the_description(Calls::OfAnAdministrator).await
}

#[tokio::test]
async fn calls_for_things_that_are_there_are_answered_as_described() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    calls_made_up_from_the_description(Calls::ForThingsThatAreThere).await
}

#[tokio::test]
async fn a_stranger_finds_no_answer_that_is_not_described() -> Result<()> {
    if !possible() {
        return Ok(());
    }
    calls_made_up_from_the_description(Calls::OfAStranger).await
}
