//! Much traffic over dying targets: what is left of it in memory and descriptors.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::{
    load::{Connection, get},
    peers::{Kind, Peer, Setup},
    upstream::Upstream,
};
use crate::command::{cargo, free_port, pause, run, target};

/// Idle connections to targets are closed after a minute; what is left then is lost.
const SETTLE: Duration = Duration::from_secs(75);
/// How much memory may be in use at the end, of that at the base line: allocators and the system give back in steps.
const PERCENT_OF_MEMORY: u64 = 115;
/// How many more descriptors may be open at the end.
const MORE_DESCRIPTORS: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct SoakArgs {
    /// Requests
    #[arg(long, default_value_t = 1_000_000)]
    requests: u32,
    /// Websockets opened and closed again
    #[arg(long, default_value_t = 100_000)]
    websockets: u32,
    /// Clients at the same time
    #[arg(long, default_value_t = 64)]
    clients: u32,
    /// Minutes after which configurable-http-proxy's part ends, done or not; what it did until then is recorded
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..))]
    original_minutes: u64,
}

impl SoakArgs {
    /// Time for the traffic of a proxy, where it is bounded.
    fn limit(&self, kind: &Kind) -> Option<Duration> {
        matches!(kind, Kind::Original(_)).then(|| Duration::from_mins(self.original_minutes))
    }
}

/// Counts of one run.
#[derive(Debug, Default)]
struct Counts {
    served: AtomicU32,
    refused: AtomicU32,
    broken: AtomicU32,
    websockets: AtomicU32,
}

pub(crate) fn soak(args: &SoakArgs) -> Result<()> {
    run(cargo().args([
        "build",
        "--release",
        "--package",
        "hub-proxy",
        "--example",
        "configurable-http-proxy",
    ]))?;
    let mut rows = Vec::new();
    let mut missed = Vec::new();
    for kind in Kind::available()?.iter().filter(|kind| kind.has_table()) {
        let (row, wrong) = soak_one(kind, args)?;
        println!("{row}");
        if matches!(kind, Kind::Ours(_)) {
            missed = wrong;
        }
        rows.push(row);
    }
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("soak.json"), serde_json::to_string_pretty(&rows)?)?;
    println!("written to {}", folder.join("soak.json").display());
    ensure!(missed.is_empty(), "{}", missed.join("; "));
    Ok(())
}

/// Whether as much was done as the targets that live allow.
fn is_enough(done: u32, asked: u32) -> bool {
    u64::from(done) * 3 >= u64::from(asked) * 2
}

