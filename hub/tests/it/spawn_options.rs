//! What a person chooses on the way to a server: in the address, in a form, in a file. What is kept of it.

use actix_web::http::Method;
use himalia::servers::ServerSettings;
use hub_config::{GroupOverride, OptionsFromForm};
use hub_core::SpawnError;
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestHub};

/// The options of ada's server, which has been started by a page, and which is stopped again.
async fn kept(test: &TestHub, answer: &Answer) -> Value {
    assert_eq!(
        (answer.code(), answer.header("location")),
        (302, Some("/hub/spawn-pending/ada")),
        "{answer:?}"
    );
    let server = test.root().get("/users/ada/server").await.holds(200);
    test.root().delete("/users/ada/server", None).await;
    server["user_options"].clone()
}

async fn open(ada: &Client, query: &str) -> Answer {
    ada.send(Method::GET, &format!("/hub/spawn?{query}"), None).await
}

#[actix_web::test]
async fn options_of_an_address_are_kept() {
    let test = TestHub::start().await;
    let ada = test.browser("ada", false).await;
    let answer = open(&ada, "opt-a=1&opt-a=2&opt-b=x%20y").await;
    assert_eq!(kept(&test, &answer).await, json!({"a": ["1", "2"], "b": ["x y"]}));
    // Without the mark all count that are not the hub's own; the next start has those of the one before.
    let old = open(&ada, "plain=1&display_name=X").await;
    assert!(old.header("location").unwrap().starts_with("/hub/spawn-pending/ada?"), "{old:?}");
    let server = test.root().get("/users/ada/server").await.holds(200);
    assert_eq!(server["user_options"], json!({"plain": ["1"]}));
    test.root().delete("/users/ada/server", None).await;
    let answer = open(&ada, "").await;
    assert_eq!(kept(&test, &answer).await, json!({"plain": ["1"]}));
    assert_eq!(open(&ada, "opt-=1").await.code(), 422);
}

#[actix_web::test]
async fn fields_and_files_of_a_form_are_kept_as_stock_keeps_them() {
    let test = TestHub::start().await;
    let ada = test.browser("ada", false).await;
    let form = ada.clone().header("Content-Type", "application/x-www-form-urlencoded");
    let answer = form.send(Method::POST, "/hub/spawn", Some(b"a=1&a=2&b=&_xsrf=x&display_name=n")).await;
    assert_eq!(kept(&test, &answer).await, json!({"a": ["1", "2"], "b": [""]}));

    let part = |head: &str, content: &str| {
        format!("--cut\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n")
    };
    let body = [
        part("name=\"a\"", "\u{e9}"),
        part("name=\"up\"; filename=\"n.txt\"\r\nContent-Type: text/plain", "some text"),
        part("name=\"up\"; filename=\"raw\"", ""),
        part("name=\"none\"; filename=\"\"", ""),
        "--cut--\r\n".to_owned(),
    ]
    .concat();
    let parts = ada.clone().header("Content-Type", "multipart/form-data; boundary=cut");
    let answer = parts.send(Method::POST, "/hub/spawn", Some(body.as_bytes())).await;
    let file = |name: &str, data: &str, kind: &str| json!({"filename": name, "body": {"__jupyterhub_bytes__": true, "data": data}, "content_type": kind});
    let files = [file("n.txt", "c29tZSB0ZXh0\n", "text/plain"), file("raw", "", "application/unknown")];
    assert_eq!(kept(&test, &answer).await, json!({"a": ["\u{e9}"], "none": [""], "up_file": files}));

    let stranger = test.anonymous().header("Content-Type", "multipart/form-data; boundary=cut");
    assert_eq!(stranger.send(Method::POST, "/hub/spawn", Some(body.as_bytes())).await.code(), 403);
}

#[actix_web::test]
async fn simple_forms_make_texts_and_truths_of_single_values() {
    let test = TestHub::with(|config| config.spawner.options_from_form = OptionsFromForm::Simple).await;
    let ada = test.browser("ada", false).await;
    let answer = open(&ada, "opt-a=1&opt-a=2&opt-b=x&opt-tick=on").await;
    let query = json!({"a": ["1", "2"], "b": "x", "tick": true});
    assert_eq!(kept(&test, &answer).await, query);
    // What programs say stays as it is.
    test.root()
        .post("/users/ada/server", json!({"user_options": {"b": ["x"]}}))
        .await
        .is_empty(201, "text/plain");
    assert_eq!(test.root().get("/users/ada/server").await.json()["user_options"], json!({"b": ["x"]}));
}

/// The settings of a start for the groups and options of somebody.
fn start(test: &TestHub, groups: &[&str], options: &Value) -> Result<ServerSettings, SpawnError> {
    let groups: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let settings = test.hub.servers.usual_settings();
    settings.for_start(&groups, options.as_object().unwrap()).map(std::borrow::Cow::into_owned)
}

#[actix_web::test]
async fn groups_and_choices_change_a_start_as_the_configuration_says() {
    let changes = |text: &str| -> GroupOverride { toml::from_str(text).unwrap() };
    let test = TestHub::with(|config| {
        let spawner = &mut config.spawner;
        spawner.environment.insert("KEPT".to_owned(), "1".to_owned());
        spawner.environment.insert("GONE".to_owned(), "1".to_owned());
        spawner.mem_limit = Some(1 << 20);
        spawner.apply_user_options.insert("size".to_owned(), "mem_limit".to_owned());
        let later = "groups = [\"b\", \"c\"]\nspawner_override = { mem_limit = \"2G\", environment = { WHO = \"b\" } }";
        spawner.group_overrides.insert("02".to_owned(), changes(later));
        let first = "groups = [\"a\"]\nspawner_override = { default_url = \"/a\", environment = { WHO = \"a\", GONE = \"!none\" } }";
        spawner.group_overrides.insert("01".to_owned(), changes(first));
    })
    .await;
    let none = start(&test, &[], &json!({"other": 1})).unwrap();
    assert_eq!((none.resources.mem_limit, none.env.environment.len()), (Some(1 << 20), 2));
    let chosen = start(&test, &["d"], &json!({"size": "3M"})).unwrap();
    assert_eq!(chosen.resources.mem_limit, Some(3 << 20));
    let both = start(&test, &["a", "c"], &json!({"size": "3M"})).unwrap();
    assert_eq!(both.resources.mem_limit, Some(3 << 20), "choices come after groups");
    assert_eq!(start(&test, &["b"], &json!({})).unwrap().resources.mem_limit, Some(2 << 30));
    let texts: Vec<(&str, &str)> =
        both.env.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!((both.env.default_url.as_str(), texts), ("/a", vec![("KEPT", "1"), ("WHO", "b")]));

    let ada = test.user("ada").await;
    let body = json!({"user_options": {"size": "huge"}});
    ada.post("/users/ada/server", body).await.fails(400, "Invalid user options");
    ada.post("/users/ada/server", json!({"user_options": {"size": "1G"}})).await.is_empty(201, "text/plain");
}
