//! Workspaces that a living service tells of, from the control panel to the end of a membership.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix_web::http::Method;
use hub_config::{Config, WorkspaceSource};
use hub_db::repo;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::request_head;
use crate::support::TestHub;

/// Answers everybody alike: a status and a body.
struct Service {
    url: String,
    answer: Arc<Mutex<(u16, String)>>,
    serving: JoinHandle<()>,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/people/{{username}}/workspaces", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((200, "[]".to_owned())));
        let answers = Arc::clone(&answer);
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let head = request_head::read(&mut stream).await;
                let (status, body) = answers.lock().unwrap().clone();
                let known = head.starts_with(b"GET /people/ada/workspaces ");
                let (status, body) = if known { (status, body) } else { (404, String::new()) };
                let length = body.len();
                let text = format!(
                    "HTTP/1.1 {status} .\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                // Whoever asked may be gone.
                let _ = stream.write_all(text.as_bytes()).await;
            }
        });
        Self { url, answer, serving }
    }

    fn says(&self, status: u16, body: &serde_json::Value) {
        *self.answer.lock().unwrap() = (status, body.to_string());
    }

    async fn hub(&self, change: impl FnOnce(&mut Config)) -> TestHub {
        let source = json!({"kind": "http", "url": self.url, "cache_for": "0s", "timeout": "20s"});
        let source: WorkspaceSource = serde_json::from_value(source).unwrap();
        TestHub::with(|config| {
            config.workspaces.sources = vec![source];
            change(config);
        })
        .await
    }
}

async fn runs(test: &TestHub, server: &str) -> bool {
    let model = test.root().get("/users/ada").await.json();
    model["servers"][server]["ready"] == true
}

async fn until_it_stopped(test: &TestHub, server: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while runs(test, server).await {
        assert!(Instant::now() < deadline, "{server} runs on");
        tokio::task::yield_now().await;
    }
}

#[actix_web::test]
async fn a_living_service_says_who_sees_starts_and_loses_a_workspace() {
    let service = Service::start().await;
    let test = service.hub(|_| {}).await;
    let (ada, bob) = (test.browser("ada", false).await, test.browser("bob", false).await);
    service.says(
        200,
        &json!([
            {"name": "alpha", "display_name": "Alpha Centauri", "role": "member"},
            {"name": "beta", "role": "viewer"},
            {"name": "gamma"},
        ]),
    );
    let home = ada.send(Method::GET, "/hub/home", None).await;
    for part in ["Alpha Centauri", "id=\"start-alpha\"", "id=\"start-gamma\"", "look at this workspace"] {
        assert!(home.text.contains(part), "{part}: {}", home.text);
    }
    assert!(!home.text.contains("id=\"start-beta\""), "{}", home.text);
    let home = bob.send(Method::GET, "/hub/home", None).await;
    assert!(home.code() == 200 && !home.text.contains("Alpha Centauri"), "{}", home.text);

    for server in ["alpha", "gamma"] {
        let answer = ada.post(&format!("/users/ada/servers/{server}"), None).await;
        assert_eq!(answer.code(), 201, "{server}: {answer:?}");
    }
    let refused = "You can look at this workspace, but not start its server.";
    ada.post("/users/ada/servers/beta", None).await.fails(403, refused);
    let stranger = "You do not belong to this workspace.";
    ada.post("/users/ada/servers/delta", None).await.fails(403, stranger);
    bob.post("/users/bob/servers/alpha", None).await.fails(403, stranger);

    // A service that breaks says nothing against anybody, and lets nobody in either.
    service.says(500, &json!([]));
    himalia::workspaces::periodically(&test.hub).await;
    assert!(runs(&test, "alpha").await && runs(&test, "gamma").await);
    let answer = ada.post("/users/ada/servers/beta", None).await;
    assert_eq!((answer.code(), answer.header("retry-after")), (503, Some("10")), "{answer:?}");

    service.says(200, &json!([{"name": "alpha", "role": "viewer"}, {"name": "gamma"}]));
    himalia::workspaces::periodically(&test.hub).await;
    until_it_stopped(&test, "alpha").await;
    assert!(runs(&test, "gamma").await, "the other membership goes on");
    ada.post("/users/ada/servers/alpha", None).await.fails(403, refused);

    // A list that is longer than what is read does not say who lost what.
    let many: Vec<_> = (0..=1_000).map(|n| json!({"name": format!("a{n:04}")})).collect();
    service.says(200, &json!(many));
    himalia::workspaces::periodically(&test.hub).await;
    let user = repo::users::by_name(test.hub.db.conn(), "ada").await.unwrap().unwrap();
    himalia::workspaces::after_change(&test.hub, &user).await;
    let answer = ada.post("/users/ada/servers/a1000", None).await;
    assert_eq!((answer.code(), answer.header("retry-after")), (503, Some("10")), "{answer:?}");
    assert!(runs(&test, "gamma").await, "gamma is beyond the end of the list, not lost");

    // A refresh or login looks as well.
    service.says(200, &json!([]));
    let user = repo::users::by_name(test.hub.db.conn(), "ada").await.unwrap().unwrap();
    himalia::workspaces::after_change(&test.hub, &user).await;
    until_it_stopped(&test, "gamma").await;
}

#[actix_web::test]
async fn by_policy_a_server_outlives_the_membership_and_is_not_started_again() {
    let service = Service::start().await;
    let keep = |config: &mut Config| config.workspaces.lost_membership = hub_config::LostMembership::Keep;
    let test = service.hub(keep).await;
    let ada = test.browser("ada", false).await;
    service.says(200, &json!([{"name": "alpha"}]));
    assert_eq!(ada.post("/users/ada/servers/alpha", None).await.code(), 201);
    service.says(200, &json!([]));
    himalia::workspaces::periodically(&test.hub).await;
    assert!(runs(&test, "alpha").await);
    assert_eq!(ada.delete("/users/ada/servers/alpha", None).await.code(), 204);
    ada.post("/users/ada/servers/alpha", None).await.fails(403, "You do not belong to this workspace.");
}
