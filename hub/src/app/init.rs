//! What the database must hold before the hub answers, and what follows at once. Answers to `init_roles`,
//! `init_users`, `init_groups` and `init_spawners`.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use hub_config::GroupSection;
use hub_core::secret::SecretString;
use hub_db::repo;
use tracing::warn;

use super::Hub;
use crate::auth::{blocked, login, removal};
use crate::rbac::roles;

/// How long the start waits for servers that ran before, where the configuration sets no limit.
const NO_LIMIT: Duration = Duration::from_hours(1);

impl Hub {
    /// Roles, users, groups and services of the configuration, in one transaction.
    pub(super) async fn init(&self) -> anyhow::Result<()> {
        let config = &self.config;
        let table = self.rbac.table();
        self.db.log_ahead().await?;
        let tx = self.db.begin().await?;
        roles::load(&tx, config, table).await?;
        // In stock's order, which the ids of the users and with them the lists of the API show.
        let entering = self.auth.allow.admins.iter().chain(&self.auth.allow.users).cloned();
        let of_groups = config.groups.values().flat_map(GroupSection::users);
        let of_roles = config.roles.iter().flat_map(|role| role.users.iter().flatten());
        let mut seen = BTreeSet::new();
        let mut names: Vec<String> =
            entering.chain(of_groups.chain(of_roles).map(|name| self.auth.names.normalize(name))).collect();
        names.retain(|name| seen.insert(name.clone()));
        for name in &names {
            self.auth.names.validate(name).with_context(|| format!("{name:?} is no user name"))?;
            login::ensure_user(self, &tx, name).await?;
        }
        for (name, group) in &config.groups {
            let row = match repo::groups::by_name(&tx, name).await? {
                Some(row) => row,
                None => repo::groups::create(&tx, name).await?,
            };
            let members: Vec<String> =
                group.users().iter().map(|name| self.auth.names.normalize(name)).collect();
            let ids: Vec<i32> =
                repo::users::by_names(&tx, &members).await?.iter().map(|user| user.id).collect();
            repo::groups::add_users(&tx, row.id, &ids).await?;
            if !group.properties().is_empty() {
                repo::groups::set_properties(&tx, row.id, group.properties().into()).await?;
            }
        }
        crate::services::init(self, &tx).await?;
        roles::assign(&tx, config, table, &self.auth.allow.admins, &self.auth.names).await?;
        blocked::revoke(&tx, &self.auth.allow).await?;
        tx.commit().await?;
        let purged = repo::purge::expired(self.db.conn(), self.clock.now()).await?;
        tracing::debug!(?purged, "expired rows deleted");
        Ok(())
    }

    /// Routes to the hub and to servers whose address is known, before anything is checked and, where the proxy is in
    /// this process, before it answers anybody: people at work notice nothing.
    pub(super) async fn open_routes(&self) -> anyhow::Result<()> {
        self.check_routes().await.context("the proxy's routes cannot be set")
    }

    /// The check of servers that ran before, and the watch over all that run.
    pub(super) async fn begin(&self) -> anyhow::Result<()> {
        self.events.exchange().begin().await?;
        let records = self.servers.store.active().await?;
        self.servers.find_again(&records, self.config.hub.init_spawners_timeout.unwrap_or(NO_LIMIT)).await;
        for record in records.iter().filter(|record| self.auth.allow.is_blocked(&record.key.user)) {
            warn!(user = %record.key.user, server = %record.key.server, "stopping the server of a blocked user");
            self.servers.stop(record.id, &record.key, false);
        }
        if let Err(error) = removal::look_for_invalid(self).await {
            warn!(%error, "cannot look for users whose names are not valid any more");
        }
        self.servers.pay_restarts(|_, _| true).await;
        self.servers.watch();
        Ok(())
    }

    /// Tells how to get in for the first time.
    pub(super) fn greet(&self) {
        if let Some(login) = &self.first_login
            && let Err(error) = login.print(&self.public_address())
        {
            warn!(%error, "cannot print the link for the first administrator");
        }
    }

    /// Where people reach the hub, as far as the configuration tells.
    pub fn public_address(&self) -> String {
        if let Some(url) = self.urls.public() {
            return url.to_string();
        }
        let bind = &self.config.proxy.bind_url;
        let host = match bind.host() {
            None | Some("" | "0.0.0.0") => "127.0.0.1".to_owned(),
            Some("::") => "[::1]".to_owned(),
            Some(host) if host.contains(':') => format!("[{host}]"),
            Some(host) => host.to_owned(),
        };
        let scheme = if self.config.proxy.is_secure() { "https" } else { "http" };
        format!("{scheme}://{host}:{}{}", bind.port().unwrap_or(80), self.urls.base())
    }

    /// A secret that stays one.
    pub fn proxy_token(&self) -> Option<&SecretString> {
        self.config.proxy.auth_token.as_ref()
    }
}
