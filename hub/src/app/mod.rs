//! The hub as one object, how it starts and how it ends.

pub(crate) mod derived;
pub(crate) mod embedding;
pub mod first_admin;
mod init;
mod listen;
mod parts;
mod periodic;
mod process;
mod public;
pub mod shutdown;
pub mod startup;
pub mod tasks;

use std::sync::Arc;

use actix_web::http::header::{HeaderName, HeaderValue};
use hub_config::{Config, PageLanguage};
use hub_core::Clock;
use hub_db::Db;

use crate::activity::Activity;
use crate::audit::Audit;
use crate::auth::Auth;
use crate::events::Events;
use crate::internal_ssl::InternalSsl;
use crate::known::KnownRows;
use crate::metrics::Metrics;
use crate::notices::Notices;
use crate::rbac::Rbac;
use crate::render::{Language, Renderer, StaticFiles};
use crate::routing::Routing;
use crate::servers::Servers;
use crate::services::answers::Asker;
use crate::sessions::Sessions;
use crate::urls::Urls;
use crate::web::api::{Description, Idempotency};
use crate::web::facts::Senders;
use crate::workspaces::Workspaces;

pub use process::{check, configurable_http_proxy, plugins, run, run_proxy, token, upgrade_db};

/// Which parts run in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Hub and proxy.
    Serve,
    /// The hub alone; the proxy is another process.
    Hub,
}

/// Everything that requests and background work share. Built once by [`startup`].
#[derive(Debug)]
pub struct Hub {
    /// Effective configuration.
    pub config: Arc<Config>,
    /// Database.
    pub db: Db,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// URLs.
    pub urls: Arc<Urls>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// What happens to servers.
    pub events: Arc<Events>,
    /// The word to other hubs on the database.
    pub notices: Notices,
    /// The audit log.
    pub audit: Audit,
    /// What requests read again and again.
    pub known: KnownRows,
    /// Answers that are given again.
    pub idempotency: Idempotency,
    /// The description of the REST API.
    pub description: Description,
    /// Who may do what.
    pub rbac: Arc<Rbac>,
    /// Who gets in.
    pub auth: Auth,
    /// Cookies and XSRF tokens.
    pub sessions: Sessions,
    /// Servers.
    pub servers: Arc<Servers>,
    /// Where named servers are workspaces: whose they are.
    pub workspaces: Option<Arc<Workspaces>>,
    /// Routes of the proxy.
    pub routing: Arc<Routing>,
    /// Pages.
    pub renderer: Renderer,
    /// Scripts, styles and pictures.
    pub files: StaticFiles,
    /// When who was active.
    pub activity: Activity,
    /// How to get in for the first time, when the hub made that up.
    pub first_login: Option<first_admin::FirstLogin>,
    /// TLS with proxy, servers and services, where it is wanted.
    pub internal: Option<Arc<InternalSsl>>,
    /// What asks services whether they answer.
    pub asker: Asker,
    /// Processes of services that the hub runs.
    pub managed: crate::services::managed::Managed,
    /// The order to end.
    pub shutdown: shutdown::ShutdownRequest,
    /// Background work.
    pub tasks: tasks::Tasks,
    /// Who may say for whom a request is sent.
    pub senders: Senders,
    headers: Vec<(HeaderName, HeaderValue)>,
    page_policy: String,
    api_policy: String,
}

impl Hub {
    /// The language of pages for somebody who wants these, the most wanted first.
    pub fn language(&self, wanted: &[String]) -> Language {
        match self.config.templates.language {
            PageLanguage::Auto => Language::choose(wanted.iter().map(String::as_str)),
            PageLanguage::En => Language::English,
            PageLanguage::Fr => Language::French,
        }
    }

    /// The `Content-Security-Policy` of pages or of the API.
    pub fn content_security_policy(&self, api: bool) -> &str {
        if api { &self.api_policy } else { &self.page_policy }
    }

    /// Configured headers for every response.
    pub fn extra_headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }
}
