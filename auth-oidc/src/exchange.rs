//! Tokens for other services (RFC 8693): the provider exchanges a person's access token for one that a single service
//! takes, so that no server holds a token that opens everything.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use tracing::warn;

use crate::engine::Engine;
use crate::provider::Endpoints;
use crate::tokens::Tokens;

/// Most exchanges for one login.
pub(crate) const MOST: usize = 8;
/// How long all of them may take together: refresh tokens that work once wait to be stored meanwhile.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// One service that takes tokens of its own.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TokenExchange {
    /// The service's name at the provider; for Keycloak the id of its client.
    pub audience: Option<String>,
    /// The service's address, for providers that go by addresses.
    pub resource: Option<String>,
    /// Scopes to ask for; empty asks for what the provider gives.
    pub scope: Vec<String>,
}

impl Engine {
    /// Exchanges the access token for all services. One that is not given now is left out, with the reason in the
    /// log: the person is logged in all the same, and the next renewal asks again.
    pub(crate) async fn exchange(&self, endpoints: &Endpoints, tokens: &mut Tokens) {
        let all = async {
            for (name, wanted) in &self.options.token_exchange {
                match self.exchange_one(endpoints, tokens, wanted).await {
                    Ok(token) => tokens.keep_exchanged(name, &token),
                    Err(fault) => {
                        warn!(service = name, reason = "token_exchange", %fault, "no token for a service");
                    }
                }
            }
        };
        if tokio::time::timeout(PATIENCE, all).await.is_err() {
            warn!(reason = "token_exchange", "the provider takes too long to exchange tokens");
        }
    }

    async fn exchange_one(
        &self,
        endpoints: &Endpoints,
        tokens: &Tokens,
        wanted: &TokenExchange,
    ) -> Result<Tokens, crate::fault::Fault> {
        let scope = wanted.scope.join(" ");
        let mut form = vec![
            ("grant_type", GRANT),
            ("subject_token", tokens.access()),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
        ];
        let more = [
            ("audience", wanted.audience.as_deref()),
            ("resource", wanted.resource.as_deref()),
            ("scope", Some(scope.as_str()).filter(|scope| !scope.is_empty())),
        ];
        form.extend(more.into_iter().filter_map(|(name, value)| Some((name, value?))));
        self.token_request(endpoints, &form, None).await
    }
}
