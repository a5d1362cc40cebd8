//! `configurable-http-proxy` as a program: proxy, API, metrics, redirect, pid file, signals.

use std::{future::Future, path::PathBuf, pin::Pin, process::ExitCode};

use http::{HeaderValue, Response, StatusCode, header};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, level_filters::LevelFilter, warn};

use super::{
    Listen,
    chp::{ChpArgs, LogLevel, Plan},
};
use crate::{
    Proxy, RouteTable,
    api::Api,
    error::ProxyError,
    http_server::{HttpServer, answer},
    metrics::{Metrics, MetricsServer},
};

/// The API's token comes from here, so that no process list shows it.
const TOKEN_VARIABLE: &str = "CONFIGPROXY_AUTH_TOKEN";
/// Stock reads the passphrase of the TLS key from here; encrypted keys are not supported.
const PASSPHRASE_VARIABLE: &str = "CONFIGPROXY_SSL_KEY_PASSPHRASE";

type Task = Pin<Box<dyn Future<Output = Result<(), ProxyError>> + Send>>;

/// Runs proxy, API and metrics until SIGINT or SIGTERM, then drains. The exit code is then 2, as
/// configurable-http-proxy's. Sets up logging to standard error unless the process has already done so.
///
/// # Errors
/// Bad flags, an occupied address, an unreadable certificate: see [`ProxyError`].
pub async fn run_chp(args: ChpArgs) -> Result<ExitCode, ProxyError> {
    let level = match args.log_level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let logging = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).try_init();
    if logging.is_err() {
        info!("logging was set up before: the log level of the command line does not apply");
    }
    let Plan { proxy, api, metrics: metrics_listen, redirect } = args.plan()?;
    if proxy.tls.is_some() && std::env::var_os(PASSPHRASE_VARIABLE).is_some_and(|value| !value.is_empty()) {
        return Err(ProxyError::option(
            PASSPHRASE_VARIABLE,
            "encrypted keys are not supported: decrypt the key and unset the variable",
        ));
    }
    let token = std::env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
    if token.is_none() {
        warn!("REST API is not authenticated: set {TOKEN_VARIABLE}");
    }
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut terminate = signals(SignalKind::terminate())?;

    let shutdown = CancellationToken::new();
    let metrics = Metrics::new();
    let routes = RouteTable::new(args.host_routing);
    let mut tasks: Vec<Task> = Vec::new();
    let public = describe(&proxy.listen);
    let scheme = if proxy.tls.is_some() { "https" } else { "http" };
    let default = proxy.default_target.clone().unwrap_or_else(|| "(no default)".to_owned());
    let proxy = Proxy::bind_with_metrics(proxy, routes.clone(), metrics.clone())?;
    let api_server = Api::bind(&api, token, routes, metrics.clone())?;
    info!("Proxying {scheme}://{public} to {default}");
    info!("Proxy API at http://{api}/api/routes");
    tasks.push(Box::pin(proxy.run(shutdown.clone())));
    tasks.push(Box::pin(api_server.run(shutdown.clone())));
    if let Some(listen) = metrics_listen {
        let server = MetricsServer::bind(&listen, metrics)?;
        info!("Serve metrics at http://{listen}/metrics");
        tasks.push(Box::pin(server.run(shutdown.clone())));
    }
    if let Some((listen, port)) = redirect {
        let server = HttpServer::bind(&listen)?;
        info!("Redirecting http://{listen} to port {port}");
        tasks.push(Box::pin(redirect_all(server, port, shutdown.clone())));
    }
    let _pid_file = args.pid_file.map(PidFile::write).transpose()?;

    let mut running = futures_util::future::try_join_all(tasks);
    tokio::select! {
        // Nothing ends by itself unless it failed.
        ended = &mut running => {
            ended?;
            return Ok(ExitCode::FAILURE);
        }
        _ = interrupt.recv() => warn!("Interrupted"),
        _ = terminate.recv() => warn!("Terminated"),
    }
    shutdown.cancel();
    tokio::select! {
        ended = running => { ended?; }
        _ = interrupt.recv() => warn!("Interrupted again, not waiting any longer"),
        _ = terminate.recv() => warn!("Terminated again, not waiting any longer"),
    }
    Ok(ExitCode::from(2))
}

fn signals(kind: SignalKind) -> Result<tokio::signal::unix::Signal, ProxyError> {
    signal(kind).map_err(|source| ProxyError::File { path: "signal handler".to_owned(), source })
}

fn describe(listen: &[Listen]) -> String {
    listen.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The process id in a file, for as long as the process runs.
#[derive(Debug)]
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> Result<Self, ProxyError> {
        match std::fs::write(&path, std::process::id().to_string()) {
            Ok(()) => Ok(Self(path)),
            Err(source) => Err(ProxyError::File { path: path.display().to_string(), source }),
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            warn!(path = %self.0.display(), %error, "pid file cannot be removed");
        }
    }
}

/// Sends every request to the same host and path over HTTPS.
async fn redirect_all(server: HttpServer, port: u16, shutdown: CancellationToken) -> Result<(), ProxyError> {
    server
        .run(shutdown, move |request| {
            let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
            let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
            std::future::ready(redirected(host, path, port))
        })
        .await
}

fn redirected(host: Option<&str>, path: &str, port: u16) -> Response<http_body_util::Full<bytes::Bytes>> {
    let name = host.map(|host| match host.find(']') {
        Some(end) => host.get(..=end).unwrap_or(host),
        None => host.split(':').next().unwrap_or(host),
    });
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        let text =
            format!("This port only redirects to HTTPS on port {port}, and the request names no host.");
        return answer(StatusCode::BAD_REQUEST, "text/plain", text);
    };
    let location = match port {
        443 => format!("https://{name}{path}"),
        port => format!("https://{name}:{port}{path}"),
    };
    let mut response = answer(StatusCode::MOVED_PERMANENTLY, "text/plain", "");
    match HeaderValue::from_str(&location) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => answer(StatusCode::BAD_REQUEST, "text/plain", "The host or path cannot be redirected."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_keep_host_and_path() {
        let location = |host, port| {
            let response = redirected(host, "/a?b", port);
            response.headers().get(header::LOCATION).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(location(Some("h:80"), 443).as_deref(), Some("https://h/a?b"));
        assert_eq!(location(Some("h"), 8443).as_deref(), Some("https://h:8443/a?b"));
        assert_eq!(location(Some("[::1]:80"), 443).as_deref(), Some("https://[::1]/a?b"));
        assert_eq!(location(None, 443), None);
    }
}
