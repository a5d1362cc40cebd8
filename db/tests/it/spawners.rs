use chrono::TimeDelta;
use hub_db::repo::spawners::Address;
use hub_db::repo::{oauth, spawners, users};
use hub_db::types::{bytes_value, value_bytes};
use hub_db::{DbError, JsonDict};
use serde_json::json;

use crate::harness::{Bed, Counting, at, noon, number, on_every_database, texts};

on_every_database!(
    a_server_is_active_while_it_has_an_address,
    what_a_spawner_writes_is_read_back_with_unknown_keys,
    deleting_a_server_takes_its_address_and_client,
    servers_of_many_users_take_two_queries,
);

fn address(port: u16) -> Address {
    Address {
        proto: "http".to_owned(),
        ip: "10.0.0.7".to_owned(),
        port,
        base_url: "/user/ada/lab/".to_owned(),
    }
}

async fn a_server_is_active_while_it_has_an_address(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    let lab = spawners::create(db, ada.id, "lab").await.unwrap();
    assert_eq!(spawners::count_named(db, ada.id).await.unwrap(), 1);
    assert!(spawners::active(db).await.unwrap().is_empty());

    spawners::set_server(db, lab.id, &address(1234)).await.unwrap();
    spawners::set_server(db, lab.id, &address(65535)).await.unwrap();
    assert_eq!(number(db, "SELECT COUNT(*) FROM servers").await, 1);
    let found = spawners::by_name(db, ada.id, "lab").await.unwrap().unwrap();
    let server = found.server.unwrap();
    assert_eq!(Address::from(&server), address(65535));
    assert_eq!(server.cookie_name.as_deref(), Some("cookie"));
    assert_eq!(found.row.server_id, Some(server.id));
    assert_eq!(spawners::active(db).await.unwrap().len(), 1);

    assert!(!spawners::clear_server(db, lab.id, server.id + 1).await.unwrap(), "another run");
    assert_eq!(spawners::by_id(db, lab.id).await.unwrap().unwrap().row.server_id, Some(server.id));
    assert!(spawners::clear_server(db, lab.id, server.id).await.unwrap());
    assert!(!spawners::clear_server(db, lab.id, server.id).await.unwrap(), "somebody was first");
    assert!(spawners::by_id(db, lab.id).await.unwrap().unwrap().server.is_none());
    assert_eq!(number(db, "SELECT COUNT(*) FROM servers").await, 0);
    assert!(spawners::set_server(db, 99_999, &address(1)).await.unwrap_err().is_conflict());
    assert!(spawners::by_name(db, ada.id, "Lab").await.unwrap().is_none());
}

async fn what_a_spawner_writes_is_read_back_with_unknown_keys(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    let id = spawners::create(db, ada.id, "lab").await.unwrap().id;
    let row = async || spawners::by_id(db, id).await.unwrap().unwrap().row;
    assert_eq!((row().await.state, row().await.user_options, row().await.display_name), (None, None, None));

    let state =
        json!({"pid": 4242, "x-unknown": {"é": [1.5, null, "\u{1F600}"]}, "big": 9_007_199_254_740_993_u64});
    spawners::set_state(db, id, Some(state.clone())).await.unwrap();
    let options = json!({"file": bytes_value(b"\x00\xff notebook"), "n": 1});
    spawners::set_user_options(db, id, Some(options)).await.unwrap();
    spawners::set_started(db, id, Some(at("2026-03-04T05:06:07Z"))).await.unwrap();
    spawners::set_display_name(db, id, Some("Мой сервер")).await.unwrap();
    assert!(spawners::bump_activity(db, id, noon(), TimeDelta::seconds(30)).await.unwrap());
    assert!(!spawners::bump_activity(db, id, noon(), TimeDelta::seconds(30)).await.unwrap());
    let found = row().await;
    assert_eq!(found.state, Some(JsonDict(state)));
    assert_eq!(
        value_bytes(&found.user_options.unwrap().0["file"]).as_deref(),
        Some(&b"\x00\xff notebook"[..])
    );
    assert_eq!(found.started.unwrap().utc(), at("2026-03-04T05:06:07Z"));
    assert_eq!(found.last_activity.unwrap().utc(), noon());
    assert_eq!(found.display_name.as_deref(), Some("Мой сервер"));
    let stored = texts(db, "SELECT state FROM spawners WHERE name = 'lab'").await;
    assert!(stored[0].is_ascii(), "{stored:?}");

    spawners::rename(db, id, "lab-2").await.unwrap();
    spawners::set_state(db, id, None).await.unwrap();
    spawners::set_started(db, id, None).await.unwrap();
    let found = row().await;
    assert_eq!((found.name.as_str(), found.state, found.started), ("lab-2", None, None));
    let long = "x".repeat(256);
    assert!(matches!(spawners::rename(db, id, &long).await, Err(DbError::Invalid(_))));
    assert!(matches!(spawners::set_display_name(db, id, Some(&long)).await, Err(DbError::Invalid(_))));
    assert!(matches!(spawners::create(db, ada.id, &long).await, Err(DbError::Invalid(_))));
}

async fn deleting_a_server_takes_its_address_and_client(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    let lab = spawners::create(db, ada.id, "lab").await.unwrap();
    let spec = oauth::ClientSpec {
        identifier: "jupyterhub-user-ada-lab".to_owned(),
        description: "Server".to_owned(),
        redirect_uri: "/user/ada/lab/oauth_callback".to_owned(),
        allowed_scopes: vec![],
    };
    oauth::upsert_client(db, spec, oauth::hash_secret("").await.unwrap()).await.unwrap();
    spawners::set_oauth_client(db, lab.id, Some("jupyterhub-user-ada-lab")).await.unwrap();
    spawners::set_server(db, lab.id, &address(1)).await.unwrap();
    let found = spawners::by_oauth_client(db, "jupyterhub-user-ada-lab").await.unwrap().unwrap();
    assert_eq!(found.id, lab.id);

    let tx = bed.db.begin().await.unwrap();
    assert!(spawners::delete(&tx, lab.id).await.unwrap());
    assert!(!spawners::delete(&tx, lab.id).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(number(db, "SELECT COUNT(*) FROM servers").await, 0);
    assert!(oauth::client(db, "jupyterhub-user-ada-lab").await.unwrap().is_none());
    let left = spawners::of_user(db, ada.id).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].row.name, "");
    let missing = spawners::set_oauth_client(db, left[0].row.id, Some("nobody")).await.unwrap_err();
    assert!(missing.is_conflict(), "{missing}");
}

async fn servers_of_many_users_take_two_queries(bed: Bed) {
    let tx = bed.db.begin().await.unwrap();
    let mut ids = Vec::new();
    for n in 0..20 {
        let user = users::create(&tx, &format!("user-{n}"), false, noon()).await.unwrap();
        let server = spawners::by_name(&tx, user.id, "").await.unwrap().unwrap().row;
        spawners::set_server(&tx, server.id, &address(1000 + n)).await.unwrap();
        ids.push(user.id);
    }
    tx.commit().await.unwrap();
    let db = Counting::new(bed.db.conn());
    let found = spawners::of_users(&db, &ids).await.unwrap();
    assert_eq!(db.take(), 2);
    assert_eq!(found.len(), 20);
    assert!(found.values().all(|servers| servers[0].server.is_some()));
    assert_eq!(spawners::active(&db).await.unwrap().len(), 20);
    assert_eq!(db.take(), 2);
}
