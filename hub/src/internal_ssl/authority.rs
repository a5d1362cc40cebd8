//! Authorities, and the certificates that they sign: what certipy makes for JupyterHub, with smaller keys.

use std::net::IpAddr;

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};
use hub_core::CertificateError;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, SanType,
};
use sha1::{Digest as _, Sha1};

/// How long an authority is good, in days.
const AUTHORITY_DAYS: i64 = 10 * 365;
/// How long a certificate is good, in days.
const CERTIFICATE_DAYS: i64 = 5 * 365;
/// Longest common name that X.509 allows, in characters.
const LONGEST_NAME: usize = 64;

/// A certificate with its key, in PEM.
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) certificate: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

/// What signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("issuer", &self.issuer).finish()
    }
}

/// A new authority, which signs no others.
pub(super) fn make(name: &str, now: DateTime<Utc>) -> Result<Pair, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = params(name, now, AUTHORITY_DAYS);
    // What certipy signs names its authority by this digest of the key, and OpenSSL looks for just that.
    let digest = Sha1::digest(key.public_key_raw());
    params.key_identifier_method = KeyIdMethod::PreSpecified(digest.to_vec());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(Pair { key: key.serialize_pem(), certificate: certificate.pem() })
}

impl Authority {
    /// An authority from its files, whoever made it.
    pub(super) fn read(pair: &Pair) -> Result<Self, rcgen::Error> {
        let key = KeyPair::from_pem(&pair.key)?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&pair.certificate, key)? })
    }

    /// A certificate for whoever is called so and reached under `names`, for both ends of a connection.
    pub(super) fn sign(
        &self,
        name: &str,
        names: &[String],
        now: DateTime<Utc>,
    ) -> Result<Pair, CertificateError> {
        let mut params = params(name, now, CERTIFICATE_DAYS);
        params.subject_alt_names = names.iter().map(|name| alt_name(name)).collect::<Result<_, _>>()?;
        let made = KeyPair::generate().and_then(|key| {
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok(Pair { key: key.serialize_pem(), certificate: certificate.pem() })
        });
        made.map_err(|error| CertificateError(format!("no certificate for {name}: {error}")))
    }
}

fn params(name: &str, now: DateTime<Utc>, days: i64) -> CertificateParams {
    let small = |number: u32| u8::try_from(number).unwrap_or(1);
    let date = |at: DateTime<Utc>| rcgen::date_time_ymd(at.year(), small(at.month()), small(at.day()));
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name.chars().take(LONGEST_NAME).collect::<String>());
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    // Clocks of other machines may be late.
    params.not_before = date(now - TimeDelta::days(1));
    params.not_after = date(now + TimeDelta::days(days));
    params
}

/// `DNS:host` or `IP:address`, as certipy and OpenSSL write them.
fn alt_name(text: &str) -> Result<SanType, CertificateError> {
    let wrong = || CertificateError(format!("{text:?} is neither DNS:HOST nor IP:ADDRESS"));
    match text.split_once(':').ok_or_else(wrong)? {
        ("DNS", host) if !host.is_empty() => Ok(SanType::DnsName(host.try_into().map_err(|_| wrong())?)),
        ("IP", address) => Ok(SanType::IpAddress(address.parse::<IpAddr>().map_err(|_| wrong())?)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use hub_core::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn an_authority_signs_when_it_is_read_again_and_names_are_checked() {
        let now = SystemClock.now();
        let made = make("hub-ca", now).unwrap();
        let authority = Authority::read(&made).unwrap();
        let names = ["DNS:localhost", "IP:127.0.0.1", "IP:::1"].map(str::to_owned);
        let pair = authority.sign(&"long".repeat(40), &names, now).unwrap();
        assert!(pair.certificate.starts_with("-----BEGIN CERTIFICATE-----"), "{}", pair.certificate);
        assert!(pair.key.contains("PRIVATE KEY"));
        for bad in ["localhost", "DNS:", "IP:localhost", "DNS:käse"] {
            let error = authority.sign("x", &[bad.to_owned()], now).err().unwrap().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
