//! One order, from the account to the certificate.

use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{crypto::aws_lc_rs, pki_types::PrivateKeyDer, sign::CertifiedKey};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{challenges::Challenges, client::Client, store::Store};
use crate::{
    error::ProxyError,
    handover::blocking,
    options::{AcmeChallenge, AcmeOptions},
};

/// For all of it.
const PATIENCE: Duration = Duration::from_mins(5);
/// For the authority to look at the answers, and to issue.
const RETRIES: RetryPolicy = RetryPolicy::new().timeout(Duration::from_mins(2));
/// How an authority says that it does not know an account.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(super) enum OrderError {
    #[error("{0}")]
    Authority(#[from] instant_acme::Error),
    #[error("the authority offers no {kind} for {name}: set acme.challenge to the other kind")]
    NoChallenge { kind: &'static str, name: String },
    #[error("the authority could not see that {name} leads here, {hint}: {problem}")]
    Refused { name: String, hint: &'static str, problem: String },
    #[error("it took longer than {} minutes", PATIENCE.as_secs() / 60)]
    Slow,
    #[error("the answer to a challenge cannot be made: {0}")]
    Answer(#[from] rcgen::Error),
    #[error("the answer to a challenge cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    #[error(transparent)]
    Store(#[from] ProxyError),
}

/// What an authority is asked for, and what for it is needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) options: &'a AcmeOptions,
    pub(super) store: &'a Store,
    pub(super) challenges: &'a Challenges,
}

impl Request<'_> {
    /// Gets a certificate and stores it. The account is made when there is none.
    pub(super) async fn order(self, tls: TlsConnector) -> Result<(), OrderError> {
        let ordered = timeout(PATIENCE, Box::pin(self.proven(tls))).await;
        self.challenges.clear();
        let ordered = ordered.unwrap_or(Err(OrderError::Slow));
        if let Err(OrderError::Authority(instant_acme::Error::Api(problem))) = &ordered
            && problem.r#type.as_deref() == Some(NO_ACCOUNT)
        {
            // The next attempt makes another one.
            let store = self.store.clone();
            blocking(move || store.forget_account()).await??;
        }
        ordered
    }

    async fn proven(self, tls: TlsConnector) -> Result<(), OrderError> {
        let account = self.account(tls).await?;
        let names: Vec<Identifier> = self.options.domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        self.answer_challenges(&mut order).await?;
        match order.poll_ready(&RETRIES).await {
            Ok(OrderStatus::Ready) => {}
            Ok(_) | Err(instant_acme::Error::Api(_)) => return Err(self.why_refused(&mut order).await?),
            Err(error) => return Err(error.into()),
        }
        let key = order.finalize().await?;
        let chain = order.poll_certificate(&RETRIES).await?;
        let store = self.store.clone();
        blocking(move || store.save_certificate(&key, &chain)).await??;
        Ok(())
    }

    async fn answer_challenges(&self, order: &mut Order) -> Result<(), OrderError> {
        let (kind, label, _) = self.kind();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let name = authorization.identifier().to_string();
            if authorization.status == AuthorizationStatus::Valid {
                // Proven by an earlier order.
                continue;
            }
            let missing = || OrderError::NoChallenge { kind: label, name: name.clone() };
            let mut challenge = authorization.challenge(kind.clone()).ok_or_else(missing)?;
            let answer = challenge.key_authorization();
            match self.options.challenge {
                AcmeChallenge::TlsAlpn => {
                    self.challenges.put_tls(&name, proof(&name, answer.digest().as_ref())?);
                }
                AcmeChallenge::Http => self.challenges.put_http(&challenge.token, answer.as_str()),
            }
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// What the authority says about the first name that it did not find proven.
    async fn why_refused(&self, order: &mut Order) -> Result<OrderError, OrderError> {
        let (_, _, hint) = self.kind();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            let state = authorization.refresh().await?;
            if state.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = state.identifier().to_string();
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            let problem = problem.map_or_else(|| "it gives no reason".to_owned(), ToString::to_string);
            return Ok(OrderError::Refused { name, hint, problem });
        }
        let (name, problem) = (self.options.domains.join(", "), "it gives no reason".to_owned());
        Ok(OrderError::Refused { name, hint, problem })
    }

    fn kind(&self) -> (ChallengeType, &'static str, &'static str) {
        match self.options.challenge {
            AcmeChallenge::TlsAlpn => (
                ChallengeType::TlsAlpn01,
                "tls-alpn-01",
                "port 443 under this name must be this proxy's and nobody may end TLS before it",
            ),
            AcmeChallenge::Http => (
                ChallengeType::Http01,
                "http-01",
                "port 80 under this name must be this proxy's redirect_port",
            ),
        }
    }

    /// The account of before, or a new one.
    async fn account(&self, tls: TlsConnector) -> Result<Account, OrderError> {
        let builder = Account::builder_with_http(Box::new(Client(tls)));
        let (store, directory) = (self.store.clone(), self.options.directory.clone());
        let known = blocking(move || store.account::<AccountCredentials>(&directory)).await?;
        if let Some(credentials) = known {
            return Ok(builder.from_credentials(credentials).await?);
        }
        let contact = self.options.contact.as_ref().map(|contact| format!("mailto:{contact}"));
        let contact: Vec<&str> = contact.as_deref().into_iter().collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: self.options.accept_terms,
            only_return_existing: false,
        };
        let directory = self.options.directory.clone();
        let (account, credentials) = builder.create(&new, directory.clone(), None).await?;
        let store = self.store.clone();
        blocking(move || store.save_account(&directory, &credentials)).await??;
        Ok(account)
    }
}

/// The certificate that answers a challenge in a TLS handshake (RFC 8737).
fn proof(name: &str, digest: &[u8]) -> Result<CertifiedKey, OrderError> {
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::Pkcs8(key.serialize_der().into()))?;
    // Nothing compares the two here: the extension is critical, which a verifier that does not know it refuses.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}
