//! One user.

use hub_db::repo;
use serde_json::{Value, json};

use crate::fake_spawner::gate;
use crate::support::TestHub;

#[actix_web::test]
async fn a_user_is_shown_as_far_as_scopes_reach() {
    let test = TestHub::start().await;
    let all = test.root().get("/users/ada").await.holds(200);
    let expected = json!({
        "kind": "user", "name": "ada", "admin": false, "roles": ["user"], "groups": ["maths"], "server": null,
        "pending": null, "last_activity": null, "auth_state": null, "servers": {}, "user_info": null,
    });
    let mut all = all.as_object().unwrap().clone();
    assert!(all.remove("created").unwrap().as_str().unwrap().ends_with('Z'));
    assert_eq!(Value::Object(all), expected);

    let name_only = test.user_with("eve", &["read:users:name!group=maths"]).await;
    let shown = name_only.get("/users/ada").await.holds(200);
    assert_eq!(shown, json!({"kind": "user", "name": "ada", "admin": false, "user_info": null}));
    name_only.get("/users/root").await.fails(404, "No access to resources or resources not found");
    test.root().get("/users/none").await.fails(404, None::<String>);
}

#[actix_web::test]
async fn names_in_paths_count_as_they_are() {
    let test = TestHub::start().await;
    let root = test.root();
    let made = root.post("/users/Alice%20%2541@x", None).await.holds(201);
    assert_eq!((&made["name"], &made["roles"]), (&json!("Alice %41@x"), &json!(["user"])));
    root.get("/users/Alice%20%2541%40x").await.holds(200);
    root.get("/users/alice%20%2541@x").await.fails(404, None::<String>);
    let answer = root.post("/users/Alice%20%2541@x", None).await;
    answer.fails(409, "User Alice %41@x already exists");
    root.post("/users/a%2Fb", None).await.fails(400, "Failed to create user: a/b");
    root.post("/users/%FF", None)
        .await
        .fails(400, "The path holds percent-encoded bytes that are not UTF-8.");
    root.post("/users/z", json!({"admin": "yes"}))
        .await
        .fails(400, "user.admin must be <class 'bool'>, not: <class 'str'>");
}

#[actix_web::test]
async fn only_administrators_make_and_change_administrators() {
    let test = TestHub::start().await;
    let root = test.root();
    let helper = test.user_with("helper", &["admin:users"]).await;
    let refused = "Only admins can grant admin permissions";
    helper.post("/users/x", json!({"admin": true})).await.fails(403, refused);
    helper.post("/users", json!({"usernames": ["x"], "admin": true})).await.fails(403, refused);
    helper.patch("/users/ada", json!({"admin": true})).await.fails(403, refused);
    helper.patch("/users/root", json!({"name": "r"})).await.fails(403, "Only admins can modify other admins");
    assert_eq!(
        root.post("/users/boss", json!({"admin": true})).await.holds(201)["roles"],
        json!(["admin", "user"])
    );
    let ada = root.patch("/users/ada", json!({"admin": true})).await.holds(200);
    assert_eq!((&ada["admin"], &ada["roles"]), (&json!(true), &json!(["admin", "user"])));
    let ada = root.patch("/users/ada", json!({"admin": false})).await.holds(200);
    assert_eq!((&ada["admin"], &ada["roles"]), (&json!(false), &json!(["user"])));
}

#[actix_web::test]
async fn a_user_is_renamed_unless_the_name_is_bad_or_servers_run() {
    let test = TestHub::start().await;
    let root = test.root();
    root.post("/users/bob", None).await.holds(201);
    root.patch("/users/bob", json!({"name": "ada"}))
        .await
        .fails(400, "User ada already exists, username must be unique");
    root.patch("/users/bob", json!({"name": "a/b"})).await.fails(400, "Invalid username: 'a/b'");
    root.patch("/users/bob", None).await.fails(400, "Invalid JSON data: None");
    root.patch("/users/none", json!({})).await.fails(404, None::<String>);
    assert_eq!(root.patch("/users/bob", json!({"name": "Bert"})).await.holds(200)["name"], "bert");
    root.get("/users/bob").await.fails(404, None::<String>);
    root.post("/users/bert/server", None).await.is_empty(201, "text/plain");
    let answer = root.patch("/users/bert", json!({"name": "bob"})).await;
    answer.fails(400, "bert has active servers. Please stop them before renaming the user.");
}

#[actix_web::test]
async fn login_state_is_kept_encrypted_and_shown_to_administrators() {
    let test = TestHub::with(|config| config.hub.crypt_keys = vec!["0".repeat(64).into()]).await;
    let root = test.root();
    let state = json!({"token": "t"});
    let ada = root.patch("/users/ada", json!({"auth_state": state})).await.holds(200);
    assert_eq!(ada["auth_state"], state);
    assert_eq!(root.get("/users/ada").await.json()["auth_state"], state);
    assert_eq!(root.get("/users").await.json()[0]["auth_state"], Value::Null);
    let ada = test.user("ada").await.get("/users/ada").await.holds(200);
    assert_eq!(ada.get("auth_state"), None);
    let plain = TestHub::start().await;
    let answer = plain.root().patch("/users/ada", json!({"auth_state": {}})).await;
    answer.fails(400, "auth_state cannot be kept: the hub has no crypt_keys");
}

