//! Every route, asked with every scope under every filter, beside a naive model of who may do what.
//!
//! The model is a table of its own, written down from JupyterHub's documentation and not from ours, and knows scopes as
//! texts only. A handler that forgets to ask, or asks for the wrong thing, answers differently from it.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::Method as HttpMethod;
use himalia::rbac::HUB_CLIENT;
use hub_core::secret::random_hex32;
use hub_core::token::GENERATED_ROUNDS;
use hub_db::repo;
use jupyterhub_api_compat::endpoints::{Auth, ENDPOINTS, Endpoint, Segment, Target};
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestHub};

/// On what a route's scopes must allow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum On {
    /// Only scopes without a filter will do.
    All,
    /// Any filter will do to be let in.
    Some,
    /// This user.
    User(&'static str),
    /// This server.
    Server(&'static str, &'static str),
    /// This group.
    Group(&'static str),
    /// This service.
    Service(&'static str),
}

/// A request that changes nothing even when it is allowed.
struct Route {
    method: &'static str,
    path: &'static str,
    body: &'static str,
    scopes: &'static [&'static str],
    on: On,
}

/// A body that is refused after the caller was let in.
const BAD: &str = "{bad";

const fn route(
    method: &'static str,
    path: &'static str,
    body: &'static str,
    scopes: &'static [&'static str],
    on: On,
) -> Route {
    Route { method, path, body, scopes, on }
}

