//! What a start and a running server cost the hub, beside the stock hub with KubeSpawner.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::hub::{Hub, Kind};
use hub_tests::kube::{Account, Bed, Namespace, kube_settings};
use hub_tests::settings::Settings;
use hub_tests::usage::cpu_time;
use hub_tests::wait::eventually;

use super::super::NEEDS;
use super::found_again::Town;
use super::{people, stand_ins};

/// Starts that are measured.
const STARTS: usize = 100;
/// Servers that run when the hubs start. With five thousand the stock hub does not answer for minutes.
const SERVERS: usize = 1_000;
/// How many times less than stock a start is to cost.
const CHEAPER: f64 = 2.0;
const READY_WITHIN: Duration = Duration::from_mins(5);

#[tokio::test]
async fn a_start_costs_much_less_processor_time_than_with_kubespawner() -> Result<()> {
    if !crate::e2e::ready(&[Kind::Stock, Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let bed = Arc::new(Bed::with_room_for(500)?);
    let (stock, ours) = (starts(&bed, Kind::Stock).await?, starts(&bed, Kind::Himalia).await?);
    println!("CPU of a start: stock {stock:?}, ours {ours:?}, {:.1} times less", ratio(stock, ours));
    ensure!(ratio(stock, ours) > CHEAPER, "stock {stock:?}, ours {ours:?}");
    Ok(())
}

#[tokio::test]
async fn a_thousand_servers_take_less_memory_than_with_kubespawner_and_are_found_again_sooner() -> Result<()>
{
    if !crate::e2e::ready(&[Kind::Stock, Kind::Himalia], &NEEDS) {
        return Ok(());
    }
    let town = Town::build(SERVERS).await?;
    let (stock, ours) = (town.meets(Kind::Stock).await?, town.meets(Kind::Himalia).await?);
    println!("stock {stock:?}\nours {ours:?}\nmemory {:.1} times less", stock.memory.now / ours.memory.now);
    ensure!(ours.memory.now < stock.memory.now && ours.answers < stock.answers && ours.all < stock.all);
    Ok(())
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// The processor time that hub and proxy take for one start, of many at once.
async fn starts(bed: &Arc<Bed>, kind: Kind) -> Result<Duration> {
    let namespace = Namespace::new(bed, "starts").await?;
    let account = Account::new(&namespace, bed.port).await?;
    let settings = Settings {
        slow_spawn_timeout: Duration::ZERO,
        poll_interval: Some(Duration::from_hours(1)),
        ..kube_settings(&namespace, &account, &stand_ins("1s"))
    };
    let hub = Hub::start(kind, settings).await?;
    let administrator = hub.administrator()?;
    let names = people(&administrator, STARTS + 1).await?;
    let (first, others) = names.split_first().context("there are some")?;
    // What happens once only is none of theirs.
    administrator.start_server(first, "").await?;
    let before = total(&hub)?;
    for name in others {
        administrator.request_start(name, "").await?;
    }
    let path = &format!("users?state=ready&limit={}", STARTS + 1);
    eventually("all are ready", READY_WITHIN, || {
        let administrator = administrator.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let ready = administrator.fetch(path).await?;
            Ok((ready.as_array().is_some_and(|ready| ready.len() > STARTS)).then_some(()))
        }
    })
    .await?;
    let count = u32::try_from(STARTS)?;
    Ok(total(&hub)?.saturating_sub(before) / count)
}

/// Processor time of all processes of the hub; its proxy may be one of its own. A process may end in between.
fn total(hub: &Hub) -> Result<Duration> {
    ensure!(hub.pid().is_some(), "the hub has ended");
    Ok(hub.mark.processes().iter().filter_map(|process| cpu_time(process.pid.try_into().ok()?).ok()).sum())
}
