//! Shares and share codes.

use serde_json::{Value, json};

use crate::support::{Client, TestHub};

/// A hub on which `ada` may share her servers and see other users and groups by name.
async fn hub() -> (TestHub, Client) {
    let test = TestHub::start().await;
    test.root().post("/users", json!({"usernames": ["bob"]})).await.holds(201);
    let ada = test.user_with("ada", &["shares!user", "read:users:name", "read:groups:name"]).await;
    (test, ada)
}

#[actix_web::test]
async fn a_share_is_given_grows_and_ends() {
    let (test, ada) = hub().await;
    let bob = test.user("bob").await;
    let share = ada.post("/shares/ada/", json!({"user": "bob"})).await.holds(200);
    let server =
        json!({"user": {"name": "ada"}, "name": "", "url": "/user/ada/", "full_url": null, "ready": false});
    assert_eq!(share["server"], server);
    assert_eq!((&share["scopes"], &share["kind"]), (&json!(["access:servers!server=ada/"]), &json!("user")));
    assert_eq!((&share["user"], &share["group"]), (&json!({"name": "bob"}), &Value::Null));
    let more = ada.post("/shares/ada/", json!({"user": "bob", "scopes": ["read:servers"]})).await.holds(200);
    assert_eq!(more["scopes"], json!(["access:servers!server=ada/", "read:servers!server=ada/"]));
    bob.get("/users/ada/server").await.holds(200);
    let less = ada
        .patch("/shares/ada/", json!({"user": "bob", "scopes": ["read:servers!server=ada/"]}))
        .await
        .holds(200);
    assert_eq!(less["scopes"], json!(["access:servers!server=ada/"]));
    assert_eq!(bob.get("/users/ada/server").await.code(), 404);
    let mistyped = json!({"user": "bob", "scopes": ["acess:servers!server=ada/"]});
    assert_eq!(ada.patch("/shares/ada/", mistyped).await.code(), 400);
    assert_eq!(ada.patch("/shares/ada/", json!({"user": "bob"})).await.holds(200), json!({}));
    assert_eq!(ada.patch("/shares/ada/", json!({"user": "nobody"})).await.holds(200), json!({}));
    assert_eq!(ada.get("/shares/ada").await.json()["items"], json!([]));
}

#[actix_web::test]
async fn shares_are_listed_for_owner_server_user_and_group() {
    let (test, ada) = hub().await;
    let root = test.root();
    ada.put("/users/ada/servers/lab", None).await.holds(201);
    ada.post("/shares/ada/", json!({"user": "bob"})).await.holds(200);
    ada.post("/shares/ada/lab", json!({"group": "maths"})).await.holds(200);
    let list = |path: &'static str| {
        let root = root.clone();
        async move {
            let page = root.get(path).await.holds(200);
            (page["_pagination"]["total"].as_u64().unwrap(), page["items"].clone())
        }
    };
    assert_eq!(list("/shares/ada").await.0, 2);
    assert_eq!(list("/shares/ada/").await.0, 1);
    assert_eq!(list("/shares/ada/lab").await.1[0]["group"], json!({"name": "maths"}));
    assert_eq!(list("/users/bob/shared").await.1[0]["server"]["name"], "");
    assert_eq!(list("/users/ada/shared").await.1[0]["kind"], "group", "through the group");
    assert_eq!(list("/groups/maths/shared").await.0, 1);
    let page = root.get("/shares/ada?limit=1").await.holds(200);
    assert_eq!(page["_pagination"]["next"]["url"], "http://hub.example/hub/api/shares/ada?limit=1&offset=1");
    root.get("/shares/none").await.fails(404, None::<String>);
    root.get("/shares/ada/none").await.fails(404, "No such server: ada/none");
    root.get("/users/none/shared").await.fails(404, "No such user: none");
    root.get("/groups/none/shared").await.fails(404, "No such group: none");
}

#[actix_web::test]
async fn who_got_a_share_can_look_at_it_and_give_it_up() {
    let (test, ada) = hub().await;
    let root = test.root();
    ada.post("/shares/ada/", json!({"user": "bob"})).await.holds(200);
    ada.post("/shares/ada/", json!({"group": "maths"})).await.holds(200);
    let bob = test.user("bob").await;
    assert_eq!(bob.get("/users/bob/shared/ada/").await.holds(200)["user"]["name"], "bob");
    bob.get("/users/bob/shared/ada/none").await.fails(404, "No such share for user bob on ada/none");
    root.get("/users/none/shared/ada/").await.fails(404, "No such share for user none on ada/");
    bob.delete("/users/bob/shared/ada/", None).await.is_empty(204, "");
    bob.delete("/users/bob/shared/ada/", None).await.fails(404, "No such share for user bob on ada/");
    assert_eq!(root.get("/groups/maths/shared/ada/").await.holds(200)["group"]["name"], "maths");
    root.delete("/groups/maths/shared/ada/", None).await.is_empty(204, "");
    root.get("/groups/maths/shared/ada/").await.fails(404, "No such share for group maths on ada/");
}

