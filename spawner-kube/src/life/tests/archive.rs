//! The files of servers that are deleted for ever.

use std::time::Duration;

use hub_core::StopMode;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::fake::{Fake, Snapshots};
use super::site::Hub;

const CLAIMS: &str = "persistentvolumeclaims";
const SNAPSHOTS: &str = "volumesnapshots";
const NOTE: &str = "hub.claim-ann.archive";

fn options(more: &Value) -> Value {
    let volume = json!({ "name": "home", "persistentVolumeClaim": { "claimName": "{pvc_name}" } });
    let mut options = json!({ "archive_pvc": true, "volumes": [volume] });
    options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    options
}

fn hub(fake: &Fake) -> Hub {
    hub_with(fake, &json!({}))
}

fn hub_with(fake: &Fake, more: &Value) -> Hub {
    Hub::new(fake, None, &options(more))
}

/// Claims, notes and snapshots.
fn left(fake: &Fake) -> (usize, usize, usize) {
    assert_eq!(
        fake.lost(),
        Vec::<String>::new(),
        "nothing that was written is lost, and nothing in use deleted"
    );
    (fake.names(CLAIMS).len(), fake.names("secrets").len(), fake.names(SNAPSHOTS).len())
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
    assert_eq!(left(&fake), (0, 0, 1));
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
    assert_eq!(left(&fake), (0, 0, 1));
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
    let tries = fake.asked(SNAPSHOTS) - before;
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
        began.elapsed() <= Duration::from_secs(15),
        "it does not hold its place for long: {:?}",
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

#[tokio::test(start_paused = true)]
async fn a_claim_that_was_used_while_nothing_was_archived_stays_when_that_is_on_again() {
    let (fake, on) = used().await;
    fake.snapshots(Snapshots::Slow);
    on.delete("ann").await.unwrap();
    assert_eq!(left(&fake), (1, 1, 1));
    for off in [json!({ "archive_pvc": false }), json!({ "delete_pvc": false })] {
        let off = hub_with(&fake, &off);
        off.start("ann").await;
        assert_eq!(off.active(), ["ann"]);
        off.stop("ann", StopMode::Graceful).await;
    }
    fake.snapshots(Snapshots::Ready);
    goes_by(&hub(&fake), Duration::from_hours(3)).await;
    assert_eq!(left(&fake), (1, 0, 1), "the claim is the next one's now");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_only_the_pod_names_is_not_to_go_once_it_is_mounted() {
    let (fake, on) = used().await;
    fake.snapshots(Snapshots::Slow);
    on.delete("ann").await.unwrap();
    let volume = json!({ "name": "home", "persistentVolumeClaim": { "claimName": "claim-ann" } });
    let other = hub_with(&fake, &json!({ "storage_pvc_ensure": false, "volumes": [volume] }));
    other.start("ann").await;
    other.stop("ann", StopMode::Graceful).await;
    fake.snapshots(Snapshots::Ready);
    goes_by(&on, Duration::from_hours(3)).await;
    assert_eq!(left(&fake), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_any_pod_has_is_not_deleted() {
    let (fake, hub) = used().await;
    fake.mount("claim-ann", "other");
    sleep(Duration::from_secs(5)).await;
    hub.delete("ann").await.unwrap();
    assert_eq!(left(&fake), (1, 0, 0), "it was in use before");

    fake.lose("other");
    fake.snapshots(Snapshots::Slow);
    hub.delete("ann").await.unwrap();
    assert_eq!(left(&fake), (1, 1, 1));
    fake.mount("claim-ann", "other");
    sleep(Duration::from_secs(5)).await;
    fake.snapshots(Snapshots::Ready);
    goes_by(&hub, Duration::from_hours(3)).await;
    assert_eq!(left(&fake), (1, 0, 1), "it is in use since");

    fake.lose("other");
    hub.delete("ann").await.unwrap();
    assert_eq!(left(&fake), (0, 0, 2), "the second deletion has a snapshot of its own");
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_does_not_end_is_waited_for_before_anything_is_kept() {
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    let hub = hub_with(&fake, &json!({ "force_delete_after": 0 }));
    hub.start("ann").await;
    fake.stuck(true);
    hub.stop("ann", StopMode::Graceful).await;
    assert_eq!(fake.names("pods"), ["jupyter-ann"], "it is not waited for any longer");
    hub.delete("ann").await.unwrap();
    goes_by(&hub, Duration::from_hours(3)).await;
    assert_eq!(left(&fake), (1, 1, 0));
    fake.stuck(false);
    // One look deletes the claim, and one after the longest pause finds that it is gone.
    goes_by(&hub, Duration::from_hours(4)).await;
    assert_eq!(left(&fake), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_deletes_the_note_has_the_claim_back() {
    let (fake, hub) = used().await;
    fake.snapshots(Snapshots::Slow);
    let deletion = hub.delete("ann");
    let back = async {
        sleep(Duration::from_secs(5)).await;
        assert_eq!(fake.names("secrets"), [NOTE]);
        fake.remove("secrets", NOTE);
        fake.snapshots(Snapshots::Ready);
    };
    tokio::join!(async { deletion.await.unwrap() }, back);
    goes_by(&hub, Duration::from_hours(3)).await;
    assert_eq!(left(&fake), (1, 0, 1), "while somebody waits");

    fake.snapshots(Snapshots::Slow);
    hub.delete("ann").await.unwrap();
    fake.remove("secrets", NOTE);
    fake.snapshots(Snapshots::Ready);
    goes_by(&hub, Duration::from_hours(3)).await;
    assert_eq!(left(&fake), (1, 0, 2), "beside");
    hub.start("ann").await;
    assert_eq!((hub.active(), left(&fake)), (vec!["ann".to_owned()], (1, 0, 2)));
}

/// Runs one case on a clock, and with nodes, of its own.
fn alone<T>(case: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(case)
}

#[test]
fn a_hub_that_is_killed_at_any_step_is_followed_by_one_that_goes_on() {
    let mut ends = Vec::new();
    // Each request takes 20 ms, and each look one second.
    for killed_at in (5..3_000).step_by(20) {
        let at = alone(async {
            let (fake, before) = used().await;
            // It is cut off, or done: what there is then is looked at below.
            let _ = timeout(Duration::from_millis(killed_at), before.delete("ann")).await;
            let at = left(&fake);
            drop(before);
            goes_by(&hub(&fake), Duration::from_mins(3)).await;
            let expected = if at == (1, 0, 0) { at } else { (0, 0, 1) };
            assert_eq!(left(&fake), expected, "killed after {killed_at} ms, when there was {at:?}");
            at
        });
        ends.extend((!ends.contains(&at)).then_some(at));
    }
    assert_eq!(
        ends,
        [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1), (0, 0, 1)],
        "every step was the last one once"
    );
}

#[tokio::test(start_paused = true)]
async fn two_hubs_go_on_with_one_note() {
    let (fake, first) = used().await;
    fake.snapshots(Snapshots::Slow);
    first.delete("ann").await.unwrap();
    let second = hub(&fake);
    tokio::join!(goes_by(&first, Duration::from_mins(5)), goes_by(&second, Duration::from_mins(5)));
    assert_eq!(left(&fake), (1, 1, 1));
    fake.snapshots(Snapshots::Ready);
    tokio::join!(goes_by(&first, Duration::from_hours(1)), goes_by(&second, Duration::from_hours(1)));
    assert_eq!(left(&fake), (0, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn two_hubs_that_are_told_at_once_make_one_end_of_it() {
    let (fake, first) = used().await;
    let second = hub(&fake);
    let (one, other) = tokio::join!(first.delete("ann"), second.delete("ann"));
    one.unwrap();
    other.unwrap();
    goes_by(&first, Duration::from_hours(1)).await;
    let (claims, notes, _) = left(&fake);
    assert_eq!((claims, notes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn claims_in_namespaces_of_their_own_are_archived_by_a_hub_that_never_saw_them() {
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    let own = json!({ "enable_user_namespaces": true, "create_namespaces": false, "user_namespace_template": "ws-{username}" });
    let before = hub_with(&fake, &own);
    before.start("ann").await;
    before.stop("ann", StopMode::Graceful).await;
    fake.snapshots(Snapshots::Slow);
    before.delete("ann").await.unwrap();
    drop(before);
    fake.snapshots(Snapshots::Ready);
    goes_by(&hub_with(&fake, &own), Duration::from_hours(1)).await;
    assert_eq!(left(&fake), (0, 0, 1));
    assert_eq!(fake.asked_in("secrets"), ["hub"], "one list for all");
    assert_eq!(fake.asked_in(CLAIMS), ["ws-ann"]);
}

#[tokio::test(start_paused = true)]
async fn notes_are_looked_for_when_one_is_due_and_not_at_every_poll() {
    let (fake, hub) = used().await;
    fake.snapshots(Snapshots::Slow);
    hub.delete("ann").await.unwrap();
    goes_by(&hub, Duration::from_hours(6)).await;
    let before = fake.asked("secrets");
    goes_by(&hub, Duration::from_hours(24)).await;
    // A list every ten minutes, and a look at the note at each try.
    let asked = fake.asked("secrets") - before;
    assert!((140..260).contains(&asked), "{asked} requests in a day of 2880 polls");
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_somebody_deletes_is_given_up() {
    let (fake, hub) = used().await;
    fake.snapshots(Snapshots::Unknown);
    hub.delete("ann").await.unwrap_err();
    fake.remove(CLAIMS, "claim-ann");
    goes_by(&hub, Duration::from_hours(2)).await;
    assert_eq!(fake.names("secrets"), Vec::<String>::new());
}

/// One hub after another, on and off, killed at any moment: nothing that was written is ever lost.
async fn case(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let fake = Fake::new();
    tokio::spawn(fake.clone().run_nodes());
    let mut now = hub(&fake);
    for _ in 0..40 {
        match random.random_range(0..12) {
            0..=2 => {
                let is_killed =
                    timeout(Duration::from_millis(random.random_range(0..1500)), now.start("ann")).await;
                if is_killed.is_err() {
                    now = Hub::new(&fake, Some(&now), &options(&json!({})));
                    now.check("ann").await;
                }
            }
            3..=4 => now.stop("ann", StopMode::Graceful).await,
            5..=7 => {
                now.stop("ann", StopMode::Graceful).await;
                if now.active().is_empty() {
                    // What fails is tried again by the hubs that follow.
                    let _ = timeout(Duration::from_millis(random.random_range(0..12_000)), now.delete("ann"))
                        .await;
                }
            }
            8 => {
                let archives = random.random::<bool>();
                now = Hub::new(
                    &fake,
                    Some(&now),
                    &options(&json!({ "archive_pvc": archives, "delete_pvc": archives })),
                );
            }
            9 => fake.snapshots(
                [Snapshots::Ready, Snapshots::Slow, Snapshots::Unknown][random.random_range(0..3)],
            ),
            10 => fake.stuck(random.random()),
            _ => goes_by(&now, Duration::from_mins(random.random_range(1..15))).await,
        }
    }
    assert_eq!(fake.lost(), Vec::<String>::new(), "HIMALIA_TEST_SEED={seed}");
}

#[test]
fn whatever_happens_no_file_is_lost_and_no_claim_in_use_deleted() {
    if let Ok(seed) = std::env::var("HIMALIA_TEST_SEED") {
        return alone(case(seed.parse().expect("a number")));
    }
    let first: u64 = rand::rng().random_range(0..1_000_000_000);
    for seed in first..first + 20 {
        alone(case(seed));
    }
}
