//! Logins that are looked at before starts and stops, and what is done where they do not hold any more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use actix_web::http::Method;
use async_trait::async_trait;
use hub_config::{Config, WorkspaceSource};
use hub_core::{
    AuthError, Authenticator, AuthenticatorContext, AuthenticatorPlugin, Identity, LoginForm, LoginMethod,
    LoginRequest, LoginStep, PluginError, Refresh,
};
use hub_db::repo;
use serde_json::{Map, Value, json};

use crate::support::TestHub;

/// Where people log in, as tests tell it to answer.
#[derive(Debug)]
struct Place {
    answer: Mutex<Result<Refresh, AuthError>>,
    asked: AtomicUsize,
}

impl Default for Place {
    fn default() -> Self {
        Self { answer: Mutex::new(Ok(Refresh::Valid)), asked: AtomicUsize::new(0) }
    }
}

impl Place {
    fn says(&self, answer: Result<Refresh, AuthError>) {
        *self.answer.lock().unwrap() = answer;
    }

    fn says_groups(&self, user: &str, groups: &[&str]) {
        let groups = Some(groups.iter().map(|group| (*group).to_owned()).collect());
        let newer = Identity { name: user.to_owned(), groups, ..Identity::default() };
        self.says(Ok(Refresh::Updated(Box::new(newer))));
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

static PLACES: LazyLock<Mutex<HashMap<String, Arc<Place>>>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
struct Told(Arc<Place>);

#[expect(clippy::needless_pass_by_value, clippy::unnecessary_wraps, reason = "the signature of plugins")]
fn build(options: Value, _: &AuthenticatorContext) -> Result<Arc<dyn Authenticator>, PluginError> {
    let name = options["place"].as_str().unwrap_or_default().to_owned();
    Ok(Arc::new(Told(Arc::clone(PLACES.lock().unwrap().entry(name).or_default()))))
}

#[async_trait]
impl Authenticator for Told {
    fn class_name(&self) -> &'static str {
        "Told"
    }

    fn login(&self) -> LoginMethod {
        LoginMethod::Redirect { label: "the place".to_owned(), path: "to_the_place".to_owned() }
    }

    async fn begin(&self, _: &LoginRequest) -> Result<LoginStep, AuthError> {
        Ok(LoginStep::Form(LoginForm::default()))
    }

    async fn finish(&self, _: &LoginRequest) -> Result<LoginStep, AuthError> {
        Err(AuthError::Invalid("nobody logs in here".to_owned()))
    }

    async fn refresh(&self, _: &Identity, _: Option<&LoginRequest>, _: bool) -> Result<Refresh, AuthError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.0.answer.lock().unwrap().clone()
    }

    async fn may_exist(&self, name: &str) -> Result<bool, AuthError> {
        match name {
            "away" => Err(AuthError::Unavailable("the place is away".to_owned())),
            name => Ok(name != "moved-out"),
        }
    }
}

async fn hub(place: &str, change: impl FnOnce(&mut Config)) -> (TestHub, Arc<Place>) {
    let plugin =
        AuthenticatorPlugin { name: "told", build, describe: hub_core::plugin::options_schema::<()> };
    let hub = TestHub::with_authenticator(plugin, |config| {
        config.authenticator.kind = String::from("told");
        config.authenticator.auth_refresh_age = Duration::ZERO;
        let table = Map::from_iter([("place".to_owned(), json!(place))]);
        config.authenticator.plugins.insert("told", table);
        change(config);
    })
    .await;
    let place = Arc::clone(&PLACES.lock().unwrap()[place]);
    (hub, place)
}

fn away() -> Result<Refresh, AuthError> {
    Err(AuthError::Unavailable("no answer".to_owned()))
}

const EXPIRED: &str = "auth has expired for ada, login again";

