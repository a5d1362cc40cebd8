//! The files of servers that are deleted for ever.

use std::time::Duration;

use hub_core::StopMode;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::fake::{Fake, Snapshots};
use super::site::Hub;

const CLAIMS: &str = "persistentvolumeclaims";
const SNAPSHOTS: &str = "volumesnapshots";

fn hub(fake: &Fake) -> Hub {
    Hub::new(fake, None, &json!({ "archive_pvc": true }))
}

/// A cluster in which ann's server has run and is stopped, and its hub.
async fn used() -> (Fake, Hub) {
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    let hub = hub(&fake);
    hub.start("ann").await;
    assert_eq!(hub.active(), ["ann"]);
    hub.stop("ann", StopMode::Graceful).await;
    (fake, hub)
}

/// The hub looks after everything for so long.
async fn goes_by(hub: &Hub, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        hub.collect().await;
        sleep(Duration::from_secs(30)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_goes_once_its_snapshot_is_there_and_nothing_but_that_is_left() {
    let (fake, hub) = used().await;
    hub.delete("ann").await.unwrap();
    assert_eq!(
        (fake.names(CLAIMS).len(), fake.names("secrets").len(), fake.names(SNAPSHOTS).len()),
        (0, 0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_failed_is_made_by_the_next_hub_and_the_claim_is_kept_until_then() {
    let (fake, before) = used().await;
    fake.snapshots(Snapshots::Unknown);
    let error = before.delete("ann").await.unwrap_err();
    assert!(error.operator.contains("archive_pvc"), "{error:?}");
    goes_by(&before, Duration::from_hours(3)).await;
    assert_eq!((fake.names(CLAIMS), fake.names(SNAPSHOTS).len()), (vec!["claim-ann".to_owned()], 0));

    drop(before);
    let next = hub(&fake);
    fake.snapshots(Snapshots::Slow);
    goes_by(&next, Duration::from_mins(5)).await;
    assert_eq!((fake.names(CLAIMS).len(), fake.names(SNAPSHOTS).len()), (1, 1), "it cannot be relied on yet");
    fake.snapshots(Snapshots::Ready);
    goes_by(&next, Duration::from_hours(1)).await;
    assert_eq!(
        (fake.names(CLAIMS).len(), fake.names("secrets").len(), fake.names(SNAPSHOTS).len()),
        (0, 0, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_never_ready_is_asked_for_less_and_less_often() {
    let (fake, hub) = used().await;
    fake.snapshots(Snapshots::Slow);
    let began = Instant::now();
    hub.delete("ann").await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(15),
        "whoever deletes does not wait: {:?}",
        began.elapsed()
    );
    let before = fake.asked(SNAPSHOTS);
    goes_by(&hub, Duration::from_hours(24)).await;
    let tries = (fake.asked(SNAPSHOTS) - before) / 2;
    assert!((24..70).contains(&tries), "{tries} tries in a day");
    assert_eq!(fake.names(CLAIMS), ["claim-ann"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_server_of_the_name_has_a_claim_of_its_own_and_is_told_what_it_waits_for() {
    let (fake, hub) = used().await;
    fake.snapshots(Snapshots::Slow);
    hub.delete("ann").await.unwrap();
    let began = Instant::now();
    hub.start("ann").await;
    assert!(hub.active().is_empty(), "the files of the other one are not archived yet");
    assert!(
        began.elapsed() <= Duration::from_secs(65),
        "no longer than a start may take: {:?}",
        began.elapsed()
    );
    assert_eq!((fake.names(CLAIMS).len(), fake.names("pods").len()), (1, 0));
    fake.snapshots(Snapshots::Ready);
    hub.start("ann").await;
    assert_eq!((hub.active(), fake.names(CLAIMS).len()), (vec!["ann".to_owned()], 1));
    assert_eq!((fake.names("secrets").len(), fake.names(SNAPSHOTS).len()), (0, 1));
    goes_by(&hub, Duration::from_hours(1)).await;
    assert_eq!(fake.names(CLAIMS), ["claim-ann"], "this one is in use");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_never_had_a_volume_goes_at_once() {
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    fake.full(true);
    fake.snapshots(Snapshots::Unknown);
    let hub = hub(&fake);
    hub.start("ann").await;
    assert_eq!((hub.active().len(), fake.names(CLAIMS).len()), (0, 1), "there was no room");
    let began = Instant::now();
    hub.delete("ann").await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(fake.names(CLAIMS).len(), 0);
}
