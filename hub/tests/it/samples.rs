//! Contexts as the hub makes them, from the plainest to the hostile.

use chrono::{DateTime, TimeZone as _, Utc};
use himalia::render::{
    AcceptSharePage, AdminPage, AuthenticatorView, CommonContext, Date, ErrorPage, HomePage, Language,
    LoginPage, LogoutPage, NotRunningPage, OAuthClientView, OAuthPage, OwnerView, RenderOptions, Renderer,
    ScopeDescription, ServiceLink, SessionRow, SessionsPage, SpawnPage, SpawnPendingPage, SpawnerView,
    StopPendingPage, TemplateError, TokenClientRow, TokenPage, TokenRow, UserView, WayInView, WorkspaceList,
    WorkspaceView, expiry_options_html,
};
use serde_json::json;

/// A name that would end a script, an attribute, an element or a JSON string if it were not escaped.
pub(crate) const HOSTILE: &str = "</script><img src=x onerror=alert(1)>\"'`{{7777*7777}}&lt;\u{2028}";
/// French, emoji, a script that is written from the right.
pub(crate) const FRENCH: &str = "Ægidius d’Été 🐧 שלום";

pub(crate) fn date(days_ago: i64) -> Date {
    let now: DateTime<Utc> = Utc.with_ymd_and_hms(2026, 11, 20, 9, 30, 0).single().expect("the date exists");
    Date(now - chrono::TimeDelta::days(days_ago))
}

pub(crate) fn options() -> RenderOptions {
    RenderOptions {
        static_prefix: "/hub/static/".to_owned(),
        version_hash: "20261120".to_owned(),
        ..RenderOptions::default()
    }
}

pub(crate) fn renderer() -> Renderer {
    Renderer::new(options()).expect("the built-in templates are sound")
}

pub(crate) fn server(name: &str, display: &str, state: &str) -> SpawnerView {
    SpawnerView {
        name: name.to_owned(),
        display_name: display.to_owned(),
        active: state != "stopped",
        ready: state == "running",
        pending: match state {
            "starting" => Some("spawn".to_owned()),
            "stopping" => Some("stop".to_owned()),
            _ => None,
        },
        last_activity: (state != "starting").then(|| date(3)),
        url: format!("/user/ann/{name}/"),
        ..SpawnerView::default()
    }
}

pub(crate) fn user(name: &str, spawners: Vec<SpawnerView>) -> UserView {
    let mut view =
        UserView { name: name.to_owned(), groups: vec!["crew".to_owned()], spawners, ..UserView::default() };
    view.url = format!("/user/{}/", view.escaped_name());
    view
}

pub(crate) fn common(user: Option<UserView>) -> CommonContext {
    CommonContext {
        base_url: "/hub/".to_owned(),
        prefix: "/".to_owned(),
        user,
        login_url: "/hub/login".to_owned(),
        logout_url: "/hub/logout".to_owned(),
        xsrf: "MnwxOjB8".to_owned(),
        xsrf_token: "MnwxOjB8".to_owned(),
        csp_nonce: Some("bm9uY2U".to_owned()),
        ..CommonContext::default()
    }
}

pub(crate) fn admin(name: &str) -> CommonContext {
    let mut common = common(Some(UserView { admin: true, ..user(name, vec![server("", "", "running")]) }));
    common.parsed_scopes.insert("admin-ui".to_owned(), json!(true));
    common.admin_access = true;
    common.services = vec![ServiceLink {
        name: format!("cull {name}"),
        href: "/services/cull/".to_owned(),
        display: true,
        ..ServiceLink::default()
    }];
    common
}

fn scopes(name: &str) -> Vec<ScopeDescription> {
    let words = |scope: &str, description: &str, filter: String| ScopeDescription {
        scope: scope.to_owned(),
        description: description.to_owned(),
        filter,
    };
    vec![
        words("access:services", "Use the service.", format!("service:{name}")),
        words("read:users", "Read user models.", String::new()),
        words("custom", name, format!("user:{name}")),
    ]
}

fn sessions(name: &str) -> SessionsPage {
    let row = |id: &str, current| SessionRow {
        id: id.to_owned(),
        browser: name.to_owned(),
        system: "Linux".to_owned(),
        address: "2001:db8::7".to_owned(),
        agent: format!("Mozilla/5.0 {name}"),
        created: Some(date(3)),
        last_activity: Some(date(0)),
        expires_at: Some(date(-11)),
        current,
    };
    let nothing = SessionRow { id: "s9".to_owned(), ..SessionRow::default() };
    SessionsPage {
        owner: name.to_owned(),
        own: true,
        may_end: true,
        unlisted: false,
        sessions: vec![row("s1", true), row("s2", false), nothing],
    }
}

