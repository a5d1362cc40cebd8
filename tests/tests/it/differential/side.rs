//! One of the two hubs: its callers, and a request to it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hub_tests::client::Person;
use hub_tests::hub::{Hub, Kind};
use hub_tests::settings::Settings;
use hub_tests::wait::eventually;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::answer::Answer;
use super::callers::{CALLERS, Proof};
use super::counted::{Counted, counted};
use super::scenario::Ask;

/// Longest wait for what a line of `do` asks for.
const LIMIT: Duration = Duration::from_mins(1);

/// One hub and what is known of it.
pub(super) struct Side {
    hub: Hub,
    http: Client,
    tokens: BTreeMap<&'static str, String>,
    people: BTreeMap<&'static str, Person>,
    values: BTreeMap<String, String>,
}

impl Side {
    pub(super) async fn start(kind: Kind, settings: Settings) -> Result<Self> {
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
    pub(super) fn held(&self, user: &str) -> Result<PathBuf> {
        let home = self.hub.home(user);
        std::fs::create_dir_all(&home)?;
        Ok(home.join("hold"))
    }

    /// The hub ends and starts again, beside its proxy, and allows default servers only.
    pub(super) async fn without_named_servers(&mut self) -> Result<()> {
        self.hub.terminate().await?;
        if self.hub.kind == Kind::Himalia {
            self.hub.settings.hub.insert("allow_named_servers".to_owned(), false.into());
        } else {
            self.hub.settings.extra.push_str("\nc.JupyterHub.allow_named_servers = False\n");
        }
        self.hub.start_again().await
    }

    /// The requests that it has counted.
    pub(super) async fn counted(&self) -> Result<Counted> {
        let token = &self.hub.settings.administrator().token;
        let request =
            self.http.get(self.hub.url("hub/metrics")).header(AUTHORIZATION, format!("token {token}"));
        counted(&request.send().await?.error_for_status()?.text().await?)
    }

    /// Tokens and logins of all callers; `ada` has a running server from here on.
    pub(super) async fn make_callers(&mut self) -> Result<()> {
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
    pub(super) async fn make_logins(&mut self) -> Result<()> {
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
    pub(super) async fn settled(&self, user: &str) -> Result<()> {
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
    pub(super) async fn routed(&self, server: &str) -> Result<()> {
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

    pub(super) async fn ask(&mut self, ask: &Ask, caller: &str) -> Result<Answer> {
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
