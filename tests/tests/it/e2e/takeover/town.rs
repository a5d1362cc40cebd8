//! The people of the story, what they hold, and what they do with it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use hub_tests::client::{Api, Page, Person};
use hub_tests::environment::Needed;
use hub_tests::forms::inputs;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::ports::free_port;
use hub_tests::processes::Marked;
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// So many of the people are called `real-…`: their servers are the real thing. Those of others are light stand-ins.
const REAL: usize = 9;
const PEOPLE: usize = 20;
/// Owners of servers, and their names.
const SERVERS: [(&str, &str); 10] = [
    ("real-0", ""),
    ("real-1", ""),
    ("real-2", ""),
    ("real-2", "second"),
    ("real-3", ""),
    ("real-4", ""),
    ("real-5", ""),
    ("real-6", ""),
    ("real-7", ""),
    ("real-8", ""),
];
/// Whose `auth_state` there is.
const KNOWN_TO_OTHERS: &str = "light-13";
/// Its scopes come from a role of its own, which the administrator of a test does not have by default.
const MORE_SCOPES: [&str; 7] = [
    "admin:groups",
    "admin:services",
    "read:services",
    "read:roles",
    "shares",
    "read:users:shares",
    "admin:auth_state",
];
/// Servers and the service come up beside each other on a machine that is busy with them.
const UP_WITHIN: Duration = Duration::from_mins(2);
const PORT_OF_SERVICE: &str = "WHOAMI_PORT";

/// The hub that the story begins with.
pub(super) fn settings(database: String, separate_proxy: bool, first: Kind) -> Settings {
    let venv = if first == Kind::Stock5 { Needed::Venv54 } else { Needed::Venv61 };
    let mut settings =
        Settings { database: Some(database), separate_proxy, ..Settings::default().with_venv(venv) };
    let light = Needed::LightSingleuser.path();
    let choice = format!(
        "case \"$JUPYTERHUB_USER\" in real-*) exec jupyterhub-singleuser --allow-root --HubOAuth.cache_max_age=1;; \
         *) exec '{}';; esac",
        light.display()
    );
    settings.command = ["sh", "-c", &choice].map(str::to_owned).to_vec();
    settings.environment.insert(PORT_OF_SERVICE.to_owned(), free_port().to_string());
    let key = uuid::Uuid::new_v4().simple().to_string();
    settings.hub_environment.insert("JUPYTERHUB_CRYPT_KEY".to_owned(), format!("{key}{key}"));
    let authenticator = json!({
        "kind": "dummy", "allow_all": true, "admin_users": settings.admins, "enable_auth_state": true,
    });
    settings.authenticator = Some(authenticator);
    if let Some(administrator) = settings.services.first_mut() {
        administrator.scopes.extend(MORE_SCOPES.map(str::to_owned));
    }
    settings
}

/// Groups, roles and a service, in the words of the hub that is to start.
pub(super) fn rules(hub: &mut Hub) -> Result<()> {
    let program = hub.folder().join("whoami.py");
    std::fs::write(&program, include_str!("whoami.py"))?;
    let python = hub.settings.path.first().context("a folder with Python")?.join("python");
    let port = hub.settings.environment.get(PORT_OF_SERVICE).context("the service has a port")?;
    let service = json!({
        "name": "whoami", "url": format!("http://127.0.0.1:{port}"), "command": [python, program],
        "environment": { "WHOAMI_SECRET": hub.mark.value(), hub_tests::processes::VARIABLE: hub.mark.value() },
        "oauth_no_confirm": true, "info": { "purpose": "tells who you are" },
    });
    let roles = [
        json!({ "name": "lookout", "scopes": ["list:users"], "services": ["whoami"] }),
        json!({ "name": "guest", "scopes": ["access:services!service=whoami"], "users": ["light-16", "light-19"] }),
        json!({
            "name": "helper", "description": "Looks after servers", "scopes": ["list:users", "servers!group=team"],
            "users": ["light-9"], "groups": ["team"],
        }),
    ];
    let team = json!({ "users": ["light-10", "light-11"], "properties": { "floor": 3 } });
    hub.settings.extra = match hub.kind {
        Kind::Himalia => {
            toml::to_string(&json!({ "services": [service], "roles": roles, "groups": { "team": team } }))?
        }
        Kind::Stock | Kind::Stock5 => format!(
            "c.Authenticator.enable_auth_state = True\nc.JupyterHub.services.append({service})\n\
             c.JupyterHub.load_roles.extend({})\nc.JupyterHub.load_groups = {}\n",
            json!(roles),
            json!({ "team": team }),
        ),
    };
    Ok(())
}

