use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hub_config::{Config, FileSource};
use secrecy::ExposeSecret as _;

use crate::support::{Bench, write_with_mode};

/// Loads an example as people would: with the secret files that it names beside it.
fn example(name: &str) -> Config {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = fs::read_to_string(folder.join(name)).unwrap();
    let mut bench = Bench::new().file(name, &text);
    fs::create_dir(bench.path("secrets")).unwrap();
    for (secret, value) in [
        ("user_password", "correct horse".to_owned()),
        ("admin_password", "battery staple ".repeat(3)),
        ("db_password", "s3cret".to_owned()),
        ("crypt_keys", format!("{}\n{}\n", "1".repeat(64), "2".repeat(64))),
        ("proxy_token", "3".repeat(64)),
        ("grader_token", "4".repeat(64)),
        ("oidc_client", "5".repeat(40)),
        ("hub_api_token", "6".repeat(64)),
        ("workspaces_token", "7".repeat(64)),
    ] {
        write_with_mode(&bench.path("secrets").join(secret), &value, 0o600);
    }
    bench.sources.env = BTreeMap::new();
    let loaded = bench.load().unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
    assert!(loaded.warnings.is_empty(), "{name}: {:?}", loaded.warnings);
    loaded.config
}

#[test]
fn every_example_loads_without_a_warning() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        example(&name);
    }
}

#[test]
fn the_examples_say_what_their_first_lines_promise() {
    let shared = example("shared-password.toml");
    assert_eq!(shared.authenticator.options("shared-password")["user_password"], "correct horse");
    assert!(!shared.proxy.bind_url.is_loopback());

    let named = example("named-servers.toml");
    assert!(named.hub.allow_named_servers);
    assert_eq!(named.spawner.profiles["large"].spawner.mem_limit, Some(8 << 30));
    assert_eq!(named.spawner.profiles["large"].spawner.environment.len(), 2);

    let postgres = example("postgres.toml");
    assert_eq!(postgres.db.dialect(), "postgresql");
    assert_eq!(postgres.db.password.unwrap().expose_secret(), "s3cret");
    assert_eq!(postgres.hub.crypt_keys.len(), 2);

    let split = example("hub-and-proxy.toml");
    assert!(!split.proxy.should_start && split.proxy.auth_token.is_some() && !split.hub.cleanup_servers);

    let nginx = example("behind-nginx.toml");
    assert_eq!(nginx.hub.base_url, "/notebooks/");
    assert_eq!(nginx.hub.cookie_options["secure"], true);

    let openhexa = example("openhexa.toml");
    assert_eq!(openhexa.hub.embed_from, ["https://app.example.org"]);
    assert_eq!(openhexa.roles[0].scopes.as_deref().map(<[String]>::len), Some(2));

    let workspaces = example("workspaces.toml");
    assert_eq!(workspaces.workspaces.sources.len(), 3);
    assert_eq!(workspaces.workspaces.sources[1].role, hub_config::WorkspaceRole::Viewer);
    assert!(workspaces.workspaces.sources[2].token.is_some());

    let services = example("services-and-roles.toml");
    assert!(services.services[0].is_managed() && services.services[1].oauth_available());
    assert_eq!(services.groups["teachers"].users(), ["ann", "bob"]);
    assert_eq!(services.groups["students"].properties()["course"], "physics");
    assert_eq!(services.roles[0].services.as_deref(), Some(&["idle-culler".to_owned()][..]));
}

#[test]
fn two_files_may_be_named_together() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut bench = Bench::new();
    bench.sources.files =
        ["minimal.toml", "named-servers.toml"].map(|name| FileSource::Path(folder.join(name))).to_vec();
    assert_eq!(bench.load().unwrap().config.hub.named_server_limit_per_user, 5);
}
