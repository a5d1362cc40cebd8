//! Login by a real Keycloak: its form, groups and roles, tokens that run out, logout from either side, an outage.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::future::join_all;
use hub_tests::browser::Browser;
use hub_tests::client::Person;
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::keycloak::{CLIENT, Keycloak, PASSWORD, SECRET, Session};
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use reqwest::header::LOCATION;
use serde_json::{Value, json};
use url::Url;

/// Life of access tokens. They are renewed in their last quarter.
const LIFE: Duration = Duration::from_secs(20);
/// How many ask at once.
const CALLERS: usize = 200;
/// How long a logout at Keycloak is waited for. How long it takes, below two seconds, is printed.
const OUT_WITHIN: Duration = Duration::from_secs(20);

/// Somebody with a browser that has cookies at the hub and at Keycloak.
struct Visitor {
    hub: Person,
    keycloak: Session,
}

struct Bench {
    keycloak: Keycloak,
    hub: Hub,
}

impl Bench {
    async fn start() -> Result<Self> {
        let keycloak = Keycloak::start().await?;
        let authenticator = json!({
            "kind": "keycloak",
            "enable_auth_state": true,
            "manage_groups": true,
            "auth_refresh_age": "3s",
            "keycloak": {
                "issuer": keycloak.issuer(), "client_id": CLIENT, "client_secret": SECRET,
                "admin_roles": ["hub-admin"], "allowed_roles": [":reader"], "http_timeout": "10s",
                "rules": [{"group": "/workspaces/*", "groups": ["{1}"], "allow": true}],
            },
        });
        let settings = Settings { authenticator: Some(authenticator), ..Settings::default() };
        let mut hub = Hub::prepare(Kind::Himalia, settings)?;
        keycloak.make_realm(&hub.url(""), LIFE).await?;
        hub.start_again().await?;
        Ok(Self { keycloak, hub })
    }

    /// Logs in by HTTP; the status at the end and where that is.
    async fn tries(&self, user: &str) -> Result<(Visitor, u16, Url)> {
        let mut visitor = Visitor { hub: self.hub.person()?, keycloak: Session::default() };
        let (status, url) = self.goes_in(&mut visitor, user).await?;
        Ok((visitor, status, url))
    }

    async fn goes_in(&self, visitor: &mut Visitor, user: &str) -> Result<(u16, Url)> {
        let answer = visitor.hub.get("hub/oauth_login?next=%2Fhub%2Ftoken").await?;
        let location = answer.headers().get(LOCATION).context("the hub sends nowhere")?.to_str()?.to_owned();
        ensure!(location.starts_with(&self.keycloak.issuer()), "{location}");
        let back = self.keycloak.visit(&mut visitor.keycloak, &location, user).await?;
        let page = visitor.hub.follow(back.as_str()).await?;
        Ok((page.status.as_u16(), page.url))
    }

    async fn logs_in(&self, user: &str) -> Result<Visitor> {
        let (visitor, status, url) = self.tries(user).await?;
        ensure!(status == 200 && url.path() == "/hub/token", "{user} arrives at {url} with {status}");
        ensure!(visitor.hub.who_am_i().await?.as_deref() == Some(user), "the hub does not know {user}");
        Ok(visitor)
    }

    async fn user(&self, name: &str) -> Result<Value> {
        self.hub.administrator()?.fetch(&format!("users/{name}")).await
    }
}

#[tokio::test]
async fn himalia() -> Result<()> {
    let needs = [Needed::Keycloak, Needed::Chromium, Needed::Chromedriver];
    if !super::ready(&[Kind::Himalia], &needs) {
        return Ok(());
    }
    let bench = Bench::start().await?;
    let alice = roles_and_groups_are_mapped(&bench).await.context("mapping")?;
    a_change_of_groups_is_seen(&bench, &alice).await.context("change of groups")?;
    many_callers_lead_to_one_refresh(&bench, &alice).await.context("refresh")?;
    new_keys_are_found(&bench).await.context("keys")?;
    logging_out_of_the_hub_logs_out_of_keycloak(&bench, alice).await.context("logout of the hub")?;
    a_logout_at_keycloak_ends_everything(&bench).await.context("logout at Keycloak")?;
    people_stay_in_while_keycloak_hangs(&bench).await.context("outage")?;
    the_form_works_in_a_browser(&bench).await.context("browser")?;
    let log = bench.hub.log();
    for secret in [SECRET, PASSWORD, "eyJ"] {
        ensure!(!log.contains(secret), "{secret:?} is in the log");
    }
    Ok(())
}

async fn roles_and_groups_are_mapped(bench: &Bench) -> Result<Visitor> {
    let alice = bench.logs_in("alice").await?;
    let model = bench.user("alice").await?;
    ensure!(model["admin"] == true && model["groups"] == json!(["ws-alpha"]), "{model}");
    let state = &model["auth_state"];
    for key in ["access_token", "refresh_token", "id_token", "scope", "token_response", "oauth_user"] {
        ensure!(!state[key].is_null(), "auth_state has no {key}: {state}");
    }
    bench.logs_in("bob").await?;
    let model = bench.user("bob").await?;
    ensure!(model["admin"] == false && model["groups"] == json!(["ws-beta"]), "{model}");
    let (mallory, status, _) = bench.tries("mallory").await?;
    ensure!(status == 403 && mallory.hub.who_am_i().await?.is_none(), "mallory gets {status}");
    let answer = alice.hub.get("hub/account").await?;
    let console = answer.headers().get(LOCATION).context("no way to the account")?.to_str()?;
    ensure!(console.starts_with(&format!("{}/account/", bench.keycloak.issuer())), "{console}");
    Ok(alice)
}

