//! Who is blocked is shut out, whatever was given to them before.

use actix_web::http::Method;
use serde_json::json;

use crate::support::{ROOT, TestHub};

#[actix_web::test]
async fn a_blocked_person_loses_everything_with_the_next_start_of_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}/hub.sqlite", folder.path().display());
    let start = async |blocked: &[&str]| {
        let blocked = blocked.iter().map(|name| (*name).to_owned()).collect();
        let url = url.clone();
        TestHub::with(|config| {
            config.db.url = url.into();
            config.authenticator.blocked_users = blocked;
        })
        .await
    };
    let open = start(&[]).await;
    let token = open.user("ada").await;
    token.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let made = token.post("/users/ada/tokens", json!({})).await.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(open.bearer(&made).get("/users/ada").await.code(), 200);
    open.root().patch("/users/ada", json!({"admin": true})).await.holds(200);
    drop(open);

    let shut = start(&["Ada"]).await;
    let who = shut.bearer(&made).get("/user").await.holds(200);
    assert_eq!(who["scopes"], json!([]));
    shut.bearer(&made)
        .post("/users/ada/server", None)
        .await
        .fails(403, "Action is not authorized with current scopes; requires any of [start:servers]");
    let ada = shut.bearer(ROOT).get("/users/ada").await.holds(200);
    assert_eq!((&ada["admin"], &ada["roles"], &ada["groups"]), (&json!(false), &json!([]), &json!([])));
    let form = b"username=ada&password=x";
    let login = shut.anonymous().header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(login.send(Method::POST, "/hub/login", Some(form)).await.code(), 403);
}
