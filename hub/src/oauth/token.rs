//! The token endpoint: a code for an access token. Answers to `OAuthTokenHandler`.

use std::collections::BTreeMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, PRAGMA, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::TimeDelta;
use hub_core::secret::random_alphanumeric;
use hub_core::token::GENERATED_ROUNDS;
use hub_db::repo;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::pkce::ChallengeMethod;
use crate::app::Hub;
use crate::web::error::{ApiError, ApiResult};

/// Length of an access token.
const TOKEN_LENGTH: usize = 30;

/// An error as RFC 6749 has it.
#[derive(Debug)]
struct OAuthError {
    status: StatusCode,
    error: &'static str,
    description: Option<&'static str>,
}

impl OAuthError {
    fn bad(error: &'static str, description: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, description: Some(description) }
    }

    fn invalid_grant() -> Self {
        Self { status: StatusCode::BAD_REQUEST, error: "invalid_grant", description: None }
    }

    fn response(&self) -> HttpResponse {
        let mut body = json!({ "error": self.error });
        if let (Some(text), Value::Object(map)) = (self.description, &mut body) {
            map.insert("error_description".to_owned(), text.into());
        }
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CACHE_CONTROL, "no-store")).insert_header((PRAGMA, "no-cache"));
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, format!("Bearer error=\"{}\"", self.error)));
        }
        response.json(body)
    }
}

/// Either kind of failure: one for the client, one of ours.
enum Failure {
    Client(OAuthError),
    Hub(ApiError),
}

impl From<OAuthError> for Failure {
    fn from(error: OAuthError) -> Self {
        Self::Client(error)
    }
}

impl From<hub_db::DbError> for Failure {
    fn from(error: hub_db::DbError) -> Self {
        Self::Hub(error.into())
    }
}

/// `POST /hub/api/oauth2/token`.
pub async fn token(hub: web::Data<Hub>, rq: HttpRequest, body: web::Bytes) -> ApiResult<HttpResponse> {
    // What is no form is one without fields: clients of OAuth are told so in the words of OAuth.
    let is_form = rq
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let form: BTreeMap<String, String> =
        if is_form { url::form_urlencoded::parse(&body).into_owned().collect() } else { BTreeMap::new() };
    match exchange(&hub, &form).await {
        Ok(body) => Ok(HttpResponse::Ok()
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header((PRAGMA, "no-cache"))
            .json(body)),
        Err(Failure::Client(error)) => {
            warn!(error = error.error, client = form.get("client_id").map(String::as_str), "no access token");
            Ok(error.response())
        }
        Err(Failure::Hub(error)) => Err(error),
    }
}

async fn exchange(hub: &Hub, form: &BTreeMap<String, String>) -> Result<Value, Failure> {
    let field = |name: &str| form.get(name).map(String::as_str).filter(|text| !text.is_empty());
    if field("grant_type") != Some("authorization_code") {
        return Err(OAuthError {
            status: StatusCode::BAD_REQUEST,
            error: "unsupported_grant_type",
            description: None,
        }
        .into());
    }
    let text = field("code").ok_or_else(|| OAuthError::bad("invalid_request", "Missing code parameter."))?;
    let invalid_client =
        || OAuthError { status: StatusCode::UNAUTHORIZED, error: "invalid_client", description: None };
    let db = hub.db.conn();
    let client_id = field("client_id").ok_or_else(invalid_client)?;
    let client = repo::oauth::client(db, client_id).await?.ok_or_else(invalid_client)?;
    let secret = field("client_secret").unwrap_or_default();
    if !repo::oauth::verify_secret(&client, secret).await? {
        return Err(invalid_client().into());
    }
    let now = hub.clock.now();
    // Looked at first: a client that presents the code of another must not use it up.
    let seen = repo::oauth::code(db, text, now).await?.ok_or_else(OAuthError::invalid_grant)?;
    if seen.client_id.as_deref() != Some(client_id) {
        return Err(OAuthError::invalid_grant().into());
    }
    let code = repo::oauth::take_code(db, text, now).await?.ok_or_else(OAuthError::invalid_grant)?;
    if let Some(challenge) = code.code_challenge.as_deref().filter(|text| !text.is_empty()) {
        let verifier = field("code_verifier")
            .ok_or_else(|| OAuthError::bad("invalid_request", "Code verifier required."))?;
        let method = ChallengeMethod::parse(code.code_challenge_method.as_deref())
            .ok_or_else(OAuthError::invalid_grant)?;
        if !method.verify(challenge, verifier) {
            return Err(OAuthError::invalid_grant().into());
        }
    }
    let stored = code.redirect_uri.as_deref().unwrap_or_default();
    if field("redirect_uri").is_some_and(|uri| !repo::oauth::is_redirect_uri(stored, uri)) {
        return Err(OAuthError::bad("invalid_request", "Mismatching redirect URI.").into());
    }
    let user = match code.user_id {
        Some(id) => repo::users::by_id(db, id).await?,
        None => None,
    };
    let user = user.ok_or_else(OAuthError::invalid_grant)?;
    let life = hub.config.hub.oauth_token_expires_in.unwrap_or(hub.config.hub.cookie_max_age);
    let life = TimeDelta::from_std(life).unwrap_or(TimeDelta::days(14));
    let access_token = random_alphanumeric(TOKEN_LENGTH);
    let scopes = code.scopes.0;
    let new = repo::tokens::NewToken {
        owner: repo::Owner::User(user.id),
        rounds: GENERATED_ROUNDS,
        client_id: client_id.to_owned(),
        scopes: scopes.clone(),
        note: String::new(),
        session_id: code.session_id,
        expires_at: Some(now + life),
    };
    repo::tokens::create(db, &access_token, new, now).await?;
    info!(user = %user.name, client = client_id, "access token issued");
    Ok(json!({
        "access_token": access_token,
        "expires_in": life.num_seconds(),
        "token_type": "Bearer",
        "scope": scopes.join(" "),
    }))
}
