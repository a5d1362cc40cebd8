//! TLS among hub, proxy and servers, from outside: who is let in, and what becomes of the folder of certificates.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Client, Identity};

use crate::support::{Place, Running, free_ports};

/// A hub that speaks TLS, once it runs; the ports of its public side and its own.
fn start(place: &Place, more: &[&str]) -> (Running, u16, u16) {
    let (port, hub_port) = free_ports();
    let (port_text, hub) = (port.to_string(), format!("hub.hub_bind_url=http://127.0.0.1:{hub_port}"));
    let mut arguments = vec!["serve", "--port", &port_text, "--set", &hub, "--set", "hub.internal_ssl=true"];
    arguments.extend(more);
    let running = Running::start(place, "himalia", &arguments);
    running.wait_for("now running");
    (running, port, hub_port)
}

/// All files of a folder, with their content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = fs::read(&path).unwrap();
            found.insert(path, text);
        }
    }
    found
}

fn ends_in(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found == ending)
}

fn identity(folder: &Path, name: &str) -> Identity {
    let read = |ending: &str| fs::read_to_string(folder.join(name).join(format!("{name}.{ending}"))).unwrap();
    Identity::from_pem(format!("{}\n{}", read("key"), read("crt")).as_bytes()).unwrap()
}

/// Somebody who believes the hub, and may have a certificate.
fn caller(folder: &Path, identity: Option<Identity>) -> Client {
    let trust = fs::read(folder.join("notebooks-ca_trust.crt")).unwrap();
    let builder = Client::builder().tls_certs_only(Certificate::from_pem_bundle(&trust).unwrap()).no_proxy();
    let builder = if let Some(identity) = identity { builder.identity(identity) } else { builder };
    builder.build().unwrap()
}

#[tokio::test]
async fn a_hub_lets_nobody_in_without_a_certificate_of_its_own_making() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (place, foreign) = (Place::new(), Place::new());
    let (running, port, hub_port) = start(&place, &[]);
    let folder = place.path("internal-ssl");
    let url = format!("https://127.0.0.1:{hub_port}/hub/health");
    let known = caller(&folder, Some(identity(&folder, "proxy-client")));
    assert_eq!(known.get(&url).send().await.unwrap().status(), 200);
    assert!(caller(&folder, None).get(&url).send().await.is_err());
    let plain = url.replacen("https", "http", 1);
    let answer = known.get(&plain).send().await;
    assert!(answer.as_ref().map_or(true, |answer| answer.status() != 200), "{answer:?}");
    // People need none: they come through the proxy, which has one.
    let public = format!("http://127.0.0.1:{port}/hub/health");
    assert_eq!(reqwest::get(public).await.unwrap().status(), 200);

    // A certificate that another hub has made is none.
    let (other, ..) = start(&foreign, &[]);
    let stranger = caller(&folder, Some(identity(&foreign.path("internal-ssl"), "proxy-client")));
    assert!(stranger.get(&url).send().await.is_err());
    assert_eq!((running.terminate(), other.terminate()), (0, 0));
}

#[test]
fn certificates_are_kept_until_they_are_to_be_made_anew() {
    let place = Place::new();
    let folder = place.path("internal-ssl");
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    let first = files(&folder);
    for (path, _) in first.iter().filter(|(path, _)| ends_in(path, "key")) {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
    }
    assert_eq!(first.keys().filter(|path| ends_in(path, "key")).count(), 8, "{:?}", first.keys());
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    assert_eq!(files(&folder), first);

    fs::write(folder.join("mine"), "stays").unwrap();
    let anew = ["--set", "hub.recreate_internal_certs=true"];
    assert_eq!(start(&place, &anew).0.terminate(), 0);
    let second = files(&folder);
    for (path, text) in first.iter().filter(|(path, _)| ends_in(path, "crt")) {
        assert_ne!(second.get(path), Some(text), "{path:?}");
    }
    assert!(folder.join("mine").exists());
}

