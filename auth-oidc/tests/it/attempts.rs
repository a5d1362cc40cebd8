//! Logins with a provider that is bent, and what became of them.

use hub_core::testing::Log;
use hub_core::{AuthError, Identity};
use serde_json::Value;

use crate::provider::{Knobs, SECRET};
use crate::support::{Bench, Browser};

/// What a log of this login must not hold.
pub(crate) fn holds_no_secret(log: &Log, bench: &Bench, browser: &Browser, what: &str) {
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
pub(crate) async fn attempt(
    options: Value,
    bend: impl FnOnce(&mut Knobs),
) -> (Result<Identity, AuthError>, Vec<String>) {
    let (outcome, log) = attempt_logged(options, bend).await;
    (outcome, log.reasons())
}

pub(crate) async fn attempt_logged(
    options: Value,
    bend: impl FnOnce(&mut Knobs),
) -> (Result<Identity, AuthError>, Log) {
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
pub(crate) fn shown(error: &AuthError) -> String {
    match error {
        AuthError::Denied(text) | AuthError::Again(text) => text.clone(),
        _ => String::new(),
    }
}

/// A login that must come to nothing for this reason.
pub(crate) async fn refused(reason: &str, options: Value, bend: impl FnOnce(&mut Knobs)) {
    let what = format!("{reason}, {options}");
    let (outcome, reasons) = attempt(options, bend).await;
    assert!(outcome.is_err(), "{what}: {:?} was let in", outcome.map(|who| who.name));
    assert_eq!(reasons, [reason], "{what}");
}
