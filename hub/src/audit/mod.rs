//! The audit log: one record for every call that changes something, or tries to. Who, by which credential, on whose
//! behalf, from where, what, with which result. No bodies, no query strings, no secrets.
//!
//! Records are JSON lines in a file, chained by hashes ([`chain`]), so that one that is changed or taken out later
//! shows: `himalia audit verify FILE`.

pub mod chain;
pub mod verify;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpMessage as _;
use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use hub_core::Clock;
use jupyterhub_api_compat::Timestamp;
use serde::{Deserialize, Serialize};
use tracing::error;

use self::chain::{AuditError, Chain};
use crate::web::api;
use crate::web::caller::{Caller, Via, Who};
use crate::web::facts::Facts;
use crate::web::log::scrub;

/// Longest text of a record that comes from a request, in characters.
const LONGEST_TEXT: usize = 512;

/// Who asks, noted on the request once known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// `user` or `service`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// `token` or `cookie`.
    pub via: String,
    /// Id of the token, as the REST API shows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// OAuth client that holds the token and acts for its owner: a server or a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Actor {
    /// Whoever a caller is; none for strangers.
    pub fn of(caller: &Caller) -> Option<Self> {
        let who = caller.who.as_ref()?;
        let token = caller.token();
        Some(Self {
            kind: if matches!(who, Who::User(_)) { "user" } else { "service" }.to_owned(),
            name: who.name().to_owned(),
            via: if matches!(caller.via, Via::Token(_)) { "token" } else { "cookie" }.to_owned(),
            token: token.map(|token| jupyterhub_api_compat::models::Token::id_of(token.id.into())),
            client: token
                .and_then(|token| token.client_id.clone())
                .filter(|client| client != crate::rbac::HUB_CLIENT),
        })
    }
}

/// The user whom a request is about where its path does not tell, noted on the request: of a login, who was to be
/// logged in.
#[derive(Debug, Clone)]
pub struct Subject(pub String);

/// Noted on a request that changes something, or tries to, although its method says that it reads: a login or a
/// logout by redirect, a start by a link, a code of OAuth that is granted.
#[derive(Debug, Clone, Copy)]
pub struct Changed;

impl Changed {
    /// Notes it.
    pub fn note(rq: &HttpRequest) {
        rq.extensions_mut().insert(Self);
    }
}

/// What is recorded of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it was answered.
    pub time: Timestamp,
    /// Who asked; null for a stranger.
    pub actor: Option<Actor>,
    /// The user whom it is about, where the path names one: administrators act on behalf of others. Of a login, the
    /// user who was to be logged in, where there is one of that name: other names may be mistyped passwords.
    #[serde(rename = "for")]
    pub subject: Option<String>,
    /// The browser's or client's address, as far as trusted proxies tell.
    pub from: Option<String>,
    /// The id of the request, as in the log and in `X-Request-Id`.
    pub request: String,
    /// The method.
    pub method: String,
    /// The path, without query, tokens in it replaced.
    pub path: String,
    /// The handler, as in the metrics.
    pub handler: String,
    /// The status of the answer.
    pub status: u16,
}

/// Where records go.
#[derive(Debug)]
pub struct Audit {
    chain: Option<Mutex<Chain>>,
    clock: Arc<dyn Clock>,
}

impl Audit {
    /// Without a file.
    pub fn disabled(clock: Arc<dyn Clock>) -> Self {
        Self { chain: None, clock }
    }

    /// To a file, whose chain goes on. A file of more than `max_size` bytes is put aside and a new one begun.
    pub fn to_file(path: &Path, max_size: u64, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let chain = Chain::open(path, max_size, clock.now())?;
        Ok(Self { chain: Some(Mutex::new(chain)), clock })
    }

    /// Records a call that was answered, if it was one that changes something.
    pub fn call(&self, rq: &HttpRequest, facts: &Facts, handler: &str, id: &str, status: StatusCode) {
        let Some(chain) = &self.chain else { return };
        if rq.method().is_safe() && rq.extensions().get::<Changed>().is_none() {
            return;
        }
        let record = Record {
            time: self.clock.now().into(),
            actor: rq.extensions().get::<Actor>().cloned(),
            subject: subject(rq),
            from: facts.remote.map(|ip| ip.to_string()),
            request: id.to_owned(),
            method: facts.method.clone(),
            path: shorten(&scrub(&facts.path)),
            handler: handler.to_owned(),
            status: status.as_u16(),
        };
        let appended = chain.lock().unwrap_or_else(PoisonError::into_inner).append(&record);
        if let Err(cause) = appended {
            error!(%cause, path = %record.path, status = record.status, "a call is missing in the audit log");
        }
    }

    /// How often the file is brought to the disk.
    pub const SYNC_EVERY: Duration = Duration::from_secs(5);

    /// Brings what was written to the disk.
    pub fn sync(&self) {
        if let Some(chain) = &self.chain
            && let Err(cause) = chain.lock().unwrap_or_else(PoisonError::into_inner).sync()
        {
            error!(%cause, "the audit log is not on the disk");
        }
    }
}

/// The user who was noted, or whom the path names, decoded.
fn subject(rq: &HttpRequest) -> Option<String> {
    if let Some(noted) = rq.extensions().get::<Subject>() {
        return Some(shorten(&noted.0));
    }
    let named = |name| rq.match_info().get(name).or_else(|| api::named(rq, name));
    let text = named("user").or_else(|| named("owner"))?;
    let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy();
    Some(shorten(&text))
}

fn shorten(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).collect()
}
