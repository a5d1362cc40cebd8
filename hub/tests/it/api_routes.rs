//! Every route of the table is there, asks for what the table says, and takes no other method.

use std::collections::BTreeMap;

use actix_web::http::Method as HttpMethod;
use jupyterhub_api_compat::endpoints::{
    Auth, ENDPOINTS, Endpoint, EndpointId, Method, Segment, Target, Xsrf,
};

use crate::support::{Client, TestHub, WATCH};

fn ours() -> impl Iterator<Item = &'static Endpoint> {
    ENDPOINTS.iter().filter(|endpoint| !endpoint.path.starts_with("/oauth2/"))
}

/// The path with arguments that name nothing there is.
fn path(endpoint: &Endpoint) -> String {
    let step = |segment| match segment {
        Segment::Literal(text) => format!("/{text}"),
        Segment::Param { name, .. } => format!("/no-{name}"),
    };
    endpoint.segments().map(step).collect()
}

fn method(method: Method) -> HttpMethod {
    method.as_str().parse().unwrap()
}

async fn send(client: &Client, endpoint: &Endpoint) -> crate::support::Answer {
    client.send(method(endpoint.method), &format!("/hub/api{}", path(endpoint)), None).await
}

#[actix_web::test]
async fn a_stranger_gets_in_nowhere_but_where_the_table_says_so() {
    let test = TestHub::start().await;
    for endpoint in ours() {
        let answer = send(&test.anonymous(), endpoint).await;
        match endpoint.auth {
            Auth::Nobody => assert_ne!(answer.code(), 403, "{endpoint:?}"),
            Auth::Scopes => answer.fails(403, "Missing or invalid credentials."),
            // A handler of pages in stock, which explains itself in HTML.
            Auth::Metrics => assert_eq!((answer.code(), answer.kind()), (403, "text/html"), "{answer:?}"),
            Auth::Anybody | Auth::Token | Auth::ScopesOrBody => answer.fails(403, None::<String>),
            Auth::Login | Auth::OAuthClient => unreachable!("{endpoint:?}"),
        }
    }
}

#[actix_web::test]
async fn a_token_without_scopes_is_told_which_it_needs() {
    let test = TestHub::start().await;
    for endpoint in ours().filter(|endpoint| endpoint.auth == Auth::Scopes) {
        let needed = endpoint.scopes.join(", ");
        let answer = send(&test.bearer(WATCH), endpoint).await;
        answer
            .fails(403, format!("Action is not authorized with current scopes; requires any of [{needed}]"));
    }
}

#[actix_web::test]
async fn a_scope_for_something_else_hides_that_there_is_anything() {
    let test = TestHub::start().await;
    for endpoint in ours().filter(|endpoint| endpoint.auth == Auth::Scopes) {
        let other = match endpoint.on {
            Target::User => "!user=ada",
            Target::Server => "!server=ada/",
            Target::Group => "!group=maths",
            Target::Service => "!service=watch",
            Target::None | Target::List => continue,
        };
        let scope = endpoint.scopes.first().map(|scope| format!("{scope}{other}")).unwrap();
        let client = test.user_with("someone", &[&scope]).await;
        send(&client, endpoint).await.fails(404, "No access to resources or resources not found");
    }
}

#[actix_web::test]
async fn whoever_holds_everything_reaches_every_handler() {
    let test = TestHub::start().await;
    for endpoint in ours() {
        // One would end the hub, the other answers for as long as somebody listens.
        if matches!(endpoint.path, "/shutdown" | "/events") {
            continue;
        }
        let answer = send(&test.root(), endpoint).await;
        let refused = matches!(answer.code(), 401 | 403);
        let allowed_to_refuse =
            endpoint.auth == Auth::ScopesOrBody || endpoint.path.ends_with("/admin-access");
        assert!(!refused || allowed_to_refuse, "{endpoint:?}: {answer:?}");
        assert!(!matches!(answer.code(), 405 | 500..), "{endpoint:?}: {answer:?}");
    }
}

#[actix_web::test]
async fn other_methods_are_405_and_options_is_answered_to_everybody() {
    let test = TestHub::start().await;
    let mut methods: BTreeMap<String, Vec<HttpMethod>> = BTreeMap::new();
    for endpoint in ours().filter(|endpoint| endpoint.xsrf != Xsrf::Page) {
        methods.entry(path(endpoint)).or_default().push(method(endpoint.method));
    }
    let all = [HttpMethod::GET, HttpMethod::POST, HttpMethod::PUT, HttpMethod::PATCH, HttpMethod::DELETE];
    for (path, known) in methods {
        let path = format!("/hub/api{path}");
        for method in all.iter().filter(|method| !known.contains(method)) {
            test.root().send(method.clone(), &path, None).await.fails(405, None::<String>);
        }
        test.anonymous().send(HttpMethod::OPTIONS, &path, None).await.is_empty(200, "application/json");
    }
}

