//! The authorization page. The work is done in [`crate::oauth::authorize`].

use std::collections::BTreeSet;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};

use super::context::{html, oauth_login_url, redirect, to_login};
use crate::audit::Changed;
use crate::oauth::authorize::{Refusal, Request};
use crate::render::{OAuthClientView, OAuthPage, ScopeDescription};
use crate::web::caller::Page;
use crate::web::error::ApiResult;

/// `GET /hub/api/oauth2/authorize`.
pub async fn show(page: Page, rq: HttpRequest) -> ApiResult<HttpResponse> {
    answer(&page, &rq, None).await
}

/// `POST /hub/api/oauth2/authorize`: the person agreed.
pub async fn submit(
    page: Page,
    rq: HttpRequest,
    form: web::Form<Vec<(String, String)>>,
) -> ApiResult<HttpResponse> {
    let token = form.iter().rev().find(|(key, _)| key == "_xsrf").map(|(_, value)| value.as_str());
    page.check_form(&rq, token)?;
    let agreed: BTreeSet<String> =
        form.iter().filter(|(key, _)| key == "scopes").map(|(_, value)| value.clone()).collect();
    answer(&page, &rq, Some(agreed)).await
}

async fn answer(page: &Page, rq: &HttpRequest, agreed: Option<BTreeSet<String>>) -> ApiResult<HttpResponse> {
    match decide(page, rq, agreed).await {
        Ok(response) => Ok(response),
        Err(Refusal::Back(location)) => Ok(redirect(&location)),
        Err(Refusal::Page(error)) => Err(error),
    }
}

async fn decide(
    page: &Page,
    rq: &HttpRequest,
    agreed: Option<BTreeSet<String>>,
) -> Result<HttpResponse, Refusal> {
    let hub = &page.hub;
    let Some(user) = page.caller.user().cloned() else {
        return Ok(to_login(page, &oauth_login_url(hub)));
    };
    let request = Request::read(hub, &page.facts.query_pairs()).await?;
    let consent = request.consent(hub, &page.caller, &user).await?;
    let granted = match agreed {
        // What is granted is what was shown and ticked, never more, and what every login needs.
        Some(agreed) => {
            let ticked: BTreeSet<String> = consent.scopes.intersection(&agreed).cloned().collect();
            if ticked.contains("inherit") { ticked } else { &ticked | &consent.implied }
        }
        None if consent.skip => consent.scopes,
        None => {
            let content = OAuthPage {
                allowed_scopes: consent.scopes,
                scope_descriptions: consent
                    .descriptions
                    .into_iter()
                    .map(|d| ScopeDescription {
                        scope: d.scope.unwrap_or_default(),
                        description: d.description,
                        filter: d.filter,
                    })
                    .collect(),
                oauth_client: OAuthClientView {
                    description: request.client.description.clone().unwrap_or_default(),
                    redirect_uri: request.redirect_uri.clone(),
                },
                auth_state: hub.auth_state(&user),
            };
            return Ok(html(page, StatusCode::OK, &content).await?);
        }
    };
    Changed::note(rq);
    let location = request.grant(hub, &user, page.caller.session_id.clone(), &granted).await?;
    Ok(redirect(&location))
}
