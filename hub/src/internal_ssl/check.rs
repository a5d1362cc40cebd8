//! Whether certificates that were kept can be used still.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::pem::{LineEnding, encode_string};
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::BasicConstraints;

use super::authority::Pair;

/// How long before its end a certificate is made anew, or worth a warning.
pub(super) const SOON: TimeDelta = TimeDelta::days(30);

/// What is wrong with a certificate, as the end of a sentence.
pub(super) type Flaw = String;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, Flaw> {
    let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| "holds no certificate".to_owned())
}

fn parsed(pem: &str) -> Result<Certificate, Flaw> {
    let unreadable = |error| format!("cannot be read: {error}");
    let first = chain(pem)?.into_iter().next().ok_or("holds no certificate")?;
    Certificate::from_der(&first).map_err(unreadable)
}

/// Key and certificates of a pair, where they belong together.
fn fits(pair: &Pair) -> Result<CertifiedKey, Flaw> {
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())
        .map_err(|error| format!("its key cannot be read: {error}"))?;
    CertifiedKey::from_der(chain(&pair.certificate)?, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "its key belongs to another certificate".to_owned()
        }
        error => format!("it cannot be used: {error}"),
    })
}

/// Whether both can be used as they are: they belong together, and the time is right.
pub(super) fn pair(pair: &Pair, now: DateTime<Utc>) -> Result<(), Flaw> {
    fits(pair)?;
    in_time(&parsed(&pair.certificate)?, now)
}

fn in_time(certificate: &Certificate, now: DateTime<Utc>) -> Result<(), Flaw> {
    let validity = &certificate.tbs_certificate.validity;
    let [from, to] =
        [&validity.not_before, &validity.not_after].map(|time| DateTime::<Utc>::from(time.to_system_time()));
    match (now < from, to < now) {
        (true, _) => Err(format!("it is not good before {from}")),
        (_, true) => Err(format!("it was good until {to}")),
        _ => Ok(()),
    }
}

/// The certificates of a text, and nothing else that it holds: keys are nobody's business.
pub(super) fn certificates(pem: &str) -> Result<String, Flaw> {
    let encoded = |der: &CertificateDer<'_>| encode_string("CERTIFICATE", LineEnding::LF, der);
    let all: Result<String, _> = chain(pem)?.iter().map(encoded).collect();
    all.map_err(|error| format!("it cannot be written again: {error}"))
}

/// Whether somebody can sign with a pair: an authority, whose time is right.
pub(super) fn authority(authority: &Pair, now: DateTime<Utc>) -> Result<(), Flaw> {
    fits(authority)?;
    authority_alone(&authority.certificate, now)
}

/// Whether a certificate is one of an authority, whose time is right.
pub(super) fn authority_alone(pem: &str, now: DateTime<Utc>) -> Result<(), Flaw> {
    let certificate = parsed(pem)?;
    in_time(&certificate, now)?;
    let constraints = certificate.tbs_certificate.get::<BasicConstraints>();
    let constraints = constraints.map_err(|error| format!("it cannot be read: {error}"))?;
    if constraints.is_some_and(|(_, constraints)| constraints.ca) {
        Ok(())
    } else {
        Err("it is not the certificate of an authority".to_owned())
    }
}

/// Whether a certificate is one that its authority has signed, for each of these names, and is good for some time yet.
pub(super) fn leaf(pair: &Pair, authority: &str, names: &[String], now: DateTime<Utc>) -> Result<(), Flaw> {
    let own = fits(pair)?;
    in_time(&parsed(&pair.certificate)?, now)?;
    let mut roots = RootCertStore::empty();
    for certificate in chain(authority)? {
        roots.add(certificate).map_err(|error| format!("its authority cannot be used: {error}"))?;
    }
    let (roots, no_authority) = (Arc::new(roots), |error| format!("its authority cannot be used: {error}"));
    let server = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider()).build();
    let client = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let (server, client) = (server.map_err(no_authority)?, client.map_err(no_authority)?);
    let (first, others) = own.cert.split_first().ok_or("holds no certificate")?;
    for at in [now, now + SOON] {
        let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        for name in names {
            let Some(asked) = server_name(name) else { continue };
            let verified = server.verify_server_cert(first, others, &asked, &[], at);
            verified.map_err(|error| format!("it does not hold for {name} for the next 30 days: {error}"))?;
        }
        let verified = client.verify_client_cert(first, others, at);
        verified.map_err(|error| {
            format!("it does not hold for who calls others for the next 30 days: {error}")
        })?;
    }
    Ok(())
}

/// A name of a certificate as one that somebody connects to; none for what nobody connects to.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    let (_, host) = name.split_once(':')?;
    let host = host.strip_prefix("*.").map_or_else(|| host.to_owned(), |rest| format!("any.{rest}"));
    ServerName::try_from(host).ok()
}

