//! Logging out: of the hub and onwards, and by word of the provider.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use hub_core::testing::Log;
use hub_core::{AuthError, LoginRequest, LoginStep, Revocation};
use serde_json::{Value, json};
use url::Url;

use crate::provider::Sign;
use crate::support::{Bench, Browser};

const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";

async fn bench() -> Bench {
    Bench::with(json!({"back_channel_logout": true, "back_channel_stops_servers": true})).await
}

fn claims(bench: &Bench, id: &str) -> Value {
    json!({
        "iss": bench.provider.issuer(), "aud": "hub", "iat": 1_800_000_000, "exp": 1_800_000_120, "jti": id,
        "sub": "subject-1", "sid": "session-1", "events": {EVENT: {}},
    })
}

async fn post(bench: &Bench, token: String) -> Result<Revocation, AuthError> {
    let rq = LoginRequest {
        method: "POST".to_owned(),
        form: BTreeMap::from([("logout_token".to_owned(), token)]),
        ..LoginRequest::default()
    };
    match bench.hub.handle("backchannel_logout", &rq).await? {
        LoginStep::Revoke(revocation) => Ok(*revocation),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_logout_token_names_the_login_that_it_ends() {
    let bench = bench().await;
    let who = bench.login().await.unwrap();
    let account = bench.hub.account(&who).unwrap();
    assert_eq!((account.subject.as_str(), account.session.as_deref()), ("subject-1", Some("session-1")));
    for (id, kind) in [("1", Some("logout+jwt")), ("2", Some("JWT")), ("3", None)] {
        let revocation = post(&bench, bench.provider.sign(kind, &claims(&bench, id))).await.unwrap();
        assert!(revocation.concerns(&account) && revocation.stop_servers && !revocation.all_tokens);
    }
}

#[tokio::test]
async fn a_logout_token_that_is_wrong_in_any_way_ends_nothing() {
    let bench = bench().await;
    let (log, _guard) = Log::begin();
    for (index, (change, reason)) in [
        (json!({"iss": "https://evil.example"}), "token_issuer"),
        (json!({"aud": "other"}), "token_audience"),
        (json!({"iat": null}), "token_incomplete"),
        (json!({"iat": 1_799_999_000, "exp": null}), "token_expired"),
        (json!({"iat": 1_800_000_100}), "token_too_early"),
        (json!({"exp": 1_799_999_900}), "token_expired"),
        (json!({"jti": null}), "token_incomplete"),
        (json!({"events": null}), "token_no_logout_token"),
        (json!({"events": {}}), "token_no_logout_token"),
        (json!({"events": {EVENT: null}}), "token_no_logout_token"),
        (json!({"events": EVENT}), "token_no_logout_token"),
        (json!({"nonce": "n"}), "token_no_logout_token"),
        (json!({"sub": null, "sid": null}), "token_incomplete"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut claims = claims(&bench, &index.to_string());
        for (key, value) in change.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(key);
            } else {
                claims[key] = value.clone();
            }
        }
        let answer = post(&bench, bench.provider.sign(None, &claims)).await;
        assert!(matches!(answer, Err(AuthError::Again(_))), "{change}: {answer:?}");
        assert_eq!(log.reasons().last().map(String::as_str), Some(reason), "{change}");
    }
    let tried = log.reasons().len();
    let as_other = bench.provider.sign(Some("at+jwt"), &claims(&bench, "typ"));
    assert!(post(&bench, as_other).await.is_err());
    for sign in [Sign::None, Sign::HsWithPublicKey, Sign::OtherKey] {
        bench.provider.bend(|knobs| knobs.sign = sign);
        assert!(post(&bench, bench.provider.sign(None, &claims(&bench, "sign"))).await.is_err(), "{sign:?}");
    }
    assert!(post(&bench, String::new()).await.is_err());
    let signed = ["token_type", "token_algorithm", "token_algorithm", "token_signature", "token_malformed"];
    assert_eq!(log.reasons()[tried..], signed);
    let text = log.text();
    assert!(!text.contains("eyJ") && !text.contains("session-1"), "{text}");
}

#[tokio::test]
async fn neither_an_id_token_nor_a_used_logout_token_logs_anybody_out() {
    let bench = bench().await;
    let who = bench.login().await.unwrap();
    let id_token = who.auth_state.unwrap()["id_token"].as_str().unwrap().to_owned();
    assert!(post(&bench, id_token).await.is_err());
    let token = bench.provider.sign(None, &claims(&bench, "once"));
    assert!(post(&bench, token.clone()).await.is_ok());
    let (log, _guard) = Log::begin();
    assert!(post(&bench, token).await.is_err());
    assert_eq!(log.reasons(), ["token_replayed"]);
}

#[tokio::test]
async fn the_path_is_there_only_when_it_is_wanted_and_takes_posts_alone() {
    let without = Bench::new().await;
    assert!(without.hub.routes().iter().all(|route| route.path != "backchannel_logout"));
    assert!(post(&without, without.provider.sign(None, &claims(&without, "x"))).await.is_err());
    let bench = bench().await;
    let get = Browser::default().request("backchannel_logout", BTreeMap::new());
    assert!(bench.hub.handle("backchannel_logout", &get).await.is_err());
}

#[tokio::test]
async fn logging_out_goes_on_to_the_provider_with_a_hint() {
    let bench = Bench::new().await;
    let who = bench.login().await.unwrap();
    let rq = Browser::default().request("logout", BTreeMap::new());
    let url = bench.hub.logged_out(&who, &rq).await.unwrap().unwrap();
    let url = Url::parse(&url).unwrap();
    assert_eq!(url.path(), "/logout");
    let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
    assert_eq!(query["post_logout_redirect_uri"], "https://hub.example/notebooks/hub/logout");
    assert_eq!(query["client_id"], "hub");
    assert_eq!(query["id_token_hint"], who.auth_state.clone().unwrap()["id_token"].as_str().unwrap());

    let other = LoginRequest { of_another_session: true, ..rq.clone() };
    let url = Url::parse(&bench.hub.logged_out(&who, &other).await.unwrap().unwrap()).unwrap();
    assert!(url.query_pairs().all(|(name, _)| name != "id_token_hint"), "{url}");
    assert!(url.query_pairs().any(|(name, _)| name == "client_id"), "{url}");

    for (options, expected) in [
        (json!({"logout_redirect_url": "https://portal.example/bye"}), Some("https://portal.example/bye")),
        (json!({"single_logout": false}), None),
    ] {
        let bench = Bench::with(options).await;
        assert_eq!(bench.hub.logged_out(&who, &rq).await.unwrap().as_deref(), expected);
    }
}

#[tokio::test]
async fn old_logout_tokens_are_refused_by_their_age() {
    let bench = bench().await;
    let mut claims = claims(&bench, "old");
    claims.as_object_mut().unwrap().remove("exp");
    bench.clock.pass(TimeDelta::seconds(331));
    assert!(post(&bench, bench.provider.sign(None, &claims)).await.is_err());
}
