use chrono::TimeDelta;
use hub_db::repo::{Owner, user_list};
use hub_db::repo::{Range, share_codes};
use hub_db::repo::{groups, oauth, purge, role_members, roles, shares, spawners, tokens, users};
use hub_db::{DbError, JsonDict, Timestamp};
use serde_json::json;

use crate::harness::{Bed, Counting, Kind, at, noon, number, on_every_database, texts};

on_every_database!(
    a_new_user_has_a_cookie_id_and_a_default_server,
    a_taken_name_is_a_conflict_and_names_differ_by_case,
    activity_is_noted_rarely_and_never_backwards,
    what_is_set_is_read_back,
    deleting_a_user_takes_everything_that_hangs_on_it,
    details_of_many_users_take_four_queries,
    timestamps_are_stored_as_stock_stores_them,
    a_transaction_that_is_dropped_leaves_nothing,
    texts_that_cannot_be_stored_are_invalid_and_no_failure,
);

async fn a_new_user_has_a_cookie_id_and_a_default_server(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", true, noon()).await.unwrap();
    let bob = users::create(db, "bob@example.org", false, noon()).await.unwrap();
    assert_eq!(ada.cookie_id.len(), 32);
    assert_ne!(ada.cookie_id, bob.cookie_id);
    assert!(ada.is_admin() && !bob.is_admin());
    assert_eq!(ada.last_activity, None);

    let found = users::by_name(db, "ada").await.unwrap().unwrap();
    assert_eq!(found, ada);
    assert_eq!(found.created.map(Into::into), Some(noon()));
    assert_eq!(users::by_id(db, bob.id).await.unwrap(), Some(bob.clone()));
    assert_eq!(users::by_cookie_id(db, &bob.cookie_id).await.unwrap(), Some(bob.clone()));
    assert_eq!(users::by_cookie_id(db, "").await.unwrap(), None);
    assert_eq!(users::count(db).await.unwrap(), 2);
    let names = ["ada".to_owned(), "nobody".to_owned()];
    assert_eq!(users::by_names(db, &names).await.unwrap(), std::slice::from_ref(&ada));

    let servers = spawners::of_user(db, ada.id).await.unwrap();
    assert_eq!(servers.len(), 1);
    assert_eq!(servers[0].row.name, "");
    assert!(servers[0].server.is_none());
}

async fn a_taken_name_is_a_conflict_and_names_differ_by_case(bed: Bed) {
    let db = bed.db.conn();
    users::create(db, "ada", false, noon()).await.unwrap();
    let again = users::create(db, "ada", false, noon()).await.unwrap_err();
    assert!(again.is_conflict(), "{again}");
    assert_eq!(users::by_name(db, "Ada").await.unwrap(), None);
    // MariaDB's usual collation holds the two for one name, as it does under stock.
    let upper = users::create(db, "Ada", false, noon()).await;
    assert_eq!(upper.is_err(), bed.kind == Kind::MariaDb);
    for bad in [String::new(), "x".repeat(256)] {
        assert!(matches!(users::create(db, &bad, false, noon()).await, Err(DbError::Invalid(_))));
    }
    users::create(db, &"é".repeat(255), false, noon()).await.unwrap();
}

async fn activity_is_noted_rarely_and_never_backwards(bed: Bed) {
    let db = bed.db.conn();
    let id = users::create(db, "ada", false, noon()).await.unwrap().id;
    let every = TimeDelta::seconds(30);
    let last = async || users::by_id(db, id).await.unwrap().unwrap().last_activity.map(Timestamp::utc);
    assert!(users::bump_activity(db, id, noon(), every).await.unwrap());
    assert_eq!(last().await, Some(noon()));
    assert!(!users::bump_activity(db, id, noon() + TimeDelta::seconds(29), every).await.unwrap());
    assert!(!users::bump_activity(db, id, noon() - TimeDelta::hours(1), TimeDelta::zero()).await.unwrap());
    assert_eq!(last().await, Some(noon()));
    let later = noon() + TimeDelta::seconds(31);
    assert!(users::bump_activity(db, id, later, every).await.unwrap());
    assert_eq!(last().await, Some(later));
    assert_eq!(users::count_active_since(db, later).await.unwrap(), 1);
    assert_eq!(users::count_active_since(db, later + every).await.unwrap(), 0);
}

