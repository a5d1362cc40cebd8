//! How the hub proves itself, and what is wrong with options.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub_core::{AuthenticatorContext, Identity, Refresh};
use serde_json::json;

use crate::provider::payload;
use crate::support::{Bench, build, context};

#[tokio::test]
async fn the_secret_goes_where_the_provider_wants_it() {
    for (document, chosen, in_header) in [
        (json!({}), None, true),
        (json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]}), None, false),
        (
            json!({"token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]}),
            None,
            true,
        ),
        (json!({}), Some("client_secret_post"), false),
    ] {
        let mut options = json!({});
        if let Some(way) = chosen {
            options["client_auth"] = json!(way);
        }
        let bench = Bench::with(options).await;
        bench.provider.bend(|knobs| knobs.document = document.clone());
        bench.login().await.unwrap();
        let (header, form) = bench.provider.last_request();
        assert_eq!(
            (header.is_some(), form.contains_key("client_secret")),
            (in_header, !in_header),
            "{document}"
        );
    }
}

#[tokio::test]
async fn further_fields_go_with_the_code_and_nothing_else() {
    let bench = Bench::with(json!({
        "token_params": {"resource": "https://graph.example", "grant_type": "password", "code": "another"},
        "token_exchange": {"store": {"audience": "store-api"}},
        "server_environment": {"STORE": "{exchanged.store}"},
    }))
    .await;
    let who = Identity { name: "ada".to_owned(), ..bench.login().await.unwrap() };
    bench.clock.pass(chrono::TimeDelta::minutes(5));
    assert!(matches!(bench.hub.refresh(&who, None, true).await, Ok(Refresh::Updated(_))));
    let mut seen = Vec::new();
    for (_, form) in bench.provider.requests() {
        let grant = form["grant_type"].rsplit(':').next().unwrap().to_owned();
        assert!(form.get("code").is_none_or(|code| code != "another"), "{form:?}");
        seen.push((grant, form.get("resource").map(String::as_str) == Some("https://graph.example")));
    }
    let expected = [
        ("authorization_code", true),
        ("token-exchange", false),
        ("refresh_token", false),
        ("token-exchange", false),
    ];
    assert_eq!(seen, expected.map(|(grant, with)| (grant.to_owned(), with)));
}

#[tokio::test]
async fn a_refresh_may_take_as_long_as_all_its_requests() {
    let takes = async |more: serde_json::Value| Bench::with(more).await.hub.refresh_takes();
    let plain = takes(json!({"http_timeout": "10s"})).await;
    assert!(plain >= Duration::from_secs(70), "{plain:?}");
    assert_eq!(takes(json!({"http_timeout": "20s"})).await, 2 * plain);
    let exchange = json!({
        "http_timeout": "10s", "token_exchange": {"store": {"audience": "store-api"}},
        "server_environment": {"STORE": "{exchanged.store}"},
    });
    assert!(takes(exchange).await >= plain + Duration::from_secs(10));
}

#[tokio::test]
async fn a_private_key_signs_a_statement_for_the_token_endpoint() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key.pem");
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pem = format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der.as_ref())
    );
    std::fs::write(&file, pem).unwrap();
    let bench = Bench::with(json!({
        "client_secret": "", "private_key_file": file, "private_key_alg": "ES256", "private_key_id": "key-1",
    }))
    .await;
    bench.login().await.unwrap();
    let (header, form) = bench.provider.last_request();
    assert!(header.is_none() && !form.contains_key("client_secret"));
    let claims = payload(&form["client_assertion"]);
    assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("hub"), Some("hub")));
    assert_eq!(claims["aud"], format!("{}/token", bench.provider.issuer()));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);

    std::fs::write(&file, "no key").unwrap();
    let options = json!({"issuer": "https://id.example", "client_id": "hub", "private_key_file": file});
    let error = build(options, &context(&bench.clock)).unwrap_err().to_string();
    assert!(error.starts_with("authenticator.oidc.private_key_file: "), "{error}");
}

#[tokio::test]
async fn every_problem_of_the_options_is_told_under_its_key() {
    let clock = Bench::new().await.clock;
    let cx = AuthenticatorContext {
        manage_groups: false,
        manage_roles: false,
        auth_state: false,
        ..context(&clock)
    };
    let keys = |options: serde_json::Value| {
        let error = build(options, &cx).unwrap_err();
        error
            .problems
            .into_iter()
            .map(|p| p.key.trim_start_matches("authenticator.oidc.").to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(keys(json!({})), ["authorize_url", "token_url", "userdata_url", "client_id"]);
    assert_eq!(
        keys(json!({
            "issuer": "http://id.example.org", "client_id": "hub", "signing_algs": ["RS256", "none", "HS256"],
            "client_auth": "client_secret_basic", "username_claim": "", "roles_claim": "roles",
            "admin_groups": ["a"], "allowed_groups": ["a"], "auth_state_groups_key": "oauth_user.groups",
            "required_claims": [{"claim": "hd", "values": []}], "allowed_email_domains": ["@example.org"],
            "clock_skew": "1h", "http_timeout": "5m", "back_channel_logout": true, "oauth_callback_url": "https://x/y",
        })),
        [
            "issuer",
            "oauth_callback_url",
            "client_secret",
            "signing_algs",
            "signing_algs",
            "username_claim",
            "required_claims",
            "roles_claim",
            "auth_state_groups_key",
            "allowed_groups",
            "admin_groups",
            "allowed_email_domains",
            "http_timeout",
            "clock_skew",
            "back_channel_logout",
        ]
    );
    assert_eq!(
        keys(json!({"issuer": "https://x", "client_id": "h", "alowed_groups": ["a"]})),
        ["alowed_groups"]
    );
    assert_eq!(keys(json!({"issuer": "https://x", "client_id": "h", "enable_pkce": false})), ["enable_pkce"]);
    assert!(build(json!({"issuer": "http://127.0.0.1:1", "client_id": "h"}), &cx).is_ok());
}

#[tokio::test]
async fn nothing_secret_is_in_the_debug_output() {
    let bench = Bench::new().await;
    bench.login().await.unwrap();
    let shown = format!("{:?}", Arc::clone(&bench.hub));
    assert!(!shown.contains("s3cret"), "{shown}");
}
