//! How the hub proves to the token endpoint that it is the client.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hub_core::PluginError;
use hub_core::secret::random_hex32;
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use reqwest::RequestBuilder;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::fault::Fault;
use crate::options::{ClientAuth, OidcOptions};
use crate::provider::Endpoints;
use crate::validate::algorithm;

/// Life of a signed statement, in seconds.
const STATEMENT_LIFE: i64 = 60;
/// What the statement is called on the wire.
const STATEMENT_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The hub as the provider's client.
pub(crate) struct ClientProof {
    client_id: String,
    secret: Option<SecretString>,
    chosen: Option<ClientAuth>,
    key: Option<(EncodingKey, Header)>,
}

impl fmt::Debug for ClientProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientProof").field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

impl ClientProof {
    /// Reads the private key, if there is one.
    pub(crate) fn new(options: &OidcOptions, table: &str) -> Result<Self, PluginError> {
        let secret = options.client_secret.clone().filter(|secret| !secret.expose_secret().is_empty());
        Ok(Self {
            client_id: options.client_id.clone(),
            secret,
            chosen: options.client_auth,
            key: key(options, table)?,
        })
    }

    /// The way to use with this provider.
    fn way(&self, endpoints: &Endpoints) -> ClientAuth {
        self.chosen.unwrap_or(match (&self.key, &self.secret) {
            (Some(_), _) => ClientAuth::PrivateKeyJwt,
            (None, None) => ClientAuth::None,
            // Without a document that tells, do as stock does.
            (None, Some(_)) if endpoints.secret_by_post || endpoints.issuer.is_empty() => {
                ClientAuth::ClientSecretPost
            }
            (None, Some(_)) => ClientAuth::ClientSecretBasic,
        })
    }

    /// Adds the proof to a request with these form fields.
    pub(crate) fn apply(
        &self,
        request: RequestBuilder,
        mut form: Vec<(String, String)>,
        endpoints: &Endpoints,
        now: DateTime<Utc>,
    ) -> Result<RequestBuilder, Fault> {
        let mut push = |name: &str, value: String| form.push((name.to_owned(), value));
        let secret =
            || self.secret.as_ref().map(|secret| secret.expose_secret().to_owned()).unwrap_or_default();
        let mut header = None;
        match self.way(endpoints) {
            ClientAuth::None => push("client_id", self.client_id.clone()),
            ClientAuth::ClientSecretPost => {
                push("client_id", self.client_id.clone());
                push("client_secret", secret());
            }
            ClientAuth::ClientSecretBasic => {
                let pair = format!("{}:{}", form_encoded(&self.client_id), form_encoded(&secret()));
                let text = format!("Basic {}", STANDARD.encode(pair));
                let mut value = HeaderValue::from_str(&text)
                    .map_err(|_| Fault::Misconfigured("client_id and secret fit in no header".to_owned()))?;
                value.set_sensitive(true);
                header = Some(value);
            }
            ClientAuth::PrivateKeyJwt => {
                push("client_id", self.client_id.clone());
                push("client_assertion_type", STATEMENT_TYPE.to_owned());
                push("client_assertion", self.statement(&endpoints.token, now)?);
            }
        }
        let request = request.form(&form);
        Ok(match header {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        })
    }

    fn statement(&self, audience: &str, now: DateTime<Utc>) -> Result<String, Fault> {
        let Some((key, header)) = &self.key else {
            return Err(Fault::Misconfigured("there is no private key".to_owned()));
        };
        let now = now.timestamp();
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": audience,
            "jti": random_hex32(), "iat": now, "exp": now + STATEMENT_LIFE,
        });
        encode(header, &claims, key)
            .map_err(|error| Fault::Misconfigured(format!("the private key cannot sign: {error}")))
    }
}

fn form_encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn key(options: &OidcOptions, table: &str) -> Result<Option<(EncodingKey, Header)>, PluginError> {
    let Some(path) = &options.private_key_file else { return Ok(None) };
    let wrong = |why: String| {
        PluginError::one(format!("{table}.private_key_file"), format!("{}: {why}", path.display()))
    };
    let pem = SecretString::from(std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?);
    let pem = pem.expose_secret().as_bytes();
    let alg = algorithm(&options.private_key_alg).unwrap_or(Algorithm::RS256);
    let key = match alg.family() {
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    };
    let key =
        key.map_err(|error| wrong(format!("is no private key for {}: {error}", options.private_key_alg)))?;
    let header = Header { kid: options.private_key_id.clone(), ..Header::new(alg) };
    // A key that cannot sign is better found now than at the first login.
    encode(&header, &json!({}), &key).map_err(|error| wrong(format!("cannot sign: {error}")))?;
    Ok(Some((key, header)))
}
