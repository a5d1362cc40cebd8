//! A small OpenID provider whose every answer can be bent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http_body_util::{BodyExt as _, Full};
use hub_core::Clock;
use hub_core::secret::random_hex32;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use url::Url;

use crate::support::TestClock;

pub(crate) const CLIENT: &str = "hub";
pub(crate) const SECRET: &str = "s3cret/with:signs";

/// How tokens are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// As published.
    Right,
    /// By a key that is not published, under the id of one that is.
    OtherKey,
    /// By a key that is not published, under its own id.
    UnknownKey,
    /// Not at all, with `alg: none`.
    None,
    /// With the published key, as it is published, as a shared secret.
    HsWithPublicKey,
    /// The same with the key as PEM, which many libraries hand around.
    HsWithPublicPem,
    /// By a key that the token brings along in its header.
    OwnKeyInHeader,
    /// Right, with a header that asks for an extension.
    Critical,
}

/// What can be bent.
#[derive(Debug, Clone)]
pub(crate) struct Knobs {
    /// Replaces claims of the id_token; `null` takes them out.
    pub(crate) id_token: Value,
    /// The same for the answer of the userinfo endpoint.
    pub(crate) userinfo: Value,
    pub(crate) userinfo_status: u16,
    /// Answers of the userinfo endpoint are signed.
    pub(crate) signed_userinfo: bool,
    pub(crate) sign: Sign,
    /// Everything answers 503.
    pub(crate) down: bool,
    pub(crate) expires_in: i64,
    /// The same of tokens that were exchanged.
    pub(crate) exchanged_expires_in: i64,
    /// Replaces fields of the discovery document; `null` takes them out.
    pub(crate) document: Value,
    /// Whether refreshes bring an id_token.
    pub(crate) id_token_at_refresh: bool,
    /// Replaces fields of token responses.
    pub(crate) token: Value,
    /// Answers of the userinfo endpoint to be sent as they are.
    pub(crate) raw_userinfo: Option<String>,
    /// Bytes of padding in the discovery document.
    pub(crate) padding: usize,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            id_token: json!({}),
            userinfo: json!({}),
            userinfo_status: 200,
            signed_userinfo: false,
            sign: Sign::Right,
            down: false,
            expires_in: 300,
            exchanged_expires_in: 120,
            document: json!({}),
            id_token_at_refresh: true,
            token: json!({}),
            raw_userinfo: None,
            padding: 0,
        }
    }
}

#[derive(Debug, Default)]
struct Granted {
    nonce: Option<String>,
    challenge: Option<String>,
    callback: String,
}

#[derive(Default)]
struct State {
    codes: BTreeMap<String, Granted>,
    refresh_tokens: Vec<String>,
    access_tokens: Vec<String>,
    /// Requests of the token endpoint: header and fields.
    requests: Vec<(Option<String>, BTreeMap<String, String>)>,
}

/// How often each endpoint was asked.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) discovery: AtomicUsize,
    pub(crate) jwks: AtomicUsize,
    pub(crate) token: AtomicUsize,
    pub(crate) userinfo: AtomicUsize,
}

struct Signer {
    id: String,
    key: EncodingKey,
}

impl Signer {
    fn new() -> Self {
        let der =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Self { id: random_hex32(), key: EncodingKey::from_ec_der(der.as_ref()) }
    }

    fn public(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::ES256).unwrap();
        jwk.common.key_id = Some(self.id.clone());
        let mut value = serde_json::to_value(jwk).unwrap();
        value["use"] = json!("sig");
        value
    }

    /// The public key of P-256 as `openssl` writes it.
    fn pem(&self) -> String {
        const HEAD: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE";
        let jwk = self.public();
        let point: Vec<u8> = ["x", "y"]
            .iter()
            .flat_map(|axis| URL_SAFE_NO_PAD.decode(jwk[*axis].as_str().unwrap()).unwrap())
            .collect();
        let body = format!("{HEAD}{}", STANDARD.encode(point));
        let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }
}

struct Inner {
    issuer: String,
    clock: Arc<TestClock>,
    knobs: Mutex<Knobs>,
    state: Mutex<State>,
    signer: Mutex<Signer>,
    other: Signer,
    counts: Counts,
}

