//! The logins of browsers: seen, ended one by one and all at once, by their owner and by administrators.

use actix_web::http::Method;
use hub_config::Config;
use hub_db::repo;
use serde_json::{Value, json};

use crate::support::{Answer, Client, TestHub, WATCH};

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1";

/// What a browser keeps.
struct Browser {
    client: Client,
    login: String,
    session: String,
}

/// Logs in by the form, as a browser of this name.
async fn log_in(test: &TestHub, user: &str, agent: &str) -> Browser {
    log_in_again(test, user, agent, None).await
}

/// The same, as one that kept its session of before.
async fn log_in_again(test: &TestHub, user: &str, agent: &str, session: Option<&str>) -> Browser {
    let kept = session.map(|id| format!("jupyterhub-session-id={id}; ")).unwrap_or_default();
    // Strangers are told apart by what their browser says, too.
    let stranger = test.anonymous().header("User-Agent", agent);
    let page = stranger.clone().header("Cookie", &kept).send(Method::GET, "/hub/login", None).await;
    let xsrf = page.cookie("_xsrf").unwrap();
    let form = format!("username={user}&password=&_xsrf={}", xsrf.replace('=', "%3D"));
    let answer = stranger
        .header("Cookie", &format!("{kept}_xsrf={xsrf}"))
        .header("Content-Type", "application/x-www-form-urlencoded")
        .send(Method::POST, "/hub/login", Some(form.as_bytes()))
        .await;
    assert_eq!(answer.code(), 302, "{answer:?}");
    let cookie = |name: &str| answer.cookie(name).unwrap();
    let session = session.map_or_else(|| cookie("jupyterhub-session-id"), str::to_owned);
    browser(test, &cookie("jupyterhub-hub-login"), &session, &cookie("_xsrf"))
}

fn browser(test: &TestHub, login: &str, session: &str, xsrf: &str) -> Browser {
    let cookies = format!("jupyterhub-hub-login=\"{login}\"; jupyterhub-session-id={session}; _xsrf={xsrf}");
    Browser {
        client: test.anonymous().header("Cookie", &cookies).header("X-XSRFToken", xsrf),
        login: login.to_owned(),
        session: session.to_owned(),
    }
}

async fn is_in(client: &Client) -> bool {
    client.send(Method::GET, "/hub/token", None).await.code() == 200
}

async fn sessions(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/sessions{query}")).await;
    assert_eq!(answer.code(), 200, "{answer:?}");
    answer.json()["sessions"].as_array().unwrap().clone()
}

