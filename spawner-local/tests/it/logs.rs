//! Logs of servers that write much.

use std::time::Duration;

use hub_core::{ServerKey, ServerName, Spawner as _, StopMode, UserName};

use crate::support::{Bench, SERVER, Sink, marked, started, until_async};

const LIMIT: u64 = 16 * 1024;

fn size(bench: &Bench) -> u64 {
    let files = std::fs::read_dir(bench.path("servers")).unwrap();
    files.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_log_stays_within_its_bounds_and_its_end_readable() {
    let bench = Bench::with(|options| options.log_size = LIMIT);
    let chatty = format!(
        "import threading, time\n\
         def talk():\n    for n in range(60000):\n        print('line', n, flush=(n % 100 == 0))\n    print('done', flush=True)\n\
         threading.Timer(0.2, talk).start()\n{SERVER}"
    );
    let up = bench.spawner.start(bench.python("ann", &chatty), &Sink::default()).await.unwrap();
    let server = started("ann", &up);
    until_async("the last line", async || {
        bench.spawner.recent_log(&server).await.last().map(String::as_str) == Some("done")
    })
    .await;
    until_async("the log is short again", async || size(&bench) <= 2 * LIMIT).await;
    let log = bench.spawner.recent_log(&server).await;
    assert_eq!(log.len(), 100);
    assert_eq!(log[98], "line 59999");
    bench.spawner.stop(&server, StopMode::Graceful).await.unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_heard_by_the_hub_any_more_can_still_write() {
    let bench = Bench::new();
    let talker = "import time\nprint('first', flush=True)\nwhile True:\n    time.sleep(0.05)\n    print('more', flush=True)";
    let job = bench.python("ann", talker);
    let launch = job.launch.clone();
    let sink = Sink::default();
    // the hub gives up on it
    let start = tokio::time::timeout(Duration::from_millis(600), bench.spawner.start(job, &sink)).await;
    assert!(start.is_err());
    let hub = bench.restarted();
    let server = crate::support::server("ann", sink.last());
    until_async("it writes on", async || hub.recent_log(&server).await.len() > 20).await;
    assert_eq!(hub.recent_log(&server).await[0], "first");
    assert_eq!(marked(&launch).len(), 1);
    hub.stop(&server, StopMode::Now).await.unwrap();
}

#[tokio::test]
async fn logs_follow_a_new_name_and_go_with_the_server() {
    let bench = Bench::new();
    let up = bench.spawner.start(bench.python("ann", SERVER), &Sink::default()).await.unwrap();
    let mut server = started("ann", &up);
    bench.spawner.stop(&server, StopMode::Graceful).await.unwrap();
    server.state = serde_json::json!({});
    let renamed = ServerKey::new(UserName::stored("ann"), ServerName::stored("lab"));
    bench.spawner.rename(&server, &renamed).await.unwrap();
    assert!(bench.spawner.recent_log(&server).await.is_empty());
    server.key = renamed;
    assert_eq!(bench.spawner.recent_log(&server).await, ["listening", "interrupted"]);
    bench.spawner.delete_forever(&server).await.unwrap();
    assert_eq!(size(&bench), 0);
}
