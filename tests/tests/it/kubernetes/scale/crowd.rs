//! Two thousand people ask for their servers within a minute, and the nodes are slow.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hub_tests::client::{Api, Person};
use hub_tests::events::Listener;
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Bed, Namespace, kube_settings};
use hub_tests::settings::Settings;
use jupyterhub_api_compat::Timestamp;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::super::{NEEDS, Site};
use super::{people, percentile, stand_ins};

const PEOPLE: usize = 2_000;
/// In what time all of them ask.
const ASKED_WITHIN: Duration = Duration::from_mins(1);
/// Requests under way at once.
const CALLERS: usize = 16;
/// How many servers the hub starts at once: the default of the Z2JH chart.
const STARTS_AT_ONCE: u32 = 64;
/// One of so many looks at what the hub tells about the wait.
const LOOKS: usize = 40;
/// By which part of the wait what was told may be wrong for most.
const WRONG_BY: f64 = 0.25;
/// Shorter waits tell nothing.
const SHORTEST_WAIT: f64 = 5.0;
/// How long all starts together may take.
const DONE_WITHIN: Duration = Duration::from_mins(10);
/// How long the page of somebody else may take meanwhile, but for one in twenty, in seconds.
const PAGE_TAKES: f64 = 1.0;

#[tokio::test]
async fn two_thousand_people_who_come_at_once_wait_in_line_and_know_for_how_long() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let bed = Arc::new(Bed::with_room_for(2_000)?);
    let namespace = Namespace::new(&bed, "crowd").await?;
    let account = Account::new(&namespace, bed.port).await?;
    let settings = Settings {
        slow_spawn_timeout: Duration::ZERO,
        concurrent_spawn_limit: STARTS_AT_ONCE,
        poll_interval: Some(Duration::from_hours(1)),
        ..kube_settings(&namespace, &account, &stand_ins("2s"))
    };
    let hub = Hub::start(Kind::Himalia, settings).await?;
    let site = Site { hub, account, namespace };
    let administrator = site.hub.administrator()?;
    let names = people(&administrator, PEOPLE).await?;
    let witness = site.hub.logged_in("witness").await?;
    let mut events = Listener::new(&administrator).await?;

    let over = AtomicBool::new(false);
    let work = async {
        let began = Instant::now();
        let all = async {
            let mut ready = Vec::with_capacity(PEOPLE);
            while ready.len() < PEOPLE {
                let event = events.any().await?;
                let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
                ensure!(text("action") == "start", "{event}");
                ready.push(text("user"));
            }
            Ok(ready)
        };
        let all = async { tokio::time::timeout(DONE_WITHIN, all).await.context("not all are ready")? };
        let ((asked, looks), ready) = tokio::try_join!(ask(&administrator, &names), all)?;
        over.store(true, Ordering::Relaxed);
        println!("asked within {asked:?}, all ready within {:?}", began.elapsed());
        let mut told = Vec::new();
        for look in looks {
            told.push(look.await??);
        }
        Ok::<_, anyhow::Error>((ready, told))
    };
    let ((ready, told), mut pages) = tokio::try_join!(work, visits(&witness, &over))?;

    let (half, most, longest) =
        (percentile(&mut pages, 50), percentile(&mut pages, 95), percentile(&mut pages, 100));
    println!(
        "the home page, {} times: half within {half:.3} s, most within {most:.3} s, all {longest:.3} s",
        pages.len()
    );
    in_order(&names, &ready)?;
    expected(told)?;
    ensure!(most < PAGE_TAKES, "the home page takes {most:.3} s");
    ensure!(site.namespace.all("pods").await?.len() == PEOPLE, "as many pods as people");
    site.kept_to_the_charts_role()
}

type Looks = Vec<JoinHandle<Result<Vec<f64>>>>;

