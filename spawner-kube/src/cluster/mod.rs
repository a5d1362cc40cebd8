//! Requests to the API server: create, delete, get, list, watch, and no other verb.
//!
//! Objects go as JSON both ways, so that a field which this program does not know reaches the cluster unharmed.

mod connect;
mod error;
mod lines;

use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;
use url::form_urlencoded;

pub(crate) use connect::{Access, in_cluster, own_namespace};
pub(crate) use error::ApiError;
pub(crate) use lines::Lines;

use crate::pause::Pause;
use crate::traits::Traits;

/// Largest answer that is read, but for watches, which come line by line.
const LARGEST_ANSWER: usize = 256 << 20;
/// How long a list or the begin of a watch may take.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// Pauses between two tries of one request.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// The kinds of objects that this spawner deals with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pod,
    Claim,
    Service,
    Secret,
    Namespace,
    Event,
    Snapshot,
}

impl Kind {
    /// The root of its API group.
    fn root(self) -> &'static str {
        match self {
            Self::Snapshot => "/apis/snapshot.storage.k8s.io/v1",
            _ => "/api/v1",
        }
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Pod => "pods",
            Self::Claim => "persistentvolumeclaims",
            Self::Service => "services",
            Self::Secret => "secrets",
            Self::Namespace => "namespaces",
            Self::Event => "events",
            Self::Snapshot => "volumesnapshots",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Claim => "volume claim",
            Self::Service => "service",
            Self::Secret => "secret",
            Self::Namespace => "namespace",
            Self::Event => "event",
            Self::Snapshot => "snapshot",
        }
    }
}

/// One object, by its address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) kind: Kind,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl std::fmt::Display for Object<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.name)?;
        if self.namespace.is_empty() { Ok(()) } else { write!(f, " in {}", self.namespace) }
    }
}

impl Object<'_> {
    fn path(&self) -> String {
        format!("{}/{}", collection(self.kind, self.namespace), self.name)
    }
}

/// `namespace` is empty for objects that lie in none.
fn collection(kind: Kind, namespace: &str) -> String {
    let (root, plural) = (kind.root(), kind.plural());
    if namespace.is_empty() {
        format!("{root}/{plural}")
    } else {
        format!("{root}/namespaces/{namespace}/{plural}")
    }
}

/// Which objects are listed or watched.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    /// Label selector; empty for all.
    pub(crate) labels: String,
    /// Field selector; empty for all.
    pub(crate) fields: String,
}

impl Query {
    fn url(&self, more: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("labelSelector", &self.labels), ("fieldSelector", &self.fields)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.extend_pairs(more);
        format!("{}?{}", collection(self.kind, &self.namespace), query.finish())
    }
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) items: Vec<Value>,
    /// Where the history of the list goes on.
    pub(crate) version: String,
    /// What to ask the next page with; empty after the last one.
    pub(crate) more: String,
}

/// One API server.
#[derive(Debug)]
pub(crate) struct Cluster {
    access: Access,
    client: OnceCell<ShownClient>,
    /// How long one request that changes something may take.
    once: Duration,
    /// How long it may take with all its repetitions.
    in_all: Duration,
}

/// A client does not tell what it is made of.
struct ShownClient(Client);

impl std::fmt::Debug for ShownClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Cluster {
    pub(crate) fn new(traits: &Traits) -> Self {
        let seconds = |value: i64| Duration::from_secs(u64::try_from(value).unwrap_or(1));
        Self {
            access: Access::new(traits),
            client: OnceCell::new(),
            once: seconds(traits.k8s_api_request_timeout),
            in_all: seconds(traits.k8s_api_request_retry_timeout),
        }
    }

    /// A cluster whose answers a test gives.
    #[cfg(test)]
    pub(crate) fn scripted(client: Client) -> Self {
        let cluster = Self::new(&Traits::default());
        Self { client: OnceCell::new_with(Some(ShownClient(client))), ..cluster }
    }

    /// Made when it is first needed, so that a configuration can be checked far from its cluster.
    async fn client(&self) -> Result<Client, ApiError> {
        let made = self.client.get_or_try_init(|| async { self.access.connect().await.map(ShownClient) });
        made.await.map(|client| client.0.clone())
    }

