//! Our description of the REST API held against our hub by schemathesis, which makes up calls from it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::Settings;
use serde_json::json;
use tokio::process::Command;

use super::ready;

/// Longest run of the tool; it takes well under a minute on a machine with nothing else to do.
const LIMIT: Duration = Duration::from_mins(4);

/// What is held against each answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance";

async fn calls_made_up_from_the_description(by_administrator: bool) -> Result<()> {
    let admin = json!({"name": "admin", "services": ["test-administrator"]});
    let settings = Settings { further_roles: vec![admin], ..Settings::default() };
    let mut hub = Hub::start(Kind::Himalia, settings.with_light_singleuser()).await?;
    let mut command = Command::new(Needed::VenvClients.path().join("bin/schemathesis"));
    command
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
    if by_administrator {
        let token = &hub.settings.administrator().token;
        command.args(["--header", &format!("Authorization: token {token}")]);
    }
    let output =
        tokio::time::timeout(LIMIT, command.output()).await.context("schemathesis takes too long")??;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    ensure!(said.contains("No issues found") || said.contains("passed"), "{said}");
    let log = hub.log();
    ensure!(!log.contains("panicked"), "the hub panicked:\n{log}");
    hub.terminate().await.map(drop)
}

#[tokio::test]
async fn an_administrator_finds_no_answer_that_is_not_described() -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::VenvClients, Needed::LightSingleuser]) {
        return Ok(());
    }
    calls_made_up_from_the_description(true).await
}

#[tokio::test]
async fn a_stranger_finds_no_answer_that_is_not_described() -> Result<()> {
    if !ready(&[Kind::Himalia], &[Needed::VenvClients, Needed::LightSingleuser]) {
        return Ok(());
    }
    calls_made_up_from_the_description(false).await
}
