//! A cluster in memory with the rules that matter here: names are taken once, deletions take their time, watches tell
//! what happened since a version that is not too old, and the API server may be away.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Method, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

const SNAPSHOTS: &str = "volumesnapshots";
const CLAIMS: &str = "persistentvolumeclaims";

type Answer = UnsyncBoxBody<Bytes, io::Error>;

/// The cluster.
#[derive(Clone)]
pub(super) struct Fake(Arc<Inner>);

struct Inner {
    world: Mutex<World>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct World {
    /// By kind and name.
    objects: BTreeMap<(String, String), Value>,
    version: u64,
    history: VecDeque<(u64, String, Value)>,
    /// What happened up to here is forgotten.
    forgotten: u64,
    away: bool,
    /// Counts outages, so that watches notice one.
    outages: u64,
    /// Deletions are not carried out by the nodes.
    stuck: bool,
    /// No node has room for a pod.
    full: bool,
    /// Why pods are refused, with the status code.
    refusal: Option<(u16, &'static str)>,
    snapshots: Snapshots,
    /// Pods of somebody else that were to be deleted.
    wronged: Vec<String>,
    /// Requests of each kind and namespace that are no watches.
    asked: BTreeMap<(String, String), usize>,
    files: Files,
}

/// What is in the volumes of claims, by the id of the claim: how much was written there, and how much of that snapshots
/// have.
#[derive(Default)]
struct Files {
    writes: u64,
    written: BTreeMap<String, u64>,
    kept: BTreeMap<String, u64>,
    /// Claims that are gone with files that no snapshot has.
    lost: Vec<String>,
}

/// What becomes of snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Snapshots {
    /// They can be relied on at once.
    #[default]
    Ready,
    /// Not before the next change.
    Slow,
    /// The API server does not know of any.
    Unknown,
}

impl World {
    fn note(&mut self, kind: &str, what: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let event = json!({"type": what, "object": object});
        self.history.push_back((self.version, kind.to_owned(), event));
        object
    }

    fn put(&mut self, kind: &str, name: &str, what: &str, object: Value) -> Value {
        let object = self.note(kind, what, object);
        self.objects.insert((kind.to_owned(), name.to_owned()), object.clone());
        object
    }

    /// Claims are bound when there is a pod, and not before.
    fn bind_claims(&mut self) {
        for ((kind, name), object) in &mut self.objects {
            if kind == CLAIMS {
                object["spec"]["volumeName"] = format!("volume-of-{name}").into();
            }
        }
    }

    /// The ids of the claims that a pod mounts.
    fn mounted(&self, pod: &Value) -> Vec<String> {
        let volumes = pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten();
        let names = volumes.filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str());
        let claims = names.filter_map(|name| self.objects.get(&(CLAIMS.to_owned(), name.to_owned())));
        claims.map(|claim| claim["metadata"]["uid"].to_string()).collect()
    }

    /// Whether a pod has the claim.
    fn is_in_use(&self, claim: &Value) -> bool {
        let uid = claim["metadata"]["uid"].to_string();
        let mut pods = self.objects.iter().filter(|((kind, _), _)| kind == "pods");
        pods.any(|(_, pod)| self.mounted(pod).contains(&uid))
    }

    /// A pod that runs writes all the time.
    fn write(&mut self, pod: &Value) {
        for claim in self.mounted(pod) {
            self.files.writes += 1;
            self.files.written.insert(claim, self.files.writes);
        }
    }

    /// A snapshot has what was written until then.
    fn keep(&mut self, snapshot: &Value) {
        let name = snapshot.pointer("/spec/source/persistentVolumeClaimName").and_then(Value::as_str);
        let place = (CLAIMS.to_owned(), name.unwrap_or_default().to_owned());
        let Some(claim) = self.objects.get(&place) else { return };
        let uid = claim["metadata"]["uid"].to_string();
        let written = self.files.written.get(&uid).copied().unwrap_or_default();
        self.files.kept.insert(uid, written);
    }

    fn remove(&mut self, kind: &str, name: &str) {
        if let Some(object) = self.objects.remove(&(kind.to_owned(), name.to_owned())) {
            let uid = object["metadata"]["uid"].to_string();
            if self.files.written.get(&uid) > self.files.kept.get(&uid) {
                self.files.lost.push(name.to_owned());
            }
            self.note(kind, "DELETED", object);
        }
    }
}

