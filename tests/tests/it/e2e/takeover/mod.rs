//! A living hub of stock's is taken over in place, with people at work in it, and given back.
//!
//! Stock has twenty people logged in, ten real servers, tokens of every kind, shares, groups, roles and a service
//! that it runs. Its hub is stopped, and another goes on with its database and its secrets. Nobody logs in again and
//! no server starts again: neither then, nor after the way back.

mod inventory;
mod town;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hub_tests::database;
use hub_tests::environment::database_server;
use hub_tests::hub::{Hub, Kind};
use hub_tests::wait::eventually;

use self::inventory::Inventory;
use self::town::Town;

/// How long a hub may take after its start until it has looked at everything.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

/// The hubs of a story, in their order.
struct Story {
    first: Kind,
    second: Kind,
    third: Kind,
    /// The first hub's proxy stays for all.
    proxy_stays: bool,
}

macro_rules! stories {
    ($($test:ident: $first:ident $second:ident $third:ident $proxy_stays:literal),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() -> anyhow::Result<()> {
                use hub_tests::{environment::Needed, hub::Kind};
                let (first, second, third) = (Kind::$first, Kind::$second, Kind::$third);
                if !crate::e2e::ready(&[first, second, third], &[Needed::Venv61, Needed::LightSingleuser]) {
                    return Ok(());
                }
                super::tell(super::Story { first, second, third, proxy_stays: $proxy_stays }).await
            }
        )+
    };
}

mod himalia {
    stories! {
        a_living_hub_is_taken_over_and_given_back: Stock Himalia Stock false,
        a_living_hub_is_taken_over_beside_its_proxy_and_given_back: Stock Himalia Stock true,
        a_living_hub_of_5_4_is_upgraded_and_taken_over: Stock5 Himalia Stock false,
        a_living_hub_of_5_4_is_upgraded_and_taken_over_beside_its_proxy: Stock5 Himalia Stock true,
    }
}

mod reference {
    stories! {
        a_living_hub_is_taken_over_and_given_back: Stock Stock Stock false,
        a_living_hub_is_taken_over_beside_its_proxy_and_given_back: Stock Stock Stock true,
        a_living_hub_of_5_4_is_upgraded_and_taken_over: Stock5 Stock Stock false,
        a_living_hub_of_5_4_is_upgraded_and_taken_over_beside_its_proxy: Stock5 Stock Stock true,
    }
}

async fn tell(story: Story) -> Result<()> {
    let Some(server) = database_server("HIMALIA_TEST_POSTGRES_URL") else { return Ok(()) };
    let settings = town::settings(database::create(&server).await?, story.proxy_stays, story.first);
    let mut hub = Hub::prepare(story.first, settings)?;
    town::rules(&mut hub)?;
    hub.start_again().await?;
    let mut town = Town::found(&hub).await?;
    let before = Inventory::of(&hub).await?;

    change(&mut hub, story.second).await?;
    let versions_differ = story.first == Kind::Stock5;
    town.goes_on(&hub, versions_differ).await.context("after the change")?;
    same(&hub, &before, versions_differ).await.context("after the change")?;

    town.grows(&hub).await.context("with the second hub")?;
    town.goes_on(&hub, false).await.context("with the second hub, after some use")?;
    let before = Inventory::of(&hub).await?;

    change(&mut hub, story.third).await?;
    town.goes_on(&hub, false).await.context("after the change back")?;
    same(&hub, &before, false).await.context("after the change back")?;
    town.goes_to_sleep(&hub).await
}

/// One hub is stopped and the other started, with an upgrade of the database where the version differs.
async fn change(hub: &mut Hub, to: Kind) -> Result<()> {
    hub.terminate().await?;
    let upgrade = hub.kind == Kind::Stock5;
    hub.kind = to;
    town::rules(hub)?;
    if upgrade {
        hub.upgrade_database().await?;
    }
    hub.start_again().await
}

/// The hub comes to know of the same things. It may look at servers and set routes after it has begun to answer.
async fn same(hub: &Hub, before: &Inventory, versions_differ: bool) -> Result<()> {
    let mut differences = Vec::new();
    let found = {
        let differences = std::cell::RefCell::new(&mut differences);
        let differences = &differences;
        eventually("the hub knows of the same things", SETTLED_WITHIN, || async move {
            let now = Inventory::of(hub).await?;
            let found = before.differences(&now, versions_differ);
            let none = found.is_empty();
            **differences.borrow_mut() = found;
            Ok(none.then_some(()))
        })
        .await
    };
    ensure!(found.is_ok(), "{:?} does not know of the same things:\n{}", hub.kind, differences.join("\n"));
    Ok(())
}