    /// One object; none when it does not exist.
    pub(crate) async fn get(&self, object: Object<'_>) -> Result<Option<Value>, ApiError> {
        let answer = self.persist(Method::GET, &object.path(), None).await;
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.status() == Some(404) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Creates an object and returns it as the cluster made it. A repetition may find what an earlier try has made
    /// after all: 409 then does not tell whose the object is.
    pub(crate) async fn create(
        &self,
        kind: Kind,
        namespace: &str,
        manifest: &Value,
    ) -> Result<Value, ApiError> {
        self.persist(Method::POST, &collection(kind, namespace), Some(manifest)).await
    }

    /// Asks the cluster to delete an object. `grace` is in seconds, none for the object's own; with `uid` only exactly
    /// that one. False when it is not there (any more).
    pub(crate) async fn delete(
        &self,
        object: Object<'_>,
        grace: Option<i64>,
        uid: Option<&str>,
    ) -> Result<bool, ApiError> {
        let mut options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
        if let Some(grace) = grace {
            options["gracePeriodSeconds"] = grace.into();
        }
        if let Some(uid) = uid {
            options["preconditions"] = json!({"uid": uid});
        }
        match self.persist(Method::DELETE, &object.path(), Some(&options)).await {
            Ok(_) => Ok(true),
            Err(error) if error.status() == Some(404) => Ok(false),
            // Another object has the name now: the one that was meant is gone.
            Err(error) if error.status() == Some(409) && uid.is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One page of a list, with at most `limit` items; `more` is empty for the first one.
    pub(crate) async fn page(&self, query: &Query, limit: u32, more: &str) -> Result<Page, ApiError> {
        let limit = limit.to_string();
        let mut parameters = vec![("limit", limit.as_str())];
        if !more.is_empty() {
            parameters.push(("continue", more));
        }
        let url = query.url(&parameters);
        let mut list = within(READ_PATIENCE, self.answer(Method::GET, &url, None)).await?;
        let text = |value: &Value, path: &str| {
            value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (version, more) = (text(&list, "/metadata/resourceVersion"), text(&list, "/metadata/continue"));
        let items = match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        Ok(Page { items, version, more })
    }

    /// Begins to watch from `version` on. The API server ends the watch after `length`.
    pub(crate) async fn watch(
        &self,
        query: &Query,
        version: &str,
        length: Duration,
    ) -> Result<Lines, ApiError> {
        let seconds = length.as_secs().to_string();
        let url = query.url(&[
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", &seconds),
        ]);
        let response = within(READ_PATIENCE, self.send(Method::GET, &url, None)).await?;
        if response.status().is_success() {
            return Ok(Lines::new(response.into_body()));
        }
        let status = response.status();
        let body = within(READ_PATIENCE, read(response)).await?;
        Err(ApiError::from_answer(status, &body))
    }

    /// Tries again while that may help.
    async fn persist(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let until = Instant::now() + self.in_all;
        let mut pause = Pause::new(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            let error = match within(self.once, self.answer(method.clone(), path, body)).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let wait = pause.next();
            if !error.may_pass() || Instant::now() + wait > until {
                return Err(error);
            }
            debug!(%method, path, %error, "trying again");
            sleep(wait).await;
        }
    }

    async fn answer(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, ApiError> {
        let response = self.send(method, path, body).await?;
        let status = response.status();
        let bytes = read(response).await?;
        if !status.is_success() {
            return Err(ApiError::from_answer(status, &bytes));
        }
        serde_json::from_slice(&bytes)
            .map_err(|error| ApiError::Unreachable(format!("the answer to {path} is no JSON: {error}")))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response<Body>, ApiError> {
        let mut request = Request::builder().method(method).uri(path).header("accept", "application/json");
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let request = request.body(Body::from(bytes)).map_err(|error| ApiError::Answer {
            status: StatusCode::BAD_REQUEST.as_u16(),
            message: format!("{path:?} is no address of an object: {error}"),
        })?;
        self.client().await?.send(request).await.map_err(|error| unreachable(&error))
    }
}

async fn read(response: Response<Body>) -> Result<bytes::Bytes, ApiError> {
    let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| ApiError::Unreachable(format!("the answer cannot be read: {error}")))
}

/// The innermost cause says most: `connection refused` rather than `client error`.
fn unreachable(error: &dyn std::error::Error) -> ApiError {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    ApiError::Unreachable(innermost.to_string())
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let late = || ApiError::Unreachable(format!("no answer within {} seconds", limit.as_secs()));
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_objects_and_lists() {
        let pod = Object { kind: Kind::Pod, namespace: "ns", name: "jupyter-a" };
        assert_eq!(pod.path(), "/api/v1/namespaces/ns/pods/jupyter-a");
        assert_eq!(pod.to_string(), "pod jupyter-a in ns");
        let snapshot = Object { kind: Kind::Snapshot, namespace: "ns", name: "a" };
        assert_eq!(snapshot.path(), "/apis/snapshot.storage.k8s.io/v1/namespaces/ns/volumesnapshots/a");
        let namespace = Object { kind: Kind::Namespace, namespace: "", name: "ws-a" };
        assert_eq!(namespace.path(), "/api/v1/namespaces/ws-a");
        let query = Query {
            kind: Kind::Event,
            namespace: "ns".to_owned(),
            labels: String::new(),
            fields: "involvedObject.kind=Pod".to_owned(),
        };
        assert_eq!(
            query.url(&[("limit", "5")]),
            "/api/v1/namespaces/ns/events?fieldSelector=involvedObject.kind%3DPod&limit=5"
        );
    }
}
