//! Every known way to get in as somebody else: refused, with a stable reason in the log, and with no secret in the log
//! or in what people read. The classes are those of the advisories about OAuthenticator and LTI, and of the security
//! considerations of OpenID Connect and RFC 9700.

use std::collections::BTreeMap;

use hub_core::testing::Log;
use hub_core::{Identity, Refresh};
use serde_json::{Value, json};

use crate::attempts::{holds_no_secret, refused, shown};
use crate::provider::Sign;
use crate::support::{Bench, Browser};

#[tokio::test]
async fn tricks_with_signatures_are_refused() {
    for (sign, reason) in [
        (Sign::None, "token_algorithm"),
        (Sign::HsWithPublicKey, "token_algorithm"),
        (Sign::HsWithPublicPem, "token_algorithm"),
        (Sign::OwnKeyInHeader, "token_signature"),
        (Sign::OtherKey, "token_signature"),
        (Sign::UnknownKey, "token_unknown_key"),
        (Sign::Critical, "token_critical"),
    ] {
        refused(reason, json!({}), |knobs| knobs.sign = sign).await;
    }
    refused("token_algorithm", json!({"signing_algs": ["RS256"]}), |_| {}).await;
    // "none" in other letters, and a signature of no bytes under an honest name
    let unsigned = |alg: &str| {
        use base64::Engine as _;
        let part = |value: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({"iss": "x", "aud": "hub", "sub": "boss"});
        format!("{}.{}.", part(json!({"alg": alg})), part(claims))
    };
    for (alg, reason) in [
        ("None", "token_algorithm"),
        ("nOnE", "token_algorithm"),
        ("", "token_algorithm"),
        ("ES256 ", "token_algorithm"),
        ("ES256", "token_signature"),
    ] {
        let token = unsigned(alg);
        refused(reason, json!({}), |knobs| knobs.token = json!({"id_token": token})).await;
    }
    refused("token_malformed", json!({}), |knobs| knobs.token = json!({"id_token": "a.b.c.d"})).await;
    refused("token_incomplete", json!({}), |knobs| knobs.token = json!({"id_token": null})).await;
}

