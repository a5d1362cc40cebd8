//! The control panel, the token page and the root. Answers to `HomeHandler`, `TokenPageHandler`, `RootHandler`.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use hub_core::ServerName;
use hub_db::entities::users;
use hub_db::repo;
use tracing::warn;

use super::context::{
    ServerState, carry, default_target, empty_view, html, key, logged_in, login_url, next_of, redirect,
    servers_of, with_query,
};
use crate::rbac::HUB_CLIENT;
use crate::render::{Date, HomePage, SpawnerView, TokenClientRow, TokenPage, TokenRow, expiry_options_html};
use crate::render::{WorkspaceList, WorkspaceView};
use crate::web::caller::Page;
use crate::web::error::ApiResult;
use crate::workspaces::{UNKNOWN, refusal};

/// `GET /hub/`.
pub async fn root(page: Page) -> ApiResult<HttpResponse> {
    if page.caller.user().is_none() {
        let next = page.facts.uri();
        let own_default = page.hub.config.hub.default_url.clone();
        return Ok(redirect(&match own_default {
            Some(url) if !url.contains("{username}") => url,
            _ => with_query(&login_url(&page.hub), [("next", next.as_str())]),
        }));
    }
    let target = match next_of(&page, None) {
        Some(next) => next,
        None => carry(&page, &default_target(&page.hub, &page.caller).await?, &[]),
    };
    Ok(redirect(&target))
}

/// `GET /hub/home`.
pub async fn home(page: Page) -> ApiResult<HttpResponse> {
    let user = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let hub = &page.hub;
    let servers = servers_of(hub, &user).await?;
    let default = servers.iter().find(|server| server.key().server.is_default());
    let default_key = key(&user.name, "");
    let url = match default {
        Some(server) if server.is_active() => hub.urls.server_for_browser(&default_key),
        _ => hub.urls.server_page("spawn", &default_key),
    };
    let workspaces = workspaces_of(&page, &user, &servers).await?;
    let content = HomePage {
        url,
        workspaces,
        default_server: default.map_or_else(|| empty_view(hub, &default_key), |server| server.view(hub)),
        allow_named_servers: hub.config.hub.allow_named_servers,
        named_server_limit_per_user: i64::from(hub.config.hub.named_server_limit_per_user),
        spawners: servers
            .iter()
            .filter(|server| server.is_active() && !server.key().server.is_default())
            .map(|server| server.view(hub))
            .collect(),
        invalid_server_names: servers
            .iter()
            .map(|server| &server.key().server)
            .filter(|name| !name.is_default() && hub.is_old_name(name))
            .map(ServerName::to_string)
            .collect(),
        auth_state: hub.auth_state(&user),
    };
    html(&page, StatusCode::OK, &content).await
}

/// The workspaces of a person, those too whose servers were never started.
async fn workspaces_of(
    page: &Page,
    user: &users::Model,
    servers: &[ServerState],
) -> ApiResult<Option<WorkspaceList>> {
    let hub = &page.hub;
    let Some(workspaces) = &hub.workspaces else { return Ok(None) };
    let found = match workspaces.list(&hub.workspace_asker(user).await?).await {
        Ok(found) => found,
        Err(error) => {
            warn!(user = %user.name, %error, "the control panel shows no workspaces");
            return Ok(Some(WorkspaceList { problem: UNKNOWN.to_owned(), ..WorkspaceList::default() }));
        }
    };
    let known = |name: &str| servers.iter().any(|server| server.key().server.as_str() == name);
    let mut list = WorkspaceList::default();
    for (name, workspace) in found.all {
        if !known(&name) {
            let view = empty_view(hub, &key(&user.name, &name));
            list.never_started.push(SpawnerView { display_name: workspace.display_name.clone(), ..view });
        }
        let reason = refusal(Some(workspace.role)).unwrap_or_default().to_owned();
        list.known.insert(name, WorkspaceView { display_name: workspace.display_name, reason });
    }
    Ok(Some(list))
}

/// `GET /hub/token`.
pub async fn tokens(page: Page) -> ApiResult<HttpResponse> {
    let user = match logged_in(&page) {
        Ok(user) => user,
        Err(to_login) => return Ok(to_login),
    };
    let hub = &page.hub;
    let now = hub.clock.now();
    repo::purge::expired(hub.db.conn(), now).await?;
    let mut details = repo::tokens::of_owner(hub.db.conn(), repo::Owner::User(user.id), now).await?;
    details.reverse();
    let mut plain = Vec::new();
    let mut clients: BTreeMap<String, TokenClientRow> = BTreeMap::new();
    for detail in details {
        let token = detail.token;
        let row = TokenRow {
            api_id: format!("a{}", token.id),
            note: token.note.unwrap_or_default(),
            scopes: token.scopes.0,
            created: token.created.map(|at| Date(at.utc())),
            last_activity: token.last_activity.map(|at| Date(at.utc())),
            expires_at: token.expires_at.map(|at| Date(at.utc())),
        };
        match token.client_id.as_deref() {
            None | Some(HUB_CLIENT) => plain.push(row),
            Some(client) => {
                let client = clients.entry(client.to_owned()).or_insert_with(|| TokenClientRow {
                    token_id: row.api_id.clone(),
                    description: detail.oauth_client.unwrap_or_else(|| client.to_owned()),
                    ..TokenClientRow::default()
                });
                client.created = earlier(client.created, row.created);
                client.last_activity = later(client.last_activity, row.last_activity);
                client.tokens.push(row);
            }
        }
    }
    let max = hub.config.hub.token_expires_in_max.as_secs();
    let max = (max > 0).then_some(max);
    let content = TokenPage {
        api_tokens: plain,
        oauth_clients: clients.into_values().collect(),
        token_expires_in_options_html: expiry_options_html(max, page.language()),
        token_expires_in_max_seconds: max,
        auth_state: hub.auth_state(&user),
    };
    html(&page, StatusCode::OK, &content).await
}

fn earlier(a: Option<Date>, b: Option<Date>) -> Option<Date> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 < a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}

fn later(a: Option<Date>, b: Option<Date>) -> Option<Date> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.0 > a.0 { b } else { a }),
        (a, b) => a.or(b),
    }
}
