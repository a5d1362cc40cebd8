//! Whose a pod is, and how it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use hub_core::{PollStatus, StopMode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::fake::Fake;
use super::site::Hub;

fn cluster() -> Fake {
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    fake
}

fn named(id: &str) -> Value {
    json!({ "hub_id": id })
}

#[tokio::test(start_paused = true)]
async fn a_pod_of_another_hub_is_left_alone_though_the_person_has_the_same_name() {
    let fake = cluster();
    let (first, second) = (Hub::new(&fake, None, &named("first")), Hub::new(&fake, None, &named("second")));
    first.start("ann").await;
    let made = fake.ids();
    assert_eq!(made.keys().collect::<Vec<_>>(), ["jupyter-ann"]);

    second.start("ann").await;
    assert!(second.active().is_empty(), "the name is taken");
    second.stop("ann", StopMode::Now).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(fake.ids(), made);
    assert_eq!(first.poll("ann").await.unwrap(), PollStatus::Running);

    first.stop("ann", StopMode::Graceful).await;
    assert_eq!(fake.ids(), BTreeMap::new());
    second.start("ann").await;
    assert_eq!(second.active(), ["ann"]);
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_gets_another_id_goes_on_with_its_servers() {
    let fake = cluster();
    let before = Hub::new(&fake, None, &named("before"));
    before.start("ann").await;
    let made = fake.ids();
    let after = Hub::new(&fake, Some(&before), &named("after"));
    after.check("ann").await;
    assert_eq!((after.active(), fake.ids()), (vec!["ann".to_owned()], made));
    after.stop("ann", StopMode::Graceful).await;
    assert_eq!(fake.ids(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_pod_has_the_time_that_it_was_given_before_it_is_ended_by_force() {
    let fake = cluster();
    let options =
        json!({ "extra_pod_config": { "terminationGracePeriodSeconds": 600 }, "force_delete_after": 30 });
    let hub = Hub::new(&fake, None, &options);
    hub.start("ann").await;
    fake.stuck(true);
    let began = Instant::now();
    hub.stop("ann", StopMode::Graceful).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(630) && took < Duration::from_secs(700), "{took:?}");
    assert_eq!(fake.ids(), BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_machine_was_cleared_ended_for_that_reason() {
    let fake = cluster();
    let hub = Hub::new(&fake, None, &json!({}));
    hub.start("ann").await;
    let target = json!({ "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI" });
    fake.set_status("jupyter-ann", json!({ "phase": "Running", "conditions": [target] }));
    fake.lose("jupyter-ann");
    sleep(Duration::from_secs(5)).await;
    let Ok(PollStatus::Exited(exit)) = hub.poll("ann").await else { panic!("it still runs") };
    assert_eq!(exit.cause, Some("node-drained"));
}
