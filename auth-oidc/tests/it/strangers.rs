//! Accounts that look like those of others, or of whom the provider does not say enough: refused, with a stable reason
//! in the log.

use hub_core::testing::Log;
use serde_json::{Value, json};

use crate::attempts::{attempt, attempt_logged, refused};
use crate::provider::Knobs;
use crate::support::Bench;

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
