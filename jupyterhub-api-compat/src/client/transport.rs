//! One call over HTTP.

use std::time::Duration;

use hub_core::secret::{ExposeSecret as _, SecretString};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;

use super::{ClientError, Result};
use crate::pagination::{MEDIA_TYPE, PageInfo};

/// Largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024 * 1024;
/// Most items that are gathered from the pages of a list.
const MOST_ITEMS: usize = 1_000_000;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a call may take; hubs wait for at most five minutes for a server.
const CALL: Duration = Duration::from_secs(330);

/// An address and a token.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

/// How a client speaks TLS, all in PEM.
#[derive(Debug, Default)]
pub struct TlsMaterial {
    /// Key and certificate that it shows.
    pub identity: Option<SecretString>,
    /// The only authorities that it believes.
    pub authorities: Option<String>,
}

/// Arguments of the query.
pub(super) type Query<'a> = Vec<(&'a str, String)>;

impl Client {
    /// A client for the API at `url`, such as `http://127.0.0.1:8000/hub/api`.
    pub fn new(url: &str, token: &SecretString) -> Result<Self> {
        Self::with_tls(url, token, None)
    }

    /// The same for a hub that speaks TLS with those of its own certificates (`internal_ssl`).
    pub fn with_tls(url: &str, token: &SecretString, tls: Option<TlsMaterial>) -> Result<Self> {
        let address = |why: String| ClientError::Address { url: url.to_owned(), why };
        let base = Url::parse(url).map_err(|error| address(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(address("neither http nor https".to_owned()));
        }
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
            return Err(address("a name, a password or a query does not belong there".to_owned()));
        }
        let mut bearer = HeaderValue::from_str(&format!("token {}", token.expose_secret().trim()))
            .map_err(|_| ClientError::Token)?;
        bearer.set_sensitive(true);
        let mut builder = reqwest::Client::builder();
        if let Some(TlsMaterial { identity, authorities }) = tls {
            if let Some(pem) = identity {
                let identity = reqwest::Identity::from_pem(pem.expose_secret().as_bytes());
                builder = builder.identity(identity.map_err(|error| unusable(&error))?);
            }
            if let Some(pem) = authorities {
                let authorities = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
                let authorities = authorities.map_err(|error| unusable(&error))?;
                builder = builder.tls_certs_only(authorities);
            }
        }
        let http = builder
            .default_headers(HeaderMap::from_iter([(AUTHORIZATION, bearer)]))
            .connect_timeout(CONNECT)
            .timeout(CALL)
            // A token goes where it was meant to go and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| address(error.to_string()))?;
        Ok(Self { http, base })
    }

