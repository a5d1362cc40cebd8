//! Ending logins: by the person, who is sent on to the provider, and by the provider, which calls the hub.

use hub_core::{AuthError, Identity, LoginRequest, Revocation};
use serde_json::Value;
use tracing::warn;

use crate::authenticator::OidcAuthenticator;
use crate::fault::{Fault, TokenFault};
use crate::tokens::Tokens;

impl OidcAuthenticator {
    /// Where the browser of somebody goes who has logged out of the hub.
    pub(crate) async fn leave_for_good(
        &self,
        who: &Identity,
        rq: &LoginRequest,
    ) -> Result<Option<String>, AuthError> {
        let options = &self.engine.options;
        if let Some(url) = &options.logout_redirect_url {
            return Ok(Some(url.clone()));
        }
        if !options.single_logout {
            return Ok(None);
        }
        let endpoints = self.engine.provider.endpoints().await?;
        let Some(end) = &endpoints.end_session else { return Ok(None) };
        let mut url = url::Url::parse(end)
            .map_err(|error| AuthError::Unavailable(format!("end_session_url is no URL: {error}")))?;
        let back = match &options.post_logout_redirect_url {
            Some(path) if path.starts_with('/') => format!("{}{path}", self.origin(rq)),
            Some(url) => url.clone(),
            None => format!("{}{}logout", self.origin(rq), self.cx.hub_path),
        };
        // A hint of another session would end that one, and leave this browser logged in at the provider.
        let state = who.auth_state.as_ref().filter(|_| !rq.of_another_session);
        let tokens = state.and_then(Tokens::of_state);
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("client_id", &options.client_id);
            query.append_pair("post_logout_redirect_uri", &back);
            if let Some(hint) = tokens.as_ref().and_then(Tokens::id) {
                query.append_pair("id_token_hint", hint);
            }
        }
        Ok(Some(url.into()))
    }

    /// A logout token of the provider, checked. Every refusal looks alike to the caller.
    pub(crate) async fn back_channel(&self, rq: &LoginRequest) -> Result<Revocation, AuthError> {
        let refuse = |fault: Fault| {
            warn!(reason = fault.reason(), %fault, "logout refused");
            match fault {
                Fault::Token(_) => AuthError::Again("The logout token is not accepted.".to_owned()),
                other => other.into(),
            }
        };
        let token = rq.form.get("logout_token").map(String::as_str).unwrap_or_default();
        let endpoints = self.engine.provider.endpoints().await.map_err(refuse)?;
        let verified = self.engine.verify(token, &endpoints).await.map_err(refuse)?;
        let claims = verified.claims;
        self.engine
            .expected(&endpoints)
            .logout_token(&claims, verified.kind.as_deref())
            .map_err(|fault| refuse(fault.into()))?;
        let text = |name: &str| {
            claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let id = text("jti").unwrap_or_default();
        if self.used.contains_key(&id) {
            return Err(refuse(TokenFault::Replay.into()));
        }
        self.used.insert(id, ());
        let options = &self.engine.options;
        Ok(Revocation {
            issuer: endpoints.issuer.clone(),
            subject: text("sub"),
            session: text("sid"),
            all_tokens: options.back_channel_ends_all_tokens,
            stop_servers: options.back_channel_stops_servers,
        })
    }
}
