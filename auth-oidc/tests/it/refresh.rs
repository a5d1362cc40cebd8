//! Looking again whether a login holds.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use hub_core::{AuthError, Identity, Refresh};
use serde_json::{Value, json};

use crate::support::Bench;

/// Somebody who is in, as the hub knows them.
async fn somebody(bench: &Bench) -> Identity {
    Identity { name: "ada".to_owned(), ..bench.login().await.unwrap() }
}

fn updated(answer: Result<Refresh, AuthError>) -> Identity {
    match answer {
        Ok(Refresh::Updated(who)) => Identity { name: "ada".to_owned(), ..*who },
        other => panic!("{other:?}"),
    }
}

fn token<'a>(who: &'a Identity, name: &str) -> &'a str {
    who.auth_state.as_ref().unwrap()[name].as_str().unwrap()
}

#[tokio::test]
async fn while_the_token_holds_only_user_data_are_asked_for() {
    let bench = Bench::new().await;
    let who = somebody(&bench).await;
    bench.provider.bend(|knobs| knobs.userinfo = json!({"groups": ["new"]}));
    let newer = updated(bench.hub.refresh(&who, None, false).await);
    assert_eq!(newer.groups, Some(vec!["new".to_owned()]));
    assert_eq!(token(&newer, "refresh_token"), token(&who, "refresh_token"));
    assert_eq!(bench.provider.counts().token.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_that_runs_out_is_renewed_alone_and_the_new_refresh_token_is_kept() {
    let bench = Bench::new().await;
    bench.provider.bend(|knobs| knobs.expires_in = 60);
    let mut who = somebody(&bench).await;
    for id_token_at_refresh in [true, false, true] {
        bench.provider.bend(|knobs| knobs.id_token_at_refresh = id_token_at_refresh);
        let until = bench.hub.fresh_until(&who).unwrap();
        assert_eq!(until, hub_core::Clock::now(&*bench.clock) + TimeDelta::seconds(45));
        bench.clock.pass(TimeDelta::seconds(45));
        assert!(matches!(bench.hub.refresh(&who, None, false).await, Ok(Refresh::Alone)));
        let newer = updated(bench.hub.refresh(&who, None, true).await);
        assert_ne!(token(&newer, "access_token"), token(&who, "access_token"));
        assert_ne!(token(&newer, "refresh_token"), token(&who, "refresh_token"));
        assert!(!token(&newer, "id_token").is_empty());
        who = newer;
    }
}

#[tokio::test]
async fn an_access_token_that_was_revoked_is_renewed() {
    let bench = Bench::new().await;
    let who = somebody(&bench).await;
    bench.provider.forget_access_tokens();
    assert!(matches!(bench.hub.refresh(&who, None, false).await, Ok(Refresh::Alone)));
    updated(bench.hub.refresh(&who, None, true).await);
}

#[tokio::test]
async fn when_the_session_has_ended_the_person_logs_in_again() {
    let bench = Bench::new().await;
    let who = somebody(&bench).await;
    bench.provider.end_session();
    bench.clock.pass(TimeDelta::minutes(5));
    assert!(matches!(bench.hub.refresh(&who, None, true).await, Ok(Refresh::Stale)));
    for kept in [None, Some(json!({})), Some(json!({"access_token": null})), Some(Value::Null)] {
        let who = Identity { auth_state: kept, ..who.clone() };
        assert!(matches!(bench.hub.refresh(&who, None, true).await, Ok(Refresh::Stale)));
    }
}

#[tokio::test]
async fn a_renewed_token_about_somebody_else_ends_the_login() {
    let bench = Bench::new().await;
    let who = somebody(&bench).await;
    bench.clock.pass(TimeDelta::minutes(5));
    bench.provider.bend(|knobs| knobs.id_token = json!({"sub": "somebody-else"}));
    assert!(matches!(bench.hub.refresh(&who, None, true).await, Ok(Refresh::Stale)));
}

#[tokio::test]
async fn who_has_another_name_or_may_not_enter_any_more_is_out() {
    for change in
        [json!({"preferred_username": "eve"}), json!({"groups": ["b"]}), json!({"preferred_username": ""})]
    {
        let bench =
            Bench::with(json!({"blocked_groups": ["b"], "username_claim": "preferred_username"})).await;
        let who = somebody(&bench).await;
        bench.provider.bend(|knobs| knobs.userinfo = change.clone());
        let answer = bench.hub.refresh(&who, None, false).await;
        assert!(matches!(answer, Ok(Refresh::Stale)), "{change}: {answer:?}");
    }
}

#[tokio::test]
async fn tokens_that_were_renewed_are_kept_when_user_data_cannot_be_had_just_then() {
    let bench = Bench::new().await;
    let who = somebody(&bench).await;
    bench.clock.pass(TimeDelta::minutes(5));
    bench.provider.bend(|knobs| knobs.userinfo_status = 500);
    let newer = updated(bench.hub.refresh(&who, None, true).await);
    assert_ne!(token(&newer, "refresh_token"), token(&who, "refresh_token"));
    assert_eq!(newer.groups, None, "groups stay as they are");
}

#[tokio::test]
async fn without_a_refresh_token_a_login_holds_as_long_as_its_token() {
    let bench = Bench::with(json!({"userdata_from_id_token": true})).await;
    bench.provider.bend(|knobs| knobs.token = json!({"refresh_token": null}));
    let who = somebody(&bench).await;
    assert_eq!(bench.hub.fresh_until(&who), None);
    assert!(matches!(bench.hub.refresh(&who, None, false).await, Ok(Refresh::Valid)));
    bench.clock.pass(TimeDelta::minutes(6));
    assert!(matches!(bench.hub.refresh(&who, None, false).await, Ok(Refresh::Stale)));
}
