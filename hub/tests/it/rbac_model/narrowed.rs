//! What a token allows is what it asks for, as far as its owner holds it at that moment; and filters and scopes whose
//! meaning depends on the token or the site.

use himalia::rbac::HUB_CLIENT;
use hub_config::{CustomScopeSection, RoleSection, ServiceSection};
use hub_core::secret::random_hex32;
use hub_db::repo;
use serde_json::json;

use super::model::{Expected, expanded, expected_of_narrowed, seen};
use super::routes::{On, ROUTES};
use super::{new_token, send};
use crate::support::{Client, TestHub};

const SCOPES: [&str; 7] =
    ["users", "list:users", "servers", "read:servers", "tokens", "groups", "admin:services"];
const FILTERS: [&str; 6] =
    ["", "!user=ada", "!user=bob", "!server=ada/lab", "!group=maths", "!service=watch"];

/// A hub on which users hold nothing but what a test gives them.
pub(super) async fn bare_hub() -> TestHub {
    let test = TestHub::with(|config| {
        config.roles =
            vec![RoleSection { name: "user".to_owned(), scopes: Some(Vec::new()), ..RoleSection::default() }];
    })
    .await;
    let root = test.root();
    root.post("/users", json!({ "usernames": ["bob"] })).await.holds(201);
    root.post("/groups/maths/users", json!({ "users": ["root"] })).await.holds(200);
    root.put("/users/ada/servers/lab", None).await.holds(201);
    test
}

