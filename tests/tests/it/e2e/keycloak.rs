//! Login by a real Keycloak: its form, groups and roles, tokens that run out, logout from either side, an outage.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::join_all;
use hub_tests::browser::Browser;
use hub_tests::client::Person;
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::keycloak::{CLIENT, Keycloak, PASSWORD, SECRET, STORE, Session};
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::Method;
use reqwest::header::LOCATION;
use serde_json::{Value, json};
use url::Url;

/// How long things take.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Life of access tokens. They are renewed in their last quarter.
    life: Duration,
    /// How long Keycloak does not answer.
    away: Duration,
}

/// What shows that it works at all.
const SHORT: Pace = Pace { life: Duration::from_secs(20), away: Duration::from_secs(25) };
/// What people have.
const USUAL: Pace = Pace { life: Duration::from_mins(1), away: Duration::from_mins(2) };
/// How many ask at once, and how many of them by token.
const CALLERS: usize = 200;
const BY_TOKEN: usize = 20;
/// How long what Keycloak was told may take to be seen here.
const PATIENCE: Duration = Duration::from_mins(1);
/// What pages have while it does not.
const BANNER: &str = "id=\"login-away\"";
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
    pace: Pace,
}

impl Bench {
    async fn start(pace: Pace) -> Result<Self> {
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
                "watch_accounts": "2s",
                "token_exchange": {"store": {"audience": STORE}},
                "server_environment": {
                    "KEYCLOAK_TOKEN": "{access_token}", "KEYCLOAK_TOKEN_END": "{expires_at}",
                    "STORE_TOKEN": "{exchanged.store}",
                },
            },
        });
        let settings = Settings { authenticator: Some(authenticator), ..Settings::default() };
        let mut hub = Hub::prepare(Kind::Himalia, settings)?;
        keycloak.make_realm(&hub.url(""), pace.life).await?;
        hub.start_again().await?;
        Ok(Self { keycloak, hub, pace })
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
    story(SHORT).await
}

/// Takes some five minutes, and is a stage of its own.
#[tokio::test]
async fn long_himalia() -> Result<()> {
    story(USUAL).await
}

