//! `cargo xtask bench proxy`: the proxy beside configurable-http-proxy, nginx and HAProxy, same machine, same run,
//! same target. `cargo xtask bench soak`: whether memory and descriptors come back after much traffic.
//!
//! What is compared is CPU time of the proxy for each unit of work, read from `/proc`: it depends far less than
//! throughput on what else the machine does. All is measured, printed and recorded; then a mark that is missed fails the
//! run, and so does a quantity that could not be measured of ours.

mod load;
mod peers;
mod soak;
mod upstream;

use std::fs;

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use self::{
    peers::{Kind, Peer, Setup},
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
    /// Measure only the quantities whose name holds this text
    #[arg(long)]
    only: Option<String>,
}

/// What is measured, and what is wanted of it.
struct Quantity {
    name: &'static str,
    unit: &'static str,
    setup: Setup,
    /// Which proxies have a part in it.
    among: fn(&Kind) -> bool,
    measure: fn(&mut Peer, u32) -> Result<f64>,
    marks: &'static [Mark],
}

/// What is wanted of ours.
#[derive(Debug, Clone, Copy)]
enum Mark {
    /// At most this many times that of the peer named.
    Of(&'static str, f64),
    /// At most this many times ours of the quantity named.
    OfOurs(&'static str, f64),
    /// At most this.
    Most(f64),
}
use Mark::{Most, Of, OfOurs};

/// The quantity that look-up in long tables is compared with.
const SMALL: &str = "1 KiB, 64 connections";
const PLAIN: Setup = Setup { routes: 0, tls: false, saved: false };
const TLS: Setup = Setup { tls: true, ..PLAIN };

/// At least four large bodies, one for each connection.
fn bodies(requests: u32) -> u32 {
    requests.div_ceil(5_000).max(4)
}

fn everyone(_: &Kind) -> bool {
    true
}

const QUANTITIES: [Quantity; 14] = [
    Quantity {
        name: SMALL,
        unit: "CPU ms/1000",
        setup: PLAIN,
        among: everyone,
        measure: |peer, requests| peer.small(64, requests),
        marks: &[Of("nginx", 1.1), Of("CHP", 0.125)],
    },
    Quantity {
        name: "1 KiB, 512 connections",
        unit: "CPU ms/1000",
        setup: PLAIN,
        among: everyone,
        measure: |peer, requests| peer.small(512, requests),
        marks: &[Of("nginx", 1.1), Of("CHP", 0.125)],
    },
    Quantity {
        name: "1 KiB over TLS, 64 connections",
        unit: "CPU ms/1000",
        setup: TLS,
        among: everyone,
        measure: |peer, requests| peer.small(64, requests),
        marks: &[Of("nginx", 1.1), Of("CHP", 0.125)],
    },
    Quantity {
        name: "64 MiB down",
        unit: "CPU s/GiB",
        setup: PLAIN,
        among: everyone,
        measure: |peer, requests| peer.download(bodies(requests)),
        marks: &[Of("HAProxy", 1.2)],
    },
    Quantity {
        name: "64 MiB up",
        unit: "CPU s/GiB",
        setup: PLAIN,
        among: everyone,
        measure: |peer, requests| peer.upload(bodies(requests)),
        marks: &[Of("HAProxy", 1.2)],
    },
    Quantity {
        name: "memory for more than 4 GiB up",
        unit: "MiB more",
        setup: PLAIN,
        // One body is enough to see it, and the others' is not in question.
        among: |kind| matches!(kind, Kind::Ours(_)),
        measure: |peer, _| peer.huge_upload(false),
        marks: &[Most(16.0)],
    },
    Quantity {
        name: "memory for more than 4 GiB up in chunks",
        unit: "MiB more",
        setup: PLAIN,
        among: |kind| matches!(kind, Kind::Ours(_)),
        measure: |peer, _| peer.huge_upload(true),
        marks: &[Most(16.0)],
    },
    Quantity {
        name: "64 MiB down over TLS",
        unit: "CPU s/GiB",
        setup: TLS,
        among: everyone,
        measure: |peer, requests| peer.download(bodies(requests)),
        marks: &[],
    },
    Quantity {
        name: "websocket echo, 64 open",
        unit: "CPU ms/1000",
        setup: PLAIN,
        among: everyone,
        measure: |peer, requests| peer.echoes(64, requests),
        marks: &[],
    },
    Quantity {
        name: "2,000 open websockets",
        unit: "KiB each",
        setup: PLAIN,
        among: everyone,
        measure: |peer, _| peer.websocket_memory(2_000),
        marks: &[Of("CHP", 0.5), Most(8.0)],
    },
    Quantity {
        name: "1 KiB, 64 connections, 100 routes",
        unit: "CPU ms/1000",
        setup: Setup { routes: 100, ..PLAIN },
        among: Kind::has_table,
        measure: |peer, requests| peer.small(64, requests),
        marks: &[],
    },
    Quantity {
        name: "1 KiB, 64 connections, 10,000 routes",
        unit: "CPU ms/1000",
        setup: Setup { routes: 10_000, ..PLAIN },
        among: Kind::has_table,
        measure: |peer, requests| peer.small(64, requests),
        marks: &[Of("CHP", 0.125)],
    },
    Quantity {
        name: "1 KiB, 64 connections, 100,000 routes",
        unit: "CPU ms/1000",
        setup: Setup { routes: 100_000, ..PLAIN },
        // The original takes minutes to learn so many.
        among: |kind| matches!(kind, Kind::Ours(_)),
        measure: |peer, requests| peer.small(64, requests),
        marks: &[OfOurs(SMALL, 1.1)],
    },
    Quantity {
        name: "from SIGKILL to the last of 10,000 routes",
        unit: "s",
        setup: Setup { routes: 10_000, saved: true, ..PLAIN },
        // The others keep nothing: the original waits for the hub.
        among: |kind| matches!(kind, Kind::Ours(_)),
        measure: |peer, _| peer.killed_and_back(),
        marks: &[Most(1.0)],
    },
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
    let wanted: Vec<&Quantity> = QUANTITIES
        .iter()
        .filter(|quantity| args.only.as_deref().is_none_or(|text| quantity.name.contains(text)))
        .collect();
    // values[quantity][proxy] = all values
    let mut values = vec![vec![Vec::new(); kinds.len()]; wanted.len()];
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for (quantity, row) in wanted.iter().zip(&mut values) {
            for (kind, cell) in kinds.iter().zip(row).filter(|(kind, _)| (quantity.among)(kind)) {
                // A fresh process for each, so that one measurement leaves nothing for the next.
                let measured = Peer::start(kind, &upstream, quantity.setup)
                    .and_then(|mut peer| (quantity.measure)(&mut peer, args.requests));
                match measured {
                    Ok(value) => cell.push(value),
                    Err(error) => eprintln!("{}, {}: left out: {error:#}", kind.name(), quantity.name),
                }
            }
        }
    }
    let names: Vec<&str> = kinds.iter().map(Kind::name).collect();
    let medians: Vec<Vec<Option<f64>>> =
        values.iter().map(|cells| cells.iter().map(|cell| median(cell)).collect()).collect();
    let ours = |name: &str| {
        let row = wanted.iter().position(|quantity| quantity.name == name)?;
        medians.get(row)?.first().copied().flatten()
    };
    let rows: Vec<Row<'_>> = wanted
        .iter()
        .zip(&medians)
        .map(|(quantity, medians)| Row::new(quantity, &names, medians, ours))
        .collect();
    print_table(&names, &rows);
    let folder = target().join("bench");
    fs::create_dir_all(&folder)?;
    let all: Vec<Value> = rows.iter().zip(&values).map(|(row, cells)| row.report(cells)).collect();
    let report = json!({ "requests": args.requests, "rounds": args.rounds, "peers": names, "rows": all });
    fs::write(folder.join("proxy.json"), serde_json::to_string_pretty(&report)?)?;
    println!("written to {}", folder.join("proxy.json").display());
    let failed: Vec<&str> = rows.iter().filter(|row| !row.is_met()).map(|row| row.quantity.name).collect();
    ensure!(failed.is_empty(), "missed, or not measured: {}", failed.join(", "));
    Ok(())
}

/// The medians of one quantity.
struct Row<'a> {
    quantity: &'a Quantity,
    medians: &'a [Option<f64>],
    marks: Vec<Verdict>,
}

