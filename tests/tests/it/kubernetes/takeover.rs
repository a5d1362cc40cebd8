//! One hub starts pods, another goes on with them, and hands them back.

use anyhow::{Context, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use serde_json::{Value, json};

use super::{NEEDS, Site, address};

#[tokio::test]
async fn reference_stock_hands_over_to_itself() -> Result<()> {
    hand_over_and_back(Kind::Stock, Kind::Stock).await
}

#[tokio::test]
async fn himalia_goes_on_with_the_pods_of_stock_and_hands_them_back() -> Result<()> {
    hand_over_and_back(Kind::Stock, Kind::Himalia).await
}

#[tokio::test]
async fn stock_goes_on_with_the_pods_of_himalia_and_hands_them_back() -> Result<()> {
    hand_over_and_back(Kind::Himalia, Kind::Stock).await
}

async fn hand_over_and_back(first: Kind, second: Kind) -> Result<()> {
    if !crate::e2e::ready(&[first, second], &NEEDS) {
        return Ok(());
    }
    let mut site = Site::start(first, json!({}), Settings::with_light_singleuser).await?;
    site.start_server("alice", "").await?;
    site.start_server("alice", "lab-1").await?;
    site.start_server("bob@example.org", "").await?;
    let begun = site.pods().await?;

    site.turn_over_to(second).await?;
    site.is_in_use("alice", "").await?;
    site.is_in_use("alice", "lab-1").await?;
    site.is_in_use("bob@example.org", "").await?;
    ensure!(site.pods().await? == begun, "other pods than before");
    site.stop_server("alice", "lab-1").await?;
    site.start_server("alice", "lab-1").await?;
    site.start_server("carol", "").await?;
    let continued = site.pods().await?;
    ensure!(continued.len() == 4 && continued.first() == begun.first(), "{continued:?} after {begun:?}");

    site.turn_over_to(first).await?;
    for (user, server) in [("alice", ""), ("alice", "lab-1"), ("bob@example.org", ""), ("carol", "")] {
        site.is_in_use(user, server).await?;
    }
    ensure!(site.pods().await? == continued, "other pods than before");
    let claims = site.namespace.all("persistentvolumeclaims").await?;
    ensure!(claims.len() == 4, "{:?}", claims.keys());
    for (user, server) in [("alice", ""), ("alice", "lab-1"), ("bob@example.org", ""), ("carol", "")] {
        site.stop_server(user, server).await?;
    }
    ensure!(site.pods().await?.is_empty());
    site.kept_to_the_charts_role()
}

impl Site {
    /// Another hub with the same database, ports and rights.
    async fn turn_over_to(&mut self, kind: Kind) -> Result<()> {
        let (status, kind_before) = (self.hub.terminate().await?, self.hub.kind);
        ensure!(status.success(), "{kind_before:?} ends with {status}");
        self.hub.kind = kind;
        self.hub.start_again().await
    }

    async fn start_server(&self, user: &str, server: &str) -> Result<()> {
        let administrator = self.hub.administrator()?;
        let (status, _) = administrator.get(&format!("users/{user}")).await?;
        if status == 404 {
            administrator.add_user(user).await?;
        }
        administrator.start_server(user, server).await.map(drop)
    }

    async fn stop_server(&self, user: &str, server: &str) -> Result<()> {
        self.hub.administrator()?.stop_server(user, server).await
    }

    /// The hub says that the server is ready, and the server lets its owner in.
    async fn is_in_use(&self, user: &str, server: &str) -> Result<()> {
        let hub = &self.hub;
        let kind = hub.kind;
        let what = || format!("{user}/{server} under {kind:?}");
        hub.administrator()?.server_is_ready(user, server).await.with_context(what)?;
        let page = hub.logged_in(user).await?.follow(&address(user, server)).await?;
        ensure!(page.status == 200, "{}: {} at {}: {}", what(), page.status, page.url, page.text);
        Ok(())
    }

    /// Names and ids of the pods, in order of their names.
    async fn pods(&self) -> Result<Vec<(String, Value)>> {
        let pods = self.namespace.all("pods").await?;
        Ok(pods
            .into_iter()
            .map(|(name, pod)| (name, pod.pointer("/metadata/uid").cloned().unwrap_or_default()))
            .collect())
    }
}