async fn what_is_set_is_read_back(bed: Bed) {
    let db = bed.db.conn();
    let made = users::create(db, "ada", false, noon()).await.unwrap();
    users::rename(db, made.id, "ada lovelace").await.unwrap();
    users::set_admin(db, made.id, true).await.unwrap();
    users::set_auth_state(db, made.id, Some(vec![0, 159, 146, 150])).await.unwrap();
    users::set_user_info(db, made.id, Some(json!({"name": "Ada 😀", "n": 1}))).await.unwrap();
    let cookie_id = users::reset_cookie_id(db, made.id).await.unwrap();
    let user = users::by_name(db, "ada lovelace").await.unwrap().unwrap();
    assert!(user.is_admin());
    assert_eq!(user.encrypted_auth_state.as_deref(), Some(&[0, 159, 146, 150][..]));
    assert_eq!(user.user_info, Some(JsonDict(json!({"name": "Ada 😀", "n": 1}))));
    assert_eq!(user.cookie_id, cookie_id);
    assert_ne!(user.cookie_id, made.cookie_id);
    users::set_auth_state(db, made.id, None).await.unwrap();
    users::set_user_info(db, made.id, None).await.unwrap();
    let user = users::by_id(db, made.id).await.unwrap().unwrap();
    assert_eq!((user.encrypted_auth_state, user.user_info), (None, None));
    users::create(db, "bob", false, noon()).await.unwrap();
    assert!(users::rename(db, made.id, "bob").await.unwrap_err().is_conflict());
}

async fn deleting_a_user_takes_everything_that_hangs_on_it(bed: Bed) {
    let tx = bed.db.begin().await.unwrap();
    let ada = users::create(&tx, "ada", false, noon()).await.unwrap();
    let bob = users::create(&tx, "bob", false, noon()).await.unwrap();
    for user in [&ada, &bob] {
        let client = format!("jupyterhub-user-{}", user.name);
        let spec = oauth::ClientSpec {
            identifier: client.clone(),
            description: String::new(),
            redirect_uri: "/cb".to_owned(),
            allowed_scopes: vec![],
        };
        oauth::upsert_client(&tx, spec, oauth::hash_secret("").await.unwrap()).await.unwrap();
        let server = spawners::by_name(&tx, user.id, "").await.unwrap().unwrap().row;
        spawners::set_oauth_client(&tx, server.id, Some(&client)).await.unwrap();
        let address = spawners::Address {
            proto: "http".to_owned(),
            ip: "127.0.0.1".to_owned(),
            port: 8888,
            base_url: "/".to_owned(),
        };
        spawners::set_server(&tx, server.id, &address).await.unwrap();
        let token = tokens::NewToken {
            owner: Owner::User(user.id),
            rounds: 1,
            client_id: client.clone(),
            scopes: vec![],
            note: String::new(),
            session_id: None,
            expires_at: None,
        };
        tokens::create(&tx, &format!("token-of-{}", user.name), token, noon()).await.unwrap();
        let code = oauth::NewCode {
            code: format!("code-{}", user.name),
            client_id: client,
            user_id: user.id,
            redirect_uri: "/cb".to_owned(),
            session_id: None,
            scopes: vec![],
            challenge: None,
            expires_at: noon() + TimeDelta::minutes(5),
        };
        oauth::create_code(&tx, code).await.unwrap();
        let group = groups::create(&tx, &format!("group-{}", user.name)).await.unwrap();
        groups::add_users(&tx, group.id, &[user.id]).await.unwrap();
        let spec = roles::RoleSpec {
            name: format!("role-{}", user.name),
            description: None,
            scopes: vec![],
            managed_by_auth: false,
        };
        let role = roles::create(&tx, spec).await.unwrap();
        roles::assign(&tx, role.id, roles::Holder::User(user.id), false).await.unwrap();
    }
    let scopes = ["access:servers".to_owned()];
    for (owner, receiver) in [(&ada, &bob), (&bob, &ada)] {
        let server = spawners::by_name(&tx, owner.id, "").await.unwrap().unwrap().row;
        let shared = shares::Shared {
            spawner_id: server.id,
            server_name: server.name,
            owner_id: owner.id,
            owner_name: owner.name.clone(),
        };
        shares::grant(&tx, &shared, shares::Receiver::User(receiver.id), &scopes, noon()).await.unwrap();
        share_codes::create(&tx, &shared, &scopes, noon() + TimeDelta::days(1), noon()).await.unwrap();
    }
    tx.commit().await.unwrap();

    let tx = bed.db.begin().await.unwrap();
    assert!(users::delete(&tx, ada.id).await.unwrap());
    assert!(!users::delete(&tx, ada.id).await.unwrap());
    tx.commit().await.unwrap();

    let db = bed.db.conn();
    for (table, left) in [
        ("users", 1),
        ("spawners", 1),
        ("servers", 1),
        ("oauth_clients", 2),
        ("api_tokens", 1),
        ("oauth_codes", 1),
        ("user_group_map", 1),
        ("user_role_map", 1),
        ("shares", 0),
        ("share_codes", 1),
    ] {
        assert_eq!(number(db, &format!("SELECT COUNT(*) FROM {table}")).await, left, "{table}");
    }
    assert!(tokens::find(db, "token-of-bob", noon()).await.unwrap().is_some());
    assert!(tokens::find(db, "token-of-ada", noon()).await.unwrap().is_none());
    assert!(oauth::client(db, "jupyterhub").await.unwrap().is_some());
    let purged = purge::expired(db, noon() + TimeDelta::days(2)).await.unwrap();
    assert_eq!(purged, purge::Purged { codes: 1, share_codes: 1, ..Default::default() });
}

