//! Random interleavings of starts, stops, killed hubs, lost, evicted, starved and crashing pods, full nodes, foreign pods
//! under a server's name, quotas, webhooks, outages and forgotten histories: at rest, the hub's servers are the cluster's
//! pods.

mod archive;
mod certificates;
mod fake;
mod ownership;
mod site;
mod volumes;

use std::io::{self, Write as _};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use site::Site;

/// Cases of one run; `HIMALIA_TEST_SEED` repeats one.
const CASES: u64 = 2_000;
const ACTIONS: usize = 18;

/// Runs one case on a clock that jumps over every wait.
fn case(seed: u64) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut random = StdRng::seed_from_u64(seed);
        let mut site = Site::new();
        for _ in 0..ACTIONS {
            site.act(&mut random);
            tokio::time::sleep(std::time::Duration::from_millis(random.random_range(0..1500))).await;
        }
        site.rest().await
    })
}

#[test]
fn at_rest_the_hubs_servers_are_the_clusters_pods_whatever_happened() {
    if let Ok(seed) = std::env::var("HIMALIA_TEST_SEED") {
        return case(seed.parse().expect("a number")).unwrap();
    }
    let first: u64 = rand::rng().random_range(0..1_000_000_000);
    // Past the test's own output, which is shown of failures only.
    writeln!(io::stderr(), "{CASES} cases from HIMALIA_TEST_SEED={first} on").expect("somebody reads");
    let some = |from: u64| {
        for seed in (first + from..first + CASES).step_by(2) {
            if let Err(wrong) = case(seed) {
                panic!("HIMALIA_TEST_SEED={seed}: {wrong}");
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| some(0));
        some(1);
    });
}
