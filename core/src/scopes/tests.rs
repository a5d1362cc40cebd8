use std::collections::BTreeSet;

use super::*;

fn texts(scopes: &[&str]) -> BTreeSet<String> {
    scopes.iter().map(ToString::to_string).collect()
}

fn expand(scopes: &[&str], cx: &ExpandContext<'_>) -> Expansion {
    let table = ScopeTable::stock();
    table.expand(&table.parse_all(scopes).unwrap(), cx)
}

fn role(name: &str) -> Vec<String> {
    default_roles().into_iter().find(|role| role.name == name).unwrap().scopes
}

#[test]
fn the_admin_role_means_every_scope_but_the_metascopes() {
    let table = ScopeTable::stock();
    let admin = table.expand_stored(role(ADMIN_ROLE), &ExpandContext::owner(Owner::User("ada"))).scopes;
    let all: Vec<String> = table
        .iter()
        .map(|scope| scope.name.to_owned())
        .filter(|name| !["(no_scope)", "self", "inherit"].contains(&name.as_str()))
        .collect();
    assert_eq!(admin.to_vec(), all);
    assert_eq!(all.len(), 45);
}

#[test]
fn self_means_fifteen_scopes_of_the_user_and_nothing_for_a_service() {
    let own = expand(&["self"], &ExpandContext::owner(Owner::User("ada")));
    assert_eq!(own.scopes.to_vec().len(), 15);
    assert!(own.scopes.to_vec().iter().all(|scope| scope.ends_with("!user=ada")));
    let service = expand(&["self"], &ExpandContext::owner(Owner::Service("cull")));
    assert_eq!(service, Expansion { scopes: ScopeSet::new(), notes: vec![Note::SelfWithoutUser] });
}

#[test]
fn what_cannot_be_resolved_is_left_out_with_a_note() {
    let table = ScopeTable::stock();
    let done = table.expand_stored(["servers!server", "custom:gone:x", "proxy"], &ExpandContext::default());
    assert_eq!(done.scopes.to_vec(), ["proxy"]);
    assert_eq!(
        done.notes,
        [
            Note::Unresolved(Scope::new("servers", Filter::OwnServer)),
            Note::Unknown(ScopeError::UnknownScope("custom:gone:x".to_owned())),
        ]
    );
}

#[test]
fn a_server_filter_does_not_reach_scopes_that_read_users() {
    let done = expand(&["servers!server=ada/lab"], &ExpandContext::default());
    assert!(done.scopes.has_any("start:servers"));
    assert!(!done.scopes.has_any("read:users:name"));
}

#[test]
fn a_decision_tells_hidden_things_from_missing_scopes() {
    let set = ScopeSet::from_expanded(["servers!group=maths", "proxy", "list:users!user=ada"]).unwrap();
    let (in_maths, nowhere) = (["maths".to_owned()], []);
    let server = |user, user_groups| Resource::Server { user, server: "", user_groups };
    assert_eq!(set.decide(&["servers"], &server("bob", &in_maths)), Decision::Granted);
    assert_eq!(set.decide(&["servers"], &server("ada", &nowhere)), Decision::Hidden);
    assert_eq!(set.decide(&["tokens"], &server("ada", &nowhere)), Decision::Lacking);
    assert_eq!(set.decide(&["tokens", "proxy"], &Resource::None), Decision::Granted);
    assert_eq!(set.decide(&["list:users"], &Resource::None), Decision::Lacking);
}

#[test]
fn a_bare_server_name_shows_servers_of_that_name_but_allows_nothing_on_them() {
    let set = ScopeSet::from_expanded(["servers!server=lab"]).unwrap();
    let on = Resource::Server { user: "ada", server: "lab", user_groups: &[] };
    assert!(set.filter_for("servers").includes(&on));
    assert!(!set.allows("servers", &on));
}

