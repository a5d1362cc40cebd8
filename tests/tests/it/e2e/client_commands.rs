//! The commands that speak to a hub, `himalia user` and its like: with our hub and with stock.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::{Service, Settings};
use serde_json::{Value, json};
use tokio::process::Command;

use super::with_both_hubs;

with_both_hubs! {
    [Needed::Himalia, Needed::LightSingleuser];
    a_day_of_an_administrator_on_the_command_line,
    what_goes_wrong_is_said_in_one_line,
}

/// How a command ended.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

async fn command(hub: &Hub, token: &str, arguments: &[&str]) -> Result<Done> {
    let output = Command::new(Needed::Himalia.path())
        .args(arguments)
        .current_dir(hub.folder())
        .env_clear()
        .env("JUPYTERHUB_API_URL", hub.url("hub/api"))
        .env("JUPYTERHUB_API_TOKEN", token)
        .stdin(Stdio::null())
        .output()
        .await?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) })
}

/// An administrator's command line.
struct Shell<'a> {
    hub: &'a Hub,
    token: String,
}

impl Shell<'_> {
    async fn run(&self, line: &str) -> Result<String> {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        let done = command(self.hub, &self.token, &arguments).await?;
        ensure!(done.code == Some(0), "himalia {line}: {:?}\n{}", done.code, done.err);
        Ok(done.out)
    }

    async fn json(&self, line: &str) -> Result<Value> {
        let out = self.run(&format!("{line} --json")).await?;
        serde_json::from_str(&out).with_context(|| format!("himalia {line} --json: {out}"))
    }
}

fn settings() -> Settings {
    let mut settings = Settings::default().with_light_singleuser();
    let scopes =
        ["admin:groups", "list:groups", "shares", "read:services", "read:users:name", "read:groups:name"];
    let role = Service {
        name: "test-commands".to_owned(),
        token: uuid::Uuid::new_v4().simple().to_string(),
        scopes: scopes
            .iter()
            .map(|scope| (*scope).to_owned())
            .chain(settings.administrator().scopes.clone())
            .collect(),
    };
    settings.services.push(role);
    settings
}

async fn a_day_of_an_administrator_on_the_command_line(kind: Kind) -> Result<()> {
    let hub = Hub::start(kind, settings()).await?;
    let token = hub.settings.services.last().context("a service")?.token.clone();
    let shell = Shell { hub: &hub, token };
    let me = shell.json("user me").await?;
    ensure!(me["name"] == "test-commands", "{me}");

    // More than a page.
    let many: Vec<String> = (0..120).map(|i| format!("user-{i:03}")).collect();
    shell.run(&format!("user add {}", many.join(" "))).await?;
    shell.run("user add ada bob").await?;
    let all = shell.json("user list --name user-").await?;
    ensure!(all.as_array().is_some_and(|users| users.len() == 120), "{all}");
    let some = shell.run("user list --name user-11").await?;
    ensure!(some.lines().count() == 11 && some.starts_with("NAME"), "{some}");
    let renamed = shell.json("user edit bob --rename bert").await?;
    ensure!(renamed["name"] == "bert", "{renamed}");

    shell.run("group add maths ada").await?;
    let group = shell.json("group add-users maths bert").await?;
    ensure!(group["users"].as_array().is_some_and(|users| users.len() == 2), "{group}");
    let group = shell.json("group set-properties maths {\"room\":7}").await?;
    ensure!(group["properties"] == json!({"room": 7}), "{group}");
    let groups = shell.run("group list").await?;
    ensure!(groups.contains("maths"), "{groups}");

    let server = shell.json("server start ada --wait").await?;
    ensure!(server["ready"] == true, "{server}");
    shell.run("server start ada lab --wait").await?;
    let servers = shell.run("server list").await?;
    ensure!(servers.contains("ada/lab") && servers.contains("ready"), "{servers}");
    let share = shell.json("share grant ada lab --user bert").await?;
    ensure!(share["user"]["name"] == "bert", "{share}");
    let shared = shell.json("share list ada").await?;
    ensure!(shared.as_array().is_some_and(|shares| shares.len() == 1), "{shared}");
    shell.run("share revoke ada lab --user bert").await?;
    let code = shell.run("share code ada lab --expires-in 60").await?;
    ensure!(code.trim().len() == 43, "{code}");
    shell.run("server stop ada lab --remove --wait").await?;
    shell.run("server stop ada --wait").await?;
    let servers = shell.json("server list ada").await?;
    ensure!(servers == json!([]), "{servers}");

    let secret =
        shell.run("token create ada --note script --expires-in 600 --scope read:users!user=ada").await?;
    let done = command(&hub, secret.trim(), &["user", "me"]).await?;
    ensure!(done.code == Some(0) && done.out.contains("\"ada\""), "{} {}", done.out, done.err);
    let tokens = shell.json("token list ada").await?;
    let id = tokens.as_array().into_iter().flatten().find(|token| token["note"] == "script");
    let id = id.and_then(|token| token["id"].as_str()).context("the id of the token")?;
    shell.run(&format!("token revoke ada {id}")).await?;
    let done = command(&hub, secret.trim(), &["user", "me"]).await?;
    ensure!(done.code == Some(1), "a revoked token works: {}", done.out);

    let service = shell.json("service show test-commands").await?;
    ensure!(service["kind"] == "service", "{service}");
    shell.run("group delete maths").await?;
    shell.run("user delete ada bert").await?;
    let gone = command(&hub, &shell.token, &["user", "show", "ada"]).await?;
    ensure!(gone.code == Some(1) && gone.err.contains("404"), "{}", gone.err);
    Ok(())
}

async fn what_goes_wrong_is_said_in_one_line(kind: Kind) -> Result<()> {
    let hub = Hub::start(kind, settings()).await?;
    let token = &hub.settings.administrator().token;
    let wrong = command(&hub, "0123456789abcdef0123456789abcdef", &["user", "list"]).await?;
    ensure!(wrong.code == Some(1) && wrong.err.contains("403"), "{}", wrong.err);
    ensure!(wrong.err.lines().count() == 1 && !wrong.err.contains("0123456789abcdef"), "{}", wrong.err);
    let page = command(&hub, token, &["user", "list", "--url", &hub.url("")]).await?;
    ensure!(page.code == Some(1) && page.err.contains("/hub/api"), "{}", page.err);
    let nobody = command(&hub, token, &["user", "list", "--url", "http://127.0.0.1:1/hub/api"]).await?;
    ensure!(
        nobody.code == Some(1) && nobody.err.contains("no answer from http://127.0.0.1:1/"),
        "{}",
        nobody.err
    );
    let none = command(&hub, "", &["user", "list"]).await?;
    ensure!(none.code == Some(2) && none.err.contains("JUPYTERHUB_API_TOKEN"), "{}", none.err);
    let file = hub.folder().join("token");
    std::fs::write(&file, format!("{token}\n"))?;
    let path = file.display().to_string();
    let by_file = command(&hub, "", &["user", "me", "--token-file", &path]).await?;
    ensure!(by_file.code == Some(0), "{}", by_file.err);
    Ok(())
}
