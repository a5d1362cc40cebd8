//! The hub's metrics, with JupyterHub's names, labels and buckets.

mod created;
mod factory;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hub_config::MetricsSection;
use hub_core::spawner::WatchHealth;
use prometheus::{
    Encoder as _, Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntGauge, Registry, TextEncoder,
};

use self::created::Created;
use self::factory::Factory;

/// The buckets of stock's client library, which has more of them than ours.
const DEFAULT_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, f64::INFINITY];
const LOOP_BUCKETS: &[f64] =
    &[0.05, 0.055, 0.06, 0.065, 0.07, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, f64::INFINITY];

/// Every metric, registered once at start.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    request: HistogramVec,
    spawn: HistogramVec,
    stop: HistogramVec,
    poll: HistogramVec,
    proxy_add: HistogramVec,
    proxy_delete: HistogramVec,
    proxy_poll: Histogram,
    check_routes: Histogram,
    login: HistogramVec,
    logout: Histogram,
    startup: Histogram,
    init_spawners: Histogram,
    csp_reports: IntCounter,
    running_servers: IntGauge,
    total_users: IntGauge,
    active_users: GaugeVec,
    info: GaugeVec,
    event_loop: Histogram,
    queue: Gauge,
    created: Created,
    watch_age: GaugeVec,
    watch_up: GaugeVec,
    watch_servers: GaugeVec,
}

/// How something ended, as the labels of stock spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Success,
    /// Not, for a reason that lies in the request.
    Failure,
    /// Something broke.
    Error,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }
}

