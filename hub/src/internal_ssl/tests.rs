use std::fs;
use std::path::Path;

use hub_config::Config;
use hub_core::secret::ExposeSecret as _;
use hub_core::{Clock as _, SystemClock, UserName};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;

use super::*;

fn config(folder: &Path) -> Config {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = Config::default();
    config.hub.internal_ssl = true;
    config.hub.internal_certs_location = folder.to_owned();
    config
}

fn open(config: &Config) -> InternalSsl {
    InternalSsl::open(config).unwrap().unwrap()
}

fn leaf(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// Whether the side of an authority lets somebody with this certificate in.
fn lets_in(tls: &InternalSsl, side: &str, certificate: &str) -> bool {
    let authorities = Arc::new(roots(&tls.folder.trust(side)).unwrap());
    let verifier = WebPkiClientVerifier::builder(authorities).build().unwrap();
    verifier.verify_client_cert(&leaf(certificate), &[], UnixTime::now()).is_ok()
}

fn of(tls: &InternalSsl, name: &str) -> String {
    fs::read_to_string(tls.folder.certificate(name)).unwrap()
}

#[test]
fn each_side_believes_those_that_it_talks_to_and_nobody_else() {
    let place = tempfile::tempdir().unwrap();
    let tls = open(&config(place.path()));
    let server = tls.issuer().issue(&UserName::stored("ann"), &["DNS:localhost".to_owned()]).unwrap();
    let [hub, proxy, api] = [HUB, PROXY, PROXY_API].map(|name| of(&tls, name));
    for (side, certificate, expected) in [
        (HUB_AUTHORITY, &server.certificate, true),
        (HUB_AUTHORITY, &proxy, true),
        (SERVERS_AUTHORITY, &hub, true),
        (SERVERS_AUTHORITY, &proxy, true),
        (SERVERS_AUTHORITY, &server.certificate, false),
        (SERVERS_AUTHORITY, &api, false),
        (API_AUTHORITY, &hub, true),
        (API_AUTHORITY, &proxy, false),
    ] {
        assert_eq!(lets_in(&tls, side, certificate), expected, "{side} {certificate}");
    }
    assert_eq!(server.authorities, fs::read_to_string(tls.folder.trust(SERVERS_AUTHORITY)).unwrap());
    let debug = format!("{tls:?} {server:?}");
    assert!(!debug.contains("PRIVATE KEY") && !debug.contains(server.key.expose_secret()), "{debug}");
}

#[test]
fn a_server_has_the_names_that_it_was_given() {
    let place = tempfile::tempdir().unwrap();
    let tls = open(&config(place.path()));
    let server = tls.issuer().issue(&UserName::stored("ann"), &["IP:10.0.0.7".to_owned()]).unwrap();
    let authorities = Arc::new(roots(&tls.folder.trust(PROXY_AUTHORITY)).unwrap());
    let verifier = WebPkiServerVerifier::builder(authorities).build().unwrap();
    for (name, expected) in [("10.0.0.7", true), ("10.0.0.8", false), ("localhost", false)] {
        let asked = ServerName::try_from(name).unwrap();
        let verified =
            verifier.verify_server_cert(&leaf(&server.certificate), &[], &asked, &[], UnixTime::now());
        assert_eq!(verified.is_ok(), expected, "{name}: {verified:?}");
    }
}

#[test]
fn an_authority_that_somebody_else_made_is_used_or_believed() {
    let (place, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = config(place.path());
    let now = SystemClock.now();
    let mut put = |name: &str, key: bool| {
        let made = authority::make(name, now).unwrap();
        let path = |ending: &str| theirs.path().join(format!("{name}.{ending}"));
        fs::write(path("crt"), &made.certificate).unwrap();
        fs::write(path("key"), &made.key).unwrap();
        let files = AuthorityFiles { key: key.then(|| path("key")), cert: path("crt"), ca: None };
        config.hub.external_ssl_authorities.insert(name.to_owned(), files);
        Authority::read(&made).unwrap()
    };
    let (servers, mine) = (put(SERVERS_AUTHORITY, true), put("mine", false));
    let api = put(API_AUTHORITY, false);
    let tls = open(&config);
    let signed = |by: &Authority| by.sign("x", &["DNS:x".to_owned()], now).unwrap().certificate;
    assert!(lets_in(&tls, HUB_AUTHORITY, &signed(&servers)));
    assert!(lets_in(&tls, HUB_AUTHORITY, &signed(&mine)));
    assert!(lets_in(&tls, HUB_AUTHORITY, &signed(&api)));
    assert!(!lets_in(&tls, SERVERS_AUTHORITY, &signed(&mine)));
    assert!(!place.path().join(SERVERS_AUTHORITY).exists() && !place.path().join(PROXY_API).exists());
    let own = tls.issuer().issue(&UserName::stored("ann"), &["DNS:x".to_owned()]).unwrap();
    assert!(lets_in(&tls, HUB_AUTHORITY, &own.certificate));

    config.hub.external_ssl_authorities.get_mut(SERVERS_AUTHORITY).unwrap().key = None;
    let error = format!("{:#}", InternalSsl::open(&config).unwrap_err());
    assert!(error.contains("hub.external_ssl_authorities.notebooks-ca.key: is missing"), "{error}");
}