/// `ada` is in the group `maths`, `bob` in none; all requests are made with tokens of `root`, who is in `maths`, too.
const ROUTES: &[Route] = &[
    route("GET", "/info", "", &["read:hub"], On::All),
    route("POST", "/shutdown", BAD, &["shutdown"], On::All),
    route("GET", "/proxy", "", &["proxy"], On::All),
    route("POST", "/proxy", "", &["proxy"], On::All),
    route("PATCH", "/proxy", BAD, &["proxy"], On::All),
    route("GET", "/users", "", &["list:users"], On::Some),
    route("POST", "/users", BAD, &["admin:users"], On::All),
    route(
        "GET",
        "/users/ada",
        "",
        &[
            "read:users",
            "read:users:name",
            "read:servers",
            "read:users:groups",
            "read:users:activity",
            "read:roles:users",
        ],
        On::User("ada"),
    ),
    route("POST", "/users/ada", BAD, &["admin:users"], On::User("ada")),
    route("PATCH", "/users/ada", BAD, &["admin:users"], On::User("ada")),
    // Nobody can delete themselves.
    route("DELETE", "/users/root", "", &["delete:users"], On::User("root")),
    route("POST", "/users/ada/activity", BAD, &["users:activity"], On::User("ada")),
    route("GET", "/users/ada/server", "", &["read:servers"], On::Server("ada", "")),
    route("PUT", "/users/ada/server", BAD, &["start:servers"], On::Server("ada", "")),
    route("POST", "/users/ada/server", BAD, &["start:servers"], On::Server("ada", "")),
    route("PATCH", "/users/ada/server", BAD, &["start:servers"], On::Server("ada", "")),
    route("DELETE", "/users/ada/server", BAD, &["delete:servers"], On::Server("ada", "")),
    route("GET", "/users/ada/server/progress", "", &["read:servers"], On::Server("ada", "")),
    route("GET", "/users/ada/servers/lab", "", &["read:servers"], On::Server("ada", "lab")),
    route("PUT", "/users/ada/servers/lab", BAD, &["start:servers"], On::Server("ada", "lab")),
    route("POST", "/users/ada/servers/lab", BAD, &["start:servers"], On::Server("ada", "lab")),
    route("PATCH", "/users/ada/servers/lab", BAD, &["start:servers"], On::Server("ada", "lab")),
    route("DELETE", "/users/ada/servers/lab", BAD, &["delete:servers"], On::Server("ada", "lab")),
    route("GET", "/users/ada/servers/lab/progress", "", &["read:servers"], On::Server("ada", "lab")),
    route("GET", "/users/ada/tokens", "", &["read:tokens"], On::User("ada")),
    route("GET", "/users/ada/tokens/a0", "", &["read:tokens"], On::User("ada")),
    route("DELETE", "/users/ada/tokens/a0", "", &["tokens"], On::User("ada")),
    route("GET", "/users/ada/shared", "", &["read:users:shares"], On::User("ada")),
    route("GET", "/users/ada/shared/bob/x", "", &["read:users:shares"], On::User("ada")),
    route("DELETE", "/users/ada/shared/bob/x", "", &["users:shares"], On::User("ada")),
    route("GET", "/groups", "", &["list:groups"], On::Some),
    route("POST", "/groups", BAD, &["admin:groups"], On::All),
    route(
        "GET",
        "/groups/maths",
        "",
        &["read:groups", "read:groups:name", "read:roles:groups"],
        On::Group("maths"),
    ),
    route("POST", "/groups/maths", BAD, &["admin:groups"], On::Group("maths")),
    route("DELETE", "/groups/nobodies", "", &["delete:groups"], On::Group("nobodies")),
    route("POST", "/groups/maths/users", BAD, &["groups"], On::Group("maths")),
    route("DELETE", "/groups/maths/users", BAD, &["groups"], On::Group("maths")),
    route("PUT", "/groups/maths/properties", BAD, &["groups"], On::Group("maths")),
    route("GET", "/groups/maths/shared", "", &["read:groups:shares"], On::Group("maths")),
    route("GET", "/groups/maths/shared/bob/x", "", &["read:groups:shares"], On::Group("maths")),
    route("DELETE", "/groups/maths/shared/bob/x", "", &["groups:shares"], On::Group("maths")),
    route("GET", "/services", "", &["list:services"], On::Some),
    route(
        "GET",
        "/services/watch",
        "",
        &["read:services", "read:services:name", "read:roles:services"],
        On::Service("watch"),
    ),
    route("POST", "/services/fresh", BAD, &["admin:services"], On::Service("fresh")),
    // It is of the configuration.
    route("DELETE", "/services/watch", "", &["admin:services"], On::Service("watch")),
    route("GET", "/shares/ada", "", &["read:shares"], On::User("ada")),
    route("GET", "/shares/ada/lab", "", &["read:shares"], On::Server("ada", "lab")),
    route("POST", "/shares/ada/lab", BAD, &["shares"], On::Server("ada", "lab")),
    route("PATCH", "/shares/ada/lab", BAD, &["shares"], On::Server("ada", "lab")),
    route("DELETE", "/shares/ada/lab", "", &["shares"], On::Server("ada", "lab")),
    route("GET", "/share-codes/ada", "", &["read:shares"], On::User("ada")),
    route("GET", "/share-codes/ada/lab", "", &["read:shares"], On::Server("ada", "lab")),
    route("POST", "/share-codes/ada/lab", BAD, &["shares"], On::Server("ada", "lab")),
    route("DELETE", "/share-codes/ada/lab", "", &["shares"], On::Server("ada", "lab")),
];

