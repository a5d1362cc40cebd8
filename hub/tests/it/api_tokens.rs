//! API tokens.

use serde_json::{Value, json};

use crate::support::{ROOT, TestHub, WATCH};

#[actix_web::test]
async fn a_token_is_made_shown_used_and_revoked() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    let made = ada.post("/users/ada/tokens", json!({"note": "for me", "expires_in": 600})).await.holds(201);
    assert_eq!(
        (&made["user"], &made["kind"], &made["note"]),
        (&json!("ada"), &json!("api_token"), &json!("for me"))
    );
    assert_eq!(
        (&made["roles"], &made["session_id"], &made["oauth_client"]),
        (&json!([]), &Value::Null, &json!("JupyterHub"))
    );
    assert!(made["expires_at"].is_string() && made["created"].is_string(), "{made}");
    let text = made["token"].as_str().unwrap();
    assert_eq!(text.len(), 32);
    let with_it = test.bearer(text);
    assert_eq!(with_it.get("/user").await.holds(200)["token_id"], made["id"]);
    let path = format!("/users/ada/tokens/{}", made["id"].as_str().unwrap());
    let shown = ada.get(&path).await.holds(200);
    assert_eq!((shown.get("token"), &shown["id"]), (None, &made["id"]));
    let listed = ada.get("/users/ada/tokens").await.holds(200);
    let ids: Vec<&Value> =
        listed["api_tokens"].as_array().unwrap().iter().map(|token| &token["id"]).collect();
    assert!(ids.contains(&&made["id"]), "{listed}");
    assert!(!listed.to_string().contains(text));
    ada.delete(&path, None).await.is_empty(204, "");
    let id = made["id"].as_str().unwrap();
    ada.delete(&path, None).await.fails(404, format!("No such token {id} for user ada"));
    with_it.get("/user").await.fails(403, None::<String>);
}

#[actix_web::test]
async fn tokens_of_others_do_not_exist() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    let root = test.root();
    let of_root =
        root.get("/users/root/tokens").await.json()["api_tokens"][0]["id"].as_str().unwrap().to_owned();
    ada.get(&format!("/users/ada/tokens/{of_root}"))
        .await
        .fails(404, format!("No such token {of_root} for user ada"));
    ada.delete(&format!("/users/ada/tokens/{of_root}"), None)
        .await
        .fails(404, format!("No such token {of_root} for user ada"));
    ada.get("/users/ada/tokens/x1").await.fails(404, "No such token x1 for user ada");
    ada.get("/users/ada/tokens/").await.fails(404, "No such token  for user ada");
    ada.get("/users/root/tokens").await.fails(404, "No access to resources or resources not found");
    root.get("/users/none/tokens").await.fails(404, "No such user: none");
    assert_eq!(root.get("/user").await.code(), 200);
}

#[actix_web::test]
async fn a_token_holds_no_more_than_its_owner() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    let scopes = |scopes: Value| json!({ "scopes": scopes });
    let made = ada.post("/users/ada/tokens", scopes(json!(["list:users!user=ada"]))).await;
    assert_eq!(made.code(), 400);
    assert_eq!(made.message(), "Not assigning requested scopes list:users!user=ada not held by User ada");
    let unknown = ada.post("/users/ada/tokens", scopes(json!(["nope"]))).await;
    unknown.fails(400, "\"Scope 'nope' for token does not exist\"");
    let made = ada.post("/users/ada/tokens", scopes(json!(["read:users:name!user"]))).await.holds(201);
    let names: Vec<&str> =
        made["scopes"].as_array().unwrap().iter().map(|scope| scope.as_str().unwrap()).collect();
    assert_eq!(names, ["read:users:groups!user=ada", "read:users:name!user=ada"]);
    let narrow = test.bearer(made["token"].as_str().unwrap());
    let answer = narrow.post("/users/ada/server", None).await;
    answer.fails(403, "Action is not authorized with current scopes; requires any of [start:servers]");
    let by_role = ada.post("/users/ada/tokens", json!({"roles": ["user"]})).await.holds(201);
    assert!(by_role["scopes"].to_string().contains("start:servers!user=ada"), "{by_role}");
    ada.post("/users/ada/tokens", json!({"roles": ["nope"]})).await.fails(400, "No such role: nope");
    let both = ada.post("/users/ada/tokens", json!({"roles": ["user"], "scopes": ["self"]})).await;
    both.fails(400, "Can only assign one of scopes or roles when creating tokens.");
}