async fn story(pace: Pace) -> Result<()> {
    let needs = [Needed::Keycloak, Needed::Chromium, Needed::Chromedriver];
    if !super::ready(&[Kind::Himalia], &needs) {
        return Ok(());
    }
    let bench = Bench::start(pace).await?;
    let alice = roles_and_groups_are_mapped(&bench).await.context("mapping")?;
    a_change_of_groups_is_seen(&bench, &alice).await.context("change of groups")?;
    // The tokens of alice run out while bob does other things.
    let others = async {
        new_keys_are_found(&bench).await.context("keys")?;
        a_logout_at_keycloak_ends_everything(&bench).await.context("logout at Keycloak")?;
        the_form_works_in_a_browser(&bench).await.context("browser")
    };
    let many = async { many_callers_lead_to_one_refresh(&bench, &alice).await.context("refresh") };
    tokio::try_join!(many, others)?;
    let secrets = pages_show_no_secrets(&bench, &alice).await.context("secrets")?;
    logging_out_of_the_hub_logs_out_of_keycloak(&bench, alice).await.context("logout of the hub")?;
    people_stay_in_while_keycloak_is_away(&bench).await.context("outage")?;
    who_is_disabled_is_out_within_seconds(&bench).await.context("disabled")?;
    who_is_deleted_is_out_and_nobody_else_gets_the_name(&bench).await.context("deleted")?;
    let log = bench.hub.log();
    for secret in [SECRET, PASSWORD, "eyJ"].into_iter().chain(secrets.iter().map(String::as_str)) {
        ensure!(!log.contains(secret), "a secret of {} characters is in the log", secret.len());
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
    ensure!(bench.hub.log().contains("not_allowed"), "the log does not tell why mallory stays out");
    let answer = alice.hub.get("hub/account").await?;
    ensure!(
        alice.hub.follow("hub/token").await?.text.contains("href=\"/hub/account\""),
        "no link to the account"
    );
    let console = answer.headers().get(LOCATION).context("no way to the account")?.to_str()?;
    ensure!(console.starts_with(&format!("{}/account/", bench.keycloak.issuer())), "{console}");
    Ok(alice)
}

async fn a_change_of_groups_is_seen(bench: &Bench, alice: &Visitor) -> Result<()> {
    bench.keycloak.join("alice", "/workspaces/ws-beta").await?;
    eventually("the new group is seen", PATIENCE, || async {
        ensure!(alice.hub.who_am_i().await?.is_some(), "alice is out");
        let model = bench.user("alice").await?;
        Ok((model["groups"] == json!(["ws-alpha", "ws-beta"])).then_some(()))
    })
    .await
}

/// Waves of requests around the end of two tokens, by browser and by token.
async fn many_callers_lead_to_one_refresh(bench: &Bench, alice: &Visitor) -> Result<()> {
    let script = bench.hub.api(&bench.hub.administrator()?.new_token("alice").await?)?;
    let (before, failed_before) = bench.keycloak.refreshes("alice").await?;
    for number in 1..=2 {
        let (first, end) = kept_token(bench, "alice").await?;
        let life = bench.pace.life;
        let renewal = end - i64::try_from(life.as_secs() / 4)?;
        eventually("the token is about to be renewed", 2 * life, || async {
            Ok((unix_time()? >= renewal - 1).then_some(()))
        })
        .await?;
        eventually("the token is renewed", 2 * life, || async {
            let by_browser = (0..CALLERS - BY_TOKEN).map(|_| async {
                let answer = alice.hub.scripted(Method::GET, "hub/api/user")?.send().await?;
                ensure!(answer.status() == 200, "a caller gets {}", answer.status());
                anyhow::Ok(())
            });
            let by_token = (0..BY_TOKEN).map(|_| async {
                let asked = unix_time()?;
                let (status, model) = script.get("user").await?;
                ensure!(status == 200, "a caller by token gets {status}");
                let environment = &model["environment"];
                // On a machine so slow that the token ends under way, nothing is better than a token that has ended.
                let Some(end) = environment["KEYCLOAK_TOKEN_END"].as_str() else { return Ok(()) };
                let end: i64 = end.parse()?;
                ensure!(end > asked, "a token is handed out that ended {} s ago", asked - end);
                tokens_are_good(environment)
            });
            let (browsers, scripts) = tokio::join!(join_all(by_browser), join_all(by_token));
            browsers.into_iter().chain(scripts).collect::<Result<Vec<()>>>()?;
            let (now, end) = kept_token(bench, "alice").await?;
            ensure!(end > unix_time()?, "the kept token has ended");
            Ok((now != first).then_some(()))
        })
        .await?;
        let (refreshes, failed) = bench.keycloak.refreshes("alice").await?;
        ensure!(refreshes.len() >= before.len() + number, "{} refreshes for {number} ends", refreshes.len());
        ensure!(failed == failed_before, "{} refreshes failed", failed - failed_before);
        // Exactly one for each end: the next one is due in the last quarter of a token's life.
        for pair in refreshes.windows(2) {
            let apart = pair[1].saturating_sub(pair[0]);
            ensure!(apart + Duration::from_secs(2) > life * 3 / 4, "two refreshes are {apart:?} apart");
        }
        eventually("a script has both tokens", 2 * life, || async {
            let (_, model) = script.get("user").await?;
            let environment = &model["environment"];
            if environment["KEYCLOAK_TOKEN"].is_null() {
                return Ok(None);
            }
            tokens_are_good(environment).map(Some)
        })
        .await?;
    }
    Ok(())
}

/// The person's own token, and the one for the store.
fn tokens_are_good(environment: &Value) -> Result<()> {
    ensure!(environment["KEYCLOAK_TOKEN"].as_str().is_some_and(|token| token.starts_with("eyJ")));
    let audience = audience(&environment["STORE_TOKEN"])?;
    ensure!(audience == json!(STORE), "the token for the store is for {audience}");
    Ok(())
}

/// The access token that the hub keeps of somebody, and when it ends.
async fn kept_token(bench: &Bench, user: &str) -> Result<(String, i64)> {
    let model = bench.user(user).await?;
    let response = &model["auth_state"]["token_response"];
    let access = response["access_token"].as_str().context("no access token")?.to_owned();
    Ok((access, response["expires_at"].as_i64().context("no end")?))
}

fn unix_time() -> Result<i64> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(i64::try_from(now.as_secs())?)
}

