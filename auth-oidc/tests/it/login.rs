//! From the button to the identity, and what an attacker in between could try.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use hub_core::AuthError;
use serde_json::{Value, json};
use url::Url;

use crate::support::{Bench, Browser};

#[tokio::test]
async fn a_login_brings_name_state_and_the_way_back() {
    let bench = Bench::new().await;
    bench.provider.bend(|knobs| knobs.userinfo = json!({"groups": ["b", "a", "a"]}));
    let mut browser = Browser::default();
    let location = browser.leave(&bench).await.unwrap();
    let query: BTreeMap<String, String> = Url::parse(&location).unwrap().query_pairs().into_owned().collect();
    assert_eq!(query["redirect_uri"], "https://hub.example/notebooks/hub/oauth_callback");
    assert_eq!(
        (query["scope"].as_str(), query["code_challenge_method"].as_str()),
        ("openid profile email", "S256")
    );

    let back = bench.provider.approve(&location);
    let (who, next) = browser.come_back(&bench, back).await.unwrap();
    assert_eq!((who.name.as_str(), next.as_deref()), ("Ada", Some("/notebooks/hub/spawn")));
    assert_eq!(who.groups, Some(vec!["a".to_owned(), "b".to_owned()]));
    assert_eq!((who.admin, who.allowed), (None, false));
    assert_eq!(who.user_info, Some(json!({"display_name": "Ada L."})));
    assert!(browser.kept.is_empty(), "the cookie of the login is gone");
    let state = who.auth_state.unwrap();
    let keys: Vec<&String> = state.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["access_token", "refresh_token", "id_token", "scope", "token_response", "oauth_user"]);
    assert_eq!(state["oauth_user"]["sub"], "subject-1");
    assert_eq!(state["scope"], json!(["openid", "profile", "email"]));
}

#[tokio::test]
async fn several_tabs_log_in_at_once_in_any_order() {
    let bench = Bench::new().await;
    let mut browser = Browser::default();
    let mut tabs = Vec::new();
    for _ in 0..4 {
        tabs.push(browser.leave(&bench).await.unwrap());
    }
    for location in tabs.iter().rev() {
        let back = bench.provider.approve(location);
        browser.come_back(&bench, back).await.unwrap();
    }
    assert!(browser.kept.is_empty());
}

#[tokio::test]
async fn a_login_cannot_be_finished_by_another_browser_or_without_cookie() {
    let bench = Bench::new().await;
    let location = Browser::default().leave(&bench).await.unwrap();
    let stolen = bench.provider.approve(&location);
    let mut other = Browser::default();
    other.leave(&bench).await.unwrap();
    for mut browser in [Browser::default(), other] {
        let error = browser.come_back(&bench, stolen.clone()).await.unwrap_err();
        assert!(matches!(error, AuthError::Again(_)), "{error}");
    }
    assert_eq!(bench.provider.counts().token.load(Ordering::SeqCst), 0, "the code went nowhere");
}

#[tokio::test]
async fn neither_state_nor_code_works_twice() {
    let bench = Bench::new().await;
    let mut browser = Browser::default();
    let location = browser.leave(&bench).await.unwrap();
    let back = bench.provider.approve(&location);
    let before = browser.clone();
    browser.come_back(&bench, back.clone()).await.unwrap();
    // a browser that keeps what it was told to delete
    let error = before.clone().come_back(&bench, back.clone()).await.unwrap_err();
    assert!(matches!(error, AuthError::Again(_)), "{error}");
    // another login with the used code
    let mut again = Browser::default();
    let fresh = bench.provider.approve(&again.leave(&bench).await.unwrap());
    let mixed = BTreeMap::from([
        ("code".to_owned(), back["code"].clone()),
        ("state".to_owned(), fresh["state"].clone()),
    ]);
    let error = again.come_back(&bench, mixed).await.unwrap_err().to_string();
    assert!(error.contains("unknown or used code"), "{error}");
}

#[tokio::test]
async fn a_code_that_was_injected_into_another_login_is_refused_by_its_challenge_and_nonce() {
    let bench = Bench::new().await;
    let victim = Browser::default().leave(&bench).await.unwrap();
    let code = bench.provider.approve(&victim)["code"].clone();
    let mut attacker = Browser::default();
    let mut back = bench.provider.approve(&attacker.leave(&bench).await.unwrap());
    back.insert("code".to_owned(), code);
    let error = attacker.come_back(&bench, back).await.unwrap_err().to_string();
    assert!(error.contains("wrong verifier"), "{error}");

    let bench = Bench::with(json!({"enable_pkce": false})).await;
    let code = bench.provider.approve(&Browser::default().leave(&bench).await.unwrap())["code"].clone();
    let mut attacker = Browser::default();
    let mut back = bench.provider.approve(&attacker.leave(&bench).await.unwrap());
    back.insert("code".to_owned(), code);
    let error = attacker.come_back(&bench, back).await.unwrap_err().to_string();
    assert!(error.contains("nonce"), "{error}");
}

