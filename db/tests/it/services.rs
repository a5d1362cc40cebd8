use hub_core::secret::random_hex32;
use hub_db::JsonDict;
use hub_db::repo::services::ServiceSpec;
use hub_db::repo::spawners::Address;
use hub_db::repo::{Owner, oauth, services, tokens};
use serde_json::json;

use crate::harness::{Bed, noon, number, on_every_database};

on_every_database!(
    a_service_is_made_once_and_then_brought_up_to_date,
    deleting_a_service_takes_tokens_address_and_client,
);

async fn a_service_is_made_once_and_then_brought_up_to_date(bed: Bed) {
    let db = bed.db.conn();
    let full = ServiceSpec {
        admin: true,
        url: Some("http://127.0.0.1:1/".to_owned()),
        oauth_client_allowed_scopes: vec!["inherit".to_owned()],
        info: Some(json!({"a": [1]})),
        display: false,
        oauth_no_confirm: true,
        command: vec!["python3".to_owned(), "-m é".to_owned()],
        cwd: Some("/srv".to_owned()),
        environment: Some(json!({"KEY": "value"})),
        user: Some("nobody".to_owned()),
        timeout: 5,
        ..ServiceSpec::new("x", false)
    };
    let made = services::upsert(db, full).await.unwrap();
    let found = services::by_name(db, "x").await.unwrap().unwrap();
    assert_eq!(found, made);
    assert!(found.is_admin());
    assert_eq!(found.command.0, ["python3", "-m é"]);
    assert_eq!(found.environment, Some(JsonDict(json!({"KEY": "value"}))));
    assert_eq!((found.user.as_deref(), found.timeout, found.from_config), (Some("nobody"), 5, Some(false)));

    let plain = services::upsert(db, ServiceSpec::new("x", true)).await.unwrap();
    assert_eq!((plain.id, plain.timeout, plain.from_config), (made.id, 30, Some(true)));
    assert!(plain.command.0.is_empty() && plain.info.is_none() && !plain.is_admin());
    services::set_admin(db, plain.id, true).await.unwrap();
    services::set_pid(db, plain.id, Some(77)).await.unwrap();
    let found = services::by_id(db, plain.id).await.unwrap().unwrap();
    assert_eq!((found.is_admin(), found.pid), (true, Some(77)));
    assert_eq!(services::all(db).await.unwrap().len(), 1);
}

async fn deleting_a_service_takes_tokens_address_and_client(bed: Bed) {
    let db = bed.db.conn();
    let service = services::upsert(db, ServiceSpec::new("x", true)).await.unwrap();
    let spec = oauth::ClientSpec {
        identifier: "service-x".to_owned(),
        description: "X".to_owned(),
        redirect_uri: "/services/x/oauth_callback".to_owned(),
        allowed_scopes: vec![],
    };
    oauth::upsert_client(db, spec, oauth::hash_secret("").await.unwrap()).await.unwrap();
    services::set_oauth_client(db, service.id, Some("service-x")).await.unwrap();
    let address = Address {
        proto: "http".to_owned(),
        ip: "127.0.0.1".to_owned(),
        port: 10101,
        base_url: "/services/x/".to_owned(),
    };
    services::set_address(db, service.id, Some(&address)).await.unwrap();
    services::set_address(db, service.id, Some(&address)).await.unwrap();
    let row = services::by_oauth_client(db, "service-x").await.unwrap().unwrap();
    assert_eq!(services::address(db, &row).await.unwrap(), Some(address));
    assert_eq!(number(db, "SELECT COUNT(*) FROM servers").await, 1);
    let token = tokens::NewToken {
        owner: Owner::Service(service.id),
        rounds: 1,
        client_id: oauth::HUB_CLIENT.to_owned(),
        scopes: vec![],
        note: String::new(),
        session_id: None,
        expires_at: None,
    };
    tokens::create(db, &random_hex32(), token, noon()).await.unwrap();

    let tx = bed.db.begin().await.unwrap();
    assert!(services::delete(&tx, service.id).await.unwrap());
    assert!(!services::delete(&tx, service.id).await.unwrap());
    tx.commit().await.unwrap();
    for (table, left) in [("services", 0), ("servers", 0), ("api_tokens", 0), ("oauth_clients", 1)] {
        assert_eq!(number(db, &format!("SELECT COUNT(*) FROM {table}")).await, left, "{table}");
    }
}
