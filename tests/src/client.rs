//! The two ways to talk to a hub: as a person with a browser's cookies, and as a program with a token.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jupyterhub_api_compat::client::{Client as TypedClient, StartServer, Started, TokenWanted};
use jupyterhub_api_compat::models::Server;
use reqwest::cookie::{CookieStore, Jar};
use reqwest::header::LOCATION;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use url::Url;

use crate::wait::eventually;

const TIMEOUT: Duration = Duration::from_mins(2);
/// Most redirects that [`Person::follow`] goes along.
const HOPS: usize = 20;

/// A person: cookies, forms, redirects. Clones share the cookies.
#[derive(Debug, Clone)]
pub struct Person {
    http: Client,
    jar: Arc<Jar>,
    base: Url,
}

/// Where a person has arrived after redirects.
#[derive(Debug)]
pub struct Page {
    /// The last address.
    pub url: Url,
    /// Its status.
    pub status: StatusCode,
    /// Its text.
    pub text: String,
    /// All addresses on the way, the last one too.
    pub hops: Vec<Url>,
}

impl Person {
    /// Somebody without cookies; `base` is the hub's public address with its base URL.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(base: &str) -> Result<Self> {
        let jar = Arc::new(Jar::default());
        let http = Client::builder()
            .cookie_provider(jar.clone())
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        Ok(Self { http, jar, base: Url::parse(base)? })
    }

    /// The same person, with the same cookies, at another hub.
    ///
    /// # Errors
    /// When the address is none.
    pub fn at(&self, base: &str) -> Result<Self> {
        Ok(Self { base: Url::parse(base)?, ..self.clone() })
    }

    /// The address of `path`, which is below the base URL and has no slash at its beginning.
    ///
    /// # Errors
    /// When the path is none.
    pub fn url(&self, path: &str) -> Result<Url> {
        Ok(self.base.join(path)?)
    }

    /// The cookies for an address, as a browser would send them.
    pub fn cookies(&self, url: &Url) -> String {
        self.jar.cookies(url).and_then(|value| value.to_str().map(str::to_owned).ok()).unwrap_or_default()
    }

    /// The value of one cookie at an address; the one with the longest path when there are several.
    pub fn cookie(&self, url: &Url, name: &str) -> Option<String> {
        let all = self.cookies(url);
        all.split("; ").find_map(|cookie| cookie.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
    }

    /// Sets a cookie as a response of that address would.
    pub fn set_cookie(&self, url: &Url, cookie: &str) {
        self.jar.add_cookie_str(cookie, url);
    }

    /// A request to `path` with the cookies, without following redirects.
    ///
    /// # Errors
    /// When the path is none.
    pub fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        Ok(self.http.request(method, self.url(path)?))
    }

    /// A request to a whole address with the cookies for it, without following redirects.
    pub fn absolute(&self, method: Method, url: &str) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// A request as a script of a page would send it: with the XSRF token that the page knows.
    ///
    /// # Errors
    /// When the path is none.
    pub fn scripted(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let url = self.url(path)?;
        let token = self.cookie(&url, "_xsrf").unwrap_or_default();
        Ok(self.http.request(method, url).header("X-XSRFToken", token))
    }

    /// GET without following redirects.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Response> {
        Ok(self.request(Method::GET, path)?.send().await?)
    }

    /// GET and go along redirects, as a browser does.
    ///
    /// # Errors
    /// When there is no answer, or too many redirects.
    pub async fn follow(&self, path: &str) -> Result<Page> {
        self.arrive(self.get(path).await?).await
    }

    /// Goes on from an answer along its redirects.
    ///
    /// # Errors
    /// When there is no answer, or too many redirects.
    pub async fn arrive(&self, mut answer: Response) -> Result<Page> {
        let mut hops = vec![answer.url().clone()];
        while answer.status().is_redirection() {
            let location = answer.headers().get(LOCATION).context("a redirect without Location")?;
            // A Location may hold raw UTF-8 in practice, which to_str refuses.
            let location = std::str::from_utf8(location.as_bytes())?;
            let next = answer.url().join(location)?;
            hops.push(next.clone());
            if hops.len() > HOPS {
                bail!("too many redirects: {hops:#?}");
            }
            answer = self.http.get(next).send().await?;
        }
        let (url, status) = (answer.url().clone(), answer.status());
        Ok(Page { url, status, text: answer.text().await?, hops })
    }

    /// Fills in the login form and sends it, without following the redirect.
    ///
    /// # Errors
    /// When there is no form, or no answer.
    pub async fn send_login(&self, name: &str, password: &str) -> Result<Response> {
        let path = "hub/login";
        let form = self.get(path).await?;
        ensure!(form.status() == 200, "the login page answers {}", form.status());
        let token = self.cookie(&self.url(path)?, "_xsrf").context("the login page sets no _xsrf cookie")?;
        let fields = [("username", name), ("password", password), ("_xsrf", token.as_str())];
        Ok(self.request(Method::POST, path)?.form(&fields).send().await?)
    }

    /// Logs in.
    ///
    /// # Errors
    /// When the hub does not let this person in.
    pub async fn log_in(&self, name: &str, password: &str) -> Result<()> {
        let answer = self.send_login(name, password).await?;
        ensure!(
            answer.status() == 302,
            "login of {name} answers {}: {}",
            answer.status(),
            answer.text().await?
        );
        Ok(())
    }

    /// Whether the hub knows this person by the cookies; the name.
    ///
    /// # Errors
    /// When there is no answer, or an unexpected one.
    pub async fn who_am_i(&self) -> Result<Option<String>> {
        // The home page renews the XSRF cookie, which the API wants.
        self.get("hub/home").await?;
        let answer = self.scripted(Method::GET, "hub/api/user")?.send().await?;
        match answer.status() {
            StatusCode::OK => {
                let user: Value = answer.json().await?;
                Ok(user.get("name").and_then(Value::as_str).map(str::to_owned))
            }
            StatusCode::FORBIDDEN => Ok(None),
            other => bail!("hub/api/user answers {other}: {}", answer.text().await?),
        }
    }
}

