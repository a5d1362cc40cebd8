//! Every known way to get in as somebody else: refused, with a stable reason in the log, and with no secret in the log
//! or in what people read. The classes are those of the advisories about OAuthenticator and LTI, and of the security
//! considerations of OpenID Connect and RFC 9700.

use std::collections::BTreeMap;

use hub_core::testing::Log;
use hub_core::{AuthError, Identity, Refresh};
use serde_json::{Value, json};

use crate::provider::{Knobs, SECRET, Sign};
use crate::support::{Bench, Browser};

/// What a log of this login must not hold.
fn holds_no_secret(log: &Log, bench: &Bench, browser: &Browser, what: &str) {
    let text = log.text();
    let kept = browser.kept.values().map(|cookie| serde_json::from_str::<Value>(cookie).unwrap());
    let own: Vec<String> = kept
        .flat_map(|cookie| {
            ["state", "nonce", "verifier"].map(|name| cookie[name].as_str().unwrap().to_owned())
        })
        .collect();
    let secrets = bench.provider.secrets().into_iter().chain(own);
    for secret in secrets.chain([SECRET.to_owned(), "eyJ".to_owned(), "s3cret".to_owned()]) {
        assert!(!text.contains(&secret), "{what}: {secret} is in the log:\n{text}");
    }
}

/// One login with a provider that is bent, and the codes of its refusals.
async fn attempt(
    options: Value,
    bend: impl FnOnce(&mut Knobs),
) -> (Result<Identity, AuthError>, Vec<String>) {
    let (outcome, log) = attempt_logged(options, bend).await;
    (outcome, log.reasons())
}

