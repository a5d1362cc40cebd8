//! The application's three addresses. Its answers can be bent; what it was asked is written down.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// One answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) kind: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) location: Option<String>,
}

impl Answer {
    pub(crate) fn json(value: &Value) -> Self {
        Self::of(200, "application/json", value.to_string())
    }

    pub(crate) fn of(status: u16, kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, kind, body: body.into(), location: None }
    }

    pub(crate) fn redirect(location: &str) -> Self {
        Self { location: Some(location.to_owned()), ..Self::of(302, "text/html", "") }
    }
}

/// An application. It ends with the test.
pub(crate) struct App {
    pub(crate) url: String,
    pub(crate) answer: Arc<Mutex<Answer>>,
    /// What it says to whoever asks whose a session is, where that is something else.
    whose: Arc<Mutex<Option<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: JoinHandle<()>,
}

impl App {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new(Answer::json(&json!({"username": "Ada@Example.org"}))));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let whose = Arc::new(Mutex::new(None));
        let (answers, persons, log) = (Arc::clone(&answer), Arc::clone(&whose), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, persons, log) = (Arc::clone(&answers), Arc::clone(&persons), Arc::clone(&log));
                tokio::spawn(async move {
                    let service = service_fn(|rq| reply(rq, &answers, &persons, &log));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { url, answer, whose, asked, serving }
    }

    pub(crate) fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(crate) fn answers_whose(&self, answer: Option<Answer>) {
        *self.whose.lock().unwrap() = answer;
    }

    /// What was asked since the last look.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn reply(
    rq: Request<Incoming>,
    answer: &Mutex<Answer>,
    whose: &Mutex<Option<Answer>>,
    asked: &Mutex<Vec<Asked>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = rq.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let headers = parts.headers.iter();
    let headers =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let seen = Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    };
    let named = whose.lock().unwrap().clone().filter(|_| seen.path == "/notebooks/authenticate/");
    asked.lock().unwrap().push(seen);
    let answer = named.unwrap_or_else(|| answer.lock().unwrap().clone());
    let Answer { status, kind, body, location } = answer;
    let mut response = Response::builder().status(status).header("Content-Type", kind);
    if let Some(location) = location {
        response = response.header("Location", location);
    }
    Ok(response.body(Full::new(Bytes::from(body))).unwrap())
}
