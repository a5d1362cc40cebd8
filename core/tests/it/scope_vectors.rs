//! Scopes against JupyterHub 6.1.1 itself: `scope_vectors.json` is what stock answered to `record_scope_vectors.py`.

use std::collections::{BTreeMap, BTreeSet};

use hub_core::scopes::{
    Client, CustomScope, ExpandContext, Owner, Resource, Scope, ScopeSet, ScopeTable, check_role_name,
    default_roles, describe_scopes, pin_share_scopes, resolve_requested, resolve_token_scopes,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    table: BTreeMap<String, Vec<String>>,
    roles: BTreeMap<String, Vec<String>>,
    groups: BTreeMap<String, BTreeSet<String>>,
    expand: Vec<Expand>,
    intersect: Vec<Intersect>,
    has_scope: Vec<HasScope>,
    check_filter: Vec<CheckFilter>,
    exist: Vec<Exist>,
    role_names: Vec<Name>,
    custom_names: Vec<Name>,
    resolve: Vec<Resolve>,
    token: Vec<Token>,
    describe: Vec<Describe>,
    pin: Vec<Pin>,
}

#[derive(Debug, Deserialize)]
struct Expand {
    scopes: Vec<String>,
    owner: Option<String>,
    client: Option<String>,
    expanded: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Intersect {
    a: Vec<String>,
    b: Vec<String>,
    common: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct HasScope {
    have: Vec<String>,
    scope: String,
    allowed: bool,
}

#[derive(Debug, Deserialize)]
struct CheckFilter {
    have: Vec<String>,
    kind: String,
    name: String,
    shown: bool,
}

#[derive(Debug, Deserialize)]
struct Exist {
    scope: String,
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Name {
    name: String,
    fine: bool,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    requested: BTreeSet<String>,
    have: BTreeSet<String>,
    owner: String,
    client: String,
    allowed: BTreeSet<String>,
    refused: BTreeSet<String>,
}

#[derive(Debug, Deserialize)]
struct Token {
    owner: String,
    held: Vec<String>,
    shared: Vec<String>,
    client: String,
    stored: Vec<String>,
    scopes: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Describe {
    scope: String,
    name: String,
    filter: String,
}

#[derive(Debug, Deserialize)]
struct Pin {
    scopes: Vec<String>,
    pinned: Option<BTreeSet<String>>,
    error: Option<String>,
}

impl Vectors {
    fn load() -> Self {
        serde_json::from_str(include_str!("scope_vectors.json")).expect("the recording is valid")
    }

    /// Which users are in which groups, by user.
    fn membership(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut of_users: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (group, users) in &self.groups {
            for user in users {
                of_users.entry(user.clone()).or_default().insert(group.clone());
            }
        }
        of_users
    }

    fn groups_of(&self, user: &str) -> Vec<String> {
        self.groups.iter().filter(|(_, users)| users.contains(user)).map(|(group, _)| group.clone()).collect()
    }
}

fn owner(text: &str) -> Owner<'_> {
    match text.split_once(':').unwrap() {
        ("user", name) => Owner::User(name),
        ("service", name) => Owner::Service(name),
        other => panic!("{other:?}"),
    }
}

fn client(text: &str) -> Client<'_> {
    match text.split_once(':') {
        None => Client::Hub,
        Some(("server", server)) => {
            let (user, server) = server.split_once('/').unwrap();
            Client::Server { user, server }
        }
        Some((_, name)) => Client::Service(name),
    }
}

fn set(texts: &[String]) -> ScopeSet {
    ScopeSet::from_expanded(texts).unwrap()
}

#[test]
fn the_table_and_the_default_roles_are_those_of_stock() {
    let vectors = Vectors::load();
    let table = ScopeTable::stock();
    let ours: BTreeMap<String, Vec<String>> = table
        .iter()
        .map(|scope| (scope.name.to_owned(), scope.subscopes.iter().map(ToString::to_string).collect()))
        .collect();
    assert_eq!(ours, vectors.table);
    let ours: BTreeMap<String, Vec<String>> =
        default_roles().into_iter().map(|role| (role.name, role.scopes)).collect();
    assert_eq!(ours, vectors.roles);
}

#[test]
fn lists_expand_as_in_stock() {
    let table = ScopeTable::stock();
    for case in Vectors::load().expand {
        let cx = ExpandContext {
            owner: case.owner.as_deref().map(owner),
            client: case.client.as_deref().map(client),
        };
        let scopes = table.parse_all(&case.scopes).unwrap();
        assert_eq!(table.expand(&scopes, &cx).scopes.to_vec(), case.expanded, "{case:?}");
    }
}

#[test]
fn sets_intersect_as_in_stock() {
    let vectors = Vectors::load();
    let groups = vectors.membership();
    for case in &vectors.intersect {
        let (a, b) = (set(&case.a), set(&case.b));
        assert_eq!(a.intersect(&b, &groups).to_vec(), case.common, "{case:?}");
        let asked: BTreeMap<_, _> =
            a.users_to_look_up(&b).into_iter().map(|user| (user.clone(), vectors.groups_of(&user))).collect();
        let asked: std::collections::HashMap<String, Vec<String>> = asked.into_iter().collect();
        assert_eq!(
            a.intersect(&b, &asked).to_vec(),
            case.common,
            "only the users named beforehand: {case:?}"
        );
    }
}

#[test]
fn single_scopes_are_held_as_in_stock() {
    let vectors = Vectors::load();
    for case in &vectors.has_scope {
        let scope: Scope = ScopeTable::stock().parse(&case.scope).unwrap();
        let user = match &scope.filter {
            hub_core::scopes::Filter::User(user) | hub_core::scopes::Filter::Server { user, .. } => {
                user.as_str()
            }
            _ => "",
        };
        assert_eq!(set(&case.have).holds(&scope, &vectors.groups_of(user)), case.allowed, "{case:?}");
    }
}

#[test]
fn lists_and_models_show_what_stock_shows() {
    let vectors = Vectors::load();
    for case in &vectors.check_filter {
        let (user, server) = case.name.split_once('/').unwrap_or((&case.name, ""));
        let groups = vectors.groups_of(user);
        let on = match case.kind.as_str() {
            "user" => Resource::User { name: user, groups: &groups },
            "server" => Resource::Server { user, server, user_groups: &groups },
            "group" => Resource::Group(&case.name),
            _ => Resource::Service(&case.name),
        };
        assert_eq!(set(&case.have).filter_for("servers").includes(&on), case.shown, "{case:?}");
    }
}

#[test]
fn text_that_is_no_scope_is_refused_in_the_words_of_stock() {
    let table = ScopeTable::stock();
    for case in Vectors::load().exist {
        let error = table.parse(&case.scope).err().map(|error| error.message_for("token"));
        assert_eq!(error, case.error, "{case:?}");
    }
}

#[test]
fn names_of_roles_and_custom_scopes_follow_the_rules_of_stock() {
    let vectors = Vectors::load();
    for case in vectors.role_names {
        assert_eq!(check_role_name(&case.name).is_ok(), case.fine, "{case:?}");
    }
    for case in vectors.custom_names {
        let custom =
            CustomScope { name: case.name.clone(), description: String::new(), subscopes: Vec::new() };
        assert_eq!(ScopeTable::with_custom([custom]).is_ok(), case.fine, "{case:?}");
    }
}

#[test]
fn requests_are_granted_as_in_stock() {
    let vectors = Vectors::load();
    let (table, groups) = (ScopeTable::stock(), vectors.membership());
    for case in &vectors.resolve {
        let cx = ExpandContext::token(owner(&case.owner), client(&case.client));
        let resolved = resolve_requested(&table, &case.requested, &case.have, &cx, &groups);
        assert_eq!(resolved.allowed, case.allowed, "{case:?}");
        assert_eq!(resolved.disallowed, case.refused, "{case:?}");
    }
}

#[test]
fn tokens_allow_what_they_allow_in_stock() {
    let vectors = Vectors::load();
    let (table, groups) = (ScopeTable::stock(), vectors.membership());
    for case in &vectors.token {
        let owner = owner(&case.owner);
        let mut held = table.expand_stored(&case.held, &ExpandContext::owner(owner)).scopes;
        held.extend(set(&case.shared));
        let token = resolve_token_scopes(&table, &case.stored, owner, client(&case.client), &held, &groups);
        assert_eq!(token.scopes.to_vec(), case.scopes, "{case:?}");
    }
}

#[test]
fn filters_are_described_as_in_stock() {
    let table = ScopeTable::stock();
    for case in Vectors::load().describe {
        let lines = describe_scopes(&table, [case.scope.as_str()], "ada");
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].scope.as_deref(), Some(case.name.as_str()), "{case:?}");
        assert_eq!(lines[0].filter, case.filter, "{case:?}");
    }
}

#[test]
fn shared_scopes_are_limited_to_the_server_as_in_stock() {
    for case in Vectors::load().pin {
        match pin_share_scopes(&case.scopes, "ada", "lab") {
            Ok(pinned) => assert_eq!(Some(pinned), case.pinned),
            Err(error) => assert_eq!(Some(error.to_string()), case.error),
        }
    }
}
