//! A chain of authenticators, from its login page on.

use actix_web::http::Method;
use serde_json::{Value, json};

use crate::support::{Answer, TestHub};

async fn hub() -> TestHub {
    TestHub::with(|config| {
        let section = &mut config.authenticator;
        section.kind = String::from("chain");
        let table = |value: Value| value.as_object().cloned().unwrap();
        let chain = json!({
            "members": ["oidc", "dummy", "shared-password"],
            "prefixes": {"dummy": "lab-", "shared-password": "guest-"},
        });
        section.plugins.insert("chain", table(chain));
        section.plugins.insert("dummy", table(json!({"password": "of-the-lab"})));
        section.plugins.insert("shared-password", table(json!({"user_password": "of-the-guests"})));
        let oidc = json!({
            "authorize_url": "https://id.example/authorize", "token_url": "https://id.example/token",
            "userdata_url": "https://id.example/me", "client_id": "hub", "client_secret": "s",
            "username_claim": "login", "login_service": "the university",
        });
        section.plugins.insert("oidc", table(oidc));
    })
    .await
}

async fn opens(test: &TestHub, path: &str) -> Answer {
    test.anonymous().send(Method::GET, path, None).await
}

/// Where the button with a text leads.
fn link(page: &str, label: &str) -> String {
    let before = page.split(label).next().filter(|before| before.len() < page.len());
    let before = before.unwrap_or_else(|| panic!("no {label}: {page}"));
    let href = before.rsplit("href=\"").next().unwrap().split('"').next().unwrap();
    href.replace("&amp;", "&").replace("&#x2f;", "/")
}

#[actix_web::test]
async fn the_page_offers_every_member_and_each_button_leads_on_to_where_the_person_wanted() {
    let test = hub().await;
    let page = opens(&test, "/hub/login?next=%2Fhub%2Ftoken").await;
    assert_eq!(page.code(), 200, "{page:?}");
    assert!(!page.text.contains("type=\"password\""), "a choice, not a form: {}", page.text);

    let away = link(&page.text, "Sign in with the university");
    assert_eq!(away, "/hub/oauth_login?next=%2Fhub%2Ftoken");
    let sent = opens(&test, &away).await;
    let location = sent.header("location").unwrap_or_default();
    assert!(sent.code() == 302 && location.starts_with("https://id.example/authorize?"), "{sent:?}");
    assert!(location.contains("client_id=hub"), "{location}");

    let form = link(&page.text, "Sign in with a password");
    assert_eq!(form, "/hub/login?with=dummy&next=%2Fhub%2Ftoken");
    for kind in ["dummy", "shared-password"] {
        let here = form.replace("dummy", kind);
        let shown = opens(&test, &here).await;
        assert!(shown.code() == 200 && shown.text.contains("type=\"password\""), "{kind}: {shown:?}");
        // What the form of the page sends, to where it sends it.
        let action = shown.text.split("action=\"").nth(1).unwrap().split('"').next().unwrap();
        let action = action.replace("&amp;", "&").replace("&#x2f;", "/");
        let xsrf = shown.cookie("_xsrf").unwrap();
        let password = if kind == "dummy" { "of-the-lab" } else { "of-the-guests" };
        let body = format!("username=ada&password={password}&_xsrf={xsrf}");
        let login = test
            .anonymous()
            .header("Cookie", &format!("_xsrf={xsrf}"))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .send(Method::POST, &action, Some(body.as_bytes()))
            .await;
        assert_eq!((login.code(), login.header("location")), (302, Some("/hub/token")), "{kind}: {login:?}");
        let name = if kind == "dummy" { "lab-ada" } else { "guest-ada" };
        assert!(hub_db::repo::users::by_name(test.hub.db.conn(), name).await.unwrap().is_some(), "{kind}");
    }
    // What is no member with a form is the choice again.
    for kind in ["oidc", "null", ""] {
        let page = opens(&test, &format!("/hub/login?with={kind}")).await;
        assert!(page.code() == 200 && page.text.contains("Sign in with the university"), "{kind}: {page:?}");
    }
}
