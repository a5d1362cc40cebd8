//! API tokens of users. Answers to `UserTokenListAPIHandler` and `UserTokenAPIHandler`.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use chrono::TimeDelta;
use hub_core::scopes::{
    Client, ExpandContext, GrantError, Owner, Resource, ScopeError, ScopeSet, check_token_grant,
};
use hub_core::secret::random_hex32;
use hub_core::token::GENERATED_ROUNDS;
use hub_core::{AuthError, LoginStep};
use hub_db::entities::users;
use hub_db::repo;
use hub_db::repo::tokens::{NewToken, TokenDetails};
use jupyterhub_api_compat::models::{Token, TokenCreated, TokenList};
use jupyterhub_api_compat::requests::{CreateToken, quoted};
use serde_json::Value;
use tracing::{info, warn};

use super::answer;
use super::call::Call;
use super::users::short;
use crate::rbac::{ClientKind, HUB_CLIENT, Held, Holder};
use crate::web::caller::Who;
use crate::web::error::{ApiError, ApiResult};
use crate::web::models;
use crate::web::pages::login::by_form;

/// Longest life of a token in seconds that is taken at its word; longer ones would leave the calendar.
const LONGEST: i64 = 1_000 * 366 * 86_400;

fn holder(user: &users::Model) -> Holder {
    Holder::User { id: user.id, name: user.name.clone() }
}

/// What the models of one user's tokens have in common.
struct Models<'a> {
    call: &'a Call,
    user: &'a users::Model,
    held: Held,
    /// Clients seen so far: there are far fewer than tokens.
    clients: HashMap<Option<String>, ClientKind>,
}

impl<'a> Models<'a> {
    async fn of(call: &'a Call, user: &'a users::Model) -> ApiResult<Self> {
        let hub = &call.hub;
        let held = hub.known.held(&hub.db, &hub.rbac, &holder(user), false).await?;
        Ok(Self { call, user, held, clients: HashMap::new() })
    }

    async fn model(&mut self, details: TokenDetails) -> ApiResult<Token> {
        let (rbac, db) = (&self.call.hub.rbac, self.call.db());
        let token = &details.token;
        let client = match self.clients.entry(token.client_id.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(rbac.client_of(db, token.client_id.as_deref()).await?),
        };
        let scopes = rbac.token_scopes_of(db, token, &holder(self.user), &self.held, client).await?;
        Ok(models::token(token, &self.user.name, details.oauth_client, &scopes))
    }
}

/// `GET /users/{user}/tokens`. Tokens that have ended go.
pub(super) async fn list(call: Call) -> ApiResult<HttpResponse> {
    let user = call.named_user().await?;
    let now = call.hub.clock.now();
    repo::purge::expired(call.db(), now).await?;
    let mut models = Models::of(&call, &user).await?;
    let mut api_tokens = Vec::new();
    for details in repo::tokens::of_owner(call.db(), repo::Owner::User(user.id), now).await? {
        api_tokens.push(models.model(details).await?);
    }
    answer::ok(&TokenList { api_tokens })
}

/// The token of the path, if it is the user's.
pub(super) async fn find(call: &Call, user: &users::Model) -> ApiResult<TokenDetails> {
    let id = call.argument("token");
    let none = || {
        let text = format!("No such token {} for user {}", short(id), user.name);
        ApiError::new(StatusCode::NOT_FOUND, text)
    };
    let number = Token::parse_id(id).and_then(|number| i32::try_from(number).ok()).ok_or_else(none)?;
    let now = call.hub.clock.now();
    repo::tokens::by_id(call.db(), repo::Owner::User(user.id), number, now).await?.ok_or_else(none)
}

/// `GET /users/{user}/tokens/{token}`.
pub(super) async fn get(call: Call) -> ApiResult<HttpResponse> {
    let user = call.named_user().await?;
    let details = find(&call, &user).await?;
    answer::ok(&Models::of(&call, &user).await?.model(details).await?)
}

/// `DELETE /users/{user}/tokens/{token}`. A token that a server or service got goes with all that it ever got for
/// the user.
pub(super) async fn delete(call: Call) -> ApiResult<HttpResponse> {
    let user = call.named_user().await?;
    let token = find(&call, &user).await?.token;
    match token.client_id.as_deref() {
        None | Some(HUB_CLIENT) => {
            repo::tokens::delete(call.db(), token.id).await?;
            call.hub.cut_tokens(std::slice::from_ref(&token)).await;
            info!(by = call.who()?.name(), user = %user.name, token = token.id, "token deleted");
        }
        Some(client) => {
            let all =
                repo::tokens::of_user_and_client(call.db(), user.id, client, call.hub.clock.now()).await?;
            let count = repo::tokens::delete_by_client(call.db(), user.id, client).await?;
            call.hub.cut_tokens(&all).await;
            info!(by = call.who()?.name(), user = %user.name, client, count, "tokens of a client deleted");
        }
    }
    Ok(answer::no_content())
}

