//! The authorization endpoint: what is asked, whether it is granted, and the code that proves it. Answers to
//! `OAuthAuthorizeHandler` and `JupyterHubRequestValidator`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use hub_core::scopes::{
    Description, ExpandContext, Owner, Resource, describe_consent, required_client_scopes, resolve_requested,
};
use hub_core::secret::random_alphanumeric;
use hub_db::entities::{oauth_clients, users};
use hub_db::repo;
use tracing::{info, warn};
use url::form_urlencoded;

use super::pkce::{self, ChallengeMethod};
use crate::app::Hub;
use crate::rbac::ClientKind;
use crate::web::caller::Caller;
use crate::web::error::{ApiError, ApiResult};

/// Length of a code.
const CODE_LENGTH: usize = 30;
/// How long a code can be exchanged.
const CODE_LIFE: TimeDelta = TimeDelta::seconds(300);

/// A request that is well-formed and comes from a known client.
#[derive(Debug, Clone)]
pub struct Request {
    /// The client.
    pub client: oauth_clients::Model,
    /// What the client is.
    pub kind: ClientKind,
    /// Where the browser goes back to.
    pub redirect_uri: String,
    /// Handed back unchanged.
    pub state: Option<String>,
    /// Scopes asked for; none means the default.
    pub scopes: Option<BTreeSet<String>>,
    /// PKCE challenge.
    pub challenge: Option<(String, ChallengeMethod)>,
}

/// Why there is no code.
#[derive(Debug)]
pub enum Refusal {
    /// The client cannot be told: the person sees a page.
    Page(ApiError),
    /// The client is told, by this redirect.
    Back(String),
}

impl<E: Into<ApiError>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Page(error.into())
    }
}

/// What a person is asked, or may skip.
#[derive(Debug, Clone)]
pub struct Consent {
    /// Scopes that will be granted.
    pub scopes: BTreeSet<String>,
    /// Those among them that go with every login through the client.
    pub implied: BTreeSet<String>,
    /// What they mean, for people.
    pub descriptions: Vec<Description>,
    /// Whether the person need not be asked.
    pub skip: bool,
}

/// A parameter that may come once.
fn single<'a>(query: &'a [(String, String)], name: &str) -> ApiResult<Option<&'a str>> {
    let mut values = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let value = values.next();
    if values.next().is_some() {
        return Err(ApiError::bad_request(format!("Duplicate {name} parameter.")));
    }
    Ok(value.filter(|text| !text.is_empty()))
}

/// An answer to the client by redirect.
fn back(redirect_uri: &str, state: Option<&str>, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters);
    if let Some(state) = state {
        query.append_pair("state", state);
    }
    let (uri, fragment) = redirect_uri.split_once('#').map_or((redirect_uri, None), |(u, f)| (u, Some(f)));
    let joint = if uri.contains('?') { '&' } else { '?' };
    let fragment = fragment.map(|f| format!("#{f}")).unwrap_or_default();
    format!("{uri}{joint}{}{fragment}", query.finish())
}

/// The error for a client, with a description where there is one.
fn told<'a>(error: &'a str, description: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![("error", error)];
    if !description.is_empty() {
        parameters.push(("error_description", description));
    }
    parameters
}

impl Request {
    /// Reads and checks the query of a request.
    pub async fn read(hub: &Hub, query: &[(String, String)]) -> Result<Self, Refusal> {
        let client_id = single(query, "client_id")?
            .ok_or_else(|| ApiError::bad_request("Missing client_id parameter."))?;
        let known = repo::oauth::client(hub.db.conn(), client_id).await?;
        let client = known
            .filter(|client| client.secret.as_deref().is_some_and(|secret| !secret.is_empty()))
            .ok_or_else(|| ApiError::bad_request("Invalid client_id parameter value."))?;
        let registered = client.redirect_uri.clone().unwrap_or_default();
        let redirect_uri = match single(query, "redirect_uri")? {
            Some(uri) if !uri.starts_with('/') && url::Url::parse(uri).is_err() => {
                return Err(ApiError::bad_request("Invalid redirect URI.").into());
            }
            Some(uri) if !repo::oauth::is_redirect_uri(&registered, uri) => {
                warn!(client = client_id, given = uri, %registered, "redirect URI does not match");
                return Err(ApiError::bad_request("Mismatching redirect URI.").into());
            }
            Some(uri) => uri.to_owned(),
            None if registered.is_empty() => {
                return Err(ApiError::bad_request("Missing redirect URI.").into());
            }
            None => registered,
        };
        let state = single(query, "state")?.map(str::to_owned);
        let refuse = |error: &str, description: &str| {
            Refusal::Back(back(&redirect_uri, state.as_deref(), &told(error, description)))
        };
        match single(query, "response_type")? {
            Some("code") => {}
            Some(_) => {
                return Err(refuse("unsupported_response_type", ""));
            }
            None => return Err(refuse("invalid_request", "Missing response_type parameter.")),
        }
        let challenge = single(query, "code_challenge")?;
        let method = ChallengeMethod::parse(single(query, "code_challenge_method")?)
            .ok_or_else(|| refuse("invalid_request", "Transform algorithm not supported."))?;
        if challenge.is_none() && hub.config.hub.oauth_require_pkce {
            return Err(refuse("invalid_request", "Code challenge required."));
        }
        if challenge.is_some_and(|challenge| challenge.len() > 255) {
            return Err(refuse("invalid_request", "Code challenge too long."));
        }
        if challenge.is_some_and(|challenge| !pkce::is_well_formed(challenge)) {
            info!(client = client_id, "code challenge is not of the shape of RFC 7636");
        }
        let challenge = challenge.map(|text| (text.to_owned(), method));
        let scopes = single(query, "scope")?.map(|text| text.split_whitespace().map(str::to_owned).collect());
        let kind = hub.rbac.client_of(hub.db.conn(), Some(client_id)).await?;
        Ok(Self { client, kind, redirect_uri, state, scopes, challenge })
    }

