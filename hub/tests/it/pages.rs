//! Pages as browsers get them: who may see the admin page, what an error page shows, choices before a start.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::http::header::CONTENT_TYPE;
use hub_config::{PageLanguage, SpawnerProfile};
use serde_json::json;

use crate::fake_spawner::gate;
use crate::support::{Answer, Client, TestHub};

const ADMIN_LINK: &str = "href=\"/hub/admin\"";

async fn page(client: &Client, path: &str) -> Answer {
    client.send(Method::GET, path, None).await
}

async fn submit(client: &Client, path: &str, form: &str) -> Answer {
    let client = client.clone().header(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded");
    let xsrf = page(&client, "/hub/token").await.text.split("xsrf_token: \"").nth(1).unwrap().to_owned();
    let xsrf = xsrf.split('"').next().unwrap();
    client.send(Method::POST, path, Some(format!("{form}&_xsrf={xsrf}").as_bytes())).await
}

#[actix_web::test]
async fn the_admin_page_needs_its_scope_and_nothing_else() {
    let test = TestHub::start().await;
    let stranger = page(&test.anonymous(), "/hub/admin?sort=name").await;
    assert_eq!(stranger.code(), 302);
    assert_eq!(stranger.header("location"), Some("/hub/login?next=%2Fhub%2Fadmin%3Fsort%3Dname"));

    let admin = test.browser("grace", true).await;
    let shown = page(&admin, "/hub/admin?sort=last_activity").await;
    assert_eq!(shown.code(), 200, "{}", shown.text);
    for part in [
        "id=\"react-admin-hook\"",
        "data-api-page-limit=\"50\"",
        "js/admin-react.js?v=",
        "version_footer",
        "JupyterHub 6.1.1",
        "window.jhdata",
        ADMIN_LINK,
    ] {
        assert!(shown.text.contains(part), "{part} is missing");
    }

    test.user_with("ada", &["admin:users", "admin:servers"]).await;
    let ada = test.browser("ada", false).await;
    let refused = page(&ada, "/hub/admin").await;
    assert_eq!(refused.code(), 403);
    assert!(refused.text.contains("requires any of [admin-ui]"), "{}", refused.text);
    assert!(!refused.text.contains(ADMIN_LINK));

    test.user_with("eve", &["admin-ui"]).await;
    let eve = test.browser("eve", false).await;
    assert_eq!(page(&eve, "/hub/admin").await.code(), 200);
    assert!(page(&eve, "/hub/home").await.text.contains(ADMIN_LINK));
}

#[actix_web::test]
async fn an_error_page_has_the_menu_of_whoever_is_logged_in() {
    let test = TestHub::start().await;
    let ada = test.browser("ada", false).await;
    let lost = page(&ada, "/hub/nowhere").await;
    assert_eq!(lost.code(), 404);
    assert!(lost.text.contains("href=\"/hub/home\"") && lost.text.contains("href=\"/hub/token\""));
    assert!(lost.text.contains("user: \"ada\"") && !lost.text.contains("id=\"logout\""));
    let stranger = page(&test.anonymous(), "/hub/nowhere").await;
    assert!(!stranger.text.contains("href=\"/hub/token\"") && !stranger.text.contains("user: \""));
}

#[actix_web::test]
async fn pages_come_in_the_language_of_the_browser_unless_one_is_configured() {
    let french = |client: Client| client.header("Accept-Language", "de, fr-CA;q=0.8, en;q=0.5");
    let test = TestHub::start().await;
    let login = page(&french(test.anonymous()), "/hub/login").await;
    assert!(login.text.contains("<html lang=\"fr\"") && login.text.contains("Mot de passe :"));
    let lost = page(&french(test.anonymous()), "/hub/nowhere").await;
    assert!(lost.text.contains("404 : Page introuvable"), "{}", lost.text);
    let token = page(&french(test.browser("ada", false).await), "/hub/token").await;
    assert!(token.text.contains(">1 semaine</option>"));
    let api = french(test.anonymous()).get("/nowhere").await;
    assert_eq!(api.message(), serde_json::Value::Null, "the API speaks as ever");

    let fixed = TestHub::with(|config| config.templates.language = PageLanguage::En).await;
    assert!(page(&french(fixed.anonymous()), "/hub/login").await.text.contains("Password:"));
    let fixed = TestHub::with(|config| config.templates.language = PageLanguage::Fr).await;
    assert!(page(&fixed.anonymous(), "/hub/login").await.text.contains("Mot de passe :"));
}

fn with_profiles(config: &mut hub_config::Config) {
    let profile = |name: &str, description: &str, default: bool| SpawnerProfile {
        display_name: Some(name.to_owned()),
        description: description.to_owned(),
        default,
        allowed_workspaces: Vec::new(),
        spawner: Box::new(config.spawner.clone()),
    };
    let small = profile("Small", "Two cores", true);
    let large = profile("Large <one>", "With <b>memory</b>", false);
    config.spawner.profiles = [("large".to_owned(), large), ("small".to_owned(), small)].into();
}

/// The tag of a field's radio button.
fn radio<'a>(text: &'a str, value: &str) -> &'a str {
    let at = text.find(&format!("value=\"{value}\"")).unwrap_or_else(|| panic!("no {value}: {text}"));
    text[at..].split('>').next().unwrap()
}

