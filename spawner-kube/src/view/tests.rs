//! The view against an API server whose answers are written down: faults that a real one cannot be made to have on
//! demand.

use std::collections::VecDeque;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::*;
use crate::cluster::ApiError;

const DEADLINE: Duration = Duration::from_mins(1);

/// What is answered to one request.
enum Answer {
    /// A status and a body.
    Plain(u16, Value),
    /// A watch with these events that then ends.
    Watch(Vec<Value>),
    /// A watch with these events that stays open.
    Open(Vec<Value>),
}

/// Answers by what is asked for, each once and in order; when they are used up, the API server is away.
#[derive(Clone, Default)]
struct Script(Arc<Mutex<Scripted>>);

#[derive(Default)]
struct Scripted {
    answers: HashMap<&'static str, VecDeque<Answer>>,
    asked: Vec<String>,
}

impl Script {
    fn on(self, what: &'static str, answer: Answer) -> Self {
        self.0.lock().unwrap().answers.entry(what).or_default().push_back(answer);
        self
    }

    fn add(&self, what: &'static str, answer: Answer) {
        let _ = self.clone().on(what, answer);
    }

    fn asked(&self, part: &str) -> Vec<String> {
        self.0.lock().unwrap().asked.iter().filter(|url| url.contains(part)).cloned().collect()
    }

    fn answer(&self, url: &str) -> Response<Answered> {
        let mut script = self.0.lock().unwrap();
        script.asked.push(url.to_owned());
        let what = match (url.contains("watch=1"), url.contains("/events")) {
            (true, false) => "watch pods",
            (false, false) => "list pods",
            (true, true) => "watch events",
            (false, true) => "list events",
        };
        let answer = script.answers.get_mut(what).and_then(VecDeque::pop_front);
        let lines = |events: Vec<Value>| {
            let mut lines: Vec<String> = events.iter().map(Value::to_string).collect();
            lines.push(String::new());
            lines.join("\n")
        };
        let (status, body) = match answer {
            None => (503, closed("away".to_owned())),
            Some(Answer::Plain(status, value)) => (status, closed(value.to_string())),
            Some(Answer::Watch(events)) => (200, closed(lines(events))),
            Some(Answer::Open(events)) => (200, open(lines(events))),
        };
        Response::builder().status(status).body(body).unwrap()
    }

    fn view(&self, events: bool) -> View {
        let script = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let answer = script.answer(&request.uri().to_string());
            async move { Ok::<_, Infallible>(answer) }
        });
        let cluster = Cluster::scripted(Client::new(service, "default"));
        View::new(Arc::new(cluster), "singleuser-server", events)
    }
}

type Answered = UnsyncBoxBody<Bytes, Infallible>;

fn closed(text: String) -> Answered {
    Full::from(text).boxed_unsync()
}

/// A body that does not end.
fn open(text: String) -> Answered {
    let first = stream::once(async move { Ok(Frame::data(Bytes::from(text))) });
    StreamBody::new(first.chain(stream::pending())).boxed_unsync()
}

fn object(name: &str, uid: &str, version: u32) -> Value {
    json!({"metadata": {"name": name, "uid": uid, "resourceVersion": version.to_string(),
        "annotations": {"hub.jupyter.org/username": name}}, "status": {"phase": "Running", "containerStatuses": []}})
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

fn list(items: &[Value], version: &str, more: &str) -> Answer {
    Answer::Plain(200, json!({"metadata": {"resourceVersion": version, "continue": more}, "items": items}))
}

async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let found = timeout(DEADLINE, async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("never: {what}"))
}

fn names(space: &Space) -> Option<Vec<String>> {
    let mut names: Vec<String> = space.pods()?.iter().map(|found| pod::name(found).to_owned()).collect();
    names.sort();
    Some(names)
}