/// How ours compares with a mark.
#[derive(Debug)]
struct Verdict {
    text: String,
    /// `None` where a side of the comparison was not measured.
    met: Option<bool>,
}

impl Verdict {
    fn of(claim: &str, value: Option<f64>, most: f64) -> Self {
        let met = value.map(|value| value <= most);
        let word = match met {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        };
        Self { text: format!("{claim}: {word}"), met }
    }

    /// Of a share of something else.
    fn of_share(name: &str, share: Option<f64>, most: f64) -> Self {
        let shown = share.map(|share| format!("{share:.3} of {name}, ")).unwrap_or_default();
        let of = if share.is_some() { String::new() } else { format!(" of {name}") };
        Self::of(&format!("{shown}at most {most}{of}"), share, most)
    }
}

impl<'a> Row<'a> {
    fn new(
        quantity: &'a Quantity,
        names: &[&str],
        medians: &'a [Option<f64>],
        ours: impl Fn(&str) -> Option<f64>,
    ) -> Self {
        let own = medians.first().copied().flatten();
        let of =
            |name: &str| medians.iter().zip(names).find(|(_, known)| **known == name)?.0.as_ref().copied();
        let ratio = |other: Option<f64>| own.zip(other).map(|(own, other)| own / other);
        let marks = quantity.marks.iter().map(|mark| match *mark {
            Of(name, most) => Verdict::of_share(&format!("{name}'s"), ratio(of(name)), most),
            OfOurs(name, most) => Verdict::of_share(&format!("ours of {name:?}"), ratio(ours(name)), most),
            Most(most) => Verdict::of(&format!("at most {most} {}", quantity.unit), own, most),
        });
        let marks = marks.collect();
        Self { quantity, medians, marks }
    }