#[actix_web::test]
async fn profiles_are_offered_before_a_start_and_the_choice_is_kept() {
    let test = TestHub::with(with_profiles).await;
    let ada = test.browser("ada", false).await;
    let form = page(&ada, "/hub/spawn").await;
    assert_eq!(form.code(), 200);
    assert!(form.text.contains("Large &lt;one&gt;") && form.text.contains("With <b>memory</b>"));
    assert!(radio(&form.text, "small").contains("checked"), "the default one is chosen");
    assert!(!radio(&form.text, "large").contains("checked"));
    assert!(form.text.find("value=\"small\"") < form.text.find("value=\"large\""), "and comes first");

    let wrong = submit(&ada, "/hub/spawn", "profile=huge").await;
    assert_eq!(wrong.code(), 400);
    assert!(wrong.text.contains("spawn-error-msg") && wrong.text.contains("Choose one of: large, small."));
    assert!(wrong.text.contains("id=\"spawn_form\""), "the form is there to try again");

    let started = submit(&ada, "/hub/spawn", "profile=large").await;
    assert_eq!(started.code(), 302, "{}", started.text);
    assert_eq!(started.header("location"), Some("/hub/spawn-pending/ada"));
    let api = test.user("ada").await;
    api.post("/users/ada/server", None).await;
    let options = api.get("/users/ada/server").await.json()["user_options"].clone();
    assert_eq!(options, json!({"profile": "large"}));

    api.delete("/users/ada/server", None).await;
    let again = page(&ada, "/hub/spawn").await;
    assert!(radio(&again.text, "large").contains("checked"), "the last choice is offered first");
}

#[actix_web::test]
async fn a_profile_of_some_workspaces_is_none_for_other_servers() {
    let test = TestHub::with(|config| {
        with_profiles(config);
        config.spawner.profiles.get_mut("small").unwrap().allowed_workspaces = vec!["alpha".to_owned()];
    })
    .await;
    let (ada, api) = (test.browser("ada", false).await, test.user("ada").await);
    let form = page(&ada, "/hub/spawn/ada/alpha").await;
    assert!(radio(&form.text, "small").contains("checked") && form.text.contains("value=\"large\""));
    for server in ["", "/beta"] {
        let form = page(&ada, &format!("/hub/spawn/ada{server}")).await;
        assert!(!form.text.contains("value=\"small\""), "{server}: {}", form.text);
        assert!(radio(&form.text, "large").contains("checked"), "{server}");
        let why = "for this server. Choose one of: large.";
        let posted = submit(&ada, &format!("/hub/spawn/ada{server}"), "profile=small").await;
        assert!(posted.code() == 400 && posted.text.contains(why), "{server}: {posted:?}");
        let link = page(&ada, &format!("/hub/spawn/ada{server}?profile=small")).await;
        assert!(link.code() == 400, "{server}: {link:?}");
    }
    let wants = |profile: &str| json!({"profile": profile});
    let refused = "There is no profile \"small\" for this server. Choose one of: large.";
    api.post("/users/ada/servers/beta", wants("small")).await.fails(400, refused);
    api.post("/users/ada/server", wants("small")).await.fails(400, refused);
    assert_eq!(api.post("/users/ada/servers/alpha", wants("small")).await.code(), 201);
    // Who does not choose gets what there is.
    assert_eq!(api.post("/users/ada/servers/gamma", None).await.code(), 201);
}

#[actix_web::test]
async fn a_profile_has_settings_of_its_own() {
    let test = TestHub::with(|config| {
        with_profiles(config);
        let hasty = config.spawner.profiles.get_mut("large").unwrap();
        hasty.spawner.start_timeout = Duration::from_secs(1);
    })
    .await;
    let ada = test.user("ada").await;
    let held = |profile: &str| json!({"user_options": {"profile": profile, "hold": "profile-gate"}});
    let hasty = ada.post("/users/ada/server", held("large")).await;
    hasty.fails(500, "Your server did not start within 1 seconds.");
    let start = ada.clone();
    let patient = actix_web::rt::spawn(async move { start.post("/users/ada/server", held("small")).await });
    gate("profile-gate").cancel();
    patient.await.unwrap().is_empty(201, "text/plain");
}

#[actix_web::test]
async fn a_start_that_fails_at_once_leads_back_to_the_form_with_the_reason() {
    let test = TestHub::with(|config| {
        config.spawner.options_form = "<input name=\"fail\">".to_owned();
    })
    .await;
    let ada = test.browser("ada", false).await;
    let form = page(&ada, "/hub/spawn?next=%2Fhub%2Fhome").await;
    assert!(form.text.contains("<input name=\"fail\">") && form.text.contains("next=%2Fhub%2Fhome"));
    let failed = submit(&ada, "/hub/spawn", "fail=Too+<many>+cores").await;
    assert_eq!(failed.code(), 500, "{}", failed.text);
    assert!(failed.text.contains("spawn-error-msg") && failed.text.contains("Too &lt;many&gt; cores"));
    assert!(failed.text.contains("<input name=\"fail\">"), "the form is there to try again");
    let refused = submit(&ada, "/hub/spawn", "refuse=Not+so").await;
    assert_eq!(refused.code(), 400);
    assert!(refused.text.contains("Not so") && !refused.text.contains("Too &lt;many&gt;"));
}

#[actix_web::test]
async fn a_full_hub_leads_back_to_the_form_and_says_when_to_come_again() {
    let test = TestHub::with(|config| {
        config.spawner.options_form = "<input name=\"colour\">".to_owned();
        config.hub.active_server_limit = 1;
    })
    .await;
    test.user("bob").await.post("/users/bob/server", None).await.is_empty(201, "text/plain");
    let ada = test.browser("ada", false).await;
    for full in
        [submit(&ada, "/hub/spawn", "colour=red").await, page(&ada, "/hub/spawn?opt-colour=red").await]
    {
        assert_eq!((full.code(), full.header("retry-after")), (429, Some("60")), "{}", full.text);
        assert!(full.text.contains("Active user limit exceeded"), "{}", full.text);
        assert!(full.text.contains("<input name=\"colour\">"), "the form is there to try again");
    }
}
