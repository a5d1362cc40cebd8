//! `cargo xtask bench api`: CPU time a request of the REST API, and the start of a hub with many users and many
//! recorded servers; the stock hub beside ours in the same run, the two in turns.
//!
//! Requests go to the public port: what is counted is the stock hub and configurable-http-proxy together on the one
//! hand, and our one process, proxy included, on the other. With `--direct` they go to the hubs' own ports, past both
//! proxies. The client is this program, which is not counted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::hubs::{Peer, Settings};
use super::large::{self, Town};
use super::{Spread, write_report};

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
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Ask the hubs' own ports, without their proxies
    #[arg(long)]
    direct: bool,
    /// A program that is built already, in place of a release build
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// How many times less CPU time a request of each kind is to take than with the stock hub.
const LEAST_RATIO: f64 = 20.0;
/// In how many milliseconds the hub is to answer its first request that needs the database.
const LONGEST_START: f64 = 1000.0;

/// A kind of request: its name, method, path below `/hub/api`, and body, in which [`NUMBER`] stands for the number of
/// the request: what is reported again and again is later each time.
const KINDS: [(&str, &str, &str, &str); 4] = [
    ("GET /user", "GET", "/user", ""),
    ("GET /users?limit=200", "GET", "/users?limit=200", ""),
    ("POST activity", "POST", "/users/u1/activity", r#"{"last_activity": "2026-02-01T00:00:00.NUMBERZ"}"#),
    ("POST tokens", "POST", "/users/u1/tokens", r#"{"note": "bench"}"#),
];

/// See [`KINDS`]; six digits are put in its place.
const NUMBER: &str = "NUMBER";

/// Measures both hubs and prints the tables. Whether all that is asked for was met.
pub(crate) fn bench(args: &ApiArgs) -> Result<bool> {
    ensure!(args.servers <= args.users, "--servers: each belongs to another of the {} users", args.users);
    let peers = Peer::both(args.binary.as_deref())?;
    let [ours, stock] = &peers;
    let town = Town::build(stock, &settings(), args.users, args.servers)?;

    let mut cpu = [const { [const { Vec::new() }; KINDS.len()] }; 2];
    let mut starts = [const { Vec::new() }; 2];
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for ((peer, kinds), starts) in peers.iter().zip(&mut cpu).zip(&mut starts) {
            for (values, value) in kinds.iter_mut().zip(requests(peer, &town, args)?) {
                values.push(value);
            }
            starts.push(large::start(peer, &town, &settings())?);
        }
    }
    let [cpu_of_ours, cpu_of_stock] = cpu;
    let kinds = KINDS.iter().zip(cpu_of_ours).zip(cpu_of_stock);
    let rows: Vec<Row> = kinds
        .map(|(((name, ..), ours), stock)| Row::of(name, ours, stock, Mark::Ratio(LEAST_RATIO)))
        .collect();
    let [starts_of_ours, starts_of_stock] = starts;
    let start_rows: Vec<Row> = large::QUANTITIES
        .iter()
        .map(|(name, value)| {
            let mark = if *name == large::ANSWERS { Mark::Most(LONGEST_START) } else { Mark::None };
            let values = |starts: &[large::Started]| starts.iter().map(value).collect();
            Row::of(name, values(&starts_of_ours), values(&starts_of_stock), mark)
        })
        .collect();

    let heading = |title: &str| {
        println!("\n{title:<28}{:>16}{:>20}{:>12}", ours.name(), stock.name(), "stock/ours");
    };
    heading(if args.direct { "CPU ms a request, direct" } else { "CPU ms a request" });
    rows.iter().for_each(Row::print);
    heading(&format!("{} users, {} servers", args.users, args.servers));
    start_rows.iter().for_each(Row::print);
    let all = |rows: &[Row]| rows.iter().map(Row::report).collect::<Vec<Value>>();
    let report = json!({
        "requests": args.requests, "rounds": args.rounds, "users": args.users, "servers": args.servers,
        "direct": args.direct, "cpu_ms_per_request": all(&rows), "start": all(&start_rows),
    });
    write_report("api", &report)?;
    Ok(rows.iter().chain(&start_rows).all(|row| row.is_met() != Some(false)))
}

/// What is wanted of ours.
#[derive(Debug, Clone, Copy)]
enum Mark {
    /// At least so many times less than with the stock hub.
    Ratio(f64),
    /// At most this.
    Most(f64),
    /// It is only told.
    None,
}

/// The medians of one quantity.
#[derive(Debug)]
struct Row {
    name: &'static str,
    ours: Spread,
    stock: Spread,
    mark: Mark,
}

impl Row {
    fn of(name: &'static str, ours: Vec<f64>, stock: Vec<f64>, mark: Mark) -> Self {
        Self { name, ours: Spread::of(ours), stock: Spread::of(stock), mark }
    }

    fn ratio(&self) -> f64 {
        self.stock.median / self.ours.median
    }

    /// Whether it is as it is wanted, where anything is.
    fn is_met(&self) -> Option<bool> {
        match self.mark {
            Mark::Ratio(least) => Some(self.ratio() >= least),
            Mark::Most(most) => Some(self.ours.median <= most),
            Mark::None => None,
        }
    }

    fn verdict(&self) -> Option<String> {
        let met = if self.is_met()? { "met" } else { "missed" };
        match self.mark {
            Mark::Ratio(least) => Some(format!("at least {least} times less: {met}")),
            Mark::Most(most) => Some(format!("at most {most}: {met}")),
            Mark::None => None,
        }
    }

    fn print(&self) {
        let (ours, stock) = (self.ours.median, self.stock.median);
        let verdict = self.verdict().unwrap_or_default();
        println!("{:<28}{ours:>16.3}{stock:>20.3}{:>12.1}  {verdict}", self.name, self.ratio());
    }

    fn report(&self) -> Value {
        json!({
            "quantity": self.name, "himalia": self.ours.json(), "stock": self.stock.json(), "ratio": self.ratio(),
            "mark": self.verdict(),
        })
    }
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
fn requests(peer: &Peer, town: &Town, args: &ApiArgs) -> Result<Vec<f64>> {
    let count = args.requests;
    let folder = town.copy(false)?;
    let running = peer.launch(folder.path(), &settings())?;
    let port = if args.direct { running.hub_port } else { running.port };
    let mut client = Client::connect(port, TOKEN)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_met_by_the_medians() {
        let row = |mark| Row::of("x", vec![1.0, 9.0, 2.0], vec![90.0, 1.0, 50.0], mark);
        assert_eq!(row(Mark::Ratio(25.0)).is_met(), Some(true));
        assert_eq!(row(Mark::Ratio(25.1)).is_met(), Some(false));
        assert_eq!(row(Mark::Most(2.0)).is_met(), Some(true));
        assert_eq!(row(Mark::Most(1.9)).verdict().as_deref(), Some("at most 1.9: missed"));
        assert_eq!(row(Mark::None).is_met(), None);
    }
}
