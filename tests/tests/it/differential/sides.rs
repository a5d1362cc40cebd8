//! The two hubs, what is known of each, and a request to both.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::future::try_join;
use hub_tests::client::Person;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::{Service, Settings};
use hub_tests::wait::eventually;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::answer::Answer;
use super::callers::{CALLERS, Proof};
use super::scenario::{Ask, INSTEAD_OF_500};

/// Longest wait for what a line of `do` asks for.
const LIMIT: Duration = Duration::from_mins(1);

/// Two hubs with the same configuration.
pub(super) struct Sides {
    both: [Side; 2],
    /// Keys of the differences that are meant and have been seen.
    seen: BTreeSet<String>,
    /// Other statuses that are meant and have been seen: method, that of stock, ours.
    meant: BTreeSet<(String, u16, u16)>,
}

/// Differences that are meant wherever they occur: key, what differs, how it is in stock and how here (`*` at the end
/// is anything). Each must occur.
pub(super) const EVERYWHERE: &[(&str, &str, &str, &str)] = &[
    ("request-id", "x-request-id", "none", "*"),
    ("pages-not-stored", "cache-control", "none", "no-store"),
    ("progress-unbuffered", "x-accel-buffering", "none", "no"),
];

/// One hub and what is known of it.
struct Side {
    hub: Hub,
    http: Client,
    tokens: BTreeMap<&'static str, String>,
    people: BTreeMap<&'static str, Person>,
    values: BTreeMap<String, String>,
}

/// What both hubs are, and what else each of them is told.
#[derive(Debug)]
pub(super) struct World {
    /// Base URL.
    pub(super) base_url: &'static str,
    /// Whether configurable-http-proxy is a process of its own beside both.
    pub(super) separate_proxy: bool,
    /// The end of our configuration.
    pub(super) toml: &'static str,
    /// The end of stock's.
    pub(super) python: &'static str,
    /// Further variables of ours.
    pub(super) environment: &'static [(&'static str, &'static str)],
    /// Whether servers wait as long as there is a file `hold` in their home.
    pub(super) held: bool,
}

/// What the services of [`CALLERS`] are, and what else a hub is told.
fn settings(kind: Kind, world: &World, database: Option<String>) -> Settings {
    let mut settings = Settings {
        base_url: world.base_url.to_owned(),
        separate_proxy: world.separate_proxy,
        foreign_proxy: kind == Kind::Himalia,
        database,
        admins: vec!["chief".to_owned()],
        password: Some("open sesame".to_owned()),
        ..Settings::default()
    }
    .with_light_singleuser();
    for (name, proof) in CALLERS {
        if let Proof::Service(scopes) = proof {
            let token = uuid::Uuid::new_v4().simple().to_string();
            let scopes = scopes.iter().map(ToString::to_string).collect();
            settings.services.push(Service { name: (*name).to_owned(), token, scopes });
        }
    }
    settings.extra.push_str(match kind {
        Kind::Himalia => world.toml,
        Kind::Stock | Kind::Stock5 => world.python,
    });
    if kind == Kind::Himalia {
        let variables =
            world.environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings.hub_environment.extend(variables);
    }
    if world.held {
        let wait = "while [ -e \"$HOME/hold\" ]; do sleep 0.1; done; exec";
        let script = format!("{wait} {}", settings.command.join(" "));
        settings.command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    }
    settings
}

impl Sides {
    /// Starts both and makes the callers.
    pub(super) async fn start(
        kinds: [Kind; 2],
        world: &World,
        databases: [Option<String>; 2],
    ) -> Result<Self> {
        let [one, other] = kinds;
        let [of_one, of_other] = databases;
        let (one, other) = try_join(
            Side::start(one, settings(one, world, of_one)),
            Side::start(other, settings(other, world, of_other)),
        )
        .await?;
        Ok(Self { both: [one, other], seen: BTreeSet::new(), meant: BTreeSet::new() })
    }