#[tokio::test]
async fn tokens_for_others_of_others_and_of_other_times_are_refused() {
    let now = 1_800_000_000;
    for (claims, reason) in [
        (json!({"aud": "another-client"}), "token_audience"),
        (json!({"aud": ["another-client"]}), "token_audience"),
        (json!({"aud": "hub2"}), "token_audience"),
        (json!({"aud": {"hub": true}}), "token_audience"),
        (json!({"aud": ["hub", "other"]}), "token_authorized_party"),
        (json!({"azp": "other"}), "token_authorized_party"),
        (json!({"iss": "https://evil.example"}), "token_issuer"),
        (json!({"iss": "http://127.0.0.1"}), "token_issuer"),
        (json!({"exp": now - 30}), "token_expired"),
        (json!({"iat": now + 31}), "token_too_early"),
        (json!({"nbf": now + 31}), "token_too_early"),
        (json!({"nonce": null}), "token_nonce"),
        (json!({"nonce": "of-another-login"}), "token_nonce"),
        (json!({"sub": null}), "token_incomplete"),
        (json!({"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}), "token_access_token_hash"),
    ] {
        refused(reason, json!({}), |knobs| knobs.id_token = claims).await;
    }
}

#[tokio::test]
async fn what_was_used_once_does_not_work_twice() {
    let bench = Bench::new().await;
    let (log, _guard) = Log::begin();
    let mut browser = Browser::default();
    let location = browser.leave(&bench).await.unwrap();
    let back = bench.provider.approve(&location);
    let before = browser.clone();
    browser.come_back(&bench, back.clone()).await.unwrap();
    // the state again
    before.clone().come_back(&bench, back.clone()).await.unwrap_err();
    // the code again, with a state of its own
    let mut other = Browser::default();
    let mut mixed = bench.provider.approve(&other.leave(&bench).await.unwrap());
    mixed.insert("code".to_owned(), back["code"].clone());
    other.come_back(&bench, mixed).await.unwrap_err();
    // a state that no browser has, one of another browser, and none at all
    let stolen = bench.provider.approve(&Browser::default().leave(&bench).await.unwrap());
    let mut victim = Browser::default();
    victim.leave(&bench).await.unwrap();
    victim.clone().come_back(&bench, stolen).await.unwrap_err();
    victim.clone().come_back(&bench, BTreeMap::new()).await.unwrap_err();
    // a way back without a code
    let mut empty = Browser::default();
    let mut back = bench.provider.approve(&empty.leave(&bench).await.unwrap());
    back.remove("code");
    empty.come_back(&bench, back).await.unwrap_err();
    assert_eq!(
        log.reasons(),
        ["state_used", "provider_refused", "state_unknown", "state_unknown", "code_missing"]
    );
    holds_no_secret(&log, &bench, &before, "replays");
}

#[tokio::test]
async fn an_id_token_of_an_earlier_login_is_refused_by_its_nonce() {
    let bench = Bench::new().await;
    let who = bench.login().await.unwrap();
    let earlier = who.auth_state.unwrap()["id_token"].clone();
    bench.provider.bend(|knobs| knobs.token = json!({"id_token": earlier}));
    let (log, _guard) = Log::begin();
    bench.login().await.unwrap_err();
    assert_eq!(log.reasons(), ["token_nonce"]);
}

#[tokio::test]
async fn an_answer_that_names_another_provider_is_refused_before_the_code_is_sent() {
    for issuer in ["https://evil.example", "", "http://127.0.0.1:1"] {
        let bench = Bench::new().await;
        let (log, _guard) = Log::begin();
        let mut browser = Browser::default();
        let mut back = bench.provider.approve(&browser.leave(&bench).await.unwrap());
        back.insert("iss".to_owned(), issuer.to_owned());
        let before = browser.clone();
        browser.come_back(&bench, back).await.unwrap_err();
        assert_eq!(log.reasons(), ["answer_issuer"]);
        assert_eq!(bench.provider.counts().token.load(std::sync::atomic::Ordering::SeqCst), 0);
        holds_no_secret(&log, &bench, &before, issuer);
    }
}

#[tokio::test]
async fn an_account_of_another_identity_provider_behind_the_provider_is_refused() {
    let options = json!({
        "username_claim": "email",
        "required_claims": [{"claim": "idp", "values": ["https://idp.example.org/shibboleth"]}],
    });
    for idp in [
        json!("https://idp.evil.com/shibboleth"),
        json!("https://idp.example.org/shibboleth/"),
        json!("https://idp.example.org/shibboleth?x"),
        json!("HTTPS://IDP.EXAMPLE.ORG/shibboleth"),
        json!({"https://idp.example.org/shibboleth": 1}),
        Value::Null,
    ] {
        refused("required_claims", options.clone(), |knobs| {
            knobs.userinfo = json!({"idp": idp, "email": "boss@example.org", "email_verified": true});
        })
        .await;
    }
}

#[tokio::test]
async fn who_is_in_goes_out_when_a_refresh_brings_what_is_not_to_be_believed() {
    for (bend, reason) in [
        (json!({"sub": "somebody-else"}), "token_subject"),
        (json!({"aud": "another-client"}), "token_audience"),
        (json!({"exp": 1}), "token_expired"),
    ] {
        let bench = Bench::new().await;
        let who = Identity { name: "ada".to_owned(), ..bench.login().await.unwrap() };
        bench.clock.pass(chrono::TimeDelta::minutes(5));
        bench.provider.bend(|knobs| knobs.id_token = bend);
        let (log, _guard) = Log::begin();
        let answer = bench.hub.refresh(&who, None, true).await;
        assert!(matches!(answer, Ok(Refresh::Stale)), "{reason}: {answer:?}");
        assert!(log.text().contains(&format!("reason=\"{reason}\"")), "{}", log.text());
        holds_no_secret(&log, &bench, &Browser::default(), reason);
    }
}

#[tokio::test]
async fn texts_of_strangers_stay_in_one_line_of_the_log_and_out_of_the_page() {
    let bench = Bench::new().await;
    let (log, _guard) = Log::begin();
    let mut browser = Browser::default();
    let back = bench.provider.approve(&browser.leave(&bench).await.unwrap());
    let evil = "x\n2026 ERROR forged line <script>alert(1)</script>\u{1b}[31m";
    let query = BTreeMap::from([
        ("state".to_owned(), back["state"].clone()),
        ("error".to_owned(), "login_required".to_owned()),
        ("error_description".to_owned(), evil.repeat(50)),
    ]);
    let error = browser.come_back(&bench, query).await.unwrap_err();
    assert!(!shown(&error).contains("script"), "{error}");
    assert_eq!(log.reasons(), ["provider_error"]);
    let text = log.text();
    assert!(!text.lines().any(|line| line.starts_with("2026 ERROR forged")), "{text}");
    assert!(text.len() < 5_000 && !text.contains('\u{1b}'), "{text}");
}
