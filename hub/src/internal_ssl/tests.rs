use std::fs;
use std::path::Path;

use hub_config::Config;
use hub_core::secret::ExposeSecret as _;
use hub_core::{Clock as _, SystemClock, UserName};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{ServerName, UnixTime};

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

/// Whether the hub takes who shows this certificate under this name for the one that it calls.
fn takes(tls: &InternalSsl, peer: Peer, certificate: &str) -> bool {
    let mut authorities = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(tls.answering(peer).as_bytes()) {
        authorities.add(authority.unwrap()).unwrap();
    }
    let verifier = WebPkiServerVerifier::builder(Arc::new(authorities)).build().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    verifier.verify_server_cert(&leaf(certificate), &[], &name, &[], UnixTime::now()).is_ok()
}

#[test]
fn whom_the_hub_calls_is_of_the_authority_for_just_that() {
    let (place, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = config(place.path());
    let now = SystemClock.now();
    let made = authority::make("mine", now).unwrap();
    let path = theirs.path().join("mine.crt");
    fs::write(&path, &made.certificate).unwrap();
    let files = AuthorityFiles { cert: path, ..AuthorityFiles::default() };
    config.hub.external_ssl_authorities.insert("mine".to_owned(), files);
    let tls = open(&config);
    let names = ["DNS:localhost".to_owned()];
    let server = tls.issuer().issue(&UserName::stored("ann"), &names).unwrap().certificate;
    let mine = Authority::read(&made).unwrap().sign("x", &names, now).unwrap().certificate;
    let [hub, proxy, api] = [HUB, PROXY, PROXY_API].map(|name| of(&tls, name));
    for (peer, believed) in [
        (Peer::Server, [true, false, false, false, false]),
        (Peer::Service, [true, false, false, false, true]),
        (Peer::ProxyApi, [false, false, false, true, true]),
    ] {
        let found = [&server, &hub, &proxy, &api, &mine].map(|certificate| takes(&tls, peer, certificate));
        assert_eq!(found, believed, "{peer:?}");
    }
}

/// The pair of a name, as it is in the folder.
fn pair(tls: &InternalSsl, name: &str) -> Pair {
    let key = fs::read_to_string(tls.folder.key(name)).unwrap();
    Pair { key, certificate: of(tls, name) }
}

#[test]
fn certificates_that_do_not_hold_are_made_anew_and_others_stay() {
    let place = tempfile::tempdir().unwrap();
    let mut config = config(place.path());
    let tls = open(&config);
    let before = [HUB, PROXY, PROXY_API].map(|name| of(&tls, name));
    assert_eq!([HUB, PROXY, PROXY_API].map(|name| of(&open(&config), name)), before);

    // A name that was not known then.
    config.hub.hub_connect_url = Some("https://hub:8081".to_owned());
    let tls = open(&config);
    assert_ne!(of(&tls, HUB), before[0]);
    assert_eq!([PROXY, PROXY_API].map(|name| of(&tls, name)), before[1..]);
    config.proxy.api_url = Some("https://proxy-api:8001".to_owned());
    assert_ne!(of(&open(&config), PROXY_API), before[2]);

    // A key of another certificate, half a pair, and a certificate of another authority.
    let now = SystemClock.now();
    let good = |tls: &InternalSsl| {
        let authority = fs::read_to_string(tls.folder.certificate(PROXY_AUTHORITY)).unwrap();
        check::leaf(&pair(tls, PROXY), &authority, &names::of_proxy(&config), now)
    };
    fs::copy(tls.folder.key(HUB), tls.folder.key(PROXY)).unwrap();
    good(&tls).unwrap_err();
    good(&open(&config)).unwrap();
    fs::remove_file(tls.folder.certificate(PROXY)).unwrap();
    good(&open(&config)).unwrap();
    let other = Authority::read(&authority::make(PROXY_AUTHORITY, now).unwrap()).unwrap();
    let foreign = other.sign(PROXY, &names::of_proxy(&config), now).unwrap();
    fs::write(tls.folder.key(PROXY), &foreign.key).unwrap();
    fs::write(tls.folder.certificate(PROXY), &foreign.certificate).unwrap();
    good(&open(&config)).unwrap();
    // Nearly over.
    let authority = Authority::read(&pair(&tls, PROXY_AUTHORITY)).unwrap();
    let then = now - chrono::TimeDelta::days(5 * 365 - 10);
    let old = authority.sign(PROXY, &names::of_proxy(&config), then).unwrap();
    fs::write(tls.folder.key(PROXY), &old.key).unwrap();
    fs::write(tls.folder.certificate(PROXY), &old.certificate).unwrap();
    check::pair(&old, now).unwrap();
    good(&open(&config)).unwrap();
}

#[test]
fn an_authority_that_cannot_be_used_is_told_and_stays() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path());
    let tls = open(&config);
    fs::copy(tls.folder.key(HUB_AUTHORITY), tls.folder.key(SERVERS_AUTHORITY)).unwrap();
    let before = pair(&tls, SERVERS_AUTHORITY);
    let error = format!("{:#}", InternalSsl::open(&config).unwrap_err());
    for part in [
        "hub.internal_certs_location",
        "notebooks-ca.crt",
        "another certificate",
        "hub.recreate_internal_certs",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert_eq!(pair(&tls, SERVERS_AUTHORITY).certificate, before.certificate);
}

