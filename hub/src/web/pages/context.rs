//! Variables that all pages share, built once per request.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use hub_core::scopes::Access;
use hub_core::{LoginMethod, ServerKey, ServerName, UserName};
use hub_db::entities::users;
use hub_db::repo::{self, spawners::Spawner as Row};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::app::Hub;
use crate::render::{CommonContext, Date, SpawnerView, UserView};
use crate::servers::failures::is_recent;
use crate::servers::live::{Failure, Pending, Snapshot};
use crate::servers::store::{Record, address};
use crate::web::caller::{Caller, Page};
use crate::web::error::{ApiError, ApiResult};

/// What is known of one server at this moment: its row and what this process does to it.
#[derive(Debug, Clone)]
pub struct ServerState {
    /// The rows.
    pub row: Row,
    /// The rows, read.
    pub record: Record,
    /// What this process knows.
    pub live: Snapshot,
    /// Whether another hub is at work on it.
    pub elsewhere: bool,
    /// Whether another hub stops it.
    pub stopping: bool,
    /// Whether it runs and has no route here yet, for another hub has started it.
    pub unrouted: bool,
}

impl ServerState {
    /// The state of a row of a user.
    pub fn of(hub: &Hub, row: Row, owner: &str) -> Self {
        let record = Record::of(&row, owner);
        let mut live = hub.servers.snapshot(row.row.id);
        if live.is_settled() && live.failure.is_none() && !record.is_active() {
            // What failed under the hub before this one.
            let kept = record.failure.clone().filter(|error| is_recent(error, hub.clock.now()));
            live.failure = kept.map(Failure::Failed);
        }
        let elsewhere = hub.servers.store.is_elsewhere(&record);
        let stopping = hub.servers.store.is_being_stopped_elsewhere(&record);
        let runs = record.address.is_some() && live.pending.is_none() && !elsewhere && !stopping;
        let unrouted = runs && !hub.routing.has(&hub.urls.server_route(&record.key));
        if unrouted {
            hub.routing.note_missing();
        }
        Self { row, record, live, elsewhere, stopping, unrouted }
    }

    /// What is being done to it. A server without an address, or that another hub is at work on, is being started,
    /// and so is one that cannot be reached through this hub's proxy yet.
    pub fn pending(&self) -> Option<Pending> {
        let on_its_way =
            self.record.is_active() && (self.record.address.is_none() || self.elsewhere || self.unrouted);
        let stopping = self.stopping.then_some(Pending::Stop);
        self.live.pending.or(stopping).or(on_its_way.then_some(Pending::Spawn))
    }

    /// Whether a start follows the stop that is under way.
    pub fn is_to_start_again(&self, hub: &Hub) -> bool {
        hub.servers.entries.get(self.record.id).is_some_and(|entry| entry.is_start_queued())
    }

    /// Whether it can be used.
    pub fn is_ready(&self) -> bool {
        self.pending().is_none() && self.record.address.is_some()
    }

    /// Whether it runs or something is being done to it.
    pub fn is_active(&self) -> bool {
        self.pending().is_some() || self.is_ready()
    }

    /// Its key.
    pub fn key(&self) -> &ServerKey {
        &self.record.key
    }

    /// For templates.
    pub fn view(&self, hub: &Hub) -> SpawnerView {
        SpawnerView {
            name: self.row.row.name.clone(),
            display_name: self.row.row.display_name.clone().unwrap_or_default(),
            active: self.is_active(),
            ready: self.is_ready(),
            pending: self.pending().map(|pending| pending.as_str().to_owned()),
            last_activity: self.row.row.last_activity.map(|at| Date(at.utc())),
            started: self.row.row.started.map(|at| Date(at.utc())),
            url: hub.urls.server_for_browser(self.key()),
            options_form: hub.has_options_form(),
            user_options: self
                .row
                .row
                .user_options
                .as_ref()
                .and_then(|options| options.0.as_object().cloned())
                .unwrap_or_default(),
        }
    }
}

/// All servers of a user.
pub async fn servers_of(hub: &Hub, user: &users::Model) -> ApiResult<Vec<ServerState>> {
    let rows = repo::spawners::of_user(hub.db.conn(), user.id).await?;
    Ok(rows.into_iter().map(|row| ServerState::of(hub, row, &user.name)).collect())
}

