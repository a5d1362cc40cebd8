//! Addresses: where the hub and the proxy listen.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use hub_config::{AccessLogFormat, AcmeSection, BindUrl, Config, HubSection, Listen, Loaded};
use hub_core::secret::ExposeSecret as _;
use hub_proxy::api::ApiOptions;
use hub_proxy::options::{AccessLog, AcmeChallenge, AcmeOptions, ClientTls};
use hub_proxy::{Program, Proxy as PublicProxy, ProxyOptions, RouteTable, Sockets};
use tracing::info;
use url::Url;

use crate::internal_ssl::ProxySsl;
use crate::routing::Mark;

/// Runs the proxy alone, with the REST API by which a hub feeds it.
pub(super) async fn run_proxy(loaded: Loaded) -> anyhow::Result<()> {
    let config = loaded.config;
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let program = program(&config).await?;
    info!(api = %program.api.listen, "the proxy will serve {}", show(&config.proxy.bind_url));
    Box::pin(program.run()).await?;
    Ok(())
}

/// What `[proxy]` says of a proxy alone.
async fn program(config: &Config) -> anyhow::Result<Program> {
    let Some(token) = config.proxy.auth_token.as_ref().map(|token| token.expose_secret().to_owned()) else {
        bail!(
            "proxy.auth_token is missing: set it, or CONFIGPROXY_AUTH_TOKEN, to the token that the hub uses"
        );
    };
    let api_url = config.proxy_api_url();
    let api_url = Url::parse(&api_url).with_context(|| format!("proxy.api_url: {api_url:?} is no URL"))?;
    let host = api_url.host_str().unwrap_or("127.0.0.1").trim_matches(['[', ']']).to_owned();
    let api_address = BindUrl::http(host, api_url.port_or_known_default().unwrap_or(8001));
    let api_address = socket_addresses(&api_address, "proxy.api_url")?;
    let api_address = api_address.first().context("proxy.api_url: the host has no address")?;
    let internal = ProxySsl::find(config, api_url.scheme() == "https").await?;
    let (client_tls, tls) = internal.map(|internal| (internal.client, internal.api)).unwrap_or_default();
    let hub = match config.hub.hub_connect_url.as_deref() {
        Some(text) => Url::parse(text).with_context(|| format!("hub.hub_connect_url: {text:?} is no URL"))?,
        None => {
            let bound = socket_addresses(&config.hub.hub_bind_url, "hub.hub_bind_url")?;
            let bound = bound.first().context("hub.hub_bind_url: the host has no address")?;
            reached_at(&config.hub, *bound)?
        }
    };
    let mark = Mark::from_secret(token.as_bytes());
    let host_routing = config.hub.subdomain_host().is_some();
    // Where the hub has a route of its own, what no route fits is not for it.
    let default_target = config.hub.hub_routespec.is_none().then(|| hub.to_string());
    let proxy = ProxyOptions { default_target, ..proxy_options(config, &hub, &mark, client_tls)? };
    let section = &config.proxy;
    Ok(Program {
        proxy,
        api: ApiOptions { listen: hub_proxy::Listen::Tcp(*api_address), token: Some(token), tls },
        host_routing,
        metrics: section.metrics_address.map(hub_proxy::Listen::Tcp),
        pid_file: None,
        state_file: section.state_file.clone(),
        handover: section.handover_socket.clone(),
    })
}

/// Binds a TCP address, with an error that names key and remedy. A socket that is open already is used as it is.
pub(super) fn bind(url: &BindUrl, key: &str, inherited: &mut Sockets) -> anyhow::Result<TcpListener> {
    let addresses = socket_addresses(url, key)?;
    if let Some(open) = addresses.iter().find_map(|address| inherited.take_tcp(*address).pop()) {
        return Ok(open);
    }
    match TcpListener::bind(addresses.as_slice()) {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{key}: the address {} is in use; stop the other program or choose another port", show(url))
        }
        Err(error) => bail!("{key}: cannot listen on {}: {error}", show(url)),
    }
}

fn show(url: &BindUrl) -> String {
    match &url.listen {
        Listen::Tcp { host, port } => format!("{host}:{port}"),
        Listen::Unix(path) => path.display().to_string(),
    }
}

fn socket_addresses(url: &BindUrl, key: &str) -> anyhow::Result<Vec<SocketAddr>> {
    match &url.listen {
        Listen::Unix(path) => {
            bail!(
                "{key}: {} is a UNIX socket, which only proxy.bind_url can be; give a TCP address",
                path.display()
            )
        }
        Listen::Tcp { host, port } => {
            let host = if host.is_empty() { "0.0.0.0" } else { host.as_str() };
            let found: Vec<_> = (host, *port)
                .to_socket_addrs()
                .with_context(|| format!("{key}: the host {host:?} is not known"))?
                .collect();
            Ok(found)
        }
    }
}

