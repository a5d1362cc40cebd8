//! Servers: records, start, stop, restart, edit.

use std::time::{Duration, Instant};

use hub_config::EndCause;
use hub_db::{ConnectionTrait as _, repo};
use serde_json::{Value, json};

use crate::fake_spawner::gate;
use crate::support::{Answer, Client, TestHub};

/// Asks until the answer is as wanted.
async fn until(client: &Client, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = client.get(path).await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::task::yield_now().await;
    }
}

fn impatient(config: &mut hub_config::Config) {
    config.hub.slow_spawn_timeout = Duration::ZERO;
    config.hub.slow_stop_timeout = Duration::ZERO;
}

fn options(options: &Value) -> Value {
    json!({ "user_options": options })
}

#[actix_web::test]
async fn a_server_runs_from_start_to_stop() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", options(&json!({"a": 1}))).await.is_empty(201, "text/plain");
    ada.post("/users/ada/server", None).await.fails(400, "ada is already running");
    ada.post("/users/ada/servers/", None).await.fails(400, "ada is already running");
    let server = ada.get("/users/ada/servers/").await.holds(200);
    for (key, value) in json!({
        "name": "", "display_name": "", "full_name": "ada/", "pending": null, "ready": true, "stopped": false,
        "url": "/user/ada/", "user_options": {"a": 1}, "progress_url": "/hub/api/users/ada/server/progress",
        "full_url": null, "full_progress_url": null,
    })
    .as_object()
    .unwrap()
    {
        assert_eq!(&server[key], value, "{key}");
    }
    assert!(server["started"].is_string() && server["last_activity"].is_string(), "{server}");
    assert_eq!(server.get("state"), None, "only for those who may read it");
    assert!(test.root().get("/users/ada/server").await.json()["state"]["launch"].is_string());
    ada.delete("/users/ada/server", None).await.is_empty(204, "");
    ada.delete("/users/ada/server", None).await.is_empty(204, "");
    let server = ada.get("/users/ada/server").await.holds(200);
    assert_eq!((&server["stopped"], &server["started"]), (&json!(true), &Value::Null));
    ada.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    assert_eq!(
        ada.get("/users/ada/server").await.json()["user_options"],
        json!({"a": 1}),
        "those of the last start"
    );
}

#[actix_web::test]
async fn a_slow_start_and_a_slow_stop_are_202() {
    let test = TestHub::with(impatient).await;
    let ada = test.user("ada").await;
    let body = options(&json!({"hold": "slow-start", "hold_stop": "slow-stop"}));
    ada.post("/users/ada/server", body).await.is_empty(202, "text/plain");
    ada.post("/users/ada/server", None).await.is_empty(202, "text/plain");
    let server = ada.get("/users/ada/server").await.json();
    assert_eq!(
        (&server["pending"], &server["ready"], &server["stopped"]),
        (&json!("spawn"), &json!(false), &json!(false))
    );
    gate("slow-start").cancel();
    until(&ada, "/users/ada/server", |answer| answer.json()["ready"] == true).await;
    ada.delete("/users/ada/server", None).await.is_empty(202, "text/plain");
    ada.delete("/users/ada/server", None).await.is_empty(202, "text/plain");
    assert_eq!(ada.get("/users/ada/server").await.json()["pending"], "stop");
    gate("slow-stop").cancel();
    until(&ada, "/users/ada/server", |answer| answer.json()["stopped"] == true).await;
}

#[actix_web::test]
async fn a_start_during_a_stop_waits_in_line() {
    let test = TestHub::with(impatient).await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", options(&json!({"hold_stop": "line"}))).await;
    let first = until(&ada, "/users/ada/server", |answer| answer.json()["ready"] == true).await.json();
    ada.delete("/users/ada/server", None).await.is_empty(202, "text/plain");
    ada.post("/users/ada/server", options(&json!({"b": 2}))).await.is_empty(202, "text/plain");
    gate("line").cancel();
    let again =
        |answer: &Answer| answer.json()["ready"] == true && answer.json()["started"] != first["started"];
    let second = until(&ada, "/users/ada/server", again).await.json();
    assert_eq!(second["user_options"], json!({"b": 2}));
}

#[actix_web::test]
async fn a_stop_cancels_a_start() {
    let test = TestHub::with(|config| config.hub.slow_spawn_timeout = Duration::ZERO).await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", options(&json!({"hold": "never"}))).await.is_empty(202, "text/plain");
    ada.delete("/users/ada/server", None).await.is_empty(204, "");
    assert_eq!(ada.get("/users/ada/server").await.json()["stopped"], true);
    ada.post("/users/ada/server", options(&json!({}))).await.is_empty(202, "text/plain");
    until(&ada, "/users/ada/server", |answer| answer.json()["ready"] == true).await;
}