#[actix_web::test]
async fn a_user_is_deleted_with_all_servers_and_nobody_deletes_themselves() {
    let test = TestHub::start().await;
    let root = test.root();
    let ada = test.user("ada").await;
    root.delete("/users/root", None).await.fails(400, "Cannot delete yourself!");
    root.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    root.post("/users/ada/servers/lab", None).await.is_empty(201, "text/plain");
    root.delete("/users/ada", None).await.is_empty(204, "");
    root.delete("/users/ada", None).await.fails(404, None::<String>);
    ada.get("/user").await.fails(403, None::<String>);
    assert_eq!(root.get("/proxy").await.json().as_object().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_user_whose_server_will_not_stop_stays() {
    let test = TestHub::with(|config| config.hub.slow_stop_timeout = std::time::Duration::ZERO).await;
    let root = test.root();
    let open = gate("deletion");
    root.post("/users/ada/server", json!({"user_options": {"hold_stop": "deletion"}}))
        .await
        .is_empty(201, "text/plain");
    let answer = root.delete("/users/ada", None).await;
    answer.fails(400, "ada's server is in the process of stopping, please wait.");
    open.cancel();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while root.delete("/users/ada", None).await.code() != 204 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_name_of_a_megabyte_is_a_clear_400() {
    let test = TestHub::start().await;
    let root = test.root();
    let long = "x".repeat(1_000_000);
    for body in [json!({"usernames": [long]}), json!({"usernames": ["ok", long]})] {
        let answer = root.post("/users", body).await;
        let message = answer.message();
        assert_eq!(answer.code(), 400);
        assert!(
            message.as_str().unwrap().ends_with("… (a name may have at most 255 characters)"),
            "{message}"
        );
        assert!(answer.text.len() < 2000);
    }
    let answer = root.patch("/users/ada", json!({"name": long})).await;
    assert!(answer.message().as_str().unwrap().contains("at most 255 characters"), "{answer:?}");
    let path = format!("/users/{}", "x".repeat(256));
    assert_eq!(root.post(&path, None).await.code(), 400);
    assert_eq!(root.get("/users/ok").await.code(), 404);
}

#[actix_web::test]
async fn activity_is_taken_and_never_goes_back() {
    let test = TestHub::start().await;
    let root = test.root();
    let own = test.token("ada", &["users:activity!user"]).await;
    let report = |at: &str| json!({"last_activity": at, "servers": {"": {"last_activity": at}}});
    own.post("/users/ada/activity", report("2026-01-02T03:04:05.5Z")).await.is_empty(200, "application/json");
    own.post("/users/ada/activity", report("2026-01-01T00:00:00Z")).await.is_empty(200, "application/json");
    let ada = root.get("/users/ada?include_stopped_servers").await.json();
    let server = &root.get("/users/ada/server").await.json()["last_activity"];
    assert_eq!(server, "2026-01-02T03:04:05.500000Z");
    // Using the token counts as activity, too, and is later.
    assert!(ada["last_activity"].as_str().unwrap() > "2026-01-02T03:04:05.500000Z", "{ada}");
    for (body, message) in [
        (json!({}), "body must contain at least one of `last_activity` or `servers`"),
        (json!([]), "body must be a json dict"),
        (json!({"last_activity": "soon"}), "Not a valid timestamp: 'soon'"),
        (json!({"servers": {"q": {"last_activity": "2026-01-01"}}}), "No such server 'q' for user ada"),
    ] {
        own.post("/users/ada/activity", body).await.fails(400, message);
    }
    own.post("/users/root/activity", json!({}))
        .await
        .fails(404, "No access to resources or resources not found");
    root.post("/users/none/activity", json!({})).await.fails(404, "No such user: 'none'");
}

#[actix_web::test]
async fn admin_access_is_a_relic() {
    let test = TestHub::start().await;
    let answer = test.root().post("/users/ada/admin-access", None).await;
    answer.fails(403, "admin access to user servers disabled");
    let test = TestHub::with(|config| config.hub.admin_access = true).await;
    test.root().post("/users/ada/admin-access", None).await.is_empty(200, "application/json");
    test.root().post("/users/none/admin-access", None).await.fails(404, None::<String>);
}

#[actix_web::test]
async fn the_mark_of_a_refresh_in_a_kept_state_is_shown_to_nobody() {
    let test = TestHub::with(|config| config.hub.crypt_keys = vec!["cd".repeat(32).into()]).await;
    test.user("ada").await;
    let db = test.hub.db.conn();
    let row = repo::users::by_name(db, "ada").await.unwrap().unwrap();
    let state = json!({"token": "t", "refreshing": {"by": "x", "until": 4_000_000_000_u64}});
    let stored = test.hub.auth.crypt.encrypt(&state).unwrap();
    repo::users::set_auth_state(db, row.id, Some(stored)).await.unwrap();
    let shown = test.root().get("/users/ada").await.holds(200);
    assert_eq!(shown["auth_state"], json!({"token": "t"}));
    let shown = test.root().patch("/users/ada", json!({"admin": false})).await.holds(200);
    assert_eq!(shown["auth_state"], json!({"token": "t"}));
}