#[test]
fn custom_scopes_join_the_table() {
    let custom = |name: &str, subscopes: &[&str]| CustomScope {
        name: name.to_owned(),
        description: format!("does {name}"),
        subscopes: subscopes.iter().map(ToString::to_string).collect(),
    };
    let table = ScopeTable::with_custom([
        custom("custom:grade:all", &["custom:grade:read"]),
        custom("custom:grade:read", &["custom:grade:all"]),
        custom("custom:grade:read", &["custom:grade:all"]),
    ])
    .unwrap();
    let done = table.expand_stored(["custom:grade:read!service"], &ExpandContext::owner(Owner::Service("g")));
    assert_eq!(done.scopes.to_vec(), ["custom:grade:all!service=g", "custom:grade:read!service=g"]);
    assert_eq!(describe_scopes(&table, ["custom:grade:all"], "ada")[0].description, "does custom:grade:all");

    let refused = |scopes: Vec<CustomScope>| ScopeTable::with_custom(scopes).unwrap_err();
    assert_eq!(
        refused(vec![custom("custom:abc", &[]), custom("custom:abc", &["custom:abc"])]),
        CustomScopeError::Redefined("custom:abc".to_owned())
    );
    assert_eq!(refused(vec![custom("users", &[])]), CustomScopeError::Redefined("users".to_owned()));
    assert_eq!(refused(vec![custom("custom:A", &[])]), CustomScopeError::BadName("custom:A".to_owned()));
    let (scope, subscope) = ("custom:abc".to_owned(), "users".to_owned());
    assert_eq!(
        refused(vec![custom("custom:abc", &["users"])]),
        CustomScopeError::StockSubscope { scope: scope.clone(), subscope }
    );
    let subscope = "custom:nope".to_owned();
    assert_eq!(
        refused(vec![custom("custom:abc", &["custom:nope"])]),
        CustomScopeError::UnknownSubscope { scope, subscope }
    );
}

#[test]
fn a_token_loses_what_its_owner_loses() {
    let table = ScopeTable::stock();
    let stored = ["servers!user".to_owned(), "read:hub".to_owned()];
    let owner = Owner::User("ada");
    let resolve = |roles: &[&str]| {
        let held = expand(roles, &ExpandContext::owner(owner)).scopes;
        resolve_token_scopes(&table, &stored, owner, Client::Hub, &held, &NoGroups)
    };
    let before = resolve(&["self", "read:hub"]);
    assert!(before.scopes.has_any("read:hub") && before.excess.is_empty());
    let after = resolve(&["self"]);
    assert!(after.scopes.has_any("start:servers") && !after.scopes.has_any("read:hub"));
    assert_eq!(after.excess.to_vec(), ["read:hub"]);
}

#[test]
fn a_token_of_a_server_may_use_that_server_while_its_owner_may() {
    let table = ScopeTable::stock();
    let owner = Owner::User("bob");
    let client = Client::Server { user: "ada", server: "lab" };
    let use_it = Resource::Server { user: "ada", server: "lab", user_groups: &[] };
    let mut held = expand(&["self"], &ExpandContext::owner(owner)).scopes;
    let token = resolve_token_scopes::<String>(&table, &[], owner, client, &held, &NoGroups);
    assert!(!token.scopes.allows("access:servers", &use_it));
    held.extend(ScopeSet::from_expanded([default_share_scope("ada", "lab")]).unwrap());
    let token = resolve_token_scopes::<String>(&table, &[], owner, client, &held, &NoGroups);
    assert!(token.scopes.allows("access:servers", &use_it));
    assert_eq!(
        token.scopes.to_vec(),
        ["access:servers!server=ada/lab", "read:users:groups!user=bob", "read:users:name!user=bob"]
    );
}

#[test]
fn new_tokens_stay_within_their_owner() {
    let table = ScopeTable::stock();
    let owner = Owner::User("ada");
    let held = expand(&["self"], &ExpandContext::owner(owner)).scopes;
    let check = |scopes: &[&str]| check_token_grant(&table, scopes, owner, Client::Hub, &held, &NoGroups);
    assert_eq!(check(&["inherit"]), Ok(()));
    assert_eq!(check(&["inherit", "tokens!user", "self"]), Ok(()));
    assert_eq!(
        check(&["read:users", "proxy"]).unwrap_err().to_string(),
        "Not assigning requested scopes proxy,read:users,read:users:activity,read:users:groups,read:users:name \
         not held by User ada"
    );
    assert_eq!(check(&["nope"]).unwrap_err().to_string(), "Scope 'nope' for token does not exist");
}