    /// Tells the client that something went wrong.
    pub fn refuse(&self, error: &str, description: &str) -> Refusal {
        Refusal::Back(back(&self.redirect_uri, self.state.as_deref(), &told(error, description)))
    }

    /// What the person would grant, after the checks: the client may ask for it, the person may use what is behind
    /// the client, and holds the scopes.
    pub async fn consent(&self, hub: &Hub, caller: &Caller, user: &users::Model) -> Result<Consent, Refusal> {
        let client = self.kind.as_client();
        let owner = Owner::User(&user.name);
        let cx = ExpandContext::token(owner, client);
        let table = hub.rbac.table();
        let required = required_client_scopes(&client);
        let allowed: BTreeSet<String> = self.client.allowed_scopes.0.iter().cloned().collect();
        let mut permitted = allowed.clone();
        permitted.extend(required.iter().cloned());

        let mut requested = match &self.scopes {
            Some(scopes) => self.resolve_names(hub, scopes).await?,
            None => allowed.clone(),
        };
        let wanted = table.expand_stored(&requested, &cx).scopes;
        let held = table.expand_stored(&permitted, &cx).scopes;
        let groups = hub.rbac.membership(hub.db.conn(), &wanted, &held).await?;
        let within = resolve_requested(table, &requested, &permitted, &cx, &groups);
        if !within.disallowed.is_empty() {
            let names = within.disallowed.into_iter().collect::<Vec<_>>().join(" ");
            warn!(client = %self.client.identifier, scopes = %names, "client asks for scopes that it may not have");
            return Err(self.refuse("invalid_scope", ""));
        }
        self.check_access(hub, caller).await?;
        if !requested.contains("inherit") {
            requested.extend(required.iter().cloned());
        }

        let mut have = caller.raw.raw.clone();
        have.extend(required.iter().cloned());
        have.insert("inherit".to_owned());
        let wanted = table.expand_stored(&requested, &cx).scopes;
        let groups = hub.rbac.membership(hub.db.conn(), &wanted, &caller.scopes).await?;
        let resolved = resolve_requested(table, &requested, &have, &cx, &groups);
        if !resolved.disallowed.is_empty() {
            info!(client = %self.client.identifier, user = %user.name, scopes = ?resolved.disallowed, "scopes that the user does not hold are left out");
        }
        let scopes = resolved.allowed;
        let skip = self.needs_no_confirmation(hub, user, &scopes).await?;
        let descriptions = describe_consent(table, &scopes, &required, &user.name);
        let implied = if scopes.contains("inherit") {
            BTreeSet::new()
        } else {
            scopes.intersection(&required).cloned().collect()
        };
        Ok(Consent { scopes, implied, descriptions, skip })
    }

    /// Names of scopes; `identify` is implied and left out, and the name of a role stands for its scopes, as it did
    /// in JupyterHub 2.
    async fn resolve_names(&self, hub: &Hub, names: &BTreeSet<String>) -> Result<BTreeSet<String>, Refusal> {
        let mut scopes = BTreeSet::new();
        for name in names.iter().filter(|name| *name != "identify") {
            if hub.rbac.table().parse(name).is_ok() {
                scopes.insert(name.clone());
            } else if let Some(role) = repo::roles::by_name(hub.db.conn(), name).await? {
                scopes.extend(role.scopes.0);
            } else {
                warn!(client = %self.client.identifier, scope = %name, "client asks for a scope that does not exist");
                return Err(self.refuse("invalid_scope", ""));
            }
        }
        Ok(scopes)
    }

