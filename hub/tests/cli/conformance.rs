use crate::support::Place;

/// Settings as the conformance run gives them, and one that has no counterpart.
const PROGRAM: &str = r##"
import runpy, sys
config = runpy.run_path(sys.argv[1])
settings = dict(
    workdir="/w", ip="127.0.0.1", port=8000, base_url="/@/space%20word/", hub_port=8081, proxy_api_port=8001,
    db_url="sqlite:////w/hub.sqlite", cookie_secret_file="/w/secret", crypt_keys=["5" * 64], cleanup_servers=False,
    last_activity_interval=2, service_poll_interval=1, extra_routes={"/x/": "http://127.0.0.1:1"},
    services=[dict(name="s", url="http://127.0.0.1:2", command=["a", "b"], api_token="1234567890", oauth_roles=None)],
    hub=dict(
        template_vars={"quote": "\"\\ \x7f"}, cookie_max_age_days=0.5, token_expires_in_max_seconds=3600,
        custom_scopes={"custom:a:read": dict(description="d", subscopes=[])},
        allow_existing_invalid_named_servers="allow-delete",
    ),
    tornado_settings=dict(slow_spawn_timeout=0),
    authenticator=dict(password="p", admin_users={"admin"}, allow_all=True, username_map={"a": "b"}),
    spawner=dict(cmd="one", home_dir_template="/home/{username}", environment={"A": "1"}, start_timeout=2.5),
)
print(config["toml_config"](settings))
try:
    config["toml_config"]({**settings, "hub": {"internal_ssl": True}})
except config["NoCounterpart"] as error:
    print(f"# {error}")
"##;

#[test]
fn the_settings_of_the_conformance_run_become_a_configuration_without_mistakes() {
    let place = Place::new();
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance/config.py");
    let written = std::process::Command::new("python3").args(["-c", PROGRAM, module]).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let text = String::from_utf8(written.stdout).unwrap();
    assert!(text.contains("# no counterpart for JupyterHub.internal_ssl"), "{text}");
    let place = place.file("hub.toml", &text);
    let done = place.himalia(&["config", "check", "hub.toml"]);
    assert_eq!(done.code, 0, "{}\n{text}", done.err);
    let shown = place.himalia(&["config", "show", "--config", "hub.toml"]).out;
    for line in [
        "cookie_max_age = \"12h\"",
        "start_timeout = \"2s500ms\"",
        "cmd = [\"one\"]",
        "slow_spawn_timeout = \"0s\"",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}
