//! Talking to the provider: codes and refresh tokens become tokens, tokens become claims.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use hub_core::{AuthenticatorContext, Clock, Identity, PluginError};
use reqwest::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tracing::debug;

use crate::checks::{Expected, access_token_hash};
use crate::claims::Claims;
use crate::client_auth::ClientProof;
use crate::exchange;
use crate::fault::{Fault, TokenFault};
use crate::http::Http;
use crate::identity::{Mapper, Rules};
use crate::jws;
use crate::keys::Keys;
use crate::options::{OidcOptions, TokenPlace};
use crate::provider::{Endpoints, Provider};
use crate::refusal::Refusal;
use crate::tokens::Tokens;
use crate::transaction::Transaction;

/// One provider, with all that is known about it.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) options: Arc<OidcOptions>,
    pub(crate) provider: Provider,
    pub(crate) keys: Keys,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) mapper: Arc<dyn Mapper>,
    http: Http,
    proof: ClientProof,
    rules: Rules,
    /// Tokens of the hub itself.
    own: Mutex<Option<Tokens>>,
}

/// Tokens that were just received.
pub(crate) struct Received {
    pub(crate) tokens: Tokens,
    pub(crate) id_token: Map<String, Value>,
}

impl Engine {
    pub(crate) fn new(
        options: OidcOptions,
        table: &str,
        cx: &AuthenticatorContext,
        mapper: Arc<dyn Mapper>,
    ) -> Result<Self, PluginError> {
        crate::validate::validate(&options, table, cx)?;
        let http = Http::new(&options, table)?;
        let rules = Rules::new(&options, cx).map_err(|why| PluginError::one(table, why))?;
        let proof = ClientProof::new(&options, table)?;
        let options = Arc::new(options);
        Ok(Self {
            provider: Provider::new(Arc::clone(&options), http.clone(), Arc::clone(&cx.clock)),
            keys: Keys::new(http.clone(), Arc::clone(&cx.clock)),
            clock: Arc::clone(&cx.clock),
            mapper,
            http,
            proof,
            rules,
            options,
            own: Mutex::new(None),
        })
    }

    pub(crate) fn expected<'a>(&'a self, endpoints: &'a Endpoints) -> Expected<'a> {
        Expected {
            issuer: &endpoints.issuer,
            client_id: &self.options.client_id,
            now: self.clock.now(),
            skew: i64::try_from(self.options.clock_skew.as_secs()).unwrap_or(0),
        }
    }

    /// Checks the signature of a token of this provider.
    pub(crate) async fn verify(&self, token: &str, endpoints: &Endpoints) -> Result<jws::Verified, Fault> {
        let url = endpoints.jwks.as_deref().ok_or(TokenFault::UnknownKey)?;
        jws::verify(token, &self.keys, url, &self.options.signing_algs).await
    }