#[test]
fn what_is_wrong_with_the_folder_is_told_with_the_remedy() {
    let place = Place::new();
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    fs::remove_file(place.path("internal-ssl/hub-ca/hub-ca.key")).unwrap();
    let told = refused(&place, &[]);
    for part in ["hub.internal_certs_location", "hub-ca.key is missing", "hub.recreate_internal_certs"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

/// Starts a hub that is to refuse; what it says.
fn refused(place: &Place, more: &[&str]) -> String {
    let mut arguments = vec!["serve", "--port", "0", "--set", "hub.hub_bind_url=http://127.0.0.1:0"];
    arguments.extend(["--set", "hub.internal_ssl=true"]);
    arguments.extend(more);
    let done = place.himalia(&arguments);
    assert_ne!(done.code, 0, "{}", done.err);
    done.err
}

/// Writes into the database that a server runs.
const RUNNING: &str = r#"
import json, sqlite3, sys
db = sqlite3.connect("jupyterhub.sqlite")
db.execute("INSERT INTO users (id, name, cookie_id) VALUES (77, 'ann', 'c')")
db.execute("INSERT INTO servers (id, proto, ip, port, base_url) VALUES (77, 'https', '127.0.0.1', 9, '/user/ann/')")
db.execute("INSERT INTO spawners (user_id, server_id, name, state) VALUES (77, 77, '', ?)", [sys.argv[1]])
db.commit()
"#;

fn is_running(place: &Place, state: &str) {
    let mut command = std::process::Command::new("python3");
    let written = command.args(["-c", RUNNING, state]).current_dir(place.path("")).output().unwrap();
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
}

#[test]
fn a_hub_does_not_begin_with_other_authorities_than_those_of_running_servers() {
    let place = Place::new();
    let folder = place.path("internal-ssl");
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    let first = files(&folder);
    // Stock has begun it: nothing is known of it but that it speaks TLS.
    is_running(&place, r#"{"pid": 1}"#);
    fs::rename(&folder, place.path("elsewhere")).unwrap();
    let told = refused(&place, &[]);
    for part in [
        "hub.internal_certs_location (internal-ssl): 1 running server(s)",
        "notebooks-ca",
        "hub.recreate_internal_certs",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!folder.exists(), "nothing is made");
    // The folder is back, and the hub ends what is not there any more.
    fs::rename(place.path("elsewhere"), &folder).unwrap();
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    assert_eq!(files(&folder), first);
}

#[test]
fn servers_of_other_authorities_are_ended_only_on_demand() {
    let place = Place::new();
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    is_running(&place, r#"{"pid": 1, "himalia_authorities": {"hub-ca": "0", "notebooks-ca": "0"}}"#);
    let told = refused(&place, &[]);
    assert!(told.contains("other authorities (hub-ca, notebooks-ca)"), "{told}");
    let (running, ..) = start(&place, &["--set", "hub.recreate_internal_certs=true"]);
    assert_eq!(running.terminate(), 0);
}

#[test]
fn tls_is_not_switched_off_under_servers_that_run() {
    let place = Place::new();
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    is_running(&place, r#"{"pid": 1}"#);
    let told = refused(&place, &["--set", "hub.internal_ssl=false"]);
    assert!(told.contains("hub.internal_ssl: is off, and 1 running server(s)"), "{told}");
}

#[test]
fn a_second_hub_with_a_folder_of_its_own_does_not_begin() {
    let place = Place::new();
    let (running, ..) = start(&place, &[]);
    let other = ["--set", "hub.internal_certs_location=other"];
    let told = refused(&place, &other);
    for part in ["hub.internal_certs_location (other)", "the database belongs with other authorities"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!place.path("other").exists(), "nothing is made");
    assert_eq!(running.terminate(), 0);
}

#[test]
fn a_hub_that_listens_under_a_name_is_called_by_it() {
    let place = Place::new();
    let (port, hub_port) = free_ports();
    let (port, hub) = (port.to_string(), format!("hub.hub_bind_url=http://localhost:{hub_port}"));
    let arguments = ["serve", "--port", &port, "--set", &hub, "--set", "hub.internal_ssl=true"];
    let running = Running::start(&place, "himalia", &arguments);
    running.wait_for("now running");
    let answer = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let url = format!("http://127.0.0.1:{port}/hub/health");
        runtime.block_on(async { reqwest::get(url).await.unwrap().status() })
    });
    assert_eq!(answer.join().unwrap(), 200);
    assert_eq!(running.terminate(), 0);
}

#[tokio::test]
async fn a_proxy_of_its_own_has_no_key_of_an_authority() {
    let (place, proxy) = (Place::new(), Place::new());
    let (proxy, place) =
        [proxy, place].map(|place| place.env("CONFIGPROXY_AUTH_TOKEN", "token-of-the-test")).into();
    assert_eq!(start(&place, &[]).0.terminate(), 0);
    let (made, given) = (place.path("internal-ssl"), proxy.path("internal-ssl"));
    for name in ["proxy-client", "proxy-api"] {
        fs::create_dir_all(given.join(name)).unwrap();
        for file in
            [format!("{name}/{name}.key"), format!("{name}/{name}.crt"), format!("{name}-ca_trust.crt")]
        {
            fs::copy(made.join(&file), given.join(&file)).unwrap();
        }
    }
    let before = files(&given);
    let ((port, api), (hub_port, _)) = (free_ports(), free_ports());
    let api = format!("proxy.api_url=https://127.0.0.1:{api}");
    let hub = format!("hub.hub_bind_url=http://127.0.0.1:{hub_port}");
    let port_text = port.to_string();
    let common = ["--port", &port_text, "--set", &hub, "--set", &api, "--set", "hub.internal_ssl=true"];
    let proxy_runs = Running::start(&proxy, "himalia", &[&["proxy"], &common[..]].concat());
    proxy_runs.wait_for("proxy is serving");
    let hub_runs = Running::start(
        &place,
        "himalia",
        &[&["hub"], &common[..], &["--set", "proxy.should_start=false"]].concat(),
    );
    hub_runs.wait_for("now running");
    let answer = reqwest::get(format!("http://127.0.0.1:{port}/hub/health")).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(files(&given), before);
    assert_eq!((hub_runs.terminate(), proxy_runs.terminate()), (0, 0));
}

#[test]
fn commands_show_the_certificate_that_the_environment_names() {
    let text = "[[services]]\nname = 'asker'\napi_token = 'a-token-of-the-asker-0123456789'\n\
                [[roles]]\nname = 'asking'\nscopes = ['list:users']\nservices = ['asker']\n";
    let place = Place::new().file("hub.toml", text);
    let (running, _, hub_port) = start(&place, &["--config", "hub.toml"]);
    let folder = place.path("internal-ssl");
    let file = |name: &str| folder.join(name).display().to_string();
    let place = place
        .env("JUPYTERHUB_API_URL", &format!("https://127.0.0.1:{hub_port}/hub/api"))
        .env("JUPYTERHUB_API_TOKEN", "a-token-of-the-asker-0123456789");
    let done = place.himalia(&["user", "list"]);
    assert_ne!(done.code, 0, "{}", done.out);
    let place = place.env("JUPYTERHUB_SSL_KEYFILE", &file("hub-internal/hub-internal.key"));
    let done = place.himalia(&["user", "list"]);
    assert!(done.err.contains("JUPYTERHUB_SSL_CERTFILE"), "{}", done.err);
    let place = place
        .env("JUPYTERHUB_SSL_CERTFILE", &file("hub-internal/hub-internal.crt"))
        .env("JUPYTERHUB_SSL_CLIENT_CA", &file("notebooks-ca_trust.crt"));
    let done = place.himalia(&["user", "list"]);
    assert_eq!(done.code, 0, "{}", done.err);
    let place = place.env("JUPYTERHUB_SSL_CLIENT_CA", &file("proxy-api-ca/proxy-api-ca.crt"));
    let done = place.himalia(&["user", "list"]);
    assert_ne!(done.code, 0, "{}", done.out);
    assert!(done.err.contains("JUPYTERHUB_SSL_CLIENT_CA (--ssl-ca) are believed"), "{}", done.err);
    assert_eq!(running.terminate(), 0);
}

#[test]
fn a_check_of_the_configuration_makes_nothing() {
    let text =
        "[hub]\ninternal_ssl = true\ntrusted_alt_names = ['hub']\nhub_connect_url = 'http://hub:8081'\n";
    let place = Place::new().file("hub.toml", text);
    let done = place.himalia(&["config", "check", "hub.toml"]);
    assert_ne!(done.code, 0);
    for part in [
        "hub.trusted_alt_names[0]: \"hub\" is neither DNS:HOST nor IP:ADDRESS",
        "hub.hub_connect_url: must begin with https://",
    ] {
        assert!(done.err.contains(part), "{part}: {}", done.err);
    }
    assert!(!place.path("internal-ssl").exists());
}