/// One server of a user, if there is one of that name.
pub async fn server_of(hub: &Hub, user: &users::Model, name: &str) -> ApiResult<Option<ServerState>> {
    let row = repo::spawners::by_name(hub.db.conn(), user.id, name).await?;
    Ok(row.map(|row| ServerState::of(hub, row, &user.name)))
}

/// A server that exists, or the shape of one that does not yet.
pub fn empty_view(hub: &Hub, key: &ServerKey) -> SpawnerView {
    SpawnerView {
        name: key.server.to_string(),
        url: hub.urls.server_for_browser(key),
        options_form: hub.has_options_form(),
        ..SpawnerView::default()
    }
}

fn user_url(hub: &Hub, user: &users::Model) -> String {
    hub.urls.server_for_browser(&key(&user.name, ""))
}

/// A user with servers, for templates.
pub async fn user_view(hub: &Hub, user: &users::Model) -> ApiResult<UserView> {
    let servers = servers_of(hub, user).await?;
    let mut groups = repo::groups::names_of_users(hub.db.conn(), &[user.id]).await?;
    Ok(UserView {
        name: user.name.clone(),
        admin: user.is_admin(),
        groups: groups.remove(&user.id).unwrap_or_default(),
        url: user_url(hub, user),
        spawners: servers.iter().map(|server| server.view(hub)).collect(),
    })
}

/// Filters of a scope as templates see them: `true` for none, else kind to names.
fn filters(access: &Access) -> Value {
    match access {
        Access::None => json!(false),
        Access::All => json!(true),
        Access::Filtered(filters) => {
            let mut map = BTreeMap::new();
            for (kind, names) in [
                ("group", &filters.groups),
                ("server", &filters.servers),
                ("service", &filters.services),
                ("user", &filters.users),
            ] {
                if !names.is_empty() {
                    map.insert(kind, names);
                }
            }
            json!(map)
        }
    }
}

/// Where to log in.
pub fn login_url(hub: &Hub) -> String {
    entrance(hub, hub.auth.settings.auto_login)
}

/// The same for browsers that a server or service sends: they need not see the login page either.
pub fn oauth_login_url(hub: &Hub) -> String {
    let settings = &hub.auth.settings;
    entrance(hub, settings.auto_login || settings.auto_login_oauth)
}

fn entrance(hub: &Hub, without_page: bool) -> String {
    match hub.auth.authenticator.login() {
        LoginMethod::Redirect { path, .. } if without_page => hub.urls.hub_path(&path),
        _ => hub.urls.hub_path("login"),
    }
}

/// The variables.
pub async fn common(page: &Page) -> ApiResult<CommonContext> {
    let hub = &page.hub;
    page.set_xsrf_cookie();
    let user = match page.caller.user() {
        Some(user) => Some(user_view(hub, user).await?),
        None => None,
    };
    let services = hub.service_links(&page.caller).await?;
    Ok(CommonContext { user, services, ..known(page) })
}

/// Those of the variables that need nothing but the request itself, for pages that must not fail again: the person
/// without servers, no services.
pub fn known(page: &Page) -> CommonContext {
    let hub = &page.hub;
    let scopes = &page.caller.scopes;
    CommonContext {
        user: page.caller.user().map(|user| UserView {
            name: user.name.clone(),
            admin: user.is_admin(),
            url: user_url(hub, user),
            ..UserView::default()
        }),
        parsed_scopes: scopes.iter().map(|(name, access)| (name.to_owned(), filters(access))).collect(),
        expanded_scopes: scopes.to_vec().into_iter().collect(),
        xsrf: page.xsrf_token.clone(),
        xsrf_token: page.xsrf_token.clone(),
        admin_access: hub.config.hub.admin_access,
        lang: page.language(),
        ..addresses(hub)
    }
}

/// The variables that are the same for everybody.
pub fn addresses(hub: &Hub) -> CommonContext {
    let authenticator = &hub.auth.authenticator;
    CommonContext {
        base_url: hub.urls.hub().to_owned(),
        prefix: hub.urls.base().to_owned(),
        login_url: login_url(hub),
        logout_url: hub.urls.hub_path("logout"),
        login_service: login_service(hub),
        account_url: authenticator.account_path().map(|path| hub.urls.hub_path(path)).unwrap_or_default(),
        login_away: authenticator.away_since().is_some(),
        ..CommonContext::default()
    }
}

