//! The parts of a request that sessions, redirects and logs look at, read once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::{ACCEPT_LANGUAGE, COOKIE, HOST, HeaderMap};
use chrono::{DateTime, Utc};

use hub_core::LoginRequest;

use crate::app::Hub;
use crate::render::accepted_languages;
use crate::routing::MARK_HEADER;
use crate::sessions::Sessions;
use crate::sessions::cookies::RequestCookies;
use crate::sessions::next::Here;
use crate::sessions::xsrf::{Fetch, Network};

/// Plain facts about one request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// When it came.
    pub received: DateTime<Utc>,
    /// Method in capitals.
    pub method: String,
    /// Path as sent, percent-encoded.
    pub path: String,
    /// Query as sent, without `?`.
    pub query: String,
    /// `http` or `https`, as the browser sees it.
    pub browser_scheme: String,
    /// `http` or `https` as far as the nearest proxy tells; decides about `Secure`.
    pub scheme: String,
    /// Host with port, as the browser sees it.
    pub host: String,
    /// The browser's address, as far as trusted proxies tell.
    pub remote: Option<IpAddr>,
    /// Whoever is connected to the proxy, where the request certainly came through it. Logins may depend on it.
    pub peer: Option<IpAddr>,
    /// Cookies.
    pub cookies: RequestCookies,
    /// `Sec-Fetch-Mode`.
    pub fetch_mode: Option<String>,
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<String>,
    /// Languages of `Accept-Language`, the most wanted first.
    pub languages: Vec<String>,
}

/// Languages that the person wants, the most wanted first.
pub fn languages(headers: &HeaderMap) -> Vec<String> {
    header(headers, ACCEPT_LANGUAGE.as_str()).map(accepted_languages).unwrap_or_default()
}

/// Where proxies note, one behind the other, who was connected to them.
const FORWARDED_FOR: &str = "x-forwarded-for";

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// One element of a comma-separated list.
fn element(text: &str, last: bool) -> &str {
    let mut elements = text.split(',').map(str::trim);
    if last { elements.next_back() } else { elements.next() }.unwrap_or_default()
}

fn scheme(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    matches!(text.as_str(), "http" | "https").then_some(text)
}

/// The `proto` of the first element of a `Forwarded` header.
fn forwarded_proto(text: &str) -> Option<String> {
    element(text, false).split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case("proto").then(|| scheme(value.trim().trim_matches('"')))?
    })
}

impl Facts {
    /// Reads a request to a hub.
    pub fn of(rq: &HttpRequest, hub: &Hub) -> Self {
        Self::read(rq, &hub.senders, hub.routing.has_marked(rq.headers()), hub.clock.now())
    }

    fn read(rq: &HttpRequest, senders: &Senders, marked: bool, received: DateTime<Utc>) -> Self {
        let headers = rq.headers();
        let (remote, peer) = senders.addresses(rq, marked);
        let proto = header(headers, "x-scheme").or_else(|| header(headers, "x-forwarded-proto"));
        let nearest = proto.and_then(|text| scheme(element(text, true))).unwrap_or_else(|| "http".to_owned());
        let browser_scheme = header(headers, "forwarded")
            .and_then(forwarded_proto)
            .or_else(|| proto.and_then(|text| scheme(element(text, false))))
            .unwrap_or_else(|| nearest.clone());
        Self {
            received,
            method: rq.method().as_str().to_owned(),
            path: rq.uri().path().to_owned(),
            query: rq.query_string().to_owned(),
            browser_scheme,
            scheme: nearest,
            host: header(headers, HOST.as_str()).unwrap_or_default().to_owned(),
            remote,
            peer,
            cookies: RequestCookies::parse(headers.get_all(COOKIE).filter_map(|value| value.to_str().ok())),
            fetch_mode: header(headers, "sec-fetch-mode").map(str::to_owned),
            fetch_site: header(headers, "sec-fetch-site").map(str::to_owned),
            languages: languages(headers),
        }
    }

