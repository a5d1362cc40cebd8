use std::collections::BTreeMap;

use hub_core::scopes::ScopeSet;
use serde_json::json;

use super::*;
use crate::{Gate, Timestamp, json as python};

fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::parse(text)
}

fn server(name: &str) -> Server {
    Server {
        name: name.to_owned(),
        display_name: None,
        full_name: format!("ada/{name}"),
        last_activity: moment("2026-01-02T03:04:05.5Z"),
        started: None,
        pending: Some(Pending::Spawn),
        queue: None,
        ready: false,
        stopped: false,
        url: format!("/user/ada/{name}/"),
        user_options: Some(json!({})),
        progress_url: format!("/hub/api/users/ada/servers/{name}/progress"),
        full_url: None,
        full_progress_url: None,
        state: Gate::Shown(Some(json!({"pid": 7}))),
    }
}

fn user() -> User {
    User {
        kind: Kind::User,
        name: "ada".to_owned(),
        admin: false.into(),
        roles: vec!["user".to_owned()].into(),
        groups: vec!["maths".to_owned()].into(),
        server: None.into(),
        pending: None.into(),
        created: moment("2026-01-01").into(),
        last_activity: None.into(),
        auth_state: None.into(),
        servers: BTreeMap::from([(String::new(), server("")), ("lab".to_owned(), server("lab"))]).into(),
        user_info: None.into(),
    }
}