/// Everybody, with everything that must go on to work.
pub(super) struct Town {
    people: Vec<(String, Person)>,
    /// Who has opened which page before: the cookies for it must do from then on.
    visits: Vec<(Person, String)>,
    tokens: Vec<Known>,
    /// Visitors of the service.
    guests: Vec<(String, Person)>,
    servers: Vec<Marked>,
    share_code: String,
    kernel: Kernel,
}

/// A token, and what it was worth when it was made: paths of the API with status and the name in the answer.
struct Known {
    token: Api,
    worth: Vec<(String, StatusCode, Value)>,
}

impl Known {
    async fn new(hub: &Hub, token: &str) -> Result<Self> {
        let mut known = Self { token: hub.api(token)?, worth: Vec::new() };
        for path in
            ["user", "users", "users/light-10", "groups", "groups/team", "services", "shares/real-0", "proxy"]
        {
            known.worth.push(known.ask(path).await?);
        }
        Ok(known)
    }

    async fn ask(&self, path: &str) -> Result<(String, StatusCode, Value)> {
        let (status, answer) = self.token.get(path).await?;
        // Whole models are compared by the inventory; here it counts how many there are and whose.
        let gist = match &answer {
            Value::Array(models) => {
                let mut names: Vec<&str> =
                    models.iter().filter_map(|model| model.get("name")?.as_str()).collect();
                names.sort_unstable();
                json!({ "names": names })
            }
            model => json!([model.get("name"), model.get("groups"), model.get("scopes").map(scopes_of)]),
        };
        Ok((path.to_owned(), status, gist))
    }

    /// Versions name different scopes for the same rights.
    async fn is_worth_the_same(&self, versions_differ: bool) -> Result<()> {
        let told = |(path, status, gist): &(String, StatusCode, Value)| {
            let mut gist = gist.clone();
            if versions_differ && let Some(scopes) = gist.get_mut(2) {
                *scopes = Value::Null;
            }
            (path.clone(), *status, gist)
        };
        for before in &self.worth {
            let (before, now) = (told(before), told(&self.ask(&before.0).await?));
            ensure!(now == before, "a token was worth {before:?} and is worth {now:?}");
        }
        Ok(())
    }
}

/// The order of scopes means nothing.
fn scopes_of(scopes: &Value) -> Value {
    let mut scopes: Vec<&str> = scopes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    scopes.sort_unstable();
    json!(scopes)
}