/// Scopes and what they contain, as JupyterHub's documentation has them.
const CONTAINED: &[(&str, &[&str])] = &[
    ("admin-ui", &[]),
    ("admin:users", &["admin:auth_state", "users", "read:roles:users", "delete:users"]),
    ("admin:auth_state", &[]),
    ("users", &["read:users", "list:users", "users:activity"]),
    ("delete:users", &[]),
    ("list:users", &["read:users:name"]),
    ("read:users", &["read:users:name", "read:users:groups", "read:users:activity"]),
    ("read:users:name", &[]),
    ("read:users:groups", &[]),
    ("read:users:activity", &[]),
    ("read:roles", &["read:roles:users", "read:roles:services", "read:roles:groups"]),
    ("read:roles:users", &[]),
    ("read:roles:services", &[]),
    ("read:roles:groups", &[]),
    ("users:activity", &["read:users:activity"]),
    ("admin:servers", &["admin:server_state", "servers"]),
    ("admin:server_state", &[]),
    ("servers", &["read:servers", "start:servers", "delete:servers"]),
    ("read:servers", &["read:users:name"]),
    ("start:servers", &[]),
    ("delete:servers", &[]),
    ("tokens", &["read:tokens"]),
    ("read:tokens", &[]),
    ("admin:groups", &["groups", "read:roles:groups", "delete:groups"]),
    ("groups", &["read:groups", "list:groups"]),
    ("list:groups", &["read:groups:name"]),
    ("read:groups", &["read:groups:name"]),
    ("read:groups:name", &[]),
    ("delete:groups", &[]),
    ("admin:services", &["list:services", "read:services", "read:roles:services"]),
    ("list:services", &["read:services:name"]),
    ("read:services", &["read:services:name"]),
    ("read:services:name", &[]),
    ("read:hub", &[]),
    ("access:servers", &[]),
    ("access:services", &[]),
    ("users:shares", &["read:users:shares"]),
    ("groups:shares", &["read:groups:shares"]),
    ("read:users:shares", &[]),
    ("read:groups:shares", &[]),
    ("read:shares", &[]),
    ("shares", &["access:servers", "read:shares", "users:shares", "groups:shares"]),
    ("proxy", &[]),
    ("shutdown", &[]),
    ("read:metrics", &[]),
];

/// No filter, filters that fit what the routes are about, and filters that do not.
const FILTERS: [&str; 11] = [
    "",
    "!user=ada",
    "!user=bob",
    "!user=root",
    "!server=ada/",
    "!server=ada/lab",
    "!group=maths",
    "!group=nobodies",
    "!group=others",
    "!service=watch",
    "!service=fresh",
];

/// What a token of `root` with one scope under one filter holds: the scope, all that it contains, and what tells who
/// its owner is.
fn held(scope: &str, filter: &str) -> BTreeSet<String> {
    let mut done = BTreeSet::new();
    let mut todo = vec![scope];
    while let Some(scope) = todo.pop() {
        let contained = CONTAINED.iter().find(|(name, _)| *name == scope).unwrap().1;
        todo.extend(contained);
        // Servers are no users.
        if !(filter.starts_with("!server") && scope.starts_with("read:users")) {
            done.insert(format!("{scope}{filter}"));
        }
    }
    done.insert("read:users:name!user=root".to_owned());
    done.insert("read:users:groups!user=root".to_owned());
    done
}

fn in_maths(user: &str) -> bool {
    ["ada", "root"].contains(&user)
}

/// Whether what is held allows a scope on something.
fn allows(held: &BTreeSet<String>, scope: &str, on: On) -> bool {
    let has = |filter: String| held.contains(&format!("{scope}{filter}"));
    let on_user =
        |user: &str| has(format!("!user={user}")) || in_maths(user) && has("!group=maths".to_owned());
    has(String::new())
        || match on {
            On::All => false,
            On::Some => held.iter().any(|text| text.split('!').next() == Some(scope)),
            On::User(user) => on_user(user),
            On::Server(user, server) => on_user(user) || has(format!("!server={user}/{server}")),
            On::Group(group) => has(format!("!group={group}")),
            On::Service(service) => has(format!("!service={service}")),
        }
}

/// What the model expects of a request.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Allowed,
    Hidden,
    Lacking,
}

fn expected(held: &BTreeSet<String>, route: &Route) -> Expected {
    let has_any = |scope: &&&str| held.iter().any(|text| text.split('!').next() == Some(**scope));
    if route.scopes.iter().any(|scope| allows(held, scope, route.on)) {
        Expected::Allowed
    } else if route.scopes.iter().any(|scope| has_any(&scope)) && !matches!(route.on, On::Some | On::All) {
        // A filter can only hide what it could have shown.
        Expected::Hidden
    } else {
        Expected::Lacking
    }
}

/// What an answer shows.
fn seen(answer: &Answer) -> Expected {
    let message = serde_json::from_str::<Value>(&answer.text).unwrap_or_default()["message"].clone();
    let message = message.as_str().unwrap_or_default();
    match answer.code() {
        404 if message == "No access to resources or resources not found" => Expected::Hidden,
        403 if message.starts_with("Action is not authorized with current scopes") => Expected::Lacking,
        403 if message.is_empty() => Expected::Hidden,
        _ => Expected::Allowed,
    }
}

