//! Servers as pods, on a real API server. See `tests/kubebed` for what is real there and what is not.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use hub_tests::environment::Needed;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Audit, Bed, Deed, Namespace, kube_settings};
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::Value;

mod archive;
mod both;
mod causes;
mod choices;
mod cluster;
mod crash;
mod internal_ssl;
mod kept;
mod life;
mod long;
mod namespaces;
mod outage;
mod rest;
mod scale;
mod services;
mod side_by_side;
mod takeover;
mod trouble;
mod workspaces;

/// Makes two tests of each function that takes the hub under test: `himalia::NAME` and `reference::NAME`.
macro_rules! with_both {
    ($($name:ident),+ $(,)?) => {
        $crate::kubernetes::with_both!(@module himalia Himalia; $($name),+);
        $crate::kubernetes::with_both!(@module reference Stock; $($name),+);
    };
    (@module $module:ident $kind:ident; $($name:ident),+) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $name() -> anyhow::Result<()> {
                    let kind = hub_tests::hub::Kind::$kind;
                    if !$crate::e2e::ready(&[kind], &$crate::kubernetes::NEEDS) {
                        return Ok(());
                    }
                    super::$name(kind).await
                }
            )+
        }
    };
}
use with_both;

/// What these tests need beside a hub.
const NEEDS: [Needed; 4] =
    [Needed::Kubebed, Needed::VenvKubespawner, Needed::Venv61, Needed::LightSingleuser];

/// A hub with servers in a namespace of its own, where it may do what the Z2JH chart's Role allows.
struct Site {
    hub: Hub,
    account: Account,
    namespace: Namespace,
}

impl Site {
    /// `options` are those of the spawner, `change` may change the rest.
    async fn start(kind: Kind, options: Value, change: impl FnOnce(Settings) -> Settings) -> Result<Self> {
        let bed = Bed::shared();
        let namespace = Namespace::new(&bed, "site").await?;
        let account = Account::new(&namespace, bed.port).await?;
        let hub = Hub::start(kind, change(kube_settings(&namespace, &account, &options))).await?;
        Ok(Self { hub, account, namespace })
    }

    /// Everything that the hub asked of the API server is in the chart's Role.
    fn kept_to_the_charts_role(&self) -> Result<()> {
        self.kept_to_the_charts_role_but_for("", &[])
    }

    /// The same, and what an option needs beyond it: these verbs on this resource.
    fn kept_to_the_charts_role_but_for(&self, resource: &str, verbs: &[&str]) -> Result<()> {
        let deeds = Audit::of(&self.namespace.bed, &self.account).deeds()?;
        ensure!(deeds.iter().any(|deed| deed.verb == "create" && deed.resource == "pods"), "{deeds:#?}");
        let is_needed = |deed: &Deed| deed.resource == resource && verbs.contains(&deed.verb.as_str());
        let outside: BTreeSet<&Deed> =
            deeds.iter().filter(|deed| !deed.in_the_charts_role() && !is_needed(deed)).collect();
        ensure!(outside.is_empty(), "outside the chart's Role: {outside:#?}");
        Ok(())
    }
}

/// The path of a server, below the base URL.
fn address(user: &str, server: &str) -> String {
    if server.is_empty() { format!("user/{user}/") } else { format!("user/{user}/{server}/") }
}

/// The events of a start, up to the one that it is over.
async fn progress(hub: &Hub, user: &str) -> Result<Vec<Value>> {
    let path = format!("users/{user}/server/progress");
    let answer = hub.administrator()?.request(Method::GET, &path)?.send().await?;
    ensure!(answer.status() == 200, "{path} answers {}", answer.status());
    let text = answer.text().await?;
    let events = text.lines().filter_map(|line| line.strip_prefix("data:"));
    events.map(|event| serde_json::from_str(event).with_context(|| event.to_owned())).collect()
}
