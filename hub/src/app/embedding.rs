//! What `hub.embed_from` means: which pages may show ours in a frame, and which cookies browsers send there.

use hub_config::Config;
use hub_core::python::json_text;
use serde_json::{Map, Value, json};

use crate::urls::Urls;

/// Settings that follow from where the hub may be shown.
#[derive(Debug, Clone)]
pub(crate) struct Embedding {
    /// `Content-Security-Policy` of everything but `default-src`.
    pub(crate) policy: String,
    /// Attributes of the hub's cookies.
    pub(crate) hub_cookies: Map<String, Value>,
    /// Attributes of the XSRF cookie; empty for those of the others.
    pub(crate) xsrf_cookies: Map<String, Value>,
    /// Attributes of the cookies of servers and services. Without `Partitioned`, which Python knows from 3.14 on.
    pub(crate) server_cookies: Map<String, Value>,
    /// Arguments of servers: they set a policy of their own, which lets nobody, and an XSRF cookie.
    pub(crate) server_arguments: Vec<String>,
}

impl Embedding {
    pub(crate) fn of(config: &Config, urls: &Urls) -> Self {
        let hub = &config.hub;
        let report = urls.hub_path("security/csp-report");
        if hub.embed_from.is_empty() {
            return Self {
                policy: format!("frame-ancestors 'none'; report-uri {report}"),
                hub_cookies: hub.cookie_options.clone(),
                xsrf_cookies: hub.xsrf_cookie_kwargs.clone(),
                server_cookies: hub.cookie_options.clone(),
                server_arguments: Vec::new(),
            };
        }
        let framed: &[(&str, Value)] = &[("SameSite", json!("None")), ("Secure", json!(true))];
        let apart = [framed, &[("Partitioned", json!(true))]].concat();
        let policy = format!("frame-ancestors 'self' {}; report-uri {report}", hub.embed_from.join(" "));
        let server_cookies = with(&hub.cookie_options, framed);
        let settings = json!({
            "headers": {"Content-Security-Policy": policy}, "xsrf_cookie_kwargs": for_python(&server_cookies),
        });
        let xsrf = &hub.xsrf_cookie_kwargs;
        Self {
            hub_cookies: with(&hub.cookie_options, &apart),
            xsrf_cookies: if xsrf.is_empty() { Map::new() } else { with(xsrf, &apart) },
            server_cookies,
            server_arguments: vec![format!("{SETTINGS}={}", json_text(&settings))],
            policy,
        }
    }

    /// The arguments of servers whose configured ones are these: an argument of the site's own wins.
    pub(crate) fn arguments_after(&self, own: &[String]) -> Vec<String> {
        let given = own.iter().any(|argument| argument.starts_with(SETTINGS));
        if given { own.to_vec() } else { [own, &self.server_arguments].concat() }
    }
}

/// The argument by which Jupyter's server takes headers.
const SETTINGS: &str = "--ServerApp.tornado_settings";

/// Attributes for an argument that Python reads as a literal, to which `true` is nothing.
fn for_python(attributes: &Map<String, Value>) -> Map<String, Value> {
    let number = |value: &Value| value.as_bool().map_or_else(|| value.clone(), |on| json!(u8::from(on)));
    attributes.iter().map(|(name, value)| (name.clone(), number(value))).collect()
}

/// Configured attributes, with what they leave open filled in.
fn with(own: &Map<String, Value>, further: &[(&str, Value)]) -> Map<String, Value> {
    let mut all = own.clone();
    for (name, value) in further {
        if !own.keys().any(|key| key.eq_ignore_ascii_case(name)) {
            all.insert((*name).to_owned(), value.clone());
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(hub: &str) -> Embedding {
        let config: Config =
            serde_json::from_value(json!({ "hub": toml::from_str::<Value>(hub).unwrap() })).unwrap();
        Embedding::of(&config, &Urls::new("/nb/", &"http://127.0.0.1:8081".parse().unwrap(), None))
    }

    #[test]
    fn nothing_changes_without_the_setting() {
        let found = embedding("cookie_options = { samesite = 'Lax' }");
        assert_eq!(found.policy, "frame-ancestors 'none'; report-uri /nb/hub/security/csp-report");
        assert_eq!(json!(found.hub_cookies), json!({"samesite": "Lax"}));
        assert_eq!(found.arguments_after(&["--x".to_owned()]), ["--x"]);
    }

    #[test]
    fn the_setting_opens_frames_and_sends_cookies_there() {
        let found = embedding("embed_from = ['https://app.example.org', 'https://*.example.net']");
        assert_eq!(
            found.policy,
            "frame-ancestors 'self' https://app.example.org https://*.example.net; \
             report-uri /nb/hub/security/csp-report"
        );
        assert_eq!(
            json!(found.hub_cookies),
            json!({"SameSite": "None", "Secure": true, "Partitioned": true})
        );
        assert_eq!(json!(found.server_cookies), json!({"SameSite": "None", "Secure": true}));
        let argument = found.arguments_after(&[]).pop().unwrap();
        assert!(argument.contains(&found.policy), "{argument}");
        assert!(
            argument.contains(r#""xsrf_cookie_kwargs": {"SameSite": "None", "Secure": 1}"#),
            "{argument}"
        );
        let own = vec!["--ServerApp.tornado_settings={}".to_owned()];
        assert_eq!(found.arguments_after(&own), own);
    }

    #[test]
    fn attributes_of_the_site_win() {
        let found = embedding(
            "embed_from = ['https://a.example']\ncookie_options = { samesite = 'Lax', partitioned = false }\n\
             xsrf_cookie_kwargs = { domain = 'example' }",
        );
        assert_eq!(
            json!(found.hub_cookies),
            json!({"samesite": "Lax", "partitioned": false, "Secure": true})
        );
        assert_eq!(
            json!(found.xsrf_cookies),
            json!({"domain": "example", "SameSite": "None", "Secure": true, "Partitioned": true})
        );
    }
}