    /// Whether ours was measured and misses no mark. A peer that is not installed is no fault of ours.
    fn is_met(&self) -> bool {
        let measured = self.medians.first().is_some_and(Option::is_some);
        measured && self.marks.iter().all(|mark| mark.met != Some(false))
    }

    fn report(&self, cells: &[Vec<f64>]) -> Value {
        let Quantity { name, unit, .. } = self.quantity;
        let marks: Vec<&str> = self.marks.iter().map(|mark| mark.text.as_str()).collect();
        json!({ "quantity": name, "unit": unit, "medians": self.medians, "all": cells, "marks": marks })
    }
}

fn print_table(names: &[&str], rows: &[Row<'_>]) {
    print!("\n{:<40}{:<13}", "median", "");
    for name in names {
        print!("{name:>22}");
    }
    println!();
    for row in rows {
        print!("{:<40}{:<13}", row.quantity.name, row.quantity.unit);
        let own = row.medians.first().copied().flatten();
        for value in row.medians {
            let cell = match (value, own) {
                (Some(value), Some(own)) => format!("{value:.2} (ours x{:.2})", own / value),
                _ => "-".to_owned(),
            };
            print!("{cell:>22}");
        }
        println!();
        for mark in &row.marks {
            println!("    {}", mark.text);
        }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(medians: &[Option<f64>]) -> Row<'_> {
        static QUANTITY: Quantity = Quantity {
            name: "x",
            unit: "s",
            setup: PLAIN,
            among: everyone,
            measure: |_, _| Ok(0.0),
            marks: &[Of("nginx", 1.1), Of("HAProxy", 1.2), Most(8.0)],
        };
        Row::new(&QUANTITY, &["ours", "nginx"], medians, |_| None)
    }

    #[test]
    fn a_missed_mark_and_what_is_not_measured_of_ours_fail() {
        let met = row(&[Some(1.0), Some(1.0)]);
        assert!(met.is_met());
        let texts: Vec<&str> = met.marks.iter().map(|mark| mark.text.as_str()).collect();
        let expected = [
            "1.000 of nginx's, at most 1.1: met",
            "at most 1.2 of HAProxy's: not measured",
            "at most 8 s: met",
        ];
        assert_eq!(texts, expected);
        assert!(row(&[Some(1.0), None]).is_met());
        for missed in [[Some(1.2), Some(1.0)], [Some(8.1), Some(8.0)], [Some(8.1), None], [None, Some(1.0)]] {
            assert!(!row(&missed).is_met(), "{missed:?}");
        }
    }
}
