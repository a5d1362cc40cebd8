//! What pages must not do, whatever a browser is made to send.

use actix_web::http::Method;
use futures_util::future::join_all;
use hub_db::repo;

use crate::support::TestHub;

#[actix_web::test]
async fn a_redirect_to_a_server_stays_on_this_host() {
    let test = TestHub::start().await;
    for path in ["/user/ada", "//user/ada", "///user/ada"] {
        let answer = test.anonymous().send(Method::GET, path, None).await;
        assert_eq!((answer.code(), answer.header("location")), (301, Some("/user/ada/")), "{path}");
    }
    let answer = test.anonymous().send(Method::GET, "//evil.example/x?y=1", None).await;
    assert_eq!((answer.code(), answer.header("location")), (302, Some("/hub/evil.example/x?y=1")));
}

#[actix_web::test]
async fn a_form_of_another_site_is_refused_where_no_form_is_read() {
    let test = TestHub::start().await;
    let browser = test.browser("ada", false).await;
    let form = browser.clone().header("Content-Type", "application/x-www-form-urlencoded");
    for path in ["/hub/security/csp-report", "/hub/user/ada/api/kernels"] {
        let foreign = form.clone().without("X-XSRFToken");
        let answer = foreign.send(Method::POST, path, Some(b"a=b")).await;
        assert_eq!(answer.code(), 403, "{path}");
        assert!(
            answer.text.contains("&#39;_xsrf&#39; argument missing from POST"),
            "{path}: {}",
            answer.text
        );
        assert_ne!(form.send(Method::POST, path, Some(b"a=b")).await.code(), 403, "{path}");
    }
    let api_client = test.user("bob").await.header("Content-Type", "text/plain");
    let answer = api_client.send(Method::POST, "/hub/user/bob/api/kernels", Some(b"{}")).await;
    assert_eq!(answer.code(), 424);
}

#[actix_web::test]
async fn methods_that_clients_make_up_do_not_fill_the_metrics() {
    let test = TestHub::with(|config| config.hub.authenticate_prometheus = false).await;
    for i in 0..10 {
        let method = Method::from_bytes(format!("MADE{i}").as_bytes()).unwrap();
        // Without the token of a page, as stock asks for it before it looks at the method.
        assert_eq!(test.anonymous().send(method, "/hub/login", None).await.code(), 403);
    }
    let metrics = test.anonymous().send(Method::GET, "/hub/metrics", None).await.text;
    assert!(metrics.contains("method=\"other\"") && !metrics.contains("MADE"), "{metrics}");
}

#[actix_web::test]
async fn a_new_server_asked_for_twice_at_once_is_one_server() {
    let test = TestHub::start().await;
    let browser = test.browser("ada", false).await;
    let path = "/hub/spawn/ada/lab?display_name=My%20Lab";
    let answers = join_all((0..4).map(|_| browser.send(Method::GET, path, None))).await;
    for answer in answers {
        assert_eq!(answer.code(), 302, "{answer:?}");
    }
    let db = test.hub.db.conn();
    let ada = repo::users::by_name(db, "ada").await.unwrap().unwrap();
    let servers = repo::spawners::of_user(db, ada.id).await.unwrap();
    let names: Vec<_> =
        servers.iter().map(|it| (it.row.name.as_str(), it.row.display_name.as_deref())).collect();
    assert_eq!(names, [("", Some("")), ("lab", Some("My Lab"))]);
}

#[actix_web::test]
async fn a_large_form_is_read_only_from_who_is_logged_in_and_has_the_token_of_a_page() {
    let test = TestHub::start().await;
    let kind = "application/x-www-form-urlencoded";
    let large = format!("a={}", "b".repeat(100 << 10));
    let stranger = test.anonymous().header("Content-Type", kind);
    assert_eq!(stranger.send(Method::POST, "/hub/spawn", Some(large.as_bytes())).await.code(), 413);
    let browser = test.browser("ada", false).await.header("Content-Type", kind);
    let foreign = browser.clone().without("X-XSRFToken");
    assert_eq!(foreign.send(Method::POST, "/hub/spawn", Some(large.as_bytes())).await.code(), 413);
    let answer = browser.send(Method::POST, "/hub/spawn", Some(large.as_bytes())).await;
    assert_eq!(answer.code(), 302, "{answer:?}");
    // a small one may bring the token in a field, as forms of site templates do
    let cookies = browser.sent("Cookie").unwrap();
    let token = cookies.split("_xsrf=").nth(1).unwrap();
    let small = format!("_xsrf={token}");
    let answer = foreign.send(Method::POST, "/hub/spawn", Some(small.as_bytes())).await;
    assert_ne!(answer.code(), 403, "{answer:?}");
}