async fn details_of_many_users_take_four_queries(bed: Bed) {
    let tx = bed.db.begin().await.unwrap();
    let group = groups::create(&tx, "all").await.unwrap();
    let mut ids = Vec::new();
    for n in 0..40 {
        let user = users::create(&tx, &format!("user-{n:02}"), false, noon()).await.unwrap();
        spawners::create(&tx, user.id, "lab").await.unwrap();
        ids.push(user.id);
    }
    groups::add_users(&tx, group.id, &ids).await.unwrap();
    tx.commit().await.unwrap();

    let db = Counting::new(bed.db.conn());
    let query = user_list::UserQuery {
        state: None,
        name_filter: None,
        only: None,
        sort: user_list::SortBy::Id,
        descending: false,
        range: Range { offset: 0, limit: 200 },
    };
    let page = user_list::list(&db, &query).await.unwrap();
    assert_eq!(db.take(), 2);
    assert_eq!(page.total, 40);
    let details = users::with_details(&db, page.items).await.unwrap();
    // No server runs, so that not even the fourth query, for addresses, is needed.
    assert_eq!(db.take(), 3);
    assert_eq!(details.len(), 40);
    for (n, user) in details.iter().enumerate() {
        assert_eq!(user.user.name, format!("user-{n:02}"));
        assert_eq!(user.groups, ["all"]);
        assert!(user.roles.is_empty());
        let names: Vec<&str> = user.spawners.iter().map(|spawner| spawner.row.name.as_str()).collect();
        assert_eq!(names, ["", "lab"]);
    }
    assert_eq!(groups::members(&db, &[group.id]).await.unwrap()[&group.id].len(), 40);
    assert_eq!(role_members::names_of_users(&db, &ids).await.unwrap().len(), 0);
    assert_eq!(db.take(), 2);
}

async fn timestamps_are_stored_as_stock_stores_them(bed: Bed) {
    let db = bed.db.conn();
    let id = users::create(db, "ada", false, at("2026-03-04T05:06:07.5Z")).await.unwrap().id;
    let user = users::by_id(db, id).await.unwrap().unwrap();
    match bed.kind {
        Kind::Sqlite => {
            assert_eq!(texts(db, "SELECT created FROM users").await, ["2026-03-04 05:06:07.500000"]);
            assert_eq!(user.created.unwrap().utc(), at("2026-03-04T05:06:07.5Z"));
        }
        Kind::Postgres => {
            assert_eq!(texts(db, "SELECT created::text FROM users").await, ["2026-03-04 05:06:07.5"]);
            assert_eq!(user.created.unwrap().utc(), at("2026-03-04T05:06:07.5Z"));
        }
        Kind::MariaDb => {
            assert_eq!(texts(db, "SELECT CAST(created AS CHAR) FROM users").await, ["2026-03-04 05:06:07"]);
            assert_eq!(user.created.unwrap().utc(), at("2026-03-04T05:06:07Z"));
        }
    }
}

async fn a_transaction_that_is_dropped_leaves_nothing(bed: Bed) {
    let tx = bed.db.begin().await.unwrap();
    users::create(&tx, "ada", false, noon()).await.unwrap();
    drop(tx);
    let tx = bed.db.begin().await.unwrap();
    users::create(&tx, "bob", false, noon()).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(users::count(bed.db.conn()).await.unwrap(), 0);
    let tx = bed.db.begin().await.unwrap();
    let cy = users::create(&tx, "cy", false, noon()).await.unwrap();
    assert_eq!(users::lock(&tx, cy.id).await.unwrap(), Some(cy));
    tx.commit().await.unwrap();
    assert_eq!(users::count(bed.db.conn()).await.unwrap(), 1);
}

async fn texts_that_cannot_be_stored_are_invalid_and_no_failure(bed: Bed) {
    let db = bed.db.conn();
    for text in ["nul\0", "\u{1F600}"] {
        let found = match users::by_name(db, text).await {
            Ok(found) => found,
            Err(DbError::Invalid(_)) => None,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(found, None);
        assert_eq!(tokens::find(db, text, noon()).await.unwrap(), None);
        assert!(share_codes::find(db, text, noon()).await.unwrap().is_none());
    }
    if bed.kind == Kind::Postgres {
        assert!(matches!(users::create(db, "nul\0", false, noon()).await, Err(DbError::Invalid(_))));
    }
}
