use chrono::TimeDelta;
use hub_core::secret::random_alphanumeric;
use hub_db::repo::oauth::{ClientSpec, NewCode};
use hub_db::repo::{oauth, purge, services, spawners, users};
use hub_db::{ConnectionTrait, DbError};

use crate::harness::{Bed, Kind, noon, number, on_every_database};

on_every_database!(
    a_client_is_made_once_and_then_brought_up_to_date,
    a_client_of_a_server_with_the_longest_name_is_kept,
    deleting_a_client_cascades_even_without_foreign_keys,
    a_code_can_be_taken_by_one_only,
    codes_end_and_are_purged,
);

fn spec(identifier: &str) -> ClientSpec {
    ClientSpec {
        identifier: identifier.to_owned(),
        description: String::new(),
        redirect_uri: "/service/x/callback".to_owned(),
        allowed_scopes: vec!["read:users".to_owned()],
    }
}

fn code(text: &str, user_id: i32) -> NewCode {
    NewCode {
        code: text.to_owned(),
        client_id: "service-x".to_owned(),
        user_id,
        redirect_uri: "/cb".to_owned(),
        session_id: Some("s".to_owned()),
        scopes: vec!["access:servers!server=ada/".to_owned()],
        challenge: Some(("challenge".to_owned(), "S256".to_owned())),
        expires_at: noon() + TimeDelta::minutes(5),
    }
}

async fn client(db: &impl ConnectionTrait) {
    oauth::upsert_client(db, spec("service-x"), oauth::hash_secret("").await.unwrap()).await.unwrap();
}

async fn a_client_is_made_once_and_then_brought_up_to_date(bed: Bed) {
    let db = bed.db.conn();
    let made = oauth::upsert_client(db, spec("service-x"), oauth::hash_secret("s3cret").await.unwrap())
        .await
        .unwrap();
    assert_eq!(made.description.as_deref(), Some("service-x"));
    assert!(made.secret.as_deref().unwrap().starts_with("sha512:16384:"));
    assert!(oauth::verify_secret(&made, "s3cret").await.unwrap());
    assert!(!oauth::verify_secret(&made, "S3cret").await.unwrap());

    let changed = ClientSpec { description: "X".to_owned(), allowed_scopes: vec![], ..spec("service-x") };
    let changed = oauth::upsert_client(db, changed, oauth::hash_secret("").await.unwrap()).await.unwrap();
    assert_eq!((changed.id, changed.description.as_deref()), (made.id, Some("X")));
    assert_eq!(changed.secret.as_deref(), Some(""));
    for guess in ["", "s3cret"] {
        assert!(!oauth::verify_secret(&changed, guess).await.unwrap());
    }
    assert_eq!(oauth::client(db, "service-x").await.unwrap(), Some(changed));
    assert_eq!(oauth::client(db, "SERVICE-X").await.unwrap(), None);

    oauth::ensure_hub_client(db).await.unwrap();
    let hub = oauth::client(db, "jupyterhub").await.unwrap().unwrap();
    assert_eq!((hub.secret.as_deref(), hub.redirect_uri.as_deref()), (Some(""), Some("")));
    assert_eq!(number(db, "SELECT COUNT(*) FROM oauth_clients").await, 2);
}

async fn a_client_of_a_server_with_the_longest_name_is_kept(bed: Bed) {
    let db = bed.db.conn();
    // As long as an address gets whose name is 255 characters beyond ASCII.
    let prefix = format!("/user/ada/{}/", "%E6%9C%8D".repeat(255));
    let spec = ClientSpec {
        description: format!("Server at {prefix}"),
        redirect_uri: format!("{prefix}oauth_callback"),
        ..spec("jupyterhub-user-ada-long")
    };
    let uri = spec.redirect_uri.clone();
    let client = oauth::upsert_client(db, spec, oauth::hash_secret("s3cret").await.unwrap()).await.unwrap();
    let stored = client.redirect_uri.unwrap();
    assert!(oauth::is_redirect_uri(&stored, &uri));
    assert!(!oauth::is_redirect_uri(&stored, &format!("{uri}/elsewhere")));
    assert!(!oauth::is_redirect_uri(&stored, &uri.replace("/user/ada/", "/user/eve/")));
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    let spawner = spawners::create(db, ada.id, "long").await.unwrap();
    let address =
        spawners::Address { proto: "http".to_owned(), ip: "h".to_owned(), port: 1, base_url: prefix };
    spawners::set_server(db, spawner.id, &address).await.unwrap();
}