impl Fake {
    pub(super) fn new() -> Self {
        let inner = Inner {
            world: Mutex::new(World { version: 1, ..World::default() }),
            changed: watch::Sender::new(()),
        };
        Self(Arc::new(inner))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap()
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let done = change(&mut self.world());
        self.0.changed.send_replace(());
        done
    }

    pub(super) fn client(&self) -> Client {
        let fake = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let fake = fake.clone();
            async move { fake.serve(request).await }
        });
        Client::new(service, "default")
    }

    /// The API server goes away or comes back; with `forget` it does not know what happened meanwhile.
    pub(super) fn away(&self, away: bool, forget: bool) {
        self.change(|world| {
            world.away = away;
            world.outages += u64::from(away);
            if forget {
                world.history.clear();
                world.version += 1;
                world.forgotten = world.version;
            }
        });
    }

    pub(super) fn stuck(&self, stuck: bool) {
        self.change(|world| world.stuck = stuck);
    }

    pub(super) fn full(&self, full: bool) {
        self.change(|world| world.full = full);
    }

    /// Pods are refused from now on, or no more.
    pub(super) fn refuse(&self, refusal: Option<(u16, &'static str)>) {
        self.change(|world| world.refusal = refusal);
    }

    pub(super) fn snapshots(&self, snapshots: Snapshots) {
        self.change(|world| world.snapshots = snapshots);
    }

    /// How many requests there were about objects of a kind.
    pub(super) fn asked(&self, kind: &str) -> usize {
        self.world().asked.iter().filter(|((of, _), _)| of == kind).map(|(_, count)| count).sum()
    }

    /// The namespaces in which there were requests about objects of a kind.
    pub(super) fn asked_in(&self, kind: &str) -> Vec<String> {
        let world = self.world();
        world.asked.keys().filter(|(of, _)| of == kind).map(|(_, namespace)| namespace.clone()).collect()
    }

    /// Claims that were deleted though a pod had them, or that are gone with files that no snapshot has.
    pub(super) fn lost(&self) -> Vec<String> {
        self.world().files.lost.clone()
    }

    /// Names of all objects of a kind.
    pub(super) fn names(&self, kind: &str) -> Vec<String> {
        let world = self.world();
        world.objects.keys().filter(|(of, _)| of == kind).map(|(_, name)| name.clone()).collect()
    }

    /// Pods of somebody else that were to be deleted.
    pub(super) fn wronged(&self) -> Vec<String> {
        self.world().wronged.clone()
    }

    /// Makes a claim of a person.
    pub(super) fn add_claim(&self, name: &str, user: &str) {
        let annotations = json!({"hub.jupyter.org/username": user});
        let claim = json!({"metadata": {"name": name, "annotations": annotations}});
        self.change(|world| create(world, "persistentvolumeclaims", claim));
    }

    /// Somebody else makes a pod of this name, if there is none.
    pub(super) fn take_name(&self, name: &str) {
        self.change(|world| {
            let pod = json!({"metadata": {"name": name, "labels": {"other": "yes"}}});
            create(world, "pods", pod);
        });
    }

    /// Somebody else takes those pods away.
    pub(super) fn give_names_back(&self) {
        self.change(|world| {
            let others = world.objects.iter().filter(|(_, object)| is_foreign(object));
            let others: Vec<_> = others.map(|(place, _)| place.clone()).collect();
            for (kind, name) in others {
                world.remove(&kind, &name);
            }
        });
    }

    /// Names and ids of all pods.
    pub(super) fn ids(&self) -> BTreeMap<String, String> {
        let world = self.world();
        let pods = world.objects.iter().filter(|((kind, _), _)| kind == "pods");
        pods.map(|((_, name), pod)| (name.clone(), pod["metadata"]["uid"].to_string())).collect()
    }

    /// An object, if it is there.
    pub(super) fn object(&self, kind: &str, name: &str) -> Option<Value> {
        self.world().objects.get(&(kind.to_owned(), name.to_owned())).cloned()
    }

    /// Somebody else deletes a pod, at once.
    pub(super) fn lose(&self, name: &str) {
        self.remove("pods", name);
    }

    /// Somebody else deletes an object, at once.
    pub(super) fn remove(&self, kind: &str, name: &str) {
        self.change(|world| world.remove(kind, name));
    }

    /// Somebody else makes a pod that mounts a claim.
    pub(super) fn mount(&self, claim: &str, pod: &str) {
        let volume = json!({"name": "home", "persistentVolumeClaim": {"claimName": claim}});
        let pod = json!({"metadata": {"name": pod}, "spec": {"volumes": [volume]}});
        self.change(|world| create(world, "pods", pod));
    }

    /// Changes the status of a pod, if it is there.
    pub(super) fn set_status(&self, name: &str, status: Value) {
        self.change(|world| {
            if let Some(mut pod) = world.objects.get(&("pods".to_owned(), name.to_owned())).cloned() {
                pod["status"] = status;
                world.put("pods", name, "MODIFIED", pod);
            }
        });
    }

    /// The nodes: pods come up, and those that are to end do.
    pub(super) async fn run_nodes(self) {
        loop {
            sleep(Duration::from_millis(300)).await;
            self.change(|world| {
                let pods: Vec<(String, Value)> = world
                    .objects
                    .iter()
                    .filter(|((kind, _), _)| kind == "pods")
                    .map(|((_, name), pod)| (name.clone(), pod.clone()))
                    .collect();
                for (name, mut pod) in pods {
                    if pod.pointer("/status/phase") == Some(&json!("Running")) {
                        world.write(&pod);
                    }
                    if pod.pointer("/metadata/deletionTimestamp").is_some() {
                        if !world.stuck {
                            world.remove("pods", &name);
                        }
                    } else if !world.full && pod.pointer("/status/phase") == Some(&json!("Pending")) {
                        world.bind_claims();
                        pod["status"] = json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": [
                            {"name": "notebook", "ready": true, "state": {"running": {}}}]});
                        world.put("pods", &name, "MODIFIED", pod);
                    }
                }
                let claims = world.objects.iter().filter(|((kind, _), _)| kind == CLAIMS);
                let ended = claims.filter(|(_, claim)| {
                    claim.pointer("/metadata/deletionTimestamp").is_some() && !world.is_in_use(claim)
                });
                let ended: Vec<String> = ended.map(|((_, name), _)| name.clone()).collect();
                for name in ended {
                    world.remove(CLAIMS, &name);
                }
            });
        }
    }

    async fn serve(&self, request: Request<Body>) -> io::Result<Response<Answer>> {
        sleep(Duration::from_millis(20)).await;
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(io::Error::other)?;
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let path = parts.uri.path().split('/').skip_while(|part| *part != "namespaces");
        let path: Vec<&str> = path.skip(1).collect();
        let query = parts.uri.query().unwrap_or_default();
        let (namespace, kind, name) = (path[0], path[1], path.get(2).copied());
        let outages = {
            let world = self.world();
            if world.away {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            world.outages
        };
        if query.contains("watch=1") {
            return Ok(self.watch(kind, query, outages));
        }
        *self.world().asked.entry((kind.to_owned(), namespace.to_owned())).or_default() += 1;
        let is_unknown = kind == SNAPSHOTS && self.world().snapshots == Snapshots::Unknown;
        let (status, answer) = match (parts.method, name) {
            _ if is_unknown => (404, json!({"message": "the server could not find the requested resource"})),
            (Method::GET, None) => {
                let world = self.world();
                let items = world.objects.iter().filter(|((of, _), _)| of == kind).map(|(_, object)| object);
                let items: Vec<&Value> = items.collect();
                let (from, limit) = (number(query, "continue").unwrap_or(0), number::<usize>(query, "limit"));
                let end = limit.map_or(items.len(), |limit| from + limit).min(items.len());
                let more = if end < items.len() { end.to_string() } else { String::new() };
                let metadata = json!({"resourceVersion": world.version.to_string(), "continue": more});
                (200, json!({"metadata": metadata, "items": items.get(from..end).unwrap_or_default()}))
            }
            (Method::GET, Some(name)) => {
                let world = self.world();
                let mut found = world.objects.get(&(kind.to_owned(), name.to_owned())).cloned();
                if let Some(snapshot) = found.as_mut().filter(|_| kind == SNAPSHOTS) {
                    snapshot["status"] = json!({"readyToUse": world.snapshots == Snapshots::Ready});
                }
                found.map_or((404, json!({})), |found| (200, found))
            }
            (Method::POST, None) if kind == "pods" && self.world().refusal.is_some() => {
                let (status, message) = self.world().refusal.unwrap_or_default();
                (status, json!({"message": message}))
            }
            (Method::POST, None) => self.change(|world| create(world, kind, body)),
            (Method::DELETE, Some(name)) => self.change(|world| delete(world, kind, name, &body)),
            other => panic!("no verb of this spawner: {other:?}"),
        };
        // The answer to what was done may be lost.
        if self.world().outages != outages {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let body = Full::from(answer.to_string()).map_err(|never| match never {}).boxed_unsync();
        Ok(Response::builder().status(status).body(body).unwrap())
    }

    fn watch(&self, kind: &str, query: &str, outages: u64) -> Response<Answer> {
        let parameter = |name: &str| number::<u64>(query, name).unwrap();
        let until = Instant::now() + Duration::from_secs(parameter("timeoutSeconds"));
        let start = (self.clone(), kind.to_owned(), parameter("resourceVersion"), self.0.changed.subscribe());
        let lines = stream::try_unfold(start, move |(fake, kind, at, mut changed)| async move {
            loop {
                let next = {
                    let world = fake.world();
                    if world.outages != outages {
                        return Err(io::ErrorKind::ConnectionReset.into());
                    }
                    if at < world.forgotten {
                        let gone = json!({"type": "ERROR", "object": {"code": 410, "message": "too old"}});
                        Some((u64::MAX, gone))
                    } else {
                        let of_kind = |(version, of, _): &&(u64, String, Value)| *version > at && *of == kind;
                        world
                            .history
                            .iter()
                            .find(of_kind)
                            .map(|(version, _, event)| (*version, event.clone()))
                    }
                };
                if let Some((version, event)) = next {
                    let frame = Frame::data(Bytes::from(format!("{event}\n")));
                    return Ok(Some((frame, (fake, kind, version, changed))));
                }
                tokio::select! {
                    _ = changed.changed() => {}
                    () = sleep_until(until) => return Ok(None),
                }
            }
        });
        Response::new(StreamBody::new(lines).boxed_unsync())
    }
}

/// A parameter of a query, if it is there.
fn number<N: FromStr>(query: &str, name: &str) -> Option<N> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok())
}