fn id_of(sessions: &[Value], browser: &str) -> String {
    let one = sessions.iter().find(|session| session["browser"] == browser).unwrap();
    one["id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn a_person_sees_the_browsers_and_ends_one_of_them() {
    let test = TestHub::start().await;
    let (one, two) = (log_in(&test, "ada", FIREFOX).await, log_in(&test, "ada", SAFARI).await);
    let seen = sessions(&one.client, "").await;
    assert_eq!(seen.len(), 2, "{seen:?}");
    let current: Vec<_> = seen.iter().filter(|session| session["current"] == true).collect();
    assert_eq!(
        (current.len(), &current[0]["browser"], &current[0]["system"]),
        (1, &json!("Firefox"), &json!("Linux"))
    );
    assert_eq!((&current[0]["user"], &current[0]["agent"]), (&json!("ada"), &json!(FIREFOX)));

    let answer = one.client.delete(&format!("/sessions/{}", id_of(&seen, "Safari")), None).await;
    assert_eq!(answer.code(), 204, "{answer:?}");
    assert!(is_in(&one.client).await && !is_in(&two.client).await);
    assert_eq!(sessions(&one.client, "").await.len(), 1);
    // The cookie is worth nothing without the row, and is taken away.
    let refused = two.client.send(Method::GET, "/hub/home", None).await;
    assert_eq!((refused.code(), refused.cookie("jupyterhub-hub-login").as_deref()), (302, Some("")));
    let owner = async |login: &str| {
        let value = hub_core::names::escape_client_part(login);
        test.root().get(&format!("/authorizations/cookie/jupyterhub-hub-login/{value}")).await
    };
    assert_eq!(owner(&two.login).await.code(), 404);
    assert_eq!(owner(&one.login).await.json()["name"], "ada");
}

#[actix_web::test]
async fn what_servers_got_in_a_browser_ends_with_its_login() {
    let test = TestHub::start().await;
    let (one, two) = (log_in(&test, "ada", FIREFOX).await, log_in(&test, "ada", SAFARI).await);
    let db = test.hub.db.conn();
    let user = repo::users::by_name(db, "ada").await.unwrap().unwrap();
    let mut texts = Vec::new();
    for session in [Some(&one.session), Some(&two.session), None] {
        let text = hub_core::secret::random_hex32();
        let new = repo::tokens::NewToken {
            owner: repo::Owner::User(user.id),
            rounds: hub_core::token::GENERATED_ROUNDS,
            client_id: "jupyterhub".to_owned(),
            scopes: vec!["inherit".to_owned()],
            note: String::new(),
            session_id: session.cloned(),
            expires_at: None,
        };
        repo::tokens::create(db, &text, new, test.hub.clock.now()).await.unwrap();
        texts.push(text);
    }
    let works = async |at: usize| test.bearer(&texts[at]).get("/user").await.code() == 200;
    assert!(works(0).await && works(1).await && works(2).await);
    let id = id_of(&sessions(&one.client, "").await, "Safari");
    assert_eq!(one.client.delete(&format!("/sessions/{id}"), None).await.code(), 204);
    assert!(works(0).await && !works(1).await && works(2).await);

    // A login cookie that is stolen names no other session than its own.
    let thief = browser(&test, &one.login, "another-session", "none");
    let answer = thief.client.send(Method::GET, "/hub/home", None).await;
    assert_eq!((answer.code(), answer.cookie("jupyterhub-session-id")), (200, Some(one.session.clone())));

    // A browser that has lost the session gets it back, with a token of its own.
    let xsrf = one.client.sent("X-XSRFToken").unwrap();
    let cookies = format!("jupyterhub-hub-login=\"{}\"; _xsrf={xsrf}", one.login);
    let answer = test.anonymous().header("Cookie", &cookies).send(Method::GET, "/hub/token", None).await;
    assert_eq!((answer.code(), answer.cookie("jupyterhub-session-id")), (200, Some(one.session.clone())));
    let again = browser(&test, &one.login, &one.session, &answer.cookie("_xsrf").unwrap());
    assert_eq!(again.client.delete("/sessions/s0", None).await.code(), 404, "its XSRF token is good");
    let answer = again.client.send(Method::GET, "/hub/token", None).await;
    assert_eq!(answer.headers.get_all("set-cookie").count(), 0, "{answer:?}");
}

#[actix_web::test]
async fn all_others_end_and_the_browser_itself_stays() {
    let test = TestHub::start().await;
    let (one, two) = (log_in(&test, "ada", FIREFOX).await, log_in(&test, "ada", SAFARI).await);
    let stock = test.browser("ada", false).await;
    assert!(is_in(&stock).await, "a cookie as stock makes it counts");
    let answer = one.client.delete("/sessions?others=true", None).await;
    assert_eq!(answer.code(), 204, "{answer:?}");
    assert!(!is_in(&one.client).await && !is_in(&two.client).await && !is_in(&stock).await);
    let renewed = |answer: &Answer, name: &str| answer.cookie(name).unwrap();
    let login = renewed(&answer, "jupyterhub-hub-login");
    let stays = browser(&test, &login, &one.session, &renewed(&answer, "_xsrf"));
    let left = sessions(&stays.client, "").await;
    assert_eq!((left.len(), &left[0]["current"]), (1, &json!(true)));
    assert_eq!(stays.client.delete("/sessions", None).await.code(), 204, "its XSRF token is good");
    assert!(!is_in(&stays.client).await);
    assert_eq!(stays.client.delete("/sessions?others=maybe", None).await.code(), 403);
}

#[actix_web::test]
async fn others_need_the_scope_and_administrators_have_it() {
    let test = TestHub::start().await;
    let one = log_in(&test, "ada", FIREFOX).await;
    let id = id_of(&sessions(&one.client, "").await, "Firefox");
    let bob = test.user("bob").await;
    assert_eq!(bob.get("/sessions?user=ada").await.code(), 404);
    assert_eq!(bob.delete("/sessions?user=ada", None).await.code(), 404);
    assert_eq!(bob.delete(&format!("/sessions/{id}"), None).await.code(), 404);
    for other in ["s0", "a1", "1", "s", "s99999999999"] {
        bob.delete(&format!("/sessions/{other}"), None).await.fails(404, format!("No such session: {other}"));
    }
    let reader = test.user_with("reader", &["read:tokens!user=ada"]).await;
    assert_eq!(sessions(&reader, "?user=ada").await.len(), 1);
    assert_eq!(reader.delete(&format!("/sessions/{id}"), None).await.code(), 404);
    assert!(is_in(&one.client).await);
    assert_eq!(sessions(&test.root(), "").await.len(), 0);
    assert_eq!(test.root().get("/sessions?user=nobody").await.code(), 404);
    assert_eq!(sessions(&test.root(), "?user=ada").await.len(), 1);
    assert_eq!(test.root().delete("/sessions?user=ada", None).await.code(), 204);
    assert!(!is_in(&one.client).await);
}

#[actix_web::test]
async fn a_page_elsewhere_cannot_end_logins() {
    let test = TestHub::start().await;
    let one = log_in(&test, "ada", FIREFOX).await;
    let id = id_of(&sessions(&one.client, "").await, "Firefox");
    let forged = one.client.clone().without("X-XSRFToken");
    for path in ["/sessions".to_owned(), format!("/sessions/{id}"), format!("/sessions/{id}?_xsrf=guess")] {
        assert_eq!(forged.delete(&path, None).await.code(), 403, "{path}");
    }
    assert!(is_in(&one.client).await);
}

#[actix_web::test]
async fn logins_are_not_tokens_and_are_known_to_other_hubs_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:///{}", folder.path().join("hub.sqlite").display());
    let start = async || TestHub::with(|config: &mut Config| config.db.url = url.as_str().into()).await;
    let first = start().await;
    let one = log_in(&first, "ada", FIREFOX).await;
    let tokens = one.client.get("/users/ada/tokens").await.json();
    assert_eq!(tokens["api_tokens"], json!([]), "{tokens}");
    let page = one.client.send(Method::GET, "/hub/sessions", None).await;
    assert!(
        page.code() == 200 && page.text.contains("Firefox on Linux") && page.text.contains("This browser")
    );
    assert!(!page.text.contains(&one.login) && !page.text.contains(&one.session), "{}", page.text);

    let second = start().await;
    let again = browser(&second, &one.login, &one.session, "none");
    assert!(is_in(&again.client).await);
    let id = id_of(&sessions(&one.client, "").await, "Firefox");
    assert_eq!(second.root().delete(&format!("/sessions/{id}"), None).await.code(), 204);
    assert!(!is_in(&again.client).await);
    drop(first);
    let third = start().await;
    assert!(!is_in(&browser(&third, &one.login, &one.session, "none").client).await);
}

