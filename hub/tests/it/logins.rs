//! Logins that are looked at again, that an identity service ends, and that are guessed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix_web::http::Method;
use chrono::TimeDelta;
use futures_util::future::join_all;
use hub_core::{Clock as _, SystemClock};
use hub_db::repo;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::scripted_login::{SERVICES, browser, hub, hub_with, is_in, log_in, log_in_with};
use crate::support::{Client, TestHub};
use himalia::routing::{MARK_HEADER, Mark};

#[actix_web::test]
async fn of_many_requests_to_two_hubs_one_refreshes_a_login() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:///{}", folder.path().join("hub.sqlite").display());
    let (one, two) = (hub("many", &database).await, hub("many", &database).await);
    let login = log_in(&one, "ada", "right").await;
    assert_eq!(login.code(), 302, "{login:?}");
    let service = Arc::clone(&SERVICES.lock().unwrap()["many"]);
    let clients = [browser(&one, &login), browser(&two, &login)];
    for round in 1..=2 {
        let end = SystemClock.now() + TimeDelta::milliseconds(1_100);
        while SystemClock.now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = service.refreshes.load(Ordering::SeqCst);
        let began = Instant::now();
        let asked = (0..100).map(|n| is_in(&clients[n % 2]));
        assert!(join_all(asked).await.into_iter().all(|known| known), "round {round}");
        // What a refresh brought holds for a second, so that a slow machine needs another one for each.
        let most = 1 + began.elapsed().as_secs();
        let refreshes = (service.refreshes.load(Ordering::SeqCst) - before) as u64;
        assert!((1..=most).contains(&refreshes), "round {round}: {refreshes} refreshes, {most} at most");
    }
    assert_eq!(service.misused.load(Ordering::SeqCst), 0);
}

#[actix_web::test]
async fn the_right_to_refresh_lasts_for_as_long_as_a_refresh_may_take() {
    let hub = hub("slow", "sqlite://").await;
    let ada = browser(&hub, &log_in(&hub, "ada", "right").await);
    let service = Arc::clone(&SERVICES.lock().unwrap()["slow"]);
    let gate = Arc::new(Notify::new());
    *service.hold.lock().unwrap() = Some(Arc::clone(&gate));
    let began = SystemClock.now();
    let asked = async {
        while service.refreshes.load(Ordering::SeqCst) == 0 {
            assert!(is_in(&ada).await);
        }
    };
    let kept = async || {
        let row = repo::users::by_name(hub.hub.db.conn(), "ada").await.unwrap().unwrap();
        hub.hub.auth.crypt.decrypt(row.encrypted_auth_state.as_deref().unwrap()).unwrap().state
    };
    let looked = async {
        let deadline = Instant::now() + Duration::from_secs(20);
        let until = loop {
            if let Some(until) = kept().await["refreshing"]["until"].as_i64() {
                break until;
            }
            assert!(Instant::now() < deadline, "nothing is refreshed");
            tokio::task::yield_now().await;
        };
        gate.notify_one();
        until
    };
    let ((), until) = futures_util::future::join(asked, looked).await;
    let least = (began + TimeDelta::minutes(5)).timestamp();
    assert!(until > least, "{until} is before {least}");
    assert!(kept().await.get("refreshing").is_none(), "the right was given back");
}

