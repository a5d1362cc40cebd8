//! The API server goes away and comes back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Audit, Bed, Condition, Line, Namespace, kube_settings};
use hub_tests::wait::eventually;
use serde_json::{Value, json};

use super::{NEEDS, Site};

/// How long after its return the hub may take to see what is.
const SEEN_WITHIN: Duration = Duration::from_secs(5);
/// What a busy machine may add to the time of an outage.
const SLACK: Duration = Duration::from_secs(5);

/// A site whose hub reaches the API server by a line of its own. The line comes last: it is cut when the hub is gone.
struct Far {
    site: Site,
    /// How often the hub had asked for all pods when the line was cut.
    lists: usize,
    line: Line,
}

/// Much longer than it takes the hub to notice a broken connection.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

const PEOPLE: [&str; 5] = ["ann", "ben", "cat", "dan", "eve"];

impl Far {
    async fn start(bed: &Arc<Bed>) -> Result<Self> {
        let namespace = Namespace::new(bed, "far").await?;
        let line = Line::to(bed.port).await?;
        let account = Account::new(&namespace, line.port).await?;
        let settings = kube_settings(&namespace, &account, &json!({})).with_light_singleuser();
        let hub = Hub::start(Kind::Himalia, settings).await?;
        let administrator = hub.administrator()?;
        for person in PEOPLE {
            administrator.add_user(person).await?;
            administrator.start_server(person, "").await?;
        }
        Ok(Self { site: Site { hub, account, namespace }, lists: 0, line })
    }

    /// How often the hub has asked for all pods.
    fn lists(&self) -> Result<usize> {
        Audit::of(&self.site.namespace.bed, &self.site.account).count("list", "pods")
    }

    /// Cuts the line; behind the hub's back one pod is deleted and one is evicted.
    async fn cut(&mut self, condition: Condition) -> Result<()> {
        self.line.be(condition).await?;
        self.lists = self.lists()?;
        let namespace = &self.site.namespace;
        namespace.cluster.delete(&namespace.path("pods", "jupyter-ben"), 0).await?;
        namespace.fault("jupyter-cat", "evict-after", "0s").await?;
        namespace.pod_is_gone("jupyter-ben").await?;
        let failed = |pod: &Value| pod.pointer("/status/phase") == Some(&json!("Failed"));
        namespace.pod("jupyter-cat", "is evicted", failed).await?;
        Ok(())
    }

    async fn servers(&self) -> Result<BTreeSet<String>> {
        let users = self.site.hub.administrator()?.fetch("users?state=ready").await?;
        let users = users.as_array().context("a list of users")?;
        Ok(users.iter().filter_map(|user| Some(user.get("name")?.as_str()?.to_owned())).collect())
    }

    /// While the line is cut nothing is decided: no server is given up, and those that run are reachable.
    async fn goes_on(&self) -> Result<()> {
        let servers = self.servers().await?;
        ensure!(servers.len() == PEOPLE.len(), "decided without knowing: {servers:?}");
        let page = self.site.hub.logged_in("ann").await?.follow("user/ann/").await?;
        ensure!(page.status == 200, "{} at {}", page.status, page.url);
        Ok(())
    }

    /// Waits until the hub's health says that so many of its watches are up.
    async fn watches_up(&self, count: u64) -> Result<()> {
        let hub = &self.site.hub;
        eventually("the health tells of the watches", TOLD_WITHIN, || async move {
            let answer = hub.person()?.get("hub/health").await?;
            ensure!(answer.status() == 200, "the health answers {}", answer.status());
            let health: Value = answer.json().await?;
            ensure!(health.pointer("/watches/oldest_seconds").is_some_and(Value::is_number), "{health}");
            Ok((health.pointer("/watches/up") == Some(&json!(count))).then_some(()))
        })
        .await
    }

    /// Restores the line; the hub's view is the truth soon after.
    async fn restore(&mut self) -> Result<()> {
        self.line.be(Condition::Whole).await?;
        let back = Instant::now();
        let truth: BTreeSet<String> = ["ann", "dan", "eve"].map(str::to_owned).into();
        let (far, truth) = (&*self, &truth);
        let what = "the hub's view is the truth";
        let seen =
            eventually(
                what,
                SEEN_WITHIN,
                || async move { Ok((far.servers().await? == *truth).then_some(())) },
            );
        seen.await?;
        self.watches_up(1).await?;
        println!("seen {:?} after the return", back.elapsed());
        // Nobody tells the hub any more that a pod was deleted: its place in the history is forgotten (410).
        ensure!(self.lists()? > self.lists, "the hub has not listed the pods anew");
        let administrator = self.site.hub.administrator()?;
        for person in ["ben", "cat"] {
            administrator.start_server(person, "").await.context("a start after the return")?;
        }
        self.site.is_at_rest().await?;
        self.site.kept_to_the_charts_role()
    }
}

/// The API server is away, and the hub notices nothing of what happens meanwhile.
pub(super) async fn outage(lasts: Duration, condition: Condition) -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    // A cluster of its own: the API server goes away for everybody.
    let bed = Arc::new(Bed::start()?);
    let mut far = Far::start(&bed).await?;
    far.cut(condition).await?;
    let cut = Instant::now();
    // What the API server had in memory is lost, so that the versions which the hub knows are too old: 410.
    bed.stop_api_server()?;
    if condition == Condition::Refused {
        far.watches_up(0).await?;
    }
    far.goes_on().await?;
    bed.start_api_server()?;
    eventually("the outage has lasted long enough", lasts + SLACK, || async {
        Ok((cut.elapsed() >= lasts).then_some(()))
    })
    .await?;
    far.goes_on().await?;
    far.restore().await
}

#[tokio::test]
async fn an_outage_of_five_seconds_is_survived() -> Result<()> {
    outage(Duration::from_secs(5), Condition::Refused).await
}
