//! Every page with every sample.

use std::path::PathBuf;

use himalia::render::{
    CommonContext, ErrorPage, HomePage, Language, LoginPage, LogoutPage, NotRunningPage, RenderOptions,
    Renderer, SpawnPage, TokenPage,
};
use serde_json::json;

use crate::samples::{self, FRENCH, HOSTILE};

fn with_vars(vars: &serde_json::Value) -> Renderer {
    let template_vars = vars.as_object().cloned().expect("an object");
    Renderer::new(RenderOptions { template_vars, ..samples::options() })
        .expect("the built-in templates are sound")
}

pub(crate) fn page<'a>(pages: &'a [(String, String)], name: &str) -> &'a str {
    &pages.iter().find(|(title, _)| title == name).unwrap_or_else(|| panic!("no sample {name}")).1
}

/// The inline script that carries `window.jhdata`.
fn jhdata(page: &str) -> &str {
    let start = page.find("window.jhdata = ").expect("every page has it");
    page[start..].split("</script>").next().expect("a split has a first part")
}

#[test]
fn every_page_renders_for_ordinary_and_for_foreign_names() {
    let renderer = samples::renderer();
    for name in ["ann", FRENCH] {
        for (title, text) in samples::all(&renderer, name).unwrap() {
            assert!(text.starts_with("<!doctype html>"), "{title}");
            assert!(text.trim_end().ends_with("</html>"), "{title}");
            assert_eq!(text.matches("<main").count(), 1, "{title}");
            assert_eq!(text.matches("<h1").count(), 1, "{title} has one first heading");
            let words = text.replace("fill=\"none\"", "");
            assert!(!words.contains("undefined") && !words.contains("none"), "{title} shows a missing value");
        }
    }
}

#[test]
fn hostile_names_stay_text_on_every_page() {
    for (title, text) in samples::all(&samples::renderer(), HOSTILE).unwrap() {
        assert!(!text.contains("<img src=x"), "{title}: markup came through");
        assert!(!text.contains("onerror=alert(1)>\""), "{title}: an attribute was left");
        assert!(!text.contains("60481729"), "{title}: a variable was taken for a template");
        let scripts = text.matches("<script").count();
        assert_eq!(scripts, text.matches("</script>").count(), "{title}: a script was ended early");
        assert!(jhdata(&text).trim_end().ends_with("};"), "{title}: jhdata is cut short");
    }
}

#[test]
fn the_only_inline_script_has_the_nonce() {
    for (title, text) in samples::all(&samples::renderer(), "ann").unwrap() {
        for tag in text.split("<script").skip(1) {
            let tag = tag.split('>').next().unwrap();
            let allowed =
                tag.contains("src=") || tag.contains("nonce=\"bm9uY2U\"") || tag.contains("application/json");
            assert!(allowed, "{title}: <script{tag}>");
        }
        assert!(
            !text.contains(" style=") && !text.contains(" onclick="),
            "{title}: blocked by a strict policy"
        );
    }
}

#[test]
fn nothing_on_a_page_comes_from_elsewhere() {
    for (title, text) in samples::all(&samples::renderer(), "ann").unwrap() {
        for attribute in ["src=\"", "href=\""] {
            for address in text.split(attribute).skip(1) {
                let address = address.split('"').next().unwrap();
                assert!(!address.contains("//"), "{title}: {attribute}{address}");
            }
        }
    }
}

#[test]
fn scripts_get_what_jupyterhub_gives_them() {
    let renderer = samples::renderer();
    let mut common = samples::admin("o'neil</script>");
    if let Some(user) = &mut common.user {
        user.spawners[0].options_form = true;
    }
    let text = renderer.render(&common, &TokenPage::default()).unwrap();
    let data = jhdata(&text);
    for line in [
        r#"base_url: "/hub/""#,
        r#"prefix: "/""#,
        r#"user: "o\u0027neil\u003c/script\u003e""#,
        "admin_access: true",
        "options_form: true",
        r#"xsrf_token: "MnwxOjB8""#,
    ] {
        assert!(data.contains(line), "{line} is not in {data}");
    }
    let anonymous = renderer.render(&samples::common(None), &LogoutPage {}).unwrap();
    assert!(!jhdata(&anonymous).contains("user:"));
    let unchecked = ErrorPage { no_spawner_check: true, ..ErrorPage::default() };
    assert!(jhdata(&renderer.render(&common, &unchecked).unwrap()).contains("options_form: false"));
}