#[test]
fn the_token_of_a_server_reports_activity_and_uses_the_server() {
    let table = ScopeTable::stock();
    let (wanted, added) = requested_server_scopes(role(SERVER_ROLE), "ada", "lab");
    assert_eq!(wanted, texts(&["access:servers!server=ada/lab", "users:activity!user"]));
    assert!(!added);
    let (configured, added) = requested_server_scopes(["read:hub", "servers!server"], "ada", "lab");
    assert_eq!(configured, texts(&["read:hub", "servers!server=ada/lab", "users:activity!user"]));
    assert!(added);

    let cx = ExpandContext::token(Owner::User("ada"), Client::Hub);
    let have = texts(&["self", "inherit"]);
    let granted = resolve_requested(&table, &wanted, &have, &cx, &NoGroups);
    assert_eq!(granted, Resolved { allowed: wanted, disallowed: BTreeSet::new() });
    let granted = resolve_requested(&table, &configured, &have, &cx, &NoGroups);
    assert_eq!(granted.allowed, texts(&["servers!server=ada/lab", "users:activity!user"]));
    assert_eq!(granted.disallowed, texts(&["read:hub"]));
}

#[test]
fn a_scope_that_does_not_exist_is_never_granted() {
    let cx = ExpandContext::token(Owner::User("ada"), Client::Hub);
    let resolved =
        resolve_requested(&ScopeTable::stock(), &texts(&["nope"]), &texts(&["self"]), &cx, &NoGroups);
    assert_eq!(resolved, Resolved { allowed: BTreeSet::new(), disallowed: texts(&["nope"]) });
}

#[test]
fn oauth_clients_may_ask_for_their_own_use() {
    let server = Client::Server { user: "ada", server: "" };
    assert_eq!(
        client_allowed_scopes(["read:hub"], &server),
        texts(&["access:servers!server=ada/", "read:hub"])
    );
    assert_eq!(client_allowed_scopes::<&str>([], &Client::Orphan), BTreeSet::new());
    assert_eq!(
        required_client_scopes(&Client::Service("cull")),
        texts(&["access:services!service=cull", "read:users:groups!user", "read:users:name!user"])
    );
}

#[test]
fn consent_is_asked_for_what_is_beyond_the_required() {
    let table = ScopeTable::stock();
    let required = required_client_scopes(&Client::Service("cull"));
    let consent = |more: &[&str]| {
        let allowed: BTreeSet<String> = required.union(&texts(more)).cloned().collect();
        let lines = describe_consent(&table, &allowed, &required, "ada");
        lines.into_iter().map(|line| (line.scope, line.filter)).collect::<Vec<_>>()
    };
    let line = |scope: &str, filter: &str| (Some(scope.to_owned()), filter.to_owned());
    assert_eq!(consent(&[]), [(None, String::new())]);
    assert_eq!(consent(&["inherit", "tokens"]), [line("inherit", "")]);
    assert_eq!(
        consent(&["tokens!user", "servers!group=maths"]),
        [line("servers", "users in group maths"), line("tokens", "only you")]
    );
}

#[test]
fn shares_follow_their_server() {
    assert_eq!(
        repin_share_scopes(["access:servers!server=old/name"], "ada", "lab"),
        texts(&["access:servers!server=ada/lab"])
    );
}

#[test]
fn scopes_read_and_print_alike_in_json() {
    let scope: Scope = serde_json::from_str("\"servers!server=ada/lab\"").unwrap();
    assert_eq!(scope, Scope::new("servers", Filter::server("ada", "lab")));
    assert_eq!(serde_json::to_string(&scope).unwrap(), "\"servers!server=ada/lab\"");
    assert!(serde_json::from_str::<Scope>("\"servers!server=\"").is_err());
}