/// The name of an outside login service; empty where the hub has a form of its own.
pub fn login_service(hub: &Hub) -> String {
    match hub.auth.authenticator.login() {
        LoginMethod::Redirect { label, .. } => label,
        LoginMethod::Form | LoginMethod::Automatic => hub.config.authenticator.login_service.clone(),
    }
}

/// Renders a page with the shared variables.
pub async fn html(
    page: &Page,
    status: actix_web::http::StatusCode,
    content: &impl crate::render::Page,
) -> ApiResult<HttpResponse> {
    let common = common(page).await?;
    let text = page.hub.renderer.render(&common, content).map_err(ApiError::internal)?;
    Ok(HttpResponse::build(status)
        .content_type("text/html")
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(text))
}

/// A redirect.
pub fn redirect(location: &str) -> HttpResponse {
    HttpResponse::Found().insert_header((LOCATION, location)).finish()
}

/// Appends arguments to a path.
pub fn with_query<K: AsRef<str>, V: AsRef<str>>(
    path: &str,
    pairs: impl IntoIterator<Item = (K, V)>,
) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    if query.is_empty() {
        return path.to_owned();
    }
    format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' })
}

/// Whoever is logged in, or a redirect to the login page that comes back here.
pub fn logged_in(page: &Page) -> Result<users::Model, HttpResponse> {
    page.caller.user().cloned().ok_or_else(|| to_login(page, &login_url(&page.hub)))
}

/// A redirect to where people log in that comes back here.
pub fn to_login(page: &Page, login_url: &str) -> HttpResponse {
    redirect(&with_query(login_url, [("next", page.facts.uri().as_str())]))
}

/// The key of a server.
pub fn key(user: &str, server: &str) -> ServerKey {
    ServerKey::new(UserName::stored(user), ServerName::stored(server))
}

/// Where a person goes after login or from the root: their default page, their running server, a start, or home.
pub async fn default_target(hub: &Hub, caller: &Caller) -> ApiResult<String> {
    let Some(user) = caller.user() else { return Ok(login_url(hub)) };
    if let Some(url) = &hub.config.hub.default_url {
        return Ok(url.replace("{username}", &user.name));
    }
    if !hub.config.hub.redirect_to_server {
        return Ok(hub.urls.hub_path("home"));
    }
    let active = server_of(hub, user, "").await?.is_some_and(|server| server.is_active());
    if active {
        return Ok(hub.urls.server_for_browser(&key(&user.name, "")));
    }
    Ok(hub.urls.hub_path("spawn"))
}

/// A target that was not asked for by `next` gets the arguments of this request along, except those named.
pub fn carry(page: &Page, target: &str, except: &[&str]) -> String {
    let mut pairs = page.facts.query_pairs();
    pairs.retain(|(key, _)| !matches!(key.as_str(), "next" | "_xsrf") && !except.contains(&key.as_str()));
    with_query(target, pairs)
}

/// The validated `next` argument; none when there is none or it leads elsewhere.
pub fn next_of(page: &Page, argument: Option<&str>) -> Option<String> {
    let given = argument
        .map(str::to_owned)
        .or_else(|| page.facts.argument("next"))
        .filter(|text| !text.is_empty())?;
    let here = page.facts.here();
    let own = page.hub.urls.public();
    let host = own.map(|url| {
        url.host_str().unwrap_or_default().to_owned()
            + &url.port().map(|p| format!(":{p}")).unwrap_or_default()
    });
    let here = match (own, &host) {
        (Some(url), Some(host)) => crate::sessions::next::Here { scheme: url.scheme(), host },
        _ => here,
    };
    let target = crate::sessions::next::safe_next(&given, here, page.hub.urls.hosts_below().as_deref());
    if target.is_none() {
        tracing::warn!(next = %given.chars().take(200).collect::<String>(), "not redirecting to a foreign target");
    }
    target
}

/// An address in the rows of a server, for other modules of pages.
pub fn target_of(row: &Row) -> Option<url::Url> {
    row.server.as_ref().and_then(address)
}