/// A token of `root` for each scope under each filter.
async fn clients(test: &TestHub) -> Vec<(&'static str, &'static str, Client)> {
    let root = test.root();
    root.post("/users", json!({ "usernames": ["bob"] })).await.holds(201);
    root.post("/groups/maths/users", json!({ "users": ["root"] })).await.holds(200);
    root.put("/users/ada/servers/lab", None).await.holds(201);
    let now = test.hub.clock.now();
    let tx = test.hub.db.begin().await.unwrap();
    let owner = repo::users::by_name(&tx, "root").await.unwrap().unwrap();
    let mut clients = Vec::new();
    for (scope, _) in CONTAINED {
        for filter in FILTERS {
            let text = random_hex32();
            let new = repo::tokens::NewToken {
                owner: repo::Owner::User(owner.id),
                rounds: GENERATED_ROUNDS,
                client_id: HUB_CLIENT.to_owned(),
                scopes: vec![format!("{scope}{filter}")],
                note: String::new(),
                session_id: None,
                expires_at: None,
            };
            repo::tokens::create(&tx, &text, new, now).await.unwrap();
            clients.push((*scope, filter, test.bearer(&text)));
        }
    }
    tx.commit().await.unwrap();
    clients
}

async fn send(client: &Client, route: &Route) -> Answer {
    let body = (!route.body.is_empty()).then_some(route.body.as_bytes());
    let method: HttpMethod = route.method.parse().unwrap();
    client.send(method, &format!("/hub/api{}", route.path), body).await
}

