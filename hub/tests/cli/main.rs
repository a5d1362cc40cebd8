//! The command line as a person meets it: output and exit codes of the real program.

#![expect(clippy::unwrap_used, reason = "a test may end that way")]

mod conformance;
mod internal_ssl;
mod proxy;
mod services;
mod serving;
mod support;
mod upgrade;

use support::Place;

#[test]
fn the_version_names_the_program_and_what_it_speaks() {
    let place = Place::new();
    let done = place.himalia(&["version"]);
    assert_eq!(done.code, 0);
    assert!(done.out.starts_with("himalia ") && done.out.contains("JupyterHub 6.1.1"), "{}", done.out);
    assert!(place.himalia(&["--version"]).out.starts_with("himalia "));
    assert!(place.named("jupyterhub", &["--version"]).out.trim().ends_with("6.1.1"));
}

#[test]
fn a_wrong_configuration_is_exit_code_two_with_every_mistake_and_its_remedy() {
    let place = Place::new().file("hub.toml", "[spawner]\nstart_timout = 5\n[hub]\nbase_url = 5\n");
    for arguments in
        [&["config", "check", "hub.toml"][..], &["--config", "hub.toml"], &["-f", "hub.toml", "hub"]]
    {
        let done = place.himalia(arguments);
        assert_eq!(done.code, 2, "{arguments:?}");
        assert_eq!(done.out, "", "{arguments:?}");
        assert_eq!(
            done.err,
            "error: hub.toml:2: spawner.start_timout: unknown key\n  hint: did you mean start_timeout?\n\
             error: hub.toml:4: hub.base_url: expected text, found the number 5\n",
            "{arguments:?}"
        );
    }
}

#[test]
fn a_check_of_files_does_not_look_at_the_environment() {
    let place = Place::new().file("hub.toml", "[hub]\nbase_url = \"/lab/\"\n").env("HUB__NO__SUCH", "1");
    let done = place.himalia(&["config", "check", "hub.toml"]);
    assert_eq!((done.code, done.out.as_str()), (0, "no mistakes found\n"), "{}", done.err);
    assert_eq!(place.himalia(&["config", "check", "-f", "hub.toml"]).code, 2);
}

#[test]
fn a_check_also_asks_the_spawner_about_its_options() {
    let pods = |options: &str| {
        let text = format!("[spawner]\nkind = \"kube\"\n\n[spawner.kube]\n{options}\n");
        Place::new().file("hub.toml", &text).himalia(&["config", "check", "hub.toml"])
    };
    let done = pods("volumes = [{ name = \"v\", secret = { secretNam = \"x\" } }]");
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(
        done.err.starts_with("error: hub.toml:5: spawner.kube.volumes[0].secret.secretNam: "),
        "{}",
        done.err
    );
    let done = pods("poll_interval = 5");
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(done.err.contains("spawner.kube.poll_interval: belongs one level up"), "{}", done.err);
    assert_eq!(pods("image = \"lab:1\"").code, 0);
}

#[test]
fn a_file_that_is_missing_is_exit_code_two() {
    let done = Place::new().himalia(&["-f", "nowhere.toml", "config", "show"]);
    assert_eq!(done.code, 2);
    assert!(done.err.starts_with("error: nowhere.toml:1: cannot be read: "), "{}", done.err);
}

#[test]
fn show_prints_what_is_in_effect_from_the_default_file_and_the_flags() {
    let place = Place::new().file("himalia.toml", "[hub]\nallow_named_servers = true\n");
    let done = place.himalia(&["config", "show", "--base-url", "/@/space word/", "--port", "9000"]);
    assert_eq!(done.code, 0, "{}", done.err);
    for line in [
        "base_url = \"/@/space%20word/\"  # flag --base-url",
        "allow_named_servers = true  # himalia.toml:2",
        "bind_url = \"http://127.0.0.1:9000\"  # flag --port",
    ] {
        assert!(done.out.lines().any(|found| found == line), "{line}\n{}", done.out);
    }
}

#[test]
fn without_any_file_the_quick_start_profile_holds() {
    let done = Place::new().himalia(&["config", "show"]);
    assert!(done.out.contains("allow_named_servers = true  # quick start:3"), "{}", done.out);
    assert!(done.out.contains("kind = \"first-admin\""), "{}", done.out);
    assert!(done.out.contains("home_dir_template"), "{}", done.out);
}