    /// Sends a request to both, for each caller; what differs and should not, or should differ and does not.
    pub(super) async fn ask(&mut self, ask: &Ask, intended_count: bool) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for caller in &ask.callers {
            let [one, other] = &mut self.both;
            let (stock, ours) = try_join(one.ask(ask, caller), other.ask(ask, caller))
                .await
                .with_context(|| format!("{caller} {} {}", ask.method, ask.path))?;
            let Ask { method, path, body, .. } = ask;
            if intended_count && stock.is_internal_error() {
                // Of an answer that stock could not give there is nothing more to compare.
                if Some(ours.status()) == ask.instead_of_500 {
                    self.seen.insert(INSTEAD_OF_500.to_owned());
                    self.meant.insert((method.clone(), stock.status(), ours.status()));
                } else {
                    let (is, wanted) = (ours.status(), ask.instead_of_500);
                    found.push(format!(
                        "{caller} {method} {path} {body}\n    500 of stock: {is}, not {wanted:?}"
                    ));
                }
                continue;
            }
            for (field, was, is) in stock.differences(&ours) {
                if intended_count && self.is_meant_everywhere(&field, &was, &is) {
                    continue;
                }
                if let Some(intended) = &ask.intended
                    && intended_count
                    && intended.fields.contains(&field)
                {
                    self.seen.insert(intended.key.clone());
                    if field == "status" {
                        self.meant.insert((method.clone(), stock.status(), ours.status()));
                    }
                    continue;
                }
                found.push(format!(
                    "{caller} {method} {path} {body}\n    {field} of stock: {was}\n    {field} of ours:  {is}"
                ));
            }
        }
        Ok(found)
    }

    fn is_meant_everywhere(&mut self, field: &str, was: &str, is: &str) -> bool {
        let fits = |pattern: &str, text: &str| match pattern.strip_suffix('*') {
            Some(begin) => text.starts_with(begin),
            None => pattern == text,
        };
        let found = EVERYWHERE.iter().find(|(_, name, a, b)| *name == field && fits(a, was) && fits(b, is));
        if let Some((key, ..)) = found {
            self.seen.insert((*key).to_owned());
        }
        found.is_some()
    }

    /// Keys of the differences that are meant and have been seen.
    pub(super) fn seen(&self) -> &BTreeSet<String> {
        &self.seen
    }

    /// The requests that either hub has counted and the other has not: methods, handlers and statuses, as far as they
    /// do not follow from differences that are meant.
    pub(super) async fn counted_by_one(&self) -> Result<Vec<String>> {
        let [one, other] = &self.both;
        let (stock, ours) = try_join(one.counted(), other.counted()).await?;
        let mut found = Vec::new();
        for (who, all, others, is_meant) in [
            (
                "stock",
                &stock,
                &ours,
                (|status, (_, was, _)| status == *was) as fn(u16, &(String, u16, u16)) -> bool,
            ),
            ("ours", &ours, &stock, |status, (_, _, is)| status == *is),
        ] {
            for (method, handler, status) in all.difference(others) {
                if !self.meant.iter().any(|meant| meant.0 == *method && is_meant(*status, meant)) {
                    found.push(format!("only {who} counts {method} {handler} {status}"));
                }
            }
        }
        Ok(found)
    }

    /// Does something to both.
    pub(super) async fn carry_out(&mut self, what: &[String]) -> Result<Vec<String>> {
        let words: Vec<&str> = what.iter().map(String::as_str).collect();
        for side in &mut self.both {
            match words.as_slice() {
                ["callers"] => side.make_callers().await?,
                ["logins"] => side.make_logins().await?,
                ["settled", user] => side.settled(user).await?,
                ["routed", server] => side.routed(server).await?,
                ["hold", user] => std::fs::write(side.held(user)?, "")?,
                ["release", user] => std::fs::remove_file(side.held(user)?)?,
                ["again", "without-named-servers"] => side.without_named_servers().await?,
                _ => bail!("unknown: do {what:?}"),
            }
        }
        Ok(Vec::new())
    }
}

impl Side {
    async fn start(kind: Kind, settings: Settings) -> Result<Self> {
        let hub = Hub::start(kind, settings).await?;
        let http = Client::builder().redirect(Policy::none()).timeout(LIMIT).build()?;
        let (tokens, people) = Default::default();
        let mut values = BTreeMap::new();
        if hub.settings.separate_proxy {
            values.insert("proxy_api".to_owned(), format!("http://127.0.0.1:{}", hub.ports.api));
        }
        Ok(Self { hub, http, tokens, people, values })
    }

    /// The file that keeps a user's servers from starting.
    fn held(&self, user: &str) -> Result<PathBuf> {
        let home = self.hub.home(user);
        std::fs::create_dir_all(&home)?;
        Ok(home.join("hold"))
    }

    /// The hub ends and starts again, beside its proxy, and allows default servers only.
    async fn without_named_servers(&mut self) -> Result<()> {
        self.hub.terminate().await?;
        if self.hub.kind == Kind::Himalia {
            self.hub.settings.hub.insert("allow_named_servers".to_owned(), false.into());
        } else {
            self.hub.settings.extra.push_str("\nc.JupyterHub.allow_named_servers = False\n");
        }
        self.hub.start_again().await
    }

