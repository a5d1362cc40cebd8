//! OpenHEXA's story: login by the application's cookies, servers that its backend starts, a workspace in a frame, fresh
//! credentials, logout.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::browser::Browser;
use hub_tests::client::Person;
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kernel::Kernel;
use hub_tests::openhexa::{App, EDITOR, LONG, PLAIN, PROFILED, VIEWER};
use hub_tests::settings::{Service, Settings};
use hub_tests::wait::eventually;
use reqwest::Method;
use reqwest::header::{ACCEPT_LANGUAGE, LOCATION, REFERER};
use serde_json::{Value, json};

/// [`EDITOR`] as the application writes it in addresses.
const QUOTED: &str = "ad.min%2Bo%27hexa@example.org";
const READY_WITHIN: Duration = Duration::from_mins(2);
const SECRETS: [&str; 3] = ["token-", "p{0}{{x}}", "csrftoken="];

struct Bench {
    app: App,
    hub: Hub,
}

impl Bench {
    async fn start() -> Result<Self> {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let mut settings = Settings { default_url: "/lab".to_owned(), ..Settings::default() };
        settings.services.push(Service {
            name: "service-api".to_owned(),
            token: token.clone(),
            scopes: vec!["admin:users".to_owned(), "admin:servers".to_owned()],
        });
        let mut hub = Hub::prepare(Kind::Himalia, settings)?;
        let app = App::start(&hub.url("hub"), &token).await?;
        hub.settings.authenticator = Some(app.authenticator());
        hub.settings.hub = [
            ("server_names", json!("any")),
            ("shutdown_on_logout", json!(true)),
            ("embed_from", json!([app.url("")])),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        hub.start_again().await?;
        Ok(Self { app, hub })
    }

    /// Somebody who is logged in to the application and was never at the hub.
    async fn enters(&self, email: &str) -> Result<Person> {
        let person = self.hub.person()?;
        self.app.lets_in(&person, email).await?;
        Ok(person)
    }

    /// The page of a workspace: the backend starts the server, the page asks every now and then.
    async fn launches(&self, person: &Person, workspace: &str) -> Result<Value> {
        let server = self.app.asks(person, &format!("/launch/{workspace}")).await?;
        ensure!(server["errors"].is_null(), "{server}");
        eventually("the server is ready", READY_WITHIN, || async {
            let server = self.app.asks(person, &format!("/server/{workspace}")).await?;
            ensure!(!server["server"].is_null(), "the server is gone");
            Ok((server["ready"] == true).then_some(server))
        })
        .await
    }

    /// The calls to an address of the application since the last look, with their status.
    async fn calls(&self, path: &str) -> Result<Vec<Value>> {
        let all = self.app.calls().await?;
        Ok(all.into_iter().filter(|call| call["path"] == path).collect())
    }
}

#[tokio::test]
async fn himalia() -> Result<()> {
    let needs = [Needed::Venv61, Needed::Chromium, Needed::Chromedriver];
    if !super::ready(&[Kind::Himalia], &needs) {
        return Ok(());
    }
    let bench = Bench::start().await?;
    strangers_are_told_where_to_log_in(&bench).await.context("strangers")?;
    let editor = the_backend_starts_a_server(&bench).await.context("start")?;
    nobody_is_asked_for_anything_on_the_way_in(&bench, &editor).await.context("way in")?;
    let token = the_environment_is_literal(&bench, &editor).await.context("environment")?;
    a_restart_brings_fresh_credentials(&bench, &editor, &token).await.context("restart")?;
    long_names_and_profiles_arrive(&bench, &editor).await.context("names and profiles")?;
    refusals_leave_no_server(&bench).await.context("refusals")?;
    the_service_has_its_role_and_no_more(&bench).await.context("service")?;
    the_default_server_has_its_own_credentials(&bench, &editor).await.context("default server")?;
    a_page_of_another_origin_shows_the_workspace(&bench, &editor).await.context("frame")?;
    the_application_logs_out(&bench, &editor).await.context("logout")?;
    let log = bench.hub.log();
    for secret in SECRETS {
        ensure!(!log.contains(secret), "{secret:?} is in the log");
    }
    Ok(())
}

async fn strangers_are_told_where_to_log_in(bench: &Bench) -> Result<()> {
    let front = bench.app.url("/front");
    for (language, words) in [("en", "logged in to OpenHEXA"), ("fr-FR,fr;q=0.9", "connectées à OpenHEXA")]
    {
        let stranger = bench.hub.person()?;
        let request = stranger.request(Method::GET, "hub/login?next=%2Fhub%2Fhome")?;
        let answer = request.header(ACCEPT_LANGUAGE, language).send().await?;
        let (status, page) = (answer.status(), answer.text().await?);
        ensure!(status == 401 && page.contains(words) && page.contains(&front), "{status}: {page}");
    }
    ensure!(bench.app.calls().await?.is_empty(), "the application was asked about a stranger");
    // Cookies that the application does not know lead to its login page there, which is no login here.
    let stranger = bench.hub.person()?;
    let url = bench.hub.url("").parse()?;
    stranger.set_cookie(&url, "sessionid=made-up; Path=/");
    stranger.set_cookie(&url, &format!("csrftoken={}; Path=/", "a".repeat(32)));
    let answer = stranger.get("hub/login").await?;
    ensure!(answer.status() == 401, "made-up cookies are answered with {}", answer.status());
    let calls = bench.calls("/notebooks/authenticate/").await?;
    ensure!(calls.len() == 1 && calls[0]["status"] == 302, "{calls:?}");
    Ok(())
}

async fn the_backend_starts_a_server(bench: &Bench) -> Result<Person> {
    let editor = bench.enters(EDITOR).await?;
    // Two tabs of one page.
    let path = format!("/launch/{PLAIN}");
    let (one, other) = tokio::join!(bench.app.asks(&editor, &path), bench.app.asks(&editor, &path));
    ensure!(one?["errors"].is_null() && other?["errors"].is_null(), "a tab gets an error");
    let server = bench.launches(&editor, PLAIN).await?;
    ensure!(server["url"] == format!("user/{QUOTED}/{PLAIN}/"), "{server}");
    ensure!(server["server"]["user_options"] == json!({}), "{server}");
    let calls = bench.calls("/workspaces/credentials/").await?;
    let expected = json!({
        "path": "/workspaces/credentials/", "form": {"workspace": PLAIN}, "cookies": ["csrftoken", "sessionid"],
        "csrf": true, "referer": bench.hub.origin(), "authorization": false, "status": 200,
    });
    ensure!(calls == [expected], "{calls:?}");
    Ok(editor)
}

async fn nobody_is_asked_for_anything_on_the_way_in(bench: &Bench, editor: &Person) -> Result<()> {
    let page = editor.follow(&format!("user/{QUOTED}/{PLAIN}/")).await?;
    ensure!(page.status == 200 && page.url.path().ends_with("/lab"), "{} at {}", page.status, page.url);
    let hops: Vec<&str> = page.hops.iter().map(url::Url::path).collect();
    for station in ["/hub/login", "/hub/api/oauth2/authorize"] {
        ensure!(hops.contains(&station), "{station} is not on the way: {hops:?}");
    }
    ensure!(editor.who_am_i().await?.as_deref() == Some(EDITOR), "the hub does not know the editor");
    let calls = bench.calls("/notebooks/authenticate/").await?;
    ensure!(calls.len() == 1 && calls[0]["referer"] == bench.hub.origin(), "{calls:?}");
    Ok(())
}

/// The environment in a running server; its `HEXA_TOKEN`.
async fn the_environment_is_literal(bench: &Bench, editor: &Person) -> Result<String> {
    let server = format!("user/{QUOTED}/{PLAIN}/");
    let mut kernel = Kernel::start(editor, &server).await?;
    let code =
        "import json, os; print(json.dumps([dict(os.environ), os.getcwd(), os.path.realpath('workspace')]))";
    let seen: Value = serde_json::from_str(&kernel.execute(code).await?)?;
    let env = &seen[0];
    for (name, value) in [
        ("WORKSPACE_BUCKET_NAME", "bucket-malaria"),
        ("WORKSPACE_DATABASE_USERNAME", "{username}"),
        ("WORKSPACE_DATABASE_PASSWORD", "p{0}{{x}}%(y)s$HOME`id`\\né"),
        ("WORKSPACE_DATABASE_URL", "postgresql://{username}:p%7B@db.example.org:5432/x"),
        ("WORKSPACE_DATABASE_PORT", "5432"),
        ("HEXA_SERVER_URL", bench.app.url("").as_str()),
        ("JUPYTERHUB_USER", EDITOR),
        ("JUPYTERHUB_SERVER_NAME", PLAIN),
    ] {
        ensure!(env[name] == value, "{name} is {}", env[name]);
    }
    let home = bench.hub.home(EDITOR).join("servers").join(PLAIN);
    ensure!(seen[1] == json!(home), "the server works in {}", seen[1]);
    ensure!(seen[2] == json!(bench.app.files(PLAIN)), "the files of the workspace are {}", seen[2]);
    Ok(env["HEXA_TOKEN"].as_str().context("no HEXA_TOKEN")?.to_owned())
}

/// One click of the person, with the cookies that the browser has.
async fn a_restart_brings_fresh_credentials(bench: &Bench, editor: &Person, before: &str) -> Result<()> {
    editor.get("hub/home").await?;
    let path = format!("hub/api/users/{QUOTED}/servers/{PLAIN}/restart");
    let status = editor
        .scripted(Method::POST, &path)?
        .header(REFERER, bench.hub.url("hub/home"))
        .send()
        .await?
        .status();
    ensure!(status == 201 || status == 202, "the restart answers {status}");
    bench.launches(editor, PLAIN).await?;
    editor.follow(&format!("user/{QUOTED}/{PLAIN}/")).await?;
    let mut kernel = Kernel::start(editor, &format!("user/{QUOTED}/{PLAIN}/")).await?;
    let after = kernel.execute("import os; print(os.environ['HEXA_TOKEN'])").await?;
    ensure!(after.starts_with("token-") && after.trim() != before, "the credentials are the old ones");
    bench.app.calls().await.map(drop)
}

async fn long_names_and_profiles_arrive(bench: &Bench, editor: &Person) -> Result<()> {
    let server = bench.launches(editor, LONG).await?;
    ensure!(server["url"] == format!("user/{QUOTED}/{LONG}/"), "{server}");
    let server = bench.launches(editor, PROFILED).await?;
    ensure!(server["server"]["user_options"] == json!({"profile": "large"}), "{server}");
    let calls = bench.calls("/workspaces/credentials/").await?;
    let asked: Vec<&str> = calls.iter().filter_map(|call| call["form"]["workspace"].as_str()).collect();
    ensure!(asked == [LONG, PROFILED], "{asked:?}");
    Ok(())
}

async fn refusals_leave_no_server(bench: &Bench) -> Result<()> {
    let viewer = bench.enters(VIEWER).await?;
    let refused = bench.app.asks(&viewer, &format!("/launch/{PLAIN}")).await?;
    ensure!(refused["errors"][0].as_str().is_some_and(|text| text.contains("Viewers")), "{refused}");
    let unknown = bench.app.asks(&viewer, "/launch/nowhere").await?;
    ensure!(
        unknown["errors"][0].as_str().is_some_and(|text| text.contains("no such workspace")),
        "{unknown}"
    );
    let model = bench.hub.administrator()?.fetch(&format!("users/{VIEWER}")).await?;
    ensure!(model["servers"] == json!({}), "{model}");
    // Somebody whose request brings no cookies: no call, no server.
    bench.app.calls().await?;
    let service = bench.hub.administrator()?;
    let (status, answer) =
        service.send(Method::POST, &format!("users/{VIEWER}/servers/{PLAIN}"), Value::Null).await?;
    ensure!(status == 500, "a start without cookies is answered with {status}: {answer}");
    ensure!(bench.app.calls().await?.is_empty(), "the application was asked without cookies");
    Ok(())
}

async fn the_service_has_its_role_and_no_more(bench: &Bench) -> Result<()> {
    let token = &bench.hub.settings.services.last().context("no service")?.token;
    let service = bench.hub.api(token)?;
    for (method, path) in [(Method::GET, "proxy"), (Method::POST, "shutdown"), (Method::GET, "groups")] {
        let (status, _) = service.send(method, path, Value::Null).await?;
        ensure!(status == 403, "{path} answers {status}");
    }
    let raw = service.fetch(&format!("users/{EDITOR}")).await?;
    let quoted = service.fetch(&format!("users/{QUOTED}")).await?;
    ensure!(raw["name"] == EDITOR && raw["name"] == quoted["name"], "{raw} {quoted}");
    ensure!(raw["servers"][PLAIN]["state"].is_object(), "{raw}");
    Ok(())
}

async fn the_default_server_has_its_own_credentials(bench: &Bench, editor: &Person) -> Result<()> {
    let page = editor.follow("hub/spawn").await?;
    ensure!(page.status == 200, "the start answers {}", page.status);
    let model = bench.hub.administrator()?.server_is_ready(EDITOR, "").await?;
    ensure!(model.ready, "{model:?}");
    let calls = bench.calls("/notebooks/default-credentials/").await?;
    ensure!(calls.len() == 1 && calls[0]["status"] == 200, "{calls:?}");
    Ok(())
}

/// A kernel of its own proves that cookies and websockets work in the frame.
const OPENS_A_KERNEL: &str = "
    const [server] = args;
    const xsrf = (document.cookie.match(/(?:^|; )_xsrf=([^;]*)/) || [])[1];
    const made = await fetch(server + 'api/kernels', {
        method: 'POST', headers: {'X-XSRFToken': xsrf, 'Content-Type': 'application/json'},
        body: JSON.stringify({name: 'python3'}),
    });
    const kernel = await made.json();
    const socket = new WebSocket('ws://' + location.host + server + 'api/kernels/' + kernel.id + '/channels');
    return await new Promise(resolve => {
        socket.onopen = () => resolve('open');
        socket.onerror = () => resolve('refused');
    });
";

/// The page is of another origin than the hub. Cookies of the application reach the hub only within one site.
async fn a_page_of_another_origin_shows_the_workspace(bench: &Bench, editor: &Person) -> Result<()> {
    let own = editor.get("hub/home").await?;
    let policy = own.headers()["content-security-policy"].to_str()?;
    ensure!(policy.contains(&format!("frame-ancestors 'self' {}", bench.app.url(""))), "{policy}");
    let browser = Browser::start("openhexa").await?;
    let email = url::form_urlencoded::byte_serialize(EDITOR.as_bytes()).collect::<String>();
    browser.open(&bench.app.url(&format!("/enter?email={email}"))).await?;
    let page = format!("/workspaces/{PLAIN}/notebooks/?notebooks={}", bench.hub.url(""));
    browser.open(&bench.app.url(&page)).await?;
    browser.enters_frame("#lab[data-loaded]").await?;
    browser.sees(".jp-Launcher, .jp-LabShell").await?;
    let server = format!("{}user/{QUOTED}/{PLAIN}/", bench.hub.base_url());
    let opened = browser.script(OPENS_A_KERNEL, vec![json!(server)]).await?;
    ensure!(opened == "open", "the websocket of a kernel is {opened}");
    browser.quit().await
}

async fn the_application_logs_out(bench: &Bench, editor: &Person) -> Result<()> {
    let elsewhere = bench.enters(EDITOR).await?;
    elsewhere.follow("hub/home").await?;
    for browser in [editor, &elsewhere] {
        ensure!(browser.who_am_i().await?.as_deref() == Some(EDITOR), "the hub does not know the editor");
    }
    bench.launches(editor, PLAIN).await?;
    let answer = bench.app.asks(editor, "/auth/logout/").await?;
    ensure!(answer == json!({"status": 302, "location": bench.app.url("/front")}), "{answer}");
    let administrator = bench.hub.administrator()?;
    for server in [PLAIN, LONG, PROFILED, ""] {
        administrator.server_is_gone(EDITOR, server).await?;
    }
    // The other browser has a session of its own at the application, so it comes back in; its login at the hub ended.
    let answer = elsewhere.get("hub/home").await?;
    let location = answer.headers().get(LOCATION).context("the other browser is still in")?.to_str()?;
    ensure!(location.starts_with("/hub/login"), "{location}");
    ensure!(editor.who_am_i().await?.is_none(), "the editor is still in");
    let answer = editor.get("hub/login").await?;
    ensure!(answer.status() == 401, "the editor gets in again: {}", answer.status());
    Ok(())
}
