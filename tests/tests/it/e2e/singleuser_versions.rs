//! Single-user servers of three versions of JupyterHub log their user in and answer.

use anyhow::{Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::Value;

use super::with_both_hubs;

with_both_hubs! {
    [Needed::Venv41, Needed::Venv54, Needed::Venv61];
    a_server_of_4_1_logs_its_user_in,
    a_server_of_5_4_logs_its_user_in,
    a_server_of_6_1_logs_its_user_in,
}

async fn a_server_of_4_1_logs_its_user_in(kind: Kind) -> Result<()> {
    logs_its_user_in(kind, Needed::Venv41, "4.1").await
}

async fn a_server_of_5_4_logs_its_user_in(kind: Kind) -> Result<()> {
    logs_its_user_in(kind, Needed::Venv54, "5.4").await
}

async fn a_server_of_6_1_logs_its_user_in(kind: Kind) -> Result<()> {
    logs_its_user_in(kind, Needed::Venv61, "6.1").await
}

async fn logs_its_user_in(kind: Kind, venv: Needed, version: &str) -> Result<()> {
    let hub = Hub::start(kind, Settings::default().with_venv(venv)).await?;
    let administrator = hub.administrator()?;
    let alice = hub.logged_in("alice").await?;
    administrator.start_server("alice", "").await?;

    let page = alice.follow("user/alice/lab").await?;
    ensure!(page.status == 200, "the page answers {} at {}: {}", page.status, page.url, page.text);
    ensure!(page.url == alice.url("user/alice/lab")?, "arrived at {}", page.url);
    let went_by = |part: &str| page.hops.iter().any(|hop| hop.path().ends_with(part));
    ensure!(
        went_by("/hub/api/oauth2/authorize") && went_by("/user/alice/oauth_callback"),
        "{:#?}",
        page.hops
    );

    let answer = alice.scripted(Method::GET, "user/alice/api/status")?.send().await?;
    ensure!(answer.status() == 200, "the status answers {}", answer.status());
    let own = answer
        .headers()
        .get("x-jupyterhub-version")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    ensure!(own.starts_with(version), "the server is of version {own:?}");
    let status: Value = answer.json().await?;
    ensure!(status.get("kernels") == Some(&Value::from(0)), "{status}");

    let mut kernel = Kernel::start(&alice, "user/alice/").await?;
    ensure!(kernel.execute("print(6 * 7)").await? == "42\n");

    let token = administrator.new_token("alice").await?;
    let by_token = hub.person()?.request(Method::GET, "user/alice/api/status")?;
    let answer = by_token.header("Authorization", format!("token {token}")).send().await?;
    ensure!(answer.status() == 200, "a token of the user's answers {}", answer.status());

    let stranger = hub.logged_in("mallory").await?;
    let page = stranger.follow("user/alice/lab").await?;
    ensure!(page.status == 403, "a stranger sees {} at {}", page.status, page.url);

    let anonymous = hub.person()?.follow("user/alice/lab").await?;
    ensure!(anonymous.url.path().ends_with("/hub/login"), "a visitor arrives at {}", anonymous.url);

    administrator.stop_server("alice", "").await?;
    ensure!(hub.mark.with_command("singleuser").is_empty(), "{:?}", hub.mark.with_command("singleuser"));
    Ok(())
}