#[test]
fn elements_that_scripts_and_browser_tests_look_for_are_there() {
    let pages = samples::all(&samples::renderer(), "ann").unwrap();
    let expected: &[(&str, &[&str])] = &[
        (
            "login",
            &[
                "id=\"login-main\"",
                "id=\"username_input\"",
                "id=\"password_input\"",
                "id=\"login_submit\"",
                "id=\"insecure-login-warning\"",
                "name=\"_xsrf\" value=\"MnwxOjB8\"",
                "name=\"username\"",
                "name=\"password\"",
                "action=\"/hub/login?next=%2Fhub%2Fhome\"",
                "<title>JupyterHub</title>",
            ],
        ),
        (
            "login-failed",
            &["class=\"login_error\"", "id=\"otp_input\"", "name=\"otp\"", ">One-time code:</label>"],
        ),
        ("home-plain", &["id=\"start\"", "href=\"/hub/spawn/ann\"", "id=\"thenavbar\"", "id=\"logout\""]),
        (
            "home-named",
            &[
                "id=\"stop\"",
                "class=\"home-server-row\" data-server-name=\"genomes\"",
                "id=\"stop-genomes\"",
                "id=\"delete-report\"",
                "new-server-name",
                "new-server-btn",
                "datetime=\"2026-11-17T09:30:00Z\"",
            ],
        ),
        (
            "home-workspaces",
            &[
                "data-server-name=\"alpha\"",
                "id=\"start-alpha\"",
                "data-server-name=\"beta\"",
                "You can look at this workspace",
                "Lab of ann",
            ],
        ),
        ("home-workspaces-unknown", &["It cannot be told &lt;now&gt;."]),
        ("error-way-in", &["href=\"/app/?a&amp;b\"", "target=\"_top\"", "logged in to OpenHEXA"]),
        ("home-admin", &["href=\"/services/cull/\"", "href=\"/hub/admin\""]),
        (
            "admin",
            &[
                "id=\"react-admin-hook\"",
                "data-api-page-limit=\"50\"",
                "class=\"version_footer\"",
                "js/admin-react.js",
            ],
        ),
        ("spawn", &["id=\"spawn_form\"", "enctype=\"multipart/form-data\"", "<option>Minimal</option>"]),
        ("spawn-other", &["Spawning server for ann", "spawn-error-msg"]),
        (
            "spawn-pending",
            &[
                "class=\"progress\"",
                "id=\"progress-bar\"",
                "id=\"progress-message\"",
                "id=\"progress-log\"",
                "id=\"progress-details\"",
                "id=\"stop-server-btn\"",
                "id=\"sr-progress\"",
                "{\"EventSource\": \"/hub/api/users/ann/server/progress\"}",
            ],
        ),
        ("stop-pending", &["id=\"refresh\""]),
        ("not-running", &["id=\"start\"", "is not running", "href=\"/hub/spawn/ann\""]),
        ("not-running-soon", &["data-implicit-spawn-seconds=\"10\""]),
        ("not-running-failed", &["could not be fetched", "18.6 GiB"]),
        (
            "token",
            &[
                "id=\"request-token-form\"",
                "id=\"token-note\"",
                "id=\"token-scopes\"",
                "id=\"token-expiration-seconds\"",
                "id=\"token-area\"",
                "id=\"token-result\"",
                "id=\"api-tokens-section\"",
                "id=\"oauth-clients-section\"",
                "class=\"token-row\" data-token-id=\"a1\"",
                "revoke-token-btn",
                "data-label=\"Last used\">Never</td>",
                "data-label=\"Note\">ann</td>",
            ],
        ),
        ("oauth", &["name=\"scopes\" value=\"read:users\"", "name=\"_xsrf\"", "name=\"raw-scopes\""]),
        ("accept-share", &["name=\"code\"", "name=\"_xsrf\"", "not currently running"]),
        ("logout", &["id=\"logout-main\""]),
    ];
    for (title, parts) in expected {
        let text = page(&pages, title);
        for part in *parts {
            assert!(text.contains(part), "{title} lacks {part}");
        }
    }
    let none = page(&pages, "token-none");
    assert!(!none.contains("API Tokens") && !none.contains("Authorized Applications"));
    assert!(!page(&pages, "home-plain").contains("server-table"));
    // Nobody is named after logging out.
    assert!(!page(&pages, "logout").contains("ann<"));
}

