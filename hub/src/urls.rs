//! Every URL that the hub hands out, made in one place.

use hub_core::{ServerKey, UserName};
use url::Url;

/// Base URL, public host and the address at which servers reach the hub.
#[derive(Debug, Clone)]
pub struct Urls {
    base: String,
    hub: String,
    api: Url,
    public: Option<Url>,
}

impl Urls {
    /// `base` is percent-encoded, with slashes at both ends; `connect` is where servers reach the hub, of which
    /// scheme, host and port count; `public` is the configured public URL.
    pub fn new(base: &str, connect: &Url, public: Option<Url>) -> Self {
        let hub = format!("{base}hub/");
        let mut api = connect.clone();
        api.set_path(&format!("{hub}api"));
        api.set_query(None);
        Self { base: base.to_owned(), hub, api, public }
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

    /// A path as seen by browsers: absolute where a public URL is configured.
    pub fn for_browser(&self, path: &str) -> String {
        format!("{}{path}", self.public_host())
    }

    /// The path of a server, slashes at both ends; also its route.
    pub fn server(&self, key: &ServerKey) -> String {
        format!("{}{}", self.base, key.path())
    }

    /// The path of a user's default server.
    pub fn user(&self, user: &UserName) -> String {
        format!("{}user/{}/", self.base, user.escaped())
    }

    /// The path of a service, slashes at both ends; also its route.
    pub fn service(&self, name: &str) -> String {
        format!("{}services/{}/", self.base, hub_core::names::escape_segment(name))
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
    }
}