async fn deleting_a_client_cascades_even_without_foreign_keys(bed: Bed) {
    let db = bed.db.conn();
    if bed.kind == Kind::Sqlite {
        // What a database looks like whose foreign keys went missing in an old upgrade.
        let tx = bed.db.begin().await.unwrap();
        for table in ["api_tokens", "oauth_codes", "spawners", "services"] {
            let sql = format!("CREATE TABLE copy AS SELECT * FROM {table}");
            tx.execute_unprepared(&sql).await.unwrap();
            tx.execute_unprepared(&format!("DROP TABLE {table}")).await.unwrap();
            tx.execute_unprepared(&format!("ALTER TABLE copy RENAME TO {table}")).await.unwrap();
        }
        tx.commit().await.unwrap();
        db.execute_unprepared("INSERT INTO spawners (id, name, oauth_client_id) VALUES (1, '', 'service-x')")
            .await
            .unwrap();
        db.execute_unprepared("INSERT INTO api_tokens (id, client_id) VALUES (1, 'service-x'), (2, 'other')")
            .await
            .unwrap();
        db.execute_unprepared("INSERT INTO oauth_codes (id, client_id) VALUES (1, 'service-x')")
            .await
            .unwrap();
        oauth::upsert_client(db, spec("service-x"), oauth::hash_secret("").await.unwrap()).await.unwrap();
    } else {
        let ada = users::create(db, "ada", false, noon()).await.unwrap();
        oauth::upsert_client(db, spec("service-x"), oauth::hash_secret("").await.unwrap()).await.unwrap();
        oauth::create_code(db, code("c", ada.id)).await.unwrap();
        let server = spawners::by_name(db, ada.id, "").await.unwrap().unwrap().row;
        spawners::set_oauth_client(db, server.id, Some("service-x")).await.unwrap();
        let service = services::upsert(db, services::ServiceSpec::new("x", true)).await.unwrap();
        services::set_oauth_client(db, service.id, Some("service-x")).await.unwrap();
        assert!(services::by_oauth_client(db, "service-x").await.unwrap().is_some());
    }
    assert!(oauth::delete_client(db, "service-x").await.unwrap());
    assert!(!oauth::delete_client(db, "service-x").await.unwrap());
    assert_eq!(number(db, "SELECT COUNT(*) FROM api_tokens WHERE client_id = 'service-x'").await, 0);
    assert_eq!(number(db, "SELECT COUNT(*) FROM oauth_codes").await, 0);
    assert_eq!(number(db, "SELECT COUNT(*) FROM spawners WHERE oauth_client_id IS NULL").await, 1);
}

async fn a_code_can_be_taken_by_one_only(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    client(db).await;
    let text = random_alphanumeric(30);
    oauth::create_code(db, code(&text, ada.id)).await.unwrap();
    let seen = oauth::code(db, &text, noon()).await.unwrap().unwrap();
    assert_eq!(seen.code_challenge_method.as_deref(), Some("S256"));
    assert_eq!(seen.scopes.0, ["access:servers!server=ada/"]);
    let racers: Vec<_> = (0..8)
        .map(|_| {
            let (db, text) = (bed.db.clone(), text.clone());
            tokio::spawn(async move { oauth::take_code(db.conn(), &text, noon()).await.unwrap() })
        })
        .collect();
    let mut winners = 0;
    for racer in racers {
        winners += usize::from(racer.await.unwrap().is_some());
    }
    assert_eq!(winners, 1);
    assert!(oauth::take_code(db, &text, noon()).await.unwrap().is_none());
}

async fn codes_end_and_are_purged(bed: Bed) {
    let db = bed.db.conn();
    let ada = users::create(db, "ada", false, noon()).await.unwrap();
    client(db).await;
    oauth::create_code(db, code("AbcD", ada.id)).await.unwrap();
    assert!(oauth::take_code(db, "abcd", noon()).await.unwrap().is_none());
    let late = noon() + TimeDelta::seconds(301);
    assert!(oauth::take_code(db, "AbcD", late).await.unwrap().is_none());
    assert_eq!(purge::expired(db, noon()).await.unwrap().codes, 0);
    assert_eq!(purge::expired(db, late).await.unwrap().codes, 1);
    let far = NewCode { expires_at: noon() + TimeDelta::days(365 * 100), ..code("far", ada.id) };
    assert_eq!(oauth::create_code(db, far).await.unwrap().expires_at, Some(i32::MAX));
    for bad in [String::new(), "x".repeat(37)] {
        assert!(matches!(oauth::create_code(db, code(&bad, ada.id)).await, Err(DbError::Invalid(_))));
    }
}
