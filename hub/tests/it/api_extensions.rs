//! What the REST API has beyond JupyterHub's: its own description, waiting answers, several servers at once, events,
//! idempotency keys.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::http::Method;
use jupyterhub_api_compat::endpoints::{Auth, ENDPOINTS};
use serde_json::{Value, json};

use crate::fake_spawner::gate;
use crate::support::TestHub;

/// Reads a stream until it holds `wanted` or ends.
pub(crate) async fn read_until(body: &mut BoxBody, wanted: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.contains(wanted) {
            match poll_fn(|cx| Pin::new(&mut *body).poll_next(cx)).await {
                Some(chunk) => text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap()),
                None => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap();
    text
}

/// The `data` of the events in a stream.
pub(crate) fn data(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|json| serde_json::from_str(json).unwrap()).collect()
}

#[actix_web::test]
async fn the_description_names_what_the_router_answers_and_nothing_else() {
    let test = TestHub::start().await;
    let document = test.anonymous().get("/openapi.json").await.holds(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], "/hub/api");
    let mut described = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            described.insert((method.to_ascii_uppercase(), path.clone()));
            // The root may do everything: the router knows the path, and the table's scopes were asked for.
            let skip = path == "/shutdown" || path == "/events" || path.starts_with("/oauth2/");
            if skip {
                continue;
            }
            let sent = path.replace(['{', '}'], "");
            let method: Method = method.to_ascii_uppercase().parse().unwrap();
            let answer = test.root().send(method, &format!("/hub/api{sent}"), None).await;
            let status = answer.code().to_string();
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key(&status), "{path}: {answer:?}");
            if operation["security"]
                .as_array()
                .is_some_and(|any| !any.is_empty() && !any.contains(&json!({})))
            {
                let refused = test
                    .anonymous()
                    .send(operation_method(&document, path), &format!("/hub/api{sent}"), None)
                    .await;
                assert_eq!(refused.code(), 403, "{path}");
            }
        }
    }
    let routed: BTreeSet<(String, String)> = ENDPOINTS
        .iter()
        .filter(|row| !row.path.is_empty())
        .map(|row| (row.method.as_str().to_owned(), row.path.to_owned()))
        .collect();
    assert_eq!(described, routed);
    let open = ENDPOINTS.iter().filter(|row| row.auth == Auth::Nobody).count();
    assert!(open > 0);
}

/// The first method of a path that needs credentials.
fn operation_method(document: &Value, path: &str) -> Method {
    let operations = document["paths"][path].as_object().unwrap();
    let closed = operations.iter().find(|(_, operation)| {
        operation["security"].as_array().is_some_and(|any| !any.is_empty() && !any.contains(&json!({})))
    });
    closed.unwrap().0.to_ascii_uppercase().parse().unwrap()
}