    /// The requests that it has counted: methods, handlers and statuses.
    async fn counted(&self) -> Result<BTreeSet<(String, String, u16)>> {
        let token = &self.hub.settings.administrator().token;
        let request =
            self.http.get(self.hub.url("hub/metrics")).header(AUTHORIZATION, format!("token {token}"));
        let text = request.send().await?.error_for_status()?.text().await?;
        let lines =
            text.lines().filter_map(|line| line.strip_prefix("jupyterhub_request_duration_seconds_count{"));
        lines
            .map(|line| {
                let of = |label: &str| {
                    let value = line.split_once(&format!("{label}=\""))?.1.split('"').next()?;
                    Some(value.to_owned())
                };
                let (Some(method), Some(handler), Some(code)) = (of("method"), of("handler"), of("code"))
                else {
                    bail!("no such labels: {line}");
                };
                Ok((method, handler, code.parse()?))
            })
            .collect()
    }

    /// Tokens and logins of all callers; `ada` has a running server from here on.
    async fn make_callers(&mut self) -> Result<()> {
        let administrator = self.hub.administrator()?;
        administrator.start_server("ada", "").await?;
        for (name, proof) in CALLERS.iter().copied() {
            match proof {
                Proof::BadToken => drop(self.tokens.insert(name, "0123456789abcdef".repeat(2))),
                Proof::Token(user, scopes) => {
                    let body = json!({ "scopes": scopes, "note": name });
                    let path = format!("users/{user}/tokens");
                    let (status, made) = administrator.send(Method::POST, &path, body).await?;
                    let token = made.get("token").and_then(Value::as_str);
                    let token = token.with_context(|| format!("token {name}: {status} {made}"))?;
                    self.tokens.insert(name, token.to_owned());
                }
                Proof::Service(_) => {
                    let service = self.hub.settings.services.iter().find(|service| service.name == name);
                    let token = service.context("the service is configured")?.token.clone();
                    self.tokens.insert(name, token);
                }
                Proof::Server(user) => {
                    let token = self.token_of_server(user)?;
                    self.tokens.insert(name, token);
                }
                // Logins follow below.
                Proof::Nothing | Proof::Page(_) | Proof::CrossSite(_) => {}
            }
        }
        self.make_logins().await
    }

    /// New logins of those who have cookies.
    async fn make_logins(&mut self) -> Result<()> {
        for (name, proof) in CALLERS.iter().copied() {
            if let Proof::Page(user) | Proof::CrossSite(user) = proof {
                let person = self.log_in(user).await?;
                self.people.insert(name, person);
            }
        }
        Ok(())
    }

    /// A new login; the home page gives the cookies that scripts of pages use.
    async fn log_in(&self, user: &str) -> Result<Person> {
        let person = self.hub.logged_in(user).await?;
        person.get("hub/home").await?;
        Ok(person)
    }

    /// The token in the environment of a user's default server.
    fn token_of_server(&self, user: &str) -> Result<String> {
        for process in self.hub.mark.processes() {
            let environment = std::fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
            let environment = String::from_utf8_lossy(&environment).into_owned();
            let of = |name: &str| {
                environment.split('\0').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            };
            if of("JUPYTERHUB_USER") == Some(user)
                && let Some(token) = of("JUPYTERHUB_API_TOKEN")
            {
                return Ok(token.to_owned());
            }
        }
        bail!("no server of {user} runs")
    }

    /// Waits until nothing is pending for a user.
    async fn settled(&self, user: &str) -> Result<()> {
        let administrator = self.hub.administrator()?;
        eventually(&format!("nothing of {user} is pending"), LIMIT, || async {
            let model = administrator.fetch(&format!("users/{user}")).await?;
            let servers = model.get("servers").and_then(Value::as_object).context("no servers")?;
            let pending = servers.values().any(|server| !server["pending"].is_null());
            Ok((!pending).then_some(()))
        })
        .await
    }

    /// Waits until there is a route to a server, whose model stock may not be able to show.
    async fn routed(&self, server: &str) -> Result<()> {
        let administrator = self.hub.administrator()?;
        let end = format!("/user/{server}/");
        eventually(&format!("a route to {server}"), LIMIT, || async {
            let routes = administrator.fetch("proxy").await?;
            let routes = routes.as_object().context("no routes")?;
            Ok(routes.keys().any(|routespec| routespec.ends_with(&end)).then_some(()))
        })
        .await
    }

