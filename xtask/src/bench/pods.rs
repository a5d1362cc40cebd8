//! `cargo xtask bench kube`: many pods and many starts on the cluster of the tests, KubeSpawner beside where it can
//! follow. The measuring is done by the tests in `kubernetes::load`, which print the figures.

use anyhow::Result;
use clap::Args;

use crate::cache::Cache;
use crate::command::{cargo, run, target};
use crate::{environments, kubebed};

#[derive(Debug, Args)]
pub(crate) struct KubeArgs {
    /// Pods that run when a hub begins
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pods: u32,
    /// Starts at once
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    starts: u32,
    /// Only the measurements whose name contains this: crowd or rush
    only: Option<String>,
}

pub(crate) fn bench(args: &KubeArgs) -> Result<()> {
    let cache = Cache::open()?;
    let environments = environments::prepare_all(&cache)?;
    let cluster = kubebed::prepare(&cache)?;
    run(cargo().args(["build", "--release", "--package", "himalia", "--package", "light-singleuser"]))?;
    let release = target().join("release");
    let filter = format!("kubernetes::load::{}", args.only.as_deref().unwrap_or_default());
    let mut measure = cargo();
    measure
        .args(["test", "--workspace", "--test", "end_to_end", "--", "--ignored", "--nocapture"])
        .args(["--test-threads", "1", &filter])
        .envs(environments.variables())
        .envs(cluster)
        .env("HIMALIA_TEST_BINARY", release.join("himalia"))
        .env("HIMALIA_TEST_LIGHT_SINGLEUSER", release.join("light-singleuser"))
        .env("HIMALIA_BENCH_PODS", args.pods.to_string())
        .env("HIMALIA_BENCH_STARTS", args.starts.to_string());
    run(&mut measure)
}