#[tokio::test]
async fn the_answer_of_another_provider_is_refused_before_the_code_goes_anywhere() {
    for (announced, named) in
        [(true, None), (true, Some("https://evil.example")), (false, Some("https://evil.example"))]
    {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| {
            knobs.document = json!({"authorization_response_iss_parameter_supported": announced});
        });
        let mut browser = Browser::default();
        let mut back = bench.provider.approve(&browser.leave(&bench).await.unwrap());
        if let Some(issuer) = named {
            back.insert("iss".to_owned(), issuer.to_owned());
        }
        let error = browser.come_back(&bench, back).await.unwrap_err().to_string();
        assert!(error.contains("another issuer"), "{error}");
        assert_eq!(bench.provider.counts().token.load(Ordering::SeqCst), 0);
    }
    let bench = Bench::new().await;
    let mut browser = Browser::default();
    let mut back = bench.provider.approve(&browser.leave(&bench).await.unwrap());
    back.insert("iss".to_owned(), bench.provider.issuer().to_owned());
    browser.come_back(&bench, back).await.unwrap();
}

#[tokio::test]
async fn a_login_that_was_left_open_overnight_begins_again() {
    let bench = Bench::new().await;
    let mut browser = Browser::default();
    let back = bench.provider.approve(&browser.leave(&bench).await.unwrap());
    bench.clock.pass(TimeDelta::hours(9));
    let error = browser.come_back(&bench, back).await.unwrap_err();
    assert!(matches!(error, AuthError::Again(_)), "{error}");
}

#[tokio::test]
async fn what_the_provider_says_instead_of_a_code_is_told_in_our_words() {
    let bench = Bench::new().await;
    let mut browser = Browser::default();
    for (error, denied) in [("access_denied", true), ("login_required", false)] {
        let back = bench.provider.approve(&browser.leave(&bench).await.unwrap());
        let query = BTreeMap::from([
            ("state".to_owned(), back["state"].clone()),
            ("error".to_owned(), error.to_owned()),
            ("error_description".to_owned(), "<script>alert(1)</script>".to_owned()),
        ]);
        let answer = browser.come_back(&bench, query).await.unwrap_err();
        assert_eq!(matches!(answer, AuthError::Denied(_)), denied, "{answer}");
        assert!(!answer.to_string().contains("script"), "{answer}");
    }
}

#[tokio::test]
async fn extra_arguments_cannot_replace_what_protects_the_login() {
    let bench = Bench::with(json!({
        "extra_authorize_params": {"kc_idp_hint": "edugain", "state": "fixed", "redirect_uri": "https://evil.example"},
    }))
    .await;
    let location = Browser::default().leave(&bench).await.unwrap();
    let url = Url::parse(&location).unwrap();
    let all = |name: &str| {
        url.query_pairs()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(all("kc_idp_hint"), ["edugain"]);
    assert_eq!(all("redirect_uri"), ["https://hub.example/notebooks/hub/oauth_callback"]);
    assert!(all("state").len() == 1 && all("state")[0].len() >= 43);
}

#[tokio::test]
async fn the_hub_asks_for_no_password() {
    let bench = Bench::new().await;
    let error = bench.hub.finish(&Browser::default().request("login", BTreeMap::new())).await.unwrap_err();
    assert!(matches!(error, AuthError::Denied(_)), "{error}");
    let paths: Vec<String> = bench.hub.routes().into_iter().map(|route| route.path).collect();
    assert_eq!(paths, ["oauth_login", "oauth_callback"]);
}

#[tokio::test]
async fn plain_oauth_without_id_token_works_like_generic_oauthenticator() {
    let probe = Bench::new().await;
    let at = |path: &str| format!("{}{path}", probe.provider.issuer());
    let options = json!({
        "authorize_url": at("/authorize"), "token_url": at("/token"), "userdata_url": at("/userinfo"),
        "client_id": "hub", "client_secret": crate::provider::SECRET, "scope": ["read:user"],
        "username_claim": "preferred_username", "userdata_token_method": "url", "auth_state_groups_key": "oauth_user.groups",
    });
    let hub = crate::support::build(options, &crate::support::context(&probe.clock)).unwrap();
    let bench = Bench { hub, ..probe };
    bench.provider.bend(|knobs| {
        knobs.token = json!({"id_token": null, "scope": "read:user"});
        knobs.userinfo = json!({"groups": ["g"]});
    });
    let mut browser = Browser::default();
    let location = browser.leave(&bench).await.unwrap();
    assert!(!location.contains("nonce="), "{location}");
    let (who, _) = browser.come_back(&bench, bench.provider.approve(&location)).await.unwrap();
    assert_eq!((who.name.as_str(), who.groups), ("Ada", Some(vec!["g".to_owned()])));
    assert_eq!(who.auth_state.unwrap()["id_token"], Value::Null);
    let (header, form) = bench.provider.last_request();
    assert!(
        header.is_none() && form["client_secret"] == crate::provider::SECRET,
        "stock sends the secret in the form"
    );
}
