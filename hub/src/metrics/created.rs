//! When each series began: the gauges `NAME_created` that stock's client library adds to histograms and counters.
//!
//! A series that exists from the start has the time of the start. One that comes later, with labels that were not seen
//! before, has the time of the first look at it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// Names of families that stock does not have, or has without such gauges.
const WITHOUT: [&str; 2] = ["process_", "himalia_"];

/// Births of series by name and labels. As many as there are series.
#[derive(Debug, Default)]
pub(super) struct Created(Mutex<HashMap<String, f64>>);

impl Created {
    /// The gauges that go with these families.
    pub(super) fn families(&self, families: &[MetricFamily]) -> Vec<MetricFamily> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let mut births = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        families
            .iter()
            .filter(|family| {
                matches!(family.get_field_type(), MetricType::HISTOGRAM | MetricType::COUNTER)
                    && !WITHOUT.iter().any(|start| family.name().starts_with(start))
            })
            .map(|family| {
                let name = format!("{}_created", family.name().trim_end_matches("_total"));
                let series = family.get_metric().iter().map(|metric| {
                    let labels = metric.get_label();
                    let key = labels.iter().fold(name.clone(), |key, label| key + "\n" + label.value());
                    gauge(labels.to_vec(), *births.entry(key).or_insert(now))
                });
                let mut created = MetricFamily::default();
                created.set_help(family.help().to_owned());
                created.set_field_type(MetricType::GAUGE);
                created.set_metric(series.collect());
                created.set_name(name);
                created
            })
            .collect()
    }
}

fn gauge(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_gauge(gauge);
    metric
}