async fn new_keys_are_found(bench: &Bench) -> Result<()> {
    bench.keycloak.rotate_keys().await?;
    // Keys are asked for again at most every ten seconds.
    eventually("a login with the new key", PATIENCE, || async {
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
    let ordered = Instant::now();
    bench.keycloak.log_out("bob").await?;
    let began = Instant::now();
    for tab in &tabs {
        eventually("bob is out", OUT_WITHIN, || async {
            Ok(tab.hub.who_am_i().await?.is_none().then_some(()))
        })
        .await?;
    }
    println!("out {:?} after Keycloak's answer, {:?} after the order", began.elapsed(), ordered.elapsed());
    let api = bench.hub.api(&own)?;
    ensure!(
        api.get("user").await?.0 == 200,
        "a token that bob made for a script ends only if the operator wants it"
    );
    // A look at the login may end it before the call of Keycloak arrives. Whose the name is stays known.
    eventually("the tokens of the ended session are kept no more", PATIENCE, || async {
        let state = bench.user("bob").await?["auth_state"].clone();
        let kept = |key: &&str| state[*key].as_str().is_some_and(|token| !token.is_empty());
        Ok((!["access_token", "refresh_token", "id_token"].iter().any(kept)).then_some(()))
    })
    .await?;
    bench.logs_in("bob").await.map(drop)
}

async fn people_stay_in_while_keycloak_is_away(bench: &Bench) -> Result<()> {
    let bob = bench.logs_in("bob").await?;
    ensure!(!bob.hub.follow("hub/token").await?.text.contains(BANNER), "the banner is there too early");
    bench.keycloak.freeze()?;
    let began = Instant::now();
    let mut banner = None;
    let away = bench.pace.away;
    while began.elapsed() < away {
        let since = began.elapsed();
        let text = eventually("the next look at the pages", Duration::from_mins(1), || async {
            ensure!(bob.hub.who_am_i().await?.is_some(), "bob is out although Keycloak only hangs");
            if began.elapsed() < (since + Duration::from_secs(1)).min(away) {
                return Ok(None);
            }
            let page = bob.hub.follow("hub/token").await?;
            ensure!(page.status == 200, "a page answers {}", page.status);
            Ok(Some(page.text))
        })
        .await?;
        if banner.is_none() && text.contains(BANNER) {
            banner = Some(began.elapsed());
        }
    }
    println!("the banner was there {:?} after Keycloak hung", banner.context("no page told of the outage")?);
    ensure!(bob.hub.follow("hub/token").await?.text.contains(BANNER), "the banner went away too early");
    bench.keycloak.wake()?;
    eventually("the token is renewed and the banner gone", Duration::from_mins(2), || async {
        ensure!(bob.hub.who_am_i().await?.is_some(), "bob is out after the outage");
        let renewed = kept_token(bench, "bob").await?.1 > unix_time()?;
        let shown = bob.hub.follow("hub/token").await?.text.contains(BANNER);
        Ok((renewed && !shown).then_some(()))
    })
    .await
}

/// Keycloak tells nobody; the hub asks.
async fn who_is_disabled_is_out_within_seconds(bench: &Bench) -> Result<()> {
    let bob = bench.logs_in("bob").await?;
    let script = bench.hub.api(&bench.hub.administrator()?.new_token("bob").await?)?;
    ensure!(script.get("user").await?.0 == 200, "the token of bob's script does not work");
    bench.keycloak.disable("bob").await?;
    let began = Instant::now();
    eventually("bob is out", OUT_WITHIN, || async {
        Ok((bob.hub.who_am_i().await?.is_none() && script.get("user").await?.0 == 403).then_some(()))
    })
    .await?;
    println!("out {:?} after the account was disabled", began.elapsed());
    Ok(())
}

/// Looks at every page for what nobody may read over a shoulder, and gives it back.
async fn pages_show_no_secrets(bench: &Bench, alice: &Visitor) -> Result<Vec<String>> {
    let state = bench.user("alice").await?["auth_state"].clone();
    let token = |name: &str| state[name].as_str().map(str::to_owned).with_context(|| format!("no {name}"));
    let at = alice.hub.url("hub/")?;
    let cookie = |name: &str| alice.hub.cookie(&at, name).with_context(|| format!("no cookie {name}"));
    let secrets = vec![
        token("access_token")?,
        token("refresh_token")?,
        token("id_token")?,
        cookie("jupyterhub-hub-login")?.trim_matches('"').to_owned(),
        cookie("jupyterhub-session-id")?,
    ];
    for page in ["home", "token", "sessions", "admin", "nowhere", "user/alice/"] {
        let text = alice.hub.follow(&format!("hub/{page}")).await?.text;
        ensure!(text.contains("<html"), "{page} is no page");
        for secret in secrets.iter().map(String::as_str).chain([SECRET, PASSWORD, "eyJ"]) {
            ensure!(!text.contains(secret), "the page {page} shows a secret of {} characters", secret.len());
        }
    }
    Ok(secrets)
}

/// Deleted accounts are looked for, and their names stay theirs.
async fn who_is_deleted_is_out_and_nobody_else_gets_the_name(bench: &Bench) -> Result<()> {
    let alice = bench.logs_in("alice").await?;
    bench.keycloak.delete("alice").await?;
    let began = Instant::now();
    eventually("alice is out", OUT_WITHIN, || async {
        Ok(alice.hub.who_am_i().await?.is_none().then_some(()))
    })
    .await?;
    println!("out {:?} after the account was deleted", began.elapsed());
    bench.keycloak.add("alice").await?;
    let (other, status, _) = bench.tries("alice").await?;
    ensure!(
        status == 403 && other.hub.who_am_i().await?.is_none(),
        "another account gets the name: {status}"
    );
    ensure!(bench.hub.log().contains("account_changed"), "the log does not tell why");
    Ok(())
}

/// For whom a token is.
fn audience(token: &Value) -> Result<Value> {
    let payload = token.as_str().and_then(|token| token.split('.').nth(1)).context("no token")?;
    let json = URL_SAFE_NO_PAD.decode(payload)?;
    Ok(serde_json::from_slice::<Value>(&json)?["aud"].clone())
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
