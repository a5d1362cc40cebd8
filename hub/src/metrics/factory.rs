//! Makes metrics and registers them.

use prometheus::{GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntGauge, Opts, Registry};

use super::DEFAULT_BUCKETS;

/// Registers what it makes, under a common prefix.
pub(super) struct Factory<'a> {
    pub(super) registry: &'a Registry,
    pub(super) prefix: &'a str,
}

impl Factory<'_> {
    fn name(&self, name: &str) -> String {
        format!("{}_{name}", self.prefix)
    }

    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> Result<HistogramVec, prometheus::Error> {
        let opts = HistogramOpts::new(self.name(name), help).buckets(buckets.to_vec());
        let metric = HistogramVec::new(opts, labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        self.histogram_with(name, help, DEFAULT_BUCKETS)
    }

    pub(super) fn histogram_with(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::new(self.name(name), help).buckets(buckets.to_vec());
        let metric = Histogram::with_opts(opts)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A counter; its name gets the `_total` that stock's client library appends.
    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        let metric = IntCounter::new(format!("{}_total", self.name(name)), help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let metric = IntGauge::new(self.name(name), help)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A gauge for each watch, under a name of our own.
    pub(super) fn own_gauges(&self, name: &str, help: &str) -> Result<GaugeVec, prometheus::Error> {
        let metric = GaugeVec::new(Opts::new(name, help), &["scope"])?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<GaugeVec, prometheus::Error> {
        let metric = GaugeVec::new(Opts::new(self.name(name), help), labels)?;
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }
}