#[actix_web::test]
async fn who_logs_out_of_a_login_that_holds_no_more_leaves_nothing_of_it() {
    let hub = hub("stale", "sqlite://").await;
    let ada = browser(&hub, &log_in(&hub, "ada", "right").await);
    assert!(is_in(&ada).await);
    let db = hub.hub.db.conn();
    let user = repo::users::by_name(db, "ada").await.unwrap().unwrap();
    let logins =
        async || repo::browser_sessions::of_user(db, user.id, SystemClock.now()).await.unwrap().len();
    // The service ends the session: what is kept is worth nothing at the next refresh.
    SERVICES.lock().unwrap()["stale"].token.store(99, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(20);
    while is_in(&ada).await {
        assert!(Instant::now() < deadline, "the login still holds");
        tokio::task::yield_now().await;
    }
    assert_eq!(logins().await, 1);
    let page = ada.send(Method::GET, "/hub/token", None).await;
    assert_eq!(page.cookie("jupyterhub-hub-login"), None, "a browser would come to the logout without it");
    let other = log_in(&hub, "bob", "right").await;
    assert_eq!(other.code(), 302);
    assert_eq!(ada.send(Method::GET, "/hub/logout", None).await.code(), 302);
    assert_eq!(logins().await, 0);
    assert!(is_in(&browser(&hub, &other)).await, "the logout ended the login of somebody else");
}

#[actix_web::test]
async fn a_wrong_password_costs_the_same_whoever_it_is_for() {
    let hub = hub("cost", "sqlite://").await;
    assert_eq!(log_in(&hub, "ada", "right").await.code(), 302);
    // The least of some tries: what a hub does beside them counts, too.
    let cost = async |user: &str| {
        let mut least = u64::MAX;
        for _ in 0..3 {
            let before = hub.hub.db.statements();
            assert_eq!(log_in(&hub, user, "wrong").await.code(), 403);
            least = least.min(hub.hub.db.statements() - before);
        }
        least
    };
    assert_eq!(cost("ada").await, cost("nobody-has-this-name").await);
}

#[actix_web::test]
async fn an_identity_service_ends_logins_and_their_tokens() {
    let hub = hub("ends", "sqlite://").await;
    let ada = browser(&hub, &log_in(&hub, "ada", "right").await);
    let bob = browser(&hub, &log_in(&hub, "bob", "right").await);
    let script = hub.token("ada", &["inherit"]).await;
    let end = async |body: &str| {
        let form = "application/x-www-form-urlencoded";
        hub.anonymous()
            .header("Content-Type", form)
            .send(Method::POST, "/hub/end", Some(body.as_bytes()))
            .await
    };
    let answer = end("subject=ada").await;
    assert_eq!((answer.code(), answer.header("cache-control")), (200, Some("no-store")));
    assert!(!is_in(&ada).await && is_in(&bob).await);
    assert_eq!(script.get("/user").await.code(), 200, "what ada made for a script stays");
    let row = repo::users::by_name(hub.hub.db.conn(), "ada").await.unwrap().unwrap();
    assert_eq!(row.encrypted_auth_state, None);

    let back = browser(&hub, &log_in(&hub, "ada", "right").await);
    assert!(is_in(&back).await);
    end("subject=ada&all=1").await;
    assert_eq!(script.get("/user").await.code(), 403);
    assert!(!is_in(&back).await);

    // Servers run on, unless the operator wants otherwise.
    let bob = hub.token("bob", &["inherit"]).await;
    bob.post("/users/bob/server", None).await.is_empty(201, "text/plain");
    end("subject=bob").await;
    assert_eq!(bob.get("/users/bob/server").await.json()["ready"], true);
    log_in(&hub, "bob", "right").await;
    end("subject=bob&stop=1").await;
    let deadline = Instant::now() + Duration::from_secs(20);
    while bob.get("/users/bob/server").await.json()["stopped"] != true {
        assert!(Instant::now() < deadline, "the server of bob runs on");
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn the_end_of_one_session_there_ends_the_browsers_that_came_from_it_alone() {
    let hub = hub("sessions-there", "sqlite://").await;
    let script = hub.token("ada", &["inherit"]).await;
    script.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let running = async || script.get("/users/ada/server").await.json()["ready"] == true;
    let comes = async |user: &str, session: &str| {
        let login = log_in_with(&hub, user, "right", &[("session", session)]).await;
        browser(&hub, &login)
    };
    let end = async |body: &str| {
        let form = hub.anonymous().header("Content-Type", "application/x-www-form-urlencoded");
        let answer = form.send(Method::POST, "/hub/end", Some(body.as_bytes())).await;
        assert_eq!(answer.code(), 200, "{answer:?}");
    };
    for by in ["session=one&stop=1", "session=one&subject=ada&stop=1"] {
        let (older, newer, bob) =
            (comes("ada", "one").await, comes("ada", "two").await, comes("bob", "x").await);
        assert!(is_in(&older).await && is_in(&newer).await && is_in(&bob).await);
        // Of another service, or of a session that nobody has.
        end("session=two&subject=bob").await;
        end("session=three&subject=ada&stop=1").await;
        assert!(is_in(&older).await && is_in(&newer).await && is_in(&bob).await, "{by}");
        end(by).await;
        assert!(!is_in(&older).await, "{by}");
        assert!(is_in(&newer).await && is_in(&bob).await, "{by}");
        assert!(running().await, "the person is still in by another browser");
        let again = comes("ada", "four").await;
        assert!(is_in(&again).await && is_in(&newer).await);
        // The account as a whole.
        end("subject=ada").await;
        assert!(!is_in(&newer).await && !is_in(&again).await && is_in(&bob).await, "{by}");
    }
    let last = comes("ada", "five").await;
    end("session=five&stop=1").await;
    assert!(!is_in(&last).await);
    let deadline = Instant::now() + Duration::from_secs(20);
    while running().await {
        assert!(Instant::now() < deadline, "the server outlives the last login");
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn whoever_comes_back_from_another_session_there_is_in_by_that_one() {
    let hub = hub("sessions-change", "sqlite://").await;
    let first = log_in_with(&hub, "ada", "right", &[("session", "one")]).await;
    let cookie = first.cookie("jupyterhub-hub-login").unwrap();
    let page = browser(&hub, &first).send(Method::GET, "/hub/home", None).await;
    let xsrf = page.cookie("_xsrf").unwrap();
    let form = format!("username=ada&password=right&session=two&_xsrf={xsrf}");
    let second = hub
        .anonymous()
        .header(
            "Cookie",
            &format!("jupyterhub-hub-login=\"{cookie}\"; jupyterhub-session-id=s; _xsrf={xsrf}"),
        )
        .header("Content-Type", "application/x-www-form-urlencoded")
        .send(Method::POST, "/hub/login", Some(form.as_bytes()))
        .await;
    assert_eq!(second.code(), 302, "{second:?}");
    let again = browser(&hub, &second);
    let end = async |session: &str| {
        let form = hub.anonymous().header("Content-Type", "application/x-www-form-urlencoded");
        form.send(Method::POST, "/hub/end", Some(format!("session={session}").as_bytes())).await;
    };
    end("one").await;
    assert!(is_in(&again).await);
    end("two").await;
    assert!(!is_in(&again).await);
}

#[actix_web::test]
async fn who_guesses_is_told_to_wait_and_others_are_not() {
    let hub = hub("guess", "sqlite://").await;
    for _ in 0..10 {
        assert_eq!(log_in(&hub, "ada", "wrong").await.code(), 403);
    }
    let answer = log_in(&hub, "Ada", "right").await;
    assert_eq!(answer.code(), 429);
    assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    assert!(answer.text.contains("Too many attempts"));
    let body = json!({"auth": {"username": "ada", "password": "right"}});
    assert_eq!(hub.anonymous().post("/users/ada/tokens", body).await.code(), 429);
    assert_eq!(log_in(&hub, "bob", "right").await.code(), 302);
}

#[actix_web::test]
async fn roles_follow_the_authenticator_at_each_login() {
    let hub = hub("roles", "sqlite://").await;
    let with = async |roles: &str| {
        let login = log_in_with(&hub, "ada", "right", &[("roles", roles)]).await;
        assert_eq!(login.code(), 302, "{login:?}");
        let row = repo::users::by_name(hub.hub.db.conn(), "ada").await.unwrap().unwrap();
        let held = repo::roles::of(hub.hub.db.conn(), repo::roles::Holder::User(row.id)).await.unwrap();
        held.into_iter().map(|role| role.name).collect::<Vec<_>>()
    };
    assert_eq!(with("teacher,lab-admin").await, ["lab-admin", "teacher", "user"]);
    let made = repo::roles::by_name(hub.hub.db.conn(), "teacher").await.unwrap().unwrap();
    assert!(made.managed_by_auth);
    assert_eq!(made.scopes.0, ["read:hub"]);
    assert_eq!(with("teacher").await, ["teacher", "user"]);
    let gone = repo::roles::by_name(hub.hub.db.conn(), "lab-admin").await.unwrap();
    assert!(gone.is_none(), "nobody holds it any more");
    assert_eq!(log_in(&hub, "ada", "right").await.code(), 302);
    assert_eq!(with("").await, ["user"]);
    let refused = log_in_with(&hub, "ada", "right", &[("roles", "No Role")]).await;
    assert_eq!(refused.code(), 409, "{refused:?}");
}

#[actix_web::test]
async fn logins_are_recorded_with_whose_they_were_and_mistyped_names_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let hub = hub_with("audit", "sqlite://", Some(path.clone())).await;
    for (name, password) in [("ada", "right"), ("ada", "wrong"), ("a-password-typed-too-early", "ada")] {
        log_in(&hub, name, password).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let seen: Vec<_> = records.iter().map(|r| json!([r["actor"]["name"], r["for"], r["status"]])).collect();
    assert_eq!(seen, [json!(["ada", "ada", 302]), json!([null, "ada", 403]), json!([null, null, 403])]);
    assert!(!text.contains("typed-too-early"), "{text}");
}

#[actix_web::test]
async fn a_header_with_a_name_counts_only_on_what_came_through_the_proxy() {
    let test = TestHub::with(|config| {
        config.authenticator.kind = "remote-user".to_owned();
        let table = json!({"trusted_proxies": ["10.9.9.9"]}).as_object().cloned().unwrap();
        config.authenticator.plugins.insert("remote-user", table);
    })
    .await;
    let says = test.anonymous().header("X-Remote-User", "root").header("X-Forwarded-For", "10.9.9.9");
    let login = async |client: &Client| client.send(Method::GET, "/hub/login", None).await;
    let (_, wrong) = Mark::from_secret(b"guessed").header();
    for forger in
        [says.clone(), says.clone().header(MARK_HEADER, ""), says.clone().header(MARK_HEADER, &wrong)]
    {
        let answer = login(&forger).await;
        assert!(answer.cookie("jupyterhub-hub-login").is_none(), "{answer:?}");
    }
    let (_, mark) = Mark::from_secret(&[0xab; 32]).header();
    let answer = login(&says.header(MARK_HEADER, &mark)).await;
    assert!(answer.cookie("jupyterhub-hub-login").is_some(), "{answer:?}");
    let elsewhere = test.anonymous().header("X-Remote-User", "root").header("X-Forwarded-For", "10.9.9.8");
    let answer = login(&elsewhere.header(MARK_HEADER, &mark)).await;
    assert!(answer.cookie("jupyterhub-hub-login").is_none(), "{answer:?}");
}

#[actix_web::test]
async fn in_a_chain_a_prefix_keeps_people_and_administrators_apart() {
    let admins = "administrators-have-one-of-their-own";
    let test = TestHub::with(|config| {
        let section = &mut config.authenticator;
        section.kind = "chain".to_owned();
        section.admin_users = vec!["guest-boss".to_owned()];
        let table = |value: Value| value.as_object().cloned().unwrap();
        section.plugins.insert(
            "chain",
            table(
                json!({"members": ["dummy", "shared-password"], "prefixes": {"shared-password": "Guest-"}}),
            ),
        );
        section.plugins.insert("dummy", table(json!({"password": "of-the-house"})));
        section.plugins.insert(
            "shared-password",
            table(json!({"user_password": "of-the-guests", "admin_password": admins})),
        );
    })
    .await;
    for (name, password, expected) in [
        // the password of everybody is not that of an administrator, with the prefix or without
        ("boss", "of-the-guests", None),
        ("guest-boss", "of-the-house", None),
        ("GUEST-bob", "of-the-house", None),
        ("bob", "of-the-house", Some(("bob", false))),
        ("bob", "of-the-guests", Some(("guest-bob", false))),
        ("boss", admins, Some(("guest-boss", true))),
        ("boss", "of-the-house", Some(("boss", false))),
    ] {
        let login = log_in(&test, name, password).await;
        let Some((user, admin)) = expected else {
            assert!(login.cookie("jupyterhub-hub-login").is_none(), "{name} {password}: {login:?}");
            continue;
        };
        assert!(login.cookie("jupyterhub-hub-login").is_some(), "{name} {password}: {login:?}");
        let user = repo::users::by_name(test.hub.db.conn(), user).await.unwrap().unwrap();
        assert_eq!(user.admin.unwrap_or_default(), admin, "{name} {password}");
    }
}

#[actix_web::test]
async fn when_all_tokens_end_a_note_saves_none_and_no_code_is_left() {
    let hub = hub("notes", "sqlite://").await;
    let script = hub.token("ada", &["inherit"]).await;
    script.post("/users/ada/server", None).await.is_empty(201, "text/plain");
    let db = hub.hub.db.conn();
    let ada = repo::users::by_name(db, "ada").await.unwrap().unwrap();
    let tokens = async || {
        let all = repo::tokens::of_owner(db, repo::Owner::User(ada.id), hub.hub.clock.now()).await.unwrap();
        let pairs = all.into_iter().map(|it| (it.token.id, it.token.note.unwrap_or_default()));
        pairs.collect::<Vec<_>>()
    };
    let own = tokens().await.into_iter().find(|(_, note)| note == "Server at /user/ada/").unwrap();
    for note in ["Server at /user/ada/", "Server at last", "for a script"] {
        script.post("/users/ada/tokens", json!({"note": note})).await.holds(201);
    }
    assert_eq!(tokens().await.len(), 5);
    log_in(&hub, "ada", "right").await;
    let code = repo::oauth::NewCode {
        code: "c0de".to_owned(),
        client_id: "jupyterhub-user-ada".to_owned(),
        user_id: ada.id,
        redirect_uri: "/user/ada/oauth_callback".to_owned(),
        session_id: Some("s".to_owned()),
        scopes: Vec::new(),
        challenge: None,
        expires_at: hub.hub.clock.now() + TimeDelta::minutes(5),
    };
    repo::oauth::create_code(db, code).await.unwrap();
    let answer = hub
        .anonymous()
        .header("Content-Type", "application/x-www-form-urlencoded")
        .send(Method::POST, "/hub/end", Some(b"subject=ada&all=1"))
        .await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    assert_eq!(tokens().await, [own], "the running server goes on");
    assert!(repo::oauth::code(db, "c0de", hub.hub.clock.now()).await.unwrap().is_none());
}