#[actix_web::test]
async fn nobody_shares_what_they_lack_or_with_whom_they_cannot_see() {
    let (test, ada) = hub().await;
    let outside = ada.post("/shares/ada/", json!({"user": "bob", "scopes": ["read:servers!user=ada"]})).await;
    outside.fails(400, "!user=ada not allowed on sharing read:servers!user=ada, only !server=ada/");
    let unknown = ada.post("/shares/ada/", json!({"user": "bob", "scopes": ["nope"]})).await;
    unknown.fails(400, "\"Scope 'nope' for share does not exist\"");
    let lacking = ada.post("/shares/ada/", json!({"user": "bob", "scopes": ["admin:server_state"]})).await;
    lacking.fails(403, "Do not have permission to grant share with scope admin:server_state!server=ada/");
    ada.post("/shares/ada/", json!({"user": "none"})).await.fails(400, "No such user: none");
    ada.post("/shares/ada/", json!({"group": "none"})).await.fails(400, "No such group: none");
    ada.post("/shares/ada/none", json!({"user": "bob"})).await.fails(404, "No such server: ada/none");
    ada.post("/shares/ada", json!({"user": "bob"})).await.fails(405, None::<String>);
    let blind = test.user_with("blind", &["shares!user"]).await;
    let answer = blind.post("/shares/blind/", json!({"user": "bob"})).await;
    answer.fails(403, "Need scope 'read:users:name' to share with users by name");
    let answer = blind.post("/shares/blind/", json!({"group": "maths"})).await;
    answer.fails(403, "Need scope 'read:groups:name' to share with groups by name");
    assert_eq!(ada.post("/shares/ada/", json!({})).await.code(), 400);
    assert_eq!(ada.post("/shares/ada/", json!({"user": "bob", "group": "maths"})).await.code(), 400);
    assert_eq!(ada.post("/shares/ada/", json!({"user": "bob", "x": 1})).await.code(), 400);
    assert_eq!(ada.get("/shares/ada").await.json()["_pagination"]["total"], 0);
}

#[actix_web::test]
async fn all_shares_of_a_server_end_at_once() {
    let (_test, ada) = hub().await;
    ada.put("/users/ada/servers/lab", None).await.holds(201);
    for body in [json!({"user": "bob"}), json!({"group": "maths"})] {
        ada.post("/shares/ada/", body.clone()).await.holds(200);
        ada.post("/shares/ada/lab", body).await.holds(200);
    }
    ada.delete("/shares/ada/", None).await.is_empty(204, "");
    assert_eq!(ada.get("/shares/ada").await.json()["_pagination"]["total"], 2);
}

#[actix_web::test]
async fn share_codes_are_made_listed_without_the_code_and_deleted() {
    let (test, ada) = hub().await;
    let made = ada.post("/share-codes/ada/", json!({"expires_in": 60})).await.holds(200);
    let code = made["code"].as_str().unwrap();
    assert_eq!(made["accept_url"], format!("/hub/accept-share?code={code}"));
    assert_eq!((&made["full_accept_url"], &made["exchange_count"]), (&Value::Null, &json!(0)));
    assert_eq!(made["scopes"], json!(["access:servers!server=ada/"]));
    let listed = ada.get("/share-codes/ada").await.holds(200);
    assert_eq!((&listed["items"][0]["id"], listed["items"][0].get("code")), (&made["id"], None));
    assert_eq!(ada.get("/share-codes/ada/").await.json()["_pagination"]["total"], 1);
    assert_eq!(ada.post("/share-codes/ada/", json!({"expires_in": 5})).await.code(), 400);
    let lacking = ada.post("/share-codes/ada/", json!({"scopes": ["admin:server_state"]})).await;
    lacking.fails(403, "Do not have permission to grant share with scope admin:server_state!server=ada/");
    ada.delete("/share-codes/ada/?code=x", None).await.fails(404, "No matching code found");
    ada.delete("/share-codes/ada/?id=sc_99", None).await.fails(404, "No code found matching id=sc_99");
    ada.delete("/share-codes/ada/?id=x", None).await.fails(404, "No code found matching id=x");
    let of_bob =
        test.root().post("/share-codes/bob/", None).await.holds(200)["id"].as_str().unwrap().to_owned();
    let foreign = ada.delete(&format!("/share-codes/ada/?id={of_bob}"), None).await;
    foreign.fails(404, format!("No code found matching id={of_bob}"));
    ada.delete(&format!("/share-codes/ada/?code={code}"), None).await.is_empty(204, "");
    let second = ada.post("/share-codes/ada/", None).await.holds(200);
    ada.delete(&format!("/share-codes/ada/?id={}", second["id"].as_str().unwrap()), None)
        .await
        .is_empty(204, "");
    ada.post("/share-codes/ada/", None).await.holds(200);
    ada.delete("/share-codes/ada/", None).await.is_empty(204, "");
    assert_eq!(ada.get("/share-codes/ada").await.json()["items"], json!([]));
    ada.post("/share-codes/ada/none", None).await.fails(404, "No such server: ada/none");
}
