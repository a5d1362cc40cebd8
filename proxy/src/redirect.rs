//! The port that only leads to HTTPS.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};
use tokio_util::sync::CancellationToken;

use crate::{
    acme::Challenges,
    error::ProxyError,
    http_server::{HttpServer, answer},
};

/// Sends every request to the same host and path over HTTPS, but for those of an authority that issues a certificate.
pub(crate) async fn serve(
    server: HttpServer,
    port: u16,
    challenges: Option<Arc<Challenges>>,
    shutdown: CancellationToken,
) -> Result<(), ProxyError> {
    server
        .run(shutdown, move |request| {
            let asked = challenges.as_ref().and_then(|challenges| challenges.http(request.uri().path()));
            if let Some(proof) = asked {
                return std::future::ready(answer(StatusCode::OK, "application/octet-stream", proof));
            }
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
