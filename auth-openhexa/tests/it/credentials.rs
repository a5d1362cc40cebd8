use hub_core::spawner::Bind;
use hub_core::testing::Log;
use hub_core::{HookError, Identity, Refresh, ServerKey, ServerName, UserName};
use serde_json::{Value, json};

use crate::app::Answer;
use crate::support::{Bench, authenticator, known, request};

const SLUG: &str = "suivi-epidemiologique-des-maladies-a-declaration-obligatoire-63";

fn workspace() -> Value {
    json!({
        "env": {
            "WORKSPACE_BUCKET_NAME": "b", "HEXA_TOKEN": "secret-t", "WORKSPACE_DATABASE_PASSWORD": "p{a}{{b}}%s$HOME",
        },
        "notebooks_server_hash": "a1b2c3",
        "image": "registry.example/lab:1",
    })
}

#[tokio::test]
async fn a_workspace_brings_environment_names_and_image() {
    let bench = Bench::start().await;
    bench.app.answers(Answer::json(&workspace()));
    let job = bench.prepares(SLUG, Some(known()), Some("ada@example.org")).await.unwrap();
    for (name, value) in [
        ("WORKSPACE_BUCKET_NAME", "b"),
        ("HEXA_TOKEN", "secret-t"),
        ("WORKSPACE_DATABASE_PASSWORD", "p{a}{{b}}%s$HOME"),
        ("HEXA_SERVER_URL", "https://api.example.org"),
        ("JUPYTERHUB_API_TOKEN", "own"),
    ] {
        assert_eq!(job.env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(job.overrides.object_name.as_deref(), Some("jupyter-a1b2c3"));
    assert_eq!(job.overrides.image.as_deref(), Some("registry.example/lab:1"));
    assert!(job.overrides.without_own_volume);
    assert_eq!(job.overrides.binds, []);
    assert_eq!(job.labels["hexa-workspace"], SLUG);
    let asked = bench.app.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", "/workspaces/credentials/"));
    assert_eq!(asked[0].body, format!("workspace={SLUG}"));
    assert_eq!(asked[0].headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(asked[0].headers["cookie"], "sessionid=s3ss10n; csrftoken=t0k3n");
    assert_eq!(asked[0].headers["x-csrftoken"], "t0k3n");
}

#[tokio::test]
async fn files_that_the_application_keeps_on_this_machine_are_bound() {
    let bench = Bench::start().await;
    let local = |path: Value| {
        let mut answer = workspace();
        answer["env"]["WORKSPACE_STORAGE_ENGINE"] = json!("local");
        answer["env"]["WORKSPACE_STORAGE_MOUNT_PATH"] = path;
        Answer::json(&answer)
    };
    bench.app.answers(local(json!("/data/ws")));
    let job = bench.prepares("ws", Some(known()), None).await.unwrap();
    let bind = Bind { source: "/data/ws".to_owned(), target: "/home/jovyan/workspace".to_owned() };
    assert_eq!(job.overrides.binds, [bind]);
    for path in [json!("data"), json!("/data/../etc"), json!(""), Value::Null] {
        bench.app.answers(local(path.clone()));
        let error = bench.prepares("ws", Some(known()), None).await.unwrap_err();
        assert!(matches!(error, HookError::Broken { retry: false, .. }), "{path}: {error:?}");
    }
}

#[tokio::test]
async fn the_default_server_gets_its_own_credentials_and_none_of_the_rest() {
    let bench = Bench::start().await;
    let answer = |name: &str| {
        Answer::json(
            &json!({"username": name, "env": {"GIT_EXTENSION_ENABLED": "true"}, "files": {}, "image": "no"}),
        )
    };
    bench.app.answers(answer("Ada@example.org"));
    let job = bench.prepares("", Some(known()), Some("ada@example.org")).await.unwrap();
    assert_eq!(job.env["GIT_EXTENSION_ENABLED"], "true");
    assert_eq!(job.overrides, hub_core::spawner::Overrides::default());
    assert!(job.labels.is_empty());
    let asked = bench.app.asked();
    assert_eq!((asked[0].path.as_str(), asked[0].body.as_str()), ("/notebooks/default-credentials/", ""));
    bench.app.answers(answer("eve@example.org"));
    let error = bench.prepares("", Some(known()), Some("ada@example.org")).await.unwrap_err();
    assert!(matches!(error, HookError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn nobody_gets_credentials_into_the_server_of_somebody_else() {
    let bench = Bench::start().await;
    bench.app.answers(Answer::json(&workspace()));
    let error = bench.prepares("ws", Some(known()), Some("admin@example.org")).await.unwrap_err();
    assert!(matches!(error, HookError::Refused(_)), "{error:?}");
    assert!(bench.app.asked().is_empty());
    // The application's backend is a service and passes the person's own cookies on.
    bench.prepares("ws", Some(known()), None).await.unwrap();
}

#[tokio::test]
async fn refusals_are_told_apart_from_breakdowns() {
    let bench = Bench::start().await;
    for (answer, word, reason) in [
        (Answer::of(404, "application/json", "{}"), "knows no such workspace", "app_unknown_workspace"),
        (Answer::redirect("/login"), "Log in", "app_no_session"),
    ] {
        bench.app.answers(answer);
        let (log, _guard) = Log::begin();
        let error = bench.prepares("ws", Some(known()), None).await.unwrap_err();
        let HookError::Refused(text) = error else { panic!("{error:?}") };
        assert!(text.contains(word), "{text}");
        assert_eq!(log.reasons(), [reason]);
    }
    for (answer, again) in [
        (Answer::of(500, "text/html", ""), true),
        (Answer::of(200, "application/json", "[]"), false),
        (Answer::of(200, "application/json", r#"{"env": {"A": "secret-v"#), false),
        (Answer::json(&json!({"env": {"A": {"secret-v": 1}}})), false),
        (Answer::json(&json!({"env": {"A=B": "secret-v"}})), false),
        (Answer::json(&json!({"env": {}, "notebooks_server_hash": "secret-v/.."})), false),
        (Answer::json(&json!({"env": {}, "image": "a b"})), false),
    ] {
        bench.app.answers(answer.clone());
        let error = bench.prepares("ws", Some(known()), None).await.unwrap_err();
        let HookError::Broken { operator, retry, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*retry, again, "{answer:?}");
        assert!(!operator.contains("secret-v"), "{operator}");
    }
}

#[tokio::test]
async fn a_401_is_for_viewers_and_for_sessions_that_have_ended_and_the_words_tell_which() {
    let bench = Bench::start().await;
    let told = |name: &str| Answer::json(&json!({"username": name}));
    let page = Answer::of(200, "text/html", "<html>Log in</html>");
    for status in [401, 403] {
        bench.app.answers(Answer::of(status, "application/json", r#"{"error": "x"}"#));
        for (who, word, reason) in [
            (told("ada@example.org"), "Viewers", "app_viewer"),
            (page.clone(), "not logged in to OpenHEXA any more", "app_no_session"),
            (Answer::redirect("/login"), "not logged in to OpenHEXA any more", "app_no_session"),
            (told("eve@example.org"), "as somebody else", "app_other_person"),
        ] {
            bench.app.answers_whose(Some(who));
            let (log, _guard) = Log::begin();
            let error = bench.prepares("ws", Some(known()), None).await.unwrap_err();
            let HookError::Refused(text) = error else { panic!("{error:?}") };
            assert!(text.contains(word), "{status} {text}");
            assert_eq!(log.reasons(), [reason]);
            let log = log.text();
            assert!(!log.contains("s3ss10n") && !log.contains("t0k3n"), "{log}");
            let paths: Vec<String> = bench.app.asked().into_iter().map(|asked| asked.path).collect();
            assert_eq!(paths, ["/workspaces/credentials/", "/notebooks/authenticate/"]);
        }
        bench.app.answers_whose(Some(Answer::of(502, "text/html", "")));
        let error = bench.prepares("ws", Some(known()), None).await.unwrap_err();
        assert!(matches!(error, HookError::Broken { retry: true, .. }), "{error:?}");
        bench.app.asked();
    }
}

#[tokio::test]
async fn without_cookies_there_is_no_call_and_no_start() {
    let bench = Bench::start().await;
    for request in [None, Some(request(&[("sessionid", "s")]))] {
        let error = bench.prepares("ws", request, None).await.unwrap_err();
        assert!(matches!(error, HookError::Broken { retry: false, .. }), "{error:?}");
    }
    assert!(bench.app.asked().is_empty());
}

#[tokio::test]
async fn the_hubs_own_variables_are_not_the_applications() {
    let bench = Bench::start().await;
    bench.app.answers(Answer::json(
        &json!({"env": {"JUPYTERHUB_API_TOKEN": "x", "JPY_X": "y", "N": 7, "GONE": null}}),
    ));
    let job = bench.prepares("ws", Some(known()), None).await.unwrap();
    assert_eq!(job.env["JUPYTERHUB_API_TOKEN"], "own");
    assert_eq!(job.env["N"], "7");
    assert!(!job.env.contains_key("JPY_X") && !job.env.contains_key("GONE"));
}

#[tokio::test]
async fn each_start_brings_fresh_credentials() {
    let bench = Bench::start().await;
    let mut answer = workspace();
    for token in ["first", "second"] {
        answer["env"]["HEXA_TOKEN"] = json!(token);
        bench.app.answers(Answer::json(&answer));
        let job = bench.prepares(SLUG, Some(known()), None).await.unwrap();
        assert_eq!(job.env["HEXA_TOKEN"], token);
        assert_eq!(bench.app.asked().len(), 1);
    }
    let who = Identity { name: "ada@example.org".to_owned(), ..Identity::default() };
    for rq in [None, Some(request(&[])), Some(known())] {
        let answer = bench.hub.refresh(&who, rq.as_ref(), true).await.unwrap();
        assert!(matches!(answer, Refresh::Valid), "{answer:?}");
    }
    assert!(bench.hub.server_environment(&who).is_empty(), "nothing that may have ended is handed out");
    assert!(bench.app.asked().is_empty(), "the application was asked beside the starts");
}

#[tokio::test]
async fn a_running_server_gets_the_variables_of_a_start_for_the_browser_of_its_owner_alone() {
    let bench = Bench::start().await;
    assert_eq!(bench.hub.credentials_max_age(), Some(std::time::Duration::from_mins(15)));
    let key = ServerKey::new(UserName::stored("ada@example.org"), ServerName::stored(SLUG));
    bench.app.answers(Answer::json(&workspace()));
    bench.app.answers_whose(Some(Answer::json(&json!({"username": "Ada@Example.org"}))));
    let given = bench.hub.fresh_environment(&key, &known()).await.unwrap().unwrap();
    assert_eq!(given["HEXA_TOKEN"], "secret-t");
    assert_eq!(given["HEXA_SERVER_URL"], "https://api.example.org");
    assert_eq!(given["WORKSPACE_DATABASE_PASSWORD"], "p{a}{{b}}%s$HOME");
    let asked = bench.app.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/notebooks/authenticate/", "/workspaces/credentials/"]);
    assert_eq!(asked[1].body, format!("workspace={SLUG}"));

    assert_eq!(bench.hub.fresh_environment(&key, &request(&[("sessionid", "s")])).await.unwrap(), None);
    assert!(bench.app.asked().is_empty());
    for (whose, reason) in [
        (Answer::json(&json!({"username": "eve@example.org"})), "app_other_person"),
        (Answer::redirect("/login"), "app_no_session"),
        (Answer::of(503, "text/html", ""), "app_away"),
    ] {
        bench.app.answers_whose(Some(whose));
        let (log, _guard) = Log::begin();
        assert!(bench.hub.fresh_environment(&key, &known()).await.is_err());
        assert_eq!(log.reasons(), [reason]);
        let asked = bench.app.asked();
        assert!(asked.iter().all(|asked| asked.path == "/notebooks/authenticate/"), "{asked:?}");
    }
    let never = authenticator(&bench.app.url, &json!({"credentials_max_age": 0}));
    assert_eq!(never.credentials_max_age(), None);
}
