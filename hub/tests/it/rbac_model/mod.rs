//! Every route, asked with every scope under every filter, beside a naive model of who may do what.
//!
//! The model is a table of its own, written down from JupyterHub's documentation and not from ours, and knows scopes as
//! texts only. A handler that forgets to ask, or asks for the wrong thing, answers differently from it.

mod model;
mod narrowed;
mod pages;
mod routes;

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::Method as HttpMethod;
use himalia::rbac::HUB_CLIENT;
use hub_core::secret::random_hex32;
use hub_core::token::GENERATED_ROUNDS;
use hub_db::repo;
use hub_db::repo::tokens::NewToken;
use jupyterhub_api_compat::endpoints::{Auth, ENDPOINTS, Segment};
use serde_json::{Value, json};

use self::model::{CONTAINED, Expected, FILTERS, allows, expected, held, seen};
use self::routes::{EXTENSIONS, On, ROUTES, Route, WITH_EFFECT};
use crate::support::{Answer, Client, TestHub};

fn new_token(owner: i32, client: &str, scope: String) -> NewToken {
    NewToken {
        owner: repo::Owner::User(owner),
        rounds: GENERATED_ROUNDS,
        client_id: client.to_owned(),
        scopes: vec![scope],
        note: String::new(),
        session_id: None,
        expires_at: None,
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
            let new = new_token(owner.id, HUB_CLIENT, format!("{scope}{filter}"));
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

#[actix_web::test]
async fn extensions_ask_for_the_scopes_that_the_documentation_names() {
    let test = TestHub::start().await;
    let clients = clients(&test).await;
    for (route, look_at_all) in
        EXTENSIONS.iter().map(|route| (route, true)).chain(WITH_EFFECT.iter().map(|route| (route, false)))
    {
        let mut refused = 0;
        for (scope, filter, client) in &clients {
            let expected = expected(&held(scope, filter), route);
            refused += usize::from(expected != Expected::Allowed);
            if look_at_all || expected != Expected::Allowed {
                let answer = send(client, route).await;
                assert_eq!(seen(&answer), expected, "{route:?} with {scope}{filter}: {answer:?}");
            }
        }
        assert!((1..clients.len()).contains(&refused), "{route:?}: {refused} refused");
    }
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
fn the_model_knows_every_route_that_asks_for_scopes() {
    let known: BTreeMap<String, Vec<(&str, bool)>> =
        [(ROUTES, false), (EXTENSIONS, true), (WITH_EFFECT, true)]
            .into_iter()
            .flat_map(|(routes, extension)| routes.iter().map(move |route| (route, extension)))
            .fold(BTreeMap::new(), |mut known, (route, extension)| {
                known.entry(route.method.to_owned()).or_default().push((route.path, extension));
                known
            });
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.auth == Auth::Scopes) {
        let fits = |(path, extension): &&(&str, bool)| {
            let parts: Vec<&str> = path.split('/').skip(1).collect();
            let segments: Vec<Segment> = endpoint.segments().collect();
            *extension == endpoint.extension
                && parts.len() == segments.len()
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
