//! Why a credential allows what it allows.

use serde_json::{Value, json};

use crate::support::{TestHub, WATCH};

/// The ways to a scope, as `KIND:ROLE:GROUP path > path`.
fn ways(explanation: &Value, scope: &str) -> Vec<String> {
    let scopes = explanation["scopes"].as_array().unwrap();
    let reasons = scopes.iter().find(|one| one["scope"] == scope).unwrap_or_else(|| panic!("{scope}"));
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    reasons["because"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| {
            let source =
                &explanation["sources"][usize::try_from(reason["source"].as_u64().unwrap()).unwrap()];
            let path: Vec<String> = reason["path"].as_array().unwrap().iter().map(text).collect();
            let (kind, role, group) = (text(&source["kind"]), text(&source["role"]), text(&source["group"]));
            format!("{kind}:{role}:{group} {}", path.join(" > "))
        })
        .collect()
}

#[actix_web::test]
async fn every_scope_is_led_back_to_its_roles() {
    let test = TestHub::start().await;
    let ada = test.user_with("ada", &["admin:groups!group=maths"]).await;
    let explanation = ada.get("/authorizations/scopes").await.holds(200);
    assert_eq!((&explanation["kind"], &explanation["name"]), (&json!("user"), &json!("ada")));
    assert_eq!(explanation["token"]["scopes"], json!(["inherit"]));
    assert_eq!(ways(&explanation, "start:servers!user=ada"), ["role:user:- self > servers > start:servers"]);
    assert_eq!(
        ways(&explanation, "read:groups!group=maths"),
        ["role:role-of-ada:- admin:groups!group=maths > groups > read:groups"]
    );
    let who = ada.get("/user").await.holds(200);
    let explained: Vec<Value> =
        explanation["scopes"].as_array().unwrap().iter().map(|one| one["scope"].clone()).collect();
    let mut held: Vec<String> =
        who["scopes"].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect();
    held.sort();
    assert_eq!(Value::from(explained), json!(held), "neither more nor less than what the token allows");
    for reasons in explanation["scopes"].as_array().unwrap() {
        assert_ne!(reasons["because"], json!([]), "{reasons}");
    }
}

#[actix_web::test]
async fn a_question_is_answered_as_a_call_would_be() {
    let test = TestHub::start().await;
    let ada = test.user("ada").await;
    let ask = async |question: &str| {
        let answer = ada.get(&format!("/authorizations/scopes?{question}")).await.holds(200);
        let decision = answer["decision"].clone();
        (decision["allowed"].as_bool().unwrap(), decision["status"].as_u64().unwrap())
    };
    assert_eq!(ask("scope=read:users&on_user=ada").await, (true, 200));
    assert_eq!(ask("scope=read:users&on_user=bob").await, (false, 404));
    assert_eq!(ask("scope=read:users").await, (false, 403));
    assert_eq!(ask("scope=start:servers&on_user=ada&on_server=lab").await, (true, 200));
    assert_eq!(ask("scope=groups&on_group=maths").await, (false, 403));
    for wrong in ["scope=no", "on_user=ada", "scope=groups&on_group=a&on_user=b", "scope=servers&on_server=x"]
    {
        assert_eq!(ada.get(&format!("/authorizations/scopes?{wrong}")).await.code(), 400, "{wrong}");
    }
    let none = test.bearer(WATCH).get("/authorizations/scopes").await.holds(200);
    assert_eq!((&none["kind"], &none["decision"]), (&json!("service"), &Value::Null));
    test.anonymous().get("/authorizations/scopes").await.fails(403, None::<String>);
}

#[actix_web::test]
async fn a_token_shows_what_it_asks_for_in_vain() {
    let test = TestHub::start().await;
    test.token("ada", &["read:users!user=ada", "admin:users"]).await;
    let tokens = test.root().get("/users/ada/tokens").await.holds(200);
    let id = tokens["api_tokens"][0]["id"].as_str().unwrap().to_owned();
    let explanation = test.root().get(&format!("/users/ada/tokens/{id}/scopes")).await.holds(200);
    assert_eq!(explanation["token"]["id"], json!(id));
    assert!(explanation["withheld"].as_array().unwrap().contains(&json!("admin:users")), "{explanation}");
    assert_eq!(
        ways(&explanation, "read:users:name!user=ada").first().unwrap(),
        "role:user:- self > read:users > read:users:name"
    );
    test.root().get("/users/ada/tokens/a999/scopes").await.fails(404, "No such token a999 for user ada");
    test.user("bob")
        .await
        .get(&format!("/users/ada/tokens/{id}/scopes"))
        .await
        .fails(404, "No access to resources or resources not found");
}