/// The keys that somebody with these scopes sees of the user.
fn keys(scopes: &[&str]) -> Vec<String> {
    let scopes = ScopeSet::from_expanded(scopes).unwrap();
    let Some(shown) = user().restrict(&scopes, &["maths".to_owned()]) else { return Vec::new() };
    serde_json::to_value(shown).unwrap().as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_scope_shows_its_part_of_a_user() {
    for (scope, shown) in [
        ("read:users", "kind name admin roles groups server pending created last_activity user_info"),
        ("read:users:name", "kind name admin user_info"),
        ("read:users:groups", "kind name groups"),
        ("read:users:activity", "kind name last_activity"),
        ("read:servers", "kind name servers"),
        ("read:roles:users", "kind name admin roles"),
        ("admin:auth_state", "kind name auth_state"),
        ("read:groups", ""),
    ] {
        let expected: Vec<&str> = shown.split_whitespace().collect();
        assert_eq!(keys(&[scope]), expected, "{scope}");
        assert_eq!(keys(&[&format!("{scope}!user=ada")]), expected, "{scope} on the user");
        assert_eq!(keys(&[&format!("{scope}!group=maths")]), expected, "{scope} on a group of the user");
        assert_eq!(keys(&[&format!("{scope}!user=bob")]), Vec::<String>::new(), "{scope} on another");
    }
}

#[test]
fn servers_are_shown_one_by_one() {
    let scopes = ScopeSet::from_expanded([
        "read:users:name",
        "read:servers!server=ada/lab",
        "admin:server_state!user=ada",
    ])
    .unwrap();
    let shown = user().restrict(&scopes, &[]).unwrap();
    let servers = shown.servers.as_option().unwrap();
    assert_eq!(servers.keys().collect::<Vec<_>>(), ["lab"]);
    assert!(!servers["lab"].state.is_hidden());
    // With nothing to see of the user itself there is no model to put a server into.
    let scopes = ScopeSet::from_expanded(["read:servers!server=ada/lab"]).unwrap();
    assert_eq!(user().restrict(&scopes, &[]), None);
    // May read servers, and there are none.
    let mut idle = user();
    idle.servers = BTreeMap::new().into();
    let scopes = ScopeSet::from_expanded(["read:servers!user=ada"]).unwrap();
    assert_eq!(idle.restrict(&scopes, &[]).unwrap().servers, Gate::Shown(BTreeMap::new()));
}

#[test]
fn a_server_is_written_with_all_its_fields_and_state_for_those_who_may() {
    let scopes = ScopeSet::from_expanded(["read:servers"]).unwrap();
    let plain = server("lab").restrict(&scopes, "ada", &[]).unwrap();
    assert_eq!(
        python::dumps(&plain).unwrap(),
        "{\"name\": \"lab\", \"display_name\": null, \"full_name\": \"ada/lab\", \
         \"last_activity\": \"2026-01-02T03:04:05.500000Z\", \"started\": null, \"pending\": \"spawn\", \
         \"ready\": false, \"stopped\": false, \"url\": \"/user/ada/lab/\", \"user_options\": {}, \
         \"progress_url\": \"/hub/api/users/ada/servers/lab/progress\", \"full_url\": null, \
         \"full_progress_url\": null}"
    );
    let scopes = ScopeSet::from_expanded(["admin:server_state"]).unwrap();
    assert_eq!(server("lab").restrict(&scopes, "ada", &[]), None);
    assert!(!server("lab").restrict_state(&scopes, "ada", &[]).state.is_hidden());
}

#[test]
fn groups_and_services_show_what_scopes_allow() {
    let group = || Group {
        kind: Kind::Group,
        name: "maths".to_owned(),
        roles: Vec::new().into(),
        users: vec!["ada".to_owned()].into(),
        properties: serde_json::Map::new().into(),
    };
    let service = || Service {
        kind: Kind::Service,
        name: "cull".to_owned(),
        roles: Vec::new().into(),
        admin: true.into(),
        url: String::new().into(),
        prefix: String::new().into(),
        command: Vec::new().into(),
        pid: 0.into(),
        info: json!({}).into(),
        display: true.into(),
    };
    let keys = |scope: &str| -> Option<String> {
        let scopes = ScopeSet::from_expanded([scope]).unwrap();
        let value = if scope.contains("groups") {
            serde_json::to_value(group().restrict(&scopes)?)
        } else {
            serde_json::to_value(service().restrict(&scopes)?)
        };
        let keys: Vec<String> = value.unwrap().as_object().unwrap().keys().cloned().collect();
        Some(keys.join(" "))
    };
    for (scope, shown) in [
        ("read:groups", Some("kind name users properties")),
        ("read:groups:name!group=maths", Some("kind name")),
        ("read:roles:groups", Some("kind name roles")),
        ("read:groups!group=art", None),
        ("read:services", Some("kind name admin url prefix command pid info display")),
        ("read:services:name", Some("kind name admin")),
        ("read:roles:services!service=cull", Some("kind name roles admin")),
        ("read:services!service=other", None),
    ] {
        assert_eq!(keys(scope).as_deref(), shown, "{scope}");
    }
}

#[test]
fn whoever_asks_who_they_are_gets_a_user_or_a_service() {
    let text = json!({"kind": "service", "name": "cull", "admin": false, "token_id": "a1", "session_id": null,
                      "scopes": ["read:hub"]});
    let model: SelfModel = serde_json::from_value(text.clone()).unwrap();
    assert!(matches!(&model.owner, Identified::Service(service) if service.name == "cull"));
    assert_eq!(serde_json::to_value(&model).unwrap(), text);
    let text = json!({"kind": "user", "name": "ada", "auth_state": null, "token_id": null, "session_id": "s",
                      "scopes": []});
    let model: SelfModel = serde_json::from_value(text.clone()).unwrap();
    assert!(matches!(&model.owner, Identified::User(user) if user.auth_state == Gate::Shown(None)));
    assert_eq!(serde_json::to_value(&model).unwrap(), text);
}

#[test]
fn a_new_token_shows_its_secret_in_json_and_nowhere_else() {
    let model = Token {
        user: Some("ada".to_owned()),
        service: None,
        id: Token::id_of(7),
        kind: Kind::ApiToken,
        roles: Vec::new(),
        scopes: vec!["read:hub".to_owned()],
        created: moment("2026-01-01"),
        last_activity: None,
        expires_at: None,
        note: Some("for tests".to_owned()),
        session_id: None,
        oauth_client: "JupyterHub".to_owned(),
    };
    let created = TokenCreated { model, token: "hush".to_owned() };
    assert_eq!(
        python::dumps(&created).unwrap(),
        "{\"user\": \"ada\", \"id\": \"a7\", \"kind\": \"api_token\", \"roles\": [], \"scopes\": [\"read:hub\"], \
         \"created\": \"2026-01-01T00:00:00Z\", \"last_activity\": null, \"expires_at\": null, \
         \"note\": \"for tests\", \"session_id\": null, \"oauth_client\": \"JupyterHub\", \"token\": \"hush\"}"
    );
    assert!(!format!("{created:?}").contains("hush"));
}

#[test]
fn ids_are_read_back_and_nothing_else_is() {
    assert_eq!(Token::parse_id("a12"), Some(12));
    assert_eq!(ShareCode::parse_id("sc_12"), Some(12));
    for id in ["", "a", "b1", "a-1", "a+1", "1", "a1x", "a99999999999999999999", "é"] {
        assert_eq!(Token::parse_id(id), None, "{id}");
        assert_eq!(ShareCode::parse_id(id), None, "{id}");
    }
}

#[test]
fn a_share_code_is_told_once() {
    let mut code = ShareCode {
        server: ShareServer::of("ada", &server("lab")),
        scopes: vec!["access:servers!server=ada/lab".to_owned()],
        id: ShareCode::id_of(3),
        created_at: None,
        expires_at: None,
        exchange_count: 0,
        last_exchanged_at: None,
        code: "hush".to_owned().into(),
        accept_url: "/hub/accept-share?code=hush".to_owned().into(),
        full_accept_url: None.into(),
    };
    assert!(!format!("{code:?}").contains("hush"));
    let told = serde_json::to_value(&code).unwrap();
    assert_eq!(told["code"], "hush");
    assert_eq!(told["full_accept_url"], json!(null));
    assert_eq!(
        told["server"],
        json!({"user": {"name": "ada"}, "name": "lab", "url": "/user/ada/lab/", "full_url": null, "ready": false})
    );
    (code.code, code.accept_url, code.full_accept_url) = (Gate::Hidden, Gate::Hidden, Gate::Hidden);
    let later = serde_json::to_value(&code).unwrap();
    assert!(later.get("code").is_none() && later.get("full_accept_url").is_none());
}
