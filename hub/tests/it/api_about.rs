//! Version, health, metrics, details, proxy, shutdown, and who is behind a credential.

use actix_web::http::Method;
use futures_util::FutureExt as _;
use serde_json::{Value, json};

use crate::support::{ROOT, TestHub, WATCH};

#[actix_web::test]
async fn the_root_tells_the_version_with_and_without_slash() {
    let test = TestHub::start().await;
    for path in ["", "/"] {
        let answer = test.anonymous().get(path).await;
        answer.holds(200);
        assert_eq!(answer.text, "{\"version\": \"6.1.1\"}");
    }
}

#[actix_web::test]
async fn health_is_empty_for_get_and_head() {
    let test = TestHub::start().await;
    test.anonymous().get("/health").await.is_empty(200, "text/html");
    test.anonymous().call(Method::HEAD, "/health", None).await.is_empty(200, "text/html");
}

#[actix_web::test]
async fn metrics_are_labelled_with_stocks_handlers_and_can_be_opened() {
    let test = TestHub::start().await;
    test.root().get("/users").await.holds(200);
    let answer = test.root().get("/metrics").await;
    assert_eq!((answer.code(), answer.kind()), (200, "text/plain; version=1.0.0; charset=utf-8"));
    let label = "handler=\"jupyterhub.apihandlers.users.UserListAPIHandler\",method=\"GET\"";
    assert!(answer.text.contains(label), "{}", answer.text);
    let open = TestHub::with(|config| config.hub.authenticate_prometheus = false).await;
    assert_eq!(open.anonymous().get("/metrics").await.code(), 200);
    assert_eq!(open.anonymous().send(Method::GET, "/hub/metrics", None).await.code(), 200);
}

#[actix_web::test]
async fn info_names_the_plugins() {
    let test = TestHub::start().await;
    let info = test.root().get("/info").await.holds(200);
    assert_eq!(info["version"], "6.1.1");
    assert_eq!(info["spawner"]["class"], "tests.FakeSpawner");
    assert!(info["authenticator"]["class"].as_str().unwrap().ends_with("DummyAuthenticator"), "{info}");
    assert!(info["python"].is_string() && info["sys_executable"].is_string(), "{info}");
}

#[actix_web::test]
async fn the_proxys_routes_are_listed_and_checked() {
    let test = TestHub::start().await;
    let root = test.root();
    root.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let routes = root.get("/proxy").await.holds(200);
    assert_eq!(routes["/"]["routespec"], "/");
    assert_eq!(routes["/"]["data"]["hub"], true);
    assert_eq!(routes["/"]["data"].get("jupyterhub"), None);
    let route = &routes["/user/ada/"];
    assert_eq!((&route["data"]["user"], &route["data"]["server_name"]), (&json!("ada"), &json!("")));
    let page = root
        .clone()
        .header("Accept", "application/jupyterhub-pagination+json")
        .get("/proxy?limit=1")
        .await
        .holds(200);
    assert_eq!(page["_pagination"]["total"], 2);
    assert_eq!(page["_pagination"]["next"]["url"], "http://hub.example/hub/api/proxy?limit=1&offset=1");
    assert_eq!(page["items"].as_object().unwrap().len(), 1);
    test.hub.routing.remove("/user/ada/").await.unwrap();
    root.post("/proxy", None).await.is_empty(200, "application/json");
    assert!(root.get("/proxy").await.json().get("/user/ada/").is_some());
}

#[actix_web::test]
async fn the_hub_has_the_route_that_the_configuration_gives_it() {
    let test = TestHub::with(|config| config.hub.hub_routespec = Some("hub/api".to_owned())).await;
    let root = test.root();
    root.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    root.post("/proxy", None).await.is_empty(200, "application/json");
    let routes = root.get("/proxy").await.holds(200);
    let routes: Vec<&String> = routes.as_object().unwrap().keys().collect();
    assert_eq!(routes, ["/hub/api/", "/user/ada/"]);
}

#[actix_web::test]
async fn requests_for_what_there_is_not_have_stocks_labels() {
    let test = TestHub::start().await;
    for path in ["/hub/", "/hub/api/nowhere", "/hub/nowhere", "/elsewhere", "/user/ada"] {
        test.anonymous().send(Method::GET, path, None).await;
    }
    let text = test.root().get("/metrics").await.text;
    for (handler, code) in [
        ("jupyterhub.handlers.pages.RootHandler", 302),
        ("jupyterhub.apihandlers.base.API404", 404),
        ("jupyterhub.handlers.base.Template404", 404),
        ("jupyterhub.handlers.base.PrefixRedirectHandler", 302),
        ("jupyterhub.handlers.base.AddSlashHandler", 301),
    ] {
        let series = format!(
            "jupyterhub_request_duration_seconds_count{{code=\"{code}\",handler=\"{handler}\",method=\"GET\"}} 1"
        );
        assert!(text.contains(&series), "{series} not in\n{text}");
    }
}

