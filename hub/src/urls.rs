//! Every URL that the hub hands out, made in one place.

use hub_core::dns::Hook;
use hub_core::{ServerKey, UserName};
use url::Url;

/// Base URL, public host and the address at which servers reach the hub.
#[derive(Debug, Clone)]
pub struct Urls {
    base: String,
    hub: String,
    api: Url,
    public: Option<Url>,
    domains: Option<Domains>,
}

/// A host name for each user and service: `hub.subdomain_host`.
#[derive(Debug, Clone)]
struct Domains {
    /// The host below which they are; scheme, host and port count.
    above: Url,
    /// The host of the hub itself, below which names are made: of the public URL, else of `above`.
    domain: String,
    hook: Hook,
}

impl Domains {
    /// Scheme, host and port of `domain`, as browsers see it.
    fn origin(&self, domain: &str) -> String {
        let port = self.above.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{domain}{port}", self.above.scheme())
    }
}

impl Urls {
    /// `base` is percent-encoded, with slashes at both ends; `connect` is where servers reach the hub, of which
    /// scheme, host and port count; `public` is the configured public URL.
    pub fn new(base: &str, connect: &Url, public: Option<Url>) -> Self {
        let hub = format!("{base}hub/");
        let mut api = connect.clone();
        api.set_path(&format!("{hub}api"));
        api.set_query(None);
        Self { base: base.to_owned(), hub, api, public, domains: None }
    }

    /// The same with a host for each user and service below `above`, which is the public URL where there is none.
    #[must_use]
    pub fn with_hosts(mut self, above: Url, hook: Hook) -> Self {
        let public = self.public.get_or_insert_with(|| above.clone());
        let domain = public.host_str().unwrap_or_default().to_owned();
        self.domains = Some(Domains { above, domain, hook });
        self
    }

    /// The domain that all hosts share, where each user has one: that of the cookie with the session's id.
    pub fn shared_domain(&self) -> Option<&str> {
        self.domains.as_ref().map(|domains| domains.domain.as_str())
    }

    /// Host and port below which the hosts of users and services are.
    pub fn hosts_below(&self) -> Option<String> {
        let above = &self.domains.as_ref()?.above;
        let port = above.port().map(|port| format!(":{port}")).unwrap_or_default();
        Some(format!("{}{port}", above.host_str().unwrap_or_default()))
    }

    /// The base URL, slashes at both ends.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The base URL with percent-encoding undone, as routers see it.
    pub fn base_decoded(&self) -> String {
        percent_encoding::percent_decode_str(&self.base).decode_utf8_lossy().into_owned()
    }

    /// The hub's prefix, `BASE/hub/`.
    pub fn hub(&self) -> &str {
        &self.hub
    }

    /// A path below the hub's prefix.
    pub fn hub_path(&self, rest: &str) -> String {
        format!("{}{rest}", self.hub)
    }

    /// `JUPYTERHUB_API_URL`, without slash at the end.
    pub fn api(&self) -> &Url {
        &self.api
    }

    /// Where the hub itself listens for the proxy: scheme, host and port of the API URL.
    pub fn connect(&self) -> String {
        let mut url = self.api.clone();
        url.set_path("");
        url.as_str().trim_end_matches('/').to_owned()
    }

    /// The configured public URL.
    pub fn public(&self) -> Option<&Url> {
        self.public.as_ref()
    }

    /// `scheme://host` of the public URL, or nothing: the value of `JUPYTERHUB_HOST`.
    pub fn public_host(&self) -> String {
        self.public.as_ref().map(|url| url.origin().ascii_serialization()).unwrap_or_default()
    }

    /// `scheme://host` of a user's servers where it is theirs alone, else nothing.
    pub fn user_host(&self, user: &UserName) -> String {
        let own = |domains: &Domains| domains.origin(&domains.hook.user(user.as_str(), &domains.domain));
        self.domains.as_ref().map(own).unwrap_or_default()
    }

    /// `scheme://host` of a service where it has one of its own, else nothing.
    pub fn service_host(&self, name: &str) -> String {
        let own = |domains: &Domains| domains.origin(&domains.hook.service(name, &domains.domain));
        self.domains.as_ref().map(own).unwrap_or_default()
    }

    /// A path of the hub as seen by browsers: absolute where a public URL is configured.
    pub fn for_browser(&self, path: &str) -> String {
        format!("{}{path}", self.public_host())
    }

    /// The path of a server, slashes at both ends.
    pub fn server(&self, key: &ServerKey) -> String {
        format!("{}{}", self.base, key.path())
    }

    /// The address of a server as the API tells it: its path, behind its host where it has its own.
    pub fn server_url(&self, key: &ServerKey) -> String {
        format!("{}{}", self.user_host(&key.user), self.server(key))
    }

    /// The address of a server for browsers: absolute where hosts or a public URL are configured.
    pub fn server_for_browser(&self, key: &ServerKey) -> String {
        self.on_host(self.user_host(&key.user), &self.server(key))
    }

