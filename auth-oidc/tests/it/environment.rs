//! Tokens of people in the environment of their servers.

use chrono::TimeDelta;
use hub_core::{AuthenticatorContext, Clock as _, Identity};
use serde_json::json;

use crate::support::{Bench, build, context};

#[tokio::test]
async fn servers_get_the_token_that_holds_and_none_that_has_ended() {
    let bench = Bench::with(json!({
        "server_environment": {"TOKEN": "{access_token}", "END": "at {expires_at}", "JSON": "{\"t\": \"{id_token}\"}"},
    }))
    .await;
    assert_eq!(bench.hub.spawn_hooks().len(), 1);
    let who = bench.login().await.unwrap();
    let state = who.auth_state.clone().unwrap();
    let variables = bench.hub.server_environment(&who);
    assert_eq!(variables["TOKEN"], state["access_token"]);
    assert_eq!(variables["END"], format!("at {}", state["token_response"]["expires_at"]));
    assert_eq!(variables["JSON"], json!({"t": state["id_token"]}).to_string().replace(':', ": "));
    bench.clock.pass(TimeDelta::minutes(5));
    assert!(bench.hub.server_environment(&who).is_empty(), "the token has ended");
    assert!(bench.hub.server_environment(&Identity { auth_state: None, ..who }).is_empty());
}

#[tokio::test]
async fn variables_need_kept_tokens_and_names_that_can_be() {
    let bench = Bench::new().await;
    assert!(bench.hub.spawn_hooks().is_empty());
    let cx = AuthenticatorContext { auth_state: false, ..context(&bench.clock) };
    let options = json!({
        "issuer": bench.provider.issuer(), "client_id": "hub", "client_secret": "x",
        "server_environment": {"A-B": "", "1A": "", "": "", "GOOD_1": ""},
    });
    let problems = build(options, &cx).unwrap_err().problems;
    assert_eq!(problems.len(), 4, "{problems:?}");
    assert!(
        problems.iter().all(|problem| problem.key == "authenticator.oidc.server_environment"),
        "{problems:?}"
    );
}

fn for_a_store() -> serde_json::Value {
    json!({
        "token_exchange": {"store": {"audience": "store", "scope": ["read"]}, "other": {"audience": "other"}},
        "server_environment": {"STORE": "{exchanged.store}", "OTHER": "{exchanged.other}", "MINE": "{access_token}"},
    })
}

#[tokio::test]
async fn a_service_gets_a_token_of_its_own_in_exchange() {
    let bench = Bench::with(for_a_store()).await;
    // The name as the hub keeps it.
    let who = Identity { name: "ada".to_owned(), ..bench.login().await.unwrap() };
    let state = who.auth_state.clone().unwrap();
    let variables = bench.hub.server_environment(&who);
    assert!(variables["STORE"].starts_with("for-store-"), "{variables:?}");
    assert_eq!(variables["MINE"], state["access_token"]);
    assert!(!variables.contains_key("OTHER"), "what the provider refuses is left out: {variables:?}");
    let (_, asked) = bench.provider.last_request();
    assert_eq!(asked["scope"], "read");

    // The shortest life counts: 120 s, of which the last quarter is for the renewal.
    let fresh = bench.hub.fresh_until(&who).unwrap();
    assert_eq!(fresh, bench.clock.now() + TimeDelta::seconds(90));
    bench.clock.pass(TimeDelta::seconds(91));
    let renewed = match bench.hub.refresh(&who, None, true).await.unwrap() {
        hub_core::Refresh::Updated(renewed) => Identity { name: "ada".to_owned(), ..*renewed },
        other => panic!("{other:?}"),
    };
    let again = bench.hub.server_environment(&renewed);
    assert!(again["STORE"].starts_with("for-store-") && again["STORE"] != variables["STORE"]);
    bench.clock.pass(TimeDelta::seconds(121));
    assert!(
        !bench.hub.server_environment(&renewed).contains_key("STORE"),
        "the token of the service has ended"
    );
    assert!(bench.hub.server_environment(&renewed).contains_key("MINE"));
}

#[tokio::test]
async fn exchanges_are_named_used_and_bounded() {
    let bench = Bench::new().await;
    let mut many = serde_json::Map::new();
    for number in 0..9 {
        many.insert(format!("s{number}"), json!({"audience": "a"}));
    }
    let all = (0..9).map(|number| format!("{{exchanged.s{number}}}")).collect::<Vec<_>>().concat();
    for (exchange, variable, problems) in [
        (json!({"store": {"audience": "a"}}), "{exchanged.store}", 0),
        (json!({"store": {}}), "{exchanged.store}", 1),
        (json!({"store": {"audience": "a"}}), "x", 1),
        (json!({"a b": {"audience": "a"}}), "{exchanged.a b}", 1),
        (json!({}), "{exchanged.store}", 1),
        (json!(many), all.as_str(), 1),
    ] {
        let options = json!({
            "issuer": bench.provider.issuer(), "client_id": "hub", "client_secret": "x",
            "token_exchange": exchange, "server_environment": {"A": variable},
        });
        let found =
            build(options, &context(&bench.clock)).err().map(|error| error.problems).unwrap_or_default();
        assert_eq!(found.len(), problems, "{found:?}");
    }
}
