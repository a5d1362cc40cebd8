//! From the target's answer to the client's.

use http::{HeaderValue, header, request, response};
use url::Url;

use super::headers;
use crate::{server::settings::Settings, target::Target};

/// What of a request matters for its answer; filled only when an option needs it.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    host: Option<HeaderValue>,
}

impl Asked {
    /// Taken after the request was rewritten: `X-Forwarded-Host` is not consulted, as the client's own `Host` is
    /// what its browser shows.
    pub(crate) fn of(parts: &request::Parts, settings: &Settings) -> Self {
        if !settings.auto_rewrite {
            return Self::default();
        }
        Self { host: parts.extensions.get::<OriginalHost>().map(|host| host.0.clone()) }
    }
}

/// The `Host` that the client sent, kept beside the rewritten head when redirects may be rewritten.
#[derive(Debug, Clone)]
pub(crate) struct OriginalHost(pub(crate) HeaderValue);

/// Rewrites a response head in place.
pub(crate) fn rewrite(parts: &mut response::Parts, target: &Target, asked: &Asked, settings: &Settings) {
    unify_length(&mut parts.headers);
    headers::strip_hop_by_hop(&mut parts.headers);
    if (settings.auto_rewrite || settings.protocol_rewrite.is_some())
        && matches!(parts.status.as_u16(), 201 | 301 | 302 | 307 | 308)
        && let Some(location) = parts.headers.get(header::LOCATION)
        && let Some(location) = rewritten_location(location, target, asked, settings)
    {
        parts.headers.insert(header::LOCATION, location);
    }
}

/// Leaves one way to tell the length. hyper has read the body by chunks where there are any, and by equal lengths
/// where there are several; it would pass on the rest as it came.
fn unify_length(headers: &mut http::HeaderMap) {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let repeated =
        lengths.next().is_some_and(|length| length.as_bytes().contains(&b',')) || lengths.next().is_some();
    if repeated || headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
}

/// The new `Location`, if it points to the target itself.
fn rewritten_location(
    location: &HeaderValue,
    target: &Target,
    asked: &Asked,
    settings: &Settings,
) -> Option<HeaderValue> {
    let target = Url::parse(&target.text).ok()?;
    let mut url = Url::parse(location.to_str().ok()?).ok()?;
    if url.host() != target.host() || url.port_or_known_default() != target.port_or_known_default() {
        return None;
    }
    if settings.auto_rewrite
        && let Some(host) = &asked.host
    {
        // Parsed as an authority, so that host and port are taken over together.
        let public = Url::parse(&format!("{}://{}", url.scheme(), host.to_str().ok()?)).ok()?;
        url.set_host(public.host_str()).ok()?;
        url.set_port(public.port()).ok()?;
    }
    if let Some(scheme) = &settings.protocol_rewrite {
        url.set_scheme(scheme).ok()?;
    }
    HeaderValue::from_str(url.as_str()).ok()
}
