//! A hub in this process: a database in memory, a spawner without processes, no sockets but those of its servers.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::{Service as _, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::test::TestRequest;
use actix_web::{App, middleware::from_fn, test, web};
use futures_util::future::LocalBoxFuture;
use himalia::app::Hub;
use himalia::app::startup::without_sockets;
use himalia::auth::login::ensure_user;
use himalia::rbac::{HUB_CLIENT, roles};
use himalia::registry::Registry;
use himalia::web::{middleware, routes};
use hub_config::{Config, GroupSection, ServiceSection};
use hub_core::secret::random_hex32;
use hub_core::token::GENERATED_ROUNDS;
use hub_db::repo;
use serde_json::Value;

use crate::fake_spawner;

/// Token of the administrator `root`.
pub(crate) const ROOT: &str = "root-token-of-tests";
/// Token of the service `watch`, which holds no scopes.
pub(crate) const WATCH: &str = "watch-token-of-tests";

type Answering = Rc<dyn Fn(TestRequest) -> LocalBoxFuture<'static, ServiceResponse<BoxBody>>>;

/// A hub and a way to ask it.
#[derive(Clone)]
pub(crate) struct TestHub {
    /// The hub.
    pub(crate) hub: web::Data<Hub>,
    answering: Answering,
}

/// What tests want of a hub before they change it: named servers, short patience, the users `root` (administrator) and
/// `ada` (in the group `maths`), the service `watch`.
fn config() -> Config {
    let mut config = Config::default();
    config.hub.cookie_secret = Some("ab".repeat(32).into());
    config.hub.allow_named_servers = true;
    config.hub.slow_spawn_timeout = Duration::from_secs(20);
    config.hub.slow_stop_timeout = Duration::from_secs(20);
    config.hub.api_tokens.insert("root".to_owned(), ROOT.into());
    config.db.url = "sqlite://".into();
    config.authenticator.kind = String::from("dummy");
    config.authenticator.admin_users = vec!["root".to_owned()];
    config.authenticator.allow_all = Some(true);
    config.spawner.kind = String::from(fake_spawner::NAME);
    config.spawner.http_timeout = Duration::from_secs(20);
    config.groups.insert("maths".to_owned(), GroupSection::Members(vec!["ada".to_owned()]));
    config.services = vec![ServiceSection {
        name: "watch".to_owned(),
        api_token: Some(WATCH.into()),
        ..ServiceSection::default()
    }];
    config
}

impl TestHub {
    /// A hub with the configuration of tests.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, changed.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::made(Registry::built_in(), change).await
    }

    /// The same with one authenticator more.
    pub(crate) async fn with_authenticator(
        plugin: hub_core::AuthenticatorPlugin,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let mut registry = Registry::built_in();
        registry.authenticators.push(plugin);
        Self::made(registry, change).await
    }

    async fn made(mut registry: Registry, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        registry.spawners.push(fake_spawner::plugin());
        let bound = SocketAddr::from((Ipv4Addr::LOCALHOST, 8081));
        let hub = Box::pin(without_sockets(config, bound, &registry)).await.unwrap();
        let shared = hub.clone();
        let app = App::new()
            .app_data(hub.clone())
            .wrap(from_fn(middleware::around))
            .configure(|cfg| routes::configure(cfg, &shared));
        let app = Rc::new(test::init_service(app).await);
        let answering: Answering = Rc::new(move |request| {
            let app = Rc::clone(&app);
            Box::pin(async move { app.call(request.to_request()).await.unwrap().map_into_boxed_body() })
        });
        Self { hub, answering }
    }

    /// Somebody without any proof.
    pub(crate) fn anonymous(&self) -> Client {
        Client { test: self.clone(), headers: Vec::new() }
    }

    /// The administrator.
    pub(crate) fn root(&self) -> Client {
        self.bearer(ROOT)
    }

    /// Whoever has this token.
    pub(crate) fn bearer(&self, token: &str) -> Client {
        self.anonymous().header(AUTHORIZATION.as_str(), &format!("token {token}"))
    }

    /// A user, made if need be, with a token for these scopes.
    pub(crate) async fn token(&self, user: &str, scopes: &[&str]) -> Client {
        let now = self.hub.clock.now();
        let tx = self.hub.db.begin().await.unwrap();
        let user = ensure_user(&self.hub, &tx, user).await.unwrap();
        let text = random_hex32();
        let new = repo::tokens::NewToken {
            owner: repo::Owner::User(user.id),
            rounds: GENERATED_ROUNDS,
            client_id: HUB_CLIENT.to_owned(),
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            note: "for a test".to_owned(),
            session_id: None,
            expires_at: None,
        };
        repo::tokens::create(&tx, &text, new, now).await.unwrap();
        tx.commit().await.unwrap();
        self.bearer(&text)
    }

    /// A user, made if need be, with a token for all that they may do.
    pub(crate) async fn user(&self, name: &str) -> Client {
        self.token(name, &["inherit"]).await
    }

    /// The same with a role of these scopes on top, named after the user.
    pub(crate) async fn user_with(&self, name: &str, scopes: &[&str]) -> Client {
        let client = self.user(name).await;
        let tx = self.hub.db.begin().await.unwrap();
        let user = repo::users::by_name(&tx, name).await.unwrap().unwrap();
        let spec = repo::roles::RoleSpec {
            name: format!("role-of-{name}"),
            description: None,
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            managed_by_auth: false,
        };
        let role = repo::roles::upsert(&tx, spec).await.unwrap();
        repo::roles::assign(&tx, role.id, repo::roles::Holder::User(user.id), false).await.unwrap();
        tx.commit().await.unwrap();
        client
    }

    /// A browser in which a user is logged in; `admin` makes the user an administrator.
    pub(crate) async fn browser(&self, name: &str, admin: bool) -> Client {
        let tx = self.hub.db.begin().await.unwrap();
        let user = ensure_user(&self.hub, &tx, name).await.unwrap();
        roles::set_admin(&tx, user.id, admin).await.unwrap();
        tx.commit().await.unwrap();
        let login = self.hub.sessions.sign("jupyterhub-hub-login", &user.cookie_id);
        let session = random_hex32();
        let page = self
            .anonymous()
            .header(
                COOKIE.as_str(),
                &format!("jupyterhub-hub-login=\"{login}\"; jupyterhub-session-id={session}"),
            )
            .send(Method::GET, "/hub/home", None)
            .await;
        let xsrf = page.cookie("_xsrf").unwrap();
        let cookies =
            format!("jupyterhub-hub-login=\"{login}\"; jupyterhub-session-id={session}; _xsrf={xsrf}");
        self.anonymous().header(COOKIE.as_str(), &cookies).header("X-XSRFToken", &xsrf)
    }
}