/// The text of the row behind a login cookie, which its owner can work out.
fn code_of(login: &str) -> String {
    let number: u64 = login.split('|').nth(1).unwrap().split_once(':').unwrap().1.parse().unwrap();
    format!("himalia-login:{:08x}", number & u64::from(u32::MAX))
}

#[actix_web::test]
async fn nobody_gets_a_token_for_a_login() {
    let test = TestHub::with(|config: &mut Config| {
        config.services[0].oauth_redirect_uri = Some("/services/watch/oauth_callback".to_owned());
    })
    .await;
    let one = log_in(&test, "ada", FIREFOX).await;
    let code = code_of(&one.login);
    for (client, secret, status, error) in [
        ("service-watch", WATCH, 400, "invalid_grant"),
        ("jupyterhub", "", 401, "invalid_client"),
        ("jupyterhub", "guess", 401, "invalid_client"),
    ] {
        let form =
            format!("grant_type=authorization_code&client_id={client}&client_secret={secret}&code={code}");
        let answer = test
            .anonymous()
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(Method::POST, "/hub/api/oauth2/token", Some(form.as_bytes()))
            .await;
        assert_eq!((answer.code(), &answer.json()["error"]), (status, &json!(error)), "{client}: {answer:?}");
    }
    assert!(is_in(&one.client).await, "nobody used it up");
}

#[actix_web::test]
async fn no_more_is_kept_of_a_browser_than_is_of_use() {
    let test = TestHub::start().await;
    let one = log_in(&test, "ada", &"x".repeat(5_000)).await;
    let seen = sessions(&one.client, "").await;
    assert_eq!(seen[0]["agent"], json!("x".repeat(512)));
    let text = seen[0].to_string();
    assert!(!text.contains(&one.login) && !text.contains(&one.session), "{text}");
}

#[actix_web::test]
async fn a_logout_ends_the_cookie_and_there_are_never_too_many() {
    let test = TestHub::start().await;
    let one = log_in(&test, "ada", FIREFOX).await;
    assert!(is_in(&one.client).await);
    one.client.send(Method::GET, "/hub/logout", None).await;
    assert!(!is_in(&one.client).await, "stock only takes the cookie from the browser");

    let first = log_in(&test, "ada", SAFARI).await;
    for _ in 0..himalia::auth::browsers::MOST {
        log_in(&test, "ada", FIREFOX).await;
    }
    assert!(!is_in(&first.client).await);
    let last = log_in(&test, "ada", SAFARI).await;
    assert_eq!(sessions(&last.client, "").await.len(), himalia::auth::browsers::MOST);
    // A program that keeps its session but not its login is in by the last of its logins.
    for _ in 0..himalia::auth::browsers::MOST {
        log_in_again(&test, "bob", "robot", Some("kept")).await;
    }
    assert!(is_in(&log_in_again(&test, "bob", "robot", Some("kept")).await.client).await);
}
