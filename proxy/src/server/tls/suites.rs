//! Cipher suites by the names that OpenSSL, and with it configurable-http-proxy, gives them.

use rustls::{CipherSuite, SupportedCipherSuite, crypto::aws_lc_rs};

use crate::error::ProxyError;

/// The suites of TLS 1.2 that the TLS library has, by their OpenSSL names.
const TLS12: [(&str, CipherSuite); 6] = [
    ("ECDHE-ECDSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-ECDSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES256-GCM-SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES128-GCM-SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];
/// Words of OpenSSL's cipher lists that stand for many suites, ours among them.
const GROUPS: [&str; 4] = ["HIGH", "DEFAULT", "ALL", "SECURE"];

/// The suites named, in the order given, and all of TLS 1.3. Names that the library does not have are passed over,
/// as OpenSSL does.
pub(super) fn chosen(names: &[String]) -> Result<Vec<SupportedCipherSuite>, ProxyError> {
    let (excluded, wanted): (Vec<&str>, Vec<&str>) =
        names.iter().map(String::as_str).partition(|name| name.starts_with(['!', '-']));
    let mut order: Vec<CipherSuite> = Vec::new();
    for name in wanted {
        let group = GROUPS.contains(&name);
        for (known, suite) in TLS12 {
            let barred = excluded.iter().any(|barred| barred.get(1..) == Some(known));
            if (group || known == name) && !barred && !order.contains(&suite) {
                order.push(suite);
            }
        }
    }
    if order.is_empty() {
        let known: Vec<&str> = TLS12.iter().map(|(name, _)| *name).collect();
        let problem = format!("none of these suites is supported: name one of {}", known.join(", "));
        return Err(ProxyError::option("--ssl-ciphers", problem));
    }
    let all = aws_lc_rs::ALL_CIPHER_SUITES;
    let newest = all.iter().filter(|suite| suite.tls13().is_some());
    let older = order.iter().filter_map(|wanted| all.iter().find(|suite| suite.suite() == *wanted));
    Ok(newest.chain(older).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &str) -> Vec<CipherSuite> {
        let names: Vec<String> = list.split(':').map(str::to_owned).collect();
        let chosen = chosen(&names).unwrap();
        chosen.iter().filter(|suite| suite.tls13().is_none()).map(SupportedCipherSuite::suite).collect()
    }

    #[test]
    fn suites_are_chosen_by_openssl_names_in_the_order_given() {
        let list = "ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES128-SHA256:ECDHE-RSA-AES128-GCM-SHA256:!RC4";
        assert_eq!(
            names(list),
            [
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
                CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            ]
        );
        assert_eq!(names("HIGH:!aNULL").len(), 6);
        assert_eq!(names("HIGH:!ECDHE-RSA-AES128-GCM-SHA256").len(), 5);
    }

    #[test]
    fn a_list_without_any_usable_suite_is_refused() {
        let error = chosen(&["RC4-MD5".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("ECDHE-RSA-AES128-GCM-SHA256"), "{error}");
    }
}