#[actix_web::test]
async fn the_description_is_also_a_page_that_loads_nothing() {
    let test = TestHub::start().await;
    let page = test.anonymous().get("/docs").await;
    assert_eq!((page.code(), page.kind()), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(page.text.contains("/users/{user}/servers/{server}"));
}

#[actix_web::test]
async fn a_start_can_be_waited_for() {
    let test = TestHub::with(|config| config.hub.slow_spawn_timeout = Duration::ZERO).await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server?wait=soon", None).await.fails(400, "wait must be 'ready'");
    ada.post("/users/ada/server?wait=ready&timeout=301", None)
        .await
        .fails(400, "timeout must be a number of seconds from 0 to 300");
    ada.post("/users/ada/server?wait=ready", json!({"user_options": {}})).await.is_empty(201, "text/plain");
    let ready = ada.get("/users/ada/server?wait=ready").await.holds(200);
    assert_eq!((&ready["ready"], &ready["pending"]), (&json!(true), &Value::Null));
    ada.delete("/users/ada/server", None).await.is_empty(204, "");

    ada.post("/users/ada/server", json!({"user_options": {"hold": "waited-for"}}))
        .await
        .is_empty(202, "text/plain");
    let early = ada.get("/users/ada/server?wait=ready&timeout=0").await.holds(202);
    assert_eq!(early["pending"], "spawn");
    let late = async {
        gate("waited-for").cancel();
    };
    let (answer, ()) = futures_util::future::join(ada.get("/users/ada/server?wait=ready"), late).await;
    assert_eq!(answer.holds(200)["ready"], true);
    ada.delete("/users/ada/server?wait=ready", None).await.is_empty(204, "");

    let broken = json!({"user_options": {"fail": "It broke."}});
    ada.post("/users/ada/server?wait=ready", broken).await.fails(500, "It broke.");
    ada.get("/users/ada/server?wait=ready").await.fails(500, "It broke.");
    assert_eq!(ada.get("/users/ada/server").await.holds(200)["ready"], false);
}

#[actix_web::test]
async fn several_servers_are_started_and_stopped_each_by_its_own_rules() {
    let test = TestHub::start().await;
    for name in ["ada", "bob", "eve"] {
        test.user(name).await;
    }
    let tutor = test.user_with("tutor", &["servers!user=ada", "servers!server=bob/lab"]).await;
    let body = json!({"servers": [
        {"user": "ada"},
        {"user": "bob", "server": "lab", "user_options": {"hold": "bulk"}},
        {"user": "bob"},
        {"user": "nobody"},
        {"user": "ada", "server": "Not Safe"},
    ]});
    let answer = tutor.post("/servers/start", body).await.holds(200);
    let statuses: Vec<u64> =
        answer["servers"].as_array().unwrap().iter().map(|one| one["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 202, 404, 404, 400], "{answer}");
    assert_eq!(answer["servers"][2]["message"], "No access to resources or resources not found");
    assert_eq!(test.root().get("/users/ada/server?wait=ready").await.holds(200)["ready"], true);
    gate("bulk").cancel();
    assert_eq!(test.root().get("/users/bob/servers/lab?wait=ready").await.holds(200)["ready"], true);
    let again = tutor.post("/servers/start", json!({"servers": [{"user": "ada"}]})).await.holds(200);
    assert_eq!(
        again["servers"][0],
        json!({"user": "ada", "server": "", "status": 400, "message": "ada/ is already running"})
    );

    let body = json!({"servers": [{"user": "ada"}, {"user": "bob", "server": "lab"}, {"user": "ada", "server": "x"}]});
    let answer = tutor.post("/servers/stop", body.clone()).await.holds(200);
    let statuses: Vec<u64> =
        answer["servers"].as_array().unwrap().iter().map(|one| one["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [202, 202, 404], "{answer}");
    assert_eq!(test.root().get("/users/ada/server?wait=ready").await.holds(200)["stopped"], true);
    let answer = tutor.post("/servers/stop", json!({"servers": [{"user": "ada"}]})).await.holds(200);
    assert_eq!(answer["servers"][0]["status"], 204);
    test.user("eve").await.post("/servers/start", body).await.holds(200);
    test.token("eve", &["read:users!user"])
        .await
        .post("/servers/start", json!({}))
        .await
        .fails(403, "Action is not authorized with current scopes; requires any of [start:servers]");
}

#[actix_web::test]
async fn events_tell_what_happens_to_the_servers_that_the_listener_may_read() {
    let test = TestHub::start().await;
    let (ada, bob) = (test.user("ada").await, test.user("bob").await);
    let (status, headers, mut all) = test.root().open("/events").await;
    assert_eq!(
        (status.as_u16(), headers.get("content-type").unwrap().as_bytes()),
        (200, &b"text/event-stream"[..])
    );
    assert_eq!(headers.get("x-accel-buffering").unwrap(), "no");
    let greeting = read_until(&mut all, "\n\n").await;
    let beginning = greeting.strip_prefix("id: ").unwrap().trim().to_owned();
    let (_, _, mut own) = bob.open("/events").await;
    let (_, _, mut one) = test.root().open("/events?user=ada").await;

    ada.post("/users/ada/server", json!({"user_options": {}})).await.is_empty(201, "text/plain");
    bob.post("/users/bob/server", json!({"user_options": {"fail": "It broke."}}))
        .await
        .fails(500, "It broke.");
    ada.delete("/users/ada/server", None).await.is_empty(204, "");
    bob.post("/users/bob/server", json!({"user_options": {}})).await.is_empty(201, "text/plain");

    let text = read_until(&mut all, "\"user\": \"bob\", \"server\": \"\"}").await;
    let seen: Vec<(String, String)> = data(&text)
        .iter()
        .map(|event| {
            (event["user"].as_str().unwrap().to_owned(), event["action"].as_str().unwrap().to_owned())
        })
        .collect();
    let wanted = [("ada", "start"), ("bob", "failure"), ("ada", "stop"), ("bob", "start")];
    assert_eq!(seen, wanted.map(|(user, action)| (user.to_owned(), action.to_owned())));
    let failure = &data(&text)[1];
    assert_eq!(
        (&failure["cause"], &failure["message"], &failure["retry"]),
        (&json!("fake-broken"), &json!("It broke."), &json!(false))
    );
    assert!(text.contains("event: failure\n"), "{text}");
    assert!(!text.contains("only for the log"), "{text}");

    let text = read_until(&mut own, "\"action\": \"start\"").await;
    assert!(data(&text).iter().all(|event| event["user"] == "bob"), "{text}");
    let text = read_until(&mut one, "\"action\": \"stop\"").await;
    assert!(data(&text).iter().all(|event| event["user"] == "ada"), "{text}");

    let (_, _, mut again) = test.root().header("Last-Event-ID", &beginning).open("/events").await;
    let text = read_until(&mut again, "\"user\": \"bob\", \"server\": \"\"}").await;
    assert_eq!(data(&text).len(), 4, "what happened since the last event is told again");
    let (_, _, mut lost) = test.root().header("Last-Event-ID", "another-7").open("/events").await;
    assert!(read_until(&mut lost, "\n\n").await.contains("event: reset\n"));
    test.token("eve", &["read:users!user"])
        .await
        .get("/events")
        .await
        .fails(403, "Action is not authorized with current scopes; requires any of [read:servers]");
}

#[actix_web::test]
async fn a_post_with_an_idempotency_key_happens_once() {
    let test = TestHub::start().await;
    let root = test.root().header("Idempotency-Key", "make-a-token");
    let body = json!({"note": "for the script"});
    test.user("ada").await;
    let first = root.post("/users/ada/tokens", body.clone()).await;
    let again = root.post("/users/ada/tokens", body.clone()).await;
    assert_eq!(first.holds(201), again.holds(201));
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true"))
    );
    let tokens = test.root().get("/users/ada/tokens").await.holds(200);
    let made =
        tokens["api_tokens"].as_array().unwrap().iter().filter(|token| token["note"] == "for the script");
    assert_eq!(made.count(), 1);

    let used = "This Idempotency-Key was used for another call.";
    root.post("/users/ada/tokens", json!({"note": "another"})).await.fails(422, used);
    root.post("/users/root/tokens", body.clone()).await.fails(422, used);
    // Others have keys of their own.
    let ada = test.user("ada").await.header("Idempotency-Key", "make-a-token");
    assert_ne!(ada.post("/users/ada/tokens", body.clone()).await.holds(201), first.json());
    // So has every token of one person: answers may hold what it must not get.
    let narrow = test.token("ada", &["read:users:name!user"]).await.header("Idempotency-Key", "make-a-token");
    narrow.post("/users/ada/tokens", body.clone()).await.fails(422, used);
    // A key protects nothing that its caller may not do any more.
    test.anonymous()
        .header("Idempotency-Key", "make-a-token")
        .post("/users/ada/tokens", body)
        .await
        .fails(403, None::<String>);
    test.root()
        .header("Idempotency-Key", "with space")
        .post("/users", json!({"usernames": ["new"]}))
        .await
        .fails(400, "Idempotency-Key must be 1 to 255 visible ASCII characters");
}

#[actix_web::test]
async fn a_key_is_free_again_after_a_failure_and_taken_while_the_call_goes_on() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await.header("Idempotency-Key", "start");
    ada.post("/users/ada/server", json!({"user_options": {"fail": "It broke."}}))
        .await
        .fails(500, "It broke.");
    let body = json!({"user_options": {"hold": "idempotent"}});
    let first = async {
        let answer = ada.post("/users/ada/server", body.clone()).await;
        answer.is_empty(201, "text/plain");
    };
    let second = async {
        loop {
            let state = test.root().get("/users/ada/server").await.holds(200);
            if state["pending"] == "spawn" {
                break;
            }
            tokio::task::yield_now().await;
        }
        ada.post("/users/ada/server", body.clone())
            .await
            .fails(409, "A call with this Idempotency-Key is under way.");
        gate("idempotent").cancel();
    };
    futures_util::future::join(first, second).await;
    let again = ada.post("/users/ada/server", body.clone()).await;
    again.is_empty(201, "text/plain");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
}