fn is_foreign(object: &Value) -> bool {
    object.pointer("/metadata/labels/other").is_some()
}

fn create(world: &mut World, kind: &str, mut object: Value) -> (u16, Value) {
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    if world.objects.contains_key(&(kind.to_owned(), name.clone())) {
        return (409, json!({"message": format!("{kind} \"{name}\" already exists")}));
    }
    object["metadata"]["uid"] = format!("uid-{}", world.version).into();
    object["metadata"]["namespace"] = "hub".into();
    object["metadata"]["creationTimestamp"] = format!("{:09}", world.version).into();
    if kind == SNAPSHOTS {
        world.keep(&object);
    }
    if kind == "pods" {
        object["status"] = json!({"phase": "Pending"});
    }
    (201, world.put(kind, &name, "ADDED", object))
}

fn delete(world: &mut World, kind: &str, name: &str, options: &Value) -> (u16, Value) {
    let Some(mut object) = world.objects.get(&(kind.to_owned(), name.to_owned())).cloned() else {
        return (404, json!({"message": "not found"}));
    };
    if is_foreign(&object) {
        world.wronged.push(name.to_owned());
    }
    if options.pointer("/preconditions/uid").is_some_and(|uid| *uid != object["metadata"]["uid"]) {
        return (409, json!({"message": "the UID in the precondition does not match"}));
    }
    let is_protected = kind == CLAIMS && world.is_in_use(&object);
    if is_protected {
        world.files.lost.push(format!("{name} in use"));
    }
    if !is_protected && (options["gracePeriodSeconds"] == 0 || kind != "pods") {
        world.remove(kind, name);
    } else {
        object["metadata"]["deletionTimestamp"] = "now".into();
        object = world.put(kind, name, "MODIFIED", object);
    }
    (200, object)
}