    /// The address of a path, each part escaped.
    fn url(&self, path: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| ClientError::Address { url: self.base.to_string(), why: "no path".to_owned() })?
            .pop_if_empty()
            .extend(path);
        Ok(url)
    }

    /// Sends a call and takes the answer, which must be a success.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &Query<'_>,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let url = self.url(path)?;
        let shown = url.to_string();
        let mut request =
            self.http.request(method.clone(), url).header(ACCEPT, format!("{MEDIA_TYPE}, application/json"));
        if !query.is_empty() {
            request = request.query(query);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| unanswered(&shown, error))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let path = answer.url().path().to_owned();
        let body = read(answer, &shown).await?;
        if status.is_success() {
            return Ok((status, body));
        }
        if status.is_redirection() {
            let to = headers.get(LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("elsewhere");
            let why = format!("it sends on to {to}; is this the address of the API, with /hub/api?");
            return Err(ClientError::Foreign { url: shown, why });
        }
        let error: Option<Value> = serde_json::from_slice(&body).ok();
        let message = error.as_ref().and_then(|error| error.get("message")?.as_str()).map(str::to_owned);
        if error.is_none_or(|error| error.get("status").is_none()) && status == StatusCode::NOT_FOUND {
            let why = format!(
                "status {status} without JupyterHub's JSON; is this the address of the API, with /hub/api?"
            );
            return Err(ClientError::Foreign { url: shown, why });
        }
        let retry_after =
            headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        let (method, status) = (method.to_string(), status.as_u16());
        Err(ClientError::Api { method, path, status, message, retry_after })
    }

    /// The same for answers with a model.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &Query<'_>,
        body: Option<&Value>,
    ) -> Result<T> {
        let (_, bytes) = self.send(method, path, query, body).await?;
        self.model(path, &bytes)
    }

    fn model<T: DeserializeOwned>(&self, path: &[&str], bytes: &[u8]) -> Result<T> {
        serde_json::from_slice(bytes).map_err(|error| {
            let url = self.url(path).map(String::from).unwrap_or_default();
            ClientError::Foreign { url, why: error.to_string() }
        })
    }

    /// `GET` of a model.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        self.call(Method::GET, path, &Query::new(), None).await
    }

    /// A call with a body and a model in the answer.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T> {
        let body = self.body(body)?;
        self.call(method, path, &Query::new(), Some(&body)).await
    }

    /// A call whose answer has nothing to say.
    pub(super) async fn order(
        &self,
        method: Method,
        path: &[&str],
        body: Option<&Value>,
    ) -> Result<StatusCode> {
        Ok(self.send(method, path, &Query::new(), body).await?.0)
    }

    pub(super) fn body(&self, body: &impl Serialize) -> Result<Value> {
        serde_json::to_value(body)
            .map_err(|error| ClientError::Foreign { url: self.base.to_string(), why: error.to_string() })
    }

    /// All items of a list, page after page. Hubs that know no pages give all at once.
    pub(super) async fn list<T: DeserializeOwned>(&self, path: &[&str], query: &Query<'_>) -> Result<Vec<T>> {
        let mut items: Vec<T> = Vec::new();
        let mut offset = 0;
        loop {
            let mut query = query.clone();
            query.push(("offset", offset.to_string()));
            let page: Value = self.call(Method::GET, path, &query, None).await?;
            let foreign = |why: String| {
                let url = self.url(path).map(String::from).unwrap_or_default();
                ClientError::Foreign { url, why }
            };
            let (found, next) = match page {
                Value::Array(_) => (page, None),
                Value::Object(mut map) => {
                    let info = map.remove("_pagination").unwrap_or_default();
                    let info: PageInfo =
                        serde_json::from_value(info).map_err(|error| foreign(error.to_string()))?;
                    // The address that the hub names may be one that only it can reach.
                    (map.remove("items").unwrap_or_default(), info.next.map(|next| next.offset))
                }
                _ => return Err(foreign("neither a list nor a page".to_owned())),
            };
            let found: Vec<T> = serde_json::from_value(found).map_err(|error| foreign(error.to_string()))?;
            items.extend(found);
            match next {
                Some(next) if next > offset && items.len() < MOST_ITEMS => offset = next,
                Some(_) => return Err(foreign("its pages have no end".to_owned())),
                None => return Ok(items),
            }
        }
    }
}

async fn read(mut answer: Response, url: &str) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| unanswered(url, error))? {
        body.extend_from_slice(&chunk);
        if body.len() > LARGEST {
            let why = format!("the answer is larger than {LARGEST} bytes");
            return Err(ClientError::Foreign { url: url.to_owned(), why });
        }
    }
    Ok(body)
}

/// The innermost reason, which is the one that helps.
fn unanswered(url: &str, error: reqwest::Error) -> ClientError {
    let error = error.without_url();
    let own = error.is_timeout().then(|| "it takes too long".to_owned());
    ClientError::Network { url: url.to_owned(), why: innermost(&error).or(own).unwrap_or(error.to_string()) }
}

/// What is wrong with a certificate that was given.
fn unusable(error: &reqwest::Error) -> ClientError {
    ClientError::Tls(innermost(error).unwrap_or_else(|| error.to_string()))
}

fn innermost(error: &dyn std::error::Error) -> Option<String> {
    let mut source = error.source();
    let mut why = None;
    while let Some(inner) = source {
        why = Some(inner.to_string());
        source = inner.source();
    }
    why
}
