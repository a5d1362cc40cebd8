//! Turns the counts into Prometheus metric families.

use std::sync::Weak;

use prometheus::{
    core::{Collector as Collect, Desc},
    proto::{
        Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Quantile,
        Summary as SummaryProto,
    },
};

use super::{
    Metrics, Tally, WorkerStats,
    summary::{QUANTILES, Snapshot, Summary},
};
use crate::{forward::upstream::ERROR_CLASSES, routes::RouteKind};

/// Reads the counts when asked. Holds them weakly, as they hold the registry.
pub(super) struct Collector {
    metrics: Weak<Metrics>,
    descriptions: Vec<Desc>,
}

impl Collector {
    pub(super) fn new(metrics: Weak<Metrics>) -> Self {
        // One description is enough for the registry to tell collectors apart; the families carry their own texts.
        let description = Desc::new(
            "requests_web".to_owned(),
            "Count of web requests".to_owned(),
            Vec::new(),
            std::collections::HashMap::new(),
        );
        Self { metrics, descriptions: description.into_iter().collect() }
    }
}

impl Collect for Collector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(metrics) = self.metrics.upgrade() else { return Vec::new() };
        let workers = metrics.workers();
        let total =
            |of: fn(&WorkerStats) -> &Tally| workers.iter().map(|worker| of(worker).get()).sum::<u64>();
        let mut find_target = Snapshot::default();
        Summary::default().add_to(&mut find_target);
        for worker in &workers {
            worker.find_target.add_to(&mut find_target);
        }
        let mut proxied = std::collections::BTreeMap::new();
        for worker in &workers {
            for (status, count) in worker.statuses.seen() {
                *proxied.entry(status).or_insert(0) += count;
            }
        }
        let mut nothing = Snapshot::default();
        Summary::default().add_to(&mut nothing);
        let mut latency = Snapshot::default();
        Summary::default().add_to(&mut latency);
        for worker in &workers {
            worker.latency.add_to(&mut latency);
        }
        let kinds = RouteKind::NAMES.iter().enumerate().map(|(kind, name)| {
            let count = workers.iter().filter_map(|worker| worker.kinds.get(kind)).map(Tally::get).sum();
            ((*name).to_owned(), count)
        });
        let errors = ERROR_CLASSES.iter().enumerate().map(|(class, name)| {
            let count =
                workers.iter().filter_map(|worker| worker.upstream_errors.get(class)).map(Tally::get).sum();
            ((*name).to_owned(), count)
        });
        vec![
            counter("api_route_get", "API requests for the list of routes", metrics.api.route_get.get()),
            counter("api_route_add", "API requests that added a route", metrics.api.route_add.get()),
            counter("api_route_delete", "API requests to delete a route", metrics.api.route_delete.get()),
            summary("find_target_for_req", "Seconds taken to find the route of a request", &find_target),
            // The original measures writes to its storage; here noting activity is one store, too short to time.
            summary("last_activity_updating", "Seconds taken to note activity", &nothing),
            counter("requests_ws", "Websocket requests", total(|worker| &worker.requests_ws)),
            counter("requests_web", "Web requests", total(|worker| &worker.requests_web)),
            labelled(
                "requests_proxy",
                "Proxied requests by the status of their answer",
                "status",
                proxied.into_iter().map(|(status, count)| (status.to_string(), count)),
            ),
            labelled(
                "requests_api",
                "API requests by the status of their answer",
                "status",
                metrics.api.requests.seen().map(|(status, count)| (status.to_string(), count)),
            ),
            gauge("proxy_open_websockets", "Websockets open now", total(|worker| &worker.open_websockets)),
            counter(
                "proxy_refused_connections",
                "Client connections refused because the bound was met",
                total(|worker| &worker.refused_connections),
            ),
            counter(
                "proxy_upstream_retries",
                "Requests sent again because a kept connection had been closed",
                total(|worker| &worker.retries),
            ),
            counter(
                "proxy_broken_responses",
                "Responses that their target did not finish",
                total(|worker| &worker.broken_responses),
            ),
            gauge(
                "proxy_open_connections",
                "Client connections open now",
                total(|worker| &worker.open_connections),
            ),
            counter("proxy_connections", "Client connections accepted", total(|worker| &worker.connections)),
            gauge(
                "proxy_open_upstream_connections",
                "Connections to targets open now, idle ones included",
                metrics.upstreams.get(),
            ),
            gauge(
                "proxy_descriptor_limit",
                "File descriptors that the system grants; 0 is no limit",
                metrics.descriptors.get(),
            ),
            counter(
                "proxy_refused_client_connections",
                "Client connections refused because the client's address had its share",
                total(|worker| &worker.refused_clients),
            ),
            counter(
                "proxy_http2_requests",
                "Requests by HTTP/2",
                total(|worker| &worker.multiplexed_requests),
            ),
            counter(
                "proxy_received_bytes",
                "Bytes received from clients, before TLS",
                total(|worker| &worker.received_bytes),
            ),
            counter(
                "proxy_sent_bytes",
                "Bytes sent to clients, before TLS",
                total(|worker| &worker.sent_bytes),
            ),
            counter(
                "proxy_lost_access_log_lines",
                "Access log lines dropped because the log could not be written as fast",
                metrics.lost_log_lines.get(),
            ),
            histogram(
                "proxy_request_duration_seconds",
                "Seconds from a request to the head of its answer",
                &latency,
            ),
            labelled("proxy_route_requests", "Requests by the kind of their route", "kind", kinds),
            labelled("proxy_upstream_errors", "Requests that got no answer, by cause", "class", errors),
        ]
        .into_iter()
        .chain(certificates(&metrics))
        .filter(|family| !family.get_metric().is_empty())
        .collect()
    }
}

