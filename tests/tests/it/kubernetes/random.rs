//! What people, nodes and administrators do to servers, in random order, the hub being killed in between: at rest the
//! hub's servers are the cluster's pods.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use hub_tests::hub::Kind;
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{NEEDS, Site};

const PEOPLE: [&str; 4] = ["ann", "ben", "cat", "dan"];
const ROUNDS: usize = 4;
const DEEDS: usize = 15;
/// Where the seed of an earlier run is given, as it was printed.
const SEED: &str = "HIMALIA_TEST_SEED";

#[derive(Debug, Clone, Copy)]
enum Deed {
    Start,
    Stop,
    DeletePod,
    Evict,
    Crash,
    KillHub,
}

/// Numbers that follow from a seed (SplitMix64).
struct Random(u64);

impl Random {
    fn seeded() -> Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().with_context(|| format!("{SEED}={seed}"))?,
            Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
        };
        println!("{SEED}={seed}");
        Ok(Self(seed))
    }

    fn one_of<T: Copy>(&mut self, things: &[T]) -> T {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        things[usize::try_from(mixed % things.len() as u64).expect("less than the number of things")]
    }
}

#[tokio::test]
async fn whatever_happens_in_whatever_order_at_rest_the_hubs_servers_are_the_clusters_pods() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let mut random = Random::seeded()?;
    let annotations = json!({ "kubebed/start-delay": "500ms", "kubebed/stuck-terminating": "500ms" });
    let options = json!({ "extra_annotations": annotations, "crash_limit": 1 });
    let change = |settings: Settings| Settings {
        slow_spawn_timeout: Duration::ZERO,
        ..settings.with_light_singleuser()
    };
    let mut site = Site::start(Kind::Himalia, options, change).await?;
    for person in PEOPLE {
        site.hub.administrator()?.add_user(person).await?;
    }
    // People ask more often than anything else happens.
    let deeds = [
        Deed::Start,
        Deed::Start,
        Deed::Start,
        Deed::Start,
        Deed::Stop,
        Deed::Stop,
        Deed::DeletePod,
        Deed::Evict,
        Deed::Crash,
        Deed::KillHub,
    ];
    for round in 0..ROUNDS {
        let mut asked = JoinSet::new();
        let mut story = Vec::new();
        for _ in 0..DEEDS {
            let (deed, person) = (random.one_of(&deeds), random.one_of(&PEOPLE));
            story.push(format!("{deed:?} {person}"));
            site.happens(deed, person, &mut asked).await?;
        }
        // What was asked of a hub that was killed has no answer, and not everything can be done at any time.
        asked.join_all().await;
        site.is_at_rest().await.with_context(|| format!("round {round}: {story:#?}"))?;
        let claims = site.namespace.all("persistentvolumeclaims").await?;
        ensure!(claims.len() <= PEOPLE.len(), "{:?}", claims.keys());
    }
    site.kept_to_the_charts_role()
}

impl Site {
    async fn happens(&mut self, deed: Deed, person: &str, asked: &mut JoinSet<()>) -> Result<()> {
        let pod = format!("jupyter-{person}");
        match deed {
            Deed::Start | Deed::Stop => {
                let method = if matches!(deed, Deed::Start) { Method::POST } else { Method::DELETE };
                let (administrator, path) = (self.hub.administrator()?, format!("users/{person}/server"));
                asked.spawn(async move {
                    let _ = administrator.send(method, &path, Value::Null).await;
                });
            }
            Deed::DeletePod => {
                self.namespace.cluster.delete(&self.namespace.path("pods", &pod), 0).await?;
            }
            Deed::Evict | Deed::Crash => {
                let fault = if matches!(deed, Deed::Evict) { "evict-after" } else { "crash-after" };
                // The pod may go between the two requests, or may not be there.
                let _ = self.namespace.fault(&pod, fault, "0s").await;
            }
            Deed::KillHub => {
                self.hub.kill().await?;
                self.hub.start_again().await?;
            }
        }
        Ok(())
    }
}
