//! Tokens of people in the environment of their servers.

use chrono::TimeDelta;
use hub_core::{AuthenticatorContext, Identity};
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
