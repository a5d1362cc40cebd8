//! `cargo xtask bench proxy`: the proxy beside configurable-http-proxy, nginx and HAProxy, same machine, same run,
//! same target. `cargo xtask bench soak`: whether memory and descriptors come back after much traffic.
//!
//! What is compared is CPU time of the proxy for each unit of work, read from `/proc`: it depends far less than
//! throughput on what else the machine does. Recorded, not asserted.

mod load;
mod peers;
mod soak;
mod upstream;

use std::fs;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use self::{
    peers::{Kind, Peer},
    upstream::Upstream,
};
pub(crate) use self::{soak::SoakArgs, soak::soak, upstream::UpstreamArgs, upstream::serve};
use crate::command::{cargo, run, target};

#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Requests for each measurement with small answers; large bodies and websockets follow from it
    #[arg(long, default_value_t = 40_000, value_parser = clap::value_parser!(u32).range(1000..))]
    requests: u32,
    /// Rounds; the proxies take turns, and the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Routes beside the one that is measured, for the proxies that have a table
    #[arg(long, default_value_t = 10_000)]
    routes: u32,
}

/// One quantity of one proxy; `None` where the proxy cannot do it.
type Measure = fn(&Peer, &Upstream, u32) -> Result<f64>;

/// Name, unit and measurement.
const QUANTITIES: [(&str, &str, Measure); 6] = [
    ("1 KiB, 64 connections", "CPU ms/1000", |peer, _, requests| peer.small(64, requests)),
    ("1 KiB, 512 connections", "CPU ms/1000", |peer, _, requests| peer.small(512, requests)),
    ("64 MiB down", "CPU s/GiB", |peer, _, requests| peer.download(requests.div_ceil(5_000).max(4))),
    ("64 MiB up", "CPU s/GiB", |peer, _, requests| peer.upload(requests.div_ceil(5_000).max(4))),
    ("websocket echo, 64 open", "CPU ms/1000", |peer, _, requests| peer.echoes(64, requests)),
    ("2,000 open websockets", "KiB each", |peer, _, _| peer.websocket_memory(2_000)),
];

pub(crate) fn bench(args: &ProxyArgs) -> Result<()> {
    run(cargo().args([
        "build",
        "--release",
        "--package",
        "hub-proxy",
        "--example",
        "configurable-http-proxy",
    ]))?;
    let kinds = Kind::available()?;
    let upstream = Upstream::start()?;
    // rows[quantity][proxy] = all values
    let mut values = vec![vec![Vec::new(); kinds.len()]; QUANTITIES.len() + 1];
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for (column, kind) in kinds.iter().enumerate() {
            for ((what, _, measure), row) in QUANTITIES.iter().zip(&mut values) {
                // A fresh process for each, so that one measurement leaves nothing for the next.
                let peer = Peer::start(kind, &upstream, 0)?;
                match (measure(&peer, &upstream, args.requests), row.get_mut(column)) {
                    (Ok(value), Some(cell)) => cell.push(value),
                    (Err(error), _) => eprintln!("{}, {what}: left out: {error:#}", kind.name()),
                    (Ok(_), None) => {}
                }
            }
            if kind.has_table() {
                let peer = Peer::start(kind, &upstream, args.routes)?;
                let value = peer.small(64, args.requests)?;
                if let Some(cell) = values.last_mut().and_then(|row| row.get_mut(column)) {
                    cell.push(value);
                }
            }
        }
    }
    let names: Vec<&str> = kinds.iter().map(Kind::name).collect();
    let table_row = (format!("1 KiB, 64 connections, {} routes", args.routes), "CPU ms/1000");
    let labels = QUANTITIES.iter().map(|(name, unit, _)| ((*name).to_owned(), *unit)).chain([table_row]);
    let rows: Vec<Value> = labels
        .zip(&values)
        .map(|((name, unit), cells)| {
            let medians: Vec<Value> = cells.iter().map(|cell| json!(median(cell))).collect();
            json!({ "quantity": name, "unit": unit, "medians": medians, "all": cells })
        })
        .collect();
    print_table(&names, &rows);
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    let report = json!({ "requests": args.requests, "rounds": args.rounds, "peers": names, "rows": rows });
    fs::write(folder.join("proxy.json"), serde_json::to_string_pretty(&report)?)?;
    println!("written to {}", folder.join("proxy.json").display());
    Ok(())
}

fn print_table(names: &[&str], rows: &[Value]) {
    print!("\n{:<38}{:<13}", "median", "");
    for name in names {
        print!("{name:>22}");
    }
    println!();
    for row in rows {
        let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        print!("{:<38}{:<13}", text("quantity"), text("unit"));
        let medians = row.get("medians").and_then(Value::as_array).cloned().unwrap_or_default();
        let own = medians.first().and_then(Value::as_f64);
        for value in &medians {
            let cell = match (value.as_f64(), own) {
                (Some(value), Some(own)) => format!("{value:.2} (ours x{:.2})", own / value),
                _ => "-".to_owned(),
            };
            print!("{cell:>22}");
        }
        println!();
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