impl Metrics {
    /// Registers all metrics as the configuration wants them.
    pub fn new(section: &MetricsSection) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Factory { registry: &registry, prefix: &section.prefix };
        let metrics = Self {
            request: make.histograms(
                "request_duration_seconds",
                "Duration of HTTP requests",
                &["method", "handler", "code"],
                DEFAULT_BUCKETS,
            )?,
            spawn: make.histograms(
                "server_spawn_duration_seconds",
                "Duration of server starts",
                &["status", "reason"],
                &section.server_spawn_duration_seconds_buckets,
            )?,
            stop: make.histograms(
                "server_stop_seconds",
                "Duration of server stops",
                &["status"],
                &section.server_stop_duration_seconds_buckets,
            )?,
            poll: make.histograms(
                "server_poll_duration_seconds",
                "Duration of looking whether a server is alive",
                &["status"],
                DEFAULT_BUCKETS,
            )?,
            proxy_add: make.histograms(
                "proxy_add_duration_seconds",
                "Duration of adding a route",
                &["status"],
                DEFAULT_BUCKETS,
            )?,
            proxy_delete: make.histograms(
                "proxy_delete_duration_seconds",
                "Duration of deleting a route",
                &["status"],
                DEFAULT_BUCKETS,
            )?,
            proxy_poll: make.histogram("proxy_poll_duration_seconds", "Duration of reading all routes")?,
            check_routes: make
                .histogram("check_routes_duration_seconds", "Duration of checking all routes")?,
            login: make.histograms(
                "login_duration_seconds",
                "Duration of logins",
                &["status"],
                DEFAULT_BUCKETS,
            )?,
            logout: make.histogram("logout_duration_seconds", "Duration of logouts")?,
            startup: make.histogram("hub_startup_duration_seconds", "Duration of the hub's start")?,
            init_spawners: make.histogram(
                "init_spawners_duration_seconds",
                "Duration of finding running servers again at the hub's start",
            )?,
            csp_reports: make.counter("csp_reports", "Reports of violated content security policies")?,
            running_servers: make.gauge("running_servers", "Servers that run")?,
            total_users: make.gauge("total_users", "Users known")?,
            active_users: make.gauges("active_users", "Users active within a period", &["period"])?,
            info: make.gauges("info", "Version of the hub", &["version"])?,
            event_loop: make.histogram_with(
                "event_loop_interval_seconds",
                "Pause between two beats of the hub's clockwork",
                LOOP_BUCKETS,
            )?,
            watch_age: make.own_gauges(
                "himalia_watch_age_seconds",
                "Time since a watch over servers last heard of them",
            )?,
            watch_up: make.own_gauges("himalia_watch_up", "Whether a watch over servers is up")?,
            watch_servers: make.own_gauges("himalia_watch_servers", "Servers that a watch sees")?,
            queue: {
                let gauge = Gauge::new("himalia_start_queue_length", "Starts that wait for their turn")?;
                registry.register(Box::new(gauge.clone()))?;
                gauge
            },
            created: Created::default(),
            registry: registry.clone(),
        };
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        metrics.info.with_label_values(&[crate::JUPYTERHUB_VERSION]).set(1.0);
        metrics.begin();
        metrics.created.families(&metrics.registry.gather());
        Ok(metrics)
    }

    /// Makes the series that stock shows before anything has happened.
    fn begin(&self) {
        for status in ["success", "failure"] {
            for vec in [&self.stop, &self.proxy_add, &self.proxy_delete] {
                vec.with_label_values(&[status]);
            }
        }
        for (status, reason) in [
            ("success", ""),
            ("failure", ""),
            ("error", ""),
            ("failure", "already-pending"),
            ("failure", "throttled"),
            ("failure", "too-many-users"),
        ] {
            self.spawn.with_label_values(&[status, reason]);
        }
        for status in ["ServerPollStatus.running", "ServerPollStatus.stopped"] {
            self.poll.with_label_values(&[status]);
        }
        for period in ["24h", "7d", "30d"] {
            self.active_users.with_label_values(&[period]);
        }
    }

    /// All metrics in Prometheus' text form.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut out = Vec::new();
        let mut families = self.registry.gather();
        let created = self.created.families(&families);
        families.extend(created);
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode(&families, &mut out)?;
        let text = String::from_utf8(out).map_err(|e| prometheus::Error::Msg(e.to_string()))?;
        Ok(with_points(&text))
    }

    /// One beat of the hub's clockwork.
    pub fn event_loop(&self, interval: Duration) {
        self.event_loop.observe(interval.as_secs_f64());
    }

    /// One HTTP request.
    pub fn request(&self, method: &str, handler: &str, code: u16, took: Duration) {
        // A client may make up methods, and each would be kept for ever.
        let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
        let method = if known.contains(&method) { method } else { "other" };
        self.request.with_label_values(&[method, handler, &code.to_string()]).observe(took.as_secs_f64());
    }

    /// One start; `reason` is empty on success.
    pub fn spawn(&self, outcome: Outcome, reason: &str, took: Duration) {
        self.spawn.with_label_values(&[outcome.as_str(), reason]).observe(took.as_secs_f64());
    }

    /// One stop.
    pub fn stop(&self, outcome: Outcome, took: Duration) {
        self.stop.with_label_values(&[outcome.as_str()]).observe(took.as_secs_f64());
    }

    /// One poll of a server.
    pub fn poll(&self, running: bool, took: Duration) {
        // Stock's label values are the printed names of its enum; dashboards match them.
        let status = if running { "ServerPollStatus.running" } else { "ServerPollStatus.stopped" };
        self.poll.with_label_values(&[status]).observe(took.as_secs_f64());
    }

    /// One route added.
    pub fn proxy_add(&self, outcome: Outcome, took: Duration) {
        self.proxy_add.with_label_values(&[outcome.as_str()]).observe(took.as_secs_f64());
    }

    /// One route deleted.
    pub fn proxy_delete(&self, outcome: Outcome, took: Duration) {
        self.proxy_delete.with_label_values(&[outcome.as_str()]).observe(took.as_secs_f64());
    }

    /// All routes read.
    pub fn proxy_poll(&self, took: Duration) {
        self.proxy_poll.observe(took.as_secs_f64());
    }

    /// All routes checked.
    pub fn check_routes(&self, took: Duration) {
        self.check_routes.observe(took.as_secs_f64());
    }

    /// One login.
    pub fn login(&self, success: bool, took: Duration) {
        let status = if success { "LoginStatus.success" } else { "LoginStatus.failure" };
        self.login.with_label_values(&[status]).observe(took.as_secs_f64());
    }

    /// One logout.
    pub fn logout(&self, took: Duration) {
        self.logout.observe(took.as_secs_f64());
    }

    /// The hub answers.
    pub fn started(&self, took: Duration) {
        self.startup.observe(took.as_secs_f64());
    }

    /// All servers were looked for.
    pub fn servers_found(&self, took: Duration) {
        self.init_spawners.observe(took.as_secs_f64());
    }

    /// One report of a violated policy.
    pub fn csp_report(&self) {
        self.csp_reports.inc();
    }

    /// Servers that run now.
    pub fn set_running_servers(&self, count: u64) {
        self.running_servers.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Users known now.
    pub fn set_total_users(&self, count: u64) {
        self.total_users.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Users active within `24h`, `7d` or `30d`.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    pub fn set_active_users(&self, period: &str, count: u64) {
        self.active_users.with_label_values(&[period]).set(count as f64);
    }

    /// How the watches over servers fare now.
    pub fn watches(&self, watches: &[WatchHealth]) {
        // Watches come and go with their namespaces.
        for gauges in [&self.watch_age, &self.watch_up, &self.watch_servers] {
            gauges.reset();
        }
        for watch in watches {
            let labels = [watch.scope.as_str()];
            if let Some(age) = watch.age {
                self.watch_age.with_label_values(&labels).set(age.as_secs_f64());
            }
            self.watch_up.with_label_values(&labels).set(f64::from(u8::from(watch.live)));
            let servers = u32::try_from(watch.objects).unwrap_or(u32::MAX);
            self.watch_servers.with_label_values(&labels).set(f64::from(servers));
        }
    }

    /// A start begins (1) or ends (-1) its wait.
    pub fn queue_changed(&self, by: f64) {
        self.queue.add(by);
    }
}

/// The bounds of buckets as stock writes them, `5.0` for our library's `5`: they are part of the name of a series.
fn with_points(text: &str) -> String {
    const BOUND: &str = "le=\"";
    let mut out = String::with_capacity(text.len() + text.len() / 16);
    let mut rest = text;
    while let Some(at) = rest.find(BOUND) {
        let (before, bound) = rest.split_at(at + BOUND.len());
        out.push_str(before);
        let digits = bound.bytes().take_while(u8::is_ascii_digit).count();
        let (whole, after) = bound.split_at(digits);
        out.push_str(whole);
        if digits > 0 && after.starts_with('"') {
            out.push_str(".0");
        }
        rest = after;
    }
    out.push_str(rest);
    out
}