/// Whoever is proven by the body of a stranger's request for a token, and what they may do. Every failure looks the
/// same.
async fn proven(call: &Call, auth: Option<&Value>) -> ApiResult<(Who, ScopeSet)> {
    let forbidden = || ApiError::bare(StatusCode::FORBIDDEN);
    let fields = auth.and_then(Value::as_object).ok_or_else(forbidden)?;
    let form: BTreeMap<String, String> =
        fields.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    let request = call.as_login_request(form);
    let identity = match by_form(&call.hub, &request).await {
        Ok(LoginStep::Identity(identity)) => identity,
        Ok(_) => return Err(forbidden()),
        Err(error @ AuthError::Throttled(_)) => return Err(error.into()),
        Err(error) => {
            warn!(%error, "nobody was proven by the body of a request for a token");
            return Err(forbidden());
        }
    };
    let name = call.hub.auth.names.accept(&identity.name).map_err(|_| forbidden())?;
    let rules = &call.hub.auth.allow;
    let may_enter =
        !rules.blocked.contains(name.as_str()) && (identity.allowed || rules.allows(name.as_str(), true));
    let user =
        repo::users::by_name(call.db(), name.as_str()).await?.filter(|_| may_enter).ok_or_else(forbidden)?;
    let scopes = call.hub.rbac.session_scopes(call.db(), &holder(&user)).await?.scopes;
    Ok((Who::User(Box::new(user)), scopes))
}

/// `POST /users/{user}/tokens`. Whether the user exists shows only to those who may make tokens for them.
pub(super) async fn create(call: Call) -> ApiResult<HttpResponse> {
    let proof = CreateToken::proof(&call.body)?;
    let stranger;
    let (who, scopes) = match &call.caller.who {
        Some(who) => (who, &call.caller.scopes),
        None => {
            stranger = proven(&call, proof.as_ref()).await?;
            (&stranger.0, &stranger.1)
        }
    };
    let (kind, shown_kind) = match who {
        Who::User(_) => ("user", "User"),
        Who::Service(_) => ("service", "Service"),
    };
    let refused = || {
        let name = short(call.user_name());
        ApiError::forbidden(format!("{shown_kind} {name} not found or no permissions to generate tokens"))
    };
    let user = call.user().await?.ok_or_else(refused)?;
    let groups = call.hub.known.groups(&call.hub.db, user.id).await?;
    if !scopes.filter_for("tokens").includes(&Resource::User { name: &user.name, groups: &groups }) {
        return Err(refused());
    }
    let wanted = CreateToken::read(&call.body)?;
    let own = matches!(who, Who::User(asking) if asking.id == user.id);
    let by = if own { String::new() } else { format!(" by {kind} {}", who.name()) };
    let note = wanted.note.clone().unwrap_or_else(|| format!("Requested via api{by}"));
    let most = i64::try_from(call.hub.config.hub.token_expires_in_max.as_secs()).unwrap_or(i64::MAX);
    let life = wanted.lifetime(Some(most))?;
    let scopes = scopes_of(&call, &wanted).await?;
    let held = check_grant(&call, &user, &scopes).await?;

    let now = call.hub.clock.now();
    let text = random_hex32();
    let new = NewToken {
        owner: repo::Owner::User(user.id),
        rounds: GENERATED_ROUNDS,
        client_id: HUB_CLIENT.to_owned(),
        scopes,
        note,
        session_id: None,
        expires_at: life.map(|seconds| now + TimeDelta::seconds(seconds.min(LONGEST))),
    };
    let token = repo::tokens::create(call.db(), &text, new, now).await?;
    info!(by = who.name(), user = %user.name, token = token.id, "token made");
    let found = call.hub.known.with_client(&call.hub.db, token).await?;
    let mut models = if groups.is_empty() {
        // Without groups there are no shares of theirs, which are all that tokens do not count.
        Models { call: &call, user: &user, held, clients: HashMap::new() }
    } else {
        Models::of(&call, &user).await?
    };
    let model = models.model(found).await?;
    answer::created(&TokenCreated { model, token: text })
}

/// The scopes asked for, as such or by roles; without either those of the role `token`.
async fn scopes_of(call: &Call, wanted: &CreateToken) -> ApiResult<Vec<String>> {
    let Some(names) = &wanted.roles else {
        return match &wanted.scopes {
            Some(scopes) => Ok(scopes.clone()),
            None => Ok(call.hub.known.default_token_scopes(&call.hub.db).await?),
        };
    };
    let mut scopes: Vec<String> = Vec::new();
    let known = repo::roles::all(call.db()).await?;
    for name in names {
        let role = known.iter().find(|role| role.name == *name);
        let role = role.ok_or_else(|| ApiError::bad_request(format!("No such role: {}", short(name))))?;
        scopes.extend(role.scopes.0.iter().cloned());
    }
    scopes.sort_unstable();
    scopes.dedup();
    Ok(scopes)
}

/// That the scopes exist and the user holds them. What the user holds, shares given to groups counted.
async fn check_grant(call: &Call, user: &users::Model, scopes: &[String]) -> ApiResult<Held> {
    let (db, rbac) = (call.db(), &call.hub.rbac);
    let held = call.hub.known.held(&call.hub.db, rbac, &holder(user), true).await?;
    let owner = Owner::User(&user.name);
    let wanted = rbac.table().expand_stored(scopes, &ExpandContext::token(owner, Client::Hub)).scopes;
    let groups = rbac.membership(db, &wanted, &held.scopes).await?;
    check_token_grant(rbac.table(), scopes, owner, Client::Hub, &held.scopes, &groups)
        .map_err(|error| refusal(&error))?;
    Ok(held)
}

/// Stock raises a `KeyError` for what does not exist, whose text comes out in quotes.
pub(super) fn refusal(error: &GrantError) -> ApiError {
    ApiError::bad_request(match error {
        GrantError::Scope(ScopeError::UnknownScope(_) | ScopeError::UnknownFilter { .. }) => {
            quoted(&error.to_string())
        }
        GrantError::Scope(_) | GrantError::Excess { .. } => error.to_string(),
    })
}