    /// Whether the person may use the server or service behind the client.
    async fn check_access(&self, hub: &Hub, caller: &Caller) -> Result<(), Refusal> {
        let allowed = match &self.kind {
            ClientKind::Server(user, server) => {
                let groups = hub.rbac.groups_of(hub.db.conn(), std::slice::from_ref(user)).await?;
                let user_groups = groups.0.get(user).map(Vec::as_slice).unwrap_or_default();
                caller.scopes.allows("access:servers", &Resource::Server { user, server, user_groups })
            }
            ClientKind::Service(name) => caller.scopes.allows("access:services", &Resource::Service(name)),
            ClientKind::Hub | ClientKind::Orphan => {
                let cause =
                    format!("OAuth client {} belongs to no server and no service", self.client.identifier);
                return Err(ApiError::internal(cause).into());
            }
        };
        if allowed {
            return Ok(());
        }
        let what = self.client.description.as_deref().unwrap_or(&self.client.identifier);
        Err(ApiError::forbidden(format!("You do not have permission to access {what}")).into())
    }

    /// Own servers, trusted services, and what was granted before need no question.
    async fn needs_no_confirmation(
        &self,
        hub: &Hub,
        user: &users::Model,
        scopes: &BTreeSet<String>,
    ) -> ApiResult<bool> {
        let id = &self.client.identifier;
        match &self.kind {
            ClientKind::Server(owner, _) if *owner == user.name => return Ok(true),
            ClientKind::Service(_) => {
                let service = repo::services::by_oauth_client(hub.db.conn(), id).await?;
                if service.is_some_and(|service| service.oauth_no_confirm.unwrap_or(false)) {
                    return Ok(true);
                }
            }
            _ => {}
        }
        let cx = ExpandContext::token(Owner::User(&user.name), self.kind.as_client());
        let table = hub.rbac.table();
        let now = hub.clock.now();
        let tokens = repo::tokens::of_user_and_client(hub.db.conn(), user.id, id, now).await?;
        if tokens.is_empty() {
            return Ok(false);
        }
        let granted: BTreeSet<String> = tokens.into_iter().flat_map(|token| token.scopes.0).collect();
        let granted = table.expand_stored(&granted, &cx).scopes;
        let wanted = table.expand_stored(scopes, &cx).scopes;
        let groups = hub.rbac.membership(hub.db.conn(), &wanted, &granted).await?;
        Ok(wanted.without(&wanted.intersect(&granted, &groups)).is_empty())
    }

    /// Makes the code and the redirect that carries it.
    pub async fn grant(
        &self,
        hub: &Hub,
        user: &users::Model,
        session_id: Option<String>,
        scopes: &BTreeSet<String>,
    ) -> ApiResult<String> {
        let code = random_alphanumeric(CODE_LENGTH);
        let new = repo::oauth::NewCode {
            code: code.clone(),
            client_id: self.client.identifier.clone(),
            user_id: user.id,
            redirect_uri: self.redirect_uri.clone(),
            session_id,
            scopes: scopes.iter().cloned().collect(),
            challenge: self
                .challenge
                .as_ref()
                .map(|(text, method)| (text.clone(), method.as_str().to_owned())),
            expires_at: hub.clock.now() + CODE_LIFE,
        };
        repo::oauth::create_code(hub.db.conn(), new).await?;
        Ok(back(&self.redirect_uri, self.state.as_deref(), &[("code", &code)]))
    }
}

/// All parameters by name, for pages that send them on.
pub fn parameters(query: &[(String, String)]) -> BTreeMap<&str, &str> {
    query.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_keeps_query_state_and_fragment() {
        assert_eq!(back("/user/a/cb", Some("x y"), &[("code", "1")]), "/user/a/cb?code=1&state=x+y");
        assert_eq!(
            back("https://s.example/cb?a=b#f", None, &[("error", "e")]),
            "https://s.example/cb?a=b&error=e#f"
        );
    }

    #[test]
    fn a_parameter_given_twice_is_refused() {
        let query = [
            ("a".to_owned(), "1".to_owned()),
            ("a".to_owned(), "2".to_owned()),
            ("b".to_owned(), String::new()),
        ];
        assert_eq!(single(&query, "a").unwrap_err().message.as_deref(), Some("Duplicate a parameter."));
        assert_eq!(single(&query, "b").unwrap(), None);
    }
}