#[test]
fn the_fingerprints_are_those_of_the_folder() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path());
    let tls = open(&config);
    assert_eq!(tls.fingerprints().len(), 3);
    assert_eq!(open(&config).fingerprints(), tls.fingerprints());
    fs::rename(place.path().join(SERVERS_AUTHORITY), place.path().join("aside")).unwrap();
    let other = open(&config);
    let differ: Vec<_> =
        tls.fingerprints().iter().filter(|(name, print)| other.fingerprints()[*name] != **print).collect();
    assert_eq!(differ.len(), 1);
    assert_eq!(differ[0].0, SERVERS_AUTHORITY);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_of_its_own_waits_for_its_certificates_and_needs_no_key_of_an_authority() {
    let place = tempfile::tempdir().unwrap();
    let config = config(&place.path().join("shared"));
    let wait = |api| ProxySsl::find(&config, api);
    let error = format!("{:#}", wait(true).await.err().unwrap());
    for part in ["hub.internal_certs_location", "proxy-client.crt is missing", "proxy-api-ca_trust.crt"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!place.path().join("shared").exists(), "it makes nothing");

    let made = async {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        open(&config)
    };
    let (found, tls) = tokio::join!(wait(true), made);
    assert!(found.unwrap().unwrap().api.is_some());
    for name in AUTHORITIES {
        fs::remove_dir_all(place.path().join("shared").join(name)).unwrap();
    }
    let before = fs::metadata(tls.folder.trust(PROXY_AUTHORITY)).unwrap().modified().unwrap();
    assert!(wait(false).await.unwrap().unwrap().api.is_none());
    assert_eq!(fs::metadata(tls.folder.trust(PROXY_AUTHORITY)).unwrap().modified().unwrap(), before);
    fs::copy(tls.folder.key(HUB), tls.folder.key(PROXY)).unwrap();
    let error = format!("{:#}", wait(false).await.err().unwrap());
    assert!(
        error.contains("proxy-client.crt cannot be used") && error.contains("another certificate"),
        "{error}"
    );
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

/// Files of an authority of somebody else.
fn theirs(place: &Path, name: &str, certificate: &str) -> AuthorityFiles {
    let path = place.join(format!("{name}.crt"));
    fs::write(&path, certificate).unwrap();
    AuthorityFiles { cert: path, ..AuthorityFiles::default() }
}

#[test]
fn the_key_of_an_authority_that_somebody_else_made_is_not_passed_on() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = config(place.path());
    let now = SystemClock.now();
    for (name, key_first) in [(API_AUTHORITY, false), (SERVICES_AUTHORITY, true), ("mine", false)] {
        let made = authority::make(name, now).unwrap();
        let combined = if key_first {
            format!("{}{}", made.key, made.certificate)
        } else {
            format!("{}{}", made.certificate, made.key)
        };
        let files = theirs(other.path(), name, &combined);
        let files = AuthorityFiles { ca: Some(files.cert.clone()), ..files };
        config.hub.external_ssl_authorities.insert(name.to_owned(), files);
    }
    let tls = open(&config);
    for authority in AUTHORITIES {
        let text = fs::read_to_string(tls.folder.trust(authority)).unwrap();
        assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("KEY"), "{authority}: {text}");
    }
    assert!(!tls.issuer.issue(&UserName::stored("ann"), &[]).unwrap().authorities.contains("KEY"));
    // Nor that of an own one.
    let own = pair(&tls, PROXY_AUTHORITY);
    fs::write(tls.folder.certificate(PROXY_AUTHORITY), format!("{}{}", own.certificate, own.key)).unwrap();
    let tls = open(&config);
    let text = fs::read_to_string(tls.folder.trust(SERVERS_AUTHORITY)).unwrap();
    assert!(text.contains("BEGIN CERTIFICATE") && !text.contains("KEY"), "{text}");
}

