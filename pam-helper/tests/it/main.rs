//! Real PAM: a service of the test's own, seen by the helper alone, in a mount namespace of its own. Needs root.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bench;

use std::os::unix::fs::PermissionsExt as _;

use hub_core::{AuthError, LoginStep};

use crate::bench::Bench;

/// `pam_exec` hands the password to a program on standard input and takes its word.
const PASSWORD_IS_RIGHT: &str = "auth [success=done default=ignore] pam_exec.so quiet expose_authtok {folder}/check\n\
                                 auth required pam_deny.so\n";

#[tokio::test]
async fn the_right_password_of_an_account_logs_in_and_a_wrong_one_does_not() {
    let Some(bench) = Bench::new(&format!("{PASSWORD_IS_RIGHT}account required pam_permit.so\n")) else {
        return;
    };
    let hub = bench.hub("");
    let who = bench.logs_in(&hub, "root", "r1ght").await.unwrap();
    assert_eq!((who.name.as_str(), who.admin, who.allowed), ("root", None, false));
    for (user, password) in [("root", "wr0ng"), ("root", ""), ("nobody-here", "r1ght")] {
        let error = bench.logs_in(&hub, user, password).await.unwrap_err();
        let AuthError::Invalid(why) = &error else { panic!("{user}: {error:?}") };
        assert!(why.starts_with("PAM: authentication: ") && !why.contains("wr0ng"), "{why}");
    }
}

#[tokio::test]
async fn an_account_that_may_not_be_used_is_refused_unless_nobody_asks() {
    let service = "auth required pam_permit.so\naccount required pam_deny.so\n";
    let Some(bench) = Bench::new(service) else { return };
    let error = bench.logs_in(&bench.hub(""), "root", "x").await.unwrap_err();
    assert!(error.to_string().contains("account"), "{error}");
    bench.logs_in(&bench.hub(r#"{"check_account": false}"#), "root", "x").await.unwrap();
}

#[tokio::test]
async fn groups_of_the_machine_decide_about_administrators() {
    let Some(bench) = Bench::new("auth required pam_permit.so\naccount required pam_permit.so\n") else {
        return;
    };
    let hub = bench.hub(r#"{"admin_groups": ["root"], "pam_normalize_username": true}"#);
    let who = bench.logs_in(&hub, "root", "x").await.unwrap();
    assert_eq!((who.name.as_str(), who.admin, who.allowed), ("root", Some(true), true));
    let who = bench.logs_in(&hub, "nobody", "x").await.unwrap();
    assert_eq!((who.admin, who.allowed), (Some(false), false));
    // PAM lets in whom the machine does not know: the groups cannot be told, so nobody is let in
    let error = bench.logs_in(&hub, "nobody-here", "x").await.unwrap_err();
    assert!(matches!(error, AuthError::Invalid(_)), "{error}");
    let hub = bench.hub(r#"{"allowed_groups": ["no-such-group"]}"#);
    let error = bench.logs_in(&hub, "root", "x").await.unwrap_err();
    assert!(matches!(error, AuthError::Unavailable(_)), "{error}");
}

#[tokio::test]
async fn a_module_that_is_missing_or_hangs_is_no_wrong_password() {
    let Some(bench) = Bench::new("auth required pam_no_such_module.so\n") else { return };
    let error = bench.logs_in(&bench.hub(""), "root", "x").await.unwrap_err();
    assert!(matches!(error, AuthError::Unavailable(_)), "{error}");

    let Some(bench) = Bench::new("auth required pam_exec.so {folder}/hang\n") else { return };
    let hub = bench.hub(r#"{"timeout": "1s"}"#);
    let error = bench.logs_in(&hub, "root", "x").await.unwrap_err();
    assert!(matches!(error, AuthError::Unavailable(_)) && error.to_string().contains("no answer"), "{error}");
}

#[tokio::test]
async fn sessions_are_opened_and_closed_around_servers() {
    let service = "auth required pam_permit.so\naccount required pam_permit.so\n\
                   session required pam_exec.so {folder}/note\n";
    let Some(bench) = Bench::new(service) else { return };
    assert!(bench.hub("").spawn_hooks().is_empty());
    let hub = bench.hub(r#"{"open_sessions": true}"#);
    let hook = hub.spawn_hooks().remove(0);
    bench.starts_and_stops(&*hook, "root").await;
    assert_eq!(bench.notes(), ["open_session root", "close_session root"]);
}

#[tokio::test]
async fn the_helper_answers_nonsense_with_an_error_and_never_repeats_it() {
    let Some(bench) = Bench::new("") else { return };
    for question in
        ["", "{", r#"{"action": "authenticate", "password": "s3cret"}"#, r#"{"action": "s3cret"}"#]
    {
        let answer = bench.asks(question);
        assert!(answer.contains("broken") && !answer.contains("s3cret"), "{question}: {answer}");
    }
}

#[tokio::test]
async fn the_form_is_the_hubs_own() {
    let Some(bench) = Bench::new("") else { return };
    let step = bench.hub("").begin(&hub_core::LoginRequest::default()).await.unwrap();
    assert!(matches!(step, LoginStep::Form(_)));
    let mode = std::fs::metadata(env!("CARGO_BIN_EXE_himalia-pam")).unwrap().permissions().mode();
    assert_eq!(mode & 0o6000, 0, "the program needs no rights beyond those of the hub");
}