pub(super) fn bind_proxy(
    config: &Config,
    hub: SocketAddr,
    routes: Arc<RouteTable>,
    mark: &Mark,
    client_tls: ClientTls,
    inherited: &mut Sockets,
) -> anyhow::Result<PublicProxy> {
    let hub = reached_at(&config.hub, hub)?;
    let options = proxy_options(config, &hub, mark, client_tls)?;
    Ok(PublicProxy::bind_inheriting(options, routes, hub_proxy::metrics::Metrics::new(), inherited)?)
}

/// Options of the public side. `hub` is where the proxy reaches the hub.
fn proxy_options(
    config: &Config,
    hub: &Url,
    mark: &Mark,
    client_tls: ClientTls,
) -> anyhow::Result<ProxyOptions> {
    let section = &config.proxy;
    let listen = match &section.bind_url.listen {
        Listen::Unix(path) => vec![hub_proxy::Listen::Unix(path.clone())],
        Listen::Tcp { .. } => {
            let found = socket_addresses(&section.bind_url, "proxy.bind_url")?;
            found.into_iter().take(1).map(hub_proxy::Listen::Tcp).collect()
        }
    };
    let root = hub.as_str().trim_end_matches('/');
    let mut options = ProxyOptions {
        listen,
        workers: std::num::NonZeroUsize::new(section.workers as usize),
        error_target: Some(format!("{root}{}hub/error", config.hub.base_url)),
        hub_mark: Some(mark.header()),
        client_tls,
        ..ProxyOptions::default()
    };
    options.timeouts.keep_alive = section.keep_alive_timeout;
    options.timeouts.connect = section.connect_timeout;
    options.timeouts.drain = section.drain_timeout;
    options.timeouts.client = (!section.timeout.is_zero()).then_some(section.timeout);
    options.timeouts.response = (!section.proxy_timeout.is_zero()).then_some(section.proxy_timeout);
    if section.max_connections > 0 {
        options.limits.client_connections = section.max_connections as usize;
    }
    if let (Some(key), Some(certificate)) = (&section.ssl_key, &section.ssl_cert) {
        options.tls = Some(hub_proxy::options::TlsFiles::new(key, certificate));
    }
    options.acme = section.acme.is_wanted().then(|| acme_options(&section.acme));
    options.redirect = match (section.redirect_port, options.listen.first()) {
        (Some(_), _) if !options.is_secure() => {
            bail!(
                "proxy.redirect_port leads to HTTPS: set proxy.ssl_key and proxy.ssl_cert, or proxy.acme.domains, as well"
            )
        }
        (Some(port), Some(hub_proxy::Listen::Tcp(public))) => {
            Some((hub_proxy::Listen::Tcp(SocketAddr::new(public.ip(), port)), public.port()))
        }
        (Some(_), _) => {
            bail!(
                "proxy.redirect_port: proxy.bind_url is a UNIX socket, which has no port to lead to: remove it"
            )
        }
        (None, _) => None,
    };
    if options.is_secure() && !section.hsts.is_zero() {
        options.hsts = Some(section.hsts);
    }
    options.http2 = section.http2;
    options.proxy_protocol = section.proxy_protocol;
    options.access_log = match section.access_log {
        AccessLogFormat::Off => AccessLog::Off,
        AccessLogFormat::Common => AccessLog::Common,
        AccessLogFormat::Json => AccessLog::Json,
    };
    if !section.trusted_proxies.is_empty() {
        let networks = section.trusted_proxies.iter().map(|range| range.parse());
        options.trusted_proxies =
            Some(networks.collect::<Result<_, _>>().context("proxy.trusted_proxies cannot be used")?);
    }
    Ok(options)
}

fn acme_options(section: &AcmeSection) -> AcmeOptions {
    AcmeOptions {
        accept_terms: section.accept_terms,
        contact: section.contact.clone(),
        directory: section.directory.clone(),
        ca_file: section.ca_file.clone(),
        challenge: match section.challenge {
            hub_config::AcmeChallenge::TlsAlpn => AcmeChallenge::TlsAlpn,
            hub_config::AcmeChallenge::Http => AcmeChallenge::Http,
        },
        ..AcmeOptions::new(section.domains.clone(), &section.folder)
    }
}

/// Where a hub that listens at `bound` is reached on this machine. With TLS a host that was given by its name is called
/// by that name, which is in the hub's certificate: the address may be another one each time.
pub(super) fn reached_at(hub: &HubSection, bound: SocketAddr) -> anyhow::Result<Url> {
    if !hub.internal_ssl {
        return Ok(Url::parse(&format!("http://{}", reachable(bound)))?);
    }
    let mut url = Url::parse(&format!("https://{}", reachable(bound)))?;
    if let Some(name) =
        hub.hub_bind_url.host().filter(|host| !host.is_empty() && host.parse::<IpAddr>().is_err())
    {
        url.set_host(Some(name)).with_context(|| format!("hub.hub_bind_url: {name:?} is no host"))?;
    }
    Ok(url)
}

/// The address at which a listener is reached on this machine.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let mut address = bound;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

#[cfg(test)]
mod tests;
