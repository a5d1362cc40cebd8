use hub_core::testing::Log;
use hub_core::{AuthError, Identity, LoginMethod, LoginStep};
use serde_json::json;

use crate::app::Answer;
use crate::support::{Bench, authenticator, known, request};

#[tokio::test]
async fn the_application_is_asked_as_its_csrf_check_wants() {
    let bench = Bench::start().await;
    assert_eq!(bench.hub.login(), LoginMethod::Automatic);
    let Ok(LoginStep::Identity(who)) = bench.hub.begin(&known()).await else { panic!("nobody is let in") };
    assert_eq!(who.name, "Ada@Example.org");
    assert!(!who.allowed, "whether all people get in is for the configuration to say");
    let asked = bench.app.asked();
    assert_eq!(asked.len(), 1);
    let asked = &asked[0];
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/notebooks/authenticate/"));
    assert_eq!(asked.body, "");
    for (name, value) in [
        ("cookie", "sessionid=s3ss10n; csrftoken=t0k3n"),
        ("x-csrftoken", "t0k3n"),
        ("referer", "https://hub.example.org:8443"),
        ("content-length", "0"),
    ] {
        assert_eq!(asked.headers.get(name).map(String::as_str), Some(value), "{name}");
    }
    // What is asked for, the client must be able to read.
    assert!(!asked.headers.contains_key("accept-encoding"), "{asked:?}");
}

#[tokio::test]
async fn only_json_with_a_name_is_a_login() {
    let bench = Bench::start().await;
    let other = crate::app::App::start().await;
    let (log, _guard) = Log::begin();
    for answer in [
        Answer::redirect(&format!("{}/login", other.url)),
        Answer::of(200, "text/html", "<html>Log in</html>"),
        Answer::of(200, "text/html", r#"{"username": "ada"}"#),
        Answer::json(&json!({})),
        Answer::json(&json!({"username": ""})),
        Answer::json(&json!({"username": 7})),
        Answer::json(&json!(["username"])),
        Answer::of(401, "application/json", "{}"),
        Answer::of(403, "text/html", "CSRF"),
    ] {
        bench.app.answers(answer.clone());
        let step = bench.hub.begin(&known()).await;
        let Err(AuthError::Elsewhere { way, why }) = step else { panic!("{answer:?}: {step:?}") };
        assert_eq!(way.url.as_deref(), Some("https://app.example.org"));
        assert!(!why.contains("s3ss10n") && !why.contains("t0k3n"), "{why}");
        assert_eq!(log.reasons().last().map(String::as_str), Some("app_no_session"), "{answer:?}");
        assert!(bench.hub.leaving(&known()).await.unwrap().is_none(), "{answer:?}");
    }
    assert!(other.asked().is_empty(), "a redirect was followed");
    let log = log.text();
    assert!(!log.contains("s3ss10n") && !log.contains("t0k3n"), "{log}");
}

#[tokio::test]
async fn without_cookies_nobody_is_asked() {
    let bench = Bench::start().await;
    for rq in [request(&[]), request(&[("sessionid", "s")]), request(&[("csrftoken", "t")])] {
        assert!(matches!(bench.hub.begin(&rq).await, Err(AuthError::Elsewhere { .. })));
        assert!(bench.hub.leaving(&rq).await.unwrap().is_none());
    }
    assert!(bench.app.asked().is_empty());
}

#[tokio::test]
async fn an_application_that_is_away_is_not_a_missing_login() {
    let bench = Bench::start().await;
    for answer in [
        Answer::of(500, "text/html", ""),
        Answer::of(503, "application/json", "{}"),
        Answer::of(429, "text/plain", ""),
        Answer::of(404, "text/html", ""),
        Answer::of(200, "application/json", " ".repeat((1 << 20) + 1)),
    ] {
        bench.app.answers(answer.clone());
        let step = bench.hub.begin(&known()).await;
        assert!(matches!(step, Err(AuthError::Unavailable(_))), "{}: {step:?}", answer.status);
        assert!(bench.hub.leaving(&known()).await.is_err());
    }
    // Nothing listens there any more.
    let url = bench.app.url.clone();
    drop(bench);
    let hub = authenticator(&url, &json!({}));
    let listening = || async { matches!(hub.begin(&known()).await, Err(AuthError::Unavailable(_))) };
    while !listening().await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_backend_logs_people_out_with_their_cookies() {
    let bench = Bench::start().await;
    let who = bench.hub.leaving(&known()).await.unwrap().unwrap();
    assert_eq!(who.name, "Ada@Example.org");
    assert!(bench.hub.logout_ends_all_sessions());
    let onward = bench.hub.logged_out(&Identity::default(), &known()).await.unwrap();
    assert_eq!(onward.as_deref(), Some("https://app.example.org/goodbye"));
}