#[actix_web::test]
async fn lifetimes_are_positive_and_bounded() {
    let test =
        TestHub::with(|config| config.hub.token_expires_in_max = std::time::Duration::from_hours(1)).await;
    let ada = test.user("ada").await;
    for (life, message) in [
        (json!(0), "expires_in must be a positive integer or null, not 0"),
        (json!("x"), "token expires_in must be null or integer, not 'x'"),
        (json!(3601), "token expires_in: 3601 must not exceed 3600"),
    ] {
        ada.post("/users/ada/tokens", json!({ "expires_in": life })).await.fails(400, message);
    }
    assert!(ada.post("/users/ada/tokens", None).await.holds(201)["expires_at"].is_string());
    let endless = TestHub::start().await;
    let ada = endless.user("ada").await;
    assert_eq!(ada.post("/users/ada/tokens", None).await.holds(201)["expires_at"], Value::Null);
    let far = ada.post("/users/ada/tokens", json!({"expires_in": i64::MAX})).await.holds(201);
    assert!(far["expires_at"].as_str().unwrap() > "2900", "{far}");
}

#[actix_web::test]
async fn notes_tell_who_asked() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    assert_eq!(ada.post("/users/ada/tokens", None).await.holds(201)["note"], "Requested via api");
    let by_root = test.root().post("/users/ada/tokens", None).await.holds(201);
    assert_eq!(by_root["note"], "Requested via api by user root");
}

#[actix_web::test]
async fn whether_a_user_exists_shows_only_to_those_who_may_make_tokens() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    for name in ["root", "none"] {
        let path = format!("/users/{name}/tokens");
        let text = format!("User {name} not found or no permissions to generate tokens");
        ada.post(&path, None).await.fails(403, text);
        let text = format!("Service {name} not found or no permissions to generate tokens");
        test.bearer(WATCH).post(&path, None).await.fails(403, text);
    }
    assert_eq!(test.bearer(ROOT).post("/users/none/tokens", None).await.code(), 403);
}

#[actix_web::test]
async fn a_stranger_proves_who_they_are_in_the_body() {
    let test = TestHub::start().await;
    let auth = |name: &str| json!({"auth": {"username": name, "password": "x"}});
    let made = test.anonymous().post("/users/ada/tokens", auth("Ada")).await.holds(201);
    assert_eq!((&made["user"], &made["note"]), (&json!("ada"), &json!("Requested via api")));
    assert_eq!(test.bearer(made["token"].as_str().unwrap()).get("/user").await.json()["name"], "ada");
    for auth in [auth("stranger"), auth("a/b"), json!({"auth": "x"}), json!({"auth": {}}), json!({})] {
        test.anonymous().post("/users/ada/tokens", auth).await.fails(403, None::<String>);
    }
    let other = test.anonymous().post("/users/root/tokens", auth("ada")).await;
    other.fails(403, "User root not found or no permissions to generate tokens");
    let closed = TestHub::with(|config| config.authenticator.blocked_users = vec!["ada".to_owned()]).await;
    closed.anonymous().post("/users/ada/tokens", auth("ada")).await.fails(403, None::<String>);
    // A browser with a cookie needs its token although the body could prove somebody.
    let browser = test.browser("ada", false).await.without("X-XSRFToken");
    browser.post("/users/ada/tokens", auth("ada")).await.fails(403, "'_xsrf' argument missing from POST");
}

#[actix_web::test]
async fn tokens_of_a_client_go_together() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    ada.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let user = hub_db::repo::users::by_name(test.hub.db.conn(), "ada").await.unwrap().unwrap();
    let now = test.hub.clock.now();
    for text in ["client-token-one", "client-token-two"] {
        let new = hub_db::repo::tokens::NewToken {
            owner: hub_db::repo::Owner::User(user.id),
            rounds: 1,
            client_id: "jupyterhub-user-ada".to_owned(),
            scopes: vec!["access:servers!server=ada/".to_owned()],
            note: String::new(),
            session_id: Some("s".to_owned()),
            expires_at: None,
        };
        hub_db::repo::tokens::create(test.hub.db.conn(), text, new, now).await.unwrap();
    }
    let id = test.bearer("client-token-one").get("/user").await.holds(200)["token_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let shown = ada.get(&format!("/users/ada/tokens/{id}")).await.holds(200);
    assert_eq!((&shown["oauth_client"], &shown["session_id"]), (&json!("Server at /user/ada/"), &json!("s")));
    ada.delete(&format!("/users/ada/tokens/{id}"), None).await.is_empty(204, "");
    for text in ["client-token-one", "client-token-two"] {
        test.bearer(text).get("/user").await.fails(403, None::<String>);
    }
    ada.get("/user").await.holds(200);
}
