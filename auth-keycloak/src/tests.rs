use hub_auth_oidc::claims::Claims;
use hub_auth_oidc::{Mapped, Mapper as _};
use hub_core::{AuthError, LoginRequest, LoginStep, SystemClock};

use super::*;

fn context() -> AuthenticatorContext {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    AuthenticatorContext {
        manage_groups: true,
        manage_roles: true,
        auth_state: true,
        ..AuthenticatorContext::new(Arc::new(SystemClock))
    }
}

/// What comes of these options for somebody in groups and roles of Keycloak.
fn map(options: Value) -> Result<Mapped, AuthError> {
    let options: KeycloakOptions = read_options(options, "authenticator.keycloak").unwrap();
    options.validate("authenticator.keycloak", &context()).unwrap();
    let access_token = json!({
        "realm_access": {"roles": ["teacher", "hub:forged"]},
        "resource_access": {"hub": {"roles": ["boss"]}, "other.app": {"roles": ["boss", "reader"]}},
    });
    let claims = Claims { access_token: access_token.as_object().unwrap().clone(), ..Claims::default() };
    let groups = ["/workspaces/ws-a", "/workspaces/ws-b", "/staff"].map(str::to_owned).to_vec();
    let mut mapped = Mapped { groups, ..Mapped::default() };
    RoleMapper::new(&options, "hub").map(&claims, &mut mapped)?;
    mapped.groups.sort();
    Ok(mapped)
}

fn groups(options: Value) -> Vec<String> {
    map(options).unwrap().groups
}

#[test]
fn groups_are_named_as_wanted() {
    assert_eq!(groups(json!({})), ["/staff", "/workspaces/ws-a", "/workspaces/ws-b"]);
    assert_eq!(groups(json!({"group_names": "relative"})), ["staff", "workspaces/ws-a", "workspaces/ws-b"]);
    assert_eq!(groups(json!({"group_names": "last"})), ["staff", "ws-a", "ws-b"]);
}

#[test]
fn rules_make_groups_and_roles_of_groups_and_roles() {
    let rules = json!([
        {"group": "/workspaces/ws-*", "groups": ["ws-{1}"], "allow": true},
        {"role": "teacher", "groups": ["teachers"], "roles": ["grading"]},
        {"role": "other.app:*", "roles": ["app-{1}"]},
    ]);
    let mapped = map(json!({"rules": rules, "same_roles": [":boss"], "keep_other_groups": false})).unwrap();
    assert_eq!(mapped.groups, ["teachers", "ws-a", "ws-b"]);
    let mut roles = mapped.roles;
    roles.sort();
    assert_eq!(roles, ["app-boss", "app-reader", "boss", "grading"]);
    assert!(mapped.allowed && mapped.admin.is_none());
}

#[test]
fn administrators_are_made_by_roles_of_the_right_client() {
    for (role, admin) in [
        ("teacher", true),
        ("hub:boss", true),
        (":boss", true),
        ("boss", false),
        ("other.app:reader", true),
        (":reader", false),
        ("hub:forged", false),
        (":forged", false),
    ] {
        assert_eq!(map(json!({"admin_roles": [role]})).unwrap().admin, Some(admin), "{role}");
    }
    assert_eq!(map(json!({"rules": [{"group": "/staff", "admin": true}]})).unwrap().admin, Some(true));
    assert_eq!(map(json!({"rules": [{"group": "/root", "admin": true}]})).unwrap().admin, Some(false));
}

#[test]
fn blocked_goes_before_allowed() {
    let blocked = json!({"allowed_roles": ["teacher"], "rules": [{"group": "/staff", "block": true}]});
    assert!(matches!(map(blocked), Err(AuthError::Denied(_))));
    assert!(map(json!({"blocked_roles": ["other.app:reader"]})).is_err());
    assert!(map(json!({"allowed_roles": ["teacher"]})).unwrap().allowed);
    assert!(!map(json!({"allowed_roles": ["student"]})).unwrap().allowed);
}

#[test]
fn every_problem_is_told_under_its_key() {
    let keys = |options: Value, cx: &AuthenticatorContext| {
        let error = build(options, cx).unwrap_err();
        error
            .problems
            .iter()
            .map(|p| p.key.trim_start_matches("authenticator.keycloak.").to_owned())
            .collect::<Vec<_>>()
    };
    let cx = context();
    assert_eq!(keys(json!({}), &cx), ["issuer"]);
    assert_eq!(keys(json!({"url": "https://id.example", "client_id": "hub"}), &cx), ["realm"]);
    assert_eq!(
        keys(json!({"issuer": "https://x/realms/r", "client_id": "h", "grup_names": "last"}), &cx),
        ["grup_names"]
    );
    let bare = AuthenticatorContext { manage_groups: false, manage_roles: false, ..context() };
    let rules = json!([
        {"group": "/a", "role": "b", "allow": true},
        {"group": "/a/*", "groups": ["{2}"]},
        {"role": "a", "roles": ["x"]},
        {"role": "a"},
    ]);
    assert_eq!(
        keys(json!({"issuer": "https://x/realms/r", "client_id": "h", "rules": rules}), &bare),
        ["rules[0]", "rules[1].groups", "rules[1].groups", "rules[3]", "rules"]
    );
}

#[tokio::test]
async fn the_account_console_is_one_link_away() {
    let options = json!({"url": "https://id.example/", "realm": "lab", "client_id": "hub"});
    let hub = build(options, &context()).unwrap();
    let rq = LoginRequest { method: "GET".to_owned(), ..LoginRequest::default() };
    match hub.handle(ACCOUNT_PATH, &rq).await.unwrap() {
        LoginStep::Redirect { location, .. } => {
            assert_eq!(location, "https://id.example/realms/lab/account/?referrer=hub");
        }
        other => panic!("{other:?}"),
    }
    let paths: Vec<String> = hub.routes().into_iter().map(|route| route.path).collect();
    assert_eq!(paths, ["oauth_login", "oauth_callback", "backchannel_logout", "account"]);
}
