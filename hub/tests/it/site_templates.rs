//! Sites that replace templates or parts of them.

use std::path::PathBuf;

use himalia::render::{
    CommonContext, ErrorPage, HomePage, Language, LoginPage, LogoutPage, NotRunningPage, RenderOptions,
    Renderer, ServiceLink, SpawnPendingPage, TemplateError,
};
use serde_json::json;

use crate::samples;
use crate::templates::page;

fn overrides(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/overrides").join(name)
}

fn site() -> Renderer {
    let template_vars =
        json!({"site_note": "<b>note</b>", "site_motto": "<look up>", "login_term_url": "/rules"});
    Renderer::new(RenderOptions {
        template_paths: vec![overrides("stock_style"), overrides("second")],
        template_vars: template_vars.as_object().cloned().expect("an object"),
        ..samples::options()
    })
    .expect("the site's templates are sound")
}

#[test]
fn site_templates_extend_the_built_in_ones() {
    let renderer = site();
    let mut common = samples::common(Some(samples::user(
        "ann",
        vec![samples::server("", "", "stopped"), samples::server("lab", "", "running")],
    )));
    common.services = vec![ServiceLink {
        name: "grader".to_owned(),
        href: "/services/grader/".to_owned(),
        ..ServiceLink::default()
    }];
    let home =
        renderer.render(&common, &HomePage { allow_named_servers: true, ..HomePage::default() }).unwrap();
    for part in [
        "<title>Observatory</title>",
        "href=\"/hub/static/css/site.css\"",
        "css/style.min.css",
        "src=\"/site.svg\"",
        "href=\"/services/docs/\">Handbook",
        "href=\"/hub/token\"",
        "href=\"/services/grader/\">*GRADER*</a>",
        "<div class=\"site-note\"><b>note</b></div>",
        "<footer>Observatory, 20261120</footer>",
        "<i class=\"badge-blue\">groups:crew</i>",
        "<em>lab@/user/ann/lab/ 2026-11-17T09:30:00Z</em>",
        "<u>2/2:lab</u>",
        "home-server-row",
        "src=\"/hub/static/js/site.js\"",
    ] {
        assert!(home.contains(part), "home lacks {part}");
    }

    let login = renderer.render(&samples::common(None), &LoginPage::default()).unwrap();
    for part in [
        "Welcome to the <b>observatory</b>",
        "data-site=\"yes\"",
        "id=\"username_input\"",
        "<a href=\"/rules\">house rules</a>",
        "<aside>&lt;look up&gt;</aside>",
        "id=\"login_submit\"",
    ] {
        assert!(login.contains(part), "login lacks {part}");
    }

    let pages = samples::all(&renderer, "ann").unwrap();
    let token = page(&pages, "token");
    for part in [
        "<td class=\"site-row\">a2 nightly export 2</td>",
        "<td class=\"site-client\">Server at /user/ann/ access:servers!server=ann/ read:users!user=ann</td>",
        "<option value=\"3600\">An hour</option>",
    ] {
        assert!(token.contains(part), "token lacks {part}");
    }
    let expected: [(&str, &[&str]); 5] = [
        (
            "admin",
            &["<p class=\"site-admin\">ann 50 0</p>", "id=\"react-admin-hook\"", "<small>6.1.1</small>"],
        ),
        ("spawn", &["<h1>Choose, ann</h1>", "id=\"spawn_form\"", "src=\"/hub/static/js/site-spawn.js\""]),
        (
            "spawn-pending",
            &[
                "the default one at /hub/api/users/ann/server/progress",
                "id=\"progress-heading\"",
                "EventSource",
            ],
        ),
        ("error", &["<h1>500 : Internal Server Error</h1>", "<h2>Call the office</h2>", "<b>ann</b>"]),
        ("error-anonymous", &["<b>stranger</b>"]),
    ];
    for (title, parts) in expected {
        for part in parts {
            assert!(page(&pages, title).contains(part), "{title} lacks {part}");
        }
    }
    let asleep = page(&pages, "not-running");
    assert!(asleep.contains("<h1>Asleep</h1>") && asleep.contains("Wake ann") && asleep.contains("no cause"));
}