/// What is known of an ACME authority's certificates.
fn certificates(metrics: &Metrics) -> [MetricFamily; 2] {
    [
        labelled(
            "proxy_certificate_orders",
            "Certificates ordered from an ACME authority, by outcome",
            "outcome",
            [("issued", &metrics.certificates_issued), ("failed", &metrics.certificate_failures)]
                .into_iter()
                .map(|(outcome, count)| (outcome.to_owned(), count.get())),
        ),
        gauge(
            "proxy_certificate_end_seconds",
            "When the certificate of the ACME authority ends, in seconds since 1970; 0 is none",
            metrics.certificate_end.get(),
        ),
    ]
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floating point numbers")]
fn counted(count: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(count as f64);
    let mut metric = Metric::default();
    metric.set_counter(counter);
    metric
}

fn counter(name: &str, help: &str, count: u64) -> MetricFamily {
    family(name, help, MetricType::COUNTER, vec![counted(count)])
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus knows only floating point numbers")]
fn gauge(name: &str, help: &str, value: u64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value as f64);
    let mut metric = Metric::default();
    metric.set_gauge(gauge);
    family(name, help, MetricType::GAUGE, vec![metric])
}

fn labelled(
    name: &str,
    help: &str,
    label: &str,
    counts: impl Iterator<Item = (String, u64)>,
) -> MetricFamily {
    let metrics = counts.map(|(value, count)| {
        let mut pair = LabelPair::default();
        pair.set_name(label.to_owned());
        pair.set_value(value);
        let mut metric = counted(count);
        metric.set_label(vec![pair]);
        metric
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

/// Upper bounds of the histogram's buckets, in seconds.
const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

fn histogram(name: &str, help: &str, snapshot: &Snapshot) -> MetricFamily {
    let buckets = BOUNDS.iter().map(|bound| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(snapshot.count_below(*bound));
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_sample_count(snapshot.count());
    histogram.set_sample_sum(snapshot.sum());
    histogram.set_bucket(buckets.collect());
    let mut metric = Metric::default();
    metric.set_histogram(histogram);
    family(name, help, MetricType::HISTOGRAM, vec![metric])
}

fn summary(name: &str, help: &str, snapshot: &Snapshot) -> MetricFamily {
    let quantiles = QUANTILES.iter().map(|share| {
        let mut quantile = Quantile::default();
        quantile.set_quantile(*share);
        quantile.set_value(snapshot.quantile(*share));
        quantile
    });
    let mut summary = SummaryProto::default();
    summary.set_sample_count(snapshot.count());
    summary.set_sample_sum(snapshot.sum());
    summary.set_quantile(quantiles.collect());
    let mut metric = Metric::default();
    metric.set_summary(summary);
    family(name, help, MetricType::SUMMARY, vec![metric])
}