#[test]
fn announcements_are_shown_everywhere_unless_a_page_has_its_own() {
    let renderer = with_vars(&json!({
        "announcement": "for <b>all</b>",
        "announcement_home": "for home",
        "announcement_login": "for login",
    }));
    let somebody = samples::common(Some(samples::user("ann", vec![])));
    let nobody = samples::common(None);
    let home = renderer.render(&somebody, &HomePage::default()).unwrap();
    assert!(home.contains("for home") && !home.contains("for <b>all</b>"));
    let login = renderer.render(&nobody, &LoginPage::default()).unwrap();
    assert!(login.contains("for login") && !login.contains("for <b>all</b>"));
    for text in [
        renderer.render(&somebody, &SpawnPage::default()).unwrap(),
        renderer.render(&somebody, &TokenPage::default()).unwrap(),
        renderer.render(&nobody, &LogoutPage {}).unwrap(),
        renderer.render(&nobody, &ErrorPage { status_code: 404, ..ErrorPage::default() }).unwrap(),
    ] {
        assert!(text.contains("for <b>all</b>"));
    }
}

#[test]
fn a_page_wins_over_site_variables_and_those_over_common_ones() {
    let renderer =
        with_vars(&json!({"login_url": "/sso", "status_message": "overridden", "logo_url": "/home-of-site"}));
    let error = ErrorPage {
        status_code: 503,
        status_message: "Service Unavailable".to_owned(),
        ..ErrorPage::default()
    };
    let text = renderer.render(&samples::common(None), &error).unwrap();
    assert!(text.contains("503 : Service Unavailable"));
    assert!(text.contains("href=\"/home-of-site\""));
    let logout = renderer.render(&samples::common(None), &LogoutPage {}).unwrap();
    assert!(logout.contains("href=\"/sso\""));
}

#[test]
fn markup_of_spawners_and_hooks_is_shown_as_markup_and_plain_text_is_not() {
    let renderer = samples::renderer();
    let somebody = samples::common(Some(samples::user("ann", vec![])));
    let html = ErrorPage {
        message: "<plain>".to_owned(),
        message_html: "<b>rich</b>".to_owned(),
        extra_error_html: "<a href=\"/hub/home\">home</a>".to_owned(),
        ..ErrorPage::default()
    };
    let text = renderer.render(&somebody, &html).unwrap();
    assert!(
        text.contains("<b>rich</b>")
            && text.contains("<a href=\"/hub/home\">home</a>")
            && !text.contains("plain")
    );
    let plain = ErrorPage { message: "I'm a <🫖>".to_owned(), ..ErrorPage::default() };
    assert!(renderer.render(&somebody, &plain).unwrap().contains("&lt;🫖&gt;"));
    let failed = NotRunningPage {
        failed: true,
        failed_html_message: "<i>why</i>".to_owned(),
        ..NotRunningPage::default()
    };
    assert!(renderer.render(&somebody, &failed).unwrap().contains("<i>why</i>"));
    let custom = LoginPage { custom_html: "<form id=\"own\"></form>".to_owned(), ..LoginPage::default() };
    assert!(renderer.render(&samples::common(None), &custom).unwrap().contains("<form id=\"own\"></form>"));
}