impl Town {
    /// Makes all of it with the hub that runs.
    pub(super) async fn found(hub: &Hub) -> Result<Self> {
        let administrator = hub.administrator()?;
        let mut people = Vec::new();
        for number in 0..PEOPLE {
            let name = if number < REAL { format!("real-{number}") } else { format!("light-{number}") };
            let person = hub.logged_in(&name).await?;
            people.push((name, person));
        }
        try_join_all(SERVERS.map(|(owner, server)| administrator.start_server(owner, server))).await?;
        let mut visits = Vec::new();
        for (owner, server) in SERVERS {
            let person = person_of(&people, owner)?;
            visits.push(visit(person, page_of(owner, server), false).await?);
        }
        let owner = person_of(&people, "real-0")?;
        let mut kernel = Kernel::start(owner, "user/real-0/").await?;
        kernel.execute("answer = 42").await?;

        let path = format!("users/{KNOWN_TO_OTHERS}");
        made(&administrator, Method::PATCH, &path, json!({ "auth_state": auth_state() })).await?;
        made(&administrator, Method::POST, "groups/guild", json!({ "users": ["light-12", "light-13"] }))
            .await?;
        made(&administrator, Method::PUT, "groups/guild/properties", json!({ "colour": "green" })).await?;
        made(&administrator, Method::POST, "shares/real-0/", json!({ "user": "light-14" })).await?;
        made(&administrator, Method::POST, "shares/real-0/", json!({ "group": "guild" })).await?;
        let code =
            made(&administrator, Method::POST, "share-codes/real-0/", json!({ "expires_in": 86400 })).await?;
        let share_code = code.get("code").and_then(Value::as_str).context("a share code")?.to_owned();
        accept(person_of(&people, "light-15")?, &share_code).await?;
        for name in ["light-14", "light-15"] {
            visits.push(visit(person_of(&people, name)?, page_of("real-0", ""), true).await?);
        }

        let mut town = Self {
            tokens: tokens(hub, &administrator).await?,
            people,
            visits,
            guests: Vec::new(),
            servers: hub.mark.with_command("singleuser"),
            share_code,
            kernel,
        };
        ensure!(town.servers.len() == SERVERS.len(), "{:#?}", town.servers);
        town.receives("light-16").await?;
        town.goes_on(hub, false).await.context("with the first hub")?;
        Ok(town)
    }

    /// Everything still works, with no login and no restart.
    pub(super) async fn goes_on(&mut self, hub: &Hub, versions_differ: bool) -> Result<()> {
        for (name, person) in &self.people {
            let who = person.who_am_i().await?;
            ensure!(who.as_ref() == Some(name), "the session of {name} is that of {who:?}");
        }
        let administrator = hub.administrator()?;
        for (person, path) in &self.visits {
            // The proxy may not know the server yet, and the hub's own page in its place leads back here.
            let (owner, server) = owner_of(path);
            administrator.server_is_ready(owner, server).await?;
            let page = eventually("the server is routed to", UP_WITHIN, || async move {
                let page = person.follow(path).await?;
                Ok((page.status != StatusCode::SERVICE_UNAVAILABLE && !page.url.path().contains("/hub/"))
                    .then_some(page))
            });
            let page = page.await.with_context(|| path.clone())?;
            ensure!(page.status == 200, "{path} answers {}", page.status);
            ensure!(page.hops.len() == 1, "the cookies for {path} do not do any more: {:#?}", page.hops);
        }
        let known = administrator.fetch(&format!("users/{KNOWN_TO_OTHERS}")).await?;
        ensure!(known.get("auth_state") == Some(&auth_state()), "the auth_state cannot be read: {known}");
        for known in &self.tokens {
            known.is_worth_the_same(versions_differ).await?;
        }
        let mut running = hub.mark.with_command("singleuser");
        running.sort_by_key(|process| process.pid);
        self.servers.sort_by_key(|process| process.pid);
        ensure!(running == self.servers, "other servers run: {:#?} instead of {:#?}", running, self.servers);
        for server in &running {
            let (owner, token) = of_environment(server)?;
            let user = hub.api(&token)?.fetch("user").await?;
            ensure!(
                user.get("name") == Some(&json!(owner)),
                "the token of a server of {owner} is that of {user}"
            );
        }
        for (name, guest) in &self.guests {
            let page = service_page(guest, "services/whoami/").await?;
            ensure!(page.hops.len() == 1, "the service has forgotten {name}: {:#?}", page.hops);
            ensure!(says(&page.text, "visitor", name), "{}", page.text);
        }
        let itself = service_page(&hub.person()?, "services/whoami/itself").await?;
        ensure!(
            says(&itself.text, "kind", "service") && says(&itself.text, "name", "whoami"),
            "{}",
            itself.text
        );
        if hub.settings.separate_proxy {
            // The proxy stayed, and with it every open connection.
            ensure!(self.kernel.execute("print(answer)").await? == "42\n", "on the open connection");
        }
        let owner = person_of(&self.people, "real-0")?;
        let mut kernel = Kernel::connect(owner, "user/real-0/", &self.kernel.id).await?;
        ensure!(kernel.execute("print(answer)").await? == "42\n");
        Ok(())
    }

