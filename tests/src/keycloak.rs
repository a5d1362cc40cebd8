//! A real Keycloak with a realm of its own, and people who use its real login form.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use url::Url;

use crate::environment::{Needed, target};
use crate::ports::free_port;
use crate::wait::eventually;

/// A cold start on a busy machine.
const READY_WITHIN: Duration = Duration::from_mins(4);
/// Name and password of the first administrator, in a database that lives in memory.
const ADMIN: &str = "admin";
/// The realm.
pub const REALM: &str = "lab";
/// The hub's name and secret in it.
pub const CLIENT: &str = "hub";
/// Client of a service that takes tokens of its own.
pub const STORE: &str = "store-api";
/// See [`CLIENT`].
pub const SECRET: &str = "a-secret-of-tests";
/// Password of everybody.
pub const PASSWORD: &str = "correct horse";

/// A running Keycloak. Dropping it ends it.
#[derive(Debug)]
pub struct Keycloak {
    http: Client,
    port: u16,
    process: Child,
    _folder: TempDir,
}

/// Cookies of one browser at Keycloak.
#[derive(Debug, Default, Clone)]
pub struct Session(BTreeMap<String, String>);

impl Keycloak {
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When it ends or is not ready in time.
    pub async fn start() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("himalia-keycloak-").tempdir()?;
        let (port, management) = (free_port(), free_port());
        let logs = target().join("test-logs");
        std::fs::create_dir_all(&logs)?;
        let log = File::create(logs.join(format!("keycloak-{port}.log")))?;
        let process = Command::new(Needed::Keycloak.path().join("bin/kc.sh"))
            .args(["start", "--optimized", "--http-enabled=true", "--hostname-strict=false"])
            .arg("--http-host=127.0.0.1")
            .arg(format!("--http-port={port}"))
            .arg(format!("--http-management-port={management}"))
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN)
            .env("JAVA_OPTS_KC_HEAP", "-Xms64m -Xmx512m")
            .env(
                "JAVA_OPTS_APPEND",
                format!("-XX:TieredStopAtLevel=1 -Djava.io.tmpdir={}", folder.path().display()),
            )
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // The script starts Java as another process: signals go to both.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start Keycloak")?;
        let http = Client::builder().redirect(Policy::none()).timeout(Duration::from_mins(2)).build()?;
        let mut keycloak = Self { http, port, process, _folder: folder };
        keycloak.ready().await?;
        Ok(keycloak)
    }

    async fn ready(&mut self) -> Result<()> {
        let url = format!("{}/realms/master/.well-known/openid-configuration", self.url());
        let (http, url, process) = (&self.http, &url, &std::cell::RefCell::new(&mut self.process));
        eventually("Keycloak answers", READY_WITHIN, || async move {
            if let Some(status) = process.borrow_mut().try_wait()? {
                bail!("Keycloak ended with {status}, see test-logs/keycloak-*.log");
            }
            let answer = http.get(url).send().await;
            Ok(answer.is_ok_and(|answer| answer.status() == 200).then_some(()))
        })
        .await
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The issuer of the realm.
    pub fn issuer(&self) -> String {
        format!("{}/realms/{REALM}", self.url())
    }

    /// Makes the realm: alice (realm role `hub-admin`, group `/workspaces/ws-alpha`), bob (client role `reader`,
    /// group `/workspaces/ws-beta`) and mallory (nothing). The client's service account may look at users, and it may
    /// exchange tokens for those of the client [`STORE`], whose role `writer` alice has. Access tokens live for
    /// `life`; each refresh token works once.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn make_realm(&self, hub: &str, life: Duration) -> Result<()> {
        let (mut alice, mut bob, mallory) = (person("alice"), person("bob"), person("mallory"));
        alice["groups"] = json!(["/workspaces/ws-alpha"]);
        alice["realmRoles"] = json!(["hub-admin"]);
        alice["clientRoles"] = json!({STORE: ["writer"]});
        bob["groups"] = json!(["/workspaces/ws-beta"]);
        bob["clientRoles"] = json!({CLIENT: ["reader"]});
        // The hub itself, which may look at accounts.
        let service = json!({
            "username": format!("service-account-{CLIENT}"), "enabled": true, "serviceAccountClientId": CLIENT,
            "clientRoles": {"realm-management": ["view-users"]},
        });
        let groups = json!({
            "name": "groups", "protocol": "openid-connect", "protocolMapper": "oidc-group-membership-mapper",
            "config": {"claim.name": "groups", "full.path": "true", "id.token.claim": "true",
                "access.token.claim": "true", "userinfo.token.claim": "true"},
        });
        let realm = json!({
            "realm": REALM, "enabled": true, "sslRequired": "none",
            "accessTokenLifespan": life.as_secs(), "revokeRefreshToken": true, "refreshTokenMaxReuse": 0,
            "eventsEnabled": true, "enabledEventTypes": ["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"],
            "clients": [{
                "clientId": CLIENT, "secret": SECRET, "serviceAccountsEnabled": true,
                "redirectUris": [format!("{hub}hub/oauth_callback")],
                "attributes": {
                    "standard.token.exchange.enabled": "true",
                    "post.logout.redirect.uris": format!("{hub}hub/logout"),
                    "backchannel.logout.url": format!("{hub}hub/backchannel_logout"),
                    "backchannel.logout.session.required": "true",
                    "pkce.code.challenge.method": "S256",
                },
                "protocolMappers": [groups],
            }, {"clientId": STORE, "secret": SECRET, "redirectUris": []}],
            "roles": {
                "realm": [{"name": "hub-admin"}],
                "client": {CLIENT: [{"name": "reader"}], STORE: [{"name": "writer"}]},
            },
            "groups": [{"name": "workspaces", "subGroups": [
                {"name": "ws-alpha"}, {"name": "ws-beta"}, {"name": "ws-gamma"}, {"name": "ws-delta"},
            ]}],
            "users": [alice, bob, mallory, service],
        });
        self.admin(Method::POST, "/admin/realms", Some(realm)).await.map(drop)
    }

    async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", ADMIN),
            ("password", ADMIN),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.url());
        let token: Value = self.http.post(url).form(&form).send().await?.json().await?;
        let token = token["access_token"].as_str().context("no token for the administrator")?.to_owned();
        let mut request = self.http.request(method, format!("{}{path}", self.url())).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path} answers {status}: {text}");
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn user_id(&self, name: &str) -> Result<String> {
        let found = self
            .admin(Method::GET, &format!("/admin/realms/{REALM}/users?exact=true&username={name}"), None)
            .await?;
        found[0]["id"].as_str().map(str::to_owned).with_context(|| format!("no user {name}"))
    }

    /// Puts somebody into a group of the realm.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn join(&self, user: &str, group: &str) -> Result<()> {
        let path = self.membership(user, group).await?;
        self.admin(Method::PUT, &path, Some(json!({}))).await.map(drop)
    }

    /// Takes somebody out of a group of the realm.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn leave(&self, user: &str, group: &str) -> Result<()> {
        let path = self.membership(user, group).await?;
        self.admin(Method::DELETE, &path, None).await.map(drop)
    }

    async fn membership(&self, user: &str, group: &str) -> Result<String> {
        let found =
            self.admin(Method::GET, &format!("/admin/realms/{REALM}/group-by-path{group}"), None).await?;
        let group = found["id"].as_str().context("no such group")?;
        let user = self.user_id(user).await?;
        Ok(format!("/admin/realms/{REALM}/users/{user}/groups/{group}"))
    }

    /// An administrator ends all sessions of somebody.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn log_out(&self, user: &str) -> Result<()> {
        let user = self.user_id(user).await?;
        let path = format!("/admin/realms/{REALM}/users/{user}/logout");
        self.admin(Method::POST, &path, Some(json!({}))).await.map(drop)
    }

    /// From now on a new key signs.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn rotate_keys(&self) -> Result<()> {
        let realm = self.admin(Method::GET, &format!("/admin/realms/{REALM}"), None).await?;
        let component = json!({
            "name": "newer", "providerId": "rsa-generated", "providerType": "org.keycloak.keys.KeyProvider",
            "parentId": realm["id"], "config": {"priority": ["900"], "enabled": ["true"], "active": ["true"]},
        });
        self.admin(Method::POST, &format!("/admin/realms/{REALM}/components"), Some(component))
            .await
            .map(drop)
    }

    /// Disables the account of somebody, as an administrator does with whoever has left.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn disable(&self, user: &str) -> Result<()> {
        let path = format!("/admin/realms/{REALM}/users/{}", self.user_id(user).await?);
        self.admin(Method::PUT, &path, Some(json!({"enabled": false}))).await.map(drop)
    }

    /// Deletes the account of somebody.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn delete(&self, user: &str) -> Result<()> {
        let path = format!("/admin/realms/{REALM}/users/{}", self.user_id(user).await?);
        self.admin(Method::DELETE, &path, None).await.map(drop)
    }

    /// Makes an account, with the group of alice.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn add(&self, user: &str) -> Result<()> {
        let mut account = person(user);
        account["groups"] = json!(["/workspaces/ws-alpha"]);
        self.admin(Method::POST, &format!("/admin/realms/{REALM}/users"), Some(account)).await.map(drop)
    }

    /// When refreshes of somebody succeeded, since 1970 and the oldest first, and how many failed.
    ///
    /// # Errors
    /// When Keycloak refuses.
    pub async fn refreshes(&self, user: &str) -> Result<(Vec<Duration>, usize)> {
        let user = self.user_id(user).await?;
        let times = async |kind: &str| -> Result<Vec<Duration>> {
            let path = format!("/admin/realms/{REALM}/events?max=1000&type={kind}&user={user}");
            let events = self.admin(Method::GET, &path, None).await?;
            let time = |event: &Value| event["time"].as_u64().map(Duration::from_millis);
            let events = events.as_array().context("no list of events")?;
            let mut times: Vec<Duration> = events.iter().filter_map(time).collect();
            times.sort_unstable();
            Ok(times)
        };
        Ok((times("REFRESH_TOKEN").await?, times("REFRESH_TOKEN_ERROR").await?.len()))
    }

    /// Stops answering, as a machine that hangs, until [`Keycloak::wake`].
    ///
    /// # Errors
    /// When the process has ended.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    /// Goes on.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn wake(&self) -> Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.process.id().context("Keycloak has ended")?;
        Ok(killpg(Pid::from_raw(i32::try_from(pid)?), signal)?)
    }

    /// Goes to an address of Keycloak as a browser with this session; a form for name and password is filled in, a
    /// question is answered with yes. The address outside of Keycloak at which it ends.
    ///
    /// # Errors
    /// When Keycloak shows something else.
    pub async fn visit(&self, session: &mut Session, address: &str, user: &str) -> Result<Url> {
        let mut answer = self.get(session, address).await?;
        for _ in 0..10 {
            if let Some(location) = answer.headers().get(LOCATION) {
                let next = answer.url().join(location.to_str()?)?;
                if next.port() != Some(self.port) {
                    return Ok(next);
                }
                answer = self.get(session, next.as_str()).await?;
                continue;
            }
            let (status, page) = (answer.status(), answer.text().await?);
            let action = page.split("action=\"").nth(1).and_then(|rest| rest.split('"').next());
            let action = action
                .with_context(|| format!("no form in the page ({status}): {page}"))?
                .replace("&amp;", "&");
            let fields = [("username", user), ("password", PASSWORD), ("credentialId", "")];
            let request = self.http.post(action).header(COOKIE, session.header()).form(&fields);
            answer = request.send().await?;
            session.take(&answer);
        }
        bail!("Keycloak sends around in circles")
    }

    async fn get(&self, session: &mut Session, address: &str) -> Result<Response> {
        let answer = self.http.get(address).header(COOKIE, session.header()).send().await?;
        session.take(&answer);
        Ok(answer)
    }
}

impl Session {
    /// Cookies are marked Secure and sent all the same: browsers do that on loopback addresses.
    fn take(&mut self, answer: &Response) {
        for cookie in answer.headers().get_all(SET_COOKIE) {
            let text = cookie.to_str().unwrap_or_default();
            let Some((name, value)) = text.split(';').next().and_then(|pair| pair.split_once('=')) else {
                continue;
            };
            if value.is_empty() || text.contains("Max-Age=0") {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn header(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Whether Keycloak knows this browser.
    pub fn is_known(&self) -> bool {
        self.0.keys().any(|name| name.starts_with("KEYCLOAK_IDENTITY"))
    }
}

impl Drop for Keycloak {
    fn drop(&mut self) {
        // A frozen process does not end before it goes on; the folder is removed when it has.
        let _ = self.wake();
        let _ = self.signal(Signal::SIGKILL);
    }
}

/// An account as Keycloak imports it.
fn person(name: &str) -> Value {
    json!({
        "username": name, "enabled": true, "email": format!("{name}@example.org"), "emailVerified": true,
        "firstName": name, "lastName": "Example",
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": false}],
    })
}