#[tokio::test]
async fn pages_are_put_together_and_the_watch_goes_on_where_they_end() {
    let script = Script::default()
        .on("list pods", list(&[object("a", "1", 5)], "9", "next"))
        .on("list pods", list(&[object("b", "2", 6)], "9", ""))
        .on("watch pods", Answer::Open(vec![event("ADDED", &object("c", "3", 10))]));
    let view = script.view(false);
    let space = view.space("ns");
    until("three pods", || (names(&space)? == ["a", "b", "c"]).then_some(())).await;
    let lists = script.asked("limit=");
    assert!(lists[0].contains("labelSelector=component%3Dsingleuser-server"), "{lists:?}");
    assert!(lists[1].contains("continue=next"), "{lists:?}");
    let watches = script.asked("watch=1");
    assert!(watches[0].contains("resourceVersion=9") && watches[0].contains("allowWatchBookmarks=true"));
}

#[tokio::test]
async fn a_watch_that_ends_is_resumed_after_the_last_bookmark() {
    let bookmark = json!({"kind": "Pod", "metadata": {"resourceVersion": "20"}});
    let script = Script::default()
        .on("list pods", list(&[], "9", ""))
        .on("watch pods", Answer::Watch(vec![event("BOOKMARK", &bookmark)]))
        .on("watch pods", Answer::Open(vec![]));
    let view = script.view(false);
    let _space = view.space("ns");
    until("a second watch", || (script.asked("resourceVersion=20").len() == 1).then_some(())).await;
    assert_eq!(script.asked("limit=").len(), 1, "nothing was listed again");
}