pub(crate) struct Provider {
    inner: Arc<Inner>,
    server: JoinHandle<()>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Provider {
    pub(crate) async fn start(clock: Arc<TestClock>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inner = Arc::new(Inner {
            issuer: format!("http://{}", listener.local_addr().unwrap()),
            clock,
            knobs: Mutex::default(),
            state: Mutex::default(),
            signer: Mutex::new(Signer::new()),
            other: Signer::new(),
            counts: Counts::default(),
        });
        let serving = Arc::clone(&inner);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let inner = Arc::clone(&serving);
                tokio::spawn(async move {
                    let service = service_fn(move |rq| answer(Arc::clone(&inner), rq));
                    let connection = hyper::server::conn::http1::Builder::new();
                    // A client that goes away ends its connection with an error.
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { inner, server }
    }

    pub(crate) fn issuer(&self) -> &str {
        &self.inner.issuer
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.inner.counts
    }

    pub(crate) fn bend(&self, change: impl FnOnce(&mut Knobs)) {
        change(&mut self.inner.knobs.lock().unwrap());
    }

    /// From now on another key signs, and only that is published.
    pub(crate) fn rotate_keys(&self) {
        *self.inner.signer.lock().unwrap() = Signer::new();
    }

    /// Access tokens that were given out work no more.
    pub(crate) fn forget_access_tokens(&self) {
        self.inner.state.lock().unwrap().access_tokens.clear();
    }

    /// Ends the session: no refresh token works any more.
    pub(crate) fn end_session(&self) {
        self.inner.state.lock().unwrap().refresh_tokens.clear();
    }

    /// The last request to the token endpoint.
    pub(crate) fn last_request(&self) -> (Option<String>, BTreeMap<String, String>) {
        self.requests().pop().unwrap()
    }

    /// All of them.
    pub(crate) fn requests(&self) -> Vec<(Option<String>, BTreeMap<String, String>)> {
        self.inner.state.lock().unwrap().requests.clone()
    }

    /// The person agrees: what the browser brings back.
    pub(crate) fn approve(&self, location: &str) -> BTreeMap<String, String> {
        let url = Url::parse(location).unwrap();
        let query: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((query["client_id"].as_str(), query["response_type"].as_str()), (CLIENT, "code"));
        let code = random_hex32();
        let granted = Granted {
            nonce: query.get("nonce").cloned(),
            challenge: query.get("code_challenge").cloned(),
            callback: query["redirect_uri"].clone(),
        };
        self.inner.state.lock().unwrap().codes.insert(code.clone(), granted);
        BTreeMap::from([("code".to_owned(), code), ("state".to_owned(), query["state"].clone())])
    }

    /// Everything secret that was given out so far: codes, tokens, and what the hub sent.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let state = self.inner.state.lock().unwrap();
        let sent = state.requests.iter().flat_map(|(_, form)| {
            ["code", "code_verifier", "refresh_token"].map(|name| form.get(name).cloned().unwrap_or_default())
        });
        let given =
            state.access_tokens.iter().chain(&state.refresh_tokens).chain(state.codes.keys()).cloned();
        let nonces = state.codes.values().filter_map(|granted| granted.nonce.clone());
        sent.chain(given).chain(nonces).filter(|secret| !secret.is_empty()).collect()
    }

    /// A signed token with any claims.
    pub(crate) fn sign(&self, kind: Option<&str>, claims: &Value) -> String {
        self.inner.sign(kind, claims)
    }
}

fn merge(target: &mut Value, with: &Value) {
    for (key, value) in with.as_object().unwrap() {
        let target = target.as_object_mut().unwrap();
        if value.is_null() {
            target.remove(key);
        } else {
            target.insert(key.clone(), value.clone());
        }
    }
}

impl Inner {
    fn now(&self) -> i64 {
        self.clock.now().timestamp()
    }

    fn sign(&self, kind: Option<&str>, claims: &Value) -> String {
        let sign = self.knobs.lock().unwrap().sign;
        let signer = self.signer.lock().unwrap();
        let mut header = Header {
            kid: Some(signer.id.clone()),
            typ: kind.map(str::to_owned),
            ..Header::new(Algorithm::ES256)
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        match sign {
            Sign::Right => encode(&header, claims, &signer.key).unwrap(),
            Sign::OtherKey => encode(&header, claims, &self.other.key).unwrap(),
            Sign::UnknownKey => {
                header.kid = Some(random_hex32());
                encode(&header, claims, &self.other.key).unwrap()
            }
            Sign::None => format!("{}.{}.", part(&json!({"alg": "none", "kid": signer.id})), part(claims)),
            Sign::HsWithPublicKey => {
                let secret = EncodingKey::from_secret(signer.public().to_string().as_bytes());
                header.alg = Algorithm::HS256;
                encode(&header, claims, &secret).unwrap()
            }
            Sign::HsWithPublicPem => {
                header.alg = Algorithm::HS256;
                encode(&header, claims, &EncodingKey::from_secret(signer.pem().as_bytes())).unwrap()
            }
            Sign::OwnKeyInHeader => {
                header.jwk = Some(serde_json::from_value(self.other.public()).unwrap());
                header.jku = Some("https://evil.example/jwks".to_owned());
                encode(&header, claims, &self.other.key).unwrap()
            }
            Sign::Critical => {
                let right = encode(&header, claims, &signer.key).unwrap();
                let (_, rest) = right.split_once('.').unwrap();
                let bent = json!({"alg": "ES256", "kid": signer.id, "crit": ["b64"], "b64": false});
                format!("{}.{rest}", part(&bent))
            }
        }
    }

    fn id_token(&self, nonce: Option<&str>, access_token: &str) -> String {
        let knobs = self.knobs.lock().unwrap().clone();
        let half = &Sha256::digest(access_token)[..16];
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "sub": "subject-1", "sid": "session-1",
            "iat": self.now(), "exp": self.now() + 300,
            "at_hash": URL_SAFE_NO_PAD.encode(half),
            "preferred_username": "Ada",
        });
        if let Some(nonce) = nonce {
            claims["nonce"] = json!(nonce);
        }
        merge(&mut claims, &knobs.id_token);
        self.sign(Some("JWT"), &claims)
    }

    fn tokens(&self, nonce: Option<&str>, with_id_token: bool) -> Value {
        let (access, refresh) = (random_hex32(), random_hex32());
        let knobs = self.knobs.lock().unwrap().clone();
        let mut answer = json!({
            "access_token": access, "token_type": "Bearer", "refresh_token": refresh,
            "expires_in": knobs.expires_in, "scope": "openid profile email",
        });
        if with_id_token {
            answer["id_token"] = json!(self.id_token(nonce, &access));
        }
        merge(&mut answer, &knobs.token);
        let mut state = self.state.lock().unwrap();
        state.access_tokens.push(access);
        state.refresh_tokens.push(refresh);
        answer
    }

    fn token(&self, header: Option<&str>, form: &BTreeMap<String, String>) -> (u16, Value) {
        let field = |name: &str| form.get(name).cloned().unwrap_or_default();
        let basic = |pair: &str| header == Some(format!("Basic {}", STANDARD.encode(pair)).as_str());
        let proven = basic("hub:s3cret%2Fwith%3Asigns")
            || (field("client_id") == CLIENT && field("client_secret") == SECRET)
            || form.contains_key("client_assertion");
        self.state.lock().unwrap().requests.push((header.map(str::to_owned), form.clone()));
        if !proven {
            return (401, json!({"error": "invalid_client"}));
        }
        let refused = |why: &str| (400, json!({"error": "invalid_grant", "error_description": why}));
        match field("grant_type").as_str() {
            "authorization_code" => {
                let Some(granted) = self.state.lock().unwrap().codes.remove(&field("code")) else {
                    return refused("unknown or used code");
                };
                let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
                if granted.challenge.is_some_and(|known| known != challenge) {
                    return refused("wrong verifier");
                }
                if granted.callback != field("redirect_uri") {
                    return refused("wrong redirect_uri");
                }
                (200, self.tokens(granted.nonce.as_deref(), true))
            }
            "refresh_token" => {
                let mut state = self.state.lock().unwrap();
                let given = field("refresh_token");
                let Some(at) = state.refresh_tokens.iter().position(|known| *known == given) else {
                    // Somebody used it twice: the whole session ends, as real providers have it.
                    state.refresh_tokens.clear();
                    return refused("used refresh token");
                };
                state.refresh_tokens.remove(at);
                drop(state);
                let with_id_token = self.knobs.lock().unwrap().id_token_at_refresh;
                (200, self.tokens(None, with_id_token))
            }
            "urn:ietf:params:oauth:grant-type:token-exchange" => {
                let kind = "urn:ietf:params:oauth:token-type:access_token";
                if !self.state.lock().unwrap().access_tokens.contains(&field("subject_token")) {
                    return refused("unknown subject token");
                }
                if field("subject_token_type") != kind || field("audience") != "store" {
                    return (403, json!({"error": "access_denied", "error_description": "no such audience"}));
                }
                let life = self.knobs.lock().unwrap().exchanged_expires_in;
                let access = format!("for-store-{}", random_hex32());
                self.state.lock().unwrap().access_tokens.push(access.clone());
                (
                    200,
                    json!({"access_token": access, "issued_token_type": kind, "token_type": "Bearer",
                    "expires_in": life}),
                )
            }
            _ => (400, json!({"error": "unsupported_grant_type"})),
        }
    }
}

async fn answer(inner: Arc<Inner>, rq: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = rq.uri().path().to_owned();
    let query = rq.uri().query().unwrap_or_default().to_owned();
    let header = rq.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    let body = rq.into_body().collect().await.unwrap().to_bytes();
    let knobs = inner.knobs.lock().unwrap().clone();
    let count = |counter: &AtomicUsize| counter.fetch_add(1, Ordering::SeqCst);
    let mut kind = "application/json";
    let (status, text) = match path.as_str() {
        "/.well-known/openid-configuration" => {
            count(&inner.counts.discovery);
            let at = |path: &str| format!("{}{path}", inner.issuer);
            let mut document = json!({
                "issuer": inner.issuer, "authorization_endpoint": at("/authorize"),
                "token_endpoint": at("/token"), "jwks_uri": at("/jwks"), "userinfo_endpoint": at("/userinfo"),
                "end_session_endpoint": at("/logout"), "padding": "x".repeat(knobs.padding),
            });
            merge(&mut document, &knobs.document);
            (200, document.to_string())
        }
        "/jwks" => {
            count(&inner.counts.jwks);
            let public = inner.signer.lock().unwrap().public();
            let odd = json!({"kty": "XYZ", "kid": "odd"});
            (200, json!({"keys": [odd, {"kty": "oct", "k": "AAAA", "kid": "shared"}, public]}).to_string())
        }
        "/token" => {
            count(&inner.counts.token);
            let form: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
            if knobs.down {
                (503, String::new())
            } else {
                let (status, answer) = inner.token(header.as_deref(), &form);
                (status, answer.to_string())
            }
        }
        "/userinfo" => {
            count(&inner.counts.userinfo);
            let by_query = query.strip_prefix("access_token=").map(str::to_owned);
            let token = header.as_deref().and_then(|text| text.strip_prefix("Bearer ")).map(str::to_owned);
            let token = token.or(by_query).unwrap_or_default();
            let known = inner.state.lock().unwrap().access_tokens.contains(&token);
            let mut claims = json!({"sub": "subject-1", "preferred_username": "Ada", "name": "Ada L."});
            merge(&mut claims, &knobs.userinfo);
            if knobs.signed_userinfo {
                kind = "application/jwt";
            }
            match (known, knobs.signed_userinfo) {
                (false, _) => (401, "{}".to_owned()),
                (true, _) if knobs.raw_userinfo.is_some() => {
                    (knobs.userinfo_status, knobs.raw_userinfo.clone().unwrap_or_default())
                }
                (true, true) => (knobs.userinfo_status, inner.sign(None, &claims)),
                (true, false) => (knobs.userinfo_status, claims.to_string()),
            }
        }
        _ => (404, "{}".to_owned()),
    };
    let (status, text) = if knobs.down { (503, String::new()) } else { (status, text) };
    let response = Response::builder().status(status).header("content-type", kind);
    Ok(response.body(Full::new(Bytes::from(text))).unwrap())
}

/// The claims of a token, unchecked.
pub(crate) fn payload(token: &str) -> Map<String, Value> {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