#[actix_web::test]
async fn before_a_start_the_login_of_the_owner_is_looked_at_whatever_its_age_is() {
    for strict in [false, true] {
        let (test, place) = hub(&format!("start-{strict}"), |config| {
            config.authenticator.refresh_pre_spawn = true;
            config.authenticator.auth_refresh_strict = strict;
        })
        .await;
        let (ada, script) = (test.browser("ada", false).await, test.user("ada").await);
        assert_eq!(place.asked(), 0, "nothing but starts and stops asks");
        for (place_says, by_cookie, by_others) in [
            (Ok(Refresh::Valid), 201, 201),
            (Ok(Refresh::Stale), 403, if strict { 403 } else { 201 }),
            (Err(AuthError::Denied("no more".to_owned())), 403, if strict { 403 } else { 201 }),
            // Who cannot be asked keeps nobody from work.
            (away(), 201, 201),
        ] {
            for (who, code) in [(&ada, by_cookie), (&script, by_others), (&test.root(), by_others)] {
                place.says(place_says.clone());
                let before = place.asked();
                let answer = who.post("/users/ada/servers/s", None).await;
                assert_eq!(answer.code(), code, "{strict} {place_says:?}: {answer:?}");
                assert_eq!(place.asked(), before + 1, "{strict} {place_says:?}");
                if code == 403 {
                    answer.fails(403, EXPIRED);
                }
                // So that no browser is taken for a stranger's meanwhile.
                test.hub.auth.looks.forget(user_id(&test, "ada").await);
                let gone = test.root().delete("/users/ada/servers/s", json!({"remove": true})).await;
                assert!(matches!(gone.code(), 204 | 404), "{gone:?}");
            }
        }
    }
}

async fn user_id(test: &TestHub, name: &str) -> i32 {
    repo::users::by_name(test.hub.db.conn(), name).await.unwrap().unwrap().id
}

#[actix_web::test]
async fn a_start_from_the_page_leads_to_the_login_first_and_does_not_turn_in_circles() {
    let (test, place) = hub("page", |config| config.authenticator.refresh_pre_spawn = true).await;
    let ada = test.browser("ada", false).await;
    place.says(Ok(Refresh::Stale));
    let answer = ada.send(Method::GET, "/hub/spawn/ada/s?next=/hub/home", None).await;
    let login = "/hub/login?next=%2Fhub%2Fspawn%2Fada%2Fs%3Fnext%3D%2Fhub%2Fhome";
    assert_eq!((answer.code(), answer.header("location")), (302, Some(login)), "{answer:?}");
    let page = ada.send(Method::GET, login, None).await;
    assert_eq!(page.code(), 200, "the login page, not the way back: {page:?}");
    assert!(test.root().get("/users/ada").await.json()["servers"].get("s").is_none(), "nothing was started");
}

#[actix_web::test]
async fn before_a_stop_the_login_of_the_owner_is_looked_at_and_never_keeps_others_from_it() {
    for strict in [false, true] {
        let (test, place) = hub(&format!("stop-{strict}"), |config| {
            config.authenticator.refresh_pre_stop = true;
            config.authenticator.auth_refresh_strict = strict;
        })
        .await;
        let (ada, script) = (test.browser("ada", false).await, test.user("ada").await);
        for (place_says, by_cookie, by_token) in [
            (Ok(Refresh::Valid), 204, 204),
            (Ok(Refresh::Stale), 403, if strict { 403 } else { 204 }),
            (away(), 204, 204),
        ] {
            for (who, code) in [(&ada, by_cookie), (&script, by_token), (&test.root(), 204)] {
                let before = place.asked();
                let started = test.root().post("/users/ada/server", None).await;
                assert!(matches!(started.code(), 201 | 400), "{started:?}");
                assert_eq!(place.asked(), before, "a start asks for nothing here");
                place.says(place_says.clone());
                let answer = who.delete("/users/ada/server", None).await;
                assert_eq!(answer.code(), code, "{strict} {place_says:?}: {answer:?}");
                assert_eq!(place.asked(), before + 1, "{strict} {place_says:?}");
                if code == 403 {
                    answer.fails(403, EXPIRED);
                }
                test.hub.auth.looks.forget(user_id(&test, "ada").await);
            }
        }
    }
}

#[actix_web::test]
async fn many_starts_by_one_call_ask_once_for_each_owner() {
    let (test, place) = hub("bulk", |config| {
        config.authenticator.refresh_pre_spawn = true;
        config.authenticator.auth_refresh_age = Duration::from_hours(1);
    })
    .await;
    test.user("ada").await;
    test.user("bob").await;
    test.root().get("/user").await.holds(200);
    let before = place.asked();
    let servers = ["a", "b", "c"].map(|name| json!({"user": "ada", "server": name}));
    let servers: Vec<Value> = servers.into_iter().chain([json!({"user": "bob", "server": "a"})]).collect();
    let answer = test.root().post("/servers/start", json!({"servers": servers})).await.holds(200);
    let codes: Vec<_> =
        answer["servers"].as_array().unwrap().iter().map(|one| one["status"].clone()).collect();
    assert_eq!(codes, [202, 202, 202, 202]);
    assert_eq!(place.asked() - before, 2);
}