    /// What people do on another day.
    pub(super) async fn grows(&mut self, hub: &Hub) -> Result<()> {
        let administrator = hub.administrator()?;
        let newcomer = hub.logged_in("light-new").await?;
        administrator.start_server("light-new", "").await?;
        self.visits.push(visit(&newcomer, page_of("light-new", ""), false).await?);
        self.people.push(("light-new".to_owned(), newcomer));

        administrator.stop_server("real-8", "").await?;
        self.visits.retain(|(_, path)| owner_of(path).0 != "real-8");
        self.servers = hub.mark.with_command("singleuser");
        ensure!(self.servers.len() == SERVERS.len(), "{:#?}", self.servers);

        made(&administrator, Method::POST, "groups/guild/users", json!({ "users": ["light-17"] })).await?;
        let late = person_of(&self.people, "light-18")?;
        accept(late, &self.share_code).await?;
        self.visits.push(visit(late, page_of("real-0", ""), true).await?);
        self.receives("light-19").await?;

        let gone = self.tokens.pop().context("there are tokens")?;
        let id = gone.token.fetch("user").await?;
        let id = id.get("token_id").and_then(Value::as_str).context("a token knows its id")?.to_owned();
        made(&administrator, Method::DELETE, &format!("users/light-10/tokens/{id}"), Value::Null).await?;
        let (status, _) = gone.token.get("user").await?;
        ensure!(status == StatusCode::FORBIDDEN, "a token that was taken back answers {status}");
        // The new member of the group counts for what tokens see, and so do new tokens.
        self.tokens = tokens(hub, &administrator).await?;
        Ok(())
    }

    /// All servers are stopped.
    pub(super) async fn goes_to_sleep(self, hub: &Hub) -> Result<()> {
        let administrator = hub.administrator()?;
        let mut owned: Vec<(&str, &str)> =
            SERVERS.into_iter().filter(|(owner, _)| *owner != "real-8").collect();
        owned.push(("light-new", ""));
        try_join_all(owned.into_iter().map(|(owner, server)| administrator.stop_server(owner, server)))
            .await?;
        let left = hub.mark.with_command("singleuser");
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    }

    /// A visitor of the service.
    async fn receives(&mut self, name: &str) -> Result<()> {
        let guest = person_of(&self.people, name)?.clone();
        let page = service_page(&guest, "services/whoami/").await?;
        ensure!(says(&page.text, "visitor", name), "{} at {}", page.text, page.url);
        self.guests.push((name.to_owned(), guest));
        Ok(())
    }
}

/// What another program has told of a person; kept encrypted.
fn auth_state() -> Value {
    json!({ "refresh_token": "a secret", "claims": { "groups": ["guild"] } })
}

/// Tokens of every kind; the last is one of light-10 that may be taken back.
async fn tokens(hub: &Hub, administrator: &Api) -> Result<Vec<Known>> {
    let mut tokens = vec![Known::new(hub, administrator.token()).await?];
    for (owner, asked) in [
        ("real-0", json!({})),
        ("light-9", json!({ "note": "of a helper by its own role" })),
        ("light-11", json!({ "note": "of a helper by its group" })),
        ("light-14", json!({ "scopes": ["access:servers!server=real-0/", "read:users:name!user"] })),
        ("light-10", json!({ "scopes": ["read:users:groups!user"], "note": "narrow" })),
        ("light-10", json!({ "roles": ["token"] })),
        ("light-10", json!({ "expires_in": 86400 })),
    ] {
        let made = made(administrator, Method::POST, &format!("users/{owner}/tokens"), asked).await?;
        let token = made.get("token").and_then(Value::as_str).context("a token")?.to_owned();
        tokens.push(Known::new(hub, &token).await?);
    }
    Ok(tokens)
}