/// The REST API with a token: raw requests, and the typed client for everything that it has a call for, which is so
/// proved against every hub of the tests. Clones share connections.
#[derive(Debug, Clone)]
pub struct Api {
    http: Client,
    base: Url,
    token: String,
    typed: TypedClient,
}

impl Api {
    /// A program with this token.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(base: &str, token: &str) -> Result<Self> {
        let http = Client::builder().redirect(Policy::none()).timeout(TIMEOUT).build()?;
        let base = Url::parse(base)?.join("hub/api/")?;
        let typed = TypedClient::new(base.as_str(), &token.into())?;
        Ok(Self { http, base, token: token.to_owned(), typed })
    }

    /// The typed client, with the same token.
    pub fn typed(&self) -> &TypedClient {
        &self.typed
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A request to `path` below `hub/api/`.
    ///
    /// # Errors
    /// When the path is none.
    pub fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        Ok(self
            .http
            .request(method, self.base.join(path)?)
            .header("Authorization", format!("token {}", self.token)))
    }

    /// GET; the status and the JSON, null when the body is none.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        let answer = self.request(Method::GET, path)?.send().await?;
        let status = answer.status();
        Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
    }

    /// GET of something that is there.
    ///
    /// # Errors
    /// When the status is not 200.
    pub async fn fetch(&self, path: &str) -> Result<Value> {
        let (status, value) = self.get(path).await?;
        ensure!(status == 200, "GET {path} answers {status}: {value}");
        Ok(value)
    }

    /// Sends a body, or none for null; the status and the JSON answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, method: Method, path: &str, body: Value) -> Result<(StatusCode, Value)> {
        let mut request = self.request(method, path)?;
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let bytes = answer.bytes().await?;
        let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Ok((status, value))
    }

    /// Makes a user.
    ///
    /// # Errors
    /// When the hub refuses, or tells of another one.
    pub async fn add_user(&self, user: &str) -> Result<()> {
        let made = self.typed.create_users(&[user.to_owned()], false).await?;
        ensure!(made.iter().map(|made| made.name.as_str()).eq([user]), "asked for {user}, made {made:?}");
        Ok(())
    }

    /// Asks for a server to be started; does not wait.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn request_start(&self, user: &str, server: &str) -> Result<Started> {
        Ok(self.typed.start_server(user, server, &StartServer::default()).await?)
    }

    /// Starts a server and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_server(&self, user: &str, server: &str) -> Result<Server> {
        Ok(self.typed.bring_up(user, server, &StartServer::default(), TIMEOUT).await?)
    }

    /// Waits until a server is ready; its model.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn server_is_ready(&self, user: &str, server: &str) -> Result<Server> {
        eventually(&format!("server {user}/{server} is ready"), TIMEOUT, || async move {
            match self.active_server(user, server).await? {
                Some(model) => Ok(model.ready.then_some(model)),
                None => bail!("server {user}/{server} is gone"),
            }
        })
        .await
    }

    /// The model of a server that runs, at least partly.
    async fn active_server(&self, user: &str, server: &str) -> Result<Option<Server>> {
        let model = self.typed.user(user).await?;
        let servers = model.servers.as_option().context("no servers in the model")?;
        Ok(servers.get(server).filter(|server| !server.stopped).cloned())
    }

    /// Stops a server and waits until it is gone.
    ///
    /// # Errors
    /// When it is not gone in time.
    pub async fn stop_server(&self, user: &str, server: &str) -> Result<()> {
        self.typed.stop_server(user, server, false).await?;
        self.server_is_gone(user, server).await
    }

    /// Waits until a server does not run any more, not even partly.
    ///
    /// # Errors
    /// When it is not gone in time.
    pub async fn server_is_gone(&self, user: &str, server: &str) -> Result<()> {
        eventually(&format!("server {user}/{server} is gone"), TIMEOUT, || async move {
            Ok(self.active_server(user, server).await?.is_none().then_some(()))
        })
        .await
    }

    /// Makes a token for a user with all that user's rights.
    ///
    /// # Errors
    /// When the hub refuses.
    pub async fn new_token(&self, user: &str) -> Result<String> {
        Ok(self.typed.create_token(user, &TokenWanted::default()).await?.token)
    }
}