#[tokio::test]
async fn what_was_deleted_while_the_history_was_lost_is_found_out_by_a_new_list() {
    let gone = json!({"kind": "Status", "code": 410, "message": "too old resource version"});
    let script = Script::default()
        .on("list pods", list(&[object("a", "1", 5), object("b", "2", 6)], "9", ""))
        .on("watch pods", Answer::Watch(vec![event("ERROR", &gone)]))
        .on("list pods", list(&[object("b", "2", 6)], "30", ""))
        .on("watch pods", Answer::Open(vec![]));
    let view = script.view(false);
    let space = view.space("ns");
    until("the second list", || (names(&space)? == ["b"]).then_some(())).await;
    let news = timeout(DEADLINE, view.next_news()).await.unwrap();
    assert_eq!(news.user.as_str(), "a", "the hub hears of what vanished");
    until("a watch from there", || (script.asked("resourceVersion=30").len() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_cluster_that_was_put_back_to_an_earlier_time_is_listed_anew() {
    let ahead = json!({"kind": "Status", "message": "Timeout: Too large resource version: 9, current: 3"});
    let script = Script::default()
        .on("list pods", list(&[object("a", "1", 5)], "9", ""))
        .on("watch pods", Answer::Plain(504, ahead))
        .on("list pods", list(&[object("b", "2", 2)], "3", ""))
        .on("watch pods", Answer::Open(vec![]));
    let view = script.view(false);
    let space = view.space("ns");
    until("the second list", || (names(&space)? == ["b"]).then_some(())).await;
    until("a watch from there", || (script.asked("resourceVersion=3").len() == 1).then_some(())).await;
}

#[tokio::test]
async fn why_a_pod_went_is_known_until_another_of_its_name_goes() {
    let mut drained = object("a", "1", 10);
    drained["status"]["conditions"] = json!([
        {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]);
    let script =
        Script::default().on("list pods", list(&[object("a", "1", 5), object("b", "2", 6)], "9", "")).on(
            "watch pods",
            Answer::Watch(vec![event("DELETED", &drained), event("DELETED", &object("b", "2", 11))]),
        );
    let view = script.view(false);
    let space = view.space("ns");
    until("both are gone", || (names(&space)?.is_empty()).then_some(())).await;
    assert_eq!(pod::uid(&space.last_of("a").unwrap()), "1");
    assert!(space.last_of("b").is_none(), "it does not tell why");
    let again = vec![event("ADDED", &object("a", "3", 12)), event("DELETED", &object("a", "3", 13))];
    script.add("watch pods", Answer::Open(again));
    until("another one went", || space.last_of("a").is_none().then_some(())).await;
}

#[tokio::test]
async fn nothing_is_told_for_certain_while_the_cluster_is_away_and_all_is_well_when_it_is_back() {
    let script = Script::default()
        .on("list pods", list(&[object("a", "1", 5)], "9", ""))
        .on("watch pods", Answer::Watch(vec![]));
    let view = script.view(false);
    let space = view.space("ns");
    until("the outage", || space.pod("a").is_err().then_some(())).await;
    assert!(space.pods().is_none());
    assert!(!view.health()[0].live);
    let asked = script.asked("watch=1").len();
    until("more tries", || (script.asked("watch=1").len() > asked + 2).then_some(())).await;
    script.add("watch pods", Answer::Open(vec![event("DELETED", &object("a", "1", 40))]));
    until("the truth", || (names(&space)?.is_empty()).then_some(())).await;
    assert!(view.health()[0].live);
    assert_eq!(script.asked("limit=").len(), 1, "the history was gone on from");
}

#[tokio::test]
async fn a_namespace_that_may_not_be_read_says_so_at_once_and_others_do_not_suffer() {
    let denied = json!({"kind": "Status", "message": "pods is forbidden"});
    let script = Script::default().on("list pods", Answer::Plain(403, denied));
    let view = script.view(false);
    let space = view.space("closed");
    let error = space.ready(DEADLINE).await.unwrap_err();
    assert!(matches!(error, ApiError::Answer { status: 403, .. }), "{error}");
    script.add("list pods", list(&[], "1", ""));
    script.add("list pods", list(&[], "1", ""));
    script.add("watch pods", Answer::Open(vec![]));
    script.add("watch pods", Answer::Open(vec![]));
    let other = view.space("open");
    timeout(DEADLINE, other.ready(DEADLINE)).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pod_that_came_back_under_its_name_is_not_taken_for_the_one_that_went() {
    let events = vec![
        event("ADDED", &object("a", "new", 10)),
        event("DELETED", &object("a", "old", 11)),
        event("ADDED", &object("z", "9", 12)),
    ];
    let script = Script::default()
        .on("list pods", list(&[object("a", "old", 5)], "9", ""))
        .on("watch pods", Answer::Open(events));
    let view = script.view(false);
    let space = view.space("ns");
    until("all events", || (names(&space)? == ["a", "z"]).then_some(())).await;
    assert_eq!(pod::uid(&space.pod("a").unwrap().unwrap()), "new");
}

#[tokio::test]
async fn events_are_kept_only_of_pods_that_are_waited_for_and_a_repetition_counts_once() {
    let told = |name: &str, uid: &str, count: u32| {
        let told = json!({"metadata": {"uid": uid}, "involvedObject": {"name": name}, "count": count});
        event("ADDED", &told)
    };
    let script = Script::default()
        .on("list pods", list(&[], "1", ""))
        .on("watch pods", Answer::Open(vec![]))
        .on("list events", list(&[], "5", ""))
        .on(
            "watch events",
            Answer::Open(vec![told("a", "x", 1), told("b", "y", 1), told("a", "z", 1), told("a", "x", 2)]),
        );
    let view = script.view(true);
    let space = view.space("ns");
    space.ready(DEADLINE).await.unwrap();
    let follow = view.follow(&space, "a").await;
    let uids = || -> Vec<String> { follow.events().iter().map(|told| pod::uid(told).to_owned()).collect() };
    until("both events", || (uids() == ["z", "x"]).then_some(())).await;
    assert!(view.follow(&space, "b").await.events().is_empty(), "nobody waited for it then");
    let lists = script.asked("/events?fieldSelector=involvedObject.kind%3DPod&limit=1");
    assert_eq!(lists.len(), 1, "the past is not read");
}