/// What one proxy did, and what of it is not as it should be.
fn soak_one(kind: &Kind, args: &SoakArgs) -> Result<(Value, Vec<&'static str>)> {
    let steady = [Upstream::start()?, Upstream::start()?];
    let dying = free_port()?;
    let first = steady.first().context("there are two targets")?;
    let peer = Peer::start(kind, first, Setup { routes: 0, tls: false, saved: false })?;
    for (number, upstream) in steady.iter().enumerate() {
        peer.add_route(&format!("/user/{number}"), upstream.address)?;
    }
    peer.add_route("/user/2", ([127, 0, 0, 1], dying).into())?;
    let limit = args.limit(kind);
    let asked = Asked { clients: args.clients, requests: args.requests, websockets: args.websockets, limit };
    // The base line is that of a process that has worked, as allocators keep what they once had.
    asked.tenth().send(&peer, &Counts::default())?;
    pause(SETTLE);
    let (memory, descriptors) = (peer.memory(), peer.descriptors());
    let counts = Counts::default();
    let over = AtomicBool::new(false);
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        let killing = scope.spawn(|| -> Result<()> {
            while !over.load(Relaxed) {
                let _alive = Upstream::start_at(dying)?;
                pause(Duration::from_secs(2));
            }
            Ok(())
        });
        let done = asked.send(&peer, &counts);
        over.store(true, Relaxed);
        killing.join().map_err(|_| anyhow::anyhow!("the thread that kills targets panicked"))??;
        done
    })?;
    let seconds = start.elapsed().as_secs();
    pause(SETTLE);
    let (memory_now, descriptors_now) = (peer.memory(), peer.descriptors());
    let returned =
        memory_now * 100 <= memory * PERCENT_OF_MEMORY && descriptors_now <= descriptors + MORE_DESCRIPTORS;
    let opened = counts.websockets.load(Relaxed);
    let missed = [
        (returned, "memory or descriptors did not return to the base line"),
        (
            is_enough(counts.served.load(Relaxed), args.requests),
            "fewer than two thirds of the requests were answered",
        ),
        (is_enough(opened, args.websockets), "fewer than two thirds of the websockets were opened"),
    ];
    let row = json!({
        "peer": kind.name(),
        "seconds": seconds,
        "limited_to_seconds": limit.map(|limit| limit.as_secs()),
        "requests": args.requests,
        "answered": counts.served.load(Relaxed),
        "answered_503": counts.refused.load(Relaxed),
        "websockets_asked": args.websockets,
        "websockets": opened,
        "broken": counts.broken.load(Relaxed),
        "memory_kib": [memory, memory_now],
        "descriptors": [descriptors, descriptors_now],
        "returned": returned,
    });
    Ok((row, missed.into_iter().filter(|(met, _)| !met).map(|(_, what)| what).collect()))
}

/// Traffic for a proxy.
#[derive(Debug, Clone, Copy)]
struct Asked {
    clients: u32,
    requests: u32,
    websockets: u32,
    /// When it ends though not all was asked for.
    limit: Option<Duration>,
}

impl Asked {
    fn tenth(self) -> Self {
        let Self { clients, requests, websockets, limit } = self;
        Self {
            clients,
            requests: requests / 10,
            websockets: websockets / 10,
            limit: limit.map(|all| all / 10),
        }
    }

    /// Requests and websockets to three routes in turn. What breaks with its target is counted.
    fn send(self, peer: &Peer, counts: &Counts) -> Result<()> {
        let Self { clients, requests, websockets, limit } = self;
        let end = limit.map(|limit| Instant::now() + limit);
        let next = AtomicU32::new(0);
        let every = requests.checked_div(websockets).map_or(u32::MAX, |every| every.max(1));
        std::thread::scope(|scope| {
            let one = || {
                let mut kept: Option<Connection> = None;
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= requests || end.is_some_and(|end| Instant::now() >= end) {
                        return;
                    }
                    let path = format!("/user/{}/x", number % 3);
                    if number.is_multiple_of(every) {
                        let opened = Connection::small(peer.address).and_then(|mut connection| {
                            connection.upgrade(&path)?;
                            connection.echo(b"hello")
                        });
                        let counter = if opened.is_ok() { &counts.websockets } else { &counts.broken };
                        counter.fetch_add(1, Relaxed);
                    }
                    let asked = kept.take().map_or_else(|| Connection::open(peer.address), Ok).and_then(
                        |mut connection| {
                            let (status, _) = connection.ask(&get(&path))?;
                            Ok((connection, status))
                        },
                    );
                    match asked {
                        Ok((connection, status)) => {
                            let counter = if status == 200 { &counts.served } else { &counts.refused };
                            counter.fetch_add(1, Relaxed);
                            kept = Some(connection);
                        }
                        Err(_) => {
                            counts.broken.fetch_add(1, Relaxed);
                        }
                    }
                }
            };
            for _ in 0..clients {
                std::thread::Builder::new().stack_size(256 * 1024).spawn_scoped(scope, one)?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_what_is_asked_may_be_lost_with_the_dying_target_and_no_more() {
        assert!(is_enough(667, 1000) && is_enough(2, 3) && is_enough(0, 0));
        assert!(!is_enough(666, 1000) && !is_enough(0, 1) && is_enough(u32::MAX, u32::MAX));
    }
}
