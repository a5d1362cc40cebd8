//! Routes and the table that holds them.

use std::{
    collections::BTreeMap,
    hash::RandomState,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tracing::{error, warn};

use super::{
    activity::Activity,
    journal::Journal,
    trie::{Node, segments},
};
use crate::{
    error::{ProxyError, RouteError},
    target::{MAX_TEXT, Origins, Target},
};

/// Most segments in a key: bounds the depth of the trie, and with it recursion.
const MAX_SEGMENTS: usize = 256;

/// What a route leads to, as far as the hub says; the label of requests in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RouteKind {
    Hub,
    User,
    Service,
    Other,
}

impl RouteKind {
    /// Labels in the order of the variants.
    pub(crate) const NAMES: [&str; 4] = ["hub", "user", "service", "other"];

    fn of(key: &str, data: &Map<String, Value>) -> Self {
        let is = |name: &str| data.get(name).is_some_and(|value| *value != Value::Bool(false));
        match () {
            () if is("hub") || key == "/" => Self::Hub,
            () if is("user") => Self::User,
            () if is("service") => Self::Service,
            () => Self::Other,
        }
    }
}

/// A route as the proxy uses it.
#[derive(Debug)]
pub(crate) struct Route {
    /// Canonical key: leading slash, no trailing slash except for `/`.
    pub(crate) key: Box<str>,
    pub(crate) target: Target,
    /// What the API shows: everything that was posted, `target` included, in the order in which it was posted.
    document: Map<String, Value>,
    pub(crate) activity: Activity,
    pub(crate) kind: RouteKind,
    /// Requests forwarded, websockets included.
    pub(crate) requests: AtomicU64,
}

impl Route {
    /// Bytes of the decoded request path that this route matched.
    pub(crate) fn prefix_len(&self) -> usize {
        if &*self.key == "/" { 0 } else { self.key.len() }
    }

    /// Whether the hub calls this route its own.
    pub(crate) fn leads_to_hub(&self) -> bool {
        self.document.get("hub") == Some(&Value::Bool(true))
    }

    /// The JSON object that the API shows for this route, `last_activity` last.
    pub(crate) fn document(&self) -> Map<String, Value> {
        let mut document = self.document.clone();
        let at = self.activity.date().to_rfc3339_opts(SecondsFormat::Millis, true);
        document.insert("last_activity".to_owned(), Value::String(at));
        document
    }

    fn info(&self) -> RouteInfo {
        let mut data = self.document.clone();
        data.shift_remove("target");
        RouteInfo { target: self.target.text.to_string(), data, last_activity: self.activity.date() }
    }
}

/// A route as others see it.
#[derive(Debug, Clone, PartialEq)]
pub struct RouteInfo {
    /// Target URL as it was given.
    pub target: String,
    /// Whatever was stored with the route; with host routing also `host`.
    pub data: Map<String, Value>,
    /// Last use, to the millisecond; the moment of adding when never used.
    pub last_activity: DateTime<Utc>,
}

/// The routes of a proxy. Shared; reading never waits for writing.
///
/// Keys are decoded paths (`/user/a b`), with the host name in front when host routing is on (`/host/user/a b`).
/// Slashes at the end make no difference.
#[derive(Debug)]
pub struct RouteTable {
    root: ArcSwap<Node<Route>>,
    writer: Mutex<()>,
    len: AtomicUsize,
    hasher: RandomState,
    pub(crate) origins: Origins,
    host_routing: bool,
    journal: Option<Mutex<Journal>>,
}

/// A route with everything that another process, or the same one after a restart, needs of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SavedRoute {
    pub(crate) key: String,
    pub(crate) document: Map<String, Value>,
    /// Milliseconds since the epoch; `None` is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_activity: Option<i64>,
}

/// Canonical form of a routespec: one leading slash, none at the end.
fn canonical(routespec: &str) -> String {
    format!("/{}", routespec.trim_matches('/'))
}

impl RouteTable {
    /// An empty table. With `host_routing` the first segment of every key is a host name.
    pub fn new(host_routing: bool) -> Arc<Self> {
        Arc::new(Self::empty(host_routing))
    }

    /// The routes saved in a file: a restarted proxy knows its routes at once, however it ended. The file need not
    /// exist. It follows all further changes from [`keep`](Self::keep) on, and is not written before: it may be that of
    /// a process that runs, and which this one finds out when it cannot have the addresses.
    ///
    /// # Errors
    /// When the file cannot be read or made, or holds something else.
    pub fn persistent(host_routing: bool, path: &Path) -> Result<Arc<Self>, ProxyError> {
        let (journal, saved) = Journal::open(path)?;
        let mut table = Self::empty(host_routing);
        table.replace_all(&saved);
        table.journal = Some(Mutex::new(journal));
        Ok(Arc::new(table))
    }