    /// Where the browser goes to log in.
    pub(crate) fn authorize_url(&self, endpoints: &Endpoints, login: &Transaction) -> Result<String, Fault> {
        let mut url = url::Url::parse(&endpoints.authorize)
            .map_err(|error| Fault::Nonsense(format!("authorize_url is no URL: {error}")))?;
        let scope = self.options.scopes().join(" ");
        let challenge = login.challenge();
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", self.options.client_id.as_str()),
            ("redirect_uri", login.callback.as_str()),
            ("state", login.state.as_str()),
        ];
        if !scope.is_empty() {
            fields.push(("scope", scope.as_str()));
        }
        if self.options.is_oidc() {
            fields.push(("nonce", login.nonce.as_str()));
        }
        if self.options.enable_pkce {
            fields.push(("code_challenge", challenge.as_str()));
            fields.push(("code_challenge_method", "S256"));
        }
        // What protects the login cannot be replaced by the configuration.
        let extra =
            self.options.extra_authorize_params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let extra: Vec<_> =
            extra.filter(|(name, _)| !fields.iter().any(|(known, _)| known == name)).collect();
        url.query_pairs_mut().extend_pairs(fields).extend_pairs(extra);
        Ok(url.into())
    }

    /// A code becomes tokens.
    pub(crate) async fn redeem(
        &self,
        endpoints: &Endpoints,
        code: &str,
        login: &Transaction,
    ) -> Result<Received, Fault> {
        let mut form =
            vec![("grant_type", "authorization_code"), ("code", code), ("redirect_uri", &login.callback)];
        if self.options.enable_pkce {
            form.push(("code_verifier", &login.verifier));
        }
        // What protects the login cannot be replaced by the configuration.
        let extra = self.options.token_params.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let extra: Vec<_> = extra.filter(|(name, _)| !form.iter().any(|(known, _)| known == name)).collect();
        form.extend(extra);
        let mut tokens = self.token_request(endpoints, &form, None).await?;
        let mut id_token = Map::new();
        if self.options.is_oidc() {
            let token = tokens.id().ok_or(TokenFault::Missing("id_token: is the scope openid asked for?"))?;
            let verified = self.verify(token, endpoints).await?;
            self.expected(endpoints).id_token(&verified.claims, Some(&login.nonce))?;
            access_token_hash(&verified.claims, verified.algorithm, tokens.access())?;
            id_token = verified.claims;
        }
        self.exchange(endpoints, &mut tokens).await;
        Ok(Received { tokens, id_token })
    }

    /// A refresh token becomes tokens. `subject` is who the person was.
    pub(crate) async fn renew(
        &self,
        endpoints: &Endpoints,
        old: &Tokens,
        subject: Option<&str>,
    ) -> Result<Received, Fault> {
        let refresh = old.refresh().ok_or_else(|| Fault::Refused("there is no refresh token".to_owned()))?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
        let mut tokens = self.token_request(endpoints, &form, Some(old)).await?;
        let mut id_token = Map::new();
        // The provider need not give a new one; an old one is not looked at again, it may have expired.
        if let Some(token) = tokens.id().filter(|token| self.options.is_oidc() && Some(*token) != old.id()) {
            let verified = self.verify(token, endpoints).await?;
            self.expected(endpoints).id_token(&verified.claims, None)?;
            access_token_hash(&verified.claims, verified.algorithm, tokens.access())?;
            if subject.is_some_and(|known| verified.claims.get("sub").and_then(Value::as_str) != Some(known))
            {
                return Err(TokenFault::Subject.into());
            }
            id_token = verified.claims;
        }
        self.exchange(endpoints, &mut tokens).await;
        Ok(Received { tokens, id_token })
    }

    /// Asks with the hub's own token; one that has ended, or nearly so, is replaced first.
    pub(crate) async fn ask_as_client(&self, url: &str) -> Result<Option<Value>, Fault> {
        let mut own = self.own.lock().await;
        let now = self.clock.now();
        let kept = own.take().filter(|tokens| tokens.renewal(self.renew_before()).is_none_or(|at| now < at));
        let tokens = match kept {
            Some(tokens) => tokens,
            None => {
                let endpoints = self.provider.endpoints().await?;
                let form = [("grant_type", "client_credentials")];
                self.token_request(&endpoints, &form, None).await.map_err(|fault| match fault {
                    Fault::Refused(why) => Fault::Misconfigured(why),
                    other => other,
                })?
            }
        };
        let answer = self.http.send(self.http.request(Method::GET, url).bearer_auth(tokens.access())).await?;
        if answer.status == StatusCode::NOT_FOUND {
            *own = Some(tokens);
            return Ok(None);
        }
        if !answer.status.is_success() {
            let status = answer.status;
            return Err(Fault::Misconfigured(format!("the client's service account gets {status}")));
        }
        *own = Some(tokens);
        let read = serde_json::from_slice(&answer.body);
        read.map(Some).map_err(|_| Fault::Nonsense("it is no JSON".to_owned()))
    }

    pub(crate) async fn token_request(
        &self,
        endpoints: &Endpoints,
        fields: &[(&str, &str)],
        old: Option<&Tokens>,
    ) -> Result<Tokens, Fault> {
        let form = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let now = self.clock.now();
        let request = self.http.request(Method::POST, &endpoints.token);
        let request = self.proof.apply(request, form, endpoints, now)?;
        Tokens::read(&self.http.send(request).await?, old, now)
    }

    /// All that can be known about the holder of an access token. Refused: the access token is of no use any more.
    ///
    /// `id_token` holds checked claims, or none. `subject` is who it must be, where that is known.
    pub(crate) async fn claims(
        &self,
        endpoints: &Endpoints,
        tokens: &Tokens,
        id_token: Map<String, Value>,
        subject: Option<&str>,
    ) -> Result<Claims, Fault> {
        let userinfo = match &endpoints.userinfo {
            Some(url) if !self.options.userdata_from_id_token => {
                self.userinfo(endpoints, url, tokens.access(), subject).await?
            }
            _ => Map::new(),
        };
        let mut access_token = Map::new();
        if self.mapper.reads_access_tokens() && jws::looks_signed(tokens.access()) {
            let verified = self.verify(tokens.access(), endpoints).await?;
            self.expected(endpoints).access_token(&verified.claims)?;
            access_token = verified.claims;
        }
        Ok(Claims { userinfo, id_token, access_token })
    }

    async fn userinfo(
        &self,
        endpoints: &Endpoints,
        url: &str,
        access_token: &str,
        subject: Option<&str>,
    ) -> Result<Map<String, Value>, Fault> {
        let mut request = self.http.request(Method::GET, url);
        if !self.options.userdata_params.is_empty() {
            request = request.query(&self.options.userdata_params.iter().collect::<Vec<_>>());
        }
        request = match self.options.userdata_token_method {
            TokenPlace::Header => request.bearer_auth(access_token),
            TokenPlace::Url => request.query(&[("access_token", access_token)]),
        };
        let answer = self.http.send(request).await?;
        if !answer.status.is_success() {
            let text = format!("the userinfo endpoint answered {}", answer.status);
            let gone = matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
            return Err(if gone { Fault::Misconfigured(text) } else { Fault::Refused(text) });
        }
        let claims = if answer.kind == "application/jwt" {
            let token = String::from_utf8(answer.body).map_err(|_| TokenFault::Malformed)?;
            let verified = self.verify(token.trim(), endpoints).await?;
            self.expected(endpoints).userinfo(&verified.claims)?;
            verified.claims
        } else {
            answer.object()?
        };
        // With OpenID Connect the answer must be about the very person of the id_token.
        if let Some(subject) = subject.filter(|_| self.options.is_oidc()) {
            match claims.get("sub").and_then(Value::as_str) {
                Some(found) if found == subject => {}
                Some(_) => return Err(TokenFault::Subject.into()),
                None => return Err(TokenFault::Missing("sub").into()),
            }
        }
        debug!(claims = claims.len(), "user data received");
        Ok(claims)
    }

    /// The person.
    pub(crate) fn identity(&self, claims: &Claims, tokens: &Tokens) -> Result<Identity, Refusal> {
        self.rules.identity(claims, tokens, &*self.mapper)
    }

    /// Longest time from the first look at a login to renewed tokens: each request of the provider takes its time at
    /// most, and all exchanges together theirs.
    pub(crate) fn renewal_takes(&self) -> Duration {
        // The document, the claims of the old token and its keys; the tokens and their keys, the claims and their keys.
        const REQUESTS: u32 = 7;
        let exchanges =
            if self.options.token_exchange.is_empty() { Duration::ZERO } else { exchange::PATIENCE };
        self.options.http_timeout * REQUESTS + exchanges
    }

    pub(crate) fn renew_before(&self) -> TimeDelta {
        TimeDelta::from_std(self.options.renew_before).unwrap_or(TimeDelta::zero())
    }
}