    /// Replaces `{name}` by the captured value.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.values {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        text
    }

    async fn ask(&mut self, ask: &Ask, caller: &str) -> Result<Answer> {
        let mut request = self.request(ask, caller)?;
        let (mut fields, mut content) = (Vec::new(), None);
        if let Some(form) = ask.body.strip_prefix("multipart ") {
            request = request.multipart(parts_of(&self.filled(form)));
        } else if let Some(form) = ask.body.strip_prefix("form ") {
            let pairs = url::form_urlencoded::parse(form.as_bytes()).into_owned();
            fields.extend(pairs.map(|(name, value)| (name, self.filled(&value))));
        } else if let Some(raw) = ask.body.strip_prefix("raw ") {
            content = Some(self.filled(raw));
        } else if !ask.body.is_empty() {
            content = Some(self.filled(&ask.body));
        }
        let named = |name: &str| ask.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        for (name, value) in &ask.headers {
            request = request.header(name, self.filled(value));
        }
        if let Some(content) = content {
            if !named(CONTENT_TYPE.as_str()) {
                request = request.header(CONTENT_TYPE, "application/json");
            }
            request = request.body(content);
        } else if !fields.is_empty() {
            if let Some(person) = self.people.get(caller)
                && caller != "cross"
            {
                let token = person.cookie(&person.url("hub/")?, "_xsrf").unwrap_or_default();
                fields.push(("_xsrf".to_owned(), token));
            }
            request = request.form(&fields);
        }
        let response = request.send().await?;
        let facts = Facts::of(response).await?;
        for (name, from) in &ask.captures {
            let value =
                facts.value(from).with_context(|| format!("{from} of {}: {}", ask.path, facts.text))?;
            self.values.insert(name.clone(), value);
        }
        Ok(Answer::new(&facts, &self.hub, &self.values))
    }

    fn request(&self, ask: &Ask, caller: &str) -> Result<RequestBuilder> {
        let path = self.filled(&ask.path);
        let method = Method::from_bytes(ask.method.as_bytes())?;
        let url = if let Some(path) = path.strip_prefix("^^") {
            format!("{}{path}", self.hub.origin())
        } else if let Some(path) = path.strip_prefix('^') {
            self.hub.url(path)
        } else {
            self.hub.url(&format!("hub/api{path}"))
        };
        if let Some(person) = self.people.get(caller) {
            let request = person.absolute(method, &url);
            let token = person.cookie(&person.url("hub/")?, "_xsrf").unwrap_or_default();
            return Ok(if caller == "cross" { request } else { request.header("X-XSRFToken", token) });
        }
        let request = self.http.request(method, url);
        Ok(match self.tokens.get(caller) {
            Some(token) => request.header(AUTHORIZATION, format!("token {token}")),
            None => request,
        })
    }
}

/// A form in parts.
fn parts_of(form: &str) -> Form {
    url::form_urlencoded::parse(form.as_bytes()).into_owned().fold(Form::new(), |form, (name, value)| {
        match name.split_once('@') {
            Some((name, file)) => form.part(name.to_owned(), Part::text(value).file_name(file.to_owned())),
            None => form.text(name, value),
        }
    })
}

/// An answer as it came.
pub(super) struct Facts {
    /// Status.
    pub(super) status: u16,
    /// Headers by name, in the order of their values.
    pub(super) headers: BTreeMap<String, Vec<String>>,
    /// Body.
    pub(super) text: String,
}

impl Facts {
    async fn of(response: Response) -> Result<Self> {
        let status = response.status().as_u16();
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            headers.entry(name.as_str().to_owned()).or_default().push(value);
        }
        Ok(Self { status, headers, text: String::from_utf8_lossy(&response.bytes().await?).into_owned() })
    }

    /// The text at a JSON pointer, or of a header; `?name` is an argument of the query of `location`.
    fn value(&self, from: &str) -> Option<String> {
        if from.starts_with('/') {
            let json: Value = serde_json::from_str(&self.text).ok()?;
            let found = json.pointer(from)?;
            return Some(found.as_str().map_or_else(|| found.to_string(), str::to_owned));
        }
        let location = self.headers.get("location")?.first()?;
        let query = location.split_once('?')?.1;
        let name = from.strip_prefix('?')?;
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(known, _)| known == name)
            .map(|(_, v)| v.into_owned())
    }
}