/// Somebody who asks.
#[derive(Clone)]
pub(crate) struct Client {
    test: TestHub,
    headers: Vec<(String, String)>,
}

impl Client {
    /// With one header more.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A header that is sent.
    pub(crate) fn sent(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Without the headers of a name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Any request, with a path below the root.
    pub(crate) async fn send(&self, method: Method, path: &str, body: Option<&[u8]>) -> Answer {
        let mut request = TestRequest::with_uri(path).method(method).insert_header(("Host", "hub.example"));
        for (name, value) in &self.headers {
            request = request.append_header((name.as_str(), value.as_str()));
        }
        if let Some(body) = body {
            request = request.set_payload(body.to_vec());
        }
        let response = (self.test.answering)(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// A request to the REST API.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let body = body.map(|body| body.to_string().into_bytes());
        self.send(method, &format!("/hub/api{path}"), body.as_deref()).await
    }

    /// `GET`.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    /// `POST`.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Option<Value>>) -> Answer {
        self.call(Method::POST, path, body.into()).await
    }

    /// `PUT`.
    pub(crate) async fn put(&self, path: &str, body: impl Into<Option<Value>>) -> Answer {
        self.call(Method::PUT, path, body.into()).await
    }

    /// `PATCH`.
    pub(crate) async fn patch(&self, path: &str, body: impl Into<Option<Value>>) -> Answer {
        self.call(Method::PATCH, path, body.into()).await
    }

    /// `DELETE`.
    pub(crate) async fn delete(&self, path: &str, body: impl Into<Option<Value>>) -> Answer {
        self.call(Method::DELETE, path, body.into()).await
    }

    /// `GET` of a stream of events: the head at once, and the body to be read.
    pub(crate) async fn open(&self, path: &str) -> (StatusCode, HeaderMap, BoxBody) {
        let mut request = TestRequest::with_uri(&format!("/hub/api{path}"));
        for (name, value) in &self.headers {
            request = request.append_header((name.as_str(), value.as_str()));
        }
        let response = (self.test.answering)(request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        (status, headers, response.into_body().boxed())
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Status.
    pub(crate) status: StatusCode,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) text: String,
}

impl Answer {
    /// The status as a number.
    pub(crate) fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The content type, empty if there is none.
    pub(crate) fn kind(&self) -> &str {
        self.header(CONTENT_TYPE.as_str()).unwrap_or_default()
    }

    /// The body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The `message` of an error.
    #[track_caller]
    pub(crate) fn message(&self) -> Value {
        let json = self.json();
        assert_eq!(json["status"], self.code(), "{json}");
        json["message"].clone()
    }

    /// The value of a cookie that the answer sets.
    pub(crate) fn cookie(&self, name: &str) -> Option<String> {
        let cookies = self.headers.get_all("set-cookie").map(|value| value.to_str().unwrap());
        let mut pairs = cookies.filter_map(|text| text.split(';').next()?.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value.trim_matches('"').to_owned())
    }

    /// That the answer is this status with this message, written as stock writes it.
    #[track_caller]
    pub(crate) fn fails(&self, status: u16, message: impl Into<Value>) {
        let (message, kind) = (message.into(), self.kind());
        assert_eq!((self.code(), self.message(), kind), (status, message, "application/json"), "{self:?}");
        assert!(self.text.starts_with(&format!("{{\"status\": {status}, \"message\": ")), "{}", self.text);
    }

    /// That the answer is this status and an empty body of this content type.
    #[track_caller]
    pub(crate) fn is_empty(&self, status: u16, kind: &str) {
        assert_eq!((self.code(), self.kind(), self.text.as_str()), (status, kind, ""), "{self:?}");
    }

    /// That the answer is this status with JSON, which is returned.
    #[track_caller]
    pub(crate) fn holds(&self, status: u16) -> Value {
        assert_eq!((self.code(), self.kind()), (status, "application/json"), "{self:?}");
        self.json()
    }
}