/// A token that some client has for somebody.
async fn token(test: &TestHub, owner: &str, client: &str, scope: &str) -> Client {
    let text = random_hex32();
    let tx = test.hub.db.begin().await.unwrap();
    let owner = repo::users::by_name(&tx, owner).await.unwrap().unwrap();
    let new = new_token(owner.id, client, scope.to_owned());
    repo::tokens::create(&tx, &text, new, test.hub.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
    test.bearer(&text)
}

#[actix_web::test]
async fn a_token_allows_no_more_than_its_owner_holds_and_no_more_than_it_asks_for() {
    let test = bare_hub().await;
    let mut wrong = Vec::new();
    let mut asked = 0;
    for (number, scope) in SCOPES.iter().enumerate() {
        let routes: Vec<_> = ROUTES
            .iter()
            .filter(|route| route.scopes.iter().any(|wanted| expanded(scope, "").contains(*wanted)))
            .collect();
        for owned in FILTERS {
            let place = FILTERS.iter().position(|known| *known == owned).unwrap();
            let owner: &'static str = format!("owner{number}{place}").leak();
            test.user_with(owner, &[&format!("{scope}{owned}")]).await;
            for wanted in FILTERS {
                let client = token(&test, owner, HUB_CLIENT, &format!("{scope}{wanted}")).await;
                for route in &routes {
                    let (asked_for, held) = (expanded(scope, wanted), expanded(scope, owned));
                    let expected = expected_of_narrowed(&asked_for, owner, &held, route);
                    let answer = send(&client, route).await;
                    asked += 1;
                    // A list under a filter that is none for it is refused without a text.
                    let foreign = route.on == On::Some
                        && expected == Expected::Allowed
                        && answer.code() == 403
                        && answer.json()["message"].is_null();
                    if seen(&answer) != expected && !foreign {
                        wrong.push(format!(
                            "{} {} with {scope}{wanted} of one with {scope}{owned}: {expected:?}, {answer:?}",
                            route.method, route.path
                        ));
                    }
                }
            }
        }
    }
    assert!(asked > 1_000, "{asked}");
    assert!(wrong.is_empty(), "{} of {asked} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[actix_web::test]
async fn what_an_owner_loses_their_tokens_lose_with_the_next_request() {
    let test = bare_hub().await;
    test.user_with("eve", &["read:servers"]).await;
    let eve = token(&test, "eve", HUB_CLIENT, "read:servers!user=ada").await;
    assert_eq!(eve.get("/users/ada/server").await.code(), 200);
    let tx = test.hub.db.begin().await.unwrap();
    let user = repo::users::by_name(&tx, "eve").await.unwrap().unwrap();
    let role = repo::roles::by_name(&tx, "role-of-eve").await.unwrap().unwrap();
    repo::roles::revoke(&tx, role.id, repo::roles::Holder::User(user.id)).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(seen(&eve.get("/users/ada/server").await), Expected::Lacking);
}

#[actix_web::test]
async fn a_filter_without_a_name_means_the_server_or_service_that_the_token_was_given_to() {
    let test = TestHub::with(|config| {
        config.services.push(ServiceSection {
            name: "board".to_owned(),
            url: Some("http://127.0.0.1:1".to_owned()),
            ..ServiceSection::default()
        });
    })
    .await;
    let root = test.root();
    root.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    root.put("/users/ada/servers/lab", None).await.holds(201);
    let of_server = token(&test, "root", "jupyterhub-user-ada", "read:servers!server").await;
    for (path, expected) in
        [("/users/ada/server", Expected::Allowed), ("/users/ada/servers/lab", Expected::Hidden)]
    {
        assert_eq!(seen(&of_server.get(path).await), expected, "{path}");
    }
    let of_service = token(&test, "root", "service-board", "read:services!service").await;
    for (path, expected) in [("/services/board", Expected::Allowed), ("/services/watch", Expected::Hidden)] {
        assert_eq!(seen(&of_service.get(path).await), expected, "{path}");
    }
    // Each is nothing for the other.
    for (client, scope, path) in [
        ("jupyterhub-user-ada", "read:services!service", "/services/board"),
        ("service-board", "read:servers!server", "/users/ada/server"),
    ] {
        let other = token(&test, "root", client, scope).await;
        assert_eq!(seen(&other.get(path).await), Expected::Lacking, "{client} {scope}");
    }
    root.delete("/users/ada/server", None).await.is_empty(204, "");
}

#[actix_web::test]
async fn scopes_of_the_site_are_held_filtered_and_narrowed_as_any_other() {
    let test = TestHub::with(|config| {
        for (name, parts) in [("custom:exam:read", &[][..]), ("custom:exam", &["custom:exam:read"])] {
            let section = CustomScopeSection {
                description: format!("The use of {name}"),
                subscopes: parts.iter().map(ToString::to_string).collect(),
            };
            config.custom_scopes.insert(name.to_owned(), section);
        }
    })
    .await;
    test.user_with("eve", &["custom:exam!user=ada"]).await;
    test.user_with("dan", &["custom:exam:read"]).await;
    for (owner, wanted, scope, on, expected) in [
        ("eve", "custom:exam", "custom:exam", "ada", 200),
        ("eve", "custom:exam", "custom:exam:read", "ada", 200),
        ("eve", "custom:exam", "custom:exam:read", "root", 404),
        ("eve", "custom:exam:read", "custom:exam", "ada", 403),
        ("eve", "custom:exam!user=root", "custom:exam", "root", 403),
        ("dan", "custom:exam", "custom:exam", "ada", 403),
        ("dan", "custom:exam", "custom:exam:read", "ada", 200),
        ("dan", "custom:exam:read!group=maths", "custom:exam:read", "ada", 200),
        ("dan", "custom:exam:read!group=maths", "custom:exam:read", "root", 404),
        ("dan", "inherit", "custom:exam:read", "root", 200),
    ] {
        let client = token(&test, owner, HUB_CLIENT, wanted).await;
        let path = format!("/authorizations/scopes?scope={scope}&on_user={on}");
        let answer = client.get(&path).await.holds(200);
        assert_eq!(answer["decision"]["status"], expected, "{wanted} of {owner}, {scope} on {on}: {answer}");
    }
    // They open nothing of the hub's own.
    let client = token(&test, "dan", HUB_CLIENT, "custom:exam:read").await;
    assert_eq!(seen(&client.get("/users").await), Expected::Lacking);
}
