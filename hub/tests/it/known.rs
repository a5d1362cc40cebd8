//! What a hub remembers of a SQLite file, and others who change that file meanwhile.

use std::path::Path;

use hub_core::secret::random_hex32;
use hub_core::token::GENERATED_ROUNDS;
use hub_db::repo::roles::{Holder, RoleSpec};
use hub_db::repo::tokens::NewToken;
use hub_db::{Db, DbOptions, repo};
use serde_json::{Value, json};

use crate::support::{Client, TestHub};

fn url(file: &Path) -> String {
    format!("sqlite:///{}", file.display())
}

async fn hub(file: &Path) -> TestHub {
    TestHub::with(|config| config.db.url = url(file).into()).await
}

/// Reports that ada was active just now.
async fn report(test: &TestHub, ada: &Client) {
    let body = json!({ "last_activity": test.hub.clock.now().to_rfc3339() });
    ada.post("/users/ada/activity", body).await.is_empty(200, "application/json");
}

fn list(items: &Value) -> Vec<&str> {
    items.as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[actix_web::test]
async fn what_another_process_changes_counts_from_the_next_request_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.sqlite");
    let test = hub(&file).await;
    let ada = test.user("ada").await;
    let other = Db::connect(DbOptions::new(url(&file))).await.unwrap();
    let id = repo::users::by_name(other.conn(), "ada").await.unwrap().unwrap().id;
    let physics = repo::groups::create(other.conn(), "physics").await.unwrap();
    let spec = RoleSpec {
        name: "lister".to_owned(),
        description: None,
        scopes: vec!["list:users".to_owned()],
        managed_by_auth: false,
    };
    let lister = repo::roles::create(other.conn(), spec).await.unwrap();
    for _ in 0..20 {
        ada.get("/users")
            .await
            .fails(403, "Action is not authorized with current scopes; requires any of [list:users]");
        report(&test, &ada).await;
        repo::roles::assign(other.conn(), lister.id, Holder::User(id), false).await.unwrap();
        assert_eq!(ada.get("/users").await.code(), 200);
        report(&test, &ada).await;
        repo::roles::revoke(other.conn(), lister.id, Holder::User(id)).await.unwrap();

        repo::groups::add_users(other.conn(), physics.id, &[id]).await.unwrap();
        assert!(list(&ada.get("/user").await.holds(200)["groups"]).contains(&"physics"));
        report(&test, &ada).await;
        repo::groups::remove_users(other.conn(), physics.id, &[id]).await.unwrap();
        assert!(!list(&ada.get("/user").await.holds(200)["groups"]).contains(&"physics"));

        let text = random_hex32();
        let new = NewToken {
            owner: repo::Owner::User(id),
            rounds: GENERATED_ROUNDS,
            client_id: himalia::rbac::HUB_CLIENT.to_owned(),
            scopes: vec!["inherit".to_owned()],
            note: "of another process".to_owned(),
            session_id: None,
            expires_at: None,
        };
        let token = repo::tokens::create(other.conn(), &text, new, test.hub.clock.now()).await.unwrap();
        let with_it = test.bearer(&text);
        assert_eq!(with_it.get("/user").await.code(), 200);
        report(&test, &with_it).await;
        let few = vec!["read:users:name".to_owned()];
        repo::tokens::set_scopes(other.conn(), token.id, few).await.unwrap();
        let scopes = with_it.get("/user").await.holds(200)["scopes"].clone();
        assert!(!list(&scopes).contains(&"users:activity!user=ada"), "{scopes}");
        report(&test, &ada).await;
        repo::tokens::delete(other.conn(), token.id).await.unwrap();
        with_it.get("/user").await.fails(403, None::<String>);
    }
    other.close().await.unwrap();
}

/// How many statements something takes: the least of some tries, as what is known is read again after a second, which a
/// slow machine may reach in between.
async fn statements(test: &TestHub, what: impl AsyncFn()) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..5 {
        let before = test.hub.db.statements();
        what().await;
        least = least.min(test.hub.db.statements() - before);
    }
    least
}

#[actix_web::test]
async fn who_asks_again_is_known_and_stays_so_when_activity_is_noted_or_tokens_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let test = hub(&folder.path().join("hub.sqlite")).await;
    let ada = test.user("ada").await;
    ada.get("/user").await.holds(200);
    // Once each, so that all is known: a token that was just used is noted with the first request.
    let get = async || drop(ada.get("/user").await.holds(200));
    let activity = async || report(&test, &ada).await;
    let token = async || drop(ada.post("/users/ada/tokens", json!({"note": "more"})).await.holds(201));
    get().await;
    token().await;
    activity().await;
    get().await;
    assert_eq!(statements(&test, &get).await, 0);
    assert_eq!(statements(&test, &activity).await, 1, "what is noted");
    token().await;
    assert_eq!(statements(&test, &token).await, 1, "what is made");
    assert_eq!(statements(&test, &activity).await, 1, "what is noted");
}