    /// A path on the host of somebody's servers, for browsers.
    pub fn on_host_of(&self, user: &UserName, path: &str) -> String {
        self.on_host(self.user_host(user), path)
    }

    fn on_host(&self, host: String, path: &str) -> String {
        let host = if host.is_empty() { self.public_host() } else { host };
        format!("{host}{path}")
    }

    /// The route of a server: its path, behind the name of its host where it has its own.
    pub fn server_route(&self, key: &ServerKey) -> String {
        let host =
            self.domains.as_ref().map(|all| format!("/{}", all.hook.user(key.user.as_str(), &all.domain)));
        format!("{}{}", host.unwrap_or_default(), self.server(key))
    }

    /// The route of the hub itself: where each user has a host, it answers on all that have no server.
    pub fn hub_route(&self) -> &str {
        if self.domains.is_some() { "/" } else { &self.base }
    }

    /// The path of a service, slashes at both ends.
    pub fn service(&self, name: &str) -> String {
        format!("{}services/{}/", self.base, hub_core::names::escape_segment(name))
    }

    /// The address of a service for browsers: absolute where hosts or a public URL are configured.
    pub fn service_for_browser(&self, name: &str) -> String {
        self.on_host(self.service_host(name), &self.service(name))
    }

    /// The route of a service, as that of a server.
    pub fn service_route(&self, name: &str) -> String {
        let host = self.domains.as_ref().map(|all| format!("/{}", all.hook.service(name, &all.domain)));
        format!("{}{}", host.unwrap_or_default(), self.service(name))
    }

    /// The path of a server's page of the given kind: `spawn`, `spawn-pending`.
    pub fn server_page(&self, page: &str, key: &ServerKey) -> String {
        let mut url = format!("{}{page}/{}", self.hub, key.user.escaped());
        if !key.server.is_default() {
            url.push('/');
            url.push_str(&key.server.escaped());
        }
        url
    }

    /// The API path of a server.
    pub fn server_api(&self, key: &ServerKey) -> String {
        let user = key.user.escaped();
        if key.server.is_default() {
            format!("{}api/users/{user}/server", self.hub)
        } else {
            format!("{}api/users/{user}/servers/{}", self.hub, key.server.escaped())
        }
    }

    /// Where progress events of a server are to be had.
    pub fn progress(&self, key: &ServerKey) -> String {
        format!("{}/progress", self.server_api(key))
    }
}

#[cfg(test)]
mod tests {
    use hub_core::ServerName;

    use super::*;

    #[test]
    fn every_url_hangs_below_the_base() {
        let urls = Urls::new("/@/space%20word/", &"http://127.0.0.1:8081".parse().unwrap(), None);
        let key = ServerKey::new(UserName::stored("a b"), ServerName::stored("x"));
        assert_eq!(urls.base_decoded(), "/@/space word/");
        assert_eq!(urls.server(&key), "/@/space%20word/user/a%20b/x/");
        assert_eq!(urls.server_page("spawn", &key), "/@/space%20word/hub/spawn/a%20b/x");
        assert_eq!(urls.progress(&key), "/@/space%20word/hub/api/users/a%20b/servers/x/progress");
        assert_eq!(urls.api().as_str(), "http://127.0.0.1:8081/@/space%20word/hub/api");
        assert_eq!(urls.connect(), "http://127.0.0.1:8081");
        assert_eq!(urls.server_url(&key), urls.server(&key));
        assert_eq!((urls.hub_route(), urls.shared_domain()), ("/@/space%20word/", None));
    }

    #[test]
    fn with_hosts_a_server_has_an_origin_of_its_own() {
        let urls = Urls::new("/nb/", &"http://127.0.0.1:8081".parse().unwrap(), None);
        let urls = urls.with_hosts("https://lab.example:8443".parse().unwrap(), Hook::Idna);
        let key = ServerKey::new(UserName::stored("ada"), ServerName::stored("x"));
        assert_eq!(urls.server_url(&key), "https://ada.lab.example:8443/nb/user/ada/x/");
        assert_eq!(urls.server_for_browser(&key), urls.server_url(&key));
        assert_eq!(urls.server_route(&key), "/ada.lab.example/nb/user/ada/x/");
        assert_eq!(urls.service_route("cull"), "/cull--service.lab.example/nb/services/cull/");
        assert_eq!(
            urls.service_for_browser("cull"),
            "https://cull--service.lab.example:8443/nb/services/cull/"
        );
        assert_eq!(urls.for_browser("/nb/hub/"), "https://lab.example:8443/nb/hub/");
        assert_eq!(urls.hub_route(), "/");
        assert_eq!(urls.shared_domain(), Some("lab.example"));
        assert_eq!(urls.hosts_below().as_deref(), Some("lab.example:8443"));
    }
}