#[actix_web::test]
async fn a_failed_start_tells_why_and_whose_fault_it_is() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", options(&json!({"fail": "It broke."}))).await.fails(500, "It broke.");
    ada.post("/users/ada/server", options(&json!({"refuse": "Not so."}))).await.fails(400, "Not so.");
    assert_eq!(ada.get("/users/ada/server").await.json()["stopped"], true);
    ada.post("/users/ada/server", options(&json!({}))).await.is_empty(201, "text/plain");
}

#[actix_web::test]
async fn a_server_that_died_unnoticed_is_started_again() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", options(&json!({"dead": "unnoticed"}))).await.is_empty(201, "text/plain");
    ada.post("/users/ada/server", None).await.fails(400, "ada is already running");
    gate("unnoticed").cancel();
    ada.post("/users/ada/server", options(&json!({}))).await.is_empty(201, "text/plain");
    assert_eq!(ada.get("/users/ada/server").await.json()["ready"], true);
}

#[actix_web::test]
async fn a_server_that_was_evicted_is_started_again_where_that_is_wanted() {
    let test = TestHub::with(|config| {
        config.spawner.start_again_after = vec![EndCause::Evicted];
        config.spawner.poll_interval = Duration::from_secs(1);
    })
    .await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", options(&json!({"dead": "evicted"}))).await.is_empty(201, "text/plain");
    let long_ago = "UPDATE spawners SET started = '2026-01-01 00:00:00.000000'";
    test.hub.db.conn().execute_unprepared(long_ago).await.unwrap();
    let before = ada.get("/users/ada/server").await.json()["started"].clone();
    gate("evicted").cancel();
    until(&ada, "/users/ada/server", |answer| {
        let server = answer.json();
        server["started"] != before && server["started"] != Value::Null
    })
    .await;
    // It looks evicted again at once: a server that has hardly run is not started once more.
    until(&ada, "/users/ada/server", |answer| answer.json()["stopped"] == true).await;
}

#[actix_web::test]
async fn named_servers_are_made_started_and_removed() {
    let test = TestHub::with(|config| config.hub.named_server_limit_per_user = 2).await;
    let ada = test.user("ada").await;
    ada.put("/users/ada/server", None).await.fails(409, "User ada already has a default server");
    let body = json!({"display_name": "My Lab", "user_options": {"a": 1}});
    let made = ada.put("/users/ada/servers/lab", body).await.holds(201);
    assert_eq!(
        (&made["display_name"], &made["user_options"], &made["stopped"]),
        (&json!("My Lab"), &json!({"a": 1}), &json!(true))
    );
    ada.put("/users/ada/servers/lab", None).await.fails(409, "User ada already has server lab");
    ada.put("/users/ada/servers/Bad%20Name", None).await.fails(400, "Invalid server_name: 'Bad Name'");
    let bad = ada.put("/users/ada/servers/lab2", json!({"display_name": " x"})).await;
    bad.fails(400, "Invalid display_name: ' x'");
    ada.post("/users/ada/servers/lab", None).await.is_empty(201, "text/plain");
    ada.post("/users/ada/servers/lab", None).await.fails(400, "ada:lab is already running");
    ada.post("/users/ada/servers/other", json!({"display_name": "Other"})).await.is_empty(201, "text/plain");
    let limit = "User ada already has the maximum of 2 named servers.  One must be deleted before a new server can be created";
    ada.post("/users/ada/servers/third", None).await.fails(400, limit);
    assert_eq!(ada.get("/users/ada/servers/other").await.json()["display_name"], "Other");
    ada.delete("/users/ada/server", json!({"remove": true}))
        .await
        .fails(400, "Cannot delete the default server");
    ada.delete("/users/ada/servers/none", None).await.fails(404, "ada has no server named 'none'");
    ada.delete("/users/ada/servers/lab", json!({"remove": true})).await.is_empty(204, "");
    ada.get("/users/ada/servers/lab").await.fails(404, None::<String>);
    ada.post("/users/ada/servers/third", None).await.is_empty(201, "text/plain");
}

#[actix_web::test]
async fn a_stopped_named_server_is_removed_and_a_stopping_one_afterwards() {
    let test = TestHub::with(impatient).await;
    let ada = test.user("ada").await;
    ada.put("/users/ada/servers/idle", None).await.holds(201);
    ada.delete("/users/ada/servers/idle", json!({"remove": true})).await;
    until(&ada, "/users/ada/servers/idle", |answer| answer.code() == 404).await;
    ada.post("/users/ada/servers/busy", options(&json!({"hold_stop": "busy"}))).await;
    until(&ada, "/users/ada/servers/busy", |answer| answer.json()["ready"] == true).await;
    ada.delete("/users/ada/servers/busy", None).await.is_empty(202, "text/plain");
    ada.delete("/users/ada/servers/busy", json!({"remove": true})).await.is_empty(202, "text/plain");
    gate("busy").cancel();
    until(&ada, "/users/ada/servers/busy", |answer| answer.code() == 404).await;
}

