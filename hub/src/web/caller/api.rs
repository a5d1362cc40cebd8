//! Requests to the REST API.

use std::rc::Rc;

use actix_web::dev::Payload;
use actix_web::http::header::{CONTENT_TYPE, ORIGIN};
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;

use super::identify::{hub_of, identify, note, xsrf_argument};
use super::{Caller, Via};
use crate::app::Hub;
use crate::web::error::{ApiError, ApiResult};
use crate::web::facts::Facts;

/// A request to the REST API: by token or cookie.
#[derive(Debug, Clone)]
pub struct Api {
    /// The hub.
    pub hub: web::Data<Hub>,
    /// Facts about the request.
    pub facts: Rc<Facts>,
    /// Who asks.
    pub caller: Rc<Caller>,
}

impl FromRequest for Api {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(rq: &HttpRequest, _: &mut Payload) -> Self::Future {
        let rq = rq.clone();
        Box::pin(async move {
            let api = Self::identify(&rq).await?;
            api.check_xsrf(&rq)?;
            Ok(api)
        })
    }
}

impl Api {
    /// Who asks, with nothing checked yet. A cookie does not count on a `POST` that a form elsewhere could have made.
    pub async fn identify(rq: &HttpRequest) -> ApiResult<Self> {
        let hub = hub_of(rq)?;
        let facts = Facts::of(rq, &hub);
        let mut caller = identify(&hub, rq, &facts, true).await?;
        if matches!(caller.via, Via::Cookie) && is_foreign_post(rq) {
            caller = Caller::stranger(caller.session_id, caller.xsrf);
        }
        note(rq, &caller);
        Ok(Self { hub, facts: Rc::new(facts), caller: Rc::new(caller) })
    }

    /// That a call by cookie comes from one of the hub's own pages; see [`Api`].
    pub fn check_xsrf(&self, rq: &HttpRequest) -> ApiResult<()> {
        check_api_xsrf(&self.hub, rq, &self.facts, &self.caller)
    }
}

/// A `POST` by cookie with a body that is no JSON could come from a form on another site.
fn is_foreign_post(rq: &HttpRequest) -> bool {
    rq.method() == actix_web::http::Method::POST
        && rq.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|text| {
            let media = text.split(';').next().unwrap_or_default().trim();
            !media.is_empty() && !media.eq_ignore_ascii_case("application/json")
        })
}

fn check_api_xsrf(hub: &Hub, rq: &HttpRequest, facts: &Facts, caller: &Caller) -> ApiResult<()> {
    let method = facts.method.as_str();
    let by_token = matches!(caller.via, Via::Token(_));
    let harmless_stranger = caller.who.is_none() && !rq.headers().contains_key(ORIGIN);
    let exempt = facts.fetch().is_exempt();
    if by_token || harmless_stranger || exempt || matches!(method, "HEAD" | "OPTIONS") {
        return Ok(());
    }
    hub.sessions
        .check_xsrf(facts, &caller.xsrf, xsrf_argument(rq, facts).as_deref())
        .map_err(|e| ApiError::forbidden(e.message(method)))
}
