//! Tasks around the workspace: run a hub, test everything, compare speed with the peer.
//!
//! `cargo xtask run` and `cargo xtask test` need only Rust, Node and Python; what else they use they install into a
//! cache folder (`$HIMALIA_CACHE`, else `~/.cache/himalia`) or, as root, through `apt-get`.

mod bench;
mod bench_proxy;
mod cache;
mod command;
mod corpus;
mod counts;
mod databases;
mod environments;
mod examples;
mod fuzz;
mod kubebed;
mod packages;
mod run;
mod stages;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Runs, tests and benches the workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build and start a hub with JupyterLab for this user, without any configuration
    Run(run::RunArgs),
    /// Install what the tests need and run all stages, or the ones named
    Test(stages::TestArgs),
    /// Measure beside the peers: start time and idle memory of the hub, or the part named
    #[command(args_conflicts_with_subcommands = true)]
    Bench {
        #[command(subcommand)]
        part: Option<BenchPart>,
        #[command(flatten)]
        args: bench::BenchArgs,
    },
    /// Compare what the Kubernetes spawner makes of recorded configurations with what KubeSpawner made of them
    Corpus(corpus::CorpusArgs),
    /// Print the variables that the tests read, as shell exports, to run single tests by hand
    Env {
        /// Build the Kubernetes cluster of the tests as well, which takes minutes the first time
        #[arg(long)]
        kubernetes: bool,
    },
    /// Remove the cache folder
    CleanCache,
}

#[derive(Debug, Subcommand)]
enum BenchPart {
    /// The REST API and the start of the hub with many users, beside the stock hub
    Api(bench::ApiArgs),
    /// The proxy beside configurable-http-proxy, nginx and HAProxy
    Proxy(bench_proxy::ProxyArgs),
    /// Much traffic over dying targets, the proxy and configurable-http-proxy one after the other
    Soak(bench_proxy::SoakArgs),
    /// The target of the two; started by them
    #[command(hide = true)]
    Upstream(bench_proxy::UpstreamArgs),
}

fn main() -> Result<ExitCode> {
    match Cli::parse().task {
        Task::Run(args) => run::run(&args)?,
        Task::Test(args) => return stages::test(&args),
        Task::Bench { part: None, args } => bench::bench(&args)?,
        Task::Bench { part: Some(BenchPart::Api(args)), .. } => {
            return Ok(if bench::bench_api(&args)? { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Task::Bench { part: Some(BenchPart::Proxy(args)), .. } => bench_proxy::bench(&args)?,
        Task::Bench { part: Some(BenchPart::Soak(args)), .. } => bench_proxy::soak(&args)?,
        Task::Bench { part: Some(BenchPart::Upstream(args)), .. } => bench_proxy::serve(&args)?,
        Task::Corpus(args) => return corpus::corpus(&args),
        Task::Env { kubernetes } => {
            let cache = cache::Cache::open()?;
            let mut variables = environments::prepare_all(&cache)?.variables();
            if kubernetes {
                variables.extend(kubebed::prepare(&cache)?);
            }
            for (name, value) in variables {
                println!("export {name}='{value}'");
            }
        }
        Task::CleanCache => cache::Cache::open()?.remove()?,
    }
    Ok(ExitCode::SUCCESS)
}