/// Asks a part of the routes with all scopes under all filters.
async fn compare(part: usize, of: usize) {
    let test = TestHub::start().await;
    let clients = clients(&test).await;
    let mut wrong = Vec::new();
    for route in ROUTES.iter().skip(part).step_by(of) {
        for (scope, filter, client) in &clients {
            let answer = send(client, route).await;
            let expected = expected(&held(scope, filter), route);
            // A list under a filter that is none for it is refused without a text.
            let foreign = route.on == On::Some && answer.code() == 403 && expected == Expected::Allowed;
            if seen(&answer) != expected && !(foreign && is_foreign(route.path, filter)) {
                wrong.push(format!(
                    "{} {} with {scope}{filter}: {expected:?}, {answer:?}",
                    route.method, route.path
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} answers differ from the model:\n{}", wrong.len(), wrong.join("\n"));
}

/// Whether a filter cannot be one on the things of a list.
fn is_foreign(list: &str, filter: &str) -> bool {
    match list {
        "/users" => filter.starts_with("!server") || filter.starts_with("!service"),
        "/groups" => !filter.starts_with("!group"),
        _ => false,
    }
}

#[actix_web::test]
async fn the_first_quarter_of_the_routes_answers_as_the_model() {
    compare(0, 4).await;
}

#[actix_web::test]
async fn the_second_quarter_of_the_routes_answers_as_the_model() {
    compare(1, 4).await;
}

#[actix_web::test]
async fn the_third_quarter_of_the_routes_answers_as_the_model() {
    compare(2, 4).await;
}

#[actix_web::test]
async fn the_last_quarter_of_the_routes_answers_as_the_model() {
    compare(3, 4).await;
}

/// An extension's row as a route of the model, about `ada` and her `lab`.
fn extension(endpoint: &Endpoint) -> Route {
    let mut path = String::new();
    for segment in endpoint.segments() {
        path.push('/');
        path.push_str(match segment {
            Segment::Literal(text) => text,
            Segment::Param { name: "user", .. } => "ada",
            Segment::Param { name: "server", .. } => "lab",
            Segment::Param { name: "group", .. } => "maths",
            Segment::Param { name: "service", .. } => "watch",
            Segment::Param { .. } => "0",
        });
    }
    let on = match endpoint.on {
        Target::None => On::All,
        Target::List => On::Some,
        Target::User => On::User("ada"),
        Target::Server if endpoint.path.contains("{server}") => On::Server("ada", "lab"),
        Target::Server => On::Server("ada", ""),
        Target::Group => On::Group("maths"),
        Target::Service => On::Service("watch"),
    };
    Route { method: endpoint.method.as_str(), path: path.leak(), body: BAD, scopes: endpoint.scopes, on }
}

/// What extensions do differs too much for a harmless call of each; those whom they refuse do nothing.
#[actix_web::test]
async fn extensions_refuse_whom_their_row_does_not_let_in() {
    let test = TestHub::start().await;
    let clients = clients(&test).await;
    let mut refused = 0;
    for endpoint in ENDPOINTS.iter().filter(|row| row.extension && row.auth == Auth::Scopes) {
        let route = extension(endpoint);
        for (scope, filter, client) in &clients {
            let expected = expected(&held(scope, filter), &route);
            if expected != Expected::Allowed {
                let answer = send(client, &route).await;
                assert_eq!(seen(&answer), expected, "{} {} with {scope}{filter}", route.method, route.path);
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
}

#[actix_web::test]
async fn lists_show_what_the_model_lets_through() {
    let test = TestHub::start().await;
    for (scope, filter, client) in clients(&test).await {
        let held = held(scope, filter);
        for (path, lists, things) in [
            ("/users", "list:users", ["ada", "bob", "root"].map(On::User).to_vec()),
            ("/groups", "list:groups", vec![On::Group("maths")]),
            ("/services", "list:services", vec![On::Service("watch")]),
        ] {
            let answer = client.get(path).await;
            if answer.code() != 200 {
                continue;
            }
            let shown: BTreeSet<String> = match answer.json() {
                Value::Array(items) => {
                    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
                }
                Value::Object(items) => items.keys().cloned().collect(),
                other => panic!("{other}"),
            };
            let expected: BTreeSet<String> = things
                .into_iter()
                .filter(|on| allows(&held, lists, *on))
                .map(|on| match on {
                    On::User(name) | On::Group(name) | On::Service(name) => name.to_owned(),
                    other => unreachable!("{other:?}"),
                })
                .collect();
            assert_eq!(shown, expected, "GET {path} with {scope}{filter}");
        }
    }
}

#[actix_web::test]
async fn tokens_are_made_only_for_whom_the_model_allows() {
    let test = TestHub::start().await;
    for (scope, filter, client) in clients(&test).await {
        let allowed = allows(&held(scope, filter), "tokens", On::User("ada"));
        let answer = client.post("/users/ada/tokens", json!({ "scopes": ["nope"] })).await;
        assert_eq!(answer.code(), if allowed { 400 } else { 403 }, "{scope}{filter}: {answer:?}");
    }
}

#[test]
fn the_model_knows_every_route_of_stock_that_asks_for_scopes() {
    let known: BTreeMap<String, Vec<&str>> = ROUTES.iter().fold(BTreeMap::new(), |mut known, route| {
        known.entry(route.method.to_owned()).or_default().push(route.path);
        known
    });
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.auth == Auth::Scopes && !endpoint.extension) {
        if endpoint.path.ends_with("/admin-access") {
            continue;
        }
        let fits = |path: &&&str| {
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            let segments: Vec<Segment> = endpoint.segments().collect();
            parts.len() == segments.len()
                && segments.iter().zip(&parts).all(|(segment, part)| match segment {
                    Segment::Literal(text) => text == part,
                    Segment::Param { .. } => true,
                })
        };
        let found = known.get(endpoint.method.as_str()).and_then(|paths| paths.iter().find(fits));
        assert!(found.is_some(), "{endpoint:?}");
    }
}

#[actix_web::test]
async fn users_of_a_configured_role_are_named_as_logins_are() {
    let test = TestHub::with(|config| {
        config.roles = vec![hub_config::RoleSection {
            name: "watchers".to_owned(),
            scopes: Some(vec!["list:users".to_owned()]),
            users: Some(vec!["Bob".to_owned()]),
            ..hub_config::RoleSection::default()
        }];
    })
    .await;
    let bob = test.user("bob").await;
    assert_eq!(bob.get("/users").await.code(), 200);
}