#[actix_web::test]
async fn named_servers_can_be_switched_off() {
    let test = TestHub::with(|config| config.hub.allow_named_servers = false).await;
    let ada = test.user("ada").await;
    let off = "Named servers are not enabled.";
    ada.put("/users/ada/servers/lab", None).await.fails(400, off);
    ada.post("/users/ada/servers/lab", None).await.fails(400, off);
    ada.post("/users/ada/servers/lab/restart", None).await.fails(400, off);
    ada.delete("/users/ada/servers/lab", None).await.fails(400, off);
    ada.patch("/users/ada/server", json!({"display_name": "x"})).await.fails(400, off);
}

#[actix_web::test]
async fn a_stopped_server_is_edited() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    ada.put("/users/ada/servers/lab", None).await.holds(201);
    ada.patch("/users/ada/servers/lab", json!({}))
        .await
        .fails(400, "Must specify at least one field to modify.");
    let unknown = ada.patch("/users/ada/servers/lab", json!({"colour": 1})).await;
    unknown.fails(400, "Unexpected fields: colour, supported fields: name, display_name, user_options");
    ada.patch("/users/ada/servers/no", json!({"display_name": "x"}))
        .await
        .fails(404, "User ada has no such server 'no'");
    let change = json!({"name": "lab2", "display_name": "Second", "user_options": {"z": 1}});
    let answer = ada.patch("/users/ada/servers/lab", change).await;
    assert_eq!((answer.code(), answer.kind()), (200, "application/json; charset=UTF-8"));
    let server = answer.json();
    assert_eq!(
        (&server["name"], &server["display_name"], &server["url"]),
        (&json!("lab2"), &json!("Second"), &json!("/user/ada/lab2/"))
    );
    assert_eq!(server["user_options"], json!({"z": 1}));
    ada.get("/users/ada/servers/lab").await.fails(404, None::<String>);
    ada.put("/users/ada/servers/lab", None).await.holds(201);
    ada.patch("/users/ada/servers/lab", json!({"name": "lab2"}))
        .await
        .fails(409, "User ada already has server 'lab2'");
    ada.patch("/users/ada/servers/lab", json!({"name": "A B"}))
        .await
        .fails(400, "Invalid server_name: 'A B'");
    ada.post("/users/ada/servers/lab2", None).await.is_empty(201, "text/plain");
    let active = ada.patch("/users/ada/servers/lab2", json!({"display_name": "x"})).await;
    active.fails(400, "ada:lab2 is active. Please stop it before modifying it.");
}

#[actix_web::test]
async fn a_renamed_default_server_is_replaced() {
    let test = TestHub::with(|config| config.hub.named_server_limit_per_user = 1).await;
    let ada = test.user("ada").await;
    let server =
        ada.patch("/users/ada/server", json!({"name": "old", "user_options": {"a": 1}})).await.json();
    assert_eq!(server["name"], "old");
    let fresh = ada.get("/users/ada/server").await.holds(200);
    assert_eq!((&fresh["name"], &fresh["user_options"]), (&json!(""), &json!({})));
    let answer = ada.patch("/users/ada/server", json!({"name": "older"})).await;
    assert!(answer.message().as_str().unwrap().contains("maximum of 1 named servers"), "{answer:?}");
}

#[actix_web::test]
async fn one_click_restarts_with_the_same_options() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/servers/lab/restart", None).await.fails(404, "ada has no server named 'lab'");
    ada.post("/users/ada/server/restart", options(&json!({"a": 1}))).await.is_empty(201, "text/plain");
    let first = ada.get("/users/ada/server").await.json();
    ada.post("/users/ada/server/restart", None).await.is_empty(201, "text/plain");
    let second = ada.get("/users/ada/server").await.json();
    assert_eq!((&second["ready"], &second["user_options"]), (&json!(true), &json!({"a": 1})));
    assert_ne!(first["started"], second["started"]);
    let start_only = test.token("ada", &["start:servers!user"]).await;
    let answer = start_only.post("/users/ada/server/restart", None).await;
    answer.fails(403, "Action is not authorized with current scopes; requires any of [servers]");
}

#[actix_web::test]
async fn the_limit_of_active_servers_is_429() {
    let test = TestHub::with(|config| config.hub.active_server_limit = 1).await;
    let root = test.root();
    root.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let full = root.post("/users/root/server", None).await;
    full.fails(429, "Active user limit exceeded. Try again in a few minutes.");
    assert!(full.header("retry-after").is_some());
    root.post("/users/ada/server/restart", None).await.is_empty(201, "text/plain");
}

