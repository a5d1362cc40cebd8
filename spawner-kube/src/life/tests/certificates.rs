//! Servers that speak TLS (`hub.internal_ssl`).

use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub_core::{CertificateError, CertificateIssuer, PollStatus, ServerCertificate, StopMode, UserName};
use serde_json::{Value, json};

use super::fake::Fake;
use super::site::Hub;

/// Numbers its certificates and writes the names into them.
#[derive(Debug, Default)]
struct Numbered(Mutex<usize>);

impl CertificateIssuer for Numbered {
    fn issue(&self, user: &UserName, names: &[String]) -> Result<ServerCertificate, CertificateError> {
        let mut count = self.0.lock().unwrap();
        *count += 1;
        let certificate = format!("{user} {count}: {}", names.join(" "));
        Ok(ServerCertificate {
            key: format!("key {count}").into(),
            certificate,
            authorities: "trust".to_owned(),
        })
    }

    fn trusted_alt_names(&self) -> &[String] {
        &[]
    }
}

fn held(secret: &Value, file: &str) -> String {
    String::from_utf8(STANDARD.decode(secret["data"][file].as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_pod_gets_a_secret_with_its_certificate_and_a_name_by_which_it_is_reached() {
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    let hub = Hub::new(&fake, None, &json!({})).with_certificates(&fake, Numbered::default());
    hub.start("ann").await;
    assert_eq!(hub.address("ann").unwrap(), "https://jupyter-ann.hub.svc.cluster.local:8888/");
    let pod = fake.object("pods", "jupyter-ann").unwrap();
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == "jupyter-ann"), "{pod}");
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let value = |name: &str| env.iter().find(|one| one["name"] == name).map(|one| one["value"].clone());
    assert_eq!(value("JUPYTERHUB_SSL_KEYFILE"), Some("/etc/jupyterhub/ssl/ssl.key".into()));
    let url = value("JUPYTERHUB_SERVICE_URL").unwrap();
    assert!(url.as_str().unwrap().starts_with("https://"), "{url}");

    let secret = fake.object("secrets", "jupyter-ann").unwrap();
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);
    assert_eq!(held(&secret, "ssl.key"), "key 1");
    assert_eq!(
        held(&secret, "ssl.crt"),
        "ann 1: DNS:jupyter-ann.hub.svc.cluster.local DNS:jupyter-ann DNS:jupyter-ann.hub DNS:jupyter-ann.hub.svc"
    );
    assert_eq!(held(&secret, "notebooks-ca_trust.crt"), "trust\n");
    // In stock's order.
    let service = fake.object("services", "jupyter-ann").unwrap();
    let version =
        |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(version(&secret) < version(&service), "{secret} {service}");

    // Another hub finds it at the same address, with the same certificate.
    let next = Hub::new(&fake, Some(&hub), &json!({})).with_certificates(&fake, Numbered::default());
    next.check("ann").await;
    assert_eq!(next.address("ann"), hub.address("ann"));
    // So does one that has been told to do without TLS since: this pod speaks it.
    let without = Hub::new(&fake, Some(&hub), &json!({}));
    without.check("ann").await;
    assert_eq!(without.address("ann"), hub.address("ann"));
    assert_eq!(next.poll("ann").await.unwrap(), PollStatus::Running);
    assert_eq!(fake.object("secrets", "jupyter-ann"), Some(secret));

    // The next pod has one of its own.
    next.stop("ann", StopMode::Graceful).await;
    hub.start("ann").await;
    let (pod, secret) =
        (fake.object("pods", "jupyter-ann").unwrap(), fake.object("secrets", "jupyter-ann").unwrap());
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], pod["metadata"]["uid"]);
    assert_eq!(held(&secret, "ssl.key"), "key 2");
}

#[tokio::test(start_paused = true)]
async fn a_start_without_tls_is_not_gone_on_with_by_a_hub_with_it() {
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    let hub = Hub::new(&fake, None, &json!({}));
    hub.start("ann").await;
    let before = fake.object("pods", "jupyter-ann").unwrap();
    // The hub was killed before it stored the address.
    hub.forget_address("ann");
    let next = Hub::new(&fake, Some(&hub), &json!({})).with_certificates(&fake, Numbered::default());
    next.check("ann").await;
    assert!(next.address("ann").unwrap().starts_with("http://"), "{:?}", next.address("ann"));
    next.start("ann").await;
    assert!(next.address("ann").unwrap().starts_with("https://"), "{:?}", next.address("ann"));
    assert_ne!(fake.object("pods", "jupyter-ann").unwrap()["metadata"]["uid"], before["metadata"]["uid"]);
}
