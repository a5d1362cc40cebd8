//! Certificates from an authority that speaks ACME.

use std::{path::PathBuf, time::Duration};

use url::Url;

use crate::error::ProxyError;

/// Where Let's Encrypt is asked.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Names in one certificate, at most; Let's Encrypt allows as many.
const MAX_DOMAINS: usize = 100;

/// How the authority finds out that a name leads here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// By a TLS handshake with the public side, which it reaches on port 443 (TLS-ALPN-01).
    #[default]
    TlsAlpn,
    /// By a request to port 80, where the proxy redirects to HTTPS (HTTP-01).
    Http,
}

/// A certificate that is ordered from an ACME authority (RFC 8555) and renewed after two thirds of its time.
#[derive(Debug, Clone)]
pub struct AcmeOptions {
    /// The names that the certificate is for, without wildcards. They must lead to this machine.
    pub domains: Vec<String>,
    /// Whether the operator agrees to the authority's terms of service. Nothing is ordered otherwise. Default false.
    pub accept_terms: bool,
    /// Mail address that the authority may write to.
    pub contact: Option<String>,
    /// Address of the authority's directory. Default: Let's Encrypt.
    pub directory: String,
    /// Authorities (PEM) that vouch for the directory's own certificate; `None` are those of the system.
    pub ca_file: Option<PathBuf>,
    /// Where account and certificate are kept, for nobody else to read. It is made if it is missing.
    pub folder: PathBuf,
    /// How the names are proven. Default: TLS-ALPN-01.
    pub challenge: AcmeChallenge,
    /// Pause after the first failure. It doubles with each further one, up to 12 hours. Default 5 minutes.
    pub pause: Duration,
}

impl AcmeOptions {
    /// A certificate of Let's Encrypt for these names.
    pub fn new(domains: Vec<String>, folder: impl Into<PathBuf>) -> Self {
        Self {
            domains,
            accept_terms: false,
            contact: None,
            directory: LETS_ENCRYPT.to_owned(),
            ca_file: None,
            folder: folder.into(),
            challenge: AcmeChallenge::default(),
            pause: Duration::from_mins(5),
        }
    }

    /// Checks what does not need the network.
    pub(crate) fn validate(&self) -> Result<(), ProxyError> {
        let wrong = |key: &str, problem: &str| Err(ProxyError::option(format!("acme.{key}"), problem));
        if !self.accept_terms {
            return wrong(
                "accept_terms",
                "must be true, which says that you agree to the terms of service of the authority",
            );
        }
        if self.domains.is_empty() || self.domains.len() > MAX_DOMAINS {
            return wrong("domains", &format!("name between 1 and {MAX_DOMAINS} host names"));
        }
        if let Some(name) = self.domains.iter().find(|name| !is_host_name(name)) {
            return wrong(
                "domains",
                &format!("{name:?} is no host name; wildcards and addresses cannot be ordered"),
            );
        }
        if !Url::parse(&self.directory).is_ok_and(|url| url.scheme() == "https" && url.has_host()) {
            return wrong("directory", &format!("{:?} is no https address", self.directory));
        }
        Ok(())
    }
}

fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        let proper = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        proper && (1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-')
    };
    // A last label of digits alone would be an IPv4 address.
    let last_is_name =
        name.rsplit('.').next().is_some_and(|label| !label.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && last_is_name && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut AcmeOptions)) -> Option<String> {
        let mut options = AcmeOptions::new(vec!["lab.example.org".to_owned()], "acme");
        options.accept_terms = true;
        change(&mut options);
        options.validate().err().map(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_ordered_is_refused_by_its_key() {
        assert_eq!(problem(|_| ()), None);
        assert!(
            problem(|options| options.accept_terms = false).unwrap().starts_with("acme.accept_terms: must")
        );
        for names in
            [vec![], vec!["*.example.org"], vec!["10.0.0.1"], vec!["::1"], vec!["a", "-b"], vec!["a..b"]]
        {
            let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
            let problem = problem(|options| options.domains = names.clone());
            assert!(
                problem.as_ref().is_some_and(|text| text.starts_with("acme.domains: ")),
                "{names:?}: {problem:?}"
            );
        }
        for address in ["http://ca.test/dir", "ca.test", ""] {
            let problem = problem(|options| options.directory = address.to_owned());
            assert!(problem.is_some_and(|text| text.starts_with("acme.directory: ")), "{address:?}");
        }
    }
}
