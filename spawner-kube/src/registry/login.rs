//! How a hub shows a registry who it is: pull secrets, and what a registry asks for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub_core::secret::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tracing::debug;
use url::Url;

use super::reference::Reference;
use crate::cluster::{Cluster, Kind, Object};

/// A name and a password for one registry.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) user: String,
    password: SecretString,
}

impl Login {
    pub(super) fn password(&self) -> &str {
        self.password.expose_secret()
    }

    /// One entry of `auths` in a pull secret.
    fn of_entry(entry: &Value) -> Option<Self> {
        let text = |key: &str| entry.get(key)?.as_str().map(str::to_owned);
        if let (Some(user), Some(password)) = (text("username"), text("password")) {
            return Some(Self { user, password: SecretString::from(password) });
        }
        let both = String::from_utf8(STANDARD.decode(text("auth")?).ok()?).ok()?;
        let (user, password) = both.split_once(':')?;
        Some(Self { user: user.to_owned(), password: SecretString::from(password) })
    }
}

/// The first login for the registry of an image among the pull secrets of a pod, as a node would choose it.
pub(super) async fn find(
    cluster: &Cluster,
    namespace: &str,
    secrets: &[String],
    reference: &Reference,
) -> Option<Login> {
    for name in secrets {
        let object = Object { kind: Kind::Secret, namespace, name };
        match cluster.get(object).await {
            Ok(Some(secret)) => {
                if let Some(login) = of_secret(&secret, reference) {
                    return Some(login);
                }
            }
            Ok(None) => {}
            Err(error) => debug!(secret = %object, %error, "a pull secret cannot be read"),
        }
    }
    None
}

fn of_secret(secret: &Value, reference: &Reference) -> Option<Login> {
    let data = secret.pointer("/data/.dockerconfigjson")?.as_str()?;
    let config: Value = serde_json::from_slice(&STANDARD.decode(data).ok()?).ok()?;
    let auths = config.get("auths")?.as_object()?;
    auths.iter().filter(|(key, _)| reference.is_at(key)).find_map(|(_, entry)| Login::of_entry(entry))
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Name and password with each request.
    Basic,
    /// A token from elsewhere.
    Bearer { realm: String, service: Option<String> },
}

impl Challenge {
    /// Reads `Bearer realm="https://auth.example/token",service="registry"`.
    pub(super) fn read(header: &str) -> Option<Self> {
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let value = |name: &str| {
            let (_, rest) = rest.split_once(&format!("{name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        Some(Self::Bearer { realm: value("realm")?, service: value("service") })
    }

    /// Where the token is to be had; none where a login would go over the network in the open.
    pub(super) fn token_url(&self, repository: &str, local: bool) -> Option<Url> {
        let Self::Bearer { realm, service } = self else { return None };
        let mut url = Url::parse(realm).ok()?;
        if url.scheme() != "https" && !(local && url.scheme() == "http") {
            return None;
        }
        let mut query = url.query_pairs_mut();
        if let Some(service) = service {
            query.append_pair("service", service);
        }
        query.append_pair("scope", &format!("repository:{repository}:pull"));
        drop(query);
        Some(url)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn challenges_are_read_and_tokens_are_asked_for_where_nobody_listens() {
        let read =
            Challenge::read(r#"Bearer realm="https://a.example/token",service="r",scope="x""#).unwrap();
        let url = read.token_url("a/b", false).unwrap();
        assert_eq!(url.as_str(), "https://a.example/token?service=r&scope=repository%3Aa%2Fb%3Apull");
        let open = Challenge::read(r#"bearer realm="http://a.example/token""#).unwrap();
        assert!(open.token_url("a", false).is_none() && open.token_url("a", true).is_some());
        assert_eq!(Challenge::read(r#"Basic realm="r""#), Some(Challenge::Basic));
        assert_eq!(Challenge::read("Negotiate"), None);
        assert_eq!(Challenge::read(""), None);
    }

    #[test]
    fn logins_are_found_in_both_forms_and_only_for_their_registry() {
        let reference = Reference::parse("r.example/a").unwrap();
        let secret = |auths: Value| {
            let config = STANDARD.encode(json!({ "auths": auths }).to_string());
            of_secret(&json!({ "data": { ".dockerconfigjson": config } }), &reference)
        };
        let joined = STANDARD.encode("ann:pass:word");
        for entry in [json!({ "auth": joined }), json!({ "username": "ann", "password": "pass:word" })] {
            let found = secret(json!({ "https://r.example": entry })).unwrap();
            assert_eq!((found.user.as_str(), found.password()), ("ann", "pass:word"));
            assert!(!format!("{found:?}").contains("pass:word"));
        }
        assert!(secret(json!({ "other.example": { "auth": joined } })).is_none());
        assert!(secret(json!({ "r.example": { "auth": "%%" } })).is_none());
    }
}
