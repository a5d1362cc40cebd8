use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

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
    config["toml_config"]({**settings, "hub": {"extra_log_handlers": []}})
except config["NoCounterpart"] as error:
    print(f"# {error}")
"##;

/// The tables of the mapping as JSON.
const TABLES: &str = r#"
import json, runpy, sys
config = runpy.run_path(sys.argv[1])
names = "HUB HUB_ELSEWHERE AUTHENTICATOR SPAWNER SPAWNER_LOCAL SERVICE".split()
print(json.dumps({name: sorted(config[name]) for name in names}))
"#;

#[test]
fn every_key_that_can_be_set_has_a_place_in_the_mapping() {
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance/config.py");
    let written = std::process::Command::new("python3").args(["-c", TABLES, module]).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let tables: BTreeMap<String, BTreeSet<String>> = serde_json::from_slice(&written.stdout).unwrap();
    let schema: Value = serde_json::from_str(&Place::new().himalia(&["config", "schema"]).out).unwrap();
    for (pointer, names) in [
        ("/properties/hub", &["HUB", "HUB_ELSEWHERE"][..]),
        ("/properties/authenticator", &["AUTHENTICATOR"]),
        ("/properties/spawner", &["SPAWNER"]),
        ("/properties/spawner/properties/local", &["SPAWNER_LOCAL"]),
        ("/properties/services/items", &["SERVICE"]),
    ] {
        let keys = schema.pointer(pointer).unwrap()["properties"].as_object().unwrap();
        let known: BTreeSet<&str> = keys
            .iter()
            // Tables of plugins and of profiles, what chooses them, and files with the value of another key.
            .filter(|(name, _)| !matches!(name.as_str(), "kind" | "chain" | "null" | "profiles"))
            .filter(|(_, key)| key.get("properties").is_none())
            .filter(|(name, _)| name.strip_suffix("_file").is_none_or(|other| !keys.contains_key(other)))
            .map(|(name, _)| name.as_str())
            .collect();
        let mapped: BTreeSet<&str> =
            names.iter().flat_map(|name| &tables[*name]).map(String::as_str).collect();
        let missing: Vec<_> = known.difference(&mapped).collect();
        assert!(missing.is_empty(), "not in {names:?}: {missing:?}");
        let gone: Vec<_> = mapped.iter().filter(|name| !keys.contains_key(**name)).collect();
        assert!(gone.is_empty(), "in {names:?} only: {gone:?}");
    }
}

#[test]
fn the_settings_of_the_conformance_run_become_a_configuration_without_mistakes() {
    let place = Place::new();
    let module = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/conformance/config.py");
    let written = std::process::Command::new("python3").args(["-c", PROGRAM, module]).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let text = String::from_utf8(written.stdout).unwrap();
    assert!(text.contains("# no counterpart for JupyterHub.extra_log_handlers"), "{text}");
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
