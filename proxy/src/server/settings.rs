//! Options, checked and turned into what the data path uses as it is.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::{HeaderName, HeaderValue, header};

use crate::{
    error::ProxyError,
    options::{Limits, Network, ProxyOptions, Timeouts},
    routes::RouteTable,
    target::Target,
};

/// Where error bodies come from.
#[derive(Debug)]
pub(crate) enum ErrorPages {
    /// A page of our own.
    BuiltIn,
    /// A server that renders them.
    Target(Target),
    /// Files `{code}.html` and `error.html`.
    Folder(PathBuf),
}

/// The settings of one proxy, shared by its workers.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is an independent switch of configurable-http-proxy")]
pub(crate) struct Settings {
    pub(crate) timeouts: Timeouts,
    pub(crate) limits: Limits,
    pub(crate) error_pages: ErrorPages,
    pub(crate) x_forward: bool,
    pub(crate) include_prefix: bool,
    pub(crate) prepend_path: bool,
    pub(crate) change_origin: bool,
    pub(crate) auto_rewrite: bool,
    pub(crate) protocol_rewrite: Option<String>,
    pub(crate) custom_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) hub_mark: Option<(HeaderName, HeaderValue)>,
    pub(crate) http2_cleartext: bool,
    pub(crate) proxy_protocol: bool,
    pub(crate) trusted_proxies: Option<Vec<Network>>,
    pub(crate) hsts: Option<HeaderValue>,
    pub(crate) session_cookie: String,
}

impl Settings {
    pub(crate) fn new(options: &ProxyOptions, routes: &Arc<RouteTable>) -> Result<Self, ProxyError> {
        options.validate()?;
        let error_pages = match (&options.error_target, &options.error_path) {
            (Some(target), _) => ErrorPages::Target(
                routes
                    .origins
                    .parse(target)
                    .map_err(|error| ProxyError::option("error_target", error.to_string()))?,
            ),
            (None, Some(folder)) => ErrorPages::Folder(folder.clone()),
            (None, None) => ErrorPages::BuiltIn,
        };
        let custom_headers = options
            .custom_headers
            .iter()
            .map(|(name, value)| custom_header(name, value))
            .collect::<Result<_, _>>()?;
        let hub_mark =
            options.hub_mark.as_ref().map(|(name, value)| custom_header(name, value)).transpose()?;
        Ok(Self {
            timeouts: options.timeouts.clone(),
            limits: options.limits.clone(),
            error_pages,
            x_forward: options.x_forward,
            include_prefix: options.include_prefix,
            prepend_path: options.prepend_path,
            change_origin: options.change_origin,
            auto_rewrite: options.auto_rewrite,
            protocol_rewrite: options.protocol_rewrite.clone(),
            custom_headers,
            hub_mark,
            http2_cleartext: options.http2_cleartext,
            proxy_protocol: options.proxy_protocol,
            trusted_proxies: options.trusted_proxies.clone(),
            hsts: options.hsts.map(strict_transport),
            session_cookie: options.session_cookie.clone(),
        })
    }

    /// Whether what a client says in `X-Forwarded-*` is believed. A UNIX socket is as good as its permissions.
    pub(crate) fn trusts(&self, remote: Option<SocketAddr>) -> bool {
        match (&self.trusted_proxies, remote) {
            (Some(networks), Some(remote)) => networks.iter().any(|network| network.contains(remote.ip())),
            _ => true,
        }
    }
}

fn strict_transport(age: Duration) -> HeaderValue {
    let text = format!("max-age={}", age.as_secs());
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("max-age=0"))
}

fn custom_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), ProxyError> {
    let bad =
        |problem: &str| ProxyError::option(format!("custom_headers, header {name:?}"), problem.to_owned());
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("this is no valid header name"))?;
    // These decide where a message ends; a fixed value would desynchronise proxy and target.
    if matches!(
        parsed,
        header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION | header::UPGRADE
    ) {
        return Err(bad("this header frames the message and cannot be set"));
    }
    let value = HeaderValue::from_str(value).map_err(|_| bad("its value holds a control character"))?;
    Ok((parsed, value))
}
