//! As much of a hub as a server asks for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A hub that lives as long as the test.
pub(crate) struct FakeHub {
    port: u16,
    facts: Arc<Mutex<Facts>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Facts {
    /// Token to model.
    people: HashMap<String, Value>,
    /// Code to token; each counts once.
    codes: HashMap<String, String>,
    exchange: HashMap<String, String>,
    activity: Vec<Value>,
    failing: Option<u16>,
}

impl FakeHub {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let facts = Arc::new(Mutex::new(Facts::default()));
        let shared = Arc::clone(&facts);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let facts = Arc::clone(&shared);
                let service = service_fn(move |request| answer(Arc::clone(&facts), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let hub = Self { port, facts, task };
        hub.add_token("ann-token", "ann", &["access:servers!server=ann/", "self"]);
        hub
    }

    pub(crate) fn api(&self) -> String {
        format!("http://127.0.0.1:{}/base/hub/api", self.port)
    }

    pub(crate) fn add_token(&self, token: &str, name: &str, scopes: &[&str]) {
        let model = json!({"kind": "user", "name": name, "scopes": scopes, "admin": false, "groups": []});
        self.facts.lock().unwrap().people.insert(token.to_owned(), model);
    }

    pub(crate) fn revoke(&self, token: &str) {
        self.facts.lock().unwrap().people.remove(token);
    }

    pub(crate) fn expect_code(&self, code: &str, token: &str) {
        self.facts.lock().unwrap().codes.insert(code.to_owned(), token.to_owned());
    }

    pub(crate) fn last_exchange(&self) -> HashMap<String, String> {
        self.facts.lock().unwrap().exchange.clone()
    }

    pub(crate) fn activity(&self) -> Vec<Value> {
        self.facts.lock().unwrap().activity.clone()
    }

    pub(crate) fn fail_with(&self, status: u16) {
        self.facts.lock().unwrap().failing = Some(status);
    }
}

impl Drop for FakeHub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    facts: Arc<Mutex<Facts>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let token = head.headers.get("authorization").and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("token ")).unwrap_or_default().to_owned();
    let mut facts = facts.lock().unwrap();
    let (status, value) = match (&head.method, head.uri.path(), facts.failing) {
        (_, _, Some(status)) => (status, json!({"status": status})),
        (&Method::GET, "/base/hub/api", _) => (200, json!({"version": "6.1.1"})),
        (&Method::GET, "/base/hub/api/user", _) => match facts.people.get(&token) {
            Some(model) => (200, model.clone()),
            None => (403, json!({"status": 403})),
        },
        (&Method::POST, "/base/hub/api/oauth2/token", _) => {
            facts.exchange = url::form_urlencoded::parse(&body).into_owned().collect();
            let code = facts.exchange["code"].clone();
            match facts.codes.remove(&code) {
                Some(token) => (200, json!({"access_token": token, "token_type": "Bearer"})),
                None => (400, json!({"error": "invalid_grant"})),
            }
        }
        (&Method::POST, "/base/hub/api/users/ann/activity", _) if token == "server-token" => {
            facts.activity.push(serde_json::from_slice(&body).unwrap());
            (200, json!({}))
        }
        _ => (404, json!({"status": 404})),
    };
    let answer = Response::builder().status(status).header("x-jupyterhub-version", "6.1.1");
    Ok(answer.body(Full::from(value.to_string())).unwrap())
}
