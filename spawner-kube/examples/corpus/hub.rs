//! The hub around a recorded server: stock's defaults, the environment that it gives every server, certificates.

use hub_core::{ServerKey, ServerName, UserName};
use hub_spawner_kube::fields::Subject;
use hub_spawner_kube::manifest::Certificates;
use hub_spawner_kube::python::json_text;
use hub_spawner_kube::{Asker, Facts, VERSIONS};
use serde_json::{Map, Value, json};

use super::case::Case;

/// A setting of the hub.
fn setting(case: &Case, name: &str) -> Value {
    let default = || match name {
        "base_url" => json!("/"),
        "connect_url" => json!("http://hub:8081"),
        "api_token" => json!("test-api-token"),
        "namespace" => json!("jhub"),
        "pod_ip" => json!("10.1.2.3"),
        "pod_uid" => json!("11111111-2222-3333-4444-555555555555"),
        "userid" => json!(7),
        "groups" => json!([]),
        "state" | "cookie_options" => json!({}),
        "public_url" | "public_host" => json!(""),
        _ => json!(false),
    };
    case.hub.get(name).cloned().unwrap_or_else(default)
}

pub(crate) fn text(case: &Case, name: &str) -> String {
    setting(case, name).as_str().unwrap_or_default().to_owned()
}

pub(crate) fn flag(case: &Case, name: &str) -> bool {
    setting(case, name).as_bool().unwrap_or_default()
}

pub(crate) fn state(case: &Case) -> Value {
    setting(case, "state")
}

fn key(case: &Case) -> ServerKey {
    ServerKey::new(UserName::stored(&case.user), ServerName::stored(&case.server_name))
}

fn prefix(case: &Case) -> String {
    format!("{}{}", text(case, "base_url"), key(case).path())
}

pub(crate) fn facts(case: &Case) -> Facts {
    Facts {
        subject: Subject {
            user: case.user.clone(),
            server: case.server_name.clone(),
            user_id: setting(case, "userid").as_i64().unwrap_or_default(),
            hub_namespace: text(case, "namespace"),
            extra: std::collections::BTreeMap::new(),
        },
        prefix: prefix(case),
        tls: flag(case, "internal_ssl"),
        versions: VERSIONS,
    }
}

pub(crate) fn asker(case: &Case) -> Asker {
    let groups = setting(case, "groups");
    Asker {
        user: case.user.clone(),
        server: case.server_name.clone(),
        groups: groups
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|g| g.as_str().map(str::to_owned))
            .collect(),
        admin: false,
        profile: None,
    }
}

/// What a stock hub tells every server, but for what follows from options.
pub(crate) fn environment(case: &Case) -> Map<String, Value> {
    let key = key(case);
    let base = text(case, "base_url");
    let api = format!("{}{base}hub/api", text(case, "connect_url").trim_end_matches('/'));
    let access = json_text(&json!([
        format!("access:servers!server={}", key.scope_value()),
        format!("access:servers!user={}", key.user)
    ]));
    let public = text(case, "public_url");
    let origin = url::Url::parse(&public).ok().map(|url| url.origin().ascii_serialization());
    let at = |path: &str| origin.as_ref().map(|origin| format!("{origin}{path}")).unwrap_or_default();
    let mut env = Map::new();
    let mut set = |name: &str, value: String| env.insert(name.to_owned(), Value::String(value));
    set("JUPYTERHUB_API_TOKEN", text(case, "api_token"));
    set("JPY_API_TOKEN", text(case, "api_token"));
    if flag(case, "admin_access") {
        set("JUPYTERHUB_ADMIN_ACCESS", "1".to_owned());
    }
    set("JUPYTERHUB_CLIENT_ID", key.oauth_client_id());
    let cookies = setting(case, "cookie_options");
    if cookies.as_object().is_some_and(|map| !map.is_empty()) {
        set("JUPYTERHUB_COOKIE_OPTIONS", json_text(&cookies));
    }
    set(
        "JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED",
        if flag(case, "cookie_host_prefix_enabled") { "1" } else { "0" }.to_owned(),
    );
    set("JUPYTERHUB_HOST", text(case, "public_host"));
    set("JUPYTERHUB_OAUTH_CALLBACK_URL", format!("{}oauth_callback", prefix(case)));
    set("JUPYTERHUB_OAUTH_SCOPES", access.clone());
    set("JUPYTERHUB_OAUTH_ACCESS_SCOPES", access);
    set("JUPYTERHUB_USER", case.user.clone());
    set("JUPYTERHUB_SERVER_NAME", case.server_name.clone());
    set("JUPYTERHUB_ACTIVITY_URL", format!("{api}/users/{}/activity", key.user.escaped()));
    set("JUPYTERHUB_API_URL", api);
    set("JUPYTERHUB_BASE_URL", base.clone());
    set("JUPYTERHUB_SERVICE_PREFIX", prefix(case));
    set("JUPYTERHUB_PUBLIC_URL", at(&prefix(case)));
    set("JUPYTERHUB_PUBLIC_HUB_URL", at(&format!("{base}hub/")));
    env
}

/// The files that the recording hub had.
pub(crate) fn certificates() -> Certificates {
    Certificates {
        key: "-----KEY-----\nabc\n".to_owned(),
        certificate: "-----CERT-----\ndef\n".to_owned(),
        notebooks_authority: "-----NOTEBOOKS-CA-----\n\n".to_owned(),
        hub_authority: "-----HUB-CA-----\n".to_owned(),
    }
}