#[test]
fn an_authority_that_somebody_else_made_is_looked_at() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = SystemClock.now();
    let over = authority::make("mine", now - chrono::TimeDelta::days(11 * 365)).unwrap().certificate;
    let none = Authority::read(&authority::make("mine", now).unwrap()).unwrap();
    let none = none.sign("x", &["DNS:x".to_owned()], now).unwrap().certificate;
    for (name, text, flaw) in [
        ("mine", "", "holds no certificate"),
        ("mine", over.as_str(), "was good until"),
        (API_AUTHORITY, none.as_str(), "not the certificate of an authority"),
    ] {
        let mut config = config(place.path());
        config.hub.external_ssl_authorities.insert(name.to_owned(), theirs(other.path(), name, text));
        let error = format!("{:#}", InternalSsl::open(&config).unwrap_err());
        let key = format!("hub.external_ssl_authorities.{name}.cert: ");
        assert!(error.contains(&key) && error.contains(flaw), "{error}");
    }
}

#[test]
fn what_an_authority_of_somebody_else_has_signed_is_not_taken_away() {
    let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut config = config(place.path());
    let now = SystemClock.now();
    let made = authority::make(HUB_AUTHORITY, now).unwrap();
    let files = theirs(other.path(), HUB_AUTHORITY, &made.certificate);
    config.hub.external_ssl_authorities.insert(HUB_AUTHORITY.to_owned(), files);
    let folder = open_folder(&config.hub).unwrap();
    let signed = Authority::read(&made).unwrap().sign(HUB, &names::of_hub(&config), now).unwrap();
    folder.put_first(HUB, signed).unwrap();
    let tls = open(&config);
    let before = [HUB, PROXY].map(|name| of(&tls, name));

    config.hub.recreate_internal_certs = true;
    InternalSsl::forget(&config.hub).unwrap();
    let tls = open(&config);
    let after = [HUB, PROXY].map(|name| of(&tls, name));
    assert_eq!(after[0], before[0]);
    assert_ne!(after[1], before[1]);
    // Nothing goes while something is wrong with what the operator gives.
    fs::write(other.path().join(format!("{HUB_AUTHORITY}.crt")), "").unwrap();
    InternalSsl::forget(&config.hub).unwrap_err();
    assert_eq!(of(&tls, PROXY), after[1]);
}

#[test]
fn many_hubs_that_begin_at_once_have_one_folder() {
    let place = tempfile::tempdir().unwrap();
    let config = config(&place.path().join("shared"));
    let barrier = std::sync::Barrier::new(4);
    let begun: Vec<InternalSsl> = std::thread::scope(|scope| {
        let begin = || {
            scope.spawn(|| {
                barrier.wait();
                open(&config)
            })
        };
        let begun: Vec<_> = (0..4).map(|_| begin()).collect();
        begun.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let now = SystemClock.now();
    for tls in &begun {
        assert_eq!(tls.fingerprints(), begun[0].fingerprints());
        let authority = of(tls, HUB_AUTHORITY);
        check::leaf(&tls.hub, &authority, &names::of_hub(&config), now).unwrap();
        check::leaf(&pair(tls, PROXY), &of(tls, PROXY_AUTHORITY), &names::of_proxy(&config), now).unwrap();
    }
}

#[test]
fn a_pair_that_another_hub_has_put_there_meanwhile_is_looked_at() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path());
    let (tls, now) = (open(&config), SystemClock.now());
    let signer = Authority::read(&pair(&tls, HUB_AUTHORITY)).unwrap();
    let authority = Known { certificates: of(&tls, HUB_AUTHORITY), signer: Some(signer) };
    let wanted = |host: &str| Leaf {
        name: HUB,
        parent: HUB_AUTHORITY,
        names: vec![format!("DNS:{host}")],
        needed: true,
    };
    // Two hubs with other names, many times: each has what it asked for.
    std::thread::scope(|scope| {
        for host in ["one", "two"] {
            let (wanted, authority, folder) = (wanted(host), &authority, &tls.folder);
            scope.spawn(move || {
                for _ in 0..20 {
                    let Ok(found) = wanted.find(folder, authority, now) else { continue };
                    check::leaf(&found.unwrap(), &authority.certificates, &wanted.names, now).unwrap();
                }
            });
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_proxy_waits_for_a_pair_that_is_made_anew() {
    let place = tempfile::tempdir().unwrap();
    let config = config(place.path());
    let tls = open(&config);
    let good = fs::read(tls.folder.key(PROXY)).unwrap();
    fs::copy(tls.folder.key(HUB), tls.folder.key(PROXY)).unwrap();
    let mended = async {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
        fs::write(tls.folder.key(PROXY), good).unwrap();
    };
    let (found, ()) = tokio::join!(ProxySsl::find(&config, false), mended);
    assert!(found.unwrap().is_some());
}