#[actix_web::test]
async fn a_proxy_inside_the_hub_cannot_be_moved() {
    let test = TestHub::start().await;
    let root = test.root();
    root.patch("/proxy", None).await.fails(400, "need JSON body");
    root.patch("/proxy", json!([])).await.fails(400, "Request body must be JSON dict");
    let answer = root.patch("/proxy", json!({"api_url": "http://127.0.0.1:1"})).await;
    answer.fails(400, "The proxy of this hub runs inside it and cannot be moved.");
}

#[actix_web::test]
async fn shutdown_is_asked_for_once_the_body_makes_sense() {
    let test = TestHub::start().await;
    let root = test.root();
    root.post("/shutdown", json!({"proxy": "x"})).await.fails(400, "proxy must be true or false, got 'x'");
    let inside =
        "The proxy of this hub runs inside it and ends with it: leave out \"proxy\", or run them apart.";
    root.post("/shutdown", json!({"servers": false, "proxy": false})).await.fails(400, inside);
    let mut signals = himalia::app::shutdown::Signals::begin();
    assert!(
        himalia::app::shutdown::wait(&test.hub, &mut signals).now_or_never().is_none(),
        "what is refused ends nothing"
    );
    let answer = root.post("/shutdown", json!({"servers": false, "proxy": true})).await;
    assert_eq!(answer.holds(202), json!({"message": "Shutting down Hub"}));
    let reason = himalia::app::shutdown::wait(&test.hub, &mut signals).await;
    assert_eq!(reason, himalia::app::shutdown::Reason::Asked);
}

#[actix_web::test]
async fn everybody_learns_who_they_are() {
    let test = TestHub::start().await;
    let me = test.token("ada", &["read:users:activity!user"]).await.get("/user").await.holds(200);
    assert_eq!((&me["kind"], &me["name"], &me["groups"]), (&json!("user"), &json!("ada"), &json!(["maths"])));
    assert!(me["token_id"].as_str().unwrap().starts_with('a'), "{me}");
    assert_eq!(me["session_id"], Value::Null);
    let scopes: Vec<&str> = me["scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect();
    assert!(scopes.contains(&"read:users:activity!user=ada"), "{scopes:?}");
    assert!(scopes.is_sorted(), "{scopes:?}");
    assert_eq!(me.get("created"), None, "{me}");

    let service = test.bearer(WATCH).get("/user").await.holds(200);
    let expected =
        json!({"kind": "service", "name": "watch", "admin": false, "session_id": null, "scopes": []});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&service[key], value, "{service}");
    }
    let browser = test.browser("ada", false).await.get("/user").await.holds(200);
    assert_eq!((&browser["token_id"], &browser["session_id"]), (&Value::Null, &Value::Null));
    test.anonymous().get("/user").await.fails(403, None::<String>);
}

#[actix_web::test]
async fn the_deprecated_endpoints_tell_owners_to_tokens_only() {
    let test = TestHub::start().await;
    test.user("ada").await;
    let watch = test.bearer(WATCH);
    let owner = watch.get(&format!("/authorizations/token/{ROOT}")).await.holds(200);
    assert_eq!((&owner["name"], owner.get("created")), (&json!("root"), None));
    watch.get("/authorizations/token/nonsense").await.fails(404, None::<String>);
    let browser = test.browser("root", true).await;
    browser.get(&format!("/authorizations/token/{ROOT}")).await.fails(403, None::<String>);
    let gone = "Deprecated endpoint /hub/api/authorizations/token is removed in JupyterHub 2.0. Use \
                /hub/api/users/:user/tokens instead.";
    test.anonymous().post("/authorizations/token", None).await.fails(404, gone);

    let user = hub_db::repo::users::by_name(test.hub.db.conn(), "ada").await.unwrap().unwrap();
    let cookie = test.hub.sessions.sign("jupyterhub-hub-login", &user.cookie_id);
    let value = hub_core::names::escape_client_part(&cookie);
    let root = test.root();
    let found = root.get(&format!("/authorizations/cookie/jupyterhub-hub-login/{value}")).await.holds(200);
    assert_eq!(found["name"], "ada");
    let path = "/hub/api/authorizations/cookie/jupyterhub-hub-login";
    let found = root.send(Method::GET, path, Some(cookie.as_bytes())).await.holds(200);
    assert_eq!(found["name"], "ada");
    root.get("/authorizations/cookie/jupyterhub-hub-login/x").await.fails(404, None::<String>);
}
