//! `cargo xtask bench api`: CPU time a request of the REST API, and the start of a hub with many users and many
//! recorded servers; the stock hub beside ours in the same run.
//!
//! Requests go to the public port, so that the proxy's work counts, too.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::hubs::{Peer, Settings};
use super::large::{self, Town};
use super::write_report;

/// Token of the service that asks.
pub(super) const TOKEN: &str = "token-of-the-benchmark-service";
/// Requests of each kind that are not measured: the first ones fill caches.
const WARM_UP: u32 = 20;

#[derive(Debug, Args)]
pub(crate) struct ApiArgs {
    /// Requests of each kind to each hub
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// Users in the database
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    users: u32,
    /// Servers that run when the hub starts, of as many users
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    servers: u32,
}

/// A kind of request: its name, method, path below `/hub/api`, and body, in which [`NUMBER`] stands for the number of the
/// request: what is reported again and again is later each time.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("GET /user", "GET", "/user", ""),
    ("GET /users?limit=200", "GET", "/users?limit=200", ""),
    ("POST activity", "POST", "/users/u1/activity", r#"{"last_activity": "2026-02-01T00:00:00.NUMBERZ"}"#),
    ("POST tokens", "POST", "/users/u1/tokens", r#"{"note": "bench"}"#),
];

/// See [`KINDS`]; six digits are put in its place.
const NUMBER: &str = "NUMBER";

/// Measures both hubs, one after the other, and prints the tables.
pub(crate) fn bench(args: &ApiArgs) -> Result<()> {
    ensure!(args.servers <= args.users, "--servers: each belongs to another of the {} users", args.users);
    let [ours, stock] = Peer::both()?;
    let town = Town::build(&stock, &settings(), args.users, args.servers)?;

    let of_ours = requests(&ours, &town, args.requests)?;
    let of_stock = requests(&stock, &town, args.requests)?;
    println!("\n{:<28}{:>16}{:>20}{:>12}", "CPU ms a request", ours.name(), stock.name(), "stock/ours");
    let mut rows = Vec::new();
    for (((name, ..), ours), stock) in KINDS.iter().zip(of_ours).zip(of_stock) {
        rows.push(row(name, ours, stock));
    }
    let started = large::start(&ours, &town, &settings())?;
    let stock_started = large::start(&stock, &town, &settings())?;
    println!(
        "\n{:<28}{:>16}{:>20}{:>12}",
        format!("{} users, {} servers", args.users, args.servers),
        ours.name(),
        stock.name(),
        "stock/ours"
    );
    let mut start_rows = Vec::new();
    for ((name, ours), (_, stock)) in started.rows().into_iter().zip(stock_started.rows()) {
        start_rows.push(row(name, ours, stock));
    }
    let report = json!({
        "requests": args.requests, "users": args.users, "servers": args.servers,
        "cpu_ms_per_request": rows, "start": start_rows,
    });
    write_report("api", &report)
}

fn row(name: &str, ours: f64, stock: f64) -> Value {
    println!("{name:<28}{ours:>16.3}{stock:>20.3}{:>12.1}", stock / ours);
    json!({ "quantity": name, "himalia": ours, "stock": stock, "ratio": stock / ours })
}

/// A service that may ask for all that is measured.
fn settings() -> Settings {
    let scopes = json!(["admin:users", "list:users", "read:users", "tokens", "users:activity"]);
    Settings {
        himalia: format!(
            "[[services]]\nname = \"bench\"\napi_token = \"{TOKEN}\"\n\
             [[roles]]\nname = \"bench\"\nscopes = {scopes}\nservices = [\"bench\"]\n"
        ),
        stock: format!(
            "c.JupyterHub.services = [{{'name': 'bench', 'api_token': '{TOKEN}'}}]\n\
             c.JupyterHub.load_roles = [{{'name': 'bench', 'scopes': {scopes}, 'services': ['bench']}}]\n"
        ),
    }
}

/// CPU milliseconds a request of each of [`KINDS`].
fn requests(peer: &Peer, town: &Town, count: u32) -> Result<Vec<f64>> {
    let folder = town.copy(false)?;
    let running = peer.launch(folder.path(), &settings())?;
    let mut client = Client::connect(running.port, TOKEN)?;
    let mut found = Vec::new();
    for (name, method, path, body) in KINDS {
        let mut ask = |number: u32| {
            let (status, _) = client.ask(method, path, &body.replace(NUMBER, &format!("{number:06}")))?;
            ensure!((200..300).contains(&status), "{}: {name} answers {status}", peer.name());
            Ok(())
        };
        (0..WARM_UP).try_for_each(&mut ask)?;
        let before = cpu(running.pid())?;
        (WARM_UP..WARM_UP + count).try_for_each(&mut ask)?;
        found.push((cpu(running.pid())? - before) / 1e6 / f64::from(count));
    }
    Ok(found)
}

/// CPU time in nanoseconds of a process and all below it.
fn cpu(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for task in fs::read_dir(Path::new("/proc").join(pid.to_string()).join("task"))?.flatten() {
        // A thread may end between the two looks.
        let Ok(text) = fs::read_to_string(task.path().join("schedstat")) else { continue };
        sum += text.split(' ').next().unwrap_or_default().parse::<f64>().context("no CPU time")?;
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            sum += cpu(child.parse()?)?;
        }
    }
    Ok(sum)
}