async fn attempt_logged(options: Value, bend: impl FnOnce(&mut Knobs)) -> (Result<Identity, AuthError>, Log) {
    let bench = Bench::with(options).await;
    bench.provider.bend(bend);
    let (log, _guard) = Log::begin();
    let mut browser = Browser::default();
    let location = browser.leave(&bench).await.unwrap();
    let before = browser.clone();
    let back = bench.provider.approve(&location);
    let outcome = browser.come_back(&bench, back).await.map(|(who, _)| who);
    holds_no_secret(&log, &bench, &before, "a login");
    if let Err(error) = &outcome {
        let shown = shown(error);
        let tokens = bench.provider.secrets();
        assert!(!shown.contains("eyJ") && tokens.iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
    (outcome, log)
}

/// What the person reads; of [`AuthError::Invalid`] and [`AuthError::Unavailable`] the hub shows nothing.
fn shown(error: &AuthError) -> String {
    match error {
        AuthError::Denied(text) | AuthError::Again(text) => text.clone(),
        _ => String::new(),
    }
}

/// A login that must come to nothing for this reason.
async fn refused(reason: &str, options: Value, bend: impl FnOnce(&mut Knobs)) {
    let what = format!("{reason}, {options}");
    let (outcome, reasons) = attempt(options, bend).await;
    assert!(outcome.is_err(), "{what}: {:?} was let in", outcome.map(|who| who.name));
    assert_eq!(reasons, [reason], "{what}");
}

#[tokio::test]
async fn addresses_that_nobody_verified_are_nobody() {
    for userinfo in [
        json!({"email": "boss@example.org"}),
        json!({"email": "boss@example.org", "email_verified": false}),
        json!({"email": "boss@example.org", "email_verified": "no"}),
        json!({"email": "boss@example.org", "email_verified": 1}),
        json!({"email": "boss@example.org", "email_verified": ["true"]}),
    ] {
        refused("email_unverified", json!({"username_claim": "email"}), |knobs| knobs.userinfo = userinfo)
            .await;
    }
    // verified in one answer, another address in the other
    refused("email_unverified", json!({"username_claim": "email"}), |knobs| {
        knobs.id_token = json!({"email": "own@example.org", "email_verified": true});
        knobs.userinfo = json!({"email": "boss@example.org"});
    })
    .await;
}

#[tokio::test]
async fn domains_that_only_look_alike_let_nobody_in() {
    for domain in [
        "example.org.evil.com",
        "evilexample.org",
        "sub.example.org",
        "example.org.",
        "еxample.org",
        "example.org@evil.com",
        "example.org%00",
        "EXAMPLE.0RG",
    ] {
        let options = json!({"required_claims": [{"claim": "hd", "values": ["example.org"]}]});
        refused("required_claims", options, |knobs| knobs.userinfo = json!({"hd": domain})).await;

        let options = json!({"allowed_email_domains": ["example.org"]});
        let (who, log) = attempt_logged(options, |knobs| {
            knobs.userinfo = json!({"email": format!("ada@{domain}"), "email_verified": true});
        })
        .await;
        assert!(!who.unwrap().allowed, "{domain}");
        assert!(log.text().contains(r#"reason="email_domain""#), "{domain}: {}", log.text());

        // the part that is left of an address is a name of one domain only
        let options = json!({"username_claim": "email", "strip_domain": "example.org"});
        let (who, _) = attempt(options, |knobs| {
            knobs.userinfo = json!({"email": format!("boss@{domain}"), "email_verified": true});
        })
        .await;
        assert_ne!(who.unwrap().name, "boss", "{domain}");
    }
}

#[tokio::test]
async fn addresses_that_nobody_verified_fit_no_rule_about_claims() {
    let boss = "boss@example.org";
    let rule = |claim: &str| json!([{"claim": claim, "values": [boss]}]);
    let told = |mut more: Value| {
        more["email"] = json!(boss);
        move |knobs: &mut Knobs| knobs.userinfo = more
    };
    // The last one is the same address by another name.
    for (claim, userinfo) in [
        ("email", json!({})),
        ("email", json!({"email_verified": false})),
        ("email", json!({"email_verified": "no"})),
        ("nothing|email", json!({"email_verified": 1})),
        ("profile.email", json!({"profile": {"email": boss}, "email_verified": false})),
        ("upn", json!({"upn": boss})),
    ] {
        let what = format!("{claim} {userinfo}");
        let allowed = json!({"allowed_claims": rule(claim)});
        let (who, _) = attempt(allowed.clone(), told(userinfo.clone())).await;
        assert!(!who.unwrap().allowed, "{what}");
        let admin = json!({"admin_claims": rule(claim)});
        let (who, _) = attempt(admin.clone(), told(userinfo.clone())).await;
        let who = who.unwrap();
        assert_eq!((who.admin, who.allowed), (Some(false), false), "{what}");
        let required = json!({"required_claims": rule(claim)});
        refused("required_claims", required, told(userinfo.clone())).await;

        if claim == "email" {
            let verified = json!({"email_verified": true});
            assert!(attempt(allowed, told(verified.clone())).await.0.unwrap().allowed);
            assert_eq!(attempt(admin, told(verified.clone())).await.0.unwrap().admin, Some(true));
            let required = json!({"required_claims": rule(claim)});
            assert!(attempt(required, told(verified)).await.0.is_ok());
            let trusting = json!({"admin_claims": rule(claim), "allow_unverified_email": true});
            assert_eq!(attempt(trusting, told(userinfo)).await.0.unwrap().admin, Some(true), "{what}");
        }
    }
    let domains = json!({"allowed_email_domains": ["example.org"]});
    let (who, log) = attempt_logged(domains, told(json!({}))).await;
    assert!(!who.unwrap().allowed);
    assert!(log.text().contains(r#"reason="email_unverified""#), "{}", log.text());
}

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
async fn when_groups_cannot_be_had_nobody_gets_in() {
    // Also who would be let in or be an administrator by what the id_token says.
    let open = json!({"allowed_groups": ["g"], "admin_groups": ["g"], "blocked_groups": ["b"]});
    for (status, reason) in [
        (500, "provider_away"),
        (503, "provider_away"),
        (429, "provider_away"),
        (403, "provider_refused"),
        (401, "provider_refused"),
        (302, "provider_refused"),
        (404, "provider_rejects_hub"),
    ] {
        refused(reason, open.clone(), |knobs| {
            knobs.userinfo_status = status;
            knobs.id_token = json!({"groups": ["g"]});
        })
        .await;
    }
    for nonsense in ["", "[]", "null", "\"g\"", "<html>", "{\"groups\": [\"g\"]"] {
        refused("provider_nonsense", open.clone(), |knobs| {
            knobs.raw_userinfo = Some(nonsense.to_owned());
            knobs.id_token = json!({"groups": ["g"]});
        })
        .await;
    }
    refused("token_subject", open.clone(), |knobs| {
        knobs.userinfo = json!({"sub": "somebody-else", "groups": ["g"]});
    })
    .await;
    refused("token_incomplete", open, |knobs| knobs.userinfo = json!({"sub": null, "groups": ["g"]})).await;
}

#[tokio::test]
async fn groups_that_only_look_alike_open_nothing() {
    for groups in [
        json!(["staff-guests"]),
        json!(["sta"]),
        json!(["Staff"]),
        json!(["staff "]),
        json!(["/staff"]),
        json!(["staff/guests"]),
        json!(["other/staff"]),
        json!(["staff,guests"]),
        json!("guests,staff"),
        json!({"staff": true}),
        json!([["staff"]]),
        json!([{"name": "staff"}]),
        json!([]),
    ] {
        let options = json!({"allowed_groups": ["staff"], "admin_groups": ["staff"]});
        let (who, _) = attempt(options, |knobs| knobs.userinfo = json!({"groups": groups})).await;
        let who = who.unwrap();
        assert_eq!((who.allowed, who.admin), (false, Some(false)), "{groups}");
    }
}

#[tokio::test]
async fn nobody_gets_out_of_a_blocked_group_by_being_in_many() {
    let many = |name: &str, count: usize| {
        let mut groups: Vec<String> = (0..count).map(|number| format!("a{number:05}")).collect();
        groups.push(name.to_owned());
        json!({ "groups": groups })
    };
    let blocked = json!({"blocked_groups": ["zz"], "allowed_groups": ["a00000"]});
    refused("blocked_groups", blocked.clone(), |knobs| knobs.userinfo = many("zz", 1_500)).await;
    refused("groups_incomplete", blocked.clone(), |knobs| knobs.userinfo = many("zz", 5_000)).await;
    // Too many for the answer: the provider names another place for them, at which nobody asks.
    refused("groups_incomplete", blocked.clone(), |knobs| {
        knobs.id_token = json!({"_claim_names": {"groups": "src1"}});
    })
    .await;
    let (who, _) = attempt(blocked, |knobs| knobs.userinfo = many("zy", 1_500)).await;
    assert!(who.unwrap().allowed);
    // Without groups to keep out, who is in too many is in those that are told.
    let open = json!({"allowed_groups": ["a00000"]});
    let (who, _) = attempt(open, |knobs| knobs.userinfo = many("zz", 5_000)).await;
    assert!(who.unwrap().allowed);
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
async fn where_nobody_is_named_nobody_gets_in() {
    // Empty lists are no rule that everybody fits.
    for options in [
        json!({}),
        json!({"allowed_groups": [], "allowed_claims": [], "allowed_scopes": [], "allowed_email_domains": []}),
        json!({"allowed_claims": [{"claim": "role", "values": ["admin"]}]}),
    ] {
        let (who, _) = attempt(options.clone(), |knobs| {
            knobs.userinfo =
                json!({"groups": ["staff"], "role": "", "email": "ada@example.org", "email_verified": true});
        })
        .await;
        let who = who.unwrap();
        assert_eq!((who.allowed, who.admin), (false, None), "{options}");
    }
}

#[tokio::test]
async fn only_claims_that_the_configuration_trusts_make_administrators() {
    let by_claim = json!({"admin_claims": [{"claim": "realm_access.roles", "values": ["boss"]}]});
    for userinfo in [
        json!({"admin": true, "is_admin": true, "roles": ["boss"], "groups": ["boss"]}),
        json!({"realm_access": "boss"}),
        json!({"realm_access": {"roles": ["Boss", "boss ", "bosses", ["boss"], {"boss": true}]}}),
        json!({"resource_access": {"hub": {"roles": ["boss"]}}}),
    ] {
        let (who, _) = attempt(by_claim.clone(), |knobs| knobs.userinfo = userinfo.clone()).await;
        assert_eq!(who.unwrap().admin, Some(false), "{userinfo}");
    }
    // an access token that nobody signed is no source of claims
    let forged = "eyJhbGciOiJub25lIn0.eyJyZWFsbV9hY2Nlc3MiOnsicm9sZXMiOlsiYm9zcyJdfX0.";
    let bench = Bench::with(by_claim).await;
    bench.provider.bend(|knobs| {
        knobs.token = json!({"access_token": forged});
        knobs.id_token = json!({"at_hash": null});
    });
    let (log, _guard) = Log::begin();
    bench.login().await.unwrap_err();
    assert_eq!(
        log.reasons(),
        ["provider_refused"],
        "the provider does not know the token that it did not give"
    );
    // without a rule the provider says nothing about administrators
    let (who, _) = attempt(json!({}), |knobs| knobs.userinfo = json!({"admin": true})).await;
    assert_eq!(who.unwrap().admin, None);
}

#[tokio::test]
async fn names_that_become_those_of_others_are_refused() {
    // the Kelvin sign is `k` in lower case, the Ångström sign `å`
    for name in ["\u{212A}ate", "bro\u{212A}er", "\u{212B}sa"] {
        refused("name_collides", json!({}), |knobs| knobs.userinfo = json!({"preferred_username": name}))
            .await;
    }
    for name in ["Åsa", "A\u{30A}sa", "ΟΔΥΣΣΕΥΣ", "Straße", "李"] {
        let (who, _) = attempt(json!({}), |knobs| knobs.userinfo = json!({"preferred_username": name})).await;
        assert_eq!(who.unwrap().name, name);
    }
    refused("name_missing", json!({"username_claim": "preferred_username"}), |knobs| {
        knobs.userinfo = json!({"preferred_username": {"name": "boss"}});
        knobs.id_token = json!({"preferred_username": null});
    })
    .await;
    // the same name from another account of the provider: told apart by the hub, which compares these
    let bench = Bench::new().await;
    let first = bench.login().await.unwrap();
    bench.provider.bend(|knobs| {
        knobs.id_token = json!({"sub": "subject-2", "preferred_username": "ADA"});
        knobs.userinfo = json!({"sub": "subject-2", "preferred_username": "ADA"});
    });
    let second = bench.login().await.unwrap();
    assert_eq!(first.name.to_lowercase(), second.name.to_lowercase());
    assert!(!bench.hub.names_may_change_hands());
    assert_ne!(bench.hub.account(&first).unwrap().subject, bench.hub.account(&second).unwrap().subject);
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