async fn made(administrator: &Api, method: Method, path: &str, body: Value) -> Result<Value> {
    let (status, answer) = administrator.send(method, path, body).await?;
    ensure!(status.is_success(), "{path} answers {status}: {answer}");
    Ok(answer)
}

fn person_of<'a>(people: &'a [(String, Person)], name: &str) -> Result<&'a Person> {
    people
        .iter()
        .find(|(other, _)| other == name)
        .map(|(_, person)| person)
        .with_context(|| format!("nobody is called {name}"))
}

fn page_of(owner: &str, server: &str) -> String {
    let server = if server.is_empty() { String::new() } else { format!("{server}/") };
    // A light server has one page for everything.
    format!("user/{owner}/{server}lab")
}

/// The owner and the name of the server of a page.
fn owner_of(path: &str) -> (&str, &str) {
    let mut parts = path.split('/').skip(1);
    let owner = parts.next().unwrap_or_default();
    (owner, parts.next().filter(|part| *part != "lab").unwrap_or_default())
}

/// The first visit, by OAuth; with a page that asks for consent where the server is another's.
async fn visit(person: &Person, path: String, of_another: bool) -> Result<(Person, String)> {
    let mut page = person.follow(&path).await?;
    if of_another {
        ensure!(page.url.path().ends_with("/hub/api/oauth2/authorize"), "nobody asked: {:#?}", page.hops);
        page = submit(person, &page).await?;
    }
    ensure!(
        page.status == 200 && page.url.path().ends_with("/lab"),
        "{} at {}: {}",
        page.status,
        page.url,
        page.text
    );
    Ok((person.clone(), path))
}

/// Accepts a share by its code, on the page that asks whether to.
async fn accept(person: &Person, code: &str) -> Result<()> {
    let page = person.follow(&format!("hub/accept-share?code={code}")).await?;
    ensure!(page.status == 200, "the page of a share code answers {}: {}", page.status, page.text);
    let fields = inputs(&page.text);
    ensure!(fields.iter().any(|(name, value)| name == "code" && value == code), "{fields:?}");
    let answer = person.request(Method::POST, "hub/accept-share")?.form(&fields).send().await?;
    ensure!(
        answer.status() == StatusCode::FOUND,
        "accepting answers {}: {}",
        answer.status(),
        answer.text().await?
    );
    Ok(())
}

/// Sends the form of a page to the page's own address.
async fn submit(person: &Person, page: &Page) -> Result<Page> {
    let path =
        page.url.as_str().strip_prefix(person.url("")?.as_str()).context("a page of the hub")?.to_owned();
    let answer = person.request(Method::POST, &path)?.header("Referer", page.url.as_str());
    person.arrive(answer.form(&inputs(&page.text)).send().await?).await
}

/// A page of the service, which may not be up yet.
async fn service_page(person: &Person, path: &str) -> Result<Page> {
    eventually("the service answers", UP_WITHIN, || async move {
        let page = person.follow(path).await?;
        ensure!(page.status != StatusCode::FORBIDDEN, "{}: {}", page.url, page.text);
        Ok((page.status == 200).then_some(page))
    })
    .await
}

fn says(text: &str, key: &str, value: &str) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|answer| answer.get(key) == Some(&json!(value)))
}

/// A server's owner and its own token.
fn of_environment(server: &Marked) -> Result<(String, String)> {
    let environment = std::fs::read(format!("/proc/{}/environ", server.pid))?;
    let environment = String::from_utf8_lossy(&environment).into_owned();
    let value = |name: &str| {
        let found = environment.split('\0').find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(str::to_owned).with_context(|| format!("a server without {name}"))
    };
    Ok((value("JUPYTERHUB_USER")?, value("JUPYTERHUB_API_TOKEN")?))
}
