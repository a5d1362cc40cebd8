//! Groups.

use serde_json::json;

use crate::support::TestHub;

#[actix_web::test]
async fn a_group_lives_from_creation_to_deletion() {
    let test = TestHub::start().await;
    let root = test.root();
    let made = root.post("/groups/art", json!({"users": ["Ada"]})).await.holds(201);
    assert_eq!(
        made,
        json!({"kind": "group", "name": "art", "roles": [], "users": ["ada"], "properties": {}})
    );
    root.post("/groups/art", None).await.fails(409, "Group art already exists");
    root.post("/groups/bad", json!({"users": ["none"]})).await.fails(400, "No such user: none");
    let added = root.post("/groups/art/users", json!({"users": ["root", "ada"]})).await.holds(200);
    assert_eq!(added["users"].as_array().unwrap().len(), 2);
    let removed = root.delete("/groups/art/users", json!({"users": ["ada"]})).await.holds(200);
    assert_eq!(removed["users"], json!(["root"]));
    root.post("/groups/art/users", json!({})).await.fails(400, "Must specify users to add");
    root.delete("/groups/art/users", json!({})).await.fails(400, "Must specify users to delete");
    let changed = root.put("/groups/art/properties", json!({"colour": "red"})).await.holds(200);
    assert_eq!(changed["properties"], json!({"colour": "red"}));
    assert_eq!(root.get("/groups/art").await.json()["properties"], json!({"colour": "red"}));
    root.put("/groups/art/properties", json!([])).await.fails(400, "Must specify properties");
    root.delete("/groups/art", None).await.is_empty(204, "");
    root.get("/groups/art").await.fails(404, "No such group: art");
    root.delete("/groups/art", None).await.fails(404, "No such group: art");
}

#[actix_web::test]
async fn several_groups_are_made_or_none() {
    let test = TestHub::start().await;
    let root = test.root();
    let made = root.post("/groups", json!({"groups": ["a", "b"], "users": ["ada"]})).await.holds(201);
    assert_eq!((made.as_array().unwrap().len(), &made[1]["users"]), (2, &json!(["ada"])));
    root.post("/groups", json!({"groups": ["c", "a"]})).await.fails(409, "Group a already exists");
    root.get("/groups/c").await.fails(404, "No such group: c");
    root.post("/groups", json!({})).await.fails(400, "Must specify at least one group to create");
    let long = root.post("/groups", json!({"groups": ["x".repeat(256)]})).await;
    assert!(long.message().as_str().unwrap().ends_with("(1 to 255 characters)"), "{long:?}");
}

#[actix_web::test]
async fn groups_are_listed_as_far_as_scopes_reach() {
    let test = TestHub::start().await;
    let root = test.root();
    root.post("/groups", json!({"groups": ["a", "b"]})).await.holds(201);
    let all = root.get("/groups").await.holds(200);
    assert_eq!(all.as_array().unwrap().len(), 3);
    let some = test.user_with("watcher", &["list:groups!group=b"]).await;
    assert_eq!(some.get("/groups").await.holds(200), json!([{"kind": "group", "name": "b"}]));
    let strange = test.user_with("strange", &["list:groups!user=ada"]).await;
    strange.get("/groups").await.fails(403, None::<String>);
    let paged =
        root.header("Accept", "application/jupyterhub-pagination+json").get("/groups?limit=1&offset=1").await;
    let page = paged.holds(200);
    assert_eq!((&page["items"][0]["name"], &page["_pagination"]["total"]), (&json!("a"), &json!(3)));
    assert_eq!(page["_pagination"]["next"]["url"], "http://hub.example/hub/api/groups?limit=1&offset=2");
}

#[actix_web::test]
async fn who_may_change_members_may_not_delete_the_group() {
    let test = TestHub::start().await;
    let leader = test.user_with("leader", &["groups!group=maths"]).await;
    leader.post("/groups/maths/users", json!({"users": ["root"]})).await.holds(200);
    leader
        .delete("/groups/maths", None)
        .await
        .fails(403, "Action is not authorized with current scopes; requires any of [delete:groups]");
    leader
        .post("/groups/other/users", json!({"users": []}))
        .await
        .fails(404, "No access to resources or resources not found");
}