#[actix_web::test]
async fn who_may_start_need_not_be_able_to_stop() {
    let test = TestHub::start().await;
    let starter = test.token("ada", &["start:servers!server=ada/lab"]).await;
    starter.post("/users/ada/servers/lab", None).await.is_empty(201, "text/plain");
    starter
        .delete("/users/ada/servers/lab", None)
        .await
        .fails(403, "Action is not authorized with current scopes; requires any of [delete:servers]");
    starter.post("/users/ada/server", None).await.fails(404, "No access to resources or resources not found");
    test.root().post("/users/none/server", None).await.fails(404, None::<String>);
}

#[actix_web::test]
async fn urls_are_full_where_the_hub_knows_its_own() {
    let test = TestHub::with(|config| config.hub.public_url = Some("https://lab.example/".to_owned())).await;
    let server = test.root().get("/users/ada/server").await.json();
    assert_eq!(
        (&server["url"], &server["full_url"]),
        (&json!("/user/ada/"), &json!("https://lab.example/user/ada/"))
    );
    assert_eq!(server["full_progress_url"], "https://lab.example/hub/api/users/ada/server/progress");
}

#[actix_web::test]
async fn servers_with_old_names_can_be_limited_to_their_end() {
    let test = TestHub::with(|config| {
        config.hub.allow_existing_invalid_named_servers = hub_config::ExistingInvalidNames::AllowDelete;
    })
    .await;
    let ada = test.user("ada").await;
    let user = hub_db::repo::users::by_name(test.hub.db.conn(), "ada").await.unwrap().unwrap();
    hub_db::repo::spawners::create(test.hub.db.conn(), user.id, "Old Name").await.unwrap();
    let path = "/users/ada/servers/Old%20Name";
    let answer = ada.post(path, None).await;
    answer.fails(400, "Starting invalid server_name 'Old Name' is disabled, contact your administrator");
    assert_eq!(ada.get(path).await.holds(200)["display_name"], Value::Null);
    ada.delete(path, json!({"remove": true})).await.is_empty(204, "");
    ada.get(path).await.fails(404, None::<String>);
}

#[actix_web::test]
async fn starts_and_stops_count_as_activity_of_the_owner() {
    let test = TestHub::start().await;
    let root = test.root();
    let seen = async || root.get("/users/ada").await.json()["last_activity"].clone();
    assert_eq!(seen().await, Value::Null);
    root.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let started = seen().await;
    assert!(started.is_string());
    root.delete("/users/ada/server", None).await.is_empty(204, "");
    assert!(seen().await.as_str() > started.as_str());
}

#[actix_web::test]
async fn two_servers_never_share_an_oauth_client() {
    let test = TestHub::start().await;
    let (a, ab) = (test.user("a").await, test.user("a-b").await);
    a.post("/users/a/servers/b", None).await.is_empty(201, "text/plain");
    ab.post("/users/a-b/server", None).await.is_empty(201, "text/plain");
    let clients = async || {
        let db = test.hub.db.conn();
        let mut clients = Vec::new();
        for row in repo::spawners::active(db).await.unwrap() {
            let id = row.row.oauth_client_id.unwrap();
            clients.push(repo::oauth::client(db, &id).await.unwrap().unwrap());
        }
        clients
    };
    let both = clients().await;
    assert_eq!(
        both.iter().map(|client| client.redirect_uri.as_deref().unwrap()).collect::<Vec<_>>(),
        ["/user/a-b/oauth_callback", "/user/a/b/oauth_callback"]
    );
    assert_ne!(both[0].identifier, both[1].identifier);
    assert!(both.iter().any(|client| client.identifier == "jupyterhub-user-a-b"));
    a.delete("/users/a/servers/b", json!({"remove": true})).await.is_empty(204, "");
    assert_eq!(clients().await[0].redirect_uri.as_deref(), Some("/user/a-b/oauth_callback"));
}

#[actix_web::test]
async fn a_name_that_stock_would_not_make_has_no_display_name() {
    let test = TestHub::with(|config| config.hub.server_names = hub_config::ServerNames::Any).await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/servers/My%20Lab", json!({"display_name": "Lab"})).await.is_empty(201, "text/plain");
    ada.post("/users/ada/servers/lab", json!({"display_name": "Lab"})).await.is_empty(201, "text/plain");
    let shown = async |path: &str| ada.get(path).await.json()["display_name"].clone();
    assert_eq!(shown("/users/ada/servers/My%20Lab").await, Value::Null);
    assert_eq!(shown("/users/ada/servers/lab").await, "Lab");
    ada.delete("/users/ada/servers/My%20Lab", None).await;
    let edited = ada.patch("/users/ada/servers/My%20Lab", json!({"display_name": "Lab"})).await;
    edited.fails(400, "Server 'My Lab' needs a valid name before it can have a display_name");
}
