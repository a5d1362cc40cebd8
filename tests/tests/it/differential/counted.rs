//! The requests that a hub has counted in its metrics.

use std::collections::BTreeSet;

use anyhow::{Context, Result};

/// Methods, handlers and statuses.
pub(super) type Counted = BTreeSet<(String, String, u16)>;

/// The series that count requests.
const SERIES: &str = "jupyterhub_request_duration_seconds_count{";

/// Error pages, which a proxy beside the hub asks for when it happens to find a hub that is just ending or starting.
const OF_THE_PROXY: &str = "jupyterhub.handlers.pages.ProxyErrorHandler";

/// What a text of metrics counts, but for what a proxy asks for by itself.
pub(super) fn counted(metrics: &str) -> Result<Counted> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(SERIES));
    let lines = lines.filter(|line| !line.contains(OF_THE_PROXY));
    lines
        .map(|line| {
            let of = |label: &str| {
                let value = line.split_once(&format!("{label}=\""))?.1.split('"').next()?;
                Some(value.to_owned())
            };
            let all = || Some((of("method")?, of("handler")?, of("code")?.parse().ok()?));
            all().with_context(|| format!("no method, handler and code: {line}"))
        })
        .collect()
}

/// What is counted here and not there. `meant` are methods with a status here and another there: these say nothing
/// where both are counted for the same handler.
pub(super) fn only_in(here: &Counted, there: &Counted, meant: &[(&str, u16, u16)]) -> Vec<String> {
    let is_meant = |(method, handler, status): &(String, String, u16)| {
        meant.iter().any(|(known, is_here, is_there)| {
            known == method
                && is_here == status
                && there.contains(&(method.clone(), handler.clone(), *is_there))
        })
    };
    let only = here.difference(there).filter(|counted| !is_meant(counted));
    only.map(|(method, handler, status)| format!("{method} {handler} {status}")).collect()
}

#[test]
fn a_status_that_is_meant_must_be_counted_for_the_same_handler() {
    let all = |all: &[(&str, u16)]| -> Counted {
        all.iter().map(|(handler, status)| ("GET".to_owned(), (*handler).to_owned(), *status)).collect()
    };
    let (here, there) = (all(&[("a", 200), ("b", 500), ("c", 500)]), all(&[("a", 200), ("b", 404)]));
    assert_eq!(only_in(&here, &there, &[]), ["GET b 500", "GET c 500"]);
    assert_eq!(only_in(&here, &there, &[("GET", 500, 404)]), ["GET c 500"]);
    assert_eq!(only_in(&here, &there, &[("PUT", 500, 404), ("GET", 404, 500)]), ["GET b 500", "GET c 500"]);
    let line =
        |handler: &str| format!("{SERIES}code=\"500\",handler=\"{handler}\",method=\"GET\"}} 1\nother 2\n");
    assert_eq!(counted(&[line("b"), line(OF_THE_PROXY)].concat()).unwrap(), all(&[("b", 500)]));
}
