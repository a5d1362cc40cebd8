//! Names, groups, roles and who may come in.

use hub_core::AuthError;
use serde_json::{Value, json};

use crate::support::Bench;

async fn login(options: Value, userinfo: Value) -> Result<hub_core::Identity, AuthError> {
    let bench = Bench::with(options).await;
    bench.provider.bend(|knobs| knobs.userinfo = userinfo);
    bench.login().await
}

#[tokio::test]
async fn an_address_that_nobody_verified_is_no_name() {
    let by_email = json!({"username_claim": "email"});
    for userinfo in [
        json!({"email": "boss@example.org"}),
        json!({"email": "boss@example.org", "email_verified": false}),
        json!({"email": "boss@example.org", "email_verified": "false"}),
    ] {
        let error = login(by_email.clone(), userinfo).await.unwrap_err().to_string();
        assert!(error.contains("not verified"), "{error}");
    }
    // the same address under another claim is no better
    let upn = json!({"upn": "Boss@example.org", "email": "boss@example.org", "email_verified": false});
    let error = login(json!({"username_claim": "upn"}), upn).await.unwrap_err().to_string();
    assert!(error.contains("not verified"), "{error}");

    let verified = json!({"email": "boss@example.org", "email_verified": true});
    assert_eq!(login(by_email, verified).await.unwrap().name, "boss@example.org");
    let trusting =
        json!({"username_claim": "email", "allow_unverified_email": true, "strip_domain": "example.org"});
    assert_eq!(login(trusting, json!({"email": "boss@EXAMPLE.org"})).await.unwrap().name, "boss");
}

#[tokio::test]
async fn only_the_whole_domain_of_a_verified_address_lets_in() {
    let options = json!({"allowed_email_domains": ["example.org"]});
    for (address, verified, allowed) in [
        ("ada@example.org", true, true),
        ("ada@EXAMPLE.ORG", true, true),
        ("ada@example.org", false, false),
        ("ada@evilexample.org", true, false),
        ("ada@example.org.evil.com", true, false),
        ("ada@sub.example.org", true, false),
        ("ada@evil.com@example.org", true, false),
        ("\"ada@evil.com \"@example.org", true, false),
        ("example.org", true, false),
        ("ada@еxample.org", true, false),
        ("ada@example.org ", true, false),
    ] {
        let who =
            login(options.clone(), json!({"email": address, "email_verified": verified})).await.unwrap();
        assert_eq!(who.allowed, allowed, "{address} {verified}");
    }
}

#[tokio::test]
async fn groups_and_claims_let_in_keep_out_and_make_administrators() {
    let rule = |claim: &str, value: &str| json!([{"claim": claim, "values": [value]}]);
    for (options, userinfo, expected) in [
        (json!({"allowed_groups": ["g"]}), json!({"groups": ["g"]}), Some((None, true))),
        (json!({"allowed_groups": ["g"]}), json!({"groups": ["g2"]}), Some((None, false))),
        (json!({"allowed_groups": ["g"]}), json!({"groups": "g"}), Some((None, true))),
        (json!({"allowed_groups": ["g"]}), json!({"groups": {"g": true}}), Some((None, false))),
        (json!({"admin_groups": ["g"]}), json!({"groups": ["g"]}), Some((Some(true), true))),
        (json!({"admin_groups": ["g"]}), json!({"groups": []}), Some((Some(false), false))),
        (
            json!({"admin_claims": rule("realm.roles", "boss")}),
            json!({"realm": {"roles": ["boss"]}}),
            Some((Some(true), true)),
        ),
        (
            json!({"admin_claims": rule("is_admin", "true")}),
            json!({"is_admin": true}),
            Some((Some(true), true)),
        ),
        (json!({"allowed_claims": rule("org", "x")}), json!({"org": "x"}), Some((None, true))),
        (json!({"allowed_claims": rule("org", "x")}), json!({"org": "xx"}), Some((None, false))),
        (json!({"required_claims": rule("hd", "x")}), json!({"hd": "x"}), Some((None, false))),
        (json!({"required_claims": rule("hd", "x")}), json!({}), None),
        (
            json!({"required_claims": rule("hd", "x"), "allowed_groups": ["g"]}),
            json!({"groups": ["g"]}),
            None,
        ),
        (json!({"blocked_groups": ["b"], "admin_groups": ["g"]}), json!({"groups": ["g", "b"]}), None),
        (json!({"allowed_scopes": ["openid", "email"]}), json!({}), Some((None, true))),
        (json!({"allowed_scopes": ["openid", "write"]}), json!({}), Some((None, false))),
    ] {
        let what = format!("{options} {userinfo}");
        let outcome = login(options, userinfo).await;
        match (outcome, expected) {
            (Ok(who), Some(expected)) => assert_eq!((who.admin, who.allowed), expected, "{what}"),
            (Err(AuthError::Denied(text)), None) => {
                assert!(text.contains("may not use this hub"), "{what}: {text}");
            }
            (outcome, expected) => panic!("{what}: {outcome:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn roles_come_from_their_claim() {
    let who = login(json!({"roles_claim": "hub.roles"}), json!({"hub": {"roles": ["teacher", "grader"]}}))
        .await
        .unwrap();
    assert_eq!(who.roles, Some(vec![json!({"name": "grader"}), json!({"name": "teacher"})]));
}

#[tokio::test]
async fn names_and_numbers_of_groups_are_bounded() {
    let groups: Vec<String> =
        (0..1_500).map(|n| format!("g{n:04}")).chain(["x".repeat(300), "a\nb".to_owned()]).collect();
    let who = login(json!({}), json!({"groups": groups})).await.unwrap();
    let groups = who.groups.unwrap();
    assert_eq!(groups.len(), 1_000);
    assert!(groups.iter().all(|group| group.len() == 5));
}

#[tokio::test]
async fn without_a_name_nobody_gets_in() {
    let error =
        login(json!({"username_claim": "nick|alias"}), json!({"nick": "", "alias": null})).await.unwrap_err();
    assert!(error.to_string().contains("username_claim"), "{error}");
}