#[test]
fn homes_and_account_of_the_first_administrator_are_nobody_elses() {
    for (place, arguments) in [
        (Place::new(), &["config", "show", "--set", "authenticator.kind=dummy"][..]),
        (Place::new().env("HUB__AUTHENTICATOR__KIND", "dummy"), &["config", "show"]),
        (Place::new(), &["config", "show", "--set", "spawner.kind=kube"]),
    ] {
        let done = place.himalia(arguments);
        assert_eq!(done.code, 0, "{}", done.err);
        assert!(done.out.contains("allow_named_servers = true  # quick start:3"), "{}", done.out);
        assert!(
            !done.out.contains("home_dir_template") && !done.out.contains("--allow-root"),
            "{}",
            done.out
        );
    }
}

#[test]
fn the_schema_is_json_and_the_reference_markdown() {
    let place = Place::new();
    let schema: serde_json::Value = serde_json::from_str(&place.himalia(&["config", "schema"]).out).unwrap();
    assert_eq!(schema["properties"]["hub"]["additionalProperties"], false);
    assert!(place.himalia(&["config", "reference"]).out.starts_with("# Configuration\n"));
}

#[test]
fn unknown_flags_and_settings_without_value_are_exit_code_two() {
    let place = Place::new();
    assert_eq!(place.himalia(&["--nonsense"]).code, 2);
    let done = place.himalia(&["--set", "hub.base_url"]);
    assert_eq!(done.code, 2);
    assert!(done.err.contains("--set hub.base_url has no value"), "{}", done.err);
}

#[test]
fn a_python_configuration_is_refused_with_the_way_out() {
    let place = Place::new().file("jupyterhub_config.py", "c.JupyterHub.port = 1\n");
    for (name, arguments) in [
        ("himalia", &["-f", "jupyterhub_config.py"][..]),
        ("jupyterhub", &["-f", "jupyterhub_config.py"]),
        ("jupyterhub", &["--show-config"]),
    ] {
        let done = place.named(name, arguments);
        assert_eq!(done.code, 2, "{name} {arguments:?}");
        assert!(done.err.contains("jupyterhub_config.py is a Python configuration"), "{}", done.err);
        assert!(done.err.contains("hint: write its settings as TOML"), "{}", done.err);
    }
}

#[test]
fn as_jupyterhub_it_takes_the_flags_of_stock() {
    let place = Place::new();
    let done = place.named(
        "jupyterhub",
        &[
            "--url=http://127.0.0.1:9000/lab",
            "--db",
            "sqlite:///other.sqlite",
            "--debug",
            "--no-ssl",
            "-y",
            "--Spawner.start_timeout=90",
            "--JupyterHub.hub_ip=127.0.0.9",
            "--JupyterHub.hub_port=9081",
            "--JupyterHub.authenticator_class=dummy",
            "--Authenticator.allowed_users={'ann', 'bob'}",
            "--DummyAuthenticator.password",
            "s3cret",
            "--show-config",
        ],
    );
    assert_eq!(done.code, 0, "{}", done.err);
    for line in [
        "base_url = \"/lab/\"  # flag --url",
        "url = \"sqlite:///other.sqlite\"  # flag --db",
        "level = \"debug\"  # flag --debug",
        "start_timeout = \"1m30s\"  # flag --Spawner.start_timeout",
        "hub_bind_url = \"http://127.0.0.9:9081\"  # flag --JupyterHub.hub_port",
        "kind = \"dummy\"  # flag --JupyterHub.authenticator_class",
        "allowed_users = [\"ann\", \"bob\"]  # flag --Authenticator.allowed_users",
        "password = \"********\"  # flag --DummyAuthenticator.password",
    ] {
        assert!(done.out.lines().any(|found| found == line), "{line}\n{}", done.out);
    }
}

