//! The same requests, in the same order, to stock JupyterHub and to Himalia, which run side by side with the same
//! configuration: status, headers and bodies must be the same.
//!
//! The requests are the lines of `scenarios/*.txt`, in the order of `world.rs`; `scenario.rs` tells how a line is
//! written. A line may name a difference that is meant: then the answers may differ in what the line says and in
//! nothing else, `docs/compatibility.md` must tell about it under the same key, and it must be seen at least once in
//! a run. In the end both hubs must have counted the same kinds of requests in their metrics.

mod answer;
mod callers;
mod counted;
mod scenario;
mod side;
mod sides;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use hub_tests::database;
use hub_tests::environment::{Needed, available, database_server};
use hub_tests::hub::Kind;
use jupyterhub_api_compat::endpoints::{ENDPOINTS, Endpoint, Segment};

use self::scenario::{INSTEAD_OF_500, Line, Step, lines};
use self::sides::{EVERYWHERE, Sides};
use self::world::{STRICT, USUAL, World};

#[tokio::test]
async fn on_sqlite_the_answers_are_those_of_stock() -> Result<()> {
    compare([Kind::Stock, Kind::Himalia], &USUAL, None).await
}

#[tokio::test]
async fn on_postgresql_and_below_another_path_the_answers_are_those_of_stock() -> Result<()> {
    let world = World { base_url: "/hubs/", ..USUAL };
    compare([Kind::Stock, Kind::Himalia], &world, Some("HIMALIA_TEST_POSTGRES_URL")).await
}

#[tokio::test]
async fn at_the_limits_and_beside_a_proxy_of_its_own_the_answers_are_those_of_stock() -> Result<()> {
    compare([Kind::Stock, Kind::Himalia], &STRICT, None).await
}

#[tokio::test]
async fn at_the_limits_on_postgresql_and_below_another_path_the_answers_are_those_of_stock() -> Result<()> {
    let world = World { base_url: "/hubs/", ..STRICT };
    compare([Kind::Stock, Kind::Himalia], &world, Some("HIMALIA_TEST_POSTGRES_URL")).await
}

/// What differs from run to run must not look like a difference: two stock hubs have none.
#[tokio::test]
async fn reference_two_stock_hubs_answer_alike() -> Result<()> {
    compare([Kind::Stock, Kind::Stock], &USUAL, None).await
}

async fn compare(kinds: [Kind; 2], world: &World, server: Option<&str>) -> Result<()> {
    let needs: Vec<Needed> = kinds.iter().flat_map(|kind| kind.needs()).copied().collect();
    if !available(&[needs.as_slice(), &[Needed::LightSingleuser]].concat()) {
        return Ok(());
    }
    let mut databases = [None, None];
    if let Some(variable) = server {
        let Some(server) = database_server(variable) else { return Ok(()) };
        for database in &mut databases {
            *database = Some(database::create(&server).await?);
        }
    }
    let mut sides = Sides::start(kinds, world, databases).await?;
    let intended = kinds[0] != kinds[1];
    let (mut asked, mut report) = (0_usize, Vec::new());
    for line in lines(world.scenarios)? {
        let Line { scenario, number, step, .. } = &line;
        let found = match step {
            Step::Ask(ask) => {
                asked += ask.callers.len();
                sides.ask(ask, intended).await?
            }
            Step::Do(what) => sides.carry_out(what).await?,
        };
        report.extend(found.into_iter().map(|difference| format!("{scenario}.txt:{number}: {difference}")));
    }
    if intended {
        let keys = intended_keys(world)?;
        let gone = keys.into_iter().filter(|key| !sides.seen().contains(key));
        report.extend(gone.map(|key| format!("nothing differs any more by {key}")));
    }
    report.extend(sides.counted_by_one().await?);
    println!("{asked} requests to each hub, {} unintended differences", report.len());
    ensure!(report.is_empty(), "{} differences:\n{}", report.len(), report.join("\n"));
    ensure!(asked >= world.fewest, "only {asked} requests");
    Ok(())
}

/// Keys of all differences that are meant in a world.
fn intended_keys(world: &World) -> Result<BTreeSet<String>> {
    let of_lines = lines(world.scenarios)?.into_iter().flat_map(|line| match line.step {
        Step::Ask(ask) => {
            let instead = ask.instead_of_500.as_ref().map(|_| INSTEAD_OF_500.to_owned());
            ask.intended.map(|intended| intended.key).into_iter().chain(instead).collect()
        }
        Step::Do(_) => Vec::new(),
    });
    Ok(of_lines.chain(EVERYWHERE.iter().map(|(key, ..)| (*key).to_owned())).collect())
}

/// The endpoint that a request of a scenario goes to, if it is one of the table.
fn endpoint_of(method: &str, path: &str) -> Option<&'static Endpoint> {
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').skip(1).collect() };
    let fits = |endpoint: &&Endpoint| {
        let segments: Vec<Segment> = endpoint.segments().collect();
        segments.len() == parts.len()
            && segments.iter().zip(&parts).all(|(segment, part)| match segment {
                Segment::Literal(text) => text == part,
                Segment::Param { may_be_empty, .. } => *may_be_empty || !part.is_empty(),
            })
    };
    // Literal segments win over arguments, as in the router.
    let literals = |endpoint: &&Endpoint| {
        endpoint.segments().filter(|segment| matches!(segment, Segment::Literal(_))).count()
    };
    ENDPOINTS.iter().filter(|endpoint| endpoint.method.as_str() == method).filter(fits).max_by_key(literals)
}

#[test]
fn every_endpoint_is_asked_by_every_kind_of_caller() {
    let mut callers: BTreeMap<(&str, &str), BTreeSet<String>> = BTreeMap::new();
    for line in lines(USUAL.scenarios).unwrap() {
        if let Step::Ask(ask) = &line.step
            && let Some(path) = ask.api_path()
            && let Some(endpoint) = endpoint_of(&ask.method, path)
        {
            let known = callers.entry((endpoint.method.as_str(), endpoint.path)).or_default();
            known.extend(ask.callers.iter().cloned());
        }
    }
    for endpoint in ENDPOINTS.iter().filter(|endpoint| !endpoint.extension) {
        let known = callers.remove(&(endpoint.method.as_str(), endpoint.path)).unwrap_or_default();
        let all = callers::everybody();
        let missing: Vec<&&str> = all.iter().filter(|name| !known.contains(**name)).collect();
        // Whoever may shut the hub down would end the comparison.
        let expected = if endpoint.path == "/shutdown" { &["admin", "page"][..] } else { &[] };
        let missing: Vec<_> = missing.into_iter().filter(|name| !expected.contains(name)).collect();
        assert!(missing.is_empty(), "{:?} {} is not asked by {missing:?}", endpoint.method, endpoint.path);
    }
}

#[test]
fn every_intended_difference_is_explained_and_every_explained_one_is_asserted() {
    let text = include_str!("../../../../docs/compatibility.md");
    let documented: BTreeSet<String> = text
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned()))
        // Rows that begin with a setting or an address are no keys.
        .filter(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        .collect();
    let mut meant = intended_keys(&USUAL).unwrap();
    meant.extend(intended_keys(&STRICT).unwrap());
    assert_eq!(documented, meant, "keys of docs/compatibility.md and of the scenarios");
}