#[test]
fn pages_speak_the_language_of_the_reader_and_site_templates_their_own() {
    let french = CommonContext {
        lang: Language::French,
        ..samples::common(Some(samples::user("ann", vec![samples::server("", "", "running")])))
    };
    let home = HomePage { default_server: samples::server("", "", "running"), ..HomePage::default() };
    let text = samples::renderer().render(&french, &home).unwrap();
    for part in [
        "<html lang=\"fr\"",
        "js/words-fr.js?v=",
        ">Arrêter mon serveur<",
        ">Jetons</a>",
        "id=\"error-dialog\"",
        "En marche",
    ] {
        assert!(text.contains(part), "{part} is missing: {text}");
    }
    assert!(!text.contains("Stop My Server"));
    let english = samples::renderer().render(&samples::common(None), &LogoutPage {}).unwrap();
    assert!(english.contains("<html lang=\"en\"") && !english.contains("words-"));

    let site = site().render(&french, &LoginPage::default()).unwrap();
    assert!(site.contains("Welcome to the <b>observatory</b>") && site.contains("Nom d’utilisateur :"));

    let named = NotRunningPage { server_name: "<a>".to_owned(), ..NotRunningPage::default() };
    let text = samples::renderer().render(&french, &named).unwrap();
    assert!(text.contains("Votre serveur &lt;a&gt; est à l’arrêt."), "{text}");
}

#[test]
fn directories_are_searched_in_order_and_error_pages_by_status_first() {
    let renderer = site();
    let nobody = samples::common(None);
    let teapot = ErrorPage { status_code: 418, message: "<tea>".to_owned(), ..ErrorPage::default() };
    let text = renderer.render(&nobody, &teapot).unwrap();
    assert!(
        text.contains("Short and stout (418)") && text.contains("<p class=\"site-error\">&lt;tea&gt;</p>")
    );
    let bye = renderer.render(&nobody, &LogoutPage {}).unwrap();
    assert!(bye.contains("Bye from Observatory"), "{bye}");
    let plain = renderer.render(&nobody, &ErrorPage { status_code: 500, ..ErrorPage::default() }).unwrap();
    assert!(plain.contains("<h1>500 : </h1>"));
}

#[test]
fn a_site_template_that_changes_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("logout.html");
    std::fs::write(&file, "one").unwrap();
    let renderer = Renderer::new(RenderOptions {
        template_paths: vec![directory.path().to_owned()],
        ..samples::options()
    })
    .unwrap();
    let nobody = samples::common(None);
    assert_eq!(renderer.render(&nobody, &LogoutPage {}).unwrap(), "one");
    std::fs::write(&file, "another").unwrap();
    assert_eq!(renderer.render(&nobody, &LogoutPage {}).unwrap(), "another");
}

#[test]
fn a_broken_site_template_is_told_at_the_start_with_file_and_line() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("home.html"),
        "{% extends \"page.html\" %}\n{% block main %}\n{{ oops !}}",
    )
    .unwrap();
    let error = Renderer::new(RenderOptions {
        template_paths: vec![directory.path().to_owned()],
        ..samples::options()
    })
    .unwrap_err();
    assert!(matches!(&error, TemplateError::Broken { name, line: 3, .. } if name == "home.html"), "{error}");
    let missing = directory.path().join("nowhere");
    let error =
        Renderer::new(RenderOptions { template_paths: vec![missing], ..samples::options() }).unwrap_err();
    assert!(error.to_string().contains("nowhere") && error.to_string().contains("template_paths"), "{error}");
}

#[test]
fn an_error_while_rendering_names_the_innermost_place() {
    let directory = tempfile::tempdir().unwrap();
    let text = "{% extends \"templates/spawn_pending.html\" %}\n\n{% block message %}{{ spawner.nothing.at_all }}{% endblock %}";
    std::fs::write(directory.path().join("spawn_pending.html"), text).unwrap();
    let renderer = Renderer::new(RenderOptions {
        template_paths: vec![directory.path().to_owned()],
        ..samples::options()
    })
    .unwrap();
    let error = renderer.render(&samples::common(None), &SpawnPendingPage::default()).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("template spawn_pending.html, line 3:"), "{text}");
}

#[test]
fn templates_cannot_reach_files_outside_their_directories() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("site");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(directory.path().join("secret.html"), "secret").unwrap();
    std::fs::write(
        inner.join("logout.html"),
        "{% include [\"../secret.html\", \"/etc/hostname\"] ignore missing %}x",
    )
    .unwrap();
    let renderer =
        Renderer::new(RenderOptions { template_paths: vec![inner], ..samples::options() }).unwrap();
    assert_eq!(renderer.render(&samples::common(None), &LogoutPage {}).unwrap(), "x");
}