fn tokens(name: &str) -> TokenPage {
    let row = |id: &str, note: &str, scopes: &[&str], expires: Option<Date>| TokenRow {
        api_id: id.to_owned(),
        note: note.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        created: Some(date(9)),
        last_activity: expires.map(|_| date(1)),
        expires_at: expires,
    };
    TokenPage {
        api_tokens: vec![
            row("a1", name, &["inherit"], None),
            row("a2", "nightly export", &["read:users!user", "access:servers!user"], Some(date(-7))),
        ],
        oauth_clients: vec![TokenClientRow {
            token_id: "a3".to_owned(),
            description: format!("Server at /user/{name}/"),
            tokens: vec![
                row("a3", "oauth", &["access:servers!server=ann/", "read:users!user=ann"], None),
                row("a4", "oauth", &["read:users!user=ann"], None),
            ],
            created: Some(date(2)),
            last_activity: None,
        }],
        token_expires_in_options_html: expiry_options_html(None, Language::English),
        ..TokenPage::default()
    }
}

type Samples = Vec<(&'static str, Result<String, TemplateError>)>;

/// Rendered samples of all pages by name: what anybody, somebody and an administrator called `name` see.
pub(crate) fn all(renderer: &Renderer, name: &str) -> Result<Vec<(String, String)>, TemplateError> {
    let samples = [
        logging_in_and_out(renderer, name),
        control_panel(renderer, name),
        starting(renderer, name),
        not_there(renderer, name),
        permissions(renderer, name),
        errors(renderer, name),
    ];
    samples.into_iter().flatten().map(|(title, page)| Ok((title.to_owned(), page?))).collect()
}

fn servers(name: &str) -> Vec<SpawnerView> {
    vec![
        server("", "", "stopped"),
        server("genomes", "Genomes 2026", "running"),
        server("report", "", "stopped"),
        server("gpu", name, "starting"),
        server("old", "Old things", "stopping"),
    ]
}

fn somebody(name: &str) -> CommonContext {
    common(Some(user(name, servers(name))))
}

fn logging_in_and_out(renderer: &Renderer, name: &str) -> Samples {
    let nobody = common(None);
    let login = LoginPage {
        authenticator_login_url: "/hub/login?next=%2Fhub%2Fhome".to_owned(),
        ..LoginPage::default()
    };
    let failed = LoginPage {
        username: name.to_owned(),
        login_error: "Invalid username or password".to_owned(),
        authenticator: AuthenticatorView { request_otp: true, otp_prompt: "One-time code:".to_owned() },
        next: format!("/hub/{name}"),
        ..login.clone()
    };
    let service = LoginPage { login_service: format!("Keycloak {name}"), ..login.clone() };
    vec![
        ("login", renderer.render(&nobody, &login)),
        ("login-failed", renderer.render(&nobody, &failed)),
        ("login-service", renderer.render(&nobody, &service)),
        ("logout", renderer.render(&nobody, &LogoutPage {})),
    ]
}

fn control_panel(renderer: &Renderer, name: &str) -> Samples {
    let plain = HomePage {
        url: "/hub/spawn/ann".to_owned(),
        default_server: server("", "", "stopped"),
        ..HomePage::default()
    };
    let named = HomePage {
        url: "/user/ann/".to_owned(),
        default_server: server("", "", "running"),
        allow_named_servers: true,
        named_server_limit_per_user: 5,
        spawners: servers(name),
        invalid_server_names: vec!["a/b".to_owned(), name.to_owned()],
        ..HomePage::default()
    };
    let place =
        |reason: &str| WorkspaceView { display_name: format!("Lab of {name}"), reason: reason.to_owned() };
    let workspaces = WorkspaceList {
        known: [
            ("alpha", place("")),
            ("beta", place("You can look at this workspace, but not start its server.")),
        ]
        .map(|(name, place)| (name.to_owned(), place))
        .into(),
        never_started: vec![server("alpha", "", "stopped"), server("beta", "", "stopped")],
        problem: String::new(),
    };
    let places = HomePage { workspaces: Some(workspaces), allow_named_servers: true, ..plain.clone() };
    let unknown =
        WorkspaceList { problem: "It cannot be told <now>.".to_owned(), ..WorkspaceList::default() };
    let unknown = HomePage { workspaces: Some(unknown), ..places.clone() };
    let empty = HomePage { allow_named_servers: true, ..plain.clone() };
    let administration = AdminPage {
        current_user: user(name, vec![]),
        admin_access: true,
        server_version: "6.1.1".to_owned(),
        api_page_limit: 50,
        ..AdminPage::default()
    };
    vec![
        ("home-plain", renderer.render(&somebody(name), &plain)),
        ("home-named", renderer.render(&somebody(name), &named)),
        ("home-workspaces", renderer.render(&somebody(name), &places)),
        ("home-workspaces-unknown", renderer.render(&somebody(name), &unknown)),
        ("home-admin", renderer.render(&admin(name), &empty)),
        ("admin", renderer.render(&admin(name), &administration)),
    ]
}

fn starting(renderer: &Renderer, name: &str) -> Samples {
    let form = "<label class=\"form-label\" for=\"image\">Image</label>\
        <select id=\"image\" name=\"image\" class=\"form-select\"><option>Minimal</option><option>Data science</option></select>";
    let own = SpawnPage {
        for_user: user(name, vec![]),
        spawner_options_form: form.to_owned(),
        url: format!("/hub/spawn?_xsrf=x&next={name}"),
        ..SpawnPage::default()
    };
    let other = SpawnPage { error_message: format!("There is no image called {name}"), ..own.clone() };
    let pending = SpawnPendingPage {
        spawner: server("", "", "starting"),
        progress_url: format!("/hub/api/users/{}/server/progress", user(name, vec![]).escaped_name()),
        spawn_url: format!("/hub/spawn/ann?next={name}"),
        ..SpawnPendingPage::default()
    };
    vec![
        ("spawn", renderer.render(&somebody(name), &own)),
        ("spawn-other", renderer.render(&admin("root"), &other)),
        ("spawn-pending", renderer.render(&somebody(name), &pending)),
    ]
}

fn not_there(renderer: &Renderer, name: &str) -> Samples {
    let stopping = StopPendingPage { spawner: server("", "", "stopping"), ..StopPendingPage::default() };
    let stopped = NotRunningPage { spawn_url: "/hub/spawn/ann".to_owned(), ..NotRunningPage::default() };
    let soon =
        NotRunningPage { implicit_spawn_seconds: 10.0, server_name: name.to_owned(), ..stopped.clone() };
    let failed = NotRunningPage {
        failed: true,
        failed_message: format!("The image {name} could not be fetched."),
        retry: Some(false),
        log_tail: vec![
            "[I 2026-11-20 09:29:58 ServerApp] jupyterlab | extension was successfully linked.".to_owned(),
            format!("Traceback: {name}"),
            "MemoryError: Unable to allocate 18.6 GiB for an array".to_owned(),
        ],
        ..stopped.clone()
    };
    let somebody = somebody(name);
    vec![
        ("stop-pending", renderer.render(&somebody, &stopping)),
        ("not-running", renderer.render(&somebody, &stopped)),
        ("not-running-soon", renderer.render(&somebody, &soon)),
        ("not-running-failed", renderer.render(&somebody, &failed)),
    ]
}

fn permissions(renderer: &Renderer, name: &str) -> Samples {
    let none = TokenPage {
        token_expires_in_options_html: expiry_options_html(Some(86_400), Language::English),
        ..TokenPage::default()
    };
    let oauth = OAuthPage {
        allowed_scopes: ["read:users".to_owned(), format!("access:services!service={name}")].into(),
        scope_descriptions: scopes(name),
        oauth_client: OAuthClientView {
            description: format!("JupyterHub service {name}"),
            redirect_uri: "/services/whoami/oauth_callback".to_owned(),
        },
        ..OAuthPage::default()
    };
    let share = AcceptSharePage {
        code: name.to_owned(),
        owner: OwnerView { name: name.to_owned() },
        spawner: server("genomes", "Genomes 2026", "stopped"),
        spawner_url: "/user/bob/genomes/".to_owned(),
        scope_descriptions: scopes(name),
        next_url: format!("/hub/{name}"),
        ..AcceptSharePage::default()
    };
    let somebody = somebody(name);
    vec![
        ("token-none", renderer.render(&somebody, &none)),
        ("token", renderer.render(&somebody, &tokens(name))),
        (
            "sessions-none",
            renderer
                .render(&somebody, &SessionsPage { unlisted: true, own: true, ..SessionsPage::default() }),
        ),
        ("sessions", renderer.render(&somebody, &sessions(name))),
        ("oauth", renderer.render(&somebody, &oauth)),
        ("accept-share", renderer.render(&somebody, &share)),
    ]
}

fn errors(renderer: &Renderer, name: &str) -> Samples {
    let error = ErrorPage {
        status_code: 500,
        status_message: "Internal Server Error".to_owned(),
        message: format!("Something about {name} did not work."),
        request_id: Some("7f3c1a".to_owned()),
        ..ErrorPage::default()
    };
    let unknown = ErrorPage { no_spawner_check: true, ..error.clone() };
    let stranger = ErrorPage {
        status_code: 401,
        status_message: "Unauthorized".to_owned(),
        way_in: Some(WayInView { service: "OpenHEXA".to_owned(), url: "/app/?a&b".to_owned() }),
        ..ErrorPage::default()
    };
    let missing =
        ErrorPage { status_code: 404, status_message: "Not Found".to_owned(), ..ErrorPage::default() };
    vec![
        ("error", renderer.render(&somebody(name), &error)),
        ("error-anonymous", renderer.render(&common(None), &unknown)),
        ("error-404", renderer.render(&somebody(name), &missing)),
        ("error-way-in", renderer.render(&common(None), &stranger)),
    ]
}
