//! Tokens that must not be believed: each is refused, for its own reason.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::provider::Sign;
use crate::support::Bench;

#[tokio::test]
async fn an_id_token_with_a_wrong_claim_is_refused_with_the_reason() {
    let now = 1_800_000_000;
    for (claims, reason) in [
        (json!({"nonce": "another"}), "nonce"),
        (json!({"nonce": null}), "nonce"),
        (json!({"iss": "https://evil.example"}), "another issuer"),
        (json!({"iss": null}), "no iss"),
        (json!({"aud": "another-client"}), "another audience"),
        (json!({"aud": null}), "another audience"),
        (json!({"aud": ["hub", "other"]}), "azp"),
        (json!({"aud": ["hub", "other"], "azp": "other"}), "azp"),
        (json!({"azp": "other"}), "azp"),
        (json!({"exp": now - 31}), "expired"),
        (json!({"exp": null}), "no exp"),
        (json!({"exp": "tomorrow"}), "no exp"),
        (json!({"iat": now + 31}), "not valid yet"),
        (json!({"nbf": now + 31}), "not valid yet"),
        (json!({"iat": null}), "no iat"),
        (json!({"sub": null}), "no sub"),
        (json!({"sub": ""}), "no sub"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "at_hash"),
    ] {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| knobs.id_token = claims.clone());
        let refusal = bench.refusal().await.unwrap_or_else(|| panic!("{claims} was accepted"));
        assert!(refusal.contains(reason), "{claims}: {refusal}");
        assert!(!refusal.contains("eyJ"), "no token in the log: {refusal}");
    }
}

#[tokio::test]
async fn clocks_may_differ_a_little_and_tokens_may_name_several_audiences() {
    let now = 1_800_000_000;
    for claims in [
        json!({"exp": now - 29}),
        json!({"iat": now + 29, "nbf": now + 29}),
        json!({"exp": 1.800_000_5e9}),
        json!({"aud": ["other", "hub"], "azp": "hub"}),
        json!({"at_hash": null}),
    ] {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| knobs.id_token = claims.clone());
        assert_eq!(bench.refusal().await, None, "{claims}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_signed_by_the_provider_is_refused_with_the_reason() {
    for (sign, reason) in [
        (Sign::None, "algorithm \"none\""),
        (Sign::HsWithPublicKey, "algorithm \"HS256\""),
        (Sign::OtherKey, "signature"),
        (Sign::UnknownKey, "does not publish"),
        (Sign::Critical, "critical"),
    ] {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| knobs.sign = sign);
        let refusal = bench.refusal().await.unwrap_or_else(|| panic!("{sign:?} was accepted"));
        assert!(refusal.contains(reason), "{sign:?}: {refusal}");
    }
}

#[tokio::test]
async fn an_algorithm_that_the_configuration_leaves_out_is_refused() {
    let bench = Bench::with(json!({"signing_algs": ["RS256"]})).await;
    let refusal = bench.refusal().await.unwrap();
    assert!(refusal.contains("algorithm \"ES256\""), "{refusal}");
}

#[tokio::test]
async fn what_is_no_token_at_all_is_refused() {
    let long = format!("{}.e30.x", "A".repeat(70_000));
    for token in ["", "x", "a.b", "a.b.c.d", "....", "%%%.e30.x", &long] {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| knobs.token = json!({"id_token": token}));
        assert!(bench.refusal().await.is_some(), "{token:.20}");
    }
    let bench = Bench::new().await;
    bench.provider.bend(|knobs| knobs.token = json!({"id_token": null}));
    assert!(bench.refusal().await.unwrap().contains("id_token"));
}

#[tokio::test]
async fn new_keys_are_found_and_forged_key_ids_do_not_make_the_hub_ask_and_ask() {
    let bench = Bench::new().await;
    let asked = || bench.provider.counts().jwks.load(Ordering::SeqCst);
    bench.login().await.unwrap();
    bench.login().await.unwrap();
    assert_eq!(asked(), 1);
    bench.clock.pass(TimeDelta::seconds(11));
    bench.provider.rotate_keys();
    bench.login().await.unwrap();
    assert_eq!(asked(), 2);
    bench.provider.bend(|knobs| knobs.sign = Sign::UnknownKey);
    bench.clock.pass(TimeDelta::seconds(11));
    for _ in 0..20 {
        assert!(bench.login().await.is_err());
    }
    assert_eq!(asked(), 3, "one request in ten seconds, however many tokens name unknown keys");
}

#[tokio::test]
async fn user_data_must_be_about_the_person_of_the_id_token() {
    for (userinfo, reason) in
        [(json!({"sub": "somebody-else"}), "another subject"), (json!({"sub": null}), "no sub")]
    {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| knobs.userinfo = userinfo.clone());
        let refusal = bench.refusal().await.unwrap();
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[tokio::test]
async fn when_user_data_cannot_be_had_nobody_gets_in() {
    for (status, reason) in
        [(403, "refused"), (500, "did not answer"), (404, "did not answer"), (302, "refused")]
    {
        let bench = Bench::with(json!({"allowed_groups": ["g"]})).await;
        bench.provider.bend(|knobs| knobs.userinfo_status = status);
        let refusal = bench.refusal().await.unwrap();
        assert!(refusal.contains(reason), "{status}: {refusal}");
    }
}

#[tokio::test]
async fn signed_user_data_are_checked() {
    let signed = |claims: Value, sign: Sign| async move {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| {
            knobs.signed_userinfo = true;
            knobs.userinfo = claims;
        });
        // the id_token stays right: only what comes later is bent
        let mut browser = crate::support::Browser::default();
        let back = bench.provider.approve(&browser.leave(&bench).await.unwrap());
        if sign != Sign::Right {
            let hub = &bench.hub;
            let who = bench.login().await.unwrap();
            bench.provider.bend(|knobs| knobs.sign = sign);
            return hub
                .refresh(&hub_core::Identity { name: "ada".to_owned(), ..who }, None, false)
                .await
                .map(|step| format!("{step:?}"));
        }
        browser.come_back(&bench, back).await.map(|(who, _)| who.name)
    };
    assert_eq!(signed(json!({}), Sign::Right).await.unwrap(), "Ada");
    assert_eq!(signed(json!({"aud": "hub"}), Sign::Right).await.unwrap(), "Ada");
    let error = signed(json!({"aud": "other"}), Sign::Right).await.unwrap_err().to_string();
    assert!(error.contains("another audience"), "{error}");
    let error = signed(json!({"iss": "https://evil.example"}), Sign::Right).await.unwrap_err().to_string();
    assert!(error.contains("another issuer"), "{error}");
    let step = signed(json!({}), Sign::OtherKey).await.unwrap();
    assert_eq!(
        step, "Alone",
        "an answer with a wrong signature is not believed; the tokens are renewed first"
    );
}

#[tokio::test]
async fn user_data_from_the_id_token_need_no_second_request() {
    let bench = Bench::with(json!({"userdata_from_id_token": true})).await;
    bench.provider.bend(|knobs| knobs.id_token = json!({"groups": ["g"]}));
    let who = bench.login().await.unwrap();
    assert_eq!(who.groups, Some(vec!["g".to_owned()]));
    assert_eq!(who.auth_state.unwrap()["oauth_user"]["preferred_username"], "Ada");
    assert_eq!(bench.provider.counts().userinfo.load(Ordering::SeqCst), 0);
}