async fn a_change_of_groups_is_seen(bench: &Bench, alice: &Visitor) -> Result<()> {
    bench.keycloak.join("alice", "/workspaces/ws-beta").await?;
    eventually("the new group is seen", LIFE, || async {
        ensure!(alice.hub.who_am_i().await?.is_some(), "alice is out");
        let model = bench.user("alice").await?;
        Ok((model["groups"] == json!(["ws-alpha", "ws-beta"])).then_some(()))
    })
    .await
}

/// Waves of requests for as long as three tokens live.
async fn many_callers_lead_to_one_refresh(bench: &Bench, alice: &Visitor) -> Result<()> {
    let token = async || -> Result<(String, i64)> {
        let model = bench.user("alice").await?;
        let response = &model["auth_state"]["token_response"];
        let access = response["access_token"].as_str().context("no access token")?.to_owned();
        Ok((access, response["expires_at"].as_i64().context("no end")?))
    };
    let before = bench.keycloak.refreshes().await?;
    let mut seen = vec![token().await?.0];
    let began = Instant::now();
    while began.elapsed() < 3 * LIFE {
        let asked = (0..CALLERS).map(|_| async {
            let answer = alice.hub.scripted(Method::GET, "hub/api/user")?.send().await?;
            ensure!(answer.status() == 200, "a caller gets {}", answer.status());
            anyhow::Ok(())
        });
        for answer in join_all(asked).await {
            answer?;
        }
        let (access, end) = token().await?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        ensure!(
            end > i64::try_from(now)?,
            "a token is handed out that ended {} s ago",
            now.cast_signed() - end
        );
        if !seen.contains(&access) {
            seen.push(access);
        }
    }
    let after = bench.keycloak.refreshes().await?;
    ensure!(after.1 == before.1, "{} refreshes failed", after.1 - before.1);
    let (refreshes, tokens) = (after.0 - before.0, seen.len() - 1);
    ensure!(
        refreshes == tokens && (2..=5).contains(&tokens),
        "{refreshes} refreshes for {tokens} new tokens"
    );
    Ok(())
}

async fn new_keys_are_found(bench: &Bench) -> Result<()> {
    bench.keycloak.rotate_keys().await?;
    // Keys are asked for again at most every ten seconds.
    eventually("a login with the new key", LIFE, || async {
        let (visitor, ..) = bench.tries("bob").await?;
        Ok(visitor.hub.who_am_i().await?.map(drop))
    })
    .await
}

async fn logging_out_of_the_hub_logs_out_of_keycloak(bench: &Bench, mut alice: Visitor) -> Result<()> {
    let answer = alice.hub.get("hub/logout").await?;
    let location = answer.headers().get(LOCATION).context("the logout leads nowhere")?.to_str()?.to_owned();
    ensure!(
        location.contains("/protocol/openid-connect/logout?") && location.contains("id_token_hint="),
        "{location}"
    );
    ensure!(alice.keycloak.is_known(), "Keycloak never knew alice");
    let back = bench.keycloak.visit(&mut alice.keycloak, &location, "alice").await?;
    ensure!(back.as_str() == bench.hub.url("hub/logout"), "Keycloak sends to {back}");
    ensure!(!alice.keycloak.is_known(), "alice is still logged in at Keycloak");
    ensure!(alice.hub.who_am_i().await?.is_none(), "alice is still logged in at the hub");
    Ok(())
}

async fn a_logout_at_keycloak_ends_everything(bench: &Bench) -> Result<()> {
    let tabs = [bench.logs_in("bob").await?, bench.logs_in("bob").await?];
    let own = bench.hub.administrator()?.new_token("bob").await?;
    let began = Instant::now();
    bench.keycloak.log_out("bob").await?;
    for tab in &tabs {
        eventually("bob is out", OUT_WITHIN, || async {
            Ok(tab.hub.who_am_i().await?.is_none().then_some(()))
        })
        .await?;
    }
    println!("out {:?} after the administrator's order", began.elapsed());
    let api = bench.hub.api(&own)?;
    ensure!(
        api.get("user").await?.0 == 200,
        "a token that bob made for a script ends only if the operator wants it"
    );
    ensure!(bench.user("bob").await?["auth_state"].is_null(), "the ended session is still kept");
    bench.logs_in("bob").await.map(drop)
}

async fn people_stay_in_while_keycloak_hangs(bench: &Bench) -> Result<()> {
    let bob = bench.logs_in("bob").await?;
    bench.keycloak.freeze()?;
    let began = Instant::now();
    while began.elapsed() < LIFE + LIFE / 2 {
        ensure!(bob.hub.who_am_i().await?.is_some(), "bob is out although Keycloak only hangs");
    }
    bench.keycloak.wake()?;
    let renewed = eventually("the token is renewed", Duration::from_mins(1), || async {
        ensure!(bob.hub.who_am_i().await?.is_some(), "bob is out after the outage");
        let end =
            bench.user("bob").await?["auth_state"]["token_response"]["expires_at"].as_i64().unwrap_or(0);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        Ok((end > i64::try_from(now)?).then_some(()))
    });
    renewed.await
}

async fn the_form_works_in_a_browser(bench: &Bench) -> Result<()> {
    let browser = Browser::start("keycloak").await?;
    browser.open(&bench.hub.url("hub/token")).await?;
    browser.clicks(".service-login a.btn").await?;
    browser.types("#username", "bob".chars()).await?;
    browser.types("#password", PASSWORD.chars()).await?;
    browser.clicks("#kc-login").await?;
    browser.arrives_at("/hub/token").await?;
    browser.open(&bench.hub.url("hub/logout")).await?;
    browser.arrives_at("/hub/login").await?;
    browser.quit().await
}