#[actix_web::test]
async fn other_methods_of_health_and_metrics_are_answered_with_pages() {
    let test = TestHub::start().await;
    let post = |client: Client, path: &'static str| async move {
        let answer = client.send(HttpMethod::POST, path, None).await;
        assert_eq!(answer.kind(), "text/html", "{path}");
        answer.code()
    };
    // Health takes no tokens, so that a caller has to prove to come from the hub's own pages first.
    assert_eq!(post(test.root(), "/hub/api/health").await, 403);
    assert_eq!(post(test.root(), "/hub/api/metrics").await, 405);
}

#[actix_web::test]
async fn what_is_not_there_is_a_json_404_for_every_method() {
    let test = TestHub::start().await;
    for path in ["/nope", "/users/", "/users/ada/", "/users/ada/servers/x/", "/user/x", "/users/ada%2Fx/y/z"]
    {
        for method in [HttpMethod::GET, HttpMethod::POST, HttpMethod::OPTIONS, HttpMethod::DELETE] {
            let answer = test.root().send(method, &format!("/hub/api{path}"), None).await;
            answer.fails(404, None::<String>);
        }
    }
}

#[actix_web::test]
async fn a_browser_needs_the_token_of_its_pages_for_reads_too() {
    let test = TestHub::start().await;
    let browser = test.browser("root", true).await;
    for endpoint in ours().filter(|endpoint| endpoint.xsrf == Xsrf::Api && endpoint.auth == Auth::Scopes) {
        // One ends the hub, one the login of the browser itself, one answers for as long as somebody listens, one is
        // 403 for everybody.
        let ends_it =
            matches!(endpoint.path, "/shutdown" | "/events") || endpoint.id == EndpointId::EndSessions;
        if ends_it || endpoint.path.ends_with("/admin-access") {
            continue;
        }
        let method = endpoint.method.as_str();
        let cross_site = browser.clone().without("X-XSRFToken").header("Sec-Fetch-Mode", "cors");
        let answer = send(&cross_site, endpoint).await;
        answer.fails(403, format!("'_xsrf' argument missing from {method}"));
        let other = cross_site.header("X-XSRFToken", "somethingelse");
        send(&other, endpoint).await.fails(403, format!("XSRF cookie does not match {method} argument"));
        let own = browser.clone().header("Sec-Fetch-Mode", "cors");
        assert_ne!(send(&own, endpoint).await.code(), 403, "{endpoint:?}");
    }
}

#[actix_web::test]
async fn a_form_on_another_site_cannot_use_the_cookie() {
    let test = TestHub::start().await;
    let browser = test.browser("root", true).await.header("Content-Type", "text/plain");
    let answer = browser.post("/users", serde_json::json!({"usernames": ["eve"]})).await;
    answer.fails(403, "Missing or invalid credentials.");
    assert_eq!(test.root().get("/users/eve").await.code(), 404);
}

#[actix_web::test]
async fn bodies_are_bounded_and_must_be_json() {
    let test = TestHub::start().await;
    let root = test.root();
    root.send(HttpMethod::POST, "/hub/api/users", Some(b"{bad"))
        .await
        .fails(400, "Invalid JSON in body of request");
    let large = vec![b' '; (1 << 20) + 1];
    let answer = root.send(HttpMethod::POST, "/hub/api/users", Some(&large)).await;
    answer.fails(413, "The body of the request is too large: at most 1048576 bytes are read.");
    // Who may not ask does not get to send a large body.
    let answer = test.anonymous().send(HttpMethod::POST, "/hub/api/users", Some(&large)).await;
    answer.fails(403, "Missing or invalid credentials.");
}

#[actix_web::test]
async fn every_answer_carries_the_headers_of_the_api() {
    let test = TestHub::start().await;
    for path in ["/", "/nope", "/users"] {
        let answer = test.root().get(path).await;
        assert_eq!(answer.header("x-jupyterhub-version"), Some("6.1.1"));
        let policy = "frame-ancestors 'none'; report-uri /hub/security/csp-report; default-src 'none'";
        assert_eq!(answer.header("content-security-policy"), Some(policy));
        assert_eq!(answer.header("access-control-allow-origin"), (path == "/").then_some("*"), "{path}");
    }
}