/// Asks for all servers, in order; nobody is refused. Returns how long that took, and what some of them are told.
async fn ask(administrator: &Api, names: &[String]) -> Result<(Duration, Looks)> {
    let began = Instant::now();
    let looks = stream::iter(names.iter().enumerate())
        .map(|(number, name)| async move {
            let path = format!("users/{name}/server");
            let (status, answer) = administrator.send(Method::POST, &path, Value::Null).await?;
            ensure!(status == 202 || status == 201, "{name} is refused: {status}: {answer}");
            let look = (number % LOOKS == LOOKS - 1)
                .then(|| tokio::spawn(told(administrator.clone(), name.clone())));
            Ok(look)
        })
        .buffered(CALLERS)
        .try_filter_map(|look| async { Ok(look) })
        .try_collect()
        .await?;
    ensure!(began.elapsed() < ASKED_WITHIN, "asking took {:?}", began.elapsed());
    Ok((began.elapsed(), looks))
}

/// By which parts of the wait that was left the times were wrong that somebody was told.
async fn told(administrator: Api, user: String) -> Result<Vec<f64>> {
    let path = format!("users/{user}/server/progress?details");
    let mut answer = administrator.request(Method::GET, &path)?.timeout(DONE_WITHIN).send().await?;
    let (mut text, mut expected) = (String::new(), Vec::new());
    while let Some(chunk) = answer.chunk().await? {
        text.push_str(&String::from_utf8_lossy(&chunk));
        while let Some((line, rest)) = text.split_once('\n') {
            let event = line.strip_prefix("data:").map(serde_json::from_str::<Value>).transpose()?;
            text = rest.to_owned();
            let Some(event) = event else { continue };
            if let Some(at) = event.pointer("/queue/expected_at").and_then(Value::as_str) {
                expected.push((now()?, timestamp(at)?));
            } else if event.get("phase") != Some(&json!("queued")) {
                let begun = now()?;
                let waits = expected.into_iter().filter(|(said, _)| begun - said > SHORTEST_WAIT);
                return Ok(waits.map(|(said, at)| (at - begun).abs() / (begun - said)).collect());
            }
        }
    }
    bail!("the start of {user} has no end")
}

fn now() -> Result<f64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs_f64())
}

/// Seconds since 1970.
fn timestamp(text: &str) -> Result<f64> {
    let time = Timestamp::parse(text).with_context(|| format!("{text} is no time"))?;
    #[expect(clippy::cast_precision_loss, reason = "small enough")]
    Ok(time.0.timestamp_millis() as f64 / 1_000.0)
}

/// Those who came first are served first, but for those who were served at the same time.
fn in_order(asked: &[String], ready: &[String]) -> Result<()> {
    let places: HashMap<&String, usize> =
        ready.iter().enumerate().map(|(place, name)| (name, place)).collect();
    let mut furthest = 0;
    for (number, name) in asked.iter().enumerate() {
        let place = *places.get(name).with_context(|| format!("{name} is not ready"))?;
        furthest = furthest.max(place.abs_diff(number));
    }
    println!("furthest from the own place: {furthest}");
    // Each of those who start at once may be overtaken by all the others.
    ensure!(furthest <= 2 * STARTS_AT_ONCE as usize + CALLERS, "somebody was {furthest} places off");
    Ok(())
}

fn expected(told: Vec<Vec<f64>>) -> Result<()> {
    let people = told.iter().filter(|told| !told.is_empty()).count();
    ensure!(people * 2 > told.len(), "only {people} of {} were told when", told.len());
    let mut wrong: Vec<f64> = told.into_iter().flatten().collect();
    let (half, most) = (percentile(&mut wrong, 50), percentile(&mut wrong, 90));
    println!(
        "{people} people were told {} times: half wrong by {half:.2} of the wait at most, most by {most:.2}",
        wrong.len()
    );
    ensure!(half <= WRONG_BY, "half of what was told was wrong by more than {half:.2} of the wait");
    Ok(())
}

/// Opens the home page again and again; how long each took, in seconds.
async fn visits(witness: &Person, over: &AtomicBool) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = witness.get("hub/home").await?;
        ensure!(answer.status() == 200, "the home page answers {}", answer.status());
        answer.text().await?;
        took.push(began.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(took)
}