#[test]
fn as_jupyterhub_it_refuses_what_it_cannot_do() {
    let place = Place::new();
    for (arguments, expected) in [
        (&["--JupyterHub.tornado_settings={}"][..], "--JupyterHub.tornado_settings has no counterpart here"),
        (&["--JupyterHub.spawner_class=my.Spawner"], "has no counterpart here"),
        (&["--generate-certs"], "--generate-certs has no counterpart here"),
        (&["--log-file=x"], "2>FILE"),
        (&["--log-level=LOUD"], "\"LOUD\" is no log level"),
        (
            &["--Spawner.start_timeout=soon"],
            "flag --Spawner.start_timeout: spawner.start_timeout: \"soon\" is no duration",
        ),
        (&["--Spawner.start_timeout"], "--Spawner.start_timeout has no value"),
        (&["positional"], "unrecognized subcommand"),
    ] {
        let done = place.named("jupyterhub", arguments);
        assert_eq!(done.code, 2, "{arguments:?}: {}", done.err);
        assert!(done.err.contains(expected), "{arguments:?}: {}", done.err);
    }
}

#[test]
fn a_new_database_needs_no_upgrade_and_a_token_needs_a_user() {
    let place = Place::new();
    let done = place.himalia(&["upgrade-db"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.err.contains("the database needs no upgrade"), "{}", done.err);
    let done = place.himalia(&["token", "nobody", "--log-level", "error"]);
    assert_eq!(done.code, 1);
    assert!(done.err.starts_with("error: there is no user \"nobody\""), "{}", done.err);
    assert_eq!(done.out, "");
}

#[test]
fn a_setting_that_a_plugin_does_not_know_is_exit_code_two() {
    let place = Place::new().file("hub.toml", "[spawner.local]\nno_such_key = 1\n");
    let done = place.himalia(&[
        "serve",
        "-f",
        "hub.toml",
        "--port",
        "0",
        "--set",
        "hub.hub_bind_url=http://127.0.0.1:0",
    ]);
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(done.err.contains("hub.toml:2: spawner.local.no_such_key"), "{}", done.err);
}

#[test]
fn a_check_of_the_configuration_looks_at_what_the_authenticator_would_refuse() {
    let text = "[authenticator]\nkind = \"dummy\"\n[authenticator.dummy]\npasword = \"x\"\n[spawner.local]\nlog = 1\n";
    let place = Place::new().file("hub.toml", text);
    let done = place.himalia(&["config", "check", "hub.toml"]);
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(done.err.contains("hub.toml:4: authenticator.dummy.pasword"), "{}", done.err);
    assert!(done.err.contains("hub.toml:6: spawner.local.log"), "{}", done.err);
    let open = "[proxy]\nbind_url = \"http://:8000\"\n[authenticator]\nkind = \"dummy\"\n";
    let done = Place::new().file("hub.toml", open).himalia(&["config", "check", "hub.toml"]);
    assert_eq!(done.code, 2, "{}", done.err);
    assert!(
        done.err.contains("hub.toml:2: proxy.bind_url") && done.err.contains("lets everybody in"),
        "{}",
        done.err
    );
    let first = Place::new().file("hub.toml", "[hub]\nallow_named_servers = true\n");
    assert_eq!(first.himalia(&["config", "check", "hub.toml"]).code, 0);
}

#[test]
fn a_proxy_in_the_hubs_process_cannot_be_left_running() {
    let place = Place::new().file("hub.toml", "[hub]\ncleanup_proxy = false\n");
    let port = "hub.hub_bind_url=http://127.0.0.1:0";
    for arguments in
        [&["config", "check", "hub.toml"][..], &["serve", "-f", "hub.toml", "--port", "0", "--set", port]]
    {
        let done = place.himalia(arguments);
        assert_eq!(done.code, 2, "{arguments:?} {}", done.err);
        assert!(done.err.contains("hub.toml:2: hub.cleanup_proxy"), "{}", done.err);
        assert!(done.err.contains("himalia proxy"), "{}", done.err);
    }
    let apart = "[hub]\ncleanup_proxy = false\n[proxy]\nshould_start = false\nauth_token = \"secret\"\n[authenticator]\n\
                 kind = \"null\"\n";
    let done = Place::new().file("hub.toml", apart).himalia(&["config", "check", "hub.toml"]);
    assert_eq!(done.code, 0, "{}", done.err);
}

#[test]
fn a_database_that_cannot_be_opened_is_exit_code_one() {
    let place = Place::new();
    let done =
        place.himalia(&["token", "ann", "--db", "sqlite:////nowhere/at/all.sqlite", "--log-level", "error"]);
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.starts_with("error: ") && done.err.contains("/nowhere/at/all.sqlite"), "{}", done.err);
}