    /// The request as authenticators see it, without a form.
    pub fn login_request(&self, rq: &HttpRequest, sessions: &Sessions) -> LoginRequest {
        LoginRequest {
            method: self.method.clone(),
            url: format!("{}://{}{}", self.browser_scheme, self.host, self.uri()),
            query: self.query_pairs().into_iter().collect(),
            headers: joined_headers(rq),
            cookies: self.cookies.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            kept: sessions.kept_steps(self),
            remote: self.remote,
            peer: self.peer,
            ..LoginRequest::default()
        }
    }

    /// What decides about XSRF.
    pub fn fetch(&self) -> Fetch<'_> {
        Fetch { method: &self.method, mode: self.fetch_mode.as_deref(), site: self.fetch_site.as_deref() }
    }

    /// Path and query as sent.
    pub fn uri(&self) -> String {
        if self.query.is_empty() { self.path.clone() } else { format!("{}?{}", self.path, self.query) }
    }

    /// The origin against which `next` is checked.
    pub fn here(&self) -> Here<'_> {
        Here { scheme: &self.browser_scheme, host: &self.host }
    }

    /// All query arguments, decoded, in order.
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(self.query.as_bytes()).into_owned().collect()
    }

    /// The last value of a query argument.
    pub fn argument(&self, name: &str) -> Option<String> {
        self.query_pairs().into_iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// All headers but the proxy's mark; those of one name are joined as HTTP has it, so that a second one cannot hide.
pub fn joined_headers(rq: &HttpRequest) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for (name, value) in rq.headers().iter().filter(|(name, _)| name.as_str() != MARK_HEADER) {
        let Ok(value) = value.to_str() else { continue };
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all: &mut String| {
                all.push_str(", ");
                all.push_str(value);
            })
            .or_insert_with(|| value.to_owned());
    }
    headers
}

/// Who may say for whom a request is sent. Anybody who has a server reaches the hub's port, so that headers count
/// only on requests that came through the proxy.
#[derive(Debug, Default)]
pub struct Senders {
    /// Where a proxy that writes no mark connects from.
    pub proxies: Vec<Network>,
    /// Proxies that may stand between the nearest one and the browser.
    pub trusted: Vec<Network>,
    /// Believe anybody about the browser's address, as stock does: the proxy may be one that writes no mark, and nobody
    /// said where it is.
    pub lenient: bool,
}

impl Senders {
    /// The browser's address; and that of whoever is connected to the proxy, where the request came through it.
    fn addresses(&self, rq: &HttpRequest, marked: bool) -> (Option<IpAddr>, Option<IpAddr>) {
        let connected = rq.peer_addr().map(|address| address.ip().to_canonical());
        let known =
            marked || connected.is_some_and(|ip| self.proxies.iter().any(|network| network.contains(ip)));
        if !known && !self.lenient {
            return (connected, None);
        }
        let noted = rq.headers().get_all(FORWARDED_FOR).last().and_then(|value| value.to_str().ok());
        let noted = noted.and_then(|text| text.rsplit(',').next()?.trim().parse().ok());
        let nearest = noted.or(connected);
        (self.remote(rq, nearest), nearest.filter(|_| known))
    }

