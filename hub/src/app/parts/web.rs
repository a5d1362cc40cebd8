//! What stands between requests and the rest: sessions, pages, headers.

use std::sync::Arc;

use actix_web::http::header::{HeaderName, HeaderValue};
use anyhow::Context as _;
use hub_config::Config;
use hub_core::Clock;
use hub_core::secret::SecretSlice;

use crate::app::embedding::Embedding;
use crate::render::{RenderOptions, Renderer};
use crate::sessions::xsrf::Network;
use crate::sessions::{SessionSettings, Sessions};
use crate::urls::Urls;

pub(super) fn build_sessions(
    config: &Config,
    urls: &Urls,
    secret: SecretSlice<u8>,
    clock: &Arc<dyn Clock>,
    embedding: &Embedding,
) -> anyhow::Result<Sessions> {
    let section = &config.hub;
    let settings = SessionSettings {
        base: urls.base().to_owned(),
        max_age: section.cookie_max_age,
        host_prefix: section.cookie_host_prefix_enabled,
        options: embedding.hub_cookies.clone(),
        xsrf_options: embedding.xsrf_cookies.clone(),
        anonymous_headers: section.xsrf_anonymous_id_headers.clone(),
        anonymous_networks: networks(&section.xsrf_anonymous_ip_cidrs, "hub.xsrf_anonymous_ip_cidrs")?,
        session_domain: urls.shared_domain().map(str::to_owned),
        public_https: urls.public().map(|url| url.scheme() == "https"),
    };
    Ok(Sessions::new(secret, settings, Arc::clone(clock)))
}

pub(super) fn build_renderer(config: &Config, urls: &Urls, clock: &dyn Clock) -> anyhow::Result<Renderer> {
    Ok(Renderer::new(RenderOptions {
        template_paths: config.templates.paths.clone(),
        template_vars: config.templates.vars.clone(),
        static_prefix: urls.hub_path("static/"),
        version_hash: clock.now().timestamp().to_string(),
        custom_logo: config.templates.logo_file.is_some(),
    })?)
}

pub(super) fn extra_headers(config: &Config) -> anyhow::Result<Vec<(HeaderName, HeaderValue)>> {
    config
        .hub
        .headers
        .iter()
        .map(|(name, value)| {
            let name = name.parse().with_context(|| format!("hub.headers: {name:?} is no header name"))?;
            let value = value.parse().with_context(|| format!("hub.headers.{name}: not a header value"))?;
            Ok((name, value))
        })
        .collect()
}

pub(super) fn networks(texts: &[String], key: &str) -> anyhow::Result<Vec<Network>> {
    texts
        .iter()
        .map(|text| {
            Network::parse(text)
                .with_context(|| format!("{key}: {text:?} is neither an address nor a network"))
        })
        .collect()
}