    /// Makes the file, if there is one, this table's own.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn keep(&self) -> Result<(), ProxyError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        journal.lock().unwrap_or_else(PoisonError::into_inner).begin(|| self.saved())
    }

    fn empty(host_routing: bool) -> Self {
        Self {
            root: ArcSwap::default(),
            writer: Mutex::new(()),
            len: AtomicUsize::new(0),
            hasher: RandomState::new(),
            origins: Origins::default(),
            host_routing,
            journal: None,
        }
    }

    /// All routes, to be kept or given away.
    pub(crate) fn saved(&self) -> Vec<SavedRoute> {
        let mut saved = Vec::with_capacity(self.len());
        self.for_each(&mut |route| {
            saved.push(SavedRoute {
                key: route.key.to_string(),
                document: route.document.clone(),
                last_activity: Some(route.activity.millis()),
            });
        });
        saved
    }

    /// Takes over the routes of another process in place of all that are here.
    pub(crate) fn restore(&self, saved: &[SavedRoute]) {
        self.replace_all(saved);
        self.record(|journal, table| journal.rewrite(&table.saved()));
    }

    fn replace_all(&self, saved: &[SavedRoute]) {
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut root = Node::default();
        let mut len = 0;
        for SavedRoute { key, document, last_activity } in saved {
            let target = document.get("target").and_then(Value::as_str).unwrap_or_default();
            match self.build(key, target, document.clone()) {
                Ok(mut route) => {
                    if let Some(millis) = last_activity {
                        route.activity = Activity::at(*millis);
                    }
                    let key = route.key.clone();
                    len += usize::from(root.get(&self.hasher, segments(&key)).is_none());
                    root = root.with(&self.hasher, &mut segments(&key), Arc::new(route));
                }
                Err(error) => warn!(route = key, %error, "a saved route cannot be used"),
            }
        }
        self.root.store(Arc::new(root));
        self.len.store(len, Ordering::Relaxed);
    }

    /// Writes to the journal, if there is one. A full disk must not stop the proxy.
    fn record(&self, write: impl FnOnce(&mut Journal, &Self) -> Result<(), ProxyError>) {
        let Some(journal) = &self.journal else { return };
        let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = write(&mut journal, self) {
            error!(%error, "routes cannot be saved: a restarted proxy would not know the latest ones");
        }
    }

    /// Whether the first segment of a key is a host name.
    pub fn host_routing(&self) -> bool {
        self.host_routing
    }

    /// Number of routes.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there is no route at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a route or replaces the one with the same key; its last activity becomes now.
    ///
    /// # Errors
    /// When the target is no URL that the proxy can forward to, or key or target are longer than 8 KiB.
    pub fn add(&self, routespec: &str, target: &str, data: Map<String, Value>) -> Result<(), RouteError> {
        let route = Arc::new(self.build(routespec, target, data)?);
        let key = route.key.clone();
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let root = self.root.load();
        if root.get(&self.hasher, segments(&key)).is_none() {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        self.root.store(Arc::new(root.with(&self.hasher, &mut segments(&key), Arc::clone(&route))));
        self.record(|journal, table| {
            journal.added(&route.key, &route.document, table.len(), || table.saved())
        });
        Ok(())
    }

    fn build(&self, routespec: &str, target: &str, data: Map<String, Value>) -> Result<Route, RouteError> {
        if routespec.len() > MAX_TEXT {
            return Err(RouteError::TooLong { limit: MAX_TEXT });
        }
        let key = canonical(routespec);
        if segments(&key).count() > MAX_SEGMENTS {
            return Err(RouteError::TooDeep { limit: MAX_SEGMENTS });
        }
        let mut document = data;
        document.insert("target".to_owned(), Value::String(target.to_owned()));
        if self.host_routing && key != "/" {
            let host = segments(&key).next().unwrap_or_default().to_owned();
            document.insert("host".to_owned(), Value::String(host));
        }
        let kind = RouteKind::of(&key, &document);
        let target = self.origins.parse(target)?;
        Ok(Route {
            key: key.as_str().into(),
            target,
            document,
            activity: Activity::now(),
            kind,
            requests: AtomicU64::new(0),
        })
    }

    /// Removes a route; `false` when there was none. Requests under way are not touched.
    pub fn remove(&self, routespec: &str) -> bool {
        let key = canonical(routespec);
        let _writing = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let root = self.root.load();
        match root.without(&self.hasher, &mut segments(&key)) {
            None => false,
            Some(root) => {
                self.len.fetch_sub(1, Ordering::Relaxed);
                self.root.store(Arc::new(root));
                self.record(|journal, table| journal.removed(&key, table.len(), || table.saved()));
                true
            }
        }
    }

    /// The route with exactly this key.
    pub fn get(&self, routespec: &str) -> Option<RouteInfo> {
        self.exact(routespec).map(|route| route.info())
    }

    /// The route that serves a decoded path (with the host in front when host routing is on).
    pub fn find(&self, path: &str) -> Option<RouteInfo> {
        self.root.load().find(&self.hasher, segments(path)).map(|route| route.info())
    }

    /// All routes by key.
    pub fn list(&self) -> BTreeMap<String, RouteInfo> {
        let mut all = BTreeMap::new();
        self.for_each(&mut |route| {
            all.insert(route.key.to_string(), route.info());
        });
        all
    }

    pub(crate) fn exact(&self, routespec: &str) -> Option<Arc<Route>> {
        self.root.load().get(&self.hasher, segments(routespec)).map(Arc::clone)
    }

    /// The route for a request: longest prefix of the decoded path, below the host with host routing.
    pub(crate) fn route(&self, host: Option<&str>, path: &str) -> Option<Arc<Route>> {
        let root = self.root.load();
        let found = if self.host_routing {
            root.find(&self.hasher, host.into_iter().chain(segments(path)))
        } else {
            root.find(&self.hasher, segments(path))
        };
        found.map(Arc::clone)
    }

    pub(crate) fn for_each(&self, visit: &mut dyn FnMut(&Arc<Route>)) {
        let root = self.root.load();
        root.for_each(&mut |route| visit(route));
    }
}
