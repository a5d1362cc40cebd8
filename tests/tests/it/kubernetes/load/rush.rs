//! Thousands of starts at once against slow nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Bed, Namespace};
use hub_tests::settings::Settings;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Doors, servers_run, settings, used};
use crate::kubernetes::NEEDS;

const STARTS: &str = "HIMALIA_BENCH_STARTS";
/// As many as stock lets in without refusing any.
const FEW: usize = 80;
const RUN_WITHIN: Duration = Duration::from_mins(20);
/// Requests of the test itself at once.
const AT_ONCE: usize = 20;
/// Every so manieth person is told when it will be his or her turn, and looks at the clock.
const LOOKS: usize = 25;
/// What nodes take to make a container.
const SLOW: &str = "2s";

#[tokio::test]
#[ignore = "minutes of load: cargo xtask bench kube"]
async fn thousands_of_starts_and_the_processor_time_of_one_under_both_hubs() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia, Kind::Stock], &NEEDS) {
        return Ok(());
    }
    let starts: usize = std::env::var(STARTS).map_or(Ok(2000), |count| count.parse()).context(STARTS)?;
    for (kind, count) in [(Kind::Himalia, FEW), (Kind::Stock, FEW), (Kind::Himalia, starts)] {
        rush(kind, count).await.with_context(|| format!("{kind:?}: {count} starts"))?;
    }
    Ok(())
}

async fn rush(kind: Kind, count: usize) -> Result<()> {
    let doors = Doors::open().await?;
    let bed = Arc::new(Bed::start_with(&["--pods-per-node", "5000"])?);
    let namespace = Namespace::new(&bed, "rush").await?;
    let account = Account::new(&namespace, bed.port).await?;
    let options = json!({ "extra_annotations": { "kubebed/start-delay": SLOW } });
    let settings = Settings { start_timeout: RUN_WITHIN, ..settings(&namespace, &account, &doors, &options) };
    let hub = Hub::start(kind, settings).await?;
    let administrator = hub.administrator()?;
    let names: Vec<String> = (0..count).map(|number| format!("u{number}")).collect();
    administrator.send(Method::POST, "users", json!({ "usernames": names })).await?;
    let pid = hub.pid().context("the hub runs")?;
    let (before, _) = used(pid)?;

    let over = AtomicBool::new(false);
    let began = Instant::now();
    let work = async {
        let asked = stream::iter(names.iter().map(|name| administrator.request_start(name, "")));
        let answers: Vec<_> = asked.buffered(AT_ONCE).collect().await;
        let asked_within = began.elapsed();
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        let told = stream::iter(names.iter().step_by(LOOKS).map(|name| turn(&hub, name)));
        let told: Vec<Option<f64>> =
            told.buffer_unordered(count).map(Result::ok).map(Option::flatten).collect().await;
        servers_run(&hub, count - refused, RUN_WITHIN).await?;
        anyhow::Ok((asked_within, refused, told))
    };
    let work = work.inspect(|_| over.store(true, Ordering::Relaxed));
    let (done, home) = tokio::join!(work, visits(&hub, &over));
    let ((asked_within, refused, told), home) = (done?, home?);
    let took = began.elapsed();
    let (after, memory) = used(pid)?;
    let per_start = (after - before) * 1000.0 / f64::from(u32::try_from(count)?);
    println!("{kind:?}: {count} starts, asked within {asked_within:.1?}, all running after {took:.1?}");
    println!("  refused: {refused}; processor of the hub: {per_start:.1} ms a start; memory {memory:.0} MiB");
    println!("  /hub/home: median {:.0?}, slowest twentieth {:.0?}", at(&home, 0.5), at(&home, 0.95));
    let told: Vec<f64> = told.into_iter().flatten().collect();
    let near = told.iter().filter(|error| **error <= 0.25).count();
    println!("  expected times: {near} of {} within 25 % of the wait", told.len());
    if kind == Kind::Himalia {
        ensure!(refused == 0, "nobody is refused");
        let late = out_of_order(&namespace).await?;
        println!("  out of order by more than was asked at once: {late}");
    }
    Ok(())
}

fn at(sorted: &[Duration], part: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "small"
    )]
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// How long the home page takes, again and again, in order of time taken.
async fn visits(hub: &Hub, over: &AtomicBool) -> Result<Vec<Duration>> {
    let visitor = hub.logged_in("visitor").await?;
    let mut all = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = visitor.get("hub/home").await?;
        ensure!(answer.status() == 200, "the home page answers {}", answer.status());
        all.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    all.sort();
    Ok(all)
}

/// How far the time that a person is told first is from the one that it is, as a part of the wait; none when nothing was
/// told, or for a wait too short to count.
async fn turn(hub: &Hub, name: &str) -> Result<Option<f64>> {
    let path = format!("users/{name}/server/progress?details=1");
    let request = hub.administrator()?.request(Method::GET, &path)?.build()?;
    let mut endless = reqwest::Request::new(Method::GET, request.url().clone());
    endless.headers_mut().clone_from(request.headers());
    let answer = reqwest::Client::new().execute(endless).await?;
    let mut stream = answer.bytes_stream();
    let (mut text, mut told) = (String::new(), None);
    while let Some(chunk) = stream.next().await {
        text.push_str(&String::from_utf8_lossy(&chunk?));
        while let Some((line, rest)) = text.split_once('\n') {
            let event = line.strip_prefix("data:").map(serde_json::from_str::<Value>).transpose()?;
            text = rest.to_owned();
            let Some(event) = event else { continue };
            let expected = event.pointer("/queue/expected_at").and_then(Value::as_str);
            match (expected, &told) {
                (Some(expected), None) => told = Some((SystemTime::now(), seconds(expected)?)),
                (None, Some((when, expected))) if event.get("queue").is_none() => {
                    let wait = when.elapsed()?.as_secs_f64();
                    let promised = expected - when.duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
                    return Ok((wait > 4.0).then(|| (promised - wait).abs() / wait));
                }
                _ => {}
            }
        }
    }
    Ok(None)
}

/// Seconds since 1970 of a time such as `2026-11-21T18:00:00.5Z`; the date is today's, or tomorrow's.
fn seconds(time: &str) -> Result<f64> {
    let (_, clock) = time.split_once('T').context("a time without a T")?;
    let clock = clock.trim_end_matches('Z').split('+').next().unwrap_or_default();
    let of_day = clock
        .split(':')
        .map(str::parse::<f64>)
        .try_fold(0.0, |sum, part| part.map(|part| sum * 60.0 + part))?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64();
    let day = 86_400.0;
    let today = (now / day).floor() * day + of_day;
    Ok(if today + day / 2.0 < now { today + day } else { today })
}

/// How many pods were made although so many that had been asked for earlier were still to come.
async fn out_of_order(namespace: &Namespace) -> Result<usize> {
    let mut by_second: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (name, pod) in namespace.all("pods").await? {
        let number = name.strip_prefix("jupyter-u").context("a pod of another name")?.parse()?;
        let second = pod.pointer("/metadata/creationTimestamp").and_then(Value::as_str).context("no time")?;
        by_second.entry(second.to_owned()).or_default().push(number);
    }
    let (mut highest, mut late) = (0, 0);
    for numbers in by_second.values() {
        // What was asked at once, and what is made at once, may pass each other.
        late += numbers.iter().filter(|number| **number + 10 * AT_ONCE < highest).count();
        highest = highest.max(numbers.iter().copied().max().unwrap_or_default());
    }
    Ok(late)
}