#[test]
fn addresses_of_servers_are_percent_encoded_once() {
    let user = samples::user("a/b c@d~é", vec![samples::server("x y", "", "stopped")]);
    let common = samples::common(Some(user));
    let home = HomePage { allow_named_servers: true, ..HomePage::default() };
    let text = samples::renderer().render(&common, &home).unwrap();
    assert!(text.contains("href=\"/hub/spawn/a%2Fb%20c@d~%C3%A9/x%20y\""));
    assert!(text.contains("href=\"/user/a%2Fb%20c@d~%C3%A9/x%20y/\""));
}

#[test]
fn a_base_url_with_odd_characters_reaches_links_and_scripts() {
    let renderer = Renderer::new(RenderOptions {
        static_prefix: "/@/space%20word/hub/static/".to_owned(),
        ..samples::options()
    })
    .unwrap();
    let common = CommonContext {
        base_url: "/@/space%20word/hub/".to_owned(),
        prefix: "/@/space%20word/".to_owned(),
        ..samples::common(Some(samples::user("ann", vec![])))
    };
    let text = renderer.render(&common, &HomePage::default()).unwrap();
    assert!(text.contains("href=\"/@/space%20word/hub/static/css/style.min.css?v="));
    assert!(text.contains("href=\"/@/space%20word/hub/token\""));
    assert!(jhdata(&text).contains("base_url: \"/@/space%20word/hub/\""));
}

#[test]
fn every_static_address_on_a_page_leads_to_an_embedded_file() {
    for (title, text) in samples::all(&samples::renderer(), "ann").unwrap() {
        let mut seen = 0;
        for address in text.split("\"/hub/static/").skip(1) {
            let address = address.split('"').next().unwrap();
            let (path, version) =
                address.split_once("?v=").unwrap_or_else(|| panic!("{title}: {address} has no version"));
            let asset =
                himalia::render::StaticFiles.get(path).unwrap_or_else(|| panic!("{title}: no file {path}"));
            assert_eq!(asset.version, version);
            seen += 1;
        }
        assert!(seen >= 4, "{title}");
    }
}

/// For looking at the pages: `cargo test -p himalia --test it -- --ignored samples_to_files`.
#[test]
#[ignore = "writes all samples to target/tmp/pages, to be looked at in a browser"]
fn samples_to_files() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("pages");
    std::fs::create_dir_all(&directory).unwrap();
    let renderer =
        with_vars(&json!({"announcement_home": "Maintenance on <b>Saturday</b> from 08:00 to 10:00."}));
    for (name, suffix) in [("ann", ""), (HOSTILE, "-hostile")] {
        for (title, text) in samples::all(&renderer, name).unwrap() {
            std::fs::write(directory.join(format!("{title}{suffix}.html")), text).unwrap();
        }
    }
    for path in himalia::render::StaticFiles.paths() {
        let target = directory.join("hub/static").join(path);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::write(target, &himalia::render::StaticFiles.get(path).unwrap().data).unwrap();
    }
}

#[test]
fn pages_tell_of_an_absent_login_service_and_lead_to_the_account_there() {
    let ann = || Some(samples::user("ann", vec![]));
    let render = |common: &CommonContext| samples::renderer().render(common, &LogoutPage {}).unwrap();
    let usual = render(&samples::common(ann()));
    assert!(!usual.contains("login-away") && !usual.contains("id=\"account\""));
    let away =
        CommonContext { login_away: true, account_url: "/hub/account".to_owned(), ..samples::common(ann()) };
    let text = render(&away);
    assert!(text.contains("id=\"login-away\"") && text.contains("does not answer at the moment"), "{text}");
    assert!(text.contains("href=\"/hub/account\" title=\"Your account\">ann</a>"), "{text}");
    let text = render(&CommonContext { lang: Language::French, ..away });
    assert!(text.contains("ne répond pas") && text.contains("title=\"Votre compte\""), "{text}");
}