#[actix_web::test]
async fn a_start_counts_with_the_membership_of_now_lost_or_won() {
    let (test, place) = hub("members", |config| {
        let source = json!({"kind": "groups", "pattern": "ws-*"});
        let source: WorkspaceSource = serde_json::from_value(source).unwrap();
        config.workspaces.sources = vec![source];
        config.authenticator.manage_groups = true;
        config.authenticator.refresh_pre_spawn = true;
    })
    .await;
    let ada = test.browser("ada", false).await;
    place.says_groups("ada", &["ws-alpha"]);
    assert_eq!(ada.post("/users/ada/servers/alpha", None).await.code(), 201);
    assert_eq!(ada.delete("/users/ada/servers/alpha", None).await.code(), 204);
    place.says_groups("ada", &[]);
    let stranger = "You do not belong to this workspace.";
    ada.post("/users/ada/servers/alpha", None).await.fails(403, stranger);
    place.says_groups("ada", &["ws-beta"]);
    let page = ada.send(Method::GET, "/hub/spawn/ada/alpha", None).await;
    assert!(page.code() == 403 && page.text.contains(stranger), "{page:?}");
    let page = ada.send(Method::GET, "/hub/spawn/ada/beta", None).await;
    assert_eq!(page.header("location"), Some("/hub/spawn-pending/ada/beta"), "{page:?}");
}

#[actix_web::test]
async fn a_stale_login_fails_requests_by_token_where_the_operator_is_strict() {
    for (strict, code) in [(false, 200), (true, 403)] {
        let (test, place) = hub(&format!("strict-{strict}"), |config| {
            config.authenticator.auth_refresh_age = Duration::from_hours(1);
            config.authenticator.auth_refresh_strict = strict;
        })
        .await;
        let script = test.user("ada").await;
        place.says(Ok(Refresh::Stale));
        assert_eq!(script.get("/user").await.code(), code, "strict: {strict}");
        assert_eq!(place.asked(), 1);
    }
}

#[actix_web::test]
async fn a_server_that_asks_for_a_login_may_skip_the_login_page_alone() {
    for (setting, expected) in [(false, "/hub/login"), (true, "/hub/to_the_place")] {
        let (test, _) = hub("oauth", |config| {
            config.authenticator.auto_login_oauth2_authorize = setting;
        })
        .await;
        let goes_to = async |path: &str| {
            let answer = test.anonymous().send(Method::GET, path, None).await;
            assert_eq!(answer.code(), 302, "{answer:?}");
            answer.header("location").unwrap().to_owned()
        };
        let asked = "/hub/api/oauth2/authorize?client_id=jupyterhub-user-ada&response_type=code";
        let next = url::form_urlencoded::byte_serialize(asked.as_bytes()).collect::<String>();
        assert_eq!(goes_to(asked).await, format!("{expected}?next={next}"));
        assert_eq!(goes_to("/hub/home").await, "/hub/login?next=%2Fhub%2Fhome");
    }
}

#[actix_web::test]
async fn users_who_cannot_be_any_more_are_deleted_at_start_only_where_that_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite:///{}", folder.path().join("hub.sqlite").display());
    let everybody = ["ada", "away", "moved-out", "out_of_pattern", "out_of_house"];
    {
        let (test, _) = hub("invalid", |config| config.db.url = database.as_str().into()).await;
        for name in everybody {
            test.user(name).await;
        }
        assert_eq!(test.root().post("/users/out_of_pattern/server", None).await.code(), 201);
    }
    for delete in [false, true] {
        let (test, _) = hub("invalid", |config| {
            config.db.url = database.as_str().into();
            config.authenticator.username_pattern = "^[a-z-]+$".to_owned();
            config.authenticator.blocked_users = vec!["out_of_house".to_owned()];
            config.authenticator.delete_invalid_users = delete;
        })
        .await;
        let found =
            async |name: &str| repo::users::by_name(test.hub.db.conn(), name).await.unwrap().is_some();
        for name in everybody {
            let stays = !delete || matches!(name, "ada" | "away" | "out_of_house" | "root");
            assert_eq!(found(name).await, stays, "{name}, delete_invalid_users = {delete}");
        }
    }
}
