//! A provider that is away, slow to come, or talks nonsense.

use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use hub_core::{AuthError, Identity, Refresh};
use serde_json::json;

use crate::support::{Bench, Browser};

#[tokio::test]
async fn the_document_is_read_once_an_hour_and_the_old_one_serves_while_there_is_no_new_one() {
    let bench = Bench::new().await;
    let asked = || bench.provider.counts().discovery.load(Ordering::SeqCst);
    let leave = || async { Browser::default().leave(&bench).await };
    let (a, b, c) = tokio::join!(leave(), leave(), leave());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(asked(), 1, "one request for all who wait");
    bench.clock.pass(TimeDelta::minutes(61));
    bench.provider.bend(|knobs| knobs.down = true);
    for _ in 0..5 {
        leave().await.unwrap();
    }
    assert_eq!(asked(), 2);
    bench.provider.bend(|knobs| knobs.down = false);
    bench.clock.pass(TimeDelta::seconds(31));
    leave().await.unwrap();
    assert_eq!(asked(), 3);
}

#[tokio::test]
async fn a_provider_that_comes_later_than_the_hub_is_found() {
    let bench = Bench::new().await;
    bench.provider.bend(|knobs| knobs.down = true);
    for _ in 0..3 {
        let error = Browser::default().leave(&bench).await.unwrap_err();
        assert!(matches!(error, AuthError::Unavailable(_)), "{error}");
    }
    assert_eq!(bench.provider.counts().discovery.load(Ordering::SeqCst), 1, "not asked by every visitor");
    bench.provider.bend(|knobs| knobs.down = false);
    bench.clock.pass(TimeDelta::seconds(3));
    bench.login().await.unwrap();
}

#[tokio::test]
async fn a_document_that_cannot_be_trusted_is_not_used() {
    for (document, reason) in [
        (json!({"issuer": "https://evil.example"}), "issuer \"https://evil.example\""),
        (json!({"token_endpoint": "http://evil.example/token"}), "token_endpoint"),
        (json!({"token_endpoint": null}), "token_endpoint"),
        (json!({"authorization_endpoint": "javascript:alert(1)"}), "authorization_endpoint"),
        (json!({"jwks_uri": null}), "jwks_uri"),
        (json!({"userinfo_endpoint": "ftp://x"}), "userinfo_endpoint"),
    ] {
        let bench = Bench::new().await;
        bench.provider.bend(|knobs| knobs.document = document.clone());
        let error = Browser::default().leave(&bench).await.unwrap_err().to_string();
        assert!(error.contains(reason), "{document}: {error}");
    }
    let bench = Bench::new().await;
    bench.provider.bend(|knobs| knobs.padding = 2 << 20);
    let error = Browser::default().leave(&bench).await.unwrap_err().to_string();
    assert!(error.contains("longer than 1024 KiB"), "{error}");
}

#[tokio::test]
async fn people_who_are_in_stay_in_for_a_while_when_the_provider_is_away() {
    let bench = Bench::with(json!({"outage_grace": "2h"})).await;
    let who = Identity { name: "ada".to_owned(), ..bench.login().await.unwrap() };
    bench.provider.bend(|knobs| knobs.down = true);
    bench.clock.pass(TimeDelta::hours(30));
    for minutes in [0, 60, 59] {
        bench.clock.pass(TimeDelta::minutes(minutes));
        let answer = bench.hub.refresh(&who, None, true).await;
        assert!(matches!(answer, Err(AuthError::Unavailable(_))), "{answer:?}");
    }
    bench.clock.pass(TimeDelta::minutes(2));
    assert!(matches!(bench.hub.refresh(&who, None, true).await, Ok(Refresh::Stale)));
    // back again: the login goes on where it was
    bench.provider.bend(|knobs| knobs.down = false);
    bench.clock.pass(TimeDelta::minutes(1));
    assert!(matches!(bench.hub.refresh(&who, None, true).await, Ok(Refresh::Updated(_))));
}

#[tokio::test]
async fn a_wrong_secret_is_an_outage_for_people_and_a_reason_in_the_log() {
    let bench = Bench::with(json!({"client_secret": "wrong"})).await;
    let error = bench.login().await.unwrap_err();
    assert!(matches!(error, AuthError::Unavailable(_)), "{error}");
    assert!(error.to_string().contains("does not accept this hub: invalid_client"), "{error}");
}