/// Whether a certificate is no longer good, or not for long.
pub(super) fn ends_soon(pem: &str, now: DateTime<Utc>) -> bool {
    parsed(pem).is_ok_and(|certificate| in_time(&certificate, now + SOON).is_err())
}

/// What tells an authority from all others: a digest of its name and key, which stay when its certificate is renewed.
pub(super) fn fingerprint(pem: &str) -> Result<String, Flaw> {
    let certificate = parsed(pem)?.tbs_certificate;
    let unreadable = |error| format!("cannot be read: {error}");
    let mut digest = Sha256::new();
    digest.update(certificate.subject.to_der().map_err(unreadable)?);
    digest.update(certificate.subject_public_key_info.to_der().map_err(unreadable)?);
    let mut hex = hex::encode(digest.finalize());
    hex.truncate(32);
    Ok(hex)
}

#[cfg(test)]
mod tests {
    use hub_core::{Clock as _, SystemClock};

    use super::super::authority::{Authority, make};
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_leaf_is_of_its_authority_for_its_names_and_for_some_time() {
        let now = SystemClock.now();
        let (own, other) = (make("hub-ca", now).unwrap(), make("hub-ca", now).unwrap());
        let given = names(&["DNS:localhost", "IP:127.0.0.1", "DNS:*.lab.example"]);
        let made = Authority::read(&own).unwrap().sign("hub-internal", &given, now).unwrap();
        leaf(&made, &own.certificate, &given, now).unwrap();

        let flaw = leaf(&made, &other.certificate, &given, now).unwrap_err();
        assert!(flaw.contains("localhost"), "{flaw}");
        let flaw = leaf(&made, &own.certificate, &names(&["DNS:hub"]), now).unwrap_err();
        assert!(flaw.contains("DNS:hub"), "{flaw}");
        let nearly_over = now + TimeDelta::days(5 * 365 - 20);
        let flaw = leaf(&made, &own.certificate, &given, nearly_over).unwrap_err();
        assert!(flaw.contains("next 30 days"), "{flaw}");
        let flaw = leaf(&made, &own.certificate, &given, now + TimeDelta::days(6 * 365)).unwrap_err();
        assert!(flaw.contains("was good until"), "{flaw}");
        let mixed = Pair { key: other.key.clone(), certificate: made.certificate.clone() };
        let flaw = leaf(&mixed, &own.certificate, &given, now).unwrap_err();
        assert!(flaw.contains("belongs to another"), "{flaw}");
    }

    #[test]
    fn a_leaf_is_for_both_ends_of_a_connection() {
        let now = SystemClock.now();
        let own = make("hub-ca", now).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let signer = rcgen::KeyPair::from_pem(&own.key).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&own.certificate, signer).unwrap();
        let made = params.signed_by(&key, &issuer).unwrap();
        let one_end = Pair { key: key.serialize_pem(), certificate: made.pem() };
        let flaw = leaf(&one_end, &own.certificate, &names(&["DNS:localhost"]), now).unwrap_err();
        assert!(flaw.contains("who calls others"), "{flaw}");
    }

    #[test]
    fn an_authority_signs_with_its_own_key_in_its_time() {
        let now = SystemClock.now();
        let (own, other) = (make("hub-ca", now).unwrap(), make("hub-ca", now).unwrap());
        authority(&own, now).unwrap();
        assert!(!ends_soon(&own.certificate, now));
        assert!(ends_soon(&own.certificate, now + TimeDelta::days(3630)));
        let flaw = authority(&own, now + TimeDelta::days(11 * 365)).unwrap_err();
        assert!(flaw.contains("was good until"), "{flaw}");
        let mixed = Pair { key: other.key.clone(), certificate: own.certificate.clone() };
        assert!(authority(&mixed, now).unwrap_err().contains("belongs to another"));
        let leaf = Authority::read(&own).unwrap().sign("x", &names(&["DNS:x"]), now).unwrap();
        assert!(authority(&leaf, now).unwrap_err().contains("not the certificate of an authority"));
        let broken = Pair { key: own.key.clone(), certificate: "nothing".to_owned() };
        assert!(authority(&broken, now).unwrap_err().contains("holds no certificate"));
    }

    #[test]
    fn a_fingerprint_stays_with_name_and_key() {
        let now = SystemClock.now();
        let (own, other) = (make("hub-ca", now).unwrap(), make("hub-ca", now).unwrap());
        let print = fingerprint(&own.certificate).unwrap();
        assert_eq!(print, fingerprint(&format!("{}{}", own.certificate, other.certificate)).unwrap());
        assert_ne!(print, fingerprint(&other.certificate).unwrap());
    }
}