    /// The nearest address in `X-Forwarded-For` that is no trusted proxy, or `nearest`. `X-Real-Ip` takes precedence
    /// where a trusted proxy said it; from anybody else it is made up.
    fn remote(&self, rq: &HttpRequest, nearest: Option<IpAddr>) -> Option<IpAddr> {
        let headers = rq.headers();
        let is_trusted = |ip: &IpAddr| self.trusted.iter().any(|network| network.contains(*ip));
        if nearest.as_ref().is_some_and(is_trusted)
            && let Some(real) = header(headers, "x-real-ip").and_then(|text| text.trim().parse().ok())
        {
            return Some(real);
        }
        let forwarded = header(headers, FORWARDED_FOR).and_then(|text| {
            let mut last = None;
            for ip in text.split(',').rev().filter_map(|ip| ip.trim().parse::<IpAddr>().ok()) {
                last = Some(ip);
                if !is_trusted(&ip) {
                    break;
                }
            }
            last
        });
        forwarded.or(nearest)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| Network::parse(text).unwrap()).collect()
    }

    fn trusting(texts: &[&str]) -> Senders {
        Senders { trusted: networks(texts), ..Senders::default() }
    }

    #[test]
    fn the_browsers_scheme_is_the_first_and_the_nearest_the_last() {
        let rq = TestRequest::get()
            .uri("/hub/home?a=1&a=2&b=x%20y")
            .insert_header(("x-forwarded-proto", "https, http"))
            .insert_header(("x-forwarded-for", "203.0.113.7, 10.0.0.1"))
            .insert_header(("host", "hub.example"))
            .to_http_request();
        let facts = Facts::read(&rq, &trusting(&["10.0.0.0/8"]), true, DateTime::UNIX_EPOCH);
        assert_eq!((facts.browser_scheme.as_str(), facts.scheme.as_str()), ("https", "http"));
        assert_eq!(facts.remote, "203.0.113.7".parse().ok());
        assert_eq!(
            Facts::read(&rq, &trusting(&[]), true, DateTime::UNIX_EPOCH).remote,
            "10.0.0.1".parse().ok()
        );
        assert_eq!(facts.argument("a").as_deref(), Some("2"));
        assert_eq!(facts.argument("b").as_deref(), Some("x y"));
        assert_eq!(facts.uri(), "/hub/home?a=1&a=2&b=x%20y");
    }

    #[test]
    fn the_real_address_is_told_by_trusted_proxies_only() {
        let remote = |from: &str, senders: &Senders| {
            let rq = TestRequest::get()
                .insert_header(("x-forwarded-for", from))
                .insert_header(("x-real-ip", "198.51.100.9"))
                .to_http_request();
            Facts::read(&rq, senders, true, DateTime::UNIX_EPOCH).remote.unwrap().to_string()
        };
        let trusted = trusting(&["10.0.0.0/8"]);
        assert_eq!(remote("203.0.113.7, 10.0.0.1", &trusted), "198.51.100.9");
        assert_eq!(remote("203.0.113.7", &trusted), "203.0.113.7");
        assert_eq!(remote("10.0.0.1, 203.0.113.7", &trusted), "203.0.113.7");
        assert_eq!(remote("203.0.113.7", &trusting(&[])), "203.0.113.7");
    }

    #[test]
    fn whoever_comes_past_the_proxy_is_not_believed() {
        let addresses = |connected: &str, senders: &Senders, marked: bool| {
            let rq = TestRequest::get()
                .insert_header(("x-forwarded-for", "10.9.9.9"))
                .peer_addr(format!("{connected}:4711").parse().unwrap())
                .to_http_request();
            let facts = Facts::read(&rq, senders, marked, DateTime::UNIX_EPOCH);
            (facts.remote.unwrap().to_string(), facts.peer.map(|ip| ip.to_string()))
        };
        let told = ("10.9.9.9".to_owned(), Some("10.9.9.9".to_owned()));
        let own = ("172.16.0.5".to_owned(), None);
        assert_eq!(addresses("172.16.0.5", &trusting(&["172.16.0.5"]), false), own);
        assert_eq!(addresses("172.16.0.5", &trusting(&[]), true), told);
        let listed = Senders { proxies: networks(&["172.16.0.0/30"]), ..Senders::default() };
        assert_eq!(addresses("172.16.0.5", &listed, false), own);
        assert_eq!(addresses("172.16.0.2", &listed, false), told);
        // with a proxy that may write no mark the address is for the log; no login may depend on it
        let lenient = Senders { lenient: true, ..Senders::default() };
        assert_eq!(addresses("172.16.0.5", &lenient, false), ("10.9.9.9".to_owned(), None));
        assert_eq!(addresses("172.16.0.5", &lenient, true), told);
    }
}
